//! Jobs, their attempts, and why they wait, as answers.

use hesuan_engine::schedule::{Explanation, Reason};
use hesuan_engine::state::{Attempt, Job, JobState, State};
use hesuan_engine::types::{After, Dependency, HostId, JobId, OnSiteLost, Request, Resources, SiteId, TaskId};
use prost::Message;

use super::{org_name, site_name};
use crate::v1;

/// Attempts shown with a job.
pub const ATTEMPTS_MAX: usize = 16;
/// Attempts of an array that are looked at for those.
const ATTEMPTS_SCANNED: usize = 4096;
/// Bytes of a command line, or of a script's first line, shown with a job: lists carry a thousand jobs.
const COMMAND_BYTES_MAX: usize = 1024;

/// A state's word.
#[must_use]
pub fn job_state(state: JobState) -> v1::JobState {
    match state {
        JobState::Pending => v1::JobState::Pending,
        JobState::Running => v1::JobState::Running,
        JobState::Succeeded => v1::JobState::Succeeded,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
        JobState::TimeLimit => v1::JobState::TimeLimit,
        JobState::Lost => v1::JobState::Lost,
        JobState::Deadline => v1::JobState::Deadline,
        JobState::Preempted => v1::JobState::Preempted,
    }
}

/// A job with its latest attempts. Its environment is not shown (it often holds secrets), a script by its first line, and
/// a long command line is cut.
#[must_use]
pub fn job(state: &State, id: JobId, job: &Job) -> v1::Job {
    let progress = job.progress();
    v1::Job {
        id: id.0,
        spec: Some(spec(state, job)),
        state: job_state(job.state()).into(),
        submitted_at_ms: job.submitted_at.0,
        ended_at_ms: progress.ended_at.unwrap_or_default().0,
        submitted_by: state
            .principal(job.submitter)
            .map(|who| who.name.to_string())
            .unwrap_or_default(),
        tasks: job.spec.tasks,
        tasks_pending: job.pending(),
        tasks_running: progress.running,
        tasks_succeeded: progress.succeeded,
        tasks_failed: progress.failed,
        tasks_other: progress.cancelled + progress.time_limit + progress.lost + progress.deadline,
        attempts: latest_attempts(state, id),
        gross_fen: progress.gross.0,
        subsidy_fen: progress.subsidy.0,
        copay_fen: progress.copay.0,
        cancel_requested: progress.cancel_requested,
        exit_code: progress.exit_code,
        ended_because: given_up(state, job),
    }
}

/// The last ones of a single job; of an array, running ones before ended ones.
fn latest_attempts(state: &State, id: JobId) -> Vec<v1::Attempt> {
    let (mut running, mut ended) = (Vec::new(), std::collections::VecDeque::new());
    for (id, one) in state.attempts(id, 0).take(ATTEMPTS_SCANNED) {
        if one.is_running() {
            running.push((id, one));
            if running.len() == ATTEMPTS_MAX {
                break;
            }
        } else {
            if ended.len() == ATTEMPTS_MAX {
                ended.pop_front();
            }
            ended.push_back((id, one));
        }
    }
    let room = ATTEMPTS_MAX - running.len();
    let ended = ended.into_iter().rev().take(room);
    let mut shown: Vec<_> = running.into_iter().chain(ended).collect();
    shown.sort_by_key(|(id, one)| (!one.is_running(), *id));
    shown.into_iter().map(|(id, one)| attempt(state, id, one)).collect()
}

/// The tasks of a job that run, the first ones.
fn running(state: &State, id: JobId) -> Vec<v1::Attempt> {
    let attempts = state.attempts(id, 0).take(ATTEMPTS_SCANNED);
    let running = attempts.filter(|(_, one)| one.is_running()).take(ATTEMPTS_MAX);
    running.map(|(id, one)| attempt(state, id, one)).collect()
}

fn spec(state: &State, job: &Job) -> v1::JobSpec {
    let request: &Request = state.request(job);
    let payload = v1::TaskPayload::decode(&*job.spec.payload).unwrap_or_default();
    let label = |(key, value): &(Box<str>, Box<str>)| v1::KeyValue {
        key: key.to_string(),
        value: value.to_string(),
    };
    v1::JobSpec {
        name: job.spec.name.to_string(),
        org: org_name(state, request.org),
        command: shortened(payload.command),
        script: job
            .spec
            .script
            .and_then(|digest| state.script(&digest))
            .map(|text| first_line(text))
            .unwrap_or_default(),
        environment: Vec::new(),
        resources: Some(resources(&request.resources)),
        nodes: if request.nodes.is_gang() {
            request.nodes.count()
        } else {
            0
        },
        walltime_ms_max: request.walltime_ms_max,
        priority: request.priority,
        array_count: if job.spec.array { job.spec.tasks } else { 0 },
        array_parallel_max: job.spec.parallel_max,
        sites: request.sites.iter().map(|site| site_name(state, *site)).collect(),
        regions: request.regions.iter().map(|region| region.0).collect(),
        retries_max: job.spec.retries_max,
        on_site_lost: match request.on_site_lost {
            OnSiteLost::Hold => v1::OnSiteLost::Hold,
            OnSiteLost::Requeue => v1::OnSiteLost::Requeue,
        }
        .into(),
        objective: request
            .objective
            .map_or(0, |objective| super::policy::objective(objective).into()),
        funding: Some(v1::Funding {
            vouchers: request.funding.vouchers.clone(),
            wallet_only: request.funding.wallet_only,
            copay_fen_max: request.funding.copay_max.map(|most| most.0),
            allow_partial: request.funding.allow_partial,
        }),
        labels: job.spec.labels.iter().map(label).collect(),
        not_before_ms: job.spec.gates().not_before.unwrap_or_default().0,
        done_by_ms: job.spec.gates().done_by.unwrap_or_default().0,
        after: job.spec.gates().after.iter().map(dependency).collect(),
        retry: Some(v1::RetryPolicy {
            failure: Some(job.spec.retries_max),
            time_limit: Some(job.spec.retries.time_limit),
            site_lost: job.spec.retries.site_lost,
            agent_fault: Some(job.spec.retries.agent_fault),
        }),
    }
}

