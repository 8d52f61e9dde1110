//! Jobs that have left State: read from this replica's archive, where names stand instead of numbers.

use hesuan_api::answer::{self, ATTEMPTS_MAX, RECEIPTS_MAX};
use hesuan_api::internal::v1 as wire;
use hesuan_api::v1;
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::state::archive::{AttemptRecord, DependencyRecord, JobRecord, JobSummary, ReceiptRecord, state_of};
use hesuan_engine::state::{DEPENDENCIES_MAX, State};
use hesuan_engine::types::{JobId, PrincipalId};
use prost::Message as _;
use tonic::{Code, Status};

use super::Core;
use super::call::Deadline;
use super::job::unknown;
use crate::apply::View;

impl Core {
    /// What the archive gives of a job that has left State, if the caller may see it; otherwise the answer that it is unknown.
    ///
    /// The read that did not find it in State was as fresh as asked, and what left State by then is in the archive here.
    pub(super) async fn find_archived<T: Send + 'static>(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        id: JobId,
        answer: impl FnOnce(&State, &JobRecord) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let unknown = || hesuan_api::refusal::status(&unknown(id));
        let record = self.archived_record(id).await?;
        let seen = self.look(deadline, move |view: &View<'_>| {
            let org = record
                .summary
                .as_ref()
                .and_then(|summary| view.state.ledger().org_by_name(&summary.org))?;
            access::may_read(view.state, caller, Kind::ReadJobs, Scope::Org(org.id))
                .then(|| answer(view.state, &record))
        });
        seen.await?.ok_or_else(unknown)
    }
}

impl Core {
    // A job with many attempts left in parts; only the last one says what it was. Without a summary it is not in the archive.
    async fn archived_record(&self, id: JobId) -> Result<JobRecord, Status> {
        let found = self.disk.run(move |disk| disk.archive().find_job(id.0)).await;
        let found = found.map_err(|error| Status::new(Code::DataLoss, error.to_string()))?;
        let mut record = JobRecord::default();
        for part in found {
            let part = JobRecord::decode(&*part.bytes);
            let part = part
                .map_err(|error| Status::new(Code::DataLoss, format!("the archived job cannot be decoded: {error}")))?;
            record.job = part.job;
            record.summary = part.summary.or(record.summary);
            record.attempts.extend(part.attempts);
        }
        Ok(record)
    }

    /// What the archive says of the jobs that this one is to run after and that have left State. Who may name them is for apply to judge.
    pub(super) async fn archived_dependencies(
        &self,
        deadline: Deadline,
        request: &v1::SubmitJobRequest,
    ) -> Result<Vec<wire::ArchivedJob>, Status> {
        let after = request.spec.iter().flat_map(|spec| &spec.after);
        let named: Vec<JobId> = after.take(DEPENDENCIES_MAX).map(|on| JobId(on.job_id)).collect();
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let gone = |view: &View<'_>| {
            let gone = named.into_iter().filter(|id| view.state.job(*id).is_none());
            gone.collect::<Vec<_>>()
        };
        let mut archived = Vec::new();
        for id in self.look(deadline, gone).await? {
            let Some(summary) = self.archived_record(id).await?.summary else {
                continue;
            };
            archived.push(wire::ArchivedJob {
                job: id.0,
                org: summary.org,
                state: state_number(summary.state),
                tasks: summary.tasks,
                succeeded: summary.succeeded,
            });
        }
        Ok(archived)
    }
}

fn state_number(number: u32) -> i32 {
    state_of(number)
        .map_or(v1::JobState::Unspecified, answer::job_state)
        .into()
}

/// A job that has left State. Its script is gone; what it was is in its digest.
pub(super) fn job(record: &JobRecord) -> v1::Job {
    let summary = record.summary.clone().unwrap_or_default();
    let spec = spec(&summary);
    let over = summary.cancelled + summary.time_limit + summary.lost + summary.deadline;
    let latest = record.attempts.len().saturating_sub(ATTEMPTS_MAX);
    v1::Job {
        id: record.job,
        spec: Some(spec),
        state: state_number(summary.state),
        submitted_at_ms: summary.submitted_at_ms,
        ended_at_ms: summary.ended_at_ms,
        submitted_by: summary.submitted_by,
        tasks: summary.tasks,
        tasks_succeeded: summary.succeeded,
        tasks_failed: summary.failed,
        tasks_other: over,
        attempts: record.attempts[latest..].iter().map(attempt).collect(),
        gross_fen: summary.gross_fen,
        subsidy_fen: summary.subsidy_fen,
        copay_fen: summary.copay_fen,
        cancel_requested: summary.cancel_requested,
        exit_code: summary.exit_code,
        ended_because: (!summary.ended_because_code.is_empty()).then_some(v1::Reason {
            code: summary.ended_because_code,
            text: summary.ended_because_text,
        }),
        ..v1::Job::default()
    }
}

