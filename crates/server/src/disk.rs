//! The SNAP worker: one thread that owns what is slow on disk, the snapshots and the archive. Jobs are done in the order they
//! were asked for; nobody who matters for latency waits for them.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use hesuan_replica::archive::{Archive, ArchiveConfig, ArchiveError};
use hesuan_replica::files::{DirFiles, FilesError};
use hesuan_replica::snapshot::{SnapshotError, SnapshotReceiver, SnapshotStore, Stored};
use tokio::sync::oneshot;

use crate::fatal::{fatal, thread};

/// What the worker owns.
pub(crate) struct Disk {
    /// Snapshots of the state.
    pub(crate) snapshots: SnapshotStore<DirFiles>,
    /// What left the state for good.
    archive: Archive<DirFiles>,
}

/// Why the folders cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Disk {
    /// Opens `snapshots/` and `archive/` of a data directory.
    pub(crate) fn open(dir: &Path, cluster_id: [u8; 16]) -> Result<Disk, DiskError> {
        let snapshots = SnapshotStore::open(cluster_id, DirFiles::open(dir.join("snapshots"))?)?;
        let archive = Archive::open(ArchiveConfig::new(cluster_id), DirFiles::open(dir.join("archive"))?)?;
        Ok(Disk { snapshots, archive })
    }

    /// The archive.
    pub(crate) fn archive(&mut self) -> &mut Archive<DirFiles> {
        &mut self.archive
    }

    /// Takes in a snapshot whose bytes all came, after the segments it counts on.
    pub(crate) fn receive_end(&mut self, receiver: SnapshotReceiver) -> Result<Stored, SnapshotError> {
        self.snapshots.receive_end(receiver, &mut self.archive)
    }
}

type Job = Box<dyn FnOnce(&mut Disk) + Send>;

/// Hands jobs to the worker.
#[derive(Clone)]
pub(crate) struct DiskHandle {
    jobs: mpsc::Sender<Job>,
}

impl DiskHandle {
    /// Starts the worker; it ends when the last handle is gone.
    pub(crate) fn start(mut disk: Disk) -> (DiskHandle, JoinHandle<()>) {
        let (jobs, received) = mpsc::channel::<Job>();
        let worker = thread("hesuan-snap", move || {
            while let Ok(job) = received.recv() {
                job(&mut disk);
            }
        });
        (DiskHandle { jobs }, worker)
    }

    /// Does something there, some time.
    pub(crate) fn submit(&self, job: impl FnOnce(&mut Disk) + Send + 'static) {
        // Nobody listens only when the process is ending.
        let _ = self.jobs.send(Box::new(job));
    }

    /// Does something there and gives its result.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Disk) -> T + Send + 'static) -> T {
        let (sender, result) = oneshot::channel();
        self.submit(move |disk| {
            let _ = sender.send(job(disk));
        });
        match result.await {
            Ok(result) => result,
            // The worker ends only with the process; whoever waits here is about to be dropped.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The result of a write or sync that must not fail.
pub(crate) fn must<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fatal(what, error))
}
