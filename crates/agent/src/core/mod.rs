//! The agent's decisions as a step machine: messages, events and `now` in, outputs out. No clock, no IO, no randomness.
//!
//! The one promise everything here serves: a task is started at most once, ever, and its end is told until the cluster has it.
//! - A start is journalled and synced before it is given out. After a crash, a journalled start that the backend cannot show is
//!   reported lost; it is never tried again.
//! - A task leaves memory and journal only when its end is acknowledged *and* the cluster no longer assigns it, and from then on no
//!   list from before that moment is listened to ([`View`]); otherwise a replica that lags behind could assign it anew.
//! - A lease-bound task is started and runs only while the lease holds.

mod assign;
mod gang;
mod limit;
mod replay;
mod report;
mod stop;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hesuan_api::internal::v1::{AgentMessage, Assignment, Heartbeat, agent_message};

pub use types::*;

use self::gang::Gang;
use self::limit::Told;
use crate::task::TaskKey;

/// The agent of one site.
pub struct Core {
    config: CoreConfig,
    now_ms: u64,
    connected: bool,
    tasks: BTreeMap<TaskKey, Task>,
    /// Tasks that are started or running and may be so only under the lease.
    leased: BTreeSet<TaskKey>,
    /// Journalled tasks that wait for a lease.
    held: BTreeSet<TaskKey>,
    timers: BTreeSet<(u64, TaskKey, Timer)>,
    lease_until_ms: u64,
    /// When the replica on the other end last passed a lease on, or the stream was opened.
    lease_heard_ms: u64,
    heartbeat_at_ms: u64,
    /// Where the next heartbeat's list of running tasks begins.
    usage_from: Option<TaskKey>,
    /// Restore epoch of the replica on the other end.
    restore_epoch: u32,
    /// The latest view listened to.
    seen: View,
    reports_due: Vec<TaskKey>,
    records: Vec<JournalRecord>,
    journal_seq: u64,
    /// Records in the journal, written or about to be.
    journal_records: usize,
    /// What waits for its journal record, by the number of its write.
    journalling: VecDeque<(u64, Vec<AfterSync>)>,
    outputs: Vec<Output>,
}

struct Task {
    state: TaskState,
    /// Of a task on several hosts, what is known of each; then `state` is that of all together.
    gang: Option<Box<Gang>>,
    lease_bound: bool,
    /// The limit that holds here; 0 = none.
    walltime_ms_max: u64,
    told: Told,
    /// It is another than the task was assigned with, so its supervisor has to hear of it.
    limit_changed: bool,
    /// The cluster does not ask for it any more.
    withdrawn: bool,
    stop: Option<StopReason>,
    /// Highest sequence number that was acknowledged.
    acked_seq: u32,
    report_at_ms: Option<u64>,
    cpu_ms: u64,
    memory_peak_mib: u64,
}

/// What may be done only when its record is on disk.
#[derive(Clone, Copy)]
enum AfterSync {
    Start(TaskKey),
    Limit { task: TaskKey, walltime_ms_max: u64 },
}

enum TaskState {
    /// The start is on its way to the journal.
    Journalling(Box<Assignment>),
    /// The start is journalled; the lease is missing.
    Held(Box<Assignment>),
    /// Given to the backend.
    Starting,
    Running {
        started_ms: u64,
    },
    Ended(Outcome),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Limit,
    Kill,
    Report,
}

impl Core {
    /// An agent that comes up with what its journal says and what its backend found. The outputs are already in order.
    pub fn new(
        config: CoreConfig,
        journal: Vec<JournalRecord>,
        owned: Vec<Observed>,
        now_ms: u64,
    ) -> (Core, Vec<Output>) {
        let mut core = Core {
            lease_until_ms: config.lease_until_ms,
            config,
            now_ms,
            connected: false,
            tasks: BTreeMap::new(),
            leased: BTreeSet::new(),
            held: BTreeSet::new(),
            timers: BTreeSet::new(),
            lease_heard_ms: now_ms,
            heartbeat_at_ms: now_ms,
            usage_from: None,
            restore_epoch: 0,
            seen: View::default(),
            reports_due: Vec::new(),
            records: Vec::new(),
            journal_seq: 0,
            journal_records: journal.len(),
            journalling: VecDeque::new(),
            outputs: Vec::new(),
        };
        core.replay(journal, owned);
        core.expire_lease();
        let outputs = core.take_outputs();
        (core, outputs)
    }

