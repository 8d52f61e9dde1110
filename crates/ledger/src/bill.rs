//! A bill: the lines of a request with their prices, for a time; and what a voucher's rates give of it.

use smallvec::smallvec;

use crate::arithmetic::{gross, share};
use crate::flow::Problem;
use crate::price::{MILLI_UNITS_MAX, MILLIFEN_MAX, PricedLine, WALLTIME_MS_MAX};
use crate::rejection::Rejection;
use crate::types::{BasisPoints, Fen, Few};

/// The lines of a bill for a time, each rounded once.
pub(crate) struct Bill<'a> {
    pub(crate) lines: &'a [PricedLine],
    pub(crate) ms: u64,
    pub(crate) per_line: Few<Fen, 4>,
    pub(crate) gross: Fen,
}

/// A voucher that may pay.
pub(crate) struct Offer<'a> {
    /// Any number that is its programme's alone.
    pub(crate) programme: usize,
    /// The least of its balance and of its programme's caps.
    pub(crate) most: Fen,
    pub(crate) rates: &'a [BasisPoints],
    /// How much of the bill's time it covers; may be longer.
    pub(crate) cover_ms: u64,
}

impl<'a> Bill<'a> {
    pub(crate) fn new(lines: &'a [PricedLine], ms: u64) -> Result<Self, Rejection> {
        let too_dear = || Rejection::invalid("lines", ms, "a bill of at most 100000000000000 fen");
        let (mut per_line, mut sum) = (Few::new(), Fen::ZERO);
        for priced in lines {
            let fen = gross(priced.line.milli_units, ms, priced.millifen_per_unit_hour).ok_or_else(too_dear)?;
            per_line.push(fen);
            // Both are at most Fen::MAX, far from the end of an i64.
            sum.0 += fen.0;
            if sum > Fen::MAX {
                return Err(too_dear());
            }
        }
        Ok(Self {
            lines,
            ms,
            per_line,
            gross: sum,
        })
    }

    /// The same for lines and a time that nobody has checked; `None` when they are out of bounds.
    pub(crate) fn checked(lines: &'a [PricedLine], ms: u64) -> Option<Self> {
        let inside = |priced: &PricedLine| {
            priced.line.milli_units <= MILLI_UNITS_MAX && priced.millifen_per_unit_hour <= MILLIFEN_MAX
        };
        let all = ms <= WALLTIME_MS_MAX && lines.iter().all(inside);
        all.then(|| Self::new(lines, ms).ok()).flatten()
    }

    /// What a line costs inside a cover, which may be longer than the bill's time.
    pub(crate) fn covered(&self, line: usize, cover_ms: u64) -> Fen {
        if cover_ms >= self.ms {
            return self.per_line[line];
        }
        let priced = &self.lines[line];
        gross(priced.line.milli_units, cover_ms, priced.millifen_per_unit_hour).expect("less than a line that fits")
    }

    /// What the lines with a rate cost inside a cover.
    pub(crate) fn eligible(&self, rates: &[BasisPoints], cover_ms: u64) -> Fen {
        let lines = rates.iter().enumerate().filter(|(_, rate)| rate.0 > 0);
        Fen(lines.map(|(line, _)| self.covered(line, cover_ms).0).sum())
    }

    /// What each of some vouchers pays where nothing but its rates bounds it; `None` where two are of one programme, or some line, balance or the
    /// stack cap is not enough. Almost every bill is paid so, and the flow of such vouchers is just this: each pays all that its rates give.
    pub(crate) fn at_rates<'b>(
        &self,
        offers: impl Iterator<Item = Offer<'b>>,
        stack_max: BasisPoints,
    ) -> Option<Few<i64, 4>> {
        let mut lines: Few<i64, 4> = self.per_line.iter().map(|fen| fen.0).collect();
        let lines = &mut lines[..];
        let mut total = share(self.gross, stack_max).0;
        let (mut programmes, mut amounts): (Few<usize, 4>, Few<i64, 4>) = (Few::new(), Few::new());
        for offer in offers {
            if programmes.contains(&offer.programme) {
                return None;
            }
            programmes.push(offer.programme);
            let mut amount = 0;
            for (line, (rate, left)) in offer.rates.iter().zip(&mut *lines).enumerate() {
                let pays = share(self.covered(line, offer.cover_ms), *rate).0;
                *left -= pays;
                amount += pays;
                if *left < 0 {
                    return None;
                }
            }
            total -= amount;
            if amount > offer.most.0 || total < 0 {
                return None;
            }
            amounts.push(amount);
        }
        Some(amounts)
    }

    /// Adds a voucher to a problem whose lines are this bill's: its balance, and what its rates give of each line.
    pub(crate) fn offer(
        &self,
        problem: &mut Problem,
        programme: usize,
        balance: Fen,
        rates: &[BasisPoints],
        cover_ms: u64,
    ) {
        problem.vouchers.push((programme, balance.0));
        let cells = &mut problem.cells[programme * rates.len()..][..rates.len()];
        let lines = rates.iter().zip(cells).enumerate();
        problem.edges.extend(lines.map(|(line, (rate, cell))| {
            let pays = share(self.covered(line, cover_ms), *rate).0;
            *cell = pays.max(*cell);
            pays
        }));
    }

    /// A problem of this bill's lines for so many programmes in their groups, without vouchers yet.
    pub(crate) fn problem(
        &self,
        programmes: Few<i64, 4>,
        (groups, group_of): (Few<i64, 2>, Few<usize, 4>),
        stack_max: BasisPoints,
    ) -> Problem {
        Problem {
            groups,
            group_of,
            lines: self.per_line.iter().map(|fen| fen.0).collect(),
            cells: smallvec![0; programmes.len() * self.per_line.len()],
            programmes,
            total: share(self.gross, stack_max).0,
            ..Problem::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::solve;
    use crate::types::Line;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_pays_at_its_rates_is_the_largest_flow(
            lines in proptest::collection::vec((1u64..40, 1u64..9), 1..4),
            offers in proptest::collection::vec((0usize..4, 0i64..400, proptest::collection::vec(0u32..=10_000, 4), 1u64..8), 1..4),
            ms in 1u64..6,
            stack_max in 0u32..=10_000,
        ) {
            // Fen an hour: one unit of a class at so many.
            let priced = |(place, (units, price)): (usize, &(u64, u64))| PricedLine {
                line: Line { sku: format!("class {place}").into(), milli_units: units * 1_000 },
                millifen_per_unit_hour: price * 1_000,
                price_version: 1,
            };
            let lines: Vec<PricedLine> = lines.iter().enumerate().map(priced).collect();
            let bill = Bill::new(&lines, ms * 3_600_000).expect("small");
            let rates = |rates: &[u32]| rates[..lines.len()].iter().map(|rate| BasisPoints(*rate / 3)).collect::<Vec<_>>();
            let offers: Vec<_> = offers.iter().map(|(programme, most, given, hours)| (*programme, Fen(*most), rates(given), hours * 3_600_000)).collect();
            let caps = (smallvec![i64::MAX], smallvec![0; 4]);
            let mut problem = bill.problem(smallvec![i64::MAX; 4], caps, BasisPoints(stack_max));
            for (programme, most, rates, cover_ms) in &offers {
                bill.offer(&mut problem, *programme, *most, rates, *cover_ms);
            }
            let all = offers.iter().map(|(programme, most, rates, cover_ms)| Offer { programme: *programme, most: *most, rates, cover_ms: *cover_ms });
            if let Some(amounts) = bill.at_rates(all, BasisPoints(stack_max)) {
                prop_assert_eq!(amounts, solve(problem));
            }
        }
    }
}
