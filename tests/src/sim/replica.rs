//! One replica as the shell would run it: what is on its disk, and the step machines of the running process.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hesuan_api::internal::v1::LeaseGrant;
use hesuan_engine::command::Member;
use hesuan_engine::state::{Genesis, Limits, State};
use hesuan_engine::types::Timestamp;
use hesuan_replica::applier::{Applier, ApplierConfig, SnapshotPolicy};
use hesuan_replica::archive::{Archive, ArchiveConfig};
use hesuan_replica::bundler::{Bundler, BundlerConfig};
use hesuan_replica::clock::ClockGuard;
use hesuan_replica::files::MemoryFiles;
use hesuan_replica::leader::{Leader, LeaderConfig};
use hesuan_replica::node::{Node, NodeConfig};
use hesuan_replica::snapshot::SnapshotStore;
use hesuan_replica::store::{Identity, LogBatch, LogStore as _, MemoryLog};
use hesuan_replica::wire::{ConfState, PeerMessage};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::queue::Micros;
use super::swarm::{Plant, Swarm};

/// The cluster's id in every simulation.
pub(crate) const CLUSTER: [u8; 16] = *b"hesuan-simulated";
/// Wall clock at the start, milliseconds since 1970.
pub(crate) const EPOCH_MS: u64 = 1_790_000_000_000;
/// Token of the administrator, hashed.
pub(crate) const ADMIN_TOKEN: [u8; 32] = [7; 32];

/// What replicas send each other.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// Encoded as on the wire.
    Raft(Vec<u8>),
    /// A command for the leader's bundle.
    Forward { ticket: u64, command: bytes::Bytes },
    /// It was not taken.
    Refused { ticket: u64 },
    /// An agent lives.
    Heartbeat { site: u32, instance: u128, sent_at_ms: u64 },
    /// The leader's answer.
    Lease {
        site: u32,
        instance: u128,
        grant: LeaseGrant,
    },
}

/// Who waits for a command of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// A client's operation, by number.
    Client { client: usize, operation: u64 },
    /// An agent's stream that wants to attach.
    Attach { site: usize, stream: u64 },
    /// Nobody: reports, members.
    Nobody,
}

/// A linearizable read of one job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    /// Who reads.
    pub(crate) client: usize,
    /// Its operation.
    pub(crate) operation: u64,
    /// Which job.
    pub(crate) job: u64,
    /// Known once the read index came.
    pub(crate) index: Option<u64>,
}

/// An agent's stream to this replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    /// Number of the stream, unique in the simulation.
    pub(crate) stream: u64,
    /// The agent's instance.
    pub(crate) instance: u128,
    /// The site's id in State, once known.
    pub(crate) site_id: u32,
    /// Its attachment was applied: it gets assignments.
    pub(crate) attached: bool,
}

/// The running process of a replica: the real step machines.
pub(crate) struct Process {
    /// Term and vote as the disk had them at the start.
    pub(crate) vote_found: (u64, u64),
    pub(crate) node: Node,
    pub(crate) bundler: Bundler,
    pub(crate) applier: Applier,
    pub(crate) leader: Leader,
    pub(crate) archive: Archive<MemoryFiles>,
    pub(crate) snapshots: SnapshotStore<MemoryFiles>,
    pub(crate) guard: ClockGuard,
    /// Batches written, waiting for their sync, with what they promise.
    pub(crate) syncing: VecDeque<(u64, Vec<(u64, PeerMessage)>)>,
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    pub(crate) tickets: u64,
    pub(crate) reads: BTreeMap<u64, Read>,
    /// Read indexes that confirm leadership: context to the instant of asking.
    pub(crate) confirmations: BTreeMap<u64, Duration>,
    pub(crate) contexts: u64,
    /// By site of the scenario.
    pub(crate) sessions: BTreeMap<usize, Session>,
    /// A snapshot is being written.
    pub(crate) saving: bool,
    pub(crate) wake_at: Option<Micros>,
}

