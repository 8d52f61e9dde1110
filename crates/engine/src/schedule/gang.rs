//! Tasks on several hosts at once. A gang goes to one site, on hosts that are all different and, if it asks for devices, have them of
//! one model; on all of them in one decision, or on none. Because each host takes one node and hosts do not depend on each
//! other, the hosts that strand least together are those that strand least each.

use super::filter;
use super::reason::Reason;
use super::view::Spot;
use crate::state::{Site, State};
use crate::types::{Nodes, Place, Request};

/// Whether a site where single hosts are large enough has too few of them for the request, even if all were empty.
pub(super) fn too_wide(state: &State, site: &Site, request: &Request) -> Option<Reason> {
    if !request.nodes.is_gang() {
        return None;
    }
    let large_enough = |model: &Option<Box<str>>| {
        let hosts = state.hosts_of(site.id).filter(|host| host.online);
        let holds = hosts.filter(|host| filter::holds_on(host, &request.resources, model.as_deref()));
        holds.count() as u32
    };
    let one = Request {
        nodes: Nodes::ONE,
        ..request.clone()
    };
    let models = filter::models_ever(state, site, &one);
    let hosts = models.iter().map(large_enough).max().unwrap_or(0);
    (hosts < request.nodes.count()).then_some(Reason::GangTooWide {
        need: request.nodes.count(),
        hosts,
    })
}

/// The places of a task with what each strands, as one spot; `None` if they are not enough. Ranks follow the numbers of the hosts.
pub(super) fn spot(places: Vec<(u64, Place)>, nodes: Nodes) -> Option<Spot> {
    if places.len() < nodes.count() as usize {
        return None;
    }
    let sum: u128 = places.iter().map(|(score, _)| u128::from(*score)).sum();
    let mut places: Vec<Place> = places.into_iter().map(|(_, place)| place).collect();
    places.sort_unstable_by_key(|place| place.host);
    let others = places.split_off(1);
    let first = places.pop()?;
    Some(Spot {
        // What one host strands, so that sites compare whatever is asked for.
        score: u64::try_from(sum / u128::from(nodes.count())).unwrap_or(u64::MAX),
        host: first.host,
        gpu_indices: first.gpu_indices.into(),
        others,
    })
}
