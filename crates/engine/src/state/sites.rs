//! Commands about sites: create, open or drain, attach an agent with its machines, give a silent site up. What follows for
//! the attempts running there is done in bounded steps by the sweep, so that no entry pauses apply.

use std::collections::BTreeSet;

use hesuan_ledger::types::{RegionCode, SiteId, Stamp, Timestamp};

use super::access::{Kind, Scope, judge_scope};
use super::cluster::{check_name, taken};
use super::ending::Ending;
use super::{Agent, Amounts, Generic, Gpu, Host, Site, State};
use crate::command::{HostInventory, SiteState};
use crate::outcome::{Effect, Rejection, RejectionKind, Reply};
use crate::types::{HostId, OnSiteLost, PrincipalId, TaskId};

const HOSTS_MAX: usize = 20_000;
const GPUS_MAX: usize = 64;
const GENERIC_MAX: usize = 32;
/// No amount of a host is larger, so sums of amounts cannot overflow.
const AMOUNT_MAX: u64 = 1 << 40;
const REASON_BYTES_MAX: usize = 256;

/// Attempts looked at by one step of a sweep.
const SWEEP_STEP: usize = 1_000;

impl State {
    pub(super) fn create_site(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        name: &str,
        region: RegionCode,
        provider: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        check_name(name, "name")?;
        if self.index.sites.contains_key(name) {
            return Err(taken("SITE_NAME_TAKEN", "name", "site", name));
        }
        let provider = self.org_by_name(provider, "provider")?;
        let number = u32::try_from(self.tables.sites.next_id())
            .ok()
            .filter(|number| *number < u32::MAX);
        let Some(id) = number.map(SiteId) else {
            return Err(Rejection::new(
                RejectionKind::Exhausted,
                "SITES_FULL",
                "",
                "no numbers are left",
            ));
        };
        let by = Stamp { at, actor: principal.0 };
        self.tables
            .ledger
            .register_site(id, region, provider, by)
            .map_err(|refused| self.refused(refused))?;
        let site = Site {
            id,
            name: name.into(),
            region,
            provider,
            state: SiteState::Open,
            reason: "".into(),
            agent: None,
            lost_at: None,
            sweep_from: None,
            contract: None,
        };
        self.index.sites.insert(site.name.clone(), id);
        self.tables.sites.push(site);
        self.tables.meta.rules_version += 1;
        effects.push(Effect::SiteChanged(id));
        Ok(Reply::Site(id))
    }

