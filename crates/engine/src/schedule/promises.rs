//! Room promised to those who wait: EASY backfill over the hosts. The first blocked class of each site is promised its earliest
//! start on one host, by the limits of what runs there; whoever comes after it may use that host only without delaying that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::class::{ClassPlan, Rank, Standing};
use super::filter;
use super::hosts::{Hosts, Need, Slot};
use super::planner::Planner;
use super::price;
use super::time::Profile;
use super::view::Allowed;
use crate::state::State;
use crate::types::{ClassId, HostId, SiteId, TaskId, Timestamp};

/// Ends of a site looked through for the first host with room; then the host that is empty first is taken.
const ENDS_SEEN_MAX: usize = 256;
/// Waiting classes of a site looked through for one that can use a promise.
const CLASSES_SEEN_MAX: usize = 64;
/// What should have ended by now is expected to end so much later.
const OVERDUE_MS: u64 = 60_000;

/// Room promised on one host.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    /// To whom.
    pub(crate) rank: Rank,
    pub(crate) host: HostId,
    /// When the room is there, if nothing ends before its limit.
    pub(crate) start: Timestamp,
    /// What the host has free beside what runs and what is promised.
    profile: Profile,
    /// Somebody would have fitted there but for it: to be looked at again when it is over.
    has_turned_away: bool,
}

/// At most one a site.
pub(crate) type Promises = BTreeMap<SiteId, Promise>;

impl Promise {
    /// What a task may take of the host without delaying the one it is promised to; everything, if it comes before that one.
    pub(crate) fn allows(
        &self,
        slot: &Slot,
        rank: Rank,
        need: &Need,
        model: Option<u16>,
        now: Timestamp,
        until: Timestamp,
    ) -> Option<Allowed> {
        if rank < self.rank || rank.2 == self.rank.2 {
            return None;
        }
        Some(Allowed {
            host: self.host,
            gpu_indices: slot.with(&self.profile.least(now, until)).fit(need, model),
        })
    }

    /// Whether a task that fits on some of these hosts still does if it keeps off what is promised. Closes the promised host if
    /// it must keep off.
    pub(crate) fn leaves_room(
        &self,
        hosts: &mut Hosts,
        rank: Rank,
        need: &Need,
        models: &[Option<Box<str>>],
        now: Timestamp,
        limit_ms: u64,
    ) -> bool {
        let Some(position) = hosts.position(self.host) else {
            return true;
        };
        let slot = &hosts.slots[position];
        let place = |name: &str| hosts.models.iter().position(|known| **known == *name);
        let mut models_here = models.iter().filter_map(|model| match model {
            Some(name) => place(name).map(|place| Some(place as u16)),
            None => Some(None),
        });
        let keeps_off = models_here.all(|model| {
            let allowed = self.allows(slot, rank, need, model, now, after(now, limit_ms));
            allowed.is_some_and(|allowed| allowed.gpu_indices.is_none())
        });
        if keeps_off {
            hosts.slots[position].open = false;
        }
        filter::capacity(hosts, need, models).is_empty()
    }
}

impl Planner {
    /// What a class may take of the host that its site has promised to another.
    pub(super) fn allowed(&self, class: &ClassPlan, rank: Rank, site: SiteId, model: Option<u16>) -> Option<Allowed> {
        let promise = self.promises.get(&site)?;
        let hosts = &self.view.sites[&site].hosts;
        let slot = &hosts.slots[hosts.position(promise.host)?];
        let now = self.planned_at;
        let until = after(now, class.request.walltime_ms_max);
        promise.allows(slot, rank, &class.need, model, now, until)
    }

    /// Keeps account of a decision on a host that may have promised room.
    pub(super) fn use_promised(
        &mut self,
        class: &ClassPlan,
        rank: Rank,
        site: SiteId,
        host: HostId,
        gpu_indices: &[u32],
    ) {
        self.promises_stale = true;
        let is_kept = |promise: &Promise| rank > promise.rank && rank.2 != promise.rank.2;
        let own = self.promises.iter().find(|(_, promise)| promise.rank.2 == rank.2);
        if let Some(own) = own.map(|(site, _)| *site) {
            self.break_promise(own);
        }
        match self.promises.get_mut(&site).filter(|promise| promise.host == host) {
            Some(promise) if is_kept(promise) => {
                let hosts = &self.view.sites[&site].hosts;
                let position = hosts.position(host).expect("a promise is of a host in the view");
                let amounts = hosts.slots[position].amounts_of(&class.need, gpu_indices);
                let until = after(self.planned_at, class.request.walltime_ms_max);
                promise.profile.take(self.planned_at, until, &amounts);
            }
            Some(_) => self.break_promise(site),
            None => {}
        }
        if !self.promises.contains_key(&site) {
            // Who waits here had room when promises were made, and may have none now.
            self.promises_due |= self.full.get(&site).is_some_and(|ranks| !ranks.is_empty());
        }
    }

