//! The time of a hold in slices: one per calendar month that it reaches into, so that every month's use is rounded, captured and booked by
//! itself, and what each of them can cost is held from the start. A slice that is over is captured as one *cell*, once.

use std::sync::Arc;

use smallvec::smallvec;

use crate::arithmetic::{taken_for, taken_of};
use crate::bill::{Bill, Offer};
use crate::calendar::month_end;
use crate::choice::{Choice, best_choice};
use crate::eligibility::{Asked, Offers, When};
use crate::flow::solve;
use crate::price::PricedLine;
use crate::programme::Redemption;
use crate::quote::{Leg, LegPin, leg, pin};
use crate::rejection::Rejection;
use crate::types::{BasisPoints, Fen, Few, Grant, ProgrammeId, Timestamp};

/// The most slices of one hold that are open at once, and so the most extensions of a running one.
pub const SLICES_MAX: usize = 128;

/// A part of a hold's time with the money held for it and everything pinned that its capture needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// From here, in ms from the hold's beginning …
    pub from_ms: u64,
    /// … to here.
    pub until_ms: u64,
    /// What is reserved, with its prices.
    pub lines: Arc<[PricedLine]>,
    /// Held on each voucher.
    pub legs: Few<Leg, 2>,
    /// Rules of each leg.
    pub pins: Few<LegPin, 2>,
    /// All legs together pay at most this part of the list price.
    pub stack_max: BasisPoints,
    /// List price of the whole slice.
    pub gross: Fen,
    /// Held in the wallet: co-pay, slack, and what the holder advances.
    pub wallet: Fen,
}

/// What was used of a slice: `gross = Σ legs + copay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// From here, in ms from the hold's beginning …
    pub from_ms: u64,
    /// … to here.
    pub to_ms: u64,
    /// The accounting period it is booked in.
    pub period: u32,
    /// What was reserved, with its prices.
    pub lines: Arc<[PricedLine]>,
    /// List price.
    pub gross: Fen,
    /// What each voucher paid, in the order of the slice; a leg that paid nothing is shown with 0.
    pub legs: Few<Leg, 2>,
    /// Rules of each leg.
    pub pins: Few<LegPin, 2>,
    /// What remained for the payer.
    pub copay: Fen,
    /// What the wallet paid: the co-pay and what the holder advances under holder-redeemed programmes.
    pub wallet: Fen,
    /// Given back so far, of `gross`.
    pub refunded: Fen,
    /// Per leg, given back so far; empty until the first refund.
    pub legs_refunded: Vec<LegRefunded>,
}

/// What has gone back of one leg.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegRefunded {
    /// Money.
    pub amount: Fen,
    /// In the programme's denomination.
    pub grant: Grant,
    /// Of the amount, by funder.
    pub funders: Vec<Fen>,
}

/// Plans the time of a bill slice by slice: each takes from the offers what the ones before have left.
pub(crate) fn plan_slices(
    asked: &Asked<'_>,
    lines: &Arc<[PricedLine]>,
    whole: &Bill<'_>,
    offers: &mut Offers<'_>,
    when: When,
) -> Result<Vec<Slice>, Rejection> {
    let span_ms = asked.request.walltime_ms_max;
    let mut slices = Vec::with_capacity(1);
    let mut from_ms = 0;
    while from_ms < span_ms {
        let begins = Timestamp(when.use_from.0.saturating_add(from_ms));
        let month_ms = month_end(begins).0 - when.use_from.0;
        // At the very end of time there is no month after it.
        let until_ms = if month_ms > from_ms {
            month_ms.min(span_ms)
        } else {
            span_ms
        };
        let part;
        let bill = if until_ms - from_ms == whole.ms {
            whole
        } else {
            part = Bill::new(lines, until_ms - from_ms)?;
            &part
        };
        let choice = best_choice(bill, offers, from_ms);
        let mut slice = slice(asked, lines, bill, offers, &choice, from_ms);
        slice.from_ms = when.offset_ms + from_ms;
        slice.until_ms = when.offset_ms + until_ms;
        slices.push(slice);
        from_ms = until_ms;
    }
    Ok(slices)
}

