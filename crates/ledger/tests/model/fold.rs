//! What the journal alone says: a chain without a gap, times that never go back, and balances.

use std::collections::BTreeMap;

use hesuan_ledger::types::Timestamp;
use hesuan_ledger::{Account, Ledger};

/// Balances as the journal tells them.
#[derive(Default)]
pub(crate) struct Fold {
    balances: BTreeMap<Account, i64>,
    last: (u64, [u8; 32]),
    at: Timestamp,
}

impl Fold {
    pub(crate) fn take(&mut self, ledger: &mut Ledger) {
        for entry in ledger.take_journal() {
            assert!(
                entry.follows(self.last.0, &self.last.1),
                "entry {} does not follow",
                entry.index
            );
            self.last = (entry.index, entry.hash);
            let read = entry.read().expect("just written");
            assert!(read.stamp.at >= self.at, "entry {} is of an earlier time", entry.index);
            self.at = read.stamp.at;
            for (debit, credit, amount) in read.transfers {
                *self.balances.entry(debit).or_default() += amount * if debit.is_debit() { 1 } else { -1 };
                *self.balances.entry(credit).or_default() += amount * if credit.is_debit() { -1 } else { 1 };
            }
        }
    }

    pub(crate) fn compare(&self, ledger: &Ledger) {
        assert_eq!(self.last, ledger.journal_head());
        assert!(
            ledger.time() == self.at,
            "the books are of another time than their last entry"
        );
        for account in ledger.accounts() {
            let folded = self.balances.get(&account).copied().unwrap_or(0);
            assert_eq!(
                folded,
                ledger.balance(account),
                "{account} by the journal and in the books"
            );
        }
    }
}
