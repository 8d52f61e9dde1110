//! Snapshots and compaction. Only a snapshot's name travels as a Raft message. The receiver puts the message aside, has the
//! shell fetch the data and make it durable, and only then lets raft-rs have it: one at a time, from the announcement to the
//! cleared log.

use raft::{ProgressState, SnapshotStatus};

use super::{FetchSnapshot, Node, NodeError, Output, Role};
use crate::wire::{MessageKind, PeerMessage, SnapshotMeta};

/// The snapshot on its way to us, if any.
#[derive(Debug, Default)]
pub(super) enum Inbox {
    #[default]
    Empty,
    /// Announced; the shell does not know yet.
    Announced(FetchSnapshot),
    /// The shell is at it.
    Fetching(FetchSnapshot),
    /// Its data is durable; raft-rs gets it once there is a leader to answer to.
    Fetched(SnapshotMeta),
    /// raft-rs has it; the log is being replaced.
    Installing,
}

impl Inbox {
    pub(super) fn take_fetch(&mut self) -> Option<FetchSnapshot> {
        match std::mem::take(self) {
            Inbox::Announced(fetch) => {
                *self = Inbox::Fetching(fetch.clone());
                Some(fetch)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    pub(super) fn is_installing(&self) -> bool {
        matches!(self, Inbox::Installing)
    }

    pub(super) fn installed(&mut self) {
        assert!(self.is_installing(), "a snapshot is installed that was never fetched");
        *self = Inbox::Empty;
    }
}

impl Node {
    pub(super) fn step_snapshot(&mut self, message: &PeerMessage) -> Result<(), NodeError> {
        let Some(meta) = &message.snapshot else { return Ok(()) };
        if message.term < self.term() {
            return Ok(());
        }
        if self.has_up_to(meta) {
            // raft-rs only tells the leader so.
            let message = message.to_raft(MessageKind::Snapshot).expect("raft-rs knows this kind");
            return self.step_raft(message);
        }
        if matches!(self.inbox, Inbox::Empty) && meta.conf_state.contains(self.config.id) {
            self.inbox = Inbox::Announced(FetchSnapshot {
                from: message.from,
                meta: meta.clone(),
            });
        }
        Ok(())
    }

    fn has_up_to(&self, meta: &SnapshotMeta) -> bool {
        let log = &self.raw.raft.raft_log;
        meta.index <= log.committed || log.match_term(meta.index, meta.term)
    }

    /// The snapshot asked for by `fetch_snapshot` is durable here, or (`ok` false) could not be had. If it is no longer
    /// needed, no `install_snapshot` follows, and its data may go.
    pub fn snapshot_fetched(&mut self, meta: &SnapshotMeta, ok: bool) -> Result<(), NodeError> {
        let fetch = match std::mem::take(&mut self.inbox) {
            Inbox::Fetching(fetch) if fetch.meta == *meta => fetch,
            other => {
                self.inbox = other;
                return Ok(());
            }
        };
        if !ok {
            self.outbox.push(PeerMessage {
                kind: MessageKind::SnapshotStatus as i32,
                to: fetch.from,
                from: self.config.id,
                term: self.term(),
                index: meta.index,
                reject: true,
                ..PeerMessage::default()
            });
            return Ok(());
        }
        self.inbox = Inbox::Fetched(fetch.meta);
        self.install_if_due()
    }

    /// What a snapshot holds was committed, so it is good under any leader; but the answer must go to the present one.
    pub(super) fn install_if_due(&mut self) -> Result<(), NodeError> {
        let Inbox::Fetched(meta) = &self.inbox else {
            return Ok(());
        };
        if self.has_up_to(meta) {
            self.inbox = Inbox::Empty;
            return Ok(());
        }
        let Some(leader) = self.leader().filter(|_| self.role() == Role::Follower) else {
            return Ok(());
        };
        let message = PeerMessage {
            kind: MessageKind::Snapshot as i32,
            to: self.config.id,
            from: leader,
            term: self.term(),
            snapshot: Some(meta.clone()),
            ..PeerMessage::default()
        };
        self.step_raft(message.to_raft(MessageKind::Snapshot).expect("raft-rs knows this kind"))?;
        let taken = self.raw.snap().is_some();
        self.inbox = if taken { Inbox::Installing } else { Inbox::Empty };
        Ok(())
    }

    pub(super) fn note_snapshots_sent(&mut self, messages: &[(u64, PeerMessage)], output: &mut Output) {
        for (to, message) in messages {
            if let Some(meta) = &message.snapshot {
                self.fetching_peers.insert(*to, 0);
                output.send_snapshot_to.push((*to, meta.clone()));
            }
        }
    }

    /// raft-rs waits for a peer with a snapshot until it is told something. The announcement may have been lost, so after a
    /// while we say it failed; a peer still fetching ignores the new announcement.
    pub(super) fn tick_snapshots(&mut self) {
        if self.role() != Role::Leader {
            self.fetching_peers.clear();
            return;
        }
        let mut given_up = Vec::new();
        let (prs, ticks_max) = (self.raw.raft.prs(), self.config.snapshot_ticks_max);
        self.fetching_peers.retain(|peer, ticks| {
            *ticks += 1;
            let fetching = prs
                .get(*peer)
                .is_some_and(|progress| progress.state == ProgressState::Snapshot);
            if fetching && *ticks > ticks_max {
                given_up.push(*peer);
            }
            fetching && *ticks <= ticks_max
        });
        for peer in given_up {
            self.report_snapshot(peer, false);
        }
    }

    /// On the leader: `peer` has the snapshot it was told to fetch, or failed to get it. A success needs no report, since the
    /// peer's next answer shows it.
    pub fn report_snapshot(&mut self, peer: u64, ok: bool) {
        let status = if ok {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.fetching_peers.remove(&peer);
        self.raw.report_snapshot(peer, status);
    }

    /// A snapshot of our own state machine is durable: peers may get it, a restart may begin from it, and the log may be
    /// compacted up to it. Its `conf_state` must be that of its index. An older one than the present is ignored.
    pub fn snapshot_available(&mut self, meta: SnapshotMeta) {
        // The report of the state machine itself may still be on its way.
        self.applied(meta.index);
        let view = self.raw.store();
        let present = view.snapshot_meta().map_or(0, |present| present.index);
        if meta.index <= present {
            return;
        }
        let fits = meta.manifest.len() <= SnapshotMeta::MANIFEST_BYTES_MAX;
        assert!(fits, "a manifest of {} bytes", meta.manifest.len());
        assert_eq!(
            view.term_at(meta.index),
            Some(meta.term),
            "the snapshot at {} is of another log",
            meta.index
        );
        self.raw.mut_store().set_snapshot(meta.clone());
        self.next_snapshot = Some(meta);
    }

    /// Lets entries up to `index` go, as far as the latest snapshot, the entries to keep and late followers allow. Returns
    /// the last index the log no longer holds.
    pub fn compact_to(&mut self, index: u64) -> u64 {
        let view = self.raw.store();
        let truncated = view.truncated().index;
        let log = &self.raw.raft.raft_log;
        let applied = self.applied.min(log.applied);
        let snapshot = view.snapshot_meta().map_or(0, |meta| meta.index);
        let mut target = index
            .min(snapshot)
            .min(applied.saturating_sub(self.config.log_entries_keep));
        if log.last_index() - truncated <= self.config.log_entries_max {
            target = target.min(self.needed_by_followers());
        }
        if target <= truncated {
            return truncated;
        }
        self.next_truncate = Some(self.raw.mut_store().compact(target));
        target
    }

    /// On a leader, the lowest index that every reachable follower has, or will have with the snapshot it is fetching.
    fn needed_by_followers(&self) -> u64 {
        if self.role() != Role::Leader {
            return u64::MAX;
        }
        let peers = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(id, progress)| **id != self.config.id && progress.recent_active);
        let needed = peers.map(|(_, progress)| progress.matched.max(progress.pending_snapshot));
        needed.min().unwrap_or(u64::MAX)
    }
}
