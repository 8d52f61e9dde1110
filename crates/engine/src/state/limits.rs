//! Replicated limits: changed by command, so that all replicas change at one index.

use crate::command::LimitsChange;
use crate::outcome::Rejection;

/// See [`LimitsChange`] for what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long request ids are kept.
    pub request_window_ms: u64,
    /// How many request ids are kept.
    pub requests_max: u64,
    /// How long ended jobs stay in State.
    pub ended_job_keep_ms: u64,
    /// How many ended jobs stay in State.
    pub ended_jobs_max: u64,
    /// How many jobs may be in State.
    pub jobs_max: u64,
    /// Silence after which the leader declares a site lost.
    pub lost_after_ms: u64,
    /// The site's lease.
    pub lease_ttl_ms: u64,
    /// One script.
    pub script_bytes_max: u64,
    /// All scripts.
    pub scripts_bytes_max_total: u64,
    /// One attempt.
    pub walltime_ms_max: u64,
    /// How long a lost site's held attempts keep their hold.
    pub settlement_grace_ms: u64,
}

/// What an agent may take to stop a task after its lease ended, and what its clock may drift meanwhile: `lost_after_ms`
/// must leave room for it beyond the lease, or two attempts of one task could run at once.
pub const STOP_ALLOWANCE_MS: u64 = 10_000;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_window_ms: 24 * HOUR,
            requests_max: 2_000_000,
            ended_job_keep_ms: HOUR,
            ended_jobs_max: 200_000,
            jobs_max: 4_000_000,
            lost_after_ms: 30_000,
            lease_ttl_ms: 10_000,
            script_bytes_max: 256 << 10,
            scripts_bytes_max_total: 256 << 20,
            walltime_ms_max: 30 * 24 * HOUR,
            settlement_grace_ms: 24 * HOUR,
        }
    }
}

impl Limits {
    /// These limits with `change` put in, or why that cannot be.
    pub(super) fn changed(mut self, change: &LimitsChange) -> Result<Self, Rejection> {
        let year = 366 * 24 * HOUR;
        let fields = [
            (
                &mut self.request_window_ms,
                change.request_window_ms,
                "request_window_ms",
                MINUTE,
                year,
            ),
            (&mut self.requests_max, change.requests_max, "requests_max", 1, 1 << 32),
            (
                &mut self.ended_job_keep_ms,
                change.ended_job_keep_ms,
                "ended_job_keep_ms",
                0,
                year,
            ),
            (
                &mut self.ended_jobs_max,
                change.ended_jobs_max,
                "ended_jobs_max",
                0,
                1 << 32,
            ),
            (&mut self.jobs_max, change.jobs_max, "jobs_max", 1, 1 << 32),
            (
                &mut self.lost_after_ms,
                change.lost_after_ms,
                "lost_after_ms",
                1_000,
                HOUR,
            ),
            (&mut self.lease_ttl_ms, change.lease_ttl_ms, "lease_ttl_ms", 500, HOUR),
            (
                &mut self.script_bytes_max,
                change.script_bytes_max,
                "script_bytes_max",
                1,
                1 << 20,
            ),
            (
                &mut self.scripts_bytes_max_total,
                change.scripts_bytes_max_total,
                "scripts_bytes_max_total",
                1,
                1 << 40,
            ),
            (
                &mut self.walltime_ms_max,
                change.walltime_ms_max,
                "walltime_ms_max",
                1_000,
                year,
            ),
            (
                &mut self.settlement_grace_ms,
                change.settlement_grace_ms,
                "settlement_grace_ms",
                0,
                year,
            ),
        ];
        for (limit, new, field, min, max) in fields {
            let Some(new) = new else { continue };
            if new < min || new > max {
                let text = format!("{field} is {new}; it must lie between {min} and {max}");
                return Err(Rejection::invalid(
                    "LIMIT_OUT_OF_RANGE",
                    &format!("limits.{field}"),
                    text,
                ));
            }
            *limit = new;
        }
        let needed = self.lease_ttl_ms + STOP_ALLOWANCE_MS;
        if self.lost_after_ms <= needed {
            let text = format!(
                "lost_after_ms is {}; it must be above lease_ttl_ms + {STOP_ALLOWANCE_MS} = {needed}, \
                 or a task could run twice at once",
                self.lost_after_ms
            );
            return Err(Rejection::invalid("LOST_AFTER_TOO_SHORT", "limits.lost_after_ms", text));
        }
        Ok(self)
    }
}
