//! An ended job as it leaves State: names instead of numbers, because what they name may be gone when it is read.

use hesuan_ledger::types::{AgreementId, BasisPoints, Fen, Grant, ProgrammeId, VoucherId};
use hesuan_ledger::{Leg, Redemption};

use super::{Attempt, JobState, Receipt, State};
use crate::types::{After, Dependency, HostId, JobId, OnSiteLost, Place, TaskId};

/// Attempts in one record; a job with more leaves in several records of the same number.
pub const ATTEMPTS_PER_RECORD: usize = 256;

/// An ended job, or a part of its attempts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JobRecord {
    /// Number of the job.
    #[prost(uint64, tag = "1")]
    pub job: u64,
    /// From 0; parts are archived in order.
    #[prost(uint32, tag = "2")]
    pub part: u32,
    /// Only the last part carries what follows, besides its attempts.
    #[prost(message, optional, tag = "3")]
    pub summary: Option<JobSummary>,
    /// In order of task and attempt, going on where the part before ended.
    #[prost(message, repeated, tag = "4")]
    pub attempts: Vec<AttemptRecord>,
}

/// What is known of an ended job as a whole. Amounts are fen, times milliseconds since 1970 UTC.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the fields are those of hesuan.v1.Job and hesuan.v1.JobSpec")]
pub struct JobSummary {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub org: String,
    #[prost(string, tag = "3")]
    pub submitted_by: String,
    #[prost(bytes = "vec", tag = "4")]
    pub payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub script_sha256: Vec<u8>,
    #[prost(uint32, tag = "6")]
    pub tasks: u32,
    #[prost(bool, tag = "7")]
    pub array: bool,
    #[prost(uint32, tag = "8")]
    pub parallel_max: u32,
    #[prost(uint32, tag = "9")]
    pub retries_max: u32,
    #[prost(string, repeated, tag = "10")]
    pub labels: Vec<String>,
    #[prost(uint64, tag = "11")]
    pub cpu_milli: u64,
    #[prost(uint64, tag = "12")]
    pub memory_mib: u64,
    #[prost(uint64, tag = "13")]
    pub gpu_milli: u64,
    #[prost(string, repeated, tag = "14")]
    pub gpu_models: Vec<String>,
    #[prost(string, repeated, tag = "15")]
    pub generic_names: Vec<String>,
    #[prost(uint64, repeated, tag = "16")]
    pub generic_amounts: Vec<u64>,
    #[prost(uint64, tag = "17")]
    pub walltime_ms_max: u64,
    #[prost(sint32, tag = "18")]
    pub priority: i32,
    #[prost(bool, tag = "19")]
    pub requeue_on_site_lost: bool,
    /// Numbers as in hesuan.v1.JobState.
    #[prost(uint32, tag = "20")]
    pub state: u32,
    #[prost(uint64, tag = "21")]
    pub submitted_at_ms: u64,
    #[prost(uint64, tag = "22")]
    pub ended_at_ms: u64,
    #[prost(sint32, tag = "23")]
    pub exit_code: i32,
    #[prost(uint32, tag = "24")]
    pub succeeded: u32,
    #[prost(uint32, tag = "25")]
    pub failed: u32,
    #[prost(uint32, tag = "26")]
    pub cancelled: u32,
    #[prost(uint32, tag = "27")]
    pub time_limit: u32,
    #[prost(uint32, tag = "28")]
    pub lost: u32,
    #[prost(int64, tag = "29")]
    pub gross_fen: i64,
    #[prost(int64, tag = "30")]
    pub subsidy_fen: i64,
    #[prost(int64, tag = "31")]
    pub copay_fen: i64,
    #[prost(bool, tag = "32")]
    pub cancel_requested: bool,
    #[prost(string, repeated, tag = "33")]
    pub sites: Vec<String>,
    #[prost(uint32, repeated, tag = "34")]
    pub regions: Vec<u32>,
    #[prost(uint64, tag = "35")]
    pub not_before_ms: u64,
    #[prost(uint64, tag = "36")]
    pub done_by_ms: u64,
    #[prost(uint32, tag = "37")]
    pub deadline: u32,
    #[prost(message, repeated, tag = "38")]
    pub after: Vec<DependencyRecord>,
    /// Why tasks were given up; empty if none were.
    #[prost(string, tag = "39")]
    pub ended_because_code: String,
    #[prost(string, tag = "40")]
    pub ended_because_text: String,
    #[prost(uint32, tag = "41")]
    pub retries_time_limit: u32,
    #[prost(uint32, optional, tag = "42")]
    pub retries_site_lost: Option<u32>,
    #[prost(uint32, tag = "43")]
    pub retries_agent_fault: u32,
    #[prost(uint32, tag = "60")]
    pub nodes: u32,
}

