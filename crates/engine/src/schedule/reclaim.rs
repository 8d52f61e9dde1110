//! Floors taken back. A task of a site's own users that is blocked there within the floor gets the place of strangers: one set of
//! them on one host, of all its sites' hosts, whose work is lost least. Apply judges that and gives them their notice; from then
//! on the room is kept on that host for that task alone, which is placed there as soon as they have left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::class::{ClassPlan, Standing};
use super::flight::Flight;
use super::hosts::Need;
use super::planner::{FLIGHT_MS_MAX, Planner};
use super::price;
use super::reason::Reason;
use super::victims::{Candidate, Room};
use crate::command::{Decision, Reclaim};
use crate::state::{Contract, Host, Job, Site, State};
use crate::types::{ClassId, Held, HostId, JobId, Request, SiteId, TaskId, Timestamp};

/// A blocked class is looked at again after this: what stood against it may have ended by itself.
const RETRY_MS: u64 = 1_000;
/// Blocked classes looked at a pass, and tasks of each.
const CLASSES_MAX: usize = 4;
const TASKS_MAX: usize = 16;
/// Hosts of a site looked at for one class.
const HOSTS_SEEN_MAX: usize = 1_024;

/// A task by its job and its number.
type Key = (JobId, u32);

/// Room on a host that is kept for a task.
#[derive(Clone, Debug)]
struct Kept {
    site: SiteId,
    host: HostId,
    need: Arc<Need>,
    gpu_indices: Vec<u32>,
    task: Held,
}

/// What is asked for and was not judged yet.
#[derive(Clone, Debug)]
struct Asked {
    at: Timestamp,
    site: SiteId,
    host: HostId,
    task: Held,
}

/// What is being taken back, and who may ask for it.
#[derive(Debug, Default)]
pub(super) struct Reclaims {
    /// Own users' classes that are blocked, by when they are looked at (again).
    queue: BTreeSet<(Timestamp, ClassId)>,
    queued: BTreeSet<ClassId>,
    asked: BTreeMap<Key, Asked>,
    kept: BTreeMap<Key, Kept>,
    kept_on: BTreeMap<HostId, BTreeSet<Key>>,
}

/// Why a task does not start at a site yet: others are about to leave for it.
pub(super) fn reason(state: &State, id: JobId, job: &Job, site: &Site, now: Timestamp) -> Option<Reason> {
    let first = job.pending_tasks(0).next()?;
    let victim = state.reclaimed_for(id, first).next()?;
    let attempt = state.attempt(victim).filter(|attempt| attempt.site == site.id)?;
    let within_ms = attempt.reclaimed?.at.0.saturating_sub(now.0);
    Some(Reason::ReclaimUnderWay { within_ms })
}

impl Planner {
    /// What is being taken back as the state has it, for a new leader.
    pub(super) fn read_reclaims(&mut self, state: &State) {
        for (job, task, host) in state.reclaims().collect::<Vec<_>>() {
            self.keep(state, job, task, host);
        }
    }

    /// Apply has judged a reclaim.
    pub(super) fn note_reclaim(&mut self, state: &State, (job, task): Key, host: HostId, taken: bool) {
        self.reclaims.asked.remove(&(job, task));
        if taken {
            self.keep(state, job, task, host);
        }
    }

    /// Something happened to a job: what was kept for tasks that do not wait any more is everybody's.
    pub(super) fn forget_kept(&mut self, state: &State, job: JobId) {
        if self.reclaims.kept.is_empty() {
            return;
        }
        let of_job = self.reclaims.kept.range((job, 0)..=(job, u32::MAX));
        let over: Vec<Key> = of_job
            .map(|(key, _)| *key)
            .filter(|key| !state.is_wanted(*key))
            .collect();
        for key in over {
            self.let_go(key);
        }
    }

    fn let_go(&mut self, key: Key) {
        let Some(kept) = self.reclaims.kept.remove(&key) else {
            return;
        };
        let on_host = self.reclaims.kept_on.get_mut(&kept.host).expect("kept on its host");
        on_host.remove(&key);
        if on_host.is_empty() {
            self.reclaims.kept_on.remove(&kept.host);
        }
        self.changed.hosts.insert(kept.host);
    }

