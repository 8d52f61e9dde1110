//! Who a data directory belongs to and what its store has promised, kept in a file beside the store: one that comes back
//! empty, shorter or swapped must not vote again. The value is plain, so that a simulator can keep it in memory.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::{LoadedLog, LogPosition, StoreError, SyncedMark};

/// The owner of a store and its last recorded promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The replica's id, never reused after a wipe.
    pub replica_id: u64,
    /// The cluster's random id.
    pub cluster_id: [u8; 16],
    /// How often the cluster was restored from a backup.
    pub restore_epoch: u64,
    /// Something recent the store had made durable; it must not hold less. Recorded now and then, not with every write.
    pub synced: SyncedMark,
}

const FILE: &str = "identity";

impl Identity {
    /// The identity of a store that has promised nothing yet.
    pub fn new(replica_id: u64, cluster_id: [u8; 16], restore_epoch: u64) -> Self {
        Self {
            replica_id,
            cluster_id,
            restore_epoch,
            synced: SyncedMark::default(),
        }
    }

    /// Whether this identity is the one expected.
    pub fn check_owner(&self, replica_id: u64, cluster_id: [u8; 16]) -> Result<(), StoreError> {
        if self.cluster_id != cluster_id {
            let (found, expected) = (to_hex(&self.cluster_id), to_hex(&cluster_id));
            return Err(StoreError::Foreign {
                what: "cluster",
                found,
                expected,
            });
        }
        if self.replica_id != replica_id {
            let (found, expected) = (self.replica_id.to_string(), replica_id.to_string());
            return Err(StoreError::Foreign {
                what: "replica",
                found,
                expected,
            });
        }
        Ok(())
    }

    /// Whether a store that was just read holds at least what was promised.
    ///
    /// A follower's log may rightly become shorter: a new leader replaces what was never committed. What was committed must
    /// be there, and so must all of it if the log already ended in its term, because within a term a log only grows.
    pub fn check_promise(&self, loaded: &LoadedLog) -> Result<(), StoreError> {
        let promised = self.synced;
        let (hard, last) = (loaded.hard_state, loaded.last());
        if hard.term < promised.term {
            return Err(StoreError::Lost(format!(
                "its term is {} and was {}",
                hard.term, promised.term
            )));
        }
        let grew_only = hard.term == promised.term && promised.last.term == promised.term;
        let index = if grew_only {
            promised.last.index
        } else {
            promised.commit
        };
        if last.index < index {
            return Err(StoreError::Lost(format!("it ends at {} and held {index}", last.index)));
        }
        Ok(())
    }

    /// Reads the identity of a directory; `None` if it has none.
    pub fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => match Self::parse(&text) {
                Some(identity) => Ok(Some(identity)),
                None => Err(StoreError::Damaged(format!(
                    "{} is not what was written",
                    path.display()
                ))),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(format!("read {}", path.display()), error)),
        }
    }

    /// Replaces the identity of a directory, durably and at once.
    pub fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let (path, temporary) = (dir.join(FILE), dir.join("identity.tmp"));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(self.to_text().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|error| StoreError::io(format!("write {}", path.display()), error))
    }

    fn to_text(&self) -> String {
        let synced = self.synced;
        let lines = format!(
            "hesuan identity 1\nreplica {}\ncluster {}\nrestore_epoch {}\nsynced_term {}\nsynced_commit {}\nsynced_last {} {}\n",
            self.replica_id,
            to_hex(&self.cluster_id),
            self.restore_epoch,
            synced.term,
            synced.commit,
            synced.last.index,
            synced.last.term,
        );
        format!("{lines}crc32c {:08x}\n", crc32c::crc32c(lines.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.lines().map(|line| line.split_once(' '));
        let mut field = |name: &str| match fields.next()?? {
            (found, value) if found == name => Some(value),
            _ => None,
        };
        field("hesuan").filter(|value| *value == "identity 1")?;
        let replica_id = field("replica")?.parse().ok()?;
        let cluster_id = from_hex(field("cluster")?)?;
        let restore_epoch = field("restore_epoch")?.parse().ok()?;
        let term = field("synced_term")?.parse().ok()?;
        let commit = field("synced_commit")?.parse().ok()?;
        let (index, last_term) = field("synced_last")?.split_once(' ')?;
        let last = LogPosition {
            index: index.parse().ok()?,
            term: last_term.parse().ok()?,
        };
        let identity = Self {
            replica_id,
            cluster_id,
            restore_epoch,
            synced: SyncedMark { term, commit, last },
        };
        (identity.to_text() == text).then_some(identity)
    }
}

fn to_hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (position, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * position..2 * position + 2], 16).ok()?;
    }
    Some(bytes)
}
