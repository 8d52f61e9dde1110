//! Room promised to those who wait: EASY backfill over the hosts. The first classes in order that are blocked are promised their
//! earliest start, one class a site, on one host there (a gang: on as many as it needs, from when they are free together), by
//! the limits of what runs on it (of what has none, by what is expected of it); whoever comes after may use that host only
//! without delaying that. Kept from pass to pass and changed only where something has happened, so that a pass costs no more
//! than what has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::class::{ClassPlan, Rank, Standing};
use super::filter;
use super::hosts::{Hosts, Need, Slot};
use super::lane::Room;
use super::need::GpuNeed;
use super::parked::{Parked, Wanted};
use super::planner::Planner;
use super::price;
use super::time::Profile;
use super::turns::kind_of;
use super::view::Spot;
use crate::command::Decision;
use crate::state::State;
use crate::types::{ClassId, HostId, Request, SiteId, TaskId, Timestamp};

/// Ends of a site looked through for the first host with room.
const ENDS_SEEN_MAX: usize = 256;
/// Hosts whose time is looked at for that; then the host that is empty first is taken.
const HOSTS_TRIED_MAX: usize = 8;
/// Hosts looked at for one that could hold it when it is empty.
const EMPTIED_SEEN_MAX: usize = 256;
/// Waiting classes of a site looked through for one that can use a promise.
const CLASSES_SEEN_MAX: usize = 64;
/// Hosts with an unexpected end that are tried a pass for an earlier start.
const EARLIER_TRIED_MAX: usize = 8;
/// What should have ended by now is expected to end so much later.
const OVERDUE_MS: u64 = 60_000;

/// Room promised on one host, or on the hosts of a gang.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    /// To whom.
    pub(crate) rank: Rank,
    /// When the room is there, if nothing ends before its limit.
    pub(crate) start: Timestamp,
    /// In order of host.
    kept: Vec<KeptHost>,
    /// Somebody would have fitted there but for it: to be looked at again when it is over.
    has_turned_away: bool,
}

/// One host of a promise.
#[derive(Clone, Debug)]
struct KeptHost {
    host: HostId,
    /// When this host alone has the room.
    since: Timestamp,
    /// What it has free beside what runs and what is promised.
    profile: Profile,
}

/// All promises, and what has happened to them since they were last looked at.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// At most one a site, at most one a class.
    of_site: BTreeMap<SiteId, Promise>,
    /// Sites that have lost theirs.
    pub(super) due: BTreeSet<SiteId>,
    /// Hosts where something has ended, begun or changed otherwise.
    pub(super) changed: BTreeSet<HostId>,
}

impl Promise {
    /// Whether a class comes before the one it is promised to, or is that one: it may take everything.
    fn yields_to(&self, rank: Rank) -> bool {
        rank < self.rank || rank.3 == self.rank.3
    }

    /// The hosts it is on, in order.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.kept.iter().map(|kept| kept.host)
    }

    /// The promised hosts, as seen by those who come later and would start now.
    pub(super) fn beside<'a>(&self, hosts: &'a Hosts, now: Timestamp) -> Vec<Beside<'a>> {
        let beside = |kept: &KeptHost| {
            let slot = hosts.slot(kept.host)?;
            let least = kept.profile.least(now, after(self.start.max(now), 1));
            Some(Beside {
                slot,
                most: slot.most(),
                until_start_ms: self.start.0.saturating_sub(now.0),
                most_beyond: slot.with(&least).most(),
            })
        };
        self.kept.iter().filter_map(beside).collect()
    }

    fn on(&self, host: HostId) -> Option<&KeptHost> {
        let place = self.kept.binary_search_by_key(&host, |kept| kept.host).ok()?;
        Some(&self.kept[place])
    }

    fn on_mut(&mut self, host: HostId) -> Option<&mut KeptHost> {
        let place = self.kept.binary_search_by_key(&host, |kept| kept.host).ok()?;
        Some(&mut self.kept[place])
    }

    /// The host of a gang that has room last.
    fn last(&self) -> Option<&KeptHost> {
        self.kept.iter().max_by_key(|kept| (kept.since, kept.host))
    }

    /// Whether a request that fits on these hosts, and comes later, still does if it keeps off what is promised. Closes the promised hosts that it
    /// must keep off.
    pub(crate) fn leaves_room(
        &self,
        hosts: &mut Hosts,
        request: &Request,
        models: &[Option<Box<str>>],
        now: Timestamp,
        room_ms: u64,
    ) -> bool {
        let need = Need::of(&request.resources);
        let place = |name: &str| hosts.models.iter().position(|known| **known == *name);
        let models_here = models.iter().filter_map(|model| match model {
            Some(name) => place(name).map(|place| Some(place as u16)),
            None => Some(None),
        });
        let models_here: Vec<Option<u16>> = models_here.collect();
        for kept in &self.kept {
            let Some(position) = hosts.position(kept.host) else {
                continue;
            };
            let slot = &mut hosts.slots[position];
            let mut models = models_here.iter();
            if models.all(|model| kept.room_for(slot, &need, *model, now, room_ms).is_none()) {
                slot.open = false;
            }
        }
        filter::capacity(hosts, &need, request.nodes, models).is_empty()
    }
}