fn slice(
    asked: &Asked<'_>,
    lines: &Arc<[PricedLine]>,
    bill: &Bill<'_>,
    offers: &mut Offers<'_>,
    choice: &Choice,
    from_ms: u64,
) -> Slice {
    let mut legs: Few<Leg, 2> = Few::new();
    let mut pins = Few::new();
    for (index, amount) in &choice.legs {
        let candidate = &offers.candidates[*index];
        let view = &offers.views[candidate.view];
        let cover_ms = candidate.cover_ms.saturating_sub(from_ms).min(bill.ms);
        let grant = match view.unit_price {
            None => Grant(amount.0),
            // Rounded over all vouchers of the programme together, so that they never take more than its caps leave.
            Some(price) => {
                let earlier = legs.iter().filter(|leg| leg.programme == view.programme.id);
                let before: i64 = earlier.map(|leg| leg.amount.0).sum();
                Grant(taken_for(Fen(before + amount.0), price).0 - taken_for(Fen(before), price).0)
            }
        };
        legs.push(leg(bill, view, candidate, cover_ms, *amount, grant));
        pins.push(pin(asked, view, cover_ms));
        let (view, agreement) = (candidate.view, view.agreement.map(|agreement| agreement.id));
        offers.candidates[*index].left.0 -= grant.0;
        offers.views[view].caps_left.0 -= grant.0;
        if agreement.is_some() {
            let carried = |view: &&mut crate::eligibility::ProgrammeView<'_>| {
                view.agreement.map(|agreement| agreement.id) == agreement
            };
            offers
                .views
                .iter_mut()
                .filter(carried)
                .for_each(|view| view.agreement_left.0 -= amount.0);
        }
    }
    let subsidy: i64 = legs.iter().map(|leg| leg.amount.0).sum();
    assert!(
        subsidy <= bill.gross.0,
        "vouchers pay {subsidy} fen of a bill of {}",
        bill.gross
    );
    let copay = bill.gross.0 - subsidy;
    let wallet = Fen(copay + slack(&legs, &pins, bill.ms, bill.lines.len()).0 + advanced(&legs).0);
    Slice {
        from_ms: 0,
        until_ms: 0,
        lines: lines.clone(),
        legs,
        pins,
        stack_max: choice.stack_max,
        gross: bill.gross,
        wallet,
    }
}

/// What the payer advances under holder-redeemed programmes.
pub(crate) fn advanced(legs: &[Leg]) -> Fen {
    let advanced = legs.iter().filter(|leg| leg.redemption == Redemption::Holder);
    Fen(advanced.map(|leg| leg.amount.0).sum())
}

/// By how much the co-pay at less than full use can exceed the co-pay at full use, through rounding alone.
///
/// Without rounding it never does: scaling a payment plan down scales every bound at least as much. On a line that n programmes
/// cover whole, each floor loses less than a fen, so n floors lose at most n - 1 whole fen more than at full use (one leg: none). On a
/// line that some voucher covers in part, the rounding of its own list price comes on top: at most two fen a voucher and one for the line.
pub(crate) fn slack(legs: &[Leg], pins: &[LegPin], span_ms: u64, lines: usize) -> Fen {
    let mut slack = 0;
    for line in 0..lines {
        let paying = || legs.iter().zip(pins).filter(move |(_, pin)| pin.rates[line].0 > 0);
        let vouchers = paying().count() as i64;
        if paying().any(|(_, pin)| pin.cover_ms < span_ms) {
            slack += 2 * vouchers + 1;
        } else {
            let first =
                |index: usize, leg: &Leg| legs[..index].iter().all(|earlier| earlier.programme != leg.programme);
            let distinct = legs
                .iter()
                .zip(pins)
                .enumerate()
                .filter(|(index, (leg, pin))| pin.rates[line].0 > 0 && first(*index, leg));
            slack += (distinct.count() as i64 - 1).max(0);
        }
    }
    Fen(slack)
}

impl Cell {
    /// What the wallet paid after all: a recount that is over what is held is not billed.
    pub(crate) fn paid_by_wallet(&self) -> Fen {
        Fen(self.wallet.0 - self.refunded.0)
    }