/// One replica.
pub(crate) struct Replica {
    pub(crate) id: u64,
    /// Counts starts; events of an earlier start are dropped.
    pub(crate) boot: u64,
    pub(crate) process: Option<Box<Process>>,
    /// It noticed damage and refuses to start: it must be replaced.
    pub(crate) refused: Option<String>,
    pub(crate) clock_offset_ms: i64,
    founder: bool,
    log: MemoryLog,
    identity: Identity,
    archive_files: MemoryFiles,
    snapshot_files: MemoryFiles,
}

/// The state every founder begins with.
#[must_use]
pub(crate) fn genesis(voters: &[u64]) -> State {
    let member = |id: &u64| Member {
        id: *id,
        name: format!("replica-{id}").into(),
        peer_address: "".into(),
        client_address: "".into(),
    };
    State::genesis(&Genesis {
        cluster_id: CLUSTER,
        at: Timestamp(EPOCH_MS),
        members: voters.iter().map(member).collect(),
        admin_name: "admin".into(),
        admin_token_sha256: ADMIN_TOKEN,
        limits: Limits::default(),
    })
}

impl Replica {
    /// A replica that is not started yet. A founder's log begins with the first members.
    #[must_use]
    pub(crate) fn new(id: u64, founders: Option<&[u64]>, clock_offset_ms: i64) -> Replica {
        let mut log = MemoryLog::new();
        if let Some(voters) = founders {
            log.load().expect("an empty store loads");
            log.write(&LogBatch::bootstrap(ConfState::of_voters(voters)))
                .expect("memory takes it");
            log.sync().expect("memory takes it");
        }
        Replica {
            id,
            boot: 0,
            process: None,
            refused: None,
            clock_offset_ms,
            founder: founders.is_some(),
            log,
            identity: Identity::new(id, CLUSTER, 0),
            archive_files: MemoryFiles::default(),
            snapshot_files: MemoryFiles::default(),
        }
    }

    /// Its wall clock, milliseconds since 1970.
    #[must_use]
    pub(crate) fn wall_ms(&self, now: Micros) -> u64 {
        (EPOCH_MS + now / 1000).saturating_add_signed(self.clock_offset_ms)
    }

    /// Its monotonic clock.
    #[must_use]
    pub(crate) fn mono(now: Micros) -> Duration {
        Duration::from_micros(now)
    }

    /// Starts the process from what is on disk, as `hesuand` does. A damaged or shorter store makes it refuse.
    pub(crate) fn start(&mut self, swarm: &Swarm, plant: Plant, founders: &[u64], election_seed: u64) {
        assert!(self.process.is_none(), "one process a replica");
        self.boot += 1;
        match self.open(swarm, plant, founders, election_seed) {
            Ok(process) => self.process = Some(Box::new(process)),
            Err(reason) => self.refused = Some(reason),
        }
    }

