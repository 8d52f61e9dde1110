//! A contract and a quota through the public interface of real daemons: a stranger fills a site, leaves when its own users need the
//! floor, comes back and ends well.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use hesuan_api::refusal::Refusal;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::site_service_client::SiteServiceClient;
use hesuan_api::v1::wallet_service_client::WalletServiceClient;
use hesuan_api::v1::{
    Bounds, Contract, ExplainJobRequest, GetReceiptRequest, Job, JobSpec, JobState, Resources, SetContractRequest,
    SetQuotaRequest, SubmitJobRequest,
};
use hesuan_tests::client::{Bearer, channel, request_id};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;
use tonic::transport::Channel;

use crate::extend::until;
use crate::three;

const NOTICE_MS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_leaves_for_an_own_user_after_the_notice_and_comes_back() -> anyhow::Result<()> {
    let cluster = three(Backend::Process, 8_000)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    let parties = establish(&cluster, leader).await?;
    let follower = (leader + 1) % cluster.replicas.len();
    let to = channel(&cluster.replicas[follower].client)?;
    let mut jobs = JobServiceClient::new(to.clone());
    let site = cluster.replicas[0].name.clone();

    let cores = |count: u64| Bounds {
        cpu_milli: Some(count * 1_000),
        ..Bounds::default()
    };
    let contract = SetContractRequest {
        request_id: request_id(),
        site: site.clone(),
        contract: Some(Contract {
            own: vec!["photonics-lab".into()],
            floor: Some(cores(4)),
            lend_limit: Some(cores(6)),
            notice_ms: NOTICE_MS,
            ..Contract::default()
        }),
    };
    let refused = SiteServiceClient::new(to.clone())
        .set_contract(parties.lab.request(contract.clone()))
        .await;
    let refused = Refusal::from_status(&refused.err().context("no operator asks")?);
    ensure!(refused.code == "PERMISSION_DENIED", "{refused:?}");
    let set = SiteServiceClient::new(to.clone())
        .set_contract(cluster.admin.request(contract))
        .await?
        .into_inner();
    ensure!(set.contract.is_some_and(|contract| contract.revision == 1));

    // More than is ever lent.
    let refused = try_submit(&mut jobs, &parties.enterprise, spec(&site, 7, "true")).await;
    let refused = Refusal::from_status(&refused.err().context("it could never run")?);
    ensure!(refused.code == "UNSATISFIABLE", "{refused:?}");
    ensure!(
        refused.sites.iter().any(|(_, code, _)| code == "LEND_LIMIT"),
        "{refused:?}"
    );

    // It would sleep for ever, was it not for its second attempt.
    let sleeper = "test $HESUAN_ATTEMPT = 2 || exec sleep 1000";
    let stranger = try_submit(&mut jobs, &parties.enterprise, spec(&site, 6, sleeper)).await?;
    let started = |job: &Job| job.attempts.first().is_some_and(|attempt| attempt.started_at_ms > 0);
    until(&mut jobs, &parties.enterprise, stranger, started).await?;
    let second = try_submit(&mut jobs, &parties.enterprise, spec(&site, 1, "true")).await?;
    let said = codes(&mut jobs, &parties.enterprise, second, &site).await?;
    ensure!(said.contains(&"LEND_LIMIT".to_owned()), "{said:?}");

    let own = try_submit(&mut jobs, &parties.lab, spec(&site, 4, "sleep 2")).await?;
    let noticed = |job: &Job| job.attempts.first().is_some_and(|attempt| attempt.preempted_at_ms > 0);
    let noticed = until(&mut jobs, &parties.enterprise, stranger, noticed).await?;
    ensure!(noticed.state() == JobState::Running, "it has its notice: {noticed:?}");
    let over = |job: &Job| job.ended_at_ms > 0;
    let ran = until(&mut jobs, &parties.lab, own, over).await?;
    ensure!(ran.state() == JobState::Succeeded, "{ran:?}");
    let ended = until(&mut jobs, &parties.enterprise, stranger, over).await?;
    ensure!(ended.state() == JobState::Succeeded, "{ended:?}");
    let last = until(&mut jobs, &parties.enterprise, second, over).await?;
    ensure!(last.state() == JobState::Succeeded, "{last:?}");
    let receipt = GetReceiptRequest {
        job_id: stranger,
        ..Default::default()
    };
    let receipt = jobs
        .get_receipt(parties.enterprise.request(receipt))
        .await?
        .into_inner();
    ensure!(receipt.held_fen == 0 && receipt.attempts.len() == 2, "{receipt:?}");
    let first = &receipt.attempts[0];
    ensure!(first.wall_ms >= NOTICE_MS, "what it used is paid: {first:?}");

    // One task at once over the whole region.
    let quota = SetQuotaRequest {
        request_id: request_id(),
        org: "acme".into(),
        most: Some(Bounds {
            tasks: Some(1),
            ..Bounds::default()
        }),
    };
    WalletServiceClient::new(to)
        .set_quota(cluster.admin.request(quota))
        .await?;
    let elsewhere = cluster.replicas[1].name.clone();
    let one = try_submit(&mut jobs, &parties.enterprise, spec(&elsewhere, 1, "sleep 4")).await?;
    until(&mut jobs, &parties.enterprise, one, |job| job.tasks_running == 1).await?;
    let two = try_submit(&mut jobs, &parties.enterprise, spec(&site, 1, "true")).await?;
    let said = codes(&mut jobs, &parties.enterprise, two, &site).await?;
    ensure!(said.contains(&"QUOTA_TASKS".to_owned()), "{said:?}");
    let after = until(&mut jobs, &parties.enterprise, two, over).await?;
    ensure!(after.state() == JobState::Succeeded, "{after:?}");
    Ok(())
}

/// At one site, in a shell.
fn spec(site: &str, cores: u64, text: &str) -> JobSpec {
    JobSpec {
        name: "lent".into(),
        command: vec!["sh".into(), "-c".into(), text.into()],
        resources: Some(Resources {
            cpu_milli: cores * 1_000,
            memory_mib: 16,
            ..Default::default()
        }),
        sites: vec![site.into()],
        walltime_ms_max: 3_600_000,
        ..Default::default()
    }
}

async fn try_submit(jobs: &mut JobServiceClient<Channel>, who: &Bearer, spec: JobSpec) -> Result<u64, tonic::Status> {
    let request = SubmitJobRequest {
        request_id: request_id(),
        spec: Some(spec),
        ..Default::default()
    };
    Ok(jobs.submit_job(who.request(request)).await?.into_inner().job_id)
}

/// What a site says to a job.
async fn codes(
    jobs: &mut JobServiceClient<Channel>,
    who: &Bearer,
    job_id: u64,
    site: &str,
) -> anyhow::Result<Vec<String>> {
    let request = ExplainJobRequest { job_id };
    let sites = jobs.explain_job(who.request(request)).await?.into_inner().sites;
    let site = sites
        .into_iter()
        .find(|one| one.site == site)
        .context("every site answers")?;
    Ok(site.reasons.into_iter().map(|reason| reason.code).collect())
}
