//! Who leads, and what the log does under changing leaders.

use bytes::Bytes;
use hesuan_replica::node::{ProposeError, Role};

use crate::harness::Cluster;

#[test]
fn three_replicas_elect_one_leader_and_replicate() {
    let mut cluster = Cluster::new(3, 1);
    cluster.put_data("a");
    cluster.put_data("b");
    for id in 1..=3 {
        assert_eq!(cluster.data(id), ["a", "b"]);
    }
    let leader = cluster.elect();
    let status = cluster.node(leader).status();
    assert!(
        status.peers.iter().all(|peer| peer.lag == 0 && peer.recent_active),
        "{status:?}"
    );
    assert_eq!(status.uncommitted_bytes, 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut cluster = Cluster::new(3, seed);
        let mut ticks = 0;
        while cluster.leader().is_none() {
            cluster.tick_all();
            ticks += 1;
        }
        (ticks, cluster.leader(), cluster.sent.clone())
    };
    assert_eq!(run(7), run(7));
    assert!((1..20).any(|seed| run(seed) != run(7)), "the seed has no effect");
}

#[test]
fn a_leader_without_a_quorum_steps_down_and_its_tail_is_replaced() {
    let mut cluster = Cluster::new(3, 2);
    cluster.put_data("kept");
    let old = cluster.elect();
    cluster.isolate(old, true);
    for data in ["lost 1", "lost 2", "lost 3"] {
        cluster.node(old).propose(Bytes::from(data)).unwrap();
    }
    cluster.settle();
    let long = cluster.node(old).status().last;
    cluster.until("the old leader gives up", |cluster| {
        cluster.node(old).role() != Role::Leader
    });
    cluster.until("another leads", |cluster| cluster.leader().is_some());
    let new = cluster.elect();
    assert_ne!(new, old);
    cluster.node(new).propose(Bytes::from("new")).unwrap();
    cluster.settle();
    assert!(
        cluster.node(new).status().last < long,
        "the conflict must shorten the log"
    );
    cluster.isolate(old, false);
    cluster.until("the old leader follows", |cluster| cluster.data(old) == ["kept", "new"]);
    cluster.kill(old);
    cluster.start(old).unwrap();
    cluster.until("and remembers", |cluster| cluster.data(old) == ["kept", "new"]);
}

#[test]
fn leadership_is_handed_over_on_request() {
    let mut cluster = Cluster::new(3, 3);
    let old = cluster.elect();
    let to = old % 3 + 1;
    cluster.node(old).transfer_leader(to).unwrap();
    cluster.until("the other leads", |cluster| cluster.leader() == Some(to));
    assert_eq!(
        cluster.node(old).propose(Bytes::from("x")),
        Err(ProposeError::NotLeader { leader: Some(to) })
    );
    cluster.put_data("after");
}

#[test]
fn proposals_are_refused_during_a_transfer() {
    let mut cluster = Cluster::new(3, 3);
    let old = cluster.elect();
    let to = old % 3 + 1;
    cluster.isolate(to, true);
    cluster.node(old).propose(Bytes::from("behind")).unwrap();
    cluster.settle();
    cluster.node(old).transfer_leader(to).unwrap();
    assert_eq!(
        cluster.node(old).propose(Bytes::from("x")),
        Err(ProposeError::Transferring { to })
    );
    cluster.until("the transfer is given up", |cluster| {
        let leader = cluster.leader();
        leader.is_some_and(|leader| cluster.node(leader).propose(Bytes::from("y")).is_ok())
    });
}

#[test]
fn reads_get_an_index_on_leader_and_follower() {
    let mut cluster = Cluster::new(3, 4);
    cluster.put_data("a");
    let leader = cluster.elect();
    let follower = leader % 3 + 1;
    let commit = cluster.node(leader).status().commit;
    let (first, second) = (cluster.read(leader), cluster.read(follower));
    cluster.settle();
    assert_eq!(cluster.member(leader).reads, [(first, commit)]);
    assert_eq!(cluster.member(follower).reads, [(second, commit)]);
    cluster.isolate(leader, true);
    cluster.read(leader);
    cluster.tick_all();
    let reads = &cluster.member(leader).reads;
    assert_eq!(*reads, [(first, commit)], "a leader cut off must not answer");
}

#[test]
fn a_read_asked_by_an_earlier_run_is_not_answered_to_the_next() {
    let mut cluster = Cluster::new(3, 5);
    let leader = cluster.elect();
    let follower = leader % 3 + 1;
    cluster.read(follower);
    while cluster.turn(follower) {}
    cluster.kill(follower);
    let delayed = std::mem::take(&mut cluster.wire);
    cluster.start(follower).unwrap();
    cluster.until("it follows again", |cluster| cluster.node(follower).leader().is_some());
    cluster.wire.extend(delayed);
    cluster.settle();
    assert!(cluster.member(follower).reads.is_empty());
}

#[test]
fn too_much_uncommitted_data_is_refused() {
    let mut cluster = Cluster::with(3, 6, |config| {
        config.message_bytes_max = 1_000;
        config.uncommitted_bytes_max = 1_000;
    });
    let leader = cluster.elect();
    cluster.isolate(leader, true);
    let data = Bytes::from(vec![7; 400]);
    let refused = (0..4).find_map(|_| cluster.node(leader).propose(data.clone()).err());
    assert!(
        matches!(refused, Some(ProposeError::Busy { uncommitted_bytes: 800 })),
        "{refused:?}"
    );
    assert!(matches!(
        cluster.node(leader).propose(Bytes::new()),
        Err(ProposeError::Size { .. })
    ));
}
