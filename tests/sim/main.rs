//! The simulator's promises: no seed breaks an invariant, equal seeds give equal traces, and planted bugs are found.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hesuan_tests::sim::{Plant, run};

const SEEDS: u64 = 200;
/// The binary `sim` looks at the whole state at every entry; here time counts.
const DEPTH: u64 = 16;

/// Runs seeds on two threads until one fails; gives the failures.
fn failures(seeds: u64, plant: Plant, stop_at_first: bool) -> Vec<String> {
    let next = AtomicU64::new(0);
    let found = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(text) = run(seed, plant, DEPTH) {
                        found.lock().expect("no test panics here").push(text);
                        stop.store(stop_at_first, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    found.into_inner().expect("no test panics here")
}

#[test]
fn no_seed_breaks_an_invariant() {
    let found = failures(SEEDS, Plant::None, false);
    assert!(found.is_empty(), "{} of {SEEDS} seeds: {found:#?}", found.len());
}

#[test]
fn equal_seeds_give_equal_traces() {
    let mut outran = 0;
    for seed in 0..3 {
        let (one, other) = (run(seed, Plant::None, DEPTH), run(seed, Plant::None, DEPTH));
        let counts = one.as_ref().map(|report| &report.counts);
        outran += counts
            .ok()
            .and_then(|counts| counts.get("tasks that outran their first limit"))
            .unwrap_or(&0);
        assert_eq!(one.map(|r| r.trace_hash), other.map(|r| r.trace_hash), "seed {seed}");
    }
    assert!(outran > 0, "no extension had an effect");
}

fn finds(plant: Plant) {
    let found = failures(SEEDS, plant, true);
    assert!(!found.is_empty(), "{plant:?} is not found within {SEEDS} seeds");
    println!("{plant:?}: {}", found[0].lines().next().unwrap_or_default());
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    finds(Plant::AckBeforeSync);
}

#[test]
fn a_vote_that_is_not_saved_is_found() {
    finds(Plant::VoteNotSaved);
}

#[test]
fn an_entry_applied_twice_is_found() {
    finds(Plant::ApplyTwice);
}

#[test]
fn a_capture_without_release_is_found() {
    finds(Plant::CaptureWithoutRelease);
}

#[test]
fn a_stale_attempt_that_is_accepted_is_found() {
    finds(Plant::StaleAttemptAccepted);
}

#[test]
fn a_task_started_twice_after_a_crash_is_found() {
    finds(Plant::StartTwiceAfterCrash);
}
