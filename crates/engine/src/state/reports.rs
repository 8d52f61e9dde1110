//! What agents say of their tasks. Reports are cumulative, numbered and repeated until judged: each costs only itself, and
//! one of an attempt that is not the running one is refused for good.

use hesuan_ledger::types::{SiteId, Timestamp};

use super::access::{Kind, Scope, judge_scope};
use super::ending::{Bill, Ending, Next};
use super::{JobState, State};
use crate::command::{EndKind, TaskEnd, TaskEvent, TaskReport};
use crate::outcome::{Effect, Rejection, Reply};
use crate::types::{PrincipalId, TaskId};

const MESSAGE_BYTES_MAX: usize = 256;
const PREEMPTED: &str = "the own users of the site needed its place";

impl State {
    pub(super) fn take_reports(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        reports: &[TaskReport],
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let site = match self.principal(principal).and_then(|principal| principal.site) {
            Some(site) => site,
            None => {
                return Err(Rejection::denied(
                    "PERMISSION_DENIED",
                    "only the agent of a site reports of its tasks",
                ));
            }
        };
        judge_scope(self, principal, Kind::Agent, Scope::Site(site))?;
        let (mut taken, mut refused) = (0, 0);
        for report in reports {
            match self.take_report(site, at, report, effects) {
                Some(()) => taken += 1,
                None => refused += 1,
            }
            // Taken or not, it is judged: the agent may forget it.
            effects.push(Effect::ReportJudged {
                site,
                task: report.task,
                seq: report.seq,
            });
        }
        Ok(Reply::Counts { taken, refused })
    }

    fn take_report(
        &mut self,
        site: SiteId,
        at: Timestamp,
        report: &TaskReport,
        effects: &mut Vec<Effect>,
    ) -> Option<()> {
        let id = self.reported(report)?;
        let attempt = self.attempt(id)?;
        let is_news = attempt.is_running() && attempt.site == site && report.seq > attempt.seq;
        #[cfg(feature = "planted")]
        let is_news = is_news || (id != report.task && attempt.is_running());
        if !is_news {
            return None;
        }
        assert!(id == report.task, "a report of {:?} is taken for {id:?}", report.task);
        let attempt = self.attempt_mut(id);
        attempt.seq = report.seq;
        match &report.event {
            TaskEvent::Started => {
                attempt.started_at.get_or_insert(at);
                effects.push(Effect::JobChanged(id.job));
            }
            TaskEvent::Ended(end) => {
                let withdrawn = attempt.withdrawn;
                let told = attempt.reclaimed.is_some_and(|reclaimed| reclaimed.told);
                let cancelled = self.job(id.job).is_some_and(|job| job.progress().cancel_requested);
                self.end_attempt(id, at, ending(end, withdrawn, told, cancelled), effects);
            }
        }
        Some(())
    }

    // The attempt number fences: what is said of an older attempt is never said of the present one.
    fn reported(&self, report: &TaskReport) -> Option<TaskId> {
        #[cfg(feature = "planted")]
        if self.planted == super::Planted::StaleAttemptAccepted {
            let attempts = self.attempts(report.task.job, report.task.task);
            return attempts
                .take_while(|(id, _)| id.task == report.task.task)
                .map(|(id, _)| id)
                .last();
        }
        Some(report.task)
    }
}

/// What follows from the agent's words.
fn ending(end: &TaskEnd, withdrawn: bool, told: bool, cancelled: bool) -> Ending {
    let message = clipped(&end.message);
    let billed = Ending {
        bill: Bill::Wall(end.wall_ms),
        cpu_ms: end.cpu_ms,
        memory_peak_mib: end.memory_peak_mib,
        ..Ending::gone(message)
    };
    let unbilled = |ending: Ending| Ending {
        cpu_ms: end.cpu_ms,
        memory_peak_mib: end.memory_peak_mib,
        ..ending
    };
    let failed = Ending {
        state: JobState::Failed,
        next: Next::Retry,
        ..billed.clone()
    };
    match end.kind {
        EndKind::Exited(0) => Ending {
            state: JobState::Succeeded,
            ..billed
        },
        EndKind::Exited(exit_code) => Ending { exit_code, ..failed },
        EndKind::Signalled(signal) => Ending { signal, ..failed },
        EndKind::MemoryLimit => failed,
        EndKind::TimeLimit => Ending {
            state: JobState::TimeLimit,
            next: Next::Retry,
            ..billed
        },
        EndKind::StartFailed { by_user: true } => Ending {
            next: Next::Final,
            ..failed
        },
        EndKind::Cancelled if cancelled => Ending {
            state: JobState::Cancelled,
            ..billed
        },
        // What it used is paid: it was told in time, and may have saved what it has done.
        EndKind::Cancelled if told => Ending {
            state: JobState::Preempted,
            next: Next::Requeue,
            message: if message.is_empty() { PREEMPTED } else { message }.into(),
            ..billed
        },
        // Drained: the site wanted its machines back, so the user pays nothing and the task goes elsewhere.
        EndKind::Cancelled if withdrawn => unbilled(Ending::given_back(message)),
        EndKind::LeaseExpired => unbilled(Ending::site_lost(message)),
        EndKind::Cancelled | EndKind::StartFailed { by_user: false } | EndKind::Lost => {
            unbilled(Ending::agent_fault(message))
        }
    }
}

fn clipped(text: &str) -> &str {
    let end = (0..=MESSAGE_BYTES_MAX.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
