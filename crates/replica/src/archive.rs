//! What left State for good: ended jobs and journal entries, numbered from 0, in immutable hashed segment files.
//!
//! A segment's bytes depend on the records alone, so every replica has the same files, and a replica that was away fetches
//! them with a snapshot. Each segment's header holds the hash of the one before. The writer skips records it already holds: after
//! a restart the log is applied again from the snapshot on. Two rules tie it to the rest: the log is truncated only below
//! [`Archive::durable_index`], and a snapshot is kept only after the archive was committed to its index, so that what a crash takes
//! from the open segment is always replayed.
//!
//! `segment` knows the bytes of one file; here is the chain of them.

mod receive;
mod segment;
#[cfg(test)]
mod tests;

pub use receive::SegmentReceiver;
use segment::{Content, OpenSegment, Place, Recovered, SealedSegment};

use crate::files::{Files, FilesError};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The ended job it is about; `None` for a journal entry.
    pub job: Option<u64>,
    /// Opaque here.
    pub bytes: Box<[u8]>,
}

/// A segment as it stood at some moment: complete if sealed, otherwise its first `bytes` bytes. Two archives agree when their
/// descriptions of a segment's first `bytes` bytes do.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SegmentRef {
    /// From 1, without gaps.
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    /// Number of its first record.
    #[prost(uint64, tag = "2")]
    pub first: u64,
    /// Number after its last record.
    #[prost(uint64, tag = "3")]
    pub end: u64,
    /// Length, in bytes.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// SHA-256 of these bytes.
    #[prost(bytes = "vec", tag = "5")]
    pub sha256: Vec<u8>,
    /// Nothing will follow.
    #[prost(bool, tag = "6")]
    pub sealed: bool,
}

/// Why the archive cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The world failed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A file that was durable is not what it was.
    #[error(
        "archive segment {segment} is damaged: {what}; wipe this replica's directory and let it join again under a new id"
    )]
    Damaged {
        /// Which.
        segment: u64,
        /// What does not fit.
        what: String,
    },
    /// Records are missing before this one.
    #[error("archive record {number} does not follow {next}: records are missing")]
    Gap {
        /// The number offered.
        number: u64,
        /// The number that comes next.
        next: u64,
    },
    /// A segment fetched from another replica is not the one announced.
    #[error("archive segment {segment} arrived damaged: {what}")]
    Received {
        /// Which.
        segment: u64,
        /// What does not fit.
        what: String,
    },
}

/// How to keep an archive.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveConfig {
    /// Goes into every segment.
    pub cluster_id: [u8; 16],
    /// A segment is sealed when it reaches this length, in bytes. Equal on all replicas.
    pub segment_bytes_max: u64,
}

impl ArchiveConfig {
    /// Segments of 8 MiB.
    #[must_use]
    pub fn new(cluster_id: [u8; 16]) -> Self {
        Self {
            cluster_id,
            segment_bytes_max: 8 << 20,
        }
    }
}

/// The archive of one replica.
#[derive(Debug)]
pub struct Archive<F> {
    config: ArchiveConfig,
    files: F,
    sealed: Vec<SealedSegment>,
    open: Option<OpenSegment>,
    next: u64,
    durable_index: u64,
}

impl<F: Files> Archive<F> {
    /// Opens what is there and cuts the tail that a crash left torn.
    ///
    /// # Errors
    /// When a file cannot be read, or the chain of sealed segments is broken.
    pub fn open(config: ArchiveConfig, mut files: F) -> Result<Self, ArchiveError> {
        let mut sealed: Vec<SealedSegment> = Vec::new();
        let mut open: Option<OpenSegment> = None;
        for listed in segment::list(&mut files)? {
            let number = sealed.len() as u64 + 1;
            if listed.number != number || open.is_some() {
                return Err(ArchiveError::Damaged {
                    segment: number,
                    what: "its file is missing".into(),
                });
            }
            let first = sealed.last().map_or(0, |last| last.end);
            let previous_sha256 = if listed.sealed {
                sealed.push(SealedSegment::open(&files, &config, number, first)?);
                sealed[sealed.len() - 1].previous_sha256
            } else {
                match OpenSegment::recover(&mut files, &config, number, first)? {
                    Recovered::Open(recovered) => open.insert(recovered).previous_sha256(),
                    Recovered::Sealed(recovered) => {
                        sealed.push(recovered);
                        sealed[sealed.len() - 1].previous_sha256
                    }
                    Recovered::Empty => continue,
                }
            };
            // A header vouches for the segment before it; `verify` reads them all.
            if number > 1 {
                sealed[number as usize - 2].sha256 = Some(previous_sha256);
            }
        }
        if let Some(last) = sealed.last_mut()
            && last.sha256.is_none()
        {
            last.sha256 = Some(Content::read(&files, &segment::sealed_name(last.number), last.number)?.sha256());
        }
        let next = open
            .as_ref()
            .map(OpenSegment::end)
            .or(sealed.last().map(|last| last.end))
            .unwrap_or(0);
        Ok(Self {
            config,
            files,
            sealed,
            open,
            next,
            durable_index: 0,
        })
    }

