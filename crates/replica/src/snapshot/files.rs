//! Snapshots as files: written beside, synced, renamed; the two newest are kept, and older ones while somebody fetches them.

use bytes::Bytes;
use prost::Message;

use super::{Part, SnapshotDecoder, SnapshotEncoder, SnapshotError, SnapshotFooter, SnapshotHeader, SnapshotManifest};
use crate::archive::{Archive, SegmentRef};
use crate::files::{Files, FilesError};
use crate::wire::SnapshotMeta;

/// How many are kept: should the newest be unreadable, the log may still reach back to the one before.
const KEEP: usize = 2;
/// Read in pieces of this length.
const READ_BYTES: usize = 1 << 20;
/// Written data is synced in pieces, so that the log's own syncs never wait for a whole snapshot.
const SYNC_BYTES: usize = 4 << 20;

/// A snapshot that is complete on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// What it is of.
    pub header: SnapshotHeader,
    /// The archive's segments it relies on.
    pub segments: Vec<SegmentRef>,
    /// Counts and hashes.
    pub footer: SnapshotFooter,
    /// Length of the file.
    pub bytes: u64,
}

impl Stored {
    /// How the log and the peers name it.
    #[must_use]
    pub fn meta(&self) -> SnapshotMeta {
        let manifest = SnapshotManifest {
            bytes: self.bytes,
            sha256: self.footer.sha256.clone(),
        };
        SnapshotMeta {
            index: self.header.index,
            term: self.header.term,
            conf_state: self.header.conf_state.clone(),
            manifest: Bytes::from(manifest.encode_to_vec()),
        }
    }
}

/// The snapshots of one replica.
#[derive(Debug)]
pub struct SnapshotStore<F> {
    cluster_id: [u8; 16],
    files: F,
    /// Indexes and terms being fetched by others, once per fetch.
    pinned: Vec<(u64, u64)>,
}

fn name(index: u64, term: u64) -> String {
    format!("snapshot-{index:020}-{term:020}")
}

const PART: &str = "incoming.part";
const NEW: &str = "new.part";

/// Index and term in a name.
fn parse(name: &str) -> Option<(u64, u64)> {
    let (index, term) = name.strip_prefix("snapshot-")?.split_once('-')?;
    Some((index.parse().ok()?, term.parse().ok()?))
}

