//! How the log becomes keys and values: `h` the hard state and the end of the log, `t` where it was cut off, `c` the latest
//! membership, `s` the snapshot a restart begins from, and `e` + first index + part the entries, several to a chunk.
//! The functions here turn a batch into key operations and back; what holds the keys is not known.

use std::collections::BTreeMap;

use prost::Message as _;

use super::chunk::{Chunk, PartReader, pack, put_chunk, read_chunk, remove_chunk};
use super::value::{KeyOp, checked, damaged, decode, put};
use super::{AppliedConf, LoadedLog, LogBatch, LogPosition, StoreError, SyncedMark};
use crate::wire::{ConfState, HardState, LogEntry, SnapshotMeta};

/// Compaction removes at most this many keys in one batch; the rest goes with later batches.
const REMOVED_KEYS_MAX: usize = 1_000;

const HARD: &[u8] = b"h";
const TRUNCATED: &[u8] = b"t";
const CONF: &[u8] = b"c";
const SNAPSHOT: &[u8] = b"s";

/// What lies where. Kept in step with the keys by [`Layout::plan`].
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    chunks: BTreeMap<u64, Chunk>,
    hard_state: HardState,
    truncated: LogPosition,
    last: LogPosition,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredHard {
    #[prost(message, required, tag = "1")]
    hard_state: HardState,
    /// The end of the log, so that a chunk that is missing or too much shows.
    #[prost(message, required, tag = "2")]
    last: StoredPosition,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredPosition {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredConf {
    #[prost(uint64, tag = "1")]
    applied: u64,
    #[prost(message, required, tag = "2")]
    conf_state: ConfState,
}

impl Layout {
    /// The key operations of one batch, to be applied together. `get` reads a key as it is now.
    pub(super) fn plan(
        &mut self,
        batch: &LogBatch,
        get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Vec<KeyOp>, StoreError> {
        let mut ops = Vec::new();
        if batch.is_empty() {
            return Ok(ops);
        }
        if let Some(meta) = &batch.install_snapshot {
            self.install(meta, &mut ops);
        }
        if !batch.entries.is_empty() {
            self.append(&batch.entries, get, &mut ops)?;
        }
        if let Some(conf) = &batch.conf_state {
            put_conf(conf, &mut ops);
        }
        if let Some(meta) = &batch.snapshot {
            put(SNAPSHOT.to_vec(), &meta.encode_to_vec(), &mut ops);
        }
        if let Some(position) = batch.truncate_to {
            assert!(position.index <= self.last.index, "the log is cut off beyond its end");
            if position > self.truncated {
                self.truncated = position;
                put_position(position, &mut ops);
            }
        }
        self.remove_stale_chunks(&mut ops);
        if let Some(hard_state) = batch.hard_state {
            self.hard_state = hard_state;
        }
        let last = StoredPosition {
            index: self.last.index,
            term: self.last.term,
        };
        put(
            HARD.to_vec(),
            &StoredHard {
                hard_state: self.hard_state,
                last,
            }
            .encode_to_vec(),
            &mut ops,
        );
        Ok(ops)
    }

    fn install(&mut self, meta: &SnapshotMeta, ops: &mut Vec<KeyOp>) {
        for (first, chunk) in std::mem::take(&mut self.chunks) {
            remove_chunk(first, chunk, ops);
        }
        self.truncated = LogPosition {
            index: meta.index,
            term: meta.term,
        };
        self.last = self.truncated;
        put_position(self.truncated, ops);
        put(SNAPSHOT.to_vec(), &meta.encode_to_vec(), ops);
        put_conf(
            &AppliedConf {
                applied: meta.index,
                conf_state: meta.conf_state.clone(),
            },
            ops,
        );
    }

    fn append(
        &mut self,
        entries: &[LogEntry],
        get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
        ops: &mut Vec<KeyOp>,
    ) -> Result<(), StoreError> {
        let from = entries[0].index;
        assert!(
            from > self.truncated.index && from <= self.last.index + 1,
            "entries from {from} do not continue a log that holds {}..={}",
            self.truncated.index + 1,
            self.last.index
        );
        for (first, chunk) in self.chunks.split_off(&from) {
            remove_chunk(first, chunk, ops);
        }
        let mut rewritten = Vec::new();
        if let Some((&first, &chunk)) = self.chunks.last_key_value().filter(|(_, chunk)| chunk.last >= from) {
            rewritten = read_chunk(first, get)?;
            rewritten.retain(|entry| entry.index < from);
            remove_chunk(first, chunk, ops);
            self.chunks.remove(&first);
        }
        rewritten.extend_from_slice(entries);
        for packed in pack(&rewritten) {
            let (first, last) = (packed[0].index, packed[packed.len() - 1].index);
            let parts = put_chunk(first, packed, ops);
            self.chunks.insert(first, Chunk { last, parts });
        }
        let end = &entries[entries.len() - 1];
        self.last = LogPosition {
            index: end.index,
            term: end.term,
        };
        Ok(())
    }

    fn remove_stale_chunks(&mut self, ops: &mut Vec<KeyOp>) {
        let mut removed = 0;
        while let Some(entry) = self.chunks.first_entry() {
            let (first, chunk) = (*entry.key(), *entry.get());
            removed += usize::from(chunk.parts);
            if chunk.last > self.truncated.index || removed > REMOVED_KEYS_MAX {
                break;
            }
            entry.remove();
            remove_chunk(first, chunk, ops);
        }
    }

    /// The entries `low..high`, at least one, then only while they weigh at most `bytes_max` together.
    pub(super) fn entries(
        &self,
        low: u64,
        high: u64,
        bytes_max: u64,
        get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Vec<LogEntry>, StoreError> {
        if low <= self.truncated.index || high > self.last.index + 1 || low > high {
            return Err(StoreError::Missing { low, high });
        }
        let mut found: Vec<LogEntry> = Vec::new();
        let mut weight = 0;
        let start = self.chunks.range(..=low).next_back().map_or(low, |(first, _)| *first);
        for first in self.chunks.range(start..high).map(|(first, _)| *first) {
            for entry in read_chunk(first, &get)? {
                if entry.index < low || entry.index >= high {
                    continue;
                }
                weight += entry.weight();
                if weight > bytes_max && !found.is_empty() {
                    return Ok(found);
                }
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// What is durable once everything planned so far is.
    pub(super) fn mark(&self) -> SyncedMark {
        SyncedMark {
            term: self.hard_state.term,
            commit: self.hard_state.commit.min(self.last.index),
            last: self.last,
        }
    }

    /// Reads everything, in key order, and checks that it fits together.
    pub(super) fn load(
        pairs: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>>,
    ) -> Result<(Self, LoadedLog), StoreError> {
        let mut layout = Self::default();
        let mut loaded = LoadedLog::default();
        let mut hard: Option<StoredHard> = None;
        let mut parts = PartReader::default();
        let mut found_any = false;
        for pair in pairs {
            let (key, value) = pair?;
            found_any = true;
            let content = checked(&key, &value)?;
            match key.as_slice() {
                HARD => hard = Some(decode("hard state", content)?),
                TRUNCATED => {
                    let position: StoredPosition = decode("end of the removed log", content)?;
                    loaded.truncated = LogPosition {
                        index: position.index,
                        term: position.term,
                    };
                }
                CONF => {
                    let conf: StoredConf = decode("membership", content)?;
                    loaded.conf = AppliedConf {
                        applied: conf.applied,
                        conf_state: conf.conf_state,
                    };
                }
                SNAPSHOT => loaded.snapshot = Some(decode("snapshot name", content)?),
                _ => {
                    if let Some((first, chunk, mut entries)) = parts.take(&key, content)? {
                        layout.chunks.insert(first, chunk);
                        loaded.entries.append(&mut entries);
                    }
                }
            }
        }
        parts.finish()?;
        if !found_any {
            return Ok((layout, loaded));
        }
        let hard = hard.ok_or_else(|| StoreError::Damaged("there is no hard state".to_owned()))?;
        loaded.hard_state = hard.hard_state;
        drop_truncated(&mut loaded)?;
        check_fit(
            &loaded,
            LogPosition {
                index: hard.last.index,
                term: hard.last.term,
            },
        )?;
        layout.hard_state = loaded.hard_state;
        layout.truncated = loaded.truncated;
        layout.last = loaded.last();
        Ok((layout, loaded))
    }
}

/// Chunks are removed whole, so the first one left may begin below the cut.
fn drop_truncated(loaded: &mut LoadedLog) -> Result<(), StoreError> {
    for pair in loaded.entries.windows(2) {
        if pair[1].index != pair[0].index + 1 || pair[1].term < pair[0].term {
            return damaged(format!(
                "entry {} is followed by entry {}",
                pair[0].index, pair[1].index
            ));
        }
    }
    let truncated = loaded.truncated.index;
    loaded.entries.retain(|entry| entry.index > truncated);
    Ok(())
}

fn check_fit(loaded: &LoadedLog, last: LogPosition) -> Result<(), StoreError> {
    if let Some(first) = loaded
        .entries
        .first()
        .filter(|first| first.index != loaded.truncated.index + 1)
    {
        return damaged(format!(
            "the log begins at {} but was cut off at {}",
            first.index, loaded.truncated.index
        ));
    }
    if loaded.last() != last {
        return damaged(format!(
            "the log ends at {:?} and should end at {last:?}",
            loaded.last()
        ));
    }
    let hard = loaded.hard_state;
    if hard.commit > last.index || hard.term < last.term {
        return damaged(format!("the log ends at {last:?} and the hard state is {hard:?}"));
    }
    let snapshot = loaded.snapshot.as_ref().map_or(0, |meta| meta.index);
    if snapshot < loaded.truncated.index || snapshot > last.index {
        return damaged(format!(
            "snapshot {snapshot} lies outside the log that ends at {}",
            last.index
        ));
    }
    Ok(())
}

fn put_conf(conf: &AppliedConf, ops: &mut Vec<KeyOp>) {
    let stored = StoredConf {
        applied: conf.applied,
        conf_state: conf.conf_state.clone(),
    };
    put(CONF.to_vec(), &stored.encode_to_vec(), ops);
}

fn put_position(position: LogPosition, ops: &mut Vec<KeyOp>) {
    let stored = StoredPosition {
        index: position.index,
        term: position.term,
    };
    put(TRUNCATED.to_vec(), &stored.encode_to_vec(), ops);
}
