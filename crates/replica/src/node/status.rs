//! What a node shows of itself: for the operator, for metrics, and for the leader's rhythm.

use raft::ProgressState;

use super::{Node, Role};
use crate::wire::ConfState;

/// A snapshot of a node's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// This replica's id.
    pub id: u64,
    /// The part it plays.
    pub role: Role,
    /// The latest term it saw.
    pub term: u64,
    /// The leader it knows of.
    pub leader: Option<u64>,
    /// Whether it leads and has committed an entry of its own term: reads and membership changes work.
    pub established: bool,
    /// To whom leadership is being transferred.
    pub transferring_to: Option<u64>,
    /// Highest committed index.
    pub commit: u64,
    /// Highest applied index reported.
    pub applied: u64,
    /// First index the log still holds.
    pub first: u64,
    /// Last index of the log, durable or not.
    pub last: u64,
    /// Last index that is durable here.
    pub persisted: u64,
    /// The snapshot that can be sent.
    pub snapshot_index: u64,
    /// The membership in force.
    pub conf_state: ConfState,
    /// On a leader, how far the others are, by id.
    pub peers: Vec<PeerProgress>,
    /// On a leader, the weight of proposals not yet committed, in bytes.
    pub uncommitted_bytes: u64,
    /// Entries held in memory, in bytes.
    pub cache_bytes: u64,
}

/// How far a leader knows another replica to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Its id.
    pub id: u64,
    /// It has everything up to here.
    pub matched: u64,
    /// How many entries it lacks.
    pub lag: u64,
    /// Whether it answered within the last election timeout.
    pub recent_active: bool,
    /// The snapshot it was told to fetch.
    pub pending_snapshot: Option<u64>,
}

impl Node {
    /// How this node is doing.
    pub fn status(&self) -> NodeStatus {
        let raft = &self.raw.raft;
        let (log, view) = (&raft.raft_log, self.raw.store());
        let last = log.last_index();
        let role = self.role();
        NodeStatus {
            id: self.config.id,
            role,
            term: self.term(),
            leader: self.leader(),
            established: role == Role::Leader && raft.commit_to_current_term(),
            transferring_to: raft.lead_transferee,
            commit: log.committed,
            applied: self.applied,
            first: log.first_index(),
            last,
            persisted: log.persisted,
            snapshot_index: view.snapshot_meta().map_or(0, |meta| meta.index),
            conf_state: self.conf_state(),
            peers: if role == Role::Leader {
                self.peer_progress(last)
            } else {
                Vec::new()
            },
            uncommitted_bytes: raft.uncommitted_size() as u64,
            cache_bytes: view.cache_bytes(),
        }
    }

    fn peer_progress(&self, last: u64) -> Vec<PeerProgress> {
        let peers = self.raw.raft.prs().iter().filter(|(id, _)| **id != self.config.id);
        let mut peers: Vec<PeerProgress> = peers
            .map(|(id, progress)| PeerProgress {
                id: *id,
                matched: progress.matched,
                lag: last.saturating_sub(progress.matched),
                recent_active: progress.recent_active,
                pending_snapshot: (progress.state == ProgressState::Snapshot).then_some(progress.pending_snapshot),
            })
            .collect();
        peers.sort_unstable_by_key(|peer| peer.id);
        peers
    }
}
