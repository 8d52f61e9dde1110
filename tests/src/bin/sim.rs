//! Runs seeds of the simulator and prints what it finds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use hesuan_tests::sim::{Plant, Report, run};

/// Simulates whole clusters under faults, one seed after the other
#[derive(Parser)]
struct CommandLine {
    /// A..B (B not included) or a single seed
    #[arg(long, value_parser = parse_seeds)]
    seeds: (u64, u64),
    /// Run each seed twice and compare the traces
    #[arg(long)]
    twice: bool,
    /// Check and hash the whole state at every so many entries
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    depth: u64,
}

fn parse_seeds(text: &str) -> Result<(u64, u64), String> {
    let number = |part: &str| {
        part.parse::<u64>()
            .map_err(|error| format!("\"{part}\" is no seed: {error}"))
    };
    match text.split_once("..") {
        Some((low, high)) => {
            let (low, high) = (number(low)?, number(high)?);
            if low >= high {
                return Err(format!("{low}..{high} holds no seed; the second number must be larger"));
            }
            Ok((low, high))
        }
        None => number(text).map(|seed| (seed, seed + 1)),
    }
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    // The text of a broken invariant is printed with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicU64::new(line.seeds.0);
    let failures = Mutex::new(Vec::new());
    let totals = Mutex::new(BTreeMap::<&'static str, u64>::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= line.seeds.1 {
                        return;
                    }
                    match one(seed, &line) {
                        Ok(report) => {
                            let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                            for (what, count) in report.counts {
                                *totals.entry(what).or_default() += count;
                            }
                        }
                        Err(text) => {
                            println!("FAILED {text}");
                            failures.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
                        }
                    }
                }
            });
        }
    });
    for (what, count) in totals.into_inner().unwrap_or_else(PoisonError::into_inner) {
        println!("{count:>12}  {what}");
    }
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} seeds, {} failed", line.seeds.1 - line.seeds.0, failures.len());
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64, line: &CommandLine) -> Result<Report, String> {
    let report = run(seed, Plant::None, line.depth)?;
    if line.twice {
        let again = run(seed, Plant::None, line.depth)?;
        if again.trace_hash != report.trace_hash {
            return Err(format!(
                "seed {seed}: two runs differ, so something outside the seed has a say"
            ));
        }
    }
    Ok(report)
}
