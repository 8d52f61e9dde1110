//! Turns are fixed when jobs come, and who has not said how long it runs is taken at what its last ones took.

use super::*;
use crate::command::PolicyChange;

fn lasting(cores_of: u64, walltime_ms_max: u64) -> SubmitJob {
    SubmitJob {
        walltime_ms_max,
        ..cores(cores_of)
    }
}

/// With an org whose work has taken a second so far, of two cores and without a limit of its own.
fn world_and_open_job(cores_of_host: u64) -> (World, SiteId, SubmitJob) {
    let mut world = World::new();
    world.top_up("lab", 100_000_000_000);
    world.org("open", 100_000_000_000);
    let site = world.site("a", 310117, 1, &[host(cores_of_host)]);
    let open = SubmitJob {
        org: "open".into(),
        ..lasting(2, world.state.limits().walltime_ms_max)
    };
    let first = world.submit(open.clone());
    world.settle();
    world.now += 999;
    world.finish(first);
    (world, site, open)
}

fn placed(decisions: &[Decision]) -> Vec<JobId> {
    decisions.iter().map(|decision| decision.job).collect()
}

#[test]
fn who_asks_for_the_longest_allowed_may_pass_by_what_its_last_ones_took() {
    let (mut world, site, open) = world_and_open_job(4);
    world.submit(lasting(2, 10 * HOUR));
    world.settle();
    world.submit(SubmitJob {
        org: "open".into(),
        ..lasting(4, HOUR)
    });
    assert_eq!(world.settle(), []);
    let almost = SubmitJob {
        walltime_ms_max: open.walltime_ms_max - 1,
        ..open.clone()
    };
    let said = world.submit(almost);
    let passes = world.submit(open);
    assert_eq!(
        placed(&world.settle()),
        [passes],
        "a limit is believed, its absence is not"
    );
    world.finish(passes);
    assert_eq!(world.settle(), []);
    assert_eq!(world.codes(said, site), ["CAPACITY_PROMISED"]);
}

#[test]
fn what_outlasts_its_expectation_is_expected_to_run_as_long_again() {
    let (mut world, site, open) = world_and_open_job(2);
    let runs = world.submit(open);
    world.settle();
    let placed_at = world.now;
    let waits = world.submit(lasting(2, HOUR));
    assert_eq!(world.settle(), []);
    let start = |world: &World| {
        world
            .planner
            .promises
            .at(site)
            .expect("who waits is promised room")
            .start
            .0
    };
    assert_eq!(start(&world), placed_at + 1000);
    for run_ms in [5_000, 200_000, 9_000_000] {
        world.now = placed_at + run_ms;
        assert_eq!(world.plan(), []);
        assert_eq!(start(&world), placed_at + run_ms + run_ms.max(60_000));
    }
    // A new leader knows no better than what its last ones took, and learns the same from the clock.
    world.planner.reset(&world.state);
    assert_eq!(world.plan(), []);
    assert_eq!(start(&world), placed_at + 18_000_000);
    world.finish(runs);
    assert_eq!(placed(&world.settle()), [waits]);
}

#[test]
fn no_expectation_outlasts_the_longest_that_is_allowed() {
    let (mut world, site, open) = world_and_open_job(2);
    let limit = open.walltime_ms_max;
    world.submit(open);
    world.settle();
    let placed_at = world.now;
    world.submit(lasting(2, HOUR));
    world.settle();
    world.now = placed_at + limit - 5;
    assert_eq!(world.plan(), []);
    let start = world
        .planner
        .promises
        .at(site)
        .expect("who waits is promised room")
        .start;
    assert_eq!(start.0, placed_at + limit);
}

#[test]
fn a_turn_is_fixed_when_the_job_comes() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(1)]);
    world.org("new", 1_000_000);
    let by_turns_alone = PolicyChange {
        fair_share: Some(false),
        ..PolicyChange::default()
    };
    world.apply(Body::SetPolicy(by_turns_alone));
    let of_new = || SubmitJob {
        org: "new".into(),
        ..lasting(1, 20 * HOUR)
    };
    let first = world.submit(of_new());
    world.settle();
    // Nothing is known of the org yet: a day's work, as far as it says.
    let second = world.submit(of_new());
    let of_lab = world.submit(lasting(1, HOUR));
    world.settle();
    world.finish(first);
    assert_eq!(
        placed(&world.settle()),
        [of_lab],
        "what is learned later makes no turn earlier"
    );
    let (third, later) = (world.submit(of_new()), world.submit(lasting(1, HOUR)));
    world.settle();
    let places = [second, third, later].map(|job| world.explain(job).position);
    assert_eq!(places, [2, 3, 1], "a class stays in order");
    world.finish(of_lab);
    assert_eq!(placed(&world.settle()), [later]);
    world.finish(later);
    assert_eq!(placed(&world.settle()), [second]);
    let last = world.submit(lasting(1, HOUR));
    world.settle();
    world.finish(second);
    assert_eq!(
        placed(&world.settle()),
        [third],
        "this one came when a second was expected"
    );
    world.finish(third);
    assert_eq!(placed(&world.settle()), [last]);
}
