//! One test per rule of the agent.

mod gang;

use hesuan_api::internal::v1::{
    AgentMessage, Assignment, Assignments, Hello, LeaseGrant, ReplicaMessage, ReportAck, TaskEnd, TaskEvent,
    TaskReport, Welcome, Withdrawal, agent_message, replica_message,
};

use super::*;

const T1: TaskKey = key(1);
const T2: TaskKey = key(2);

const fn key(job: u64) -> TaskKey {
    TaskKey {
        job,
        task: 0,
        attempt: 1,
        restore_epoch: 0,
        node: 0,
    }
}

fn config() -> CoreConfig {
    CoreConfig {
        journal_slack_records: 1000,
        lease_silence_ms: u64::MAX,
        ..CoreConfig::new(Hello {
            site: "songjiang".into(),
            ..Hello::default()
        })
    }
}

fn assignment(task: TaskKey) -> Assignment {
    Assignment {
        task: Some(task.into()),
        walltime_ms_max: 60_000,
        ..Assignment::default()
    }
}

fn leased(task: TaskKey) -> Assignment {
    Assignment {
        requeue_on_site_lost: true,
        ..assignment(task)
    }
}

fn limited(task: TaskKey, walltime_ms_max: u64) -> Assignment {
    Assignment {
        walltime_ms_max,
        ..assignment(task)
    }
}

fn cancelled(task: TaskKey) -> Assignment {
    Assignment {
        cancel_requested: true,
        ..assignment(task)
    }
}

/// A core with a disk that syncs when told, and everything it put out.
struct Site {
    core: Core,
    now_ms: u64,
    index: u64,
    disk: Vec<JournalRecord>,
    unsynced: Vec<(u64, bool, Vec<JournalRecord>)>,
    outputs: Vec<Output>,
}

impl Site {
    fn new() -> Site {
        let mut site = Site::from_disk(config(), Vec::new(), Vec::new());
        site.core.connected(site.now_ms);
        site.settle();
        site
    }

    fn from_disk(config: CoreConfig, disk: Vec<JournalRecord>, owned: Vec<Observed>) -> Site {
        let (core, outputs) = Core::new(config, disk.clone(), owned, 1_000);
        let mut site = Site {
            core,
            now_ms: 1_000,
            index: 10,
            disk,
            unsynced: Vec::new(),
            outputs: Vec::new(),
        };
        site.collect(outputs);
        site
    }

    /// The daemon dies; what was not synced is lost. The backend then has `owned`.
    fn crash(self, owned: Vec<Observed>) -> Site {
        let mut site = Site::from_disk(config(), self.disk, owned);
        site.index = self.index;
        site
    }

