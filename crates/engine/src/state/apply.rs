//! The one way in: judge the sender, look the request id up, perform the command, remember the answer. Total: what decodes
//! gives an outcome. The order of the checks is fixed, and nothing changes before the last of them has passed.

use hesuan_ledger::types::{Stamp, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{State, access};
use crate::command::{Body, Command};
use crate::outcome::{ArchiveRecord, Effect, Outcome, Rejection, Reply};
use crate::types::PrincipalId;

impl State {
    /// Starts an entry. Its time is never before that of the one before.
    ///
    /// # Panics
    /// When the entry was applied already: the caller has lost its place in the log.
    pub fn begin_entry(&mut self, index: u64, at: Timestamp) {
        let meta = &mut self.tables.meta;
        assert!(
            index > meta.applied_index,
            "entry {index} was applied already, the state is at {}",
            meta.applied_index
        );
        meta.applied_index = index;
        meta.at = meta.at.max(at);
        self.entry.clear();
    }

    /// Ends an entry: its outcomes go into the digest chain.
    ///
    /// # Panics
    /// When another entry was begun last.
    pub fn end_entry(&mut self, index: u64) {
        let meta = &mut self.tables.meta;
        assert_eq!(meta.applied_index, index, "an entry ends that was not begun");
        let mut hash = Sha256::new();
        hash.update(meta.outcome_digest);
        hash.update(index.to_be_bytes());
        hash.update(meta.at.0.to_be_bytes());
        hash.update(self.tables.ledger.journal_head().1);
        hash.update(&self.entry);
        meta.outcome_digest = hash.finalize().into();
        self.entry.clear();
    }

    /// Applies one command of the entry begun last. A rejection has changed nothing.
    pub fn apply(&mut self, at: Timestamp, command: &Command, effects: &mut Vec<Effect>) -> Outcome {
        let at = self.tables.meta.at.max(at);
        let before = effects.len();
        let outcome = match self.judge_and_perform(at, command, effects) {
            Ok((reply, repeated)) => Outcome {
                reply: Ok(reply),
                repeated,
            },
            Err(rejection) => {
                assert_eq!(effects.len(), before, "a rejection has no effects");
                Outcome {
                    reply: Err(rejection),
                    repeated: false,
                }
            }
        };
        for entry in self.tables.ledger.take_journal() {
            effects.push(Effect::Archive(ArchiveRecord::Journal(entry.encode().into())));
            self.tables.meta.archived += 1;
        }
        self.assert_cheap_invariants();
        fold(&mut self.entry, &outcome);
        outcome
    }

    fn judge_and_perform(
        &mut self,
        at: Timestamp,
        command: &Command,
        effects: &mut Vec<Effect>,
    ) -> Result<(Reply, bool), Rejection> {
        access::judge(self, command)?;
        let Some(id) = command.request_id else {
            let kind = access::kind_of(&command.body);
            // A member's number is its natural key: a second one of it is refused.
            let has_own_key = kind == access::Kind::Agent || matches!(command.body, Body::AddMember(_));
            if command.principal != PrincipalId::CLUSTER && !has_own_key {
                let text = "a request id is needed: 16 bytes, UUIDv7, made by the client and kept over its retries";
                return Err(Rejection::invalid("REQUEST_ID_MISSING", "request_id", text));
            }
            return Ok((self.perform(at, command, effects)?, false));
        };
        if let Some(reply) = self.tables.requests.judge(id, command, at, &self.tables.limits)? {
            return Ok((reply, true));
        }
        let reply = self.perform(at, command, effects)?;
        let dry_run = matches!(&command.body, Body::SubmitJob(job) if job.validate_only);
        if !dry_run {
            self.tables.requests.remember(id, command, reply);
        }
        Ok((reply, false))
    }

    fn perform(&mut self, at: Timestamp, command: &Command, effects: &mut Vec<Effect>) -> Result<Reply, Rejection> {
        let principal = command.principal;
        match &command.body {
            Body::SubmitJob(job) => self.submit_job(principal, at, job, effects),
            Body::BindQuote { job, valid_ms } => self.bind_quote(principal, at, job, *valid_ms),
            Body::ReleaseQuote { quote } => {
                let by = Stamp { at, actor: principal.0 };
                self.release_quote(principal, *quote, by, effects)
            }
            Body::CancelJob { job, reason } => self.cancel_job(principal, at, *job, reason, effects),
            Body::ExtendJob { job, task, more_ms } => self.extend_job(principal, at, *job, *task, *more_ms, effects),
            Body::Money(money) => self.move_money(principal, at, money, effects),
            Body::CreateSite { name, region, provider } => {
                self.create_site(principal, at, name, *region, provider, effects)
            }
            Body::SetSiteState { site, state, reason } => {
                self.set_site_state(principal, at, site, *state, reason, effects)
            }
            Body::SetContract { site, contract } => self.set_contract(principal, site, contract, effects),
            Body::SetQuota { org, most } => self.set_quota(org, most, effects),
            Body::CreatePrincipal(new) => self.create_principal(new, effects),
            Body::RevokePrincipal { name } => self.revoke_principal(principal, name, effects),
            Body::SetLimits(change) => self.set_limits(change),
            Body::SetPolicy(change) => self.set_policy(at, change, effects),
            Body::AttachAgent {
                site,
                instance,
                replica,
                hosts,
            } => self.attach_agent(principal, at, site, *instance, *replica, hosts, effects),
            Body::Reports(reports) => self.take_reports(principal, at, reports, effects),
            Body::Decisions(decisions) => Ok(self.take_decisions(at, decisions, effects)),
            Body::Reclaims(reclaims) => Ok(self.take_reclaims(at, reclaims, effects)),
            Body::SiteLost { site, instance } => self.lose_site(at, *site, *instance, effects),
            Body::Tick => Ok(self.tick(at, effects)),
            Body::AddMember(member) => self.add_member(member, effects),
            Body::SetLevel(level) => self.set_level(*level),
        }
    }
}

// Enough to tell outcomes apart that a client would act on; never read back. Texts are left out: a release may word them better.
fn fold(into: &mut Vec<u8>, outcome: &Outcome) {
    let mut number = |n: u64| into.extend_from_slice(&n.to_be_bytes());
    number(outcome.repeated.into());
    match &outcome.reply {
        Ok(reply) => {
            let (tag, first, second) = reply.numbers();
            number(tag.into());
            number(first);
            number(second.into());
        }
        Err(rejection) => {
            number(0);
            for text in [rejection.code, &*rejection.field] {
                into.extend_from_slice(&(text.len() as u64).to_be_bytes());
                into.extend_from_slice(text.as_bytes());
            }
            for (site, code, _) in &rejection.sites {
                for text in [&**site, *code] {
                    into.extend_from_slice(&(text.len() as u64).to_be_bytes());
                    into.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}
