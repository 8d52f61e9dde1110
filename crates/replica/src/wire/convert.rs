//! From the wire structs to raft-rs's and back. Inwards everything is checked that raft-rs trusts blindly: an index that
//! does not follow, a term that cannot be, a membership without voters. Outwards nothing can fail but a kind we never send.

use std::collections::BTreeSet;

use prost::Message as _;
use raft::eraftpb;

use super::{
    ConfChange, ConfState, EntryKind, HardState, LogEntry, MemberChangeKind, MessageKind, PeerMessage, SnapshotMeta,
    Transition,
};

/// Terms and indexes above this are refused: they are nonsense, and raft-rs adds to them without a check.
const NUMBER_MAX: u64 = u64::MAX / 4;

/// Why bytes or a message from outside were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not an encoding of the expected message.
    #[error("cannot decode {what}: {cause}")]
    Decode {
        /// The message expected.
        what: &'static str,
        /// What prost said.
        cause: String,
    },
    /// A kind that does not exist on the wire; proposals are among them.
    #[error("message kind {0} is not accepted from a peer")]
    Kind(i32),
    /// A field contradicts the rest of the message.
    #[error("peer message of kind {kind:?} is malformed: {what}")]
    Malformed {
        /// The message's kind.
        kind: MessageKind,
        /// The contradiction.
        what: &'static str,
    },
    /// A membership that raft-rs could not restore.
    #[error("membership is malformed: {0}")]
    Membership(&'static str),
}

impl LogEntry {
    pub(crate) fn from_raft(entry: &eraftpb::Entry) -> Self {
        let kind = match entry.get_entry_type() {
            eraftpb::EntryType::EntryNormal => EntryKind::Normal,
            eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChange,
        };
        Self {
            index: entry.index,
            term: entry.term,
            kind: kind as i32,
            data: entry.data.clone(),
        }
    }

    pub(crate) fn to_raft(&self) -> eraftpb::Entry {
        let mut entry = eraftpb::Entry {
            index: self.index,
            term: self.term,
            data: self.data.clone(),
            ..Default::default()
        };
        entry.set_entry_type(match self.kind() {
            EntryKind::Normal => eraftpb::EntryType::EntryNormal,
            EntryKind::ConfChange => eraftpb::EntryType::EntryConfChangeV2,
        });
        entry
    }
}

impl HardState {
    pub(crate) fn from_raft(state: &eraftpb::HardState) -> Self {
        Self {
            term: state.term,
            vote: state.vote,
            commit: state.commit,
        }
    }

    pub(crate) fn to_raft(self) -> eraftpb::HardState {
        eraftpb::HardState {
            term: self.term,
            vote: self.vote,
            commit: self.commit,
            ..Default::default()
        }
    }
}

impl ConfState {
    /// Ids are sorted: raft-rs keeps them in hash sets, and what is stored should not depend on that.
    pub(crate) fn from_raft(conf: &eraftpb::ConfState) -> Self {
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        Self {
            voters: sorted(&conf.voters),
            learners: sorted(&conf.learners),
            voters_outgoing: sorted(&conf.voters_outgoing),
            learners_next: sorted(&conf.learners_next),
        }
    }

    pub(crate) fn to_raft(&self) -> eraftpb::ConfState {
        eraftpb::ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.voters_outgoing.clone(),
            learners_next: self.learners_next.clone(),
            ..Default::default()
        }
    }

    /// Checks what raft-rs asserts when it restores a membership: some voter, no id 0, no id in two roles.
    pub fn validate(&self) -> Result<(), WireError> {
        let set = |ids: &[u64]| {
            let set: BTreeSet<u64> = ids.iter().copied().collect();
            (set.len() == ids.len() && !set.contains(&0)).then_some(set)
        };
        let twice = WireError::Membership("an id is zero or stands twice in one role");
        let voters = set(&self.voters).ok_or(twice.clone())?;
        let learners = set(&self.learners).ok_or(twice.clone())?;
        let outgoing = set(&self.voters_outgoing).ok_or(twice.clone())?;
        let next = set(&self.learners_next).ok_or(twice)?;
        if voters.is_empty() {
            return Err(WireError::Membership("no voters"));
        }
        if !learners.is_disjoint(&voters) || !learners.is_disjoint(&outgoing) {
            return Err(WireError::Membership("a learner is also a voter"));
        }
        if !next.is_subset(&outgoing) || !next.is_disjoint(&voters) {
            return Err(WireError::Membership("a coming learner is not an outgoing voter"));
        }
        Ok(())
    }
}