    fn keep(&mut self, state: &State, job: JobId, task: u32, host: HostId) {
        let Some((host, record)) = state.host(host).zip(state.job(job)) else {
            return;
        };
        let request = state.request(record);
        let mut room = Room::of(host);
        state
            .reclaimed_on(host.id)
            .for_each(|victim| room.give(state, victim, host.id));
        self.kept_on(host.id)
            .for_each(|kept| room.reserve(&kept.need, &kept.gpu_indices));
        let Some(gpu_indices) = room.devices(request) else {
            return;
        };
        let kept = Kept {
            site: host.site,
            host: host.id,
            need: Arc::new(Need::of(&request.resources)),
            gpu_indices,
            task: Held::of(request),
        };
        self.reclaims.kept.insert((job, task), kept);
        self.reclaims.kept_on.entry(host.id).or_default().insert((job, task));
        self.changed.hosts.insert(host.id);
    }

    fn kept_on(&self, host: HostId) -> impl Iterator<Item = &Kept> {
        let keys = self.reclaims.kept_on.get(&host).into_iter().flatten();
        keys.map(|key| &self.reclaims.kept[key])
    }

    /// Takes what is kept on a host out of the view.
    pub(super) fn reserve_kept(&mut self, host: HostId) {
        let keys = self.reclaims.kept_on.get(&host).into_iter().flatten();
        for kept in keys.map(|key| &self.reclaims.kept[key]) {
            self.view.reserve(host, &kept.need, &kept.gpu_indices);
        }
    }

    /// Places those for whom room was kept on hosts that have changed, if it is there now. Before the hosts are read.
    pub(super) fn place_kept(&mut self, state: &State, now: Timestamp, max: usize, decisions: &mut Vec<Decision>) {
        let hosts = self
            .changed
            .hosts
            .iter()
            .filter(|host| self.reclaims.kept_on.contains_key(host));
        for host in hosts.copied().collect::<Vec<_>>() {
            for key in self.reclaims.kept_on.get(&host).cloned().unwrap_or_default() {
                if decisions.len() < max && self.open.contains(&self.reclaims.kept[&key].site) {
                    decisions.extend(self.place_kept_one(state, now, key));
                }
            }
        }
    }

    fn place_kept_one(&mut self, state: &State, now: Timestamp, (job, task): Key) -> Option<Decision> {
        let kept = self.reclaims.kept[&(job, task)].clone();
        let (host, record) = state.host(kept.host).zip(state.job(job))?;
        if self.flights.has(job, task) || record.placeable() <= self.flights.of_job(job) {
            return None;
        }
        let request = state.request(record);
        let mut room = self.room_now(host);
        let others = self.reclaims.kept_on[&kept.host].range(..(job, task));
        for other in others.map(|key| &self.reclaims.kept[key]) {
            room.reserve(&other.need, &other.gpu_indices);
        }
        let gpu_indices = room.devices(request)?;
        // From here on it is a decision like any other; if that is refused, so is whatever else would have come of it.
        self.let_go((job, task));
        let model = gpu_indices.first().map(|index| &*host.gpus[*index as usize].model);
        let bill = price::bill(state, request, host.site, model, now).ok()?;
        if !price::affordable(state, &self.flights, request.org, &bill) {
            return None;
        }
        let decision = Decision {
            job,
            task,
            host: host.id,
            gpu_indices,
            others: Vec::new(),
        };
        let flight = Flight {
            class: record.class,
            org: request.org,
            site: host.site,
            task: kept.task,
            need: kept.need,
            decision: decision.clone(),
            bill,
            decided_at: now,
        };
        self.turns.fair.charge(state, now, &flight);
        self.flights.begin(flight);
        Some(decision)
    }

    /// What a host has free beside what is in flight to it.
    fn room_now(&self, host: &Host) -> Room {
        let mut room = Room::of(host);
        for flight in self.flights.on_host(host.id) {
            room.reserve(&flight.need, flight.decision.devices_on(host.id));
        }
        room
    }

