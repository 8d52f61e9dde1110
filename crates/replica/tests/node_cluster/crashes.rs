//! What a power cut may take, and what it may not.

use bytes::Bytes;
use hesuan_replica::node::Role;
use hesuan_replica::store::StoreError;
use hesuan_replica::wire::{ConfChange, MessageKind};

use crate::harness::Cluster;

#[test]
fn all_at_once_lose_power_and_nothing_acknowledged_is_gone() {
    let mut cluster = Cluster::new(3, 1);
    cluster.put_data("acknowledged");
    let leader = cluster.elect();
    for id in 1..=3 {
        cluster.member(id).hold_sync = true;
    }
    cluster
        .node(leader)
        .propose(Bytes::from("not synced anywhere"))
        .unwrap();
    cluster.settle();
    assert_eq!(cluster.data(leader), ["acknowledged"], "nothing commits without a disk");
    for id in 1..=3 {
        cluster.crash(id, |_| 1);
        cluster.member(id).hold_sync = false;
    }
    cluster.wire.clear();
    for id in 1..=3 {
        cluster.start(id).unwrap();
    }
    cluster.put_data("next");
    for id in 1..=3 {
        assert_eq!(cluster.data(id), ["acknowledged", "next"]);
    }
}

#[test]
fn a_follower_acknowledges_only_what_is_synced() {
    let mut cluster = Cluster::new(3, 2);
    cluster.put_data("a");
    let leader = cluster.elect();
    let (slow, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.kill(other);
    cluster.member(slow).hold_sync = true;
    cluster.node(leader).propose(Bytes::from("b")).unwrap();
    cluster.settle();
    assert_eq!(cluster.data(leader), ["a"]);
    cluster.sync(slow);
    cluster.settle();
    assert_eq!(cluster.data(leader), ["a", "b"]);
}

#[test]
fn followers_commit_while_the_leader_s_own_disk_is_slow() {
    let mut cluster = Cluster::new(3, 3);
    cluster.put_data("a");
    let leader = cluster.elect();
    cluster.member(leader).hold_sync = true;
    cluster.node(leader).propose(Bytes::from("b")).unwrap();
    cluster.settle();
    assert_eq!(cluster.data(leader % 3 + 1), ["a", "b"]);
    assert_eq!(cluster.data(leader), ["a"], "a leader applies only what it has itself");
    cluster.crash(leader, |_| 1);
    cluster.member(leader).hold_sync = false;
    cluster.start(leader).unwrap();
    cluster.until("it learns what it had forgotten", |cluster| {
        cluster.data(leader) == ["a", "b"]
    });
}

#[test]
fn torn_and_damaged_writes_are_noticed() {
    // Fate 2 tears the batch, 3 damages a value.
    for fate in [2, 3] {
        let mut cluster = Cluster::new(3, 4);
        cluster.put_data("a");
        let leader = cluster.elect();
        let slow = leader % 3 + 1;
        cluster.member(slow).hold_sync = true;
        cluster.node(leader).propose(Bytes::from("b")).unwrap();
        cluster.settle();
        let mut asked = 0;
        let fates = cluster.crash(slow, |n| {
            asked += 1;
            if asked == 1 { fate } else { n - 1 }
        });
        assert_eq!(fates.len(), 1);
        let error = cluster.start(slow).expect_err("the damage must show");
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        assert!(error.to_string().contains("hesuan cluster add"), "{error}");
    }
}

#[test]
fn a_store_shorter_than_promised_is_refused() {
    let mut cluster = Cluster::new(3, 5);
    cluster.put_data("a");
    cluster.kill(3);
    cluster.member(3).log = Default::default();
    let error = cluster.start(3).expect_err("an empty store under an old id");
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
}

/// raft-rs lets a leader send before its disk has anything, because its vote was durable before it could win. The only
/// voter wins alone; if its learner saw entries of a term that a crash repeats, their logs would part.
#[test]
fn a_single_voter_tells_its_learner_nothing_before_its_vote_is_durable() {
    let mut cluster = Cluster::new(1, 6);
    cluster.put_data("a");
    cluster.join(2);
    cluster
        .node(1)
        .propose_conf_change(ConfChange::add_learner(2, ""))
        .unwrap();
    cluster.until("2 has it", |cluster| cluster.data(2) == ["a"]);
    cluster.kill(1);
    cluster.start(1).unwrap();
    cluster.member(1).hold_sync = true;
    cluster.until("1 leads again", |cluster| cluster.node(1).role() == Role::Leader);
    let sent = cluster.sent.get(&MessageKind::Append).copied();
    cluster
        .node(1)
        .propose(Bytes::from("of a term that may come again"))
        .unwrap();
    for _ in 0..10 {
        cluster.tick_all();
    }
    assert_eq!(cluster.sent.get(&MessageKind::Append).copied(), sent);
    cluster.crash(1, |_| 1);
    cluster.member(1).hold_sync = false;
    cluster.start(1).unwrap();
    cluster.put_data("b");
    assert_eq!(cluster.data(2), ["a", "b"]);
}
