//! Where the Raft log lies: what is written at once ([`LogBatch`]), what comes back after a start ([`LoadedLog`]), and the
//! trait of the two stores, sled and memory. Both share `layout`, which decides keys, chunks and checksums, so that what the
//! simulator tears apart is what the disk holds. Nothing here knows raft-rs.

mod chunk;
pub mod directory;
pub mod identity;
mod layout;
pub mod memory;
pub mod sled;
mod value;

use crate::wire::{ConfState, HardState, LogEntry, SnapshotMeta};

pub use identity::Identity;
pub use memory::MemoryLog;
pub use sled::SledLog;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Index of the entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// A membership with the index of the entry that brought it about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedConf {
    /// Index of the membership change.
    pub applied: u64,
    /// The membership from there on.
    pub conf_state: ConfState,
}

/// One atomic write. The parts take effect in the order of the fields: a snapshot is installed before entries are appended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogBatch {
    /// A snapshot fetched from the leader, its data already durable: the log is cleared and goes on after it.
    pub install_snapshot: Option<SnapshotMeta>,
    /// Consecutive entries. What the store holds from the first one's index on is replaced.
    pub entries: Vec<LogEntry>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// A membership that came into force.
    pub conf_state: Option<AppliedConf>,
    /// A snapshot of our own, its data already durable, that a restart may begin from.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries up to and including this one are no longer needed.
    pub truncate_to: Option<LogPosition>,
}

impl LogBatch {
    /// What a founding replica writes before its first start: an initial snapshot at index 1, term 1 with these voters. Every
    /// founder must name the same voters, or two clusters come into being.
    pub fn bootstrap(conf_state: ConfState) -> Self {
        Self {
            install_snapshot: Some(SnapshotMeta {
                index: 1,
                term: 1,
                conf_state,
                ..Default::default()
            }),
            hard_state: Some(HardState {
                term: 1,
                vote: 0,
                commit: 1,
            }),
            ..Self::default()
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything a store holds, as read and checked at start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedLog {
    /// The hard state; all zero in a new store.
    pub hard_state: HardState,
    /// The latest membership written.
    pub conf: AppliedConf,
    /// The last entry the log no longer holds; its term still answers.
    pub truncated: LogPosition,
    /// The snapshot a restart begins from; `None` only in a new store.
    pub snapshot: Option<SnapshotMeta>,
    /// The entries after `truncated`, without gaps.
    pub entries: Vec<LogEntry>,
}

impl LoadedLog {
    /// Whether nothing was ever written.
    pub fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// The last entry, or where the log was cut off if it holds none.
    pub fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.truncated, |entry| LogPosition {
            index: entry.index,
            term: entry.term,
        })
    }
}

/// What a store has made durable; the identity file remembers it now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SyncedMark {
    /// Term of the hard state.
    pub term: u64,
    /// Commit index, as far as the entries are durable too.
    pub commit: u64,
    /// The last durable entry.
    pub last: LogPosition,
}

/// Why a store failed. After any error of a write or a sync the process must stop: what the disk holds is then unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// sled refused something.
    #[error("log store: {0}")]
    Sled(#[from] ::sled::Error),
    /// What was read is not what was written.
    #[error("the log store is damaged: {0}; {RECOVERY}")]
    Damaged(String),
    /// The store holds less than this replica has promised to others.
    #[error("the log store has lost data: {0}; {RECOVERY}")]
    Lost(String),
    /// Another process has it open.
    #[error("{} is in use: another process runs on this data directory", .0.display())]
    InUse(std::path::PathBuf),
    /// The store belongs to somebody else, who may need it: nothing in it may be touched.
    #[error(
        "the data directory belongs to another {what} (found {found}, expected {expected}); give this replica its own"
    )]
    Foreign {
        /// `cluster` or `replica`.
        what: &'static str,
        /// What the identity says.
        found: String,
        /// What the configuration says.
        expected: String,
    },
    /// Entries were asked for that the store does not hold.
    #[error("entries {low}..{high} are not in the store")]
    Missing {
        /// First index asked for.
        low: u64,
        /// One past the last.
        high: u64,
    },
}

/// How an operator brings a replica back whose disk cannot be trusted: never under its old id, because a forgotten vote or a
/// forgotten acknowledgement would break what others rely on.
const RECOVERY: &str = "to recover, stop this replica, wipe its data directory, take it out with `hesuan cluster remove`, run \
    `hesuan cluster add` with a new name to get a new replica id, and start it with that name, that id and `join = true`";

impl StoreError {
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}

/// Reads entries that are no longer cached, from another thread than the one that writes.
pub trait LogReader: Send {
    /// The entries `low..high`, at least one, then only as long as they weigh at most `bytes_max` together.
    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<LogEntry>, StoreError>;
}

/// A durable log. One thread owns it, writes batches in order, and reports them after `sync`.
pub trait LogStore: Send {
    /// Reads and checks everything.
    fn load(&mut self) -> Result<LoadedLog, StoreError>;

    /// Takes one batch, all of it or nothing; it is durable after the next [`sync`](Self::sync).
    fn write(&mut self, batch: &LogBatch) -> Result<(), StoreError>;

    /// Makes everything written so far durable.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// What is durable, for the identity.
    fn synced_mark(&self) -> SyncedMark;

    /// A handle to read entries while this store writes.
    fn reader(&self) -> Box<dyn LogReader>;

    /// See [`LogReader::entries`].
    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<LogEntry>, StoreError> {
        self.reader().entries(low, high, bytes_max)
    }
}
