//! Real processes: a directory and a supervisor per task.
//!
//! Threads: two starters make directories and ask the nursery for supervisors, one watcher waits for their ends, one cleaner removes old directories.
//! None of them is needed by a running task; they only look at it. What survives the daemon is on disk and in the supervisors.

mod logs;
mod owned;
mod retention;
mod start;
mod watcher;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hesuan_api::internal::v1::TaskEnd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Backend, Events, ReadLogs, StartOrder};
use crate::core::{BackendEvent, Observed, Outcome, StopSignal};
use crate::procfs;
use crate::supervisor::cgroup::CgroupPlan;
use crate::supervisor::nursery::Nursery;
use crate::supervisor::spec::{
    ExitKind, ExitRecord, LIMIT_FILE, LeaseFile, LimitFile, StoppedBy, read_record, write_record,
};
use crate::supervisor::{CONTROL_KILL, CONTROL_LIMIT, CONTROL_TERM};
use crate::task::TaskKey;

/// Threads that start tasks. A start is mostly waiting for the kernel.
const STARTERS: usize = 2;

/// Settings of the process backend.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Directory of the agent; tasks lie under `tasks/` in it.
    pub directory: PathBuf,
    /// The binary that becomes the nursery of supervisors when its first argument is `__tasks`.
    pub supervisor: PathBuf,
    /// From SIGTERM to SIGKILL when a supervisor acts alone, milliseconds.
    pub kill_grace_ms: u64,
    /// Bytes kept of each output stream.
    pub output_bytes_max: u64,
    /// Open files a task may have.
    pub open_files_max: u64,
    /// Largest file a task may write, bytes.
    pub file_bytes_max: u64,
    /// Directories of settled tasks kept for their logs, at most.
    pub kept_tasks_max: usize,
    /// How long they are kept at most, milliseconds.
    pub kept_ms_max: u64,
    /// Whether to limit memory and CPU by control groups where the kernel lets us.
    pub cgroups: bool,
}

impl ProcessConfig {
    /// The usual bounds, with tasks under `directory` and this very binary as the supervisor.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<ProcessConfig> {
        Ok(ProcessConfig {
            directory: directory.into(),
            supervisor: std::env::current_exe()?,
            kill_grace_ms: 5_000,
            output_bytes_max: 16 << 20,
            open_files_max: 65_536,
            file_bytes_max: 1 << 40,
            kept_tasks_max: 10_000,
            kept_ms_max: 24 * 3_600_000,
            cgroups: true,
        })
    }
}

/// Runs tasks as processes of this machine.
pub struct ProcessBackend {
    shared: Arc<Shared>,
    orders: Option<Sender<StartOrder>>,
    forgotten: Option<Sender<retention::Forgotten>>,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads of the backend see.
struct Shared {
    config: ProcessConfig,
    cgroup: CgroupPlan,
    boot_id: String,
    events: Events,
    tasks: Mutex<HashMap<TaskKey, Entry>>,
    watcher: watcher::Watcher,
    nursery: Nursery,
}

/// A task that has not ended.
enum Entry {
    /// A starter has it or will have it; what its supervisor is to be told waits.
    Starting(Vec<Word>),
    /// Its supervisor runs.
    Running(Supervised),
}

/// What a supervisor is told.
#[derive(Clone, Copy)]
enum Word {
    Stop(StopSignal),
    /// Milliseconds; 0 = no limit.
    Limit(u64),
}

/// A running supervisor.
struct Supervised {
    /// The write end of its FIFO; in error once the supervisor, the only reader, is gone.
    control: File,
}

impl Supervised {
    /// Passes a signal on. Fails when the supervisor is gone, and then the watcher is about to notice.
    fn command(&mut self, task: TaskKey, signal: StopSignal) {
        self.write(
            task,
            match signal {
                StopSignal::Term => CONTROL_TERM,
                StopSignal::Kill => CONTROL_KILL,
            },
        );
    }

