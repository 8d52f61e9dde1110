//! Segments that come from another replica, with a snapshot: written beside, checked, and only then given their name.

use sha2::{Digest, Sha256};

use super::segment::{self, Content, OpenSegment, Recovered, SealedSegment};
use super::{Archive, ArchiveError, SegmentRef};
use crate::files::Files;

impl SegmentRef {
    /// What replicas call this segment among themselves.
    #[must_use]
    pub fn name(&self) -> String {
        format!("segment-{:010}", self.segment)
    }

    /// The number in such a name.
    #[must_use]
    pub fn number_of(name: &str) -> Option<u64> {
        name.strip_prefix("segment-")?.parse().ok()
    }
}

impl<F: Files> Archive<F> {
    /// Which of another replica's segments must be fetched, in this order, so that this archive holds all their records.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when one that both have is not the same: history differs, and this replica must stop.
    pub fn missing(&mut self, theirs: &[SegmentRef]) -> Result<Vec<SegmentRef>, ArchiveError> {
        self.commit(0)?;
        let ours = self.manifest();
        let mut missing = Vec::new();
        for their in theirs {
            let our = ours.iter().find(|our| our.segment == their.segment);
            let Some(our) = our.filter(|our| our.sealed || our.bytes >= their.bytes) else {
                missing.push(their.clone());
                continue;
            };
            let same = if their.sealed || our.bytes <= their.bytes {
                our == their
            } else {
                self.prefix_sha256(their)? == their.sha256
            };
            if !same {
                let what = "it differs from the other replicas'".into();
                return Err(ArchiveError::Damaged {
                    segment: their.segment,
                    what,
                });
            }
        }
        Ok(missing)
    }

    /// Begins to receive a segment that [`Archive::missing`] named. Records may be appended meanwhile.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn receive(&mut self, segment: SegmentRef) -> Result<SegmentReceiver, ArchiveError> {
        self.files.create(&segment::part_name(segment.segment))?;
        Ok(SegmentReceiver {
            segment,
            bytes: 0,
            hasher: Sha256::new(),
        })
    }

    /// More bytes of it, in order.
    ///
    /// # Errors
    /// When they cannot be written or are more than announced.
    pub fn receive_bytes(&mut self, receiver: &mut SegmentReceiver, bytes: &[u8]) -> Result<(), ArchiveError> {
        receiver.bytes += bytes.len() as u64;
        if receiver.bytes > receiver.segment.bytes {
            return Err(receiver.refuse(format!("more than {} bytes came", receiver.segment.bytes)));
        }
        receiver.hasher.update(bytes);
        Ok(self
            .files
            .append(&segment::part_name(receiver.segment.segment), bytes)?)
    }

    /// All bytes came: checks them and takes the segment in, durably. What this archive held of it is in it too.
    ///
    /// # Errors
    /// [`ArchiveError::Received`] when they are not what was announced; ask again.
    pub fn receive_end(&mut self, receiver: SegmentReceiver) -> Result<(), ArchiveError> {
        let SegmentReceiver {
            segment: ref their,
            bytes,
            ref hasher,
        } = receiver;
        let (number, part) = (their.segment, segment::part_name(their.segment));
        if bytes != their.bytes {
            return Err(receiver.refuse(format!("{bytes} bytes came instead of {}", their.bytes)));
        }
        if hasher.clone().finalize().as_slice() != their.sha256.as_slice() {
            return Err(receiver.refuse("its hash is not the one announced".into()));
        }
        if self.next >= their.end {
            // What was appended meanwhile has overtaken it.
            return Ok(self.files.remove(&part)?);
        }
        if number != self.sealed.len() as u64 + 1 {
            return Err(receiver.refuse("it does not come after the one before it".into()));
        }
        self.files.sync(&part)?;
        let replaced = self.open.take();
        let name = if their.sealed {
            segment::sealed_name(number)
        } else {
            segment::open_name(number)
        };
        self.files.rename(&part, &name)?;
        self.files.sync_dir()?;
        if replaced.is_some() && their.sealed {
            self.files.remove(&segment::open_name(number))?;
            self.files.sync_dir()?;
        }
        self.load(number, their.sealed)
    }

    fn load(&mut self, number: u64, sealed: bool) -> Result<(), ArchiveError> {
        let (first, previous) = self
            .sealed
            .last()
            .map_or((0, [0; 32]), |last| (last.end, last.sha256()));
        let recovered = if sealed {
            Recovered::Sealed(SealedSegment::open(&self.files, &self.config, number, first)?)
        } else {
            OpenSegment::recover(&mut self.files, &self.config, number, first)?
        };
        let damaged = |what: &str| ArchiveError::Damaged {
            segment: number,
            what: what.into(),
        };
        let follows = match recovered {
            Recovered::Open(open) => {
                self.next = open.end();
                self.open.insert(open).previous_sha256()
            }
            Recovered::Sealed(mut sealed) => {
                let content = Content::read(&self.files, &segment::sealed_name(number), number)?;
                sealed.sha256 = Some(content.sha256());
                self.next = sealed.end;
                self.sealed.push(sealed);
                self.sealed[self.sealed.len() - 1].previous_sha256
            }
            Recovered::Empty => return Err(damaged("it has no header")),
        };
        if follows == previous {
            Ok(())
        } else {
            Err(damaged("it does not follow the segment before it"))
        }
    }

    fn prefix_sha256(&self, their: &SegmentRef) -> Result<Vec<u8>, ArchiveError> {
        let bytes = usize::try_from(their.bytes).unwrap_or(usize::MAX);
        Ok(Sha256::digest(self.read_segment(their.segment, 0, bytes)?).to_vec())
    }
}

/// A segment on its way in.
#[derive(Debug)]
pub struct SegmentReceiver {
    segment: SegmentRef,
    bytes: u64,
    hasher: Sha256,
}

impl SegmentReceiver {
    fn refuse(&self, what: String) -> ArchiveError {
        ArchiveError::Received {
            segment: self.segment.segment,
            what,
        }
    }
}
