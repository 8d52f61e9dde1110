//! A small cluster for tests of the codec and the answers: one state, requests by principal, the journal kept.
#![allow(dead_code, reason = "each test binary uses its part")]

use hesuan_api::codec::{decode_command, encode_command, encode_decisions};
use hesuan_api::internal::v1::{self as wire, command::Body};
use hesuan_api::v1;
use hesuan_engine::command::{Decision, Member};
use hesuan_engine::outcome::{ArchiveRecord, Effect, Outcome, Rejection, Reply};
use hesuan_engine::state::{Genesis, Limits, State};
use hesuan_engine::types::{HostId, TaskId, Timestamp};
use hesuan_ledger::{Entry, JournalEntry};

pub(crate) const START: u64 = 1_800_000_000_000;
pub(crate) const HOUR: u64 = 3_600_000;

/// A state with its log's place, and principals by name.
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) index: u64,
    pub(crate) now: u64,
    request: u128,
    /// Everything that was booked.
    pub(crate) journal: Vec<Entry>,
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        let genesis = Genesis {
            cluster_id: [1; 16],
            at: Timestamp(START),
            members: vec![Member {
                id: 1,
                ..Member::default()
            }],
            admin_name: "root".into(),
            admin_token_sha256: [9; 32],
            limits: Limits::default(),
        };
        Cluster {
            state: State::genesis(&genesis),
            index: 0,
            now: START,
            request: 0,
            journal: Vec::new(),
        }
    }

    pub(crate) fn request_id(&mut self) -> Vec<u8> {
        self.request += 1;
        let id = u128::from(self.now) << 80 | 7 << 76 | 2 << 62 | self.request;
        id.to_be_bytes().to_vec()
    }

    pub(crate) fn apply_bytes(&mut self, bytes: &[u8]) -> Outcome {
        let command = decode_command(bytes).expect("the requests of this test are well-formed");
        self.index += 1;
        let at = Timestamp(self.now);
        self.state.begin_entry(self.index, at);
        let mut effects = Vec::new();
        let outcome = self.state.apply(at, &command, &mut effects);
        for effect in effects {
            if let Effect::Archive(ArchiveRecord::Journal(bytes)) = effect {
                let entry = JournalEntry::decode(&bytes).and_then(|entry| entry.read());
                self.journal.push(entry.expect("what is archived is an entry"));
            }
        }
        self.state.end_entry(self.index);
        self.state.check();
        outcome
    }

    pub(crate) fn try_as(&mut self, who: &str, body: Body) -> Result<Reply, Rejection> {
        let who = self.state.principal_by_name(who).expect("the principal was created").id;
        let bytes = encode_command(who, body).expect("the requests of this test are well-formed");
        self.apply_bytes(&bytes).reply
    }

    pub(crate) fn run(&mut self, who: &str, body: Body) -> Reply {
        let text = format!("{body:?}");
        self.try_as(who, body)
            .unwrap_or_else(|refused| panic!("{text}: {refused:?}"))
    }

    pub(crate) fn principal(&mut self, name: &str, role: v1::Role, org: &str, site: &str, region: u32) {
        let principal = v1::Principal {
            name: name.into(),
            roles: vec![role.into()],
            org: org.into(),
            site: site.into(),
            region,
            ..Default::default()
        };
        let mut token = [0; 32];
        token[..name.len()].copy_from_slice(name.as_bytes());
        let request_id = self.request_id();
        let token_sha256 = token.to_vec();
        let principal = Some(principal);
        self.run(
            "root",
            Body::CreatePrincipal(v1::CreatePrincipalRequest {
                request_id,
                principal,
                token_sha256,
            }),
        );
    }

    pub(crate) fn org(&mut self, name: &str, kind: v1::OrgKind, region: u32) {
        let request_id = self.request_id();
        let request = v1::CreateOrgRequest {
            request_id,
            name: name.into(),
            kind: kind.into(),
            region,
            ..Default::default()
        };
        self.run("root", Body::CreateOrg(request));
    }

    /// A site in Songjiang with one host of 8 cores and prices, an enterprise with 100 yuan and a voucher of 30 %.
    pub(crate) fn ready() -> Cluster {
        let mut c = Cluster::new();
        c.org("centre", v1::OrgKind::Provider, 310117);
        c.org("acme", v1::OrgKind::Enterprise, 310117);
        let request_id = c.request_id();
        let provider = "centre".into();
        c.run(
            "root",
            Body::CreateSite(v1::CreateSiteRequest {
                request_id,
                name: "songjiang".into(),
                region: 310117,
                provider,
            }),
        );
        c.principal("till", v1::Role::Treasurer, "", "", 0);
        c.principal("op", v1::Role::Operator, "", "songjiang", 0);
        c.principal("node", v1::Role::Node, "", "songjiang", 0);
        c.principal("bureau", v1::Role::Issuer, "", "", 310117);
        c.principal("wang", v1::Role::Member, "acme", "", 0);
        c.principal("auditor", v1::Role::Auditor, "", "", 0);
        c.principal("reviewer", v1::Role::Reviewer, "", "", 0);
        let request_id = c.request_id();
        let (org, reference) = ("acme".into(), "payment 7".into());
        c.run(
            "till",
            Body::TopUp(v1::TopUpRequest {
                request_id,
                org,
                amount_fen: 10_000,
                reference,
            }),
        );
        let price = |sku: &str, millifen_per_unit_hour| v1::UnitPrice {
            sku: sku.into(),
            millifen_per_unit_hour,
        };
        let prices = vec![price("cpu", 100_000), price("mem", 10_000)];
        let request_id = c.request_id();
        c.run(
            "op",
            Body::SetPrices(v1::SetPricesRequest {
                request_id,
                site: "songjiang".into(),
                prices,
                effective_from_ms: 0,
            }),
        );
        let programme = v1::Programme {
            name: "sj-2026".into(),
            region: 310117,
            funders: vec![v1::Funder {
                name: "district".into(),
                share: 1,
            }],
            budget: 1_000_000,
            terms: Some(v1::Terms {
                rates: vec![v1::Rate {
                    sku: "cpu".into(),
                    rate_bp: 3000,
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let request_id = c.request_id();
        c.run(
            "bureau",
            Body::CreateProgramme(v1::CreateProgrammeRequest {
                request_id,
                programme: Some(programme),
            }),
        );
        let voucher = v1::NewVoucher {
            code: "SJ-1".into(),
            holder: "acme".into(),
            face: 5_000,
            from_ms: 0,
            until_ms: 0,
        };
        let request_id = c.request_id();
        let vouchers = vec![voucher];
        c.run(
            "bureau",
            Body::IssueVouchers(v1::IssueVouchersRequest {
                request_id,
                programme: "sj-2026".into(),
                vouchers,
                ..Default::default()
            }),
        );
        let request_id = c.request_id();
        c.run(
            "wang",
            Body::RedeemVoucher(v1::RedeemVoucherRequest {
                request_id,
                code: "SJ-1".into(),
            }),
        );
        let host = wire::HostInventory {
            name: "h1".into(),
            cpu_milli: 8000,
            memory_mib: 65_536,
            ..Default::default()
        };
        let attach = wire::AttachAgent {
            site: "songjiang".into(),
            instance: vec![5; 16],
            replica: 1,
            hosts: vec![host],
        };
        c.run("node", Body::AttachAgent(attach));
        c
    }

    /// A job of `cores` for an hour of its two, from its submit to its end; gives its only attempt.
    pub(crate) fn run_job(&mut self, who: &str, cpu_milli: u64) -> TaskId {
        let request_id = self.request_id();
        let submit = v1::SubmitJobRequest {
            request_id,
            spec: Some(spec(cpu_milli)),
            ..Default::default()
        };
        let Reply::Job(id) = self.run(who, Body::SubmitJob(submit)) else {
            panic!("a submit gives a job")
        };
        let place = Decision {
            job: id,
            task: 0,
            host: HostId(1),
            gpu_indices: Vec::new(),
            ..Decision::default()
        };
        let placed = self.apply_bytes(&encode_decisions(&[place])).reply;
        assert_eq!(placed, Ok(Reply::Counts { taken: 1, refused: 0 }));
        self.now += HOUR;
        let task = TaskId {
            job: id,
            task: 0,
            attempt: 1,
            restore_epoch: 0,
        };
        let report = wire::TaskReport {
            task: Some(hesuan_api::convert::site::task_id_message(task)),
            seq: 2,
            event: wire::TaskEvent::Ended.into(),
            end: wire::TaskEnd::Exited.into(),
            wall_ms: HOUR,
            ..Default::default()
        };
        self.run("node", Body::Reports(wire::Reports { reports: vec![report] }));
        task
    }

    pub(crate) fn refund(&mut self, task: TaskId, amount_fen: i64) {
        let request_id = self.request_id();
        let refund = v1::RefundRequest {
            request_id,
            job_id: task.job.0,
            attempt: task.attempt,
            amount_fen: Some(amount_fen),
            reason: "outage".into(),
            task: task.task,
        };
        self.run("till", Body::Refund(refund));
    }
}

pub(crate) fn spec(cpu_milli: u64) -> v1::JobSpec {
    v1::JobSpec {
        name: "train".into(),
        command: vec!["/bin/true".into(), "a b".into()],
        environment: vec![v1::KeyValue {
            key: "SECRET".into(),
            value: "hunter2".into(),
        }],
        resources: Some(v1::Resources {
            cpu_milli,
            memory_mib: 1024,
            ..Default::default()
        }),
        walltime_ms_max: 2 * HOUR,
        labels: vec![v1::KeyValue {
            key: "team".into(),
            value: "a".into(),
        }],
        ..Default::default()
    }
}