impl SnapshotMeta {
    pub(crate) fn from_raft(snapshot: &eraftpb::Snapshot) -> Self {
        let meta = snapshot.get_metadata();
        Self {
            index: meta.index,
            term: meta.term,
            conf_state: ConfState::from_raft(meta.get_conf_state()),
            manifest: snapshot.data.clone(),
        }
    }

    pub(crate) fn to_raft(&self) -> eraftpb::Snapshot {
        let mut snapshot = eraftpb::Snapshot {
            data: self.manifest.clone(),
            ..Default::default()
        };
        let meta = snapshot.mut_metadata();
        meta.index = self.index;
        meta.term = self.term;
        meta.set_conf_state(self.conf_state.to_raft());
        snapshot
    }
}

impl ConfChange {
    /// Decodes the data of a [`EntryKind::ConfChange`] entry.
    pub fn from_entry(entry: &LogEntry) -> Result<Self, WireError> {
        Self::decode(entry.data.clone()).map_err(|error| WireError::Decode {
            what: "membership change",
            cause: error.to_string(),
        })
    }

    pub(crate) fn to_raft(&self) -> Result<eraftpb::ConfChangeV2, WireError> {
        let mut change = eraftpb::ConfChangeV2 {
            context: self.context.clone(),
            ..Default::default()
        };
        change.set_transition(match Transition::try_from(self.transition) {
            Ok(Transition::Simple) => eraftpb::ConfChangeTransition::Auto,
            Ok(Transition::Joint) => eraftpb::ConfChangeTransition::Explicit,
            Err(_) => return Err(WireError::Membership("unknown transition")),
        });
        for member in &self.changes {
            let mut single = eraftpb::ConfChangeSingle {
                node_id: member.id,
                ..Default::default()
            };
            single.set_change_type(match MemberChangeKind::try_from(member.kind) {
                Ok(MemberChangeKind::Voter) => eraftpb::ConfChangeType::AddNode,
                Ok(MemberChangeKind::Remove) => eraftpb::ConfChangeType::RemoveNode,
                Ok(MemberChangeKind::Learner) => eraftpb::ConfChangeType::AddLearnerNode,
                Err(_) => return Err(WireError::Membership("unknown kind of change")),
            });
            change.mut_changes().push(single);
        }
        Ok(change)
    }
}

impl PeerMessage {
    /// Decodes bytes from a peer. The content is checked when the message is stepped.
    pub fn from_bytes(bytes: bytes::Bytes) -> Result<Self, WireError> {
        Self::decode(bytes).map_err(|error| WireError::Decode {
            what: "peer message",
            cause: error.to_string(),
        })
    }

    /// A message raft-rs wants sent; `None` for the local kinds and proposals, which never leave a replica.
    pub(crate) fn from_raft(mut message: eraftpb::Message) -> Option<Self> {
        let kind = MessageKind::try_from(message.get_msg_type() as i32).ok()?;
        if kind == MessageKind::Unspecified {
            return None;
        }
        let snapshot = message.snapshot.as_ref().map(SnapshotMeta::from_raft);
        Some(Self {
            kind: kind as i32,
            to: message.to,
            from: message.from,
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            entries: message.entries.iter().map(LogEntry::from_raft).collect(),
            commit: message.commit,
            commit_term: message.commit_term,
            snapshot: snapshot.filter(|_| kind == MessageKind::Snapshot),
            request_snapshot: message.request_snapshot,
            reject: message.reject,
            reject_hint: message.reject_hint,
            context: message.take_context(),
        })
    }

