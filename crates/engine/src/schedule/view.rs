//! The view that work is placed over: what every host has free, less what is decided but not yet applied, with an index
//! per site. Built from the state, changed host by host; it decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::gang;
use super::hosts::{Hosts, Need};
use super::lane::{Ask, Lane};
use super::loss::{self, Profile};
use super::mix::Mix;
use super::need::GpuNeed;
use super::promises::Kept;
use super::ranking::Rankings;
use super::worth::{Table, Tables};
use crate::state::{Host, State};
use crate::types::{HostId, JobId, Nodes, Place, SiteId};

/// Hosts are valued anew when the tasks seen have grown by one part in so many, and at the latest after a part of the most.
const MIX_PARTS: u64 = 8;
const MIX_MAX: u64 = 1 << 16;

/// The place found for one task, or the places for a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Smaller strands less; of all sites alike.
    pub(crate) score: u64,
    pub(crate) host: HostId,
    pub(crate) gpu_indices: Vec<u32>,
    /// The further hosts of a gang; all rise by id.
    pub(crate) others: Vec<Place>,
}

/// The hosts of one site and the indexes over them.
#[derive(Debug, Default)]
pub(crate) struct SiteView {
    pub(crate) hosts: Hosts,
    all: Lane,
    by_model: Vec<Lane>,
    /// What devices are worth, by model.
    pub(super) tables: Vec<Arc<Table>>,
    /// Hosts as they are valued, by position.
    profiles: Vec<Profile>,
    rankings: Rankings,
}

impl SiteView {
    pub(crate) fn of(hosts: Hosts, tables: &mut Tables) -> Self {
        let lane = |model| Lane::new(hosts.slots.iter().map(|slot| slot.room(model)).collect());
        let all = lane(None);
        let by_model = (0..hosts.models.len()).map(|model| lane(Some(model as u16))).collect();
        let rankings = Rankings::new(hosts.slots.len());
        let mut site = Self {
            hosts,
            all,
            by_model,
            tables: Vec::new(),
            profiles: Vec::new(),
            rankings,
        };
        site.appraise(tables);
        site
    }

    /// Values all hosts by the tables of another mix.
    pub(crate) fn appraise(&mut self, tables: &mut Tables) {
        let models = self.hosts.models.iter();
        self.tables = models.map(|model| tables.of_model(model)).collect();
        let slots = self.hosts.slots.iter();
        self.profiles = slots.map(|slot| Profile::of(slot, &self.tables)).collect();
        self.rankings.clear();
    }

    /// Whether so many hosts have room for the task, on devices of `model`.
    pub(crate) fn has_room(&self, need: &Need, nodes: Nodes, model: Option<u16>, kept: Option<&Kept<'_>>) -> bool {
        let mut hosts = with_room(self.lane(model), need).filter(|position| {
            let slot = &self.hosts.slots[*position];
            let kept = kept.filter(|kept| kept.keeps(slot.id));
            slot.has_generic(need) && kept.is_none_or(|kept| kept.room(slot, need, model).is_some())
        });
        if !nodes.is_gang() {
            return hosts.next().is_some();
        }
        let mut distinct = BTreeSet::new();
        hosts.any(|position| distinct.insert(position) && distinct.len() == nodes.count() as usize)
    }

    /// Hosts that have room now, whatever is kept of them; none on devices of a model that is not here any more.
    pub(crate) fn free_now(&self, need: &Need, model: Option<u16>) -> impl Iterator<Item = HostId> {
        let lane = match model {
            None => Some(&self.all),
            Some(model) => self.by_model.get(usize::from(model)),
        };
        let positions = lane.into_iter().flat_map(move |lane| with_room(lane, need));
        let hosts = positions.map(|position| &self.hosts.slots[position]);
        hosts.filter(move |slot| slot.has_generic(need)).map(|slot| slot.id)
    }

