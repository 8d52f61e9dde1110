//! `hesuan`: the command line of the cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    hesuan_cli::main()
}
