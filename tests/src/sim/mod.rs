//! Whole clusters on one thread from one seed: the very structs of `replica`, `engine` and `agent::core`, with virtual time,
//! network and disk. The harness plays the shell that `server` is in production. Equal seeds give equal traces.

mod client;
mod faults;
mod machine;
mod money;
mod network;
mod oracle;
mod queue;
mod replica;
mod shell;
mod site;
mod swarm;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hesuan_engine::state::State;
use hesuan_engine::types::JobId;
use hesuan_replica::node::Role;

use queue::{Micros, ms};
pub use swarm::Plant;
use world::World;

/// The sites and their regions.
pub(crate) const SITES: [(&str, u32); 3] = [("songjiang", 310_117), ("hangzhou", 330_100), ("hefei", 340_100)];
/// Their operators' principals.
pub(crate) const OPERATORS: [&str; 3] = ["songjiang-operator", "hangzhou-operator", "hefei-operator"];

/// How long the storm lasts.
pub const STORM: Micros = ms(120_000);
/// How long a healed cluster may take at most until everything has come to rest.
const HEAL_MAX: Micros = ms(400_000);

/// What one seed gave.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Over all events.
    pub trace_hash: [u8; 32],
    /// What happened how often.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Runs one seed to its end. The whole state of every replica is checked and hashed at every `depth` entries; the chain of
/// outcomes, the books and what really runs are checked at every one.
///
/// # Errors
/// The broken invariant, as text with the seed in it.
pub fn run(seed: u64, plant: Plant, depth: u64) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| storm_and_heal(seed, plant, depth))).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without text");
        format!("seed {seed}: {text}")
    })
}

fn storm_and_heal(seed: u64, plant: Plant, depth: u64) -> Report {
    let mut world = World::new(seed, plant, depth);
    world.run_until(STORM);
    world.heal();
    let mut now = STORM;
    while now < STORM + HEAL_MAX && !world.at_rest() {
        now += ms(1_000);
        world.run_until(now);
        world.mend_membership();
    }
    world.check_at_rest();
    let entries = world.oracle.committed_count() as u64;
    world.counts.insert("entries", entries);
    Report {
        seed,
        trace_hash: world.trace_hash(),
        counts: world.counts,
    }
}

impl World {
    /// The storm is over: links work, everybody who can starts again.
    fn heal(&mut self) {
        self.stormy = false;
        self.network.calm();
        for id in self.replicas.keys().copied().collect::<Vec<_>>() {
            self.replica_start(id);
        }
        for site in 0..self.sites.len() {
            self.site_start(site);
        }
    }

    /// Replicas that refused to start are replaced, learners promoted, until there are three voters that run.
    fn mend_membership(&mut self) {
        let Some(conf) = self.leader_process().map(|process| process.node.conf_state()) else {
            return;
        };
        let refused = |id: &u64| self.replicas.get(id).is_some_and(|r| r.refused.is_some());
        if conf.is_joint() || conf.voters.len() > 3 || !conf.learners.is_empty() || conf.voters.iter().any(refused) {
            self.change_members();
        }
    }

    fn leader_process(&self) -> Option<&replica::Process> {
        let processes = self.replicas.values().filter_map(|r| r.process.as_deref());
        processes
            .filter(|p| p.node.role() == Role::Leader)
            .max_by_key(|p| p.node.term())
    }

    /// Nothing runs or could be placed, everybody has applied the same, and the membership is mended.
    fn at_rest(&self) -> bool {
        let Some(leader) = self.leader_process() else {
            return false;
        };
        let (state, conf) = (leader.applier.state(), leader.node.conf_state());
        let caught_up = |id: &u64| {
            let process = self.replicas.get(id).and_then(|r| r.process.as_ref());
            process.is_some_and(|p| p.applier.index() == leader.applier.index())
        };
        leader.leader.is_established()
            && conf.voters.len() == 3
            && conf.learners.is_empty()
            && !conf.is_joint()
            && conf.voters.iter().all(caught_up)
            && state.tasks_running() == 0
            && state.tasks_pending() == 0
    }