    /// A class was looked at: if it is blocked where its org has a floor, the floor may be taken back for it.
    pub(super) fn note_blocked(&mut self, state: &State, id: ClassId) {
        let Some(class) = self.classes.get(&id).filter(|class| class.standing == Standing::Parked) else {
            return;
        };
        // The hosts of a gang would have to be emptied together: not taken back for it.
        if class.request.nodes.is_gang() {
            return;
        }
        let mut full = class.offers.iter().filter(|offer| offer.full);
        let has_floor = full.any(|offer| own_contract(state, offer.site, &class.request).is_some());
        if has_floor && self.reclaims.queued.insert(id) {
            self.reclaims.queue.insert((Timestamp(0), id));
        }
    }

    /// What is to be taken back now. After [`Planner::plan`].
    pub fn reclaims(&mut self, state: &State, now: Timestamp) -> Vec<Reclaim> {
        let mut reclaims = Vec::new();
        let is_recent = |asked: &Asked| now.0 < asked.at.0.saturating_add(FLIGHT_MS_MAX);
        self.reclaims.asked.retain(|_, asked| is_recent(asked));
        for _ in 0..CLASSES_MAX {
            let Some(&(due, id)) = self.reclaims.queue.first().filter(|(due, _)| *due <= now) else {
                break;
            };
            self.reclaims.queue.remove(&(due, id));
            if self
                .classes
                .get(&id)
                .is_some_and(|class| class.standing == Standing::Parked)
            {
                self.reclaims.queue.insert((Timestamp(now.0 + RETRY_MS), id));
                self.reclaim_for_class(state, now, id, &mut reclaims);
            } else {
                self.reclaims.queued.remove(&id);
            }
        }
        reclaims
    }

    fn reclaim_for_class(&mut self, state: &State, now: Timestamp, id: ClassId, reclaims: &mut Vec<Reclaim>) {
        let jobs = state.pending_jobs(id, JobId(0)).take(TASKS_MAX);
        let tasks = jobs.flat_map(|(job_id, job)| {
            let most = job.placeable() as usize;
            job.pending_tasks(0).take(most).map(move |task| (job_id, task))
        });
        for key in tasks.take(TASKS_MAX) {
            let is_served = self.flights.has(key.0, key.1)
                || self.reclaims.kept.contains_key(&key)
                || self.reclaims.asked.contains_key(&key);
            if is_served {
                continue;
            }
            // All tasks of a class ask for the same: what is not there for one is not there for the next.
            let Some((site, host, victims)) = self.cheapest_victims(state, now, id) else {
                return;
            };
            let task = Held::of(&self.classes[&id].request);
            let at = now;
            self.reclaims.asked.insert(key, Asked { at, site, host, task });
            reclaims.push(Reclaim {
                job: key.0,
                task: key.1,
                host,
                victims,
            });
        }
    }

    /// Of all hosts of all sites where the class is owed its place, the strangers whose work is lost least.
    fn cheapest_victims(&self, state: &State, now: Timestamp, id: ClassId) -> Option<(SiteId, HostId, Vec<TaskId>)> {
        let class = &self.classes[&id];
        let sites = self.owed_at(state, now, id, class);
        let mut total = Held::default();
        let hosts = |site: SiteId| {
            state
                .hosts_of(site)
                .filter(|host| host.takes_work())
                .take(HOSTS_SEEN_MAX)
        };
        for host in sites.iter().flat_map(|(site, _)| hosts(*site)) {
            total.add(&host.whole());
        }
        let mut best: Option<(u128, HostId, SiteId, Vec<TaskId>)> = None;
        for (site, contract) in sites {
            for host in hosts(site) {
                let most = best.as_ref().map(|(cost, _, _, victims)| (*cost, victims.len()));
                let found = self.victims_on(state, now, class, host, contract, &total, most);
                if let Some((cost, victims)) = found {
                    best = Some((cost, host.id, site, victims));
                }
            }
        }
        best.map(|(_, host, site, victims)| (site, host, victims))
    }

