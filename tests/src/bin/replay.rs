//! Replays recorded work through the production scheduler, in virtual time.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hesuan_tests::replay::openb;

/// Replays recorded work through the production scheduler
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    replay: Replay,
}

#[derive(Subcommand)]
enum Replay {
    Openb(openb::Options),
}

fn main() -> ExitCode {
    let result = match CommandLine::parse().replay {
        Replay::Openb(options) => openb::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}