fn spec(summary: &JobSummary) -> v1::JobSpec {
    let payload = v1::TaskPayload::decode(summary.payload.as_slice()).unwrap_or_default();
    let amounts = summary.generic_names.iter().zip(&summary.generic_amounts);
    let labels = summary.labels.chunks_exact(2);
    v1::JobSpec {
        name: summary.name.clone(),
        org: summary.org.clone(),
        command: payload.command,
        environment: payload.environment,
        resources: Some(v1::Resources {
            cpu_milli: summary.cpu_milli,
            memory_mib: summary.memory_mib,
            gpu_milli: summary.gpu_milli,
            gpu_models: summary.gpu_models.clone(),
            generic: amounts
                .map(|(name, amount)| v1::NamedAmount {
                    name: name.clone(),
                    amount: *amount,
                })
                .collect(),
        }),
        nodes: if summary.nodes > 1 { summary.nodes } else { 0 },
        walltime_ms_max: summary.walltime_ms_max,
        priority: summary.priority,
        array_count: if summary.array { summary.tasks } else { 0 },
        array_parallel_max: summary.parallel_max,
        sites: summary.sites.clone(),
        regions: summary.regions.clone(),
        retries_max: summary.retries_max,
        on_site_lost: on_site_lost(summary.requeue_on_site_lost).into(),
        labels: labels
            .map(|pair| v1::KeyValue {
                key: pair[0].clone(),
                value: pair[1].clone(),
            })
            .collect(),
        not_before_ms: summary.not_before_ms,
        done_by_ms: summary.done_by_ms,
        after: summary.after.iter().map(dependency).collect(),
        retry: Some(v1::RetryPolicy {
            failure: Some(summary.retries_max),
            time_limit: Some(summary.retries_time_limit),
            site_lost: summary.retries_site_lost,
            agent_fault: Some(summary.retries_agent_fault),
        }),
        ..v1::JobSpec::default()
    }
}

fn dependency(record: &DependencyRecord) -> v1::Dependency {
    v1::Dependency {
        job_id: record.job,
        // The same numbers.
        after: i32::try_from(record.after).unwrap_or_default(),
        per_element: record.per_element,
    }
}

fn attempt(record: &AttemptRecord) -> v1::Attempt {
    let node = |host: &str, gpu_indices: &[u32]| v1::Node {
        host: host.to_owned(),
        gpu_indices: gpu_indices.to_vec(),
    };
    let mut nodes: Vec<v1::Node> = record
        .others
        .iter()
        .map(|other| node(&other.host, &other.gpu_indices))
        .collect();
    if !nodes.is_empty() {
        nodes.insert(0, node(&record.host, &record.gpu_indices));
    }
    v1::Attempt {
        task: record.task,
        attempt: record.attempt,
        site: record.site.clone(),
        host: record.host.clone(),
        gpu_indices: record.gpu_indices.clone(),
        placed_at_ms: record.placed_at_ms,
        started_at_ms: record.started_at_ms,
        ended_at_ms: record.ended_at_ms,
        state: state_number(record.state),
        exit_code: record.exit_code,
        signal: record.signal,
        wall_ms: record.wall_ms,
        cpu_ms: record.cpu_ms,
        memory_peak_mib: record.memory_peak_mib,
        message: record.message.clone(),
        walltime_ms_max: record.walltime_ms_max,
        // What has ended has no notice any more.
        preempted_at_ms: 0,
        nodes,
    }
}

/// What a job that has left State cost: the attempts of its last record, and the sums of all.
pub(super) fn receipt(state: &State, record: &JobRecord) -> v1::GetReceiptResponse {
    let mut total = v1::Price::default();
    let mut attempts = Vec::new();
    for one in &record.attempts {
        let Some(receipt) = one.receipt.as_ref().map(ReceiptRecord::read) else {
            continue;
        };
        let price = answer::price(state, receipt.gross, &receipt.legs, receipt.copay);
        add(&mut total, &price);
        attempts.push(v1::AttemptReceipt {
            task: one.task,
            attempt: one.attempt,
            site: one.site.clone(),
            wall_ms: one.wall_ms,
            price: Some(price),
            refunded_fen: one.refunded_fen,
        });
    }
    let surplus = attempts.len().saturating_sub(RECEIPTS_MAX);
    attempts.drain(..surplus);
    if let Some(summary) = &record.summary {
        total.gross_fen = summary.gross_fen;
        total.wallet_fen += summary.copay_fen - total.copay_fen;
        total.copay_fen = summary.copay_fen;
    }
    v1::GetReceiptResponse {
        job_id: record.job,
        total: Some(total),
        attempts,
        held_fen: 0,
    }
}

/// Adds a price; legs of one voucher under one agreement become one.
fn add(total: &mut v1::Price, price: &v1::Price) {
    total.gross_fen += price.gross_fen;
    total.copay_fen += price.copay_fen;
    total.wallet_fen += price.wallet_fen;
    for leg in &price.legs {
        let same =
            |there: &&mut v1::PriceLeg| (there.voucher_id, there.agreement_id) == (leg.voucher_id, leg.agreement_id);
        match total.legs.iter_mut().find(same) {
            Some(there) => {
                there.amount_fen += leg.amount_fen;
                there.taken += leg.taken;
                there.rate_bp = there.rate_bp.max(leg.rate_bp);
            }
            None => total.legs.push(leg.clone()),
        }
    }
}

fn on_site_lost(requeue: bool) -> v1::OnSiteLost {
    if requeue {
        v1::OnSiteLost::Requeue
    } else {
        v1::OnSiteLost::Hold
    }
}
