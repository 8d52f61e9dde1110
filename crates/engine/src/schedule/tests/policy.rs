//! The planner orders by the policy that is in the state.

use super::*;
use crate::command::PolicyChange;

fn set(world: &mut World, change: PolicyChange) {
    assert_eq!(world.apply(Body::SetPolicy(change)), Reply::Done);
}

fn order(decisions: &[Decision]) -> Vec<JobId> {
    decisions.iter().map(|decision| decision.job).collect()
}

/// A long job, then a short one, on a machine that is full until both wait.
fn long_and_short(world: &mut World) -> (JobId, JobId) {
    let long = world.submit(SubmitJob {
        walltime_ms_max: 10 * HOUR,
        ..cores(2)
    });
    world.now += HOUR;
    (long, world.submit(cores(2)))
}

#[test]
fn without_patience_who_came_first_goes_first_under_any_leader() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    let filler = world.submit(cores(2));
    world.settle();
    set(
        &mut world,
        PolicyChange {
            patience: Some(0),
            ..PolicyChange::default()
        },
    );
    let (long, short) = long_and_short(&mut world);
    let mut next_leader = Planner::new();
    next_leader.reset(&world.state);
    for planner in [None, Some(next_leader)] {
        if let Some(planner) = planner {
            world.planner = planner;
        }
        world.settle();
        assert_eq!((world.explain(long).position, world.explain(short).position), (1, 2));
    }
    world.finish(filler);
    assert_eq!(order(&world.settle()), [long]);
}

#[test]
fn a_turn_that_was_given_is_kept_and_others_are_given_by_the_new_policy() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(2)]);
    let filler = world.submit(cores(2));
    world.settle();
    let (long, short) = long_and_short(&mut world);
    world.settle();
    set(
        &mut world,
        PolicyChange {
            put_off_ms_max: Some(0),
            ..PolicyChange::default()
        },
    );
    world.settle();
    assert_eq!((world.explain(short).position, world.explain(long).position), (1, 2));
    // Its turn is not put off: it is before those that both others were given.
    let later = world.submit(SubmitJob {
        walltime_ms_max: 20 * HOUR,
        ..cores(2)
    });
    world.finish(filler);
    assert_eq!(order(&world.settle()), [later]);
}
