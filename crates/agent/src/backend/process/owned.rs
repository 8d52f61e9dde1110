//! What is there when the daemon starts: every task directory is looked at once, and what still runs is adopted.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use hesuan_api::internal::v1::TaskEnd;

use super::start::open_control;
use super::{Shared, Supervised, read_exit};
use crate::core::{Observed, ObservedState, Outcome, StopSignal};
use crate::supervisor::spec::{Claim, read_record};
use crate::task::TaskKey;

impl Shared {
    pub(super) fn list_owned(&self) -> io::Result<Vec<Observed>> {
        let mut owned = Vec::new();
        for entry in fs::read_dir(self.tasks_directory())? {
            // Anything else in there is not ours.
            if let Some(task) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                owned.push(Observed {
                    task,
                    state: self.look_at(task),
                });
            }
        }
        owned.sort_unstable_by_key(|observed| observed.task);
        Ok(owned)
    }

    fn look_at(&self, task: TaskKey) -> ObservedState {
        let directory = self.task_directory(task);
        if let Some(outcome) = read_exit(&directory) {
            return ObservedState::Ended(outcome);
        }
        // That it opens proves that a supervisor lives, and its end will be seen here from now on.
        if let Ok(control) = open_control(&directory) {
            let mut supervised = Supervised { control };
            if let Some(started_ms) = started_ms(&directory) {
                self.watch(task, supervised);
                return ObservedState::Running { started_ms };
            }
            // Not begun: below it is kept from beginning, and should it be in the very middle of it, this ends the task.
            supervised.command(task, StopSignal::Kill);
        }
        // It may have ended between the first look and now.
        ObservedState::Ended(read_exit(&directory).unwrap_or_else(|| {
            let outcome = self.clear_up(task, &directory);
            // A start that was revoked in time is as unprovable to the cluster as any other: the agent promised nothing but "once".
            Outcome {
                end: TaskEnd::Lost,
                ..outcome
            }
        }))
    }
}

/// When the task's supervisor claimed it; `None` when nobody has. A claim being written is waited for.
fn started_ms(directory: &Path) -> Option<u64> {
    let path = directory.join("claim.json");
    for _ in 0..100 {
        if let Some(claim) = read_record::<Claim>(&path) {
            return claim.supervisor.map(|_| claim.started_ms);
        }
        if !path.exists() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}
