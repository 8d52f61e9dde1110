//! How the process ends when it must not go on: at once, with one line that says why.
//!
//! A sync error, a damaged entry or a panic on any thread means that what this replica believes may be wrong; another replica
//! is right. Going on is worse than stopping.

use std::process::abort;

/// Ends the process.
pub(crate) fn fatal(what: &str, why: impl std::fmt::Display) -> ! {
    tracing::error!(%why, "{what}");
    eprintln!("hesuand: {what}: {why}; stopping at once");
    abort();
}

/// From here on a panic on any thread ends the process, after the usual message and backtrace.
pub(crate) fn abort_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        eprintln!("hesuand: an invariant is broken; stopping at once");
        abort();
    }));
}

/// Starts a named thread; the handle's owner waits for it.
pub(crate) fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(body) {
        Ok(handle) => handle,
        Err(error) => fatal("cannot start a thread", error),
    }
}
