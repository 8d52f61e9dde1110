//! The leader beside the applier: placements, leases, lost sites, time.

mod cluster;

use std::time::Duration;

use bytes::Bytes;
use cluster::{INSTANCE, Log, ORIGIN, apply_well, attach, founding, furnish, site, submit};
use hesuan_engine::outcome::{Effect, Reply};
use hesuan_engine::types::Timestamp;
use hesuan_replica::applier::{Applied, Applier, ApplierConfig};
use hesuan_replica::leader::{Leader, LeaderConfig, Planned};
use hesuan_replica::wire::EntryKind;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Fixture {
    log: Log,
    applier: Applier,
    leader: Leader,
}

impl Fixture {
    /// A furnished cluster whose leader was just elected at second 100 and is established.
    fn new() -> Self {
        let mut log = Log::new();
        let mut applier = founding(ApplierConfig::default());
        apply_well(&mut applier, &log.bodies(furnish()));
        let mut fixture = Self {
            log,
            applier,
            leader: Leader::new(LeaderConfig::default()),
        };
        fixture.elect(3, s(100));
        fixture
    }

    fn elect(&mut self, term: u64, mono: Duration) {
        self.log.term = term;
        self.leader.become_leader(term, mono);
        assert_eq!(self.plan(mono), [], "State may lack what earlier leaders did");
        let empty = self.log.push(EntryKind::Normal, Bytes::new());
        self.apply(&empty);
        assert!(self.leader.is_established());
    }

    fn apply(&mut self, entry: &hesuan_replica::wire::LogEntry) -> Applied {
        let applied = apply_well(&mut self.applier, entry);
        self.leader.observe(self.applier.state(), &applied);
        applied
    }

    fn plan(&mut self, mono: Duration) -> Vec<Planned> {
        self.leader.plan(self.applier.state(), Timestamp(self.log.now_ms), mono)
    }

    /// Plans, commits and applies what was planned.
    fn round(&mut self, mono: Duration) -> Vec<Effect> {
        let planned = self.plan(mono);
        self.commit(planned)
    }

    fn commit(&mut self, planned: Vec<Planned>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for Planned { ticket, command } in planned {
            let items = vec![hesuan_api::internal::v1::Item {
                origin: 0,
                ticket,
                command,
            }];
            self.log.now_ms += 1;
            let data = hesuan_api::codec::encode_entry(1, Timestamp(self.log.now_ms), items);
            let entry = self.log.push(EntryKind::Normal, data);
            effects.extend(self.apply(&entry).effects);
        }
        effects
    }

    fn beat(&mut self, sent_at_ms: u64, mono: Duration) -> Option<u64> {
        let site = site(&self.applier);
        let grant = self
            .leader
            .heartbeat(self.applier.state(), site, INSTANCE, sent_at_ms, mono)?;
        assert_eq!(grant.ttl_ms, self.applier.state().limits().lease_ttl_ms);
        Some(grant.sent_at_ms)
    }

    fn lost(&self) -> bool {
        self.applier
            .state()
            .site(site(&self.applier))
            .expect("furnished")
            .lost_at
            .is_some()
    }
}

fn assigned(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Assigned { .. }))
        .count()
}

#[test]
fn jobs_are_placed_once_the_site_was_heard_and_each_only_once() {
    let mut f = Fixture::new();
    let jobs = f.log.bodies((0..3).map(submit).collect());
    f.apply(&jobs);
    assert_eq!(assigned(&f.round(s(101))), 0, "nobody was heard");
    f.beat(1, s(101));
    let planned = f.plan(s(101));
    assert_eq!(f.leader.decisions_in_flight(), 3);
    assert_eq!(f.plan(s(101)), [], "they are under way");
    assert_eq!(assigned(&f.commit(planned)), 3);
    assert_eq!(f.leader.decisions_in_flight(), 0);
}

#[test]
fn decisions_are_cut_into_commands_and_bounded() {
    let mut f = Fixture::new();
    let config = LeaderConfig {
        decisions_per_command: 2,
        commands_per_plan: 2,
        decisions_in_flight_max: 5,
        ..LeaderConfig::default()
    };
    f.leader = Leader::new(config);
    f.elect(4, s(100));
    f.beat(1, s(100));
    f.round(s(100));
    let jobs = f.log.bodies((0..8).map(submit).collect());
    f.apply(&jobs);
    let first = f.plan(s(100));
    assert_eq!((first.len(), f.leader.decisions_in_flight()), (2, 4));
    let second = f.plan(s(100));
    assert_eq!((second.len(), f.leader.decisions_in_flight()), (1, 5));
    assert_eq!(f.plan(s(100)), [], "no more in flight than allowed");
    let effects = f.commit(first.into_iter().chain(second).collect());
    assert_eq!(assigned(&effects), 5);
    assert_eq!(assigned(&f.round(s(100))), 3);
}

