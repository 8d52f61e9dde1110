//! `hesuan` once more, as a binary of this package: cargo builds it for the tests that run the command line as people do.

use std::process::ExitCode;

fn main() -> ExitCode {
    hesuan_cli::main()
}
