//! The shell around the step machines: configuration, threads, gRPC, peers, shutdown. No business rules live here.
//!
//! `main` is a library function, so that a test binary can be a daemon by re-executing itself (see [`dispatch_reexec`]).

pub mod clock;
pub mod cluster_file;
mod command_line;
pub mod config;

use std::process::ExitCode;

/// `hesuand`: parses the process's arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    command_line::run(std::env::args_os())
}

/// To be called first thing in the `main` of every binary that may be a daemon or a task's supervisor: does that part if the first
/// argument says so, before any runtime starts.
#[must_use]
pub fn dispatch_reexec() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    let part = arguments.next()?;
    match part.to_str()? {
        "__daemon" => Some(command_line::run(std::iter::once(program).chain(arguments))),
        _ => None,
    }
}
