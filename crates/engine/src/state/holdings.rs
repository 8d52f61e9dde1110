//! Who holds how much where: exact counters over the running attempts, changed with every placement and every way out.
//! Derived like every index. The planner counts what is in flight in another of these.

use std::collections::BTreeMap;

use hesuan_ledger::types::{OrgId, SiteId};

use super::State;
use super::contract::Contract;
use crate::schedule::GpuNeed;
use crate::types::{Held, Request};

/// What is held, by who pays and by where it is. Only sums above zero are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Holdings {
    of_org: BTreeMap<OrgId, Held>,
    at_site: BTreeMap<SiteId, Held>,
    of_org_at: BTreeMap<(SiteId, OrgId), Held>,
}

impl Holdings {
    /// A task of an organisation is placed at a site.
    pub(crate) fn begin(&mut self, site: SiteId, org: OrgId, task: &Held) {
        self.of_org.entry(org).or_default().add(task);
        self.at_site.entry(site).or_default().add(task);
        self.of_org_at.entry((site, org)).or_default().add(task);
    }

    /// It has left.
    ///
    /// # Panics
    /// When it was not there.
    pub(crate) fn end(&mut self, site: SiteId, org: OrgId, task: &Held) {
        take(&mut self.of_org, org, task);
        take(&mut self.at_site, site, task);
        take(&mut self.of_org_at, (site, org), task);
    }

    pub(crate) fn of_org(&self, org: OrgId) -> Held {
        self.of_org.get(&org).copied().unwrap_or_default()
    }

    /// By the own users of a site together.
    pub(crate) fn own_at(&self, site: SiteId, contract: &Contract) -> Held {
        let mut own = Held::default();
        for org in &contract.own {
            if let Some(held) = self.of_org_at.get(&(site, *org)) {
                own.add(held);
            }
        }
        own
    }

    /// By everybody else there.
    pub(crate) fn strangers_at(&self, site: SiteId, contract: &Contract) -> Held {
        let mut strangers = self.at_site.get(&site).copied().unwrap_or_default();
        strangers.take(&self.own_at(site, contract));
        strangers
    }
}

fn take<K: Ord>(sums: &mut BTreeMap<K, Held>, key: K, task: &Held) {
    let sum = sums.get_mut(&key).expect("what is held is in the sums");
    sum.take(task);
    if *sum == Held::default() {
        sums.remove(&key);
    }
}

impl Held {
    /// What one task of this request holds, on all its hosts together.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let (of_one, hosts) = (&request.resources, u64::from(request.nodes.count()));
        Self {
            cpu_milli: of_one.cpu_milli.saturating_mul(hosts),
            memory_mib: of_one.memory_mib.saturating_mul(hosts),
            gpu_milli: GpuNeed::of(of_one).milli().saturating_mul(hosts),
            tasks: 1,
        }
    }
}

impl State {
    /// What an organisation holds over the whole region.
    #[must_use]
    pub fn held_by(&self, org: OrgId) -> Held {
        self.index.held.of_org(org)
    }

    /// What the own users of a site hold there, and what strangers do.
    #[must_use]
    pub fn held_at(&self, site: SiteId, contract: &Contract) -> (Held, Held) {
        let held = &self.index.held;
        (held.own_at(site, contract), held.strangers_at(site, contract))
    }
}
