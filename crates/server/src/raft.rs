//! The RAFT thread: the node and the bundler, fed from one channel. It never waits for a disk, a socket or the state machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hesuan_api::internal::v1::frame::Body;
use hesuan_api::internal::v1::{ForwardRefused, Forwarded};
use hesuan_engine::types::Timestamp;
use hesuan_replica::bundler::{Bundler, PushError};
use hesuan_replica::clock::ClockGuard;
use hesuan_replica::leader::Planned;
use hesuan_replica::node::{
    ConfChanged, FetchSnapshot, Node, NodeError, NodeStatus, Output, Persist, ProposeError, Role, RoleChange,
};
use hesuan_replica::wire::{ConfChange, EntryKind, LogEntry, PeerMessage, SnapshotMeta};
use prost::Message as _;
use tokio::sync::{oneshot, watch};

use crate::apply::{self, ApplyHandle, Query};
use crate::clock::{Monotonic, wall_ms};
use crate::fatal::fatal;
use crate::peer::Peers;
use crate::waiters::{Answer, Waiters};

/// What to do about a log that is shorter than the others know it was.
const LOG_LOST: &str = "this replica has lost log entries that it had acknowledged; wipe its data directory, add it anew with \
    `hesuan cluster add` and start it with `join = true` and the id that gives";
/// Inputs taken before the node is asked what to do.
const DRAIN_MAX: usize = 1_024;
/// A read index that was not answered is asked for again after this long: the request is lossy.
const READ_RETRY_MS: u64 = 200;
/// Contexts after which a confirmation that was not answered is forgotten.
const CONFIRMATIONS_MAX: u64 = 10_000;
/// Ticks that are made up for after the thread was held up; more would only start elections.
const TICKS_LATE_MAX: u64 = 2;

/// What the RAFT thread is told.
pub(crate) enum Input {
    /// Of one batch of a peer's frames.
    Peer {
        from: u64,
        wall_clock_ms: u64,
        messages: Vec<PeerMessage>,
        forwarded: Vec<(u64, Bytes)>,
    },
    /// A command of a client of this replica.
    Command { ticket: u64, command: Bytes },
    /// Commands of this replica's planning, as the leader of this term.
    Planned { term: u64, planned: Vec<Planned> },
    /// Ask a quorum whether this replica still leads in this term; the APPLY thread's clock stood at `asked_at`.
    Confirm { term: u64, asked_at: Duration },
    /// Run this on the APPLY thread once it is linearizable.
    Read(Query),
    /// Batches up to this number are durable.
    Persisted(u64),
    /// The state machine stands here.
    Applied { index: u64, level: u32, at: Timestamp },
    /// Frames for this peer were dropped.
    Unreachable(u64),
    /// A snapshot of our own is durable, and the archive up to `compact_to`.
    SnapshotSaved { meta: SnapshotMeta, compact_to: u64 },
    /// The snapshot asked for is here, or cannot be had.
    SnapshotFetched { meta: SnapshotMeta, ok: bool },
    /// Membership or leadership is to change.
    Steer(Steer, oneshot::Sender<Result<(), ProposeError>>),
    /// The process ends.
    Stop,
}

/// What an operator may ask of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steer {
    AddLearner(u64),
    Promote(u64),
    Remove(u64),
    TransferTo(u64),
}

/// Who leads, as far as this replica knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) term: u64,
    pub(crate) leader: Option<u64>,
    /// This replica leads.
    pub(crate) ours: bool,
}

/// Talks to the RAFT thread.
#[derive(Clone)]
pub(crate) struct RaftHandle {
    inputs: Sender<Input>,
    /// Commands and reads on their way to the thread; the rest is bounded by what the threads have under way.
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    status: Arc<Mutex<NodeStatus>>,
    leadership: watch::Receiver<Leadership>,
}

impl RaftHandle {
    /// Tells the thread something that is bounded by nature.
    pub(crate) fn tell(&self, input: Input) {
        // Nobody listens only when the process is ending.
        let _ = self.inputs.send(input);
    }

