//! Replicas come and go.

use bytes::Bytes;
use hesuan_replica::node::ProposeError;
use hesuan_replica::wire::{ConfChange, ConfState, MessageKind, PeerMessage};

use crate::harness::Cluster;

fn everyone(cluster: &mut Cluster, what: &str, ids: &[u64], wanted: ConfState) {
    cluster.until(what, |cluster| {
        ids.iter().all(|id| cluster.node(*id).conf_state() == wanted)
    });
}

#[test]
fn a_replica_joins_as_learner_is_promoted_and_removed() {
    let mut cluster = Cluster::new(3, 1);
    cluster.put_data("before");
    let leader = cluster.elect();
    cluster.join(4);
    cluster
        .node(leader)
        .propose_conf_change(ConfChange::add_learner(4, "suzhou"))
        .unwrap();
    let with_learner = ConfState {
        learners: vec![4],
        ..ConfState::of_voters([1, 2, 3])
    };
    everyone(&mut cluster, "4 learns", &[1, 2, 3, 4], with_learner);
    assert_eq!(cluster.data(4), ["before"]);
    assert_eq!(
        cluster.member(4).installed.len(),
        1,
        "a new replica begins with a snapshot"
    );

    cluster
        .node(leader)
        .propose_conf_change(ConfChange::promote(4, ""))
        .unwrap();
    everyone(
        &mut cluster,
        "4 votes",
        &[1, 2, 3, 4],
        ConfState::of_voters([1, 2, 3, 4]),
    );
    cluster.put_data("with four");

    let gone = leader % 3 + 1;
    cluster
        .node(leader)
        .propose_conf_change(ConfChange::remove(gone, ""))
        .unwrap();
    let rest: Vec<u64> = (1..=4).filter(|id| *id != gone).collect();
    everyone(
        &mut cluster,
        "one is removed",
        &rest,
        ConfState::of_voters(rest.clone()),
    );
    cluster.kill(gone);
    cluster.put_data("with three");
    for id in rest {
        assert_eq!(cluster.data(id), ["before", "with four", "with three"]);
    }
}

#[test]
fn membership_survives_a_restart_from_any_snapshot() {
    let mut cluster = Cluster::new(3, 2);
    let leader = cluster.elect();
    cluster.join(4);
    cluster
        .node(leader)
        .propose_conf_change(ConfChange::add_learner(4, ""))
        .unwrap();
    everyone(
        &mut cluster,
        "4 learns",
        &[4],
        ConfState {
            learners: vec![4],
            ..ConfState::of_voters([1, 2, 3])
        },
    );
    cluster.until("4 is caught up", |cluster| {
        cluster.node(leader).status().peers.iter().all(|peer| peer.lag == 0)
    });
    cluster.snapshot(leader);
    cluster
        .node(leader)
        .propose_conf_change(ConfChange::promote(4, ""))
        .unwrap();
    let four = ConfState::of_voters([1, 2, 3, 4]);
    everyone(&mut cluster, "4 votes", &[1, 2, 3, 4], four.clone());
    for id in 1..=4 {
        cluster.kill(id);
    }
    for id in 1..=4 {
        cluster.start(id).unwrap();
    }
    everyone(&mut cluster, "all know each other again", &[1, 2, 3, 4], four);
    cluster.put_data("on we go");
}

#[test]
fn two_become_one() {
    let mut cluster = Cluster::new(2, 3);
    let leader = cluster.elect();
    let gone = 3 - leader;
    cluster
        .node(leader)
        .propose_conf_change(ConfChange::remove(gone, ""))
        .unwrap();
    everyone(&mut cluster, "one is left", &[leader], ConfState::of_voters([leader]));
    cluster.kill(gone);
    let last = cluster.node(leader).status().last;
    cluster.node(leader).propose(Bytes::from("alone")).unwrap();
    cluster.settle();
    assert_eq!(cluster.node(leader).status().commit, last + 1);
    cluster.kill(leader);
    cluster.start(leader).unwrap();
    cluster.until("it leads itself", |cluster| cluster.data(leader) == ["alone"]);
}

