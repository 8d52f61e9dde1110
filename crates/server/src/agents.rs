//! Log requests on their way to the agents of this replica and back, and through other replicas where an agent hangs elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hesuan_api::internal::v1::{LogChunk, LogRequest, ReplicaMessage, replica_message};
use hesuan_engine::types::SiteId;
use tokio::sync::{mpsc, oneshot};

/// Log requests under way at a time.
const ASKED_MAX: usize = 4_096;

/// The sending half of an agent's stream; the APPLY thread holds the one that keeps it open.
pub(crate) type WeakToAgent = mpsc::WeakSender<Result<ReplicaMessage, tonic::Status>>;

/// Who waits for a chunk.
pub(crate) enum Asker {
    /// A client of this replica.
    Here(oneshot::Sender<LogChunk>),
    /// Another replica, under its own number.
    Replica {
        /// Its id.
        id: u64,
        /// Its number of the request.
        request: u64,
    },
}

#[derive(Default)]
struct Table {
    agents: HashMap<SiteId, (u128, WeakToAgent)>,
    next: u64,
    asked: HashMap<u64, Asker>,
}

/// The agents of this replica, and who asked them for logs.
#[derive(Default)]
pub(crate) struct Agents {
    table: Mutex<Table>,
}

impl Agents {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent is served here from now on.
    pub(crate) fn came(&self, site: SiteId, instance: u128, to_agent: WeakToAgent) {
        self.lock().agents.insert(site, (instance, to_agent));
    }

    /// Its stream has ended.
    pub(crate) fn left(&self, site: SiteId, instance: u128) {
        let mut table = self.lock();
        if table.agents.get(&site).is_some_and(|(there, _)| *there == instance) {
            table.agents.remove(&site);
        }
    }

    /// Remembers who asks and gives the number under which the answer will come.
    pub(crate) fn number(&self, asker: Asker) -> Option<u64> {
        let mut table = self.lock();
        if table.asked.len() >= ASKED_MAX {
            table
                .asked
                .retain(|_, asker| !matches!(asker, Asker::Here(sender) if sender.is_closed()));
        }
        if table.asked.len() >= ASKED_MAX {
            return None;
        }
        table.next += 1;
        let number = table.next;
        table.asked.insert(number, asker);
        Some(number)
    }

    /// Takes back who asked under a number.
    pub(crate) fn asker(&self, number: u64) -> Option<Asker> {
        self.lock().asked.remove(&number)
    }

    /// Hands a request, numbered by [`Agents::number`], to the site's agent; false if it does not hang here.
    pub(crate) fn ask(&self, site: SiteId, request: LogRequest) -> bool {
        let to_agent = self
            .lock()
            .agents
            .get(&site)
            .and_then(|(_, to_agent)| to_agent.upgrade());
        let message = ReplicaMessage {
            body: Some(replica_message::Body::LogRequest(request)),
        };
        to_agent.is_some_and(|to_agent| to_agent.try_send(Ok(message)).is_ok())
    }
}

/// The answer when a request cannot be handed on.
pub(crate) fn not_here(number: u64) -> LogChunk {
    LogChunk {
        id: number,
        error: "the site's agent is not connected here".to_owned(),
        ..LogChunk::default()
    }
}