    fn break_promise(&mut self, site: SiteId) {
        let promise = self.promises.remove(&site).expect("the caller has found it");
        self.promises_due = true;
        if promise.has_turned_away {
            self.gain(site, promise.host);
        }
    }

    /// A class found no room at a site; notes it if that is only because of what is promised there.
    pub(super) fn note_turned_away(
        &mut self,
        site: SiteId,
        need: &Need,
        model: Option<u16>,
        allowed: Option<&Allowed>,
    ) {
        let kept_off = allowed.filter(|allowed| allowed.gpu_indices.is_none());
        if let Some((kept_off, promise)) = kept_off.zip(self.promises.get_mut(&site)) {
            let hosts = &self.view.sites[&site].hosts;
            let slot = hosts.position(kept_off.host).map(|position| &hosts.slots[position]);
            promise.has_turned_away |= slot.is_some_and(|slot| slot.fit(need, model).is_some());
        }
    }

    /// A host that was kept for somebody may have room for others.
    fn gain(&mut self, site: SiteId, host: HostId) {
        let grown = self.grown.entry(site).or_default();
        grown.looked_at = None;
        grown.hosts.insert(host);
    }

    /// Makes the promises anew if something has changed since they were made.
    pub(super) fn renew_promises(&mut self, state: &State) {
        let is_past = |promise: &Promise| promise.start <= self.planned_at;
        if self.promises_stale || self.promises.values().any(is_past) {
            self.make_promises(state);
        }
    }

    /// A class was looked at; if it is blocked now and comes before one that is promised room, it is promised instead.
    pub(super) fn promise_blocked(&mut self, state: &State, class: ClassId) {
        let plan = self.classes.get(&class).expect("it was just looked at");
        let rank = plan.waits_as.filter(|_| plan.standing == Standing::Parked);
        let is_behind = |site: &SiteId, rank: Rank| self.promises.get(site).is_none_or(|promise| rank < promise.rank);
        let is_first = rank.is_some_and(|rank| {
            let is_promised = self.promises.values().any(|promise| promise.rank == rank);
            let mut full = plan.offers.iter().filter(|offer| offer.full);
            !is_promised && full.any(|offer| is_behind(&offer.site, rank))
        });
        if is_first || self.promises_due {
            self.make_promises(state);
        }
    }

    /// Makes all promises anew, in the order of the classes; what is the same as before changes nothing.
    fn make_promises(&mut self, state: &State) {
        (self.promises_stale, self.promises_due) = (false, false);
        let old = std::mem::take(&mut self.promises);
        let sites = || self.full.iter().filter(|(site, _)| self.open.contains(site));
        let waiting: BTreeSet<Rank> = sites()
            .flat_map(|(_, ranks)| ranks.keys().take(CLASSES_SEEN_MAX))
            .copied()
            .collect();
        let wanted = sites().filter(|(_, ranks)| !ranks.is_empty()).count();
        let mut promises = Promises::new();
        for rank in waiting {
            if promises.len() == wanted {
                break;
            }
            let class = self
                .classes
                .get(&rank.2)
                .filter(|class| class.standing == Standing::Parked);
            let Some(class) = class else { continue };
            let sites: BTreeSet<SiteId> = class
                .offers
                .iter()
                .filter(|offer| offer.full)
                .map(|offer| offer.site)
                .collect();
            let free = sites.into_iter().filter(|site| !promises.contains_key(site));
            let found = free.filter_map(|site| Some((site, self.promise(state, class, rank, site)?)));
            if let Some((site, promise)) = found.min_by_key(|(site, promise)| (promise.start, *site)) {
                promises.insert(site, promise);
            }
        }
        self.promises = promises;
        for (site, old) in old.into_iter().filter(|(_, old)| old.has_turned_away) {
            let same = self.promises.get_mut(&site).filter(|new| new.host == old.host);
            match same {
                Some(new) if new.start <= old.start && new.rank == old.rank => new.has_turned_away = true,
                _ => self.gain(site, old.host),
            }
        }
    }

