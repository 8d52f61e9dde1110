//! How fast work is placed, on one core and without a network: decisions, passes, events, explain and quote over clusters and
//! queues of various sizes. Each size runs in a process of its own, so that its memory is its own; times are those that the
//! thread has had a core, so that others on the machine do not show in them.

mod world;

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use hesuan_engine::schedule::{explain, quote};
use hesuan_engine::types::{JobId, TaskId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::stats::{CoreTime, Latencies, rss_kib};
use world::World;

/// Decisions a pass while many wait; the leader asks for as many as are not in flight.
const PASS: usize = 500;
const SEED: u64 = 4;
/// Hosts, pending jobs, classes: what is asked for, and what growth is read from.
const SIZES: [(usize, u64, u64); 7] = [
    (10_000, 1_000_000, 1),
    (10_000, 1_000_000, 100),
    (10_000, 1_000_000, 10_000),
    (1_000, 1_000_000, 100),
    (1_000, 1_000_000, 10_000),
    (10_000, 10_000, 100),
    (10_000, 10_000, 10_000),
];

/// One size, or all that are asked for if none is given
#[derive(Args)]
pub struct Options {
    /// Hosts, spread over 12 sites
    #[arg(long, requires_all = ["jobs", "classes"], value_parser = clap::value_parser!(u64).range(12..=100_000))]
    pub hosts: Option<u64>,
    /// Pending jobs
    #[arg(long, requires = "hosts", value_parser = clap::value_parser!(u64).range(1..=3_000_000))]
    pub jobs: Option<u64>,
    /// Kinds of jobs, no two of which ask for the same
    #[arg(long, requires = "hosts", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub classes: Option<u64>,
    /// Events of each kind
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rounds: u64,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(latencies: &mut Latencies) -> Self {
        Self {
            p50: latencies.quantile_ms(500),
            p99: latencies.quantile_ms(990),
            max: latencies.quantile_ms(1000),
        }
    }
}

/// One line of `bench schedule --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScheduleFigures {
    bench: String,
    hosts: u64,
    jobs: u64,
    classes: u64,
    /// While the cluster fills, the planner being told of what became of them included.
    decided: u64,
    decisions_per_s: f64,
    /// Of the slowest tenth of the passes.
    decisions_per_s_slowest: f64,
    pass_of_500_ms: Spread,
    /// Nothing has changed since the last.
    quiet_pass_ms: Spread,
    /// A task ended; to the decision who takes its room.
    freed_ms: Spread,
    freed_decided: u64,
    /// A job of a kind never seen came; to its decision.
    new_class_ms: Spread,
    /// A job of a known kind came; to its decision.
    added_ms: Spread,
    /// A job came behind others that wait for room.
    queued_ms: Spread,
    explain_ms: Spread,
    quote_ms: Spread,
    rss_pending_mib: u64,
    rss_mib: u64,
    applied_per_s: f64,
    submitted_per_s: f64,
}

/// Measures one size, or all and how the figures grow from one to another.
///
/// # Errors
/// The engine refuses what it is asked for, or a process cannot be started.
pub fn schedule(options: &Options, json: bool) -> anyhow::Result<()> {
    if let (Some(hosts), Some(jobs), Some(classes)) = (options.hosts, options.jobs, options.classes) {
        let figures = one(hosts as usize, jobs, classes, options.rounds)?;
        return print(json, &figures);
    }
    let mut all = Vec::new();
    for size in SIZES {
        let figures = in_own_process(size, options.rounds)?;
        print(json, &figures)?;
        all.push(figures);
    }
    for (what, from, to) in [
        ("hosts 1,000 -> 10,000, 100 classes", 3, 1),
        ("hosts 1,000 -> 10,000, 10,000 classes", 4, 2),
        ("jobs 10,000 -> 1,000,000, 100 classes", 5, 1),
        ("jobs 10,000 -> 1,000,000, 10,000 classes", 6, 2),
    ] {
        let growth = Growth::of(what, &all[from], &all[to]);
        print(json, &growth)?;
    }
    Ok(())
}

fn print<T: Serialize>(json: bool, figures: &T) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
    } else {
        println!("{}\n", serde_json::to_string_pretty(figures)?);
    }
    Ok(())
}

/// How many times longer something takes at the larger size.
#[derive(Debug, Serialize)]
struct Growth<'a> {
    growth: &'a str,
    a_decision: f64,
    quiet_pass: f64,
    freed_p50: f64,
    added_p50: f64,
    explain_p50: f64,
    quote_p50: f64,
}