impl<F: Files> SnapshotStore<F> {
    /// Opens the folder and removes what an interrupted write or transfer left.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(cluster_id: [u8; 16], mut files: F) -> Result<Self, SnapshotError> {
        for left in files.list()?.iter().filter(|name| [PART, NEW].contains(&name.as_str())) {
            files.remove(left)?;
        }
        Ok(Self {
            cluster_id,
            files,
            pinned: Vec::new(),
        })
    }

    /// Writes a snapshot durably; `encode` gives the state's chunks in order. Commit the archive up to `header.index` first.
    ///
    /// # Errors
    /// When it cannot be written. A failed sync is final: the process must stop.
    pub fn save(
        &mut self,
        header: SnapshotHeader,
        segments: Vec<SegmentRef>,
        encode: impl FnOnce(&mut dyn FnMut(&[u8])),
    ) -> Result<Stored, SnapshotError> {
        self.files.create(NEW)?;
        let files = &mut self.files;
        let mut unsynced = 0;
        let sink = |bytes: &[u8]| -> Result<(), FilesError> {
            files.append(NEW, bytes)?;
            unsynced += bytes.len();
            if unsynced >= SYNC_BYTES {
                unsynced = 0;
                files.sync(NEW)?;
            }
            Ok(())
        };
        let mut encoder = SnapshotEncoder::new(&header, &segments, sink);
        encode(&mut |chunk| encoder.chunk(chunk));
        let (footer, bytes) = encoder.finish()?;
        self.keep(NEW, header.index, header.term)?;
        Ok(Stored {
            header,
            segments,
            footer,
            bytes,
        })
    }

    /// The newest snapshot that is whole, every byte of it checked. `needed` is where the log begins: its truncated index.
    ///
    /// # Errors
    /// [`SnapshotError::TooOld`] when a gap would be left between it and the log.
    pub fn latest(&self, needed: u64) -> Result<Option<Stored>, SnapshotError> {
        let mut best = None;
        for (index, term) in self.list()?.into_iter().rev() {
            match self.check(&name(index, term)) {
                Ok(stored) if (stored.header.index, stored.header.term) == (index, term) => {
                    best = Some(stored);
                    break;
                }
                // The one before may still do; if not, TooOld says what to do.
                Ok(_) | Err(SnapshotError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match best {
            Some(stored) if stored.header.index >= needed => Ok(Some(stored)),
            // The founders' log begins after index 1 without any snapshot of the state.
            None if needed <= 1 => Ok(None),
            best => Err(SnapshotError::TooOld {
                needed,
                best: best.map_or(0, |stored| stored.header.index),
            }),
        }
    }

    /// The state's chunks of a snapshot, handed to `each` in order.
    ///
    /// # Errors
    /// When it cannot be read or is damaged; `each` may have seen chunks by then.
    pub fn chunks(&self, stored: &Stored, mut each: impl FnMut(Box<[u8]>)) -> Result<(), SnapshotError> {
        let each = |part| {
            if let Part::Chunk(chunk) = part {
                each(chunk);
            }
        };
        self.read_parts(&name(stored.header.index, stored.header.term), each)
            .map(|_| ())
    }

    /// Bytes of a snapshot's file from `offset` on, for another replica.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`], or when it cannot be read.
    pub fn read(&self, index: u64, term: u64, offset: u64, bytes_max: usize) -> Result<Vec<u8>, SnapshotError> {
        if !self.list()?.contains(&(index, term)) {
            return Err(SnapshotError::Missing { index });
        }
        Ok(self.files.read(&name(index, term), offset, bytes_max)?)
    }

    /// Somebody begins to fetch it: it stays until [`SnapshotStore::unpin`].
    pub fn pin(&mut self, index: u64, term: u64) {
        self.pinned.push((index, term));
    }

    /// One fetch is over.
    ///
    /// # Errors
    /// When what is no longer needed cannot be removed.
    pub fn unpin(&mut self, index: u64, term: u64) -> Result<(), SnapshotError> {
        if let Some(at) = self.pinned.iter().position(|pinned| *pinned == (index, term)) {
            self.pinned.swap_remove(at);
        }
        self.prune()
    }

    /// Begins to receive the snapshot that `meta` announces; what was received of another is dropped.
    ///
    /// # Errors
    /// When the announcement is malformed or the file cannot be made.
    pub fn receive(&mut self, meta: SnapshotMeta) -> Result<SnapshotReceiver, SnapshotError> {
        let manifest = SnapshotManifest::of(&meta)?;
        self.files.create(PART)?;
        let decoder = SnapshotDecoder::new(self.cluster_id);
        Ok(SnapshotReceiver {
            meta,
            manifest,
            decoder,
            header: None,
            segments: Vec::new(),
            bytes: 0,
            unsynced: 0,
        })
    }

    /// More bytes of it, in order, cut anywhere.
    ///
    /// # Errors
    /// When they do not belong to it, or cannot be written.
    pub fn receive_bytes(&mut self, receiver: &mut SnapshotReceiver, bytes: &[u8]) -> Result<(), SnapshotError> {
        let SnapshotReceiver {
            decoder,
            header,
            segments,
            ..
        } = receiver;
        decoder.push(bytes, |part| match part {
            Part::Header(read) => *header = Some(read),
            Part::Segments(read) => segments.extend(read),
            Part::Chunk(_) => {}
        })?;
        receiver.bytes += bytes.len() as u64;
        receiver.unsynced += bytes.len();
        self.files.append(PART, bytes)?;
        if receiver.unsynced >= SYNC_BYTES {
            receiver.unsynced = 0;
            self.files.sync(PART)?;
        }
        Ok(())
    }

    /// All bytes came, and `archive` has fetched what it missed of [`SnapshotReceiver::segments`]: checks that the snapshot is the
    /// one announced and makes it durable. It comes last, because a snapshot that is there after a restart is started from.
    ///
    /// # Errors
    /// When it is not, or the archive lacks records; fetch it again.
    pub fn receive_end<G: Files>(
        &mut self,
        receiver: SnapshotReceiver,
        archive: &mut Archive<G>,
    ) -> Result<Stored, SnapshotError> {
        let SnapshotReceiver {
            meta,
            manifest,
            decoder,
            header,
            segments,
            bytes,
            ..
        } = receiver;
        let footer = decoder.finish()?;
        let header = header.ok_or_else(|| SnapshotError::damaged("it has no header"))?;
        let announced = (
            meta.index,
            meta.term,
            &meta.conf_state,
            manifest.bytes,
            &manifest.sha256,
        );
        if announced != (header.index, header.term, &header.conf_state, bytes, &footer.sha256) {
            return Err(SnapshotError::damaged("it is not the one announced"));
        }
        archive.start_at(header.index, header.archived)?;
        self.keep(PART, header.index, header.term)?;
        Ok(Stored {
            header,
            segments,
            footer,
            bytes,
        })
    }

    fn keep(&mut self, part: &str, index: u64, term: u64) -> Result<(), SnapshotError> {
        self.files.sync(part)?;
        self.files.rename(part, &name(index, term))?;
        self.files.sync_dir()?;
        self.prune()
    }

    fn prune(&mut self) -> Result<(), SnapshotError> {
        let all = self.list()?;
        for (index, term) in &all[..all.len().saturating_sub(KEEP)] {
            if !self.pinned.contains(&(*index, *term)) {
                self.files.remove(&name(*index, *term))?;
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<(u64, u64)>, SnapshotError> {
        Ok(self.files.list()?.iter().filter_map(|name| parse(name)).collect())
    }

    fn check(&self, name: &str) -> Result<Stored, SnapshotError> {
        let (mut header, mut segments) = (None, Vec::new());
        let (footer, bytes) = self.read_parts(name, |part| match part {
            Part::Header(read) => header = Some(read),
            Part::Segments(read) => segments.extend(read),
            Part::Chunk(_) => {}
        })?;
        let header = header.ok_or_else(|| SnapshotError::damaged("it has no header"))?;
        Ok(Stored {
            header,
            segments,
            footer,
            bytes,
        })
    }

    fn read_parts(&self, name: &str, mut each: impl FnMut(Part)) -> Result<(SnapshotFooter, u64), SnapshotError> {
        let mut decoder = SnapshotDecoder::new(self.cluster_id);
        let mut offset = 0;
        loop {
            let bytes = self.files.read(name, offset, READ_BYTES)?;
            if bytes.is_empty() {
                return Ok((decoder.finish()?, offset));
            }
            offset += bytes.len() as u64;
            decoder.push(&bytes, &mut each)?;
        }
    }
}

/// A snapshot on its way in.
#[derive(Debug)]
pub struct SnapshotReceiver {
    meta: SnapshotMeta,
    manifest: SnapshotManifest,
    decoder: SnapshotDecoder,
    header: Option<SnapshotHeader>,
    segments: Vec<SegmentRef>,
    bytes: u64,
    unsynced: usize,
}

impl SnapshotReceiver {
    /// How many bytes came: a broken transfer goes on from here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The segments of the archive it counts on, once all bytes came: fetch what [`Archive::missing`] says.
    #[must_use]
    pub fn segments(&self) -> &[SegmentRef] {
        &self.segments
    }
}
