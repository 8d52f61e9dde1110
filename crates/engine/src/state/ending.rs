//! How an attempt ends: capacity is freed, the hold is settled or released, the job moves on — in one step, whichever way
//! it ended and whoever said so. Nothing here can fail.

use hesuan_ledger::types::{Fen, Timestamp};

use super::{Attempt, Ended, Job, JobState, Receipt, State};
use crate::outcome::Effect;
use crate::types::{JobId, TaskId};

/// What is known of the end of an attempt, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) bill: Bill,
    pub(super) next: Next,
    /// The state shown for the attempt; the task's too if it is final.
    pub(super) state: JobState,
    pub(super) exit_code: i32,
    pub(super) signal: u32,
    pub(super) cpu_ms: u64,
    pub(super) memory_peak_mib: u64,
    pub(super) message: Box<str>,
    /// The agent could not run it or lost it.
    pub(super) agent_fault: bool,
    /// Its site was lost.
    pub(super) site_lost: bool,
}

/// What the payer owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bill {
    /// The reserved vector for this wall time, as the agent measured it; capped here.
    Wall(u64),
    /// Nothing: the provider's fault.
    Nothing,
}

/// What becomes of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits to be placed again (unless the job was cancelled meanwhile).
    Requeue,
    /// Again if it has an attempt left after an end of this cause.
    Retry,
    /// It is over.
    Final,
}

impl Ending {
    /// Not billed, and placed again: its site was emptied.
    pub(super) fn given_back(message: &str) -> Self {
        Self {
            next: Next::Requeue,
            ..Self::gone(message)
        }
    }

    /// Not billed, and placed again if it has an attempt left: the agent failed.
    pub(super) fn agent_fault(message: &str) -> Self {
        Self {
            next: Next::Retry,
            agent_fault: true,
            ..Self::gone(message)
        }
    }

    /// Not billed, and placed again if it has an attempt left: the site was lost.
    pub(super) fn site_lost(message: &str) -> Self {
        Self {
            next: Next::Retry,
            site_lost: true,
            ..Self::gone(message)
        }
    }

    /// Not billed, and over.
    pub(super) fn gone(message: &str) -> Self {
        Self {
            bill: Bill::Nothing,
            next: Next::Final,
            state: JobState::Lost,
            exit_code: 0,
            signal: 0,
            cpu_ms: 0,
            memory_peak_mib: 0,
            message: message.into(),
            agent_fault: false,
            site_lost: false,
        }
    }
}

impl State {
    /// Ends a running attempt.
    ///
    /// # Panics
    /// When it does not run: a hold ends exactly once, and so does what it pays for.
    pub(super) fn end_attempt(&mut self, id: TaskId, at: Timestamp, ending: Ending, effects: &mut Vec<Effect>) {
        let attempt = self.attempt(id).expect("an attempt that ends is in State");
        assert!(attempt.is_running(), "an attempt ends exactly once");
        let ended = attempt.clone();
        let (hold, placed_at) = (attempt.hold, attempt.placed_at);
        let walltime_ms_max = attempt.walltime_ms_max;
        let job = self.job(id.job).expect("an attempt has a job");
        let request = self.request(job).clone();

        let wall_ms = match ending.bill {
            Bill::Wall(wall_ms) => wall_ms.min(at.0.saturating_sub(placed_at.0)).min(walltime_ms_max),
            Bill::Nothing => 0,
        };
        let receipt = self.end_hold(hold, ending.bill, wall_ms, at);
        let hosts = self.free_places(id, &request.resources);
        self.index.attempt_ended(id, &ended, &request);
        self.count_ended(&request, Timestamp(placed_at.0 + wall_ms), at);

        let costs = receipt
            .as_ref()
            .map_or((Fen::ZERO, Fen::ZERO, Fen::ZERO), |r| (r.gross, r.subsidy(), r.copay));
        let (state, exit_code) = (ending.state, ending.exit_code);
        let next = ending.next;
        self.attempt_mut(id).ended = Some(Box::new(Ended {
            at,
            state,
            exit_code,
            signal: ending.signal,
            wall_ms,
            cpu_ms: ending.cpu_ms,
            memory_peak_mib: ending.memory_peak_mib,
            message: ending.message,
            receipt,
            refunded: Fen::ZERO,
            agent_fault: ending.agent_fault,
            site_lost: ending.site_lost,
        }));
        let again = match next {
            Next::Requeue => true,
            Next::Retry => self.has_retry_left(id),
            Next::Final => false,
        };
        self.change_job(id.job, |job| {
            let progress = job.progress_mut();
            progress.running -= 1;
            progress.gross.0 += costs.0.0;
            progress.subsidy.0 += costs.1.0;
            progress.copay.0 += costs.2.0;
            if state != JobState::Lost {
                progress.exit_code = exit_code;
            }
            match (again, progress.cancel_requested, state) {
                (true, false, _) => {
                    progress.returned.insert(id.task);
                }
                (true, true, _) | (false, _, JobState::Cancelled) => progress.cancelled += 1,
                (false, _, JobState::Succeeded) => progress.succeeded += 1,
                (false, _, JobState::TimeLimit) => progress.time_limit += 1,
                (false, _, JobState::Lost) => progress.lost += 1,
                (false, _, _) => progress.failed += 1,
            }
        });
        self.close_if_over(id.job, at, effects);
        effects.push(Effect::JobChanged(id.job));
        if !self.job(id.job).is_some_and(|job| job.is_pending(id.task)) {
            self.tell_followers(id.job, id.task, state == JobState::Succeeded, at, effects);
        }
        effects.extend(hosts.into_iter().map(Effect::HostChanged));
        effects.push(Effect::FundsChanged(request.org));
        let job = self.job(id.job).expect("found above");
        // A slot of an array that was at its bound is as good as a new task.
        if job.placeable() > 0 && (again || job.spec.parallel_max > 0) {
            effects.push(Effect::ClassWoken(job.class));
        }
    }

