//! What a hold does on the books: sets aside, pays, and gives back. Each record is found once for all the transfers of a leg.

use crate::account::Account;
use crate::arithmetic::split;
use crate::issue::count_gone;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::programme::{BudgetPolicy, Programme, Redemption};
use crate::quote::{Leg, LegPin};
use crate::settle::Parties;
use crate::slice::Slice;
use crate::types::{Fen, Grant, OrgId, ProgrammeId};
use crate::voucher::{Voucher, VoucherState};

const KNOWN: &str = "organisations, programmes and vouchers are never removed and ids come from their tables";

impl Ledger {
    /// Holds what slices need. Nothing can fail here: everything was checked by the plan.
    pub(crate) fn set_aside(&mut self, payer: OrgId, slices: &[Slice]) {
        for (leg, pin) in slices.iter().flat_map(Slice::legs) {
            let (units, grant) = (leg.unit_hours, leg.grant.0);
            let voucher = self.vouchers.get_mut(leg.voucher.0).expect(KNOWN);
            let free = (Account::Voucher(leg.voucher), &mut voucher.available.0);
            let held = (Account::VoucherHeld(leg.voucher), &mut voucher.held.0);
            self.journal.transfer(units, free, held, grant);
            let programme = self.programmes.get_mut(u64::from(leg.programme.0)).expect(KNOWN);
            programme.held.0 += grant;
            if programme.budget_policy == BudgetPolicy::CommitAtHold {
                let budget = (Account::Budget(leg.programme), &mut programme.uncommitted.0);
                let unfunded = (Account::Unfunded(leg.programme), &mut programme.unfunded.0);
                self.journal.transfer(units, budget, unfunded, grant);
            }
            self.change_group_use(leg, pin, grant);
        }
        let wallet = held_in_wallet(slices);
        let org = self.orgs.get_mut(u64::from(payer.0)).expect(KNOWN);
        let free = (Account::Wallet(payer), &mut org.available.0);
        let held = (Account::WalletHeld(payer), &mut org.held.0);
        self.journal.transfer(false, free, held, wallet.0);
    }

    /// Releases everything that slices hold.
    pub(crate) fn give_back(&mut self, payer: OrgId, slices: &[Slice]) {
        for (leg, pin) in slices.iter().flat_map(Slice::legs) {
            self.end_leg(leg, pin, None);
        }
        let wallet = held_in_wallet(slices);
        self.post(Account::WalletHeld(payer), Account::Wallet(payer), wallet);
    }

    /// Ends a leg: what was captured of it is used and owed to the payee by the funders, the rest is released. Of a voucher that was revoked for
    /// fraud the holder owes what it paid to the fund. Gives the parts of the funders where there are several.
    pub(crate) fn end_leg(&mut self, held: &Leg, pin: &LegPin, captured: Option<(Parties, &Leg)>) -> Vec<Fen> {
        let (units, journal) = (held.unit_hours, &mut self.journal);
        let voucher = self.vouchers.get_mut(held.voucher.0).expect(KNOWN);
        let programme = self.programmes.get_mut(u64::from(held.programme.0)).expect(KNOWN);
        let mut parts = Vec::new();
        let mut rest = held.grant;
        if let Some((parties, used)) = captured.filter(|(_, used)| used.amount > Fen::ZERO) {
            let left = (Account::VoucherHeld(voucher.id), &mut voucher.held.0);
            let uncalled = (Account::Uncalled(programme.id), &mut programme.uncalled.0);
            journal.transfer(units, left, uncalled, used.grant.0);
            let (payee, owed) = match held.redemption {
                Redemption::Provider => {
                    let provider = self.orgs.get_mut(u64::from(parties.provider.0)).expect(KNOWN);
                    (Account::Receivable(parties.provider), &mut provider.receivable.0)
                }
                Redemption::Holder => {
                    let payer = self.orgs.get_mut(u64::from(parties.payer.0)).expect(KNOWN);
                    (Account::Claim(parties.payer), &mut payer.claim.0)
                }
            };
            if programme.due.len() > 1 {
                parts = split(used.amount, &programme.weights());
            }
            let amounts = if parts.is_empty() { &[used.amount] } else { &parts[..] };
            for (funder, (due, amount)) in programme.due.iter_mut().zip(amounts).enumerate() {
                let due = (Account::Due(programme.id, funder as u8), &mut due.0);
                journal.transfer(false, due, (payee, &mut *owed), amount.0);
            }
            if voucher.fraud {
                let holder = self.orgs.get_mut(u64::from(voucher.holder.0)).expect(KNOWN);
                let owes = (Account::Owes(voucher.holder), &mut holder.owes.0);
                let recovery = (Account::Recovery(programme.id), &mut programme.recovery.0);
                journal.transfer(false, owes, recovery, used.amount.0);
            }
            rest.0 -= used.grant.0;
            voucher.captured.0 += used.grant.0;
            voucher.paid.0 += used.amount.0;
            programme.captured.0 += used.grant.0;
            programme.paid.0 += used.amount.0;
        }
        release(journal, voucher, programme, units, rest);
        programme.held.0 -= held.grant.0;
        if voucher.retire_when_spent() {
            let holder = self.orgs.get_mut(u64::from(voucher.holder.0)).expect(KNOWN);
            holder.end_use(held.voucher);
        }
        self.change_group_use(held, pin, -rest.0);
        parts
    }

