//! What wakes a class: how the planner reads what changed since the last pass, and its queues of classes.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::class::{ClassPlan, Rank, Standing};
use super::lending::Gate;
use super::planner::{FLIGHT_MS_MAX, Grown, IDLE_MS_MAX, MONEY_RETRY_MS, Planner, RETRIES_MAX};
use super::promises::Promise;
use crate::state::State;
use crate::types::{ClassId, HostId, JobId, SiteId, Timestamp};

impl Planner {
    /// A decision was judged, or was never proposed.
    pub(super) fn land(&mut self, state: &State, job: JobId, task: u32, refused: bool) {
        let Some(flight) = self.flights.end(job, task) else {
            return;
        };
        self.turns.fair.discharge(&flight);
        if refused {
            self.ease(Gate::Lend(flight.site));
            self.ease(Gate::Quota(flight.org));
        }
        if self.short.contains_key(&flight.org) {
            self.changed.orgs.insert(flight.org);
        }
        let class = self.classes.get_mut(&flight.class);
        if refused {
            let places = flight.decision.places();
            self.changed.hosts.extend(places.map(|(host, _)| host));
            if let Some(class) = class {
                class.refused(flight.decided_at, self.planned_at);
            }
            self.look_again(state, job, task);
        } else if let Some(class) = class {
            // The capacity it had in flight is now reserved in the state: nothing to read again.
            class.refusals = 0;
            class.waited_for = 0;
        }
    }

    /// Something happened to a job. New jobs are ahead of every cursor; here it is about those already passed.
    pub(super) fn look_again(&mut self, state: &State, id: JobId, from_task: u32) {
        let Some(job) = state.job(id) else { return };
        let Some(class) = self.classes.get_mut(&job.class) else {
            return;
        };
        let wake = if job.placeable() > 0 {
            class.look_again(id, from_task)
        } else {
            class.standing == Standing::Parked && state.pending_jobs_count(job.class) == 0
        };
        if wake {
            self.changed.classes.insert(job.class);
        }
    }

    pub(super) fn drop_overdue(&mut self, state: &State, now: Timestamp) {
        for (job, task) in self.flights.overdue(Timestamp(now.0.saturating_sub(FLIGHT_MS_MAX))) {
            self.land(state, job, task, true);
        }
    }

    pub(super) fn read_hosts(&mut self, state: &State) {
        for id in std::mem::take(&mut self.changed.hosts) {
            let Some(host) = state.host(id) else { continue };
            self.ease(Gate::Lend(host.site));
            if self.view.refresh(host) {
                self.reserve_flights(id);
                self.promises.changed.insert(id);
                let grown = self.grown.entry(host.site).or_default();
                grown.look_again();
                grown.hosts.insert(id);
            } else {
                self.changed.sites.insert(host.site);
            }
        }
    }

    pub(super) fn read_sites(&mut self, state: &State, site_up: &dyn Fn(SiteId) -> bool) {
        let mut look_everywhere = false;
        for id in std::mem::take(&mut self.changed.sites) {
            self.view.rebuild(state, id);
            self.turns.fair.measure(state, id);
            let hosts: Vec<HostId> = self.view.sites[&id].hosts.slots.iter().map(|slot| slot.id).collect();
            for host in hosts {
                self.reserve_flights(host);
            }
            let promised = self.promises.at(id).into_iter().flat_map(Promise::hosts);
            self.promises.changed.extend(promised.collect::<Vec<_>>());
            self.promises.due.insert(id);
            self.rules += 1;
            look_everywhere = true;
        }
        for site in state.sites() {
            if !site.takes_work() || !site_up(site.id) {
                self.open.remove(&site.id);
            } else if self.open.insert(site.id) {
                look_everywhere = true;
            }
        }
        if look_everywhere {
            self.retry_parked();
        }
    }

    fn reserve_flights(&mut self, host: HostId) {
        for flight in self.flights.on_host(host) {
            self.view.reserve(host, &flight.need, flight.decision.devices_on(host));
        }
        self.reserve_kept(host);
    }