    pub(super) fn set_site_state(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        name: &str,
        state: SiteState,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let id = self.site_named(name, "site")?.id;
        judge_scope(self, principal, Kind::SetSiteState, Scope::Site(id))?;
        check_reason(reason)?;
        let site = self.site_mut(id);
        let changed = site.state != state;
        site.state = state;
        site.reason = reason.into();
        if changed {
            // Draining withdraws what runs; opening again lets what was not withdrawn yet run on.
            if site.lost_at.is_none() {
                site.sweep_from = (state == SiteState::Draining).then(TaskId::default);
            }
            self.tables.meta.rules_version += 1;
            effects.push(Effect::SiteChanged(id));
            self.sweep_site(id, at, effects);
        }
        Ok(Reply::Site(id))
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one command")]
    pub(super) fn attach_agent(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        name: &str,
        instance: u128,
        replica: u64,
        hosts: &[HostInventory],
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let site = self.site_named(name, "site")?;
        let id = site.id;
        judge_scope(self, principal, Kind::Agent, Scope::Site(id))?;
        if let Some(agent) = site.agent.filter(|_| site.lost_at.is_none())
            && agent.principal != principal
        {
            let text = format!("the agent of {name} is attached with another token; it is displaced once it is lost");
            return Err(Rejection::precondition("AGENT_ATTACHED", "site", text));
        }
        check_inventory(hosts)?;
        let site = self.site_mut(id);
        site.agent = Some(Agent {
            instance,
            replica,
            principal,
            attached_at: at,
        });
        site.lost_at = None;
        // What was requeued while the site was lost is not in the agent's list any more; what was held runs on.
        site.sweep_from = (site.state == SiteState::Draining).then(TaskId::default);
        self.take_inventory(id, hosts);
        effects.push(Effect::SiteChanged(id));
        self.sweep_site(id, at, effects);
        Ok(Reply::Site(id))
    }

    // A host keeps its number as long as its name stays. One that is gone takes nothing new. One whose new amounts do not
    // cover what is reserved keeps the old ones and takes nothing new until it is empty.
    fn take_inventory(&mut self, site: SiteId, hosts: &[HostInventory]) {
        let mut changed = false;
        let listed: BTreeSet<&str> = hosts.iter().map(|host| &*host.name).collect();
        let gone: Vec<HostId> = self
            .hosts_of(site)
            .filter(|host| !listed.contains(&*host.name))
            .map(|h| h.id)
            .collect();
        for id in gone {
            if self.host(id).is_some_and(|host| host.online) {
                self.host_mut(id).online = false;
                changed = true;
            }
        }
        for inventory in hosts {
            let known = self
                .index
                .hosts
                .get(&site)
                .and_then(|hosts| hosts.get(&inventory.name))
                .copied();
            let Some(id) = known else {
                let id = HostId(u32::try_from(self.tables.hosts.next_id()).expect("four billion hosts never attach"));
                self.tables.hosts.push(Host::new(id, site, inventory));
                self.index
                    .hosts
                    .entry(site)
                    .or_default()
                    .insert(inventory.name.clone(), id);
                changed = true;
                continue;
            };
            let host = self.host(id).expect("the index names hosts of the table");
            if host.online && host.awaited.is_none() && host.matches(inventory) {
                continue;
            }
            self.host_mut(id).adopt(inventory);
            changed = true;
        }
        if changed {
            self.forget_hosts(site);
            self.tables.meta.rules_version += 1;
        }
    }

    // Hosts that are gone stay for the history of what ran there, as long as the site has room for them.
    fn forget_hosts(&mut self, site: SiteId) {
        let known = self.index.hosts.get(&site).map_or(0, |hosts| hosts.len());
        let mut gone: Vec<HostId> = self
            .hosts_of(site)
            .filter(|host| !host.online && host.is_empty())
            .map(|h| h.id)
            .collect();
        gone.sort_unstable();
        for id in gone.into_iter().take(known.saturating_sub(HOSTS_MAX)) {
            let host = self
                .tables
                .hosts
                .remove(id.0.into())
                .expect("the index names hosts of the table");
            self.index.hosts.entry(site).or_default().remove(&host.name);
        }
    }

    pub(super) fn lose_site(
        &mut self,
        at: Timestamp,
        id: SiteId,
        instance: u128,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let Some(site) = self.site(id) else {
            return Err(Rejection::not_found(
                "UNKNOWN_SITE",
                "site",
                format!("no site {}", id.0),
            ));
        };
        if site.lost_at.is_some() {
            return Err(Rejection::precondition(
                "SITE_LOST",
                "site",
                format!("{} is lost already", site.name),
            ));
        }
        if site.agent.is_none_or(|agent| agent.instance != instance) {
            let text = format!("a newer agent of {} has attached", site.name);
            return Err(Rejection::precondition("AGENT_CHANGED", "instance", text));
        }
        let site = self.site_mut(id);
        site.lost_at = Some(at);
        site.sweep_from = Some(TaskId::default());
        effects.push(Effect::SiteChanged(id));
        self.sweep_site(id, at, effects);
        Ok(Reply::Site(id))
    }

    /// Goes on with what losing or draining a site means for the attempts there, a bounded number of them.
    pub(super) fn sweep_site(&mut self, id: SiteId, at: Timestamp, effects: &mut Vec<Effect>) {
        let site = self.site(id).expect("the caller has it");
        let Some(from) = site.sweep_from else { return };
        let lost = site.lost_at.is_some();
        let running = self.index.running.get(&id);
        let step: Vec<TaskId> = running
            .into_iter()
            .flat_map(|r| r.range(from..))
            .take(SWEEP_STEP + 1)
            .copied()
            .collect();
        self.site_mut(id).sweep_from = step.get(SWEEP_STEP).copied();
        for task in step.into_iter().take(SWEEP_STEP) {
            let job = self.job(task.job).expect("an attempt has a job");
            if lost && self.request(job).on_site_lost == OnSiteLost::Requeue {
                self.end_attempt(task, at, Ending::site_lost("the site was lost"), effects);
                effects.push(Effect::Withdrawn { site: id, task });
            } else if !lost {
                self.attempt_mut(task).withdrawn = true;
                effects.push(Effect::Withdrawn { site: id, task });
            }
        }
    }

    /// Ends what a lost site still holds once the grace is over: unproven work does not lock money for ever.
    pub(super) fn end_grace(&mut self, id: SiteId, at: Timestamp, effects: &mut Vec<Effect>) {
        if self
            .grace_ends(self.site(id).expect("the caller has it"))
            .is_none_or(|end| at < end)
        {
            return;
        }
        let step: Vec<TaskId> = self.running_at(id).take(SWEEP_STEP).collect();
        for task in step {
            let ending = Ending::gone("the site was lost and did not come back within the settlement grace");
            self.end_attempt(task, at, ending, effects);
            effects.push(Effect::Withdrawn { site: id, task });
        }
    }

    /// When the grace of a lost site ends, if anything still runs there.
    pub(super) fn grace_ends(&self, site: &Site) -> Option<Timestamp> {
        let lost_at = site.lost_at.filter(|_| self.running_count(site.id) > 0)?;
        Some(Timestamp(
            lost_at.0.saturating_add(self.tables.limits.settlement_grace_ms),
        ))
    }

    pub(super) fn site_named(&self, name: &str, field: &str) -> Result<&Site, Rejection> {
        let text = || format!("{field}: no site {name:?}");
        self.site_by_name(name)
            .ok_or_else(|| Rejection::not_found("UNKNOWN_SITE", field, text()))
    }

    pub(super) fn site_mut(&mut self, id: SiteId) -> &mut Site {
        self.tables.sites.get_mut(id.0.into()).expect("sites are never removed")
    }

    pub(super) fn host_mut(&mut self, id: HostId) -> &mut Host {
        self.tables
            .hosts
            .get_mut(id.0.into())
            .expect("a host stays while something runs there")
    }
}

impl Host {
    fn matches(&self, inventory: &HostInventory) -> bool {
        self.total
            == (Amounts {
                cpu_milli: inventory.cpu_milli,
                memory_mib: inventory.memory_mib,
            })
            && self.gpus.iter().map(|gpu| &gpu.model).eq(&inventory.gpus)
            && self.generic.len() == inventory.generic.len()
            && inventory
                .generic
                .iter()
                .all(|(name, total)| self.generic(name).is_some_and(|r| r.total == *total))
    }

