//! Traces driven through the scheduler in virtual time.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hesuan_tests::replay::{pool, swf};

/// Replays a trace in virtual time and measures what the scheduler made of it
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    replay: Replay,
}

#[derive(Subcommand)]
enum Replay {
    Swf(swf::Command),
    Pool(pool::Command),
}

fn main() -> ExitCode {
    let done = match CommandLine::parse().replay {
        Replay::Swf(command) => swf::run(&command),
        Replay::Pool(command) => pool::run(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}
