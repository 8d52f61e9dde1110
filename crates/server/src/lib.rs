//! The shell around the step machines: configuration, threads, gRPC, peers, shutdown. No business rules live here.
//!
//! `main` is a library function, so that a test binary can be a daemon by re-executing itself (see [`dispatch_reexec`]).
//!
//! Threads: RAFT owns the node ([`raft`]), LOG the log store ([`log`]), APPLY the state ([`apply`]), SNAP the snapshots and
//! the archive ([`disk`]); tokio does the network ([`services`], [`peer`]). [`daemon`] puts them together.

mod agents;
mod apply;
mod clock;
pub mod cluster_file;
mod command_line;
pub mod config;
mod daemon;
mod demo;
mod disk;
mod fatal;
mod log;
mod peer;
mod raft;
mod services;
mod waiters;

use std::process::ExitCode;

/// `hesuand`: parses the process's arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    command_line::run(std::env::args_os())
}

/// To be called first thing in the `main` of every binary that may be a daemon (`__daemon`, followed by the arguments of
/// `hesuand`) or the nursery of its tasks' supervisors (`__tasks`): does that part if the first argument says so, before any runtime starts.
#[must_use]
pub fn dispatch_reexec() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    let rest: Vec<_> = arguments.collect();
    if let Some(status) = hesuan_agent::supervisor_main(rest.iter().cloned()) {
        return Some(ExitCode::from(u8::try_from(status).unwrap_or(1)));
    }
    let (part, rest) = rest.split_first()?;
    (part == "__daemon").then(|| command_line::run(std::iter::once(program).chain(rest.iter().cloned())))
}
