//! One replica's part in Raft as a step machine: messages, ticks and proposals go in, [`Output`]s come out. No clock, disk,
//! socket, thread or randomness; the shell runs those and the simulator runs the same struct.
//!
//! The shell's loop: feed the node, then call [`Node::ready`] until it returns `None`, and for each output send `send_now`,
//! queue `persist` for the log store, `committed` for the state machine. The log store's side writes each batch in order,
//! syncs, reports [`Node::persisted`], and only then sends `send_after`.

mod config;
mod election;
mod logger;
mod membership;
mod output;
mod ready;
mod snapshots;
mod status;
mod view;

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{RawNode, StateRole};

use crate::store::{AppliedConf, LoadedLog, LogPosition, LogReader};
use crate::wire::{LogEntry, MessageKind, PeerMessage, SnapshotMeta, WireError};
use election::Timeouts;
use snapshots::Inbox;
use view::LogView;

pub use config::NodeConfig;
#[cfg(feature = "planted")]
pub use config::Planted;
pub use output::{ConfChanged, FetchSnapshot, NodeError, Output, Persist, ProposeError, Role, RoleChange};
pub use status::{NodeStatus, PeerProgress};

/// A replica's Raft node. See the module for how to drive it.
pub struct Node {
    config: NodeConfig,
    raw: RawNode<LogView>,
    timeouts: Timeouts,
    /// Tells our reads from those of other replicas and of earlier runs, which may still be under way.
    read_nonce: u64,
    /// What the state machine had applied when the node was opened; entries up to here are not handed out again.
    resumed_at: u64,
    applied: u64,
    written: Written,
    /// What goes with the next batch.
    next_conf: Option<AppliedConf>,
    next_snapshot: Option<SnapshotMeta>,
    next_truncate: Option<LogPosition>,
    /// The membership found at start, to be met again when its entry is applied again.
    stored_conf: AppliedConf,
    reported: RoleChange,
    inbox: Inbox,
    /// On a leader: peers told to fetch a snapshot, and for how many ticks they have been at it.
    fetching_peers: std::collections::BTreeMap<u64, u64>,
    outbox: Vec<PeerMessage>,
}

/// Batches handed to the log store.
#[derive(Debug, Default)]
struct Written {
    /// Those not yet reported durable.
    pending: VecDeque<PendingBatch>,
    /// The number of the last raft ready taken.
    number: u64,
    /// Term and vote last handed out, and in which batch.
    vote: (u64, u64),
    vote_number: u64,
    /// Everything up to this number is durable.
    persisted: u64,
}

#[derive(Debug)]
struct PendingBatch {
    number: u64,
    entries: Option<(u64, u64)>,
    snapshot: Option<u64>,
}

impl Node {
    /// Starts a node on what the store holds.
    ///
    /// `applied` is the index of the restored state machine: that of `loaded.snapshot` or of a later snapshot of its own. A
    /// founder writes [`LogBatch::bootstrap`](crate::store::LogBatch::bootstrap) first and begins with the empty state at
    /// index 1; a replica that joins begins with an empty store and 0. `election_seed` must differ between replicas and
    /// between runs of one replica.
    ///
    /// # Errors
    /// If the settings, or store and state machine, contradict each other.
    pub fn open(
        config: NodeConfig,
        loaded: LoadedLog,
        reader: Box<dyn LogReader>,
        applied: u64,
        election_seed: u64,
    ) -> Result<Self, NodeError> {
        let base = loaded.snapshot.as_ref().map_or(0, |meta| meta.index);
        let last = loaded.last().index;
        if applied < base || applied > last {
            let what = format!("the state is at {applied}, the log begins from snapshot {base} and ends at {last}");
            return Err(NodeError::Inconsistent(what));
        }
        // What was applied was committed; the store may not have heard, since a mere commit index is not synced.
        let mut hard_state = loaded.hard_state;
        hard_state.commit = hard_state.commit.max(applied);
        let mut view = LogView::new(
            hard_state,
            loaded.snapshot,
            loaded.truncated,
            reader,
            config.cache_bytes_max,
        );
        view.append(&loaded.entries.iter().map(LogEntry::to_raft).collect::<Vec<_>>());
        view.set_durable(last);
        let raft_config = raft_config(&config, base);
        let raw = RawNode::new(&raft_config, view, &logger::logger(config.id)).map_err(|error| match error {
            raft::Error::ConfigInvalid(what) => NodeError::Config(what),
            error => NodeError::Raft(error),
        })?;
        let mut node = Self {
            config,
            raw,
            timeouts: Timeouts::new(election_seed),
            read_nonce: election_seed,
            resumed_at: applied,
            applied,
            written: Written {
                vote: (hard_state.term, hard_state.vote),
                ..Written::default()
            },
            next_conf: None,
            next_snapshot: None,
            next_truncate: None,
            stored_conf: loaded.conf,
            reported: RoleChange {
                role: Role::Follower,
                term: hard_state.term,
                leader: None,
            },
            inbox: Inbox::default(),
            fetching_peers: Default::default(),
            outbox: Vec::new(),
        };
        node.settle();
        Ok(node)
    }

