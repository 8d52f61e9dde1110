//! Waiting for jobs, reading their logs, cancelling them.

use std::io::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hesuan_api::refusal::Refusal;
use hesuan_api::v1::{self, job_service_client::JobServiceClient};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use super::select::{One, Selection, parse_one, parse_some, resolve_all};
use super::show::job_exit;
use super::{is_ended, state_name};
use crate::client::request_id;
use crate::failure::{Failure, Outcome, job_exit_code};
use crate::noun::Context;
use crate::output::table;

/// What `job wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// At least one task was placed.
    Running,
    /// Every task has ended.
    #[default]
    Finished,
}

/// Options of `job wait`.
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// Numbers of the jobs, ranges such as 120-130, or last
    #[arg(required = true, value_name = "JOB", value_parser = parse_some)]
    jobs: Vec<Selection>,
    /// What to wait for
    #[arg(long = "for", value_name = "WHAT", default_value = "finished")]
    until: Until,
    /// End with the job's own exit code (of a single job that ended by itself)
    #[arg(long)]
    passthrough: bool,
}

pub(super) async fn wait(context: Context, args: WaitArgs) -> Outcome<()> {
    let running_will_do = args.until == Until::Running;
    let jobs = resolve_all(&context, &args.jobs).await?;
    let jobs = wait_for(&context, &jobs, context.global.timeout, running_will_do).await?;
    let value: Vec<_> = jobs
        .iter()
        .map(|job| json!({ "job_id": job.id, "state": state_name(job.state()), "exit_code": job_exit(job) }))
        .collect();
    context.output.show(&json!(value), || {
        table(
            &["JOB", "STATE"],
            jobs.iter()
                .map(|job| vec![job.id.to_string(), state_name(job.state()).to_owned()]),
        )
    })?;
    if running_will_do && jobs.iter().all(|job| !is_ended(job.state())) {
        return Ok(());
    }
    if let ([job], true) = (jobs.as_slice(), args.passthrough)
        && job.state() == v1::JobState::Failed
        && job.tasks <= 1
        && (1..=255).contains(&job.exit_code)
    {
        std::process::exit(job.exit_code);
    }
    verdict(&jobs)
}

/// The worst of the jobs decides.
pub(super) fn verdict(jobs: &[v1::Job]) -> Outcome<()> {
    let ended = jobs.iter().map(v1::Job::state).filter(|state| is_ended(*state));
    match ended.max_by_key(|state| job_exit_code(*state)) {
        Some(state) if state != v1::JobState::Succeeded => Err(Failure::Job(state)),
        _ => Ok(()),
    }
}

/// Asks until every job has ended (or runs, if that will do). The pauses grow to a second.
pub(super) async fn wait_for(
    context: &Context,
    ids: &[u64],
    time_max: Option<Duration>,
    running_will_do: bool,
) -> Outcome<Vec<v1::Job>> {
    let deadline = time_max.map(|time| Instant::now() + time);
    let spinner = context.output.spinner();
    let mut jobs: Vec<v1::Job> = Vec::with_capacity(ids.len());
    for &id in ids {
        let mut pause = Duration::from_millis(20);
        let job = loop {
            let job = get(context, id).await?;
            let arrived = is_ended(job.state()) || (running_will_do && job.state() == v1::JobState::Running);
            if arrived {
                break job;
            }
            spinner.set_message(progress(&job));
            pause = (pause * 3 / 2).min(Duration::from_secs(1));
            let left = deadline.map_or(pause, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                spinner.finish_and_clear();
                return Err(Failure::WaitedTooLong(format!(
                    "job {id} is still {}: `hesuan job explain {id}` says why, or wait longer with --timeout",
                    state_name(job.state())
                )));
            }
            sleep(pause.min(left)).await;
        };
        jobs.push(job);
    }
    spinner.finish_and_clear();
    Ok(jobs)
}

fn progress(job: &v1::Job) -> String {
    let ended = job.tasks_succeeded + job.tasks_failed + job.tasks_other;
    match job.tasks {
        0 | 1 => format!("job {} {}", job.id, state_name(job.state())),
        tasks => format!(
            "job {} {}/{tasks} ended, {} running, {} pending",
            job.id, ended, job.tasks_running, job.tasks_pending
        ),
    }
}

pub(super) async fn get(context: &Context, id: u64) -> Outcome<v1::Job> {
    let request = v1::GetJobRequest {
        job_id: id,
        ..Default::default()
    };
    context
        .client
        .call(request, |channel, request| async move {
            JobServiceClient::new(channel).get_job(request).await
        })
        .await
}

