//! The agent's journal: an append-only file of checksummed records, synced once per batch, rewritten when it has grown.
//!
//! Layout: the eight bytes of the magic, then frames of length (u32 LE), crc32c of the body (u32 LE), body. A frame that is not whole
//! or not true ends the file: it and what follows are cut at open. Nothing after it was ever promised, because a
//! promise is made only after the sync that covers it and everything before it.

mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::core::JournalRecord;

const MAGIC: &[u8; 8] = b"HSAGJ\x00\x00\x01";
const FRAME_HEADER_BYTES: usize = 8;
/// No record is near this; a longer length is damage.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed. After a failed sync nothing about the file is known any more, so the daemon must stop.
    #[error("journal {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is something else, or a newer version wrote it.
    #[error("journal {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// An open journal.
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one; returns what it holds.
    pub fn open(path: &Path) -> Result<(Journal, Vec<JournalRecord>), JournalError> {
        let error = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        if !path.exists() {
            replace(path, &[]).map_err(error)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(error)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(error)?;
        let unreadable = |reason| JournalError::Unreadable {
            path: path.to_owned(),
            reason,
        };
        if !bytes.starts_with(MAGIC) {
            return Err(unreadable("not an agent's journal of this version"));
        }
        let mut records = Vec::new();
        let mut end = MAGIC.len();
        while let Some(body) = frame(&bytes[end..]) {
            records.push(record::decode(body).ok_or_else(|| unreadable("holds a record of a newer version"))?);
            end += FRAME_HEADER_BYTES + body.len();
        }
        if end < bytes.len() {
            file.set_len(end as u64)
                .and_then(|()| file.sync_data())
                .map_err(error)?;
        }
        file.seek(SeekFrom::Start(end as u64)).map_err(error)?;
        Ok((
            Journal {
                path: path.to_owned(),
                file,
            },
            records,
        ))
    }

    /// Appends without syncing.
    pub fn append(&mut self, records: &[JournalRecord]) -> Result<(), JournalError> {
        let bytes = encode(records);
        self.file.write_all(&bytes).map_err(|source| JournalError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// Everything appended is on disk when this returns.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(|source| JournalError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// Replaces the whole journal; a crash leaves the old one or the new one. Synced when this returns.
    pub fn rewrite(&mut self, records: &[JournalRecord]) -> Result<(), JournalError> {
        let error = |source| JournalError::Io {
            path: self.path.clone(),
            source,
        };
        replace(&self.path, records).map_err(error)?;
        self.file = OpenOptions::new().append(true).open(&self.path).map_err(error)?;
        Ok(())
    }
}

fn encode(records: &[JournalRecord]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len() * 64);
    for entry in records {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        record::encode(entry, &mut bytes);
        let body = &bytes[start + FRAME_HEADER_BYTES..];
        assert!(
            body.len() <= RECORD_BYTES_MAX,
            "a journal record of {} bytes",
            body.len()
        );
        let (length, checksum) = (body.len() as u32, crc32c::crc32c(body));
        bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

/// The body of the frame that `bytes` begin with, if it is whole and true.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let header = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    // An empty body cannot be: it would make a run of zero bytes, as a torn file may end with, look like records.
    if length == 0 || length > RECORD_BYTES_MAX {
        return None;
    }
    let body = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length)?;
    (crc32c::crc32c(body) == u32::from_le_bytes([c0, c1, c2, c3])).then_some(body)
}

fn replace(path: &Path, records: &[JournalRecord]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(MAGIC)?;
    file.write_all(&encode(records))?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Outcome, StopReason, View};
    use crate::task::TaskKey;

    fn records() -> Vec<JournalRecord> {
        let task = TaskKey {
            job: 4711,
            task: 7,
            attempt: 2,
            restore_epoch: 1,
            node: 0,
        };
        let seen = View {
            restore_epoch: 1,
            applied_index: 99,
        };
        vec![
            JournalRecord::Seen { seen },
            JournalRecord::Start {
                task,
                lease_bound: true,
                walltime_ms_max: 60_000,
                nodes: 3,
                seen,
            },
            JournalRecord::Limit {
                task,
                walltime_ms_max: 90_000,
                seen,
            },
            JournalRecord::Stop {
                task,
                reason: StopReason::LeaseExpired,
            },
            JournalRecord::Stop {
                task,
                reason: StopReason::NodeEnded(2),
            },
            JournalRecord::Ended {
                task,
                outcome: Outcome {
                    message: "so".into(),
                    ..Outcome::exited(-3, 5)
                },
            },
            JournalRecord::Done { task, seen },
        ]
    }

    #[test]
    fn what_is_written_comes_back_before_and_after_a_rewrite() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("journal");
        let (mut journal, empty) = Journal::open(&path).expect("made");
        assert_eq!(empty, []);
        journal.append(&records()).expect("written");
        journal.sync().expect("synced");
        assert_eq!(Journal::open(&path).expect("opened").1, records());
        journal.rewrite(&records()[..2]).expect("rewritten");
        journal.append(&records()[3..]).expect("written");
        assert_eq!(
            Journal::open(&path).expect("opened").1,
            [&records()[..2], &records()[3..]].concat()
        );
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_is_torn_and_appending_goes_on_behind_what_was_whole() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path).expect("made");
        journal.append(&records()[..2]).expect("written");
        let whole = fs::metadata(&path).expect("there").len();
        journal.append(&records()[2..3]).expect("written");
        let bytes = fs::read(&path).expect("there");
        for cut in whole as usize..bytes.len() {
            for filler in [0, 7] {
                // Zero bytes or old bytes may stand where the tail was not written.
                let mut torn = bytes[..cut].to_vec();
                torn.resize(bytes.len() + 20, filler);
                fs::write(&path, torn).expect("writable");
                let (mut journal, found) = Journal::open(&path).expect("opened");
                assert_eq!(found, records()[..2], "cut at {cut}");
                journal.append(&records()[3..4]).expect("written");
                let expected = [&records()[..2], &records()[3..4]].concat();
                assert_eq!(Journal::open(&path).expect("opened").1, expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("journal");
        fs::write(&path, "something of the user's").expect("writable");
        assert!(matches!(Journal::open(&path), Err(JournalError::Unreadable { .. })));
        assert_eq!(fs::read(&path).expect("there"), b"something of the user's");
    }
}
