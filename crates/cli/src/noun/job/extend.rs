//! More time for a running task.

use clap::Args;
use hesuan_api::v1::{self, job_service_client::JobServiceClient};
use serde_json::json;

use super::select::{Task, parse_task};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::noun::Context;
use crate::units::{parse_time, show_time};

/// Options of `job extend`.
#[derive(Args, Debug)]
pub struct ExtendArgs {
    /// Number of the job, or last; of an array one task, such as 4711[7], unless only one of them runs
    #[arg(value_name = "JOB[TASK]", value_parser = parse_task)]
    task: Task,
    /// How much more, on top of its time limit
    #[arg(short, long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
    time: u64,
}

pub(super) async fn extend(context: &Context, args: ExtendArgs) -> Outcome<()> {
    let job_id = args.task.job.resolve(context).await?;
    let request = v1::ExtendJobRequest {
        request_id: request_id(),
        job_id,
        task: args.task.task,
        more_ms: args.time,
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            JobServiceClient::new(channel).extend_job(request).await
        })
        .await?;
    let value = json!({
        "job_id": job_id,
        "task": answer.task,
        "walltime_ms_max": answer.walltime_ms_max,
    });
    context.output.show(&value, || {
        let is_array = answer.job.as_ref().is_some_and(|job| job.tasks > 1);
        let task = if is_array {
            format!("[{}]", answer.task)
        } else {
            String::new()
        };
        format!("job {job_id}{task} may take {}", show_time(answer.walltime_ms_max))
    })
}