/// A job that it was to run after.
#[derive(Clone, Copy, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the fields are those of hesuan.v1.Dependency")]
pub struct DependencyRecord {
    #[prost(uint64, tag = "1")]
    pub job: u64,
    /// Numbers as in hesuan.v1.After.
    #[prost(uint32, tag = "2")]
    pub after: u32,
    #[prost(bool, tag = "3")]
    pub per_element: bool,
}

/// One ended attempt.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(
    missing_docs,
    reason = "the fields are those of hesuan.v1.Attempt and hesuan.v1.Price"
)]
pub struct AttemptRecord {
    #[prost(uint32, tag = "1")]
    pub task: u32,
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
    #[prost(uint32, tag = "3")]
    pub restore_epoch: u32,
    #[prost(string, tag = "4")]
    pub site: String,
    #[prost(string, tag = "5")]
    pub host: String,
    #[prost(uint32, repeated, tag = "6")]
    pub gpu_indices: Vec<u32>,
    #[prost(uint64, tag = "7")]
    pub placed_at_ms: u64,
    #[prost(uint64, tag = "8")]
    pub started_at_ms: u64,
    #[prost(uint64, tag = "9")]
    pub ended_at_ms: u64,
    /// Numbers as in hesuan.v1.JobState.
    #[prost(uint32, tag = "10")]
    pub state: u32,
    #[prost(sint32, tag = "11")]
    pub exit_code: i32,
    #[prost(uint32, tag = "12")]
    pub signal: u32,
    #[prost(uint64, tag = "13")]
    pub wall_ms: u64,
    #[prost(uint64, tag = "14")]
    pub cpu_ms: u64,
    #[prost(uint64, tag = "15")]
    pub memory_peak_mib: u64,
    #[prost(string, tag = "16")]
    pub message: String,
    /// `None` if nothing was billed.
    #[prost(message, optional, tag = "17")]
    pub receipt: Option<ReceiptRecord>,
    #[prost(int64, tag = "18")]
    pub refunded_fen: i64,
    #[prost(uint64, tag = "19")]
    pub walltime_ms_max: u64,
    /// The further hosts of a gang, by rank from 1.
    #[prost(message, repeated, tag = "50")]
    pub others: Vec<NodeRecord>,
}

/// One host of a gang.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the fields are those of hesuan.v1.Node")]
pub struct NodeRecord {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(uint32, repeated, tag = "2")]
    pub gpu_indices: Vec<u32>,
}

/// What an attempt cost: `gross = legs + copay`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the fields are those of hesuan.v1.Price")]
pub struct ReceiptRecord {
    #[prost(int64, tag = "1")]
    pub gross_fen: i64,
    #[prost(int64, tag = "2")]
    pub copay_fen: i64,
    #[prost(message, repeated, tag = "3")]
    pub legs: Vec<LegRecord>,
}

/// What one voucher paid.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the fields are those of hesuan.v1.PriceLeg")]
pub struct LegRecord {
    #[prost(uint64, tag = "1")]
    pub voucher: u64,
    #[prost(uint32, tag = "2")]
    pub programme: u32,
    #[prost(uint32, tag = "3")]
    pub agreement: u32,
    #[prost(uint32, tag = "4")]
    pub rate_bp: u32,
    #[prost(int64, tag = "5")]
    pub eligible_fen: i64,
    #[prost(int64, tag = "6")]
    pub amount_fen: i64,
    #[prost(bool, tag = "7")]
    pub holder_redeemed: bool,
    /// In the programme's denomination.
    #[prost(int64, tag = "8")]
    pub grant: i64,
    #[prost(bool, tag = "9")]
    pub unit_hours: bool,
}

