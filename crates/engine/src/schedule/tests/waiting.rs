//! Who waits is promised room: small work passes it only where that does not delay it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::schedule::quote;
use crate::schedule::time::{Backlog, Order, Patience, Policy, Work};

fn hours(count: u64, hours: u64) -> SubmitJob {
    SubmitJob {
        walltime_ms_max: hours * HOUR,
        ..cores(count)
    }
}

fn placed(decisions: &[Decision]) -> Vec<JobId> {
    decisions.iter().map(|decision| decision.job).collect()
}

#[test]
fn a_wide_job_is_not_starved_by_small_ones() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4)]);
    let first: Vec<JobId> = (0..4).map(|_| world.submit(hours(1, 2))).collect();
    assert_eq!(placed(&world.settle()), first);
    let wide = world.submit(hours(4, 1));
    // Small ones keep coming, as long as one core is free whenever another small one ends: the wide one used to wait for ever.
    for (round, small) in first.into_iter().enumerate() {
        world.submit(hours(1, 3));
        world.finish(small);
        let started = placed(&world.settle());
        if round < 3 {
            assert_eq!(started, [], "room is kept for the wide one");
        } else {
            assert_eq!(started, [wide]);
        }
    }
}

#[test]
fn what_ends_before_the_promised_start_may_pass() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[host(4)]);
    let long = world.submit(hours(2, 10));
    world.settle();
    let wide = world.submit(hours(4, 1));
    world.settle();
    let too_long = world.submit(hours(2, 11));
    let short = world.submit(hours(2, 9));
    assert_eq!(placed(&world.settle()), [short]);
    assert_eq!(world.codes(wide, site), ["CAPACITY_CPU", "CAPACITY_MEMORY"]);
    world.finish(short);
    assert_eq!(placed(&world.settle()), []);
    assert_eq!(world.codes(too_long, site), ["CAPACITY_PROMISED"]);
    let text = world.explain(too_long).sites[0].reasons[0].to_string();
    assert_eq!(
        text,
        "what is free is kept for a job that comes before it and starts within 600 min"
    );
    world.finish(long);
    assert_eq!(placed(&world.settle()), [wide]);
}

#[test]
fn who_needs_less_than_is_left_beside_the_promised_room_may_pass() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(8)]);
    world.submit(hours(4, 2));
    world.settle();
    world.submit(hours(6, 1));
    world.settle();
    let beside = world.submit(hours(2, 50));
    let over = world.submit(hours(1, 50));
    assert_eq!(placed(&world.settle()), [beside], "of 8 cores, 6 are promised");
    let end = world.state.jobs_newest_first(None).count();
    assert_eq!(end as u64, over.0);
}

#[test]
fn who_comes_before_is_not_held_back_and_a_cancelled_promise_frees_its_host() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4)]);
    world.submit(hours(2, 5));
    world.settle();
    let wide = world.submit(hours(4, 1));
    let waiting = world.submit(hours(1, 20));
    assert_eq!(placed(&world.settle()), []);
    let urgent = world.submit(SubmitJob {
        priority: 5,
        ..hours(1, 10)
    });
    assert_eq!(placed(&world.settle()), [urgent]);
    world.cancel(wide);
    assert_eq!(placed(&world.settle()), [waiting]);
}

#[test]
fn every_site_keeps_its_own_promise() {
    let mut world = World::new();
    let sites = [
        world.site("a", 310117, 1, &[host(4)]),
        world.site("b", 310118, 1, &[host(4)]),
    ];
    let only = |name: &str, job: SubmitJob| SubmitJob {
        sites: vec![name.into()],
        ..job
    };
    for name in ["a", "b"] {
        world.submit(only(name, hours(2, 5)));
        assert_eq!(world.settle().len(), 1);
        world.submit(only(name, hours(4, 1)));
    }
    assert_eq!(placed(&world.settle()), []);
    let small: Vec<JobId> = ["a", "b"].map(|name| world.submit(only(name, hours(1, 20)))).into();
    assert_eq!(placed(&world.settle()), []);
    for (job, site) in small.iter().zip(sites) {
        assert_eq!(
            world.codes(*job, site),
            ["CAPACITY_PROMISED"],
            "{:?}",
            world.planner.promises
        );
    }
}

/// Passes until a look ahead that was begun after now is finished.
fn look_ahead(world: &mut World) {
    world.now += 10_000;
    for _ in 0..20 {
        assert_eq!(world.plan(), []);
    }
}

