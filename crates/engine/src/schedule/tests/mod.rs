//! A small world to schedule in: sites with hosts, orgs with money, jobs in a line each; decisions go through apply.

mod explain;
mod fair;
mod gangs;
mod gates;
mod lending;
mod limits;
mod money;
mod objective;
mod order;
mod packing;
mod policy;
mod properties;
mod reclaim;
mod speed;
mod turns;
mod waiting;
mod wake;

use std::collections::BTreeSet;

use hesuan_ledger::NewOrg;

use super::{Explanation, Planner};
use crate::command::{
    Body, Command, Decision, EndKind, HostInventory, MoneyCommand, NewPrincipal, Role, SiteState, SubmitJob, TaskEnd,
    TaskEvent, TaskReport,
};
use crate::outcome::{Effect, Reply};
use crate::state::{Genesis, JobState, Limits, State};
use crate::types::{Fen, JobId, OnSiteLost, PrincipalId, RegionCode, Resources, SiteId, TaskId, Timestamp};

pub(super) const HOUR: u64 = 3_600_000;

/// A host of `cores` cores and GiB.
pub(super) fn host(cores: u64) -> HostInventory {
    HostInventory {
        cpu_milli: cores * 1000,
        memory_mib: cores * 1024,
        ..HostInventory::default()
    }
}

/// A host with 64 cores and GPUs.
pub(super) fn gpu_host(count: usize, model: &str) -> HostInventory {
    HostInventory {
        gpus: vec![model.into(); count],
        ..host(64)
    }
}

/// A single job of one core and one GiB for an hour, paid by `lab`.
pub(super) fn job() -> SubmitJob {
    SubmitJob {
        org: "lab".into(),
        resources: Resources {
            cpu_milli: 1000,
            memory_mib: 1024,
            ..Resources::default()
        },
        walltime_ms_max: HOUR,
        tasks: 1,
        ..SubmitJob::default()
    }
}

pub(super) fn cores(count: u64) -> SubmitJob {
    let mut job = job();
    (job.resources.cpu_milli, job.resources.memory_mib) = (count * 1000, count * 1024);
    job
}

pub(super) fn gpus(milli: u64) -> SubmitJob {
    let mut job = job();
    job.resources.gpu_milli = milli;
    job
}

pub(super) struct World {
    pub(super) state: State,
    pub(super) planner: Planner,
    pub(super) now: u64,
    pub(super) down: BTreeSet<SiteId>,
}

impl World {
    /// An org `lab` with a full wallet, and no site.
    pub(super) fn new() -> Self {
        let genesis = Genesis {
            cluster_id: [7; 16],
            at: Timestamp(1_000_000),
            members: Vec::new(),
            admin_name: "admin".into(),
            admin_token_sha256: [0; 32],
            limits: Limits::default(),
        };
        let (state, mut planner) = (State::genesis(&genesis), Planner::new());
        planner.reset(&state);
        let mut world = Self {
            state,
            planner,
            now: 1_000_000,
            down: BTreeSet::new(),
        };
        world.org("lab", 100_000_000);
        world
    }

    pub(super) fn apply_as(&mut self, principal: PrincipalId, body: Body) -> Result<Reply, String> {
        self.apply_command(Command {
            principal,
            request_id: None,
            digest: [0; 16],
            body,
        })
    }

    /// Applies a command in an entry of its own, 1 ms later; the planner sees the effects.
    pub(super) fn apply_command(&mut self, command: Command) -> Result<Reply, String> {
        self.now += 1;
        let index = self.state.applied_index() + 1;
        let mut effects: Vec<Effect> = Vec::new();
        self.state.begin_entry(index, Timestamp(self.now));
        let outcome = self.state.apply(Timestamp(self.now), &command, &mut effects);
        self.state.end_entry(index);
        self.planner.observe(&self.state, &effects);
        outcome
            .reply
            .map_err(|refused| format!("{} {} {:?}", refused.code, refused.message, refused.sites))
    }

    pub(super) fn apply(&mut self, body: Body) -> Reply {
        self.apply_as(PrincipalId::CLUSTER, body)
            .expect("the test asks for what is allowed")
    }

    pub(super) fn org(&mut self, name: &str, fen: i64) {
        let new = NewOrg {
            name: name.into(),
            region: RegionCode(310117),
            ..NewOrg::default()
        };
        self.apply(Body::Money(MoneyCommand::CreateOrg(new)));
        if fen > 0 {
            self.top_up(name, fen);
        }
    }

    pub(super) fn top_up(&mut self, org: &str, fen: i64) {
        self.apply(Body::Money(MoneyCommand::TopUp {
            org: org.into(),
            amount: Fen(fen),
            reference: "".into(),
        }));
    }