/// A promised host, as seen by those who come later.
pub(super) struct Beside<'a> {
    pub(super) slot: &'a Slot,
    /// What it has at most for those who have ended by the promised start.
    pub(super) most: Room,
    until_start_ms: u64,
    /// For those who have not.
    most_beyond: Room,
}

impl Beside<'_> {
    /// Whether there may be room on it.
    pub(super) fn has(&self, wanted: &Wanted) -> bool {
        let is_over = wanted.room_ms <= self.until_start_ms;
        let room = if is_over { &self.most } else { &self.most_beyond };
        room.has(&wanted.ask)
    }
}

impl KeptHost {
    /// The devices that a task may have without delaying the promised start.
    fn room_for(&self, slot: &Slot, need: &Need, model: Option<u16>, now: Timestamp, room_ms: u64) -> Option<Vec<u32>> {
        let least = self.profile.least(now, after(now, room_ms));
        slot.with(&least).fit(need, model)
    }
}

/// The hosts that are promised to somebody, as seen by work that would start there now and asks room for so long.
pub(crate) struct Kept<'a> {
    promise: &'a Promise,
    now: Timestamp,
    room_ms: u64,
}

impl Kept<'_> {
    /// How many hosts.
    pub(crate) fn count(&self) -> usize {
        self.promise.kept.len()
    }

    /// Whether it is one of them.
    pub(crate) fn keeps(&self, host: HostId) -> bool {
        self.promise.on(host).is_some()
    }

    /// The devices that it may have on one of them all the same.
    pub(crate) fn room(&self, slot: &Slot, need: &Need, model: Option<u16>) -> Option<Vec<u32>> {
        let kept = self.promise.on(slot.id)?;
        kept.room_for(slot, need, model, self.now, self.room_ms)
    }
}

impl Promises {
    /// What a site has promised.
    pub(crate) fn at(&self, site: SiteId) -> Option<&Promise> {
        self.of_site.get(&site)
    }

    /// Where a class is promised room, and since when it is there at the latest.
    pub(crate) fn to(&self, class: ClassId) -> Option<(SiteId, &Promise)> {
        let mut all = self.of_site.iter();
        all.find(|(_, promise)| promise.rank.3 == class)
            .map(|(site, promise)| (*site, promise))
    }

    /// The hosts that a site has promised to somebody before this rank, for work that would start now and
    /// asks room for so long.
    fn kept(&self, rank: Rank, site: SiteId, now: Timestamp, room_ms: u64) -> Option<Kept<'_>> {
        let promise = self.at(site).filter(|promise| !promise.yields_to(rank))?;
        Some(Kept { promise, now, room_ms })
    }

    /// Somebody keeps off what a site has promised.
    pub(super) fn turn_away(&mut self, site: SiteId) {
        if let Some(promise) = self.of_site.get_mut(&site) {
            promise.has_turned_away = true;
        }
    }

    /// Promises that stand.
    pub(crate) fn len(&self) -> usize {
        self.of_site.len()
    }
}

impl Planner {
    /// The hosts of a site where a task of the class strands least, of those where it delays nobody who is promised room.
    pub(super) fn find(&mut self, class: &ClassPlan, rank: Rank, site: SiteId, model: Option<u16>) -> Option<Spot> {
        let view = self.view.sites.get_mut(&site).expect("offers are of sites in the view");
        let room_ms = self.turns.room_ms(&class.kind);
        let kept = (self.promises).kept(rank, site, self.planned_at, room_ms);
        view.find(&class.need, class.request.nodes, model, kept.as_ref())
    }

