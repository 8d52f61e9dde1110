//! What the replica says: assignments, withdrawals, the lease, acknowledgements.

use hesuan_api::internal::v1::{
    Assignment, Assignments, LeaseGrant, ReplicaMessage, ReportAck, TaskEnd, replica_message,
};

use super::{AfterSync, Core, JournalRecord, Outcome, Output, StopReason, Task, TaskState, Told, View};
use crate::task::TaskKey;
use std::collections::BTreeSet;

impl Core {
    /// Takes a message of the replica. What does not make sense is passed over; nothing here can panic on what came from outside.
    pub fn handle(&mut self, message: ReplicaMessage, now_ms: u64) {
        self.advance(now_ms);
        match message.body {
            Some(replica_message::Body::Welcome(welcome)) => self.restore_epoch = welcome.restore_epoch,
            Some(replica_message::Body::Assignments(assignments)) => self.assignments(assignments),
            Some(replica_message::Body::LeaseGrant(grant)) => self.lease_grant(grant),
            Some(replica_message::Body::ReportAck(ack)) => self.report_ack(ack),
            Some(replica_message::Body::Refused(refused)) => {
                let reason = format!("refused: {} {}", refused.code, refused.message);
                self.outputs.push(Output::Reconnect { reason });
            }
            // The shell answers log requests; they change nothing here.
            Some(replica_message::Body::LogRequest(_)) | None => {}
        }
    }

    fn assignments(&mut self, message: Assignments) {
        let view = View {
            restore_epoch: self.restore_epoch,
            applied_index: message.applied_index,
        };
        let stale = view < self.seen;
        if stale && message.complete {
            // This replica lags behind what another one told. Its list lacks what is new and still has what is forgotten here.
            let reason = format!(
                "replica is at index {}, seen {}",
                view.applied_index, self.seen.applied_index
            );
            self.outputs.push(Output::Reconnect { reason });
            return;
        }
        self.seen = self.seen.max(view);
        if message.complete {
            let listed: BTreeSet<TaskKey> = message
                .assigned
                .iter()
                .filter_map(|assignment| assignment.task.as_ref())
                .map(TaskKey::from)
                .collect();
            let over: Vec<TaskKey> = self.tasks.keys().filter(|key| !listed.contains(key)).copied().collect();
            for key in over {
                self.withdraw(key);
            }
        }
        for assignment in message.assigned {
            self.assign(assignment, view);
        }
        for withdrawal in message.withdrawn {
            if let Some(id) = &withdrawal.task {
                self.withdraw(TaskKey::from(id));
            }
        }
    }

    fn assign(&mut self, assignment: Assignment, view: View) {
        let Some(key) = assignment.task.as_ref().map(TaskKey::from) else {
            return;
        };
        if self.tasks.contains_key(&key) {
            if assignment.cancel_requested {
                self.stop(key, StopReason::Cancelled);
            }
            self.limit_told(key, assignment.walltime_ms_max, view);
            return;
        }
        // Forgotten tasks are unknown here, and only an older message can still name one.
        if view < self.seen {
            return;
        }
        let (lease_bound, walltime_ms_max) = (assignment.requeue_on_site_lost, assignment.walltime_ms_max);
        let cancelled = assignment.cancel_requested;
        let told = Told {
            walltime_ms_max,
            at: view,
        };
        let nodes = (assignment.nodes.len() as u32).max(1);
        let task = Task::new(lease_bound, told, nodes, TaskState::Journalling(Box::new(assignment)));
        self.tasks.insert(key, task);
        self.records.push(JournalRecord::Start {
            task: key,
            lease_bound,
            walltime_ms_max,
            nodes,
            seen: view,
        });
        if cancelled {
            self.ended(
                key,
                Outcome::unused(TaskEnd::Cancelled, "cancelled before it was started"),
            );
            return;
        }
        self.after_sync(AfterSync::Start(key));
    }

    /// The placement is over for the cluster. A task that runs is stopped and its end is still journalled and reported, because the
    /// cluster wants to know when its capacity is really free; one that never ran leaves no trace.
    fn withdraw(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.withdrawn = true;
        match task.state {
            TaskState::Journalling(_) => {}
            TaskState::Held(_) => self.forget(key),
            TaskState::Starting | TaskState::Running { .. } => self.stop(key, StopReason::Cancelled),
            TaskState::Ended(_) => self.forget_if_settled(key),
        }
    }

    /// The journal has the start: now it may be given out, if it is still wanted and the lease allows it.
    pub(super) fn start(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if !matches!(task.state, TaskState::Journalling(_) | TaskState::Held(_)) {
            return;
        }
        if task.withdrawn {
            self.forget(key);
            return;
        }
        if task.stop.is_some() {
            self.ended(
                key,
                Outcome::unused(TaskEnd::Cancelled, "cancelled before it was started"),
            );
            return;
        }
        let state = std::mem::replace(&mut task.state, TaskState::Starting);
        let (TaskState::Journalling(assignment) | TaskState::Held(assignment)) = state else {
            unreachable!("the state was matched above");
        };
        if !task.lease_bound {
            self.outputs.push(Output::Start(assignment));
        } else if self.now_ms < self.lease_until_ms {
            self.held.remove(&key);
            self.leased.insert(key);
            self.outputs.push(Output::Start(assignment));
        } else {
            task.state = TaskState::Held(assignment);
            self.held.insert(key);
        }
    }

    /// The grant counts from when the heartbeat was sent, on this clock, so that no delay on the way can stretch it.
    fn lease_grant(&mut self, grant: LeaseGrant) {
        self.lease_heard_ms = self.now_ms;
        let until_ms = grant.sent_at_ms.saturating_add(grant.ttl_ms);
        if grant.sent_at_ms > self.now_ms || until_ms <= self.lease_until_ms {
            return;
        }
        self.lease_until_ms = until_ms;
        self.outputs.push(Output::Lease { until_ms });
        if self.now_ms < until_ms {
            for key in std::mem::take(&mut self.held) {
                self.start(key);
            }
        }
    }

    fn report_ack(&mut self, ack: ReportAck) {
        for (id, seq) in ack.tasks.iter().zip(ack.seqs) {
            let key = TaskKey::from(id);
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            // A number that was never sent acknowledges nothing.
            if seq > task.acked_seq && seq <= task.due_seq() {
                task.acked_seq = seq;
                if task.acked_seq == task.due_seq() {
                    self.clear_report_timer(key);
                    self.forget_if_settled(key);
                }
            }
        }
    }
}