fn dependency(on: &Dependency) -> v1::Dependency {
    let after = match on.after {
        After::Ok => v1::After::Ok,
        After::Any => v1::After::Any,
        After::NotOk => v1::After::NotOk,
    };
    v1::Dependency {
        job_id: on.job.0,
        after: after.into(),
        per_element: on.per_element,
    }
}

/// Why the cluster gave tasks up before they ran.
fn given_up(state: &State, job: &Job) -> Option<v1::Reason> {
    let (code, text) = state.given_up_because(job)?;
    Some(v1::Reason {
        code: code.to_owned(),
        text,
    })
}

fn shortened(mut command: Vec<String>) -> Vec<String> {
    let mut room = COMMAND_BYTES_MAX;
    for (index, argument) in command.iter_mut().enumerate() {
        if argument.len() <= room {
            room -= argument.len();
            continue;
        }
        while !argument.is_char_boundary(room) {
            room -= 1;
        }
        argument.truncate(room);
        argument.push('…');
        command.truncate(index + 1);
        break;
    }
    command
}

fn first_line(script: &[u8]) -> String {
    let end = script.iter().position(|byte| *byte == b'\n').unwrap_or(script.len());
    String::from_utf8_lossy(&script[..end.min(COMMAND_BYTES_MAX)]).into_owned()
}

fn resources(given: &Resources) -> v1::Resources {
    let generic = given.generic.iter().map(|(name, amount)| v1::NamedAmount {
        name: name.to_string(),
        amount: *amount,
    });
    v1::Resources {
        cpu_milli: given.cpu_milli,
        memory_mib: given.memory_mib,
        gpu_milli: given.gpu_milli,
        gpu_models: given.gpu_models.iter().map(|model| model.to_string()).collect(),
        generic: generic.collect(),
    }
}

/// One placement.
#[must_use]
pub fn attempt(state: &State, id: TaskId, attempt: &Attempt) -> v1::Attempt {
    let host_name = |id: HostId| {
        let host = state.host(id);
        host.map(|host| host.name.to_string()).unwrap_or_default()
    };
    let node = |(host, gpu_indices): (HostId, &[u32])| v1::Node {
        host: host_name(host),
        gpu_indices: gpu_indices.to_vec(),
    };
    let placed = v1::Attempt {
        task: id.task,
        attempt: id.attempt,
        site: site_name(state, attempt.site),
        host: host_name(attempt.host),
        gpu_indices: attempt.gpu_indices.to_vec(),
        nodes: if attempt.others.is_empty() {
            Vec::new()
        } else {
            attempt.places().map(node).collect()
        },
        placed_at_ms: attempt.placed_at.0,
        started_at_ms: attempt.started_at.unwrap_or_default().0,
        state: job_state(attempt.state()).into(),
        walltime_ms_max: attempt.walltime_ms_max,
        preempted_at_ms: attempt.reclaimed.map_or(0, |reclaimed| reclaimed.at.0),
        ..Default::default()
    };
    match &attempt.ended {
        None => placed,
        Some(ended) => v1::Attempt {
            ended_at_ms: ended.at.0,
            exit_code: ended.exit_code,
            signal: ended.signal,
            wall_ms: ended.wall_ms,
            cpu_ms: ended.cpu_ms,
            memory_peak_mib: ended.memory_peak_mib,
            message: ended.message.to_string(),
            ..placed
        },
    }
}

/// Why a job waits, site by site, and what of it runs.
#[must_use]
pub fn explanation(state: &State, id: JobId, explanation: &Explanation) -> v1::ExplainJobResponse {
    let site = |one: &hesuan_engine::schedule::SiteExplanation| v1::SiteExplanation {
        site: site_name(state, one.site),
        verdict: one.verdict.as_str().to_owned(),
        reasons: reasons(state, one.site, &one.reasons),
    };
    v1::ExplainJobResponse {
        state: job_state(explanation.state).into(),
        waiting_ms: explanation.waiting_ms,
        position: explanation.position,
        sites: explanation.sites.iter().map(site).collect(),
        applied_index: state.applied_index(),
        running: running(state, id),
        ended_because: state.job(id).and_then(|job| given_up(state, job)),
        expected_start_ms: explanation.expected.map_or(0, |expected| expected.start.0),
        forecast_age_ms: explanation.expected.map_or(0, |expected| expected.age_ms),
        share: explanation.share.map(|share| super::share(state, &share)),
    }
}

/// What keeps a job from a site, in words; where the operator keeps it, with the operator's own.
pub(super) fn reasons(state: &State, site: SiteId, reasons: &[Reason]) -> Vec<v1::Reason> {
    let said = state.site(site).map_or("", |site| &*site.reason);
    let text = |reason: &Reason| match reason {
        Reason::SiteCordoned | Reason::SiteDraining if !said.is_empty() => format!("{reason}: {said}"),
        _ => reason.to_string(),
    };
    reasons
        .iter()
        .map(|reason| v1::Reason {
            code: reason.code().to_owned(),
            text: text(reason),
        })
        .collect()
}