    /// Whether there are such hosts.
    pub(super) fn has_room(&self, class: &ClassPlan, rank: Rank, site: SiteId, model: Option<u16>) -> bool {
        let view = self.view.sites.get(&site).expect("offers are of sites in the view");
        let room_ms = self.turns.room_ms(&class.kind);
        let kept = (self.promises).kept(rank, site, self.planned_at, room_ms);
        view.has_room(&class.need, class.request.nodes, model, kept.as_ref())
    }

    /// A class found no room at a site; notes it if that is only because of what is promised there.
    pub(super) fn note_turned_away(&mut self, need: &Need, rank: Rank, site: SiteId, model: Option<u16>) {
        let Some(promise) = self.promises.of_site.get_mut(&site) else {
            return;
        };
        if promise.has_turned_away || promise.yields_to(rank) {
            return;
        }
        let hosts = &self.view.sites[&site].hosts;
        let positions = promise.kept.iter().filter_map(|kept| hosts.position(kept.host));
        let mut slots = positions.map(|position| &hosts.slots[position]);
        promise.has_turned_away = slots.any(|slot| slot.fit(need, model).is_some());
    }

    /// When a class starts at a site, by the limits of what runs there, if nobody before it is promised room there.
    pub(super) fn earliest_at(&self, state: &State, class: &ClassPlan, rank: Rank, site: SiteId) -> Option<Timestamp> {
        match self.promises.at(site) {
            Some(promise) if promise.rank.3 == rank.3 => Some(promise.start),
            Some(promise) if promise.rank < rank => None,
            _ => Some(self.promise(state, class, rank, site)?.start),
        }
    }

    /// Keeps account of a decision on hosts that may have promised room. Before they are reserved.
    pub(super) fn use_promised(&mut self, class: &ClassPlan, rank: Rank, site: SiteId, decision: &Decision) {
        if let Some((own, _)) = self.promises.to(rank.3) {
            self.break_promise(own);
        }
        let Some(promise) = self.promises.of_site.get_mut(&site) else {
            return;
        };
        let yields = promise.yields_to(rank);
        for (host, gpu_indices) in decision.places() {
            let Some(kept) = promise.on_mut(host) else { continue };
            if yields {
                self.promises.changed.insert(host);
                continue;
            }
            let hosts = &self.view.sites[&site].hosts;
            let position = hosts.position(host).expect("a promise is of hosts in the view");
            let amounts = hosts.slots[position].amounts_of(&class.need, gpu_indices);
            let until = after(self.planned_at, self.turns.room_ms(&class.kind));
            kept.profile.advance(self.planned_at);
            kept.profile.take(self.planned_at, until, &amounts);
        }
    }

    /// Who is promised room waits in another place than before. If that is later, some who had to keep off come before it now.
    pub(super) fn move_promise(&mut self, old: Rank, new: Rank) {
        let mut all = self.promises.of_site.iter_mut();
        let Some((site, promise)) = all.find(|(_, promise)| promise.rank == old) else {
            return;
        };
        promise.rank = new;
        if new > old && promise.has_turned_away {
            let (site, hosts) = (*site, promise.hosts().collect());
            self.let_look(site, hosts);
        }
    }

    /// Who waits at a site comes before the one that is promised room there now: it may have what was kept from it.
    pub(super) fn pass_promised(&mut self, site: SiteId, old: Rank, new: Rank) {
        let promise = self.promises.at(site);
        if let Some(promise) = promise.filter(|promise| promise.yields_to(new) && !promise.yields_to(old)) {
            self.let_look(site, promise.hosts().collect());
        }
    }

    fn break_promise(&mut self, site: SiteId) {
        let promise = self.promises.of_site.remove(&site).expect("the caller has found it");
        self.promises.due.insert(site);
        self.gain(site, &promise);
    }

    /// Hosts that were kept for somebody may have room for others, if any were turned away.
    fn gain(&mut self, site: SiteId, promise: &Promise) {
        if promise.has_turned_away {
            self.let_look(site, promise.hosts().collect());
        }
    }

    /// Who waits for room at the site looks at these hosts once more.
    fn let_look(&mut self, site: SiteId, hosts: Vec<HostId>) {
        let grown = self.grown.entry(site).or_default();
        grown.look_again();
        grown.hosts.extend(hosts);
    }

