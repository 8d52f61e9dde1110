//! Segments that come from another replica, with a snapshot: written beside, checked, and only then given their name.

use sha2::{Digest, Sha256};

use super::{Archive, ArchiveError, SegmentRef, segment};
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
    /// Which of another replica's segments must be fetched so that this archive holds all their records.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when one that both have is not the same: history differs, and this replica must stop.
    pub fn missing(&self, theirs: &[SegmentRef]) -> Result<Vec<SegmentRef>, ArchiveError> {
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

    /// Begins to receive a segment that [`Archive::missing`] named. When all are there, open the archive again.
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

    /// All bytes came: checks them and gives the file its name, durably.
    ///
    /// # Errors
    /// [`ArchiveError::Received`] when they are not what was announced; ask again.
    pub fn receive_end(&mut self, receiver: SegmentReceiver) -> Result<(), ArchiveError> {
        let SegmentRef {
            segment: number,
            bytes,
            ref sha256,
            sealed,
            ..
        } = receiver.segment;
        if receiver.bytes != bytes {
            return Err(receiver.refuse(format!("{} bytes came instead of {bytes}", receiver.bytes)));
        }
        if receiver.hasher.clone().finalize().as_slice() != sha256.as_slice() {
            return Err(receiver.refuse("its hash is not the one announced".into()));
        }
        let name = if sealed {
            segment::sealed_name(number)
        } else {
            segment::open_name(number)
        };
        self.files.sync(&segment::part_name(number))?;
        self.files.rename(&segment::part_name(number), &name)?;
        Ok(self.files.sync_dir()?)
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