impl ReceiptRecord {
    /// The receipt as a record.
    #[must_use]
    pub fn of(receipt: &Receipt) -> Self {
        let leg = |leg: &Leg| LegRecord {
            voucher: leg.voucher.0,
            programme: leg.programme.0,
            agreement: leg.agreement.0,
            rate_bp: leg.rate.0,
            eligible_fen: leg.eligible.0,
            amount_fen: leg.amount.0,
            holder_redeemed: leg.redemption == Redemption::Holder,
            grant: leg.grant.0,
            unit_hours: leg.unit_hours,
        };
        Self {
            gross_fen: receipt.gross.0,
            copay_fen: receipt.copay.0,
            legs: receipt.legs.iter().map(leg).collect(),
        }
    }

    /// The receipt it records.
    #[must_use]
    pub fn read(&self) -> Receipt {
        let leg = |leg: &LegRecord| Leg {
            voucher: VoucherId(leg.voucher),
            programme: ProgrammeId(leg.programme),
            agreement: AgreementId(leg.agreement),
            rate: BasisPoints(leg.rate_bp),
            eligible: Fen(leg.eligible_fen),
            amount: Fen(leg.amount_fen),
            grant: Grant(leg.grant),
            unit_hours: leg.unit_hours,
            redemption: if leg.holder_redeemed {
                Redemption::Holder
            } else {
                Redemption::Provider
            },
        };
        Receipt {
            gross: Fen(self.gross_fen),
            legs: self.legs.iter().map(leg).collect(),
            copay: Fen(self.copay_fen),
        }
    }
}

impl JobRecord {
    /// A part of an ended job; the last part has the summary.
    pub(super) fn of(state: &State, id: JobId, attempts: &[TaskId], is_last: bool) -> Self {
        let job = state.job(id).expect("the caller has it");
        let record = |id: &TaskId| AttemptRecord::of(state, *id, state.attempt(*id).expect("the caller has it"));
        Self {
            job: id.0,
            part: job.progress().archived_parts,
            summary: is_last.then(|| JobSummary::of(state, id)),
            attempts: attempts.iter().map(record).collect(),
        }
    }
}

impl JobSummary {
    fn of(state: &State, id: JobId) -> Self {
        let job = state.job(id).expect("the caller has it");
        let (spec, progress, request) = (&job.spec, job.progress(), state.request(job));
        let need = &request.resources;
        let because = state.given_up_because(job);
        let owned = |names: &[Box<str>]| names.iter().map(|name| name.to_string()).collect();
        let site_name = |id: &_| state.site(*id).map_or_else(String::new, |site| site.name.to_string());
        Self {
            name: spec.name.to_string(),
            org: state
                .ledger()
                .org(request.org)
                .map_or_else(String::new, |org| org.registered.name.to_string()),
            submitted_by: state
                .principal(job.submitter)
                .map_or_else(String::new, |who| who.name.to_string()),
            payload: spec.payload.to_vec(),
            script_sha256: spec.script.map_or_else(Vec::new, |digest| digest.to_vec()),
            tasks: spec.tasks,
            array: spec.array,
            parallel_max: spec.parallel_max,
            retries_max: spec.retries_max,
            retries_time_limit: spec.retries.time_limit,
            retries_site_lost: spec.retries.site_lost,
            retries_agent_fault: spec.retries.agent_fault,
            labels: spec
                .labels
                .iter()
                .flat_map(|(key, value)| [key.to_string(), value.to_string()])
                .collect(),
            cpu_milli: need.cpu_milli,
            memory_mib: need.memory_mib,
            gpu_milli: need.gpu_milli,
            gpu_models: owned(&need.gpu_models),
            generic_names: need.generic.iter().map(|(name, _)| name.to_string()).collect(),
            generic_amounts: need.generic.iter().map(|(_, amount)| *amount).collect(),
            nodes: request.nodes.count(),
            walltime_ms_max: request.walltime_ms_max,
            priority: request.priority,
            requeue_on_site_lost: request.on_site_lost == OnSiteLost::Requeue,
            state: state_number(job.state()),
            submitted_at_ms: job.submitted_at.0,
            ended_at_ms: progress.ended_at.unwrap_or_default().0,
            exit_code: progress.exit_code,
            succeeded: progress.succeeded,
            failed: progress.failed,
            cancelled: progress.cancelled,
            time_limit: progress.time_limit,
            lost: progress.lost,
            gross_fen: progress.gross.0,
            subsidy_fen: progress.subsidy.0,
            copay_fen: progress.copay.0,
            cancel_requested: progress.cancel_requested,
            sites: request.sites.iter().map(site_name).collect(),
            regions: request.regions.iter().map(|region| region.0).collect(),
            not_before_ms: spec.gates().not_before.unwrap_or_default().0,
            done_by_ms: spec.gates().done_by.unwrap_or_default().0,
            deadline: progress.deadline,
            after: spec.gates().after.iter().map(DependencyRecord::of).collect(),
            ended_because_code: because
                .as_ref()
                .map_or_else(String::new, |(code, _)| (*code).to_owned()),
            ended_because_text: because.map_or_else(String::new, |(_, text)| text),
        }
    }
}