    /// Brings the promises up to date with what has happened: at the start of a pass, and before the next class is looked at.
    pub(super) fn renew_promises(&mut self, state: &State) {
        let changed = std::mem::take(&mut self.promises.changed);
        let sites: Vec<SiteId> = self.promises.of_site.keys().copied().collect();
        for site in sites {
            let promise = &self.promises.of_site[&site];
            if !self.is_due(site, promise.rank) {
                self.break_promise(site);
            } else if promise.start <= self.planned_at || promise.hosts().any(|host| changed.contains(&host)) {
                self.renew(state, site);
            }
        }
        let elsewhere = changed
            .into_iter()
            .filter_map(|host| Some((self.view.site_of(host)?, host)));
        let elsewhere: Vec<(SiteId, HostId)> = elsewhere
            .filter(|(site, host)| (self.promises.at(*site)).is_some_and(|promise| promise.on(*host).is_none()))
            .take(EARLIER_TRIED_MAX)
            .collect();
        for (site, host) in elsewhere {
            self.start_earlier(state, site, host);
        }
        for site in std::mem::take(&mut self.promises.due) {
            self.promise_next(state, site);
        }
    }

    /// Whether a class still waits at a site for what was promised to it there.
    fn is_due(&self, site: SiteId, rank: Rank) -> bool {
        let Some(class) = self.classes.get(&rank.3).filter(|_| self.open.contains(&site)) else {
            return false;
        };
        match class.standing {
            Standing::Parked => {
                let mut offers = class.offers.iter();
                class.waits_as == Some(rank) && offers.any(|offer| offer.site == site && offer.full)
            }
            Standing::Ready(next) => next == rank,
            Standing::Idle | Standing::Delayed(_) => false,
        }
    }

    /// The same promise on the same hosts, as things stand now; a gang's on others where these come free later than they were to;
    /// or none.
    fn renew(&mut self, state: &State, site: SiteId) {
        let old = &self.promises.of_site[&site];
        let rank = old.rank;
        let class = &self.classes[&rank.3];
        let models = self.payable(state, class, site);
        let hosts: Vec<HostId> = old.hosts().collect();
        let same = self.promise_on(state, class, rank, site, &hosts, &models);
        let new = match same {
            Some(same) if same.start > old.start && class.request.nodes.is_gang() => {
                let other = self.promise(state, class, rank, site);
                Some(other.filter(|other| other.start < same.start).unwrap_or(same))
            }
            same => same,
        };
        match new {
            Some(new) => self.replace(site, new),
            None => self.break_promise(site),
        }
    }

    /// Who was turned away for a start that is later now, or on a host that is not kept any more, may fit; at an earlier one on the
    /// same hosts nobody who did not.
    fn replace(&mut self, site: SiteId, mut new: Promise) {
        let old = &self.promises.of_site[&site];
        let is_less = new.start > old.start || !new.hosts().eq(old.hosts());
        new.has_turned_away = old.has_turned_away && !is_less;
        let old = self.promises.of_site.insert(site, new).expect("it was just looked at");
        if is_less {
            self.gain(site, &old);
        }
    }

    /// Something ended on another host of the site than the promised one: the start may be earlier there.
    fn start_earlier(&mut self, state: &State, site: SiteId, host: HostId) {
        let Some(old) = self.promises.at(site) else { return };
        let (rank, start) = (old.rank, old.start);
        let Some(class) = self.classes.get(&rank.3) else { return };
        let models = self.payable(state, class, site);
        let mut new = self.promise_on(state, class, rank, site, &[host], &models);
        new = new.filter(|new| new.start < start);
        if class.request.nodes.is_gang()
            && let (Some(_), Some(last)) = (&new, old.last())
        {
            // In the place of the host that has room last.
            let mut hosts: Vec<HostId> = old.hosts().filter(|kept| *kept != last.host).collect();
            hosts.push(host);
            new = self.promise_on(state, class, rank, site, &hosts, &models);
        }
        if let Some(new) = new.filter(|new| new.start < start) {
            self.replace(site, new);
        }
    }

    /// A site has promised nothing: the first that waits there and is promised nothing elsewhere is next.
    fn promise_next(&mut self, state: &State, site: SiteId) {
        if self.promises.of_site.contains_key(&site) || !self.open.contains(&site) {
            return;
        }
        let ranks = self.full.get(&site).into_iter().flat_map(Parked::ranks);
        let waiting: Vec<Rank> = ranks.take(CLASSES_SEEN_MAX + self.promises.len()).collect();
        for rank in waiting {
            let class = self.classes.get(&rank.3);
            let Some(class) = class.filter(|class| class.standing == Standing::Parked) else {
                continue;
            };
            if self.promises.to(rank.3).is_none()
                && let Some(promise) = self.promise(state, class, rank, site)
            {
                self.promises.of_site.insert(site, promise);
                return;
            }
        }
    }