    /// Offers a command or read; false when too many are waiting.
    pub(crate) fn offer(&self, input: Input) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.waiting_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.tell(input);
        true
    }

    /// The node as it was at the last tick.
    pub(crate) fn status(&self) -> NodeStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who leads.
    pub(crate) fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// Follows who leads.
    pub(crate) fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// The other voter that should lead if this replica should not.
    pub(crate) fn heir(&self) -> Option<u64> {
        heir(&self.status())
    }

    /// Changes membership or leadership, if this replica leads.
    pub(crate) async fn steer(&self, steer: Steer) -> Result<(), ProposeError> {
        let (sender, result) = oneshot::channel();
        self.tell(Input::Steer(steer, sender));
        result.await.unwrap_or(Err(ProposeError::NotLeader { leader: None }))
    }
}

/// Whom the thread talks to.
pub(crate) struct Around {
    pub(crate) peers: Arc<Peers>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) log: Sender<Persist>,
    pub(crate) apply: ApplyHandle,
    /// Fetches a snapshot and then tells of it.
    pub(crate) fetch_snapshot: Box<dyn Fn(FetchSnapshot) + Send>,
}

/// The thread's own data.
pub(crate) struct Raft {
    node: Node,
    bundler: Bundler,
    guard: ClockGuard,
    /// This leader's clock is off the others': it stamps nothing until somebody else leads or it is set right.
    clock_is_off: bool,
    inputs: Receiver<Input>,
    waiting: Arc<AtomicUsize>,
    status: Arc<Mutex<NodeStatus>>,
    leadership: watch::Sender<Leadership>,
    around: Around,
    clock: Monotonic,
    id: u64,
    tick_ms: u64,
    next_tick_ms: u64,
    role: RoleChange,
    /// Entries proposed in this term and not yet committed.
    in_flight: u64,
    last_applied: (u32, Timestamp),
    reads: Reads,
    steering: Option<oneshot::Sender<Result<(), ProposeError>>>,
}

/// Reads waiting to be linearizable.
#[derive(Default)]
struct Reads {
    next_context: u64,
    new: Vec<Query>,
    asked: BTreeMap<u64, (u64, Vec<Query>)>,
    confirming: BTreeMap<u64, (u64, Duration)>,
}

/// Makes the channel and the handle before the other threads exist.
pub(crate) fn channel(status: NodeStatus, waiting_max: usize) -> (RaftHandle, Wiring) {
    let (inputs, received) = mpsc::channel();
    let (leadership, watched) = watch::channel(Leadership {
        term: status.term,
        leader: None,
        ours: false,
    });
    let waiting = Arc::new(AtomicUsize::new(0));
    let status = Arc::new(Mutex::new(status));
    let handle = RaftHandle {
        inputs,
        waiting: Arc::clone(&waiting),
        waiting_max,
        status: Arc::clone(&status),
        leadership: watched,
    };
    (
        handle,
        Wiring {
            inputs: received,
            waiting,
            status,
            leadership,
        },
    )
}

/// The thread's ends of what [`channel`] makes.
pub(crate) struct Wiring {
    inputs: Receiver<Input>,
    waiting: Arc<AtomicUsize>,
    status: Arc<Mutex<NodeStatus>>,
    leadership: watch::Sender<Leadership>,
}

impl Raft {
    /// Puts the thread's data together. `last_applied` is the level and time of the state as loaded.
    pub(crate) fn new(
        node: Node,
        bundler: Bundler,
        tick_ms: u64,
        last_applied: (u32, Timestamp),
        wiring: Wiring,
        around: Around,
    ) -> Raft {
        let status = node.status();
        Raft {
            id: status.id,
            role: RoleChange {
                role: status.role,
                term: status.term,
                leader: status.leader,
            },
            node,
            bundler,
            guard: ClockGuard::default(),
            clock_is_off: false,
            inputs: wiring.inputs,
            waiting: wiring.waiting,
            status: wiring.status,
            leadership: wiring.leadership,
            around,
            clock: Monotonic::start(),
            tick_ms,
            next_tick_ms: tick_ms,
            in_flight: 0,
            last_applied,
            reads: Reads::default(),
            steering: None,
        }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        loop {
            let first = match self.inputs.recv_timeout(self.time_to_wait()) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut taken = 0;
            let mut next = first;
            while let Some(input) = next {
                if matches!(input, Input::Stop) {
                    return;
                }
                self.take(input);
                taken += 1;
                next = if taken < DRAIN_MAX {
                    self.inputs.try_recv().ok()
                } else {
                    None
                };
            }
            self.ticks();
            self.propose();
            self.ask_reads();
            while let Some(output) = self.node.ready() {
                self.carry_out(output);
            }
        }
    }

