//! The view that work is placed over: what every host has free, less what is decided but not yet applied, with an index
//! per site. Built from the state, changed host by host; it decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::lane::{Ask, Lane, Room};
use super::need::{DEVICE_MILLI, GpuNeed, choose_devices};
use crate::state::{Host, State};
use crate::types::{HostId, Resources, SiteId};

/// What one task asks of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) cpu_milli: u64,
    pub(crate) memory_mib: u64,
    pub(crate) gpu: GpuNeed,
    pub(crate) generic: Vec<(Box<str>, u64)>,
}

impl Need {
    pub(crate) fn of(resources: &Resources) -> Self {
        Self {
            cpu_milli: resources.cpu_milli,
            memory_mib: resources.memory_mib,
            gpu: GpuNeed::of(resources),
            generic: resources.generic.clone(),
        }
    }

    fn ask(&self) -> Ask {
        Ask {
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            ..Ask::default()
        }
    }
}

/// Placing on the host with the smallest key strands least: first by GPUs left idle beside the task, then by what is left of
/// cores and memory, a core counted as 4 GiB. Grows with each amount, so a host with a smaller key than a task's need lacks
/// something.
fn key(gpu_milli: u64, cpu_milli: u64, memory_mib: u64) -> u64 {
    const SIZE_BITS: u32 = 44;
    let size = cpu_milli.saturating_mul(4).saturating_add(memory_mib);
    (gpu_milli.min((1 << 19) - 1) << SIZE_BITS) | size.min((1 << SIZE_BITS) - 1)
}

/// A place found for one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Smaller strands less.
    pub(crate) key: u64,
    pub(crate) host: HostId,
    pub(crate) gpu_indices: Vec<u32>,
}

/// One host's free amounts.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) id: HostId,
    /// It takes new work.
    pub(crate) open: bool,
    pub(crate) cpu_milli: u64,
    pub(crate) memory_mib: u64,
    /// Model (by its place in the site's list) and free thousandths of each device.
    pub(crate) devices: Vec<(u16, u32)>,
    pub(crate) generic: Vec<(Box<str>, u64)>,
}

impl Slot {
    pub(crate) fn free_of(&self, name: &str) -> u64 {
        self.generic
            .iter()
            .find(|(known, _)| **known == *name)
            .map_or(0, |(_, free)| *free)
    }

    fn has_generic(&self, need: &Need) -> bool {
        need.generic.iter().all(|(name, amount)| self.free_of(name) >= *amount)
    }

    fn take(&mut self, need: &Need, gpu_indices: &[u32]) {
        // A host may meanwhile have shrunk below what is in flight for it; then it has nothing left here and apply refuses.
        self.cpu_milli = self.cpu_milli.saturating_sub(need.cpu_milli);
        self.memory_mib = self.memory_mib.saturating_sub(need.memory_mib);
        for (name, amount) in &need.generic {
            if let Some((_, free)) = self.generic.iter_mut().find(|(known, _)| known == name) {
                *free = free.saturating_sub(*amount);
            }
        }
        for &index in gpu_indices {
            if let Some((_, free)) = self.devices.get_mut(index as usize) {
                *free = free.saturating_sub(need.gpu.milli_per_device());
            }
        }
    }

    fn key(&self) -> u64 {
        key(
            self.devices.iter().map(|(_, free)| u64::from(*free)).sum(),
            self.cpu_milli,
            self.memory_mib,
        )
    }

    /// As the index of all hosts (`None`) or of one model sees it.
    fn room(&self, model: Option<u16>) -> Room {
        let of_model = |device: &&(u16, u32)| model.is_none_or(|model| device.0 == model);
        if !self.open || (model.is_some() && !self.devices.iter().any(|device| of_model(&device))) {
            return Room::CLOSED;
        }
        let (mut whole, mut part) = (0, 0);
        for (_, free) in self.devices.iter().filter(of_model) {
            if u64::from(*free) >= DEVICE_MILLI {
                whole += 1;
            } else {
                part = part.max(*free);
            }
        }
        Room {
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            whole,
            part,
            key: self.key(),
        }
    }
}

/// The hosts of one site and the indexes over them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteView {
    /// In order of id.
    pub(crate) slots: Vec<Slot>,
    /// Models of devices here, sorted.
    pub(crate) models: Vec<Box<str>>,
    all: Lane,
    by_model: Vec<Lane>,
}

impl SiteView {
    pub(crate) fn of(state: &State, site: SiteId) -> Self {
        let mut hosts: Vec<&Host> = state.hosts_of(site).filter(|host| host.online).collect();
        hosts.sort_unstable_by_key(|host| host.id);
        let models: BTreeSet<&str> = hosts
            .iter()
            .flat_map(|host| host.gpus.iter().map(|gpu| &*gpu.model))
            .collect();
        let models: Vec<Box<str>> = models.into_iter().map(Box::from).collect();
        let slots: Vec<Slot> = hosts.into_iter().map(|host| slot_of(host, &models)).collect();
        let lane = |model| Lane::new(slots.iter().map(|slot| slot.room(model)).collect());
        let (all, by_model) = (
            lane(None),
            (0..models.len()).map(|model| lane(Some(model as u16))).collect(),
        );
        Self {
            slots,
            models,
            all,
            by_model,
        }
    }

