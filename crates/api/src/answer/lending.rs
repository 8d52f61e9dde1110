//! Contracts, quotas and what is held under them as answers.

use hesuan_engine::state::{Contract, Quota, State};
use hesuan_engine::types::{Bounds, Held};

use super::org_name;
use crate::v1;

pub(super) fn contract(state: &State, contract: &Contract) -> v1::Contract {
    let names = |orgs: &[_]| orgs.iter().map(|org| org_name(state, *org)).collect();
    v1::Contract {
        revision: contract.revision,
        own: names(&contract.own),
        floor: Some(bounds(&contract.floor)),
        lend_limit: Some(bounds(&contract.lend_limit)),
        accepted: names(&contract.accepted),
        notice_ms: contract.notice_ms,
    }
}

pub(super) fn quota(quota: &Quota) -> v1::Quota {
    v1::Quota {
        revision: quota.revision,
        most: Some(bounds(&quota.most)),
    }
}

pub(super) fn held(held: &Held) -> v1::Held {
    v1::Held {
        cpu_milli: held.cpu_milli,
        memory_mib: held.memory_mib,
        gpu_milli: held.gpu_milli,
        tasks: held.tasks,
    }
}

fn bounds(bounds: &Bounds) -> v1::Bounds {
    v1::Bounds {
        cpu_milli: bounds.cpu_milli,
        memory_mib: bounds.memory_mib,
        gpu_milli: bounds.gpu_milli,
        tasks: bounds.tasks,
    }
}
