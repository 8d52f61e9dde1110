//! Each daemon killed in turn, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hesuan_api::v1::GetTrialBalanceRequest;
use hesuan_api::v1::wallet_service_client::WalletServiceClient;
use hesuan_tests::bench::load::{Load, Until};
use hesuan_tests::client::{all_jobs, channel};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::{establish, wait_for_sites};

use crate::three;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_each_daemon_is_killed_in_turn() -> anyhow::Result<()> {
    let mut cluster = three(Backend::Instant, 1_000_000)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    let parties = establish(&cluster, leader).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = Load {
        addresses: cluster.addresses(),
        bearer: parties.lab.clone(),
        clients: 8,
        cpu_milli: 1_000,
        command: vec!["/bin/true".to_owned()],
        stop: Arc::clone(&stop),
    };
    let clients = tokio::spawn(async move { load.run(Until::Elapsed(Duration::from_secs(120))).await });
    for place in 0..cluster.replicas.len() {
        cluster.replicas[place].kill();
        // The others must have a leader again before the next one goes, or there would be no quorum to lose.
        cluster.leader(Duration::from_secs(20)).await?;
        cluster.replicas[place].start()?;
        cluster.caught_up_under_load(place, Duration::from_secs(60)).await?;
    }
    stop.store(true, Ordering::Relaxed);
    let result = clients.await??;
    assert!(!result.acknowledged.is_empty(), "the load was acknowledged at all");
    cluster.settled(Duration::from_secs(60)).await?;
    cluster.caught_up(Duration::from_secs(60)).await?;

    let leader = cluster.leader(Duration::from_secs(20)).await?;
    let known = all_jobs(&cluster.replicas[leader].client, &parties.lab).await?;
    let lost: Vec<u64> = result
        .acknowledged
        .iter()
        .copied()
        .filter(|id| !known.contains(id))
        .collect();
    assert_eq!(lost, Vec::<u64>::new(), "of {} acknowledged", result.acknowledged.len());
    let to = channel(&cluster.replicas[leader].client)?;
    wait_for_sites(&cluster, &to).await?;
    let balance = WalletServiceClient::new(to)
        .get_trial_balance(parties.treasurer.request(GetTrialBalanceRequest {}))
        .await?
        .into_inner();
    assert_eq!(balance.debit_total_fen, balance.credit_total_fen);
    assert!(
        balance.journal_entries as usize > result.acknowledged.len(),
        "every job has moved money"
    );
    Ok(())
}
