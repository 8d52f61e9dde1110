//! When what runs on the hosts must have ended, by the limits it was placed with: where room comes free first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::state::State;
use crate::types::{HostId, SiteId, TaskId, Timestamp};

/// The ends of all running attempts. Read from the state once, then changed with every placement and every end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// Looked up only.
    of_host: HashMap<HostId, (SiteId, Vec<(Timestamp, TaskId)>)>,
    of_site: BTreeMap<SiteId, Site>,
}

#[derive(Clone, Debug, Default)]
struct Site {
    each: BTreeSet<(Timestamp, HostId, TaskId)>,
    /// The last of each host.
    last: BTreeSet<(Timestamp, HostId)>,
}

impl Ends {
    pub(crate) fn of(state: &State) -> Self {
        let mut ends = Self::default();
        for site in state.sites() {
            for task in state.running_at(site.id) {
                ends.begin(state, task);
            }
        }
        ends
    }

    /// An attempt was placed.
    pub(crate) fn begin(&mut self, state: &State, task: TaskId) {
        let Some((attempt, job)) = state.attempt(task).zip(state.job(task.job)) else {
            return;
        };
        let limit_ms = state.request(job).walltime_ms_max;
        let end = Timestamp(attempt.placed_at.0.saturating_add(limit_ms));
        let (_, of_host) = self
            .of_host
            .entry(attempt.host)
            .or_insert_with(|| (attempt.site, Vec::new()));
        let site = self.of_site.entry(attempt.site).or_default();
        if !site.each.insert((end, attempt.host, task)) {
            return;
        }
        let last = last(of_host);
        of_host.push((end, task));
        if last.is_none_or(|last| last < end) {
            site.last.extend([(end, attempt.host)]);
            last.map(|last| site.last.remove(&(last, attempt.host)));
        }
    }

    /// Attempts of a host may have ended.
    pub(crate) fn refresh(&mut self, state: &State, host: HostId) {
        let Some((site_id, of_host)) = self.of_host.get_mut(&host) else {
            return;
        };
        let site = self.of_site.entry(*site_id).or_default();
        let before = last(of_host);
        of_host.retain(|(end, task)| {
            let is_running = state.attempt(*task).is_some_and(|attempt| attempt.is_running());
            if !is_running {
                site.each.remove(&(*end, host, *task));
            }
            is_running
        });
        let after = last(of_host);
        if before != after {
            before.map(|last| site.last.remove(&(last, host)));
            site.last.extend(after.map(|last| (last, host)));
        }
        if of_host.is_empty() {
            self.of_host.remove(&host);
        }
    }

    /// Of a host, in no order.
    pub(crate) fn on_host(&self, host: HostId) -> &[(Timestamp, TaskId)] {
        self.of_host.get(&host).map_or(&[], |(_, ends)| ends)
    }

    /// Of a site, in order of time.
    pub(crate) fn at_site(&self, site: SiteId) -> impl Iterator<Item = &(Timestamp, HostId, TaskId)> {
        self.of_site.get(&site).into_iter().flat_map(|site| &site.each)
    }

    /// Hosts of a site where something runs, by when the last of it ends.
    pub(crate) fn emptied(&self, site: SiteId) -> impl Iterator<Item = HostId> + '_ {
        let site = self.of_site.get(&site);
        site.into_iter().flat_map(|site| &site.last).map(|(_, host)| *host)
    }
}

fn last(ends: &[(Timestamp, TaskId)]) -> Option<Timestamp> {
    ends.iter().map(|(end, _)| *end).max()
}
