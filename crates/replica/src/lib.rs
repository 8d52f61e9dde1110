//! A replica as step machines: bytes and the time go in, outputs come out. The server puts them on threads; the simulator
//! drives the very same structs on one.
//!
//! [`node`] is Raft, [`store`] its log, [`wire`] its words; [`bundler`] packs commands into entries, [`clock`] guards the clock
//! that stamps them. [`applier`] owns the state, [`snapshot`] and [`archive`] are what it leaves on disk through
//! [`files`]; [`leader`] plans beside it. What must not live here: tokio, sockets, threads, and rules of jobs or money.

pub mod applier;
pub mod archive;
pub mod bundler;
pub mod clock;
pub mod files;
mod frame;
pub mod leader;
pub mod node;
pub mod snapshot;
pub mod store;
pub mod wire;
