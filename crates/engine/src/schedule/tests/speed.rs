//! How fast the planner is; run with `cargo test --release -p hesuan-engine speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::*;

const SITES: u32 = 12;

/// What the jobs of a class ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Up to 4 cores, in every fifth class half a GPU.
    Small,
    /// 60 cores: one fills a host.
    Wide,
    /// Every class other amounts.
    Various,
}

/// Sites with hosts of 64 cores, every third one with GPUs; pending jobs spread over classes that differ in time limit.
fn world(hosts: usize, jobs: usize, classes: u64, ask: Ask) -> World {
    let mut world = World::new();
    world.top_up("lab", 90_000_000_000_000);
    for site in 0..SITES {
        let machine = |host: usize| {
            if host.is_multiple_of(3) {
                gpu_host(8, "a800")
            } else {
                host_of(host)
            }
        };
        let machines: Vec<HostInventory> = (0..hosts / SITES as usize).map(machine).collect();
        world.site(&format!("s{site}"), 310_000 + site, 2 + u64::from(site % 4), &machines);
    }
    for job in 0..jobs as u64 {
        let class = job % classes;
        let mut wanted = cores(if ask == Ask::Wide { 60 } else { 1 + class % 4 });
        wanted.walltime_ms_max = HOUR + class * 1000;
        wanted.resources.gpu_milli = if class % 5 == 4 { 500 } else { 0 };
        if ask == Ask::Various {
            wanted.resources.memory_mib += class;
            wanted.resources.gpu_milli = [0, 0, 1000, 0, 100 + class % 700, 2000, 0, 810][(class % 8) as usize];
        }
        world.submit(wanted);
    }
    world
}

fn host_of(place: usize) -> HostInventory {
    host(48 + (place % 17) as u64)
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = run();
    (result, started.elapsed())
}

#[test]
#[ignore = "a measurement: minutes without optimisation"]
fn decisions_a_second() {
    for (hosts, jobs, classes, ask) in [
        (1_000, 10_000, 1, Ask::Small),
        (10_000, 100_000, 1, Ask::Small),
        (10_000, 300_000, 100, Ask::Small),
        (10_000, 300_000, 100, Ask::Various),
        (10_000, 300_000, 10_000, Ask::Small),
        (10_000, 300_000, 10_000, Ask::Various),
    ] {
        let (mut world, built) = timed(|| world(hosts, jobs, classes, ask));
        let (mut decided, mut planning, mut worst, mut applying) = (0, Duration::ZERO, Duration::ZERO, Duration::ZERO);
        while decided < 50_000.min(jobs) {
            let (decisions, took) = timed(|| world.plan_at_most(500));
            planning += took;
            worst = worst.max(took);
            decided += decisions.len();
            if decisions.is_empty() && !world.planner.has_more() {
                break;
            }
            applying += timed(|| world.judge(decisions)).1;
        }
        let (_, quiet) = timed(|| world.plan_at_most(0));
        println!(
            "{hosts} hosts, {jobs} jobs in {classes} classes, {ask:?}: {:.0} decisions/s, a pass of 500 at most {worst:?}, a quiet pass {quiet:?}, \
             apply {:.0}/s, built in {built:?}",
            decided as f64 / planning.as_secs_f64(),
            decided as f64 / applying.as_secs_f64(),
        );
    }
}

#[test]
#[ignore = "a measurement: minutes without optimisation"]
fn one_event_to_its_decisions() {
    for (hosts, classes) in [(1_000, 100), (10_000, 100), (10_000, 10_000)] {
        let wide = 2 * hosts.max(classes as usize);
        let mut world = world(hosts, wide, classes, Ask::Wide);
        let wide = wide as u64;
        let mut filling = Duration::ZERO;
        loop {
            let (decisions, took) = timed(|| world.plan());
            filling += took;
            if decisions.is_empty() && !world.planner.has_more() {
                break;
            }
            world.judge(decisions);
        }
        let (mut freed, mut added) = (Vec::new(), Vec::new());
        for round in 0..200 {
            let running: Vec<TaskId> = world.running().into_iter().filter(|task| task.job.0 <= wide).collect();
            world.end(running[(round * 7919) % running.len()], EndKind::Exited(0));
            let (decisions, took) = timed(|| world.plan());
            assert_eq!(decisions.len(), 1);
            freed.push(took);
            world.judge(decisions);
            world.plan();
            world.submit(SubmitJob {
                walltime_ms_max: 9 * HOUR + round as u64,
                ..cores(1)
            });
            let (decisions, took) = timed(|| world.plan());
            assert_eq!(decisions.len(), 1);
            added.push(took);
            world.judge(decisions);
        }
        freed.sort();
        added.sort();
        let quiet = timed(|| world.plan()).1;
        let last = world
            .state
            .jobs_newest_first(None)
            .find(|(_, job)| job.pending() > 0)
            .expect("some wait")
            .0;
        let explained = timed(|| world.explain(last)).1;
        println!(
            "{hosts} full hosts, {classes} classes waiting: host freed p50 {:?} p99 {:?}, job added p50 {:?} p99 {:?}, \
             quiet pass {quiet:?}, explain {explained:?}, filled in {filling:?}",
            freed[100], freed[197], added[100], added[197],
        );
    }
}
