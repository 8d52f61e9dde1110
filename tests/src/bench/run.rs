//! Independent jobs from submit to finished and captured, through the real agent.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hesuan_api::v1::wallet_service_client::WalletServiceClient;
use hesuan_api::v1::{GetOrgRequest, Org};
use serde::Serialize;

use super::load::{Load, Until};
use super::ready;
use crate::client::channel;
use crate::daemons::{Backend, Daemons, Layout};

/// One line of `bench run --json`.
#[derive(Serialize)]
pub struct RunFigures {
    bench: &'static str,
    backend: &'static str,
    jobs: u64,
    jobs_per_s: f64,
    /// From the first submission to the last capture.
    elapsed_s: f64,
    submitted_per_s: f64,
    retries: u64,
}

/// `jobs` single jobs; `exec` runs `/bin/true` for each, otherwise the agents end them at once.
///
/// # Errors
/// When the cluster does not come up, a job is refused, or not all end in time.
pub async fn run(jobs: u64, clients: usize, exec: bool) -> anyhow::Result<RunFigures> {
    let backend = if exec { Backend::Process } else { Backend::Instant };
    // Wide enough that capacity is not the bound with the instant backend; as wide as HyperQueue's best case with processes.
    let host_cpu_milli = if exec { 64_000 } else { 1_000_000 };
    let (cluster, parties, leader) = ready(Layout {
        replicas: 3,
        backend,
        host_cpu_milli,
        equipment: [""; 3],
    })
    .await?;
    let load = Load {
        addresses: cluster.addresses(),
        bearer: parties.enterprise.clone(),
        clients,
        cpu_milli: 1_000,
        command: vec!["/bin/true".to_owned()],
        stop: Arc::new(AtomicBool::new(false)),
    };
    let start = Instant::now();
    let result = load.run(Until::Acknowledged(jobs)).await?;
    let patience = Duration::from_secs(60 + jobs / 50);
    cluster.settled(patience).await?;
    let elapsed = start.elapsed();
    let org = enterprise(&cluster, leader, &parties.enterprise).await?;
    ensure!(
        org.wallet_held_fen == 0,
        "{} fen are still held though nothing runs",
        org.wallet_held_fen
    );
    Ok(RunFigures {
        bench: "run",
        backend: if exec { "process" } else { "instant" },
        jobs,
        jobs_per_s: jobs as f64 / elapsed.as_secs_f64(),
        elapsed_s: elapsed.as_secs_f64(),
        submitted_per_s: jobs as f64 / result.elapsed.as_secs_f64(),
        retries: result.retries,
    })
}

async fn enterprise(cluster: &Daemons, place: usize, bearer: &crate::client::Bearer) -> anyhow::Result<Org> {
    let mut service = WalletServiceClient::new(channel(&cluster.replicas[place].client)?);
    Ok(service
        .get_org(bearer.request(GetOrgRequest {
            name: "acme".to_owned(),
        }))
        .await?
        .into_inner())
}