    fn collect(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Journal { seq, records } => self.unsynced.push((seq, false, records)),
                Output::Rewrite { seq, records } => self.unsynced.push((seq, true, records)),
                other => self.outputs.push(other),
            }
        }
    }

    fn take(&mut self) {
        let outputs = self.core.take_outputs();
        self.collect(outputs);
    }

    fn sync(&mut self) {
        self.take();
        for (seq, rewrite, records) in std::mem::take(&mut self.unsynced) {
            if rewrite {
                self.disk.clear();
            }
            self.disk.extend(records);
            self.core.journalled(seq, self.now_ms);
        }
        self.take();
    }

    /// Syncs until nothing is left to sync.
    fn settle(&mut self) {
        self.take();
        while !self.unsynced.is_empty() {
            self.sync();
        }
    }

    fn hear(&mut self, body: replica_message::Body) {
        self.core.handle(ReplicaMessage { body: Some(body) }, self.now_ms);
    }

    fn list(&mut self, complete: bool, assigned: Vec<Assignment>, withdrawn: &[TaskKey]) {
        self.index += 1;
        self.list_at(self.index, complete, assigned, withdrawn);
    }

    fn list_at(&mut self, applied_index: u64, complete: bool, assigned: Vec<Assignment>, withdrawn: &[TaskKey]) {
        let withdrawn = withdrawn
            .iter()
            .map(|key| Withdrawal {
                task: Some((*key).into()),
                ..Withdrawal::default()
            })
            .collect();
        self.hear(replica_message::Body::Assignments(Assignments {
            complete,
            assigned,
            withdrawn,
            applied_index,
        }));
        self.settle();
    }

    fn assign(&mut self, assigned: Vec<Assignment>) {
        self.list(false, assigned, &[]);
    }

    fn lease(&mut self, ttl_ms: u64) {
        self.hear(replica_message::Body::LeaseGrant(LeaseGrant {
            sent_at_ms: self.now_ms,
            ttl_ms,
        }));
        self.settle();
    }

    fn ack(&mut self, task: TaskKey, seq: u32) {
        self.hear(replica_message::Body::ReportAck(ReportAck {
            tasks: vec![task.into()],
            seqs: vec![seq],
        }));
        self.settle();
    }

    fn started(&mut self, task: TaskKey) {
        self.core.backend_event(
            BackendEvent::Started {
                task,
                at_ms: self.now_ms,
            },
            self.now_ms,
        );
        self.settle();
    }

    fn ended(&mut self, task: TaskKey, outcome: Outcome) {
        self.core
            .backend_event(BackendEvent::Ended { task, outcome }, self.now_ms);
        self.settle();
    }

    fn run(&mut self, task: TaskKey) {
        self.assign(vec![assignment(task)]);
        self.started(task);
        self.outputs.clear();
    }

    fn later(&mut self, ms: u64) {
        self.now_ms += ms;
        self.core.tick(self.now_ms);
        self.settle();
    }

    /// What was put out since the last look, in words; heartbeats and greetings left out.
    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outputs)
            .into_iter()
            .filter_map(words)
            .collect()
    }
}

fn words(output: Output) -> Option<String> {
    Some(match output {
        Output::Send(AgentMessage {
            body: Some(agent_message::Body::Reports(reports)),
        }) => reports.reports.iter().map(report_words).collect::<Vec<_>>().join(", "),
        Output::Send(_) | Output::Lease { .. } => return None,
        Output::Start(assignment) => format!("start {}", assignment.task.expect("has one").job),
        Output::Signal { task, signal } => format!("{signal:?} {}", node_words(task)),
        Output::SetLimit { task, walltime_ms_max } => format!("limit {} {walltime_ms_max}", node_words(task)),
        Output::Forget { task } => format!("forget {}", node_words(task)),
        Output::Reconnect { .. } => "reconnect".to_owned(),
        Output::Journal { .. } | Output::Rewrite { .. } => unreachable!("collected apart"),
    })
}

fn node_words(task: TaskKey) -> String {
    match task.node {
        0 => task.job.to_string(),
        node => format!("{}/{node}", task.job),
    }
}

fn report_words(report: &TaskReport) -> String {
    let job = report.task.as_ref().expect("has one").job;
    match report.event() {
        TaskEvent::Started => format!("report {job}#{} started", report.seq),
        _ => format!("report {job}#{} {:?}", report.seq, report.end()),
    }
}

fn running(task: TaskKey) -> Observed {
    Observed {
        task,
        state: ObservedState::Running { started_ms: 900 },
    }
}

#[test]
fn a_start_is_given_out_only_after_its_record_is_on_disk() {
    let mut site = Site::new();
    site.hear(replica_message::Body::Assignments(Assignments {
        assigned: vec![assignment(T1)],
        applied_index: 11,
        ..Assignments::default()
    }));
    site.take();
    assert_eq!(site.unsynced.len(), 1);
    assert_eq!(site.said(), [""; 0]);
    site.sync();
    assert!(matches!(site.disk[..], [JournalRecord::Start { task: T1, .. }]));
    assert_eq!(site.said(), ["start 1"]);
}

#[test]
fn the_same_assignment_again_starts_nothing() {
    let mut site = Site::new();
    site.assign(vec![assignment(T1), assignment(T1)]);
    site.assign(vec![assignment(T1)]);
    site.list(true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), ["start 1"]);
    site.started(T1);
    site.ended(T1, Outcome::exited(0, 5));
    site.said();
    site.list(true, vec![assignment(T1)], &[]);
    site.ack(T1, 2);
    site.list(true, vec![assignment(T1)], &[]);
    assert_eq!(
        site.said(),
        [""; 0],
        "an ended task stays known as long as it is assigned"
    );
}

