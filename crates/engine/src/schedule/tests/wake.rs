//! Parked classes come back when what they lack may be there, and only then.

use super::*;

#[test]
fn a_freed_host_wakes_who_fits_it() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4)]);
    let running = world.submit(cores(4));
    assert_eq!(world.settle().len(), 1);
    let wide = world.submit(cores(4));
    let small = world.submit(cores(1));
    assert_eq!(world.settle(), []);
    world.finish(running);
    let placed = world.settle();
    assert_eq!(placed.iter().map(|decision| decision.job).collect::<Vec<_>>(), [wide]);
    world.finish(wide);
    assert_eq!(world.settle()[0].job, small);
}

#[test]
fn new_jobs_of_a_parked_class_cost_nothing_and_are_not_forgotten() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    for _ in 0..5 {
        world.submit(job());
    }
    assert_eq!(world.settle().len(), 2);
    for round in [2, 1] {
        for task in world.running() {
            world.end(task, EndKind::Exited(0));
        }
        assert_eq!(world.settle().len(), round);
    }
}

#[test]
fn money_wakes_who_was_short() {
    let mut world = World::new();
    world.site("a", 310117, 100, &[host(64)]);
    world.org("poor", 250);
    for _ in 0..4 {
        world.submit(SubmitJob {
            org: "poor".into(),
            ..job()
        });
    }
    // Each holds 100 fen.
    assert_eq!(world.settle().len(), 2);
    assert_eq!(world.plan(), []);
    world.top_up("poor", 60);
    assert_eq!(world.settle().len(), 1);
    // The end of one releases what it did not use.
    let first = world.running()[0];
    world.end(first, EndKind::Exited(0));
    assert_eq!(world.settle().len(), 1);
}

#[test]
fn one_org_without_money_does_not_hold_up_another() {
    let mut world = World::new();
    world.site("a", 310117, 100, &[host(64)]);
    world.org("poor", 100);
    world.submit(SubmitJob {
        org: "poor".into(),
        priority: 9,
        ..job()
    });
    world.submit(SubmitJob {
        org: "poor".into(),
        priority: 9,
        ..job()
    });
    let rich = world.submit(job());
    let placed = world.settle();
    assert_eq!(placed.len(), 2);
    assert_eq!(placed[1].job, rich);
}

#[test]
fn a_site_takes_nothing_while_closed_or_silent_and_wakes_its_classes_after() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[host(4)]);
    world.site_state("a", SiteState::Cordoned);
    world.submit(job());
    assert_eq!(world.settle(), []);
    world.down.insert(site);
    world.site_state("a", SiteState::Open);
    assert_eq!(world.settle(), []);
    world.down.clear();
    assert_eq!(world.settle().len(), 1);
}

#[test]
fn more_machines_wake_who_had_no_room() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    world.submit(cores(2));
    world.submit(cores(2));
    assert_eq!(world.settle().len(), 1);
    world.attach("a", &[host(2), gpu_host(1, "a800")]);
    assert_eq!(world.settle().len(), 1);
}

#[test]
fn a_lost_task_is_placed_again() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    let array = world.submit(SubmitJob {
        tasks: 5,
        array: true,
        ..job()
    });
    assert_eq!(world.settle().len(), 2);
    let task = world.running()[0];
    world.end(task, EndKind::Lost);
    let placed = world.settle();
    assert_eq!((placed[0].job, placed[0].task), (array, 0));
}

#[test]
fn a_refused_decision_is_decided_again() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    let first = world.submit(cores(2));
    let second = world.submit(cores(2));
    let decisions = world.plan();
    assert_eq!(decisions[0].job, first);
    // Meanwhile the site closes, so apply refuses; then it opens again.
    world.site_state("a", SiteState::Cordoned);
    assert_eq!(world.judge(decisions), (0, 1));
    assert_eq!(world.plan(), []);
    world.site_state("a", SiteState::Open);
    assert_eq!(world.settle()[0].job, first);
    world.cancel(first);
    world.finish(first);
    assert_eq!(world.settle()[0].job, second);
}

#[test]
fn a_class_that_apply_keeps_refusing_waits_longer_and_longer() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    let id = world.submit(cores(2));
    let mut tries = 0;
    for _ in 0..1000 {
        for decision in world.plan() {
            tries += 1;
            let (job, task) = (decision.job, decision.task);
            let refused = Effect::DecisionJudged {
                job,
                task,
                refused: Some("CAPACITY_CPU"),
            };
            world.planner.observe(&world.state, &[refused]);
        }
        world.now += 10;
    }
    assert!((3..=10).contains(&tries), "{tries} decisions in ten seconds");
    assert!(world.state.job(id).is_some_and(|job| job.pending() == 1));
}

#[test]
fn a_decision_that_is_never_judged_is_made_again() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    world.submit(job());
    assert_eq!(world.plan().len(), 1);
    world.now += 10_000;
    assert_eq!(world.plan(), []);
    world.now += 10_000;
    assert_eq!(world.plan().len(), 1);
}

#[test]
fn decisions_that_were_not_proposed_can_be_handed_back() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    world.submit(SubmitJob {
        tasks: 2,
        array: true,
        ..job()
    });
    let decisions = world.plan();
    world.planner.forget(&world.state, &decisions);
    assert_eq!(world.planner.in_flight(), 0);
    assert_eq!(world.plan(), decisions);
}

#[test]
fn a_new_leader_starts_from_the_state() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(3)]);
    world.submit(SubmitJob {
        tasks: 5,
        array: true,
        ..job()
    });
    let old = world.plan_at_most(2);
    world.planner.reset(&world.state);
    // Decisions of the old leader commit under the new one: the new one sees them and plans no more than what is left.
    assert_eq!(world.judge(old), (2, 0));
    let new = world.plan();
    assert_eq!(new.iter().map(|decision| decision.task).collect::<Vec<_>>(), [2]);
    assert_eq!(world.judge(new), (1, 0));
}
