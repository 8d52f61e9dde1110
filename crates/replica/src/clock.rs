//! Is this replica's wall clock fit to stamp the log? Peers' messages bring their clocks; a leader that is more than the guard
//! off the median of a quorum stamps nothing and hands leadership on. Followers listen too, so that a new leader knows at once.

use std::collections::BTreeMap;
use std::time::Duration;

/// How far off is too far, in ms.
pub const OFFSET_MS_MAX: i64 = 5_000;
/// What a peer said longer ago than this says nothing about now.
const FRESH: Duration = Duration::from_secs(10);

/// The peers' clocks against ours.
#[derive(Clone, Debug, Default)]
pub struct ClockGuard {
    heard: BTreeMap<u64, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// Theirs less ours, in ms.
    offset_ms: i64,
    at: Duration,
}

impl ClockGuard {
    /// A message of `peer` said its wall clock stood at `their_ms`; ours says `our_ms`, both in ms since 1970. `mono` is ours,
    /// since any fixed instant. The time on the way makes the peer look late by as much, which the guard's width absorbs.
    pub fn heard(&mut self, peer: u64, their_ms: u64, our_ms: u64, mono: Duration) {
        let offset_ms = i128::from(their_ms) - i128::from(our_ms);
        let offset_ms = i64::try_from(offset_ms).unwrap_or(if offset_ms < 0 { i64::MIN } else { i64::MAX });
        self.heard.insert(peer, Heard { offset_ms, at: mono });
    }

    /// How far our clock is off the median of the voters heard lately, ourselves included, in ms; `None` below a quorum. Of two in
    /// the middle the one nearer to us counts: two clocks alone cannot say which of them is wrong.
    #[must_use]
    pub fn offset_ms(&self, own: u64, voters: &[u64], mono: Duration) -> Option<i64> {
        let fresh = |voter: &u64| {
            if *voter == own {
                return Some(0);
            }
            let heard = self.heard.get(voter)?;
            (mono.saturating_sub(heard.at) <= FRESH).then_some(heard.offset_ms)
        };
        let mut offsets: Vec<i64> = voters.iter().filter_map(fresh).collect();
        if offsets.len() <= voters.len() / 2 {
            return None;
        }
        offsets.sort_unstable();
        let (low, high) = (offsets[(offsets.len() - 1) / 2], offsets[offsets.len() / 2]);
        let median = if low.unsigned_abs() <= high.unsigned_abs() {
            low
        } else {
            high
        };
        Some(median.saturating_neg())
    }

    /// Whether a leader with this clock must hand leadership on, and how far it is off, in ms.
    #[must_use]
    pub fn must_step_down(&self, own: u64, voters: &[u64], mono: Duration) -> Option<i64> {
        self.offset_ms(own, voters, mono)
            .filter(|offset| offset.unsigned_abs() > OFFSET_MS_MAX.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn guard(offsets: &[(u64, i64)]) -> ClockGuard {
        let mut guard = ClockGuard::default();
        for (peer, offset) in offsets {
            guard.heard(*peer, 1_000_000u64.saturating_add_signed(*offset), 1_000_000, NOW);
        }
        guard
    }

    #[test]
    fn one_wrong_peer_does_not_unseat_a_leader_with_a_true_clock() {
        let guard = guard(&[(2, 40), (3, -600_000)]);
        assert_eq!(guard.offset_ms(1, &[1, 2, 3], NOW), Some(0));
        assert_eq!(guard.must_step_down(1, &[1, 2, 3], NOW), None);
    }

    #[test]
    fn a_leader_whose_clock_is_off_all_others_steps_down() {
        let guard = guard(&[(2, 6_000), (3, 6_100)]);
        assert_eq!(guard.must_step_down(1, &[1, 2, 3], NOW), Some(-6_000));
        let guard = self::guard(&[(2, -5_001), (3, -5_001)]);
        assert_eq!(guard.must_step_down(1, &[1, 2, 3], NOW), Some(5_001));
        let guard = self::guard(&[(2, 5_000), (3, 5_000)]);
        assert_eq!(
            guard.must_step_down(1, &[1, 2, 3], NOW),
            None,
            "the guard itself is allowed"
        );
    }

    #[test]
    fn two_clocks_cannot_say_which_is_wrong_and_less_than_a_quorum_says_nothing() {
        let guard = guard(&[(2, 3_600_000)]);
        assert_eq!(guard.must_step_down(1, &[1, 2, 3], NOW), None);
        assert_eq!(guard.offset_ms(1, &[1, 3, 4], NOW), None);
    }

    #[test]
    fn what_was_heard_long_ago_and_from_learners_does_not_count() {
        let guard = guard(&[(2, 9_000), (3, 9_000), (7, 9_000), (8, 9_000)]);
        let later = NOW + FRESH + Duration::from_millis(1);
        assert_eq!(guard.offset_ms(1, &[1, 2, 3], later), None);
        assert_eq!(guard.offset_ms(1, &[1, 4, 5], NOW), None);
        assert_eq!(guard.must_step_down(1, &[1, 2, 3], NOW), Some(-9_000));
    }

    #[test]
    fn clocks_at_the_ends_of_time_do_not_overflow() {
        let mut guard = ClockGuard::default();
        guard.heard(2, u64::MAX, 0, NOW);
        guard.heard(3, u64::MAX, 0, NOW);
        assert_eq!(guard.must_step_down(1, &[1, 2, 3], NOW), Some(-i64::MAX));
    }
}
