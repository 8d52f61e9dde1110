//! What tasks hold together, and bounds on it: the words in which contracts and quotas speak.

/// What tasks hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Mebibytes.
    pub memory_mib: u64,
    /// Thousandths of GPUs.
    pub gpu_milli: u64,
    /// How many they are.
    pub tasks: u64,
}

impl Held {
    /// One of the amounts.
    #[must_use]
    pub fn of_measure(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Cpu => self.cpu_milli,
            Measure::Memory => self.memory_mib,
            Measure::Gpu => self.gpu_milli,
            Measure::Tasks => self.tasks,
        }
    }

    /// Adds what others hold.
    pub fn add(&mut self, others: &Held) {
        self.cpu_milli += others.cpu_milli;
        self.memory_mib += others.memory_mib;
        self.gpu_milli += others.gpu_milli;
        self.tasks += others.tasks;
    }

    /// Takes away what some of them hold.
    ///
    /// # Panics
    /// When they hold more than all.
    pub fn take(&mut self, some: &Held) {
        let less = |all: u64, some: u64| all.checked_sub(some).expect("some hold no more than all");
        self.cpu_milli = less(self.cpu_milli, some.cpu_milli);
        self.memory_mib = less(self.memory_mib, some.memory_mib);
        self.gpu_milli = less(self.gpu_milli, some.gpu_milli);
        self.tasks = less(self.tasks, some.tasks);
    }
}

/// The measures in which a contract or a quota speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Thousandths of cores.
    Cpu,
    /// Mebibytes.
    Memory,
    /// Thousandths of GPUs.
    Gpu,
    /// Tasks that run.
    Tasks,
}

impl Measure {
    /// All of them, in the order in which they are judged.
    pub const ALL: [Measure; 4] = [Measure::Cpu, Measure::Memory, Measure::Gpu, Measure::Tasks];

    /// The field of a message that gives it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_milli",
            Self::Memory => "memory_mib",
            Self::Gpu => "gpu_milli",
            Self::Tasks => "tasks",
        }
    }
}

/// A bound for each measure; `None` = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Thousandths of cores.
    pub cpu_milli: Option<u64>,
    /// Mebibytes.
    pub memory_mib: Option<u64>,
    /// Thousandths of GPUs.
    pub gpu_milli: Option<u64>,
    /// Tasks that run at once.
    pub tasks: Option<u64>,
}

impl Bounds {
    /// No bound at all.
    pub const NONE: Bounds = Bounds {
        cpu_milli: None,
        memory_mib: None,
        gpu_milli: None,
        tasks: None,
    };

    /// One of the bounds.
    #[must_use]
    pub fn of(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Cpu => self.cpu_milli,
            Measure::Memory => self.memory_mib,
            Measure::Gpu => self.gpu_milli,
            Measure::Tasks => self.tasks,
        }
    }

    /// The first bound that a task would break beside what is held.
    #[must_use]
    pub fn broken_by(&self, task: &Held, held: &Held) -> Option<Over> {
        Measure::ALL.into_iter().find_map(|measure| {
            let (need, held) = (task.of_measure(measure), held.of_measure(measure));
            let limit = self
                .of(measure)
                .filter(|limit| need > 0 && held.saturating_add(need) > *limit)?;
            Some(Over {
                measure,
                need,
                held,
                limit,
            })
        })
    }
}

/// By how much a task breaks a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Which bound.
    pub measure: Measure,
    /// What the task asks for.
    pub need: u64,
    /// What is held already.
    pub held: u64,
    /// The bound.
    pub limit: u64,
}
