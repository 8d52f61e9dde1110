//! Principals, limits, members and the leader's own commands.

use hesuan_engine::command::{Body, Decision, LimitsChange, Member, NewPrincipal, Role};
use hesuan_engine::types::{HostId, JobId, Place};

use super::check::{self, Checked, missing};
use crate::internal::v1 as wire;
use crate::v1;

/// Decisions of one command.
pub const DECISIONS_MAX: usize = 65_536;

pub(super) fn create_principal(request: v1::CreatePrincipalRequest) -> Checked<Body> {
    let given = request
        .principal
        .ok_or_else(|| missing("principal", "describe the principal"))?;
    if given.roles.is_empty() {
        return Err(missing("principal.roles", "give at least one role"));
    }
    check::count("principal.roles", given.roles.len(), 8)?;
    let mut roles = Vec::with_capacity(given.roles.len());
    for (index, number) in given.roles.into_iter().enumerate() {
        roles.push(role(
            check::known(format_args!("principal.roles[{index}]"), number, ROLES)?,
            index,
        )?);
    }
    roles.sort_unstable();
    roles.dedup();
    let org = check::name_or_empty("principal.org", given.org)?;
    let site = check::name_or_empty("principal.site", given.site)?;
    if roles.contains(&Role::Member) && org.is_empty() {
        return Err(missing("principal.org", "a member belongs to an organisation"));
    }
    if (roles.contains(&Role::Operator) || roles.contains(&Role::Node)) && site.is_empty() {
        return Err(missing("principal.site", "an operator or node belongs to a site"));
    }
    if roles.contains(&Role::Issuer) && given.region == 0 {
        return Err(missing("principal.region", "an issuer belongs to a region"));
    }
    let region = match given.region {
        0 => None,
        code => Some(check::region("principal.region", code)?),
    };
    Ok(Body::CreatePrincipal(NewPrincipal {
        name: check::name("principal.name", given.name)?,
        roles,
        org: (!org.is_empty()).then_some(org),
        site: (!site.is_empty()).then_some(site),
        region,
        token_sha256: check::digest("token_sha256", &request.token_sha256)?,
    }))
}

const ROLES: &str = "admin, operator, member, issuer, treasurer, auditor, node and reviewer";

fn role(given: v1::Role, index: usize) -> Checked<Role> {
    Ok(match given {
        v1::Role::Unspecified => return Err(missing(format_args!("principal.roles[{index}]"), ROLES)),
        v1::Role::Admin => Role::Admin,
        v1::Role::Operator => Role::Operator,
        v1::Role::Member => Role::Member,
        v1::Role::Issuer => Role::Issuer,
        v1::Role::Treasurer => Role::Treasurer,
        v1::Role::Auditor => Role::Auditor,
        v1::Role::Node => Role::Node,
        v1::Role::Reviewer => Role::Reviewer,
    })
}

/// A role as answers show it.
#[must_use]
pub fn role_message(role: Role) -> v1::Role {
    match role {
        Role::Admin => v1::Role::Admin,
        Role::Operator => v1::Role::Operator,
        Role::Member => v1::Role::Member,
        Role::Issuer => v1::Role::Issuer,
        Role::Treasurer => v1::Role::Treasurer,
        Role::Auditor => v1::Role::Auditor,
        Role::Node => v1::Role::Node,
        Role::Reviewer => v1::Role::Reviewer,
    }
}

pub(super) fn revoke_principal(request: v1::RevokePrincipalRequest) -> Checked<Body> {
    Ok(Body::RevokePrincipal {
        name: check::name("name", request.name)?,
    })
}

pub(super) fn set_limits(request: v1::SetLimitsRequest) -> Checked<Body> {
    let given = request
        .limits
        .ok_or_else(|| missing("limits", "give the limits to change"))?;
    // Which values make sense together the engine knows, since it sees the limits as they are.
    let change = |value: u64| (value != 0).then_some(value);
    Ok(Body::SetLimits(LimitsChange {
        request_window_ms: change(given.request_window_ms),
        requests_max: change(given.requests_max),
        ended_job_keep_ms: change(given.ended_job_keep_ms),
        ended_jobs_max: change(given.ended_jobs_max),
        jobs_max: change(given.jobs_max),
        lost_after_ms: change(given.lost_after_ms),
        lease_ttl_ms: change(given.lease_ttl_ms),
        script_bytes_max: change(given.script_bytes_max),
        scripts_bytes_max_total: change(given.scripts_bytes_max_total),
        walltime_ms_max: change(given.walltime_ms_max),
        settlement_grace_ms: change(given.settlement_grace_ms),
    }))
}

pub(super) fn add_member(request: wire::AddMember) -> Checked<Body> {
    if request.id == 0 {
        return Err(missing("id", "give the number of the member"));
    }
    Ok(Body::AddMember(Member {
        id: request.id,
        name: check::name("name", request.name)?,
        peer_address: address("peer_address", request.peer_address)?,
        client_address: address("client_address", request.client_address)?,
    }))
}

/// host:port; whether it can be reached is seen later.
pub(crate) fn address(field: &str, given: String) -> Checked<Box<str>> {
    check::bytes(field, given.len(), 256)?;
    let good = match given.rsplit_once(':') {
        Some((host, port)) => {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) && host.chars().all(is_host)
        }
        None => false,
    };
    if good {
        return Ok(given.into_boxed_str());
    }
    Err(check::invalid(
        "FIELD_MALFORMED",
        field,
        format_args!(
            "{field} is \"{}\": give host:port, such as 10.0.0.1:7444",
            given.escape_default()
        ),
    ))
}

fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%')
}

pub(super) fn decisions(request: wire::Decisions) -> Checked<Body> {
    check::count("decisions", request.decisions.len(), DECISIONS_MAX)?;
    let place = |given: wire::DecisionNode| Place {
        host: HostId(given.host),
        gpu_indices: given.gpu_indices.into(),
    };
    let decisions = request.decisions.into_iter().map(|given| Decision {
        job: JobId(given.job),
        task: given.task,
        host: HostId(given.host),
        gpu_indices: given.gpu_indices,
        others: given.others.into_iter().map(place).collect(),
    });
    Ok(Body::Decisions(decisions.collect()))
}
