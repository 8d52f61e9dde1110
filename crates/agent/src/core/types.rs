//! What goes into the core and what comes out of it.

use hesuan_api::internal::v1::{AgentMessage, Assignment, Hello, TaskEnd};

use crate::task::TaskKey;

/// Settings of the core. All times are in milliseconds.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// First message of every stream: site, instance, hosts, version.
    pub hello: Hello,
    /// From SIGTERM to SIGKILL.
    pub kill_grace_ms: u64,
    /// Unacknowledged reports are repeated after this.
    pub report_retry_ms: u64,
    /// A start is reported only if the task still runs after this, so that short tasks cost one report.
    pub started_report_delay_ms: u64,
    /// Reports in one message at most.
    pub report_batch_max: usize,
    /// Between heartbeats.
    pub heartbeat_ms: u64,
    /// Without a lease for so long, the replica on the other end is taken to be cut off or removed, and another one is dialled.
    pub lease_silence_ms: u64,
    /// Running tasks in one heartbeat at most; the others come in the next ones.
    pub usage_batch_max: usize,
    /// The journal is rewritten when it has this many records more than four times what is still needed.
    pub journal_slack_records: usize,
    /// Where the lease ended when the daemon stopped, on the same clock as `now`; 0 = unknown, which is ended.
    pub lease_until_ms: u64,
    /// Which bug is built in on purpose.
    #[cfg(feature = "planted")]
    pub planted: Planted,
}

impl CoreConfig {
    /// The usual times for an agent that introduces itself with `hello`.
    pub fn new(hello: Hello) -> CoreConfig {
        CoreConfig {
            hello,
            kill_grace_ms: 5_000,
            report_retry_ms: 2_000,
            started_report_delay_ms: 200,
            report_batch_max: 512,
            heartbeat_ms: 1_000,
            lease_silence_ms: 15_000,
            usage_batch_max: 1_000,
            journal_slack_records: 20_000,
            lease_until_ms: 0,
            #[cfg(feature = "planted")]
            planted: Planted::None,
        }
    }
}

/// Bugs for the simulator to find.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None: the code as shipped.
    #[default]
    None,
    /// After a crash, a journalled start that the backend does not know is forgotten, and so started again.
    StartTwiceAfterCrash,
}

/// A point in the cluster's history: the restore epoch, then the applied index. What was said at a later point holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    /// Restores of the cluster from a backup so far.
    pub restore_epoch: u32,
    /// Index of the last entry that was applied.
    pub applied_index: u64,
}

/// How a task ended, as far as this site can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The way it ended.
    pub end: TaskEnd,
    /// Exit code when it exited.
    pub exit_code: i32,
    /// Signal when one ended it.
    pub signal: u32,
    /// Start to end, milliseconds.
    pub wall_ms: u64,
    /// CPU time the kernel counted, milliseconds.
    pub cpu_ms: u64,
    /// Largest memory in use, MiB.
    pub memory_peak_mib: u64,
    /// For people.
    pub message: String,
    /// Whether a failed start is the user's fault.
    pub start_error_user: bool,
}

impl Outcome {
    /// An end without any use of the machine.
    pub fn unused(end: TaskEnd, message: impl Into<String>) -> Outcome {
        Outcome {
            end,
            exit_code: 0,
            signal: 0,
            wall_ms: 0,
            cpu_ms: 0,
            memory_peak_mib: 0,
            message: message.into(),
            start_error_user: false,
        }
    }

    /// An exit with `code` after `wall_ms`.
    pub fn exited(code: i32, wall_ms: u64) -> Outcome {
        Outcome {
            exit_code: code,
            wall_ms,
            ..Outcome::unused(TaskEnd::Exited, "")
        }
    }
}

/// Something that happened at the backend, to a task on one host or to one node of a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendEvent {
    /// The task runs since `at_ms` on the agent's clock.
    Started {
        /// Which one.
        task: TaskKey,
        /// Since when.
        at_ms: u64,
    },
    /// The task is over: it ended, could not be started, or was lost.
    Ended {
        /// Which one.
        task: TaskKey,
        /// How.
        outcome: Outcome,
    },
    /// A sample of a running task.
    Usage {
        /// Which one.
        task: TaskKey,
        /// CPU time so far, milliseconds.
        cpu_ms: u64,
        /// Largest memory so far, MiB.
        memory_peak_mib: u64,
    },
}

