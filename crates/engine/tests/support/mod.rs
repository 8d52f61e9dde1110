//! A small world for tests: one state, three cities, people with roles, and one-line ways to send commands.
#![allow(dead_code, reason = "each test binary uses its part")]

use hesuan_engine::command::{
    Body, Command, Decision, EndKind, HostInventory, MoneyCommand, NewPrincipal, Role, SubmitJob, TaskEnd, TaskEvent,
    TaskReport,
};
use hesuan_engine::outcome::{Effect, Outcome, Rejection, Reply};
use hesuan_engine::state::{Genesis, Limits, State};
use hesuan_engine::types::{HostId, JobId, PrincipalId, RequestId, Resources, TaskId};
use hesuan_ledger::types::{BasisPoints, Fen, Grant, RegionCode, Sku, Timestamp};
use hesuan_ledger::{BudgetPolicy, Funder, NewOrg, NewProgramme, NewVoucher, OrgKind, Rate, Redemption, Terms};

/// 2026-01-01 00:00 UTC.
pub(crate) const START: u64 = 1_767_225_600_000;
pub(crate) const SONGJIANG: RegionCode = RegionCode(310_117);

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;

/// The people, in the order in which they are created after the admin.
pub(crate) const PEOPLE: [&str; 11] = [
    "admin",
    "treasurer",
    "auditor",
    "issuer",
    "lab",
    "acme",
    "operator",
    "songjiang",
    "hangzhou",
    "hefei",
    "stranger",
];

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) index: u64,
    pub(crate) at: u64,
    pub(crate) next_request: u64,
    pub(crate) last_effects: Vec<Effect>,
}

impl World {
    /// A cluster with nothing in it but its admin.
    pub(crate) fn bare() -> Self {
        let genesis = Genesis {
            cluster_id: [7; 16],
            at: Timestamp(START),
            members: Vec::new(),
            admin_name: "admin".into(),
            admin_token_sha256: [1; 32],
            limits: Limits::default(),
        };
        Self {
            state: State::genesis(&genesis),
            index: 0,
            at: START,
            next_request: 1,
            last_effects: Vec::new(),
        }
    }

    /// People, money, three priced cities with attached agents: songjiang (two hosts of 8 cores), hangzhou (one host of 16
    /// cores and 4 GPUs), hefei (one host of 4 cores, cheapest).
    pub(crate) fn new() -> Self {
        let mut world = Self::bare();
        world.admin_creates_people();
        for (site, region, cpu) in [
            ("songjiang", 310_117, 300_000),
            ("hangzhou", 330_100, 400_000),
            ("hefei", 340_100, 200_000),
        ] {
            world.must(
                1,
                Body::CreateSite {
                    name: site.into(),
                    region: RegionCode(region),
                    provider: "cloud".into(),
                },
            );
            world.must_principal(site, &[Role::Node, Role::Operator], None, Some(site), None);
            world.must_as(site, Body::Money(prices(site, cpu)));
        }
        world.must_principal("stranger", &[Role::Member], Some("acme"), None, None);
        world.must_as("treasurer", top_up("lab", 1_000_000));
        world.must_as("treasurer", top_up("acme", 1_000_000));
        world.attach("songjiang", &[host("sj-a", 8, 32, 0), host("sj-b", 8, 32, 0)]);
        world.attach("hangzhou", &[host("hz-a", 16, 64, 4)]);
        world.attach("hefei", &[host("hf-a", 4, 16, 0)]);
        world
    }

    fn admin_creates_people(&mut self) {
        for (name, kind) in [
            ("cloud", OrgKind::Provider),
            ("lab", OrgKind::Lab),
            ("acme", OrgKind::Enterprise),
        ] {
            let org = NewOrg {
                name: name.into(),
                kind,
                region: SONGJIANG,
                control_group: "".into(),
                credit_code: "".into(),
            };
            self.must(1, Body::Money(MoneyCommand::CreateOrg(org)));
        }
        self.must_principal("treasurer", &[Role::Treasurer], None, None, None);
        self.must_principal("auditor", &[Role::Auditor], None, None, None);
        self.must_principal("issuer", &[Role::Issuer], None, None, Some(SONGJIANG));
        self.must_principal("lab", &[Role::Member], Some("lab"), None, None);
        self.must_principal("acme", &[Role::Member], Some("acme"), None, None);
        self.must_principal("operator", &[Role::Admin], None, None, None);
    }

