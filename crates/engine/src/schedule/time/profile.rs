//! What one place has free, now and later: a step function over time, one amount for each kind of resource. What runs takes
//! until its expected end, a reservation takes from its start; taking more than is free is a bug and stops the process.

use crate::types::Timestamp;

/// Free amounts over time. The last step lasts for ever; what was before the first is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    kinds: usize,
    /// Where the steps begin, rising; never empty.
    steps: Vec<Timestamp>,
    /// `kinds` amounts for each step.
    free: Vec<u64>,
}

impl Profile {
    /// All of this free, from `now` on.
    #[must_use]
    pub fn new(now: Timestamp, free: &[u64]) -> Self {
        Self {
            kinds: free.len(),
            steps: vec![now],
            free: free.to_vec(),
        }
    }

    /// This much free from `now` on, and more from each of these instants on, which must not fall.
    #[must_use]
    pub fn growing(now: Timestamp, free: &[u64], gains: impl Iterator<Item = (Timestamp, Vec<u64>)>) -> Self {
        let mut profile = Self::new(now, free);
        for (at, gain) in gains {
            let last = profile.steps.len() - 1;
            if profile.steps[last] < at {
                profile.steps.push(at);
                profile.free.extend_from_within(last * profile.kinds..);
            }
            let first = (profile.steps.len() - 1) * profile.kinds;
            for (free, gain) in profile.free[first..].iter_mut().zip(gain) {
                *free += gain;
            }
        }
        profile
    }

