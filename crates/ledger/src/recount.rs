//! The end of a hold of which something was captured while it went on, at a month's end or where a cover ended. What is captured then counts as
//! used; the slice stays with the hold, and when the report says that less was used its cell is counted anew: the same legs pay the same amounts as if
//! the slice had been captured only now. What was not used goes where the rest of a hold goes, and this is no refund.

use crate::account::Account;
use crate::hold::Hold;
use crate::ledger::Ledger;
use crate::programme::Redemption;
use crate::quote::{Leg, LegPin};
use crate::settle::Parties;
use crate::slice::{Cell, Slice};
use crate::tally::{CellLine, LegLine};
use crate::types::{Fen, Grant};
use crate::voucher::VoucherState;

impl Hold {
    /// Of each leg of what was captured already, what its slice holds still.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&Leg, &LegPin, (Fen, Grant))> {
        let cells = self.past.iter().zip(&self.cells);
        cells.flat_map(|(slice, cell)| {
            slice
                .legs()
                .zip(&cell.legs)
                .map(|((held, pin), paid)| (held, pin, rest(held, paid)))
        })
    }

    /// What the slices of what was captured already hold in the wallet still.
    pub(crate) fn kept_in_wallet(&self) -> Fen {
        let cells = self.past.iter().zip(&self.cells);
        Fen(cells.map(|(slice, cell)| slice.wallet.0 - cell.wallet.0).sum())
    }
}

fn rest(held: &Leg, paid: &Leg) -> (Fen, Grant) {
    (Fen(held.amount.0 - paid.amount.0), Grant(held.grant.0 - paid.grant.0))
}

impl Slice {
    /// What is left of a slice that was captured where its cover ended: it ends there and holds what was paid.
    pub(crate) fn ended_with(mut self, cell: &Cell) -> Self {
        self.until_ms = cell.to_ms;
        (self.gross, self.wallet) = (cell.gross, cell.wallet);
        self.legs = cell.legs.clone();
        self
    }
}

impl Ledger {
    /// Counts the cells of a hold that ends anew where less was used than was captured, writes them into the entry, and releases what their slices hold
    /// besides. Gives the cells of which nothing was used: they are the hold's no longer.
    pub(crate) fn recount(&mut self, open: &mut Hold, wall_ms: u64) -> Vec<Cell> {
        let parties = Parties::of(open);
        let first = open.cells.partition_point(|cell| cell.to_ms <= wall_ms);
        self.journal.fact((open.cells.len() - first) as u64);
        for (place, slice) in std::mem::take(&mut open.past).iter().enumerate() {
            let cell = &mut open.cells[place];
            if place >= first {
                let mut used = slice.clone().used(wall_ms.max(slice.from_ms), cell.period);
                // Where a cover had ended the wallet holds no slack for rounding any more: it pays no more than it had paid.
                let over = Fen((used.wallet.0 - slice.wallet.0).max(0));
                if over > Fen::ZERO {
                    self.begin_refunds(&mut used);
                    used.refunded = over;
                }
                self.recount_cell(parties, place, cell, &used);
                *cell = used;
            }
            self.release_rest(parties, slice, cell);
        }
        let used = open.cells.partition_point(|cell| cell.from_ms < wall_ms);
        open.cells.split_off(used)
    }

    // What a slice holds beside its cell goes back.
    fn release_rest(&mut self, parties: Parties, slice: &Slice, cell: &Cell) {
        for ((held, pin), paid) in slice.legs().zip(&cell.legs) {
            let (amount, grant) = rest(held, paid);
            self.end_leg(&Leg { amount, grant, ..*held }, pin, None);
            self.uncount_job(parties.job, held, pin, (amount, grant));
        }
        let (held, wallet) = (Account::WalletHeld(parties.payer), Account::Wallet(parties.payer));
        self.post(held, wallet, Fen(slice.wallet.0 - cell.paid_by_wallet().0));
    }