    fn time_to_wait(&self) -> Duration {
        let now = self.now();
        let tick = Duration::from_millis(self.next_tick_ms).saturating_sub(now);
        match self.bundler.next_wake().filter(|_| !self.clock_is_off) {
            Some(wake) => tick.min(wake.saturating_sub(now)),
            None => tick,
        }
    }

    fn leads_in(&self, term: u64) -> bool {
        self.role.role == Role::Leader && self.role.term == term
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.clock.ms())
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Peer {
                from,
                wall_clock_ms,
                messages,
                forwarded,
            } => {
                self.guard.heard(from, wall_clock_ms, wall_ms(), self.now());
                for message in messages {
                    match self.node.step(from, message) {
                        Ok(()) => {}
                        Err(error @ NodeError::CommitBeyondLog { .. }) => fatal(LOG_LOST, error),
                        Err(error) => tracing::warn!(from, %error, "message dropped"),
                    }
                }
                self.take_forwarded(from, forwarded);
            }
            Input::Command { ticket, command } => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                let now = self.now();
                match (
                    self.bundler.push(self.id, ticket, command.clone(), now),
                    self.role.leader,
                ) {
                    (Ok(()), _) => {}
                    (Err(PushError::Busy { .. }), _) => self.around.waiters.answer(ticket, Answer::Busy),
                    // This replica led when the command set out.
                    (Err(PushError::NotLeader), Some(leader)) => {
                        self.around
                            .peers
                            .send(leader, [Body::Forwarded(Forwarded { ticket, command })]);
                    }
                    // It waits beside its client for the next leader.
                    (Err(PushError::NotLeader), None) => {}
                }
            }
            Input::Planned { term, planned } => {
                if self.leads_in(term) {
                    for Planned { ticket, command } in planned {
                        let pushed = self.bundler.push(0, ticket, command, self.now());
                        assert!(pushed.is_ok(), "the leader is not refused by its own queue");
                    }
                }
            }
            Input::Confirm { term, asked_at } => {
                if self.leads_in(term) {
                    self.reads.next_context += 1;
                    let context = self.reads.next_context;
                    self.reads
                        .confirming
                        .retain(|asked, _| *asked + CONFIRMATIONS_MAX > context);
                    self.reads.confirming.insert(context, (term, asked_at));
                    self.node.read_index(context);
                }
            }
            Input::Read(query) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                self.reads.new.push(query);
            }
            Input::Persisted(number) => self.node.persisted(number),
            Input::Applied { index, level, at } => {
                self.node.applied(index);
                self.bundler.applied(level, at);
                self.last_applied = (level, at);
            }
            Input::Unreachable(peer) => self.node.report_unreachable(peer),
            Input::SnapshotSaved { meta, compact_to } => {
                self.node.snapshot_available(meta);
                self.node.compact_to(compact_to);
            }
            Input::SnapshotFetched { meta, ok } => {
                if let Err(error) = self.node.snapshot_fetched(&meta, ok) {
                    fatal("a fetched snapshot cannot be installed", error);
                }
            }
            Input::Steer(steer, result) => self.steer(steer, result),
            Input::Stop => {}
        }
    }

    fn take_forwarded(&mut self, from: u64, forwarded: Vec<(u64, Bytes)>) {
        // A replica that was removed may not know it; what it would never see applied is not taken from it.
        if forwarded.is_empty() || !self.node.conf_state().contains(from) {
            return;
        }
        let (mut busy, mut not_leader) = (Vec::new(), Vec::new());
        for (ticket, command) in forwarded {
            match self.bundler.push(from, ticket, command, self.now()) {
                Ok(()) => {}
                Err(PushError::Busy { .. }) => busy.push(ticket),
                Err(PushError::NotLeader) => not_leader.push(ticket),
            }
        }
        for (tickets, busy) in [(busy, true), (not_leader, false)] {
            if !tickets.is_empty() {
                self.around
                    .peers
                    .send(from, [Body::ForwardRefused(ForwardRefused { tickets, busy })]);
            }
        }
    }

    fn ticks(&mut self) {
        let now = self.clock.ms();
        if now < self.next_tick_ms {
            return;
        }
        let due = (now - self.next_tick_ms) / self.tick_ms + 1;
        self.next_tick_ms += due * self.tick_ms;
        for _ in 0..due.min(TICKS_LATE_MAX) {
            self.node.tick();
        }
        self.watch_clock();
        self.retry_reads();
        self.publish_status();
    }

    /// A leader with a wrong clock stamps wrong times: somebody else should lead.
    fn watch_clock(&mut self) {
        self.clock_is_off = false;
        if self.role.role != Role::Leader {
            return;
        }
        let status = self.node.status();
        let Some(offset_ms) = self
            .guard
            .must_step_down(self.id, &status.conf_state.voters, self.now())
        else {
            return;
        };
        self.clock_is_off = true;
        if let Some(heir) = heir(&status)
            && status.transferring_to.is_none()
        {
            tracing::warn!(
                offset_ms,
                to = heir,
                "this clock is off the others'; leadership is handed on"
            );
            // Refused only when leadership is lost already.
            let _ = self.node.transfer_leader(heir);
        }
    }

    fn publish_status(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = self.node.status();
    }

    fn propose(&mut self) {
        if self.clock_is_off {
            return;
        }
        while let Some(bundled) = self.bundler.take(wall_ms(), self.now(), self.in_flight) {
            match self.node.propose(bundled.data) {
                Ok(()) => self.in_flight += 1,
                Err(ProposeError::Busy { .. } | ProposeError::Transferring { .. }) => {
                    let now = self.now();
                    self.bundler.give_back(bundled.items, now);
                    return;
                }
                // Clients' commands stay with their clients and go to the next leader from there.
                Err(ProposeError::NotLeader { .. }) => return,
                Err(error) => fatal("a bundle cannot be proposed", error),
            }
        }
    }

    /// One context covers all reads that are waiting now.
    fn ask_reads(&mut self) {
        if self.reads.new.is_empty() || self.role.leader.is_none() {
            return;
        }
        self.reads.next_context += 1;
        let context = self.reads.next_context;
        let queries = std::mem::take(&mut self.reads.new);
        self.reads.asked.insert(context, (self.clock.ms(), queries));
        self.node.read_index(context);
    }

    fn retry_reads(&mut self) {
        let now = self.clock.ms();
        let late: Vec<u64> = self
            .reads
            .asked
            .iter()
            .filter(|(_, (at, _))| *at + READ_RETRY_MS <= now)
            .map(|(context, _)| *context)
            .collect();
        for context in late {
            if let Some((_, queries)) = self.reads.asked.remove(&context) {
                self.reads.new.extend(queries);
            }
        }
        self.reads.new.retain(|query| !query.is_abandoned());
    }

    fn carry_out(&mut self, output: Output) {
        if let Some(change) = output.role_changed {
            self.role_changed(change);
        }
        send(&self.around.peers, output.send_now);
        if let Some(persist) = output.persist
            && self.around.log.send(persist).is_err()
        {
            fatal("the log cannot be written", "its thread is gone");
        }
        if let Some(fetch) = output.fetch_snapshot {
            (self.around.fetch_snapshot)(fetch);
        }
        if let Some(meta) = output.install_snapshot {
            self.around.apply.tell(apply::Input::Install(meta));
        }
        self.hand_on(output.committed, output.conf_changed);
        for (context, index) in output.read_states {
            if let Some((term, asked_at)) = self.reads.confirming.remove(&context)
                && self.leads_in(term)
            {
                self.around.apply.tell(apply::Input::Confirmed { term, asked_at });
            }
            if let Some((_, queries)) = self.reads.asked.remove(&context) {
                self.around.apply.tell(apply::Input::ReadAt { index, queries });
            }
        }
        if output.snapshot_wanted {
            self.around.apply.tell(apply::Input::SnapshotWanted);
        }
    }

    fn hand_on(&mut self, committed: Vec<LogEntry>, conf_changed: Vec<ConfChanged>) {
        if let Some(changed) = conf_changed.last() {
            if let Some(steering) = self.steering.take() {
                let refused = || ProposeError::ConfChange("the membership had changed meanwhile".to_owned());
                let _ = steering.send(if changed.accepted { Ok(()) } else { Err(refused()) });
            }
            self.publish_status();
        }
        if committed.is_empty() {
            return;
        }
        let ours = |entry: &&LogEntry| {
            entry.term == self.role.term && entry.kind == EntryKind::Normal as i32 && !entry.data.is_empty()
        };
        if self.role.role == Role::Leader {
            self.in_flight = self
                .in_flight
                .saturating_sub(committed.iter().filter(ours).count() as u64);
        }
        self.around.apply.tell(apply::Input::Committed {
            entries: committed,
            conf_changed,
        });
    }

    fn role_changed(&mut self, change: RoleChange) {
        let before = std::mem::replace(&mut self.role, change);
        let leads = change.role == Role::Leader;
        if leads && (before.role != Role::Leader || before.term != change.term) {
            self.in_flight = 0;
            let (level, at) = self.last_applied;
            self.bundler.become_leader(level, at);
            tracing::info!(term = change.term, "this replica leads");
        }
        if !leads && before.role == Role::Leader {
            self.refuse_queued();
            if let Some(steering) = self.steering.take() {
                let _ = steering.send(Err(ProposeError::NotLeader { leader: change.leader }));
            }
            tracing::info!(
                term = change.term,
                leader = change.leader,
                "this replica no longer leads"
            );
        }
        self.leadership.send_replace(Leadership {
            term: change.term,
            leader: change.leader,
            ours: leads,
        });
        self.publish_status();
        self.around.apply.tell(apply::Input::Role(change));
        if let Some(leader) = change.leader
            && (before.leader, before.term) != (change.leader, change.term)
        {
            self.send_again(leader);
        }
    }

    /// Empties the queue of a leader no more: other replicas' commands go back, our clients' wait for the next leader.
    fn refuse_queued(&mut self) {
        let mut back: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for item in self.bundler.step_down() {
            if item.origin != 0 && item.origin != self.id {
                back.entry(item.origin).or_default().push(item.ticket);
            }
        }
        for (origin, tickets) in back {
            self.around
                .peers
                .send(origin, [Body::ForwardRefused(ForwardRefused { tickets, busy: false })]);
        }
    }

    /// A new leader gets every command that a client here still waits for. Those that were committed already are answered from
    /// the request table.
    fn send_again(&mut self, leader: u64) {
        for (ticket, command) in self.around.waiters.commands() {
            if leader != self.id {
                self.around
                    .peers
                    .send(leader, [Body::Forwarded(Forwarded { ticket, command })]);
            } else if let Err(PushError::Busy { .. }) = self.bundler.push(self.id, ticket, command, self.now()) {
                self.around.waiters.answer(ticket, Answer::Busy);
            }
        }
    }

    fn steer(&mut self, steer: Steer, result: oneshot::Sender<Result<(), ProposeError>>) {
        let change = match steer {
            Steer::AddLearner(id) => ConfChange::add_learner(id, Bytes::new()),
            Steer::Promote(id) => ConfChange::promote(id, Bytes::new()),
            Steer::Remove(id) => ConfChange::remove(id, Bytes::new()),
            Steer::TransferTo(id) => {
                let _ = result.send(self.node.transfer_leader(id));
                return;
            }
        };
        match self.node.propose_conf_change(change) {
            Ok(()) => self.steering = Some(result),
            Err(error) => {
                let _ = result.send(Err(error));
            }
        }
    }
}

/// Of a leader's other voters the one that has most of the log, of those that answered lately if there are any: just after an
/// election nobody has.
fn heir(status: &NodeStatus) -> Option<u64> {
    let voters = status
        .peers
        .iter()
        .filter(|peer| status.conf_state.voters.contains(&peer.id));
    voters
        .max_by_key(|peer| (peer.recent_active, peer.matched))
        .map(|peer| peer.id)
}

/// Encodes messages and queues them for their peers.
pub(crate) fn send(peers: &Peers, messages: Vec<(u64, PeerMessage)>) {
    for (to, message) in messages {
        // A full queue drops it: Raft finds out by the missing answer.
        peers.send(to, [Body::Raft(message.encode_to_vec().into())]);
    }
}
