//! The hosts of one task: one, or those of a gang, which are judged, reserved and freed together. A gang is one attempt with one
//! hold, so that it begins, is paid and ends in one entry like any other.

use hesuan_ledger::types::SiteId;

use super::placement::{judge_capacity, judge_devices};
use super::{Attempt, State};
use crate::command::Decision;
use crate::types::{HostId, Nodes, Resources, TaskId};

/// As many hosts as were asked for, each once: in order of id, which is that of the ranks.
pub(super) fn judge_shape(decision: &Decision, nodes: Nodes) -> Result<(), &'static str> {
    let hosts = decision.places().map(|(host, _)| host);
    let all = decision.others.len() + 1 == nodes.count() as usize;
    if all && hosts.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err("GANG_NODES")
    }
}

impl State {
    /// The further hosts of a gang: of the same site, each with room, on devices of the model that the first one has.
    pub(super) fn judge_others(
        &self,
        decision: &Decision,
        need: &Resources,
        site: SiteId,
        model: Option<&str>,
    ) -> Result<(), &'static str> {
        for place in &decision.others {
            let host = self.host(place.host).filter(|host| host.takes_work());
            let host = host.ok_or("HOST_GONE")?;
            if host.site != site {
                return Err("GANG_SITES");
            }
            judge_capacity(host, need)?;
            if judge_devices(host, need, &place.gpu_indices)?.as_deref() != model {
                return Err("GPU_MODEL");
            }
        }
        Ok(())
    }

    /// Gives back what an attempt holds of its hosts; those hosts. One that is empty now and was to change does.
    pub(super) fn free_places(&mut self, id: TaskId, need: &Resources) -> Vec<HostId> {
        let attempt = self.attempt(id).expect("an attempt that ends is in State");
        let places: Vec<(HostId, Box<[u32]>)> = attempt.places().map(|(host, gpus)| (host, gpus.into())).collect();
        for (id, gpu_indices) in &places {
            let host = self.host_mut(*id);
            host.free(need, gpu_indices);
            if host.is_empty()
                && let Some(inventory) = host.awaited.take()
            {
                let online = host.online;
                host.adopt(&inventory);
                host.online = online;
                self.tables.meta.rules_version += 1;
            }
        }
        places.into_iter().map(|(host, _)| host).collect()
    }

    /// Names of the further hosts of a gang and its devices there.
    pub(super) fn other_hosts<'a>(&'a self, attempt: &'a Attempt) -> Option<Vec<(&'a str, &'a [u32])>> {
        let named = |(host, devices)| Some((&*self.host(host)?.name, devices));
        attempt.places().skip(1).map(named).collect()
    }
}
