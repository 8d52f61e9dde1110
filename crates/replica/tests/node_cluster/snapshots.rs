//! Compaction, and followers too late for the log.

use bytes::Bytes;
use hesuan_replica::node::NodeConfig;
use hesuan_replica::wire::MessageKind;

use crate::harness::Cluster;

fn small(config: &mut NodeConfig) {
    config.log_entries_keep = 5;
    config.log_entries_max = 20;
    config.cache_bytes_max = 200;
    config.message_bytes_max = 300;
    config.snapshot_ticks_max = 60;
}

/// Puts `count` entries through while `late` is away, and compacts the others' logs behind them.
fn leave_behind(cluster: &mut Cluster, late: u64, count: usize) -> u64 {
    cluster.until("a leader among the others", |cluster| {
        cluster.leader().is_some_and(|leader| leader != late)
    });
    let leader = cluster.elect();
    for number in 0..count {
        cluster
            .node(leader)
            .propose(Bytes::from(format!("entry {number}")))
            .unwrap();
        cluster.settle();
    }
    for id in (1..=3).filter(|id| *id != late) {
        let index = cluster.snapshot(id);
        let truncated = cluster.node(id).compact_to(index);
        assert!(truncated > 10, "{id} compacted only to {truncated}");
        assert_eq!(cluster.node(id).status().first, truncated + 1);
    }
    cluster.settle();
    leader
}

fn late_member(cluster: &mut Cluster) -> u64 {
    cluster.put_data("first");
    let late = cluster.elect() % 3 + 1;
    cluster.isolate(late, true);
    late
}

#[test]
fn a_follower_behind_the_log_gets_a_snapshot() {
    let mut cluster = Cluster::with(3, 1, small);
    let late = late_member(&mut cluster);
    let leader = leave_behind(&mut cluster, late, 50);
    cluster.isolate(late, false);
    cluster.until("it has caught up", |cluster| cluster.data(late).len() == 51);
    assert_eq!(cluster.member(late).installed.len(), 1);
    cluster.put_data("after");
    assert_eq!(cluster.data(late), cluster.data(leader));
    cluster.kill(late);
    cluster.start(late).unwrap();
    cluster.until("it remembers", |cluster| cluster.data(late).len() == 52);
}

#[test]
fn a_follower_within_the_log_is_served_from_the_store() {
    let mut cluster = Cluster::with(3, 2, |config| {
        small(config);
        config.log_entries_keep = 1_000;
    });
    let late = late_member(&mut cluster);
    cluster.until("a leader among the others", |cluster| {
        cluster.leader().is_some_and(|leader| leader != late)
    });
    let leader = cluster.elect();
    for number in 0..100 {
        cluster
            .node(leader)
            .propose(Bytes::from(format!("entry {number}")))
            .unwrap();
        cluster.settle();
    }
    assert!(cluster.node(leader).status().cache_bytes <= 200);
    cluster.isolate(late, false);
    cluster.until("it has caught up", |cluster| cluster.data(late).len() == 101);
    assert!(cluster.member(late).installed.is_empty());
}

#[test]
fn a_reachable_follower_keeps_the_log_from_being_compacted() {
    let mut cluster = Cluster::with(3, 3, |config| {
        small(config);
        config.log_entries_max = 1_000;
        config.log_entries_keep = 0;
    });
    cluster.put_data("first");
    let leader = cluster.elect();
    let slow = leader % 3 + 1;
    cluster.member(slow).hold_sync = true;
    let matched = cluster.node(leader).status().last;
    for number in 0..50 {
        cluster
            .node(leader)
            .propose(Bytes::from(format!("entry {number}")))
            .unwrap();
        cluster.settle();
    }
    let index = cluster.snapshot(leader);
    let truncated = cluster.node(leader).compact_to(index);
    assert!(truncated <= matched, "{truncated} is beyond what {slow} has, {matched}");
}

#[test]
fn nothing_is_installed_before_its_data_is_there_and_one_at_a_time() {
    let mut cluster = Cluster::with(3, 4, small);
    let late = late_member(&mut cluster);
    leave_behind(&mut cluster, late, 50);
    cluster.member(late).hold_fetch = true;
    cluster.isolate(late, false);
    cluster.until("it is asked to fetch", |cluster| {
        !cluster.member(late).fetches.is_empty()
    });
    let last = cluster.node(late).status().last;
    for _ in 0..200 {
        cluster.tick_all();
    }
    assert!(
        cluster.sent[&MessageKind::Snapshot] > 1,
        "the leader announces it again after a while"
    );
    assert_eq!(cluster.member(late).fetches.len(), 1);
    assert_eq!(cluster.node(late).status().last, last, "the log is as it was");
    cluster.member(late).hold_fetch = false;
    cluster.until("it has caught up", |cluster| cluster.data(late).len() == 51);
    assert_eq!(cluster.member(late).installed.len(), 1);
}

#[test]
fn a_failed_fetch_is_tried_again() {
    let mut cluster = Cluster::with(3, 5, small);
    let late = late_member(&mut cluster);
    leave_behind(&mut cluster, late, 50);
    cluster.member(late).hold_fetch = true;
    cluster.isolate(late, false);
    cluster.until("it is asked to fetch", |cluster| {
        !cluster.member(late).fetches.is_empty()
    });
    let fetch = cluster.member(late).fetches.remove(0);
    cluster.node(late).snapshot_fetched(&fetch.meta, false).unwrap();
    cluster.settle();
    assert_eq!(cluster.sent[&MessageKind::SnapshotStatus], 1);
    cluster.member(late).hold_fetch = false;
    cluster.until("it has caught up", |cluster| cluster.data(late).len() == 51);
}

#[test]
fn a_fetched_snapshot_serves_under_the_next_leader_too() {
    let mut cluster = Cluster::with(3, 6, small);
    let late = late_member(&mut cluster);
    let leader = leave_behind(&mut cluster, late, 50);
    cluster.member(late).hold_fetch = true;
    cluster.isolate(late, false);
    cluster.until("it is asked to fetch", |cluster| {
        !cluster.member(late).fetches.is_empty()
    });
    let other = 6 - late - leader;
    cluster.node(leader).transfer_leader(other).unwrap();
    cluster.until("another leads", |cluster| cluster.leader() == Some(other));
    cluster.member(late).hold_fetch = false;
    cluster.until("it has caught up", |cluster| cluster.data(late).len() == 51);
    assert_eq!(cluster.member(late).installed.len(), 1);
}

#[test]
fn a_crash_between_fetch_and_install_leaves_the_old_log() {
    let mut cluster = Cluster::with(3, 7, small);
    let late = late_member(&mut cluster);
    leave_behind(&mut cluster, late, 50);
    cluster.member(late).hold_fetch = true;
    cluster.isolate(late, false);
    cluster.until("it is asked to fetch", |cluster| {
        !cluster.member(late).fetches.is_empty()
    });
    cluster.member(late).hold_sync = true;
    cluster.member(late).hold_fetch = false;
    cluster.until("it installs", |cluster| !cluster.member(late).installed.is_empty());
    // No election while the log is being replaced, however long the disk takes.
    for _ in 0..100 {
        cluster.tick(late);
    }
    cluster.crash(late, |_| 1);
    cluster.member(late).hold_sync = false;
    cluster.start(late).unwrap();
    assert_eq!(
        cluster.node(late).status().first,
        2,
        "nothing of the snapshot was synced"
    );
    cluster.until("it has caught up", |cluster| cluster.data(late).len() == 51);
}
