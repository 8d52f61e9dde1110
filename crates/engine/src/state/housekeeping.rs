//! What time alone brings: request ids, vouchers and quotes that expire, sites being swept, graces that end, ended jobs that
//! leave for the archive. Each tick does a bounded piece of it; [`State::next_due`] says when there is more.

use hesuan_ledger::types::{SiteId, Timestamp};

use super::State;
use super::archive::{ATTEMPTS_PER_RECORD, JobRecord};
use crate::outcome::{ArchiveRecord, Effect, Reply};
use crate::types::{JobId, TaskId};

/// Request ids dropped by one tick.
const REQUESTS_STEP: usize = 10_000;
/// Vouchers and quotes expired by one tick.
const EXPIRIES_STEP: usize = 500;
/// Jobs and attempts archived by one tick.
const ARCHIVE_STEP: usize = 1_000;
/// Ended jobs leave this much later than they may, so that they do not ask for a tick each.
const ARCHIVE_GRAIN_MS: u64 = 2_000;

impl State {
    pub(super) fn tick(&mut self, at: Timestamp, effects: &mut Vec<Effect>) -> Reply {
        let limits = self.tables.limits;
        self.tables.requests.expire(at, &limits, REQUESTS_STEP);
        let expired = self.tables.ledger.expire_due(at, EXPIRIES_STEP);
        self.limits_changed(&expired.limits_changed, effects);
        effects.extend(expired.funds_grew.into_iter().map(Effect::FundsChanged));
        if expired.budgets_grew {
            effects.push(Effect::RulesChanged);
        }
        let sites: Vec<SiteId> = self.sites().map(|site| site.id).collect();
        for id in sites {
            self.sweep_site(id, at, effects);
            self.end_grace(id, at, effects);
        }
        self.tell_reclaimed(at, effects);
        self.open_gates(at, effects);
        self.end_overdue(at, effects);
        self.tell_dependents(at, effects);
        self.archive_ended(at, effects);
        Reply::Done
    }

    /// When a tick has work, if nothing else happens. A time that has passed means now.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let sites = self.sites().filter_map(|site| {
            if site.sweep_from.is_some() {
                Some(Timestamp(0))
            } else {
                self.grace_ends(site)
            }
        });
        let ended = self.index.ended.first().map(|(ended_at, _)| {
            let limits = &self.tables.limits;
            if self.index.ended.len() as u64 > limits.ended_jobs_max {
                return Timestamp(0);
            }
            Timestamp(
                ended_at
                    .0
                    .saturating_add(limits.ended_job_keep_ms)
                    .saturating_add(ARCHIVE_GRAIN_MS),
            )
        });
        let others = [
            self.gates_due(),
            self.reclaims_due(),
            self.tables.requests.next_due(&self.tables.limits),
            self.tables.ledger.next_expiry(),
            ended,
        ];
        sites.chain(others.into_iter().flatten()).min()
    }

    fn archive_ended(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        let limits = self.tables.limits;
        let mut budget = ARCHIVE_STEP;
        while budget > 0 {
            let Some(&(ended_at, id)) = self.index.ended.first() else {
                return;
            };
            // It stays until whoever waits for it knows how it ended; the next tick goes on telling.
            if self.index.settling.contains(&id) {
                return;
            }
            let over = self.index.ended.len() as u64 > limits.ended_jobs_max;
            if !over && ended_at.0.saturating_add(limits.ended_job_keep_ms) > at.0 {
                return;
            }
            budget = budget.saturating_sub(self.archive_part(id, effects));
        }
    }

    // A job with many attempts leaves in parts, so that neither a tick nor a record grows with it. Gives the work done.
    fn archive_part(&mut self, id: JobId, effects: &mut Vec<Effect>) -> usize {
        let mut attempts: Vec<TaskId> = self
            .attempts(id, 0)
            .map(|(id, _)| id)
            .take(ATTEMPTS_PER_RECORD + 1)
            .collect();
        let is_last = attempts.len() <= ATTEMPTS_PER_RECORD;
        attempts.truncate(ATTEMPTS_PER_RECORD);
        let record = JobRecord::of(self, id, &attempts, is_last);
        let record = prost::Message::encode_to_vec(&record).into();
        effects.push(Effect::Archive(ArchiveRecord::Job { job: id, record }));
        self.tables.meta.archived += 1;
        for attempt in &attempts {
            self.tables.attempts.remove(attempt);
        }
        if is_last {
            self.forget_job(id);
        } else {
            self.job_mut(id).progress_mut().archived_parts += 1;
        }
        attempts.len() + 1
    }
}
