//! Messages from outside that make no sense must be errors, never panics, and never proposals.

use bytes::Bytes;
use hesuan_replica::node::{Node, NodeConfig, NodeError};
use hesuan_replica::store::{LoadedLog, LogStore, MemoryLog};
use hesuan_replica::wire::{ConfState, LogEntry, MessageKind, PeerMessage, SnapshotMeta, WireError};
use prost::Message as _;

use crate::harness::{Cluster, Random};

fn message(kind: MessageKind) -> PeerMessage {
    PeerMessage {
        kind: kind as i32,
        to: 1,
        from: 2,
        term: 9,
        ..PeerMessage::default()
    }
}

#[test]
fn proposals_and_local_messages_are_refused() {
    let mut cluster = Cluster::new(3, 1);
    for kind in [0, 1, 2, 10, 11, 12, 13, 99] {
        let proposal = PeerMessage {
            kind,
            ..message(MessageKind::Append)
        };
        let refused = cluster.node(1).step(2, proposal);
        assert!(
            matches!(refused, Err(NodeError::Wire(WireError::Kind(found))) if found == kind),
            "{kind}"
        );
    }
}

#[test]
fn misdirected_and_malformed_messages_are_refused() {
    let mut cluster = Cluster::new(3, 1);
    let entry = |index, term| LogEntry {
        index,
        term,
        ..LogEntry::default()
    };
    let append = |entries| PeerMessage {
        index: 1,
        log_term: 1,
        entries,
        ..message(MessageKind::Append)
    };
    let snapshot = |conf_state| PeerMessage {
        snapshot: Some(SnapshotMeta {
            index: 5,
            term: 2,
            conf_state,
            ..SnapshotMeta::default()
        }),
        ..message(MessageKind::Snapshot)
    };
    let bad = [
        PeerMessage {
            to: 3,
            ..message(MessageKind::Heartbeat)
        },
        PeerMessage {
            from: 3,
            ..message(MessageKind::Heartbeat)
        },
        PeerMessage {
            term: 0,
            ..message(MessageKind::Heartbeat)
        },
        PeerMessage {
            term: u64::MAX,
            ..message(MessageKind::RequestVote)
        },
        append(vec![entry(3, 1)]),
        append(vec![entry(2, 1), entry(4, 1)]),
        append(vec![entry(2, 3), entry(3, 2)]),
        append(vec![entry(2, 10)]),
        message(MessageKind::Snapshot),
        snapshot(ConfState::default()),
        snapshot(ConfState::of_voters([1, 1])),
        snapshot(ConfState {
            learners: vec![1],
            ..ConfState::of_voters([1])
        }),
        PeerMessage {
            term: 0,
            ..message(MessageKind::ReadIndex)
        },
    ];
    for bad in bad {
        assert!(cluster.node(1).step(2, bad.clone()).is_err(), "{bad:?}");
    }
    assert_eq!(cluster.node(1).term(), 1, "nothing of it had an effect");
    let claim = PeerMessage {
        commit: 50,
        ..message(MessageKind::Heartbeat)
    };
    let refused = cluster.node(1).step(2, claim);
    assert!(matches!(
        refused,
        Err(NodeError::CommitBeyondLog {
            commit: 50,
            last: 1,
            ..
        })
    ));
}

#[test]
fn arbitrary_messages_never_panic() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut cluster = Cluster::new(3, seed);
        cluster.put_data("a");
        let leader = cluster.elect();
        let to = 1 + random.below(3);
        let from = to % 3 + 1;
        let term = cluster.node(leader).term();
        for _ in 0..30 {
            let mut small = || random.below(8);
            let entries = (0..small() / 4).map(|_| LogEntry {
                index: small(),
                term: small(),
                kind: small() as i32 / 6,
                data: Bytes::from_static(b"0123456789abcdef01234567"),
            });
            let arbitrary = PeerMessage {
                to,
                from,
                entries: entries.collect(),
                kind: MESSAGE_KINDS[small() as usize],
                term: if small() == 0 { 0 } else { term - 1 + small() / 4 },
                index: small(),
                log_term: small() / 2,
                commit: small(),
                commit_term: small() / 2,
                reject: small() < 2,
                reject_hint: small(),
                request_snapshot: small() / 6,
                ..PeerMessage::default()
            };
            let bytes = Bytes::from(arbitrary.encode_to_vec());
            let _ = cluster.node(to).step(from, PeerMessage::from_bytes(bytes).unwrap());
        }
    }
    assert!(PeerMessage::from_bytes(Bytes::from_static(b"\xff\xff\xff")).is_err());
}

#[test]
fn settings_that_contradict_each_other_are_an_error() {
    let config = NodeConfig {
        heartbeat_ticks: 30,
        ..NodeConfig::new(1, [0; 16])
    };
    let opened = Node::open(config, LoadedLog::default(), MemoryLog::new().reader(), 0, 1);
    assert!(matches!(opened.err(), Some(NodeError::Config(_))));
    let config = NodeConfig::new(1, [0; 16]);
    let opened = Node::open(config, LoadedLog::default(), MemoryLog::new().reader(), 5, 1);
    assert!(
        matches!(opened.err(), Some(NodeError::Inconsistent(_))),
        "a state ahead of its log"
    );
}

#[test]
fn a_node_can_live_on_a_thread_of_its_own() {
    fn is_send<T: Send>() {}
    is_send::<Node>();
    is_send::<Box<dyn LogStore>>();
}

/// Kinds whose content alone cannot make a committed entry out of nothing; forged entries would break any Raft.
const MESSAGE_KINDS: [i32; 8] = [
    MessageKind::AppendResponse as i32,
    MessageKind::RequestVote as i32,
    MessageKind::RequestVoteResponse as i32,
    MessageKind::HeartbeatResponse as i32,
    MessageKind::ReadIndex as i32,
    MessageKind::ReadIndexResponse as i32,
    MessageKind::RequestPreVote as i32,
    MessageKind::RequestPreVoteResponse as i32,
];