#[test]
fn a_journalled_start_that_the_backend_does_not_know_is_lost_and_never_tried_again() {
    let mut site = Site::new();
    site.assign(vec![assignment(T1)]);
    let mut site = site.crash(Vec::new());
    site.core.connected(site.now_ms);
    site.list(true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), ["report 1#2 Lost"]);
    site.ack(T1, 2);
    site.list(true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), [""; 0]);
}

#[test]
fn a_start_that_was_not_journalled_before_the_crash_happens_afterwards() {
    let mut site = Site::new();
    site.hear(replica_message::Body::Assignments(Assignments {
        assigned: vec![assignment(T1)],
        applied_index: 11,
        ..Assignments::default()
    }));
    site.take();
    let mut site = site.crash(Vec::new());
    site.core.connected(site.now_ms);
    site.list(true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), ["start 1"]);
}

#[test]
fn running_tasks_are_adopted_and_their_time_limit_still_counts_from_their_start() {
    let mut site = Site::new();
    site.run(T1);
    let mut site = site.crash(vec![running(T1)]);
    site.core.connected(site.now_ms);
    site.list(true, vec![assignment(T1)], &[]);
    site.later(300);
    assert_eq!(site.said(), ["report 1#1 started"]);
    site.ack(T1, 1);
    // Started at 900 with a minute.
    site.later(60_900 - 1_300 - 1);
    assert_eq!(site.said(), [""; 0]);
    site.later(1);
    assert_eq!(site.said(), ["Term 1"]);
}

#[test]
fn an_end_that_happened_while_the_daemon_was_away_is_reported() {
    let mut site = Site::new();
    site.run(T1);
    let ended = Observed {
        task: T1,
        state: ObservedState::Ended(Outcome::exited(7, 50)),
    };
    let mut site = site.crash(vec![ended]);
    site.core.connected(site.now_ms);
    site.settle();
    assert_eq!(site.said(), ["report 1#2 Exited"]);
}

#[test]
fn ends_are_repeated_until_acknowledged_and_survive_crash_and_reconnection() {
    let mut site = Site::new();
    site.run(T1);
    site.ended(T1, Outcome::exited(0, 5));
    assert_eq!(site.said(), ["report 1#2 Exited"]);
    site.later(1_999);
    assert_eq!(site.said(), [""; 0]);
    site.later(1);
    assert_eq!(site.said(), ["report 1#2 Exited"]);
    site.core.disconnected(site.now_ms);
    site.later(10_000);
    assert_eq!(site.said(), [""; 0]);
    site.core.connected(site.now_ms);
    site.settle();
    assert_eq!(site.said(), ["report 1#2 Exited"]);
    let mut site = site.crash(Vec::new());
    site.core.connected(site.now_ms);
    site.settle();
    assert_eq!(site.said(), ["report 1#2 Exited"]);
    site.ack(T1, 1);
    site.later(2_000);
    assert_eq!(
        site.said(),
        ["report 1#2 Exited"],
        "an older number does not acknowledge"
    );
    site.ack(T1, 2);
    site.later(10_000);
    assert_eq!(site.said(), [""; 0]);
}

#[test]
fn a_short_task_is_one_report_and_a_long_one_two() {
    let mut site = Site::new();
    site.assign(vec![assignment(T1), assignment(T2)]);
    site.started(T1);
    site.started(T2);
    site.ended(T1, Outcome::exited(0, 5));
    site.later(200);
    assert_eq!(
        site.said(),
        ["start 1", "start 2", "report 1#2 Exited", "report 2#1 started"]
    );
}

#[test]
fn a_settled_task_is_forgotten_only_when_acknowledged_and_no_longer_assigned() {
    let mut site = Site::new();
    site.run(T1);
    site.run(T2);
    site.ended(T1, Outcome::exited(0, 5));
    site.ended(T2, Outcome::exited(0, 5));
    site.said();
    site.ack(T1, 2);
    assert_eq!(site.said(), [""; 0]);
    site.list(false, vec![], &[T1, T2]);
    assert_eq!(site.said(), ["forget 1"]);
    site.ack(T2, 2);
    assert_eq!(site.said(), ["forget 2"]);
}