    pub(crate) fn must_principal(
        &mut self,
        name: &str,
        roles: &[Role],
        org: Option<&str>,
        site: Option<&str>,
        region: Option<RegionCode>,
    ) {
        let number = self.state.principals().count() as u8 + 1;
        let new = NewPrincipal {
            name: name.into(),
            roles: roles.to_vec(),
            org: org.map(Into::into),
            site: site.map(Into::into),
            region,
            token_sha256: [number; 32],
        };
        self.must(1, Body::CreatePrincipal(new));
    }

    /// A programme of Songjiang that pays 30 % of everything there, and a voucher of it that the lab has redeemed.
    pub(crate) fn with_voucher(mut self, face: i64) -> Self {
        let programme = NewProgramme {
            name: "sj-compute".into(),
            region: SONGJIANG,
            funders: vec![Funder {
                name: "city".into(),
                share: 1,
            }],
            budget: Grant(10_000_000),
            budget_policy: BudgetPolicy::CommitAtIssue,
            redemption: Redemption::Provider,
            terms: Terms {
                rates: vec![Rate {
                    sku: Sku::from("*"),
                    rate: BasisPoints(3_000),
                }],
                from: Timestamp(START),
                until: Timestamp(START + 365 * 24 * HOUR),
                ..Terms::default()
            },
            ..NewProgramme::default()
        };
        self.must_as("issuer", Body::Money(MoneyCommand::CreateProgramme(programme)));
        let voucher = NewVoucher {
            code: "V-1".into(),
            holder: "lab".into(),
            face: Grant(face),
            from: Timestamp(START),
            until: Timestamp(START + 300 * 24 * HOUR),
        };
        let issue = MoneyCommand::IssueVouchers {
            programme: "sj-compute".into(),
            vouchers: vec![voucher],
            unit_hours: false,
        };
        self.must_as("issuer", Body::Money(issue));
        self.must_as("lab", Body::Money(MoneyCommand::RedeemVoucher { code: "V-1".into() }));
        self
    }

    pub(crate) fn who(&self, name: &str) -> u32 {
        if name == "cluster" {
            return 0;
        }
        self.state
            .principal_by_name(name)
            .unwrap_or_else(|| panic!("no principal {name}"))
            .id
            .0
    }

    /// Applies one command in its own entry; a fresh request id is made for people.
    pub(crate) fn send(&mut self, principal: u32, body: Body) -> Outcome {
        let needs_id = principal != 0 && !matches!(body, Body::AttachAgent { .. } | Body::Reports(_));
        let request_id = needs_id.then(|| self.request_id());
        self.send_with(principal, request_id, [0; 16], body)
    }

    pub(crate) fn request_id(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId((u128::from(self.at) << 80) | u128::from(self.next_request))
    }

    pub(crate) fn send_with(
        &mut self,
        principal: u32,
        request_id: Option<RequestId>,
        digest: [u8; 16],
        body: Body,
    ) -> Outcome {
        self.index += 1;
        self.state.begin_entry(self.index, Timestamp(self.at));
        self.last_effects.clear();
        let command = Command {
            principal: PrincipalId(principal),
            request_id,
            digest,
            body,
        };
        let before = self.state.full_hash();
        let outcome = self.state.apply(Timestamp(self.at), &command, &mut self.last_effects);
        if let Err(refused) = &outcome.reply {
            assert!(before == self.state.full_hash(), "{refused:?} changed something");
        }
        self.state.end_entry(self.index);
        self.state.check();
        outcome
    }

    /// The same without looking at all of the state before and after, for tests of size.
    pub(crate) fn apply_unchecked(&mut self, name: &str, body: Body) {
        let principal = self.who(name);
        let request_id = (principal != 0).then(|| self.request_id());
        let principal = PrincipalId(principal);
        let command = Command {
            principal,
            request_id,
            digest: [0; 16],
            body,
        };
        self.index += 1;
        self.state.begin_entry(self.index, Timestamp(self.at));
        self.last_effects.clear();
        let outcome = self.state.apply(Timestamp(self.at), &command, &mut self.last_effects);
        outcome.reply.unwrap_or_else(|refused| panic!("{refused:?}"));
        self.state.end_entry(self.index);
    }

