//! Balances: of one account, and of all kinds of accounts together.

use crate::account::{Account, GRANT_KINDS, KIND_NAMES, KINDS, LAST_DEBIT_KIND};
use crate::ledger::Ledger;
use crate::party::Org;
use crate::programme::Programme;
use crate::types::{Fen, Sku};

/// One kind of accounts in the trial balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialRow {
    /// What the accounts are.
    pub account: &'static str,
    /// Sum of debit balances.
    pub debit: i128,
    /// Sum of credit balances.
    pub credit: i128,
}

/// The grant accounts of all programmes in unit-hours of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitTrial {
    /// The class.
    pub sku: Sku,
    /// In milli-unit-seconds, in a fixed order.
    pub rows: Vec<TrialRow>,
}

/// All kinds of accounts with their balances: both sums are always equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialBalance {
    /// In fen, in a fixed order, zero rows included. Of the grant accounts those of programmes in money.
    pub rows: Vec<TrialRow>,
    /// By class, in order of class.
    pub units: Vec<UnitTrial>,
    /// Sum of all debit balances, in fen.
    pub debits: i128,
    /// Sum of all credit balances, in fen.
    pub credits: i128,
    /// Length of the journal.
    pub journal_entries: u64,
    /// SHA-256 of its last entry.
    pub journal_head: [u8; 32],
}

impl Ledger {
    /// The trial balance.
    pub fn trial_balance(&self) -> TrialBalance {
        let rows: Vec<TrialRow> = (0..KINDS)
            .map(|kind| row(kind, self.journal.totals.money[kind]))
            .collect();
        TrialBalance {
            debits: rows.iter().map(|row| row.debit).sum(),
            credits: rows.iter().map(|row| row.credit).sum(),
            rows,
            units: self.unit_trials(),
            journal_entries: self.journal.index,
            journal_head: self.journal.head,
        }
    }

    fn unit_trials(&self) -> Vec<UnitTrial> {
        let mut sums: std::collections::BTreeMap<Sku, [i128; KINDS]> = std::collections::BTreeMap::new();
        for (_, programme) in self.programmes.iter() {
            let Some(sku) = programme.unit_hours_of() else { continue };
            let sums = sums.entry(sku.clone()).or_insert([0; KINDS]);
            let gone = programme.held.0 + programme.captured.0 + programme.lapsed.0 + programme.revoked.0;
            let balances = [
                programme.uncalled.0,
                programme.unfunded.0,
                programme.uncommitted.0,
                programme.issued.0 - gone,
                programme.held.0,
            ];
            for (kind, balance) in GRANT_KINDS.into_iter().zip(balances) {
                sums[kind] += i128::from(balance);
            }
        }
        let trial = |(sku, sums): (Sku, [i128; KINDS])| UnitTrial {
            sku,
            rows: GRANT_KINDS.into_iter().map(|kind| row(kind, sums[kind])).collect(),
        };
        sums.into_iter().map(trial).collect()
    }

    /// The balance of one account, in fen or, of a grant account, in its programme's denomination; zero for an unknown one.
    pub fn balance(&self, account: Account) -> i64 {
        let programme = |id, read: fn(&Programme) -> i64| self.programme(id).map(read);
        let org = |id, read: fn(&Org) -> i64| self.org(id).map(read);
        let balance = match account {
            Account::Treasury => Some(self.treasury.0),
            Account::Uncalled(id) => programme(id, |programme| programme.uncalled.0),
            Account::Due(id, funder) => self
                .programme(id)
                .and_then(|programme| programme.due.get(usize::from(funder)))
                .map(|due| due.0),
            Account::Unfunded(id) => programme(id, |programme| programme.unfunded.0),
            Account::Owes(id) => org(id, |org| org.owes.0),
            Account::Budget(id) => programme(id, |programme| programme.uncommitted.0),
            Account::Voucher(id) => self.voucher(id).map(|voucher| voucher.available.0),
            Account::VoucherHeld(id) => self.voucher(id).map(|voucher| voucher.held.0),
            Account::Wallet(id) => org(id, |org| org.available.0),
            Account::WalletHeld(id) => org(id, |org| org.held.0),
            Account::Receivable(id) => org(id, |org| org.receivable.0),
            Account::Claim(id) => org(id, |org| org.claim.0),
            Account::Recovery(id) => programme(id, |programme| programme.recovery.0),
        };
        balance.unwrap_or_default()
    }

    /// The balance of a money account.
    pub(crate) fn money(&self, account: Account) -> Fen {
        Fen(self.balance(account))
    }

    /// Whether an account is kept in unit-hours.
    pub fn in_unit_hours(&self, account: Account) -> bool {
        match account {
            Account::Uncalled(id) | Account::Unfunded(id) | Account::Budget(id) => self.grants_units(id),
            Account::Voucher(id) | Account::VoucherHeld(id) => self
                .voucher(id)
                .is_some_and(|voucher| self.grants_units(voucher.programme)),
            _ => false,
        }
    }

    /// Every account that exists, in a fixed order.
    pub fn accounts(&self) -> impl Iterator<Item = Account> {
        let programmes = self.programmes.iter().flat_map(|(_, programme)| {
            let id = programme.id;
            let due = (0..programme.due.len()).map(move |funder| Account::Due(id, funder as u8));
            let of_programme = [
                Account::Uncalled(id),
                Account::Unfunded(id),
                Account::Budget(id),
                Account::Recovery(id),
            ];
            of_programme.into_iter().chain(due)
        });
        let vouchers = self
            .vouchers
            .iter()
            .flat_map(|(_, voucher)| [Account::Voucher(voucher.id), Account::VoucherHeld(voucher.id)]);
        let orgs = self.orgs.iter().flat_map(|(_, org)| {
            [
                Account::Wallet(org.id),
                Account::WalletHeld(org.id),
                Account::Receivable(org.id),
                Account::Claim(org.id),
                Account::Owes(org.id),
            ]
        });
        std::iter::once(Account::Treasury)
            .chain(programmes)
            .chain(vouchers)
            .chain(orgs)
    }
}

fn row(kind: usize, balance: i128) -> TrialRow {
    let debit = kind <= LAST_DEBIT_KIND;
    TrialRow {
        account: KIND_NAMES[kind],
        debit: if debit { balance } else { 0 },
        credit: if debit { 0 } else { balance },
    }
}
