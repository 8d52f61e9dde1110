//! Acknowledged submissions: many single jobs, and one large array.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hesuan_api::v1::SubmitJobRequest;
use hesuan_api::v1::job_service_client::JobServiceClient;
use serde::Serialize;

use super::load::{Load, Until, small_spec};
use super::ready;
use super::stats::{cpu_seconds, rss_kib};
use crate::client::{channel, request_id};
use crate::daemons::{Backend, Layout};

/// One line of `bench submit --json`.
#[derive(Serialize)]
pub struct SubmitFigures {
    bench: &'static str,
    replicas: usize,
    clients: usize,
    jobs: usize,
    jobs_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of all daemons, during the load.
    cpu_s: f64,
    /// Of the leader, at the end.
    rss_mib: u64,
    retries: u64,
}

/// Independent single jobs, acknowledged, from `clients` closed-loop clients spread over the replicas.
///
/// # Errors
/// When the cluster does not come up or a submission is refused for good.
pub async fn submit(replicas: usize, clients: usize, seconds: u64) -> anyhow::Result<SubmitFigures> {
    // A host of two cores: the first jobs run, the others wait, and the scheduler has to know it.
    let layout = Layout {
        replicas,
        backend: Backend::Process,
        host_cpu_milli: 2_000,
        equipment: [""; 3],
    };
    let (cluster, parties, leader) = ready(layout).await?;
    let load = Load {
        addresses: cluster.addresses(),
        bearer: parties.enterprise.clone(),
        clients,
        cpu_milli: 1_000,
        command: vec!["/bin/sleep".to_owned(), "50".to_owned()],
        stop: Arc::new(AtomicBool::new(false)),
    };
    let used = || cluster.replicas.iter().map(|r| cpu_seconds(r.pid())).sum::<f64>();
    let before = used();
    let mut result = load.run(Until::Elapsed(Duration::from_secs(seconds))).await?;
    Ok(SubmitFigures {
        bench: "submit",
        replicas,
        clients,
        jobs: result.latencies.len(),
        jobs_per_s: result.latencies.len() as f64 / result.elapsed.as_secs_f64(),
        p50_ms: result.latencies.quantile_ms(500),
        p99_ms: result.latencies.quantile_ms(990),
        cpu_s: used() - before,
        rss_mib: rss_kib(cluster.replicas[leader].pid()) / 1024,
        retries: result.retries,
    })
}

/// One line of `bench array --json`.
#[derive(Serialize)]
pub struct ArrayFigures {
    bench: &'static str,
    tasks: u32,
    rounds: usize,
    median_ms: f64,
    worst_ms: f64,
}

/// One array of `tasks`, from the call to its acknowledgement.
///
/// # Errors
/// When the cluster does not come up or the array is refused.
pub async fn array(tasks: u32, rounds: usize) -> anyhow::Result<ArrayFigures> {
    let layout = Layout {
        replicas: 3,
        backend: Backend::Process,
        host_cpu_milli: 2_000,
        equipment: [""; 3],
    };
    let (cluster, parties, leader) = ready(layout).await?;
    let mut service = JobServiceClient::new(channel(&cluster.replicas[leader].client)?);
    let mut took = super::stats::Latencies::default();
    for round in 0..rounds {
        let mut spec = small_spec(1_000, &["/bin/sleep", "50"], round as u64);
        spec.array_count = tasks;
        let message = SubmitJobRequest {
            request_id: request_id(),
            spec: Some(spec),
            ..SubmitJobRequest::default()
        };
        let start = Instant::now();
        service.submit_job(parties.enterprise.request(message)).await?;
        took.record(start.elapsed());
    }
    Ok(ArrayFigures {
        bench: "array",
        tasks,
        rounds,
        median_ms: took.quantile_ms(500),
        worst_ms: took.quantile_ms(1000),
    })
}
