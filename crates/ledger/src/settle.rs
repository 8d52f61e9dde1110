//! The end of a hold: capture of what was used with release of the rest in one step, or release of everything.
//!
//! What is settled stays here for a settlement window, by its natural key: refunds are checked against it where the money is
//! (never more than was paid, in its own proportions, whatever the caller believes), and a key cannot be charged again. The window is
//! bounded by time and by count, so that captures do not grow for ever; the receipt is the caller's to keep.

use std::sync::Arc;

use crate::account::Account;
use crate::arithmetic::split;
use crate::bill::Bill;
use crate::flow::solve;
use crate::hold::{Hold, Pinned};
use crate::journal::EntryKind;
use crate::ledger::{KeyState, Ledger};
use crate::programme::Redemption;
use crate::quote::{Leg, LegPin};
use crate::rejection::{Rejection, Subject};
use crate::tally::{CellLine, LegLine};
use crate::types::{Fen, HoldId, HoldKey, OrgId, ProgrammeId, SiteId, Sku, Stamp, Timestamp};

/// One line of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptLine {
    /// The class.
    pub sku: Sku,
    /// Thousandths of a unit.
    pub milli_units: u64,
    /// Per unit-hour.
    pub millifen_per_unit_hour: u64,
    /// The sheet the price came with.
    pub price_version: u32,
    /// List price of the line.
    pub gross: Fen,
}

/// What a settled attempt cost and who paid: `gross = Σ legs + copay`. Amounts are as captured; what went back later is in `refunded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The hold it settles.
    pub hold: HoldId,
    /// The natural key.
    pub key: HoldKey,
    /// Who paid.
    pub payer: OrgId,
    /// Where it ran.
    pub site: SiteId,
    /// Who was credited.
    pub provider: OrgId,
    /// When it was settled.
    pub at: Timestamp,
    /// Billed time.
    pub wall_ms: u64,
    /// The lines.
    pub lines: Arc<[ReceiptLine]>,
    /// List price.
    pub gross: Fen,
    /// What each voucher paid, in the order of the hold; a leg that paid nothing is shown with 0.
    pub legs: Vec<Leg>,
    /// What remained for the payer.
    pub copay: Fen,
    /// What the wallet paid: the co-pay and what the holder advances under holder-redeemed programmes.
    pub wallet: Fen,
    /// Given back so far, of `gross`.
    pub refunded: Fen,
}

/// A settled hold inside the settlement window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capture {
    pub(crate) receipt: Receipt,
    /// What was captured is booked in it.
    pub(crate) period: u32,
    pub(crate) pins: Vec<LegPin>,
    /// Per leg, given back so far.
    pub(crate) legs_refunded: Vec<Fen>,
    /// Per leg and funder, given back so far; empty until the first refund.
    pub(crate) funders_refunded: Vec<Vec<Fen>>,
}

/// A settled hold as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a> {
    /// What it cost.
    pub receipt: &'a Receipt,
    /// The rules of each leg.
    pub pins: &'a [LegPin],
    /// Per leg, given back so far.
    pub legs_refunded: &'a [Fen],
}

/// How long, and how many, captures stay open to refunds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureWindow {
    /// Since the settlement.
    pub keep_ms: u64,
    /// The oldest goes when there are more.
    pub count_max: u64,
}

impl Default for CaptureWindow {
    fn default() -> Self {
        Self {
            keep_ms: 86_400_000,
            count_max: 100_000,
        }
    }
}

