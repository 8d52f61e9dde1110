//! When the hosts of a gang are free together: those with room now, and of the others those that have it first, by the limits of what
//! runs there. What is promised to the gang at the head of a site is that many hosts from that instant on, so that no stream of
//! small work keeps it waiting for ever.

use std::collections::{BTreeSet, HashMap};

use super::class::{ClassPlan, Rank};
use super::ends::Size;
use super::hosts::Slot;
use super::planner::Planner;
use super::promises::{Promise, has_devices};
use crate::state::State;
use crate::types::{HostId, SiteId, Timestamp};

/// Ends of a site looked through for hosts that have room in time.
const ENDS_SEEN_MAX: usize = 4_096;
/// Hosts beyond those, by when the last that runs there ends.
const EMPTIED_SEEN_MAX: usize = 1_024;

/// Hosts on the way to being enough.
#[derive(Default)]
struct Chosen {
    hosts: Vec<HostId>,
    /// Looked at, with when each has room.
    next: BTreeSet<(Timestamp, HostId)>,
    /// All of both, and those that never have room.
    seen: BTreeSet<HostId>,
}

impl Chosen {
    fn look_at(&mut self, host: HostId, since: Option<Timestamp>) {
        if self.seen.insert(host) {
            self.next.extend(since.map(|since| (since, host)));
        }
    }

    /// Takes those that have room by an instant, the first ones first, up to `wanted`; whether those are enough.
    fn take(&mut self, until: Timestamp, wanted: usize) -> bool {
        while self.hosts.len() < wanted
            && let Some(&(since, host)) = self.next.first()
            && since <= until
        {
            self.next.pop_first();
            self.hosts.push(host);
        }
        self.hosts.len() == wanted
    }
}

impl Planner {
    /// The earliest start of a gang at a site where it is blocked, as far as one looks.
    pub(super) fn promise_together(
        &self,
        state: &State,
        class: &ClassPlan,
        rank: Rank,
        site: SiteId,
        models: &[Option<u16>],
    ) -> Option<Promise> {
        let promises = models.iter().filter_map(|model| {
            let hosts = self.first_free(state, class, site, *model)?;
            self.promise_on(state, class, rank, site, &hosts, std::slice::from_ref(model))
        });
        promises.min_by_key(|promise| promise.start)
    }

    /// As many hosts as the gang needs, those that have room first.
    fn first_free(&self, state: &State, class: &ClassPlan, site: SiteId, model: Option<u16>) -> Option<Vec<HostId>> {
        let view = self.view.sites.get(&site)?;
        let (need, wanted) = (&class.need, class.request.nodes.count() as usize);
        let slot_of = |host: HostId| {
            let slot = &view.hosts.slots[view.hosts.position(host)?];
            (slot.open && has_devices(slot, need, &[model])).then_some(slot)
        };
        let since = |slot: &Slot| self.has_room_since(class, slot, &self.profile(state, slot), model);
        let mut chosen = Chosen::default();
        for host in view.free_now(need, model) {
            chosen.look_at(host, Some(self.planned_at));
        }
        let mut free: HashMap<HostId, Size> = HashMap::new();
        for (end, host, (cpu_milli, memory_mib)) in self.ends.at_site(site).take(ENDS_SEEN_MAX) {
            if chosen.take(end.max(self.planned_at), wanted) {
                return Some(chosen.hosts);
            }
            let Some(slot) = slot_of(host).filter(|_| !chosen.seen.contains(&host)) else {
                continue;
            };
            let free = free.entry(host).or_insert((slot.cpu_milli, slot.memory_mib));
            *free = (free.0 + cpu_milli, free.1 + memory_mib);
            if free.0 >= need.cpu_milli && free.1 >= need.memory_mib {
                chosen.look_at(host, since(slot));
            }
        }
        // Those that are empty last, and where nothing runs yet but something is in flight to.
        let in_flight: BTreeSet<HostId> = self.flights.hosts().collect();
        for host in self.ends.emptied(site).take(EMPTIED_SEEN_MAX).chain(in_flight) {
            if let Some(slot) = slot_of(host).filter(|_| !chosen.seen.contains(&host)) {
                chosen.look_at(host, since(slot));
            }
        }
        chosen.take(Timestamp(u64::MAX), wanted).then_some(chosen.hosts)
    }
}