#[test]
fn a_list_from_before_a_task_was_forgotten_is_not_listened_to_even_after_a_crash() {
    let mut site = Site::new();
    site.run(T1);
    let before = site.index;
    site.ended(T1, Outcome::exited(0, 5));
    site.ack(T1, 2);
    site.list(false, vec![], &[T1]);
    site.said();
    site.list_at(before, false, vec![assignment(T1)], &[]);
    site.list_at(before, true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), ["reconnect"]);
    let mut site = site.crash(Vec::new());
    site.core.connected(site.now_ms);
    site.list_at(before, true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), ["reconnect"]);
}

#[test]
fn a_replica_that_lags_does_not_get_a_newer_task_stopped() {
    let mut site = Site::new();
    let before = site.index;
    site.run(T1);
    site.list_at(before, true, vec![], &[]);
    assert_eq!(site.said(), ["reconnect"]);
}

#[test]
fn a_cluster_restored_from_a_backup_is_listened_to_although_its_index_is_lower() {
    let mut site = Site::new();
    site.run(T1);
    site.hear(replica_message::Body::Welcome(Welcome {
        restore_epoch: 1,
        ..Welcome::default()
    }));
    let restored = TaskKey {
        job: 50,
        restore_epoch: 1,
        ..T1
    };
    site.list_at(3, true, vec![assignment(restored)], &[]);
    assert_eq!(site.said(), ["Term 1", "start 50"]);
}

#[test]
fn cancel_is_term_then_after_the_grace_kill_until_the_task_is_gone() {
    let mut site = Site::new();
    site.run(T1);
    site.assign(vec![cancelled(T1)]);
    site.assign(vec![cancelled(T1)]);
    assert_eq!(site.said(), ["Term 1"]);
    site.later(4_999);
    site.said();
    site.later(1);
    assert_eq!(site.said(), ["Kill 1"]);
    site.later(5_000);
    assert!(site.said().contains(&"Kill 1".to_owned()));
    site.ended(
        T1,
        Outcome {
            signal: 9,
            ..Outcome::unused(TaskEnd::Signalled, "")
        },
    );
    assert_eq!(site.said(), ["report 1#2 Cancelled"]);
    site.ack(T1, 2);
    site.later(20_000);
    assert_eq!(site.said(), [""; 0]);
}

#[test]
fn a_stop_goes_on_after_a_crash_and_keeps_its_reason() {
    let mut site = Site::new();
    site.run(T1);
    site.later(60_000);
    assert!(site.said().contains(&"Term 1".to_owned()));
    let mut site = site.crash(vec![running(T1)]);
    assert_eq!(site.said(), ["Term 1"]);
    site.core.connected(site.now_ms);
    site.assign(vec![cancelled(T1)]);
    assert_eq!(site.said(), ["report 1#1 started"]);
    site.ended(
        T1,
        Outcome {
            signal: 15,
            ..Outcome::unused(TaskEnd::Signalled, "")
        },
    );
    assert_eq!(site.said(), ["report 1#2 TimeLimit"]);
}

#[test]
fn what_is_cancelled_before_its_start_is_never_started_and_reported_so() {
    let mut site = Site::new();
    site.assign(vec![cancelled(T1)]);
    assert_eq!(site.said(), ["report 1#2 Cancelled"]);
    // Cancelled while its record is on the way to the disk.
    site.hear(replica_message::Body::Assignments(Assignments {
        assigned: vec![assignment(T2), cancelled(T2)],
        applied_index: 99,
        ..Assignments::default()
    }));
    site.settle();
    assert_eq!(site.said(), ["report 2#2 Cancelled"]);
}

#[test]
fn what_is_withdrawn_before_its_start_leaves_no_trace() {
    let mut site = Site::new();
    site.list(false, vec![assignment(T1)], &[T1]);
    assert_eq!(site.said(), ["forget 1"]);
    let mut site = site.crash(Vec::new());
    site.core.connected(site.now_ms);
    site.settle();
    assert_eq!(site.said(), [""; 0]);
}

