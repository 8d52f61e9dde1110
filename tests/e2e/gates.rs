//! Jobs that wait for a time or for each other, through the public interface of real daemons.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hesuan_api::refusal::Refusal;
use hesuan_api::v1::cluster_service_client::ClusterServiceClient;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::{
    After, Dependency, ExplainJobRequest, GetJobRequest, Job, JobSpec, JobState, Limits, Resources, SetLimitsRequest,
    SubmitJobRequest,
};
use hesuan_tests::client::{Bearer, channel, request_id, wall_ms};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;
use tonic::transport::Channel;

use crate::three;

struct People<'a> {
    jobs: JobServiceClient<Channel>,
    who: &'a Bearer,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_wait_for_their_time_and_for_each_other() -> anyhow::Result<()> {
    let cluster = three(Backend::Process, 8_000)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    let parties = establish(&cluster, leader).await?;
    let follower = (leader + 1) % cluster.replicas.len();
    let to = channel(&cluster.replicas[follower].client)?;
    let mut people = People {
        jobs: JobServiceClient::new(to.clone()),
        who: &parties.enterprise,
    };
    not_before(&mut people).await?;
    done_by(&mut people).await?;
    let (good, bad) = after(&mut people).await?;
    elements(&mut people).await?;

    // What has ended leaves State at once from here on, and is found in the archive of the replica that is asked.
    let request = SetLimitsRequest {
        request_id: request_id(),
        limits: Some(Limits {
            ended_job_keep_ms: 1,
            ended_jobs_max: 1,
            ..Limits::default()
        }),
    };
    ClusterServiceClient::new(to)
        .set_limits(cluster.admin.request(request))
        .await?;
    archived(&mut people, good, bad).await
}

async fn not_before(people: &mut People<'_>) -> anyhow::Result<()> {
    let not_before_ms = wall_ms() + 3_000;
    let job = people
        .submit(JobSpec {
            not_before_ms,
            ..quick("true")
        })
        .await?;
    ensure!(people.codes(job).await?.contains(&"NOT_BEFORE".to_owned()));
    let ended = people.ended(job).await?;
    ensure!(ended.state() == JobState::Succeeded, "{ended:?}");
    let placed_at_ms = ended.attempts.first().context("it was placed")?.placed_at_ms;
    ensure!(placed_at_ms >= not_before_ms, "{ended:?}");
    Ok(())
}

async fn done_by(people: &mut People<'_>) -> anyhow::Result<()> {
    // Sixty seconds in at most thirty: what would do instead stands in the refusal.
    let done_by_ms = wall_ms() + 30_000;
    let refused = people
        .refused(JobSpec {
            done_by_ms,
            ..quick("true")
        })
        .await?;
    ensure!(
        refused.code == "DONE_BY_TOO_SOON" && refused.field == "spec.done_by_ms",
        "{refused:?}"
    );
    let instead = refused.nearest.context("something would do")?;
    let names: Vec<&str> = instead.details.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(
        instead.code == "LATER_OR_SHORTER" && names.contains(&"walltime_ms_max"),
        "{instead:?}"
    );

    // Held back until it is too late, it is given up, and who was to run after it learns it.
    let blocker = JobSpec {
        not_before_ms: wall_ms() + 20_000,
        ..quick("true")
    };
    let blocker = people.submit(blocker).await?;
    let late = JobSpec {
        done_by_ms: wall_ms() + 62_500,
        ..after_one(blocker, After::Any)
    };
    let late = people.submit(late).await?;
    let instead = people.submit(after_one(late, After::NotOk)).await?;
    let ended = people.ended(late).await?;
    ensure!(ended.state() == JobState::Deadline, "{ended:?}");
    ensure!(ended.ended_because.is_some_and(|because| because.code == "DONE_BY"));
    ensure!(people.ended(instead).await?.state() == JobState::Succeeded);
    Ok(())
}

/// Gives a job that ended well and one that did not.
async fn after(people: &mut People<'_>) -> anyhow::Result<(u64, u64)> {
    let bad = people.submit(quick("sleep 2; exit 3")).await?;
    let not_ok = people.submit(after_one(bad, After::NotOk)).await?;
    let ok = people.submit(after_one(bad, After::Ok)).await?;
    let chained = people.submit(after_one(ok, After::Ok)).await?;
    let any = people.submit(after_one(chained, After::Any)).await?;
    ensure!(
        people.codes(ok).await? == ["DEPENDENCY", "DEPENDENCY", "DEPENDENCY"],
        "at each of three sites"
    );
    let unknown = people.refused(after_one(1_000_000, After::Ok)).await?;
    ensure!(unknown.code == "UNKNOWN_JOB", "{unknown:?}");

    let ran = people.ended(not_ok).await?;
    ensure!(ran.state() == JobState::Succeeded, "{ran:?}");
    let first = people.ended(bad).await?;
    ensure!(
        ran.attempts[0].placed_at_ms >= first.ended_at_ms,
        "{ran:?} after {first:?}"
    );
    for (job, because) in [(ok, bad), (chained, ok)] {
        let ended = people.ended(job).await?;
        ensure!(
            ended.state() == JobState::Cancelled && ended.attempts.is_empty(),
            "{ended:?}"
        );
        let reason = ended.ended_because.context("it says why")?;
        ensure!(reason.code == "DEPENDENCY", "{reason:?}");
        ensure!(
            reason.text == format!("after-ok {because}: job {because} did not end well"),
            "{reason:?}"
        );
    }
    ensure!(people.ended(any).await?.state() == JobState::Succeeded);
    Ok((not_ok, bad))
}

