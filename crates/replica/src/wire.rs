//! The messages replicas send each other and write to disk: our own prost structs, field for field what raft-rs works with.
//! rust-protobuf never parses bytes that came from outside the process; `convert` turns these structs into raft-rs's plain
//! ones by assignment and checks on the way in everything raft-rs would answer with a panic.

mod convert;

use bytes::Bytes;

pub use convert::WireError;

/// What a log entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum EntryKind {
    /// A bundle of commands, or nothing at all: a new leader begins its term with an empty entry.
    Normal = 0,
    /// An encoded [`ConfChange`]; empty data means "leave the joint configuration".
    ConfChange = 1,
}

/// One entry of the replicated log.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LogEntry {
    /// Position in the log; the first entry after the bootstrap snapshot is 2.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term of the leader that made it.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// See [`EntryKind`].
    #[prost(enumeration = "EntryKind", tag = "3")]
    pub kind: i32,
    /// The payload, opaque to the log.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

impl LogEntry {
    /// What the log charges for this entry, in bytes: its data and a fixed overhead for the rest.
    pub fn weight(&self) -> u64 {
        self.data.len() as u64 + 24
    }
}

/// What a replica must never forget: its term, its vote in it, and how far the log is known to be committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct HardState {
    /// The latest term seen.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whom this replica voted for in `term`; 0 for nobody.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// Highest index known to be committed.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// The membership. While `voters_outgoing` is not empty the cluster is in a joint configuration.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfState {
    /// Replicas that vote.
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    /// Replicas that receive the log and do not vote.
    #[prost(uint64, repeated, tag = "2")]
    pub learners: Vec<u64>,
    /// The voters of the configuration being left.
    #[prost(uint64, repeated, tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Outgoing voters that become learners once the joint configuration is left.
    #[prost(uint64, repeated, tag = "4")]
    pub learners_next: Vec<u64>,
}

impl ConfState {
    /// A configuration of these voters and nothing else.
    pub fn of_voters(voters: impl Into<Vec<u64>>) -> Self {
        Self {
            voters: voters.into(),
            ..Self::default()
        }
    }

    /// Whether a membership change is half way.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether `id` is a member in any role.
    pub fn contains(&self, id: u64) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing]
            .iter()
            .any(|ids| ids.contains(&id))
    }
}

/// Names a snapshot of the state machine; its data travels elsewhere.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotMeta {
    /// The last index applied to the state it holds.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// The term of that entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The membership as of `index`.
    #[prost(message, required, tag = "3")]
    pub conf_state: ConfState,
    /// Whatever the shell needs to fetch and check the data; at most [`SnapshotMeta::MANIFEST_BYTES_MAX`].
    #[prost(bytes = "bytes", tag = "4")]
    pub manifest: Bytes,
}

impl SnapshotMeta {
    /// Limit of `manifest`, in bytes: it is written as one value of the log store.
    pub const MANIFEST_BYTES_MAX: usize = 16 << 10;
}

/// Kinds of [`PeerMessage`]. Numbers are raft-rs's; proposals and purely local kinds do not exist on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum MessageKind {
    /// Not a message; refused.
    Unspecified = 0,
    /// Leader to follower: entries, the one before them, and the commit index.
    Append = 3,
    /// Follower to leader: matched up to `index`, or a rejection with a hint.
    AppendResponse = 4,
    /// Candidate asks for a vote.
    RequestVote = 5,
    /// The vote, or its refusal.
    RequestVoteResponse = 6,
    /// Leader to follower: the log you need is gone, fetch this snapshot.
    Snapshot = 7,
    /// Leader is alive; carries the read context being confirmed.
    Heartbeat = 8,
    /// Follower saw the heartbeat.
    HeartbeatResponse = 9,
    /// Leader tells a voter to stand at once (leadership transfer).
    TimeoutNow = 14,
    /// A follower asks the leader for a read index.
    ReadIndex = 15,
    /// The leader's answer.
    ReadIndexResponse = 16,
    /// Would you vote for me?
    RequestPreVote = 17,
    /// I would, or would not.
    RequestPreVoteResponse = 18,
    /// Follower to leader, Hesuan's own: fetching the announced snapshot failed (`reject`), try again.
    SnapshotStatus = 64,
}