#[test]
fn a_withdrawn_task_that_runs_is_stopped_and_its_end_still_journalled_and_told() {
    let mut site = Site::new();
    site.run(T1);
    site.run(T2);
    // One by name, one by its absence.
    site.list(false, vec![], &[T1]);
    site.list(true, vec![], &[]);
    assert_eq!(site.said(), ["Term 1", "Term 2"]);
    site.ended(T1, Outcome::exited(0, 5));
    assert_eq!(site.said(), ["report 1#2 Cancelled"]);
    assert!(
        site.disk
            .iter()
            .any(|record| matches!(record, JournalRecord::Ended { task: T1, .. }))
    );
    site.ack(T1, 2);
    assert_eq!(site.said(), ["forget 1"]);
}

#[test]
fn a_leased_task_waits_for_the_lease_and_is_stopped_when_it_ends() {
    let mut site = Site::new();
    site.assign(vec![leased(T1), assignment(T2)]);
    assert_eq!(site.said(), ["start 2"]);
    site.lease(10_000);
    assert_eq!(site.said(), ["start 1"]);
    site.started(T1);
    site.started(T2);
    site.ack(T1, 1);
    site.ack(T2, 1);
    site.later(5_000);
    site.lease(10_000);
    site.ack(T1, 1);
    site.ack(T2, 1);
    site.later(9_999);
    site.said();
    site.later(1);
    assert_eq!(site.said(), ["Term 1"], "the other one goes on");
    site.lease(10_000);
    site.later(5_000);
    assert_eq!(site.said(), ["Kill 1"], "a new lease does not bring it back");
    site.ended(
        T1,
        Outcome {
            signal: 15,
            ..Outcome::unused(TaskEnd::Signalled, "")
        },
    );
    assert_eq!(site.said(), ["report 1#2 LeaseExpired"]);
}

#[test]
fn the_lease_counts_from_the_heartbeat_that_asked_for_it() {
    let mut site = Site::new();
    site.now_ms = 20_000;
    let grant = |sent_at_ms, ttl_ms| replica_message::Body::LeaseGrant(LeaseGrant { sent_at_ms, ttl_ms });
    // An answer to the future, an answer that took longer than the lease, and an overflow that must not wrap.
    site.hear(grant(20_001, 60_000));
    site.hear(grant(5_000, 15_000));
    site.assign(vec![leased(T1)]);
    assert_eq!(site.said(), [""; 0]);
    site.hear(grant(19_000, u64::MAX));
    site.settle();
    assert_eq!(site.said(), ["start 1"]);
}

#[test]
fn adopted_leased_tasks_are_stopped_at_once_when_the_lease_is_not_known_to_hold() {
    let mut site = Site::new();
    site.lease(60_000);
    site.assign(vec![leased(T1)]);
    site.started(T1);
    let disk = site.disk;
    let mut stopped = Site::from_disk(config(), disk.clone(), vec![running(T1)]);
    assert_eq!(stopped.said(), ["Term 1"]);
    let mut goes_on = Site::from_disk(
        CoreConfig {
            lease_until_ms: 5_000,
            ..config()
        },
        disk,
        vec![running(T1)],
    );
    assert_eq!(goes_on.said(), [""; 0]);
    goes_on.later(4_000);
    assert_eq!(goes_on.said(), ["Term 1"]);
}

#[test]
fn what_the_backend_has_and_the_journal_does_not_is_killed_or_forgotten() {
    let ended = Observed {
        task: T2,
        state: ObservedState::Ended(Outcome::exited(0, 5)),
    };
    let mut site = Site::from_disk(config(), Vec::new(), vec![running(T1), ended]);
    assert_eq!(site.said(), ["Kill 1", "forget 2"]);
    site.ended(
        T1,
        Outcome {
            signal: 9,
            ..Outcome::unused(TaskEnd::Signalled, "")
        },
    );
    assert_eq!(site.said(), ["forget 1"]);
}