impl<'a> Growth<'a> {
    fn of(growth: &'a str, small: &ScheduleFigures, large: &ScheduleFigures) -> Self {
        let times = |small: f64, large: f64| (100.0 * large / small.max(0.001)).round() / 100.0;
        let p50 = |of: &dyn Fn(&ScheduleFigures) -> Spread| times(of(small).p50, of(large).p50);
        Self {
            growth,
            a_decision: times(large.decisions_per_s, small.decisions_per_s),
            quiet_pass: p50(&|figures| figures.quiet_pass_ms),
            freed_p50: p50(&|figures| figures.freed_ms),
            added_p50: p50(&|figures| figures.added_ms),
            explain_p50: p50(&|figures| figures.explain_ms),
            quote_p50: p50(&|figures| figures.quote_ms),
        }
    }
}

fn in_own_process((hosts, jobs, classes): (usize, u64, u64), rounds: u64) -> anyhow::Result<ScheduleFigures> {
    let flags = [
        ("--hosts", hosts as u64),
        ("--jobs", jobs),
        ("--classes", classes),
        ("--rounds", rounds),
    ];
    let mut command = Command::new(std::env::current_exe().context("this program's own file is known")?);
    command.args(["--json", "schedule"]).stderr(Stdio::inherit());
    for (name, value) in flags {
        command.args([name.to_owned(), value.to_string()]);
    }
    let output = command.output().context("this program cannot be started again")?;
    ensure!(
        output.status.success(),
        "{hosts} hosts, {jobs} jobs, {classes} classes: {}",
        output.status
    );
    serde_json::from_slice(&output.stdout).context("the figures of one size can be read back")
}

fn one(hosts: usize, jobs: u64, classes: u64, rounds: u64) -> anyhow::Result<ScheduleFigures> {
    let mut world = World::new(hosts)?;
    let started = CoreTime::start();
    for number in 0..jobs {
        let (_, effects) = world.submit(world::job(number % classes))?;
        world.planner.observe(&world.state, &effects);
    }
    let submitted_per_s = jobs as f64 / started.elapsed().as_secs_f64();
    let rss_pending_mib = rss_kib(std::process::id()) / 1024;

    let mut filling = Filling::default();
    filling.fill(&mut world)?;
    let (decided, deciding, applying) = (filling.decided, filling.deciding, filling.applying);
    let slowest = filling.slowest_tenth();
    let pass_of_500_ms = Spread::of(&mut filling.passes);
    fill_up(&mut world, hosts, jobs, classes)?;

    let mut quiet = Latencies::default();
    for _ in 0..rounds {
        let started = CoreTime::start();
        let decisions = world.planner.plan(&world.state, world.now(), &|_| true, PASS);
        quiet.record(started.elapsed());
        ensure!(decisions.is_empty(), "nothing has changed");
    }
    let mut events = Events::new(&world, classes);
    events.run(&mut world, rounds)?;
    let (explained, quoted) = asked(&world, &mut events.random);
    Ok(ScheduleFigures {
        bench: "schedule".into(),
        hosts: hosts as u64,
        jobs,
        classes,
        decided,
        decisions_per_s: decided as f64 / deciding.as_secs_f64(),
        decisions_per_s_slowest: slowest,
        pass_of_500_ms,
        quiet_pass_ms: Spread::of(&mut quiet),
        freed_ms: Spread::of(&mut events.freed),
        freed_decided: events.freed_decided,
        new_class_ms: Spread::of(&mut events.new_class),
        added_ms: Spread::of(&mut events.added),
        queued_ms: Spread::of(&mut events.queued),
        explain_ms: explained,
        quote_ms: quoted,
        rss_pending_mib,
        rss_mib: rss_kib(std::process::id()) / 1024,
        applied_per_s: decided as f64 / applying.as_secs_f64(),
        submitted_per_s,
    })
}

/// What was decided while there was room.
#[derive(Default)]
struct Filling {
    decided: u64,
    deciding: Duration,
    applying: Duration,
    passes: Latencies,
    each: Vec<(Duration, usize)>,
}

impl Filling {
    /// Decides and applies until nothing more fits.
    fn fill(&mut self, world: &mut World) -> anyhow::Result<()> {
        loop {
            let started = CoreTime::start();
            let decisions = world.planner.plan(&world.state, world.now(), &|_| true, PASS);
            let mut took = started.elapsed();
            if decisions.is_empty() && !world.planner.has_more() {
                return Ok(());
            }
            let count = decisions.len();
            let started = CoreTime::start();
            let effects = world.judge(decisions)?;
            self.applying += started.elapsed();
            let started = CoreTime::start();
            world.planner.observe(&world.state, &effects);
            took += started.elapsed();
            self.decided += count as u64;
            self.deciding += took;
            self.passes.record(took);
            self.each.push((took, count));
        }
    }