    /// The hosts, so many, that lose least of their worth by the task, and the devices they lose least by (all of `model`).
    pub(crate) fn find(
        &mut self,
        need: &Need,
        nodes: Nodes,
        model: Option<u16>,
        kept: Option<&Kept<'_>>,
    ) -> Option<Spot> {
        if !self.has_room(need, nodes, model, kept) {
            return None;
        }
        let (slots, profiles, tables) = (&self.hosts.slots, &self.profiles, &self.tables);
        let lane = model.map_or(&self.all, |model| &self.by_model[usize::from(model)]);
        let (score, position) = self.rankings.best(
            need,
            model,
            |position| loss::score(&slots[position], &profiles[position], tables, need, model),
            |one, other| profiles[one] == profiles[other] && slots[one].is_like(&slots[other]),
            || with_room(lane, need),
        )?;
        let devices = |position: usize| {
            let (slot, profile) = (&slots[position], &profiles[position]);
            match kept.filter(|kept| kept.keeps(slot.id)) {
                // It may have some of the host, or must look elsewhere.
                Some(kept) => kept.room(slot, need, model),
                None => loss::devices(slot, profile, tables, need, model),
            }
        };
        if !nodes.is_gang()
            && let Some(gpu_indices) = devices(position)
        {
            return Some(Spot {
                score,
                host: slots[position].id,
                gpu_indices,
                others: Vec::new(),
            });
        }
        let wanted = nodes.count() as usize;
        let kept_of = kept.map_or(0, Kept::count);
        let best = self.rankings.smallest(need, model, wanted + kept_of).into_iter();
        let places = best.filter_map(|(score, position)| {
            let gpu_indices = devices(position)?.into();
            let host = slots[position].id;
            Some((score, Place { host, gpu_indices }))
        });
        gang::spot(places.take(wanted).collect(), nodes)
    }

    fn lane(&self, model: Option<u16>) -> &Lane {
        model.map_or(&self.all, |model| &self.by_model[usize::from(model)])
    }

    fn reindex(&mut self, position: usize) {
        let slot = &self.hosts.slots[position];
        self.all.set(position, slot.room(None));
        for (model, lane) in self.by_model.iter_mut().enumerate() {
            lane.set(position, slot.room(Some(model as u16)));
        }
        self.profiles[position] = Profile::of(slot, &self.tables);
        self.rankings.changed(position);
    }
}

/// Hosts that have what the task needs of cores, memory and devices; a host may come twice.
fn with_room(lane: &Lane, need: &Need) -> impl Iterator<Item = usize> {
    let ask = need.ask();
    // A share goes onto a device in use, or onto an untouched one.
    let untouched = matches!(need.gpu, GpuNeed::Share(_)).then_some(Ask {
        whole: 1,
        part: 0,
        ..ask
    });
    let more = untouched.into_iter().flat_map(|ask| lane.with_room(ask));
    lane.with_room(ask).chain(more)
}

/// All sites, and what is known of the requests that want room there.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) sites: BTreeMap<SiteId, SiteView>,
    /// Looked up only.
    sites_of: HashMap<HostId, SiteId>,
    pub(super) mix: Mix,
    /// All sites are valued by these until so many tasks have been seen.
    tables: Tables,
    appraise_at: u64,
    /// Jobs up to here are in the mix.
    noted: JobId,
}

impl View {
    pub(crate) fn of(state: &State) -> Self {
        let mut view = Self::default();
        let jobs: Vec<JobId> = state.jobs_newest_first(None).map(|(id, _)| id).collect();
        for id in jobs.into_iter().rev() {
            view.note(state, id);
        }
        view.appraise();
        for site in state.sites() {
            view.rebuild(state, site.id);
        }
        view
    }

    /// Counts a job among the requests seen, once; `true` if it was new.
    pub(crate) fn note(&mut self, state: &State, id: JobId) -> bool {
        let Some(job) = state.job(id).filter(|_| id > self.noted) else {
            return false;
        };
        self.noted = id;
        let request = state.request(job);
        let nodes = job.spec.tasks.saturating_mul(request.nodes.count());
        self.mix.note(&request.resources, nodes);
        true
    }

    /// Values the hosts anew if the mix has grown by a part since they were. Between, what is known of hosts stays good.
    pub(crate) fn appraise(&mut self) {
        let seen = self.mix.seen();
        if seen < self.appraise_at {
            return;
        }
        self.appraise_at = seen + seen.min(MIX_MAX) / MIX_PARTS + 1;
        self.tables = Tables::of(&self.mix);
        for site in self.sites.values_mut() {
            site.appraise(&mut self.tables);
        }
    }

    /// Reads one site afresh.
    pub(crate) fn rebuild(&mut self, state: &State, id: SiteId) {
        let site = SiteView::of(Hosts::of(state, id), &mut self.tables);
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
