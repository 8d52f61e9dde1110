//! Giving back what a settled attempt cost, because the site was at fault: split by the cells' own legs, to the fen. The latest use
//! goes back first.

use crate::account::Account;
use crate::arithmetic::split;
use crate::journal::EntryKind;
use crate::ledger::{KeyState, Ledger};
use crate::party::{check_amount, check_reason};
use crate::programme::{BudgetPolicy, Redemption};
use crate::quote::{Leg, LegPin, merged};
use crate::rejection::{Rejection, Subject};
use crate::settle::Settled;
use crate::slice::{Cell, LegRefunded, advanced};
use crate::tally::{CellLine, LegLine, add};
use crate::types::{Fen, Grant, HoldKey, OrgId, ProgrammeId, Stamp};
use crate::voucher::VoucherState;

/// What went back: `amount = Σ legs + copay`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refund {
    /// In all.
    pub amount: Fen,
    /// By the captures' legs, with what went back of each.
    pub legs: Vec<Leg>,
    /// Of the payer's share.
    pub copay: Fen,
    /// Back in the payer's wallet: the co-pay, and what the payer had advanced under holder-redeemed programmes (its claim shrinks as much).
    pub wallet: Fen,
}

impl Ledger {
    /// Gives back an amount (`None` = all that is left) of what is settled and in the settlement window; the provider loses it.
    ///
    /// Subsidies return to their funds, or to the voucher when the programme says so and the voucher lives; the co-pay to the wallet. What the
    /// provider or a holder was paid out already, it owes.
    pub fn refund(
        &mut self,
        key: HoldKey,
        amount: Option<Fen>,
        reason: &str,
        by: impl Into<Stamp>,
    ) -> Result<Refund, Rejection> {
        let by = by.into();
        self.assert_time(by);
        check_reason("reason", reason)?;
        let unknown = || {
            Rejection::unknown(
                Subject::Capture,
                format!("{}[{}] attempt {}", key.job, key.task, key.attempt),
            )
        };
        let Some(KeyState::Ended(id)) = self.keys.get(&key).copied() else {
            return Err(unknown());
        };
        let settled = self.captures.get(id).ok_or_else(unknown)?;
        let available = Fen(settled.cells.iter().map(|cell| cell.gross.0 - cell.refunded.0).sum());
        let amount = amount.unwrap_or(available);
        if available == Fen::ZERO || amount > available {
            return Err(Rejection::RefundTooLarge {
                key,
                needed: amount,
                available,
            });
        }
        check_amount("amount", amount)?;
        Ok(self.give_refund(id, amount, reason, by))
    }

    fn give_refund(&mut self, id: u64, amount: Fen, reason: &str, by: Stamp) -> Refund {
        self.roll_periods(by);
        let settled = self.captures.get(id).expect("the caller found it").clone();
        let key = settled.key;
        let mut refund = Refund::default();
        let mut cells = Vec::new();
        let mut left = amount.0;
        for (place, cell) in settled.cells.iter().enumerate().rev() {
            let part = left.min(cell.gross.0 - cell.refunded.0);
            if part > 0 {
                left -= part;
                cells.push((place, Fen(part)));
            }
        }
        assert!(
            left == 0,
            "a refund of {amount} fen is {left} fen over what was captured"
        );
        self.journal
            .facts([key.job, u64::from(key.task), u64::from(key.attempt), cells.len() as u64]);
        for (place, part) in cells {
            let mut cell = settled.cells[place].clone();
            let back = self.refund_cell(&settled, place, &mut cell, part, by);
            self.captures.get_mut(id).expect("found above").cells[place] = cell;
            refund.amount.0 += back.amount.0;
            refund.legs.extend(back.legs);
            refund.copay.0 += back.copay.0;
            refund.wallet.0 += back.wallet.0;
        }
        refund.legs = merged(refund.legs.iter());
        self.journal.text(reason);
        self.write(EntryKind::Refund, by);
        refund
    }

    fn refund_cell(&mut self, settled: &Settled, place: usize, cell: &mut Cell, amount: Fen, by: Stamp) -> Refund {
        self.begin_refunds(cell);
        let refund = shares(cell, amount);
        let line = CellLine {
            period: cell.period,
            payer: settled.payer,
            site: settled.site,
            site_region: self.site(settled.site).expect("sites are never removed").region,
            gross: refund.amount,
            subsidy: Fen(refund.amount.0 - refund.copay.0),
            wallet: refund.wallet,
        };
        let booked = self.tally_cell_refund(&line);
        self.journal
            .facts([place as u64, u64::from(cell.period), u64::from(booked)]);
        self.journal.facts([amount.0 as u64, refund.wallet.0 as u64]);
        for (index, leg) in refund.legs.iter().enumerate() {
            let reinstated = leg.amount > Fen::ZERO && self.refund_leg(settled, cell, index, leg, by);
            self.journal
                .facts([leg.amount.0 as u64, leg.grant.0 as u64, u64::from(reinstated)]);
        }
        let provider = settled.provider;
        let unpaid = self.take_receivable(provider, refund.wallet);
        let wallet = Account::Wallet(settled.payer);
        self.post(Account::Receivable(provider), wallet, unpaid);
        self.post(Account::Owes(provider), wallet, Fen(refund.wallet.0 - unpaid.0));
        self.org_mut(settled.payer).spent.0 -= refund.wallet.0;
        cell.refunded.0 += amount.0;
        refund
    }

