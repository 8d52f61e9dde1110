//! Jobs on several hosts, through the public interface of real daemons whose sites have three hosts each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hesuan_api::refusal::Refusal;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::{
    CancelJobRequest, GetJobRequest, GetReceiptRequest, Job, JobSpec, JobState, QuoteJobRequest, Resources,
    StreamLogsRequest, SubmitJobRequest,
};
use hesuan_tests::client::{Bearer, channel, request_id};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;
use tonic::transport::Channel;

use crate::equipped;

/// Two more hosts beside the one that every site has.
const TWO_MORE: &str = "[[site.host]]\nname = \"n2\"\ncpu_milli = 2000\nmemory_mib = 65536\n\
                        [[site.host]]\nname = \"n3\"\ncpu_milli = 2000\nmemory_mib = 65536\n";

struct People<'a> {
    jobs: JobServiceClient<Channel>,
    who: &'a Bearer,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gang_starts_runs_and_ends_as_one() -> anyhow::Result<()> {
    let mut cluster = equipped(Backend::Process, 2_000, [TWO_MORE; 3])?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    let parties = establish(&cluster, leader).await?;
    let follower = (leader + 1) % cluster.replicas.len();
    let mut people = People {
        jobs: JobServiceClient::new(channel(&cluster.replicas[follower].client)?),
        who: &parties.enterprise,
    };
    each_node_knows_the_others(&mut people).await?;
    one_that_fails_stops_all(&mut people).await?;
    all_are_cancelled(&mut people).await?;
    none_is_too_many(&mut people).await?;

    // The daemon of its site is killed while it runs; its nodes go on, and the daemon that comes back finds them all.
    let site = (leader + 2) % cluster.replicas.len();
    let name = cluster.replicas[site].name.clone();
    let spec = JobSpec {
        sites: vec![name],
        ..gang(3, "sleep 4")
    };
    let job = people.submit(spec).await?;
    people.until(job, runs).await?;
    cluster.replicas[site].kill();
    cluster.replicas[site].start()?;
    let ended = people.ended(job).await?;
    ensure!(ended.state() == JobState::Succeeded, "{ended:?}");
    ensure!(
        ended.attempts.len() == 1 && ended.attempts[0].wall_ms >= 4_000,
        "{ended:?}"
    );
    Ok(())
}

async fn each_node_knows_the_others(people: &mut People<'_>) -> anyhow::Result<()> {
    let text = "echo $HESUAN_NODE_RANK of $HESUAN_NODES: $HESUAN_NODE_LIST; sleep 1";
    let spec = gang(3, text);
    let quoted = people.gross_fen(spec.clone()).await?;
    let alone = people
        .gross_fen(JobSpec {
            nodes: 1,
            ..spec.clone()
        })
        .await?;
    ensure!(quoted == 3 * alone, "{quoted} for three, {alone} for one");
    let job = people.submit(spec).await?;
    let ended = people.ended(job).await?;
    ensure!(ended.state() == JobState::Succeeded, "{ended:?}");
    let attempt = ended.attempts.first().context("it was placed")?;
    let hosts: Vec<&str> = attempt.nodes.iter().map(|node| node.host.as_str()).collect();
    ensure!(hosts == ["n1", "n2", "n3"] && attempt.host == "n1", "{attempt:?}");
    for node in 0..3 {
        let said = people.log(job, node).await?;
        ensure!(said == format!("{node} of 3: n1,n2,n3\n"), "node {node} says {said:?}");
    }
    let refused = people.log(job, 3).await.err().context("there is no fourth")?;
    ensure!(refused.to_string().contains("nodes 0 to 2"), "{refused}");
    let request = GetReceiptRequest {
        job_id: job,
        ..Default::default()
    };
    let receipt = people.jobs.get_receipt(people.who.request(request)).await?.into_inner();
    ensure!(receipt.attempts.len() == 1 && receipt.held_fen == 0, "{receipt:?}");
    Ok(())
}

