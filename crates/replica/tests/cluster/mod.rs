//! A cluster of one, without Raft: a log in memory, and the commands that tests put into it.

// Each test file uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use bytes::Bytes;
use hesuan_api::codec::{encode_command, encode_entry};
use hesuan_api::internal::v1::command::Body;
use hesuan_api::internal::v1::{AttachAgent, HostInventory, Item, Reports, TaskEnd, TaskEvent, TaskId, TaskReport};
use hesuan_api::v1;
use hesuan_engine::command::Member;
use hesuan_engine::state::{Genesis, Limits, State};
use hesuan_engine::types::{PrincipalId, SiteId, Timestamp};
use hesuan_replica::applier::{Applied, Applier, ApplierConfig};
use hesuan_replica::wire::{ConfState, EntryKind, LogEntry};

/// When the cluster was founded, in ms since 1970.
pub const FOUNDED_MS: u64 = 1_760_000_000_000;
pub const CLUSTER_ID: [u8; 16] = [7; 16];
/// The replica whose clients the tests play.
pub const ORIGIN: u64 = 1;
pub const INSTANCE: u128 = 77;

pub fn genesis() -> State {
    State::genesis(&Genesis {
        cluster_id: CLUSTER_ID,
        at: Timestamp(FOUNDED_MS),
        members: vec![Member {
            id: 1,
            name: "a".into(),
            peer_address: "a:1".into(),
            client_address: "a:2".into(),
        }],
        admin_name: "admin".into(),
        admin_token_sha256: [1; 32],
        limits: Limits::default(),
    })
}

pub fn founding(config: ApplierConfig) -> Applier {
    Applier::founding(config, genesis(), ConfState::of_voters([1, 2, 3]))
}

/// The log, and where it ends.
#[derive(Default)]
pub struct Log {
    pub entries: Vec<LogEntry>,
    pub now_ms: u64,
    pub term: u64,
    tickets: u64,
}

impl Log {
    pub fn new() -> Self {
        Self {
            now_ms: FOUNDED_MS,
            term: 2,
            ..Self::default()
        }
    }

    pub fn push(&mut self, kind: EntryKind, data: Bytes) -> LogEntry {
        let index = self.entries.last().map_or(2, |last| last.index + 1);
        let entry = LogEntry {
            index,
            term: self.term,
            kind: kind as i32,
            data,
        };
        self.entries.push(entry.clone());
        entry
    }

    /// One entry with these commands, a millisecond later.
    pub fn bundle(&mut self, commands: impl IntoIterator<Item = (u64, Bytes)>) -> LogEntry {
        self.now_ms += 1;
        let items = commands.into_iter().map(|(origin, command)| {
            self.tickets += 1;
            Item {
                origin,
                ticket: self.tickets,
                command,
            }
        });
        let items = items.collect();
        self.push(EntryKind::Normal, encode_entry(1, Timestamp(self.now_ms), items))
    }

    pub fn bodies(&mut self, bodies: Vec<Body>) -> LogEntry {
        let commands: Vec<_> = bodies.into_iter().map(|body| (ORIGIN, command(body))).collect();
        self.bundle(commands)
    }
}

pub fn command(body: Body) -> Bytes {
    encode_command(PrincipalId::CLUSTER, body).expect("a well-formed command")
}

/// A UUIDv7 made at the founding.
pub fn request_id(number: u64) -> Vec<u8> {
    let id = u128::from(FOUNDED_MS) << 80 | 7 << 76 | 0b10 << 62 | u128::from(number);
    id.to_be_bytes().to_vec()
}

pub fn submit(number: u64) -> Body {
    let spec = v1::JobSpec {
        name: format!("job {number}"),
        org: "lab".into(),
        command: vec!["/bin/true".into()],
        resources: Some(v1::Resources {
            cpu_milli: 1_000,
            memory_mib: 1_024,
            ..Default::default()
        }),
        walltime_ms_max: 3_600_000,
        on_site_lost: v1::OnSiteLost::Requeue as i32,
        ..Default::default()
    };
    Body::SubmitJob(v1::SubmitJobRequest {
        request_id: request_id(1_000 + number),
        spec: Some(spec),
        ..Default::default()
    })
}

