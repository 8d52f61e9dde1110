//! Reconciliation: the statements against each other and against the accounts, recomputed from the records; part of [`Ledger::check`].

use std::collections::BTreeMap;

use crate::account::Account;
use crate::claim::ClaimState;
use crate::ledger::Ledger;
use crate::programme::Redemption;
use crate::types::{ClaimId, Fen, OrgId, ProgrammeId};

impl Ledger {
    /// # Panics
    /// With the broken invariant's text.
    pub(crate) fn reconcile(&self) {
        self.check_periods();
        for period in self.periods_after(0) {
            self.check_statements(period.number);
        }
        self.check_payees();
        self.check_funders();
        self.check_claims();
        self.check_deposits();
    }

    fn check_periods(&self) {
        let mut before: Option<&crate::period::Period> = None;
        for period in self.periods_after(0) {
            if let Some(before) = before {
                let follows = before.number + 1 == period.number && before.until == period.from;
                let in_order = before.closed.is_some() || period.closed.is_none();
                let entries = before.first_entry < period.first_entry;
                assert!(
                    follows && in_order && entries,
                    "period {} does not follow: {before:?} {period:?}",
                    period.number
                );
            }
            before = Some(period);
            let Some(closed) = &period.closed else { continue };
            assert!(
                closed.digest == self.period_digest(period.number),
                "period {} was changed after its close",
                period.number
            );
        }
        assert!(
            before.is_some() == (self.journal.index > 0) && before.is_none_or(|period| period.closed.is_none()),
            "there is no current period"
        );
    }

    // I14, and each line once: what funders pay is what payees receive, and payers' totals are the same lines seen from their side.
    fn check_statements(&self, number: u32) {
        let payables = self.payables(number).expect("the caller found the period");
        let payable: i64 = payables.iter().map(|payable| payable.net.0).sum();
        let split = payables.iter().all(|payable| {
            payable.net.0 == payable.ordinary.0 + payable.corrections.0
                && payable.net.0 == payable.to_providers.0 + payable.to_holders.0
        });
        assert!(
            split,
            "payables of period {number} differ from their parts: {payables:?}"
        );
        let clearing = self.clearing(number).expect("the caller found the period");
        let cleared: i64 = clearing.cells.iter().map(|cell| cell.net.0).sum();
        let (mut sheets, mut own) = (0, 0);
        for (_, org) in self.orgs.iter() {
            let sheet = self.sheet(number, org.id).expect("both are known");
            sheets += sheet.subsidies.0;
            own += sheet.own.0;
            let expected = (!sheet.rows.is_empty() && self.is_closed(number)).then_some(sheet.net);
            let found = self.settlement(number, org.id).map(|settlement| settlement.net);
            assert!(
                found == expected,
                "organisation {} has a sheet of {} fen for period {number} and a settlement of {found:?}",
                org.id,
                sheet.net
            );
        }
        let to_holders: i64 = payables.iter().map(|payable| payable.to_holders.0).sum();
        assert!(
            payable == sheets + to_holders && payable == cleared,
            "period {number}: issuers pay {payable} fen, providers get {sheets} and holders {to_holders}, {cleared} are cleared"
        );
        let positions: i64 = clearing.positions.iter().map(|position| position.net.0).sum();
        assert!(positions == 0, "net positions of period {number} sum up to {positions}");
        for payments in [&clearing.netted, &clearing.payments] {
            for position in &clearing.positions {
                let got = payments.iter().filter(|payment| payment.to == position.region);
                let given = payments.iter().filter(|payment| payment.from == position.region);
                let net = got.map(|payment| payment.amount.0).sum::<i64>()
                    - given.map(|payment| payment.amount.0).sum::<i64>();
                assert!(
                    net == position.net.0 && payments.iter().all(|payment| payment.amount > Fen::ZERO),
                    "the payments of period {number} leave {position:?} with {net}"
                );
            }
        }
        assert!(
            clearing.payments.len() < clearing.positions.len().max(1),
            "period {number} is netted in too many payments"
        );
        let (mut wallets, mut subsidies) = (0, 0);
        for (_, totals) in self.holder_totals_after(number, OrgId(0)) {
            wallets += totals.wallet.0 - totals.to_wallet.0;
            subsidies += totals.subsidy.0;
        }
        let captured: i64 = self
            .tallies(number)
            .filter(|(key, _)| key.programme != ProgrammeId(0))
            .map(|(_, tally)| tally.captured.0)
            .sum();
        assert!(
            own == wallets && captured == subsidies,
            "period {number}: providers get {own} fen from payers who pay {wallets}; vouchers paid {captured} or {subsidies}"
        );
    }

    fn check_payees(&self) {
        let mut earned: BTreeMap<OrgId, i64> = BTreeMap::new();
        for (key, tally) in self.tallies.iter() {
            if let Some(provider) = self.paid_provider(key) {
                *earned.entry(provider).or_default() += tally.net().0;
            }
        }
        for (_, org) in self.orgs.iter() {
            let account = self.provider_accounts.get(&org.id).copied().unwrap_or_default();
            let net = earned.remove(&org.id).unwrap_or(0) + account.brought.0;
            let accounts = org.receivable.0 + account.paid.0 + account.set_off.0 - account.owed.0;
            assert!(
                net == accounts,
                "the lines of provider {} sum up to {net} fen, its accounts to {accounts}: {account:?}",
                org.id
            );
        }
        for (_, settlement) in self.settlements.iter() {
            let separate = settlement
                .paid
                .is_none_or(|paid| settlement.reviewed.is_some_and(|review| review.actor != paid.by.actor));
            assert!(separate, "one principal reviewed and paid {settlement:?}");
        }
    }

