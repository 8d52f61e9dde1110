//! Giving back what a settled attempt cost, because the site was at fault: split by the capture's own legs, to the fen.

use crate::account::Account;
use crate::arithmetic::split;
use crate::journal::EntryKind;
use crate::ledger::{KeyState, Ledger};
use crate::party::{check_amount, check_text};
use crate::programme::{BudgetPolicy, Redemption};
use crate::quote::{Leg, LegPin};
use crate::rejection::{Rejection, Subject};
use crate::tally::{CellLine, LegLine};
use crate::types::{Fen, HoldKey, OrgId, ProgrammeId, Stamp};
use crate::voucher::VoucherState;

/// What went back: `amount = Σ legs + copay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// In all.
    pub amount: Fen,
    /// By the capture's legs, with what went back of each.
    pub legs: Vec<Leg>,
    /// Of the payer's share.
    pub copay: Fen,
    /// Back in the payer's wallet: the co-pay, and what the payer had advanced under holder-redeemed programmes (its claim shrinks as much).
    pub wallet: Fen,
}

impl Ledger {
    /// Gives back an amount (`None` = all that is left) of a capture in the settlement window; the provider loses it.
    ///
    /// Subsidies return to their funds, or to the voucher when the programme says so and the voucher lives; the co-pay to the wallet.
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
        let capture = self.captures.get(id).ok_or_else(unknown)?;
        let available = Fen(capture.receipt.gross.0 - capture.receipt.refunded.0);
        let amount = amount.unwrap_or(available);
        if available == Fen::ZERO || amount > available {
            return Err(Rejection::RefundTooLarge {
                key,
                needed: amount,
                available,
            });
        }
        check_amount("amount", amount)?;

        let capture = capture.clone();
        self.roll_periods(by);
        let refund = shares(&capture.receipt.legs, &capture.legs_refunded, available, amount);
        let (payer, provider) = (capture.receipt.payer, capture.receipt.provider);
        let mut funders_refunded = capture.funders_refunded;
        for (index, (leg, pin)) in refund.legs.iter().zip(&capture.pins).enumerate() {
            let back = self.refund_leg(payer, provider, leg, pin, by);
            let captured = capture.receipt.legs[index].amount;
            if funders_refunded.len() <= index {
                funders_refunded.push(vec![Fen::ZERO; self.funder_parts(leg.programme, captured).len()]);
            }
            let parts = self.uncall(leg.programme, captured, back, &mut funders_refunded[index]);
            let line = self.leg_line(leg, payer, capture.receipt.site, capture.period, back);
            self.tally_refund(&LegLine { parts: &parts, ..line });
            self.change_group_use(leg, pin, -back.0);
            self.change_job_use(key.job, leg, pin, -back.0);
        }
        let unpaid = self.take_receivable(provider, refund.wallet);
        self.post(Account::Receivable(provider), Account::Wallet(payer), unpaid);
        let paid = Fen(refund.wallet.0 - unpaid.0);
        self.post(Account::Owes(provider), Account::Wallet(payer), paid);
        let site = capture.receipt.site;
        self.tally_cell_refund(&CellLine {
            period: capture.period,
            payer,
            site,
            site_region: self.site(site).expect("sites are never removed").region,
            gross: refund.amount,
            subsidy: Fen(refund.amount.0 - refund.copay.0),
            wallet: refund.wallet,
        });
        self.org_mut(payer).spent.0 -= refund.wallet.0;