#[test]
fn the_journal_stays_as_small_as_the_work_in_hand_and_forgets_nothing_it_needs() {
    let mut site = Site::new();
    site.run(T1);
    for job in 100..2_000 {
        site.assign(vec![assignment(key(job))]);
        site.started(key(job));
        site.ended(key(job), Outcome::exited(0, 5));
        site.ack(key(job), 2);
        site.list(false, vec![], &[key(job)]);
        assert!(site.disk.len() <= 1_020, "{} records", site.disk.len());
    }
    let before = site.index - 5;
    let mut site = site.crash(vec![running(T1)]);
    site.core.connected(site.now_ms);
    site.list_at(before, true, vec![assignment(key(1_998))], &[]);
    assert_eq!(site.said(), ["reconnect", "report 1#1 started"]);
    assert_eq!(site.core.running().collect::<Vec<_>>(), [T1]);
}

#[test]
fn thousands_at_once_are_one_write_and_reports_go_in_batches() {
    let mut site = Site::new();
    let count = 20_000;
    site.hear(replica_message::Body::Assignments(Assignments {
        assigned: (1..=count).map(|job| assignment(key(job))).collect(),
        applied_index: 11,
        ..Assignments::default()
    }));
    site.take();
    assert_eq!(site.unsynced.len(), 1);
    site.sync();
    assert_eq!(site.said().len() as u64, count);
    for job in 1..=count {
        site.core.backend_event(
            BackendEvent::Ended {
                task: key(job),
                outcome: Outcome::exited(0, 1),
            },
            site.now_ms,
        );
    }
    site.settle();
    assert_eq!(site.said().len() as u64, count.div_ceil(512));
}

#[test]
fn heartbeats_tell_of_running_tasks_in_turn() {
    let mut site = Site::from_disk(
        CoreConfig {
            usage_batch_max: 2,
            ..config()
        },
        Vec::new(),
        Vec::new(),
    );
    site.core.connected(site.now_ms);
    for job in 1..=3 {
        site.run(key(job));
    }
    let mut told = Vec::new();
    for _ in 0..2 {
        site.later(1_000);
        for output in site.outputs.drain(..) {
            if let Output::Send(AgentMessage {
                body: Some(agent_message::Body::Heartbeat(beat)),
            }) = output
            {
                assert_eq!(beat.sent_at_ms, site.now_ms);
                told.push(
                    beat.running
                        .iter()
                        .map(|usage| usage.task.expect("has one").job)
                        .collect::<Vec<_>>(),
                );
            }
        }
    }
    assert_eq!(told, [vec![1, 2], vec![3]]);
}

#[test]
fn next_wake_is_when_something_is_due() {
    let mut site = Site::from_disk(config(), Vec::new(), Vec::new());
    assert_eq!(site.core.next_wake(), None);
    site.core.connected(1_000);
    assert_eq!(site.core.next_wake(), Some(2_000));
    site.run(T1);
    assert_eq!(site.core.next_wake(), Some(1_200), "the report of the start");
    site.core.disconnected(1_000);
    site.later(200);
    assert_eq!(site.core.next_wake(), Some(61_000), "the time limit");
}

#[test]
fn messages_without_sense_change_nothing() {
    let mut site = Site::new();
    site.core.handle(ReplicaMessage::default(), 1_000);
    site.hear(replica_message::Body::Assignments(Assignments {
        assigned: vec![Assignment::default()],
        withdrawn: vec![Withdrawal::default()],
        applied_index: 11,
        ..Assignments::default()
    }));
    site.ack(T1, 2);
    site.run(T1);
    site.ack(T1, 2);
    site.ended(T1, Outcome::exited(0, 1));
    site.ack(T1, 77);
    site.later(2_000);
    assert_eq!(site.said(), ["report 1#2 Exited", "report 1#2 Exited"]);
}

#[test]
fn an_extended_task_runs_on_past_its_old_limit_and_is_stopped_at_the_new_one() {
    let mut site = Site::new();
    site.run(T1);
    site.ack(T1, 1);
    site.later(59_999);
    site.outputs.clear();
    site.assign(vec![limited(T1, 90_000)]);
    assert_eq!(site.said(), ["limit 1 90000"]);
    site.later(30_000);
    assert_eq!(site.said(), [""; 0]);
    assert_eq!(site.core.next_wake(), Some(91_000).min(Some(site.core.heartbeat_at_ms)));
    site.later(1);
    assert_eq!(site.said(), ["Term 1"]);
}

