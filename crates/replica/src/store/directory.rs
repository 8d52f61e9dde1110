//! A replica's data directory as a whole: the identity file and, beside it, the log store in `raft/`.

use std::path::Path;

use super::{Identity, LoadedLog, LogStore, SledLog, StoreError};

/// A data directory that was opened and checked.
#[derive(Debug)]
pub struct Opened {
    /// The log store.
    pub log: SledLog,
    /// What it holds; new for a founder before [`LogBatch::bootstrap`](super::LogBatch::bootstrap) and for one that joins.
    pub loaded: LoadedLog,
    /// Whose it is. Update `synced` from [`LogStore::synced_mark`] and [`write`](Identity::write) it every few seconds.
    pub identity: Identity,
}

/// Opens `dir` for a replica of a cluster, or makes it.
///
/// Fails if the directory belongs to another replica or cluster, or if its store is damaged or holds less than the identity
/// says it did. The error's text says how to recover.
pub fn open(dir: &Path, replica_id: u64, cluster_id: [u8; 16]) -> Result<Opened, StoreError> {
    std::fs::create_dir_all(dir).map_err(|error| StoreError::io(format!("create {}", dir.display()), error))?;
    let known = Identity::read(dir)?;
    if let Some(identity) = &known {
        identity.check_owner(replica_id, cluster_id)?;
    }
    let mut log = SledLog::open(&dir.join("raft"))?;
    let loaded = log.load()?;
    let identity = match known {
        Some(identity) => {
            identity.check_promise(&loaded)?;
            identity
        }
        None if loaded.is_new() => {
            let identity = Identity::new(replica_id, cluster_id, 0);
            identity.write(dir)?;
            identity
        }
        None => {
            return Err(StoreError::Damaged(
                "there is a log and no identity file beside it".to_owned(),
            ));
        }
    };
    Ok(Opened { log, loaded, identity })
}
