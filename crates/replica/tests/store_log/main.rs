//! The log stores alone: what is written comes back, what is damaged or missing is noticed.

mod identity;
mod model;
mod on_disk;

use bytes::Bytes;
use hesuan_replica::store::{LogBatch, LogPosition, LogStore};
use hesuan_replica::wire::{ConfState, HardState, LogEntry, SnapshotMeta};

fn entry(index: u64, term: u64, data: impl Into<Bytes>) -> LogEntry {
    LogEntry {
        index,
        term,
        kind: 0,
        data: data.into(),
    }
}

/// Entries `from..=to` of one term, each saying where it stands.
fn run(from: u64, to: u64, term: u64) -> Vec<LogEntry> {
    (from..=to)
        .map(|index| entry(index, term, format!("{index} of term {term}")))
        .collect()
}

fn append(entries: Vec<LogEntry>, term: u64, commit: u64) -> LogBatch {
    let hard_state = Some(HardState { term, vote: 1, commit });
    LogBatch {
        entries,
        hard_state,
        ..LogBatch::default()
    }
}

fn snapshot(index: u64, term: u64) -> SnapshotMeta {
    SnapshotMeta {
        index,
        term,
        conf_state: ConfState::of_voters([1, 2, 3]),
        manifest: Bytes::from_static(b"m"),
    }
}

fn founded(log: &mut impl LogStore) {
    log.write(&LogBatch::bootstrap(ConfState::of_voters([1, 2, 3])))
        .unwrap();
}

fn at(index: u64, term: u64) -> LogPosition {
    LogPosition { index, term }
}
