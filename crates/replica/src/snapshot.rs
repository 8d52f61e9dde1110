//! A snapshot as bytes: a header, the archive's segments, the state in chunks, and a footer with counts and SHA-256. Written and
//! read as a stream, so that neither side holds it in memory; `files` is the shell's side of it, files with names.
//!
//! The state's own chunks are opaque here. The footer's `state_sha256` covers them alone: it is the full hash that
//! replicas compare, while header and segments may differ between two replicas at the same index.

mod codec;
mod files;
#[cfg(test)]
mod tests;

pub use codec::{Part, SnapshotDecoder, SnapshotEncoder};
pub use files::{SnapshotReceiver, SnapshotStore, Stored};

use prost::Message;

use crate::archive::{ArchiveError, SegmentRef};
use crate::files::FilesError;
use crate::wire::{ConfState, SnapshotMeta};

/// The layout that is written. Another one is refused.
pub const VERSION: u32 = 1;
/// Longest chunk of a state, in bytes.
pub const CHUNK_BYTES_MAX: usize = 32 << 10;

/// What a snapshot is of.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotHeader {
    /// [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// A snapshot of another cluster is refused.
    #[prost(bytes = "vec", tag = "2")]
    pub cluster_id: Vec<u8>,
    /// Index of the last entry applied.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// Its term.
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// The membership as of `index`.
    #[prost(message, required, tag = "5")]
    pub conf_state: ConfState,
    /// Time of the last entry, in ms since 1970.
    #[prost(uint64, tag = "6")]
    pub at_ms: u64,
    /// The chain of outcomes as of `index`.
    #[prost(bytes = "vec", tag = "7")]
    pub outcome_digest: Vec<u8>,
    /// Records given to the archive up to `index`.
    #[prost(uint64, tag = "8")]
    pub archived: u64,
    /// The cluster's level; a release that knows only lower ones refuses it.
    #[prost(uint32, tag = "9")]
    pub level: u32,
}

/// What a snapshot file ends with.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotFooter {
    /// Chunks of state.
    #[prost(uint64, tag = "1")]
    pub chunks: u64,
    /// Their bytes.
    #[prost(uint64, tag = "2")]
    pub state_bytes: u64,
    /// SHA-256 of the chunks, one after the other: the full hash of the state.
    #[prost(bytes = "vec", tag = "3")]
    pub state_sha256: Vec<u8>,
    /// SHA-256 of the bytes before the first chunk, and of `state_sha256`: it names the whole, and chunks are hashed once only.
    #[prost(bytes = "vec", tag = "4")]
    pub sha256: Vec<u8>,
}

/// What [`SnapshotMeta::manifest`] says of the file, so that the receiver knows it got this one.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotManifest {
    /// Length of the whole file.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// [`SnapshotFooter::sha256`].
    #[prost(bytes = "vec", tag = "2")]
    pub sha256: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Segments {
    #[prost(message, repeated, tag = "1")]
    segments: Vec<SegmentRef>,
}

impl SnapshotManifest {
    /// The manifest of an announced snapshot.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn of(meta: &SnapshotMeta) -> Result<Self, SnapshotError> {
        Self::decode(meta.manifest.clone()).map_err(|e| SnapshotError::damaged(format!("its announcement: {e}")))
    }
}

/// Why a snapshot cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The world failed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The archive lacks records that the snapshot counts on.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It is not what was written.
    #[error("the snapshot is damaged: {what}")]
    Damaged {
        /// What does not fit.
        what: String,
    },
    /// It is of another cluster.
    #[error("the snapshot belongs to another cluster")]
    OtherCluster,
    /// It is written in a layout this release does not know.
    #[error("the snapshot has layout {found}, this release knows {VERSION}")]
    Version {
        /// Its layout.
        found: u32,
    },
    /// The log begins after every snapshot that can be read.
    #[error(
        "no readable snapshot reaches index {needed}, where the log begins (the best one ends at {best}); wipe this \
         replica's directory and let it join again under a new id"
    )]
    TooOld {
        /// The log's beginning.
        needed: u64,
        /// The last index of the newest snapshot that can be read; 0 if there is none.
        best: u64,
    },
    /// There is no such snapshot here (any more).
    #[error("there is no snapshot of index {index}")]
    Missing {
        /// The index asked for.
        index: u64,
    },
}

impl SnapshotError {
    fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}