#[test]
fn a_start_is_expected_when_what_runs_ends_and_how_that_came_true_is_counted() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4)]);
    let long = world.submit(hours(4, 2));
    world.settle();
    let placed_at = world.now;
    let (next, last) = (world.submit(hours(4, 1)), world.submit(hours(4, 1)));
    look_ahead(&mut world);
    let expected = |world: &World, job| world.explain(job).expected.map(|expected| expected.start.0);
    let first = expected(&world, next).expect("it is near the head");
    assert!(
        first.abs_diff(placed_at + 2 * HOUR) < HOUR / 4,
        "{first} for {placed_at}"
    );
    assert_eq!(expected(&world, last), Some(first + HOUR), "one after the other");
    let request = world.state.request(world.state.job(last).expect("it waits")).clone();
    let quoted = quote(&world.state, Some(&world.planner), &request, Timestamp(world.now));
    let quoted = quoted[0].expected.expect("the look ahead knows the site");
    assert!(quoted.start.0 > first + HOUR, "behind all who wait");
    assert!(quoted.age_ms < 10_000);

    world.finish(long);
    assert_eq!(placed(&world.settle()), [next]);
    let accuracy = *world.planner.accuracy();
    assert_eq!(accuracy.count(), 1);
    assert_eq!(accuracy.early[4], 1, "two hours early: {accuracy:?}");
}

#[test]
fn who_ran_short_so_far_goes_first_whatever_the_limit() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(1)]);
    world.org("quick", 1_000_000);
    let of_quick = |job: SubmitJob| SubmitJob {
        org: "quick".into(),
        ..job
    };
    let known = world.submit(of_quick(hours(1, 20)));
    world.settle();
    world.finish(known);
    let runs = world.submit(hours(1, 1));
    world.settle();
    // Of `lab` nothing has finished yet, so its limit of two hours counts; `quick` has taken a second of its twenty hours.
    let (first, second) = (world.submit(hours(1, 2)), world.submit(of_quick(hours(1, 20))));
    let places = |world: &World| [first, second].map(|job| world.explain(job).position);
    assert_eq!(places(&world), [2, 1]);
    // A new leader learns the same from what has ended.
    world.planner.reset(&world.state);
    assert_eq!(placed(&world.settle()), []);
    assert_eq!(places(&world), [2, 1]);
    world.cancel(runs);
    let task = world.running()[0];
    world.end(task, EndKind::Cancelled);
    assert_eq!(placed(&world.settle()), [second], "what was cancelled teaches nothing");
}

#[test]
fn a_longer_limit_puts_off_what_was_promised_behind_it() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[host(4)]);
    let long = world.submit(hours(2, 5));
    world.settle();
    world.submit(hours(4, 1));
    world.settle();
    let start = |world: &World| world.planner.promises.at(site).expect("the wide one is promised").start;
    let before = start(&world);
    let task = world
        .running()
        .into_iter()
        .find(|task| task.job == long)
        .expect("it runs");
    world.apply(Body::ExtendJob {
        job: long,
        task: Some(task.task),
        more_ms: HOUR,
    });
    world.plan();
    assert_eq!(start(&world).0, before.0 + HOUR);
}

/// Cores, limit and run time in minutes, minutes after the one before.
type Asked = (u64, u64, u64, u64);

/// Starts by the planner on one host: job by its place, and when, in minutes.
fn by_planner(order: Order, cores_of_host: u64, jobs: &[Asked]) -> Vec<(u64, u64)> {
    const MINUTE: u64 = 60_000;
    let mut world = World::new();
    world.planner.turns.order = order;
    world.top_up("lab", 90_000_000_000);
    world.site("a", 310117, 1, &[host(cores_of_host)]);
    let began = world.now + MINUTE;
    let mut arrivals: Vec<(u64, u64, SubmitJob)> = Vec::new();
    let mut at = 0;
    for (place, (wanted, limit, _, gap)) in jobs.iter().enumerate() {
        at += gap;
        let job = SubmitJob {
            walltime_ms_max: limit * MINUTE,
            ..cores(*wanted)
        };
        arrivals.push((at, place as u64, job));
    }
    arrivals.reverse();
    let mut ending: BTreeMap<(u64, u64), JobId> = BTreeMap::new();
    let mut places: BTreeMap<JobId, u64> = BTreeMap::new();
    let mut starts = Vec::new();
    loop {
        let next_end = ending.keys().next().map(|(at, _)| *at);
        let Some(now) = next_end.into_iter().chain(arrivals.last().map(|(at, ..)| *at)).min() else {
            return starts;
        };
        // Every command takes a millisecond in this world; here all of an instant happen at once.
        let instant = |world: &mut World| world.now = began + now * MINUTE - 1;
        while let Some(entry) = ending.first_entry().filter(|entry| entry.key().0 == now) {
            let job = entry.remove();
            instant(&mut world);
            world.finish(job);
        }
        while arrivals.last().is_some_and(|(at, ..)| *at == now) {
            let (_, place, job) = arrivals.pop().expect("it has a last");
            instant(&mut world);
            places.insert(world.submit(job), place);
        }
        loop {
            world.now = began + now * MINUTE;
            let decisions = world.plan();
            if decisions.is_empty() && !world.planner.has_more() {
                break;
            }
            for decision in &decisions {
                let place = places[&decision.job];
                starts.push((place, now));
                ending.insert((now + jobs[place as usize].2, place), decision.job);
            }
            instant(&mut world);
            world.judge(decisions);
        }
    }
}