    /// The host where the task strands least, and its devices (all of `model`).
    pub(crate) fn find(&self, need: &Need, model: Option<u16>) -> Option<Spot> {
        let accept = |position: usize| self.slots[position].has_generic(need);
        let (lane, ask) = (
            model.map_or(&self.all, |model| &self.by_model[usize::from(model)]),
            need.ask(),
        );
        let (key, position) = match need.gpu {
            GpuNeed::Nothing => lane.tightest(&ask, accept),
            // A device in use already, before an untouched one is broken.
            GpuNeed::Share(milli) => lane
                .tightest(&Ask { part: milli, ..ask }, accept)
                .or_else(|| lane.tightest(&Ask { whole: 1, ..ask }, accept)),
            GpuNeed::Whole(count) => lane.tightest(&Ask { whole: count, ..ask }, accept),
        }?;
        let slot = &self.slots[position];
        let gpu_indices = self
            .devices_on(slot, need, model)
            .expect("the index knows the devices of its hosts");
        Some(Spot {
            key,
            host: slot.id,
            gpu_indices,
        })
    }

    /// Whether one host has cores and memory enough; devices and named resources are not looked at.
    pub(crate) fn may_fit_on(&self, host: HostId, need: &Need) -> bool {
        let slot = self
            .slots
            .binary_search_by_key(&host, |slot| slot.id)
            .map(|position| &self.slots[position]);
        slot.is_ok_and(|slot| slot.cpu_milli >= need.cpu_milli && slot.memory_mib >= need.memory_mib)
    }

    fn devices_on(&self, slot: &Slot, need: &Need, model: Option<u16>) -> Option<Vec<u32>> {
        let offered = slot
            .devices
            .iter()
            .enumerate()
            .filter(|(_, device)| Some(device.0) == model);
        choose_devices(need.gpu, offered.map(|(index, device)| (index as u32, device.1)))
    }

    /// Takes a task's needs out of what is free on one of its hosts.
    pub(crate) fn reserve(&mut self, host: HostId, need: &Need, gpu_indices: &[u32]) {
        if let Ok(position) = self.slots.binary_search_by_key(&host, |slot| slot.id) {
            self.slots[position].take(need, gpu_indices);
            self.reindex(position);
        }
    }

    fn reindex(&mut self, position: usize) {
        let slot = &self.slots[position];
        self.all.set(position, slot.room(None));
        for (model, lane) in self.by_model.iter_mut().enumerate() {
            lane.set(position, slot.room(Some(model as u16)));
        }
    }
}

fn slot_of(host: &Host, models: &[Box<str>]) -> Slot {
    let model = |name: &str| {
        models
            .binary_search_by(|model| (**model).cmp(name))
            .expect("the site lists all models")
    };
    Slot {
        id: host.id,
        open: host.takes_work(),
        cpu_milli: host.free.cpu_milli,
        memory_mib: host.free.memory_mib,
        devices: host
            .gpus
            .iter()
            .map(|gpu| (model(&gpu.model) as u16, gpu.free_milli))
            .collect(),
        generic: host
            .generic
            .iter()
            .map(|resource| (resource.name.clone(), resource.free))
            .collect(),
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
        self.sites_of.extend(site.slots.iter().map(|slot| (slot.id, id)));
        self.sites.insert(id, site);
    }

    /// Reads one host afresh; `false` if it is unknown or its devices changed, so that its site must be rebuilt.
    pub(crate) fn refresh(&mut self, host: &Host) -> bool {
        let Some(site) = self.sites_of.get(&host.id) else {
            return false;
        };
        let site = self.sites.get_mut(site).expect("a known host's site is in the view");
        let position = site
            .slots
            .binary_search_by_key(&host.id, |slot| slot.id)
            .expect("its site has the host");
        let slot = &mut site.slots[position];
        let same_devices = slot.devices.len() == host.gpus.len()
            && slot
                .devices
                .iter()
                .zip(&host.gpus)
                .all(|(device, gpu)| site.models[usize::from(device.0)] == gpu.model);
        if !same_devices || !host.online {
            return false;
        }
        slot.open = host.takes_work();
        (slot.cpu_milli, slot.memory_mib) = (host.free.cpu_milli, host.free.memory_mib);
        slot.devices
            .iter_mut()
            .zip(&host.gpus)
            .for_each(|(device, gpu)| device.1 = gpu.free_milli);
        slot.generic = host
            .generic
            .iter()
            .map(|resource| (resource.name.clone(), resource.free))
            .collect();
        site.reindex(position);
        true
    }

    /// Takes a task's needs out of what is free.
    pub(crate) fn reserve(&mut self, host: HostId, need: &Need, gpu_indices: &[u32]) {
        if let Some(site) = self.sites_of.get(&host) {
            self.sites
                .get_mut(site)
                .expect("a known host's site is in the view")
                .reserve(host, need, gpu_indices);
        }
    }
}
