//! The process backend with real processes. The test's own binary is the supervisor, so it has a `main` of its own.

fn main() {
    if let Some(status) = hesuan_agent::supervisor_main(std::env::args_os().skip(1)) {
        std::process::exit(status);
    }
}
