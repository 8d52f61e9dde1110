//! A replica whose disk was lost must not come back as if nothing had happened: it refuses to start, and comes back under a
//! new id as a learner.

use std::time::{Duration, Instant};

use anyhow::ensure;
use hesuan_api::v1::cluster_service_client::ClusterServiceClient;
use hesuan_api::v1::{AddMemberRequest, PromoteMemberRequest, RemoveMemberRequest};
use hesuan_tests::client::{channel, request_id};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;

use crate::three;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_replica_refuses_to_start_and_returns_as_a_learner() -> anyhow::Result<()> {
    let mut cluster = three(Backend::Instant, 8_000)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    establish(&cluster, leader).await?;
    let victim = (leader + 1) % cluster.replicas.len();
    cluster.caught_up(Duration::from_secs(30)).await?;
    // The identity remembers what the store had made durable; it is written now and then, and at a clean stop.
    cluster.replicas[victim].terminate(Duration::from_secs(20))?;
    let data_dir = cluster.dir.join(&cluster.replicas[victim].name);
    empty_log(&data_dir)?;
    cluster.replicas[victim].start()?;
    let code = cluster.replicas[victim].exit_code(Duration::from_secs(20))?;
    ensure!(
        code != Some(0),
        "a replica with an empty store started and ended as if all were well"
    );
    let log = std::fs::read_to_string(cluster.replicas[victim].log())?;
    ensure!(
        log.contains("wipe its data directory"),
        "the log does not say how to recover:\n{log}"
    );

    // What the log said, done.
    std::fs::remove_dir_all(&data_dir)?;
    let old_id = cluster.replicas[victim].id;
    let mut service = ClusterServiceClient::new(channel(&cluster.replicas[leader].client)?);
    let new_name = format!("{}-2", cluster.replicas[victim].name);
    let (peer, client) = cluster.replicas[victim].addresses()?;
    let request = || AddMemberRequest {
        request_id: request_id(),
        name: new_name.clone(),
        peer_address: peer.clone(),
        client_address: client.clone(),
    };
    let too_early = service.add_member(cluster.admin.request(request())).await;
    let refused = too_early.expect_err("two replicas at one address get each other's messages");
    ensure!(
        refused.code() == tonic::Code::AlreadyExists && refused.message().contains("remove it first"),
        "{refused:?}"
    );
    let status = service
        .remove_member(cluster.admin.request(RemoveMemberRequest { id: old_id }))
        .await?
        .into_inner();
    ensure!(
        status.members.iter().all(|m| m.id != old_id),
        "replica {old_id} is still a member"
    );
    let new_id = service
        .add_member(cluster.admin.request(request()))
        .await?
        .into_inner()
        .id;
    assert!(
        new_id > old_id && cluster.replicas.iter().all(|r| r.id != new_id),
        "ids are never reused"
    );
    cluster.replicas[victim].rejoin_as(&new_name, new_id)?;
    cluster.replicas[victim].start()?;
    promoted(&cluster, &mut service, new_id).await?;
    cluster.caught_up(Duration::from_secs(30)).await?;
    Ok(())
}

/// Asks until the learner has caught up and is a voter.
async fn promoted(
    cluster: &hesuan_tests::daemons::Daemons,
    service: &mut ClusterServiceClient<tonic::transport::Channel>,
    id: u64,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let answer = service
            .promote_member(cluster.admin.request(PromoteMemberRequest { id }))
            .await;
        if let Ok(status) = &answer
            && status.get_ref().members.iter().any(|m| m.id == id && m.voter)
        {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "replica {id} is no voter after 40 s: {answer:?}\n{}",
            cluster.tails()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Removes the store's files and leaves the identity.
fn empty_log(data_dir: &std::path::Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(data_dir)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name == "raft") {
            std::fs::remove_dir_all(&path)?;
            return Ok(());
        }
    }
    anyhow::bail!("{} has no folder named raft", data_dir.display())
}