    /// The legs with their rules.
    pub(crate) fn legs(&self) -> impl Iterator<Item = (&Leg, &LegPin)> {
        self.legs.iter().zip(&self.pins)
    }

    /// List price of each line.
    pub fn per_line(&self) -> Few<Fen, 4> {
        let bill = Bill::new(&self.lines, self.to_ms - self.from_ms);
        bill.expect("it was priced when it was captured").per_line
    }
}

impl Slice {
    /// The legs with their rules.
    pub(crate) fn legs(&self) -> impl Iterator<Item = (&Leg, &LegPin)> {
        self.legs.iter().zip(&self.pins)
    }

    /// The cell of the slice's use up to `to_ms` (from the hold's beginning): the bill for that time, paid by the same legs under the same rules,
    /// each up to what it holds. The wallet holds enough for it.
    pub(crate) fn cell(self, to_ms: u64, period: u32) -> Cell {
        let held = self.wallet;
        let cell = self.used(to_ms, period);
        assert!(
            cell.wallet <= held,
            "a slice has {held} fen in the wallet, {} are due",
            cell.wallet
        );
        cell
    }

    /// The same of a slice that may hold too little in the wallet by a rounding, because it was cut where it was captured.
    pub(crate) fn used(self, to_ms: u64, period: u32) -> Cell {
        let bill = Bill::new(&self.lines, to_ms - self.from_ms).expect("less than the slice, which was accepted");
        let amounts = self.captured(&bill);
        let mut legs = self.legs;
        for ((leg, pin), amount) in legs.iter_mut().zip(&self.pins).zip(amounts) {
            leg.grant = grant_of(leg, Fen(amount));
            leg.amount = Fen(amount);
            leg.eligible = bill.eligible(&pin.rates, pin.cover_ms);
        }
        let gross = bill.gross;
        let subsidy: i64 = legs.iter().map(|leg| leg.amount.0).sum();
        let copay = Fen(gross.0 - subsidy);
        let wallet = Fen(copay.0 + advanced(&legs).0);
        assert!(copay >= Fen::ZERO, "the legs of a slice pay {copay} fen too much");
        Cell {
            from_ms: self.from_ms,
            to_ms,
            period,
            lines: self.lines,
            gross,
            legs,
            pins: self.pins,
            copay,
            wallet,
            refunded: Fen::ZERO,
            legs_refunded: Vec::new(),
        }
    }

    fn captured(&self, bill: &Bill<'_>) -> Few<i64, 4> {
        if self.legs.is_empty() || bill.gross == Fen::ZERO {
            return smallvec![0; self.legs.len()];
        }
        let offers = self.legs().map(|(leg, pin)| Offer {
            programme: leg.programme.0 as usize,
            most: leg.amount,
            rates: &pin.rates,
            cover_ms: pin.cover_ms,
        });
        if let Some(amounts) = bill.at_rates(offers, self.stack_max) {
            return amounts;
        }
        let mut programmes: Few<ProgrammeId, 4> = Few::new();
        for leg in &self.legs {
            if !programmes.contains(&leg.programme) {
                programmes.push(leg.programme);
            }
        }
        // Caps and budgets were judged at the hold; what each leg holds is all that is left of them.
        let no_caps = smallvec![Fen::MAX.0; programmes.len()];
        let one_group = (smallvec![Fen::MAX.0], smallvec![0; programmes.len()]);
        let mut problem = bill.problem(no_caps, one_group, self.stack_max);
        for (leg, pin) in self.legs.iter().zip(&self.pins) {
            let programme = programmes
                .iter()
                .position(|known| *known == leg.programme)
                .expect("collected above");
            bill.offer(&mut problem, programme, leg.amount, &pin.rates, pin.cover_ms);
        }
        solve(problem)
    }
}

// What an amount takes of a leg's voucher.
fn grant_of(leg: &Leg, amount: Fen) -> Grant {
    if leg.unit_hours {
        taken_of(leg.grant, amount, leg.amount)
    } else {
        Grant(amount.0)
    }
}
