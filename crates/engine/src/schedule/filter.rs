//! The questions asked of a site before anything is scored. Each asks one thing and, when it says no, says why.
//! Submit, plan, apply's second look at a decision, explain and quote all ask these.

use std::collections::{BTreeMap, BTreeSet};

use super::gang;
use super::hosts::{Hosts, Need, Slot};
use super::need::{GpuNeed, accepts_model};
use super::reason::Reason;
use crate::command::SiteState;
use crate::state::{Host, Site, State};
use crate::types::{Nodes, Request, Resources};

/// Whether the job lets itself be placed at this site.
#[must_use]
pub fn allowed(request: &Request, site: &Site) -> Option<Reason> {
    if !request.sites.is_empty() && request.sites.binary_search(&site.id).is_err() {
        return Some(Reason::SiteNotAllowed);
    }
    if !request.regions.is_empty() && request.regions.binary_search(&site.region).is_err() {
        return Some(Reason::RegionNotAllowed { region: site.region });
    }
    None
}

/// Whether the site takes new work now. `up`: it holds a lease, as far as is known here.
#[must_use]
pub fn open(site: &Site, up: bool) -> Option<Reason> {
    match site.state {
        SiteState::Cordoned => return Some(Reason::SiteCordoned),
        SiteState::Draining => return Some(Reason::SiteDraining),
        SiteState::Open => {}
    }
    if site.agent.is_none() {
        Some(Reason::NoHosts)
    } else if site.lost_at.is_some() {
        Some(Reason::SiteLost)
    } else if !up {
        Some(Reason::SiteDown)
    } else {
        None
    }
}

/// Whether some host of the site would be large enough if it were empty, or as many hosts as a gang needs.
#[must_use]
pub fn ever_fits(state: &State, site: &Site, request: &Request) -> Option<Reason> {
    let resources = &request.resources;
    let hosts = || state.hosts_of(site.id).filter(|host| host.online);
    if hosts().any(|host| holds(host, resources)) {
        return gang::too_wide(state, site, request);
    }
    let Some(_) = hosts().next() else {
        return Some(Reason::NoHosts);
    };
    if resources.gpu_milli > 0 && !hosts().any(|host| devices(host, resources).next().is_some()) {
        let present: BTreeSet<&str> = hosts()
            .flat_map(|host| host.gpus.iter().map(|gpu| &*gpu.model))
            .collect();
        return Some(Reason::GpuModel {
            wanted: resources.gpu_models.clone(),
            present: present.into_iter().map(Box::from).collect(),
        });
    }
    let never = |resource: &str, need: u64, of: &dyn Fn(&Host) -> u64| {
        let largest = hosts().map(of).max().unwrap_or(0);
        (largest < need).then(|| Reason::NeverFits {
            resource: resource.into(),
            need,
            largest,
        })
    };
    never("cpu", resources.cpu_milli, &|host| host.total.cpu_milli)
        .or_else(|| never("memory", resources.memory_mib, &|host| host.total.memory_mib))
        .or_else(|| {
            never("gpu", resources.gpu_milli, &|host| {
                1000 * most_of_a_model(host, resources)
            })
        })
        .or_else(|| {
            let total = |host: &Host, name: &str| host.generic(name).map_or(0, |generic| generic.total);
            resources
                .generic
                .iter()
                .find_map(|(name, need)| never(name, *need, &|host| total(host, name)))
        })
        .or_else(|| {
            Some(Reason::NeverFits {
                resource: "host".into(),
                need: 1,
                largest: 0,
            })
        })
}

/// Models of the site's devices that the request accepts, with as many hosts as it needs that have enough of them in total; one
/// `None` for a request without GPUs. Each has its own price.
pub fn models_ever(state: &State, site: &Site, request: &Request) -> Vec<Option<Box<str>>> {
    let resources = &request.resources;
    if resources.gpu_milli == 0 {
        return vec![None];
    }
    let needed = GpuNeed::of(resources).devices() as u64;
    let (mut models, mut hosts_with) = (BTreeSet::new(), BTreeMap::new());
    for host in state.hosts_of(site.id).filter(|host| host.online) {
        for model in models_of(host, resources) {
            if !models.contains(model) && count_of(host, model) >= needed {
                let hosts: &mut u32 = hosts_with.entry(model).or_default();
                *hosts += 1;
                if *hosts == request.nodes.count() {
                    models.insert(model);
                }
            }
        }
    }
    models.into_iter().map(|model| Some(Box::from(model))).collect()
}