pub fn cancel(number: u64, job_id: u64) -> Body {
    Body::CancelJob(v1::CancelJobRequest {
        request_id: request_id(500_000 + number),
        job_id,
        ..Default::default()
    })
}

pub fn attach(instance: u128) -> Body {
    let host = |n: u32| HostInventory {
        name: format!("host-{n}"),
        cpu_milli: 4_000,
        memory_mib: 16_384,
        ..Default::default()
    };
    let hosts = (1..=2).map(host).collect();
    Body::AttachAgent(AttachAgent {
        site: "songjiang".into(),
        instance: instance.to_be_bytes().to_vec(),
        replica: 1,
        hosts,
    })
}

/// An org with money, and a site with prices, hosts and an agent.
pub fn furnish() -> Vec<Body> {
    let org = |number, name: &str, kind: v1::OrgKind| {
        Body::CreateOrg(v1::CreateOrgRequest {
            request_id: request_id(number),
            name: name.into(),
            kind: kind as i32,
            region: 310_117,
            control_group: name.into(),
            credit_code: format!("{number:018}"),
        })
    };
    let price = |sku: &str, millifen| v1::UnitPrice {
        sku: sku.into(),
        millifen_per_unit_hour: millifen,
    };
    vec![
        org(1, "lab", v1::OrgKind::Lab),
        org(2, "grid", v1::OrgKind::Provider),
        Body::TopUp(v1::TopUpRequest {
            request_id: request_id(3),
            org: "lab".into(),
            amount_fen: 100_000_000,
            reference: "start".into(),
        }),
        Body::CreateSite(v1::CreateSiteRequest {
            request_id: request_id(4),
            name: "songjiang".into(),
            region: 310_117,
            provider: "grid".into(),
        }),
        Body::SetPrices(v1::SetPricesRequest {
            request_id: request_id(5),
            site: "songjiang".into(),
            prices: vec![price("cpu", 50_000), price("mem", 1_000)],
            effective_from_ms: 0,
        }),
        Body::CreatePrincipal(v1::CreatePrincipalRequest {
            request_id: request_id(6),
            principal: Some(v1::Principal {
                name: "songjiang-agent".into(),
                roles: vec![v1::Role::Node as i32],
                site: "songjiang".into(),
                ..Default::default()
            }),
            token_sha256: vec![6; 32],
        }),
        attach(INSTANCE),
    ]
}

pub fn site(applier: &Applier) -> SiteId {
    applier.state().site_by_name("songjiang").expect("furnished").id
}

/// The agent reports every running task as ended well.
pub fn all_ended(applier: &Applier) -> Option<Bytes> {
    let report = |task: hesuan_engine::types::TaskId| TaskReport {
        task: Some(TaskId {
            job: task.job.0,
            task: task.task,
            attempt: task.attempt,
            restore_epoch: task.restore_epoch,
        }),
        seq: 1,
        event: TaskEvent::Ended as i32,
        end: TaskEnd::Exited as i32,
        wall_ms: 5,
        ..Default::default()
    };
    let reports: Vec<_> = applier.state().running_at(site(applier)).map(report).collect();
    let agent = applier
        .state()
        .principal_by_name("songjiang-agent")
        .expect("furnished")
        .id;
    let reports = Body::Reports(Reports { reports });
    applier.state().running_at(site(applier)).next()?;
    Some(encode_command(agent, reports).expect("a well-formed command"))
}

pub fn apply(applier: &mut Applier, entry: &LogEntry) -> Applied {
    applier.apply(entry, None).unwrap_or_else(|e| panic!("{e}"))
}

/// Applies and insists that nothing was refused.
pub fn apply_well(applier: &mut Applier, entry: &LogEntry) -> Applied {
    let applied = apply(applier, entry);
    for answer in &applied.replies {
        assert!(answer.outcome.reply.is_ok(), "{:?}", answer.outcome.reply);
    }
    applied
}