impl DependencyRecord {
    fn of(on: &Dependency) -> Self {
        Self {
            job: on.job.0,
            after: after_number(on.after),
            per_element: on.per_element,
        }
    }
}

/// As in hesuan.v1.After.
#[must_use]
pub fn after_number(after: After) -> u32 {
    match after {
        After::Ok => 1,
        After::Any => 2,
        After::NotOk => 3,
    }
}

impl AttemptRecord {
    fn of(state: &State, id: TaskId, attempt: &Attempt) -> Self {
        let ended = attempt.ended.as_deref().expect("only ended attempts leave");
        let host_name = |id: HostId| state.host(id).map_or_else(String::new, |host| host.name.to_string());
        let node = |place: &Place| NodeRecord {
            host: host_name(place.host),
            gpu_indices: place.gpu_indices.to_vec(),
        };
        Self {
            task: id.task,
            attempt: id.attempt,
            restore_epoch: id.restore_epoch,
            site: state
                .site(attempt.site)
                .map_or_else(String::new, |site| site.name.to_string()),
            host: host_name(attempt.host),
            gpu_indices: attempt.gpu_indices.to_vec(),
            others: attempt.others.iter().map(node).collect(),
            placed_at_ms: attempt.placed_at.0,
            started_at_ms: attempt.started_at.unwrap_or_default().0,
            ended_at_ms: ended.at.0,
            state: state_number(ended.state),
            exit_code: ended.exit_code,
            signal: ended.signal,
            wall_ms: ended.wall_ms,
            cpu_ms: ended.cpu_ms,
            memory_peak_mib: ended.memory_peak_mib,
            message: ended.message.to_string(),
            receipt: ended.receipt.as_ref().map(ReceiptRecord::of),
            refunded_fen: ended.refunded.0,
            walltime_ms_max: attempt.walltime_ms_max,
        }
    }
}

/// As in hesuan.v1.JobState.
#[must_use]
pub fn state_number(state: JobState) -> u32 {
    match state {
        JobState::Pending => 1,
        JobState::Running => 2,
        JobState::Succeeded => 3,
        JobState::Failed => 4,
        JobState::Cancelled => 5,
        JobState::TimeLimit => 6,
        JobState::Lost => 7,
        JobState::Deadline => 8,
        JobState::Preempted => 12,
    }
}

/// The reverse of [`state_number`].
#[must_use]
pub fn state_of(number: u32) -> Option<JobState> {
    use JobState::{Cancelled, Deadline, Failed, Lost, Pending, Preempted, Running, Succeeded, TimeLimit};
    [
        Pending, Running, Succeeded, Failed, Cancelled, TimeLimit, Lost, Deadline, Preempted,
    ]
    .into_iter()
    .find(|s| state_number(*s) == number)
}