    /// Pays from what is held in the payer's wallet and gives the rest back.
    pub(crate) fn end_wallet(&mut self, parties: Parties, held: Fen, paid: Fen) {
        let (account, payer) = (Account::WalletHeld(parties.payer), parties.payer);
        self.post(account, Account::Receivable(parties.provider), paid);
        let org = self.orgs.get_mut(u64::from(payer.0)).expect(KNOWN);
        org.spent.0 += paid.0;
        let (left, free) = (
            (account, &mut org.held.0),
            (Account::Wallet(payer), &mut org.available.0),
        );
        self.journal.transfer(false, left, free, held.0 - paid.0);
    }

    /// Counts a leg in the payer's group's use of its programme, or takes it out.
    pub(crate) fn change_group_use(&mut self, leg: &Leg, pin: &LegPin, by: i64) {
        if by == 0 {
            return;
        }
        let used = self.group_mut(pin.group).used_mut(leg.programme, pin.year);
        used.0 += by;
        assert!(
            used.0 >= 0,
            "programme {} counts {used} for group {}",
            leg.programme,
            pin.group
        );
    }

    /// An amount split among the funders of a programme.
    pub(crate) fn funder_parts(&self, programme: ProgrammeId, amount: Fen) -> Vec<Fen> {
        let programme = self.programme(programme).expect("a leg's programme exists");
        split(amount, &programme.weights())
    }
}

// Gives a part of what is held on a voucher back: to the voucher while it lives, else to where the voucher's rest went.
fn release(journal: &mut Journal, voucher: &mut Voucher, programme: &mut Programme, units: bool, grant: Grant) {
    if grant == Grant::ZERO {
        return;
    }
    let held = (Account::VoucherHeld(voucher.id), &mut voucher.held.0);
    let budget = (Account::Budget(programme.id), &mut programme.uncommitted.0);
    if matches!(voucher.state, VoucherState::Expired | VoucherState::Revoked) {
        // What was held is committed under either policy, so it goes to the budget and not to where free money came from.
        journal.transfer(units, held, budget, grant.0);
        count_gone(voucher, programme, grant);
        return;
    }
    let free = (Account::Voucher(voucher.id), &mut voucher.available.0);
    journal.transfer(units, held, free, grant.0);
    if programme.budget_policy == BudgetPolicy::CommitAtHold {
        let unfunded = (Account::Unfunded(programme.id), &mut programme.unfunded.0);
        journal.transfer(units, unfunded, budget, grant.0);
    }
}

fn held_in_wallet(slices: &[Slice]) -> Fen {
    Fen(slices.iter().map(|slice| slice.wallet.0).sum())
}
