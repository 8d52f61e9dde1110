//! What is measured of a replay: waits and bounded slowdowns, by nearest rank.

use serde::Serialize;

/// Runs shorter than this count as so long in the bounded slowdown.
const SHORT_S: f64 = 10.0;

/// A job that has run, in seconds from the start of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its number.
    pub number: u64,
    /// When it came.
    pub submitted_s: u64,
    /// When it started.
    pub started_s: u64,
    /// When it ended.
    pub ended_s: u64,
    /// Processors it took.
    pub procs: u64,
}

impl Done {
    /// How long it waited.
    #[must_use]
    pub fn wait_s(&self) -> f64 {
        (self.started_s - self.submitted_s) as f64
    }

    fn bounded_slowdown(&self) -> f64 {
        let run_s = (self.ended_s - self.started_s) as f64;
        ((self.wait_s() + run_s) / run_s.max(SHORT_S)).max(1.0)
    }
}

/// Of one replay.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// That ran; the figures of waiting leave out the first 1 % to end.
    pub jobs: usize,
    /// Mean bounded slowdown.
    pub bsld_mean: f64,
    /// Half of the jobs have no more.
    pub bsld_median: f64,
    /// 95 % of them have no more.
    pub bsld_p95: f64,
    /// Mean wait, seconds.
    pub wait_mean_s: f64,
    /// 95 % of the jobs wait no longer.
    pub wait_p95_s: f64,
    /// The longest wait.
    pub wait_max_s: f64,
    /// Processor seconds used of those there were between the first submission and the last end.
    pub utilisation: f64,
    /// How long the replay took.
    pub seconds: f64,
}

impl Figures {
    /// Of jobs that ran on so many processors.
    #[must_use]
    pub fn of(mut done: Vec<Done>, procs: u64, seconds: f64) -> Self {
        done.sort_unstable_by_key(|job| (job.ended_s, job.number));
        let counted = &done[done.len() / 100..];
        let slowdowns = sorted(counted.iter().map(Done::bounded_slowdown));
        let waits = sorted(counted.iter().map(Done::wait_s));
        let first_s = done.iter().map(|job| job.submitted_s).min().unwrap_or(0);
        let last_s = done.last().map_or(0, |job| job.ended_s);
        let used: f64 = done
            .iter()
            .map(|job| ((job.ended_s - job.started_s) * job.procs) as f64)
            .sum();
        let there = (last_s - first_s) as f64 * procs as f64;
        Self {
            jobs: done.len(),
            bsld_mean: mean(&slowdowns),
            bsld_median: quantile(&slowdowns, 50),
            bsld_p95: quantile(&slowdowns, 95),
            wait_mean_s: mean(&waits),
            wait_p95_s: quantile(&waits, 95),
            wait_max_s: quantile(&waits, 100),
            utilisation: if there > 0.0 { used / there } else { 0.0 },
            seconds,
        }
    }
}

/// In rising order.
#[must_use]
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of sorted values, by nearest rank; 0 of nothing.
#[must_use]
pub fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}
