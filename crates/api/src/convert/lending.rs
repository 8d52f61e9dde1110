//! Contracts and quotas. What they mean together (a floor for nobody, an unknown name) is judged in apply.

use hesuan_engine::command::{Body, NewContract, Reclaim};
use hesuan_engine::state::VICTIMS_MAX;
use hesuan_engine::types::{Bounds, HostId, JobId};

use super::check::{self, Checked, invalid, missing};
use super::site::task_id;
use crate::internal::v1 as wire;
use crate::v1;

/// Organisations named in one list of a contract.
pub const ORGS_MAX: usize = 64;

pub(super) fn contract(request: v1::SetContractRequest) -> Checked<Body> {
    let given = request
        .contract
        .ok_or_else(|| missing("contract", "an empty one lets everybody alike use the site"))?;
    Ok(Body::SetContract {
        site: check::name("site", request.site)?,
        contract: NewContract {
            own: names("contract.own", given.own)?,
            floor: amounts("contract.floor", given.floor)?,
            lend_limit: amounts("contract.lend_limit", given.lend_limit)?,
            accepted: names("contract.accepted", given.accepted)?,
            notice_ms: given.notice_ms,
        },
    })
}

pub(super) fn quota(request: v1::SetQuotaRequest) -> Checked<Body> {
    Ok(Body::SetQuota {
        org: check::name("org", request.org)?,
        most: bounds(request.most.unwrap_or_default()),
    })
}

/// Reclaims of one command.
const RECLAIMS_MAX: usize = 1_024;

pub(super) fn reclaims(request: wire::Reclaims) -> Checked<Body> {
    check::count("reclaims", request.reclaims.len(), RECLAIMS_MAX)?;
    let mut reclaims = Vec::with_capacity(request.reclaims.len());
    for (index, given) in request.reclaims.into_iter().enumerate() {
        check::count(
            format_args!("reclaims[{index}].victims"),
            given.victims.len(),
            VICTIMS_MAX,
        )?;
        reclaims.push(Reclaim {
            job: JobId(given.job),
            task: given.task,
            host: HostId(given.host),
            victims: given.victims.iter().map(task_id).collect(),
        });
    }
    Ok(Body::Reclaims(reclaims))
}

fn names(field: &str, given: Vec<String>) -> Checked<Vec<Box<str>>> {
    check::count(field, given.len(), ORGS_MAX)?;
    let one = |(index, name): (usize, String)| check::name(format_args!("{field}[{index}]"), name);
    given.into_iter().enumerate().map(one).collect()
}

fn amounts(field: &str, given: Option<v1::Bounds>) -> Checked<Bounds> {
    let bounds = bounds(given.unwrap_or_default());
    if bounds.tasks.is_some() {
        let text = format!("{field}.tasks is given; a contract speaks of cores, memory and GPUs only, leave it out");
        return Err(invalid("FIELD_UNKNOWN", format_args!("{field}.tasks"), text));
    }
    Ok(bounds)
}

fn bounds(given: v1::Bounds) -> Bounds {
    Bounds {
        cpu_milli: given.cpu_milli,
        memory_mib: given.memory_mib,
        gpu_milli: given.gpu_milli,
        tasks: given.tasks,
    }
}
