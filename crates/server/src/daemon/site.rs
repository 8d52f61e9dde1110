//! The agent of the daemon's own site. It is a client like any other: it dials this replica first, and another when need be.

use std::path::PathBuf;
use std::time::Duration;

use hesuan_agent::backend::process::ProcessConfig;
use hesuan_agent::{Agent, AgentConfig, BackendKind};
use hesuan_api::internal::v1::{GenericResource, GpuInventory, HostInventory};
use tokio::sync::watch;

use crate::cluster_file::{ClusterFile, read_token};
use crate::config::{Backend, Config, Host, Site};
use crate::fatal::fatal;

/// How often a token that is not there yet is looked for.
const TOKEN_AGAIN: Duration = Duration::from_millis(300);

/// Replicas to dial: this one, then the other first members.
pub(super) fn endpoints(config: &Config, cluster: &ClusterFile) -> Vec<String> {
    let others = cluster
        .member
        .iter()
        .filter(|member| member.name != config.name)
        .map(|member| member.client.clone());
    std::iter::once(config.listen.client.clone()).chain(others).collect()
}

/// Runs the agent until the process ends; its tasks go on.
pub(super) async fn run(site: Site, directory: PathBuf, endpoints: Vec<String>, mut ending: watch::Receiver<bool>) {
    let token = tokio::select! {
        token = token(&site) => token,
        _ = ending.wait_for(|ending| *ending) => return,
    };
    let backend = match site.backend {
        Backend::Instant => BackendKind::Instant,
        Backend::Process => match ProcessConfig::new(&directory) {
            Ok(process) => BackendKind::Process(process),
            Err(error) => fatal("the agent cannot start tasks", error),
        },
    };
    let instance: [u8; 16] = rand::random();
    let mut config = AgentConfig::new(&site.name, instance, endpoints, token, directory, backend);
    config.hosts = site.host.iter().map(inventory).collect();
    if let Err(error) = Agent::new(config).run(ending).await {
        fatal("the agent cannot go on", error);
    }
}

async fn token(site: &Site) -> String {
    let mut said = false;
    loop {
        match read_token(&site.token_file) {
            Ok(token) => return token,
            Err(error) if !said => {
                tracing::info!(%error, "the agent waits for its token");
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(TOKEN_AGAIN).await;
    }
}

fn inventory(host: &Host) -> HostInventory {
    HostInventory {
        name: host.name.clone(),
        cpu_milli: host.cpu_milli,
        memory_mib: host.memory_mib,
        gpus: host
            .gpus
            .iter()
            .map(|model| GpuInventory { model: model.clone() })
            .collect(),
        generic: host
            .generic
            .iter()
            .map(|(name, amount)| GenericResource {
                name: name.clone(),
                amount: *amount,
            })
            .collect(),
    }
}