    /// One tick of time has passed.
    pub fn tick(&mut self) {
        if self.role() != Role::Leader && !self.may_campaign() {
            return;
        }
        self.raw.tick();
        self.settle();
        self.tick_snapshots();
        self.leave_joint_if_due();
    }

    /// A message arrived from the replica `from`, as the transport knows it. Malformed and misdirected messages are errors
    /// without effect; so is a claim that our log lost something, after which the shell should stop the process.
    pub fn step(&mut self, from: u64, message: PeerMessage) -> Result<(), NodeError> {
        let kind = message.validate()?;
        if message.to != self.config.id || message.from != from {
            let (said, to) = (message.from, message.to);
            return Err(NodeError::Misdirected {
                from,
                said,
                to,
                id: self.config.id,
            });
        }
        self.check_against_log(kind, &message)?;
        match kind {
            MessageKind::Snapshot => self.step_snapshot(&message)?,
            MessageKind::SnapshotStatus => {
                if message.term == self.raw.raft.term {
                    self.report_snapshot(from, !message.reject);
                }
            }
            MessageKind::TimeoutNow if !self.may_campaign() => {}
            // Becoming leader with entries not reported durable is an assertion in raft-rs. The vote request left after
            // they were, so only a shell that reports late gets here, and the vote counts as lost.
            MessageKind::RequestVoteResponse if !self.all_persisted() => {}
            // raft-rs would pass it on in the asker's name; the asker tries again with the leader it then knows.
            MessageKind::ReadIndex if self.role() != Role::Leader => {}
            _ => {
                let message = message
                    .to_raft(kind)
                    .expect("the kinds raft-rs does not know are handled above");
                self.step_raft(message)?;
            }
        }
        self.settle();
        self.install_if_due()?;
        Ok(())
    }

