//! What must have come before a job runs. A job behind a closed gate is pending and has nothing to place; the tick opens it, a
//! bounded number of jobs each time, and wakes its class. So neither the queues nor the planner know of gates.

use hesuan_ledger::types::Timestamp;

use super::State;
use crate::command::SubmitJob;
use crate::instant::{Span, Utc};
use crate::outcome::{Effect, Nearest, Rejection};
use crate::types::{Gates, JobId};

/// How far ahead `not before` may lie: what nobody waits for should not lie in State.
const NOT_BEFORE_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// Jobs opened by one tick.
const GATES_STEP: usize = 1_000;

/// Gates of a job that are closed. There is at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Its `not before`, until a tick has seen that time come.
    pub until: Option<Timestamp>,
}

impl State {
    /// The gates that are closed for a job submitted now.
    pub(super) fn judge_gates(&self, job: &SubmitJob, at: Timestamp) -> Result<Option<Box<Waits>>, Rejection> {
        if job.gates == Gates::NONE {
            return Ok(None);
        }
        let until = job.gates.not_before.filter(|not_before| *not_before > at);
        if let Some(until) = until {
            self.judge_not_before(job, until, at)?;
        }
        if let Some(done_by) = job.gates.done_by {
            judge_done_by(done_by, job.walltime_ms_max, until, at)?;
        }
        let waits = Waits { until };
        Ok((waits != Waits::default()).then(|| Box::new(waits)))
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
            self.close_if_over(id, at);
            effects.push(Effect::JobChanged(id));
        }
    }

    /// When a gate opens or a job is given up by time; a time that has passed means now.
    pub(super) fn gates_due(&self) -> Option<Timestamp> {
        let opens = self.index.opening.first().map(|(not_before, _)| *not_before);
        let overdue = self.index.overdue.first();
        let overdue = overdue.map(|(latest, _)| Timestamp(latest.0.saturating_add(1)));
        opens.into_iter().chain(overdue).min()
    }

    /// Changes the closed gates of a job; with the last of them open its class hears of it.
    fn open(&mut self, id: JobId, effects: &mut Vec<Effect>, change: impl FnOnce(&mut Waits)) {
        self.change_job(id, |job| {
            let waits = job.waits.as_mut().expect("only closed gates are opened");
            change(waits);
            if **waits == Waits::default() {
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