    pub(super) fn read_money(&mut self, state: &State, now: Timestamp) {
        if std::mem::take(&mut self.changed.rules) {
            self.rules += 1;
            self.retry_parked();
        }
        for org in std::mem::take(&mut self.changed.orgs) {
            self.ease(Gate::Quota(org));
            // Without vouchers a price does not depend on funds; whether the wallet bears it is asked at each decision.
            if state.ledger().vouchers_in_use(org).next().is_some() {
                *self.funds.entry(org).or_default() += 1;
            }
            for class in self.short.remove(&org).unwrap_or_default() {
                self.retry(class);
            }
        }
        if now.0 >= self.money_looked_at.0.saturating_add(MONEY_RETRY_MS) {
            self.money_looked_at = now;
            for class in std::mem::take(&mut self.short).into_values().flatten() {
                self.retry(class);
            }
        }
    }

    pub(super) fn read_classes(&mut self, state: &State, now: Timestamp) {
        for id in std::mem::take(&mut self.changed.classes) {
            self.wake(state, now, id);
        }
        while self.delayed.first().is_some_and(|(until, _)| *until <= now) {
            let (until, id) = self.delayed.pop_first().expect("it has a first");
            if self
                .classes
                .get(&id)
                .is_some_and(|class| class.standing == Standing::Delayed(until))
            {
                self.restand(state, now, id);
            }
        }
        for _ in 0..RETRIES_MAX.min(self.retry.len()) {
            let id = self.retry.pop_front().expect("as many as counted");
            if let Some(class) = self.classes.get_mut(&id) {
                class.retrying = false;
                if class.standing == Standing::Parked {
                    self.restand(state, now, id);
                }
            }
        }
    }

