//! The supervisor: one small process per task, apart from the daemon, so that neither's crash costs the other more than one task.
//!
//! The daemon re-executes its own binary once, as the [`nursery`], which forks itself for each task; the binary's `main` hands
//! over to [`supervisor_main`] before it starts any runtime. Plain blocking code, because a runtime costs more than `/bin/true`.
//! What it does: leave the daemon's session, claim the directory, start the task, copy its output, obey `control`, stop it at
//! its limits, write `exit.json`, and be gone. It never talks to the daemon except through the directory.

pub mod capture;
pub mod cgroup;
pub mod launch;
pub mod nursery;
pub mod spec;
mod watch;

use std::io::Read;
use std::path::Path;

pub use watch::{CONTROL_KILL, CONTROL_LIMIT, CONTROL_TERM};

use crate::clock;
use crate::procfs::ProcessName;
use crate::supervisor::nursery::{Birth, NURSERY_ARGUMENT};
use crate::supervisor::spec::{Claim, ExitKind, ExitRecord, TaskSpec, take_claim, write_record};

/// Runs as the nursery, and in its forks as a supervisor, when the program's arguments (without the program's name) say so, and
/// returns the exit status; `None` when this is neither and `main` goes on. Call it first thing in `main`, while the process has
/// one thread.
pub fn supervisor_main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Option<i32> {
    if arguments.into_iter().next()? != NURSERY_ARGUMENT {
        return None;
    }
    Some(match nursery::nurse() {
        Some(Birth { directory, spec }) => supervise(&directory, spec),
        None => 0,
    })
}

/// Exit status: 0 when `exit.json` was written, 1 when it could not be, 2 when there is nothing to supervise, 3 when the
/// directory is claimed.
fn supervise(directory: &Path, mut spec: std::fs::File) -> i32 {
    // Fails only for the leader of a process group, and then the session is already its own.
    let _ = nix::unistd::setsid();
    let mut text = Vec::new();
    let read = spec.read_to_end(&mut text).is_ok();
    drop(spec);
    let Some(spec) = serde_json::from_slice::<TaskSpec>(&text).ok().filter(|_| read) else {
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
