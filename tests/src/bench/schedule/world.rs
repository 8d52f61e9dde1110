//! A cluster on one thread to measure: a whole `State` with its planner, as on a leader, and what is submitted to it.

use anyhow::{Context, bail};
use hesuan_engine::command::{
    Body, Decision, EndKind, HostInventory, MoneyCommand, NewPrincipal, Role, SubmitJob, TaskEnd, TaskEvent, TaskReport,
};
use hesuan_engine::outcome::{Effect, Reply};
use hesuan_engine::schedule::Planner;
use hesuan_engine::state::State;
use hesuan_engine::types::{Fen, JobId, PrincipalId, RegionCode, Resources, TaskId, Timestamp};
use hesuan_ledger::NewOrg;

use crate::alone;

const SITES: usize = 12;
const ORG: &str = "lab";
const HOUR_MS: u64 = 3_600_000;
const MODELS: [&str; 2] = ["a800", "h20"];
/// Every third host has so many.
const GPUS: usize = 8;
const CORES: u64 = 64;

/// State and planner, and the clock that both are given.
pub(crate) struct World {
    /// What apply keeps.
    pub(crate) state: State,
    /// The leader's.
    pub(crate) planner: Planner,
    now_ms: u64,
    agents: Vec<PrincipalId>,
}

impl World {
    /// Twelve sites with equally many hosts at four prices, and one org that can pay for everything.
    ///
    /// # Errors
    /// The engine refuses what it is asked for.
    pub(crate) fn new(hosts: usize) -> anyhow::Result<Self> {
        let now_ms = 1_000_000;
        let (state, mut planner) = (alone::founded(Timestamp(now_ms)), Planner::new());
        planner.reset(&state);
        let mut world = Self {
            state,
            planner,
            now_ms,
            agents: Vec::new(),
        };
        world.org(ORG)?;
        world.apply(Body::Money(MoneyCommand::TopUp {
            org: ORG.into(),
            amount: Fen(90_000_000_000_000),
            reference: "".into(),
        }))?;
        for site in 0..SITES {
            world.site(site, hosts * (site + 1) / SITES - hosts * site / SITES)?;
        }
        Ok(world)
    }

    fn org(&mut self, name: &str) -> anyhow::Result<()> {
        let org = NewOrg {
            name: name.into(),
            region: RegionCode(310_000),
            ..NewOrg::default()
        };
        self.apply(Body::Money(MoneyCommand::CreateOrg(org))).map(|_| ())
    }

    fn site(&mut self, number: usize, hosts: usize) -> anyhow::Result<()> {
        let (name, provider) = (format!("site-{number}"), format!("provider-{number}"));
        self.org(&provider)?;
        self.apply(Body::CreateSite {
            name: name.as_str().into(),
            region: RegionCode(310_000 + number as u32),
            provider: provider.as_str().into(),
        })?;
        let mut prices: Vec<(Box<str>, u64)> =
            vec![("cpu".into(), 2_000 + 1_000 * (number as u64 % 4)), ("mem".into(), 0)];
        prices.extend(MODELS.map(|model| (format!("gpu/{model}").into(), 0)));
        self.apply(Body::Money(MoneyCommand::SetPrices {
            site: name.as_str().into(),
            prices: prices.into_iter().collect(),
            effective_from: None,
        }))?;
        self.apply(Body::AttachAgent {
            site: name.as_str().into(),
            instance: 1,
            replica: 1,
            hosts: (0..hosts).map(machine).collect(),
        })?;
        let agent = format!("agent-{number}");
        self.apply(Body::CreatePrincipal(NewPrincipal {
            name: agent.as_str().into(),
            roles: vec![Role::Node],
            org: None,
            site: Some(name.into()),
            region: None,
            token_sha256: [number as u8 + 1; 32],
        }))?;
        let agent = self.state.principal_by_name(&agent);
        self.agents
            .push(agent.context("a principal that was created exists")?.id);
        Ok(())
    }