/// Options of `job cancel`.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// Numbers of the jobs, ranges such as 120-130, or last
    #[arg(required = true, value_name = "JOB", value_parser = parse_some)]
    jobs: Vec<Selection>,
    /// For the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

pub(super) async fn cancel(context: &Context, CancelArgs { jobs, reason }: CancelArgs) -> Outcome<()> {
    let mut cancelled = Vec::with_capacity(jobs.len());
    for job_id in resolve_all(context, &jobs).await? {
        let request = v1::CancelJobRequest {
            request_id: request_id(),
            job_id,
            reason: reason.clone(),
        };
        let answer = context
            .client
            .call(request, |channel, request| async move {
                JobServiceClient::new(channel).cancel_job(request).await
            })
            .await?;
        cancelled.push((job_id, answer.job.map_or(v1::JobState::Unspecified, |job| job.state())));
    }
    let value: Vec<_> = cancelled
        .iter()
        .map(|(job, state)| json!({ "job_id": job, "state": state_name(*state) }))
        .collect();
    context.output.show(&json!(value), || {
        let line = |(job, state): &(u64, v1::JobState)| match is_ended(*state) {
            true => format!("job {job} {}", state_name(*state)),
            false => format!("job {job} {}, being cancelled", state_name(*state)),
        };
        cancelled.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// Options of `job logs`.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Number of the job, or last
    #[arg(value_parser = parse_one)]
    job: One,
    /// Element of the array
    #[arg(long, default_value_t = 0)]
    task: u32,
    /// Rank of the node, of a job on several hosts
    #[arg(long, value_name = "RANK", default_value_t = 0)]
    node: u32,
    /// Number of the attempt; the latest unless given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Go on until the task has ended
    #[arg(short, long)]
    follow: bool,
    /// Begin at this byte
    #[arg(long, default_value_t = 0)]
    offset: u64,
}

/// How often a broken stream is taken up again without a byte coming through.
const RESUMES_MAX: u32 = 20;

pub(super) async fn logs(context: &Context, args: LogsArgs) -> Outcome<()> {
    let mut request = v1::StreamLogsRequest {
        job_id: args.job.resolve(context).await?,
        task: args.task,
        node: args.node,
        attempt: args.attempt.unwrap_or(0),
        stderr: args.stderr,
        offset: args.offset,
        follow: args.follow,
    };
    let mut failures = 0;
    loop {
        let offset = request.offset;
        match read_stream(context, &mut request).await {
            Ok(()) => return Ok(()),
            Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown) => {
                failures = if request.offset > offset { 0 } else { failures + 1 };
                if failures > RESUMES_MAX {
                    return Err(Failure::Unavailable {
                        last: Box::new(Refusal::from_status(&status)),
                        tried: format!(
                            "the log was not to be had after {RESUMES_MAX} tries: go on later with --offset {}",
                            request.offset
                        ),
                    });
                }
                sleep(Duration::from_millis(250)).await;
                context.client.next_replica();
            }
            Err(status) => return Err(Failure::Refused(Box::new(Refusal::from_status(&status)))),
        }
    }
}

/// Prints what comes and keeps the offset, so that a broken stream goes on where it broke.
async fn read_stream(context: &Context, request: &mut v1::StreamLogsRequest) -> Result<(), Status> {
    let mut client = JobServiceClient::new(context.client.channel());
    let mut stream = client.stream_logs(context.client.request(*request)).await?.into_inner();
    while let Some(chunk) = stream.message().await? {
        // Later attempts have logs of their own: stay with the one that was begun.
        request.attempt = chunk.attempt;
        if chunk.truncated_bytes > 0 {
            context.output.remark(&format!(
                "({} bytes were dropped: logs are bounded)",
                chunk.truncated_bytes
            ));
        }
        request.offset = chunk.offset + chunk.data.len() as u64;
        if context.output.json {
            let text = String::from_utf8_lossy(&chunk.data);
            let value = json!({ "attempt": chunk.attempt, "offset": chunk.offset, "data": text, "eof": chunk.eof });
            context
                .output
                .show_line(&value, String::new)
                .map_err(|_| Status::aborted("standard output is gone"))?;
        } else {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&chunk.data).and_then(|()| out.flush());
            written.map_err(|error| Status::aborted(format!("standard output: {error}")))?;
        }
        if chunk.eof {
            return Ok(());
        }
    }
    if request.follow {
        Err(Status::unavailable("the stream ended before the log did"))
    } else {
        Ok(())
    }
}
