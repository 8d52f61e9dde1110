//! One replica's part in Raft as a step machine: messages, ticks and proposals go in, [`Output`]s come out. No clock, disk,
//! socket, thread or randomness; the shell runs those and the simulator runs the same struct.

mod config;
mod output;
mod status;

pub use config::NodeConfig;
#[cfg(feature = "planted")]
pub use config::Planted;
pub use output::{ConfChanged, FetchSnapshot, NodeError, Output, Persist, ProposeError, Role, RoleChange};
pub use status::{NodeStatus, PeerProgress};