    /// Number of the record that comes next: all before it are held, though perhaps not yet durable.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Everything that entries up to this log index gave to the archive is durable. The log may be truncated up to here.
    #[must_use]
    pub fn durable_index(&self) -> u64 {
        self.durable_index
    }

    /// A snapshot that was applied up to `index` and had given `next` records is where this replica starts.
    ///
    /// # Errors
    /// When the sync fails, or [`ArchiveError::Gap`] when fewer are held: the archive lost what it had promised, or segments must be fetched first.
    pub fn start_at(&mut self, index: u64, next: u64) -> Result<(), ArchiveError> {
        if self.next < next {
            return Err(ArchiveError::Gap {
                number: next,
                next: self.next,
            });
        }
        self.commit(index).map(|_| ())
    }

    /// Appends the record of this number, or skips it when it is held already.
    ///
    /// # Errors
    /// [`ArchiveError::Gap`], or when the file cannot be written.
    pub fn append(&mut self, number: u64, record: &Record) -> Result<(), ArchiveError> {
        if number < self.next {
            return Ok(());
        }
        if number > self.next {
            return Err(ArchiveError::Gap {
                number,
                next: self.next,
            });
        }
        if self.open.is_none() {
            self.open = Some(self.begin_segment()?);
        }
        let open = self.open.as_mut().expect("begun above");
        open.append(&mut self.files, number, record)?;
        self.next += 1;
        if open.bytes() >= self.config.segment_bytes_max {
            let open = self.open.take().expect("begun above");
            self.sealed.push(open.seal(&mut self.files)?);
        }
        Ok(())
    }

    /// Everything appended is durable when this returns; `index` is the last log entry whose records were appended.
    ///
    /// # Errors
    /// When the sync fails: the process must stop.
    pub fn commit(&mut self, index: u64) -> Result<u64, ArchiveError> {
        if let Some(open) = &mut self.open {
            open.sync(&mut self.files)?;
        }
        self.durable_index = self.durable_index.max(index);
        Ok(self.durable_index)
    }

    /// The segments as they stand. Call after [`Archive::commit`], before a snapshot names them.
    #[must_use]
    pub fn manifest(&self) -> Vec<SegmentRef> {
        let sealed = self.sealed.iter().map(SealedSegment::reference);
        sealed.chain(self.open.as_ref().map(OpenSegment::reference)).collect()
    }

    /// Bytes of a segment from `offset` on, for another replica.
    ///
    /// # Errors
    /// When there is no such segment or it cannot be read.
    pub fn read_segment(&self, segment: u64, offset: u64, bytes_max: usize) -> Result<Vec<u8>, ArchiveError> {
        let name = match &self.open {
            Some(open) if open.number() == segment => segment::open_name(segment),
            _ => segment::sealed_name(segment),
        };
        Ok(self.files.read(&name, offset, bytes_max)?)
    }

    /// The records of an ended job, oldest first: one with many attempts leaves State in parts.
    ///
    /// # Errors
    /// When a segment is damaged or cannot be read.
    pub fn find_job(&self, job: u64) -> Result<Vec<Record>, ArchiveError> {
        let mut records = Vec::new();
        for sealed in &self.sealed {
            sealed.find_job(&self.files, job, &mut records)?;
        }
        if let Some(open) = &self.open {
            open.find_job(&self.files, job, &mut records)?;
        }
        Ok(records)
    }

    /// Calls `each` with the records from `from` on, in order, until it answers false.
    ///
    /// # Errors
    /// When a segment is damaged or cannot be read.
    pub fn read_from(&self, from: u64, mut each: impl FnMut(u64, Record) -> bool) -> Result<(), ArchiveError> {
        for sealed in self.sealed.iter().filter(|sealed| sealed.end > from) {
            let content = Content::read(&self.files, &segment::sealed_name(sealed.number), sealed.number)?;
            if !content.each_from(from, &mut each)? {
                return Ok(());
            }
        }
        if let Some(open) = &self.open {
            open.content(&self.files)?.each_from(from, &mut each)?;
        }
        Ok(())
    }

    /// Reads everything and checks every checksum, hash, number and link of the chain.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] names the first segment that is not what it was.
    pub fn verify(&self) -> Result<(), ArchiveError> {
        let mut place = Place {
            number: 1,
            first: 0,
            previous_sha256: [0; 32],
        };
        for sealed in &self.sealed {
            let content = Content::read(&self.files, &segment::sealed_name(sealed.number), sealed.number)?;
            content.verify(&self.config, place, true)?;
            place = Place {
                number: place.number + 1,
                first: sealed.end,
                previous_sha256: content.sha256(),
            };
        }
        match &self.open {
            Some(open) => open.content(&self.files)?.verify(&self.config, place, false),
            None => Ok(()),
        }
    }

    fn begin_segment(&mut self) -> Result<OpenSegment, ArchiveError> {
        let previous_sha256 = self.sealed.last().map_or([0; 32], SealedSegment::sha256);
        let place = Place {
            number: self.sealed.len() as u64 + 1,
            first: self.next,
            previous_sha256,
        };
        OpenSegment::begin(&mut self.files, &self.config, place)
    }
}
