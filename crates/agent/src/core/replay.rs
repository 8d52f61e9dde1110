//! Coming up: the journal and the backend's findings are put together. And the way back: what a rewritten journal must hold.

use hesuan_api::internal::v1::TaskEnd;

use super::{Core, JournalRecord, Observed, ObservedState, Outcome, Output, StopSignal, Task, TaskState, Told};
use std::collections::BTreeMap;

use crate::task::TaskKey;

impl Core {
    pub(super) fn replay(&mut self, journal: Vec<JournalRecord>, owned: Vec<Observed>) {
        for record in journal {
            self.replay_record(record);
        }
        self.restore_epoch = self.seen.restore_epoch;
        let mut owned: BTreeMap<TaskKey, ObservedState> = owned
            .into_iter()
            .map(|observed| (observed.task, observed.state))
            .collect();
        let known: Vec<(TaskKey, u32)> = self.tasks.iter().map(|(key, task)| (*key, task.nodes())).collect();
        for (key, nodes) in known {
            let nodes = (0..nodes).map(|node| owned.remove(&key.with_node(node)));
            let found: Vec<Option<ObservedState>> = nodes.collect();
            self.adopt(key, found);
        }
        for (task, state) in owned {
            match state {
                // Nothing here says that it should run; only a damaged journal can bring this about.
                ObservedState::Running { .. } => self.outputs.push(Output::Signal {
                    task,
                    signal: StopSignal::Kill,
                }),
                ObservedState::Ended(_) => self.outputs.push(Output::Forget { task }),
            }
        }
    }

    fn replay_record(&mut self, record: JournalRecord) {
        match record {
            JournalRecord::Start {
                task,
                lease_bound,
                walltime_ms_max,
                nodes,
                seen,
            } => {
                self.seen = self.seen.max(seen);
                let told = Told {
                    walltime_ms_max,
                    at: seen,
                };
                let started = Task::new(lease_bound, told, nodes, TaskState::Starting);
                self.tasks.entry(task).or_insert(started);
            }
            JournalRecord::Limit {
                task,
                walltime_ms_max,
                seen,
            } => {
                self.seen = self.seen.max(seen);
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.walltime_ms_max = walltime_ms_max;
                    task.told = Told {
                        walltime_ms_max,
                        at: seen,
                    };
                    task.limit_changed = true;
                }
            }
            JournalRecord::Stop { task, reason } => {
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.stop = Some(reason);
                }
            }
            JournalRecord::Ended { task, outcome } => {
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.state = TaskState::Ended(outcome);
                }
            }
            JournalRecord::Done { task, seen } => {
                self.seen = self.seen.max(seen);
                self.tasks.remove(&task);
            }
            JournalRecord::Seen { seen } => self.seen = self.seen.max(seen),
        }
    }

    /// What was found of each node, by rank.
    fn adopt(&mut self, key: TaskKey, found: Vec<Option<ObservedState>>) {
        if self.tasks[&key].has_ended() {
            self.report_soon(key);
            return;
        }
        #[cfg(feature = "planted")]
        if self.config.planted == super::Planted::StartTwiceAfterCrash && found.iter().all(Option::is_none) {
            self.tasks.remove(&key);
            return;
        }
        let started = found.iter().flatten().filter_map(|state| match state {
            ObservedState::Running { started_ms } => Some(*started_ms),
            ObservedState::Ended(_) => None,
        });
        if let Some(started_ms) = started.min() {
            self.adopt_running(key, started_ms);
        }
        for (node, state) in (0..).zip(found) {
            let outcome = match state {
                Some(ObservedState::Running { .. }) => continue,
                Some(ObservedState::Ended(outcome)) => outcome,
                // Journalled, but nobody can say whether it ran.
                None => Outcome::unused(
                    TaskEnd::Lost,
                    "the agent stopped between journalling the start and seeing the task run",
                ),
            };
            self.node_ended(key.with_node(node), outcome);
        }
    }

    fn adopt_running(&mut self, key: TaskKey, started_ms: u64) {
        let task = &self.tasks[&key];
        let (stop, walltime_ms_max) = (task.stop, task.walltime_ms_max);
        let limit_changed = task.limit_changed;
        if task.lease_bound {
            self.leased.insert(key);
        }
        if limit_changed {
            // Its supervisor may have heard of it or not.
            self.tell_limit(key, walltime_ms_max);
        }
        self.started(key, started_ms);
        if stop.is_some() {
            // The signals may have been sent or not; the grace begins anew.
            self.terminate(key);
        }
    }

    /// The shortest journal from which everything comes back.
    pub(super) fn snapshot(&self) -> Vec<JournalRecord> {
        let mut records = vec![JournalRecord::Seen { seen: self.seen }];
        for (key, task) in &self.tasks {
            records.push(JournalRecord::Start {
                task: *key,
                lease_bound: task.lease_bound,
                walltime_ms_max: task.told.walltime_ms_max,
                nodes: task.nodes(),
                seen: task.told.at,
            });
            if task.limit_changed {
                records.push(JournalRecord::Limit {
                    task: *key,
                    walltime_ms_max: task.told.walltime_ms_max,
                    seen: task.told.at,
                });
            }
            if let Some(reason) = task.stop {
                records.push(JournalRecord::Stop { task: *key, reason });
            }
            if let TaskState::Ended(outcome) = &task.state {
                records.push(JournalRecord::Ended {
                    task: *key,
                    outcome: outcome.clone(),
                });
            }
        }
        records
    }
}
