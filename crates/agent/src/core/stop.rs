//! Starting, stopping and ending tasks: signals, time limits, the end of the lease.

use hesuan_api::internal::v1::TaskEnd;

use super::{Core, JournalRecord, Outcome, Output, StopReason, StopSignal, TaskState, Timer};
use crate::task::TaskKey;

impl Core {
    pub(super) fn started(&mut self, key: TaskKey, started_ms: u64) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if !matches!(task.state, TaskState::Starting) {
            return;
        }
        task.state = TaskState::Running { started_ms };
        let limit_at_ms = task.limit_at_ms();
        self.move_limit_timer(key, None, limit_at_ms);
        self.report_at(key, self.now_ms + self.config.started_report_delay_ms);
    }

    pub(super) fn ended(&mut self, key: TaskKey, mut outcome: Outcome) {
        let Some(task) = self.tasks.get_mut(&key) else {
            // An orphan that was killed at the start of the daemon.
            self.outputs.push(Output::Forget { task: key });
            return;
        };
        if matches!(task.state, TaskState::Ended(_)) {
            return;
        }
        // Who stopped the task decides how its end is called; how exactly it went is still in code and signal.
        if let Some(end) = task.stop.and_then(super::StopReason::task_end)
            && matches!(outcome.end, TaskEnd::Exited | TaskEnd::Signalled)
        {
            outcome.end = end;
        }
        let limit_at_ms = task.limit_at_ms();
        task.state = TaskState::Ended(outcome.clone());
        self.move_limit_timer(key, limit_at_ms, None);
        self.leased.remove(&key);
        self.held.remove(&key);
        self.records.push(JournalRecord::Ended { task: key, outcome });
        self.report_soon(key);
    }

    pub(super) fn move_limit_timer(&mut self, key: TaskKey, from_ms: Option<u64>, to_ms: Option<u64>) {
        if let Some(at_ms) = from_ms {
            self.timers.remove(&(at_ms, key, Timer::Limit));
        }
        if let Some(at_ms) = to_ms {
            self.timers.insert((at_ms, key, Timer::Limit));
        }
    }

    /// Asks a task to end; the first reason holds. One that was not started yet ends as soon as its start is journalled.
    pub(super) fn stop(&mut self, key: TaskKey, reason: StopReason) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if task.stop.is_some() || matches!(task.state, TaskState::Ended(_)) {
            return;
        }
        task.stop = Some(reason);
        self.records.push(JournalRecord::Stop { task: key, reason });
        match self.tasks[&key].state {
            TaskState::Journalling(_) | TaskState::Ended(_) => {}
            TaskState::Held(_) => self.start(key),
            TaskState::Starting | TaskState::Running { .. } => self.terminate(key),
        }
    }

    pub(super) fn terminate(&mut self, key: TaskKey) {
        self.signal(key, StopSignal::Term);
        self.timers
            .insert((self.now_ms + self.config.kill_grace_ms, key, Timer::Kill));
    }

    /// Repeated until the task is gone, because a kill may meet a fork in the middle.
    pub(super) fn kill(&mut self, key: TaskKey) {
        if self.tasks.get(&key).is_some_and(super::Task::is_started) {
            self.signal(key, StopSignal::Kill);
            self.timers
                .insert((self.now_ms + self.config.kill_grace_ms.max(1_000), key, Timer::Kill));
        }
    }

    /// The leader declares the site lost only after lease, kill grace and drift have passed, so stopping at the lease's end is soon
    /// enough for no two attempts to run at once.
    pub(super) fn expire_lease(&mut self) {
        if self.now_ms < self.lease_until_ms {
            return;
        }
        // Tasks already being stopped stay in the set until they end; those are skipped by `stop`.
        for key in std::mem::take(&mut self.leased) {
            self.stop(key, StopReason::LeaseExpired);
        }
    }

    /// Drops a task whose end the cluster has and for which it no longer asks.
    pub(super) fn forget_if_settled(&mut self, key: TaskKey) {
        let settled = self.tasks.get(&key).is_some_and(|task| {
            task.withdrawn && matches!(task.state, TaskState::Ended(_)) && task.acked_seq == task.due_seq()
        });
        if settled {
            self.forget(key);
        }
    }

    pub(super) fn forget(&mut self, key: TaskKey) {
        self.clear_report_timer(key);
        self.held.remove(&key);
        let forgotten = self.tasks.remove(&key);
        self.records.push(JournalRecord::Done {
            task: key,
            seen: self.seen,
        });
        let nodes = forgotten.map_or(1, |task| task.nodes());
        let each = (0..nodes).map(|node| Output::Forget {
            task: key.with_node(node),
        });
        self.outputs.extend(each);
    }
}
