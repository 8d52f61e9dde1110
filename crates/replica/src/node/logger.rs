//! raft-rs logs through slog; this hands its lines on to `tracing`. What raft-rs calls info is our debug.

use slog::{Drain, Level, Never, OwnedKVList, Record};

struct Forward {
    replica: u64,
}

/// A logger for the node of replica `replica`.
pub(super) fn logger(replica: u64) -> slog::Logger {
    slog::Logger::root(Forward { replica }, slog::o!())
}

impl Drain for Forward {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        let replica = self.replica;
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(replica, "raft: {}", record.msg()),
            Level::Warning => tracing::warn!(replica, "raft: {}", record.msg()),
            Level::Info => tracing::debug!(replica, "raft: {}", record.msg()),
            Level::Debug | Level::Trace => {}
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        level.is_at_least(Level::Info)
    }
}
