//! The one place where money moves: a transfer changes two balances, the trial balance and the entry being written, all at once.

use crate::account::{Account, KINDS, LAST_DEBIT_KIND};
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::types::{Fen, Grant};

/// The trial balance: per kind of account the sum of its balances, kept with every transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// In fen.
    pub(crate) money: [i128; KINDS],
    /// Of the grant accounts of programmes in unit-hours.
    pub(crate) units: [i128; KINDS],
    // Debits less credits of each.
    excess: [i128; 2],
}

impl Totals {
    #[inline(always)]
    pub(crate) fn add(&mut self, unit_hours: bool, account: Account, by: i64) {
        let totals = if unit_hours { &mut self.units } else { &mut self.money };
        totals[account.kind()] += i128::from(by);
        self.excess[usize::from(unit_hours)] += i128::from(if account.is_debit() { by } else { -by });
    }

    /// Whether debits and credits are equal, in fen and in unit-hours.
    pub(crate) fn are_balanced(&self) -> bool {
        self.excess == [0, 0]
    }

    /// Debits and credits in fen, then in unit-hours.
    pub(crate) fn sides(&self) -> [(i128, i128); 2] {
        [&self.money, &self.units].map(|totals| {
            let (debits, credits) = totals.split_at(LAST_DEBIT_KIND + 1);
            (debits.iter().sum(), credits.iter().sum())
        })
    }
}

impl Journal {
    /// Moves an amount between two accounts whose balances the caller has at hand: what pays a job changes the same few records again and again, and
    /// finding each once for all of its transfers is half the cost of them. Asserts that no balance falls below zero.
    // Inlined, the kinds of both accounts are known where it is called.
    #[inline(always)]
    pub(crate) fn transfer(
        &mut self,
        unit_hours: bool,
        (debit, debited): (Account, &mut i64),
        (credit, credited): (Account, &mut i64),
        amount: i64,
    ) {
        if amount != 0 {
            self.change(unit_hours, debit, debited, signed(debit.is_debit(), amount));
            self.change(unit_hours, credit, credited, signed(!credit.is_debit(), amount));
            self.note(debit, credit, amount);
        }
    }

    #[inline(always)]
    fn change(&mut self, unit_hours: bool, account: Account, balance: &mut i64, by: i64) {
        let after = balance.checked_add(by).filter(|after| *after >= 0);
        *balance = after.unwrap_or_else(|| panic!("{account} holds {balance} and is changed by {by}"));
        self.totals.add(unit_hours, account, by);
    }
}

#[inline(always)]
fn signed(grows: bool, amount: i64) -> i64 {
    assert!(amount > 0, "a transfer of {amount}");
    if grows { amount } else { -amount }
}

impl Ledger {
    /// Moves money from one account to another, in the books and in the entry being written. Asserts that no balance falls below zero.
    pub(crate) fn post(&mut self, debit: Account, credit: Account, amount: Fen) {
        assert!(
            !debit.is_grant() && !credit.is_grant(),
            "money from {debit} to {credit}"
        );
        self.transfer(false, debit, credit, amount.0);
    }

    /// The same between grant accounts, in the programme's denomination.
    pub(crate) fn grant(&mut self, unit_hours: bool, debit: Account, credit: Account, grant: Grant) {
        assert!(
            debit.is_grant() && credit.is_grant(),
            "a grant from {debit} to {credit}"
        );
        self.transfer(unit_hours, debit, credit, grant.0);
    }

    fn transfer(&mut self, unit_hours: bool, debit: Account, credit: Account, amount: i64) {
        if amount == 0 {
            return;
        }
        // One after the other: both may stand in one record.
        for (account, grows) in [(debit, debit.is_debit()), (credit, !credit.is_debit())] {
            let mut balance = self.balance(account);
            self.journal
                .change(unit_hours, account, &mut balance, signed(grows, amount));
            *self.balance_mut(account) = balance;
        }
        self.journal.note(debit, credit, amount);
    }

    fn balance_mut(&mut self, account: Account) -> &mut i64 {
        match account {
            Account::Treasury => &mut self.treasury.0,
            Account::Uncalled(id) => &mut self.programme_mut(id).uncalled.0,
            Account::Due(id, funder) => &mut self.programme_mut(id).due[usize::from(funder)].0,
            Account::Unfunded(id) => &mut self.programme_mut(id).unfunded.0,
            Account::Owes(id) => &mut self.org_mut(id).owes.0,
            Account::Budget(id) => &mut self.programme_mut(id).uncommitted.0,
            Account::Voucher(id) => &mut self.voucher_mut(id).available.0,
            Account::VoucherHeld(id) => &mut self.voucher_mut(id).held.0,
            Account::Wallet(id) => &mut self.org_mut(id).available.0,
            Account::WalletHeld(id) => &mut self.org_mut(id).held.0,
            Account::Receivable(id) => &mut self.org_mut(id).receivable.0,
            Account::Claim(id) => &mut self.org_mut(id).claim.0,
            Account::Recovery(id) => &mut self.programme_mut(id).recovery.0,
        }
    }
}
