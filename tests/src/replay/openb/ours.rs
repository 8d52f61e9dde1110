//! The production scheduler at work: a whole `State` with one site, whose planner decides and whose apply judges, as on a leader.
//! Everything is free of charge, so only room decides.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, bail};
use hesuan_engine::command::{Body, Decision, HostInventory, MoneyCommand, SubmitJob};
use hesuan_engine::outcome::Reply;
use hesuan_engine::schedule::Planner;
use hesuan_engine::state::State;
use hesuan_engine::types::{HostId, JobId, PrincipalId, RegionCode, Resources, Timestamp};
use hesuan_ledger::NewOrg;

use crate::alone;

use super::cluster::{Node, Placement, Pod};

const SITE: &str = "openb";
const ORG: &str = "replay";
const REGION: RegionCode = RegionCode(310_117);
const HOUR_MS: u64 = 3_600_000;

/// A cluster of one site under a planner.
pub struct Ours {
    state: State,
    planner: Planner,
    now: u64,
    /// The node of each host.
    nodes: HashMap<HostId, usize>,
}

impl Ours {
    /// An empty site of these nodes. Hosts are numbered in order of rank, as the smaller number goes first among equals.
    ///
    /// # Errors
    /// The engine refuses such machines.
    pub fn new(nodes: &[Node], ranks: &[usize]) -> anyhow::Result<Self> {
        let now = 1_000_000;
        let (state, mut planner) = (alone::founded(Timestamp(now)), Planner::new());
        planner.reset(&state);
        let mut ours = Self {
            state,
            planner,
            now,
            nodes: HashMap::new(),
        };
        ours.build(nodes, ranks)?;
        Ok(ours)
    }

    fn build(&mut self, nodes: &[Node], ranks: &[usize]) -> anyhow::Result<()> {
        for name in [ORG, "provider"] {
            let org = NewOrg {
                name: name.into(),
                region: REGION,
                ..NewOrg::default()
            };
            self.apply(Body::Money(MoneyCommand::CreateOrg(org)))?;
        }
        self.apply(Body::CreateSite {
            name: SITE.into(),
            region: REGION,
            provider: "provider".into(),
        })?;
        let models: BTreeSet<&str> = nodes.iter().map(|node| &*node.model).collect();
        let models = models.into_iter().filter(|model| !model.is_empty());
        let mut prices: Vec<(Box<str>, u64)> = vec![("cpu".into(), 0), ("mem".into(), 0)];
        prices.extend(models.map(|model| (format!("gpu/{model}").into(), 0)));
        self.apply(Body::Money(MoneyCommand::SetPrices {
            site: SITE.into(),
            prices: prices.into_iter().collect(),
            effective_from: None,
        }))?;
        let mut in_order: Vec<usize> = (0..nodes.len()).collect();
        in_order.sort_by_key(|place| ranks[*place]);
        let host = |place: &usize| {
            let node = &nodes[*place];
            HostInventory {
                name: format!("node-{place}").into(),
                cpu_milli: node.cpu_milli,
                memory_mib: node.memory_mib,
                gpus: vec![node.model.as_str().into(); node.gpus.len()],
                ..HostInventory::default()
            }
        };
        self.apply(Body::AttachAgent {
            site: SITE.into(),
            instance: 1,
            replica: 1,
            hosts: in_order.iter().map(host).collect(),
        })?;
        let mut hosts: Vec<HostId> = self.state.hosts().map(|host| host.id).collect();
        hosts.sort_unstable();
        for host in hosts {
            let name = &self.state.host(host).context("a host that is listed exists")?.name;
            let place = name.strip_prefix("node-").and_then(|place| place.parse().ok());
            self.nodes.insert(host, place.context("hosts keep their names")?);
        }
        Ok(())
    }

    /// Submits the task, lets the planner decide and apply judge, and cancels what cannot be placed at once.
    ///
    /// # Errors
    /// The engine refuses such a task as such.
    pub fn place(&mut self, pod: &Pod) -> anyhow::Result<Option<Placement>> {
        let job = match self.apply(Body::SubmitJob(submit(pod))) {
            Ok(Reply::Job(job)) => job,
            Ok(other) => bail!("a submit was answered with {other:?}"),
            // No node could ever take it.
            Err(refused)
                if refused
                    .downcast_ref::<Refused>()
                    .is_some_and(|refused| refused.never_fits) =>
            {
                return Ok(None);
            }
            Err(refused) => return Err(refused),
        };
        let Some(decision) = self.decide(job)? else {
            self.apply(Body::CancelJob { job, reason: "".into() })?;
            return Ok(None);
        };
        let placement = Placement {
            node: self.nodes[&decision.host],
            gpus: decision.gpu_indices.iter().map(|index| *index as usize).collect(),
        };
        match self.apply(Body::Decisions(vec![decision]))? {
            Reply::Counts { taken: 1, refused: 0 } => Ok(Some(placement)),
            other => bail!("apply refused what the planner decided: {other:?}"),
        }
    }

    fn decide(&mut self, job: JobId) -> anyhow::Result<Option<Decision>> {
        loop {
            let decisions = self.planner.plan(&self.state, Timestamp(self.now), &|_| true, 1);
            match decisions.into_iter().next() {
                Some(decision) if decision.job == job => return Ok(Some(decision)),
                Some(other) => bail!("job {} was decided while job {} waits alone", other.job.0, job.0),
                None if self.planner.has_more() => {}
                None => return Ok(None),
            }
        }
    }

    /// Applies a command in an entry of its own, 1 ms later; the planner sees the effects.
    fn apply(&mut self, body: Body) -> anyhow::Result<Reply> {
        self.now += 1;
        let at = Timestamp(self.now);
        let (reply, effects) = alone::apply(&mut self.state, at, PrincipalId::CLUSTER, body);
        self.planner.observe(&self.state, &effects);
        reply.map_err(|refused| {
            Refused {
                never_fits: !refused.sites.is_empty(),
                text: format!("{}: {}", refused.code, refused.message),
            }
            .into()
        })
    }
}

/// What the engine says no to.
#[derive(Debug)]
struct Refused {
    never_fits: bool,
    text: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}

fn submit(pod: &Pod) -> SubmitJob {
    let models: BTreeSet<&str> = pod.models.iter().map(String::as_str).collect();
    let resources = Resources {
        // The engine takes no task without any core or memory; some of the trace ask for no memory.
        cpu_milli: pod.cpu_milli.max(1),
        memory_mib: pod.memory_mib.max(1),
        gpu_milli: pod.demand_milli(),
        gpu_models: models.into_iter().map(Box::from).collect(),
        generic: Vec::new(),
    };
    SubmitJob {
        org: ORG.into(),
        resources,
        walltime_ms_max: HOUR_MS,
        tasks: 1,
        ..SubmitJob::default()
    }
}