#[test]
fn a_limit_cut_to_the_past_stops_the_task_at_once() {
    let mut site = Site::new();
    site.run(T1);
    site.ack(T1, 1);
    site.later(10_000);
    site.outputs.clear();
    site.assign(vec![limited(T1, 4_000)]);
    assert_eq!(site.said(), ["limit 1 4000", "Term 1"]);
    let outcome = Outcome {
        signal: 15,
        ..Outcome::unused(TaskEnd::Signalled, "")
    };
    site.ended(T1, outcome);
    assert_eq!(site.said(), ["report 1#2 TimeLimit"]);
}

#[test]
fn a_limit_holds_only_after_its_record_is_on_disk_and_a_crash_keeps_it() {
    let mut site = Site::new();
    site.run(T1);
    site.ack(T1, 1);
    site.hear(replica_message::Body::Assignments(Assignments {
        assigned: vec![limited(T1, 90_000)],
        applied_index: 50,
        ..Assignments::default()
    }));
    site.take();
    assert_eq!(site.unsynced.len(), 1);
    assert_eq!(site.said(), [""; 0]);
    // Lost before it was synced: the old limit is told of by nobody, and the list says it anew.
    let disk = site.disk.clone();
    let mut lost = Site::from_disk(config(), disk, vec![running(T1)]);
    assert_eq!(lost.said(), [""; 0]);
    lost.core.connected(lost.now_ms);
    lost.settle();
    lost.said();
    lost.list_at(50, true, vec![limited(T1, 90_000)], &[]);
    assert_eq!(lost.said(), ["limit 1 90000"]);

    site.sync();
    assert_eq!(site.said(), ["limit 1 90000"]);
    // Whether the supervisor heard of it is not known, so it is told again.
    let mut site = site.crash(vec![running(T1)]);
    assert_eq!(site.said(), ["limit 1 90000"]);
    site.core.connected(site.now_ms);
    site.settle();
    site.said();
    // A replica that lags behind still has the old one.
    site.list_at(49, true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), ["reconnect"]);
    site.list_at(51, true, vec![limited(T1, 90_000)], &[]);
    site.later(200);
    site.ack(T1, 1);
    site.said();
    // Started at 900.
    site.later(89_699);
    assert_eq!(site.said(), [""; 0]);
    site.later(1);
    assert_eq!(site.said(), ["Term 1"]);
}

#[test]
fn limits_that_come_twice_or_late_change_nothing() {
    let mut site = Site::new();
    site.run(T1);
    site.ack(T1, 1);
    site.list_at(50, false, vec![limited(T1, 90_000)], &[]);
    assert_eq!(site.said(), ["limit 1 90000"]);
    let records = site.disk.len();
    site.list_at(50, false, vec![limited(T1, 90_000)], &[]);
    site.list_at(40, false, vec![assignment(T1)], &[]);
    site.list_at(60, true, vec![limited(T1, 90_000)], &[]);
    site.list_at(55, false, vec![limited(T1, 30)], &[]);
    assert_eq!(site.said(), [""; 0]);
    assert_eq!(site.disk.len(), records, "nothing to remember");
    // What was overtaken by news of another task is news still.
    site.list_at(80, false, vec![assignment(T2)], &[]);
    site.list_at(70, false, vec![limited(T1, 120_000)], &[]);
    assert_eq!(site.said(), ["start 2", "limit 1 120000"]);
}

#[test]
fn two_limits_on_their_way_to_the_disk_hold_one_after_the_other() {
    let mut site = Site::new();
    site.run(T1);
    site.ack(T1, 1);
    for (index, limit) in [(50, 90_000), (51, 500)] {
        site.hear(replica_message::Body::Assignments(Assignments {
            assigned: vec![limited(T1, limit)],
            applied_index: index,
            ..Assignments::default()
        }));
        site.take();
    }
    site.later(1_000);
    let said = site.said();
    assert_eq!(said, ["limit 1 90000", "limit 1 500", "Term 1"]);
}

