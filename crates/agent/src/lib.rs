//! The site's daemon: what the cluster assigns to this site is started here at most once, watched, stopped and reported.
//!
//! [`core`] decides and is pure: messages and time in, outputs out; the simulator drives the same struct. [`backend`] does things to
//! real processes through a [`supervisor`] per task, which outlives the daemon. [`run`] ties both to a replica's stream and to the
//! [`journal`]. Nothing here decides placement or price.

pub mod backend;
pub mod clock;
pub mod core;
pub mod journal;
pub mod procfs;
pub mod run;
pub mod supervisor;
pub mod task;

pub use run::{Agent, AgentConfig, AgentError, BackendKind};
pub use supervisor::supervisor_main;
pub use task::TaskKey;
