//! One place over time: what runs there and until when it is expected to, as a [`Profile`] of what is free.

use std::collections::{BTreeMap, BTreeSet};

use super::profile::Profile;
use crate::types::Timestamp;

/// A place, and what runs there by its key. Changed by events only: something begins, ends, or is expected to end later.
#[derive(Clone, Debug)]
pub struct Timeline<K> {
    profile: Profile,
    running: BTreeMap<K, (Timestamp, Box<[u64]>)>,
    ends: BTreeSet<(Timestamp, K)>,
}

impl<K: Copy + Ord> Timeline<K> {
    /// An empty place with these amounts.
    #[must_use]
    pub fn new(now: Timestamp, total: &[u64]) -> Self {
        Self {
            profile: Profile::new(now, total),
            running: BTreeMap::new(),
            ends: BTreeSet::new(),
        }
    }

    /// What is free beside what runs.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// How much runs here, counted.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Something begins and is expected to end at `until`.
    ///
    /// # Panics
    /// If there is no room for it, or it runs already.
    pub fn begin(&mut self, key: K, now: Timestamp, until: Timestamp, amounts: &[u64]) {
        self.profile.advance(now);
        let until = until.max(Timestamp(now.0.saturating_add(1)));
        self.profile.take(now, until, amounts);
        self.ends.insert((until, key));
        let before = self.running.insert(key, (until, amounts.into()));
        assert!(before.is_none(), "nothing begins twice");
    }

    /// It has ended: early, if it was expected to run on. `false` if it did not run here.
    pub fn end(&mut self, key: K, now: Timestamp) -> bool {
        let Some((until, amounts)) = self.running.remove(&key) else {
            return false;
        };
        self.ends.remove(&(until, key));
        self.profile.advance(now);
        self.profile.give(now, until, &amounts);
        true
    }

    /// Moves the expected end of everything that should have ended by now, to what `later` says and at least beyond now.
    pub fn run_over(&mut self, now: Timestamp, later: impl Fn(K) -> Timestamp) {
        while let Some(&(until, key)) = self.ends.first()
            && until <= now
        {
            let new = later(key).max(Timestamp(now.0.saturating_add(1)));
            let (end, amounts) = self.running.get_mut(&key).expect("every end is of something running");
            *end = new;
            self.profile.advance(now);
            self.profile.take(until.max(now), new, amounts);
            self.ends.remove(&(until, key));
            self.ends.insert((new, key));
        }
        self.profile.advance(now);
    }
}
