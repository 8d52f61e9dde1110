//! What the hosts of one site have free, and what a task asks of one of them.

use std::collections::BTreeSet;

use super::lane::{Ask, Room};
use super::need::{DEVICE_MILLI, GpuNeed, choose_devices};
use crate::state::{Host, State};
use crate::types::{HostId, Resources, SiteId};

/// What one task asks of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

    /// Named resources and models are left out.
    pub(super) fn ask(&self) -> Ask {
        let (whole, part) = match self.gpu {
            GpuNeed::Nothing => (0, 0),
            GpuNeed::Share(milli) => (0, milli),
            GpuNeed::Whole(count) => (count, 0),
        };
        Ask {
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            whole,
            part,
            key_min: key(self.gpu.milli(), self.cpu_milli, self.memory_mib),
        }
    }
}

/// Hosts stand in the index in the order of this: by idle GPUs, then by what is free of cores and memory, a core counted as
/// 4 GiB. Grows with each amount, so a host with a smaller key than a task's need lacks something.
fn key(gpu_milli: u64, cpu_milli: u64, memory_mib: u64) -> u64 {
    const SIZE_BITS: u32 = 44;
    let size = cpu_milli.saturating_mul(4).saturating_add(memory_mib);
    (gpu_milli.min((1 << 19) - 1) << SIZE_BITS) | size.min((1 << SIZE_BITS) - 1)
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

    pub(super) fn has_generic(&self, need: &Need) -> bool {
        need.generic.iter().all(|(name, amount)| self.free_of(name) >= *amount)
    }

    /// Whether both have the same free of all but devices.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.open, self.cpu_milli, self.memory_mib) == (other.open, other.cpu_milli, other.memory_mib)
            && self.generic == other.generic
    }

    /// Thousandths of all devices together that nobody uses.
    pub(super) fn idle_milli(&self) -> u64 {
        self.devices.iter().map(|(_, free)| u64::from(*free)).sum()
    }

    /// Devices of a model that suffice, whatever they strand.
    pub(super) fn devices_for(&self, need: &Need, model: Option<u16>) -> Option<Vec<u32>> {
        let offered = self
            .devices
            .iter()
            .enumerate()
            .filter(|(_, device)| Some(device.0) == model);
        choose_devices(need.gpu, offered.map(|(index, device)| (index as u32, device.1)))
    }

    /// The room of [`Slot::room`] over all models, with what a share finds on untouched devices.
    pub(super) fn most(&self) -> Room {
        let room = self.room(None);
        let part = if room.whole > 0 { DEVICE_MILLI as u32 } else { room.part };
        Room { part, ..room }
    }

    /// The devices the task would get, if it fits.
    pub(super) fn fit(&self, need: &Need, model: Option<u16>) -> Option<Vec<u32>> {
        let fits = self.open
            && self.cpu_milli >= need.cpu_milli
            && self.memory_mib >= need.memory_mib
            && self.has_generic(need);
        fits.then(|| self.devices_for(need, model)).flatten()
    }

    /// What is free in one row: cores, memory, named resources, devices.
    pub(super) fn amounts(&self) -> Vec<u64> {
        let generic = self.generic.iter().map(|(_, free)| *free);
        let devices = self.devices.iter().map(|(_, free)| u64::from(*free));
        [self.cpu_milli, self.memory_mib]
            .into_iter()
            .chain(generic)
            .chain(devices)
            .collect()
    }

    /// The same host with such a row free.
    pub(super) fn with(&self, amounts: &[u64]) -> Self {
        let mut slot = self.clone();
        let (named, devices) = amounts[2..].split_at(slot.generic.len());
        (slot.cpu_milli, slot.memory_mib) = (amounts[0], amounts[1]);
        for ((_, free), amount) in slot.generic.iter_mut().zip(named) {
            *free = *amount;
        }
        for ((_, free), amount) in slot.devices.iter_mut().zip(devices) {
            *free = u32::try_from(*amount).unwrap_or(u32::MAX);
        }
        slot
    }

    /// What a task takes of such a row.
    pub(super) fn amounts_of(&self, need: &Need, gpu_indices: &[u32]) -> Vec<u64> {
        let named = |name: &str| need.generic.iter().find(|(known, _)| **known == *name);
        let generic = self
            .generic
            .iter()
            .map(|(name, _)| named(name).map_or(0, |(_, amount)| *amount));
        let device = |index: usize| {
            if gpu_indices.contains(&(index as u32)) {
                u64::from(need.gpu.milli_per_device())
            } else {
                0
            }
        };
        [need.cpu_milli, need.memory_mib]
            .into_iter()
            .chain(generic)
            .chain((0..self.devices.len()).map(device))
            .collect()
    }

    /// Puts back what a task has.
    pub(super) fn give(&mut self, need: &Need, gpu_indices: &[u32]) {
        self.cpu_milli += need.cpu_milli;
        self.memory_mib += need.memory_mib;
        for (name, amount) in &need.generic {
            if let Some((_, free)) = self.generic.iter_mut().find(|(known, _)| known == name) {
                *free += amount;
            }
        }
        for &index in gpu_indices {
            if let Some((_, free)) = self.devices.get_mut(index as usize) {
                *free += need.gpu.milli_per_device();
            }
        }
    }

    /// Takes a task's needs out of what is free.
    pub(super) fn take(&mut self, need: &Need, gpu_indices: &[u32]) {
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
        key(self.idle_milli(), self.cpu_milli, self.memory_mib)
    }

    /// As the index of all hosts (`None`) or of one model sees it.
    pub(super) fn room(&self, model: Option<u16>) -> Room {
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

/// The hosts of one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// In order of id.
    pub(crate) slots: Vec<Slot>,
    /// Models of devices here, sorted.
    pub(crate) models: Vec<Box<str>>,
}

