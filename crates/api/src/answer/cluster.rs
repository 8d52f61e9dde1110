//! Principals and limits as answers.

use hesuan_engine::state::{Limits, Principal, State};

use super::{org_name, site_name};
use crate::convert::cluster::role_message;
use crate::v1;

/// A principal; never its token or the hash of it.
#[must_use]
pub fn principal(state: &State, principal: &Principal) -> v1::Principal {
    v1::Principal {
        id: principal.id.0,
        name: principal.name.to_string(),
        roles: principal.roles.iter().map(|role| role_message(*role).into()).collect(),
        org: principal.org.map(|org| org_name(state, org)).unwrap_or_default(),
        site: principal.site.map(|site| site_name(state, site)).unwrap_or_default(),
        region: principal.region.map_or(0, |region| region.0),
        revoked: principal.revoked,
    }
}

/// The replicated limits.
#[must_use]
pub fn limits(limits: &Limits) -> v1::Limits {
    v1::Limits {
        request_window_ms: limits.request_window_ms,
        requests_max: limits.requests_max,
        ended_job_keep_ms: limits.ended_job_keep_ms,
        ended_jobs_max: limits.ended_jobs_max,
        jobs_max: limits.jobs_max,
        lost_after_ms: limits.lost_after_ms,
        lease_ttl_ms: limits.lease_ttl_ms,
        script_bytes_max: limits.script_bytes_max,
        scripts_bytes_max_total: limits.scripts_bytes_max_total,
        walltime_ms_max: limits.walltime_ms_max,
        settlement_grace_ms: limits.settlement_grace_ms,
    }
}