    /// Checks the message by itself, without regard to the receiver's state.
    pub fn validate(&self) -> Result<MessageKind, WireError> {
        let kind = match MessageKind::try_from(self.kind) {
            Ok(MessageKind::Unspecified) | Err(_) => return Err(WireError::Kind(self.kind)),
            Ok(kind) => kind,
        };
        let malformed = |what| Err(WireError::Malformed { kind, what });
        if self.from == 0 || self.to == 0 || self.from == self.to {
            return malformed("sender or receiver");
        }
        let numbers = [
            self.term,
            self.log_term,
            self.index,
            self.commit,
            self.commit_term,
            self.reject_hint,
            self.request_snapshot,
        ];
        if numbers.iter().any(|number| *number > NUMBER_MAX) {
            return malformed("a number out of range");
        }
        if (self.term == 0) != (kind == MessageKind::ReadIndex) {
            return malformed("term");
        }
        if self.snapshot.is_some() != (kind == MessageKind::Snapshot) {
            return malformed("snapshot");
        }
        match kind {
            MessageKind::Append => self.validate_entries(kind)?,
            MessageKind::ReadIndex | MessageKind::ReadIndexResponse if self.entries.len() != 1 => {
                return malformed("a read carries exactly one context");
            }
            MessageKind::ReadIndex | MessageKind::ReadIndexResponse => {}
            _ if !self.entries.is_empty() => return malformed("entries"),
            _ => {}
        }
        if let Some(snapshot) = &self.snapshot {
            snapshot.conf_state.validate()?;
            let in_range = |number| (1..=NUMBER_MAX).contains(&number);
            if !in_range(snapshot.index) || !in_range(snapshot.term) || snapshot.term > self.term {
                return malformed("snapshot position");
            }
            if snapshot.manifest.len() > SnapshotMeta::MANIFEST_BYTES_MAX {
                return malformed("snapshot manifest is too long");
            }
        }
        Ok(kind)
    }

    fn validate_entries(&self, kind: MessageKind) -> Result<(), WireError> {
        let (mut index, mut term) = (self.index, self.log_term);
        for entry in &self.entries {
            let follows = entry.index == index + 1 && entry.term >= term.max(1) && entry.term <= self.term;
            if !follows {
                return Err(WireError::Malformed {
                    kind,
                    what: "entries do not follow each other",
                });
            }
            if EntryKind::try_from(entry.kind).is_err() {
                return Err(WireError::Malformed {
                    kind,
                    what: "entry kind",
                });
            }
            (index, term) = (entry.index, entry.term);
        }
        Ok(())
    }

    /// The message raft-rs shall step. Call [`validate`](Self::validate) first; kinds raft-rs does not know have no counterpart.
    pub(crate) fn to_raft(&self, kind: MessageKind) -> Option<eraftpb::Message> {
        use eraftpb::MessageType as T;
        let mut message = eraftpb::Message {
            to: self.to,
            from: self.from,
            term: self.term,
            log_term: self.log_term,
            index: self.index,
            entries: self.entries.iter().map(LogEntry::to_raft).collect::<Vec<_>>().into(),
            commit: self.commit,
            commit_term: self.commit_term,
            request_snapshot: self.request_snapshot,
            reject: self.reject,
            reject_hint: self.reject_hint,
            context: self.context.clone(),
            ..Default::default()
        };
        message.set_msg_type(match kind {
            MessageKind::Unspecified | MessageKind::SnapshotStatus => return None,
            MessageKind::Append => T::MsgAppend,
            MessageKind::AppendResponse => T::MsgAppendResponse,
            MessageKind::RequestVote => T::MsgRequestVote,
            MessageKind::RequestVoteResponse => T::MsgRequestVoteResponse,
            MessageKind::Snapshot => T::MsgSnapshot,
            MessageKind::Heartbeat => T::MsgHeartbeat,
            MessageKind::HeartbeatResponse => T::MsgHeartbeatResponse,
            MessageKind::TimeoutNow => T::MsgTimeoutNow,
            MessageKind::ReadIndex => T::MsgReadIndex,
            MessageKind::ReadIndexResponse => T::MsgReadIndexResp,
            MessageKind::RequestPreVote => T::MsgRequestPreVote,
            MessageKind::RequestPreVoteResponse => T::MsgRequestPreVoteResponse,
        });
        if let Some(snapshot) = &self.snapshot {
            message.set_snapshot(snapshot.to_raft());
        }
        Some(message)
    }
}
