//! What must have come before a job runs. A job behind a closed gate is pending and has nothing to place; the tick opens it, a
//! bounded number of jobs each time, and wakes its class. So neither the queues nor the planner know of gates.

use hesuan_ledger::types::Timestamp;

use super::after::{Elements, Wait};
use super::{Job, State};
use crate::command::SubmitJob;
use crate::instant::{Span, Utc};
use crate::outcome::{Effect, Nearest, Rejection};
use crate::types::{Gates, JobId, PrincipalId};

/// How far ahead `not before` may lie: what nobody waits for should not lie in State.
const NOT_BEFORE_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// Jobs opened by one tick.
pub(super) const GATES_STEP: usize = 1_000;

/// Gates of a job that are closed. There is at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Its `not before`, until a tick has seen that time come.
    pub until: Option<Timestamp>,
    /// Jobs it waits for.
    pub on: Vec<Wait>,
    /// Tasks that wait for one of their own; the others do not wait for any.
    pub(super) held: u32,
}

impl Waits {
    /// Whether it holds anything back.
    pub(super) fn is_closed(&self) -> bool {
        self.until.is_some() || !self.on.is_empty()
    }

    /// Whether no task may be placed, rather than some of them.
    #[must_use]
    pub fn close_all(&self) -> bool {
        self.until.is_some() || self.on.iter().any(|wait| wait.elements.is_none())
    }

    /// Whether the task waits for one of its own.
    pub(super) fn holds(&self, task: u32) -> bool {
        let mut elements = self.on.iter().filter_map(|wait| wait.elements.as_ref());
        elements.any(|elements| elements.held.has(task))
    }

    pub(super) fn elements_mut(&mut self, on: JobId) -> Option<&mut Elements> {
        let wait = self.on.iter_mut().find(|wait| wait.on.job == on)?;
        wait.elements.as_mut()
    }

    /// A task that waited is given up: it waits for nothing any more.
    pub(super) fn let_go(&mut self, task: u32) {
        for elements in self.on.iter_mut().filter_map(|wait| wait.elements.as_mut()) {
            elements.held.take(task);
        }
        self.held -= 1;
    }
}

impl State {
    /// The gates that are closed for a job submitted now.
    pub(super) fn judge_gates(
        &self,
        principal: PrincipalId,
        job: &SubmitJob,
        at: Timestamp,
    ) -> Result<Option<Box<Waits>>, Rejection> {
        if job.gates == Gates::NONE {
            return Ok(None);
        }
        let until = self.judge_times(job, at)?;
        let on = self.judge_after(principal, job)?;
        let by_element = on.iter().any(|wait| wait.elements.is_some());
        let held = if by_element { job.tasks } else { 0 };
        let waits = Waits { until, on, held };
        Ok(waits.is_closed().then(|| Box::new(waits)))
    }

    /// The time it waits for, if that has not passed.
    pub(super) fn judge_times(&self, job: &SubmitJob, at: Timestamp) -> Result<Option<Timestamp>, Rejection> {
        let until = job.gates.not_before.filter(|not_before| *not_before > at);
        if let Some(until) = until {
            self.judge_not_before(job, until, at)?;
        }
        if let Some(done_by) = job.gates.done_by {
            judge_done_by(done_by, job.walltime_ms_max, until, at)?;
        }
        Ok(until)
    }

    // One that has passed is no mistake: clocks differ, and a script is sent again later.
    fn judge_not_before(&self, job: &SubmitJob, until: Timestamp, at: Timestamp) -> Result<(), Rejection> {
        let field = "spec.not_before_ms";
        if until.0 - at.0 > NOT_BEFORE_MS_MAX {
            let latest = Utc(Timestamp(at.0.saturating_add(NOT_BEFORE_MS_MAX)));
            let text = format!(
                "{field} is {} ({}); allowed is up to {latest}, 366 days from now: submit it later",
                until.0,
                Utc(until)
            );
            return Err(Rejection::invalid("OUT_OF_RANGE", field, text));
        }
        let quote = job.quote.and_then(|quote| {
            let id = hesuan_ledger::types::QuoteId(quote);
            Some((quote, self.tables.ledger.bound_quote(id)?.expires_at))
        });
        if let Some((quote, expires_at)) = quote.filter(|(_, expires_at)| *expires_at <= until) {
            let text = format!(
                "{field} is {}, and quote {quote} ends at {}: its price would be gone; begin before that, or submit without the quote",
                Utc(until),
                Utc(expires_at)
            );
            return Err(Rejection::precondition("QUOTE_ENDS_BEFORE", field, text));
        }
        Ok(())
    }