/// A message between two replicas of one cluster.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PeerMessage {
    /// See [`MessageKind`].
    #[prost(enumeration = "MessageKind", tag = "1")]
    pub kind: i32,
    /// The receiver's replica id.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// The sender's replica id.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// The sender's term; 0 only for [`MessageKind::ReadIndex`].
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// Term of the entry at `index`, or of the rejection hint.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// Index this message speaks about.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// The entries after `index`, or the context of a read.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<LogEntry>,
    /// The sender's commit index as far as it concerns the receiver.
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    /// Term of the entry at `commit`, in vote messages.
    #[prost(uint64, tag = "15")]
    pub commit_term: u64,
    /// The snapshot of [`MessageKind::Snapshot`].
    #[prost(message, optional, tag = "9")]
    pub snapshot: Option<SnapshotMeta>,
    /// The index a follower needs a snapshot to hold; 0 for none.
    #[prost(uint64, tag = "13")]
    pub request_snapshot: u64,
    /// Whether this answer is a no.
    #[prost(bool, tag = "10")]
    pub reject: bool,
    /// Where the follower suggests to try next.
    #[prost(uint64, tag = "11")]
    pub reject_hint: u64,
    /// Read context of a heartbeat, or the mark of a forced election.
    #[prost(bytes = "bytes", tag = "12")]
    pub context: Bytes,
}

/// How a change of membership goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Transition {
    /// In one step; used only where no voter changes.
    Simple = 0,
    /// Through a joint configuration, which the leader leaves by an entry of its own.
    Joint = 2,
}

/// What happens to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum MemberChangeKind {
    /// Becomes a voter (a promotion, if it was a learner).
    Voter = 0,
    /// Leaves.
    Remove = 1,
    /// Becomes a learner.
    Learner = 2,
}

/// One member's part of a [`ConfChange`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberChange {
    /// See [`MemberChangeKind`].
    #[prost(enumeration = "MemberChangeKind", tag = "1")]
    pub kind: i32,
    /// The member's replica id.
    #[prost(uint64, tag = "2")]
    pub id: u64,
}

/// A change of membership, as it stands in the data of a [`EntryKind::ConfChange`] entry.
/// Field numbers are those of raft-rs's `ConfChangeV2`, so that either side's encoding decodes here.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfChange {
    /// See [`Transition`].
    #[prost(enumeration = "Transition", tag = "1")]
    pub transition: i32,
    /// What changes; none means "leave the joint configuration".
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<MemberChange>,
    /// For the state machine alone, such as the member's name and address.
    #[prost(bytes = "bytes", tag = "3")]
    pub context: Bytes,
}

impl ConfChange {
    /// `id` joins as a learner.
    pub fn add_learner(id: u64, context: impl Into<Bytes>) -> Self {
        Self::one(Transition::Simple, MemberChangeKind::Learner, id, context)
    }

    /// The learner `id` becomes a voter.
    pub fn promote(id: u64, context: impl Into<Bytes>) -> Self {
        Self::one(Transition::Joint, MemberChangeKind::Voter, id, context)
    }

    /// The voter `id` becomes a learner.
    pub fn demote(id: u64, context: impl Into<Bytes>) -> Self {
        Self::one(Transition::Joint, MemberChangeKind::Learner, id, context)
    }

    /// `id` leaves, whatever it was.
    pub fn remove(id: u64, context: impl Into<Bytes>) -> Self {
        Self::one(Transition::Joint, MemberChangeKind::Remove, id, context)
    }

    /// Ends the joint configuration; the leader proposes it by itself.
    pub fn leave_joint() -> Self {
        Self::default()
    }

    fn one(transition: Transition, kind: MemberChangeKind, id: u64, context: impl Into<Bytes>) -> Self {
        let changes = vec![MemberChange { kind: kind as i32, id }];
        Self {
            transition: transition as i32,
            changes,
            context: context.into(),
        }
    }
}
