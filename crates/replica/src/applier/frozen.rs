//! A state that no longer changes, on its way to a file, and back.

use hesuan_engine::state::{Decoder, Frozen, State};

use super::ApplyError;
use crate::archive::SegmentRef;
use crate::files::Files;
use crate::snapshot::{SnapshotError, SnapshotHeader, SnapshotStore, Stored};

/// The state as of one index; sharing its pages with the one that goes on.
pub struct FrozenSnapshot {
    header: SnapshotHeader,
    state: Frozen,
}

impl FrozenSnapshot {
    pub(super) fn new(header: SnapshotHeader, state: Frozen) -> Self {
        Self { header, state }
    }

    /// What it is of. Commit the archive up to `index` before [`FrozenSnapshot::save`].
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Encodes it and writes it durably; takes as long as it takes, on a thread of its own. `segments` is the archive's
    /// [`crate::archive::Archive::manifest`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save<F: Files>(
        self,
        store: &mut SnapshotStore<F>,
        segments: Vec<SegmentRef>,
    ) -> Result<Stored, SnapshotError> {
        let Self { header, state } = self;
        store.save(header, segments, |sink| state.encode(sink))
    }
}

/// The state in a snapshot's file.
pub(super) fn decode<F: Files>(store: &SnapshotStore<F>, stored: &Stored) -> Result<State, ApplyError> {
    let mut decoder = Decoder::default();
    let mut taken = Ok(());
    store.chunks(stored, |chunk| {
        if taken.is_ok() {
            taken = decoder.take(&chunk);
        }
    })?;
    let decoded = taken.and_then(|()| decoder.finish());
    decoded.map_err(|e| ApplyError::State {
        index: stored.header.index,
        what: e.to_string(),
    })
}
