//! Giving back what a settled attempt cost, because the site was at fault: split by the cells' own legs, to the fen. The latest use
//! goes back first.

use crate::account::Account;
use crate::arithmetic::split;
use crate::journal::EntryKind;
use crate::ledger::{KeyState, Ledger};
use crate::party::{check_amount, check_text};
use crate::programme::{BudgetPolicy, Redemption};
use crate::quote::{Leg, LegPin, merged};
use crate::rejection::{Rejection, Subject};
use crate::slice::{Cell, LegRefunded, advanced};
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
        check_text("reason", reason)?;
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

    /// Gives back what was captured and not used after all.
    pub(crate) fn refund_unused(&mut self, settled: u64, amount: Fen, by: Stamp) {
        if amount > Fen::ZERO {
            self.give_refund(settled, amount, "not used", by);
        }
    }

    fn give_refund(&mut self, id: u64, amount: Fen, reason: &str, by: Stamp) -> Refund {
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
            let back = self.refund_cell(key.job, (settled.payer, settled.provider), place, &mut cell, part, by);
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

    fn refund_cell(
        &mut self,
        job: u64,
        (payer, provider): (OrgId, OrgId),
        place: usize,
        cell: &mut Cell,
        amount: Fen,
        by: Stamp,
    ) -> Refund {
        if cell.legs_refunded.is_empty() {
            let funders =
                |leg: &Leg| vec![Fen::ZERO; self.programme(leg.programme).map_or(0, |known| known.funders.len())];
            cell.legs_refunded = cell
                .legs
                .iter()
                .map(|leg| LegRefunded {
                    funders: funders(leg),
                    ..LegRefunded::default()
                })
                .collect();
        }
        let refund = shares(cell, amount);
        let booked = self.period_for_refund(cell.period, by);
        self.journal
            .facts([place as u64, u64::from(cell.period), u64::from(booked)]);
        self.journal.facts([amount.0 as u64, refund.wallet.0 as u64]);
        for (index, (leg, pin)) in refund.legs.iter().zip(&cell.pins).enumerate() {
            let reinstated = self.refund_leg(
                payer,
                provider,
                leg,
                pin,
                &cell.legs[index],
                &mut cell.legs_refunded[index],
                by,
            );
            self.journal
                .facts([leg.amount.0 as u64, leg.grant.0 as u64, u64::from(reinstated)]);
            self.change_group_use(leg, pin, -leg.grant.0);
            self.uncount_job(job, leg, pin, (leg.amount, leg.grant));
        }
        self.take_back(
            Account::Receivable(provider),
            provider,
            &[(Account::Wallet(payer), refund.wallet)],
        );
        self.org_mut(payer).spent.0 -= refund.wallet.0;
        cell.refunded.0 += amount.0;
        refund
    }

    // Takes the subsidy back from whoever was paid it; `true` if it went back on the voucher.
    #[allow(
        clippy::too_many_arguments,
        reason = "a leg with its rules, what it captured and what of it has gone back"
    )]
    fn refund_leg(
        &mut self,
        payer: OrgId,
        provider: OrgId,
        leg: &Leg,
        pin: &LegPin,
        captured: &Leg,
        refunded: &mut LegRefunded,
        by: Stamp,
    ) -> bool {
        if leg.amount == Fen::ZERO {
            return false;
        }
        let reinstate = self.grant_back(leg, pin, by);
        let (payee, debtor) = match leg.redemption {
            Redemption::Provider => (Account::Receivable(provider), provider),
            Redemption::Holder => (Account::Claim(payer), payer),
        };
        let credits = self.uncalled_parts(leg.programme, captured.amount, leg.amount, &mut refunded.funders);
        self.take_back(payee, debtor, &credits);
        refunded.amount.0 += leg.amount.0;
        refunded.grant.0 += leg.grant.0;
        let voucher = self.voucher_mut(leg.voucher);
        voucher.paid.0 -= leg.amount.0;
        let (fraud, holder) = (voucher.fraud, voucher.holder);
        self.programme_mut(leg.programme).paid.0 -= leg.amount.0;
        if fraud {
            // The holder owes the fund only what it was not given back.
            let owed = self.org(holder).expect("a voucher has a holder").owes;
            let recovery = self
                .programme(leg.programme)
                .expect("a leg's programme exists")
                .recovery;
            let less = leg.amount.min(owed).min(recovery);
            self.post(Account::Recovery(leg.programme), Account::Owes(holder), less);
        }
        reinstate
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
            self.by_holder.insert((holder, leg.voucher), ());
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

    // Each funder gets back in proportion to what it still has in this cell: with one odd fen at most, and never more than it paid. What it
    // has paid in already is owed to it.
    fn uncalled_parts(
        &self,
        programme: ProgrammeId,
        captured: Fen,
        back: Fen,
        refunded: &mut [Fen],
    ) -> Vec<(Account, Fen)> {
        let paid = self.funder_parts(programme, captured);
        let left: Vec<u64> = paid
            .iter()
            .zip(&*refunded)
            .map(|(paid, refunded)| (paid.0 - refunded.0) as u64)
            .collect();
        let due = &self.programme(programme).expect("a leg's programme exists").due;
        let mut parts = Vec::with_capacity(due.len() + 1);
        let mut paid_in = Fen::ZERO;
        for (funder, part) in split(back, &left).into_iter().enumerate() {
            let not_paid = part.min(due[funder]);
            parts.push((Account::Due(programme, funder as u8), not_paid));
            paid_in.0 += part.0 - not_paid.0;
            refunded[funder].0 += part.0;
        }
        parts.push((Account::Recovery(programme), paid_in));
        parts
    }

    // Takes amounts from what somebody is owed; what was paid out already it owes from now on.
    fn take_back(&mut self, payee: Account, debtor: OrgId, credits: &[(Account, Fen)]) {
        for (credit, amount) in credits {
            let owed = Fen(self.balance(payee).min(amount.0));
            self.post(payee, *credit, owed);
            self.post(Account::Owes(debtor), *credit, Fen(amount.0 - owed.0));
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
    let mut legs = cell.legs.clone();
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
