//! The public interface. Each service is thin: who asks, may he, a command or a question, an answer. Rules are the engine's.

mod agent;
mod archived;
mod audit;
mod auth;
mod call;
mod cluster;
mod health;
mod job;
mod journal;
mod logs;
mod money;
mod pages;
mod settlement;
mod site;
mod statement;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch as channel;

use crate::agents::Agents;
use crate::apply::{ApplyHandle, Place};
use crate::cluster_file::ClusterFile;
use crate::disk::DiskHandle;
use crate::peer::{Peers, Secret};
use crate::raft::RaftHandle;
use crate::waiters::Waiters;

pub(crate) use health::follow as follow_health;

/// What every service needs; cheap to share.
pub(crate) struct Core {
    /// This replica.
    pub(crate) id: u64,
    pub(crate) cluster: ClusterFile,
    pub(crate) raft: RaftHandle,
    pub(crate) apply: ApplyHandle,
    pub(crate) peers: Arc<Peers>,
    pub(crate) secret: Secret,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) agents: Arc<Agents>,
    pub(crate) disk: DiskHandle,
    pub(crate) principals: auth::Principals,
    pub(crate) changes: channel::Receiver<Place>,
    /// Becomes true when the process ends: streams end by themselves.
    pub(crate) ending: channel::Receiver<bool>,
}

impl Core {
    /// The cache of tokens; `version` rises when it is void.
    pub(crate) fn principals(version: Arc<AtomicU64>) -> auth::Principals {
        auth::Principals::new(version)
    }

    /// Resolves when the process ends.
    async fn ended(&self) {
        let mut ending = self.ending.clone();
        // An error says that whoever would tell is gone, which is the end as well.
        let _ = ending.wait_for(|ending| *ending).await;
    }
}

/// All services as one.
#[derive(Clone)]
pub(crate) struct Services(pub(crate) Arc<Core>);