    /// A class has, or may have, tasks it had not before.
    fn wake(&mut self, state: &State, now: Timestamp, id: ClassId) {
        let Some(request) = state.class(id).map(|class| &class.request) else {
            return;
        };
        if self.classes.get(&id).is_some_and(|class| !is_of(class, request)) {
            // The number was given to another request since.
            let mut class = self.classes.remove(&id).expect("it was just found");
            self.wait_no_more(&mut class);
            self.turns.fair.leave(class.request.org, id);
            if let Standing::Ready(rank) = class.standing {
                self.ready.remove(&rank);
            }
        }
        let class = match self.classes.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.turns.fair.join(state, now, request.org, id);
                entry.insert(Box::new(ClassPlan::new(state, &self.turns, request)))
            }
        };
        match class.standing {
            Standing::Parked if state.pending_jobs_count(id) > 0 => self.wait_earlier(state, id),
            Standing::Delayed(_) => {}
            Standing::Ready(rank) => {
                self.ready.remove(&rank);
                self.restand(state, now, id);
            }
            Standing::Parked | Standing::Idle => self.restand(state, now, id),
        }
    }

    /// A parked class got an older task back: it waits for room in that one's place.
    fn wait_earlier(&mut self, state: &State, id: ClassId) {
        let class = self.classes.get_mut(&id).expect("the caller has it");
        let Some(old) = class.waits_as else { return };
        let next = class.next_task(state, id, &self.flights);
        let next = next.map(|(job, _)| class.rank(state, &self.turns, id, job));
        let Some(new) = next.filter(|new| *new < old) else {
            return;
        };
        self.wait_as(id, old, new);
    }

    /// A class waits for room in another place than before.
    pub(super) fn wait_as(&mut self, id: ClassId, old: Rank, new: Rank) {
        let mut class = self.classes.remove(&id).expect("the caller has it");
        class.waits_as = Some(new);
        self.wait_at_gates_as(&mut class, old, new);
        let class = self.classes.entry(id).or_insert(class);
        let mut sites = BTreeSet::new();
        for offer in class.offers.iter().filter(|offer| offer.full) {
            sites.insert(offer.site);
            let ranks = self.full.entry(offer.site).or_default();
            ranks.remove(&old);
            ranks.insert(new, class.wanted());
            // It may not have been its turn yet since the site grew.
            self.grown.entry(offer.site).and_modify(Grown::look_again);
        }
        sites.into_iter().for_each(|site| self.pass_promised(site, old, new));
    }

    /// Ready if it has a task to place, idle otherwise.
    fn restand(&mut self, state: &State, now: Timestamp, id: ClassId) {
        let Some(mut class) = self.classes.remove(&id) else {
            return;
        };
        let next = class.next_task(state, id, &self.flights);
        let next = next.map(|(job, _)| class.rank(state, &self.turns, id, job));
        self.stand(now, id, &mut class, next.map_or(Standing::Idle, Standing::Ready));
        self.classes.insert(id, class);
    }

    /// Enters the class into the queue of its standing.
    pub(super) fn stand(&mut self, now: Timestamp, id: ClassId, class: &mut ClassPlan, standing: Standing) {
        class.standing = standing;
        class.used_at = now;
        match standing {
            Standing::Idle => {
                self.wait_no_more(class);
                self.idle.push_back((now, id));
            }
            Standing::Ready(rank) => {
                self.ready.insert(rank);
            }
            Standing::Delayed(until) => {
                self.delayed.insert((until, id));
            }
            Standing::Parked => {}
        }
    }

    pub(super) fn retry(&mut self, id: ClassId) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        if class.standing == Standing::Parked && !class.retrying {
            class.retrying = true;
            self.retry.push_back(id);
        }
    }

    fn retry_parked(&mut self) {
        let parked = self
            .classes
            .iter()
            .filter(|(_, class)| class.standing == Standing::Parked);
        let mut parked: Vec<ClassId> = parked.map(|(id, _)| *id).collect();
        // The table has no order of its own, and the order shows in what is decided.
        parked.sort_unstable();
        parked.into_iter().for_each(|id| self.retry(id));
    }

    /// The next class to look at, taken out of the queue it was in.
    pub(super) fn next_class(&mut self, state: &State) -> Option<ClassId> {
        let rank = self.next_rank(state)?;
        self.ready.remove(&rank);
        Some(rank.3)
    }

    /// The first in order of those that are ready and those that waited for room that is there now.
    pub(super) fn next_rank(&mut self, state: &State) -> Option<Rank> {
        let mut next = self.ready.first().copied();
        let grown: Vec<SiteId> = self.grown.keys().copied().collect();
        for site in grown {
            next = self.next_to_fit(site, next).or(next);
        }
        let eased: Vec<Gate> = self.gates.eased.keys().copied().collect();
        for gate in eased {
            next = self.next_to_let_in(state, gate, next).or(next);
        }
        next
    }

    /// The first class before `bound` that was turned away at a site and fits now. Room only shrinks during a pass, so who
    /// does not fit is not asked again until the site grows again.
    fn next_to_fit(&mut self, site: SiteId, bound: Option<Rank>) -> Option<Rank> {
        loop {
            let rank = self.next_to_ask(site, bound)?;
            let class = self.classes.get(&rank.3).expect("a class that waits for room is known");
            if class.standing != Standing::Parked {
                let mut class = self.classes.remove(&rank.3).expect("it was just found");
                self.wait_no_more(&mut class);
                self.classes.insert(rank.3, class);
                continue;
            }
            let offers = class.offers.iter().filter(|offer| offer.site == site && offer.full);
            let models: Vec<Option<u16>> = offers.map(|offer| offer.model).collect();
            let mut asked = models.iter();
            if asked.any(|model| self.has_room(class, rank, site, *model)) {
                return Some(rank);
            }
            let need = class.need.clone();
            for model in models {
                self.note_turned_away(&need, rank, site, model);
            }
            let grown = self.grown.entry(site).or_default();
            (grown.looked_at, grown.next) = (Some(rank), None);
        }
    }

    /// Takes the class out of all queues for room; every site is worth asking again.
    pub(super) fn wait_no_more(&mut self, class: &mut ClassPlan) {
        let Some(rank) = class.waits_as.take() else { return };
        self.leave_gates(class, rank);
        for offer in class.offers.iter_mut().filter(|offer| offer.full) {
            offer.full = false;
            if let Some(ranks) = self.full.get_mut(&offer.site) {
                ranks.remove(&rank);
            }
        }
    }

    /// Forgets classes that had nothing to place for a while.
    pub(super) fn forget_idle(&mut self, state: &State, now: Timestamp) {
        let limit = Timestamp(now.0.saturating_sub(IDLE_MS_MAX));
        while self.idle.front().is_some_and(|(since, _)| *since < limit) {
            let (_, id) = self.idle.pop_front().expect("it has a front");
            let Some(class) = self.classes.get(&id) else { continue };
            if class.standing == Standing::Idle && class.used_at < limit && state.pending_jobs_count(id) == 0 {
                let mut class = self.classes.remove(&id).expect("it was just found");
                self.wait_no_more(&mut class);
                self.turns.fair.leave(class.request.org, id);
            }
        }
    }
}

fn is_of(class: &ClassPlan, request: &Arc<crate::types::Request>) -> bool {
    Arc::ptr_eq(&class.request, request) || class.request == *request
}
