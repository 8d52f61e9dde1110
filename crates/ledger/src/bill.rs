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
