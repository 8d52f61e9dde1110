//! Latencies and process figures, as they are printed.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// Latencies of one run.
#[derive(Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Adds one, kept in microseconds.
    pub fn record(&mut self, latency: Duration) {
        self.0.push(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Takes over another client's.
    pub fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    /// How many were recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The quantile `per_mille` / 1000 in milliseconds (nearest rank); 0 when nothing was recorded.
    #[must_use]
    pub fn quantile_ms(&mut self, per_mille: usize) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.sort_unstable();
        let rank = (self.0.len() * per_mille).div_ceil(1000).clamp(1, self.0.len());
        self.0[rank - 1] as f64 / 1000.0
    }
}

/// A stopwatch of the time this thread has had a core: what it would have taken on a core of its own.
pub struct CoreTime(TimeSpec);

impl CoreTime {
    /// Starts.
    ///
    /// # Panics
    /// The kernel keeps no such clock.
    #[must_use]
    pub fn start() -> Self {
        Self(Self::now())
    }

    /// Since the start.
    ///
    /// # Panics
    /// The kernel keeps no such clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from(Self::now()) - Duration::from(self.0)
    }

    fn now() -> TimeSpec {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux counts the time of threads")
    }
}

/// CPU seconds (user and system) a process has used, from `/proc`.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    // Fields 14 and 15 after the command's closing parenthesis, in clock ticks of 10 ms on Linux.
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return 0.0;
    };
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return 0.0;
    };
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) as f64 / 100.0
}

/// Resident memory of a process in KiB, from `/proc`.
#[must_use]
pub fn rss_kib(pid: u32) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        let mut latencies = Latencies::default();
        for ms in 1..=100 {
            latencies.record(Duration::from_millis(ms));
        }
        assert_eq!(latencies.quantile_ms(500), 50.0);
        assert_eq!(latencies.quantile_ms(990), 99.0);
        assert_eq!(latencies.quantile_ms(1000), 100.0);
    }

    #[test]
    fn own_process_has_memory() {
        assert!(rss_kib(std::process::id()) > 100);
    }
}
