//! Processes killed with no warning: how long until work is placed again, and whether anything acknowledged is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::{Consistency, ListJobsRequest};
use serde::Serialize;

use super::load::{Load, Until};
use super::ready;
use super::stats::Latencies;
use crate::client::{Bearer, all_jobs, channel};
use crate::daemons::{Backend, Daemons, Layout};

/// One line of `bench failover --json`.
#[derive(Serialize)]
pub struct FailoverFigures {
    bench: &'static str,
    rounds: usize,
    p50_ms: f64,
    worst_ms: f64,
    all_ms: Vec<u64>,
}

/// From `kill -9` of the leader under load to the next new placement, as the placement's own entry time says.
///
/// # Errors
/// When the cluster does not come up or does not place again within 30 s.
pub async fn failover(rounds: usize) -> anyhow::Result<FailoverFigures> {
    let (mut cluster, parties, _) = ready(Layout {
        replicas: 3,
        backend: Backend::Instant,
        host_cpu_milli: 1_000_000,
        equipment: [""; 3],
    })
    .await?;
    let mut latencies = Latencies::default();
    let mut all = Vec::new();
    for _ in 0..rounds {
        let leader = cluster.leader(Duration::from_secs(15)).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let load = Load {
            addresses: cluster.addresses(),
            bearer: parties.enterprise.clone(),
            clients: 16,
            cpu_milli: 1_000,
            command: vec!["/bin/true".to_owned()],
            stop: Arc::clone(&stop),
        };
        let clients = tokio::spawn(async move { load.run(Until::Elapsed(Duration::from_secs(60))).await });
        tokio::time::sleep(Duration::from_millis(700)).await;
        let killed_at = crate::client::wall_ms();
        cluster.replicas[leader].kill();
        let survivor = (leader + 1) % cluster.replicas.len();
        let placed_at = next_placement(&cluster, survivor, &parties.enterprise, killed_at).await?;
        stop.store(true, Ordering::Relaxed);
        clients.await??;
        let took = placed_at - killed_at;
        latencies.record(Duration::from_millis(took));
        all.push(took);
        cluster.replicas[leader].start()?;
        cluster.caught_up(Duration::from_secs(60)).await?;
    }
    Ok(FailoverFigures {
        bench: "failover",
        rounds,
        p50_ms: latencies.quantile_ms(500),
        worst_ms: latencies.quantile_ms(1000),
        all_ms: all,
    })
}

async fn next_placement(cluster: &Daemons, place: usize, bearer: &Bearer, after_ms: u64) -> anyhow::Result<u64> {
    let mut service = JobServiceClient::new(channel(&cluster.replicas[place].client)?);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let message = ListJobsRequest {
            page_size: 200,
            consistency: Consistency::Stale.into(),
            ..ListJobsRequest::default()
        };
        if let Ok(answer) = service.list_jobs(bearer.request(message)).await {
            let jobs = answer.into_inner().jobs;
            let placed = jobs
                .iter()
                .flat_map(|job| &job.attempts)
                .map(|attempt| attempt.placed_at_ms);
            // Entries of the old leader may still carry a later stamp by a millisecond of rounding, hence strictly above.
            if let Some(first) = placed.filter(|at| *at > after_ms + 1).min() {
                return Ok(first);
            }
        }
        ensure!(
            Instant::now() < deadline,
            "nothing was placed within 30 s of the kill:\n{}",
            cluster.tails()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One line of `bench killall --json`.
#[derive(Serialize)]
pub struct KillallFigures {
    bench: &'static str,
    rounds: usize,
    acknowledged: usize,
    lost: usize,
}

/// `jobs` submissions acknowledged, then every process killed at once, started again, and every job looked for; `rounds` times.
///
/// # Errors
/// When the cluster does not come up again.
pub async fn killall(jobs: u64, rounds: usize) -> anyhow::Result<KillallFigures> {
    let (mut cluster, parties, _) = ready(Layout {
        replicas: 3,
        backend: Backend::Process,
        host_cpu_milli: 2_000,
        equipment: [""; 3],
    })
    .await?;
    let mut figures = KillallFigures {
        bench: "killall",
        rounds,
        acknowledged: 0,
        lost: 0,
    };
    for _ in 0..rounds {
        let load = Load {
            addresses: cluster.addresses(),
            bearer: parties.enterprise.clone(),
            clients: 64,
            cpu_milli: 1_000,
            command: vec!["/bin/sleep".to_owned(), "50".to_owned()],
            stop: Arc::new(AtomicBool::new(false)),
        };
        let result = load.run(Until::Acknowledged(jobs)).await?;
        for replica in &mut cluster.replicas {
            replica.kill_at_once();
        }
        for replica in &mut cluster.replicas {
            replica.kill();
        }
        for replica in &mut cluster.replicas {
            replica.start()?;
        }
        let leader = cluster.leader(Duration::from_secs(30)).await?;
        let known = all_jobs(&cluster.replicas[leader].client, &parties.enterprise).await?;
        figures.acknowledged += result.acknowledged.len();
        figures.lost += result.acknowledged.iter().filter(|id| !known.contains(id)).count();
        cluster.caught_up(Duration::from_secs(60)).await?;
    }
    Ok(figures)
}