async fn elements(people: &mut People<'_>) -> anyhow::Result<()> {
    // Task 1 fails, tasks 0 and 2 do not.
    let first = JobSpec {
        array_count: 3,
        ..quick("sleep 1; test $HESUAN_TASK_ID != 1")
    };
    let first = people.submit(first).await?;
    let second = JobSpec {
        array_count: 3,
        after: vec![Dependency {
            per_element: true,
            ..on(first, After::Ok)
        }],
        ..quick("true")
    };
    let second = people.submit(second).await?;
    let ended = people.ended(second).await?;
    ensure!((ended.tasks_succeeded, ended.tasks_other) == (2, 1), "{ended:?}");
    let because = ended.ended_because.context("it says why")?;
    ensure!(
        because.text == format!("after-ok {first}[*]: job {first}[1] did not end well"),
        "{because:?}"
    );
    Ok(())
}

async fn archived(people: &mut People<'_>, good: u64, bad: u64) -> anyhow::Result<()> {
    // Their attempts stay with them in the archive; that they are gone from State shows in that nothing explains them any more.
    let deadline = Instant::now() + Duration::from_secs(30);
    for job_id in [good, bad] {
        while people.explain(job_id).await.is_ok() {
            ensure!(Instant::now() < deadline, "job {job_id} does not leave State");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let job = people.submit(after_one(good, After::Ok)).await?;
    ensure!(people.ended(job).await?.state() == JobState::Succeeded);
    let job = people.submit(after_one(bad, After::NotOk)).await?;
    ensure!(people.ended(job).await?.state() == JobState::Succeeded);
    let refused = people.refused(after_one(bad, After::Ok)).await?;
    ensure!(refused.code == "DEPENDENCY_UNMET", "{refused:?}");
    Ok(())
}

fn on(job_id: u64, after: After) -> Dependency {
    Dependency {
        job_id,
        after: after.into(),
        per_element: false,
    }
}

fn after_one(job_id: u64, after: After) -> JobSpec {
    JobSpec {
        after: vec![on(job_id, after)],
        ..quick("true")
    }
}

/// A minute at most, in a shell.
fn quick(text: &str) -> JobSpec {
    JobSpec {
        name: "quick".into(),
        command: vec!["sh".into(), "-c".into(), text.into()],
        resources: Some(Resources {
            cpu_milli: 100,
            memory_mib: 16,
            ..Default::default()
        }),
        walltime_ms_max: 60_000,
        ..Default::default()
    }
}

impl People<'_> {
    async fn try_submit(&mut self, spec: JobSpec) -> Result<u64, tonic::Status> {
        let request = SubmitJobRequest {
            request_id: request_id(),
            spec: Some(spec),
            ..Default::default()
        };
        Ok(self
            .jobs
            .submit_job(self.who.request(request))
            .await?
            .into_inner()
            .job_id)
    }

    async fn submit(&mut self, spec: JobSpec) -> anyhow::Result<u64> {
        Ok(self.try_submit(spec).await?)
    }

    async fn refused(&mut self, spec: JobSpec) -> anyhow::Result<Refusal> {
        let refused = self.try_submit(spec).await.err().context("it is refused")?;
        Ok(Refusal::from_status(&refused))
    }

    async fn explain(&mut self, job_id: u64) -> anyhow::Result<hesuan_api::v1::ExplainJobResponse> {
        let request = ExplainJobRequest { job_id };
        Ok(self.jobs.explain_job(self.who.request(request)).await?.into_inner())
    }

    /// Of what keeps a job from each site, the first.
    async fn codes(&mut self, job_id: u64) -> anyhow::Result<Vec<String>> {
        let sites = self.explain(job_id).await?.sites;
        Ok(sites
            .iter()
            .filter_map(|site| Some(site.reasons.first()?.code.clone()))
            .collect())
    }

    async fn ended(&mut self, job_id: u64) -> anyhow::Result<Job> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let request = GetJobRequest {
                job_id,
                ..Default::default()
            };
            let job = self.jobs.get_job(self.who.request(request)).await?.into_inner();
            if job.ended_at_ms > 0 {
                return Ok(job);
            }
            ensure!(Instant::now() < deadline, "waited in vain: {job:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
