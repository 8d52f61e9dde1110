//! When what runs on the hosts must have ended, by the limits it was placed with (or, of what has none of its own, is expected to
//! have ended): where room comes free first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::time::longer_ms;
use super::turns::{Turns, kind_of};
use crate::state::{Attempt, State};
use crate::types::{HostId, SiteId, TaskId, Timestamp};

/// Cores (thousandths) and memory (MiB) of an attempt.
pub(crate) type Size = (u64, u64);

/// A running attempt by when and where it ends.
pub(crate) type EndKey = (Timestamp, HostId, TaskId);

/// The ends of all running attempts. Read from the state once, then changed with every placement and every end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// Looked up only.
    of_host: HashMap<HostId, OfHost>,
    of_site: BTreeMap<SiteId, OfSite>,
    /// Those that are not limits but what is expected.
    expected: BTreeSet<(Timestamp, TaskId)>,
}

#[derive(Clone, Debug)]
struct OfHost {
    site: SiteId,
    ends: BTreeSet<(Timestamp, TaskId)>,
}

#[derive(Clone, Debug, Default)]
struct OfSite {
    each: BTreeMap<EndKey, Size>,
    /// The last of each host.
    last: BTreeSet<(Timestamp, HostId)>,
}

impl Ends {
    pub(crate) fn of(state: &State, turns: &Turns) -> Self {
        let mut ends = Self::default();
        for site in state.sites() {
            for task in state.running_at(site.id) {
                ends.begin(state, turns, task);
            }
        }
        ends
    }

    /// An attempt was placed.
    pub(crate) fn begin(&mut self, state: &State, turns: &Turns, task: TaskId) {
        let Some((attempt, job)) = state.attempt(task).zip(state.job(task.job)) else {
            return;
        };
        if !attempt.is_running() {
            return;
        }
        let request = state.request(job);
        let size = (request.resources.cpu_milli, request.resources.memory_mib);
        let kind = kind_of(state, request);
        let run_ms = if kind.limit_ms == 0 {
            turns.room_ms(&kind)
        } else {
            u64::MAX
        };
        self.insert(attempt, task, size, run_ms);
    }

    /// `run_ms`: how long it is expected to run; what is no less than its limit is its limit.
    fn insert(&mut self, attempt: &Attempt, task: TaskId, size: Size, run_ms: u64) {
        let limit_ms = attempt.walltime_ms_max;
        let end = Timestamp(attempt.placed_at.0.saturating_add(run_ms.min(limit_ms)));
        if run_ms < limit_ms {
            self.expected.insert((end, task));
        }
        let site = self.of_site.entry(attempt.site).or_default();
        for (host, _) in attempt.places() {
            let of_host = self.of_host.entry(host).or_insert_with(|| OfHost {
                site: attempt.site,
                ends: BTreeSet::new(),
            });
            let before = of_host.ends.last().map(|(last, _)| *last);
            of_host.ends.insert((end, task));
            site.each.insert((end, host, task), size);
            if before.is_none_or(|before| before < end) {
                before.map(|before| site.last.remove(&(before, host)));
                site.last.insert((end, host));
            }
        }
    }

    /// What should have ended by now, but is not held to it, is expected to run longer still; the hosts.
    pub(crate) fn run_over(&mut self, state: &State, now: Timestamp) -> Vec<HostId> {
        let mut changed = Vec::new();
        while let Some((end, task)) = self.expected.first().copied().filter(|(end, _)| *end <= now) {
            self.expected.remove(&(end, task));
            // Of what does not run any more, the end is on its way.
            let attempt = state.attempt(task).filter(|attempt| attempt.is_running());
            let Some((attempt, job)) = attempt.zip(state.job(task.job)) else {
                continue;
            };
            let resources = &state.request(job).resources;
            let run_ms = longer_ms(now.0.saturating_sub(attempt.placed_at.0), 0);
            for (host, _) in attempt.places() {
                self.remove(host, end, task);
                changed.push(host);
            }
            self.insert(attempt, task, (resources.cpu_milli, resources.memory_mib), run_ms);
        }
        changed
    }

    /// Attempts of a host may have ended; those that have.
    pub(crate) fn refresh(&mut self, state: &State, host: HostId) -> Vec<TaskId> {
        let Some(of_host) = self.of_host.get(&host) else {
            return Vec::new();
        };
        let is_over = |task: TaskId| state.attempt(task).is_none_or(|attempt| !attempt.is_running());
        let over: Vec<(Timestamp, TaskId)> = of_host
            .ends
            .iter()
            .copied()
            .filter(|(_, task)| is_over(*task))
            .collect();
        over.iter().for_each(|(end, task)| self.remove(host, *end, *task));
        over.into_iter().map(|(_, task)| task).collect()
    }

    /// A running attempt has another limit; its hosts.
    pub(crate) fn change(&mut self, state: &State, turns: &Turns, task: TaskId) -> Vec<HostId> {
        let places = state.attempt(task).into_iter().flat_map(Attempt::places);
        let hosts: Vec<HostId> = places.map(|(host, _)| host).collect();
        for host in &hosts {
            let ends = self.of_host.get(host).into_iter().flat_map(|of_host| &of_host.ends);
            if let Some((end, _)) = ends.copied().find(|(_, known)| *known == task) {
                self.remove(*host, end, task);
            }
        }
        self.begin(state, turns, task);
        hosts
    }

    fn remove(&mut self, host: HostId, end: Timestamp, task: TaskId) {
        self.expected.remove(&(end, task));
        let Some(of_host) = self.of_host.get_mut(&host) else {
            return;
        };
        let site = self.of_site.entry(of_host.site).or_default();
        let last = of_host.ends.last().map(|(last, _)| *last);
        of_host.ends.remove(&(end, task));
        site.each.remove(&(end, host, task));
        let after = of_host.ends.last().map(|(last, _)| *last);
        if last != after {
            last.map(|last| site.last.remove(&(last, host)));
            site.last.extend(after.map(|after| (after, host)));
        }
        if of_host.ends.is_empty() {
            self.of_host.remove(&host);
        }
    }

    /// Of a host, in order of time.
    pub(crate) fn on_host(&self, host: HostId) -> impl Iterator<Item = (Timestamp, TaskId)> + '_ {
        self.of_host
            .get(&host)
            .into_iter()
            .flat_map(|of_host| &of_host.ends)
            .copied()
    }

    /// Of a site, in order of time.
    pub(crate) fn at_site(&self, site: SiteId) -> impl Iterator<Item = (Timestamp, HostId, Size)> + '_ {
        self.from(site, None).map(|((end, host, _), size)| (end, host, size))
    }

    /// The same from behind one of them.
    pub(crate) fn from(&self, site: SiteId, from: Option<EndKey>) -> impl Iterator<Item = (EndKey, Size)> + '_ {
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let site = self.of_site.get(&site);
        let each = site
            .into_iter()
            .flat_map(move |site| site.each.range((from, Bound::Unbounded)));
        each.map(|(key, size)| (*key, *size))
    }

    /// Hosts of a site where something runs, by when the last of it ends.
    pub(crate) fn emptied(&self, site: SiteId) -> impl Iterator<Item = HostId> + '_ {
        let site = self.of_site.get(&site);
        site.into_iter().flat_map(|site| &site.last).map(|(_, host)| *host)
    }
}