/// What is short on the hosts of a site right now, on devices of one of these models (one `None` for a request without
/// GPUs); empty if the task fits on one of them, or a gang on as many as it needs.
pub(crate) fn capacity(hosts: &Hosts, need: &Need, nodes: Nodes, models: &[Option<Box<str>>]) -> Vec<Reason> {
    let place = |name: &str| {
        hosts
            .models
            .binary_search_by(|known| (**known).cmp(name))
            .ok()
            .map(|place| place as u16)
    };
    let models: Vec<Option<u16>> = models
        .iter()
        .filter_map(|model| model.as_deref().map_or(Some(None), |name| place(name).map(Some)))
        .collect();
    let with_room = |model: &Option<u16>| hosts.with_room(need, *model).take(nodes.count() as usize).count() as u32;
    let most = models.iter().map(with_room).max().unwrap_or(0);
    if most >= nodes.count() {
        return Vec::new();
    }
    if most > 0 {
        return vec![Reason::CapacityNodes {
            need: nodes.count(),
            free: most,
        }];
    }
    let most = |of: &dyn Fn(&Slot) -> u64| hosts.slots.iter().filter(|slot| slot.open).map(of).max().unwrap_or(0);
    let mut reasons = Vec::new();
    let free = most(&|slot| slot.cpu_milli);
    if free < need.cpu_milli {
        reasons.push(Reason::CapacityCpu {
            need: need.cpu_milli,
            free,
        });
    }
    let free = most(&|slot| slot.memory_mib);
    if free < need.memory_mib {
        reasons.push(Reason::CapacityMemory {
            need: need.memory_mib,
            free,
        });
    }
    if need.gpu != GpuNeed::Nothing {
        let free = most(&|slot| {
            models
                .iter()
                .map(|model| gpu_free(slot, need.gpu, *model))
                .max()
                .unwrap_or(0)
        });
        let wanted = need.gpu.milli();
        if free < wanted {
            reasons.push(Reason::CapacityGpu { need: wanted, free });
        }
    }
    for (name, amount) in &need.generic {
        let free = most(&|slot| slot.free_of(name));
        if free < *amount {
            reasons.push(Reason::CapacityGeneric {
                name: name.clone(),
                need: *amount,
                free,
            });
        }
    }
    if reasons.is_empty() {
        reasons.push(Reason::CapacityHost);
    }
    reasons
}

/// Thousandths of devices of a model that a task of this kind could get: the best single device for a share, untouched
/// devices otherwise.
fn gpu_free(slot: &Slot, need: GpuNeed, model: Option<u16>) -> u64 {
    let of_model = slot
        .devices
        .iter()
        .filter(|device| Some(device.0) == model)
        .map(|device| u64::from(device.1));
    match need {
        GpuNeed::Whole(_) => of_model.filter(|free| *free >= 1000).sum(),
        _ => of_model.max().unwrap_or(0),
    }
}

fn devices<'a>(host: &'a Host, resources: &'a Resources) -> impl Iterator<Item = &'a str> {
    host.gpus
        .iter()
        .map(|gpu| &*gpu.model)
        .filter(|model| accepts_model(resources, model))
}

/// Each model of a host that the request accepts, once.
fn models_of<'a>(host: &'a Host, resources: &'a Resources) -> BTreeSet<&'a str> {
    devices(host, resources).collect()
}

fn count_of(host: &Host, model: &str) -> u64 {
    host.gpus.iter().filter(|gpu| *gpu.model == *model).count() as u64
}

fn most_of_a_model(host: &Host, resources: &Resources) -> u64 {
    devices(host, resources)
        .map(|model| count_of(host, model))
        .max()
        .unwrap_or(0)
}

/// Whether the task would fit on the host if it were empty.
fn holds(host: &Host, resources: &Resources) -> bool {
    holds_but_devices(host, resources)
        && (resources.gpu_milli == 0 || most_of_a_model(host, resources) >= GpuNeed::of(resources).devices() as u64)
}

/// Whether it would on devices of this model; `None` for a request without GPUs.
pub(super) fn holds_on(host: &Host, resources: &Resources, model: Option<&str>) -> bool {
    let devices = GpuNeed::of(resources).devices() as u64;
    holds_but_devices(host, resources) && model.is_none_or(|model| count_of(host, model) >= devices)
}

fn holds_but_devices(host: &Host, resources: &Resources) -> bool {
    host.total.cpu_milli >= resources.cpu_milli
        && host.total.memory_mib >= resources.memory_mib
        && resources
            .generic
            .iter()
            .all(|(name, need)| host.generic(name).is_some_and(|generic| generic.total >= *need))
}