        let capture = self.captures.get_mut(id).expect("found above");
        capture.receipt.refunded.0 += amount.0;
        for (refunded, leg) in capture.legs_refunded.iter_mut().zip(&refund.legs) {
            refunded.0 += leg.amount.0;
        }
        capture.funders_refunded = funders_refunded;
        self.journal.facts([
            key.job,
            u64::from(key.task),
            u64::from(key.attempt),
            refund.wallet.0 as u64,
        ]);
        self.journal.facts(refund.legs.iter().map(|leg| leg.amount.0 as u64));
        self.journal.text(reason);
        self.write(EntryKind::Refund, by);
        Ok(refund)
    }

    // Takes the subsidy back from whoever was paid it.
    fn refund_leg(&mut self, payer: OrgId, provider: OrgId, leg: &Leg, pin: &LegPin, by: Stamp) -> Fen {
        if leg.amount == Fen::ZERO {
            return Fen::ZERO;
        }
        // What the payee has been paid already it owes from now on.
        let (unpaid, payee, debtor) = match leg.redemption {
            Redemption::Provider => {
                let unpaid = self.take_receivable(provider, leg.amount);
                (unpaid, Account::Receivable(provider), provider)
            }
            Redemption::Holder => {
                let unpaid = self.take_claim(payer, leg.programme, leg.amount);
                (unpaid, Account::Claim(payer), payer)
            }
        };
        let programme = self.programme(leg.programme).expect("a leg's programme exists");
        let at_hold = programme.budget_policy == BudgetPolicy::CommitAtHold;
        let voucher = self.voucher(leg.voucher).expect("vouchers are never removed");
        let lives = matches!(
            voucher.state,
            VoucherState::Active | VoucherState::Suspended | VoucherState::Exhausted
        );
        let reinstate = pin.reinstate && lives && by.at < voucher.until;
        let target = if reinstate && !at_hold {
            Account::Voucher(leg.voucher)
        } else {
            Account::Budget(leg.programme)
        };
        self.post(payee, target, unpaid);
        self.post(Account::Owes(debtor), target, Fen(leg.amount.0 - unpaid.0));
        if reinstate && at_hold {
            self.post(
                Account::Unfunded(leg.programme),
                Account::Voucher(leg.voucher),
                leg.amount,
            );
        }
        let voucher = self.voucher_mut(leg.voucher);
        voucher.captured.0 -= leg.amount.0;
        if reinstate {
            let holder = voucher.holder;
            if voucher.state == VoucherState::Exhausted {
                voucher.state = VoucherState::Active;
            }
            self.by_holder.insert((holder, leg.voucher), ());
        } else {
            voucher.lapsed.0 += leg.amount.0;
        }
        self.voucher_mut(leg.voucher).assert_whole();
        let programme = self.programme_mut(leg.programme);
        programme.captured.0 -= leg.amount.0;
        if !reinstate {
            programme.lapsed.0 += leg.amount.0;
        }
        leg.amount
    }

    // Each funder gets back in proportion to what it still has in this capture: with one odd fen at most, and never more than it paid.
    // What a funder has paid in already is owed back to the fund from now on.
    fn uncall(&mut self, programme: ProgrammeId, captured: Fen, back: Fen, refunded: &mut [Fen]) -> Vec<Fen> {
        let paid = self.funder_parts(programme, captured);
        let left: Vec<u64> = paid
            .iter()
            .zip(&*refunded)
            .map(|(paid, refunded)| (paid.0 - refunded.0) as u64)
            .collect();
        let parts = split(back, &left);
        for (funder, part) in parts.iter().enumerate() {
            let uncalled = Account::Uncalled(programme);
            let unpaid = self.take_due(programme, funder as u8, *part);
            self.post(uncalled, Account::Due(programme, funder as u8), unpaid);
            self.post(uncalled, Account::Recovery(programme), Fen(part.0 - unpaid.0));
            refunded[funder].0 += part.0;
        }
        parts
    }
}

// Splits an amount by what each leg and the co-pay still have in the capture.
fn shares(captured: &[Leg], refunded: &[Fen], available: Fen, amount: Fen) -> Refund {
    let mut left: Vec<u64> = captured
        .iter()
        .zip(refunded)
        .map(|(leg, refunded)| (leg.amount.0 - refunded.0) as u64)
        .collect();
    left.push(available.0 as u64 - left.iter().sum::<u64>());
    let parts = split(amount, &left);
    let mut legs = captured.to_vec();
    for (leg, part) in legs.iter_mut().zip(&parts) {
        leg.amount = *part;
    }
    let copay = parts[captured.len()];
    let advanced: i64 = legs
        .iter()
        .filter(|leg| leg.redemption == Redemption::Holder)
        .map(|leg| leg.amount.0)
        .sum();
    Refund {
        amount,
        legs,
        copay,
        wallet: Fen(copay.0 + advanced),
    }
}