/// The same by a backlog with EASY backfill.
fn by_backlog(cores_of_host: u64, jobs: &[Asked]) -> Vec<(u64, u64)> {
    let mut backlog = Backlog::new(Policy::EASY, Timestamp(0), &[&[cores_of_host]]);
    let mut ending: std::collections::BTreeSet<(u64, u64)> = BTreeSet::new();
    let (mut next, mut arrives) = (0, jobs.first().map_or(0, |job| job.3));
    let mut starts = Vec::new();
    loop {
        let next_arrival = (next < jobs.len()).then_some(arrives);
        let next_end = ending.first().map(|(at, _)| *at);
        let Some(now) = next_end.into_iter().chain(next_arrival).min() else {
            return starts;
        };
        while let Some(&(at, place)) = ending.first()
            && at == now
        {
            ending.pop_first();
            backlog.end(Timestamp(now), place);
        }
        while next < jobs.len() && arrives == now {
            backlog.submit(
                Timestamp(now),
                Work {
                    number: next as u64,
                    payer: 0,
                    amounts: [jobs[next].0].into(),
                    limit_ms: jobs[next].1,
                    home: 0,
                },
            );
            next += 1;
            arrives += jobs.get(next).map_or(0, |job| job.3);
        }
        for start in backlog.pass(Timestamp(now)) {
            starts.push((start.number, now));
            ending.insert((now + jobs[start.number as usize].2, start.number));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What a replay of EASY says of a machine is what the planner does with it.
    #[test]
    fn the_planner_on_one_host_is_easy_backfill(
        cores_of_host in 3..12u64,
        jobs in prop::collection::vec((1..12u64, 1..40u64, 1..40u64, 0..8u64), 1..60),
    ) {
        let jobs: Vec<Asked> = jobs
            .into_iter()
            .map(|(wanted, limit, run, gap)| (wanted.min(cores_of_host), limit, run.min(limit), gap))
            .collect();
        let (mut planner, mut backlog) = (by_planner(Order::Arrival, cores_of_host, &jobs), by_backlog(cores_of_host, &jobs));
        planner.sort_unstable();
        backlog.sort_unstable();
        prop_assert_eq!(planner, backlog);
    }

    /// Small jobs come without end, more than the host can run; the wide one waits for those before its turn, and no longer.
    #[test]
    fn a_wide_job_starts_in_bounded_time_under_a_stream_of_small_ones(
        cores_of_host in 2..8u64,
        wide_limit in 1..5u64,
        stream in prop::collection::vec((1..8u64, 1..8u64), 150),
    ) {
        let small = |(wanted, limit): &(u64, u64)| (1 + wanted % (cores_of_host - 1), *limit, *limit, 1);
        let mut jobs: Vec<Asked> = stream.iter().map(small).collect();
        jobs.insert(5, (cores_of_host, wide_limit, wide_limit, 1));
        let starts = by_planner(Order::Turn(Patience::USUAL), cores_of_host, &jobs);
        let started = starts.iter().find(|(place, _)| *place == 5).map(|(_, at)| *at);
        let turn = 6 + 3 * wide_limit;
        let ahead: u64 = jobs[..turn as usize].iter().map(|job| job.1).sum();
        prop_assert!(started.is_some_and(|at| at <= turn + ahead + 8), "started at {started:?}");
    }
}
