//! A task on several hosts is one task; only its nodes come and go by themselves.

use hesuan_api::internal::v1::AssignedNode;

use super::*;

fn gang(task: TaskKey, nodes: usize) -> Assignment {
    Assignment {
        nodes: vec![AssignedNode::default(); nodes],
        ..assignment(task)
    }
}

/// A gang that runs on all its hosts.
fn running_gang(nodes: u32) -> Site {
    let mut site = Site::new();
    site.assign(vec![gang(T1, nodes as usize)]);
    for node in 0..nodes {
        site.started(T1.with_node(node));
    }
    assert_eq!(site.said(), ["start 1"], "started once, on all hosts");
    site
}

fn signalled(wall_ms: u64) -> Outcome {
    Outcome {
        signal: 15,
        wall_ms,
        ..Outcome::unused(TaskEnd::Signalled, "")
    }
}

fn observed(node: u32, state: ObservedState) -> Observed {
    Observed {
        task: T1.with_node(node),
        state,
    }
}

/// The one report of the task's end, as it was sent last.
fn end_of(site: &mut Site) -> TaskReport {
    let outputs = std::mem::take(&mut site.outputs);
    let reports = outputs.into_iter().filter_map(|output| match output {
        Output::Send(AgentMessage {
            body: Some(agent_message::Body::Reports(reports)),
        }) => Some(reports.reports),
        _ => None,
    });
    let mut ends: Vec<TaskReport> = reports
        .flatten()
        .filter(|report| report.event() == TaskEvent::Ended)
        .collect();
    assert_eq!(ends.len(), 1, "it ends once: {ends:?}");
    ends.pop().expect("one")
}

#[test]
fn it_has_ended_well_when_all_its_nodes_have() {
    let mut site = running_gang(3);
    site.later(300);
    assert_eq!(site.said(), ["report 1#1 started"]);
    for (node, wall_ms) in [(1, 40), (0, 90)] {
        site.ended(T1.with_node(node), Outcome::exited(0, wall_ms));
        assert_eq!(site.said(), [""; 0]);
    }
    site.ended(T1.with_node(2), Outcome::exited(0, 60));
    let end = end_of(&mut site);
    assert_eq!(
        (end.seq, end.end(), end.exit_code, end.wall_ms),
        (2, TaskEnd::Exited, 0, 90)
    );
    site.ack(T1, 2);
    site.list(true, vec![], &[]);
    assert_eq!(site.said(), ["forget 1", "forget 1/1", "forget 1/2"]);
}

#[test]
fn a_node_that_fails_stops_the_others_and_is_how_the_task_ended() {
    let mut site = running_gang(3);
    site.ended(T1.with_node(1), Outcome::exited(3, 40));
    assert_eq!(site.said(), ["Term 1", "Term 1/2"]);
    site.ended(T1.with_node(2), signalled(45));
    // The last one does not listen.
    site.later(5_000);
    assert_eq!(site.said(), ["Kill 1", "report 1#1 started"]);
    site.ended(T1, signalled(5_045));
    let end = end_of(&mut site);
    assert_eq!((end.end(), end.exit_code, end.signal), (TaskEnd::Exited, 3, 0));
    assert_eq!(end.wall_ms, 5_045, "all hosts were kept until the last ended");
    assert!(end.message.contains("node 1"), "{}", end.message);
}

#[test]
fn what_stops_a_task_stops_all_its_nodes() {
    let mut site = running_gang(2);
    site.later(60_000);
    assert_eq!(site.said(), ["Term 1", "Term 1/1", "report 1#1 started"]);
    site.ended(T1, Outcome::exited(0, 60_001));
    site.ended(T1.with_node(1), signalled(60_002));
    assert_eq!(end_of(&mut site).end(), TaskEnd::TimeLimit);

    let mut site = running_gang(2);
    site.list(false, vec![], &[T1]);
    assert_eq!(site.said(), ["Term 1", "Term 1/1"]);
    site.ended(T1.with_node(1), Outcome::exited(7, 5));
    site.ended(T1, signalled(6));
    assert_eq!(end_of(&mut site).end(), TaskEnd::Cancelled);
}

#[test]
fn a_longer_limit_is_told_to_the_nodes_that_run() {
    let mut site = running_gang(3);
    site.ended(T1.with_node(1), Outcome::exited(0, 5));
    let longer = Assignment {
        walltime_ms_max: 90_000,
        ..gang(T1, 3)
    };
    site.assign(vec![longer]);
    assert_eq!(site.said(), ["limit 1 90000", "limit 1/2 90000"]);
}

#[test]
fn after_a_crash_the_nodes_that_run_are_adopted_and_the_task_is_not_started_again() {
    let mut site = running_gang(3);
    site.ended(T1.with_node(1), Outcome::exited(0, 5));
    let mut site = site.crash(vec![
        observed(0, ObservedState::Running { started_ms: 900 }),
        observed(1, ObservedState::Ended(Outcome::exited(0, 5))),
        observed(2, ObservedState::Running { started_ms: 905 }),
    ]);
    site.core.connected(site.now_ms);
    site.list(true, vec![gang(T1, 3)], &[]);
    assert_eq!(site.said(), ["report 1#1 started"]);
    site.ended(T1.with_node(2), Outcome::exited(0, 50));
    site.ended(T1, Outcome::exited(0, 70));
    let end = end_of(&mut site);
    assert_eq!((end.end(), end.exit_code, end.wall_ms), (TaskEnd::Exited, 0, 70));
}

#[test]
fn a_node_that_nobody_can_show_after_a_crash_is_lost_and_the_task_with_it() {
    let site = running_gang(2);
    let mut site = site.crash(vec![observed(0, ObservedState::Running { started_ms: 900 })]);
    site.core.connected(site.now_ms);
    site.settle();
    assert_eq!(site.said(), ["Term 1", "report 1#1 started"]);
    site.ended(T1, signalled(100));
    assert_eq!(end_of(&mut site).end(), TaskEnd::Lost);

    let site = running_gang(2);
    let mut site = site.crash(vec![]);
    site.core.connected(site.now_ms);
    site.settle();
    assert_eq!(end_of(&mut site).end(), TaskEnd::Lost);
}

/// Which node failed first is known after a crash too: the others ended because of it.
#[test]
fn how_it_ended_is_the_same_after_a_crash_in_the_midst_of_stopping() {
    let mut site = running_gang(3);
    site.ended(T1.with_node(2), Outcome::exited(9, 40));
    let mut site = site.crash(vec![
        observed(0, ObservedState::Ended(signalled(50))),
        observed(1, ObservedState::Running { started_ms: 900 }),
        observed(2, ObservedState::Ended(Outcome::exited(9, 40))),
    ]);
    site.core.connected(site.now_ms);
    site.settle();
    assert!(
        site.said().contains(&"Term 1/1".to_owned()),
        "the signal may not have been sent"
    );
    site.ended(T1.with_node(1), signalled(60));
    let end = end_of(&mut site);
    assert_eq!((end.end(), end.exit_code), (TaskEnd::Exited, 9));
}

#[test]
fn a_gang_that_was_never_started_ends_without_its_nodes() {
    let mut site = Site::new();
    site.assign(vec![Assignment {
        cancel_requested: true,
        ..gang(T1, 2)
    }]);
    assert_eq!(end_of(&mut site).end(), TaskEnd::Cancelled);
}
