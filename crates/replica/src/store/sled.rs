//! The log store on disk: sled with the settings that keep it honest. sled's own `flush` ends before the disk cache and the
//! file's metadata are durable, so every sync is followed by an `fdatasync` of the file through a descriptor of our own; and
//! values stay so small that sled never makes a blob file, which nobody would sync.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::layout::Layout;
use super::{LoadedLog, LogBatch, LogEntry, LogReader, LogStore, StoreError, SyncedMark};

/// Size of sled's segments, in bytes, fixed when the store is made; a value may be 1/128 of it.
const SEGMENT_BYTES: usize = 4 << 20;
/// sled's page cache, in bytes. The log is read only at start and for followers that are late.
const CACHE_BYTES: u64 = 64 << 20;
/// Syncs between two looks at the directory of blob files.
const SYNCS_PER_BLOB_CHECK: u64 = 1_024;

/// A log in a sled database of its own directory. Any error of a write or a sync means: stop the process.
#[derive(Debug)]
pub struct SledLog {
    path: PathBuf,
    db: ::sled::Db,
    shared: Arc<Shared>,
    sync_fd: File,
    syncs: u64,
    synced_mark: SyncedMark,
}

#[derive(Debug)]
struct Shared {
    tree: ::sled::Tree,
    /// Held for writing while a batch enters the tree: sled shows readers a batch half way.
    layout: RwLock<Layout>,
}

impl SledLog {
    /// Opens the store in `path`, or makes it. Call it once per process: sled holds the directory's lock a little longer
    /// than the value lives. Use [`directory::open`](super::directory::open) to have its owner checked as well.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let config = ::sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .mode(::sled::Mode::LowSpace)
            .cache_capacity(CACHE_BYTES)
            .use_compression(false)
            .flush_every_ms(None);
        let opened = unpanicked("open", || {
            let db = config.open()?;
            let tree = db.open_tree("raft")?;
            Ok((db, tree))
        });
        let (db, tree) = opened.map_err(|error| match error {
            // sled has no error of its own for it.
            StoreError::Sled(::sled::Error::Io(cause)) if cause.to_string().contains("could not acquire lock") => {
                StoreError::InUse(path.to_owned())
            }
            other => other,
        })?;
        let file = path.join("db");
        let sync_fd = File::open(&file).map_err(|error| StoreError::io(format!("open {}", file.display()), error))?;
        let log = Self {
            path: path.to_owned(),
            db,
            shared: Arc::new(Shared {
                tree,
                layout: RwLock::default(),
            }),
            sync_fd,
            syncs: 0,
            synced_mark: SyncedMark::default(),
        };
        log.db.flush()?;
        log.sync_creation()?;
        log.assert_no_blobs()?;
        Ok(log)
    }

    /// A file exists after a power cut only if the directories that name it were synced. Cheap, so done at every open: the
    /// run that made the store may not have come this far.
    fn sync_creation(&self) -> Result<(), StoreError> {
        let parent = self
            .path
            .canonicalize()
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned));
        let paths = [
            Some(self.path.join("db")),
            Some(self.path.join("conf")),
            Some(self.path.clone()),
            parent,
        ];
        for path in paths.into_iter().flatten() {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|error| StoreError::io(format!("sync {}", path.display()), error))?;
        }
        Ok(())
    }

    fn assert_no_blobs(&self) -> Result<(), StoreError> {
        let path = self.path.join("blobs");
        let mut entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io(format!("read {}", path.display()), error)),
        };
        assert!(
            entries.next().is_none(),
            "sled made a blob file in {}, which is not durable",
            path.display()
        );
        Ok(())
    }
}

/// sled meets damage with a panic as often as with an error; at start both must say how to recover.
fn unpanicked<T>(what: &str, work: impl FnOnce() -> Result<T, ::sled::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error @ ::sled::Error::Io(_))) => Err(error.into()),
        Ok(Err(error)) => Err(StoreError::Damaged(format!("{what}: {error}"))),
        Err(_) => Err(StoreError::Damaged(format!(
            "{what}: sled cannot make sense of its file"
        ))),
    }
}

impl LogStore for SledLog {
    fn load(&mut self) -> Result<LoadedLog, StoreError> {
        let pairs = unpanicked("read", || {
            self.shared
                .tree
                .iter()
                .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let (layout, loaded) = Layout::load(pairs.into_iter().map(Ok))?;
        self.synced_mark = layout.mark();
        *self
            .shared
            .layout
            .write()
            .expect("a panic under this lock ends the process") = layout;
        Ok(loaded)
    }

    fn write(&mut self, batch: &LogBatch) -> Result<(), StoreError> {
        let mut layout = self
            .shared
            .layout
            .write()
            .expect("a panic under this lock ends the process");
        let ops = layout.plan(batch, |key| self.shared.get(key))?;
        let mut sled_batch = ::sled::Batch::default();
        for (key, value) in ops {
            match value {
                Some(value) => sled_batch.insert(key, value),
                None => sled_batch.remove(key),
            }
        }
        self.shared.tree.apply_batch(sled_batch)?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mark = self
            .shared
            .layout
            .read()
            .expect("a panic under this lock ends the process")
            .mark();
        self.db.flush()?;
        self.sync_fd
            .sync_data()
            .map_err(|error| StoreError::io("sync the log store", error))?;
        self.synced_mark = mark;
        self.syncs += 1;
        if self.syncs.is_multiple_of(SYNCS_PER_BLOB_CHECK) {
            self.assert_no_blobs()?;
        }
        Ok(())
    }

    fn synced_mark(&self) -> SyncedMark {
        self.synced_mark
    }

    fn reader(&self) -> Box<dyn LogReader> {
        Box::new(SledReader(Arc::clone(&self.shared)))
    }
}

impl Shared {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tree.get(key)?.map(|value| value.to_vec()))
    }
}

struct SledReader(Arc<Shared>);

impl LogReader for SledReader {
    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<LogEntry>, StoreError> {
        let layout = self.0.layout.read().expect("a panic under this lock ends the process");
        layout.entries(low, high, bytes_max, |key| self.0.get(key))
    }
}
