//! Every invariant of the books recomputed from the records alone.

use std::collections::BTreeMap;

use crate::hold::{Pinned, job_caps};
use crate::ledger::{JobUse, KeyState, Ledger};
use crate::party::Org;
use crate::posting::Totals;
use crate::programme::BudgetPolicy;
use crate::quote::{Leg, LegPin};
use crate::slice::{Cell, Slice};
use crate::types::{Fen, Grant, HoldId, QuoteId};
use crate::voucher::VoucherState;

impl Ledger {
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

    // Everything captured that is still here: of holds that are settled, and of holds that go on.
    fn cells(&self) -> impl Iterator<Item = (u64, &Cell)> {
        let open = self.holds.iter().map(|(_, hold)| (hold.key.job, &hold.cells[..]));
        let ended = self
            .captures
            .iter()
            .map(|(_, settled)| (settled.key.job, &settled.cells[..]));
        open.chain(ended)
            .flat_map(|(job, cells)| cells.iter().map(move |cell| (job, cell)))
    }

    fn check_totals(&self) {
        let mut totals = Totals::default();
        for account in self.accounts() {
            let balance = self.balance(account);
            assert!(balance >= 0, "{account} is {balance}");
            totals.add(self.in_unit_hours(account), account, balance);
        }
        let kept = &self.journal.totals;
        assert!(
            totals == *kept,
            "the balances sum up to {totals:?}, the trial balance says {kept:?}"
        );
        let trial = self.trial_balance();
        assert!(
            trial.debits == trial.credits,
            "debits of {} fen and credits of {}",
            trial.debits,
            trial.credits
        );
        for unit in &trial.units {
            let sum = |side: fn(&crate::trial::TrialRow) -> i128| unit.rows.iter().map(side).sum::<i128>();
            let (debits, credits) = (sum(|row| row.debit), sum(|row| row.credit));
            assert!(
                debits == credits,
                "debits of {debits} and credits of {credits} in {}",
                unit.sku
            );
        }
    }

    fn check_vouchers(&self) {
        let mut held = BTreeMap::new();
        for (leg, _) in self.pinned().flat_map(|pinned| &pinned.slices).flat_map(Slice::legs) {
            *held.entry(leg.voucher).or_insert(0) += leg.grant.0;
        }
        for (leg, _, (_, grant)) in self.holds.iter().flat_map(|(_, hold)| hold.kept()) {
            *held.entry(leg.voucher).or_insert(0) += grant.0;
        }
        for (_, voucher) in self.vouchers.iter() {
            voucher.assert_whole();
            let open = held.remove(&voucher.id).unwrap_or(0);
            assert!(
                open == voucher.held.0,
                "voucher {} has {} held, its holds say {open}",
                voucher.id,
                voucher.held
            );
            let over = matches!(
                voucher.state,
                VoucherState::Exhausted | VoucherState::Expired | VoucherState::Revoked
            );
            assert!(
                !over || voucher.available == Grant::ZERO,
                "voucher {} is over and has something left",
                voucher.id
            );
            let money = !self.grants_units(voucher.programme);
            assert!(
                voucher.paid >= Fen::ZERO && (!money || voucher.paid.0 == voucher.captured.0),
                "voucher {} has captured {} and paid {} fen",
                voucher.id,
                voucher.captured,
                voucher.paid
            );
        }
        assert!(held.is_empty(), "holds on unknown vouchers: {held:?}");
    }

