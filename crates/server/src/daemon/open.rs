//! What a replica finds on its disk: the log, snapshots and the archive, brought to where they fit together.

use anyhow::{Context as _, ensure};
use hesuan_engine::command::Member;
use hesuan_engine::state::{Genesis, Limits, State};
use hesuan_engine::types::Timestamp;
use hesuan_replica::applier::{Applier, ApplierConfig, SnapshotPolicy};
use hesuan_replica::snapshot::Stored;
use hesuan_replica::store::{Identity, LoadedLog, LogBatch, LogStore as _, SledLog, directory};
use hesuan_replica::wire::{ConfState, HardState};

use crate::cluster_file::ClusterFile;
use crate::config::Config;
use crate::disk::Disk;

/// The first principal.
const ADMIN: &str = "admin";

/// A replica's data, ready to run on.
pub(super) struct Opened {
    pub(super) store: SledLog,
    pub(super) loaded: LoadedLog,
    pub(super) identity: Identity,
    pub(super) disk: Disk,
    pub(super) applier: Applier,
    pub(super) applier_config: ApplierConfig,
    /// The index the node goes on from; 0 for a replica that joins and has nothing yet.
    pub(super) applied: u64,
}

/// Opens the data directory, or founds it.
pub(super) fn open(config: &Config, cluster: &ClusterFile, id: u64) -> anyhow::Result<Opened> {
    let dir = &config.data_dir;
    let directory::Opened {
        mut log,
        mut loaded,
        mut identity,
    } = directory::open(dir, id, cluster.cluster_id)
        .with_context(|| format!("cannot use the data directory {}", dir.display()))?;
    let mut disk = Disk::open(dir, cluster.cluster_id)
        .with_context(|| format!("cannot use the data directory {}", dir.display()))?;
    let founders = ConfState::of_voters(cluster.member.iter().map(|member| member.id).collect::<Vec<_>>());
    if loaded.is_new() && !config.join {
        loaded = write(&mut log, &LogBatch::bootstrap(founders.clone()))?;
    }
    #[allow(
        clippy::needless_update,
        reason = "with the feature of the planted bugs there is another field"
    )]
    let applier_config = ApplierConfig {
        snapshot: SnapshotPolicy {
            entries_min: config.limits.snapshot_after_entries,
            bytes_min: config.limits.snapshot_after_bytes,
            ..SnapshotPolicy::default()
        },
        ..ApplierConfig::default()
    };
    let stored = disk.snapshots.latest(loaded.truncated.index)?;
    let applier = match &stored {
        Some(stored) => {
            loaded = finish_install(&mut log, loaded, stored)?;
            Applier::restore(applier_config, &disk.snapshots, stored)?
        }
        None => Applier::founding(applier_config, genesis(cluster), founders),
    };
    ensure!(
        applier.state().cluster_id() == cluster.cluster_id,
        "the snapshot belongs to another cluster"
    );
    disk.archive().start_at(applier.index(), applier.state().archived())?;
    // An empty store under this identity is refused from here on, even if the first seconds do not survive.
    identity.synced = log.synced_mark();
    identity.write(dir)?;
    let applied = if loaded.snapshot.is_some() { applier.index() } else { 0 };
    Ok(Opened {
        store: log,
        loaded,
        identity,
        disk,
        applier,
        applier_config,
        applied,
    })
}

/// A fetched snapshot is made durable before the log is cleared for it. A crash in between leaves a log that ends before the
/// snapshot: what was left to do is done here. The snapshot holds committed entries only, so this takes nothing back.
fn finish_install(log: &mut SledLog, loaded: LoadedLog, stored: &Stored) -> anyhow::Result<LoadedLog> {
    let meta = stored.meta();
    if meta.index <= loaded.last().index {
        return Ok(loaded);
    }
    let hard_state = if loaded.hard_state.term < meta.term {
        HardState {
            term: meta.term,
            vote: 0,
            commit: meta.index,
        }
    } else {
        HardState {
            commit: meta.index,
            ..loaded.hard_state
        }
    };
    write(
        log,
        &LogBatch {
            install_snapshot: Some(meta),
            hard_state: Some(hard_state),
            ..LogBatch::default()
        },
    )
}

fn write(log: &mut SledLog, batch: &LogBatch) -> anyhow::Result<LoadedLog> {
    log.write(batch)?;
    log.sync()?;
    Ok(log.load()?)
}

/// The state before the first entry: the same on every replica, because all of it comes from the cluster file.
fn genesis(cluster: &ClusterFile) -> State {
    let member = |member: &crate::cluster_file::ClusterMember| Member {
        id: member.id,
        name: member.name.as_str().into(),
        peer_address: member.peer.as_str().into(),
        client_address: member.client.as_str().into(),
    };
    State::genesis(&Genesis {
        cluster_id: cluster.cluster_id,
        at: Timestamp(cluster.created_at_ms),
        members: cluster.member.iter().map(member).collect(),
        admin_name: ADMIN.into(),
        admin_token_sha256: cluster.admin_token_sha256,
        limits: Limits::default(),
    })
}
