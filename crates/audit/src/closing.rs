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

/// What a provider gets for a closed period: who found it right, and what was paid in cash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settlement {
    pub(crate) reviewer: Option<u64>,
    pub(crate) paid: Option<i128>,
}

/// What a holder asks back of what it paid in advance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) org: u32,
    pub(crate) programme: u32,
    /// As filed, less what was refunded meanwhile.
    pub(crate) due: i128,
    pub(crate) filer: u64,
    pub(crate) review: Option<(bool, u64)>,
    pub(crate) paid: bool,
}

impl Claim {
    /// Whether it waits for its review or its payment.
    pub(crate) fn is_open(&self) -> bool {
        !self.paid && self.due > 0 && !matches!(self.review, Some((false, _)))
    }
}

/// What a holder advanced under one programme and has not got back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Claimable {
    /// Not claimed.
    pub(crate) free: i128,
    /// In open claims.
    pub(crate) filed: i128,
}

/// Everything about periods.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    pub(crate) ended: Vec<Ended>,
    pub(crate) tallies: BTreeMap<TallyKey, Tally>,
    /// Rows that the close of the next period goes on from.
    pub(crate) stated: Vec<(TallyKey, Tally)>,
    pub(crate) settlements: BTreeMap<(u32, u32), Settlement>,
    pub(crate) claims: Vec<Claim>,
    /// Per holder and programme.
    pub(crate) claimable: BTreeMap<(u32, u32), Claimable>,
    /// When the first entry was made: there the first period begins.
    pub(crate) begun: u64,
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

    /// First instant of the current period.
    pub(crate) fn current_from(&self) -> u64 {
        self.ended.last().map_or(self.begun, |period| period.until)
    }

    /// Where a line is booked whose use ended at an instant: in the period the instant lies in (an end belongs to what it ends) while that
    /// is open, else in the current one.
    pub(crate) fn booked(&self, use_ended: u64) -> u32 {
        let period = self.ended.partition_point(|period| period.until < use_ended) as u32 + 1;
        if self.is_closed(period) || use_ended <= self.begun {
            self.current()
        } else {
            period
        }
    }

    /// Takes from what a holder may claim, and where nothing else is left from its open claims, the latest first. Gives what was there to take.
    pub(crate) fn take_claim(&mut self, org: u32, programme: u32, back: i128) -> i128 {
        let account = self.claimable.entry((org, programme)).or_default();
        let free = back.min(account.free);
        let filed = (back - free).min(account.filed);
        account.free -= free;
        account.filed -= filed;
        let mut left = filed;
        let open = |claim: &&mut Claim| (claim.org, claim.programme) == (org, programme) && claim.is_open();
        for claim in self.claims.iter_mut().rev().filter(open) {
            let cut = left.min(claim.due);
            claim.due -= cut;
            left -= cut;
            if left == 0 {
                break;
            }
        }
        free + filed
    }

    /// Net of a provider's lines in the periods after one.
    pub(crate) fn earned_after(&self, period: u32, earns: impl Fn(&TallyKey) -> bool) -> i128 {
        let later = self.tallies.iter().filter(|(key, _)| key.period > period && earns(key));
        later.map(|(_, tally)| tally.net()).sum()
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
        assert_eq!(closing.current_from(), 200);
    }
}
