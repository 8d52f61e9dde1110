//! What is there when the daemon starts: every task directory is looked at once, and what still runs is adopted.

use std::fs;
use std::io;

use hesuan_api::internal::v1::TaskEnd;

use super::start::open_alive;
use super::{Shared, read_exit};
use crate::core::{Observed, ObservedState, Outcome};
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
        // Opened before the supervisor is looked for: if it lives after this, its end will be seen here.
        let alive = open_alive(&directory);
        let claim = read_record::<Claim>(&directory.join("claim.json"));
        if let (
            Some(Claim {
                supervisor: Some(supervisor),
                started_ms,
            }),
            Ok(alive),
        ) = (claim, alive)
            && supervisor.alive(&self.boot_id)
        {
            self.watch(task, None, alive);
            return ObservedState::Running { started_ms };
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
