//! The LOG thread: writes and syncs, whatever has gathered in one go, and only then lets go the messages that promise it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use hesuan_replica::node::Persist;
use hesuan_replica::store::{Identity, LogStore};

use crate::disk::{DiskHandle, must};
use crate::peer::Peers;
use crate::raft::{self, Input, RaftHandle};

/// How often the identity file is brought up to date.
const IDENTITY_EVERY: Duration = Duration::from_secs(10);
/// Batches written before a sync at most, so that memory stays bounded when the disk is slow.
const BATCHES_MAX: usize = 256;

/// The thread's own data.
pub(crate) struct Log<S> {
    pub(crate) store: S,
    pub(crate) identity: Identity,
    pub(crate) dir: PathBuf,
    pub(crate) batches: Receiver<Persist>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) raft: RaftHandle,
    pub(crate) disk: DiskHandle,
}

impl<S: LogStore> Log<S> {
    /// Runs until the RAFT thread is gone.
    pub(crate) fn run(mut self) {
        let mut identity_at = Instant::now();
        let mut gathered = Vec::new();
        while let Ok(first) = self.batches.recv() {
            gathered.push(first);
            gathered.extend(self.batches.try_iter().take(BATCHES_MAX));
            self.persist(&mut gathered);
            if identity_at.elapsed() >= IDENTITY_EVERY {
                identity_at = Instant::now();
                self.identity.synced = self.store.synced_mark();
                let (identity, dir) = (self.identity.clone(), self.dir.clone());
                // Two syncs that nobody should wait for.
                self.disk
                    .submit(move |_| must("the identity file cannot be written", identity.write(&dir)));
            }
        }
        self.identity.synced = self.store.synced_mark();
        must("the identity file cannot be written", self.identity.write(&self.dir));
    }

    fn persist(&mut self, gathered: &mut Vec<Persist>) {
        for persist in gathered.iter().filter(|persist| !persist.batch.is_empty()) {
            must("the log cannot be written", self.store.write(&persist.batch));
        }
        if gathered.iter().any(|persist| persist.must_sync) {
            must("the log cannot be synced", self.store.sync());
        }
        let Some(last) = gathered.last().map(|persist| persist.number) else {
            return;
        };
        self.raft.tell(Input::Persisted(last));
        for persist in gathered.drain(..) {
            raft::send(&self.peers, persist.send_after);
        }
    }
}
