//! Explain says what keeps a job from starting, and agrees with what then happens.

use super::*;
use crate::schedule::{Verdict, quote};
use crate::types::Request;

#[test]
fn every_site_gives_every_reason() {
    let mut world = World::new();
    let small = world.site("small", 310117, 1, &[host(2)]);
    let closed = world.site("closed", 330100, 1, &[host(64)]);
    let busy = world.site("busy", 340100, 1, &[gpu_host(2, "a800")]);
    let elsewhere = world.site("elsewhere", 320500, 1, &[host(64)]);
    world.submit(SubmitJob {
        priority: 1,
        sites: vec!["busy".into()],
        ..gpus(1000)
    });
    let mut filler = cores(60);
    filler.resources.gpu_milli = 500;
    world.submit(SubmitJob {
        priority: 1,
        sites: vec!["busy".into()],
        ..filler
    });
    world.settle();
    world.site_state("closed", SiteState::Cordoned);
    let mut wanted = cores(8);
    wanted.resources.gpu_milli = 1000;
    wanted.resources.gpu_models = vec!["a800".into()];
    wanted.regions = vec![RegionCode(310117), RegionCode(330100), RegionCode(340100)];
    let job = world.submit(wanted);
    assert_eq!(world.codes(job, small), ["GPU_MODEL"]);
    assert_eq!(world.codes(job, closed), ["SITE_CORDONED", "GPU_MODEL"]);
    assert_eq!(
        world.codes(job, busy),
        ["CAPACITY_CPU", "CAPACITY_MEMORY", "CAPACITY_GPU"]
    );
    assert_eq!(world.codes(job, elsewhere), ["REGION_NOT_ALLOWED", "GPU_MODEL"]);
    let explanation = world.explain(job);
    assert_eq!(
        explanation.sites[2].reasons[2].to_string(),
        "need 1 GPUs, at most 0 free on a host"
    );
    let verdicts: Vec<Verdict> = explanation.sites.iter().map(|site| site.verdict).collect();
    assert_eq!(verdicts, [Verdict::No, Verdict::No, Verdict::Wait, Verdict::No]);
    assert_eq!((explanation.position, explanation.queued), (1, 1));
}

#[test]
fn the_place_in_the_queue_counts_priority_and_age() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[host(8)]);
    let first = world.submit(job());
    let second = world.submit(job());
    let third = world.submit(SubmitJob {
        walltime_ms_max: 2 * HOUR,
        ..job()
    });
    let ahead = world.submit(SubmitJob { priority: 1, ..job() });
    let place = |world: &World, job| world.explain(job).position;
    assert_eq!(
        [ahead, first, second, third].map(|job| place(&world, job)),
        [1, 2, 3, 4]
    );
    assert_eq!(world.codes(ahead, site), [] as [&str; 0]);
    assert_eq!(world.codes(third, site), ["AHEAD_IN_QUEUE"]);
    let decisions = world.plan();
    assert_eq!(world.codes(first, site), ["IN_FLIGHT"]);
    world.judge(decisions);
    assert!(world.explain(first).sites.is_empty());
}

#[test]
fn an_array_at_its_bound_says_so() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[host(8)]);
    let array = world.submit(SubmitJob {
        tasks: 5,
        array: true,
        parallel_max: 2,
        ..job()
    });
    world.settle();
    assert_eq!(world.codes(array, site), ["ARRAY_PARALLEL_MAX"]);
    let text = world.explain(array).sites[0].reasons[0].to_string();
    assert_eq!(text, "2 tasks of the array run or are being started, at most 2 may");
}

#[test]
fn lack_of_money_waits_only_if_some_is_held() {
    let mut world = World::new();
    world.site("a", 310117, 100, &[host(8)]);
    world.org("poor", 150);
    let first = world.submit(SubmitJob {
        org: "poor".into(),
        ..job()
    });
    let second = world.submit(SubmitJob {
        org: "poor".into(),
        ..job()
    });
    world.settle();
    let explanation = world.explain(second);
    assert_eq!(explanation.sites[0].verdict, Verdict::Wait);
    assert_eq!(explanation.sites[0].reasons[0].code(), "INSUFFICIENT_FUNDS");
    world.finish(first);
    assert_eq!(world.settle()[0].job, second);
}

#[test]
fn a_quote_lists_the_cheapest_first_and_the_refused_last() {
    let mut world = World::new();
    let full = world.site("full", 310117, 10, &[host(2)]);
    let dear = world.site("dear", 330100, 30, &[host(8)]);
    let small = world.site("small", 340100, 1, &[host(1)]);
    world.submit(cores(2));
    world.settle();
    let id = world.submit(cores(2));
    let request: Request = (**world.state.request(world.state.job(id).expect("just submitted"))).clone();
    let quotes = quote(&world.state, Some(&world.planner), &request, Timestamp(world.now));
    let figures: Vec<(SiteId, Option<i64>, bool)> = quotes
        .iter()
        .map(|quote| {
            (
                quote.site,
                quote.price.as_ref().map(|price| price.gross.0),
                quote.fits_now,
            )
        })
        .collect();
    assert_eq!(
        figures,
        [(full, Some(20), false), (dear, Some(60), true), (small, None, false)]
    );
    assert_eq!(quotes[0].reasons[0].code(), "CAPACITY_CPU");
    assert_eq!(quotes[2].reasons[0].to_string(), "need 2 cores, the largest host has 1");
}