    // One call of the ledger: the capture and the release of the rest are one step there.
    fn end_hold(
        &mut self,
        hold: hesuan_ledger::types::HoldId,
        bill: Bill,
        wall_ms: u64,
        at: Timestamp,
    ) -> Option<Receipt> {
        let open = "a running attempt has an open hold";
        if bill == Bill::Nothing {
            self.tables.ledger.release(hold, at).expect(open);
            return None;
        }
        #[cfg(feature = "planted")]
        if self.planted == super::Planted::CaptureWithoutRelease {
            return Some(kept(self.tables.ledger.clone().settle(hold, wall_ms, at).expect(open)));
        }
        Some(kept(self.tables.ledger.settle(hold, wall_ms, at).expect(open)))
    }

    /// Notes when the last task of a job has ended. What a binding quote still holds for it is given back.
    pub(super) fn close_if_over(&mut self, id: JobId, at: Timestamp, effects: &mut Vec<Effect>) {
        let job = self.job(id).expect("the caller has it");
        if job.progress().ended_at.is_none() && job.state().is_ended() {
            self.job_mut(id).progress_mut().ended_at = Some(at);
            self.index.ended.insert((at, id));
            self.index.settle(id);
            self.give_quote_back(id, at, effects);
        }
    }

    /// Changes a job and what the indexes say of it.
    pub(super) fn change_job(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        let job = self.tables.jobs.get_mut(id.0).expect("the caller has it");
        let before = u64::from(job.pending());
        change(job);
        self.index.pending_total = self.index.pending_total - before + u64::from(job.pending());
        let job = self.tables.jobs.get(id.0).expect("found above");
        self.index.requeue(id, job, &self.tables.class(job.class).request);
    }

    /// Whether the task, whose attempt `id` has just ended, may have another after an end of this cause.
    fn has_retry_left(&self, id: TaskId) -> bool {
        let ended = |attempt: &Attempt| attempt.ended.as_deref().and_then(Ended::cause);
        let Some(cause) = self.attempt(id).and_then(ended) else {
            return false;
        };
        let job = self.job(id.job).expect("an attempt has a job");
        let Some(most) = job.spec.retries_after(cause) else {
            return true;
        };
        let attempts = self
            .attempts(id.job, id.task)
            .take_while(|(found, _)| found.task == id.task);
        let so_far = attempts.filter(|(_, attempt)| ended(attempt) == Some(cause)).count();
        so_far <= most as usize
    }

    pub(super) fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.tables.jobs.get_mut(id.0).expect("the caller has it")
    }

    pub(super) fn attempt_mut(&mut self, id: TaskId) -> &mut Attempt {
        self.tables.attempts.get_mut(&id).expect("the caller has it")
    }
}

fn kept(receipt: hesuan_ledger::Receipt) -> Receipt {
    Receipt {
        gross: receipt.gross,
        legs: receipt.legs.into(),
        copay: receipt.copay,
    }
}
