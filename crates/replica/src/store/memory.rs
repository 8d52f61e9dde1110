//! The log store of the simulator: the same keys and values as on disk, in two maps, what is synced and what is not. A crash
//! decides batch by batch what of the unsynced rest had reached the disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::layout::Layout;
use super::value::KeyOp;
use super::{LoadedLog, LogBatch, LogEntry, LogReader, LogStore, StoreError, SyncedMark};

/// A log in memory. Clones share it, as two handles of one disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    layout: Layout,
    /// What a reader sees.
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What a power cut leaves for certain.
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    unsynced: Vec<Vec<KeyOp>>,
    synced_mark: SyncedMark,
}

/// What happens in a crash to one batch that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFate {
    /// It had reached the disk.
    Kept,
    /// It had not, and neither had any later one.
    Lost,
    /// Only some of its keys had; later batches are lost.
    Torn,
    /// It had, but one value is damaged; later batches are lost.
    Damaged,
}

impl BatchFate {
    /// All fates, in the order `crash` counts them.
    pub const ALL: [BatchFate; 4] = [BatchFate::Kept, BatchFate::Lost, BatchFate::Torn, BatchFate::Damaged];
}

impl MemoryLog {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many batches were written and not synced.
    pub fn unsynced_batches(&self) -> usize {
        self.disk().unsynced.len()
    }

    /// Cuts the power. `choose(n)` answers below `n`; it is asked with 4 for each batch's [`BatchFate`], and again where to
    /// tear or damage it. Returns the fates; batches after the first that was not kept are gone. Go on with
    /// [`load`](LogStore::load), as after a real crash.
    pub fn crash(&mut self, mut choose: impl FnMut(u64) -> u64) -> Vec<BatchFate> {
        let mut disk = self.disk();
        let mut fates = Vec::new();
        for mut ops in std::mem::take(&mut disk.unsynced) {
            let fate = BatchFate::ALL[choose(BatchFate::ALL.len() as u64) as usize];
            match fate {
                BatchFate::Kept => {}
                BatchFate::Lost => ops.clear(),
                BatchFate::Torn => ops.truncate(choose(ops.len() as u64) as usize),
                BatchFate::Damaged => {
                    let victim = choose(ops.len() as u64) as usize;
                    if let Some(byte) = ops[victim].1.as_mut().and_then(|value| value.last_mut()) {
                        *byte ^= 0x10;
                    }
                }
            }
            apply(ops, &mut disk.synced);
            fates.push(fate);
            if fate != BatchFate::Kept {
                break;
            }
        }
        disk.keys = disk.synced.clone();
        fates
    }

    /// Flips a bit of a value that was synced, as a failing disk would. `choose(n)` answers below `n` which one.
    pub fn rot(&mut self, mut choose: impl FnMut(u64) -> u64) {
        let mut disk = self.disk();
        let count = disk.synced.len() as u64;
        if count == 0 {
            return;
        }
        let victim = choose(count) as usize;
        let key = disk
            .synced
            .keys()
            .nth(victim)
            .cloned()
            .expect("chosen below the number of keys");
        let disk = &mut *disk;
        for keys in [&mut disk.synced, &mut disk.keys] {
            if let Some(byte) = keys.get_mut(&key).and_then(|value| value.last_mut()) {
                *byte ^= 0x01;
            }
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk
            .lock()
            .expect("a panic under this lock ends the process or the test")
    }
}

fn apply(ops: Vec<KeyOp>, keys: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in ops {
        match value {
            Some(value) => keys.insert(key, value),
            None => keys.remove(&key),
        };
    }
}

impl LogStore for MemoryLog {
    fn load(&mut self) -> Result<LoadedLog, StoreError> {
        let mut disk = self.disk();
        let (layout, loaded) = Layout::load(disk.keys.iter().map(|(key, value)| Ok((key.clone(), value.clone()))))?;
        disk.synced_mark = layout.mark();
        disk.layout = layout;
        Ok(loaded)
    }

    fn write(&mut self, batch: &LogBatch) -> Result<(), StoreError> {
        let mut disk = self.disk();
        let disk = &mut *disk;
        let ops = disk.layout.plan(batch, |key| Ok(disk.keys.get(key).cloned()))?;
        if !ops.is_empty() {
            apply(ops.clone(), &mut disk.keys);
            disk.unsynced.push(ops);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut disk = self.disk();
        let disk = &mut *disk;
        for ops in std::mem::take(&mut disk.unsynced) {
            apply(ops, &mut disk.synced);
        }
        disk.synced_mark = disk.layout.mark();
        Ok(())
    }

    fn synced_mark(&self) -> SyncedMark {
        self.disk().synced_mark
    }

    fn reader(&self) -> Box<dyn LogReader> {
        Box::new(self.clone())
    }
}

impl LogReader for MemoryLog {
    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<LogEntry>, StoreError> {
        let disk = self.disk();
        disk.layout
            .entries(low, high, bytes_max, |key| Ok(disk.keys.get(key).cloned()))
    }
}
