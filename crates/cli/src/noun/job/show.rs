//! Jobs and their tasks as tables, records and JSON; why a job waits.

use clap::{Args, ValueEnum};
use hesuan_api::v1::{self, job_service_client::JobServiceClient};
use serde_json::{Value, json};

use super::select::{One, parse_one};
use super::{follow, is_ended, state_name};
use crate::client::ANSWER_BYTES_MAX;
use crate::failure::Outcome;
use crate::noun::policy::{objective_name, share_json, share_text};
use crate::noun::{Context, PAGE, none_if_empty, none_if_zero, parse_pair};
use crate::output::{record, table};
use crate::units::{local, rfc3339, show_milli, show_money, show_size, show_time, show_time_roughly};

/// States as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Nothing is placed.
    Pending,
    /// Something is placed.
    Running,
    /// Every task ended well.
    Succeeded,
    /// A task failed for good.
    Failed,
    /// By its user.
    Cancelled,
    /// A task ran into its time limit.
    TimeLimit,
    /// A task was lost with its site.
    Lost,
    /// A task could not be done in time any more.
    Deadline,
}

impl State {
    fn message(self) -> v1::JobState {
        match self {
            State::Pending => v1::JobState::Pending,
            State::Running => v1::JobState::Running,
            State::Succeeded => v1::JobState::Succeeded,
            State::Failed => v1::JobState::Failed,
            State::Cancelled => v1::JobState::Cancelled,
            State::TimeLimit => v1::JobState::TimeLimit,
            State::Lost => v1::JobState::Lost,
            State::Deadline => v1::JobState::Deadline,
        }
    }
}

