//! Fragmentation: how much of the idle GPUs the tasks of a known mix could not use, as published with FGD.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::cluster::{Node, Pod};

/// The kinds of tasks that are most frequent in a trace, until 95 % of its tasks are covered.
#[derive(Clone, Debug)]
pub struct Fragments {
    kinds: Vec<(Pod, f64)>,
}

impl Fragments {
    /// Of a whole trace: nothing that an honest placement may know beforehand.
    #[must_use]
    pub fn of(pods: &[Pod]) -> Self {
        type Key<'a> = (u64, u64, u64, &'a [String]);
        let mut counts: HashMap<Key<'_>, u64> = HashMap::new();
        for pod in pods {
            *counts
                .entry((pod.cpu_milli, pod.gpus, pod.gpu_milli, &pod.models))
                .or_default() += 1;
        }
        let mut counts: Vec<(Key<'_>, u64)> = counts.into_iter().collect();
        // Among equally frequent ones the larger come first; it decides which are left out.
        let rank = |((cpu_milli, gpus, gpu_milli, models), count): &(Key<'_>, u64)| {
            Reverse((*count, *cpu_milli, *gpu_milli, *gpus, models.join("|")))
        };
        counts.sort_by_cached_key(rank);
        let total = pods.len() as f64;
        let mut covered = 0;
        let enough = |kind: &(Key<'_>, u64)| {
            let before = covered;
            covered += kind.1;
            (before as f64) < 0.95 * total
        };
        counts = counts.into_iter().take_while(enough).collect();
        let covered: u64 = counts.iter().map(|(_, count)| count).sum();
        let kind = |((cpu_milli, gpus, gpu_milli, models), count): (Key<'_>, u64)| {
            let pod = Pod {
                cpu_milli,
                memory_mib: 0,
                gpus,
                gpu_milli,
                models: models.to_vec(),
            };
            (pod, (count as f64 / total) / (covered as f64 / total))
        };
        Self {
            kinds: counts.into_iter().map(kind).collect(),
        }
    }

    /// Thousandths of a node's idle GPUs that a task of the mix is expected not to be able to use.
    #[must_use]
    pub fn on(&self, node: &Node) -> f64 {
        let idle = node.idle_milli();
        // Summed by what is lacking, and then in all: scores are cut to whole points, so the last bit of a sum decides who is equal.
        let mut sums = [0.0; 6];
        for (kind, part) in &self.kinds {
            let cores = node.cpu_milli >= kind.cpu_milli;
            let (lacking, milli) = match (kind.gpus, node.accepts(kind), node.has_gpus(kind)) {
                (0, ..) => (if cores { Lacking::Nothing } else { Lacking::CoresOnly }, idle),
                (_, false, _) => (Lacking::Model, idle),
                (_, _, true) if cores => {
                    let small = node.gpus.iter().filter(|free| **free < kind.gpu_milli);
                    (Lacking::Gpus, small.sum())
                }
                (_, _, true) => (Lacking::Cores, idle),
                (_, _, false) if cores => (Lacking::Gpus, idle),
                _ => (Lacking::Both, idle),
            };
            sums[lacking as usize] += part * milli as f64;
        }
        sums.iter().sum()
    }
}

/// Why a task of a kind could not use idle GPUs. In the order in which the sums are added.
#[derive(Clone, Copy)]
enum Lacking {
    Both,
    Gpus,
    Cores,
    /// It needs no GPU, and nothing else is short.
    Nothing,
    /// It needs no GPU, and cores are short.
    CoresOnly,
    Model,
}
