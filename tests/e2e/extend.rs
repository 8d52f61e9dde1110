//! More time for a job that runs, from the public interface down to the process.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hesuan_api::refusal::Refusal;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::{
    ExtendJobRequest, GetJobRequest, GetReceiptRequest, Job, JobSpec, JobState, Resources, SubmitJobRequest,
};
use hesuan_tests::client::{Bearer, channel, request_id};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;
use tonic::transport::Channel;

use crate::three;

const LIMIT_MS: u64 = 6_000;
const MORE_MS: u64 = 120_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_job_outruns_its_first_limit_and_another_is_stopped_at_it() -> anyhow::Result<()> {
    let cluster = three(Backend::Process, 8_000)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    let parties = establish(&cluster, leader).await?;
    // The follower passes the command on, and the agent hangs on whichever replica it likes.
    let follower = (leader + 1) % cluster.replicas.len();
    let mut jobs = JobServiceClient::new(channel(&cluster.replicas[follower].client)?);
    let longer = submit(&mut jobs, &parties.enterprise, "8").await?;
    let too_long = submit(&mut jobs, &parties.enterprise, "1000").await?;
    until(&mut jobs, &parties.enterprise, longer, |job| job.tasks_running == 1).await?;
    let extend = ExtendJobRequest {
        request_id: request_id(),
        job_id: longer,
        task: None,
        more_ms: MORE_MS,
    };
    for _ in 0..2 {
        let extended = jobs
            .extend_job(parties.enterprise.request(extend.clone()))
            .await?
            .into_inner();
        ensure!(extended.walltime_ms_max == LIMIT_MS + MORE_MS, "{extended:?}");
    }
    let over = |job: &Job| job.ended_at_ms > 0;
    let ended = until(&mut jobs, &parties.enterprise, longer, over).await?;
    let attempt = ended.attempts.first().context("it was placed")?;
    ensure!(ended.state() == JobState::Succeeded, "{ended:?}");
    ensure!(attempt.wall_ms > LIMIT_MS, "{attempt:?}");
    ensure!(attempt.walltime_ms_max == LIMIT_MS + MORE_MS, "{attempt:?}");
    let stopped = until(&mut jobs, &parties.enterprise, too_long, over).await?;
    ensure!(stopped.state() == JobState::TimeLimit, "{stopped:?}");
    let again = ExtendJobRequest {
        request_id: request_id(),
        ..extend
    };
    let refused = jobs.extend_job(parties.enterprise.request(again)).await;
    let refused = refused.err().context("it is over")?;
    ensure!(Refusal::from_status(&refused).code == "NOT_RUNNING", "{refused:?}");
    // What was held for the time that was not used is free again.
    let receipt = GetReceiptRequest {
        job_id: longer,
        ..Default::default()
    };
    let receipt = jobs
        .get_receipt(parties.enterprise.request(receipt))
        .await?
        .into_inner();
    ensure!(receipt.held_fen == 0, "{receipt:?}");
    Ok(())
}

async fn submit(jobs: &mut JobServiceClient<Channel>, who: &Bearer, seconds: &str) -> anyhow::Result<u64> {
    let spec = JobSpec {
        name: "sleeper".into(),
        command: vec!["sleep".into(), seconds.into()],
        resources: Some(Resources {
            cpu_milli: 1_000,
            memory_mib: 64,
            ..Default::default()
        }),
        walltime_ms_max: LIMIT_MS,
        ..Default::default()
    };
    let request = SubmitJobRequest {
        request_id: request_id(),
        spec: Some(spec),
        ..Default::default()
    };
    Ok(jobs.submit_job(who.request(request)).await?.into_inner().job_id)
}

/// Asks until the job is as wanted.
pub(crate) async fn until(
    jobs: &mut JobServiceClient<Channel>,
    who: &Bearer,
    job_id: u64,
    wanted: impl Fn(&Job) -> bool,
) -> anyhow::Result<Job> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let request = GetJobRequest {
            job_id,
            ..Default::default()
        };
        let job = jobs.get_job(who.request(request)).await?.into_inner();
        if wanted(&job) {
            return Ok(job);
        }
        ensure!(Instant::now() < deadline, "waited in vain: {job:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