    /// A site with its agent and machines, where a core-hour costs `fen` and nothing else costs anything.
    pub(super) fn site(&mut self, name: &str, region: u32, fen: u64, hosts: &[HostInventory]) -> SiteId {
        let provider = format!("provider-{name}");
        self.org(&provider, 0);
        let created = Body::CreateSite {
            name: name.into(),
            region: RegionCode(region),
            provider: (*provider).into(),
        };
        let Reply::Site(id) = self.apply(created) else {
            panic!("a site has a number")
        };
        let mut skus: BTreeSet<String> = ["cpu".to_owned(), "mem".to_owned()].into();
        skus.extend(
            hosts
                .iter()
                .flat_map(|host| &host.gpus)
                .map(|model| format!("gpu/{model}")),
        );
        let price = |sku: &str| if sku == "cpu" { fen * 1000 } else { 0 };
        let prices = skus.iter().map(|sku| (sku.as_str().into(), price(sku))).collect();
        self.apply(Body::Money(MoneyCommand::SetPrices {
            site: name.into(),
            prices,
            effective_from: None,
        }));
        self.attach(name, hosts);
        self.apply(Body::CreatePrincipal(NewPrincipal {
            name: format!("agent-{name}").into(),
            roles: vec![Role::Node],
            org: None,
            site: Some(name.into()),
            region: None,
            token_sha256: [id.0 as u8; 32],
        }));
        id
    }

    pub(super) fn attach(&mut self, site: &str, hosts: &[HostInventory]) {
        let named = |(place, host): (usize, &HostInventory)| HostInventory {
            name: format!("h{place}").into(),
            ..host.clone()
        };
        let hosts = hosts.iter().enumerate().map(named).collect();
        self.apply(Body::AttachAgent {
            site: site.into(),
            instance: 1,
            replica: 1,
            hosts,
        });
    }

    pub(super) fn site_state(&mut self, site: &str, state: SiteState) {
        self.apply(Body::SetSiteState {
            site: site.into(),
            state,
            reason: "".into(),
        });
    }

    pub(super) fn submit(&mut self, job: SubmitJob) -> JobId {
        match self.apply(Body::SubmitJob(job)) {
            Reply::Job(id) => id,
            other => panic!("a submit gives a job, not {other:?}"),
        }
    }

    pub(super) fn plan(&mut self) -> Vec<Decision> {
        self.plan_at_most(10_000)
    }

    pub(super) fn plan_at_most(&mut self, max: usize) -> Vec<Decision> {
        let down = &self.down;
        self.planner
            .plan(&self.state, Timestamp(self.now), &|site| !down.contains(&site), max)
    }

    /// Applies decisions; how many were taken and refused.
    pub(super) fn judge(&mut self, decisions: Vec<Decision>) -> (u32, u32) {
        match self.apply(Body::Decisions(decisions)) {
            Reply::Counts { taken, refused } => (taken, refused),
            other => panic!("decisions are counted, not {other:?}"),
        }
    }

    /// Plans and applies until nothing more is decided; every decision must be taken. What was placed, in order.
    pub(super) fn settle(&mut self) -> Vec<Decision> {
        let mut placed = Vec::new();
        loop {
            let decisions = self.plan();
            if decisions.is_empty() && !self.planner.has_more() {
                return placed;
            }
            placed.extend(decisions.iter().cloned());
            let count = decisions.len() as u32;
            assert_eq!(
                self.judge(decisions),
                (count, 0),
                "what is planned is taken when nothing else happened"
            );
        }
    }

    /// Running attempts, in order.
    pub(super) fn running(&self) -> Vec<TaskId> {
        self.state
            .sites()
            .flat_map(|site| self.state.running_at(site.id))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// A running attempt ends with code 0, or is lost.
    pub(super) fn end(&mut self, task: TaskId, kind: EndKind) {
        self.end_after(task, kind, 1000);
    }

    /// The same, by its agent's word after so long.
    pub(super) fn end_after(&mut self, task: TaskId, kind: EndKind, wall_ms: u64) {
        let attempt = self.state.attempt(task).expect("the test ends what runs");
        let (site, seq) = (attempt.site, attempt.seq + 1);
        let agent = self
            .state
            .principals()
            .find(|principal| principal.site == Some(site))
            .expect("sites have agents")
            .id;
        let end = TaskEnd {
            kind,
            wall_ms,
            cpu_ms: 0,
            memory_peak_mib: 0,
            message: "".into(),
        };
        let report = TaskReport {
            task,
            seq,
            event: TaskEvent::Ended(end),
        };
        self.apply_as(agent, Body::Reports(vec![report]))
            .expect("an agent reports of its tasks");
    }

    /// Ends whatever runs of a job.
    pub(super) fn finish(&mut self, job: JobId) {
        for task in self.running().into_iter().filter(|task| task.job == job) {
            self.end(task, EndKind::Exited(0));
        }
    }

    pub(super) fn cancel(&mut self, job: JobId) {
        self.apply(Body::CancelJob { job, reason: "".into() });
    }

    pub(super) fn explain(&self, job: JobId) -> Explanation {
        let up = |site: SiteId| !self.down.contains(&site);
        super::explain(&self.state, Some(&self.planner), job, Timestamp(self.now), &up).expect("the job is in State")
    }

    /// Codes of all reasons of one site.
    pub(super) fn codes(&self, job: JobId, site: SiteId) -> Vec<&'static str> {
        let explanation = self.explain(job);
        let site = explanation
            .sites
            .iter()
            .find(|answer| answer.site == site)
            .expect("every site answers");
        site.reasons.iter().map(super::Reason::code).collect()
    }

    pub(super) fn site_of(&self, decision: &Decision) -> SiteId {
        self.state.host(decision.host).expect("decisions name hosts").site
    }
}
