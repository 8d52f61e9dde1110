//! The records of a snapshot: private prost messages, one kind to a table, and their conversions. A new field gets a new
//! tag; a tag is never used again. What cannot be is an error at decode, never a panic.

use std::sync::Arc;

use hesuan_ledger::types::{Fen, HoldId, OrgId, RegionCode, SiteId, Timestamp};

use super::after::{Elements, Unmet, Wait};
use super::archive::{ReceiptRecord, state_number, state_of};
use super::bits::Bits;
use super::gates::Waits;
use super::job::{Label, Satisfiable};
use super::policy_record::{PolicyRecord, objective_number, objective_of};
use super::record_contract::{ContractRecord, ReclaimedRecord};
use super::requests::{Answer, Key};
use super::{
    Agent, Amounts, Attempt, Class, Ended, Generic, Gpu, Host, Job, Limits, Principal, Progress, Reclaimed, Site, Spec,
};
use crate::command::{HostInventory, Member, Role, SiteState};
use crate::outcome::Reply;
use crate::types::{
    After, ClassId, Dependency, Digest, Funding, Gates, HostId, JobId, Nodes, OnSiteLost, Place, PrincipalId, Request,
    RequestId, Resources, Retries, TaskId,
};

/// A record that no state could have written.
pub(super) struct Malformed(pub(super) &'static str);

pub(super) type Decoded<T> = Result<T, Malformed>;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HeadRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) cluster_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) level: u32,
    #[prost(uint32, tag = "3")]
    pub(super) restore_epoch: u32,
    #[prost(uint64, tag = "4")]
    pub(super) applied_index: u64,
    #[prost(uint64, tag = "5")]
    pub(super) at: u64,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) outcome_digest: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub(super) rules_version: u64,
    #[prost(uint64, tag = "8")]
    pub(super) archived: u64,
    #[prost(uint64, tag = "9")]
    pub(super) requests_floor: u64,
    // The next id of each table: ids are never reused, not even the last one given.
    #[prost(uint64, repeated, tag = "10")]
    pub(super) next_ids: Vec<u64>,
    #[prost(uint64, repeated, tag = "11")]
    pub(super) limits: Vec<u64>,
    #[prost(message, optional, tag = "30")]
    pub(super) policy: Option<PolicyRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MemberRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    peer_address: String,
    #[prost(string, tag = "4")]
    client_address: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PrincipalRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, repeated, tag = "3")]
    roles: Vec<u32>,
    #[prost(uint32, optional, tag = "4")]
    org: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    site: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    region: Option<u32>,
    #[prost(bytes = "vec", tag = "7")]
    token_sha256: Vec<u8>,
    #[prost(bool, tag = "8")]
    revoked: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SiteRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    region: u32,
    #[prost(uint32, tag = "4")]
    provider: u32,
    #[prost(uint32, tag = "5")]
    state: u32,
    #[prost(string, tag = "6")]
    reason: String,
    #[prost(message, optional, tag = "7")]
    agent: Option<AgentRecord>,
    #[prost(uint64, optional, tag = "8")]
    lost_at: Option<u64>,
    #[prost(message, optional, tag = "9")]
    sweep_from: Option<TaskRecord>,
    #[prost(message, optional, tag = "40")]
    contract: Option<ContractRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AgentRecord {
    #[prost(bytes = "vec", tag = "1")]
    instance: Vec<u8>,
    #[prost(uint64, tag = "2")]
    replica: u64,
    #[prost(uint32, tag = "3")]
    principal: u32,
    #[prost(uint64, tag = "4")]
    attached_at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TaskRecord {
    #[prost(uint64, tag = "1")]
    job: u64,
    #[prost(uint32, tag = "2")]
    task: u32,
    #[prost(uint32, tag = "3")]
    attempt: u32,
    #[prost(uint32, tag = "4")]
    restore_epoch: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NamedRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    total: u64,
    #[prost(uint64, tag = "3")]
    free: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HostRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint32, tag = "2")]
    site: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(bool, tag = "4")]
    online: bool,
    #[prost(uint64, repeated, tag = "5")]
    amounts: Vec<u64>,
    #[prost(message, repeated, tag = "6")]
    gpus: Vec<NamedRecord>,
    #[prost(message, repeated, tag = "7")]
    generic: Vec<NamedRecord>,
    #[prost(message, optional, tag = "8")]
    awaited: Option<InventoryRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InventoryRecord {
    #[prost(uint64, tag = "1")]
    cpu_milli: u64,
    #[prost(uint64, tag = "2")]
    memory_mib: u64,
    #[prost(string, repeated, tag = "3")]
    gpus: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    generic: Vec<NamedRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClassRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint32, tag = "2")]
    jobs: u32,
    #[prost(uint32, tag = "3")]
    org: u32,
    #[prost(sint32, tag = "4")]
    priority: i32,
    #[prost(uint64, tag = "5")]
    cpu_milli: u64,
    #[prost(uint64, tag = "6")]
    memory_mib: u64,
    #[prost(uint64, tag = "7")]
    gpu_milli: u64,
    #[prost(string, repeated, tag = "8")]
    gpu_models: Vec<String>,
    #[prost(message, repeated, tag = "9")]
    generic: Vec<NamedRecord>,
    #[prost(uint64, tag = "10")]
    walltime_ms_max: u64,
    #[prost(uint32, repeated, tag = "11")]
    sites: Vec<u32>,
    #[prost(uint32, repeated, tag = "12")]
    regions: Vec<u32>,
    #[prost(uint64, repeated, tag = "13")]
    vouchers: Vec<u64>,
    #[prost(bool, tag = "14")]
    wallet_only: bool,
    #[prost(int64, optional, tag = "15")]
    copay_max: Option<i64>,
    #[prost(bool, tag = "16")]
    requeue: bool,
    #[prost(uint64, optional, tag = "17")]
    quote: Option<u64>,
    #[prost(bool, tag = "20")]
    allow_partial: bool,
    #[prost(int64, optional, tag = "21")]
    wallet_max: Option<i64>,
    // Absent = one.
    #[prost(uint32, tag = "22")]
    nodes: u32,
    #[prost(uint64, optional, tag = "18")]
    satisfiable_rules: Option<u64>,
    #[prost(int64, tag = "19")]
    satisfiable_gross: i64,
    #[prost(uint32, optional, tag = "30")]
    objective: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ScriptRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) bytes: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(super) jobs: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JobTableRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint32, tag = "2")]
    class: u32,
    #[prost(uint32, tag = "3")]
    submitter: u32,
    #[prost(uint64, tag = "4")]
    submitted_at: u64,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(bytes = "vec", tag = "6")]
    payload: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "7")]
    script: Option<Vec<u8>>,
    #[prost(uint32, tag = "8")]
    tasks: u32,
    #[prost(bool, tag = "9")]
    array: bool,
    #[prost(uint32, tag = "10")]
    parallel_max: u32,
    #[prost(uint32, tag = "11")]
    retries_max: u32,
    #[prost(string, repeated, tag = "12")]
    labels: Vec<String>,
    #[prost(message, optional, tag = "13")]
    progress: Option<ProgressRecord>,
    #[prost(message, optional, tag = "22")]
    retries: Option<RetriesRecord>,
    #[prost(message, optional, tag = "20")]
    gates: Option<GatesRecord>,
    #[prost(message, optional, tag = "21")]
    waits: Option<WaitsRecord>,
}