    fn step_raft(&mut self, message: Message) -> Result<(), NodeError> {
        match self.raw.step(message) {
            // An answer from a replica that was removed meanwhile.
            Ok(()) | Err(raft::Error::StepPeerNotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What raft-rs would answer with a panic, or take for granted, given the log we have.
    fn check_against_log(&self, kind: MessageKind, message: &PeerMessage) -> Result<(), NodeError> {
        let last = self.raw.raft.raft_log.last_index();
        if kind == MessageKind::Heartbeat && message.term >= self.raw.raft.term && message.commit > last {
            return Err(NodeError::CommitBeyondLog {
                from: message.from,
                commit: message.commit,
                last,
            });
        }
        let acknowledges_more = kind == MessageKind::AppendResponse && !message.reject && message.index > last;
        if acknowledges_more && message.term == self.raw.raft.term && self.role() == Role::Leader {
            return Err(WireError::Malformed {
                kind,
                what: "acknowledges entries that do not exist",
            }
            .into());
        }
        Ok(())
    }

    /// Proposes an entry. It is accepted into the log, not committed: watch `committed`, and the term, for its fate.
    pub fn propose(&mut self, data: Bytes) -> Result<(), ProposeError> {
        let (bytes, bytes_max) = (data.len(), self.config.entry_bytes_max);
        if bytes == 0 || bytes > bytes_max {
            return Err(ProposeError::Size { bytes, bytes_max });
        }
        self.check_may_propose()?;
        let entry = Entry {
            data,
            ..Entry::default()
        };
        let mut message = Message {
            from: self.config.id,
            entries: vec![entry].into(),
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgPropose);
        self.raw.step(message).map_err(|_| self.busy())
    }

    fn check_may_propose(&self) -> Result<(), ProposeError> {
        if self.role() != Role::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        match self.raw.raft.lead_transferee {
            Some(to) => Err(ProposeError::Transferring { to }),
            None => Ok(()),
        }
    }

    fn busy(&self) -> ProposeError {
        ProposeError::Busy {
            uncommitted_bytes: self.raw.raft.uncommitted_size() as u64,
        }
    }

    /// Asks for an index that, once applied, makes a read linearizable; it comes back in `read_states` with `context`. The
    /// request is lossy: without a leader, or with one just elected, nothing comes back. Use each context once, ask again
    /// with a new one after a while. One context can serve all reads that were waiting when it was asked.
    pub fn read_index(&mut self, context: u64) {
        let mut bytes = BytesMut::with_capacity(24);
        for number in [self.config.id, self.read_nonce, context] {
            bytes.put_u64(number);
        }
        self.raw.read_index(bytes.to_vec());
    }

    fn our_read(&self, context: &[u8]) -> Option<u64> {
        let (numbers, rest) = context.as_chunks::<8>();
        match numbers {
            [id, nonce, context] if rest.is_empty() => {
                let ours = (u64::from_be_bytes(*id), u64::from_be_bytes(*nonce)) == (self.config.id, self.read_nonce);
                ours.then_some(u64::from_be_bytes(*context))
            }
            _ => None,
        }
    }

    /// The state machine has applied everything up to `index`.
    pub fn applied(&mut self, index: u64) {
        self.applied = self.applied.max(index);
        // A state machine may have taken over a fetched snapshot before the log's part of it is durable; until then raft-rs
        // still stands before the snapshot, and `persisted` moves it on.
        if !self.inbox.is_installing() {
            self.advance_applied(index);
        }
        self.leave_joint_if_due();
    }

    /// A snapshot that was installed counts as applied at once, so the state machine may report less than raft-rs has.
    fn advance_applied(&mut self, index: u64) {
        if index > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(index);
        }
    }

    /// A message to `peer` could not be sent.
    pub fn report_unreachable(&mut self, peer: u64) {
        self.raw.report_unreachable(peer);
    }

    /// This replica's part.
    pub fn role(&self) -> Role {
        match self.raw.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        }
    }

    /// The leader, as far as known.
    pub fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|leader| *leader != raft::INVALID_ID)
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    fn all_persisted(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        log.persisted == log.last_index()
    }

    /// raft-rs asserts that the only voter stands with a durable log, and cannot stand at all between the start of an
    /// installed snapshot and its end.
    fn may_campaign(&self) -> bool {
        !self.inbox.is_installing() && (self.all_persisted() || !self.raw.raft.prs().is_singleton())
    }

    fn settle(&mut self) {
        self.timeouts.settle(&mut self.raw, &self.config.election_ticks);
    }
}

fn raft_config(config: &NodeConfig, applied: u64) -> raft::Config {
    raft::Config {
        id: config.id,
        election_tick: config.election_ticks.start,
        min_election_tick: config.election_ticks.start,
        max_election_tick: config.election_ticks.end,
        heartbeat_tick: config.heartbeat_ticks,
        applied,
        max_size_per_msg: config.message_bytes_max,
        max_inflight_msgs: config.inflight_messages_max,
        check_quorum: true,
        pre_vote: true,
        batch_append: true,
        max_uncommitted_size: config.uncommitted_bytes_max,
        max_committed_size_per_ready: config.committed_bytes_max,
        ..raft::Config::default()
    }
}
