//! A bill: the lines of a request with their prices, for a time; and what a voucher's rates give of it.

use crate::arithmetic::{gross, share};
use crate::flow::Problem;
use crate::price::PricedLine;
use crate::rejection::Rejection;
use crate::types::{BasisPoints, Fen};

/// The lines of a bill for a time, each rounded once.
pub(crate) struct Bill<'a> {
    pub(crate) lines: &'a [PricedLine],
    pub(crate) ms: u64,
    pub(crate) per_line: Vec<Fen>,
    pub(crate) gross: Fen,
}

impl<'a> Bill<'a> {
    pub(crate) fn new(lines: &'a [PricedLine], ms: u64) -> Result<Self, Rejection> {
        let too_dear = || Rejection::invalid("lines", ms, "a bill of at most 100000000000000 fen");
        let cell = |priced: &PricedLine| {
            gross(priced.line.milli_units, ms, priced.millifen_per_unit_hour).ok_or_else(too_dear)
        };
        let per_line: Vec<Fen> = lines.iter().map(cell).collect::<Result<_, _>>()?;
        let sum: i128 = per_line.iter().map(|fen| i128::from(fen.0)).sum();
        if sum > i128::from(Fen::MAX.0) {
            return Err(too_dear());
        }
        Ok(Self {
            lines,
            ms,
            per_line,
            gross: Fen(sum as i64),
        })
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
        for (line, rate) in rates.iter().enumerate() {
            let pays = share(self.covered(line, cover_ms), *rate).0;
            let cell = &mut problem.cells[programme * rates.len() + line];
            *cell = pays.max(*cell);
            problem.edges.push(pays);
        }
    }

    /// A problem of this bill's lines for so many programmes in their groups, without vouchers yet.
    pub(crate) fn problem(
        &self,
        programmes: Vec<i64>,
        (groups, group_of): (Vec<i64>, Vec<usize>),
        stack_max: BasisPoints,
    ) -> Problem {
        Problem {
            groups,
            group_of,
            lines: self.per_line.iter().map(|fen| fen.0).collect(),
            cells: vec![0; programmes.len() * self.per_line.len()],
            programmes,
            total: share(self.gross, stack_max).0,
            ..Problem::default()
        }
    }
}
