//! How long work will run, learned from what has finished: from the last of its payer, and from the last that asked for the
//! same. Integers folded in the order of the ends, so that equal ends give equal predictions wherever they are folded.
//! A prediction says who goes first. It never stops anybody: the limit that was asked for stays the limit.

use std::collections::{BTreeMap, BTreeSet};

/// Whose work it is, and what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Who pays (an org), or submits (a user of a trace).
    pub payer: u64,
    /// The limit asked for, milliseconds; 0 = none.
    pub limit_ms: u64,
    /// Amounts asked for, in an order that is always the same.
    pub amounts: [u64; 3],
}

/// Run times kept of each payer and kind.
const KEPT: usize = 5;
/// A kind is asked once so much of it has finished.
const KNOWN_MIN: u8 = 3;
/// Kinds remembered; the one that finished nothing for longest goes first.
const KINDS_MAX: usize = 1 << 16;
/// A prediction that proved too short grows by at least this.
const LONGER_MS_MIN: u64 = 60_000;

/// The last run times of one payer or kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Recent {
    run_ms: [u64; KEPT],
    count: u8,
    /// Where the next one goes: over the oldest.
    next: u8,
    /// When it last learned, counted in ends.
    learned: u64,
}

impl Recent {
    fn learn(&mut self, run_ms: u64, end: u64) {
        self.run_ms[usize::from(self.next)] = run_ms;
        self.next = (self.next + 1) % KEPT as u8;
        self.count = (self.count + 1).min(KEPT as u8);
        self.learned = end;
    }

    fn mean_ms(&self, known_min: u8) -> Option<u64> {
        let known = &self.run_ms[..usize::from(self.count)];
        let sum: u128 = known.iter().map(|run_ms| u128::from(*run_ms)).sum();
        (self.count >= known_min).then(|| (sum / u128::from(self.count)) as u64)
    }
}

/// What was learned so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictor {
    payers: BTreeMap<u64, Recent>,
    kinds: BTreeMap<Kind, Recent>,
    /// Kinds by when they last learned.
    stalest: BTreeSet<(u64, Kind)>,
    ends: u64,
}

impl Predictor {
    /// Work of this kind has finished after running for so long.
    pub fn learn(&mut self, kind: Kind, run_ms: u64) {
        self.ends += 1;
        self.payers.entry(kind.payer).or_default().learn(run_ms, self.ends);
        let recent = self.kinds.entry(kind).or_default();
        self.stalest.remove(&(recent.learned, kind));
        recent.learn(run_ms, self.ends);
        self.stalest.insert((self.ends, kind));
        if self.kinds.len() > KINDS_MAX {
            let (_, stalest) = self.stalest.pop_first().expect("every kind is in it");
            self.kinds.remove(&stalest);
        }
    }

    /// How long it will run: the shorter of what its payer's and its kind's last ones took on average. Too short is mended when it
    /// shows ([`longer_ms`]); too long would keep it waiting. `None` while nothing of the payer has finished.
    #[must_use]
    pub fn predict_ms(&self, kind: &Kind) -> Option<u64> {
        let payer = self.payers.get(&kind.payer)?.mean_ms(1)?;
        let known = self.kinds.get(kind).and_then(|recent| recent.mean_ms(KNOWN_MIN));
        let predicted = known.map_or(payer, |known| known.min(payer)).max(1);
        Some(if kind.limit_ms == 0 {
            predicted
        } else {
            predicted.min(kind.limit_ms)
        })
    }

    /// The prediction, or else the limit.
    #[must_use]
    pub fn expect_ms(&self, kind: &Kind) -> u64 {
        let unknown_ms = if kind.limit_ms > 0 { kind.limit_ms } else { UNKNOWN_MS };
        self.predict_ms(kind).unwrap_or(unknown_ms)
    }
}

/// Expected of work without a limit whose payer is unknown.
const UNKNOWN_MS: u64 = 3_600_000;

/// The prediction for what has run for `run_ms`, longer than was predicted: twice that, within its limit (0 = none).
#[must_use]
pub fn longer_ms(run_ms: u64, limit_ms: u64) -> u64 {
    let longer = run_ms.saturating_add(run_ms.max(LONGER_MS_MIN));
    if limit_ms == 0 {
        longer
    } else {
        // At its limit it is about to end: the least that keeps the expected end ahead.
        longer.min(limit_ms).max(run_ms.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: u64 = 7 * 24 * 3_600_000;

    fn kind(payer: u64, cores: u64) -> Kind {
        Kind {
            payer,
            limit_ms: WEEK,
            amounts: [cores, 0, 0],
        }
    }

    #[test]
    fn the_payer_is_asked_first_and_its_kind_when_it_is_known() {
        let mut predictor = Predictor::default();
        assert_eq!(predictor.predict_ms(&kind(1, 1)), None);
        for run_ms in [1000, 2000, 3000] {
            predictor.learn(kind(1, 1), run_ms);
        }
        assert_eq!(predictor.predict_ms(&kind(1, 8)), Some(2000));
        assert_eq!(predictor.predict_ms(&kind(2, 1)), None);
        for _ in 0..5 {
            predictor.learn(kind(1, 8), 90_000);
        }
        assert_eq!(predictor.predict_ms(&kind(1, 8)), Some(90_000));
        assert_eq!(predictor.predict_ms(&kind(1, 1)), Some(2000), "the shorter of both");
    }

    #[test]
    fn only_the_last_ones_count_and_the_limit_is_kept_to() {
        let mut predictor = Predictor::default();
        predictor.learn(kind(1, 1), 1 << 40);
        assert_eq!(predictor.predict_ms(&kind(1, 1)), Some(WEEK));
        for run_ms in 1..=5 {
            predictor.learn(kind(1, 1), run_ms);
        }
        assert_eq!(predictor.predict_ms(&kind(1, 1)), Some(3));
    }

    #[test]
    fn kinds_are_forgotten_before_they_are_too_many() {
        let mut predictor = Predictor::default();
        for cores in 0..KINDS_MAX as u64 + 10 {
            predictor.learn(kind(1, cores), 5);
        }
        assert_eq!((predictor.kinds.len(), predictor.stalest.len()), (KINDS_MAX, KINDS_MAX));
        assert!(!predictor.kinds.contains_key(&kind(1, 9)));
        assert!(predictor.kinds.contains_key(&kind(1, 10)));
    }

    #[test]
    fn what_runs_longer_is_expected_to_run_longer_still_up_to_its_limit() {
        assert_eq!(longer_ms(10, 0), 60_010);
        assert_eq!(longer_ms(600_000, 0), 1_200_000);
        assert_eq!(longer_ms(600_000, 900_000), 900_000);
        assert_eq!(longer_ms(900_000, 900_000), 900_001);
    }
}
