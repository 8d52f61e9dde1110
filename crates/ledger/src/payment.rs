//! Money that finance moves in the world, as the books are told of it: funders pay in, organisations pay back what they owe, funds are
//! repaid. Deposits in wallets are ring-fenced: nothing but a withdrawal may take the treasury below them.

use crate::account::Account;
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
        self.check_treasury(amount)?;
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
        let available = self.treasury_free();
        if needed > available {
            return Err(Rejection::TreasuryShort { needed, available });
        }
        Ok(())
    }

    /// Refuses a withdrawal of money that was paid out to a provider before it was refunded, and that the provider has not paid back.
    pub(crate) fn check_cash(&self, needed: Fen) -> Result<(), Rejection> {
        let available = self.treasury;
        if needed > available {
            return Err(Rejection::TreasuryShort { needed, available });
        }
        Ok(())
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
