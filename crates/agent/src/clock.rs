//! The agent's own clock: milliseconds since boot, the same in every process of this machine and never set back.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since boot, time in suspend included: a lease must not outlive a machine that was put to sleep.
pub fn now_ms() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every linux this runs on has CLOCK_BOOTTIME");
    time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000
}
