//! `hesuan.internal.v1.Command`: a request and who asked. Decoding is total; what it cannot take is a rejection.

use bytes::Bytes;
use hesuan_engine::command::{Body as EngineBody, Command, Decision, Member, Reclaim};
use hesuan_engine::outcome::Rejection;
use hesuan_engine::types::{Place, PrincipalId, RequestId, SiteId};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::convert::check::{invalid, missing};
use crate::convert::{self, check};
use crate::internal::v1::{self as wire, command::Body};
use crate::v1;

/// Judges a request and encodes it as a command of `principal`, ready to be proposed or forwarded.
///
/// # Errors
/// What is wrong with the request, by field; a mutation without a request id too.
pub fn encode_command(principal: PrincipalId, body: Body) -> Result<Bytes, Rejection> {
    encode(wire::Command {
        principal: principal.0,
        body: Some(body),
        ..wire::Command::default()
    })
}

/// The same for a job, with what this replica's archive says of jobs that it is to run after.
///
/// # Errors
/// As [`encode_command`].
pub fn encode_submit(
    principal: PrincipalId,
    request: v1::SubmitJobRequest,
    archived: Vec<wire::ArchivedJob>,
) -> Result<Bytes, Rejection> {
    encode(wire::Command {
        principal: principal.0,
        body: Some(Body::SubmitJob(request)),
        archived,
    })
}

fn encode(mut command: wire::Command) -> Result<Bytes, Rejection> {
    let bytes = command.encode_to_vec();
    if let Some(mut body) = command.body.take() {
        if let Some(id) = request_id_of(&mut body) {
            request_id(id)?;
        }
        convert::body(body)?;
    }
    Ok(bytes.into())
}

/// The command of an item of an entry.
///
/// # Errors
/// What is wrong with it, by field; bytes that are no command at all have the code `COMMAND_MALFORMED`.
pub fn decode_command(bytes: &[u8]) -> Result<Command, Rejection> {
    let mut command = wire::Command::decode(bytes).map_err(|error| {
        invalid(
            "COMMAND_MALFORMED",
            "",
            format_args!("the command cannot be decoded: {error}"),
        )
    })?;
    let principal = PrincipalId(std::mem::take(&mut command.principal));
    // Not part of what was asked: a job that is asked for again may find another in the archive by then.
    let archived = std::mem::take(&mut command.archived);
    let mut digest = [0; 16];
    let mut id = None;
    if let Some(given) = command.body.as_mut().and_then(request_id_of) {
        id = Some(request_id(given)?);
        // The kind of request is part of what is hashed: suspending and resuming a voucher look alike otherwise.
        digest.copy_from_slice(&Sha256::digest(command.encode_to_vec())[..16]);
    }
    let Some(body) = command.body else {
        return Err(invalid(
            "COMMAND_UNKNOWN",
            "",
            "the command is of no kind known here: bring every replica to the same release",
        ));
    };
    let mut body = convert::body(body)?;
    if let EngineBody::SubmitJob(job) = &mut body {
        job.archived = convert::job::archived(archived);
    }
    Ok(Command {
        principal,
        request_id: id,
        digest,
        body,
    })
}

/// Takes the id out of a request, so that what is left can be hashed. `None` for commands that have none.
fn request_id_of(body: &mut Body) -> Option<Vec<u8>> {
    let id = match body {
        Body::SubmitJob(request) => &mut request.request_id,
        Body::BindQuote(request) => &mut request.request_id,
        Body::CancelJob(request) => &mut request.request_id,
        Body::ReleaseQuote(request) => &mut request.request_id,
        Body::CreateOrg(request) => &mut request.request_id,
        Body::TopUp(request) => &mut request.request_id,
        Body::Withdraw(request) => &mut request.request_id,
        Body::SetPrices(request) => &mut request.request_id,
        Body::Refund(request) => &mut request.request_id,
        Body::CreateProgramme(request) => &mut request.request_id,
        Body::CreateAgreement(request) => &mut request.request_id,
        Body::EndAgreement(request) => &mut request.request_id,
        Body::IssueVouchers(request) => &mut request.request_id,
        Body::RedeemVoucher(request) => &mut request.request_id,
        Body::SuspendVoucher(request) => &mut request.request_id,
        Body::ResumeVoucher(request) => &mut request.request_id,
        Body::RevokeVoucher(request) => &mut request.request_id,
        Body::UpdateOrg(request) => &mut request.request_id,
        Body::Collect(request) => &mut request.request_id,
        Body::ReviseProgramme(request) => &mut request.request_id,
        Body::SetBudget(request) => &mut request.request_id,
        Body::PayIn(request) => &mut request.request_id,
        Body::RepayFund(request) => &mut request.request_id,
        Body::EndPeriod(request) => &mut request.request_id,
        Body::ClosePeriod(request) => &mut request.request_id,
        Body::ReviewSettlement(request) => &mut request.request_id,
        Body::PaySettlement(request) => &mut request.request_id,
        Body::FileClaim(request) => &mut request.request_id,
        Body::ReviewClaim(request) => &mut request.request_id,
        Body::PayClaim(request) => &mut request.request_id,
        Body::CreateSite(request) => &mut request.request_id,
        Body::SetSiteState(request) => &mut request.request_id,
        Body::SetContract(request) => &mut request.request_id,
        Body::SetQuota(request) => &mut request.request_id,
        Body::CreatePrincipal(request) => &mut request.request_id,
        Body::RevokePrincipal(request) => &mut request.request_id,
        Body::SetLimits(request) => &mut request.request_id,
        Body::SetPolicy(request) => &mut request.request_id,
        Body::ExtendJob(request) => &mut request.request_id,
        Body::AttachAgent(_)
        | Body::Reports(_)
        | Body::Decisions(_)
        | Body::Reclaims(_)
        | Body::SiteLost(_)
        | Body::Tick(_)
        | Body::AddMember(_)
        | Body::SetLevel(_) => return None,
    };
    Some(std::mem::take(id))
}

