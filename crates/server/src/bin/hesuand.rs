//! The daemon. Everything is in the library, so that a test binary can be a daemon as well.

fn main() -> std::process::ExitCode {
    if let Some(code) = hesuan_server::dispatch_reexec() {
        return code;
    }
    hesuan_server::main()
}
