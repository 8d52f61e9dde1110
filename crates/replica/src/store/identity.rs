//! Who a data directory belongs to and what it has promised, kept beside the store in a file of its own: a store that comes
//! back empty, shorter or swapped must not vote again. The value is plain, so that a simulator can keep it in memory.

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
    /// Something recent the store had made durable; what it holds must not be less.
    pub synced: SyncedMark,
}
