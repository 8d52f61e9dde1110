//! Three published placements, rebuilt from their definitions: every node is scored with whole points from 0 to 100, and
//! among equals the one of the smallest rank is taken. They are yardsticks only.

use std::collections::HashMap;

use super::Policy;
use super::cluster::{Cluster, Node, Placement, Pod};
use super::fragment::Fragments;

/// Cores and GPUs that count as a whole node.
const CORES: f64 = 128.0;
const GPUS: f64 = 8.0;

/// What a node's fragmentation depends on.
type Shape = (u64, Vec<u64>, String);

/// One of them at work.
pub struct Published<'a> {
    policy: Policy,
    fragments: &'a Fragments,
    ranks: &'a [usize],
    /// Fragmentation of nodes seen before.
    known: HashMap<Shape, f64>,
}

impl<'a> Published<'a> {
    /// # Panics
    /// `policy` is ours, which is no published one.
    #[must_use]
    pub fn new(policy: Policy, fragments: &'a Fragments, ranks: &'a [usize]) -> Self {
        assert_ne!(policy, Policy::Ours, "ours is not rebuilt here");
        Self {
            policy,
            fragments,
            ranks,
            known: HashMap::new(),
        }
    }

    /// Where the task goes; `None` if it fits nowhere.
    pub fn place(&mut self, cluster: &Cluster, pod: &Pod) -> Option<Placement> {
        let mut best: Option<(i64, std::cmp::Reverse<usize>, Placement)> = None;
        for (place, node) in cluster.iter().enumerate().filter(|(_, node)| node.fits(pod)) {
            let (score, gpus) = match self.policy {
                Policy::Fgd => self.least_new_fragments(node, pod),
                Policy::Dotprod => (dot_product(node, pod), tightest(node, pod)),
                _ => (best_fit(node, pod), tightest(node, pod)),
            };
            let rank = std::cmp::Reverse(self.ranks[place]);
            if best.as_ref().is_none_or(|best| (score, rank) > (best.0, best.1)) {
                best = Some((score, rank, Placement { node: place, gpus }));
            }
        }
        best.map(|(_, _, placement)| placement)
    }

    fn least_new_fragments(&mut self, node: &Node, pod: &Pod) -> (i64, Vec<usize>) {
        let before = self.fragments_on(node);
        let mut score = |gpus: &[usize]| {
            let mut then = node.clone();
            then.take(pod, gpus);
            let fewer = before - self.fragments_on(&then);
            (100.0 / (1.0 + (-fewer / 1000.0).exp())) as i64
        };
        if pod.gpus != 1 || pod.gpu_milli == 1000 {
            let gpus = tightest(node, pod);
            return (score(&gpus), gpus);
        }
        let mut best: Option<(i64, usize)> = None;
        for gpu in (0..node.gpus.len()).filter(|gpu| node.gpus[*gpu] >= pod.gpu_milli) {
            let score = score(&[gpu]);
            if best.is_none_or(|best| score > best.0) {
                best = Some((score, gpu));
            }
        }
        let (score, gpu) = best.expect("the node fits");
        (score, vec![gpu])
    }

    fn fragments_on(&mut self, node: &Node) -> f64 {
        let shape = (node.cpu_milli, node.gpus.clone(), node.model.clone());
        let fragments = self.fragments;
        *self.known.entry(shape).or_insert_with(|| fragments.on(node))
    }
}

/// Idle GPUs for whole ones, the feasible GPU with the least room for a share.
fn tightest(node: &Node, pod: &Pod) -> Vec<usize> {
    let feasible = (0..node.gpus.len()).filter(|gpu| node.gpus[*gpu] >= pod.gpu_milli);
    if pod.gpus == 1 {
        feasible.min_by_key(|gpu| (node.gpus[*gpu], *gpu)).into_iter().collect()
    } else {
        feasible.take(pod.gpus as usize).collect()
    }
}

fn best_fit(node: &Node, pod: &Pod) -> i64 {
    let cores_left = (node.cpu_milli - pod.cpu_milli) as f64 / 1000.0;
    let gpus_left = (node.idle_milli() - pod.demand_milli()) as f64 / 1000.0;
    (100.0 * (1.0 - (cores_left / CORES + gpus_left / GPUS) / 2.0)) as i64
}

fn dot_product(node: &Node, pod: &Pod) -> i64 {
    let cores = node.cpu_milli as f64 * pod.cpu_milli as f64 / 1e6;
    let gpus = node.idle_milli() as f64 * pod.demand_milli() as f64 / 1e6;
    (100.0 * (1.0 - (cores / (CORES * CORES) + gpus / (GPUS * GPUS)) / 2.0)) as i64
}
