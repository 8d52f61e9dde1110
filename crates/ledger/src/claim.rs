//! Claims: what a holder advanced under a holder-redeemed programme and asks back. Filed by the holder, reviewed by one principal, paid by
//! another. A refund takes first what was not claimed, then cuts the claims that are not paid yet, the latest first.

use crate::account::Account;
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::party::{check_amount, check_reason, check_text};
use crate::programme::Redemption;
use crate::rejection::{ClaimRule, Rejection, Subject};
use crate::settlement::Payment;
use crate::tally::add;
use crate::types::{ClaimId, Fen, OrgId, ProgrammeId, Stamp};

/// The most claims of one holder under one programme that may wait at once: a refund looks at each of them.
pub const CLAIMS_OPEN_MAX: usize = 32;

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Dense, from 1.
    pub id: ClaimId,
    /// Who claims.
    pub holder: OrgId,
    /// What it is claimed from.
    pub programme: ProgrammeId,
    /// As filed.
    pub amount: Fen,
    /// Of it, refunded meanwhile.
    pub cut: Fen,
    /// Who filed it, and when.
    pub filed: Stamp,
    /// Who reviewed it, and when.
    pub reviewed: Option<Stamp>,
    /// Where it is in its life.
    pub state: ClaimState,
    /// The period in which it was paid, refused or cut to nothing; 0 before.
    pub finished_in: u32,
}

/// Where a claim is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Waits for its review.
    Filed,
    /// Waits for its payment.
    Approved,
    /// Refused by its reviewer; the amount may be claimed again.
    Refused {
        /// Why.
        reason: Box<str>,
    },
    /// Paid.
    Paid(Payment),
    /// Cut to nothing by refunds.
    Void,
}

/// What a holder has to claim under one programme: net of all its legs = claimable + filed + paid − owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claimable {
    /// Not claimed yet.
    pub claimable: Fen,
    /// In claims that wait for their review or payment.
    pub filed: Fen,
    /// Paid, in cash or set off.
    pub paid: Fen,
    /// Refunded after it had been paid: the holder owes it.
    pub owed: Fen,
}

impl Claim {
    /// What is to be paid.
    pub fn due(&self) -> Fen {
        Fen(self.amount.0 - self.cut.0)
    }

    /// Whether it waits for its review or its payment.
    pub fn is_open(&self) -> bool {
        matches!(self.state, ClaimState::Filed | ClaimState::Approved)
    }
}

impl Ledger {
    /// A claim that is kept.
    pub fn claim(&self, id: ClaimId) -> Option<&Claim> {
        self.claims.get(id.0)
    }

    /// Kept claims with ids above `after`, by id.
    pub fn claims_after(&self, after: ClaimId) -> impl Iterator<Item = &Claim> {
        self.claims.iter_from(after.0.saturating_add(1)).map(|(_, claim)| claim)
    }

    /// What a holder has to claim, by programme.
    pub fn claimable(&self, holder: OrgId) -> impl Iterator<Item = (ProgrammeId, &Claimable)> {
        let all = (holder, ProgrammeId(0))..=(holder, ProgrammeId(u32::MAX));
        let range = self.claimable.range(all);
        range.map(|((_, programme), claimable)| (*programme, claimable))
    }

