//! Entries packed into chunks: several to a value, or one long entry over several values. A chunk's key is `e`, the index of
//! its first entry and the number of the part.

use bytes::Bytes;
use prost::Message as _;

use super::StoreError;
use super::value::{KeyOp, VALUE_BYTES_MAX, checked, damaged, put};
use crate::wire::LogEntry;

/// Checksum and number of parts in front of a chunk's content.
const CHUNK_HEADER_BYTES: usize = 4 + 2;
/// Content of one part of a chunk.
const PART_BYTES_MAX: usize = VALUE_BYTES_MAX - CHUNK_HEADER_BYTES;

/// What the index knows of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) last: u64,
    pub(super) parts: u16,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredChunk {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<LogEntry>,
}

/// Collects the parts of chunks as they come by in key order.
#[derive(Default)]
pub(super) struct PartReader {
    first: u64,
    expected: u16,
    seen: u16,
    body: Vec<u8>,
}

impl PartReader {
    pub(super) fn take(
        &mut self,
        key: &[u8],
        content: &[u8],
    ) -> Result<Option<(u64, Chunk, Vec<LogEntry>)>, StoreError> {
        let Some((first, part)) = split_chunk_key(key) else {
            return damaged(format!("unknown key {key:02x?}"));
        };
        let Some((parts, content)) = content.split_first_chunk::<2>() else {
            return damaged(format!("chunk {first} is too short"));
        };
        let parts = u16::from_be_bytes(*parts);
        if self.seen == 0 {
            (self.first, self.expected) = (first, parts);
        }
        if (self.first, self.expected, self.seen) != (first, parts, part) || part >= parts {
            return damaged(format!("chunk {first}: part {part} of {parts} is out of place"));
        }
        self.body.extend_from_slice(content);
        self.seen += 1;
        if self.seen < self.expected {
            return Ok(None);
        }
        self.seen = 0;
        let entries = decode_body(first, std::mem::take(&mut self.body))?;
        let last = entries[entries.len() - 1].index;
        Ok(Some((first, Chunk { last, parts }, entries)))
    }

    pub(super) fn finish(&self) -> Result<(), StoreError> {
        if self.seen == 0 {
            Ok(())
        } else {
            damaged(format!("chunk {}: parts are missing", self.first))
        }
    }
}

fn decode_body(first: u64, body: Vec<u8>) -> Result<Vec<LogEntry>, StoreError> {
    let entries = StoredChunk::decode(Bytes::from(body))
        .map_err(|error| StoreError::Damaged(format!("chunk {first}: {error}")))?
        .entries;
    if entries.first().map(|entry| entry.index) != Some(first) {
        return damaged(format!("chunk {first} holds something else"));
    }
    Ok(entries)
}

pub(super) fn read_chunk(
    first: u64,
    get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Vec<LogEntry>, StoreError> {
    let mut reader = PartReader::default();
    for part in 0..=u16::MAX {
        let key = chunk_key(first, part);
        let Some(value) = get(&key)? else { break };
        if let Some((_, _, entries)) = reader.take(&key, checked(&key, &value)?)? {
            return Ok(entries);
        }
    }
    damaged(format!("chunk {first} is missing or incomplete"))
}

/// Cuts entries into runs whose encoding fits one value; an entry too long for that stands alone.
pub(super) fn pack(entries: &[LogEntry]) -> Vec<&[LogEntry]> {
    let mut runs = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (position, entry) in entries.iter().enumerate() {
        let length = prost::encoding::message::encoded_len(1, entry);
        if position > start && size + length > PART_BYTES_MAX {
            runs.push(&entries[start..position]);
            (start, size) = (position, 0);
        }
        size += length;
    }
    runs.push(&entries[start..]);
    runs
}

pub(super) fn put_chunk(first: u64, entries: &[LogEntry], ops: &mut Vec<KeyOp>) -> u16 {
    let mut body = Vec::with_capacity(PART_BYTES_MAX);
    for entry in entries {
        prost::encoding::message::encode(1, entry, &mut body);
    }
    let parts = u16::try_from(body.chunks(PART_BYTES_MAX).len()).expect("an entry is shorter than 2 GiB");
    for (part, content) in (0..parts).zip(body.chunks(PART_BYTES_MAX)) {
        put(chunk_key(first, part), &[&parts.to_be_bytes(), content].concat(), ops);
    }
    parts
}

pub(super) fn remove_chunk(first: u64, chunk: Chunk, ops: &mut Vec<KeyOp>) {
    ops.extend((0..chunk.parts).map(|part| (chunk_key(first, part), None)));
}

fn chunk_key(first: u64, part: u16) -> Vec<u8> {
    [b"e".as_slice(), &first.to_be_bytes(), &part.to_be_bytes()].concat()
}

fn split_chunk_key(key: &[u8]) -> Option<(u64, u16)> {
    let rest = key.strip_prefix(b"e")?;
    let (first, part) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*first), u16::from_be_bytes(part.try_into().ok()?)))
}
