//! The name of one placement, or of one node of it, as a key and as a directory.

use std::fmt;
use std::str::FromStr;

use hesuan_api::internal::v1::TaskId;

/// One placement of one task, or one node of a gang's. A key is started at most once, ever; the order is by job, then task, attempt,
/// restore epoch and node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskKey {
    /// The job's id.
    pub job: u64,
    /// Index in the array, 0 for a single job.
    pub task: u32,
    /// Counts the placements of this task; fences old reports.
    pub attempt: u32,
    /// Counts restores of the cluster from a backup; fences everything from before.
    pub restore_epoch: u32,
    /// Rank of the node in its gang; 0 also stands for the whole of it, and for a task on one host.
    pub node: u32,
}

impl TaskKey {
    /// The same placement's node of this rank.
    #[must_use]
    pub fn with_node(self, node: u32) -> TaskKey {
        TaskKey { node, ..self }
    }

    /// The placement as a whole.
    #[must_use]
    pub fn whole(self) -> TaskKey {
        self.with_node(0)
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}-a{}-e{}",
            self.job, self.task, self.attempt, self.restore_epoch
        )?;
        if self.node > 0 {
            write!(f, "-n{}", self.node)?;
        }
        Ok(())
    }
}

/// The text is not a task's directory name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a task name: want JOB.TASK-aATTEMPT-eEPOCH, of a gang's further nodes with -nRANK")]
pub struct TaskKeyError;

impl FromStr for TaskKey {
    type Err = TaskKeyError;

    fn from_str(text: &str) -> Result<TaskKey, TaskKeyError> {
        let parse = || {
            let (job, rest) = text.split_once('.')?;
            let (task, rest) = rest.split_once("-a")?;
            let (attempt, rest) = rest.split_once("-e")?;
            let (epoch, node) = rest.split_once("-n").unwrap_or((rest, "0"));
            Some(TaskKey {
                job: job.parse().ok()?,
                task: task.parse().ok()?,
                attempt: attempt.parse().ok()?,
                restore_epoch: epoch.parse().ok()?,
                node: node.parse().ok()?,
            })
        };
        // Only the canonical spelling counts, so that one placement has one directory.
        parse().filter(|key| key.to_string() == text).ok_or(TaskKeyError)
    }
}

impl From<TaskKey> for TaskId {
    fn from(key: TaskKey) -> TaskId {
        TaskId {
            job: key.job,
            task: key.task,
            attempt: key.attempt,
            restore_epoch: key.restore_epoch,
        }
    }
}

impl From<&TaskId> for TaskKey {
    fn from(id: &TaskId) -> TaskKey {
        TaskKey {
            job: id.job,
            task: id.task,
            attempt: id.attempt,
            restore_epoch: id.restore_epoch,
            node: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_as_the_same_key_and_only_in_one_spelling() {
        let key = TaskKey {
            job: 4711,
            task: 7,
            attempt: 2,
            restore_epoch: 1,
            node: 0,
        };
        assert_eq!(key.to_string(), "4711.7-a2-e1");
        assert_eq!("4711.7-a2-e1".parse(), Ok(key));
        assert_eq!("4711.7-a2-e1-n3".parse(), Ok(key.with_node(3)));
        for bad in [
            "",
            "4711",
            "4711.7-a2",
            "04711.7-a2-e1",
            "4711.+7-a2-e1",
            "x.7-a2-e1",
            "4711.7-a2-e1 ",
            "4711.7-a2-e1-n0",
            "4711.7-a2-e1-n03",
        ] {
            assert_eq!(bad.parse::<TaskKey>(), Err(TaskKeyError), "{bad}");
        }
    }
}
