//! What places that pool owe each other. Each is entitled to as much as it brought, wherever its work runs; beyond that its work
//! borrows what is left, after all that is entitled, and never the last of it.

use std::collections::BTreeSet;

/// One part in so many of all there is stays free of borrowers, so that entitled work finds room without waiting for an end.
const HEADROOM_PART: u64 = 40;
/// Work whose turn was so long ago counts as entitled, one piece a home at a time: nobody borrows in vain for ever.
const PATIENCE_MS: u64 = 14 * 24 * 3_600_000;

/// Quotas of homes and what their work takes, of the first kind of amount.
#[derive(Clone, Debug)]
pub(super) struct Lending {
    quotas: Vec<u64>,
    used: Vec<u64>,
}

impl Lending {
    pub(super) fn new(quotas: Vec<u64>) -> Self {
        Self {
            used: vec![0; quotas.len()],
            quotas,
        }
    }

    /// What borrowers must leave free, over all places.
    pub(super) fn headroom(&self) -> u64 {
        self.quotas.iter().sum::<u64>() / HEADROOM_PART
    }

    pub(super) fn begin(&mut self, home: usize, amount: u64) {
        self.used[home] += amount;
    }

    pub(super) fn end(&mut self, home: usize, amount: u64) {
        self.used[home] -= amount;
    }

    /// Which of the waiting (turn, home, amount), given in order of turn, are entitled now.
    pub(super) fn entitled(
        &self,
        now_ms: u64,
        waiting: impl Iterator<Item = ((u64, u64), usize, u64)>,
    ) -> BTreeSet<(u64, u64)> {
        let mut claimed = self.used.clone();
        let mut has_aged = vec![false; self.quotas.len()];
        let mut entitled = BTreeSet::new();
        for (turn, home, amount) in waiting {
            if claimed[home] + amount <= self.quotas[home] {
                claimed[home] += amount;
            } else if !has_aged[home] && now_ms >= turn.0.saturating_add(PATIENCE_MS) {
                has_aged[home] = true;
            } else {
                continue;
            }
            entitled.insert(turn);
        }
        entitled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_entitled_to_what_it_brought_and_its_oldest_is_not_forgotten() {
        let mut lending = Lending::new(vec![4, 2]);
        lending.begin(0, 3);
        let waiting = [
            ((0, 0), 0, 2),
            ((1, 1), 0, 1),
            ((2, 2), 1, 2),
            ((3, 3), 1, 1),
            ((4, 4), 0, 1),
        ];
        assert_eq!(lending.entitled(5, waiting.into_iter()), [(1, 1), (2, 2)].into());
        let aged = lending.entitled(3 + PATIENCE_MS, waiting.into_iter());
        assert_eq!(aged, [(0, 0), (1, 1), (2, 2), (3, 3)].into());
        lending.end(0, 3);
        assert_eq!(
            lending.entitled(5, waiting.into_iter()),
            [(0, 0), (1, 1), (2, 2), (4, 4)].into()
        );
    }
}