fn request_id(given: Vec<u8>) -> Result<RequestId, Rejection> {
    if given.is_empty() {
        return Err(missing(
            "request_id",
            "send 16 bytes of a UUIDv7 and keep them for retries",
        ));
    }
    let number = <[u8; 16]>::try_from(given.as_slice()).map(u128::from_be_bytes).ok();
    // Version and variant of RFC 9562, which is what makes the first 48 bits a time.
    let is_v7 = |id: &u128| (id >> 76) & 0xf == 7 && (id >> 62) & 0b11 == 0b10;
    number.filter(is_v7).map(RequestId).ok_or_else(|| {
        invalid(
            "FIELD_MALFORMED",
            "request_id",
            format_args!("request_id ({} bytes) is no UUIDv7: send its 16 bytes", given.len()),
        )
    })
}

fn of_cluster(body: Body) -> Bytes {
    wire::Command {
        principal: PrincipalId::CLUSTER.0,
        body: Some(body),
        ..wire::Command::default()
    }
    .encode_to_vec()
    .into()
}

/// The leader's placements.
#[must_use]
pub fn encode_decisions(decisions: &[Decision]) -> Bytes {
    let node = |place: &Place| wire::DecisionNode {
        host: place.host.0,
        gpu_indices: place.gpu_indices.to_vec(),
    };
    let message = |decision: &Decision| wire::Decision {
        job: decision.job.0,
        task: decision.task,
        host: decision.host.0,
        gpu_indices: decision.gpu_indices.clone(),
        others: decision.others.iter().map(node).collect(),
    };
    of_cluster(Body::Decisions(wire::Decisions {
        decisions: decisions.iter().map(message).collect(),
    }))
}

/// Floors that the leader takes back.
#[must_use]
pub fn encode_reclaims(reclaims: &[Reclaim]) -> Bytes {
    let message = |reclaim: &Reclaim| wire::Reclaim {
        job: reclaim.job.0,
        task: reclaim.task,
        host: reclaim.host.0,
        victims: reclaim
            .victims
            .iter()
            .map(|victim| convert::site::task_id_message(*victim))
            .collect(),
    };
    of_cluster(Body::Reclaims(wire::Reclaims {
        reclaims: reclaims.iter().map(message).collect(),
    }))
}

/// The leader has not heard of this instance of a site's agent for too long.
#[must_use]
pub fn encode_site_lost(site: SiteId, instance: u128) -> Bytes {
    of_cluster(Body::SiteLost(wire::SiteLost {
        site: site.0,
        instance: instance.to_be_bytes().to_vec(),
    }))
}

/// Time for housekeeping.
#[must_use]
pub fn encode_tick() -> Bytes {
    of_cluster(Body::Tick(wire::Tick {}))
}

/// The level of apply from this entry on.
#[must_use]
pub fn encode_set_level(level: u32) -> Bytes {
    of_cluster(Body::SetLevel(wire::SetLevel { level }))
}

/// A member's name and addresses, asked for by `principal`.
///
/// # Errors
/// What is wrong with a name or address, by field.
pub fn encode_add_member(principal: PrincipalId, member: &Member) -> Result<Bytes, Rejection> {
    check::range("id", member.id, 1, u64::MAX)?;
    encode_command(
        principal,
        Body::AddMember(wire::AddMember {
            id: member.id,
            name: member.name.to_string(),
            peer_address: member.peer_address.to_string(),
            client_address: member.client_address.to_string(),
        }),
    )
}
