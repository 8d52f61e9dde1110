//! Removing the directories of settled tasks: the oldest first, when there are too many or they are too old.

use std::collections::VecDeque;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::Shared;
use crate::clock;
use crate::task::TaskKey;

/// A task whose end the cluster has.
pub(super) struct Forgotten {
    pub(super) task: TaskKey,
}

/// Longest sleep between two looks at ages.
const LOOK_MS_MAX: u64 = 60_000;

/// Runs until the backend is dropped. Ages count from now: a restart keeps directories a little longer, never shorter.
pub(super) fn remove_old(shared: &Shared, forgotten: &Receiver<Forgotten>) {
    let mut kept: VecDeque<(u64, TaskKey)> = VecDeque::new();
    loop {
        match forgotten.recv_timeout(Duration::from_millis(shared.config.kept_ms_max.clamp(1, LOOK_MS_MAX))) {
            Ok(Forgotten { task }) => kept.push_back((clock::now_ms(), task)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now_ms = clock::now_ms();
        while kept.front().is_some_and(|(since_ms, _)| {
            kept.len() > shared.config.kept_tasks_max || now_ms.saturating_sub(*since_ms) >= shared.config.kept_ms_max
        }) {
            let (_, task) = kept.pop_front().expect("the front was just looked at");
            if let Err(error) = fs::remove_dir_all(shared.task_directory(task))
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%task, %error, "old task directory not removed");
            }
        }
    }
}
