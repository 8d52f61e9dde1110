//! The time limit of a running attempt changes: more time is asked and paid for, or the money behind it ended. The next attempt of
//! the task begins with what the job asked for again.

use hesuan_ledger::types::{HoldKey, Stamp, Timestamp};

use super::access::{Kind, Scope, judge_scope};
use super::nearest::more_money;
use super::{Attempt, Job, JobState, State};
use crate::outcome::{Effect, Rejection, Reply};
use crate::types::{JobId, PrincipalId, TaskId};

impl State {
    /// Gives a running task `more_ms`, if its payer can pay for them. Without `task` exactly one task of the job has to run.
    pub(super) fn extend_job(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        id: JobId,
        task: Option<u32>,
        more_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let Some(job) = self.job(id) else {
            let text = format!("no job {}; it may have ended and left for the archive", id.0);
            return Err(Rejection::not_found("UNKNOWN_JOB", "job_id", text));
        };
        judge_scope(self, principal, Kind::Submit, Scope::Org(self.request(job).org))?;
        let (task, attempt) = match task {
            Some(task) => self.running_task(id, job, task)?,
            None => self.only_running_task(id, job)?,
        };
        judge_wanted(job, task, attempt)?;
        self.check_longer(task, attempt.walltime_ms_max, more_ms)?;
        let by = Stamp { at, actor: principal.0 };
        let hold = attempt.hold;
        let extended = self.tables.ledger.extend(hold, more_ms, by);
        let walltime_ms_max = extended.map_err(|refused| Rejection {
            nearest: more_money(&refused).map(Box::new),
            ..self.refused(refused)
        })?;
        self.set_limit(task, walltime_ms_max, effects);
        Ok(Reply::Extended {
            task: task.task,
            walltime_ms_max,
        })
    }

    /// The ledger gave these holds another limit, in milliseconds. One that has passed already stops its task at once.
    pub(crate) fn limits_changed(&mut self, changed: &[(HoldKey, u64)], effects: &mut Vec<Effect>) {
        for (key, walltime_ms_max) in changed {
            let attempts = self.attempts(JobId(key.job), key.task);
            let found = attempts
                .take_while(|(id, _)| id.task == key.task)
                .find(|(id, attempt)| id.attempt == key.attempt && attempt.is_running())
                .map(|(id, _)| id);
            // A hold that changed and then ended in one step has no attempt that runs.
            if let Some(id) = found {
                self.set_limit(id, *walltime_ms_max, effects);
            }
        }
    }

    fn set_limit(&mut self, id: TaskId, walltime_ms_max: u64, effects: &mut Vec<Effect>) {
        let attempt = self.attempt_mut(id);
        if attempt.walltime_ms_max == walltime_ms_max {
            return;
        }
        attempt.walltime_ms_max = walltime_ms_max;
        let site = attempt.site;
        effects.push(Effect::LimitChanged { site, task: id });
        effects.push(Effect::JobChanged(id.job));
    }

    fn running_task(&self, id: JobId, job: &Job, task: u32) -> Result<(TaskId, &Attempt), Rejection> {
        if task >= job.spec.tasks {
            let text = format!("task is {task}; job {} has the tasks 0 to {}", id.0, job.spec.tasks - 1);
            return Err(Rejection::not_found("UNKNOWN_TASK", "task", text));
        }
        let last = self.attempts(id, task).take_while(|(id, _)| id.task == task).last();
        if let Some((id, attempt)) = last
            && attempt.is_running()
        {
            return Ok((id, attempt));
        }
        // Without an attempt it was given up while it waited.
        let given_up = if job.progress().deadline > 0 {
            JobState::Deadline
        } else {
            JobState::Cancelled
        };
        let state = last.map_or(given_up, |(_, attempt)| attempt.state());
        let waits = job.is_pending(task) || job.waits().is_some_and(|waits| waits.holds(task));
        let text = if waits {
            format!(
                "{}[{task}] waits to be placed; only a running task gets more time",
                id.0
            )
        } else {
            format!(
                "{}[{task}] is over ({state:?}); only a running task gets more time",
                id.0
            )
        };
        Err(Rejection::precondition("NOT_RUNNING", "task", text))
    }

    fn only_running_task(&self, id: JobId, job: &Job) -> Result<(TaskId, &Attempt), Rejection> {
        let first = self.attempts(id, 0).find(|(_, attempt)| attempt.is_running());
        match (job.progress().running, first) {
            (1, Some(only)) => Ok(only),
            (running, Some((first, _))) => {
                let text = format!(
                    "{running} tasks of job {0} run and each is extended by itself: name one, such as {0}[{1}]",
                    id.0, first.task
                );
                Err(Rejection::precondition("TASK_MISSING", "task", text))
            }
            (_, None) => {
                let text = format!("job {} is {:?}; only a running task gets more time", id.0, job.state());
                Err(Rejection::precondition("NOT_RUNNING", "job_id", text))
            }
        }
    }

    fn check_longer(&self, task: TaskId, now_ms: u64, more_ms: u64) -> Result<(), Rejection> {
        let most_ms = self.tables.limits.walltime_ms_max;
        let room_ms = most_ms.saturating_sub(now_ms);
        if (1..=room_ms).contains(&more_ms) {
            return Ok(());
        }
        let allowed = if room_ms == 0 {
            "no more is allowed".to_owned()
        } else {
            format!("allowed are 1 to {room_ms}")
        };
        let text = format!(
            "more_ms is {more_ms} ms; {}[{}] may take {now_ms} ms and the cluster allows {most_ms} in all, so {allowed}",
            task.job.0, task.task
        );
        Err(Rejection::invalid("OUT_OF_RANGE", "more_ms", text))
    }
}

/// What is about to be stopped is not worth more money.
fn judge_wanted(job: &Job, id: TaskId, attempt: &Attempt) -> Result<(), Rejection> {
    let why = if job.progress().cancel_requested {
        "its job was cancelled"
    } else if attempt.withdrawn {
        "its site is being drained, and it is placed again elsewhere"
    } else {
        return Ok(());
    };
    let text = format!("{}[{}] is being stopped: {why}", id.job.0, id.task);
    Err(Rejection::precondition("BEING_STOPPED", "task", text))
}