    /// The limit lies in a file, because a supervisor must know it also when it is looked for later; the byte says that it is there.
    fn set_limit(&mut self, task: TaskKey, directory: &Path, walltime_ms_max: u64) {
        let limit = LimitFile { walltime_ms_max };
        match write_record(&directory.join(LIMIT_FILE), &limit, false) {
            Ok(()) => self.write(task, CONTROL_LIMIT),
            // The task is then stopped at its old limit by its supervisor, or at a shorter one by the daemon alone.
            Err(error) => tracing::warn!(%task, %error, "time limit not written"),
        }
    }

    fn write(&mut self, task: TaskKey, command: u8) {
        if let Err(error) = self.control.write_all(&[command]) {
            let command = char::from(command);
            tracing::debug!(%task, %command, %error, "supervisor not reached");
        }
    }
}

impl ProcessBackend {
    /// Makes the directories, looks for control groups, and starts the threads.
    pub fn new(config: ProcessConfig, events: Events) -> io::Result<ProcessBackend> {
        fs::create_dir_all(config.directory.join("tasks"))?;
        // Supervisors get their directory as an argument and change theirs.
        let config = ProcessConfig {
            directory: config.directory.canonicalize()?,
            ..config
        };
        let label = format!(
            "hesuan-{:08x}",
            crc32c::crc32c(config.directory.as_os_str().as_encoded_bytes())
        );
        let cgroup = if config.cgroups {
            CgroupPlan::detect(&label)
        } else {
            CgroupPlan::None
        };
        tracing::info!(
            ?cgroup,
            memory_limited = cgroup.limits_memory(),
            "control groups looked for"
        );
        // Each running task costs the daemon a descriptor.
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
        let shared = Arc::new(Shared {
            cgroup,
            boot_id: procfs::boot_id(),
            events,
            tasks: Mutex::new(HashMap::new()),
            watcher: watcher::Watcher::new()?,
            nursery: Nursery::start(&config.supervisor)?,
            config,
        });
        let (orders, to_start) = channel::<StartOrder>();
        let to_start = Arc::new(Mutex::new(to_start));
        let (forgotten, to_remove) = channel();
        let mut threads = Vec::new();
        for _ in 0..STARTERS {
            let (shared, to_start) = (shared.clone(), to_start.clone());
            threads.push(spawn_thread("agent-start", move || start_all(&shared, &to_start))?);
        }
        let watching = shared.clone();
        threads.push(spawn_thread("agent-watch", move || watching.watch_all())?);
        let cleaning = shared.clone();
        threads.push(spawn_thread("agent-clean", move || {
            retention::remove_old(&cleaning, &to_remove)
        })?);
        Ok(ProcessBackend {
            shared,
            orders: Some(orders),
            forgotten: Some(forgotten),
            threads,
        })
    }

    /// What this machine's kernel offers for limiting tasks.
    pub fn cgroup_plan(&self) -> &CgroupPlan {
        &self.shared.cgroup
    }
}

impl Backend for ProcessBackend {
    fn list_owned(&mut self) -> io::Result<Vec<Observed>> {
        self.shared.list_owned()
    }

    fn start(&mut self, order: StartOrder) {
        self.shared.lock_tasks().insert(order.task, Entry::Starting(Vec::new()));
        self.orders
            .as_ref()
            .expect("taken only when dropped")
            .send(order)
            .expect("the starters run as long as this");
    }

    fn signal(&mut self, task: TaskKey, signal: StopSignal) {
        self.shared.tell_supervisor(task, Word::Stop(signal));
    }

    fn set_limit(&mut self, task: TaskKey, walltime_ms_max: u64) {
        self.shared.tell_supervisor(task, Word::Limit(walltime_ms_max));
    }

    fn forget(&mut self, task: TaskKey) {
        let sender = self.forgotten.as_ref().expect("taken only when dropped");
        sender
            .send(retention::Forgotten { task })
            .expect("the cleaner runs as long as this");
    }

