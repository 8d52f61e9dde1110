//! The two clocks of the shell. The step machines get their readings as arguments.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 UTC, as this machine believes.
#[must_use]
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Milliseconds that only go forward, from the start of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Monotonic(Instant);

impl Monotonic {
    /// Starts at 0.
    #[must_use]
    pub(crate) fn start() -> Self {
        Monotonic(Instant::now())
    }

    /// Now.
    #[must_use]
    pub(crate) fn ms(self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
