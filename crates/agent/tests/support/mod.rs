//! A backend in a temporary directory with its events collected, and a small test runner, since the test binary has its own `main`.

pub(crate) mod replica;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hesuan_agent::TaskKey;
use hesuan_agent::backend::process::{ProcessBackend, ProcessConfig};
use hesuan_agent::backend::{Backend, LogStream, StartOrder};
use hesuan_agent::core::{BackendEvent, Outcome};
use hesuan_agent::supervisor::cgroup::CgroupPlan;
use hesuan_agent::supervisor::nursery::{NURSERY_ARGUMENT, Nursery};
use hesuan_agent::supervisor::spec::{Claim, TaskSpec, read_record};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const PATIENCE: Duration = Duration::from_secs(30);

/// A named test.
pub(crate) type Test = (&'static str, fn());

/// Runs the tests whose names contain one of the arguments, all without any.
pub(crate) fn run_all(tests: &[Test]) {
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let mut failed = Vec::new();
    for (name, test) in tests.iter().filter(|(name, _)| wanted(name)) {
        let result = catch_unwind(AssertUnwindSafe(test));
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        if result.is_err() {
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        println!("failed: {failed:?}");
        std::process::exit(101);
    }
}

/// The first attempt of job `job`.
pub(crate) fn key(job: u64) -> TaskKey {
    TaskKey {
        job,
        task: 0,
        attempt: 1,
        restore_epoch: 0,
        node: 0,
    }
}

/// A command to start.
pub(crate) fn order(job: u64, command: &[&str]) -> StartOrder {
    StartOrder {
        task: key(job),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        script: Vec::new(),
        environment: Vec::new(),
        cpu_milli: 0,
        memory_mib: 0,
        gpu_indices: Vec::new(),
        walltime_ms_max: 60_000,
        lease_bound: false,
        array_count: 1,
        hosts: ["h1".to_owned()].into(),
    }
}

/// A script to start.
pub(crate) fn script(job: u64, text: &str) -> StartOrder {
    StartOrder {
        script: text.as_bytes().to_vec(),
        ..order(job, &[])
    }
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process of this number does anything still.
pub(crate) fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// `kill -9`.
pub(crate) fn kill(pid: i32) {
    let status = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .expect("kill is there");
    assert!(status.success());
}

/// The process number of the nursery, a child of this process.
pub(crate) fn nursery() -> i32 {
    let own = format!(") S {} ", std::process::id());
    let is_nursery = |pid: &i32| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("stat").contains(&own) && read("cmdline").contains(NURSERY_ARGUMENT)
    };
    let processes = fs::read_dir("/proc").expect("proc is mounted where tests run");
    let pids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(is_nursery).expect("the backend has one")
}

/// A process backend and what it told.
pub(crate) struct Bench {
    pub(crate) backend: ProcessBackend,
    events: UnboundedReceiver<BackendEvent>,
    started: HashMap<TaskKey, u64>,
    ended: HashMap<TaskKey, Outcome>,
    config: ProcessConfig,
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ProcessConfig)) -> Bench {
        let directory = TempDir::new().expect("a temporary directory");
        let mut config = ProcessConfig::new(directory.path()).expect("this binary is known");
        change(&mut config);
        Bench::open(directory, config)
    }

    pub(crate) fn open(directory: TempDir, config: ProcessConfig) -> Bench {
        let (sender, events) = unbounded_channel();
        let backend = ProcessBackend::new(config.clone(), sender).expect("can be made");
        Bench {
            backend,
            events,
            started: HashMap::new(),
            ended: HashMap::new(),
            config,
            directory,
        }
    }

    /// Drops the backend as the end of a daemon would.
    pub(crate) fn stop(self) -> (TempDir, ProcessConfig) {
        drop(self.backend);
        (self.directory, self.config)
    }

    /// A new backend over the same directory.
    pub(crate) fn restart(self) -> Bench {
        let (directory, config) = self.stop();
        Bench::open(directory, config)
    }

    pub(crate) fn task_directory(&self, task: TaskKey) -> PathBuf {
        self.config.directory.join("tasks").join(task.to_string())
    }

    fn take_event(&mut self, what: &str) {
        let mut event = None;
        let events = &mut self.events;
        wait_until(what, || {
            event = events.try_recv().ok();
            event.is_some()
        });
        match event.expect("waited for") {
            BackendEvent::Started { task, at_ms } => {
                assert_eq!(self.started.insert(task, at_ms), None, "{task} started twice");
            }
            BackendEvent::Ended { task, outcome } => {
                assert_eq!(self.ended.insert(task, outcome), None, "{task} ended twice");
            }
            BackendEvent::Usage { .. } => {}
        }
    }

    pub(crate) fn started(&mut self, task: TaskKey) {
        while !self.started.contains_key(&task) {
            self.take_event("the task is started");
        }
    }

    pub(crate) fn ended(&mut self, task: TaskKey) -> Outcome {
        loop {
            if let Some(outcome) = self.ended.remove(&task) {
                return outcome;
            }
            self.take_event("the task has ended");
        }
    }

    pub(crate) fn log(&self, job: u64, stream: LogStream) -> String {
        let part = self
            .backend
            .logs()
            .read(key(job), stream, 0, u32::MAX)
            .expect("readable");
        assert!(part.eof);
        String::from_utf8(part.data).expect("text")
    }

    /// The process numbers a task wrote into a file of its home.
    pub(crate) fn pids(&self, task: TaskKey, file: &str, count: usize) -> Vec<i32> {
        let path = self.task_directory(task).join("home").join(file);
        let read = || -> Vec<i32> {
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        wait_until("the task wrote its process numbers", || read().len() == count);
        read()
    }

    /// The supervisor's process number, once it has claimed the task.
    pub(crate) fn pids_of_claim(&self, task: TaskKey) -> i32 {
        let path = self.task_directory(task).join("claim.json");
        let mut found = None;
        wait_until("the supervisor claimed the task", || {
            found = read_record::<Claim>(&path).and_then(|claim| claim.supervisor);
            found.is_some()
        });
        found.expect("waited for").pid
    }

    /// Asks for a supervisor of a directory that is there already, and waits until it is gone again.
    pub(crate) fn supervise_late(&self, task: TaskKey) {
        let directory = self.task_directory(task);
        let control = directory.join("control");
        let read_end = OpenOptions::new().read(true).write(true).open(&control).expect("there");
        let spec = TaskSpec {
            task: task.to_string(),
            command: Vec::new(),
            environment: Vec::new(),
            cpu_milli: 0,
            memory_mib: 0,
            walltime_ms_max: 60_000,
            kill_grace_ms: 0,
            output_bytes_max: 0,
            open_files_max: 1_024,
            file_bytes_max: 1 << 20,
            lease: None,
            cgroup: CgroupPlan::None,
        };
        let nursery = Nursery::start(&self.config.supervisor).expect("startable");
        nursery.supervise(&directory, read_end, &spec).expect("told");
        let mut to_nobody = OpenOptions::new();
        to_nobody.write(true).custom_flags(nix::libc::O_NONBLOCK);
        wait_until("the supervisor is gone", || to_nobody.open(&control).is_err());
    }

    pub(crate) fn cgroup_plan_is_none(&self) -> bool {
        *self.backend.cgroup_plan() == CgroupPlan::None
    }

    pub(crate) fn limits_memory(&self) -> bool {
        self.backend.cgroup_plan().limits_memory()
    }

    /// Task groups that still exist.
    pub(crate) fn groups_left(&self) -> usize {
        let parents = match self.backend.cgroup_plan().clone() {
            CgroupPlan::None => Vec::new(),
            CgroupPlan::V1 { memory, cpu } => memory.into_iter().chain(cpu).map(|found| found.parent).collect(),
            CgroupPlan::V2(found) => vec![found.parent],
        };
        let directories = |parent: PathBuf| {
            fs::read_dir(parent).map_or(0, |entries| {
                entries.flatten().filter(|entry| entry.path().is_dir()).count()
            })
        };
        parents.into_iter().map(directories).sum()
    }
}
