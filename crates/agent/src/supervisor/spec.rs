//! The files by which daemon and supervisor talk: what to run, who runs it, and how it ended.
//!
//! The daemon sends the spec along when it asks for a supervisor. In a task's directory lie `claim.json` (who supervises; made at
//! most once), `exit.json` (how it ended), `limit.json` (another time limit than the spec's; made when there is one), `stdout` and `stderr` (made at the first byte), `script`, the FIFO `control` (commands to the supervisor, its only
//! reader, so that a writer sees at once when the supervisor is gone), and the task's own `home`, which is also its TMPDIR.
//! Few files, because at hundreds of tasks a second making inodes is what the machine does most.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::procfs::ProcessName;
use crate::supervisor::cgroup::CgroupPlan;

/// What the supervisor is to run, and under which bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task's name, also that of its control groups.
    pub task: String,
    /// Program and arguments; empty when the directory holds a script.
    pub command: Vec<String>,
    /// The whole environment, in order; a later entry wins.
    pub environment: Vec<(String, String)>,
    /// CPU quota in thousandths of a core; 0 = none.
    pub cpu_milli: u64,
    /// Memory limit in MiB; 0 = none.
    pub memory_mib: u64,
    /// Wall time after which the task is stopped, in milliseconds; 0 = none.
    pub walltime_ms_max: u64,
    /// From SIGTERM to SIGKILL when the supervisor stops the task on its own account, in milliseconds.
    pub kill_grace_ms: u64,
    /// Bytes kept of each output stream.
    pub output_bytes_max: u64,
    /// Open files the task may have.
    pub open_files_max: u64,
    /// Largest file the task may write, in bytes.
    pub file_bytes_max: u64,
    /// File with the site's lease; present when the task may run only under it.
    pub lease: Option<PathBuf>,
    /// Where to limit memory and CPU.
    pub cgroup: CgroupPlan,
}

/// Who supervises a task. The file can be made once only, so exactly one process ever holds it; the daemon takes it itself
/// (`supervisor` empty) to make sure that a supervisor which has not begun never will. A file that is not whole yet is a
/// claim as well: its maker starts the task only after it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The supervisor, or nobody when the daemon revoked the start.
    pub supervisor: Option<ProcessName>,
    /// Agent's clock at the start, milliseconds.
    pub started_ms: u64,
}

/// Why the supervisor stopped its task on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// The wall time was used up.
    TimeLimit,
    /// The site's lease ended while no daemon was there to see to it.
    Lease,
    /// The memory limit was reached and the kernel killed.
    Memory,
}

/// How the task's first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitKind {
    /// It left with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It never ran; the fault is the user's (no such program) or ours.
    StartFailed {
        /// Whether the spec is to blame and not this machine.
        user: bool,
    },
}

/// The whole end of a task, as `exit.json` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// How it ended.
    pub kind: ExitKind,
    /// Why the supervisor stopped it, if it did.
    pub stopped_by: Option<StoppedBy>,
    /// Start to end, milliseconds.
    pub wall_ms: u64,
    /// CPU time the kernel counted, milliseconds.
    pub cpu_ms: u64,
    /// Largest memory in use, MiB.
    pub memory_peak_mib: u64,
    /// For people: what could not be started, and why.
    pub message: String,
    /// Bytes of standard output that were not kept.
    pub stdout_dropped: u64,
    /// Bytes of standard error that were not kept.
    pub stderr_dropped: u64,
}

/// Reads a record; `None` when it is not there or not whole.
pub fn read_record<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a record so that a reader sees it whole or not at all.
///
/// With `sync` its content is on disk before its name is. The directory is not synced: after a power cut the name may be missing, and
/// then the task is reported lost, which is the truth for whoever can only look at this disk. What must not happen is a name
/// with half a record behind it, and rename after fdatasync excludes that.
pub fn write_record<T: Serialize>(path: &Path, record: &T, sync: bool) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    if sync {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)
}

/// Takes the claim of a task's directory. `false` when somebody else has it already.
pub fn take_claim(directory: &Path, claim: &Claim) -> io::Result<bool> {
    match File::create_new(directory.join("claim.json")) {
        Ok(mut file) => file.write_all(&serde_json::to_vec(claim)?).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The site's lease as supervisors read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseFile {
    /// The boot whose clock it counts on.
    pub boot_id: String,
    /// Agent's clock at which it ends, milliseconds.
    pub until_ms: u64,
}

/// Name of the file in a task's directory that holds a [`LimitFile`].
pub const LIMIT_FILE: &str = "limit.json";

/// The time limit of one task as it was changed last. Replaced as a whole; without it the spec's holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitFile {
    /// Wall time after which the task is stopped, in milliseconds from its start; 0 = none.
    pub walltime_ms_max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_taken_once_and_its_holder_is_readable() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let first = Claim {
            supervisor: ProcessName::own(),
            started_ms: 5,
        };
        assert!(take_claim(directory.path(), &first).expect("writable"));
        assert!(
            !take_claim(
                directory.path(),
                &Claim {
                    supervisor: None,
                    started_ms: 6
                }
            )
            .expect("writable")
        );
        assert_eq!(read_record::<Claim>(&directory.path().join("claim.json")), Some(first));
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1);
    }
}