    /// From now on what goes back of a cell is counted leg by leg.
    pub(crate) fn begin_refunds(&self, cell: &mut Cell) {
        if cell.legs_refunded.is_empty() {
            let nothing = |leg: &Leg| LegRefunded {
                funders: vec![Fen::ZERO; self.programme(leg.programme).map_or(0, |known| known.funders.len())],
                ..LegRefunded::default()
            };
            cell.legs_refunded = cell.legs.iter().map(nothing).collect();
        }
    }

    // Takes a subsidy back from whoever was paid it; `true` if it went back on the voucher.
    fn refund_leg(&mut self, settled: &Settled, cell: &mut Cell, index: usize, leg: &Leg, by: Stamp) -> bool {
        let (pin, captured) = (&cell.pins[index], cell.legs[index].amount);
        let reinstate = self.grant_back(leg, pin, by);
        self.change_group_use(leg, pin, -leg.grant.0);
        self.uncount_job(settled.key.job, leg, pin, (leg.amount, leg.grant));
        let refunded = &mut cell.legs_refunded[index];
        let parts = self.funders_back(leg.programme, captured, leg.amount, &mut refunded.funders);
        refunded.amount.0 += leg.amount.0;
        refunded.grant.0 += leg.grant.0;
        // What the payee has been paid already it owes from now on.
        let (unpaid, payee, debtor) = match leg.redemption {
            Redemption::Provider => {
                let unpaid = self.take_receivable(settled.provider, leg.amount);
                (unpaid, Account::Receivable(settled.provider), settled.provider)
            }
            Redemption::Holder => {
                let unpaid = self.take_claim(settled.payer, leg.programme, leg.amount);
                (unpaid, Account::Claim(settled.payer), settled.payer)
            }
        };
        let owed = Fen(leg.amount.0 - unpaid.0);
        let debits = [(payee, unpaid), (Account::Owes(debtor), owed)];
        self.take_back(leg, &parts, debits, debtor);
        let site = (
            settled.site,
            self.site(settled.site).expect("sites are never removed").region,
        );
        let line = LegLine::new(leg, settled.payer, settled.payer_region, site, cell.period);
        self.tally_refund(&LegLine { parts: &parts, ..line });
        self.voucher_mut(leg.voucher).paid.0 -= leg.amount.0;
        self.programme_mut(leg.programme).paid.0 -= leg.amount.0;
        reinstate
    }

    /// What comes back of a leg goes to the funders that paid it. Of a voucher that was revoked for fraud its holder owes that to the fund: its debt shrinks
    /// instead; and where it has paid the debt already the fund has its money, and what comes back is the holder's.
    pub(crate) fn take_back(&mut self, leg: &Leg, parts: &[Fen], mut debits: [(Account, Fen); 2], debtor: OrgId) {
        let known = self.voucher(leg.voucher).expect("vouchers are never removed");
        let (fraud, holder, programme) = (known.fraud, known.holder, leg.programme);
        if !fraud {
            self.uncall(programme, parts, (Account::Wallet(holder), Fen::ZERO), &debits);
            return;
        }
        let back = Fen(debits.iter().map(|(_, amount)| amount.0).sum());
        let owes = self
            .money(Account::Owes(holder))
            .min(self.money(Account::Recovery(programme)));
        let shrinks = back.min(owes);
        let mut paid_before = Fen(back.0 - shrinks.0);
        let weights: Vec<u64> = parts.iter().map(|part| part.0.max(0) as u64).collect();
        let mut parts = parts.to_vec();
        for (funder, kept) in split(paid_before, &weights).into_iter().enumerate() {
            parts[funder].0 -= kept.0;
            if kept > Fen::ZERO {
                self.change_funder((programme, funder as u8), |account| add(&mut account.given_back, kept));
            }
        }
        if debtor == holder {
            // It would owe what it gets.
            let both = debits[1].1.min(paid_before);
            debits[1].1.0 -= both.0;
            paid_before.0 -= both.0;
        }
        self.uncall(programme, &parts, (Account::Wallet(holder), paid_before), &debits);
        add(&mut self.org_mut(holder).topped_up, paid_before);
        self.post(Account::Recovery(programme), Account::Owes(holder), shrinks);
    }

