//! Periods, what was captured and refunded in each, settlements and claims.

use std::collections::BTreeMap;

/// What a line is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TallyKey {
    /// Booked in.
    pub(crate) period: u32,
    /// Of what was captured in this one; an earlier one makes it a correction.
    pub(crate) of: u32,
    /// 0 = the payers' own money.
    pub(crate) programme: u32,
    pub(crate) agreement: u32,
    pub(crate) site: u32,
    pub(crate) payee_region: u32,
}

/// Sums in fen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) captured: i128,
    pub(crate) refunded: i128,
    pub(crate) captures: u64,
    pub(crate) refunds: u64,
    /// Net, per funder.
    pub(crate) funders: Vec<i128>,
}

impl Tally {
    pub(crate) fn net(&self) -> i128 {
        self.captured - self.refunded
    }
}

/// A period that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) closed: bool,
}

/// What a provider gets for a closed period.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settlement {
    pub(crate) net: i128,
    pub(crate) reviewer: Option<u64>,
    pub(crate) paid: Option<i128>,
}

/// What a holder asks back of what it paid in advance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) org: u32,
    pub(crate) programme: u32,
    pub(crate) amount: i128,
    pub(crate) review: Option<(bool, u64)>,
    pub(crate) paid: bool,
}

/// Everything about periods.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    pub(crate) ended: Vec<Ended>,
    pub(crate) tallies: BTreeMap<TallyKey, Tally>,
    pub(crate) settlements: BTreeMap<(u32, u32), Settlement>,
    pub(crate) claims: Vec<Claim>,
    /// Per holder and programme: paid in advance, less refunds and what was claimed.
    pub(crate) claimable: BTreeMap<(u32, u32), i128>,
}

impl Closing {
    /// Number of the current period.
    pub(crate) fn current(&self) -> u32 {
        self.ended.len() as u32 + 1
    }

    pub(crate) fn is_closed(&self, period: u32) -> bool {
        self.period(period).is_some_and(|period| period.closed)
    }

    pub(crate) fn period(&self, number: u32) -> Option<&Ended> {
        self.ended.get((number as usize).checked_sub(1)?)
    }

    /// Where a line is booked whose use ended at an instant: in the period the instant lies in (its last instant counts), or in the current
    /// one when that is closed.
    pub(crate) fn booked(&self, use_ended: u64) -> u32 {
        let period = self.ended.partition_point(|period| period.until < use_ended) as u32 + 1;
        if self.is_closed(period) { self.current() } else { period }
    }

    /// Counts a line.
    pub(crate) fn count(&mut self, key: TallyKey, refund: bool, amount: i128, funders: &[i128]) {
        if amount == 0 {
            return;
        }
        let tally = self.tallies.entry(key).or_default();
        tally.funders.resize(funders.len().max(tally.funders.len()), 0);
        if refund {
            tally.refunded += amount;
            tally.refunds += 1;
        } else {
            tally.captured += amount;
            tally.captures += 1;
        }
        for (sum, part) in tally.funders.iter_mut().zip(funders) {
            *sum += if refund { -part } else { *part };
        }
    }

    /// Tallies of one period.
    pub(crate) fn rows(&self, period: u32) -> impl Iterator<Item = (&TallyKey, &Tally)> {
        self.tallies.iter().filter(move |(key, _)| key.period == period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_to_the_period_its_use_ended_in_while_that_is_open() {
        let mut closing = Closing::default();
        for (from, until, closed) in [(0, 100, true), (100, 200, false)] {
            closing.ended.push(Ended { from, until, closed });
        }
        let booked = [50, 100, 101, 200, 201].map(|instant| closing.booked(instant));
        assert_eq!(booked, [3, 3, 2, 2, 3]);
    }
}
