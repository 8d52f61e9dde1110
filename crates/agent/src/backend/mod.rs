//! What can run tasks: real processes, or nothing at all for measurements.
//!
//! A backend is told what to do and never blocks its caller for long; what happens comes back as
//! [`BackendEvent`]s. Every start it is given is answered by an end, sooner or later.

pub mod instant;
pub mod process;

use std::io;
use std::sync::Arc;

use hesuan_api::internal::v1::{Assignment, TaskEnd};
use hesuan_api::v1::TaskPayload;
use prost::Message;
use tokio::sync::mpsc::UnboundedSender;

use crate::core::{BackendEvent, Observed, Outcome, StopSignal};
use crate::task::TaskKey;

/// Where backends tell what happened. Unbounded, because its content is bounded by the tasks the cluster placed here.
pub type Events = UnboundedSender<BackendEvent>;

/// Something that runs tasks.
pub trait Backend: Send {
    /// Finds what it has from before the daemon started, and watches what still runs. Called once, before anything else.
    fn list_owned(&mut self) -> io::Result<Vec<Observed>>;

    /// Starts a task. The caller never gives the same key twice.
    fn start(&mut self, order: StartOrder);

    /// Signals a task; does nothing if it has ended.
    fn signal(&mut self, task: TaskKey, signal: StopSignal);

    /// A started task may take `walltime_ms_max` milliseconds in all; 0 = no limit. Given again after a restart; does nothing if it has
    /// ended.
    fn set_limit(&mut self, task: TaskKey, walltime_ms_max: u64);

    /// The task's files may go when their time is over.
    fn forget(&mut self, task: TaskKey);

    /// The site's lease holds until `until_ms` on the agent's clock.
    fn lease(&mut self, until_ms: u64);

    /// Where the lease ended when the last daemon stopped; 0 = unknown.
    fn lease_until_ms(&self) -> u64;

    /// Reads a task's output. Does IO.
    fn logs(&self) -> Box<dyn ReadLogs>;
}

/// Reads the output of tasks, apart from the backend, so that slow disks do not hold it up.
pub trait ReadLogs: Send + Sync {
    /// Up to `bytes_max` bytes of a stream from `offset` on.
    fn read(&self, task: TaskKey, stream: LogStream, offset: u64, bytes_max: u32) -> Result<LogPart, LogError>;
}

/// One of a task's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A part of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPart {
    /// The bytes from the asked offset on; empty when there are none yet or none any more.
    pub data: Vec<u8>,
    /// The task ended and this is the end of what was kept.
    pub eof: bool,
    /// Bytes dropped because the file is bounded; known when the task has ended.
    pub truncated_bytes: u64,
}

/// The output cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No such task here, or its files are gone.
    #[error("LOG_NOT_FOUND: no output of task {0} is kept here")]
    NotFound(TaskKey),
    /// The disk failed.
    #[error("LOG_UNREADABLE: {0}")]
    Io(#[from] io::Error),
}

/// What to start: the assignment, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartOrder {
    /// Which one.
    pub task: TaskKey,
    /// Program and arguments; empty when there is a script.
    pub command: Vec<String>,
    /// The script's text; empty when there is a command.
    pub script: Vec<u8>,
    /// The user's environment, in order.
    pub environment: Vec<(String, String)>,
    /// Reserved thousandths of a core.
    pub cpu_milli: u64,
    /// Reserved MiB.
    pub memory_mib: u64,
    /// Reserved GPU devices.
    pub gpu_indices: Vec<u32>,
    /// Wall time, milliseconds; 0 = no limit.
    pub walltime_ms_max: u64,
    /// Runs only under the lease.
    pub lease_bound: bool,
    /// Tasks in the job's array; 0 or 1 = a single job.
    pub array_count: u32,
    /// Names of all hosts of the task, by rank; of one on a single host that one's.
    pub hosts: Arc<[String]>,
}

impl StartOrder {
    /// Takes an assignment apart, into an order for each of its nodes by rank; a spec that nothing can be made of is a failed start, at
    /// the user's cost.
    pub fn from_assignment(task: TaskKey, assignment: Assignment) -> Result<Vec<StartOrder>, Outcome> {
        let refuse = |why: &str| Outcome {
            start_error_user: true,
            ..Outcome::unused(TaskEnd::StartFailed, why.to_owned())
        };
        let payload =
            TaskPayload::decode(&assignment.payload[..]).map_err(|error| refuse(&format!("bad payload: {error}")))?;
        if payload.command.is_empty() == assignment.script.is_empty() {
            return Err(refuse("a task has either a command or a script"));
        }
        let environment: Vec<(String, String)> = payload
            .environment
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        let bad_name = |name: &str| name.is_empty() || name.contains(['=', '\0']);
        if let Some((name, _)) = environment
            .iter()
            .find(|(name, value)| bad_name(name) || value.contains('\0'))
        {
            return Err(refuse(&format!("environment variable {name:?} cannot be set")));
        }
        let (hosts, devices): (Vec<String>, Vec<Vec<u32>>) = if assignment.nodes.is_empty() {
            (vec![assignment.host], vec![assignment.gpu_indices])
        } else {
            let nodes = assignment.nodes.into_iter();
            nodes.map(|node| (node.host, node.gpu_indices)).unzip()
        };
        let first = StartOrder {
            task,
            command: payload.command,
            script: assignment.script,
            environment,
            cpu_milli: assignment.cpu_milli,
            memory_mib: assignment.memory_mib,
            gpu_indices: Vec::new(),
            walltime_ms_max: assignment.walltime_ms_max,
            lease_bound: assignment.requeue_on_site_lost,
            array_count: assignment.array_count,
            hosts: hosts.into(),
        };
        let of_node = |(node, gpu_indices)| StartOrder {
            task: task.with_node(node),
            gpu_indices,
            ..first.clone()
        };
        Ok((0..).zip(devices).map(of_node).collect())
    }
}
