//! The supervisor: one small process per task, apart from the daemon, so that neither's crash costs the other more than one task.
//!
//! The daemon re-executes its own binary as `BINARY __task DIR`; the binary's `main` hands over to [`supervisor_main`] before it
//! starts any runtime. Plain blocking code, because a runtime costs more than `/bin/true`.
//! What it does: leave the daemon's session, claim the directory, start the task, copy its output, obey `control`, stop it at
//! its limits, write `exit.json`, and be gone. It never talks to the daemon except through the directory.

pub mod capture;
pub mod cgroup;
pub mod launch;
pub mod spec;
mod watch;

use std::path::{Path, PathBuf};

pub use watch::{CONTROL_KILL, CONTROL_TERM};

use crate::clock;
use crate::procfs::ProcessName;
use crate::supervisor::spec::{Claim, ExitKind, ExitRecord, TaskSpec, read_record, take_claim, write_record};

/// First argument by which a binary knows that it is to be a supervisor.
pub const SUPERVISOR_ARGUMENT: &str = "__task";

/// Runs as a supervisor when the program's arguments (without the program's name) say so, and returns the exit status; `None` when
/// this is no supervisor and `main` goes on. Call it first thing in `main`.
pub fn supervisor_main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Option<i32> {
    let mut arguments = arguments.into_iter();
    if arguments.next()? != SUPERVISOR_ARGUMENT {
        return None;
    }
    let directory = PathBuf::from(arguments.next()?);
    Some(supervise(&directory))
}

/// Exit status: 0 when `exit.json` was written, 1 when it could not be, 2 when there is nothing to supervise, 3 when the
/// directory is claimed.
fn supervise(directory: &Path) -> i32 {
    // Fails only for the leader of a process group, and then the session is already its own.
    let _ = nix::unistd::setsid();
    let Some(spec) = read_record::<TaskSpec>(&directory.join("spec.json")) else {
        return 2;
    };
    let started_ms = clock::now_ms();
    match take_claim(
        directory,
        &Claim {
            supervisor: ProcessName::own(),
            started_ms,
        },
    ) {
        Ok(true) => {}
        Ok(false) => return 3,
        Err(_) => return 2,
    }
    let record = match launch::launch(directory, &spec) {
        Ok(launched) => watch::watch(directory, &spec, launched, started_ms),
        Err(failed) => ExitRecord {
            kind: ExitKind::StartFailed { user: failed.user },
            stopped_by: None,
            wall_ms: 0,
            cpu_ms: 0,
            memory_peak_mib: 0,
            message: failed.message,
            stdout_dropped: 0,
            stderr_dropped: 0,
        },
    };
    i32::from(write_record(&directory.join("exit.json"), &record, true).is_err())
}
