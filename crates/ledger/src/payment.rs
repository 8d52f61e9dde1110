//! Money that finance moves in the world, as the books are told of it: funders pay in, organisations pay back what they owe, funds are
//! repaid.
//!
//! The treasury is one sum of cash, and each part of it is somebody's. Deposits in wallets are their holders': nothing that is paid out takes the
//! treasury below them, and a withdrawal leaves all others' deposits, and what funders and payers have paid in for payees, where they are. A programme's
//! subsidies are paid out only when its own funders have paid in for them, each its own part. A fund is repaid from what debtors have paid back.

use std::collections::BTreeMap;

use crate::account::Account;
use crate::arithmetic::split;
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::party::{check_amount, check_text};
use crate::rejection::{Rejection, Subject};
use crate::tally::add;
use crate::types::{Fen, OrgId, ProgrammeId, Stamp};

/// What became of what was captured for one funder: net of all its lines = due + paid in − given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FunderAccount {
    /// Net of the lines of dropped periods.
    pub(crate) brought: Fen,
    pub(crate) paid_in: Fen,
    /// Refunded after it had been paid in: moved to the programme's recovery.
    pub(crate) given_back: Fen,
}

/// What became of what a provider earned: net of all its lines = receivable + paid + set off − owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProviderAccount {
    /// Net of the lines of dropped periods.
    pub(crate) brought: Fen,
    pub(crate) paid: Fen,
    /// Of what it owed, kept back from what it was to be paid.
    pub(crate) set_off: Fen,
    /// Refunded after it had been paid: moved to what it owes.
    pub(crate) owed: Fen,
}

impl Ledger {
    /// A funder of a programme, by its name, pays in what was called from it.
    pub fn pay_in(
        &mut self,
        programme: ProgrammeId,
        funder: &str,
        amount: Fen,
        reference: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let known = self.known_programme(programme)?;
        let place = known
            .funders
            .iter()
            .position(|known| &*known.name == funder)
            .ok_or_else(|| Rejection::unknown(Subject::Funder, funder))?;
        check_amount("amount", amount)?;
        check_text("reference", reference)?;
        let account = Account::Due(programme, place as u8);
        self.check_balance(account, amount)?;
        self.post(Account::Treasury, account, amount);
        self.change_funder((programme, place as u8), |funder| add(&mut funder.paid_in, amount));
        self.journal
            .facts([u64::from(programme.0), place as u64, amount.0 as u64]);
        self.journal.text(reference);
        self.write(EntryKind::PayIn, by);
        Ok(())
    }

    /// An organisation pays what it owes.
    pub fn collect(&mut self, org: OrgId, amount: Fen, reference: &str, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_org(org)?;
        check_amount("amount", amount)?;
        check_text("reference", reference)?;
        self.check_balance(Account::Owes(org), amount)?;
        self.post(Account::Treasury, Account::Owes(org), amount);
        self.journal.facts([u64::from(org.0), amount.0 as u64]);
        self.journal.text(reference);
        self.write(EntryKind::Collect, by);
        Ok(())
    }

