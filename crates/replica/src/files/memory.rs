//! A folder in memory that forgets like a disk. Deterministic: what a crash takes is asked of the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Files, FilesError};

/// Clones share the folder, as two descriptors of one directory would.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    names: BTreeMap<String, u64>,
    names_synced: BTreeMap<String, u64>,
    /// What was done to the names since they were synced, in order.
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn perform(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Change::Create(name, node) => {
                names.insert(name, node);
            }
            Change::Rename(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
            Change::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Node {
    bytes: Vec<u8>,
    /// Everything before is on disk. A cut counts as durable at once: whoever cuts syncs next.
    synced: usize,
}

impl MemoryFiles {
    /// The machine loses power. `choose(n)` answers a number below `n`: how many of the unsynced changes of names happened, how
    /// much of each unsynced tail was kept, and whether its last byte is damaged.
    pub fn crash(&self, mut choose: impl FnMut(usize) -> usize) {
        let mut disk = self.lock();
        let mut names = std::mem::take(&mut disk.names_synced);
        let changes = std::mem::take(&mut disk.changes);
        // A journalling file system keeps the order of such changes.
        let happened = choose(changes.len() + 1);
        for change in changes.into_iter().take(happened) {
            change.perform(&mut names);
        }
        let linked: BTreeSet<u64> = names.values().copied().collect();
        disk.nodes.retain(|node, _| linked.contains(node));
        for node in disk.nodes.values_mut() {
            let unsynced = node.bytes.len() - node.synced;
            if unsynced > 0 {
                let kept = choose(unsynced + 1);
                node.bytes.truncate(node.synced + kept);
                if kept > 0 && choose(2) == 1 {
                    *node.bytes.last_mut().expect("kept is above 0") ^= 0x5a;
                }
                node.synced = node.bytes.len();
            }
        }
        disk.names_synced = names.clone();
        disk.names = names;
    }

    /// Flips bits of one byte, as a rotten disk would; nothing when there is no such byte.
    pub fn rot(&self, name: &str, offset: usize) {
        let mut disk = self.lock();
        if let Some(node) = disk.names.get(name).copied()
            && let Some(byte) = disk.nodes.get_mut(&node).and_then(|node| node.bytes.get_mut(offset))
        {
            *byte ^= 0xff;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no holder of this lock panics")
    }
}

impl Disk {
    fn find(&mut self, action: &'static str, name: &str) -> Result<&mut Node, FilesError> {
        let node = self.names.get(name).and_then(|node| self.nodes.get_mut(node));
        node.ok_or_else(|| FilesError::new(action, name, io::ErrorKind::NotFound.into()))
    }
}

impl Files for MemoryFiles {
    fn list(&self) -> Result<Vec<String>, FilesError> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn size(&self, name: &str) -> Result<u64, FilesError> {
        Ok(self.lock().find("stat", name)?.bytes.len() as u64)
    }

    fn read(&self, name: &str, offset: u64, bytes_max: usize) -> Result<Vec<u8>, FilesError> {
        let mut disk = self.lock();
        let bytes = &disk.find("read", name)?.bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(bytes_max).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn create(&mut self, name: &str) -> Result<(), FilesError> {
        let mut disk = self.lock();
        let node = disk.next;
        disk.next += 1;
        disk.nodes.insert(node, Node::default());
        disk.names.insert(name.to_owned(), node);
        disk.changes.push(Change::Create(name.to_owned(), node));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        self.lock().find("append to", name)?.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, name: &str, bytes: u64) -> Result<(), FilesError> {
        let mut disk = self.lock();
        let node = disk.find("truncate", name)?;
        node.bytes.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        node.synced = node.synced.min(node.bytes.len());
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<(), FilesError> {
        let mut disk = self.lock();
        let node = disk.find("sync", name)?;
        node.synced = node.bytes.len();
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), FilesError> {
        let mut disk = self.lock();
        disk.find("rename", from)?;
        let node = disk.names.remove(from).expect("found above");
        disk.names.insert(to.to_owned(), node);
        disk.changes.push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), FilesError> {
        let mut disk = self.lock();
        disk.find("remove", name)?;
        disk.names.remove(name);
        disk.changes.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&mut self) -> Result<(), FilesError> {
        let mut disk = self.lock();
        disk.names_synced = disk.names.clone();
        disk.changes.clear();
        let linked: BTreeSet<u64> = disk.names.values().copied().collect();
        disk.nodes.retain(|node, _| linked.contains(node));
        Ok(())
    }
}