    pub(crate) fn must(&mut self, principal: u32, body: Body) -> Reply {
        self.send(principal, body)
            .reply
            .unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    pub(crate) fn must_as(&mut self, name: &str, body: Body) -> Reply {
        self.must(self.who(name), body)
    }

    pub(crate) fn refused(&mut self, name: &str, body: Body) -> Rejection {
        self.send(self.who(name), body).reply.expect_err("it is refused")
    }

    pub(crate) fn attach(&mut self, site: &str, hosts: &[HostInventory]) -> Reply {
        let instance = u128::from(self.index);
        self.must_as(site, attach(site, instance, hosts))
    }

    pub(crate) fn submit(&mut self, name: &str, job: SubmitJob) -> JobId {
        match self.must_as(name, Body::SubmitJob(job)) {
            Reply::Job(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn host_id(&self, name: &str) -> HostId {
        self.state
            .hosts()
            .find(|host| &*host.name == name)
            .unwrap_or_else(|| panic!("no host {name}"))
            .id
    }

    /// Places a task; the code of the refusal if it is refused.
    pub(crate) fn place(&mut self, job: JobId, task: u32, host: &str, gpus: &[u32]) -> Result<TaskId, &'static str> {
        let decision = Decision {
            job,
            task,
            host: self.host_id(host),
            gpu_indices: gpus.to_vec(),
            ..Decision::default()
        };
        self.must(0, Body::Decisions(vec![decision]));
        for effect in &self.last_effects {
            match effect {
                Effect::Assigned { task, .. } => return Ok(*task),
                Effect::DecisionJudged {
                    refused: Some(code), ..
                } => return Err(code),
                _ => {}
            }
        }
        panic!("a decision without a judgement")
    }

    pub(crate) fn report(&mut self, site: &str, task: TaskId, seq: u32, event: TaskEvent) -> bool {
        match self.must_as(site, Body::Reports(vec![TaskReport { task, seq, event }])) {
            Reply::Counts { taken, refused } => {
                assert_eq!(taken + refused, 1);
                taken == 1
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn end(&mut self, site: &str, task: TaskId, kind: EndKind, wall_ms: u64) -> bool {
        self.report(site, task, 9, ended(kind, wall_ms))
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.at += ms;
    }

    pub(crate) fn tick(&mut self) {
        self.must(0, Body::Tick);
    }
}

pub(crate) fn ended(kind: EndKind, wall_ms: u64) -> TaskEvent {
    TaskEvent::Ended(TaskEnd {
        kind,
        wall_ms,
        cpu_ms: wall_ms,
        memory_peak_mib: 10,
        message: "".into(),
    })
}

pub(crate) fn host(name: &str, cores: u64, gib: u64, gpus: usize) -> HostInventory {
    HostInventory {
        name: name.into(),
        cpu_milli: cores * 1000,
        memory_mib: gib * 1024,
        gpus: vec!["a800".into(); gpus],
        generic: Vec::new(),
    }
}

pub(crate) fn attach(site: &str, instance: u128, hosts: &[HostInventory]) -> Body {
    Body::AttachAgent {
        site: site.into(),
        instance,
        replica: 1,
        hosts: hosts.to_vec(),
    }
}

/// Per unit-hour, in milli-fen: `cpu` a core, a tenth of it a GiB, a hundred times it a card.
pub(crate) fn prices(site: &str, cpu: u64) -> MoneyCommand {
    let prices = vec![
        ("cpu".into(), cpu),
        ("mem".into(), cpu / 10),
        ("gpu/a800".into(), cpu * 100),
    ];
    MoneyCommand::SetPrices {
        site: site.into(),
        prices,
        effective_from: None,
    }
}

pub(crate) fn top_up(org: &str, fen: i64) -> Body {
    Body::Money(MoneyCommand::TopUp {
        org: org.into(),
        amount: Fen(fen),
        reference: "test".into(),
    })
}

/// One core, one GiB, one hour.
pub(crate) fn job() -> SubmitJob {
    SubmitJob {
        name: "job".into(),
        payload: b"payload".as_slice().into(),
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

/// The state as another replica reads it from a snapshot.
pub(crate) fn recoded(state: &State) -> State {
    let mut chunks = Vec::new();
    state.encode(&mut |chunk| chunks.push(chunk.to_vec()));
    let copy = State::decode(&chunks).expect("what was encoded decodes");
    copy.check();
    assert_eq!(copy.full_hash(), state.full_hash());
    copy
}

pub(crate) fn array(tasks: u32) -> SubmitJob {
    SubmitJob {
        tasks,
        array: true,
        ..job()
    }
}
