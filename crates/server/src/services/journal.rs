//! The journal as it lies in this replica's archive, between ended jobs: found by the number of an entry, read a segment at a time
//! so that the worker is never kept long.

use hesuan_api::refusal::trouble;
use hesuan_ledger::JournalEntry;
use hesuan_replica::archive::{Archive, ArchiveError};
use hesuan_replica::files::Files;
use tonic::{Code, Status};

use super::Core;

/// Entries of one piece; a segment with more is read in several.
const PIECE_ENTRIES_MAX: usize = 16_384;

/// A part of the journal.
pub(super) struct Piece {
    /// In order.
    pub(super) entries: Vec<JournalEntry>,
    /// The record of the archive to go on from; `None` at the end of what is there.
    pub(super) next: Option<u64>,
}

impl Core {
    /// The record of the archive from which on the entry of this number, or else a later one, is found.
    pub(super) async fn journal_place(&self, entry: u64) -> Result<u64, Status> {
        let found = self.disk.run(move |disk| place(disk.archive(), entry)).await;
        found.map_err(|error| damaged(&error.to_string()))
    }

    /// The entries that stand from a record of the archive on.
    pub(super) async fn journal_piece(&self, from: u64) -> Result<Piece, Status> {
        let read = self.disk.run(move |disk| piece(disk.archive(), from)).await;
        read.map_err(|error| damaged(&error.to_string()))
    }
}

/// The journal here does not say what it should.
pub(super) fn damaged(what: &str) -> Status {
    let text = format!(
        "the journal of this replica cannot be read: {what}; ask another replica, and have this one wiped and joined again"
    );
    trouble(Code::DataLoss, "ARCHIVE_DAMAGED", &text)
}

/// The last segment whose first entry is not after the one sought, by halves.
fn place<F: Files>(archive: &Archive<F>, entry: u64) -> Result<u64, ArchiveError> {
    let segments = archive.manifest();
    let (mut low, mut high) = (0, segments.len());
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        let first = first_entry(archive, segments[middle].first)?;
        // A segment without entries, at the very end, begins after all of them.
        if first.is_some_and(|first| first <= entry) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(segments.get(low).map_or(0, |segment| segment.first))
}

fn first_entry<F: Files>(archive: &Archive<F>, from: u64) -> Result<Option<u64>, ArchiveError> {
    let mut first = None;
    archive.read_from(from, |_, record| {
        if record.job.is_none() {
            first = JournalEntry::decode(&record.bytes).map(|entry| entry.index);
        }
        first.is_none()
    })?;
    Ok(first)
}

fn piece<F: Files>(archive: &Archive<F>, from: u64) -> Result<Piece, ArchiveError> {
    let segments = archive.manifest();
    let end = segments
        .iter()
        .find(|segment| segment.end > from)
        .map_or(from, |segment| segment.end);
    let mut piece = Piece {
        entries: Vec::new(),
        next: None,
    };
    let mut unread = None;
    archive.read_from(from, |number, record| {
        if number >= end || piece.entries.len() == PIECE_ENTRIES_MAX {
            piece.next = Some(number);
            return false;
        }
        if record.job.is_some() {
            return true;
        }
        match JournalEntry::decode(&record.bytes) {
            Some(entry) => piece.entries.push(entry),
            None => unread = Some(number),
        }
        unread.is_none()
    })?;
    match unread {
        None => Ok(piece),
        Some(number) => Err(ArchiveError::Damaged {
            segment: segments
                .iter()
                .find(|segment| segment.end > number)
                .map_or(0, |segment| segment.segment),
            what: format!("record {number} is no entry of the journal"),
        }),
    }
}