    fn check_wallets(&self) {
        let mut held = BTreeMap::new();
        for pinned in self.pinned() {
            let mut from_ms = pinned.slices.first().map_or(0, |slice| slice.from_ms);
            for slice in &pinned.slices {
                let legs: i64 = slice.legs.iter().map(|leg| leg.amount.0).sum();
                assert!(
                    legs + slice.wallet.0 >= slice.gross.0,
                    "a hold of less than its bill of {} fen",
                    slice.gross
                );
                assert!(
                    slice.from_ms == from_ms && slice.until_ms > slice.from_ms,
                    "a slice from {} ms to {} ms after one that ended at {from_ms} ms",
                    slice.from_ms,
                    slice.until_ms
                );
                from_ms = slice.until_ms;
                *held.entry(pinned.payer).or_insert(0) += slice.wallet.0;
            }
        }
        for (_, hold) in self.holds.iter() {
            assert!(
                hold.past.len() == hold.cells.len(),
                "a cell without its slice: {hold:?}"
            );
            *held.entry(hold.pinned.payer).or_insert(0) += hold.kept_in_wallet().0;
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
            let sum = sums.entry(voucher.programme).or_insert([0i64; 7]);
            let parts = [
                voucher.face,
                voucher.available,
                voucher.held,
                voucher.captured,
                voucher.lapsed,
                voucher.revoked,
            ];
            for (sum, part) in sum
                .iter_mut()
                .zip(parts.map(|part| part.0).into_iter().chain([voucher.paid.0]))
            {
                *sum += part;
            }
        }
        for (_, programme) in self.programmes.iter() {
            let id = programme.id;
            let [issued, available, held, captured, lapsed, revoked, paid] = sums.remove(&id).unwrap_or_default();
            let counted = [
                programme.issued,
                programme.held,
                programme.captured,
                programme.lapsed,
                programme.revoked,
            ];
            let recomputed = [issued, held, captured, lapsed, revoked].map(Grant);
            assert!(
                counted == recomputed,
                "programme {id} counts {counted:?}, its vouchers {recomputed:?}"
            );
            assert!(
                paid == programme.paid.0,
                "programme {id} counts {} fen paid, its vouchers {paid}",
                programme.paid
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
                "programme {id} has {} uncommitted, not {left}",
                programme.uncommitted
            );
            let unfunded = if programme.budget_policy == BudgetPolicy::CommitAtHold {
                available
            } else {
                0
            };
            assert!(
                unfunded == programme.unfunded.0,
                "programme {id} has {} unfunded, not {unfunded}",
                programme.unfunded
            );
        }
    }

    // Caps count open holds, binding quotes and net captures. Captures past the window have left no record, so the counters can only be
    // bounded from below and, by group, by the programmes' own sums.
    fn check_counters(&self) {
        let mut group_min = BTreeMap::new();
        let mut jobs: BTreeMap<_, JobUse> = BTreeMap::new();
        let mut count_job = |job: u64, leg: &Leg, pin: &LegPin, (amount, grant): (Fen, Grant), records: u32| {
            for cap in job_caps(leg, pin) {
                let entry = jobs.entry((job, cap)).or_default();
                entry.used += cap.counts(amount, grant);
                entry.records += records;
            }
        };
        for (_, hold) in self.holds.iter() {
            for (leg, pin) in hold.pinned.slices.iter().flat_map(Slice::legs) {
                count_job(hold.key.job, leg, pin, (leg.amount, leg.grant), 1);
            }
            for (leg, pin, rest) in hold.kept() {
                count_job(hold.key.job, leg, pin, rest, 0);
                *group_min.entry((leg.programme, pin.group, pin.year)).or_insert(0) += rest.1.0;
            }
        }
        for (job, cell) in self.cells() {
            for (index, (leg, pin)) in cell.legs().enumerate() {
                let back = cell.legs_refunded.get(index).cloned().unwrap_or_default();
                let net = (Fen(leg.amount.0 - back.amount.0), Grant(leg.grant.0 - back.grant.0));
                assert!(
                    net.0 >= Fen::ZERO && net.1 >= Grant::ZERO,
                    "more went back of a leg than it paid: {leg:?}"
                );
                *group_min.entry((leg.programme, pin.group, pin.year)).or_insert(0) += net.1.0;
                count_job(job, leg, pin, net, 1);
            }
        }
        for (leg, pin) in self.pinned().flat_map(|pinned| &pinned.slices).flat_map(Slice::legs) {
            *group_min.entry((leg.programme, pin.group, pin.year)).or_insert(0) += leg.grant.0;
        }
        for (key, least) in group_min {
            let (programme, group, year) = key;
            let used = self.group(group).used(programme, year);
            assert!(
                used.0 >= least,
                "the cap counter of {key:?} is {used}, its records say {least}"
            );
        }
        let mut used = BTreeMap::new();
        for ((programme, _, _), amount) in self.group_uses() {
            *used.entry(programme).or_insert(0) += amount.0;
        }
        for (_, programme) in self.programmes.iter() {
            let counted = used.remove(&programme.id).unwrap_or(0);
            let sum = programme.held.0 + programme.captured.0;
            assert!(
                counted == sum,
                "the cap counters of programme {} sum up to {counted}, not {sum}",
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
        let listed = |org: &Org| org.vouchers.iter().map(|id| (org.id, *id)).collect::<Vec<_>>();
        assert!(
            self.orgs.iter().flat_map(|(_, org)| listed(org)).eq(expected),
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
            .map(|(id, capture)| (capture.key, KeyState::Ended(id)));
        let mut expected: Vec<_> = open.chain(ended).collect();
        expected.sort_by_key(|(key, _)| *key);
        assert!(
            self.keys.iter().map(|(key, state)| (*key, *state)).eq(expected),
            "keys of holds are listed wrong"
        );
    }
}
