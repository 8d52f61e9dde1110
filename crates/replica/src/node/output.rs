//! What a node wants done, and why it refuses something.

use crate::store::LogBatch;
use crate::wire::{ConfState, LogEntry, PeerMessage, SnapshotMeta, WireError};

/// The part a replica plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether standing would succeed.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// A change of role, leader or term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// Our role.
    pub role: Role,
    /// The term.
    pub term: u64,
    /// The leader we know of.
    pub leader: Option<u64>,
}

/// A write for the log store. Batches are written in the order they come out.
#[derive(Clone, Debug, PartialEq)]
pub struct Persist {
    /// Report this to [`Node::persisted`](super::Node::persisted) once the batch is written, and synced if `must_sync`.
    /// One report covers all earlier numbers.
    pub number: u64,
    /// What to write; may be empty, when `send_after` only has to wait for earlier batches.
    pub batch: LogBatch,
    /// Messages that promise what the batch holds: send them only once this and all earlier batches are durable.
    pub send_after: Vec<(u64, PeerMessage)>,
    /// Whether the batch needs a sync of its own. Without one it must still come after all earlier batches are durable.
    pub must_sync: bool,
}

/// What became of a committed membership change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfChanged {
    /// Index of the entry.
    pub index: u64,
    /// Whether it took effect; every replica decides the same.
    pub accepted: bool,
    /// The membership from this index on. A snapshot at or after `index` carries it.
    pub conf_state: ConfState,
}

/// A snapshot to fetch from another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSnapshot {
    /// Who has it.
    pub from: u64,
    /// Which one.
    pub meta: SnapshotMeta,
}

/// What one call of [`Node::ready`](super::Node::ready) wants done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Messages to send at once, to (replica id, message). Losing one is allowed; keep the order per peer.
    pub send_now: Vec<(u64, PeerMessage)>,
    /// Work for the log store.
    pub persist: Option<Persist>,
    /// Entries to apply, in order, each exactly once per run of the process. They are already durable here.
    pub committed: Vec<LogEntry>,
    /// What became of the membership changes among `committed`.
    pub conf_changed: Vec<ConfChanged>,
    /// Reads that may be answered once the index is applied: (context given to `read_index`, index).
    pub read_states: Vec<(u64, u64)>,
    /// Our role, leader or term is new.
    pub role_changed: Option<RoleChange>,
    /// Fetch this snapshot, make it durable, then call [`Node::snapshot_fetched`](super::Node::snapshot_fetched).
    pub fetch_snapshot: Option<FetchSnapshot>,
    /// Replace the state machine by this fetched snapshot; it comes before all later `committed`.
    pub install_snapshot: Option<SnapshotMeta>,
    /// Peers that were just told to fetch this snapshot: keep its data until they are done.
    pub send_snapshot_to: Vec<(u64, SnapshotMeta)>,
    /// A peer needs a snapshot and there is none that would do: make one unless one is being made, then call
    /// [`Node::snapshot_available`](super::Node::snapshot_available).
    pub snapshot_wanted: bool,
}

/// Why a node cannot start or had to refuse a message.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The settings contradict each other.
    #[error("node settings: {0}")]
    Config(String),
    /// The store and the state machine contradict each other.
    #[error("log and state do not fit: {0}")]
    Inconsistent(String),
    /// A malformed message; the peer is at fault.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message for somebody else, or not from the one it says.
    #[error("message from {said} to {to} arrived from {from} at {id}")]
    Misdirected {
        /// The peer it came from.
        from: u64,
        /// The sender it names.
        said: u64,
        /// The receiver it names.
        to: u64,
        /// This replica.
        id: u64,
    },
    /// A leader counts on entries we do not have: our log was lost, or the peer lies. Stop and look.
    #[error("peer {from} says {commit} is committed here, but the log ends at {last}")]
    CommitBeyondLog {
        /// The peer.
        from: u64,
        /// What it believes we acknowledged.
        commit: u64,
        /// The end of our log.
        last: u64,
    },
    /// raft-rs refused; the message is dropped.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
}

/// Why something was not proposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Only the leader proposes.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, as far as we know.
        leader: Option<u64>,
    },
    /// Too much is uncommitted; try again later.
    #[error("too many uncommitted bytes ({uncommitted_bytes})")]
    Busy {
        /// How much is uncommitted.
        uncommitted_bytes: u64,
    },
    /// Leadership is being handed over; try the new leader.
    #[error("leadership is being transferred to {to}")]
    Transferring {
        /// To whom.
        to: u64,
    },
    /// The data is empty or too long.
    #[error("a proposal of {bytes} bytes is not between 1 and {bytes_max}")]
    Size {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Another membership change is not finished.
    #[error("another membership change is in progress")]
    ConfChangePending,
    /// The leader cannot remove or demote itself; transfer leadership first.
    #[error("replica {0} leads: transfer leadership before removing or demoting it")]
    RemovesLeader(u64),
    /// The change makes no sense for the present membership.
    #[error("membership change refused: {0}")]
    ConfChange(String),
}
