//! In which order work waits, and who may pass whom: policies as data.

use crate::types::Timestamp;

/// How long what runs longer lets what runs shorter go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How many milliseconds of waiting a millisecond of expected run time weighs in [`Order::Turn`].
    pub times: u64,
    /// The most that expected run time puts a turn off. Nobody is passed by what came so much later: that bounds the wait.
    pub ms_max: u64,
}

impl Patience {
    /// Where the policy starts, and what replays are run with.
    pub const USUAL: Patience = Patience {
        times: 3,
        ms_max: 2 * 24 * 3_600_000,
    };
}

/// An order of waiting work; equal ones by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// First come, first served.
    Arrival,
    /// The shortest first, by what it expects to run.
    Shortest,
    /// By [`turn`]: the shorter goes ahead of the longer that came a little before it.
    Turn(Patience),
}

impl Order {
    /// Its key; smaller goes first.
    #[must_use]
    pub fn key(self, submitted_at: Timestamp, expected_ms: u64) -> u64 {
        match self {
            Self::Arrival => submitted_at.0,
            Self::Shortest => expected_ms,
            Self::Turn(patience) => turn(submitted_at, expected_ms, patience).0,
        }
    }
}

/// When it is the turn of work that came at an instant and expects to run so long: the longer it runs, the later, within its
/// patience. Fixed once and for all, so waiting is ageing: everything that comes later than that has a later turn.
#[must_use]
pub fn turn(submitted_at: Timestamp, expected_ms: u64, patience: Patience) -> Timestamp {
    let put_off = expected_ms.saturating_mul(patience.times).min(patience.ms_max);
    Timestamp(submitted_at.0.saturating_add(put_off))
}

/// Who may pass work that is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Nobody.
    Nobody,
    /// Who does not delay the first that is blocked: it has a reservation at its earliest start.
    First,
    /// Who delays nobody before it: everybody has a reservation.
    All,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In this order work starts, or is blocked and reserved for.
    pub order: Order,
    /// Who may pass.
    pub passing: Passing,
    /// In this order those are looked at that may pass.
    pub passing_order: Order,
    /// Whether expected run times are predictions; if not, the limit is what is expected.
    pub predicts: bool,
}

impl Policy {
    /// First come, first served.
    pub const FCFS: Policy = Policy {
        order: Order::Arrival,
        passing: Passing::Nobody,
        passing_order: Order::Arrival,
        predicts: false,
    };
    /// EASY backfill.
    pub const EASY: Policy = Policy {
        passing: Passing::First,
        ..Self::FCFS
    };
    /// EASY backfill, the shortest by its limit first.
    pub const EASY_SHORTEST: Policy = Policy {
        passing_order: Order::Shortest,
        ..Self::EASY
    };
    /// Conservative backfill.
    pub const CONSERVATIVE: Policy = Policy {
        passing: Passing::All,
        ..Self::FCFS
    };
    /// The planner's own: turns by predicted run time, EASY backfill in the same order.
    pub const OURS: Policy = Policy {
        order: Order::Turn(Patience::USUAL),
        passing: Passing::First,
        passing_order: Order::Turn(Patience::USUAL),
        predicts: true,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_goes_ahead_of_what_came_a_little_before_it_only() {
        let hour = 3_600_000;
        let turn = |at, expected_ms| turn(at, expected_ms, Patience::USUAL);
        let long = turn(Timestamp(0), 10 * hour);
        assert!(turn(Timestamp(hour), 60_000) < long);
        assert!(turn(Timestamp(31 * hour), 60_000) > long);
        let endless = turn(Timestamp(7), u64::MAX);
        assert_eq!(endless, Timestamp(7 + Patience::USUAL.ms_max));
        assert!(turn(Timestamp(8 + Patience::USUAL.ms_max), 0) > endless);
    }
}
