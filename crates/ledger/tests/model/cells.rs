//! Bounds on what is captured, with their own arithmetic.

use hesuan_ledger::types::{Fen, Timestamp};
use hesuan_ledger::{Cell, Slice};

use super::{World, YEAR_END};

/// What is captured of a slice is inside what it held (I4, I7).
pub(crate) fn check_against_slice(cell: &Cell, slice: &Slice) {
    assert!(cell.from_ms == slice.from_ms && cell.to_ms <= slice.until_ms);
    assert!(cell.wallet <= slice.wallet);
    let subsidy: i64 = cell.legs.iter().map(|leg| leg.amount.0).sum();
    assert!(
        subsidy * 10_000 <= cell.gross.0 * i64::from(slice.stack_max.0),
        "over the stack cap"
    );
    for (leg, held) in cell.legs.iter().zip(&slice.legs) {
        assert!(
            leg.amount >= Fen::ZERO && leg.amount <= held.amount && leg.grant <= held.grant,
            "a leg captured more than it held"
        );
    }
}

/// I7 with its own arithmetic.
pub(crate) fn check_cell(captured: &Cell) {
    let wall_ms = captured.to_ms - captured.from_ms;
    let cell = |units: u64, ms: u64, price: u64| {
        let raw = u128::from(units) * u128::from(ms) * u128::from(price);
        let (whole, rest) = (raw / 3_600_000_000_000, raw % 3_600_000_000_000);
        if rest >= 1_800_000_000_000 {
            whole as i64 + 1
        } else {
            whole as i64
        }
    };
    let gross: Vec<i64> = captured
        .lines
        .iter()
        .map(|line| cell(line.line.milli_units, wall_ms, line.millifen_per_unit_hour))
        .collect();
    assert_eq!(captured.gross.0, gross.iter().sum::<i64>());
    let subsidy: i64 = captured.legs.iter().map(|leg| leg.amount.0).sum();
    assert_eq!(subsidy + captured.copay.0, captured.gross.0);
    for (leg, pin) in captured.legs.iter().zip(&captured.pins) {
        let mut at_most = 0;
        let mut eligible = 0;
        for (line, rate) in captured.lines.iter().zip(&*pin.rates) {
            let covered = cell(
                line.line.milli_units,
                wall_ms.min(pin.cover_ms),
                line.millifen_per_unit_hour,
            );
            at_most += covered * i64::from(rate.0);
            eligible += if rate.0 > 0 { covered } else { 0 };
        }
        assert_eq!(leg.eligible.0, eligible);
        assert!(leg.amount.0 * 10_000 <= at_most, "a leg over its rates: {leg:?}");
    }
}

/// I8: what a voucher pays for was used before its end, and before the end of the year it was held in unless its programme carries over.
pub(crate) fn check_covers(world: &World, opened_at: Timestamp, cell: &Cell) {
    for (leg, pin) in cell
        .legs
        .iter()
        .zip(&cell.pins)
        .filter(|(leg, _)| leg.amount > Fen::ZERO)
    {
        let voucher = world.ledger.voucher(leg.voucher).expect("vouchers are never removed");
        let programme = world
            .ledger
            .programme(leg.programme)
            .expect("programmes are never removed");
        let terms = &programme.revisions[pin.revision as usize - 1].terms;
        let paid_until = opened_at.0 + cell.from_ms + pin.cover_ms.min(cell.to_ms - cell.from_ms);
        let year_end = if pin.year == 2026 { YEAR_END } else { u64::MAX };
        assert!(
            paid_until <= voucher.until.0 && (terms.carry_over || paid_until <= year_end),
            "voucher {} pays after its end: {cell:?}",
            leg.voucher
        );
    }
}