    fn lease(&mut self, until_ms: u64) {
        let lease = LeaseFile {
            boot_id: self.shared.boot_id.clone(),
            until_ms,
        };
        if let Err(error) = write_record(&self.shared.lease_path(), &lease, false) {
            // Supervisors then see the lease end early and stop their tasks: the safe side.
            tracing::warn!(%error, "lease file not written");
        }
    }

    fn lease_until_ms(&self) -> u64 {
        read_record::<LeaseFile>(&self.shared.lease_path())
            .filter(|lease| lease.boot_id == self.shared.boot_id)
            .map_or(0, |lease| lease.until_ms)
    }

    fn logs(&self) -> Box<dyn ReadLogs> {
        Box::new(logs::Logs::new(self.shared.tasks_directory()))
    }
}

impl Drop for ProcessBackend {
    /// Ends the threads. The tasks go on.
    fn drop(&mut self) {
        self.orders = None;
        self.forgotten = None;
        self.shared.watcher.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
        // A supervisor that has only just begun may be about to make its group there.
        if self.shared.lock_tasks().is_empty() {
            self.shared.cgroup.remove_if_empty();
        }
    }
}

impl Shared {
    fn tasks_directory(&self) -> PathBuf {
        self.config.directory.join("tasks")
    }

    fn task_directory(&self, task: TaskKey) -> PathBuf {
        self.tasks_directory().join(task.to_string())
    }

    fn lease_path(&self) -> PathBuf {
        self.config.directory.join("lease.json")
    }

    fn lock_tasks(&self) -> std::sync::MutexGuard<'_, HashMap<TaskKey, Entry>> {
        self.tasks.lock().expect("nobody panics with the tasks in hand")
    }

    fn tell_supervisor(&self, task: TaskKey, word: Word) {
        match self.lock_tasks().get_mut(&task) {
            Some(Entry::Starting(waiting)) => waiting.push(word),
            Some(Entry::Running(supervised)) => self.pass_on(task, supervised, word),
            None => {}
        }
    }

    fn pass_on(&self, task: TaskKey, supervised: &mut Supervised, word: Word) {
        match word {
            Word::Stop(signal) => supervised.command(task, signal),
            Word::Limit(walltime_ms_max) => supervised.set_limit(task, &self.task_directory(task), walltime_ms_max),
        }
    }

    fn tell(&self, event: BackendEvent) {
        // When nobody listens any more, the daemon is stopping, and the next one finds everything on disk.
        let _ = self.events.send(event);
    }
}

fn start_all(shared: &Shared, orders: &Mutex<Receiver<StartOrder>>) {
    loop {
        let order = orders.lock().expect("receiving does not panic").recv();
        let Ok(order) = order else { return };
        shared.start(order);
    }
}

fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// The end of a task as its supervisor wrote it, if it did.
fn read_exit(directory: &Path) -> Option<Outcome> {
    let record = read_record::<ExitRecord>(&directory.join("exit.json"))?;
    let (end, exit_code, signal, start_error_user) = match record.kind {
        ExitKind::Code(code) => (TaskEnd::Exited, code, 0, false),
        ExitKind::Signal(signal) => (TaskEnd::Signalled, 0, signal.unsigned_abs(), false),
        ExitKind::StartFailed { user } => (TaskEnd::StartFailed, 0, 0, user),
    };
    let end = match record.stopped_by {
        None => end,
        Some(StoppedBy::TimeLimit) => TaskEnd::TimeLimit,
        Some(StoppedBy::Lease) => TaskEnd::LeaseExpired,
        Some(StoppedBy::Memory) => TaskEnd::MemoryLimit,
    };
    Some(Outcome {
        end,
        exit_code,
        signal,
        wall_ms: record.wall_ms,
        cpu_ms: record.cpu_ms,
        memory_peak_mib: record.memory_peak_mib,
        message: record.message,
        start_error_user,
    })
}