    /// A class was looked at. If it is blocked now and is promised nothing, it is promised its earliest start, at a site that has
    /// promised nothing to a class before it; who was promised that is promised another.
    pub(super) fn promise_blocked(&mut self, state: &State, mut id: ClassId) {
        loop {
            let Some(class) = self.classes.get(&id) else { return };
            let Some(rank) = class.waits_as.filter(|_| class.standing == Standing::Parked) else {
                return;
            };
            if let Some((site, promise)) = self.promises.to(id) {
                if promise.rank == rank && self.is_due(site, rank) {
                    return;
                }
                self.break_promise(site);
            }
            let class = &self.classes[&id];
            let sites: BTreeSet<SiteId> = class
                .offers
                .iter()
                .filter(|offer| offer.full && self.open.contains(&offer.site))
                .map(|offer| offer.site)
                .filter(|site| self.promises.at(*site).is_none_or(|promise| rank < promise.rank))
                .collect();
            let found = sites
                .into_iter()
                .filter_map(|site| Some((site, self.promise(state, class, rank, site)?)));
            let Some((site, promise)) = found.min_by_key(|(site, promise)| (promise.start, *site)) else {
                return;
            };
            self.promises.due.remove(&site);
            let Some(displaced) = self.promises.of_site.insert(site, promise) else {
                return;
            };
            self.gain(site, &displaced);
            id = displaced.rank.3;
        }
    }

    /// Models of the devices that a blocked class waits for at a site and can pay.
    pub(super) fn payable(&self, state: &State, class: &ClassPlan, site: SiteId) -> Vec<Option<u16>> {
        let offers = class.offers.iter().filter(|offer| offer.site == site && offer.full);
        let payable = offers.filter(|offer| price::affordable(state, &self.flights, class.request.org, &offer.bill));
        payable.map(|offer| offer.model).collect()
    }

    /// The earliest start of a class at a site where it is blocked, as far as one looks.
    fn promise(&self, state: &State, class: &ClassPlan, rank: Rank, site: SiteId) -> Option<Promise> {
        let models = self.payable(state, class, site);
        if models.is_empty() {
            return None;
        }
        if class.request.nodes.is_gang() {
            return self.promise_together(state, class, rank, site, &models);
        }
        let hosts = &self.view.sites.get(&site)?.hosts;
        let need = &class.need;
        let slot_of = |host: HostId| hosts.position(host).map(|position| &hosts.slots[position]);
        let mut free: HashMap<HostId, (u64, u64)> = HashMap::new();
        let mut tried = BTreeSet::new();
        for (end, host, (cpu_milli, memory_mib)) in self.ends.at_site(site).take(ENDS_SEEN_MAX) {
            let Some(slot) = slot_of(host).filter(|slot| slot.open) else {
                continue;
            };
            let free = free.entry(host).or_insert((slot.cpu_milli, slot.memory_mib));
            *free = (free.0 + cpu_milli, free.1 + memory_mib);
            if free.0 < need.cpu_milli || free.1 < need.memory_mib || !has_devices(slot, need, &models) {
                continue;
            }
            let promise = self.promise_on(state, class, rank, site, &[host], &models);
            if let Some(promise) = promise
                && (promise.start <= end || end <= self.planned_at)
            {
                return Some(promise);
            }
            tried.insert(host);
            if tried.len() == HOSTS_TRIED_MAX {
                break;
            }
        }
        let could_hold = |host: &HostId| {
            let is_large = state
                .host(*host)
                .is_some_and(|host| host.total.cpu_milli >= need.cpu_milli && host.total.memory_mib >= need.memory_mib);
            is_large && slot_of(*host).is_some_and(|slot| slot.open && has_devices(slot, need, &models))
        };
        let emptied = self.ends.emptied(site).take(EMPTIED_SEEN_MAX).filter(could_hold);
        let mut emptied = emptied.take(HOSTS_TRIED_MAX);
        let promise_on = |host: HostId| self.promise_on(state, class, rank, site, &[host], &models);
        emptied.find_map(promise_on).or_else(|| {
            // Where nothing runs yet, but something is in flight to.
            let in_flight: BTreeSet<HostId> = self.flights.hosts().filter(could_hold).collect();
            in_flight.into_iter().take(HOSTS_TRIED_MAX).find_map(promise_on)
        })
    }

