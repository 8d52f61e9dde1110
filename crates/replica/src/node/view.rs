//! The log as raft-rs sees it: where it begins and ends, the terms in between, and the entries themselves, the recent ones
//! from memory and older ones through a reader of the store. Entries stay in memory at least until the store has them.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{Entry, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::store::{LogPosition, LogReader};
use crate::wire::{ConfState, HardState, LogEntry, SnapshotMeta};

/// See the module.
pub(super) struct LogView {
    initial: (HardState, ConfState),
    truncated: LogPosition,
    last: LogPosition,
    /// Where each term begins among the entries held; a log of any length has few terms.
    terms: VecDeque<LogPosition>,
    cache: VecDeque<Entry>,
    cache_bytes: u64,
    cache_bytes_max: u64,
    /// The store holds the entries up to here and nothing under way will change them.
    durable: u64,
    reader: Box<dyn LogReader>,
    snapshot: Option<SnapshotMeta>,
    snapshot_wanted: Cell<bool>,
}

fn weight(entry: &Entry) -> u64 {
    entry.data.len() as u64 + 24
}

impl LogView {
    pub(super) fn new(
        hard_state: HardState,
        snapshot: Option<SnapshotMeta>,
        truncated: LogPosition,
        reader: Box<dyn LogReader>,
        cache_bytes_max: u64,
    ) -> Self {
        let conf_state = snapshot
            .as_ref()
            .map(|meta| meta.conf_state.clone())
            .unwrap_or_default();
        Self {
            initial: (hard_state, conf_state),
            truncated,
            last: truncated,
            terms: VecDeque::new(),
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_bytes_max,
            durable: truncated.index,
            reader,
            snapshot,
            snapshot_wanted: Cell::new(false),
        }
    }

    /// Replaces everything from the first entry's index on.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return;
        };
        assert!(
            first > self.truncated.index && first <= self.last.index + 1,
            "entries leave a gap in the log"
        );
        self.durable = self.durable.min(first - 1);
        let kept = self.cache.partition_point(|entry| entry.index < first);
        self.cache_bytes -= self.cache.drain(kept..).map(|entry| weight(&entry)).sum::<u64>();
        self.terms
            .truncate(self.terms.partition_point(|start| start.index < first));
        for entry in entries {
            if self.terms.back().is_none_or(|start| start.term != entry.term) {
                self.terms.push_back(LogPosition {
                    index: entry.index,
                    term: entry.term,
                });
            }
            self.cache_bytes += weight(entry);
            self.cache.push_back(entry.clone());
            self.last = LogPosition {
                index: entry.index,
                term: entry.term,
            };
        }
    }

    /// Starts anew behind a snapshot from the leader.
    pub(super) fn install(&mut self, meta: SnapshotMeta) {
        self.truncated = LogPosition {
            index: meta.index,
            term: meta.term,
        };
        self.last = self.truncated;
        self.durable = meta.index;
        self.terms.clear();
        self.cache.clear();
        self.cache_bytes = 0;
        self.snapshot = Some(meta);
    }

    /// The store holds the entries up to `index`; memory may let them go.
    pub(super) fn set_durable(&mut self, index: u64) {
        self.durable = self.durable.max(index.min(self.last.index));
        while self.cache_bytes > self.cache_bytes_max && self.cache.front().is_some_and(|e| e.index <= self.durable) {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |entry| weight(&entry));
        }
    }

    /// Forgets the entries up to `index` and says what to tell the store.
    pub(super) fn compact(&mut self, index: u64) -> LogPosition {
        let term = self.term_at(index).expect("the log is compacted within what it holds");
        self.truncated = LogPosition { index, term };
        let gone = self.cache.partition_point(|entry| entry.index <= index);
        self.cache_bytes -= self.cache.drain(..gone).map(|entry| weight(&entry)).sum::<u64>();
        while self.terms.len() > 1 && self.terms[1].index <= index + 1 {
            self.terms.pop_front();
        }
        if let Some(start) = self.terms.front_mut() {
            start.index = start.index.max(index + 1);
        }
        if self.last.index == index {
            self.terms.clear();
        }
        self.truncated
    }

    pub(super) fn truncated(&self) -> LogPosition {
        self.truncated
    }

    pub(super) fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    pub(super) fn snapshot_meta(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    pub(super) fn set_snapshot(&mut self, meta: SnapshotMeta) {
        self.snapshot = Some(meta);
    }

    /// Whether some peer needed a snapshot that is not there, since the last call.
    pub(super) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }

    /// The term of an entry held, or of the one before the first; `None` outside.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.truncated.index {
            return Some(self.truncated.term);
        }
        if index < self.truncated.index || index > self.last.index {
            return None;
        }
        let run = self.terms.partition_point(|start| start.index <= index);
        self.terms.get(run.checked_sub(1)?).map(|start| start.term)
    }
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.initial.0.to_raft(), self.initial.1.to_raft()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last.index + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let cached_from = self.cache.front().map_or(self.last.index + 1, |entry| entry.index);
        let mut found = Vec::new();
        if low < cached_from {
            let until = high.min(cached_from);
            let read = self.reader.entries(low, until, bytes_max);
            let read = read.map_err(|error| StorageError::Other(Box::new(error)))?;
            found.extend(read.iter().map(LogEntry::to_raft));
            if (found.len() as u64) < until - low {
                return Ok(found);
            }
        }
        let mut total: u64 = found.iter().map(weight).sum();
        let start = (low.max(cached_from) - cached_from) as usize;
        for entry in self.cache.iter().skip(start).take_while(|entry| entry.index < high) {
            total = total.saturating_add(weight(entry));
            if total > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let outside = if index < self.truncated.index {
            StorageError::Compacted
        } else {
            StorageError::Unavailable
        };
        self.term_at(index).ok_or(outside.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last.index)
    }

    /// A snapshot is of use to `to` only if the log goes on behind it and its membership knows `to`.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let useful = self
            .snapshot
            .as_ref()
            .filter(|meta| meta.index >= request_index.max(self.truncated.index) && meta.conf_state.contains(to));
        useful.map(SnapshotMeta::to_raft).ok_or_else(|| {
            self.snapshot_wanted.set(true);
            StorageError::SnapshotTemporarilyUnavailable.into()
        })
    }
}
