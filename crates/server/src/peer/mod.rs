//! Replica to replica: one long-lived stream per direction, a bounded queue per peer, and files on demand.
//!
//! Frames are datagrams in spirit: a full queue or a broken stream drops them, Raft and the clients' retries make up for it. Their
//! order per peer is kept within one stream.

mod fetch;
mod secret;
mod sender;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hesuan_api::internal::v1::frame::Body;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use fetch::{Fetcher, steer};
pub(crate) use secret::Secret;
pub(crate) use sender::MESSAGE_BYTES_MAX;
pub(crate) use service::{Inbox, PeerDoor};

/// Told when frames for a peer were dropped.
pub(crate) type OnUnreachable = Arc<dyn Fn(u64) + Send + Sync>;

/// The other replicas, as seen by whoever has something for them.
pub(crate) struct Peers {
    secret: Secret,
    /// Where this replica listens for peers, told to those it dials.
    own_address: String,
    frames_max: usize,
    runtime: tokio::runtime::Handle,
    on_unreachable: OnUnreachable,
    table: Mutex<BTreeMap<u64, Peer>>,
}

struct Peer {
    address: String,
    queue: mpsc::Sender<Body>,
    sender: JoinHandle<()>,
}

impl Peers {
    /// Nobody yet; see [`Peers::set`].
    pub(crate) fn new(
        secret: Secret,
        own_address: String,
        frames_max: usize,
        runtime: tokio::runtime::Handle,
        on_unreachable: OnUnreachable,
    ) -> Self {
        Peers {
            secret,
            own_address,
            frames_max,
            runtime,
            on_unreachable,
            table: Mutex::default(),
        }
    }

    /// The replicas to talk to from here on, by id and peer address, without this one.
    pub(crate) fn set(&self, members: &BTreeMap<u64, String>) {
        let mut table = self.lock();
        table.retain(|id, peer| {
            let stays = members.get(id) == Some(&peer.address);
            if !stays {
                peer.sender.abort();
            }
            stays
        });
        for (id, address) in members {
            table.entry(*id).or_insert_with(|| self.dial(*id, address));
        }
    }

    fn dial(&self, id: u64, address: &str) -> Peer {
        let (queue, frames) = mpsc::channel(self.frames_max);
        let on_unreachable = Arc::clone(&self.on_unreachable);
        let task = sender::run(
            id,
            address.to_owned(),
            self.secret.clone(),
            self.own_address.clone(),
            frames,
            on_unreachable,
        );
        Peer {
            address: address.to_owned(),
            queue,
            sender: self.runtime.spawn(task),
        }
    }

    /// A replica that is not known yet dialled us: a leader that joined after this one's cluster file was written. What the state
    /// says counts as soon as it says something.
    pub(crate) fn meet(&self, id: u64, address: &str) {
        self.lock().entry(id).or_insert_with(|| self.dial(id, address));
    }

    /// Queues frames for one peer; false if one had to be dropped.
    pub(crate) fn send(&self, to: u64, frames: impl IntoIterator<Item = Body>) -> bool {
        let Some(queue) = self.lock().get(&to).map(|peer| peer.queue.clone()) else {
            return false;
        };
        frames.into_iter().all(|frame| queue.try_send(frame).is_ok())
    }

    /// Where a peer listens.
    pub(crate) fn address(&self, id: u64) -> Option<String> {
        self.lock().get(&id).map(|peer| peer.address.clone())
    }

    /// Ends every stream.
    pub(crate) async fn close(&self) {
        let peers = std::mem::take(&mut *self.lock());
        for (_, peer) in peers {
            peer.sender.abort();
            let _ = peer.sender.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