    /// A stream to a replica is open.
    pub fn connected(&mut self, now_ms: u64) {
        self.advance(now_ms);
        self.connected = true;
        self.lease_heard_ms = self.now_ms;
        self.restore_epoch = self.seen.restore_epoch;
        self.send(agent_message::Body::Hello(self.config.hello.clone()));
        self.heartbeat();
        // Whatever was under way on the old stream may be lost with it.
        let unacknowledged: Vec<TaskKey> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.due_seq() > task.acked_seq)
            .map(|(key, _)| *key)
            .collect();
        for key in unacknowledged {
            self.report_soon(key);
        }
    }

    /// The stream is gone. Tasks go on.
    pub fn disconnected(&mut self, now_ms: u64) {
        self.advance(now_ms);
        self.connected = false;
    }

    /// Everything up to this write of the journal is on disk.
    pub fn journalled(&mut self, seq: u64, now_ms: u64) {
        self.advance(now_ms);
        while self.journalling.front().is_some_and(|(written, _)| *written <= seq) {
            let (_, waiting) = self.journalling.pop_front().expect("the front was just looked at");
            for next in waiting {
                match next {
                    AfterSync::Start(task) => self.start(task),
                    AfterSync::Limit { task, walltime_ms_max } => self.set_limit(task, walltime_ms_max),
                }
            }
        }
    }

    /// Something happened at the backend.
    pub fn backend_event(&mut self, event: BackendEvent, now_ms: u64) {
        self.advance(now_ms);
        match event {
            BackendEvent::Started { task, at_ms } => self.started(task.whole(), at_ms),
            BackendEvent::Ended { task, outcome } => self.node_ended(task, outcome),
            BackendEvent::Usage {
                task,
                cpu_ms,
                memory_peak_mib,
            } => self.node_used(task, cpu_ms, memory_peak_mib),
        }
    }

    /// Time went on.
    pub fn tick(&mut self, now_ms: u64) {
        self.advance(now_ms);
    }

    /// When `tick` is due at the latest, if nothing else happens.
    pub fn next_wake(&self) -> Option<u64> {
        let timer = self.timers.first().map(|(at, _, _)| *at);
        let heartbeat = self.connected.then_some(self.heartbeat_at_ms);
        let lease = (!self.leased.is_empty()).then_some(self.lease_until_ms);
        [timer, heartbeat, lease].into_iter().flatten().min()
    }

    /// All that is to be done since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.send_reports();
        self.write_journal();
        std::mem::take(&mut self.outputs)
    }

    /// Tasks that are started or running.
    pub fn running(&self) -> impl Iterator<Item = TaskKey> {
        self.tasks
            .iter()
            .filter(|(_, task)| task.is_started())
            .map(|(key, _)| *key)
    }

    fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.expire_lease();
        while let Some((at_ms, key, timer)) = self.timers.first().copied()
            && at_ms <= self.now_ms
        {
            self.timers.pop_first();
            match timer {
                Timer::Limit => self.stop(key, StopReason::TimeLimit),
                Timer::Kill => self.kill(key),
                Timer::Report => {
                    if let Some(task) = self.tasks.get_mut(&key) {
                        task.report_at_ms = None;
                    }
                    self.reports_due.push(key);
                }
            }
        }
        if self.connected && self.now_ms >= self.heartbeat_at_ms {
            self.heartbeat();
            self.leave_if_silent();
        }
    }

    /// A replica that was removed, or is cut off from the leader, keeps its streams open and tells nothing new.
    fn leave_if_silent(&mut self) {
        let silence_ms = self.now_ms - self.lease_heard_ms;
        if silence_ms > self.config.lease_silence_ms {
            self.lease_heard_ms = self.now_ms;
            let reason = format!("no lease from this replica for {silence_ms} ms");
            self.outputs.push(Output::Reconnect { reason });
        }
    }

    fn heartbeat(&mut self) {
        self.heartbeat_at_ms = self.now_ms + self.config.heartbeat_ms;
        let running = self.usage_batch();
        self.send(agent_message::Body::Heartbeat(Heartbeat {
            sent_at_ms: self.now_ms,
            running,
        }));
    }

    fn send(&mut self, body: agent_message::Body) {
        self.outputs.push(Output::Send(AgentMessage { body: Some(body) }));
    }

    /// The number the records collected now will be written under.
    fn next_journal_seq(&self) -> u64 {
        self.journal_seq + 1
    }

    /// To be done when the records collected now are on disk.
    fn after_sync(&mut self, next: AfterSync) {
        let seq = self.next_journal_seq();
        match self.journalling.back_mut() {
            Some((last, waiting)) if *last == seq => waiting.push(next),
            _ => self.journalling.push_back((seq, vec![next])),
        }
    }

    fn write_journal(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let seq = self.next_journal_seq();
        self.journal_seq = seq;
        self.journal_records += self.records.len();
        if self.journal_records > self.tasks.len() * 4 + self.config.journal_slack_records {
            // What is rewritten holds the collected records already: it is the state after them.
            self.records.clear();
            let records = self.snapshot();
            self.journal_records = records.len();
            self.outputs.push(Output::Rewrite { seq, records });
        } else {
            self.outputs.push(Output::Journal {
                seq,
                records: std::mem::take(&mut self.records),
            });
        }
    }
}

impl Task {
    fn new(lease_bound: bool, told: Told, nodes: u32, state: TaskState) -> Task {
        Task {
            state,
            gang: (nodes > 1).then(|| Box::new(Gang::new(nodes))),
            lease_bound,
            walltime_ms_max: told.walltime_ms_max,
            told,
            limit_changed: false,
            withdrawn: false,
            stop: None,
            acked_seq: 0,
            report_at_ms: None,
            cpu_ms: 0,
            memory_peak_mib: 0,
        }
    }

    fn is_started(&self) -> bool {
        matches!(self.state, TaskState::Starting | TaskState::Running { .. })
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, TaskState::Ended(_))
    }

    /// When the wall time is used up; `None` while it does not run or has no limit.
    fn limit_at_ms(&self) -> Option<u64> {
        match self.state {
            TaskState::Running { started_ms } if self.walltime_ms_max > 0 => {
                Some(started_ms.saturating_add(self.walltime_ms_max))
            }
            _ => None,
        }
    }
}
