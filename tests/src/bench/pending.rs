//! What a pending job costs the leader in memory.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::load::{Load, Until};
use super::ready;
use super::stats::rss_kib;
use crate::daemons::{Backend, Layout};

/// One line of `bench pending --json`.
#[derive(Serialize)]
pub struct PendingFigures {
    bench: &'static str,
    jobs: u64,
    rss_empty_mib: u64,
    rss_full_mib: u64,
    bytes_per_job: u64,
    submitted_per_s: f64,
}

/// `jobs` single pending jobs with specs of about 200 bytes and their request ids.
///
/// # Errors
/// When the cluster does not come up or a job is refused.
pub async fn pending(jobs: u64) -> anyhow::Result<PendingFigures> {
    let layout = Layout {
        replicas: 3,
        backend: Backend::Process,
        host_cpu_milli: 2_000,
        equipment: [""; 3],
    };
    let (cluster, parties, leader) = ready(layout).await?;
    let leader_pid = cluster.replicas[leader].pid();
    let empty = rss_kib(leader_pid);
    let load = Load {
        addresses: cluster.addresses(),
        bearer: parties.enterprise.clone(),
        clients: 256,
        cpu_milli: 1_000,
        command: vec!["/bin/sleep".to_owned(), "50".to_owned()],
        stop: Arc::new(AtomicBool::new(false)),
    };
    let result = load.run(Until::Acknowledged(jobs)).await?;
    let full = rss_kib(leader_pid);
    Ok(PendingFigures {
        bench: "pending",
        jobs,
        rss_empty_mib: empty / 1024,
        rss_full_mib: full / 1024,
        bytes_per_job: full.saturating_sub(empty) * 1024 / jobs,
        submitted_per_s: jobs as f64 / result.elapsed.as_secs_f64(),
    })
}
