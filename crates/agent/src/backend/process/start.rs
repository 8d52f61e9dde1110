//! Starting one task: its directory, its spec, its supervisor.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use hesuan_api::internal::v1::TaskEnd;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Entry, Shared, Supervised};
use crate::backend::StartOrder;
use crate::clock;
use crate::core::{BackendEvent, Outcome};
use crate::supervisor::launch::PATH_DEFAULT;
use crate::supervisor::spec::TaskSpec;
use crate::task::TaskKey;

impl Shared {
    /// Starts a task and hands it to the watcher, or says why not.
    pub(super) fn start(&self, order: StartOrder) {
        let task = order.task;
        let directory = self.task_directory(task);
        let outcome = match make_private_directory(&directory) {
            Ok(()) => match self.spawn(&order, &directory) {
                Ok(supervised) => {
                    self.tell(BackendEvent::Started {
                        task,
                        at_ms: clock::now_ms(),
                    });
                    self.watch(task, supervised);
                    return;
                }
                Err(error) => Outcome::unused(TaskEnd::StartFailed, format!("cannot start the supervisor: {error}")),
            },
            // The core never gives a key twice, so this is not our start. The second line of the at-most-once rule.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Outcome::unused(
                TaskEnd::Lost,
                "the task's directory exists already: it may have been started before",
            ),
            Err(error) => Outcome::unused(
                TaskEnd::StartFailed,
                format!("cannot make the task's directory: {error}"),
            ),
        };
        self.lock_tasks().remove(&task);
        self.tell(BackendEvent::Ended { task, outcome });
    }

    fn spawn(&self, order: &StartOrder, directory: &Path) -> io::Result<Supervised> {
        make_private_directory(&directory.join("home"))?;
        if !order.script.is_empty() {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o700)
                .open(directory.join("script"))?;
            io::Write::write_all(&mut file, &order.script)?;
        }
        mkfifo(&directory.join("control"), Mode::from_bits_truncate(0o600))?;
        // Open for both, so that the supervisor can be commanded from its first moment and never sees an end.
        let read_end = OpenOptions::new()
            .read(true)
            .write(true)
            .open(directory.join("control"))?;
        let control = open_control(directory)?;
        self.nursery
            .supervise(directory, read_end, &self.spec(order, directory))?;
        Ok(Supervised { control })
    }

    fn spec(&self, order: &StartOrder, directory: &Path) -> TaskSpec {
        TaskSpec {
            task: order.task.to_string(),
            command: order.command.clone(),
            environment: environment(order, directory),
            cpu_milli: order.cpu_milli,
            memory_mib: order.memory_mib,
            walltime_ms_max: order.walltime_ms_max,
            kill_grace_ms: self.config.kill_grace_ms,
            output_bytes_max: self.config.output_bytes_max,
            open_files_max: self.config.open_files_max,
            file_bytes_max: self.config.file_bytes_max,
            lease: order.lease_bound.then(|| self.lease_path()),
            cgroup: self.cgroup.clone(),
        }
    }

    /// Hands a running task to the watcher and passes on what came too early.
    pub(super) fn watch(&self, task: TaskKey, mut supervised: Supervised) {
        let mut tasks = self.lock_tasks();
        if let Some(Entry::Starting(waiting)) = tasks.remove(&task) {
            for word in waiting {
                self.pass_on(task, &mut supervised, word);
            }
        }
        // While the list is locked, so that the watcher finds the task in it even if its supervisor is gone already.
        self.watcher.add(task, &supervised.control);
        tasks.insert(task, Entry::Running(supervised));
    }
}

/// The write end of a task's `control`. Fails when nobody reads there, that is, when there is no supervisor.
pub(super) fn open_control(directory: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(directory.join("control"))
}

/// Other users of the machine must not read what tasks write.
fn make_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// The whole environment of the task: a few defaults, the user's, and what nobody may overrule.
fn environment(order: &StartOrder, directory: &Path) -> Vec<(String, String)> {
    let home = directory.join("home").to_string_lossy().into_owned();
    let gpus = order
        .gpu_indices
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let mut environment: Vec<(String, String)> = [
        ("PATH", PATH_DEFAULT.to_owned()),
        ("HOME", home.clone()),
        ("TMPDIR", home),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    environment.extend(order.environment.iter().cloned());
    environment.extend(
        [
            ("HESUAN_JOB_ID", order.task.job.to_string()),
            ("HESUAN_TASK_ID", order.task.task.to_string()),
            ("HESUAN_ATTEMPT", order.task.attempt.to_string()),
            ("HESUAN_ARRAY_COUNT", order.array_count.to_string()),
            ("HESUAN_NODE_RANK", order.task.node.to_string()),
            ("HESUAN_NODES", order.hosts.len().to_string()),
            ("HESUAN_NODE_LIST", order.hosts.join(",")),
            ("HESUAN_CPUS", order.cpu_milli.div_ceil(1000).to_string()),
            ("HESUAN_GPUS", gpus.clone()),
            // Set to nothing without GPUs, so that a task cannot use what another one reserved.
            ("CUDA_VISIBLE_DEVICES", gpus),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    environment
}