    /// The earliest start of a class at a site where it is blocked.
    fn promise(&self, state: &State, class: &ClassPlan, rank: Rank, site: SiteId) -> Option<Promise> {
        let offers = class.offers.iter().filter(|offer| offer.site == site && offer.full);
        let payable = offers.filter(|offer| price::affordable(state, &self.flights, class.request.org, &offer.bill));
        let models: Vec<Option<u16>> = payable.map(|offer| offer.model).collect();
        let host = self.first_with_room(state, &class.need, &models, site)?;
        let hosts = &self.view.sites.get(&site)?.hosts;
        let slot = &hosts.slots[hosts.position(host)?];
        let mut profile = self.profile(state, slot);
        let limit_ms = class.request.walltime_ms_max;
        let start_with = |model: &Option<u16>| {
            profile.earliest(self.planned_at, limit_ms, |free| {
                slot.with(free).fit(&class.need, *model).is_some()
            })
        };
        let (start, model) = models
            .iter()
            .filter_map(|model| Some((start_with(model)?, *model)))
            .min()?;
        let until = after(start, limit_ms);
        let gpu_indices = slot.with(&profile.least(start, until)).fit(&class.need, model)?;
        profile.take(start, until, &slot.amounts_of(&class.need, &gpu_indices));
        Some(Promise {
            rank,
            host,
            start,
            profile,
            has_turned_away: false,
        })
    }

    /// The host that has room first when what runs ends at its limit; or, when that is too far to look, the one that could
    /// hold it and is empty first.
    fn first_with_room(&self, state: &State, need: &Need, models: &[Option<u16>], site: SiteId) -> Option<HostId> {
        let hosts = &self.view.sites.get(&site)?.hosts;
        let slot_of = |host: HostId| Some(&hosts.slots[hosts.position(host)?]);
        let fits = |slot: &Slot, free: &[u64]| {
            let slot = slot.with(free);
            models.iter().any(|model| slot.fit(need, *model).is_some())
        };
        let mut free: HashMap<HostId, Vec<u64>> = HashMap::new();
        for (_, host, task) in self.ends.at_site(site).take(ENDS_SEEN_MAX) {
            let Some(slot) = slot_of(*host).filter(|slot| slot.open) else {
                continue;
            };
            let free = free.entry(*host).or_insert_with(|| slot.amounts());
            add(free, &taken(state, slot, *task));
            if fits(slot, free) {
                return Some(*host);
            }
        }
        let fits_when_empty = |host: &HostId| {
            slot_of(*host).is_some_and(|slot| {
                let mut free = slot.amounts();
                for (_, task) in self.ends.on_host(*host) {
                    add(&mut free, &taken(state, slot, *task));
                }
                for flight in self.flights.on_host(*host) {
                    add(&mut free, &slot.amounts_of(&flight.need, &flight.decision.gpu_indices));
                }
                fits(slot, &free)
            })
        };
        let mut emptied = self.ends.emptied(site).take(ENDS_SEEN_MAX);
        // Where nothing runs yet, but something is in flight to.
        emptied
            .find(fits_when_empty)
            .or_else(|| self.flights.hosts().filter(fits_when_empty).min())
    }

    /// What a host has free over time, beside what runs there and what is in flight to it.
    fn profile(&self, state: &State, slot: &Slot) -> Profile {
        let now = self.planned_at;
        let mut profile = Profile::new(now, &slot.amounts());
        let mut free_from = |end: Timestamp, amounts: &[u64]| {
            let end = if end <= now { after(now, OVERDUE_MS) } else { end };
            profile.give(end, Timestamp(u64::MAX), amounts);
        };
        for (end, task) in self.ends.on_host(slot.id) {
            free_from(*end, &taken(state, slot, *task));
        }
        for flight in self.flights.on_host(slot.id) {
            let job = state.job(flight.decision.job);
            let limit_ms = job.map_or(0, |job| state.request(job).walltime_ms_max);
            let amounts = slot.amounts_of(&flight.need, &flight.decision.gpu_indices);
            free_from(after(flight.decided_at, limit_ms), &amounts);
        }
        profile
    }
}

fn after(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp(at.0.saturating_add(ms))
}

/// What a running attempt has of its host.
fn taken(state: &State, slot: &Slot, task: TaskId) -> Vec<u64> {
    match state.attempt(task).zip(state.job(task.job)) {
        Some((attempt, job)) => slot.amounts_of(&Need::of(&state.request(job).resources), &attempt.gpu_indices),
        None => vec![0; slot.amounts().len()],
    }
}

fn add(free: &mut [u64], amounts: &[u64]) {
    free.iter_mut().zip(amounts).for_each(|(free, amount)| *free += amount);
}
