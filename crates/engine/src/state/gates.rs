//! What must have come before a job runs. A job behind a closed gate is pending and has nothing to place; the tick opens it, a
//! bounded number of jobs each time, and wakes its class. So neither the queues nor the planner know of gates.

use hesuan_ledger::types::Timestamp;

use super::State;
use crate::command::SubmitJob;
use crate::instant::Utc;
use crate::outcome::{Effect, Rejection};
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

    /// When a gate opens by time; a time that has passed means now.
    pub(super) fn gates_due(&self) -> Option<Timestamp> {
        self.index.opening.first().map(|(not_before, _)| *not_before)
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