    fn recount_cell(&mut self, parties: Parties, place: usize, before: &Cell, after: &Cell) {
        let site_region = self.site(parties.site).expect("sites are never removed").region;
        let line = |period| CellLine {
            period,
            payer: parties.payer,
            site: parties.site,
            site_region,
            gross: Fen::ZERO,
            subsidy: Fen::ZERO,
            wallet: Fen::ZERO,
        };
        // What pays less, and what pays more by a rounding.
        let (mut less, mut more) = (line(before.period), line(before.period));
        for (old, new) in before.legs.iter().zip(&after.legs) {
            self.recount_leg(parties, before.period, old, new);
            less.subsidy.0 += (old.amount.0 - new.amount.0).max(0);
            more.subsidy.0 += (new.amount.0 - old.amount.0).max(0);
        }
        let copay = after.copay.0 - after.refunded.0 - before.copay.0;
        (less.gross, more.gross) = (
            Fen(less.subsidy.0 + (-copay).max(0)),
            Fen(more.subsidy.0 + copay.max(0)),
        );
        let wallet = before.wallet.0 - after.paid_by_wallet().0;
        (less.wallet, more.wallet) = (Fen(wallet.max(0)), Fen((-wallet).max(0)));
        let booked = self.tally_recount(&less, &more);
        let held = Account::WalletHeld(parties.payer);
        let unpaid = self.take_receivable(parties.provider, less.wallet);
        self.post(Account::Receivable(parties.provider), held, unpaid);
        self.post(Account::Owes(parties.provider), held, Fen(less.wallet.0 - unpaid.0));
        self.post(held, Account::Receivable(parties.provider), more.wallet);
        self.org_mut(parties.payer).spent.0 -= wallet;
        self.journal.facts([place as u64, u64::from(booked), after.to_ms]);
        self.journal
            .facts([after.gross.0 as u64, after.paid_by_wallet().0 as u64]);
        for leg in &after.legs {
            self.journal.facts([leg.amount.0 as u64, leg.grant.0 as u64]);
        }
    }

    // The leg of a cell as if the time used had been captured at once: the difference of the grant is held again, to be released with the rest, and the
    // difference of the money comes back from the payee.
    fn recount_leg(&mut self, parties: Parties, period: u32, before: &Leg, after: &Leg) {
        let (voucher, programme) = (before.voucher, before.programme);
        let (used, held) = (Account::Uncalled(programme), Account::VoucherHeld(voucher));
        let (amount, grant) = rest(before, after);
        if grant > Grant::ZERO {
            self.grant(before.unit_hours, used, held, grant);
        } else {
            self.grant(before.unit_hours, held, used, Grant(-grant.0));
        }
        let known = self.programme_mut(programme);
        known.held.0 += grant.0;
        known.captured.0 -= grant.0;
        known.paid.0 -= amount.0;
        let known = self.voucher_mut(voucher);
        known.captured.0 -= grant.0;
        known.paid.0 -= amount.0;
        if known.state == VoucherState::Exhausted && grant > Grant::ZERO {
            known.state = VoucherState::Active;
            let holder = known.holder;
            self.org_mut(holder).begin_use(voucher);
        }
        if amount == Fen::ZERO {
            return;
        }
        // Each funder pays its part of the new amount; by the remainders one of several may pay a fen more.
        let parts = self.funder_parts(programme, before.amount);
        let parts: Vec<Fen> = parts
            .iter()
            .zip(self.funder_parts(programme, after.amount))
            .map(|(before, after)| Fen(before.0 - after.0))
            .collect();
        self.recount_money(parties, before, amount, &parts);
        let site = (
            parties.site,
            self.site(parties.site).expect("sites are never removed").region,
        );
        let line = LegLine::new(before, parties.payer, parties.payer_region, site, period);
        self.tally_leg_recount(&LegLine {
            amount,
            parts: &parts,
            ..line
        });
    }

    fn recount_money(&mut self, parties: Parties, leg: &Leg, amount: Fen, parts: &[Fen]) {
        let back = Fen(amount.0.max(0));
        let (payee, debtor, unpaid) = match leg.redemption {
            Redemption::Provider => {
                let unpaid = self.take_receivable(parties.provider, back);
                (Account::Receivable(parties.provider), parties.provider, unpaid)
            }
            Redemption::Holder => {
                let unpaid = self.take_claim(parties.payer, leg.programme, back);
                (Account::Claim(parties.payer), parties.payer, unpaid)
            }
        };
        if amount > Fen::ZERO {
            let debits = [(payee, unpaid), (Account::Owes(debtor), Fen(back.0 - unpaid.0))];
            self.take_back(leg, parts, debits, debtor);
            return;
        }
        self.uncall(leg.programme, parts, (payee, Fen(-amount.0)), &[]);
        let known = self.voucher(leg.voucher).expect("vouchers are never removed");
        if known.fraud {
            let holder = known.holder;
            self.post(Account::Owes(holder), Account::Recovery(leg.programme), Fen(-amount.0));
        }
    }
}
