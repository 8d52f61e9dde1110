//! A site: the real `agent::core`, a backend of make-believe processes that outlive it, and a journal that forgets what was not
//! synced.

use std::collections::{BTreeMap, VecDeque};

use hesuan_agent::core::{Core, CoreConfig, JournalRecord, Observed, ObservedState, Outcome};
use hesuan_agent::task::TaskKey;
use hesuan_api::internal::v1::{Hello, HostInventory, TaskEnd};

use super::queue::Micros;
use super::swarm::Plant;

/// A process that runs on the site's machine, whether the agent lives or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    /// Tells its end from that of an earlier one.
    pub(crate) serial: u64,
    /// On the agent's clock, milliseconds.
    pub(crate) started_ms: u64,
    /// It runs only under the lease.
    pub(crate) lease_bound: bool,
}

/// The time limit of a task as its supervisor knows it, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// What it was started with.
    pub(crate) first_ms: u64,
    /// What it is now.
    pub(crate) now_ms: u64,
}

/// What a journal write was.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Append(Vec<JournalRecord>),
    Rewrite(Vec<JournalRecord>),
}

/// The stream of the living agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Unique in the simulation.
    pub(crate) number: u64,
    /// The replica on the other end.
    pub(crate) replica: u64,
    /// The start of that replica it belongs to.
    pub(crate) replica_boot: u64,
}

/// One site.
pub(crate) struct Site {
    /// Place in the scenario.
    pub(crate) place: usize,
    /// Name in State.
    pub(crate) name: String,
    /// Counts starts of the agent.
    pub(crate) boot: u64,
    /// The living agent.
    pub(crate) core: Option<Core>,
    pub(crate) stream: Option<Stream>,
    /// What is on disk.
    journal: Vec<JournalRecord>,
    unsynced: VecDeque<(u64, Write)>,
    /// The machine's processes.
    pub(crate) running: BTreeMap<TaskKey, Running>,
    /// Ends that nobody was told yet, as exit files on disk.
    pub(crate) ended: BTreeMap<TaskKey, Outcome>,
    /// Of what runs, and of what ended until it is forgotten.
    pub(crate) limits: BTreeMap<TaskKey, Limit>,
    /// As the supervisors know it.
    pub(crate) lease_until_ms: u64,
    pub(crate) wake_at: Option<Micros>,
    serials: u64,
}

impl Site {
    /// A site whose agent is not started yet.
    #[must_use]
    pub(crate) fn new(place: usize, name: &str) -> Site {
        Site {
            place,
            name: name.to_owned(),
            boot: 0,
            core: None,
            stream: None,
            journal: Vec::new(),
            unsynced: VecDeque::new(),
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
            limits: BTreeMap::new(),
            lease_until_ms: 0,
            wake_at: None,
            serials: 0,
        }
    }

    /// Its monotonic clock, which goes on while the agent is down.
    #[must_use]
    pub(crate) fn now_ms(&self, now: Micros) -> u64 {
        1_000_000 * (self.place as u64 + 1) + now / 1000
    }

    /// The agent's number of this start.
    #[must_use]
    pub(crate) fn instance(&self) -> u128 {
        (u128::from(self.place as u64 + 1) << 64) | u128::from(self.boot)
    }

    /// Starts the agent from its journal and from what the machine runs.
    pub(crate) fn start(&mut self, plant: Plant, now: Micros) -> Vec<hesuan_agent::core::Output> {
        assert!(self.core.is_none(), "one agent a site");
        self.boot += 1;
        let hello = Hello {
            site: self.name.clone(),
            instance: self.instance().to_be_bytes().to_vec(),
            hosts: [("n1", 4_000), ("n2", 4_000), ("n3", 3_000)]
                .map(|(name, cpu_milli)| HostInventory {
                    name: name.into(),
                    cpu_milli,
                    memory_mib: 8_192,
                    ..HostInventory::default()
                })
                .to_vec(),
            version: "sim".into(),
        };
        let mut config = CoreConfig::new(hello);
        config.journal_slack_records = 50;
        config.lease_until_ms = self.lease_until_ms;
        #[cfg(feature = "planted")]
        {
            use hesuan_agent::core::Planted;
            config.planted = if plant == Plant::StartTwiceAfterCrash {
                Planted::StartTwiceAfterCrash
            } else {
                Planted::None
            };
        }
        #[cfg(not(feature = "planted"))]
        let _ = plant;
        let running = self.running.iter().map(|(task, running)| Observed {
            task: *task,
            state: ObservedState::Running {
                started_ms: running.started_ms,
            },
        });
        let ended = self.ended.iter().map(|(task, outcome)| Observed {
            task: *task,
            state: ObservedState::Ended(outcome.clone()),
        });
        let owned = running.chain(ended).collect();
        let (core, outputs) = Core::new(config, self.journal.clone(), owned, self.now_ms(now));
        self.core = Some(core);
        outputs
    }

    /// The agent's process dies; its tasks go on. What of the journal was not synced is gone.
    pub(crate) fn crash(&mut self) {
        self.core = None;
        self.stream = None;
        self.wake_at = None;
        self.unsynced.clear();
    }

    /// A write of the journal begins.
    pub(crate) fn write(&mut self, seq: u64, write: Write) {
        self.unsynced.push_back((seq, write));
    }

    /// Writes up to `seq` are on disk.
    pub(crate) fn synced(&mut self, seq: u64) {
        while self.unsynced.front().is_some_and(|(written, _)| *written <= seq) {
            match self.unsynced.pop_front() {
                Some((_, Write::Append(records))) => self.journal.extend(records),
                Some((_, Write::Rewrite(records))) => self.journal = records,
                None => {}
            }
        }
    }

    /// A process starts; gives its serial.
    pub(crate) fn spawn(&mut self, task: TaskKey, lease_bound: bool, walltime_ms_max: u64, now: Micros) -> u64 {
        self.serials += 1;
        let limit = Limit {
            first_ms: walltime_ms_max,
            now_ms: walltime_ms_max,
        };
        self.limits.insert(task, limit);
        let running = Running {
            serial: self.serials,
            started_ms: self.now_ms(now),
            lease_bound,
        };
        self.running.insert(task, running);
        self.serials
    }

    /// Processes that the supervisors stop themselves while no agent does: their time or the lease is over.
    pub(crate) fn to_be_stopped(&self, now_ms: u64) -> Vec<(TaskKey, u64, TaskEnd)> {
        let lease_over = now_ms >= self.lease_until_ms;
        let judge = |(task, running): (&TaskKey, &Running)| {
            let limit_ms = self.limits.get(task).map_or(u64::MAX, |limit| limit.now_ms);
            let end = if now_ms - running.started_ms >= limit_ms {
                TaskEnd::TimeLimit
            } else if lease_over && running.lease_bound {
                TaskEnd::LeaseExpired
            } else {
                return None;
            };
            Some((*task, running.serial, end))
        };
        self.running.iter().filter_map(judge).collect()
    }

    /// A process is gone; gives its outcome if it ran.
    pub(crate) fn reap(&mut self, task: TaskKey, end: TaskEnd, exit_code: i32, now: Micros) -> Option<Outcome> {
        let running = self.running.remove(&task)?;
        let wall_ms = self.now_ms(now).saturating_sub(running.started_ms);
        let outcome = match end {
            TaskEnd::Exited => Outcome::exited(exit_code, wall_ms),
            end => Outcome {
                wall_ms,
                ..Outcome::unused(end, "")
            },
        };
        self.ended.insert(task, outcome.clone());
        Some(outcome)
    }
}