// Absent = the default.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RetriesRecord {
    #[prost(uint32, tag = "1")]
    time_limit: u32,
    #[prost(uint32, optional, tag = "2")]
    site_lost: Option<u32>,
    #[prost(uint32, tag = "3")]
    agent_fault: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GatesRecord {
    #[prost(uint64, optional, tag = "1")]
    not_before: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    done_by: Option<u64>,
    #[prost(message, repeated, tag = "3")]
    after: Vec<DependencyRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DependencyRecord {
    #[prost(uint64, tag = "1")]
    job: u64,
    #[prost(uint32, tag = "2")]
    after: u32,
    #[prost(bool, tag = "3")]
    per_element: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UnmetRecord {
    #[prost(message, optional, tag = "1")]
    on: Option<DependencyRecord>,
    #[prost(uint32, optional, tag = "2")]
    task: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WaitsRecord {
    #[prost(uint64, optional, tag = "1")]
    until: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    on: Vec<WaitRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WaitRecord {
    #[prost(message, optional, tag = "1")]
    on: Option<DependencyRecord>,
    #[prost(bytes = "vec", optional, tag = "2")]
    held: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "3")]
    scan_from: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProgressRecord {
    #[prost(uint32, tag = "1")]
    fresh_from: u32,
    #[prost(uint32, repeated, tag = "2")]
    returned: Vec<u32>,
    #[prost(uint32, tag = "3")]
    running: u32,
    #[prost(uint32, tag = "4")]
    succeeded: u32,
    #[prost(uint32, tag = "5")]
    failed: u32,
    #[prost(uint32, tag = "6")]
    cancelled: u32,
    #[prost(uint32, tag = "7")]
    time_limit: u32,
    #[prost(uint32, tag = "8")]
    lost: u32,
    #[prost(bool, tag = "9")]
    cancel_requested: bool,
    #[prost(uint64, optional, tag = "10")]
    ended_at: Option<u64>,
    #[prost(sint32, tag = "11")]
    exit_code: i32,
    #[prost(int64, tag = "12")]
    gross: i64,
    #[prost(int64, tag = "13")]
    subsidy: i64,
    #[prost(int64, tag = "14")]
    copay: i64,
    #[prost(uint32, tag = "15")]
    archived_parts: u32,
    #[prost(uint32, tag = "16")]
    deadline: u32,
    #[prost(message, optional, tag = "17")]
    unmet: Option<UnmetRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AttemptTableRecord {
    #[prost(message, optional, tag = "1")]
    id: Option<TaskRecord>,
    #[prost(uint32, tag = "2")]
    site: u32,
    #[prost(uint32, tag = "3")]
    host: u32,
    #[prost(uint32, repeated, tag = "4")]
    gpu_indices: Vec<u32>,
    #[prost(uint64, tag = "5")]
    placed_at: u64,
    #[prost(uint64, optional, tag = "6")]
    started_at: Option<u64>,
    #[prost(uint64, tag = "7")]
    hold: u64,
    #[prost(uint32, tag = "8")]
    seq: u32,
    #[prost(bool, tag = "9")]
    withdrawn: bool,
    #[prost(message, optional, tag = "10")]
    ended: Option<EndedRecord>,
    #[prost(uint64, tag = "11")]
    walltime_ms_max: u64,
    #[prost(message, repeated, tag = "12")]
    others: Vec<PlaceRecord>,
    #[prost(message, optional, tag = "40")]
    reclaimed: Option<ReclaimedRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PlaceRecord {
    #[prost(uint32, tag = "1")]
    host: u32,
    #[prost(uint32, repeated, tag = "2")]
    gpu_indices: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndedRecord {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(uint32, tag = "2")]
    state: u32,
    #[prost(sint32, tag = "3")]
    exit_code: i32,
    #[prost(uint32, tag = "4")]
    signal: u32,
    #[prost(uint64, tag = "5")]
    wall_ms: u64,
    #[prost(uint64, tag = "6")]
    cpu_ms: u64,
    #[prost(uint64, tag = "7")]
    memory_peak_mib: u64,
    #[prost(string, tag = "8")]
    message: String,
    #[prost(message, optional, tag = "9")]
    receipt: Option<ReceiptRecord>,
    #[prost(int64, tag = "10")]
    refunded: i64,
    #[prost(bool, tag = "11")]
    agent_fault: bool,
    #[prost(bool, tag = "12")]
    site_lost: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RequestRecord {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    principal: u32,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(uint32, tag = "4")]
    kind: u32,
    #[prost(uint64, tag = "5")]
    first: u64,
    #[prost(uint32, tag = "6")]
    second: u32,
}

fn sized<const N: usize>(bytes: &[u8], what: &'static str) -> Decoded<[u8; N]> {
    bytes.try_into().map_err(|_| Malformed(what))
}

fn strings(names: &[Box<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn boxes(names: Vec<String>) -> Vec<Box<str>> {
    names.into_iter().map(String::into_boxed_str).collect()
}

fn pairs(flat: Vec<String>) -> Decoded<Box<[Label]>> {
    let (pairs, rest) = flat.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Malformed("a label without a value"));
    }
    Ok(pairs
        .iter()
        .map(|[key, value]| (key.as_str().into(), value.as_str().into()))
        .collect())
}

pub(super) fn limits_to(limits: &Limits) -> Vec<u64> {
    vec![
        limits.request_window_ms,
        limits.requests_max,
        limits.ended_job_keep_ms,
        limits.ended_jobs_max,
        limits.jobs_max,
        limits.lost_after_ms,
        limits.lease_ttl_ms,
        limits.script_bytes_max,
        limits.scripts_bytes_max_total,
        limits.walltime_ms_max,
        limits.settlement_grace_ms,
    ]
}

pub(super) fn limits_from(record: &[u64]) -> Decoded<Limits> {
    let &[
        request_window_ms,
        requests_max,
        ended_job_keep_ms,
        ended_jobs_max,
        jobs_max,
        lost_after_ms,
        lease_ttl_ms,
        script_bytes_max,
        scripts_bytes_max_total,
        walltime_ms_max,
        settlement_grace_ms,
    ] = record
    else {
        return Err(Malformed("limits"));
    };
    Ok(Limits {
        request_window_ms,
        requests_max,
        ended_job_keep_ms,
        ended_jobs_max,
        jobs_max,
        lost_after_ms,
        lease_ttl_ms,
        script_bytes_max,
        scripts_bytes_max_total,
        walltime_ms_max,
        settlement_grace_ms,
    })
}

impl From<&Member> for MemberRecord {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id,
            name: member.name.to_string(),
            peer_address: member.peer_address.to_string(),
            client_address: member.client_address.to_string(),
        }
    }
}

impl From<MemberRecord> for Member {
    fn from(record: MemberRecord) -> Self {
        Self {
            id: record.id,
            name: record.name.into(),
            peer_address: record.peer_address.into(),
            client_address: record.client_address.into(),
        }
    }
}

const ROLES: [Role; 8] = [
    Role::Admin,
    Role::Operator,
    Role::Member,
    Role::Issuer,
    Role::Treasurer,
    Role::Auditor,
    Role::Node,
    Role::Reviewer,
];

impl From<&Principal> for PrincipalRecord {
    fn from(principal: &Principal) -> Self {
        let number = |role: &Role| {
            ROLES
                .iter()
                .position(|known| known == role)
                .map_or(0, |place| place as u32 + 1)
        };
        Self {
            id: principal.id.0,
            name: principal.name.to_string(),
            roles: principal.roles.iter().map(number).collect(),
            org: principal.org.map(|org| org.0),
            site: principal.site.map(|site| site.0),
            region: principal.region.map(|region| region.0),
            token_sha256: principal.token_sha256.to_vec(),
            revoked: principal.revoked,
        }
    }
}

impl PrincipalRecord {
    pub(super) fn read(self) -> Decoded<Principal> {
        let role = |number: &u32| ROLES.get((*number as usize).wrapping_sub(1)).copied();
        let roles: Option<Vec<Role>> = self.roles.iter().map(role).collect();
        Ok(Principal {
            id: PrincipalId(self.id),
            name: self.name.into(),
            roles: roles.ok_or(Malformed("a role"))?.into(),
            org: self.org.map(OrgId),
            site: self.site.map(SiteId),
            region: self.region.map(RegionCode),
            token_sha256: sized(&self.token_sha256, "a token's digest")?,
            revoked: self.revoked,
        })
    }
}

impl From<TaskId> for TaskRecord {
    fn from(id: TaskId) -> Self {
        Self {
            job: id.job.0,
            task: id.task,
            attempt: id.attempt,
            restore_epoch: id.restore_epoch,
        }
    }
}

impl From<TaskRecord> for TaskId {
    fn from(record: TaskRecord) -> Self {
        let TaskRecord {
            job,
            task,
            attempt,
            restore_epoch,
        } = record;
        Self {
            job: JobId(job),
            task,
            attempt,
            restore_epoch,
        }
    }
}

const SITE_STATES: [SiteState; 3] = [SiteState::Open, SiteState::Cordoned, SiteState::Draining];

impl From<&Site> for SiteRecord {
    fn from(site: &Site) -> Self {
        let agent = |agent: Agent| AgentRecord {
            instance: agent.instance.to_be_bytes().to_vec(),
            replica: agent.replica,
            principal: agent.principal.0,
            attached_at: agent.attached_at.0,
        };
        Self {
            id: site.id.0,
            name: site.name.to_string(),
            region: site.region.0,
            provider: site.provider.0,
            state: SITE_STATES
                .iter()
                .position(|state| *state == site.state)
                .map_or(0, |place| place as u32),
            reason: site.reason.to_string(),
            agent: site.agent.map(agent),
            lost_at: site.lost_at.map(|at| at.0),
            sweep_from: site.sweep_from.map(TaskRecord::from),
            contract: site.contract.as_deref().map(ContractRecord::from),
        }
    }
}

impl SiteRecord {
    pub(super) fn read(self) -> Decoded<Site> {
        let agent = |agent: AgentRecord| {
            Ok(Agent {
                instance: u128::from_be_bytes(sized(&agent.instance, "an agent's instance")?),
                replica: agent.replica,
                principal: PrincipalId(agent.principal),
                attached_at: Timestamp(agent.attached_at),
            })
        };
        Ok(Site {
            id: SiteId(self.id),
            name: self.name.into(),
            region: RegionCode(self.region),
            provider: OrgId(self.provider),
            state: *SITE_STATES
                .get(self.state as usize)
                .ok_or(Malformed("a site's state"))?,
            reason: self.reason.into(),
            agent: self.agent.map(agent).transpose()?,
            lost_at: self.lost_at.map(Timestamp),
            sweep_from: self.sweep_from.map(TaskId::from),
            contract: self
                .contract
                .map(|contract| contract.read().map(Box::new))
                .transpose()?,
        })
    }
}

impl From<&Host> for HostRecord {
    fn from(host: &Host) -> Self {
        let gpu = |gpu: &Gpu| NamedRecord {
            name: gpu.model.to_string(),
            total: 1000,
            free: gpu.free_milli.into(),
        };
        let generic = |r: &Generic| NamedRecord {
            name: r.name.to_string(),
            total: r.total,
            free: r.free,
        };
        Self {
            id: host.id.0,
            site: host.site.0,
            name: host.name.to_string(),
            online: host.online,
            amounts: vec![
                host.total.cpu_milli,
                host.total.memory_mib,
                host.free.cpu_milli,
                host.free.memory_mib,
            ],
            gpus: host.gpus.iter().map(gpu).collect(),
            generic: host.generic.iter().map(generic).collect(),
            awaited: host.awaited.as_deref().map(InventoryRecord::from),
        }
    }
}

impl From<&HostInventory> for InventoryRecord {
    fn from(inventory: &HostInventory) -> Self {
        let named = |(name, total): &(Box<str>, u64)| NamedRecord {
            name: name.to_string(),
            total: *total,
            free: 0,
        };
        Self {
            cpu_milli: inventory.cpu_milli,
            memory_mib: inventory.memory_mib,
            gpus: strings(&inventory.gpus),
            generic: inventory.generic.iter().map(named).collect(),
        }
    }
}

impl HostRecord {
    pub(super) fn read(self) -> Decoded<Host> {
        let &[cpu_milli, memory_mib, cpu_free, memory_free] = &*self.amounts else {
            return Err(Malformed("a host's amounts"));
        };
        let gpu = |gpu: NamedRecord| {
            let free_milli = u32::try_from(gpu.free).ok().filter(|free| *free <= 1000);
            Ok(Gpu {
                model: gpu.name.into(),
                free_milli: free_milli.ok_or(Malformed("a device's share"))?,
            })
        };
        let generic = |r: NamedRecord| Generic {
            name: r.name.into(),
            total: r.total,
            free: r.free,
        };
        let name: Box<str> = self.name.into();
        let awaited = self.awaited.map(|inventory| {
            let named = |r: NamedRecord| (r.name.into_boxed_str(), r.total);
            Box::new(HostInventory {
                name: name.clone(),
                cpu_milli: inventory.cpu_milli,
                memory_mib: inventory.memory_mib,
                gpus: boxes(inventory.gpus),
                generic: inventory.generic.into_iter().map(named).collect(),
            })
        });
        Ok(Host {
            id: HostId(self.id),
            site: SiteId(self.site),
            online: self.online,
            total: Amounts { cpu_milli, memory_mib },
            free: Amounts {
                cpu_milli: cpu_free,
                memory_mib: memory_free,
            },
            gpus: self.gpus.into_iter().map(gpu).collect::<Decoded<_>>()?,
            generic: self.generic.into_iter().map(generic).collect(),
            awaited,
            name,
        })
    }
}

impl ClassRecord {
    pub(super) fn of(id: ClassId, class: &Class) -> Self {
        let request = &class.request;
        let named = |(name, amount): &(Box<str>, u64)| NamedRecord {
            name: name.to_string(),
            total: *amount,
            free: 0,
        };
        Self {
            id: id.0,
            jobs: class.jobs,
            org: request.org.0,
            priority: request.priority,
            cpu_milli: request.resources.cpu_milli,
            memory_mib: request.resources.memory_mib,
            gpu_milli: request.resources.gpu_milli,
            gpu_models: strings(&request.resources.gpu_models),
            generic: request.resources.generic.iter().map(named).collect(),
            nodes: if request.nodes.is_gang() {
                request.nodes.count()
            } else {
                0
            },
            walltime_ms_max: request.walltime_ms_max,
            sites: request.sites.iter().map(|site| site.0).collect(),
            regions: request.regions.iter().map(|region| region.0).collect(),
            vouchers: request.funding.vouchers.clone(),
            wallet_only: request.funding.wallet_only,
            copay_max: request.funding.copay_max.map(|max| max.0),
            allow_partial: request.funding.allow_partial,
            requeue: request.on_site_lost == OnSiteLost::Requeue,
            objective: request.objective.map(objective_number),
            quote: request.quote,
            wallet_max: request.wallet_max.map(|max| max.0),
            satisfiable_rules: class.satisfiable.map(|kept| kept.rules_version),
            satisfiable_gross: class.satisfiable.map_or(0, |kept| kept.gross.0),
        }
    }

    pub(super) fn read(self) -> Decoded<(ClassId, Class)> {
        let gross = Fen(self.satisfiable_gross);
        let request = Request {
            org: OrgId(self.org),
            priority: self.priority,
            resources: Resources {
                cpu_milli: self.cpu_milli,
                memory_mib: self.memory_mib,
                gpu_milli: self.gpu_milli,
                gpu_models: boxes(self.gpu_models),
                generic: self
                    .generic
                    .into_iter()
                    .map(|r| (r.name.into_boxed_str(), r.total))
                    .collect(),
            },
            nodes: Nodes::new(self.nodes).unwrap_or_default(),
            walltime_ms_max: self.walltime_ms_max,
            sites: self.sites.into_iter().map(SiteId).collect(),
            regions: self.regions.into_iter().map(RegionCode).collect(),
            funding: Funding {
                vouchers: self.vouchers,
                wallet_only: self.wallet_only,
                copay_max: self.copay_max.map(Fen),
                allow_partial: self.allow_partial,
            },
            on_site_lost: if self.requeue {
                OnSiteLost::Requeue
            } else {
                OnSiteLost::Hold
            },
            objective: self.objective.map(objective_of).transpose()?,
            quote: self.quote,
            wallet_max: self.wallet_max.map(Fen),
        };
        let satisfiable = self
            .satisfiable_rules
            .map(|rules_version| Satisfiable { rules_version, gross });
        Ok((
            ClassId(self.id),
            Class {
                request: Arc::new(request),
                jobs: self.jobs,
                satisfiable,
            },
        ))
    }
}

impl JobTableRecord {
    pub(super) fn of(id: JobId, job: &Job) -> Self {
        let spec = &job.spec;
        Self {
            id: id.0,
            class: job.class.0,
            submitter: job.submitter.0,
            submitted_at: job.submitted_at.0,
            name: spec.name.to_string(),
            payload: spec.payload.to_vec(),
            script: spec.script.map(|digest| digest.to_vec()),
            tasks: spec.tasks,
            array: spec.array,
            parallel_max: spec.parallel_max,
            retries_max: spec.retries_max,
            labels: spec
                .labels
                .iter()
                .flat_map(|(key, value)| [key.to_string(), value.to_string()])
                .collect(),
            progress: job.progress.as_deref().map(ProgressRecord::from),
            retries: (spec.retries != Retries::default()).then_some(RetriesRecord {
                time_limit: spec.retries.time_limit,
                site_lost: spec.retries.site_lost,
                agent_fault: spec.retries.agent_fault,
            }),
            gates: spec.gates.as_deref().map(GatesRecord::from),
            waits: job.waits.as_deref().map(WaitsRecord::from),
        }
    }

    pub(super) fn read(self) -> Decoded<(JobId, Job)> {
        let script = self
            .script
            .as_deref()
            .map(|digest| sized(digest, "a script's digest"))
            .transpose()?;
        let spec = Spec {
            name: self.name.into(),
            payload: self.payload.into(),
            script,
            tasks: self.tasks,
            array: self.array,
            parallel_max: self.parallel_max,
            retries_max: self.retries_max,
            retries: self.retries.map_or_else(Retries::default, |retries| Retries {
                time_limit: retries.time_limit,
                site_lost: retries.site_lost,
                agent_fault: retries.agent_fault,
            }),
            labels: pairs(self.labels)?,
            gates: self.gates.map(|gates| gates.read().map(Box::new)).transpose()?,
        };
        let progress = self.progress.map(ProgressRecord::read).transpose()?;
        if let Some(progress) = &progress {
            let counted = [
                progress.running,
                progress.succeeded,
                progress.failed,
                progress.cancelled,
                progress.time_limit,
            ];
            let others = [progress.lost, progress.deadline];
            let counted: u64 = counted.into_iter().chain(others).map(u64::from).sum();
            if counted > u64::from(self.tasks) || progress.fresh_from > self.tasks {
                return Err(Malformed("a job's counts"));
            }
        }
        let job = Job {
            spec: Arc::new(spec),
            class: ClassId(self.class),
            submitter: PrincipalId(self.submitter),
            submitted_at: Timestamp(self.submitted_at),
            progress: progress.map(Box::new),
            waits: self
                .waits
                .map(|waits| waits.read(self.tasks).map(Box::new))
                .transpose()?,
        };
        Ok((JobId(self.id), job))
    }
}

impl From<&Gates> for GatesRecord {
    fn from(gates: &Gates) -> Self {
        Self {
            not_before: gates.not_before.map(|at| at.0),
            done_by: gates.done_by.map(|at| at.0),
            after: gates.after.iter().map(DependencyRecord::from).collect(),
        }
    }
}

impl GatesRecord {
    fn read(self) -> Decoded<Gates> {
        let after = self.after.into_iter().map(DependencyRecord::read);
        Ok(Gates {
            after: after.collect::<Decoded<_>>()?,
            not_before: self.not_before.map(Timestamp),
            done_by: self.done_by.map(Timestamp),
        })
    }
}

impl From<&Waits> for WaitsRecord {
    fn from(waits: &Waits) -> Self {
        Self {
            until: waits.until.map(|at| at.0),
            on: waits.on.iter().map(WaitRecord::from).collect(),
        }
    }
}

impl WaitsRecord {
    fn read(self, tasks: u32) -> Decoded<Waits> {
        let on = self.on.into_iter().map(|wait| wait.read(tasks));
        let mut waits = Waits {
            until: self.until.map(Timestamp),
            on: on.collect::<Decoded<_>>()?,
            held: 0,
        };
        waits.held = (0..tasks).filter(|task| waits.holds(*task)).count() as u32;
        if waits.is_closed() {
            Ok(waits)
        } else {
            Err(Malformed("a job that waits for nothing"))
        }
    }
}

const AFTER: [After; 3] = [After::Ok, After::Any, After::NotOk];

impl From<&Dependency> for DependencyRecord {
    fn from(on: &Dependency) -> Self {
        Self {
            job: on.job.0,
            after: AFTER
                .iter()
                .position(|after| *after == on.after)
                .map_or(0, |place| place as u32),
            per_element: on.per_element,
        }
    }
}

impl DependencyRecord {
    fn read(self) -> Decoded<Dependency> {
        Ok(Dependency {
            job: JobId(self.job),
            after: *AFTER.get(self.after as usize).ok_or(Malformed("a dependency"))?,
            per_element: self.per_element,
        })
    }
}

impl From<&Wait> for WaitRecord {
    fn from(wait: &Wait) -> Self {
        Self {
            on: Some(DependencyRecord::from(&wait.on)),
            held: wait.elements.as_ref().map(|elements| elements.held.bytes()),
            scan_from: wait.elements.as_ref().and_then(|elements| elements.scan_from),
        }
    }
}

impl WaitRecord {
    fn read(self, tasks: u32) -> Decoded<Wait> {
        let elements = self.held.map(|bytes| {
            Ok(Elements {
                held: Bits::read(&bytes, tasks).ok_or(Malformed("the tasks that wait"))?,
                scan_from: self.scan_from,
            })
        });
        Ok(Wait {
            on: self.on.ok_or(Malformed("a wait for no job"))?.read()?,
            elements: elements.transpose()?,
        })
    }
}

impl From<&Progress> for ProgressRecord {
    fn from(progress: &Progress) -> Self {
        Self {
            fresh_from: progress.fresh_from,
            returned: progress.returned.iter().copied().collect(),
            running: progress.running,
            succeeded: progress.succeeded,
            failed: progress.failed,
            cancelled: progress.cancelled,
            time_limit: progress.time_limit,
            lost: progress.lost,
            cancel_requested: progress.cancel_requested,
            ended_at: progress.ended_at.map(|at| at.0),
            exit_code: progress.exit_code,
            gross: progress.gross.0,
            subsidy: progress.subsidy.0,
            copay: progress.copay.0,
            archived_parts: progress.archived_parts,
            deadline: progress.deadline,
            unmet: progress.unmet.map(|unmet| UnmetRecord {
                on: Some(DependencyRecord::from(&unmet.on)),
                task: unmet.task,
            }),
        }
    }
}

impl ProgressRecord {
    fn read(self) -> Decoded<Progress> {
        let record = self;
        let unmet = |unmet: UnmetRecord| {
            Ok(Unmet {
                on: unmet.on.ok_or(Malformed("a dependency"))?.read()?,
                task: unmet.task,
            })
        };
        Ok(Progress {
            unmet: record.unmet.map(unmet).transpose()?,
            fresh_from: record.fresh_from,
            returned: record.returned.into_iter().collect(),
            running: record.running,
            succeeded: record.succeeded,
            failed: record.failed,
            cancelled: record.cancelled,
            time_limit: record.time_limit,
            lost: record.lost,
            cancel_requested: record.cancel_requested,
            ended_at: record.ended_at.map(Timestamp),
            exit_code: record.exit_code,
            gross: Fen(record.gross),
            subsidy: Fen(record.subsidy),
            copay: Fen(record.copay),
            archived_parts: record.archived_parts,
            deadline: record.deadline,
        })
    }
}

impl From<&Place> for PlaceRecord {
    fn from(place: &Place) -> Self {
        Self {
            host: place.host.0,
            gpu_indices: place.gpu_indices.to_vec(),
        }
    }
}

impl From<PlaceRecord> for Place {
    fn from(record: PlaceRecord) -> Self {
        Self {
            host: HostId(record.host),
            gpu_indices: record.gpu_indices.into(),
        }
    }
}

impl AttemptTableRecord {
    pub(super) fn of(id: TaskId, attempt: &Attempt) -> Self {
        let ended = |ended: &Ended| EndedRecord {
            at: ended.at.0,
            state: state_number(ended.state),
            exit_code: ended.exit_code,
            signal: ended.signal,
            wall_ms: ended.wall_ms,
            cpu_ms: ended.cpu_ms,
            memory_peak_mib: ended.memory_peak_mib,
            message: ended.message.to_string(),
            receipt: ended.receipt.as_ref().map(ReceiptRecord::of),
            refunded: ended.refunded.0,
            agent_fault: ended.agent_fault,
            site_lost: ended.site_lost,
        };
        Self {
            id: Some(id.into()),
            site: attempt.site.0,
            host: attempt.host.0,
            gpu_indices: attempt.gpu_indices.to_vec(),
            others: attempt.others.iter().map(PlaceRecord::from).collect(),
            placed_at: attempt.placed_at.0,
            started_at: attempt.started_at.map(|at| at.0),
            hold: attempt.hold.0,
            seq: attempt.seq,
            withdrawn: attempt.withdrawn,
            reclaimed: attempt.reclaimed.as_ref().map(ReclaimedRecord::from),
            ended: attempt.ended.as_deref().map(ended),
            walltime_ms_max: attempt.walltime_ms_max,
        }
    }

    pub(super) fn read(self) -> Decoded<(TaskId, Attempt)> {
        let ended = |ended: EndedRecord| {
            Ok(Box::new(Ended {
                at: Timestamp(ended.at),
                state: state_of(ended.state).ok_or(Malformed("an attempt's state"))?,
                exit_code: ended.exit_code,
                signal: ended.signal,
                wall_ms: ended.wall_ms,
                cpu_ms: ended.cpu_ms,
                memory_peak_mib: ended.memory_peak_mib,
                message: ended.message.into(),
                receipt: ended.receipt.as_ref().map(ReceiptRecord::read),
                refunded: Fen(ended.refunded),
                agent_fault: ended.agent_fault,
                site_lost: ended.site_lost,
            }))
        };
        let attempt = Attempt {
            site: SiteId(self.site),
            host: HostId(self.host),
            gpu_indices: self.gpu_indices.into(),
            others: self.others.into_iter().map(Place::from).collect(),
            placed_at: Timestamp(self.placed_at),
            started_at: self.started_at.map(Timestamp),
            hold: HoldId(self.hold),
            walltime_ms_max: self.walltime_ms_max,
            seq: self.seq,
            withdrawn: self.withdrawn,
            reclaimed: self.reclaimed.map(Reclaimed::from),
            ended: self.ended.map(ended).transpose()?,
        };
        Ok((self.id.ok_or(Malformed("an attempt without a number"))?.into(), attempt))
    }
}

impl RequestRecord {
    pub(super) fn of(key: &Key, answer: &Answer) -> Self {
        let (kind, first, second) = answer.reply.numbers();
        Self {
            id: key.id().0.to_be_bytes().to_vec(),
            principal: key.principal().0,
            digest: answer.digest.to_vec(),
            kind,
            first,
            second,
        }
    }

    pub(super) fn read(self) -> Decoded<(Key, Answer)> {
        let id = RequestId(u128::from_be_bytes(sized(&self.id, "a request id")?));
        let reply = Reply::of_numbers(self.kind, self.first, self.second).ok_or(Malformed("an answer"))?;
        let digest: [u8; 16] = sized(&self.digest, "a request's digest")?;
        Ok((Key::new(id, PrincipalId(self.principal)), Answer { digest, reply }))
    }
}

pub(super) fn digest(bytes: &[u8]) -> Decoded<Digest> {
    sized(bytes, "a digest")
}

pub(super) fn cluster_id(bytes: &[u8]) -> Decoded<[u8; 16]> {
    sized(bytes, "the cluster's id")
}