    /// The earliest start of a class on these hosts, all of them together.
    pub(super) fn promise_on(
        &self,
        state: &State,
        class: &ClassPlan,
        rank: Rank,
        site: SiteId,
        hosts: &[HostId],
        models: &[Option<u16>],
    ) -> Option<Promise> {
        let view = &self.view.sites.get(&site)?.hosts;
        let open = |host: &HostId| Some(&view.slots[view.position(*host)?]).filter(|slot| slot.open);
        let slots: Vec<&Slot> = hosts.iter().map(open).collect::<Option<_>>()?;
        let profiles: Vec<Profile> = slots.iter().map(|slot| self.profile(state, slot)).collect();
        let room_ms = self.turns.room_ms(&class.kind);
        let since_with = |model: Option<u16>| {
            let each = slots.iter().zip(&profiles);
            let since = each.map(|(slot, profile)| self.has_room_since(class, slot, profile, model));
            since.collect::<Option<Vec<Timestamp>>>()
        };
        // What runs only ends, so that a host which has the room once keeps it: they have it together when the last of them does.
        let starts = models.iter().filter_map(|model| {
            let since = since_with(*model)?;
            Some((since.iter().copied().max()?, *model, since))
        });
        let (start, model, since) = starts.min()?;
        let until = after(start, room_ms);
        let mut kept = Vec::with_capacity(slots.len());
        for ((slot, mut profile), since) in slots.into_iter().zip(profiles).zip(since) {
            let gpu_indices = slot.with(&profile.least(start, until)).fit(&class.need, model)?;
            profile.take(start, until, &slot.amounts_of(&class.need, &gpu_indices));
            let host = slot.id;
            kept.push(KeptHost { host, since, profile });
        }
        kept.sort_unstable_by_key(|kept| kept.host);
        Some(Promise {
            rank,
            start,
            kept,
            has_turned_away: false,
        })
    }

    /// When a host has room for a task of the class.
    pub(super) fn has_room_since(
        &self,
        class: &ClassPlan,
        slot: &Slot,
        profile: &Profile,
        model: Option<u16>,
    ) -> Option<Timestamp> {
        profile.earliest(self.planned_at, self.turns.room_ms(&class.kind), |free| {
            slot.with(free).fit(&class.need, model).is_some()
        })
    }

    /// What a host has free over time, beside what runs there and what is in flight to it.
    pub(super) fn profile(&self, state: &State, slot: &Slot) -> Profile {
        let now = self.planned_at;
        let no_earlier = |end: Timestamp| if end <= now { after(now, OVERDUE_MS) } else { end };
        let running = self.ends.on_host(slot.id);
        let mut gains: Vec<(Timestamp, Vec<u64>)> = running
            .map(|(end, task)| (no_earlier(end), taken(state, slot, task)))
            .collect();
        gains.extend(self.flights.on_host(slot.id).map(|flight| {
            let job = state.job(flight.decision.job);
            let kind = job.map(|job| kind_of(state, state.request(job)));
            let room_ms = kind.map_or(0, |kind| self.turns.room_ms(&kind));
            let amounts = slot.amounts_of(&flight.need, flight.decision.devices_on(slot.id));
            (no_earlier(after(flight.decided_at, room_ms)), amounts)
        }));
        gains.sort_by_key(|(end, _)| *end);
        Profile::growing(now, &slot.amounts(), gains.into_iter())
    }
}

fn after(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp(at.0.saturating_add(ms))
}

/// Whether the host has devices enough of one of the models, free or not.
pub(super) fn has_devices(slot: &Slot, need: &Need, models: &[Option<u16>]) -> bool {
    need.gpu == GpuNeed::Nothing
        || models.iter().any(|model| {
            let of_model = slot.devices.iter().filter(|device| Some(device.0) == *model);
            of_model.count() >= need.gpu.devices()
        })
}

/// What a running attempt has of its host.
fn taken(state: &State, slot: &Slot, task: TaskId) -> Vec<u64> {
    match state.attempt(task).zip(state.job(task.job)) {
        Some((attempt, job)) => slot.amounts_of(&Need::of(&state.request(job).resources), attempt.devices_on(slot.id)),
        None => vec![0; slot.amounts().len()],
    }
}