async fn one_that_fails_stops_all(people: &mut People<'_>) -> anyhow::Result<()> {
    let began = Instant::now();
    let text = "test $HESUAN_NODE_RANK = 1 && exit 3; sleep 50";
    let job = people.submit(gang(3, text)).await?;
    let ended = people.ended(job).await?;
    ensure!(ended.state() == JobState::Failed && ended.exit_code == 3, "{ended:?}");
    ensure!(ended.attempts[0].message.contains("node 1"), "{ended:?}");
    ensure!(began.elapsed() < Duration::from_secs(40), "the others were stopped");
    Ok(())
}

async fn all_are_cancelled(people: &mut People<'_>) -> anyhow::Result<()> {
    let job = people.submit(gang(2, "sleep 50")).await?;
    people.until(job, runs).await?;
    let request = CancelJobRequest {
        request_id: request_id(),
        job_id: job,
        reason: "enough".into(),
    };
    people.jobs.cancel_job(people.who.request(request)).await?;
    let ended = people.ended(job).await?;
    ensure!(ended.state() == JobState::Cancelled, "{ended:?}");
    Ok(())
}

async fn none_is_too_many(people: &mut People<'_>) -> anyhow::Result<()> {
    let request = SubmitJobRequest {
        request_id: request_id(),
        spec: Some(gang(4, "true")),
        ..Default::default()
    };
    let refused = people.jobs.submit_job(people.who.request(request)).await;
    let refused = Refusal::from_status(&refused.err().context("no site has four hosts")?);
    ensure!(refused.code == "UNSATISFIABLE", "{refused:?}");
    let text = format!("{refused:?}");
    ensure!(text.matches("GANG_TOO_WIDE").count() >= 3, "of each site: {text}");
    Ok(())
}

fn runs(job: &Job) -> bool {
    job.attempts.iter().any(|one| one.started_at_ms > 0)
}

/// An hour at most, in a shell, a core on each host.
fn gang(nodes: u32, text: &str) -> JobSpec {
    JobSpec {
        name: "gang".into(),
        command: vec!["sh".into(), "-c".into(), text.into()],
        resources: Some(Resources {
            cpu_milli: 1_000,
            memory_mib: 1_024,
            ..Default::default()
        }),
        nodes,
        walltime_ms_max: 3_600_000,
        ..Default::default()
    }
}

impl People<'_> {
    async fn submit(&mut self, spec: JobSpec) -> anyhow::Result<u64> {
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

    /// List price at the cheapest site.
    async fn gross_fen(&mut self, spec: JobSpec) -> anyhow::Result<i64> {
        let request = QuoteJobRequest {
            request_id: request_id(),
            spec: Some(spec),
            ..Default::default()
        };
        let quote = self.jobs.quote_job(self.who.request(request)).await?.into_inner();
        let price = quote.sites.first().and_then(|site| site.price.as_ref());
        Ok(price.context("it has a price")?.gross_fen)
    }

    /// All that one node said.
    async fn log(&mut self, job_id: u64, node: u32) -> anyhow::Result<String> {
        let request = StreamLogsRequest {
            job_id,
            node,
            follow: true,
            ..Default::default()
        };
        let mut stream = self.jobs.stream_logs(self.who.request(request)).await?.into_inner();
        let mut text = String::new();
        while let Some(piece) = stream.message().await? {
            text.push_str(&String::from_utf8_lossy(&piece.data));
        }
        Ok(text)
    }

    async fn until(&mut self, job_id: u64, is_so: impl Fn(&Job) -> bool) -> anyhow::Result<Job> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let request = GetJobRequest {
                job_id,
                ..Default::default()
            };
            let job = self.jobs.get_job(self.who.request(request)).await?.into_inner();
            if is_so(&job) {
                return Ok(job);
            }
            ensure!(Instant::now() < deadline, "waited in vain: {job:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ended(&mut self, job_id: u64) -> anyhow::Result<Job> {
        self.until(job_id, |job| job.ended_at_ms > 0).await
    }
}
