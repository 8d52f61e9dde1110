//! Settlements: what a closed period's sheet makes payable to one provider. Closed, then reviewed by one principal, then paid by another.

use crate::account::Account;
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::party::check_text;
use crate::rejection::{Rejection, SettlementRule, Subject};
use crate::tally::add;
use crate::types::{Fen, OrgId, Stamp};

/// What one provider is paid for one closed period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The period.
    pub period: u32,
    /// The provider.
    pub provider: OrgId,
    /// The net of its sheet; below zero where the corrections outweigh the use.
    pub net: Fen,
    /// Who reviewed it, and when.
    pub reviewed: Option<Stamp>,
    /// How it was paid.
    pub paid: Option<Payment>,
}

/// A payment out of the treasury.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Who paid, and when.
    pub by: Stamp,
    /// In cash.
    pub cash: Fen,
    /// Kept back against what the payee owed.
    pub set_off: Fen,
}

impl Ledger {
    /// The settlement of a provider for a closed period; there is one when it has lines in it.
    pub fn settlement(&self, period: u32, provider: OrgId) -> Option<&Settlement> {
        self.settlements.get(&(period, provider))
    }

    /// Settlements of kept periods after one of a period and a provider, by period and provider.
    pub fn settlements_after(&self, period: u32, provider: OrgId) -> impl Iterator<Item = &Settlement> {
        let from = (period, OrgId(provider.0.saturating_add(1)));
        self.settlements.range(from..).map(|(_, settlement)| settlement)
    }

    /// A settlement is found right.
    pub fn review_settlement(&mut self, period: u32, provider: OrgId, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let refused = |rule| Err(Rejection::settlement(period, provider, rule));
        let known = self.known_settlement(period, provider)?;
        if known.paid.is_some() {
            return refused(SettlementRule::Paid);
        }
        if known.reviewed.is_some() {
            return refused(SettlementRule::Reviewed);
        }
        self.settlement_mut(period, provider).reviewed = Some(by);
        self.journal.facts([u64::from(period), u64::from(provider.0)]);
        self.write(EntryKind::ReviewSettlement, by);
        Ok(())
    }

    /// A reviewed settlement is paid, by another principal than its reviewer; a provider's settlements are paid in order. What the
    /// provider owes is set off first; then it gets what it has earned, later periods aside. Returns the cash, which may be none.
    pub fn pay_settlement(
        &mut self,
        period: u32,
        provider: OrgId,
        reference: &str,
        by: impl Into<Stamp>,
    ) -> Result<Fen, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_text("reference", reference)?;
        let refused = |rule| Err(Rejection::settlement(period, provider, rule));
        let known = self.known_settlement(period, provider)?;
        if known.paid.is_some() {
            return refused(SettlementRule::Paid);
        }
        let Some(review) = known.reviewed else {
            return refused(SettlementRule::NotReviewed);
        };
        if review.actor == by.actor {
            return Err(Rejection::SamePrincipal { actor: by.actor });
        }
        let unpaid = |settlement: &&Settlement| settlement.provider == provider && settlement.paid.is_none();
        let first = self.settlements_after(0, OrgId(0)).find(unpaid);
        if let Some(earlier) = first.filter(|first| first.period < period) {
            return refused(SettlementRule::OutOfOrder(earlier.period));
        }
        let (cash, set_off) = self.payable(period, provider);
        if cash > Fen::ZERO {
            self.check_paid_in(period, provider)?;
            self.check_treasury(cash)?;
        }

        self.post(Account::Receivable(provider), Account::Owes(provider), set_off);
        self.post(Account::Receivable(provider), Account::Treasury, cash);
        self.change_provider(provider, |account| {
            add(&mut account.paid, cash);
            add(&mut account.set_off, set_off);
        });
        self.settlement_mut(period, provider).paid = Some(Payment { by, cash, set_off });
        self.journal
            .facts([u64::from(period), u64::from(provider.0), cash.0 as u64]);
        self.journal.text(reference);
        self.write(EntryKind::PaySettlement, by);
        Ok(cash)
    }

    /// What paying a settlement comes to now: in cash, and set off against what the provider owes. Refunds have been taken from what
    /// it has to receive as they were made, whatever their period; so what is left of that, less what belongs to later periods, is
    /// what the sheets up to this one still make payable: net of the sheet, with what an earlier payment had to leave.
    pub fn payable(&self, period: u32, provider: OrgId) -> (Fen, Fen) {
        let receivable = self.money(Account::Receivable(provider));
        let set_off = receivable.min(self.money(Account::Owes(provider)));
        let later: i64 = self
            .periods_after(period)
            .map(|later| match later.closed {
                Some(_) => self
                    .settlement(later.number, provider)
                    .map_or(0, |settlement| settlement.net.0),
                None => self.earned(later.number).get(&provider).map_or(0, |net| net.0),
            })
            .sum();
        let cash = receivable.0 - set_off.0 - later.max(0);
        (Fen(cash.max(0)), set_off)
    }

    /// Of what paying a settlement comes to, what is not paid already with the provider's earlier ones, which come first: in cash, and set off.
    pub fn payable_after_earlier(&self, period: u32, provider: OrgId) -> (Fen, Fen) {
        let earlier = |known: &&Settlement| known.provider == provider && known.paid.is_none() && known.period < period;
        let before = self.settlements_after(0, OrgId(0)).filter(earlier).last();
        let (cash, set_off) = self.payable(period, provider);
        let Some(before) = before else { return (cash, set_off) };
        let (cash_before, set_off_before) = self.payable(before.period, provider);
        let rest = |all: Fen, before: Fen| Fen((all.0 - before.0).max(0));
        (rest(cash, cash_before), rest(set_off, set_off_before))
    }

    fn known_settlement(&self, period: u32, provider: OrgId) -> Result<&Settlement, Rejection> {
        self.known_org(provider)?;
        let known = self.known_period(period)?;
        if known.closed.is_none() {
            return Err(Rejection::period(period, crate::rejection::PeriodRule::Open));
        }
        self.settlement(period, provider)
            .ok_or_else(|| Rejection::unknown(Subject::Settlement, format!("{period} of organisation {provider}")))
    }

    fn settlement_mut(&mut self, period: u32, provider: OrgId) -> &mut Settlement {
        self.settlements
            .get_mut(&(period, provider))
            .expect("the caller found it")
    }
}
