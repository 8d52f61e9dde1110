//! A task on several hosts. It is journalled, started, limited, stopped and reported as one; only what happens to its nodes comes one
//! by one. It has ended when all of them have. The first that ends otherwise than with code 0 stops the others, and how that one
//! ended is how the task did.

use hesuan_api::internal::v1::TaskEnd;

use super::{Core, Outcome, Output, StopReason, StopSignal, Task};
use crate::task::TaskKey;

/// What is known of the nodes, by rank.
pub(super) struct Gang {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    ended: Option<Outcome>,
    cpu_ms: u64,
    memory_peak_mib: u64,
}

fn is_good(outcome: &Outcome) -> bool {
    outcome.end == TaskEnd::Exited && outcome.exit_code == 0
}

impl Gang {
    pub(super) fn new(nodes: u32) -> Gang {
        Gang {
            nodes: (0..nodes).map(|_| Node::default()).collect(),
        }
    }

    /// How the whole ended, once all nodes have; `stop`: why it was stopped, if it was. Time is that of the node that ran longest, which
    /// is how long all hosts were kept; CPU time is summed up.
    fn outcome(&self, stop: Option<StopReason>) -> Option<Outcome> {
        let ended: Vec<&Outcome> = self
            .nodes
            .iter()
            .map(|node| node.ended.as_ref())
            .collect::<Option<_>>()?;
        let first_bad = || ended.iter().position(|outcome| !is_good(outcome));
        let decides = match stop {
            Some(StopReason::NodeEnded(node)) => Some(node as usize).filter(|node| *node < ended.len()),
            _ => first_bad(),
        };
        let decides = decides.unwrap_or(0);
        let mut outcome = ended[decides].clone();
        if matches!(stop, Some(StopReason::NodeEnded(_))) {
            let why = if outcome.message.is_empty() { "" } else { ": " };
            outcome.message = format!("node {decides} ended, the others were stopped{why}{}", outcome.message);
        }
        outcome.wall_ms = ended.iter().map(|outcome| outcome.wall_ms).max().unwrap_or(0);
        outcome.cpu_ms = ended.iter().map(|outcome| outcome.cpu_ms).sum();
        outcome.memory_peak_mib = ended.iter().map(|outcome| outcome.memory_peak_mib).max().unwrap_or(0);
        Some(outcome)
    }
}

impl Task {
    /// Hosts it runs on.
    pub(super) fn nodes(&self) -> u32 {
        self.gang.as_ref().map_or(1, |gang| gang.nodes.len() as u32)
    }
}

impl Core {
    /// A task on one host, or a node of a gang, is over.
    pub(super) fn node_ended(&mut self, node: TaskKey, outcome: Outcome) {
        let whole = node.whole();
        let task = self.tasks.get_mut(&whole);
        let Some((gang, stop)) = task.and_then(|task| Some((task.gang.as_mut()?, task.stop))) else {
            self.ended(node, outcome);
            return;
        };
        let Some(known) = gang.nodes.get_mut(node.node as usize) else {
            return;
        };
        let stops_others = !is_good(&outcome);
        known.ended.get_or_insert(outcome);
        if stop.is_none() && stops_others {
            self.stop(whole, StopReason::NodeEnded(node.node));
        }
        let task = &self.tasks[&whole];
        if let Some(outcome) = task.gang.as_ref().and_then(|gang| gang.outcome(task.stop)) {
            self.ended(whole, outcome);
        }
    }

    /// A sample of one node; of the whole the sum of CPU time and the largest memory are told.
    pub(super) fn node_used(&mut self, node: TaskKey, cpu_ms: u64, memory_peak_mib: u64) {
        let Some(task) = self.tasks.get_mut(&node.whole()) else {
            return;
        };
        let Some(gang) = &mut task.gang else {
            (task.cpu_ms, task.memory_peak_mib) = (cpu_ms, memory_peak_mib);
            return;
        };
        if let Some(known) = gang.nodes.get_mut(node.node as usize) {
            (known.cpu_ms, known.memory_peak_mib) = (cpu_ms, memory_peak_mib);
        }
        task.cpu_ms = gang.nodes.iter().map(|node| node.cpu_ms).sum();
        task.memory_peak_mib = gang.nodes.iter().map(|node| node.memory_peak_mib).max().unwrap_or(0);
    }

    /// Signals every node that has not ended.
    pub(super) fn signal(&mut self, whole: TaskKey, signal: StopSignal) {
        let each = self.nodes_left(whole);
        self.outputs
            .extend(each.into_iter().map(|task| Output::Signal { task, signal }));
    }

    /// Tells every node that has not ended its time limit.
    pub(super) fn tell_limit(&mut self, whole: TaskKey, walltime_ms_max: u64) {
        let each = self.nodes_left(whole);
        let each = each.into_iter().map(|task| Output::SetLimit { task, walltime_ms_max });
        self.outputs.extend(each);
    }

    fn nodes_left(&self, whole: TaskKey) -> Vec<TaskKey> {
        let Some(gang) = self.tasks.get(&whole).and_then(|task| task.gang.as_ref()) else {
            return vec![whole];
        };
        let left = (0..).zip(&gang.nodes).filter(|(_, node)| node.ended.is_none());
        left.map(|(node, _)| whole.with_node(node)).collect()
    }
}
