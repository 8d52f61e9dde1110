//! The trial balance, and every invariant of the books recomputed from the records alone.

use std::collections::BTreeMap;

use crate::account::{Account, KIND_NAMES, KINDS, LAST_DEBIT_KIND};
use crate::hold::{Pinned, job_caps};
use crate::ledger::{JobUse, KeyState, Ledger};
use crate::programme::BudgetPolicy;
use crate::types::{Fen, HoldId, QuoteId};
use crate::voucher::VoucherState;

/// One kind of accounts in the trial balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialRow {
    /// What the accounts are.
    pub account: &'static str,
    /// Sum of debit balances, in fen.
    pub debit: i128,
    /// Sum of credit balances, in fen.
    pub credit: i128,
}

/// All kinds of accounts with their balances: both sums are always equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialBalance {
    /// In a fixed order, zero rows included.
    pub rows: Vec<TrialRow>,
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
        let row = |kind: usize| {
            let (balance, debit) = (self.totals[kind], kind <= LAST_DEBIT_KIND);
            TrialRow {
                account: KIND_NAMES[kind],
                debit: if debit { balance } else { 0 },
                credit: if debit { 0 } else { balance },
            }
        };
        let rows: Vec<TrialRow> = (0..KINDS).map(row).collect();
        TrialBalance {
            debits: rows.iter().map(|row| row.debit).sum(),
            credits: rows.iter().map(|row| row.credit).sum(),
            rows,
            journal_entries: self.journal.index,
            journal_head: self.journal.head,
        }
    }

    /// The balance of one account; zero for an unknown one.
    pub fn balance(&self, account: Account) -> Fen {
        let programme = |id, read: fn(&crate::programme::Programme) -> Fen| self.programme(id).map(read);
        let org = |id, read: fn(&crate::party::Org) -> Fen| self.org(id).map(read);
        let balance = match account {
            Account::Treasury => Some(self.treasury),
            Account::Uncalled(id) => programme(id, |programme| programme.uncalled),
            Account::Due(id, funder) => self
                .programme(id)
                .and_then(|programme| programme.due.get(usize::from(funder)).copied()),
            Account::Unfunded(id) => programme(id, |programme| programme.unfunded),
            Account::Owes(id) => org(id, |org| org.owes),
            Account::Budget(id) => programme(id, |programme| programme.uncommitted),
            Account::Voucher(id) => self.voucher(id).map(|voucher| voucher.available),
            Account::VoucherHeld(id) => self.voucher(id).map(|voucher| voucher.held),
            Account::Wallet(id) => org(id, |org| org.available),
            Account::WalletHeld(id) => org(id, |org| org.held),
            Account::Receivable(id) => org(id, |org| org.receivable),
            Account::Claim(id) => org(id, |org| org.claim),
            Account::Recovery(id) => programme(id, |programme| programme.recovery),
        };
        balance.unwrap_or_default()
    }

    /// Every account that exists, in a fixed order.
    pub fn accounts(&self) -> impl Iterator<Item = Account> {
        let programmes = self.programmes.iter().flat_map(|(_, programme)| {
            let id = programme.id;
            let due = (0..programme.due.len()).map(move |funder| Account::Due(id, funder as u8));
            let one_each = [
                Account::Uncalled(id),
                Account::Unfunded(id),
                Account::Budget(id),
                Account::Recovery(id),
            ];
            one_each.into_iter().chain(due)
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

    /// Recomputes every invariant from the records; for tests and the simulator.
    ///
    /// # Panics
    /// With the broken invariant's text.
    pub fn check(&self) {
        self.check_totals();
        self.check_vouchers();
        self.check_wallets();
        self.check_programmes();
        self.check_counters();
        self.check_indexes();
        self.reconcile();
    }

    fn pinned(&self) -> impl Iterator<Item = &Pinned> {
        let holds = self.holds.iter().map(|(_, hold)| &hold.pinned);
        holds.chain(self.quotes.iter().map(|(_, quote)| &quote.pinned))
    }

    fn check_totals(&self) {
        let mut totals = [0i128; KINDS];
        for account in self.accounts() {
            let balance = self.balance(account);
            assert!(balance >= Fen::ZERO, "{account} is {balance} fen");
            totals[account.kind()] += i128::from(balance.0);
        }
        assert!(
            totals == self.totals,
            "the balances sum up to {totals:?}, the trial balance says {:?}",
            self.totals
        );
        let trial = self.trial_balance();
        assert!(
            trial.debits == trial.credits,
            "debits of {} fen and credits of {}",
            trial.debits,
            trial.credits
        );
    }

    fn check_vouchers(&self) {
        let mut held = BTreeMap::new();
        for leg in self.pinned().flat_map(|pinned| &pinned.legs) {
            *held.entry(leg.voucher).or_insert(0) += leg.amount.0;
        }
        for (_, voucher) in self.vouchers.iter() {
            voucher.assert_whole();
            let open = held.remove(&voucher.id).unwrap_or(0);
            assert!(
                open == voucher.held.0,
                "voucher {} has {} fen held, its holds say {open}",
                voucher.id,
                voucher.held
            );
            let over = matches!(
                voucher.state,
                VoucherState::Exhausted | VoucherState::Expired | VoucherState::Revoked
            );
            assert!(
                !over || voucher.available == Fen::ZERO,
                "voucher {} is over and has money",
                voucher.id
            );
        }
        assert!(held.is_empty(), "holds on unknown vouchers: {held:?}");
    }

    fn check_wallets(&self) {
        let mut held = BTreeMap::new();
        for pinned in self.pinned() {
            let legs: i64 = pinned.legs.iter().map(|leg| leg.amount.0).sum();
            assert!(
                legs + pinned.wallet.0 >= pinned.gross.0,
                "a hold of less than its bill of {} fen",
                pinned.gross
            );
            *held.entry(pinned.payer).or_insert(0) += pinned.wallet.0;
        }
        for (_, org) in self.orgs.iter() {
            let open = held.remove(&org.id).unwrap_or(0);
            assert!(
                open == org.held.0,
                "wallet {} has {} fen held, its holds say {open}",
                org.id,
                org.held
            );
            let terms = [org.available, org.held, org.spent, org.withdrawn];
            let sum: i64 = terms.iter().map(|term| term.0).sum();
            assert!(
                sum == org.topped_up.0,
                "wallet {} got {} fen and accounts for {sum}: {terms:?}",
                org.id,
                org.topped_up
            );
            assert!(
                terms.iter().all(|term| *term >= Fen::ZERO),
                "wallet {} has a negative term: {terms:?}",
                org.id
            );
        }
    }

    fn check_programmes(&self) {
        let mut sums = BTreeMap::new();
        for (_, voucher) in self.vouchers.iter() {
            let sum = sums.entry(voucher.programme).or_insert([0i64; 6]);
            let parts = [
                voucher.face,
                voucher.available,
                voucher.held,
                voucher.captured,
                voucher.lapsed,
                voucher.revoked,
            ];
            for (sum, part) in sum.iter_mut().zip(parts) {
                *sum += part.0;
            }
        }
        for (_, programme) in self.programmes.iter() {
            let id = programme.id;
            let [issued, available, held, captured, lapsed, revoked] = sums.remove(&id).unwrap_or_default();
            let counted = [
                programme.issued,
                programme.held,
                programme.captured,
                programme.lapsed,
                programme.revoked,
            ];
            let recomputed = [issued, held, captured, lapsed, revoked].map(Fen);
            assert!(
                counted == recomputed,
                "programme {id} counts {counted:?}, its vouchers {recomputed:?}"
            );
            assert!(
                programme.uncalled.0 + captured == programme.budget.0,
                "programme {id} has another budget than its accounts"
            );
            let committed = match programme.budget_policy {
                BudgetPolicy::CommitAtIssue => available + held + captured,
                BudgetPolicy::CommitAtHold => held + captured,
            };
            let left = programme.budget.0 - committed;
            assert!(
                left == programme.uncommitted.0,
                "programme {id} has {} fen uncommitted, not {left}",
                programme.uncommitted
            );
            let unfunded = if programme.budget_policy == BudgetPolicy::CommitAtHold {
                available
            } else {
                0
            };
            assert!(
                unfunded == programme.unfunded.0,
                "programme {id} has {} fen unfunded, not {unfunded}",
                programme.unfunded
            );
        }
    }

    // Caps count open holds, binding quotes and net captures. Captures past the window have left no record, so the counters can only be
    // bounded from below and, by group, by the programmes' own sums.
    fn check_counters(&self) {
        let mut group_min = BTreeMap::new();
        let mut jobs: BTreeMap<_, JobUse> = BTreeMap::new();
        let mut count_job = |job, cap, amount: i64| {
            let entry = jobs.entry((job, cap)).or_default();
            entry.used.0 += amount;
            entry.records += 1;
        };
        for (_, hold) in self.holds.iter() {
            for (leg, pin) in hold.pinned.legs.iter().zip(&hold.pinned.pins) {
                job_caps(leg, pin).for_each(|cap| count_job(hold.key.job, cap, leg.amount.0));
            }
        }
        for (_, capture) in self.captures.iter() {
            for (index, (leg, pin)) in capture.receipt.legs.iter().zip(&capture.pins).enumerate() {
                let net = leg.amount.0 - capture.legs_refunded[index].0;
                assert!(net >= 0, "more went back of a leg than it paid: {leg:?}");
                *group_min.entry((leg.programme, pin.group, pin.year)).or_insert(0) += net;
                job_caps(leg, pin).for_each(|cap| count_job(capture.receipt.key.job, cap, net));
            }
        }
        for pinned in self.pinned() {
            for (leg, pin) in pinned.legs.iter().zip(&pinned.pins) {
                *group_min.entry((leg.programme, pin.group, pin.year)).or_insert(0) += leg.amount.0;
            }
        }
        for (key, least) in group_min {
            let used = self.group_use.get(&key).copied().unwrap_or_default();
            assert!(
                used.0 >= least,
                "the cap counter of {key:?} is {used} fen, its records say {least}"
            );
        }
        let mut used = BTreeMap::new();
        for ((programme, _, _), amount) in self.group_use.iter() {
            *used.entry(*programme).or_insert(0) += amount.0;
        }
        for (_, programme) in self.programmes.iter() {
            let counted = used.remove(&programme.id).unwrap_or(0);
            let sum = programme.held.0 + programme.captured.0;
            assert!(
                counted == sum,
                "the cap counters of programme {} sum up to {counted} fen, not {sum}",
                programme.id
            );
        }
        assert!(
            self.job_use.len() == jobs.len(),
            "caps per job are counted for other jobs than have holds or captures"
        );
        for (key, least) in jobs {
            let entry = self.job_use.get(&key).copied().unwrap_or_default();
            let enough = entry.records == least.records && entry.used >= least.used;
            assert!(
                enough,
                "the cap counter of {key:?} is {entry:?}, its records say {least:?}"
            );
        }
    }

    fn check_indexes(&self) {
        let in_use = |state| matches!(state, VoucherState::Active | VoucherState::Suspended);
        let by_holder = self.vouchers.iter().filter(|(_, voucher)| in_use(voucher.state));
        let mut expected: Vec<_> = by_holder.map(|(_, voucher)| (voucher.holder, voucher.id)).collect();
        expected.sort();
        assert!(
            self.by_holder.iter().map(|(key, ())| *key).eq(expected),
            "vouchers in use are listed wrong"
        );
        let ends = self
            .vouchers
            .iter()
            .filter(|(_, voucher)| !matches!(voucher.state, VoucherState::Expired | VoucherState::Revoked));
        let mut expected: Vec<_> = ends.map(|(_, voucher)| (voucher.until, voucher.id)).collect();
        expected.sort();
        assert!(
            self.voucher_ends.iter().map(|(key, ())| *key).eq(expected),
            "ends of vouchers are listed wrong"
        );
        let mut expected: Vec<_> = self
            .quotes
            .iter()
            .map(|(id, quote)| (quote.expires_at, QuoteId(id)))
            .collect();
        expected.sort();
        assert!(
            self.quote_ends.iter().map(|(key, ())| *key).eq(expected),
            "ends of quotes are listed wrong"
        );
        let open = self
            .holds
            .iter()
            .map(|(id, hold)| (hold.key, KeyState::Open(HoldId(id))));
        let ended = self
            .captures
            .iter()
            .map(|(id, capture)| (capture.receipt.key, KeyState::Ended(id)));
        let mut expected: Vec<_> = open.chain(ended).collect();
        expected.sort_by_key(|(key, _)| *key);
        assert!(
            self.keys.iter().map(|(key, state)| (*key, *state)).eq(expected),
            "keys of holds are listed wrong"
        );
    }
}