    /// Takes the new amounts if they cover what is reserved, and otherwise keeps them for when the host is empty.
    pub(super) fn adopt(&mut self, inventory: &HostInventory) {
        self.online = true;
        let used = |total: u64, free: u64| total - free;
        let cpu = used(self.total.cpu_milli, self.free.cpu_milli);
        let memory = used(self.total.memory_mib, self.free.memory_mib);
        let fresh = Host::new(self.id, self.site, inventory);
        let covered = cpu <= inventory.cpu_milli
            && memory <= inventory.memory_mib
            && self.gpus.iter().enumerate().all(|(index, gpu)| {
                gpu.free_milli == 1000 || fresh.gpus.get(index).is_some_and(|new| new.model == gpu.model)
            })
            && self
                .generic
                .iter()
                .all(|r| used(r.total, r.free) <= fresh.generic(&r.name).map_or(0, |new| new.total));
        if !covered {
            self.awaited = Some(Box::new(inventory.clone()));
            return;
        }
        self.awaited = None;
        self.free = Amounts {
            cpu_milli: inventory.cpu_milli - cpu,
            memory_mib: inventory.memory_mib - memory,
        };
        self.total = fresh.total;
        let free_of = |index: usize| self.gpus.get(index).map_or(1000, |gpu| gpu.free_milli);
        let gpus = fresh.gpus.iter().enumerate();
        let gpus = gpus
            .map(|(index, new)| Gpu {
                model: new.model.clone(),
                free_milli: free_of(index),
            })
            .collect();
        let reserved = |name: &str| self.generic(name).map_or(0, |r| used(r.total, r.free));
        let generic = fresh.generic.iter();
        let generic = generic
            .map(|new| Generic {
                name: new.name.clone(),
                total: new.total,
                free: new.total - reserved(&new.name),
            })
            .collect();
        self.gpus = gpus;
        self.generic = generic;
    }
}

pub(super) fn check_reason(reason: &str) -> Result<(), Rejection> {
    if reason.len() > REASON_BYTES_MAX {
        let text = format!(
            "the reason has {} bytes; at most {REASON_BYTES_MAX} are kept",
            reason.len()
        );
        return Err(Rejection::invalid("REASON_TOO_LONG", "reason", text));
    }
    Ok(())
}

fn check_inventory(hosts: &[HostInventory]) -> Result<(), Rejection> {
    let refuse = |text: String| Err(Rejection::invalid("INVENTORY", "hosts", text));
    if hosts.len() > HOSTS_MAX {
        return refuse(format!("{} hosts; a site has at most {HOSTS_MAX}", hosts.len()));
    }
    let mut names = BTreeSet::new();
    for host in hosts {
        let name = &host.name;
        if name.is_empty() || name.len() > 128 || !names.insert(name) {
            return refuse(format!(
                "host name {name:?} is empty, longer than 128 bytes or given twice"
            ));
        }
        let mut resources = BTreeSet::new();
        let mut amounts = host
            .generic
            .iter()
            .map(|(_, amount)| *amount)
            .chain([host.cpu_milli, host.memory_mib]);
        if amounts.any(|amount| amount > AMOUNT_MAX) {
            return refuse(format!("host {name:?} has an amount above {AMOUNT_MAX}"));
        }
        let generic_ok = |name: &str| !name.is_empty() && name.len() <= 64;
        if host.generic.len() > GENERIC_MAX || !host.generic.iter().all(|(r, _)| generic_ok(r) && resources.insert(r)) {
            return refuse(format!(
                "host {name:?}: at most {GENERIC_MAX} named resources, each once, 1 to 64 bytes"
            ));
        }
        if host.gpus.len() > GPUS_MAX || host.gpus.iter().any(|model| model.is_empty() || model.len() > 64) {
            return refuse(format!(
                "host {name:?}: at most {GPUS_MAX} gpus, models of 1 to 64 bytes"
            ));
        }
    }
    Ok(())
}