    fn open(&mut self, swarm: &Swarm, plant: Plant, founders: &[u64], election_seed: u64) -> Result<Process, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let loaded = self.log.load().map_err(|e| text(&e))?;
        let vote_found = (loaded.hard_state.term, loaded.hard_state.vote);
        self.identity.check_owner(self.id, CLUSTER).map_err(|e| text(&e))?;
        self.identity.check_promise(&loaded).map_err(|e| text(&e))?;
        let snapshots = SnapshotStore::open(CLUSTER, self.snapshot_files.clone()).map_err(|e| text(&e))?;
        let stored = snapshots.latest(loaded.truncated.index).map_err(|e| text(&e))?;
        let config = applier_config(swarm, plant);
        let applier = match &stored {
            Some(stored) => Applier::restore(config, &snapshots, stored).map_err(|e| text(&e))?,
            None => Applier::founding(config, genesis(founders), ConfState::of_voters(founders)),
        };
        let mut archive = Archive::open(
            ArchiveConfig {
                segment_bytes_max: 8 << 10,
                ..ArchiveConfig::new(CLUSTER)
            },
            self.archive_files.clone(),
        )
        .map_err(|e| text(&e))?;
        archive
            .start_at(applier.index(), applier.state().archived())
            .map_err(|e| text(&e))?;
        let joining = stored.is_none() && !self.founder;
        let applied = if joining { 0 } else { applier.index() };
        let mut node_config = NodeConfig::new(self.id, CLUSTER);
        node_config.log_entries_keep = 20;
        node_config.log_entries_max = 2_000;
        node_config.cache_bytes_max = 64 << 10;
        node_config.snapshot_ticks_max = 60;
        plant_in_node(&mut node_config, plant);
        let node = Node::open(node_config, loaded, self.log.reader(), applied, election_seed).map_err(|e| text(&e))?;
        Ok(Process {
            vote_found,
            node,
            bundler: Bundler::new(BundlerConfig::default()),
            applier,
            leader: Leader::new(LeaderConfig::default()),
            archive,
            snapshots,
            guard: ClockGuard::default(),
            syncing: VecDeque::new(),
            waiting: BTreeMap::new(),
            // Unique over restarts, as the real base is random.
            tickets: (self.id << 48) | (self.boot << 32),
            reads: BTreeMap::new(),
            confirmations: BTreeMap::new(),
            contexts: 0,
            sessions: BTreeMap::new(),
            saving: false,
            wake_at: None,
        })
    }

    /// The power goes: unsynced writes are kept or lost, and torn or damaged if `torn`.
    pub(crate) fn crash(&mut self, torn: bool, rng: &mut ChaCha8Rng) {
        if self.process.take().is_none() {
            return;
        }
        let mut asked_fate = true;
        self.log.crash(|n| {
            // The first question of each batch is its fate: kept, lost, torn, damaged.
            let fates = if asked_fate && !torn { 2 } else { n };
            let answer = rng.random_range(0..fates.min(n).max(1));
            asked_fate = !(asked_fate && answer >= 2);
            answer
        });
        self.archive_files.crash(|n| rng.random_range(0..n));
        self.snapshot_files.crash(|n| rng.random_range(0..n));
    }

    /// The log store, which the LOG thread owns.
    pub(crate) fn log(&mut self) -> &mut MemoryLog {
        &mut self.log
    }

    /// Now and then the identity remembers what is durable.
    pub(crate) fn remember_promise(&mut self) {
        self.identity.synced = self.log.synced_mark();
    }
}

fn applier_config(swarm: &Swarm, plant: Plant) -> ApplierConfig {
    let snapshot = SnapshotPolicy::every(swarm.snapshot_every);
    #[cfg(feature = "planted")]
    {
        use hesuan_replica::applier::Planted;
        let planted = if plant == Plant::ApplyTwice {
            Planted::ApplyTwice
        } else {
            Planted::None
        };
        let planted_in_state = match plant {
            Plant::CaptureWithoutRelease => hesuan_engine::state::Planted::CaptureWithoutRelease,
            Plant::StaleAttemptAccepted => hesuan_engine::state::Planted::StaleAttemptAccepted,
            _ => hesuan_engine::state::Planted::None,
        };
        ApplierConfig {
            snapshot,
            planted,
            planted_in_state,
        }
    }
    #[cfg(not(feature = "planted"))]
    {
        assert_eq!(plant, Plant::None, "this build has no planted bugs");
        ApplierConfig { snapshot }
    }
}

fn plant_in_node(config: &mut NodeConfig, plant: Plant) {
    #[cfg(feature = "planted")]
    {
        use hesuan_replica::node::Planted;
        config.planted = match plant {
            Plant::AckBeforeSync => Planted::AckBeforeSync,
            Plant::VoteNotSaved => Planted::VoteNotSaved,
            _ => Planted::None,
        };
    }
    #[cfg(not(feature = "planted"))]
    let _ = (config, plant);
}
