//! Judging one entry: what its kind and facts call for is posted here, and held against what the entry says that moved.

use std::fmt::Display;

use crate::books::Books;
use crate::chart::Account;
use crate::finding::{Check, Findings};
use crate::record::Transfer;

/// What one account is debited and credited in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Effect {
    account: Account,
    debited: i128,
    credited: i128,
}

/// Sums per account; entries touch few of them.
#[derive(Debug, Default)]
pub(crate) struct Effects(Vec<Effect>);

impl Effects {
    fn of(&mut self, account: Account) -> &mut Effect {
        let place = self.0.iter().position(|effect| effect.account == account);
        let place = place.unwrap_or_else(|| {
            self.0.push(Effect {
                account,
                debited: 0,
                credited: 0,
            });
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    fn transfer(&mut self, debit: Account, credit: Account, amount: i128) {
        self.of(debit).debited += amount;
        self.of(credit).credited += amount;
    }

    fn get(&self, account: Account) -> (i128, i128) {
        let found = self.0.iter().find(|effect| effect.account == account);
        found.map_or((0, 0), |effect| (effect.debited, effect.credited))
    }
}

/// One entry in judgement.
pub(crate) struct Judge<'a> {
    pub(crate) at: u64,
    /// The instant whose rules and prices count: that of the entry, or an earlier one at which a cover ended.
    pub(crate) rules_at: u64,
    pub(crate) actor: u64,
    pub(crate) findings: &'a mut Findings,
    called_for: Effects,
    /// What the transfers of the entry come to between two accounts, for kinds whose amount stands nowhere else.
    stated: &'a [Transfer],
}

impl<'a> Judge<'a> {
    pub(crate) fn new(at: u64, actor: u64, stated: &'a [Transfer], findings: &'a mut Findings) -> Self {
        Self {
            at,
            rules_at: at,
            actor,
            findings,
            called_for: Effects::default(),
            stated,
        }
    }

    /// A figure must be this.
    pub(crate) fn expect<T: PartialEq + Display>(
        &mut self,
        check: Check,
        what: impl FnOnce() -> String,
        expected: T,
        found: T,
    ) {
        if expected != found {
            self.findings.add(check, what(), expected, found);
        }
    }

    /// Something must hold.
    pub(crate) fn require(
        &mut self,
        check: Check,
        holds: bool,
        what: impl FnOnce() -> String,
        expected: impl Display,
        found: impl Display,
    ) {
        if !holds {
            self.findings.add(check, what(), expected, found);
        }
    }

    /// The entry must move an amount.
    pub(crate) fn post(&mut self, debit: Account, credit: Account, amount: i128) {
        if amount != 0 {
            self.called_for.transfer(debit, credit, amount);
        }
    }

    /// The amount of the entry's only transfer; 0 when it has none or several.
    pub(crate) fn stated_amount(&self) -> i128 {
        match self.stated {
            [one] => one.amount.into(),
            _ => 0,
        }
    }

    /// What an account holds once everything called for so far has moved.
    pub(crate) fn balance(&self, books: &Books, account: Account) -> i128 {
        let (debited, credited) = self.called_for.get(account);
        let sign = if account.is_debit() { 1 } else { -1 };
        books.balance(account) + sign * (debited - credited)
    }

    /// Holds what moved against what was called for, account by account.
    pub(crate) fn compare(self) {
        let Judge {
            mut called_for,
            stated,
            findings,
            ..
        } = self;
        let mut found = Effects::default();
        for transfer in stated {
            let accounts = (Account::of_code(transfer.debit), Account::of_code(transfer.credit));
            if let (Some(debit), Some(credit)) = accounts {
                found.transfer(debit, credit, transfer.amount.into());
            }
        }
        for effect in &found.0 {
            called_for.of(effect.account);
        }
        for effect in called_for.0 {
            let (debited, credited) = found.get(effect.account);
            for (side, expected, found) in [
                ("debited to", effect.debited, debited),
                ("credited to", effect.credited, credited),
            ] {
                if expected != found {
                    findings.add(Check::Transfers, format!("{side} {}", effect.account), expected, found);
                }
            }
        }
    }
}