    /// Steps it consists of.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// What is free at an instant; before the first step, what the first has.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> &[u64] {
        self.amounts(self.step_at(at))
    }

    /// Forgets what was before `now`.
    pub fn advance(&mut self, now: Timestamp) {
        let first = self.step_at(now);
        self.steps.drain(..first);
        self.free.drain(..first * self.kinds);
        self.steps[0] = self.steps[0].max(now);
    }

    /// Takes amounts off what is free from `from` until `until`.
    ///
    /// # Panics
    /// When that is more than is free at any instant of it.
    pub fn take(&mut self, from: Timestamp, until: Timestamp, amounts: &[u64]) {
        self.change(from, until, |free, kind| {
            *free = free
                .checked_sub(amounts[kind])
                .expect("nothing takes more than is free");
        });
    }

    /// The reverse of [`Profile::take`].
    pub fn give(&mut self, from: Timestamp, until: Timestamp, amounts: &[u64]) {
        self.change(from, until, |free, kind| *free += amounts[kind]);
    }

    /// Whether so much is free at every instant from `from` until `until`.
    #[must_use]
    pub fn fits(&self, from: Timestamp, until: Timestamp, amounts: &[u64]) -> bool {
        let steps = self.steps_within(from, until);
        steps
            .map(|step| self.amounts(step))
            .all(|free| amounts.iter().zip(free).all(|(asked, free)| asked <= free))
    }

    /// The least that is free of each kind from `from` until `until`.
    #[must_use]
    pub fn least(&self, from: Timestamp, until: Timestamp) -> Vec<u64> {
        let mut steps = self.steps_within(from, until);
        let mut least = steps.next().map_or_else(Vec::new, |first| self.amounts(first).to_vec());
        for step in steps {
            for (least, free) in least.iter_mut().zip(self.amounts(step)) {
                *least = (*least).min(*free);
            }
        }
        least
    }

    /// The earliest instant not before `from` at which `room` finds enough in the least that is free over the whole
    /// duration. `None` if there is never enough.
    #[must_use]
    pub fn earliest(&self, from: Timestamp, duration_ms: u64, room: impl Fn(&[u64]) -> bool) -> Option<Timestamp> {
        let first = self.step_at(from);
        let starts = self.steps[first..].iter().map(|step| (*step).max(from));
        let until = |start: Timestamp| Timestamp(start.0.saturating_add(duration_ms));
        starts
            .clone()
            // What is too little at its own start needs no further look.
            .filter(|start| room(self.at(*start)))
            .find(|start| room(&self.least(*start, until(*start))))
    }

    fn amounts(&self, step: usize) -> &[u64] {
        &self.free[step * self.kinds..(step + 1) * self.kinds]
    }

    fn step_at(&self, at: Timestamp) -> usize {
        self.steps.partition_point(|step| *step <= at).saturating_sub(1)
    }

    /// At least the step at `from`, even for no time at all.
    fn steps_within(&self, from: Timestamp, until: Timestamp) -> std::ops::Range<usize> {
        let first = self.step_at(from);
        first..self.steps.partition_point(|step| *step < until).max(first + 1)
    }

    fn change(&mut self, from: Timestamp, until: Timestamp, mut change: impl FnMut(&mut u64, usize)) {
        let from = from.max(self.steps[0]);
        if until <= from {
            return;
        }
        let first = self.cut(from);
        let last = self.cut(until);
        for step in first..last {
            for kind in 0..self.kinds {
                change(&mut self.free[step * self.kinds + kind], kind);
            }
        }
        // Equal neighbours are one step: what ended early would leave its end behind.
        for step in [last, first] {
            if step > 0 && step < self.steps.len() && self.amounts(step - 1) == self.amounts(step) {
                self.steps.remove(step);
                self.free.drain(step * self.kinds..(step + 1) * self.kinds);
            }
        }
    }

    /// Makes a step begin at an instant that is not before the first; its place.
    fn cut(&mut self, at: Timestamp) -> usize {
        let step = self.step_at(at);
        if self.steps[step] == at {
            return step;
        }
        let free = self.amounts(step).to_vec();
        let next = step + 1;
        self.steps.insert(next, at);
        self.free.splice(next * self.kinds..next * self.kinds, free);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const END: u64 = 40;

    /// One amount for each instant.
    #[derive(Clone, Debug)]
    struct Model(Vec<u64>);

    impl Model {
        fn fits(&self, from: u64, until: u64, amount: u64) -> bool {
            (from..until.max(from + 1)).all(|at| self.0[(at.min(END)) as usize] >= amount)
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_table_of_instants_is(
            total in 1..20u64,
            spans in prop::collection::vec((0..END, 0..END, 1..20u64, any::<bool>()), 0..40),
            asked in prop::collection::vec((0..END, 0..20u64, 0..22u64), 1..10),
            now in 0..END,
        ) {
            let mut profile = Profile::new(Timestamp(0), &[total]);
            let mut model = Model(vec![total; END as usize + 1]);
            let mut taken = Vec::new();
            for (from, until, amount, back) in spans {
                if back && !taken.is_empty() {
                    let (from, until, amount) = taken.swap_remove(from as usize % taken.len());
                    profile.give(Timestamp(from), Timestamp(until), &[amount]);
                    (from..until).for_each(|at| model.0[at as usize] += amount);
                } else if from < until && model.fits(from, until, amount) {
                    profile.take(Timestamp(from), Timestamp(until), &[amount]);
                    (from..until).for_each(|at| model.0[at as usize] -= amount);
                    taken.push((from, until, amount));
                }
            }
            prop_assert!(profile.steps() <= 2 * taken.len() + 1);
            profile.advance(Timestamp(now));
            for at in now..=END {
                prop_assert_eq!(profile.at(Timestamp(at)), &[model.0[at as usize]]);
            }
            for (from, duration, amount) in asked {
                let from = from.max(now);
                prop_assert_eq!(
                    profile.fits(Timestamp(from), Timestamp(from + duration), &[amount]),
                    model.fits(from, from + duration, amount)
                );
                let scan = (from..=END).find(|at| model.fits(*at, at + duration, amount));
                let found = profile.earliest(Timestamp(from), duration, |free| free[0] >= amount);
                prop_assert_eq!(found, scan.map(Timestamp));
            }
        }
    }

    #[test]
    #[should_panic(expected = "nothing takes more than is free")]
    fn more_than_is_free_cannot_be_taken() {
        let mut profile = Profile::new(Timestamp(0), &[4, 4]);
        profile.take(Timestamp(0), Timestamp(10), &[1, 3]);
        profile.take(Timestamp(5), Timestamp(15), &[1, 2]);
    }
}