#[test]
fn a_lease_counts_from_a_heartbeat_before_a_quorum_confirmed_the_leader() {
    let mut f = Fixture::new();
    assert_eq!(
        f.beat(1_000, s(101)),
        None,
        "another leader may have been elected meanwhile"
    );
    assert!(f.leader.confirmation_due(s(102)));
    assert!(!f.leader.confirmation_due(s(102)), "asked already");
    assert_eq!(f.beat(2_500, Duration::from_millis(102_500)), None);
    f.leader.confirmed(s(102));
    assert_eq!(
        f.beat(3_000, s(103)),
        Some(1_000),
        "2,500 was received after the question"
    );
    assert_eq!(f.beat(4_000, s(104)), Some(1_000));
    f.leader.confirmed(s(103));
    assert_eq!(f.beat(5_000, s(105)), Some(3_000));
    f.leader.confirmed(s(99));
    f.leader.step_down();
    assert_eq!(f.beat(6_000, s(106)), None);
    f.elect(4, s(107));
    f.leader.confirmed(s(105));
    assert_eq!(
        f.beat(7_000, s(108)),
        None,
        "a confirmation of an earlier term says nothing"
    );
}

#[test]
fn only_the_attached_instance_is_heard() {
    let mut f = Fixture::new();
    f.leader.confirmed(s(200));
    let site = site(&f.applier);
    let state = f.applier.state();
    assert_eq!(f.leader.heartbeat(state, site, INSTANCE + 1, 5, s(101)), None);
    assert!(!f.leader.is_up(state, site, s(101)));
    assert!(f.leader.heartbeat(state, site, INSTANCE, 5, s(101)).is_some());
    assert!(f.leader.is_up(state, site, s(101)));
}

// Looks every second, as the shell does, so that the leader does not take itself for one that stood still.
fn watch(f: &mut Fixture, seconds: std::ops::Range<u64>) {
    for second in seconds {
        f.round(s(second));
        assert!(!f.lost(), "second {second}");
    }
}

#[test]
fn a_silent_site_is_declared_lost_after_its_last_heartbeat_and_comes_back_by_attaching() {
    let mut f = Fixture::new();
    f.beat(1, s(110));
    watch(&mut f, 100..140);
    let planned = f.plan(s(140));
    assert!(!planned.is_empty());
    f.leader.confirmed(s(140));
    assert_eq!(
        f.beat(2, s(140)),
        None,
        "no lease once it is given up, though apply does not know yet"
    );
    f.commit(planned);
    assert!(f.lost());
    assert_eq!(f.beat(3, s(141)), None);
    let again = f.log.bodies(vec![attach(INSTANCE + 1)]);
    f.apply(&again);
    assert!(!f.lost());
    watch(&mut f, 141..171);
    f.round(s(171));
    assert!(f.lost(), "its silence counted from when the leader saw it attached");
}

#[test]
fn a_new_leader_counts_silence_from_its_own_election() {
    let mut f = Fixture::new();
    watch(&mut f, 100..129);
    f.leader.step_down();
    f.elect(4, s(129));
    watch(&mut f, 129..159);
    f.round(s(159));
    assert!(f.lost());
}

#[test]
fn a_leader_that_stood_still_blames_nobody() {
    let mut f = Fixture::new();
    watch(&mut f, 100..105);
    f.round(s(500));
    assert!(!f.lost(), "its own pause is not the site's silence");
    watch(&mut f, 501..530);
    f.round(s(530));
    assert!(f.lost());
}

#[test]
fn time_passes_now_and_then_and_one_tick_at_a_time() {
    let mut f = Fixture::new();
    let ticks = |planned: &[Planned]| {
        planned
            .iter()
            .filter(|p| p.command == hesuan_api::codec::encode_tick())
            .count()
    };
    let first = f.plan(s(100));
    assert_eq!(ticks(&first), 1);
    assert_eq!(ticks(&f.plan(s(109))), 0, "the first is under way");
    f.commit(first);
    assert_eq!(ticks(&f.plan(s(109))), 0);
    let next = f.plan(s(110));
    assert_eq!(ticks(&next), 1, "every ten seconds");
    assert_eq!(ticks(&f.plan(s(119))), 0);
    assert_eq!(ticks(&f.plan(s(120))), 1, "the last one was lost on the way");
}

#[test]
fn clients_tickets_that_look_like_the_leaders_are_not_taken_for_them() {
    let mut f = Fixture::new();
    let tick = f.plan(s(100)).remove(0);
    let items = vec![hesuan_api::internal::v1::Item {
        origin: ORIGIN,
        ticket: tick.ticket,
        command: tick.command,
    }];
    let entry = f.log.push(
        EntryKind::Normal,
        hesuan_api::codec::encode_entry(1, Timestamp(f.log.now_ms), items),
    );
    let applied = f.apply(&entry);
    assert_eq!(applied.replies[0].outcome.reply, Ok(Reply::Done));
    assert_eq!(f.plan(s(109)), [], "its own tick is still under way");
}
