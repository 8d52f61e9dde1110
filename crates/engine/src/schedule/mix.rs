//! The mix of requests: what tasks have asked of machines with GPUs so far, counted. An integer fold over the jobs in the
//! order in which they came; nothing is known of those to come. Choosing hosts reads it through [`super::worth`].

use std::collections::BTreeMap;

use super::need::GpuNeed;
use crate::types::Resources;

/// Counts are halved when they come to more than this together: what was asked long ago weighs less.
const TOTAL_MAX: u64 = 1 << 16;
/// And when there are more kinds than this, which loses the rarest.
const KINDS_MAX: usize = 2_048;
/// Tasks of one job that count: an array of a million says little about the jobs of others.
const TASKS_MAX: u32 = 1_000;

/// What one task asks for, as far as the worth of machines depends on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) devices: u32,
    /// Thousandths of each device.
    pub(crate) milli: u32,
    /// Whole cores of the task, rounded up.
    pub(crate) cores: u32,
    /// Accepted, sorted; empty = any.
    pub(crate) models: Box<[Box<str>]>,
}

/// The counts, and nothing else: equal histories give equal mixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mix {
    counts: BTreeMap<Kind, u32>,
    /// Of all counts.
    total: u64,
    /// Tasks ever counted; does not fall when counts are halved.
    seen: u64,
}

impl Mix {
    /// Counts a job's tasks. Those without GPUs take nothing that only they could be denied, so they are not kept.
    pub(crate) fn note(&mut self, resources: &Resources, tasks: u32) {
        let gpu = GpuNeed::of(resources);
        let tasks = tasks.min(TASKS_MAX);
        if gpu == GpuNeed::Nothing || tasks == 0 {
            return;
        }
        let kind = Kind {
            devices: gpu.devices() as u32,
            milli: gpu.milli_per_device(),
            cores: u32::try_from(resources.cpu_milli.div_ceil(1000)).unwrap_or(u32::MAX),
            models: resources.gpu_models.clone().into(),
        };
        *self.counts.entry(kind).or_default() += tasks;
        self.seen += u64::from(tasks);
        self.total += u64::from(tasks);
        while self.counts.len() > KINDS_MAX || self.total > TOTAL_MAX {
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
            self.total = self.counts.values().map(|count| u64::from(*count)).sum();
        }
    }

    /// Tasks counted since the beginning.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Kinds in order, with how often each was asked for lately.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&Kind, u32)> {
        self.counts.iter().map(|(kind, count)| (kind, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(cpu_milli: u64, gpu_milli: u64) -> Resources {
        Resources {
            cpu_milli,
            gpu_milli,
            ..Resources::default()
        }
    }

    fn counts(mix: &Mix) -> Vec<(u32, u32, u32, u32)> {
        let kinds = mix.kinds();
        kinds
            .map(|(kind, count)| (kind.devices, kind.milli, kind.cores, count))
            .collect()
    }

    #[test]
    fn kinds_are_counted_by_what_they_ask_of_a_machine() {
        let mut mix = Mix::default();
        mix.note(&asks(3_152, 810), 1);
        mix.note(&asks(4_000, 810), 2);
        mix.note(&asks(64_200, 8_000), 1);
        mix.note(&asks(12_000, 0), 50);
        assert_eq!(counts(&mix), [(1, 810, 4, 3), (8, 1000, 65, 1)]);
        assert_eq!(mix.seen(), 4);
    }

    #[test]
    fn what_was_asked_long_ago_fades_and_one_array_does_not_drown_the_rest() {
        let mut mix = Mix::default();
        mix.note(&asks(1_000, 500), 3);
        mix.note(&asks(2_000, 1_000), u32::MAX);
        assert_eq!(counts(&mix), [(1, 500, 1, 3), (1, 1000, 2, 1_000)]);
        for _ in 0..200 {
            mix.note(&asks(2_000, 1_000), 1_000);
        }
        assert_eq!(counts(&mix).len(), 1, "three tasks among 200,000 are forgotten");
        assert!(mix.total <= TOTAL_MAX);
        assert_eq!(mix.seen(), 201_003);
    }

    #[test]
    fn there_are_never_too_many_kinds() {
        let mut mix = Mix::default();
        mix.note(&asks(1_000, 1_000), 100);
        for cores in 1..=10_000 {
            mix.note(&asks(cores * 1_000, 500), 1);
        }
        assert!(counts(&mix).len() <= KINDS_MAX);
        assert!(
            counts(&mix).contains(&(1, 1000, 1, 6)),
            "the frequent kind outlives them"
        );
    }
}