impl Ledger {
    /// Captures the reserved lines for the time used (capped at the hold's limit), pays, and releases the rest: one step, one entry.
    pub fn settle(&mut self, hold: HoldId, wall_ms: u64, by: impl Into<Stamp>) -> Result<Receipt, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let (hold, receipt, period) = self.end_hold(hold, wall_ms, by)?;
        self.journal.facts([
            receipt.hold.0,
            receipt.wall_ms,
            receipt.gross.0 as u64,
            receipt.wallet.0 as u64,
        ]);
        self.journal.facts(receipt.legs.iter().map(|leg| leg.amount.0 as u64));
        self.write(EntryKind::Settle, by);
        self.keep_capture(receipt.clone(), period, hold.pinned.pins);
        Ok(receipt)
    }

    /// Releases everything that is held: nothing was used.
    pub fn release(&mut self, hold: HoldId, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        let (hold, receipt, period) = self.end_hold(hold, 0, by)?;
        self.journal.fact(receipt.hold.0);
        self.write(EntryKind::Release, by);
        self.keep_capture(receipt, period, hold.pinned.pins);
        Ok(())
    }

    /// What has gone back of each leg of a receipt, in their order, while its capture is in the settlement window.
    pub fn legs_refunded(&self, key: HoldKey) -> Option<&[Fen]> {
        match self.keys.get(&key)? {
            KeyState::Open(_) => None,
            KeyState::Ended(capture) => Some(&self.captures.get(*capture)?.legs_refunded),
        }
    }

    /// The receipt under a key, while its capture is in the settlement window.
    pub fn receipt(&self, key: HoldKey) -> Option<&Receipt> {
        match self.keys.get(&key)? {
            KeyState::Open(_) => None,
            KeyState::Ended(capture) => Some(&self.captures.get(*capture)?.receipt),
        }
    }

    /// What is in the settlement window, in order of settlement.
    pub fn settled(&self) -> impl Iterator<Item = Settled<'_>> {
        self.captures.iter().map(|(_, capture)| Settled {
            receipt: &capture.receipt,
            pins: &capture.pins,
            legs_refunded: &capture.legs_refunded,
        })
    }

    /// Sets how long and how many captures stay open to refunds; shrinking it drops the oldest at the next settlement or expiry.
    pub fn set_capture_window(&mut self, window: CaptureWindow) {
        self.window = window;
    }

    fn end_hold(&mut self, id: HoldId, wall_ms: u64, by: Stamp) -> Result<(Hold, Receipt, u32), Rejection> {
        let Some(hold) = self.holds.get(id.0) else {
            let ended = id.0 > 0 && id.0 < self.holds.next_id();
            return Err(if ended {
                Rejection::HoldEnded { hold: id }
            } else {
                Rejection::unknown(Subject::Hold, id)
            });
        };
        let used_ms = wall_ms.min(hold.pinned.walltime_ms_max);
        let usage_end = Timestamp(hold.opened_at.0.saturating_add(used_ms).min(by.at.0));
        let period = self.period_for(usage_end, by);
        let hold = self.holds.remove(id.0).expect("found above");
        let receipt = receipt(id, &hold, wall_ms, by.at);
        let pinned = &hold.pinned;
        let legs = pinned.legs.iter().zip(&pinned.pins).zip(&receipt.legs);
        for ((held, pin), captured) in legs {
            self.capture_leg(pinned, held, captured.amount, period);
            let rest = Fen(held.amount.0 - captured.amount.0);
            self.release_leg(held, rest);
            let programme = self.programme_mut(held.programme);
            programme.held.0 -= held.amount.0;
            programme.captured.0 += captured.amount.0;
            self.change_group_use(held, pin, -rest.0);
            self.change_job_use(hold.key.job, held, pin, -rest.0);
            self.retire_when_spent(held.voucher);
        }
        self.post(
            Account::WalletHeld(pinned.payer),
            Account::Receivable(pinned.provider),
            receipt.wallet,
        );
        self.post(
            Account::WalletHeld(pinned.payer),
            Account::Wallet(pinned.payer),
            Fen(pinned.wallet.0 - receipt.wallet.0),
        );
        self.org_mut(pinned.payer).spent.0 += receipt.wallet.0;
        self.tally_cell(&CellLine {
            period,
            payer: pinned.payer,
            site: pinned.site,
            site_region: self.site(pinned.site).expect("sites are never removed").region,
            gross: receipt.gross,
            subsidy: Fen(receipt.gross.0 - receipt.copay.0),
            wallet: receipt.wallet,
        });
        Ok((hold, receipt, period))
    }

    // The payee is credited from the voucher, and the funders now owe what was only granted.
    fn capture_leg(&mut self, pinned: &Pinned, leg: &Leg, amount: Fen, period: u32) {
        let payee = match leg.redemption {
            Redemption::Provider => Account::Receivable(pinned.provider),
            Redemption::Holder => Account::Claim(pinned.payer),
        };
        self.post(Account::VoucherHeld(leg.voucher), payee, amount);
        let voucher = self.voucher_mut(leg.voucher);
        voucher.captured.0 += amount.0;
        let line = self.leg_line(leg, pinned.payer, pinned.site, period, amount);
        let programme = self.programme(leg.programme).expect("a leg's programme exists");
        if programme.funders.len() == 1 {
            self.post(Account::Due(leg.programme, 0), Account::Uncalled(leg.programme), amount);
            return self.tally_capture(&line);
        }
        let parts = self.funder_parts(leg.programme, amount);
        for (funder, part) in parts.iter().enumerate() {
            self.post(
                Account::Due(leg.programme, funder as u8),
                Account::Uncalled(leg.programme),
                *part,
            );
        }
        self.tally_capture(&LegLine { parts: &parts, ..line });
    }

    /// A leg as it is counted, of one funder.
    pub(crate) fn leg_line(&self, leg: &Leg, payer: OrgId, site: SiteId, period: u32, amount: Fen) -> LegLine<'static> {
        let holder = self.org(payer).expect("organisations are never removed");
        let site_region = self.site(site).expect("sites are never removed").region;
        let (payee_region, claimant) = match leg.redemption {
            Redemption::Provider => (site_region, None),
            Redemption::Holder => (holder.registered.region, Some(payer)),
        };
        LegLine {
            period,
            programme: leg.programme,
            agreement: leg.agreement,
            site,
            payee_region,
            claimant,
            amount,
            parts: &[],
        }
    }

    /// An amount split among the funders of a programme.
    pub(crate) fn funder_parts(&self, programme: ProgrammeId, amount: Fen) -> Vec<Fen> {
        let programme = self.programme(programme).expect("a leg's programme exists");
        split(amount, &programme.weights())
    }

    fn keep_capture(&mut self, receipt: Receipt, period: u32, pins: Vec<LegPin>) {
        let key = receipt.key;
        let legs_refunded = vec![Fen::ZERO; pins.len()];
        let id = self.captures.push(Capture {
            receipt,
            period,
            pins,
            legs_refunded,
            funders_refunded: Vec::new(),
        });
        self.keys.insert(key, KeyState::Ended(id));
        if self.captures.len() as u64 > self.window.count_max {
            self.forget_oldest_capture();
        }
    }

    pub(crate) fn forget_oldest_capture(&mut self) {
        let Some((id, _)) = self.captures.first() else { return };
        let capture = self.captures.remove(id).expect("found above");
        self.keys.remove(&capture.receipt.key);
        for (leg, pin) in capture.receipt.legs.iter().zip(&capture.pins) {
            self.forget_job(capture.receipt.key.job, leg, pin);
        }
    }
}

