//! Sites that differ in price and in when they have room.

use super::*;
use crate::command::PolicyChange;
use crate::types::Objective;

const MINUTE: u64 = 60_000;

/// A cheap site and one half as dear again, of two cores each. The cheap one is full for so long.
fn full_and_free(minutes: u64) -> (World, [SiteId; 2], JobId) {
    let mut world = World::new();
    let cheap = world.site("cheap", 310117, 20, &[host(2)]);
    let dear = world.site("dear", 330100, 30, &[host(2)]);
    let filler = world.submit(SubmitJob {
        walltime_ms_max: minutes * MINUTE,
        ..cores(2)
    });
    let placed = world.settle();
    assert_eq!(world.site_of(&placed[0]), cheap);
    (world, [cheap, dear], filler)
}

/// Three hours on two cores.
fn wanted(objective: Option<Objective>) -> SubmitJob {
    SubmitJob {
        objective,
        walltime_ms_max: 3 * HOUR,
        ..cores(2)
    }
}

fn sites(world: &mut World) -> Vec<SiteId> {
    let placed = world.settle();
    placed.iter().map(|decision| world.site_of(decision)).collect()
}

#[test]
fn soonest_takes_the_cheapest_of_those_with_room() {
    let (mut world, [_, dear], _) = full_and_free(10);
    world.submit(wanted(None));
    assert_eq!(sites(&mut world), [dear]);
}

#[test]
fn cheapest_waits_however_long_it_takes_and_says_so() {
    let (mut world, [cheap, dear], filler) = full_and_free(600);
    let job = world.submit(wanted(Some(Objective::Cheapest)));
    assert_eq!(sites(&mut world), []);
    assert_eq!(world.codes(job, dear), ["CHEAPER_SITE"]);
    assert_eq!(world.codes(job, cheap), ["CAPACITY_CPU", "CAPACITY_MEMORY"]);
    world.now += 9 * HOUR;
    assert_eq!(sites(&mut world), []);
    world.finish(filler);
    assert_eq!(sites(&mut world), [cheap]);
}

#[test]
fn who_waits_for_a_cheaper_site_does_not_once_it_is_closed() {
    let (mut world, [_, dear], _) = full_and_free(600);
    world.submit(wanted(Some(Objective::Cheapest)));
    assert_eq!(sites(&mut world), []);
    world.site_state("cheap", SiteState::Cordoned);
    assert_eq!(sites(&mut world), [dear]);
}

#[test]
fn balanced_waits_for_a_third_of_the_price_a_third_of_its_time() {
    let (mut world, [_, dear], _) = full_and_free(70);
    world.submit(wanted(Some(Objective::Balanced)));
    assert_eq!(sites(&mut world), [dear], "the room comes after more than an hour");

    let (mut world, [cheap, _], filler) = full_and_free(50);
    world.submit(wanted(Some(Objective::Balanced)));
    assert_eq!(sites(&mut world), []);
    world.now += 40 * MINUTE;
    world.finish(filler);
    assert_eq!(sites(&mut world), [cheap]);

    // The room that was expected comes much later: it goes elsewhere.
    let (mut world, [_, dear], filler) = full_and_free(50);
    world.submit(wanted(Some(Objective::Balanced)));
    assert_eq!(sites(&mut world), []);
    world.apply(Body::ExtendJob {
        job: filler,
        task: None,
        more_ms: 5 * HOUR,
    });
    let began = world.now;
    let placed = loop {
        world.now += MINUTE;
        let placed = sites(&mut world);
        if !placed.is_empty() {
            break placed;
        }
        assert!(world.now < began + HOUR, "it waits longer than it is worth");
    };
    assert_eq!(placed, [dear]);
}

#[test]
fn the_policy_says_for_those_who_do_not() {
    let (mut world, [_, dear], _) = full_and_free(600);
    world.apply(Body::SetPolicy(PolicyChange {
        objective: Some(Objective::Cheapest),
        ..PolicyChange::default()
    }));
    world.submit(wanted(None));
    assert_eq!(sites(&mut world), []);
    world.submit(wanted(Some(Objective::Soonest)));
    assert_eq!(sites(&mut world), [dear]);
}