/// Options of `job list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only jobs in these states
    #[arg(long = "state", value_delimiter = ',')]
    states: Vec<State>,
    /// Only jobs of this organisation
    #[arg(long, default_value = "", hide_default_value = true)]
    org: String,
    /// Only jobs of this name
    #[arg(short, long, default_value = "", hide_default_value = true)]
    name: String,
    /// Only jobs with this label
    #[arg(short, long = "label", value_name = "NAME=VALUE", value_parser = parse_pair)]
    labels: Vec<(String, String)>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) async fn list(context: &Context, args: ListArgs) -> Outcome<()> {
    let mut jobs: Vec<v1::Job> = Vec::new();
    let mut request = v1::ListJobsRequest {
        states: args.states.iter().map(|state| state.message().into()).collect(),
        org: args.org,
        name: args.name,
        labels: args
            .labels
            .into_iter()
            .map(|(key, value)| v1::KeyValue { key, value })
            .collect(),
        ..Default::default()
    };
    let limit = args.limit as usize;
    let mut more = false;
    while jobs.len() < limit {
        request.page_size = PAGE.min((limit - jobs.len()) as u32);
        let page = context
            .client
            .call(request.clone(), |channel, request| async move {
                JobServiceClient::new(channel)
                    .max_decoding_message_size(ANSWER_BYTES_MAX)
                    .list_jobs(request)
                    .await
            })
            .await?;
        jobs.extend(page.jobs);
        more = !page.next_page_token.is_empty();
        if !more {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if more {
        context.output.remark(&format!("the newest {limit}; more with --limit"));
    }
    let value: Vec<Value> = jobs.iter().map(job_json).collect();
    let header = ["JOB", "NAME", "STATE", "ORG", ">TASKS", "WHERE", "SUBMITTED", ">PAID"];
    context
        .output
        .show(&json!(value), || table(&header, jobs.iter().map(job_row)))
}

fn job_row(job: &v1::Job) -> Vec<String> {
    let spec = job.spec.clone().unwrap_or_default();
    let ended = job.tasks_succeeded + job.tasks_failed + job.tasks_other;
    let mut sites: Vec<&str> = job.attempts.iter().map(|attempt| &*attempt.site).collect();
    sites.sort_unstable();
    sites.dedup();
    vec![
        job.id.to_string(),
        spec.name,
        state_name(job.state()).to_owned(),
        spec.org,
        format!("{ended}/{}", job.tasks),
        sites.join(","),
        local(job.submitted_at_ms),
        show_money(job.copay_fen),
    ]
}

fn job_json(job: &v1::Job) -> Value {
    json!({
        "job_id": job.id,
        "state": state_name(job.state()),
        "spec": job.spec.as_ref().map(spec_json),
        "submitted_at": rfc3339(job.submitted_at_ms),
        "ended_at": rfc3339(job.ended_at_ms),
        "submitted_by": job.submitted_by,
        "tasks": {
            "total": job.tasks,
            "pending": job.tasks_pending,
            "running": job.tasks_running,
            "succeeded": job.tasks_succeeded,
            "failed": job.tasks_failed,
            "other": job.tasks_other,
        },
        "attempts": job.attempts.iter().map(attempt_json).collect::<Vec<_>>(),
        "gross_fen": job.gross_fen,
        "subsidy_fen": job.subsidy_fen,
        "copay_fen": job.copay_fen,
        "cancel_requested": job.cancel_requested,
        "exit_code": job_exit(job),
        "ended_because": job.ended_because.as_ref().map(reason_json),
    })
}

/// The code a program ended with; `None` if it was stopped, did not start, or still runs. Zero and a failure do not go together:
/// then something else ended it.
fn exit_code(state: v1::JobState, code: i32) -> Option<i32> {
    match state {
        v1::JobState::Succeeded => Some(code),
        v1::JobState::Failed if code != 0 => Some(code),
        _ => None,
    }
}

/// Of a single job; the tasks of an array have one each.
pub(super) fn job_exit(job: &v1::Job) -> Option<i32> {
    exit_code(job.state(), job.exit_code).filter(|_| job.tasks <= 1)
}

fn spec_json(spec: &v1::JobSpec) -> Value {
    let pairs = |pairs: &[v1::KeyValue]| -> serde_json::Map<String, Value> {
        pairs
            .iter()
            .map(|pair| (pair.key.clone(), pair.value.clone().into()))
            .collect()
    };
    let resources = spec.resources.clone().unwrap_or_default();
    let generic: serde_json::Map<String, Value> = resources
        .generic
        .iter()
        .map(|one| (one.name.clone(), one.amount.into()))
        .collect();
    let funding = spec.funding.clone().unwrap_or_default();
    json!({
        "name": spec.name,
        "org": spec.org,
        "command": spec.command,
        "script": none_if_empty(&spec.script),
        "resources": {
            "cpu_milli": resources.cpu_milli,
            "memory_mib": resources.memory_mib,
            "gpu_milli": resources.gpu_milli,
            "gpu_models": resources.gpu_models,
            "generic": generic,
        },
        "nodes": spec.nodes.max(1),
        "walltime_ms_max": spec.walltime_ms_max,
        "priority": spec.priority,
        "array_count": none_if_zero(spec.array_count.into()),
        "array_parallel_max": none_if_zero(spec.array_parallel_max.into()),
        "sites": spec.sites,
        "regions": spec.regions,
        "retries_max": spec.retries_max,
        "retry": spec.retry.as_ref().map(|retry| json!({
            "failure": retry.failure,
            "time_limit": retry.time_limit,
            "site_lost": retry.site_lost,
            "agent_fault": retry.agent_fault,
        })),
        "objective": objective_name(spec.objective()),
        "on_site_lost": if spec.on_site_lost() == v1::OnSiteLost::Requeue { "requeue" } else { "hold" },
        "funding": {
            "vouchers": funding.vouchers,
            "wallet_only": funding.wallet_only,
            "copay_fen_max": funding.copay_fen_max,
        },
        "labels": pairs(&spec.labels),
        "not_before": rfc3339(spec.not_before_ms),
        "done_by": rfc3339(spec.done_by_ms),
        "after": spec.after.iter().map(dependency_json).collect::<Vec<_>>(),
    })
}

fn reason_json(reason: &v1::Reason) -> Value {
    json!({ "code": reason.code, "text": reason.text })
}

/// Why tasks were given up before they ran.
fn because(reason: Option<&v1::Reason>) -> String {
    reason.map_or_else(String::new, |reason| format!("{} [{}]", reason.text, reason.code))
}

fn dependency_json(on: &v1::Dependency) -> Value {
    json!({ "job_id": on.job_id, "after": after_word(on), "per_element": on.per_element })
}

fn dependency_text(on: &v1::Dependency) -> String {
    let elements = if on.per_element { "[*]" } else { "" };
    format!("{} {}{elements}", after_word(on), on.job_id)
}

fn after_word(on: &v1::Dependency) -> &'static str {
    match on.after() {
        v1::After::Unspecified => "-",
        v1::After::Ok => "ok",
        v1::After::Any => "any",
        v1::After::NotOk => "not-ok",
    }
}

fn attempt_json(attempt: &v1::Attempt) -> Value {
    json!({
        "task": attempt.task,
        "attempt": attempt.attempt,
        "state": state_name(attempt.state()),
        "site": attempt.site,
        "host": attempt.host,
        "gpu_indices": attempt.gpu_indices,
        "nodes": attempt.nodes.iter().map(node_json).collect::<Vec<_>>(),
        "placed_at": rfc3339(attempt.placed_at_ms),
        "started_at": rfc3339(attempt.started_at_ms),
        "ended_at": rfc3339(attempt.ended_at_ms),
        "exit_code": exit_code(attempt.state(), attempt.exit_code),
        "signal": none_if_zero(attempt.signal.into()),
        "wall_ms": attempt.wall_ms,
        "cpu_ms": attempt.cpu_ms,
        "memory_peak_mib": attempt.memory_peak_mib,
        "walltime_ms_max": attempt.walltime_ms_max,
        "preempted_at": rfc3339(attempt.preempted_at_ms),
        "message": none_if_empty(&attempt.message),
    })
}

fn node_json(node: &v1::Node) -> Value {
    json!({ "host": node.host, "gpu_indices": node.gpu_indices })
}

/// How many hosts each task runs on, and of a single job which.
fn nodes_text(spec: &v1::JobSpec, job: &v1::Job) -> String {
    if spec.nodes <= 1 {
        return String::new();
    }
    match job.attempts.last().filter(|_| job.tasks <= 1) {
        Some(attempt) => {
            let hosts: Vec<&str> = attempt.nodes.iter().map(|node| &*node.host).collect();
            format!("{}: {}", spec.nodes, hosts.join(", "))
        }
        None => spec.nodes.to_string(),
    }
}

/// The host, or the first of a gang and how many more there are.
fn hosts_text(attempt: &v1::Attempt) -> String {
    match attempt.nodes.len() {
        0 | 1 => attempt.host.clone(),
        nodes => format!("{} +{}", attempt.host, nodes - 1),
    }
}

/// Resources in one line.
pub(crate) fn resources_text(resources: &v1::Resources) -> String {
    let mut parts = vec![
        format!("{} cpus", show_milli(resources.cpu_milli)),
        show_size(resources.memory_mib),
    ];
    if resources.gpu_milli > 0 {
        let models = resources.gpu_models.join(",");
        let colon = if models.is_empty() { "" } else { ":" };
        parts.push(format!("{} gpus{colon}{models}", show_milli(resources.gpu_milli)));
    }
    parts.extend(
        resources
            .generic
            .iter()
            .map(|one| format!("{} {}", one.amount, one.name)),
    );
    parts.join(", ")
}

pub(super) async fn show(context: &Context, id: u64) -> Outcome<()> {
    let job = follow::get(context, id).await?;
    context.output.show(&job_json(&job), || job_text(&job))
}

fn job_text(job: &v1::Job) -> String {
    let spec = job.spec.clone().unwrap_or_default();
    let what = if spec.script.is_empty() {
        spec.command.join(" ")
    } else {
        format!("a script, {}", spec.script)
    };
    let pairs = |pairs: &[v1::KeyValue]| {
        pairs
            .iter()
            .map(|pair| format!("{}={}", pair.key, pair.value))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let regions: Vec<_> = spec.regions.iter().map(u32::to_string).collect();
    let state = match (job.cancel_requested, is_ended(job.state())) {
        (true, false) => format!("{}, being cancelled", state_name(job.state())),
        _ => state_name(job.state()).to_owned(),
    };
    let tasks = format!(
        "{} ({} pending, {} running, {} succeeded, {} failed, {} other)",
        job.tasks, job.tasks_pending, job.tasks_running, job.tasks_succeeded, job.tasks_failed, job.tasks_other
    );
    let only_with_tasks = |text: String| if job.tasks > 1 { text } else { String::new() };
    let paid = format!(
        "{} list price, {} by vouchers, {} co-pay (yuan)",
        show_money(job.gross_fen),
        show_money(job.subsidy_fen),
        show_money(job.copay_fen)
    );
    let exit = job_exit(job).map(|code| code.to_string()).unwrap_or_default();
    let mut text = record(&[
        ("job", job.id.to_string()),
        ("name", spec.name.clone()),
        ("state", state),
        ("org", spec.org.clone()),
        ("by", job.submitted_by.clone()),
        ("runs", what),
        (
            "resources",
            spec.resources.as_ref().map(resources_text).unwrap_or_default(),
        ),
        ("nodes", nodes_text(&spec, job)),
        ("time limit", time_limit(&spec, job)),
        (
            "priority",
            if spec.priority == 0 {
                String::new()
            } else {
                spec.priority.to_string()
            },
        ),
        ("again after", retries_text(&spec)),
        ("not before", time_or_nothing(spec.not_before_ms)),
        ("done by", time_or_nothing(spec.done_by_ms)),
        (
            "after",
            spec.after.iter().map(dependency_text).collect::<Vec<_>>().join(", "),
        ),
        ("sites", spec.sites.join(", ")),
        ("regions", regions.join(", ")),
        ("labels", pairs(&spec.labels)),
        ("tasks", only_with_tasks(tasks)),
        ("submitted", local(job.submitted_at_ms)),
        ("ended", time_or_nothing(job.ended_at_ms)),
        ("given up", because(job.ended_because.as_ref())),
        ("exit code", exit),
        ("settled", if job.gross_fen == 0 { String::new() } else { paid }),
    ]);
    if !job.attempts.is_empty() {
        text.push_str("\n\n");
        text.push_str(&attempts_table(&job.attempts));
    }
    text
}

/// How often a task is placed again, by cause.
fn retries_text(spec: &v1::JobSpec) -> String {
    let retry = spec.retry.unwrap_or_default();
    let times =
        |most: Option<u32>| most.map_or_else(|| "any number of times".to_owned(), |most| format!("{most} times"));
    let site = if spec.on_site_lost() == v1::OnSiteLost::Requeue {
        times(retry.site_lost)
    } else {
        "waits for it".to_owned()
    };
    format!(
        "a failure {}, its time limit {}, a fault of its agent {}, the loss of its site: {site}",
        times(retry.failure),
        times(retry.time_limit),
        times(retry.agent_fault)
    )
}

fn time_or_nothing(ms: u64) -> String {
    if ms == 0 { String::new() } else { local(ms) }
}

/// Of an array's tasks each may have its own by now; those stand in the table.
fn time_limit(spec: &v1::JobSpec, job: &v1::Job) -> String {
    let asked = show_time(spec.walltime_ms_max);
    match job.attempts.last().map(|attempt| attempt.walltime_ms_max) {
        Some(now) if job.tasks <= 1 && now > spec.walltime_ms_max => format!("{asked}, extended to {}", show_time(now)),
        Some(now) if job.tasks <= 1 && now < spec.walltime_ms_max => format!("{asked}, cut to {}", show_time(now)),
        _ => asked,
    }
}

/// What its agent or the cluster said of it, or that it is about to leave.
fn attempt_message(one: &v1::Attempt) -> String {
    if one.message.is_empty() && one.state() == v1::JobState::Running && one.preempted_at_ms > 0 {
        return format!("its place is needed: stops {}", local(one.preempted_at_ms));
    }
    one.message.clone()
}

fn attempts_table(attempts: &[v1::Attempt]) -> String {
    let row = |one: &v1::Attempt| {
        let end = match (one.signal, exit_code(one.state(), one.exit_code)) {
            (0, Some(code)) => code.to_string(),
            (0, None) => "-".to_owned(),
            (signal, _) => format!("signal {signal}"),
        };
        vec![
            format!("{}.{}", one.task, one.attempt),
            state_name(one.state()).to_owned(),
            one.site.clone(),
            hosts_text(one),
            local(one.placed_at_ms),
            if one.wall_ms == 0 {
                "-".to_owned()
            } else {
                show_time_roughly(one.wall_ms)
            },
            show_time(one.walltime_ms_max),
            end,
            attempt_message(one),
        ]
    };
    table(
        &[
            "TASK.ATTEMPT",
            "STATE",
            "SITE",
            "HOST",
            "PLACED",
            ">TIME",
            ">LIMIT",
            ">EXIT",
            "MESSAGE",
        ],
        attempts.iter().map(row),
    )
}

/// Options of `job tasks`.
#[derive(Args, Debug)]
pub struct TasksArgs {
    /// Number of the job, or last
    #[arg(value_parser = parse_one)]
    job: One,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) async fn tasks(context: &Context, args: TasksArgs) -> Outcome<()> {
    let mut attempts = Vec::new();
    let mut request = v1::ListTasksRequest {
        job_id: args.job.resolve(context).await?,
        ..Default::default()
    };
    let limit = args.limit as usize;
    while attempts.len() < limit {
        request.page_size = PAGE.min((limit - attempts.len()) as u32);
        let page = context
            .client
            .call(request.clone(), |channel, request| async move {
                JobServiceClient::new(channel)
                    .max_decoding_message_size(ANSWER_BYTES_MAX)
                    .list_tasks(request)
                    .await
            })
            .await?;
        attempts.extend(page.attempts);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let value: Vec<Value> = attempts.iter().map(attempt_json).collect();
    context.output.show(&json!(value), || attempts_table(&attempts))
}

pub(super) async fn explain(context: &Context, job: u64) -> Outcome<()> {
    let request = v1::ExplainJobRequest { job_id: job };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            JobServiceClient::new(channel).explain_job(request).await
        })
        .await?;
    let site = |one: &v1::SiteExplanation| {
        let reasons: Vec<Value> = one
            .reasons
            .iter()
            .map(|reason| json!({ "code": reason.code, "text": reason.text }))
            .collect();
        json!({ "site": one.site, "verdict": one.verdict, "reasons": reasons })
    };
    let value = json!({
        "job_id": job,
        "state": state_name(answer.state()),
        "waiting_ms": answer.waiting_ms,
        "position": none_if_zero(answer.position),
        "sites": answer.sites.iter().map(site).collect::<Vec<_>>(),
        "applied_index": answer.applied_index,
        "running": answer.running.iter().map(attempt_json).collect::<Vec<_>>(),
        "ended_because": answer.ended_because.as_ref().map(reason_json),
        "expected_start": rfc3339(answer.expected_start_ms),
        "forecast_age_ms": (answer.expected_start_ms > 0).then_some(answer.forecast_age_ms),
        "share": answer.share.as_ref().map(share_json),
    });
    context.output.show(&value, || explain_text(job, &answer))
}

/// Until when each may run, as far as is known: its time counts from its start.
fn running_table(running: &[v1::Attempt]) -> String {
    let row = |one: &v1::Attempt| {
        let until_ms = one.started_at_ms.saturating_add(one.walltime_ms_max);
        vec![
            format!("{}.{}", one.task, one.attempt),
            one.site.clone(),
            hosts_text(one),
            show_time(one.walltime_ms_max),
            if one.started_at_ms == 0 {
                "-".to_owned()
            } else {
                local(until_ms)
            },
        ]
    };
    let header = ["TASK.ATTEMPT", "SITE", "HOST", ">LIMIT", "STOPPED AT"];
    table(&header, running.iter().map(row))
}

fn explain_text(job: u64, answer: &v1::ExplainJobResponse) -> String {
    let mut text = format!("job {job}  {}", state_name(answer.state()));
    if answer.state() == v1::JobState::Pending {
        text.push_str(&format!(
            " {}  position {}",
            show_time_roughly(answer.waiting_ms),
            answer.position
        ));
    }
    if let Some(reason) = &answer.ended_because {
        text.push_str(&format!("\n{}", because(Some(reason))));
    }
    if answer.expected_start_ms > 0 {
        text.push_str(&format!(
            "\nexpected to start about {}, as seen {} ago",
            local(answer.expected_start_ms),
            show_time_roughly(answer.forecast_age_ms)
        ));
    }
    if let Some(share) = answer.share.as_ref().filter(|_| answer.position > 0) {
        text.push_str(&format!("\n{}", share_text(share)));
    }
    let mut rows = Vec::new();
    for one in &answer.sites {
        if one.reasons.is_empty() {
            rows.push(vec![
                one.site.clone(),
                one.verdict.clone(),
                String::new(),
                String::new(),
            ]);
        }
        // One line a reason; the site's name stands at the first.
        for (index, reason) in one.reasons.iter().enumerate() {
            let (site, verdict) = if index == 0 {
                (&*one.site, &*one.verdict)
            } else {
                ("", "")
            };
            rows.push(vec![
                site.to_owned(),
                verdict.to_owned(),
                reason.code.clone(),
                reason.text.clone(),
            ]);
        }
    }
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["SITE", "VERDICT", "CODE", "WHY"], rows));
    }
    if !answer.running.is_empty() {
        text.push('\n');
        text.push_str(&running_table(&answer.running));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_has_a_line_per_reason() {
        let reason = |code: &str, text: &str| v1::Reason {
            code: code.into(),
            text: text.into(),
        };
        let site = |name: &str, verdict: &str, reasons| v1::SiteExplanation {
            site: name.into(),
            verdict: verdict.into(),
            reasons,
        };
        let answer = v1::ExplainJobResponse {
            state: v1::JobState::Pending.into(),
            waiting_ms: 725_000,
            position: 4,
            sites: vec![
                site("suzhou-1", "WAIT", vec![reason("CAPACITY_GPU", "need 8 a800, 3 free")]),
                site(
                    "hefei-2",
                    "NO",
                    vec![
                        reason("VOUCHER_SCOPE", "not valid"),
                        reason("SITE_DRAINING", "until 18:00"),
                    ],
                ),
            ],
            applied_index: 9,
            ..Default::default()
        };
        let expected = "\
job 4711  PENDING 12m5s  position 4
SITE      VERDICT  CODE           WHY
suzhou-1  WAIT     CAPACITY_GPU   need 8 a800, 3 free
hefei-2   NO       VOUCHER_SCOPE  not valid
                   SITE_DRAINING  until 18:00";
        assert_eq!(explain_text(4711, &answer), expected);
    }

    #[test]
    fn a_limit_that_changed_is_shown_beside_the_one_asked_for() {
        let spec = v1::JobSpec {
            walltime_ms_max: 7_200_000,
            ..Default::default()
        };
        let job = |tasks, walltime_ms_max| v1::Job {
            tasks,
            attempts: vec![v1::Attempt {
                walltime_ms_max,
                ..Default::default()
            }],
            ..Default::default()
        };
        let shown = [(1, 7_200_000), (1, 9_000_000), (1, 60_000), (3, 9_000_000)];
        let shown = shown.map(|(tasks, limit)| time_limit(&spec, &job(tasks, limit)));
        assert_eq!(shown, ["2h", "2h, extended to 2h30m", "2h, cut to 1m", "2h"]);
        assert_eq!(time_limit(&spec, &v1::Job::default()), "2h");

        let running = v1::ExplainJobResponse {
            state: v1::JobState::Running.into(),
            running: vec![v1::Attempt {
                attempt: 1,
                site: "hefei-2".into(),
                host: "n7".into(),
                walltime_ms_max: 9_000_000,
                ..Default::default()
            }],
            ..Default::default()
        };
        let expected = "\
job 4711  RUNNING
TASK.ATTEMPT  SITE     HOST  LIMIT  STOPPED AT
0.1           hefei-2  n7    2h30m  -";
        assert_eq!(explain_text(4711, &running), expected);
    }

    /// A task that ran out of memory, or could not be started, was shown as FAILED with exit code 0.
    #[test]
    fn an_exit_code_is_shown_only_of_what_exited() {
        use v1::JobState::{Cancelled, Failed, Running, Succeeded};
        let shown = [(Succeeded, 0), (Failed, 3), (Failed, 0), (Cancelled, 0), (Running, 0)];
        let codes = shown.map(|(state, code)| exit_code(state, code));
        assert_eq!(codes, [Some(0), Some(3), None, None, None]);
        let array = v1::Job {
            state: Failed.into(),
            exit_code: 3,
            tasks: 5,
            ..Default::default()
        };
        assert_eq!(job_exit(&array), None);
    }

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        let attempt = v1::Attempt {
            message: "boom\x1b[2J".into(),
            ..Default::default()
        };
        assert!(!attempts_table(&[attempt]).contains('\x1b'));
    }
}