    /// Opens what time opens, a bounded number of jobs.
    pub(super) fn open_gates(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for _ in 0..GATES_STEP {
            let Some(&(not_before, id)) = self.index.opening.first() else {
                return;
            };
            if not_before > at {
                return;
            }
            self.open(id, effects, |waits| waits.until = None);
        }
    }

    /// Gives up the pending tasks of jobs that could not end in time any more, a bounded number of jobs.
    pub(super) fn end_overdue(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for _ in 0..GATES_STEP {
            let Some(&(latest, id)) = self.index.overdue.first() else {
                return;
            };
            if latest >= at {
                return;
            }
            self.change_job(id, |job| {
                let pending = job.give_up_pending();
                job.progress_mut().deadline += pending;
            });
            self.close_if_over(id, at, effects);
            effects.push(Effect::JobChanged(id));
        }
    }

    /// Why tasks of a job were given up by the cluster before they ran: a stable code and a line for people.
    #[must_use]
    pub fn given_up_because(&self, job: &Job) -> Option<(&'static str, String)> {
        let (progress, gates) = (job.progress(), job.spec.gates());
        if let Some(unmet) = progress.unmet {
            return Some(("DEPENDENCY", unmet.to_string()));
        }
        let done_by = gates.done_by.filter(|_| progress.deadline > 0)?;
        let walltime_ms_max = self.request(job).walltime_ms_max;
        let latest = gates.latest_start(walltime_ms_max)?;
        let text = format!(
            "to be done by {} with a time limit of {} it had to be placed by {}",
            Utc(done_by),
            Span(walltime_ms_max),
            Utc(latest)
        );
        Some(("DONE_BY", text))
    }

    /// When a gate opens or a job is given up by time; a time that has passed means now.
    pub(super) fn gates_due(&self) -> Option<Timestamp> {
        let opens = self.index.opening.first().map(|(not_before, _)| *not_before);
        let overdue = self.index.overdue.first();
        let overdue = overdue.map(|(latest, _)| Timestamp(latest.0.saturating_add(1)));
        let told = self.has_to_tell().then_some(Timestamp(0));
        opens.into_iter().chain(overdue).chain(told).min()
    }

    /// A job that is new may wait for the tasks of one that has ended: the tick tells it which.
    pub(super) fn settle_ended(&mut self, new: &Job) {
        for wait in new.waits().into_iter().flat_map(|waits| &waits.on) {
            if self.job(wait.on.job).is_some_and(|job| job.state().is_ended()) {
                self.index.settling.insert(wait.on.job);
            }
        }
    }

    /// Changes the closed gates of a job; with the last of them open its class hears of it.
    pub(super) fn open(&mut self, id: JobId, effects: &mut Vec<Effect>, change: impl FnOnce(&mut Waits)) {
        self.change_job(id, |job| {
            let waits = job.waits.as_mut().expect("only closed gates are opened");
            change(waits);
            if !waits.is_closed() {
                job.waits = None;
            }
        });
        effects.push(Effect::JobChanged(id));
        let job = self.job(id).expect("just changed");
        if job.placeable() > 0 {
            effects.push(Effect::ClassWoken(job.class));
        }
    }
}

// What would do instead is the longest time limit that still fits, or the earliest time to be done by.
fn judge_done_by(
    done_by: Timestamp,
    walltime_ms_max: u64,
    not_before: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), Rejection> {
    let field = "spec.done_by_ms";
    let start = not_before.unwrap_or(at);
    let earliest = Timestamp(start.0.saturating_add(walltime_ms_max));
    if earliest <= done_by {
        return Ok(());
    }
    let left_ms = done_by.0.saturating_sub(start.0);
    let (code, text) = if done_by <= at {
        let text = format!("{field} is {}, which has passed: it is {} now", Utc(done_by), Utc(at));
        ("DONE_BY_PAST", text)
    } else {
        let text = format!(
            "{field} is {}; placed at {} at the earliest and taking up to {}, it could not be sure to end by then",
            Utc(done_by),
            Utc(start),
            Span(walltime_ms_max)
        );
        ("DONE_BY_TOO_SOON", text)
    };
    let mut details = vec![("done_by_ms", earliest.0.to_string().into())];
    let mut would_do = format!("done by {} or later", Utc(earliest));
    if left_ms > 0 {
        details.push(("walltime_ms_max", left_ms.to_string().into()));
        would_do.push_str(&format!(", or a time limit of {} or less", Span(left_ms)));
    }
    Err(Rejection {
        nearest: Some(Box::new(Nearest {
            code: "LATER_OR_SHORTER",
            details,
            text: would_do.into(),
        })),
        ..Rejection::precondition(code, field, text)
    })
}
