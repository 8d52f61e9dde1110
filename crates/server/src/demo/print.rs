//! How the demo shows things: seconds in front, money in yuan, a list of checks at the end.

use std::fmt::Display;
use std::sync::Mutex;
use std::time::Instant;

/// Where everything is printed, with the time since the start.
pub(super) struct Page {
    started: Instant,
    checks: Mutex<Vec<(String, bool)>>,
}

impl Page {
    pub(super) fn new() -> Page {
        Page {
            started: Instant::now(),
            checks: Mutex::default(),
        }
    }

    /// A new part of the story.
    pub(super) fn part(&self, title: impl Display) {
        println!("\n[{:5.1} s] {title}", self.started.elapsed().as_secs_f64());
    }

    /// One line of it.
    pub(super) fn line(&self, text: impl Display) {
        println!("          {text}");
    }

    /// Something that must hold.
    pub(super) fn check(&self, what: impl Display, holds: bool) {
        self.checks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((what.to_string(), holds));
    }

    /// Prints every check; true if all hold.
    pub(super) fn verdict(&self) -> bool {
        self.part("checks");
        let checks = self.checks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (what, holds) in checks.iter() {
            self.line(format_args!("{}  {what}", if *holds { "PASS" } else { "FAIL" }));
        }
        let failed = checks.iter().filter(|(_, holds)| !holds).count();
        self.line(format_args!(
            "{} of {} checks hold",
            checks.len() - failed,
            checks.len()
        ));
        failed == 0
    }
}

/// Fen as yuan.
pub(super) fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.unsigned_abs() / 100, fen.unsigned_abs() % 100)
}
