//! Telling the cluster: reports until they are acknowledged, and interim usage in heartbeats.
//!
//! A task has two reports, sequence 1 "started" and 2 "ended"; the second says everything, so the first is left out if the task is
//! over before it was sent.

use std::ops::Bound;

use hesuan_api::internal::v1::{Reports, RunningUsage, TaskEvent, TaskReport, agent_message};

use super::{Core, Task, TaskState, Timer};
use crate::task::TaskKey;

const SEQ_STARTED: u32 = 1;
const SEQ_ENDED: u32 = 2;

impl Task {
    /// Sequence number of what there is to report; 0 = nothing.
    pub(super) fn due_seq(&self) -> u32 {
        match self.state {
            TaskState::Journalling(_) | TaskState::Held(_) | TaskState::Starting => 0,
            TaskState::Running { .. } => SEQ_STARTED,
            TaskState::Ended(_) => SEQ_ENDED,
        }
    }

    fn report(&self, key: TaskKey) -> TaskReport {
        let base = TaskReport {
            task: Some(key.into()),
            seq: self.due_seq(),
            ..TaskReport::default()
        };
        match &self.state {
            TaskState::Ended(outcome) => TaskReport {
                event: TaskEvent::Ended.into(),
                end: outcome.end.into(),
                exit_code: outcome.exit_code,
                signal: outcome.signal,
                wall_ms: outcome.wall_ms,
                cpu_ms: outcome.cpu_ms,
                memory_peak_mib: outcome.memory_peak_mib,
                message: outcome.message.clone(),
                start_error_user: outcome.start_error_user,
                ..base
            },
            _ => TaskReport {
                event: TaskEvent::Started.into(),
                ..base
            },
        }
    }
}

impl Core {
    pub(super) fn report_soon(&mut self, key: TaskKey) {
        self.clear_report_timer(key);
        self.reports_due.push(key);
    }

    pub(super) fn report_at(&mut self, key: TaskKey, at_ms: u64) {
        self.clear_report_timer(key);
        if let Some(task) = self.tasks.get_mut(&key) {
            task.report_at_ms = Some(at_ms);
            self.timers.insert((at_ms, key, Timer::Report));
        }
    }

    pub(super) fn clear_report_timer(&mut self, key: TaskKey) {
        if let Some(at_ms) = self.tasks.get_mut(&key).and_then(|task| task.report_at_ms.take()) {
            self.timers.remove(&(at_ms, key, Timer::Report));
        }
    }

    /// Sends what is due. Without a stream nothing is sent; a new one begins with everything unacknowledged.
    pub(super) fn send_reports(&mut self) {
        let mut due = std::mem::take(&mut self.reports_due);
        if !self.connected {
            return;
        }
        due.sort_unstable();
        due.dedup();
        let mut reports = Vec::new();
        for key in due {
            let Some(task) = self.tasks.get(&key) else { continue };
            if task.due_seq() > task.acked_seq {
                reports.push(task.report(key));
                self.report_at(key, self.now_ms + self.config.report_retry_ms);
            }
        }
        while !reports.is_empty() {
            let rest = reports.split_off(reports.len().min(self.config.report_batch_max.max(1)));
            self.send(agent_message::Body::Reports(Reports {
                reports: std::mem::replace(&mut reports, rest),
            }));
        }
    }

    /// The next running tasks in turn, so that a site with more than fit tells of each now and then.
    pub(super) fn usage_batch(&mut self) -> Vec<RunningUsage> {
        let from = self.usage_from.map_or(Bound::Unbounded, Bound::Excluded);
        let mut batch = Vec::new();
        let mut last = None;
        for (key, task) in self.tasks.range((from, Bound::Unbounded)) {
            let TaskState::Running { started_ms } = task.state else {
                continue;
            };
            batch.push(RunningUsage {
                task: Some((*key).into()),
                wall_ms: self.now_ms.saturating_sub(started_ms),
                cpu_ms: task.cpu_ms,
                memory_peak_mib: task.memory_peak_mib,
            });
            if batch.len() >= self.config.usage_batch_max {
                last = Some(*key);
                break;
            }
        }
        self.usage_from = last;
        batch
    }
}
