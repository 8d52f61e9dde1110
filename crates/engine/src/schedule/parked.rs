//! Classes that found no room at a site, in their order, and an index over what they ask for: who may fit a host that has more
//! room than before is found without looking at those who ask for much more.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::class::Rank;
use super::lane::Ask;

/// What a class waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) ask: Ask,
    /// It asks room for so long, milliseconds; 0 = that may still change.
    pub(crate) room_ms: u64,
}

/// Wants within a factor of two of each other in everything.
type Kind = [u32; 5];

impl Wanted {
    fn kind(&self) -> Kind {
        let size = |amount: u64| u64::BITS - amount.leading_zeros();
        let Ask {
            cpu_milli,
            memory_mib,
            whole,
            part,
            ..
        } = self.ask;
        [
            size(cpu_milli),
            size(memory_mib),
            whole,
            size(part.into()),
            size(self.room_ms),
        ]
    }

    fn least(&self, other: &Self) -> Self {
        let (one, other_ask) = (&self.ask, &other.ask);
        let ask = Ask {
            cpu_milli: one.cpu_milli.min(other_ask.cpu_milli),
            memory_mib: one.memory_mib.min(other_ask.memory_mib),
            whole: one.whole.min(other_ask.whole),
            part: one.part.min(other_ask.part),
            key_min: 0,
        };
        let room_ms = self.room_ms.min(other.room_ms);
        Self { ask, room_ms }
    }
}

/// Classes that wait at one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parked {
    each: BTreeMap<Rank, Kind>,
    kinds: BTreeMap<Kind, OfKind>,
}

#[derive(Clone, Debug)]
struct OfKind {
    /// Nobody of them asks for less of anything.
    least: Wanted,
    each: BTreeMap<Rank, Wanted>,
}

impl Parked {
    /// In order.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = Rank> + '_ {
        self.each.keys().copied()
    }

    pub(crate) fn has(&self, rank: &Rank) -> bool {
        self.each.contains_key(rank)
    }

    pub(crate) fn insert(&mut self, rank: Rank, wanted: Wanted) {
        self.remove(&rank);
        let kind = wanted.kind();
        self.each.insert(rank, kind);
        let of_kind = self.kinds.entry(kind).or_insert_with(|| OfKind {
            least: wanted,
            each: BTreeMap::new(),
        });
        of_kind.least = of_kind.least.least(&wanted);
        of_kind.each.insert(rank, wanted);
    }

    pub(crate) fn remove(&mut self, rank: &Rank) {
        let Some(kind) = self.each.remove(rank) else { return };
        let of_kind = self.kinds.get_mut(&kind).expect("a rank is listed under its kind");
        of_kind.each.remove(rank);
        if of_kind.each.is_empty() {
            self.kinds.remove(&kind);
        }
    }

    /// The first rank of these that fits. `may`: whether there is room for a want; if not, there is none for more.
    pub(crate) fn first(
        &self,
        (from, until): (Bound<Rank>, Bound<Rank>),
        may: impl Fn(&Wanted) -> bool,
        fits: impl Fn(&Rank) -> bool,
    ) -> Option<Rank> {
        let mut first: Option<Rank> = None;
        for of_kind in self.kinds.values().filter(|of_kind| may(&of_kind.least)) {
            let until = first.map_or(until, Bound::Excluded);
            if is_empty(from, until) {
                continue;
            }
            let mut each = of_kind.each.range((from, until));
            let found = each.find(|(rank, wanted)| may(wanted) && fits(rank));
            first = found.map(|(rank, _)| *rank).or(first);
        }
        first
    }
}

/// Whether nothing is between the bounds; a map would not be asked for such a range.
fn is_empty(from: Bound<Rank>, until: Bound<Rank>) -> bool {
    match (from, until) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(until)) => from > until,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(until) | Bound::Excluded(until)) => {
            from >= until
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::schedule::class::Turn;
    use crate::types::{ClassId, JobId, Timestamp};

    fn rank(at: u64) -> Rank {
        let turn = Turn {
            level: 0,
            at: Timestamp(at),
        };
        (Reverse(0), turn, JobId(at), ClassId(at as u32))
    }

    proptest! {
        #[test]
        fn the_first_that_fits_is_the_one_a_scan_finds(
            changes in prop::collection::vec((0..40u64, 0..9u64, 0..9u64, 0..3u32, 0..9u64, any::<bool>()), 1..120),
            asked in prop::collection::vec((0..9u64, 0..9u64, 0..3u32, 0..9u64, 0..42u64, 0..42u64), 1..8),
        ) {
            let mut parked = Parked::default();
            let mut model: BTreeMap<Rank, Wanted> = BTreeMap::new();
            for (at, cpu_milli, memory_mib, whole, room_ms, stays) in changes {
                if stays {
                    let ask = Ask { cpu_milli, memory_mib, whole, ..Ask::default() };
                    parked.insert(rank(at), Wanted { ask, room_ms });
                    model.insert(rank(at), Wanted { ask, room_ms });
                } else {
                    parked.remove(&rank(at));
                    model.remove(&rank(at));
                }
            }
            prop_assert!(parked.ranks().eq(model.keys().copied()));
            for (cpu, memory, whole, room_ms, from, until) in asked {
                let may = |wanted: &Wanted| {
                    let Wanted { ask, room_ms: wanted_ms } = wanted;
                    ask.cpu_milli <= cpu && ask.memory_mib <= memory && ask.whole <= whole && *wanted_ms <= room_ms
                };
                let odd = |one: &Rank| one.2.0 % 2 == 1;
                let within = |one: &Rank| *one > rank(from) && *one <= rank(until);
                let mut scan = model.iter().filter(|(one, wanted)| within(one) && may(wanted) && odd(one));
                let found = parked.first((Bound::Excluded(rank(from)), Bound::Included(rank(until))), may, odd);
                prop_assert_eq!(found, scan.next().map(|(one, _)| *one));
            }
        }
    }
}