impl Hosts {
    pub(crate) fn of(state: &State, site: SiteId) -> Self {
        let mut hosts: Vec<&Host> = state.hosts_of(site).filter(|host| host.online).collect();
        hosts.sort_unstable_by_key(|host| host.id);
        let models: BTreeSet<&str> = hosts
            .iter()
            .flat_map(|host| host.gpus.iter().map(|gpu| &*gpu.model))
            .collect();
        let models: Vec<Box<str>> = models.into_iter().map(Box::from).collect();
        let slots = hosts.into_iter().map(|host| slot_of(host, &models)).collect();
        Self { slots, models }
    }

    /// One host and the models of its devices, sorted.
    pub(super) fn alone(host: &Host) -> (Slot, Vec<Box<str>>) {
        let models: BTreeSet<&str> = host.gpus.iter().map(|gpu| &*gpu.model).collect();
        let models: Vec<Box<str>> = models.into_iter().map(Box::from).collect();
        (slot_of(host, &models), models)
    }

    pub(crate) fn position(&self, host: HostId) -> Option<usize> {
        self.slots.binary_search_by_key(&host, |slot| slot.id).ok()
    }

    pub(super) fn slot(&self, host: HostId) -> Option<&Slot> {
        self.position(host).map(|position| &self.slots[position])
    }

    /// Hosts that the task fits on, found by asking each.
    pub(crate) fn with_room(&self, need: &Need, model: Option<u16>) -> impl Iterator<Item = HostId> {
        let fit = move |slot: &&Slot| slot.fit(need, model).is_some();
        self.slots.iter().filter(fit).map(|slot| slot.id)
    }

    /// Takes a task's needs out of what is free on one of these hosts; its position, if it is one.
    pub(crate) fn reserve(&mut self, host: HostId, need: &Need, gpu_indices: &[u32]) -> Option<usize> {
        let position = self.position(host)?;
        self.slots[position].take(need, gpu_indices);
        Some(position)
    }

    /// Reads one of these hosts afresh; `None` if it is not one of them any more, or its devices are others.
    pub(crate) fn refresh(&mut self, host: &Host) -> Option<usize> {
        let position = self.position(host.id).filter(|_| host.online)?;
        let slot = &mut self.slots[position];
        let known = slot.devices.iter().map(|device| &self.models[usize::from(device.0)]);
        if !known.eq(host.gpus.iter().map(|gpu| &gpu.model)) {
            return None;
        }
        slot.open = host.takes_work();
        (slot.cpu_milli, slot.memory_mib) = (host.free.cpu_milli, host.free.memory_mib);
        for (device, gpu) in slot.devices.iter_mut().zip(&host.gpus) {
            device.1 = gpu.free_milli;
        }
        slot.generic = host
            .generic
            .iter()
            .map(|resource| (resource.name.clone(), resource.free))
            .collect();
        Some(position)
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
