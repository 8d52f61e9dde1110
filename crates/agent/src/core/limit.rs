//! The time limit of a task may change while it runs: its owner bought more time, or the money behind it ended.
//!
//! Every assignment carries the limit as of one point in the cluster's history ([`View`]), so the latest view decides and not the order of
//! arrival: what comes twice changes nothing, what was overtaken is passed over. The journal has a limit before anybody acts
//! on it, so that after a crash the task is not stopped at the old one. A task that is being stopped or has ended takes no
//! other limit: how it ended is in its report, and that is what the cluster goes by.

use super::{AfterSync, Core, JournalRecord, StopReason, TaskState, View};
use crate::task::TaskKey;

/// The latest word on a task's limit.
#[derive(Clone, Copy)]
pub(super) struct Told {
    /// Milliseconds; 0 = no limit.
    pub(super) walltime_ms_max: u64,
    /// When it was so.
    pub(super) at: View,
}

impl Core {
    /// The replica names a task that is known here, with the limit it has at `at`.
    pub(super) fn limit_told(&mut self, key: TaskKey, walltime_ms_max: u64, at: View) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if at < task.told.at {
            return;
        }
        task.told.at = at;
        if walltime_ms_max == task.told.walltime_ms_max || task.stop.is_some() || task.has_ended() {
            return;
        }
        task.told.walltime_ms_max = walltime_ms_max;
        task.limit_changed = true;
        self.records.push(JournalRecord::Limit {
            task: key,
            walltime_ms_max,
            seen: at,
        });
        self.after_sync(AfterSync::Limit {
            task: key,
            walltime_ms_max,
        });
    }

    /// The journal has the limit: it holds from here on.
    pub(super) fn set_limit(&mut self, key: TaskKey, walltime_ms_max: u64) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if task.stop.is_some() || task.has_ended() {
            return;
        }
        let before = task.limit_at_ms();
        task.walltime_ms_max = walltime_ms_max;
        if let TaskState::Journalling(assignment) | TaskState::Held(assignment) = &mut task.state {
            assignment.walltime_ms_max = walltime_ms_max;
            return;
        }
        let after = task.limit_at_ms();
        self.tell_limit(key, walltime_ms_max);
        self.move_limit_timer(key, before, after);
        if after.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.stop(key, StopReason::TimeLimit);
        }
    }
}
