//! A million pending jobs: what they take, and how long the longest step is. Ignored by default; run with
//! `cargo test --release -p hesuan-engine --test scale -- --ignored --nocapture`.

mod support;

use std::time::{Duration, Instant};

use hesuan_engine::command::{Body, Command};
use hesuan_engine::types::{JobId, PrincipalId, RequestId, Resources};
use hesuan_ledger::types::Timestamp;
use support::*;

const JOBS: u64 = 1_000_000;

fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("on Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .expect("the kernel says");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number of KiB")
        * 1024
}

// The work is the same in every run, so what a step really costs shows in all of them, and what only some show is the
// machine doing something else. The least of several runs is what the step took.
const RUNS: usize = 3;

fn apply(world: &mut World, command: &Command) -> Duration {
    let mut effects = Vec::new();
    let start = Instant::now();
    world.index += 1;
    world.state.begin_entry(world.index, Timestamp(world.at));
    let outcome = world.state.apply(Timestamp(world.at), command, &mut effects);
    world.state.end_entry(world.index);
    let took = start.elapsed();
    outcome.reply.expect("it is accepted");
    took
}

fn submit(world: &mut World, lab: PrincipalId, n: u64, classes: u64) -> Duration {
    // Ten a millisecond, as a busy cluster would see.
    world.at = START + n / 10;
    let resources = Resources {
        cpu_milli: 100 + n % 100,
        memory_mib: 64 + (n / 100) % 100,
        ..Resources::default()
    };
    let mut one = job();
    one.resources = resources;
    one.walltime_ms_max = HOUR + (n % classes) / 10_000;
    one.name = format!("job {n}").into();
    one.payload = vec![b'x'; 200].into();
    let id = RequestId((u128::from(world.at) << 80) | u128::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    apply(
        world,
        &Command {
            principal: lab,
            request_id: Some(id),
            digest: [1; 16],
            body: Body::SubmitJob(one),
        },
    )
}

fn cancel(world: &mut World, lab: PrincipalId, n: u64) -> Duration {
    let id = RequestId((u128::from(world.at) << 80) | u128::from(u64::MAX - n));
    let body = Body::CancelJob {
        job: JobId(n * 997 + 1),
        reason: "".into(),
    };
    apply(
        world,
        &Command {
            principal: lab,
            request_id: Some(id),
            digest: [2; 16],
            body,
        },
    )
}

/// The least time of each step over the runs so far.
struct Least(Vec<Duration>);

impl Least {
    fn of(steps: u64) -> Self {
        Self(vec![Duration::MAX; steps as usize])
    }

    fn note(&mut self, n: u64, took: Duration) {
        let least = &mut self.0[n as usize];
        *least = took.min(*least);
    }

    fn longest(&self) -> (Duration, usize) {
        self.0.iter().copied().zip(0..).max().expect("there are steps")
    }
}

#[test]
#[ignore = "takes a gigabyte and some seconds"]
fn a_million_pending_jobs_of_ten_thousand_classes() {
    stay_small_and_never_pause(10_000);
}

#[test]
#[ignore = "takes a gigabyte and some seconds"]
fn a_million_pending_jobs_each_of_its_own_class() {
    stay_small_and_never_pause(JOBS);
}

fn stay_small_and_never_pause(classes: u64) {
    let (mut submits, mut cancels, mut freezes) = (Least::of(JOBS), Least::of(1_000), Least::of(1));
    for run in 0..RUNS {
        let mut world = World::new();
        let lab = PrincipalId(world.who("lab"));
        let empty = rss_bytes();
        let begin = Instant::now();
        let mut longest = (Duration::ZERO, 0);
        for n in 0..JOBS {
            let took = submit(&mut world, lab, n, classes);
            longest = longest.max((took, n));
            submits.note(n, took);
        }
        println!(
            "run {run}: {:.0} submits/s, longest {longest:?}",
            JOBS as f64 / begin.elapsed().as_secs_f64()
        );
        if run == 0 {
            let per_job = (rss_bytes() - empty) / JOBS;
            println!(
                "{} classes, {per_job} bytes a job",
                world.state.pending_classes().count()
            );
            assert!(per_job <= 1024, "{per_job} bytes a job");
        }
        let start = Instant::now();
        let frozen = world.state.freeze();
        freezes.note(0, start.elapsed());
        for n in 0..1_000 {
            let took = cancel(&mut world, lab, n);
            cancels.note(n, took);
        }
        drop(frozen);
    }
    for (what, least) in [
        ("submit", submits),
        ("cancel after a freeze", cancels),
        ("freeze", freezes),
    ] {
        let (longest, at) = least.longest();
        println!("{what}: longest of all steps {longest:?} (step {at}), least of {RUNS} runs each");
        assert!(
            longest > Duration::ZERO && longest < Duration::MAX,
            "{what} was not measured"
        );
        assert!(
            longest < Duration::from_millis(20),
            "{what} pauses apply for {longest:?}"
        );
    }
}