#[test]
fn a_limit_for_a_task_that_is_being_stopped_or_over_comes_too_late() {
    let mut site = Site::new();
    site.run(T1);
    site.ack(T1, 1);
    site.later(60_000);
    assert_eq!(site.said(), ["Term 1"]);
    site.assign(vec![limited(T1, 90_000)]);
    assert_eq!(site.said(), [""; 0]);
    let outcome = Outcome {
        signal: 15,
        ..Outcome::unused(TaskEnd::Signalled, "")
    };
    site.ended(T1, outcome);
    site.assign(vec![limited(T1, 120_000)]);
    assert_eq!(site.said(), ["report 1#2 TimeLimit"]);
    site.ack(T1, 2);
    site.list(false, vec![], &[T1]);
    assert_eq!(site.said(), ["forget 1"]);
}

#[test]
fn a_limit_that_changes_before_the_start_is_what_the_task_starts_with() {
    let mut site = Site::new();
    site.assign(vec![leased(T1)]);
    let longer = Assignment {
        walltime_ms_max: 90_000,
        ..leased(T1)
    };
    site.assign(vec![longer]);
    assert_eq!(site.said(), [""; 0], "it waits for the lease");
    site.lease(200_000);
    let started: Vec<u64> = site.outputs.iter().filter_map(started_with).collect();
    assert_eq!(started, [90_000]);
    site.outputs.clear();
    // Given out, and not heard of since: its supervisor is told as soon as there is one.
    site.assign(vec![assignment(T2)]);
    site.assign(vec![limited(T2, 30_000)]);
    assert_eq!(site.said(), ["start 2", "limit 2 30000"]);
    site.started(T2);
    site.later(29_999);
    site.said();
    site.later(1);
    assert!(site.said().contains(&"Term 2".to_owned()));
}

fn started_with(output: &Output) -> Option<u64> {
    match output {
        Output::Start(assignment) => Some(assignment.walltime_ms_max),
        _ => None,
    }
}

#[test]
fn a_rewritten_journal_keeps_a_changed_limit() {
    let small = || CoreConfig {
        journal_slack_records: 0,
        ..config()
    };
    let mut site = Site::from_disk(small(), Vec::new(), Vec::new());
    site.core.connected(site.now_ms);
    site.run(T1);
    for limit in [70_000, 80_000, 90_000] {
        site.assign(vec![limited(T1, limit)]);
    }
    // Rewritten when it has more than four records for the one task, which is with the next.
    site.assign(vec![limited(T1, 100_000)]);
    assert!(
        matches!(
            site.disk[..],
            [
                JournalRecord::Seen { .. },
                JournalRecord::Start { .. },
                JournalRecord::Limit { .. }
            ]
        ),
        "{:?}",
        site.disk
    );
    let mut site = Site::from_disk(small(), site.disk, vec![running(T1)]);
    assert_eq!(site.said(), ["limit 1 100000"]);
}

/// The planted bug is real: the rule that the unplanted core keeps is broken by it.
#[cfg(feature = "planted")]
#[test]
fn the_planted_core_starts_twice_after_a_crash() {
    let mut site = Site::new();
    site.assign(vec![assignment(T1)]);
    assert_eq!(site.said(), ["start 1"]);
    let planted = CoreConfig {
        planted: Planted::StartTwiceAfterCrash,
        ..config()
    };
    let mut site = Site::from_disk(planted, site.disk, Vec::new());
    site.core.connected(site.now_ms);
    site.list(true, vec![assignment(T1)], &[]);
    assert_eq!(site.said(), ["start 1"]);
}

/// Agents stayed for ever on a replica that had been removed from the cluster: it kept the stream open, never heard of their
/// tasks, and never passed a lease on.
#[test]
fn a_replica_that_passes_no_lease_on_is_left() {
    let config = CoreConfig {
        lease_silence_ms: 15_000,
        ..config()
    };
    let mut site = Site::from_disk(config, Vec::new(), Vec::new());
    site.core.connected(site.now_ms);
    for _ in 0..14 {
        site.later(1_000);
    }
    site.lease(4_000);
    for _ in 0..15 {
        site.later(1_000);
    }
    assert_eq!(site.said(), [""; 0]);
    site.later(1_000);
    assert_eq!(site.said(), ["reconnect"]);
}
