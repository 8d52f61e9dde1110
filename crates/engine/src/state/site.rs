//! Sites, their agents and their machines as records, and what a machine has free. Reserving asserts: a host is never
//! over-committed.

use hesuan_ledger::types::{OrgId, RegionCode, SiteId, Timestamp};

use super::contract::Contract;
use crate::command::{HostInventory, SiteState};
use crate::schedule::GpuNeed;
use crate::types::{HostId, PrincipalId, Resources, TaskId};

/// A data centre.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its number.
    pub id: SiteId,
    /// Unique.
    pub name: Box<str>,
    /// Its jurisdiction.
    pub region: RegionCode,
    /// Is credited.
    pub provider: OrgId,
    /// What its operator says.
    pub state: SiteState,
    /// Why.
    pub reason: Box<str>,
    /// The agent that attached last.
    pub agent: Option<Agent>,
    /// Since when the leader has given it up; `None` = not lost.
    pub lost_at: Option<Timestamp>,
    /// Running attempts from here on have yet to be looked at after the site was lost or drained.
    pub(super) sweep_from: Option<TaskId>,
    /// Who may use it; `None` = everybody alike.
    pub contract: Option<Box<Contract>>,
}

impl Site {
    /// Whether its operator and the leader let it take new work. Whether its agent holds a lease now only the leader knows.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.state == SiteState::Open && self.lost_at.is_none() && self.agent.is_some()
    }
}

/// A site's daemon, as it attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Random per start.
    pub instance: u128,
    /// The replica it hangs on.
    pub replica: u64,
    /// With whose token.
    pub principal: PrincipalId,
    /// When.
    pub attached_at: Timestamp,
}

/// A machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its number.
    pub id: HostId,
    /// Where it stands.
    pub site: SiteId,
    /// Unique in the site.
    pub name: Box<str>,
    /// It is in the agent's last inventory.
    pub online: bool,
    /// All of it.
    pub total: Amounts,
    /// Not reserved.
    pub free: Amounts,
    /// Its devices; the index is the place.
    pub gpus: Box<[Gpu]>,
    /// Named generic resources, sorted by name.
    pub generic: Box<[Generic]>,
    /// An inventory that what runs here does not allow yet; taken when the host is empty, and until then nothing new comes.
    pub awaited: Option<Box<HostInventory>>,
}

/// Cores and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Mebibytes.
    pub memory_mib: u64,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Its model.
    pub model: Box<str>,
    /// Thousandths not reserved, at most 1000.
    pub free_milli: u32,
}

/// A named resource of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generic {
    /// Its name.
    pub name: Box<str>,
    /// All of it.
    pub total: u64,
    /// Not reserved.
    pub free: u64,
}

impl Host {
    /// A machine with nothing on it.
    #[must_use]
    pub fn new(id: HostId, site: SiteId, inventory: &HostInventory) -> Self {
        let total = Amounts {
            cpu_milli: inventory.cpu_milli,
            memory_mib: inventory.memory_mib,
        };
        let mut generic: Vec<Generic> = inventory
            .generic
            .iter()
            .map(|(name, total)| Generic {
                name: name.clone(),
                total: *total,
                free: *total,
            })
            .collect();
        generic.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            id,
            site,
            name: inventory.name.clone(),
            online: true,
            total,
            free: total,
            gpus: inventory
                .gpus
                .iter()
                .map(|model| Gpu {
                    model: model.clone(),
                    free_milli: 1000,
                })
                .collect(),
            generic: generic.into(),
            awaited: None,
        }
    }

    /// Whether it may take new work.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.online && self.awaited.is_none()
    }

    /// Whether nothing is reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.free == self.total
            && self.gpus.iter().all(|gpu| gpu.free_milli == 1000)
            && self.generic.iter().all(|resource| resource.free == resource.total)
    }

    /// A generic resource by name.
    #[must_use]
    pub fn generic(&self, name: &str) -> Option<&Generic> {
        let at = self
            .generic
            .binary_search_by(|resource| (*resource.name).cmp(name))
            .ok()?;
        self.generic.get(at)
    }

    /// Takes what one task needs out of what is free.
    ///
    /// # Panics
    /// When it is not free: the caller has checked with [`super::placement`].
    pub(super) fn reserve(&mut self, need: &Resources, gpu_indices: &[u32]) {
        let take = |free: u64, need: u64| free.checked_sub(need).expect("a host is never over-committed");
        self.free.cpu_milli = take(self.free.cpu_milli, need.cpu_milli);
        self.free.memory_mib = take(self.free.memory_mib, need.memory_mib);
        for (name, amount) in &need.generic {
            let at = self.generic.binary_search_by(|resource| resource.name.cmp(name));
            let resource = &mut self.generic[at.expect("a host is never over-committed")];
            resource.free = take(resource.free, *amount);
        }
        for index in gpu_indices {
            let gpu = &mut self.gpus[*index as usize];
            gpu.free_milli = take(gpu.free_milli.into(), GpuNeed::of(need).milli_per_device().into()) as u32;
        }
    }

    /// Gives back what [`Host::reserve`] took.
    ///
    /// # Panics
    /// When it was not reserved.
    pub(super) fn free(&mut self, need: &Resources, gpu_indices: &[u32]) {
        let give = |free: &mut u64, total: u64, need: u64| {
            *free += need;
            assert!(*free <= total, "a host gets back only what was reserved");
        };
        give(&mut self.free.cpu_milli, self.total.cpu_milli, need.cpu_milli);
        give(&mut self.free.memory_mib, self.total.memory_mib, need.memory_mib);
        for (name, amount) in &need.generic {
            let at = self.generic.binary_search_by(|resource| resource.name.cmp(name));
            let resource = &mut self.generic[at.expect("a resource with reservations stays")];
            give(&mut resource.free, resource.total, *amount);
        }
        for index in gpu_indices {
            let gpu = &mut self.gpus[*index as usize];
            gpu.free_milli += GpuNeed::of(need).milli_per_device();
            assert!(gpu.free_milli <= 1000, "a device gets back only what was reserved");
        }
    }
}