// The bill for the time used, paid by the same legs under the same rules, each up to what it holds.
fn receipt(id: HoldId, hold: &Hold, wall_ms: u64, at: Timestamp) -> Receipt {
    let pinned = &hold.pinned;
    let wall_ms = wall_ms.min(pinned.walltime_ms_max);
    let bill = Bill::new(&pinned.lines, wall_ms).expect("less than the limit, which was accepted");
    let amounts = captured(&bill, pinned);
    let mut legs = pinned.legs.clone();
    for ((leg, pin), amount) in legs.iter_mut().zip(&pinned.pins).zip(amounts) {
        leg.amount = Fen(amount);
        leg.eligible = bill.eligible(&pin.rates, pin.cover_ms);
    }
    let subsidy: i64 = legs.iter().map(|leg| leg.amount.0).sum();
    let advanced: i64 = legs
        .iter()
        .filter(|leg| leg.redemption == Redemption::Holder)
        .map(|leg| leg.amount.0)
        .sum();
    let copay = Fen(bill.gross.0 - subsidy);
    let wallet = Fen(copay.0 + advanced);
    assert!(
        copay >= Fen::ZERO && wallet <= pinned.wallet,
        "hold {id} has {} fen in the wallet, {wallet} are due",
        pinned.wallet
    );
    let line = |(priced, gross): (&crate::price::PricedLine, &Fen)| ReceiptLine {
        sku: priced.line.sku.clone(),
        milli_units: priced.line.milli_units,
        millifen_per_unit_hour: priced.millifen_per_unit_hour,
        price_version: priced.price_version,
        gross: *gross,
    };
    Receipt {
        hold: id,
        key: hold.key,
        payer: pinned.payer,
        site: pinned.site,
        provider: pinned.provider,
        at,
        wall_ms,
        lines: pinned.lines.iter().zip(&bill.per_line).map(line).collect(),
        gross: bill.gross,
        legs,
        copay,
        wallet,
        refunded: Fen::ZERO,
    }
}

fn captured(bill: &Bill<'_>, pinned: &Pinned) -> Vec<i64> {
    if pinned.legs.is_empty() || bill.gross == Fen::ZERO {
        return vec![0; pinned.legs.len()];
    }
    let mut programmes: Vec<ProgrammeId> = Vec::with_capacity(pinned.legs.len());
    for leg in &pinned.legs {
        if !programmes.contains(&leg.programme) {
            programmes.push(leg.programme);
        }
    }
    // Caps and budgets were judged at the hold; what each leg holds is all that is left of them.
    // Caps were judged at the hold; no leg pays more than is held for it.
    let no_caps = vec![Fen::MAX.0; programmes.len()];
    let one_group = (vec![Fen::MAX.0], vec![0; programmes.len()]);
    let mut problem = bill.problem(no_caps, one_group, pinned.stack_max);
    for (leg, pin) in pinned.legs.iter().zip(&pinned.pins) {
        let programme = programmes
            .iter()
            .position(|known| *known == leg.programme)
            .expect("collected above");
        bill.offer(&mut problem, programme, leg.amount, &pin.rates, pin.cover_ms);
    }
    solve(problem)
}
