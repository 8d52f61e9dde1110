//! The view that work is placed over: what every host has free, less what is decided but not yet applied, with an index
//! per site. Built from the state, changed host by host; it decides nothing.

use std::collections::{BTreeMap, HashMap};

use super::hosts::{Hosts, Need, Slot};
use super::lane::{Ask, Lane};
use super::need::GpuNeed;
use crate::state::{Host, State};
use crate::types::{HostId, SiteId};

/// A place found for one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Smaller strands less.
    pub(crate) key: u64,
    pub(crate) host: HostId,
    pub(crate) gpu_indices: Vec<u32>,
}

/// A host that is kept for somebody, and the devices that a task may have there all the same.
pub(crate) struct Kept<'a> {
    pub(crate) position: usize,
    pub(crate) room: &'a dyn Fn(&Slot) -> Option<Vec<u32>>,
}

/// The hosts of one site and the indexes over them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteView {
    pub(crate) hosts: Hosts,
    all: Lane,
    by_model: Vec<Lane>,
}

impl SiteView {
    pub(crate) fn of(state: &State, site: SiteId) -> Self {
        let hosts = Hosts::of(state, site);
        let lane = |model| Lane::new(hosts.slots.iter().map(|slot| slot.room(model)).collect());
        let all = lane(None);
        let by_model = (0..hosts.models.len()).map(|model| lane(Some(model as u16))).collect();
        Self { hosts, all, by_model }
    }

    /// The host where the task strands least, and its devices (all of `model`).
    pub(crate) fn find(&self, need: &Need, model: Option<u16>, kept: Option<&Kept<'_>>) -> Option<Spot> {
        let kept_at = |position: usize| kept.filter(|kept| kept.position == position);
        let accept = |position: usize| {
            let slot = &self.hosts.slots[position];
            slot.has_generic(need) && kept_at(position).is_none_or(|kept| (kept.room)(slot).is_some())
        };
        let lane = model.map_or(&self.all, |model| &self.by_model[usize::from(model)]);
        let ask = need.ask();
        let (key, position) = match need.gpu {
            GpuNeed::Nothing => lane.tightest(&ask, accept),
            // A device in use already, before an untouched one is broken.
            GpuNeed::Share(milli) => lane
                .tightest(&Ask { part: milli, ..ask }, accept)
                .or_else(|| lane.tightest(&Ask { whole: 1, ..ask }, accept)),
            GpuNeed::Whole(count) => lane.tightest(&Ask { whole: count, ..ask }, accept),
        }?;
        let slot = &self.hosts.slots[position];
        let gpu_indices = match kept_at(position) {
            Some(kept) => (kept.room)(slot),
            None => slot.devices_for(need, model),
        };
        let gpu_indices = gpu_indices.expect("the index knows the devices of its hosts");
        Some(Spot {
            key,
            host: slot.id,
            gpu_indices,
        })
    }

    fn reindex(&mut self, position: usize) {
        let slot = &self.hosts.slots[position];
        self.all.set(position, slot.room(None));
        for (model, lane) in self.by_model.iter_mut().enumerate() {
            lane.set(position, slot.room(Some(model as u16)));
        }
    }
}

/// All sites.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) sites: BTreeMap<SiteId, SiteView>,
    /// Looked up only.
    sites_of: HashMap<HostId, SiteId>,
}

impl View {
    pub(crate) fn of(state: &State) -> Self {
        let mut view = Self::default();
        for site in state.sites() {
            view.rebuild(state, site.id);
        }
        view
    }

    /// Reads one site afresh.
    pub(crate) fn rebuild(&mut self, state: &State, id: SiteId) {
        let site = SiteView::of(state, id);
        self.sites_of.retain(|_, site| *site != id);
        self.sites_of.extend(site.hosts.slots.iter().map(|slot| (slot.id, id)));
        self.sites.insert(id, site);
    }

    /// Where a host stands.
    pub(crate) fn site_of(&self, host: HostId) -> Option<SiteId> {
        self.sites_of.get(&host).copied()
    }

    /// Reads one host afresh; `false` if it is unknown or its devices changed, so that its site must be rebuilt.
    pub(crate) fn refresh(&mut self, host: &Host) -> bool {
        let site = self.sites_of.get(&host.id).and_then(|site| self.sites.get_mut(site));
        let Some((site, position)) = site.and_then(|site| site.hosts.refresh(host).map(|position| (site, position)))
        else {
            return false;
        };
        site.reindex(position);
        true
    }

    /// Takes a task's needs out of what is free.
    pub(crate) fn reserve(&mut self, host: HostId, need: &Need, gpu_indices: &[u32]) {
        let site = self.sites_of.get(&host).and_then(|site| self.sites.get_mut(site));
        if let Some(site) = site
            && let Some(position) = site.hosts.reserve(host, need, gpu_indices)
        {
            site.reindex(position);
        }
    }
}