    /// Decisions a second in the slowest tenth of the passes that decided something.
    fn slowest_tenth(&self) -> f64 {
        let mut each: Vec<_> = self.each.iter().filter(|(_, count)| *count > 0).collect();
        each.sort_by_key(|(took, count)| std::cmp::Reverse(took.as_nanos() / *count as u128));
        each.truncate(each.len().div_ceil(10));
        let took: Duration = each.iter().map(|(took, _)| *took).sum();
        each.iter().map(|(_, count)| *count as f64).sum::<f64>() / took.as_secs_f64()
    }
}

/// Every core in use, and as many jobs waiting as at first.
fn fill_up(world: &mut World, hosts: usize, jobs: u64, classes: u64) -> anyhow::Result<()> {
    for cores in [60, 16, 4, 1] {
        let (_, effects) = world.submit(world::ballast(cores, (4 * hosts) as u32))?;
        world.planner.observe(&world.state, &effects);
        Filling::default().fill(world)?;
    }
    for number in world.state.tasks_pending()..jobs {
        let (_, effects) = world.submit(world::job(number % classes))?;
        world.planner.observe(&world.state, &effects);
    }
    Filling::default().fill(world)
}

/// What happens to a full cluster with a long queue, one thing at a time.
struct Events {
    random: ChaCha8Rng,
    running: Vec<TaskId>,
    classes: u64,
    freed: Latencies,
    freed_decided: u64,
    new_class: Latencies,
    added: Latencies,
    queued: Latencies,
}

impl Events {
    fn new(world: &World, classes: u64) -> Self {
        let sites = world.state.sites();
        Self {
            random: ChaCha8Rng::seed_from_u64(SEED),
            running: sites.flat_map(|site| world.state.running_at(site.id)).collect(),
            classes,
            freed: Latencies::default(),
            freed_decided: 0,
            new_class: Latencies::default(),
            added: Latencies::default(),
            queued: Latencies::default(),
        }
    }

    fn run(&mut self, world: &mut World, rounds: u64) -> anyhow::Result<()> {
        for round in 0..rounds {
            let place = self.random.random_range(0..self.running.len());
            let effects = world.end(self.running.swap_remove(place))?;
            let (took, decided) = decide(world, &effects)?;
            self.freed.record(took);
            self.freed_decided += decided as u64;

            let (_, effects) = world.submit(world::small(round + 1))?;
            let (took, decided) = decide(world, &effects)?;
            ensure!(decided == 1, "a small job finds room");
            self.new_class.record(took);

            let (_, effects) = world.submit(world::small(0))?;
            let (took, decided) = decide(world, &effects)?;
            ensure!(decided == 1, "a small job finds room");
            self.added.record(took);

            let (_, effects) = world.submit(world::job(self.random.random_range(0..self.classes)))?;
            self.queued.record(decide(world, &effects)?.0);
        }
        Ok(())
    }
}

/// From what happened to all decisions that follow from it. They are judged afterwards.
fn decide(world: &mut World, effects: &[hesuan_engine::outcome::Effect]) -> anyhow::Result<(Duration, usize)> {
    let started = CoreTime::start();
    world.planner.observe(&world.state, effects);
    let mut all = Vec::new();
    loop {
        all.extend(world.planner.plan(&world.state, world.now(), &|_| true, PASS));
        if !world.planner.has_more() {
            break;
        }
    }
    let took = started.elapsed();
    let decided = all.len();
    if decided > 0 {
        let effects = world.judge(all)?;
        world.planner.observe(&world.state, &effects);
        // What follows from the judgement belongs to no event that is measured.
        while world.planner.has_more() {
            let more = world.planner.plan(&world.state, world.now(), &|_| true, PASS);
            let effects = world.judge(more)?;
            world.planner.observe(&world.state, &effects);
        }
        world.planner.plan(&world.state, world.now(), &|_| true, 0);
    }
    Ok((took, decided))
}

/// Questions about waiting jobs from all over the queue.
fn asked(world: &World, random: &mut ChaCha8Rng) -> (Spread, Spread) {
    let waiting = world.state.jobs_newest_first(None).filter(|(_, job)| job.pending() > 0);
    let waiting: Vec<JobId> = waiting.map(|(id, _)| id).collect();
    let (mut explained, mut quoted) = (Latencies::default(), Latencies::default());
    let chosen = (0..200).map(|_| waiting[random.random_range(0..waiting.len())]);
    for id in chosen.chain([waiting[0]]) {
        let started = CoreTime::start();
        let explanation = explain(&world.state, Some(&world.planner), id, world.now(), &|_| true);
        explained.record(started.elapsed());
        let job = world.state.job(id).expect("it waits");
        assert!(explanation.is_some_and(|explanation| !explanation.sites.is_empty()));
        let started = CoreTime::start();
        let quotes = quote(
            &world.state,
            Some(&world.planner),
            world.state.request(job),
            world.now(),
        );
        quoted.record(started.elapsed());
        assert!(!quotes.is_empty());
    }
    (Spread::of(&mut explained), Spread::of(&mut quoted))
}