    /// Now, as apply and planner are told.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.now_ms)
    }

    /// Applies a command in an entry of its own, 1 ms later. The planner is told of the effects.
    fn apply(&mut self, body: Body) -> anyhow::Result<Reply> {
        let (reply, effects) = self.apply_only(PrincipalId::CLUSTER, body)?;
        self.planner.observe(&self.state, &effects);
        Ok(reply)
    }

    fn apply_only(&mut self, principal: PrincipalId, body: Body) -> anyhow::Result<(Reply, Vec<Effect>)> {
        self.now_ms += 1;
        let (reply, effects) = alone::apply(&mut self.state, Timestamp(self.now_ms), principal, body);
        match reply {
            Ok(reply) => Ok((reply, effects)),
            Err(refused) => bail!("{}: {}", refused.code, refused.message),
        }
    }

    /// Submits a job; what the planner must be told.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn submit(&mut self, job: SubmitJob) -> anyhow::Result<(JobId, Vec<Effect>)> {
        match self.apply_only(PrincipalId::CLUSTER, Body::SubmitJob(job))? {
            (Reply::Job(id), effects) => Ok((id, effects)),
            (other, _) => bail!("a submit was answered with {other:?}"),
        }
    }

    /// Lets apply judge; what the planner must be told.
    ///
    /// # Errors
    /// Not all are taken, though nothing else happened.
    pub(crate) fn judge(&mut self, decisions: Vec<Decision>) -> anyhow::Result<Vec<Effect>> {
        match self.apply_only(PrincipalId::CLUSTER, Body::Decisions(decisions))? {
            (Reply::Counts { refused: 0, .. }, effects) => Ok(effects),
            (other, _) => bail!("apply refused what the planner decided: {other:?}"),
        }
    }

    /// A running task ends; what the planner must be told.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn end(&mut self, task: TaskId) -> anyhow::Result<Vec<Effect>> {
        let attempt = self.state.attempt(task).context("it runs")?;
        let seq = attempt.seq + 1;
        let place = self.state.sites().position(|site| site.id == attempt.site);
        let agent = self.agents[place.context("tasks run at sites")?];
        let end = TaskEnd {
            kind: EndKind::Exited(0),
            wall_ms: 1,
            cpu_ms: 0,
            memory_peak_mib: 0,
            message: "".into(),
        };
        let report = TaskReport {
            task,
            seq,
            event: TaskEvent::Ended(end),
        };
        Ok(self.apply_only(agent, Body::Reports(vec![report]))?.1)
    }
}

/// 64 cores and a half that only the smallest tasks can use, and enough memory to be seldom short of it.
fn machine(place: usize) -> HostInventory {
    let gpus = if place.is_multiple_of(3) { GPUS } else { 0 };
    HostInventory {
        name: format!("host-{place}").into(),
        cpu_milli: CORES * 1000 + 500,
        memory_mib: (8 + place as u64 % 3) * CORES * 1024 / 2,
        gpus: vec![MODELS[place % 2].into(); gpus],
        ..HostInventory::default()
    }
}

/// A single job of the class of this number. Classes differ in what they ask for: cores, memory, GPUs in seven shapes (none,
/// shares, whole ones, one model), and the time limit.
#[must_use]
pub(crate) fn job(class: u64) -> SubmitJob {
    let gpu_milli = [0, 0, 1000, 0, 100 + class % 700, 2000, 0, 810][(class % 8) as usize];
    let gpu_models = if class % 16 == 2 {
        vec![MODELS[0].into()]
    } else {
        Vec::new()
    };
    let cores = 1 + class % 4;
    let resources = Resources {
        cpu_milli: cores * 1000,
        memory_mib: cores * 1024 + class % 5_000,
        gpu_milli,
        gpu_models,
        ..Resources::default()
    };
    of(resources, HOUR_MS + class * 1000)
}

/// A job that fits beside any others into the half core that they leave.
#[must_use]
pub(crate) fn small(class: u64) -> SubmitJob {
    let resources = Resources {
        cpu_milli: 10,
        memory_mib: 16 + class % 16,
        ..Resources::default()
    };
    of(resources, HOUR_MS / 2 + class * 1000)
}

/// An array that goes first and takes whatever is left of the cores.
#[must_use]
pub(crate) fn ballast(cores: u64, tasks: u32) -> SubmitJob {
    let resources = Resources {
        cpu_milli: cores * 1000,
        memory_mib: 1,
        ..Resources::default()
    };
    SubmitJob {
        tasks,
        array: true,
        priority: 1,
        ..of(resources, 2 * HOUR_MS)
    }
}

fn of(resources: Resources, walltime_ms_max: u64) -> SubmitJob {
    SubmitJob {
        org: ORG.into(),
        resources,
        walltime_ms_max,
        tasks: 1,
        ..SubmitJob::default()
    }
}