    // The grant goes back to the budget, or on the voucher while it lives and the programme says so.
    fn grant_back(&mut self, leg: &Leg, pin: &LegPin, by: Stamp) -> bool {
        let (units, used, budget) = (
            leg.unit_hours,
            Account::Uncalled(leg.programme),
            Account::Budget(leg.programme),
        );
        let programme = self.programme(leg.programme).expect("a leg's programme exists");
        let at_hold = programme.budget_policy == BudgetPolicy::CommitAtHold;
        let voucher = self.voucher(leg.voucher).expect("vouchers are never removed");
        let lives = matches!(
            voucher.state,
            VoucherState::Active | VoucherState::Suspended | VoucherState::Exhausted
        );
        let reinstate = pin.reinstate && lives && by.at < voucher.until;
        match (reinstate, at_hold) {
            (true, false) => self.grant(units, used, Account::Voucher(leg.voucher), leg.grant),
            (true, true) => {
                self.grant(units, used, budget, leg.grant);
                self.grant(
                    units,
                    Account::Unfunded(leg.programme),
                    Account::Voucher(leg.voucher),
                    leg.grant,
                );
            }
            (false, _) => self.grant(units, used, budget, leg.grant),
        }
        let voucher = self.voucher_mut(leg.voucher);
        voucher.captured.0 -= leg.grant.0;
        if reinstate {
            let holder = voucher.holder;
            if voucher.state == VoucherState::Exhausted {
                voucher.state = VoucherState::Active;
            }
            self.org_mut(holder).begin_use(leg.voucher);
        } else {
            voucher.lapsed.0 += leg.grant.0;
        }
        self.voucher_mut(leg.voucher).assert_whole();
        let programme = self.programme_mut(leg.programme);
        programme.captured.0 -= leg.grant.0;
        if !reinstate {
            programme.lapsed.0 += leg.grant.0;
        }
        reinstate
    }

    // Each funder gets back in proportion to what it still has in this cell: with one odd fen at most, and never more than it paid.
    fn funders_back(&self, programme: ProgrammeId, captured: Fen, back: Fen, refunded: &mut [Fen]) -> Vec<Fen> {
        let paid = self.funder_parts(programme, captured);
        let left: Vec<u64> = paid
            .iter()
            .zip(&*refunded)
            .map(|(paid, refunded)| (paid.0 - refunded.0) as u64)
            .collect();
        let parts = split(back, &left);
        for (refunded, part) in refunded.iter_mut().zip(&parts) {
            refunded.0 += part.0;
        }
        parts
    }

    /// What comes back from the debits, in their order, no longer is due from the funders, in theirs; what a funder has paid in already is owed back to the
    /// fund. A funder whose part is below zero pays more. `more` is another credit.
    pub(crate) fn uncall(
        &mut self,
        programme: ProgrammeId,
        parts: &[Fen],
        more: (Account, Fen),
        debits: &[(Account, Fen)],
    ) {
        let mut credits = Vec::with_capacity(parts.len() + 2);
        let mut paid_in = 0;
        for (funder, part) in parts.iter().enumerate() {
            let part = Fen(part.0.max(0));
            let not_paid = self.take_due(programme, funder as u8, part);
            credits.push((Account::Due(programme, funder as u8), not_paid));
            paid_in += part.0 - not_paid.0;
        }
        credits.extend([(Account::Recovery(programme), Fen(paid_in)), more]);
        let pays_more = |(funder, part): (usize, &Fen)| (Account::Due(programme, funder as u8), Fen((-part.0).max(0)));
        let mut debits = debits.iter().copied().chain(parts.iter().enumerate().map(pays_more));
        let mut debit = debits.next();
        for (credit, mut left) in credits {
            while left > Fen::ZERO
                && let Some((account, available)) = &mut debit
            {
                let amount = left.min(*available);
                self.post(*account, credit, amount);
                left.0 -= amount.0;
                available.0 -= amount.0;
                if *available == Fen::ZERO {
                    debit = debits.next();
                }
            }
            assert!(left == Fen::ZERO, "{left} fen come back from nobody");
        }
    }
}

// Splits an amount by what each leg and the co-pay still have in the cell.
fn shares(cell: &Cell, amount: Fen) -> Refund {
    let mut left: Vec<u64> = cell
        .legs
        .iter()
        .zip(&cell.legs_refunded)
        .map(|(leg, refunded)| (leg.amount.0 - refunded.amount.0) as u64)
        .collect();
    let available = (cell.gross.0 - cell.refunded.0) as u64;
    left.push(available - left.iter().sum::<u64>());
    let parts = split(amount, &left);
    let mut legs = cell.legs.to_vec();
    for (index, leg) in legs.iter_mut().enumerate() {
        let refunded = &cell.legs_refunded[index];
        let (amount_left, grant_left) = (leg.amount.0 - refunded.amount.0, leg.grant.0 - refunded.grant.0);
        leg.amount = parts[index];
        // All of it with the last fen, before that in proportion, rounded down.
        leg.grant = if leg.amount.0 == amount_left {
            Grant(grant_left)
        } else {
            Grant((i128::from(grant_left) * i128::from(leg.amount.0) / i128::from(amount_left)) as i64)
        };
    }
    let copay = parts[cell.legs.len()];
    let wallet = Fen(copay.0 + advanced(&legs).0);
    Refund {
        amount,
        legs,
        copay,
        wallet,
    }
}