    /// A holder claims an amount (`None` = all it has to claim) of what it advanced under a programme.
    pub fn file_claim(
        &mut self,
        holder: OrgId,
        programme: ProgrammeId,
        amount: Option<Fen>,
        by: impl Into<Stamp>,
    ) -> Result<ClaimId, Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_org(holder)?;
        if self.known_programme(programme)?.redemption != Redemption::Holder {
            let allowed = "a programme that pays its holders";
            return Err(Rejection::invalid("programme", programme, allowed));
        }
        let mut account = self.claimable.get(&(holder, programme)).copied().unwrap_or_default();
        let available = account.claimable;
        let amount = amount.unwrap_or(available);
        if available == Fen::ZERO || amount > available {
            return Err(Rejection::ClaimTooLarge {
                holder,
                programme,
                needed: amount,
                available,
            });
        }
        check_amount("amount", amount)?;
        if self.open_claims_of(holder, programme).count() >= CLAIMS_OPEN_MAX {
            return Err(Rejection::TooManyClaims {
                holder,
                programme,
                allowed: CLAIMS_OPEN_MAX,
            });
        }
        account.claimable.0 -= amount.0;
        account.filed.0 += amount.0;
        self.claimable.insert((holder, programme), account);
        let id = ClaimId(self.claims.next_id());
        self.claims.push(Claim {
            id,
            holder,
            programme,
            amount,
            cut: Fen::ZERO,
            filed: by,
            reviewed: None,
            state: ClaimState::Filed,
            finished_in: 0,
        });
        self.open_claims.insert((holder, programme, id), ());
        self.journal
            .facts([id.0, u64::from(holder.0), u64::from(programme.0), amount.0 as u64]);
        self.write(EntryKind::FileClaim, by);
        Ok(id)
    }

    /// A claim is found right, or refused; by another principal than who filed it.
    pub fn review_claim(
        &mut self,
        id: ClaimId,
        approve: bool,
        reason: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        if approve {
            check_text("reason", reason)?;
        } else {
            check_reason("reason", reason)?;
        }
        let claim = self.known_claim(id)?;
        if let Some(rule) = claim.over().or(claim.reviewed.map(|_| ClaimRule::Reviewed)) {
            return Err(Rejection::claim(id, rule));
        }
        if claim.filed.actor == by.actor {
            return Err(Rejection::SamePrincipal { actor: by.actor });
        }
        let (key, due) = ((claim.holder, claim.programme), claim.due());
        self.roll_periods(by);
        self.claim_mut(id).reviewed = Some(by);
        if approve {
            self.claim_mut(id).state = ClaimState::Approved;
        } else {
            let account = self.claimable_mut(key);
            account.filed.0 -= due.0;
            account.claimable.0 += due.0;
            self.finish_claim(id, ClaimState::Refused { reason: reason.into() });
        }
        self.journal.facts([id.0, u64::from(approve)]);
        self.journal.text(reason);
        self.write(EntryKind::ReviewClaim, by);
        Ok(())
    }

    /// An approved claim is paid, by another principal than its reviewer; what the holder owes is set off. Returns the cash.
    pub fn pay_claim(&mut self, id: ClaimId, reference: &str, by: impl Into<Stamp>) -> Result<Fen, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_text("reference", reference)?;
        let claim = self.known_claim(id)?;
        if let Some(rule) = claim.over() {
            return Err(Rejection::claim(id, rule));
        }
        let Some(review) = claim.reviewed else {
            return Err(Rejection::claim(id, ClaimRule::NotReviewed));
        };
        if review.actor == by.actor {
            return Err(Rejection::SamePrincipal { actor: by.actor });
        }
        let (holder, programme, due) = (claim.holder, claim.programme, claim.due());
        let set_off = due.min(self.money(Account::Owes(holder)));
        let cash = Fen(due.0 - set_off.0);
        self.check_claim_paid_in(programme, cash)?;
        self.check_treasury(cash)?;

        self.roll_periods(by);
        self.post(Account::Claim(holder), Account::Owes(holder), set_off);
        self.post(Account::Claim(holder), Account::Treasury, cash);
        let account = self.claimable_mut((holder, programme));
        account.filed.0 -= due.0;
        add(&mut account.paid, due);
        self.finish_claim(id, ClaimState::Paid(Payment { by, cash, set_off }));
        self.journal.fact(id.0);
        self.journal.text(reference);
        self.write(EntryKind::PayClaim, by);
        Ok(cash)
    }

    /// A holder may claim what was captured for it.
    pub(crate) fn credit_claim(&mut self, holder: OrgId, programme: ProgrammeId, amount: Fen) {
        match self.claimable.get_mut(&(holder, programme)) {
            Some(account) => add(&mut account.claimable, amount),
            None => {
                let account = Claimable {
                    claimable: amount,
                    ..Claimable::default()
                };
                self.claimable.insert((holder, programme), account);
            }
        }
    }

    /// Of what a refund takes back from a holder under a holder-redeemed programme: the part it has not been paid yet, of which its open
    /// claims are cut where nothing else is left. The rest, which it owes from now on, is remembered.
    pub(crate) fn take_claim(&mut self, holder: OrgId, programme: ProgrammeId, back: Fen) -> Fen {
        let key = (holder, programme);
        let account = self.claimable_mut(key);
        let free = back.min(account.claimable);
        let filed = Fen(back.0 - free.0).min(account.filed);
        let rest = Fen(back.0 - free.0 - filed.0);
        account.claimable.0 -= free.0;
        account.filed.0 -= filed.0;
        add(&mut account.owed, rest);
        let mut left = filed;
        let open: Vec<ClaimId> = self.open_claims_of(holder, programme).collect();
        for id in open.into_iter().rev() {
            let claim = self.claim_mut(id);
            let cut = left.min(claim.due());
            claim.cut.0 += cut.0;
            left.0 -= cut.0;
            if claim.due() == Fen::ZERO {
                self.finish_claim(id, ClaimState::Void);
            }
        }
        assert!(
            left == Fen::ZERO,
            "claims of holder {holder} under programme {programme} are {left} fen short of what is filed"
        );
        Fen(free.0 + filed.0)
    }

    fn finish_claim(&mut self, id: ClaimId, state: ClaimState) {
        let period = self.current_number();
        let claim = self.claim_mut(id);
        claim.state = state;
        claim.finished_in = period;
        let key = (claim.holder, claim.programme, id);
        self.open_claims.remove(&key);
        self.finished_claims.insert((period, id), ());
    }

    fn open_claims_of(&self, holder: OrgId, programme: ProgrammeId) -> impl Iterator<Item = ClaimId> {
        let all = (holder, programme, ClaimId(0))..=(holder, programme, ClaimId(u64::MAX));
        self.open_claims.range(all).map(|((_, _, id), ())| *id)
    }

    fn known_claim(&self, id: ClaimId) -> Result<&Claim, Rejection> {
        self.claim(id).ok_or_else(|| Rejection::unknown(Subject::Claim, id))
    }

    fn claim_mut(&mut self, id: ClaimId) -> &mut Claim {
        self.claims.get_mut(id.0).expect("the caller found it")
    }

    fn claimable_mut(&mut self, key: (OrgId, ProgrammeId)) -> &mut Claimable {
        self.claimable
            .get_mut(&key)
            .expect("what is claimed or refunded was captured first")
    }
}

impl Claim {
    fn over(&self) -> Option<ClaimRule> {
        match self.state {
            ClaimState::Filed | ClaimState::Approved => None,
            ClaimState::Refused { .. } => Some(ClaimRule::Refused),
            ClaimState::Paid(_) => Some(ClaimRule::Paid),
            ClaimState::Void => Some(ClaimRule::Void),
        }
    }
}