#[test]
fn one_becomes_three() {
    let mut cluster = Cluster::new(1, 4);
    cluster.put_data("alone");
    for id in [2, 3] {
        cluster.join(id);
        cluster.until("it may join", |cluster| {
            cluster
                .node(1)
                .propose_conf_change(ConfChange::add_learner(id, ""))
                .is_ok()
        });
        cluster.until("it is caught up", |cluster| {
            cluster.node(1).propose_conf_change(ConfChange::promote(id, "")).is_ok()
        });
    }
    everyone(&mut cluster, "three vote", &[1, 2, 3], ConfState::of_voters([1, 2, 3]));
    cluster.put_data("together");
}

/// The leader of the change dies in the joint configuration, and the one on its way out wins the election: raft-rs would let
/// it lead on after it is removed.
#[test]
fn a_leader_on_its_way_out_hands_over_before_the_joint_configuration_ends() {
    let mut cluster = Cluster::new(4, 5);
    let old = cluster.elect();
    let leaving = old % 4 + 1;
    cluster
        .node(old)
        .propose_conf_change(ConfChange::remove(leaving, ""))
        .unwrap();
    // Everything up to the joint configuration is applied by the one that leaves; then the leader is gone.
    while !cluster.node(leaving).conf_state().is_joint() {
        cluster.turn(old);
        for id in 1..=4 {
            if id != old {
                cluster.turn(id);
            }
        }
        let waiting = cluster.wire.len();
        for _ in 0..waiting {
            cluster.deliver(0);
        }
        if cluster.wire.is_empty() && !cluster.node(leaving).conf_state().is_joint() {
            cluster.tick(old);
        }
    }
    cluster.kill(old);
    cluster.wire.clear();
    // It stands at once, as if told to: the others would not vote while they believe in the old leader.
    let term = cluster.node(leaving).term();
    let stand = PeerMessage {
        kind: MessageKind::TimeoutNow as i32,
        to: leaving,
        from: old,
        term,
        ..PeerMessage::default()
    };
    cluster.node(leaving).step(old, stand).unwrap();
    cluster.until("it leads", |cluster| cluster.has_led(leaving));
    let rest: Vec<u64> = (1..=4).filter(|id| *id != leaving).collect();
    let alive: Vec<u64> = rest.iter().copied().filter(|id| *id != old).collect();
    everyone(&mut cluster, "the change ends", &alive, ConfState::of_voters(rest));
    let leader = cluster.elect();
    assert!(alive.contains(&leader), "{leader} leads");
}

#[test]
fn senseless_changes_are_refused() {
    let mut cluster = Cluster::new(3, 6);
    let leader = cluster.elect();
    let node = cluster.node(leader);
    let refused = |result: Result<(), ProposeError>| match result {
        Err(ProposeError::ConfChange(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(node.propose_conf_change(ConfChange::promote(9, ""))),
        "9 is not a learner; replicas join as learners"
    );
    assert_eq!(
        refused(node.propose_conf_change(ConfChange::remove(9, ""))),
        "9 is not a member"
    );
    assert_eq!(
        refused(node.propose_conf_change(ConfChange::leave_joint())),
        "it changes nothing"
    );
    assert_eq!(
        node.propose_conf_change(ConfChange::remove(leader, "")),
        Err(ProposeError::RemovesLeader(leader))
    );
    assert_eq!(
        node.propose_conf_change(ConfChange::demote(leader, "")),
        Err(ProposeError::RemovesLeader(leader))
    );
    node.propose_conf_change(ConfChange::add_learner(9, "")).unwrap();
    assert_eq!(
        node.propose_conf_change(ConfChange::add_learner(8, "")),
        Err(ProposeError::ConfChangePending)
    );
    cluster.settle();
    let why = refused(cluster.node(leader).propose_conf_change(ConfChange::promote(9, "")));
    assert!(why.starts_with("learner 9 is not reachable"), "{why}");
}
