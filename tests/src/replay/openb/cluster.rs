//! Nodes and tasks as the published experiment sees them, and what is free.

/// A machine, with what is free on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique.
    pub name: String,
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Mebibytes.
    pub memory_mib: u64,
    /// Thousandths free of each GPU.
    pub gpus: Vec<u64>,
    /// Of its GPUs.
    pub model: String,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Mebibytes.
    pub memory_mib: u64,
    /// GPUs.
    pub gpus: u64,
    /// Thousandths of each; below 1000 only for one.
    pub gpu_milli: u64,
    /// Accepted models, as the file lists them (which tells kinds of tasks apart); empty = any.
    pub models: Vec<String>,
}

/// Where a task goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// By its place among the nodes.
    pub node: usize,
    /// By their place on the node.
    pub gpus: Vec<usize>,
}

/// All nodes.
pub type Cluster = [Node];

impl Pod {
    /// Thousandths of GPUs in all.
    #[must_use]
    pub fn demand_milli(&self) -> u64 {
        self.gpus * self.gpu_milli
    }
}

impl Node {
    /// Thousandths of its GPUs that nobody uses.
    #[must_use]
    pub fn idle_milli(&self) -> u64 {
        self.gpus.iter().sum()
    }

    /// Whether the task takes GPUs of this model.
    #[must_use]
    pub fn accepts(&self, pod: &Pod) -> bool {
        pod.models.is_empty() || pod.models.contains(&self.model)
    }

    /// Whether as many GPUs have room enough, whatever their model.
    #[must_use]
    pub fn has_gpus(&self, pod: &Pod) -> bool {
        pod.gpus == 0 || self.gpus.iter().filter(|free| **free >= pod.gpu_milli).count() as u64 >= pod.gpus
    }

    /// Whether the task fits.
    #[must_use]
    pub fn fits(&self, pod: &Pod) -> bool {
        self.cpu_milli >= pod.cpu_milli && self.memory_mib >= pod.memory_mib && self.accepts(pod) && self.has_gpus(pod)
    }

    /// Takes the task's needs out of what is free.
    ///
    /// # Panics
    /// When they are not free, or the GPUs are not as many as asked for, each once: no policy may over-commit.
    pub fn take(&mut self, pod: &Pod, gpus: &[usize]) {
        assert!(
            gpus.len() as u64 == pod.gpus && gpus.is_sorted_by(|a, b| a < b),
            "{gpus:?} for {pod:?}"
        );
        assert!(self.accepts(pod), "{} for {pod:?}", self.model);
        let take = |free: u64, need: u64| free.checked_sub(need).expect("no node is over-committed");
        self.cpu_milli = take(self.cpu_milli, pod.cpu_milli);
        self.memory_mib = take(self.memory_mib, pod.memory_mib);
        for &gpu in gpus {
            self.gpus[gpu] = take(self.gpus[gpu], pod.gpu_milli);
        }
    }
}
