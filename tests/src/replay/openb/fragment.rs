//! Fragmentation: how much of the idle GPUs the tasks of a known mix could not use, as published with FGD.

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
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut covered = 0;
        let enough = |kind: &(Key<'_>, u64)| {
            let before = covered;
            covered += kind.1;
            (before as f64) < 0.95 * pods.len() as f64
        };
        counts = counts.into_iter().take_while(enough).collect();
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let kind = |((cpu_milli, gpus, gpu_milli, models), count): (Key<'_>, u64)| {
            let pod = Pod {
                cpu_milli,
                memory_mib: 0,
                gpus,
                gpu_milli,
                models: models.to_vec(),
            };
            (pod, count as f64 / total as f64)
        };
        Self {
            kinds: counts.into_iter().map(kind).collect(),
        }
    }

    /// Thousandths of a node's idle GPUs that a task of the mix is expected not to be able to use.
    #[must_use]
    pub fn on(&self, node: &Node) -> f64 {
        let idle = node.idle_milli();
        if idle == 0 {
            return 0.0;
        }
        let unusable = |kind: &Pod| {
            if kind.gpus == 0 || node.cpu_milli < kind.cpu_milli || !node.has_gpus(kind) {
                return idle;
            }
            node.gpus.iter().filter(|free| **free < kind.gpu_milli).sum()
        };
        self.kinds.iter().map(|(kind, part)| part * unusable(kind) as f64).sum()
    }
}