    fn check_funders(&self) {
        let mut called: BTreeMap<(ProgrammeId, usize), i64> = BTreeMap::new();
        let mut to_holders: BTreeMap<ProgrammeId, i64> = BTreeMap::new();
        for (key, tally) in self.tallies.iter() {
            let Some(programme) = self.programme(key.programme) else {
                continue;
            };
            let parts: i64 = tally.parts().map(|part| part.0).sum();
            assert!(
                parts == tally.net().0,
                "{key:?} is not the sum of its funders: {tally:?}"
            );
            for (place, net) in tally.parts().enumerate() {
                *called.entry((key.programme, place)).or_default() += net.0;
            }
            if programme.redemption == Redemption::Holder {
                *to_holders.entry(key.programme).or_default() += parts;
            }
        }
        for (_, programme) in self.programmes.iter() {
            let mut brought = 0;
            for (place, due) in programme.due.iter().enumerate() {
                let account = self.funder_accounts.get(&(programme.id, place as u8));
                let account = account.copied().unwrap_or_default();
                brought += account.brought.0;
                let net = called.remove(&(programme.id, place)).unwrap_or(0) + account.brought.0;
                let accounts = due.0 + account.paid_in.0 - account.given_back.0;
                assert!(
                    net == accounts,
                    "the lines of funder {place} of programme {} sum up to {net} fen, its accounts to {accounts}",
                    programme.id
                );
            }
            let claimed = self.claimable.iter().filter(|((_, of), _)| *of == programme.id);
            let claimed: i64 = claimed
                .map(|(_, account)| account.claimable.0 + account.filed.0 + account.paid.0 - account.owed.0)
                .sum();
            if programme.redemption == Redemption::Holder {
                let net = to_holders.remove(&programme.id).unwrap_or(0) + brought;
                assert!(
                    net == claimed,
                    "the lines of programme {} sum up to {net} fen, its holders account for {claimed}",
                    programme.id
                );
            } else {
                assert!(
                    claimed == 0,
                    "programme {} pays providers and owes holders",
                    programme.id
                );
            }
        }
    }

    fn check_claims(&self) {
        let mut filed: BTreeMap<(OrgId, ProgrammeId), i64> = BTreeMap::new();
        let (mut open, mut finished) = (Vec::new(), Vec::new());
        for (_, claim) in self.claims.iter() {
            if claim.is_open() {
                *filed.entry((claim.holder, claim.programme)).or_default() += claim.due().0;
                open.push((claim.holder, claim.programme, claim.id));
            } else {
                finished.push((claim.finished_in, claim.id));
            }
            if let ClaimState::Paid(payment) = &claim.state {
                let review = claim.reviewed.expect("only what is reviewed is paid");
                let whole = payment.cash.0 + payment.set_off.0 == claim.due().0;
                assert!(
                    whole && review.actor != payment.by.actor && review.actor != claim.filed.actor,
                    "a claim was paid wrong: {claim:?}"
                );
            }
        }
        open.sort();
        finished.sort();
        let listed: Vec<(u32, ClaimId)> = self.finished_claims.iter().map(|(key, ())| *key).collect();
        assert!(
            self.open_claims.iter().map(|(key, ())| *key).eq(open) && listed == finished,
            "claims are listed wrong"
        );
        let mut owed: BTreeMap<OrgId, i64> = BTreeMap::new();
        for ((holder, programme), account) in self.claimable.iter() {
            let waiting = filed.remove(&(*holder, *programme)).unwrap_or(0);
            assert!(
                waiting == account.filed.0,
                "claims of holder {holder} under programme {programme} sum up to {waiting} fen: {account:?}"
            );
            *owed.entry(*holder).or_default() += account.claimable.0 + account.filed.0;
        }
        for (_, org) in self.orgs.iter() {
            let owed = owed.remove(&org.id).unwrap_or(0);
            let balance = self.money(Account::Claim(org.id));
            assert!(
                owed == balance.0,
                "holder {} has {owed} fen to claim and {balance} in its account",
                org.id
            );
        }
    }

    // Payments leave the deposits alone; only a refund of what a provider had been paid already puts money in a wallet that is
    // not there: it is owed, or was set off.
    fn check_deposits(&self) {
        if self.period(1).is_none() {
            return;
        }
        let given_back: i64 = self.holder_totals.iter().map(|(_, totals)| totals.to_wallet.0).sum();
        let deposits: i64 = self.orgs.iter().map(|(_, org)| org.available.0 + org.held.0).sum();
        let owed: i64 = self.orgs.iter().map(|(_, org)| org.owes.0).sum();
        assert!(
            self.treasury.0 + given_back + owed >= deposits,
            "the treasury holds {} fen, wallets {deposits}",
            self.treasury
        );
    }
}