    /// Everything that was promised is there, and everything that was accepted has ended or says why it waits.
    fn check_at_rest(&mut self) {
        let Some(leader) = self.leader_process() else {
            panic!("a healed cluster has a leader; {}", self.describe());
        };
        assert!(leader.leader.is_established(), "a healed leader is established");
        let conf = leader.node.conf_state();
        assert!(!conf.is_joint(), "no joint configuration stays");
        let (index, digest) = (leader.applier.index(), leader.applier.state().outcome_digest());
        for id in &conf.voters {
            let process = self.replicas.get(id).and_then(|r| r.process.as_ref());
            let Some(process) = process else {
                panic!("voter {id} does not run; {}", self.describe())
            };
            let lag = index - process.applier.index().min(index);
            assert!(
                lag <= 3,
                "healed replicas converge: {id} is {lag} entries behind {index}; {}",
                self.describe()
            );
            if lag == 0 {
                assert_eq!(
                    process.applier.state().outcome_digest(),
                    digest,
                    "replica {id} differs at {index}"
                );
            }
        }
        let state = leader.applier.state();
        state.check();
        for job in self.oracle.acknowledged_jobs() {
            let archived = || leader.archive.find_job(job.0).is_ok_and(|record| !record.is_empty());
            assert!(
                state.job(job).is_some() || archived(),
                "nothing acknowledged is lost: {job:?} is gone"
            );
        }
        leader
            .archive
            .verify()
            .unwrap_or_else(|error| panic!("the archive is whole: {error}"));
        assert_eq!(
            state.tasks_running(),
            0,
            "everything that ran has ended: {}",
            self.describe_running(state)
        );
        self.check_waiting(leader, state);
    }

    fn check_waiting(&self, leader: &replica::Process, state: &State) {
        for (id, _) in state.jobs_newest_first(None) {
            if !self.is_pending(state, id) {
                continue;
            }
            let now = hesuan_engine::types::Timestamp(replica::EPOCH_MS + self.queue.now() / 1000);
            let explanation = hesuan_engine::schedule::explain(state, leader.leader.planner(), id, now, &|_| true);
            let explanation = explanation.expect("a job in State can be explained");
            let reasons = explanation.sites.iter().all(|site| !site.reasons.is_empty());
            assert!(
                reasons,
                "a job that waits says why at every site: {id:?}: {explanation:?}"
            );
        }
    }

    fn is_pending(&self, state: &State, id: JobId) -> bool {
        state.job(id).is_some_and(|job| !job.state().is_ended())
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for replica in self.replicas.values() {
            let line = match (&replica.process, &replica.refused) {
                (Some(process), _) => {
                    let s = process.node.status();
                    format!(
                        "{}: {:?} term {} leader {:?} commit {} applied {} last {} first {} conf {:?}",
                        s.id, s.role, s.term, s.leader, s.commit, s.applied, s.last, s.first, s.conf_state
                    )
                }
                (None, Some(reason)) => format!("{}: refused: {reason}", replica.id),
                (None, None) => format!("{}: down", replica.id),
            };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn describe_running(&self, state: &State) -> String {
        let mut text = String::new();
        for (place, site) in state.sites().enumerate() {
            let here = &self.sites[place];
            let tasks: Vec<String> = state
                .running_at(site.id)
                .map(|task| {
                    let attempt = state.attempt(task);
                    let key = hesuan_agent::task::TaskKey {
                        job: task.job.0,
                        task: task.task,
                        attempt: task.attempt,
                        restore_epoch: task.restore_epoch,
                        node: 0,
                    };
                    let process = here.running.get(&key);
                    let known = here
                        .core
                        .as_ref()
                        .is_some_and(|core| core.running().any(|running| running == key));
                    format!("{task:?}: {attempt:?}; process {process:?}; known to the agent {known}")
                })
                .collect();
            text.push_str(&format!(
                "\nsite {} {:?} lost {:?} stream {:?} agent {}: {tasks:#?}",
                site.name,
                site.agent,
                site.lost_at,
                here.stream,
                here.core.is_some()
            ));
        }
        text
    }
}
