//! A state and its planner in virtual time, without replicas: what is decided is applied at the same instant, and what runs ends
//! when the trace says so. Nothing is decided here.

use std::collections::{BTreeSet, HashMap};

use anyhow::{anyhow, bail};
use hesuan_engine::command::{
    Body, Decision, EndKind, HostInventory, MoneyCommand, NewPrincipal, PolicyChange, Role, SubmitJob, TaskEnd,
    TaskEvent, TaskReport,
};
use hesuan_engine::outcome::Reply;
use hesuan_engine::schedule::Planner;
use hesuan_engine::state::State;
use hesuan_engine::types::{Fen, Funding, JobId, PrincipalId, RegionCode, Resources, SiteId, TaskId, Timestamp};
use hesuan_ledger::NewOrg;

use crate::alone;

/// When traces begin, milliseconds: an org must be there before its first job.
const BEGIN_MS: u64 = 1_000_000;
/// Decisions of one entry.
const DECISIONS_MAX: usize = 256;
/// The longest limit, of work that names none: 30 days.
pub const LIMIT_S_MAX: u64 = 30 * 24 * 3600;

/// Sites of one host each, with as many cores as they have processors, and users who pay nothing.
pub struct Region {
    state: State,
    planner: Planner,
    agents: HashMap<SiteId, PrincipalId>,
    users: BTreeSet<u64>,
    running: HashMap<JobId, TaskId>,
}

/// Work of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Whose it is.
    pub user: u64,
    /// Of one site.
    pub procs: u64,
    /// How long it may run, seconds.
    pub limit_s: u64,
}

impl Region {
    /// Sites with so many processors.
    ///
    /// # Errors
    /// The engine refuses one.
    pub fn new(sites: &[u64]) -> anyhow::Result<Self> {
        let mut region = Self {
            state: alone::founded(Timestamp(0)),
            planner: Planner::new(),
            agents: HashMap::new(),
            users: BTreeSet::new(),
            running: HashMap::new(),
        };
        region.planner.reset(&region.state);
        // Users of a log are no organisations that share: who goes first is told by turns, as in what it is compared with.
        let by_turns = PolicyChange {
            fair_share: Some(false),
            ..PolicyChange::default()
        };
        region.apply(Timestamp(0), PrincipalId::CLUSTER, Body::SetPolicy(by_turns))?;
        region.org("provider")?;
        for (place, procs) in sites.iter().enumerate() {
            region.site(&format!("site-{place}"), *procs)?;
        }
        Ok(region)
    }

    fn org(&mut self, name: &str) -> anyhow::Result<()> {
        let new = NewOrg {
            name: name.into(),
            region: RegionCode(310_000),
            ..NewOrg::default()
        };
        self.apply(
            Timestamp(0),
            PrincipalId::CLUSTER,
            Body::Money(MoneyCommand::CreateOrg(new)),
        )
        .map(drop)
    }

    fn site(&mut self, name: &str, procs: u64) -> anyhow::Result<()> {
        let created = Body::CreateSite {
            name: name.into(),
            region: RegionCode(310_000),
            provider: "provider".into(),
        };
        let Reply::Site(id) = self.apply(Timestamp(0), PrincipalId::CLUSTER, created)? else {
            bail!("a site has a number");
        };
        let free = |sku: &str| (sku.into(), 0);
        let prices = Body::Money(MoneyCommand::SetPrices {
            site: name.into(),
            prices: vec![free("cpu"), free("mem")],
            effective_from: None,
        });
        self.apply(Timestamp(0), PrincipalId::CLUSTER, prices)?;
        let host = HostInventory {
            name: "host".into(),
            cpu_milli: procs * 1000,
            memory_mib: procs,
            ..HostInventory::default()
        };
        let attached = Body::AttachAgent {
            site: name.into(),
            instance: 1,
            replica: 1,
            hosts: vec![host],
        };
        self.apply(Timestamp(0), PrincipalId::CLUSTER, attached)?;
        let agent = NewPrincipal {
            name: format!("agent-{name}").into(),
            roles: vec![Role::Node],
            org: None,
            site: Some(name.into()),
            region: None,
            token_sha256: token(id),
        };
        self.apply(Timestamp(0), PrincipalId::CLUSTER, Body::CreatePrincipal(agent))?;
        let agent = self.state.principals().last().map(|principal| principal.id);
        self.agents.insert(id, agent.expect("it was just created"));
        Ok(())
    }

