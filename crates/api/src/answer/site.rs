//! Sites and their machines as answers.

use std::collections::{BTreeMap, BTreeSet};

use hesuan_engine::command::SiteState;
use hesuan_engine::state::{Host, Site, State};

use super::{lending, org_name};
use crate::v1;

/// A site; `up`: its agent holds a lease, as far as the replica that answers knows.
#[must_use]
pub fn site(state: &State, site: &Site, up: bool) -> v1::Site {
    let (mut capacity, mut free) = (Sum::default(), Sum::default());
    let mut hosts = 0;
    for host in state.hosts_of(site.id).filter(|host| host.online) {
        hosts += 1;
        capacity.add_total(host);
        if host.takes_work() {
            free.add_free(host);
        }
    }
    let contract = site.contract.as_deref();
    let (own, strangers) = contract.map(|contract| state.held_at(site.id, contract)).unzip();
    v1::Site {
        name: site.name.to_string(),
        region: site.region.0,
        provider: org_name(state, site.provider),
        state: match site.state {
            SiteState::Open => v1::SiteState::Open,
            SiteState::Cordoned => v1::SiteState::Cordoned,
            SiteState::Draining => v1::SiteState::Draining,
        }
        .into(),
        up,
        lost: site.lost_at.is_some(),
        capacity: Some(capacity.into_message()),
        free: Some(free.into_message()),
        hosts,
        tasks_running: u32::try_from(state.running_count(site.id)).unwrap_or(u32::MAX),
        agent_replica: site.agent.map_or(0, |agent| agent.replica),
        reason: site.reason.to_string(),
        contract: contract.map(|contract| lending::contract(state, contract)),
        held_by_own: own.as_ref().map(lending::held),
        held_by_strangers: strangers.as_ref().map(lending::held),
    }
}

/// A machine. One that is not in the last inventory, or waits for a change of its size, has nothing free.
#[must_use]
pub fn host(state: &State, host: &Host) -> v1::Host {
    let (mut capacity, mut free) = (Sum::default(), Sum::default());
    capacity.add_total(host);
    if host.takes_work() {
        free.add_free(host);
    }
    let gpu = |gpu: &hesuan_engine::state::Gpu| v1::GpuDevice {
        model: gpu.model.to_string(),
        free_milli: gpu.free_milli,
    };
    v1::Host {
        name: host.name.to_string(),
        site: super::site_name(state, host.site),
        capacity: Some(capacity.into_message()),
        free: Some(free.into_message()),
        gpus: host.gpus.iter().map(gpu).collect(),
    }
}

/// Resources of several machines together.
#[derive(Default)]
struct Sum<'a> {
    cpu_milli: u64,
    memory_mib: u64,
    gpu_milli: u64,
    models: BTreeSet<&'a str>,
    generic: BTreeMap<&'a str, u64>,
}

impl<'a> Sum<'a> {
    fn add_total(&mut self, host: &'a Host) {
        self.cpu_milli += host.total.cpu_milli;
        self.memory_mib += host.total.memory_mib;
        self.gpu_milli += 1000 * host.gpus.len() as u64;
        self.models.extend(host.gpus.iter().map(|gpu| &*gpu.model));
        for one in &host.generic {
            *self.generic.entry(&one.name).or_default() += one.total;
        }
    }

    fn add_free(&mut self, host: &'a Host) {
        self.cpu_milli += host.free.cpu_milli;
        self.memory_mib += host.free.memory_mib;
        for gpu in host.gpus.iter().filter(|gpu| gpu.free_milli > 0) {
            self.gpu_milli += u64::from(gpu.free_milli);
            self.models.insert(&gpu.model);
        }
        for one in host.generic.iter().filter(|one| one.free > 0) {
            *self.generic.entry(&one.name).or_default() += one.free;
        }
    }

    fn into_message(self) -> v1::Resources {
        let generic = self.generic.into_iter().map(|(name, amount)| v1::NamedAmount {
            name: name.to_owned(),
            amount,
        });
        v1::Resources {
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            gpu_milli: self.gpu_milli,
            gpu_models: self.models.into_iter().map(str::to_owned).collect(),
            generic: generic.collect(),
        }
    }
}