    /// Sites where the floor guarantees the class another place, and where it would not start within the notice anyway.
    fn owed_at<'a>(
        &self,
        state: &'a State,
        now: Timestamp,
        id: ClassId,
        class: &ClassPlan,
    ) -> Vec<(SiteId, &'a Contract)> {
        let task = Held::of(&class.request);
        let sites: BTreeSet<SiteId> = class
            .offers
            .iter()
            .filter(|offer| offer.full)
            .map(|offer| offer.site)
            .collect();
        let mut owed = Vec::new();
        for site in sites.into_iter().filter(|site| self.open.contains(site)) {
            let Some(contract) = own_contract(state, site, &class.request) else {
                continue;
            };
            let promised = self.promises.to(id).filter(|(at, _)| *at == site);
            let starts_soon = promised.is_some_and(|(_, promise)| promise.start.0 <= now.0 + contract.notice_ms);
            if !starts_soon
                && !self.payable(state, class, site).is_empty()
                && contract.guarantees(&task, &self.claimed(state, site, contract))
            {
                owed.push((site, contract));
            }
        }
        owed
    }

    /// What own users hold at a site, and what is on its way to them.
    fn claimed(&self, state: &State, site: SiteId, contract: &Contract) -> Held {
        let (mut own, _) = state.held_at(site, contract);
        own.add(&self.flights.held.own_at(site, contract));
        let kept = self.reclaims.kept.values().filter(|kept| kept.site == site);
        kept.for_each(|kept| own.add(&kept.task));
        let asked = self.reclaims.asked.values().filter(|asked| asked.site == site);
        asked.for_each(|asked| own.add(&asked.task));
        own
    }

    #[allow(clippy::too_many_arguments, reason = "one host of a search over all")]
    fn victims_on(
        &self,
        state: &State,
        now: Timestamp,
        class: &ClassPlan,
        host: &Host,
        contract: &Contract,
        total: &Held,
        most: Option<(u128, usize)>,
    ) -> Option<(u128, Vec<TaskId>)> {
        if self.reclaims.asked.values().any(|asked| asked.host == host.id) {
            return None;
        }
        let running = self.ends.on_host(host.id).map(|(_, task)| task);
        let candidates: Vec<Candidate> = running
            .filter_map(|id| {
                let attempt = state
                    .attempt(id)
                    .filter(|attempt| state.may_displace(id, attempt, contract))?;
                let since = attempt.started_at.unwrap_or(now);
                let held = Held::of(state.request(state.job(id.job)?));
                let cost = u128::from(now.0.saturating_sub(since.0)) * share(&held, total);
                Some(Candidate { id, cost })
            })
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let mut room = Room::after_reclaims(state, host);
        for flight in self.flights.on_host(host.id) {
            room.reserve(&flight.need, flight.decision.devices_on(host.id));
        }
        let keys = self.reclaims.kept_on.get(&host.id).into_iter().flatten();
        for (job, task) in keys {
            // Those for whom somebody still has to leave are counted already.
            if state.reclaimed_for(*job, *task).next().is_none() {
                let kept = &self.reclaims.kept[&(*job, *task)];
                room.reserve(&kept.need, &kept.gpu_indices);
            }
        }
        if room.fits(&class.request) {
            return None;
        }
        room.victims(state, &class.request, &candidates, most)
    }
}

/// The contract by which the payer of a request is at home at a site, with a floor.
fn own_contract<'a>(state: &'a State, site: SiteId, request: &Request) -> Option<&'a Contract> {
    let contract = state.site(site)?.contract.as_deref()?;
    (contract.is_own(request.org) && contract.floor != crate::types::Bounds::NONE).then_some(contract)
}

/// The largest of its shares of all there is, in millionths.
fn share(held: &Held, total: &Held) -> u128 {
    let of = |held: u64, total: u64| u128::from(held) * 1_000_000 / u128::from(total.max(1));
    let cpu = of(held.cpu_milli, total.cpu_milli);
    let memory = of(held.memory_mib, total.memory_mib);
    cpu.max(memory).max(of(held.gpu_milli, total.gpu_milli))
}