    fn apply(&mut self, at: Timestamp, principal: PrincipalId, body: Body) -> anyhow::Result<Reply> {
        let at = Timestamp(BEGIN_MS + at.0);
        let (reply, effects) = alone::apply(&mut self.state, at, principal, body);
        self.planner.observe(&self.state, &effects);
        reply.map_err(|refused| anyhow!("{} {}", refused.code, refused.message))
    }

    /// New work; its number, which counts all work from 0.
    ///
    /// # Errors
    /// The engine refuses it.
    pub fn submit(&mut self, now: Timestamp, wanted: &Wanted) -> anyhow::Result<u64> {
        let org = format!("user-{}", wanted.user);
        if self.users.insert(wanted.user) {
            self.org(&org)?;
        }
        let job = SubmitJob {
            org: (*org).into(),
            resources: Resources {
                cpu_milli: wanted.procs * 1000,
                memory_mib: 1,
                ..Resources::default()
            },
            walltime_ms_max: wanted.limit_s.min(LIMIT_S_MAX) * 1000,
            tasks: 1,
            funding: Funding {
                copay_max: Some(Fen::ZERO),
                ..Funding::default()
            },
            ..SubmitJob::default()
        };
        match self.apply(now, PrincipalId::CLUSTER, Body::SubmitJob(job))? {
            Reply::Job(JobId(id)) => Ok(id - 1),
            other => bail!("a submit gives a job, not {other:?}"),
        }
    }

    /// Running work has ended by itself.
    ///
    /// # Errors
    /// It does not run.
    pub fn end(&mut self, now: Timestamp, number: u64) -> anyhow::Result<()> {
        let task = self.running.remove(&JobId(number + 1));
        let task = task.ok_or_else(|| anyhow!("job {number} does not run"))?;
        let attempt = self.state.attempt(task).expect("it runs");
        let agent = self.agents[&attempt.site];
        let end = TaskEnd {
            kind: EndKind::Exited(0),
            wall_ms: (BEGIN_MS + now.0).saturating_sub(attempt.placed_at.0),
            cpu_ms: 0,
            memory_peak_mib: 0,
            message: "".into(),
        };
        let report = TaskReport {
            task,
            seq: attempt.seq + 1,
            event: TaskEvent::Ended(end),
        };
        self.apply(now, agent, Body::Reports(vec![report])).map(drop)
    }

    /// Plans and applies until nothing more is decided at this instant: what starts, in that order.
    ///
    /// # Errors
    /// Apply refuses a decision, though nothing else has happened.
    pub fn pass(&mut self, now: Timestamp) -> anyhow::Result<Vec<u64>> {
        let mut started = Vec::new();
        loop {
            let at = Timestamp(BEGIN_MS + now.0);
            let decisions = self.planner.plan(&self.state, at, &|_| true, DECISIONS_MAX);
            if decisions.is_empty() {
                if self.planner.has_more() {
                    continue;
                }
                return Ok(started);
            }
            let tasks: Vec<Decision> = decisions.clone();
            match self.apply(now, PrincipalId::CLUSTER, Body::Decisions(decisions))? {
                Reply::Counts { refused: 0, .. } => {}
                other => bail!("{other:?}: what is planned is taken when nothing else happened"),
            }
            for Decision { job, .. } in tasks {
                let attempts = self.state.attempts(job, 0);
                let (task, _) = attempts.last().expect("it was just placed");
                self.running.insert(job, task);
                started.push(job.0 - 1);
            }
        }
    }

    /// The planner, to see how its estimates came true.
    #[must_use]
    pub fn planner(&self) -> &Planner {
        &self.planner
    }
}

fn token(site: SiteId) -> [u8; 32] {
    let mut token = [1; 32];
    token[..4].copy_from_slice(&site.0.to_be_bytes());
    token
}