/// A task, or a node of a gang, that the backend has when the daemon starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which one.
    pub task: TaskKey,
    /// What became of it.
    pub state: ObservedState,
}

/// What became of a task while no daemon was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedState {
    /// It runs since `started_ms` on the agent's clock.
    Running {
        /// Since when.
        started_ms: u64,
    },
    /// It is over.
    Ended(Outcome),
}

/// Why the agent stops a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked for it, or the placement is over for the cluster.
    Cancelled,
    /// The wall time is used up.
    TimeLimit,
    /// The task may be requeued and the site's lease ended.
    LeaseExpired,
    /// The node of this rank in its gang ended otherwise than well.
    NodeEnded(u32),
}

impl StopReason {
    /// What the report says; `None` where the node that ended decides.
    pub fn task_end(self) -> Option<TaskEnd> {
        match self {
            StopReason::Cancelled => Some(TaskEnd::Cancelled),
            StopReason::TimeLimit => Some(TaskEnd::TimeLimit),
            StopReason::LeaseExpired => Some(TaskEnd::LeaseExpired),
            StopReason::NodeEnded(_) => None,
        }
    }
}

/// What the daemon must know about its tasks after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalRecord {
    /// The task may have been started from here on, and so may never be started again.
    Start {
        /// Which one.
        task: TaskKey,
        /// Runs only under the lease.
        lease_bound: bool,
        /// Its wall time, milliseconds; 0 = no limit.
        walltime_ms_max: u64,
        /// Hosts it runs on, at least 1.
        nodes: u32,
        /// The view in which it was so.
        seen: View,
    },
    /// The task has another time limit.
    Limit {
        /// Which one.
        task: TaskKey,
        /// Its wall time from now on, milliseconds; may have passed already.
        walltime_ms_max: u64,
        /// The view in which it was so.
        seen: View,
    },
    /// The agent stops the task.
    Stop {
        /// Which one.
        task: TaskKey,
        /// Why.
        reason: StopReason,
    },
    /// The task is over.
    Ended {
        /// Which one.
        task: TaskKey,
        /// How.
        outcome: Outcome,
    },
    /// Nobody will ask for the task again, provided that nothing older than `seen` is listened to.
    Done {
        /// Which one.
        task: TaskKey,
        /// The latest view seen.
        seen: View,
    },
    /// First record of a rewritten journal: nothing older is listened to.
    Seen {
        /// The latest view seen.
        seen: View,
    },
}

/// Which signal a task gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// Ask it to end.
    Term,
    /// End it.
    Kill,
}

/// What the shell is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send to the replica; may be lost.
    Send(AgentMessage),
    /// Append to the journal, sync, then call `journalled(seq)`.
    Journal {
        /// Number of this write.
        seq: u64,
        /// What to append.
        records: Vec<JournalRecord>,
    },
    /// Replace the whole journal by these records, sync, then call `journalled(seq)`.
    Rewrite {
        /// Number of this write.
        seq: u64,
        /// All that is still needed.
        records: Vec<JournalRecord>,
    },
    /// Start the task, on all of its hosts; given at most once for a key, ever. What follows is said of each node by itself.
    Start(Box<Assignment>),
    /// A started task may take this long in all, milliseconds from its start; 0 = no limit. May have passed already, may be given again.
    SetLimit {
        /// Which one.
        task: TaskKey,
        /// How long.
        walltime_ms_max: u64,
    },
    /// Signal a task that was started; a signal to one that has ended does nothing.
    Signal {
        /// Which one.
        task: TaskKey,
        /// What to send.
        signal: StopSignal,
    },
    /// The cluster has the task's end; its files may go when their time is over.
    Forget {
        /// Which one.
        task: TaskKey,
    },
    /// The lease holds until this time. Whoever watches lease-bound tasks while the daemon is away must know it.
    Lease {
        /// On the agent's clock, milliseconds.
        until_ms: u64,
    },
    /// Leave this stream and dial again, preferably another replica.
    Reconnect {
        /// Why, for the log.
        reason: String,
    },
}