    /// The funds of a programme get back what had been paid in and was refunded or recovered.
    pub fn repay_fund(
        &mut self,
        programme: ProgrammeId,
        amount: Fen,
        reference: &str,
        by: impl Into<Stamp>,
    ) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_programme(programme)?;
        check_amount("amount", amount)?;
        check_text("reference", reference)?;
        self.check_balance(Account::Recovery(programme), amount)?;
        check_cash(amount, Fen(self.treasury_free().0 - self.for_payees().0))?;
        self.post(Account::Recovery(programme), Account::Treasury, amount);
        self.journal.facts([u64::from(programme.0), amount.0 as u64]);
        self.journal.text(reference);
        self.write(EntryKind::RepayFund, by);
        Ok(())
    }

    /// What the treasury may pay out without touching deposits in wallets.
    pub fn treasury_free(&self) -> Fen {
        let money = &self.journal.totals.money;
        let deposits = money[Account::Wallet(OrgId(0)).kind()] + money[Account::WalletHeld(OrgId(0)).kind()];
        Fen((i128::from(self.treasury.0) - deposits).max(0) as i64)
    }

    // What was paid in for providers and holders and has not been paid out to them.
    fn for_payees(&self) -> Fen {
        let sum = |account: Account| self.journal.totals.money[account.kind()];
        let owed = sum(Account::Receivable(OrgId(0))) + sum(Account::Claim(OrgId(0)));
        Fen((owed - sum(Account::Due(ProgrammeId(0), 0))).max(0) as i64)
    }

    /// Of what a refund takes back from a funder: the part it has not paid in yet. The rest, which is owed back to the fund, is
    /// remembered.
    pub(crate) fn take_due(&mut self, programme: ProgrammeId, funder: u8, back: Fen) -> Fen {
        let part = back.min(self.money(Account::Due(programme, funder)));
        if part < back {
            let rest = Fen(back.0 - part.0);
            self.change_funder((programme, funder), |funder| add(&mut funder.given_back, rest));
        }
        part
    }

    /// Of what a refund takes back from a provider: the part it has not been paid yet. The rest, which it owes from now on, is
    /// remembered.
    pub(crate) fn take_receivable(&mut self, provider: OrgId, back: Fen) -> Fen {
        let part = back.min(self.money(Account::Receivable(provider)));
        if part < back {
            let rest = Fen(back.0 - part.0);
            self.change_provider(provider, |provider| add(&mut provider.owed, rest));
        }
        part
    }

    /// Refuses an amount over the balance of an account that is to be paid.
    pub(crate) fn check_balance(&self, account: Account, needed: Fen) -> Result<(), Rejection> {
        let available = self.money(account);
        if needed > available {
            return Err(Rejection::OverBalance {
                account,
                needed,
                available,
            });
        }
        Ok(())
    }

    /// Refuses a payment that would be made from deposits.
    pub(crate) fn check_treasury(&self, needed: Fen) -> Result<(), Rejection> {
        check_cash(needed, self.treasury_free())
    }

    /// Refuses a withdrawal of what was paid out to a provider before it was refunded, and that the provider has not paid back: it would be made from the
    /// deposits of others, or from what was paid in for payees.
    pub(crate) fn check_withdrawal(&self, org: OrgId, needed: Fen) -> Result<(), Rejection> {
        let sum = |account: Account| self.journal.totals.money[account.kind()];
        let own = i128::from(self.money(Account::Wallet(org)).0);
        let others = sum(Account::Wallet(org)) + sum(Account::WalletHeld(org)) - own;
        let left = i128::from(self.treasury.0) - others - i128::from(self.for_payees().0);
        check_cash(needed, Fen(left.clamp(0, own) as i64))
    }

    /// Refuses to pay a provider while funders of a programme on its sheet have not paid in all that was called from them up to that period.
    pub(crate) fn check_paid_in(&self, period: u32, provider: OrgId) -> Result<(), Rejection> {
        let mut nets: BTreeMap<ProgrammeId, i64> = BTreeMap::new();
        for (key, tally) in self.tallies(period) {
            if key.programme != ProgrammeId(0) && self.paid_provider(key) == Some(provider) {
                *nets.entry(key.programme).or_default() += tally.net().0;
            }
        }
        for (programme, _) in nets.into_iter().filter(|(_, net)| *net > 0) {
            let mut due = self.known_programme(programme)?.due.clone();
            let later = self.periods_after(period).flat_map(|later| self.tallies(later.number));
            for (_, tally) in later.filter(|(key, _)| key.programme == programme && key.of > period) {
                for (due, part) in due.iter_mut().zip(tally.parts()) {
                    due.0 -= part.0;
                }
            }
            self.check_due(programme, &due)?;
        }
        Ok(())
    }

    /// Refuses to pay a claim while a funder of the programme has not paid in its part. Once the claim is paid, no funder may be behind with more than
    /// its share of what holders have to get still: then each has paid for its own part, and none for another's.
    pub(crate) fn check_claim_paid_in(&self, programme: ProgrammeId, cash: Fen) -> Result<(), Rejection> {
        if cash == Fen::ZERO {
            return Ok(());
        }
        let of_programme = self.claimable.iter().filter(|((_, of), _)| *of == programme);
        let owed: i64 = of_programme
            .map(|(_, account)| account.claimable.0 + account.filed.0)
            .sum();
        let known = self.known_programme(programme)?;
        let later = split(Fen(owed - cash.0), &known.weights());
        let due: Vec<Fen> = known
            .due
            .iter()
            .zip(later)
            .map(|(due, later)| Fen(due.0 - later.0))
            .collect();
        self.check_due(programme, &due)
    }

    // Names the funders that have something to pay in first: what is above zero, in their order.
    fn check_due(&self, programme: ProgrammeId, due: &[Fen]) -> Result<(), Rejection> {
        let funders = self.known_programme(programme)?.funders.iter().zip(due);
        let behind = funders.filter(|(_, due)| **due > Fen::ZERO);
        let funders: Vec<(Box<str>, Fen)> = behind.map(|(funder, due)| (funder.name.clone(), *due)).collect();
        if funders.is_empty() {
            return Ok(());
        }
        Err(Rejection::FundersDue { programme, funders })
    }

    pub(crate) fn change_funder(&mut self, key: (ProgrammeId, u8), change: impl FnOnce(&mut FunderAccount)) {
        let mut account = self.funder_accounts.get(&key).copied().unwrap_or_default();
        change(&mut account);
        self.funder_accounts.insert(key, account);
    }

    pub(crate) fn change_provider(&mut self, provider: OrgId, change: impl FnOnce(&mut ProviderAccount)) {
        let mut account = self.provider_accounts.get(&provider).copied().unwrap_or_default();
        change(&mut account);
        self.provider_accounts.insert(provider, account);
    }
}

fn check_cash(needed: Fen, available: Fen) -> Result<(), Rejection> {
    let available = available.max(Fen::ZERO);
    if needed > available {
        return Err(Rejection::TreasuryShort { needed, available });
    }
    Ok(())
}
