//! Clients that submit, cancel, extend, repeat themselves, reuse ids for something else and read back what they were told.

use hesuan_api::internal::v1::command::Body;
use hesuan_api::v1::{
    After, CancelJobRequest, Dependency, ExtendJobRequest, Funding, JobSpec, OnSiteLost, Resources, RetryPolicy,
    SubmitJobRequest, TopUpRequest,
};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::money;
use super::queue::Micros;
use super::replica::EPOCH_MS;

/// What an operation is about, to judge its answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// The answer must be one job, always the same.
    Submit,
    /// A request id used before for something else: must be refused.
    Reuse,
    Cancel,
    /// More time for a job that may have ended, or not have begun.
    Extend,
    TopUp,
    /// Of the bureau, the reviewer, the treasurer or a holder: programmes, vouchers, periods, claims. Often refused, never lost.
    Money,
    /// The job must be there.
    Read {
        job: u64,
    },
}

/// Something a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) request_id: u128,
    pub(crate) kind: Kind,
    /// `None` for a read.
    pub(crate) body: Option<Body>,
    /// By the principal of this org, unless `by` names another.
    pub(crate) org: usize,
    pub(crate) by: Option<&'static str>,
    pub(crate) tries: u32,
}

/// The organisations that act.
pub(crate) const ORGS: [&str; 2] = ["acme", "photonics-lab"];

/// One client: at most one operation at a time.
pub(crate) struct Client {
    rng: ChaCha8Rng,
    pub(crate) place: usize,
    pub(crate) current: Option<Operation>,
    operations: u64,
    /// Codes of vouchers it asked the bureau for.
    issued: Vec<String>,
    /// Acknowledged submissions: their operation and job.
    pub(crate) done: Vec<(Operation, u64)>,
}

impl Client {
    #[must_use]
    pub(crate) fn new(place: usize, rng: ChaCha8Rng) -> Client {
        Client {
            rng,
            place,
            current: None,
            operations: 0,
            issued: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Time to think before the next operation.
    pub(crate) fn pause(&mut self) -> Micros {
        self.rng.random_range(20_000..500_000)
    }

    fn request_id(&mut self, now: Micros) -> u128 {
        let ms = u128::from(EPOCH_MS + now / 1000);
        let random: u128 = self.rng.random();
        (ms << 80) | (7 << 76) | (random & ((1 << 76) - 1)) & !(0b11 << 62) | (0b10 << 62)
    }

    /// The next operation.
    pub(crate) fn next(&mut self, now: Micros) -> Operation {
        self.operations += 1;
        let draw = self.rng.random_range(0..100);
        let known = (!self.done.is_empty()).then(|| self.done[self.rng.random_range(0..self.done.len())].clone());
        let mut by = None;
        let (request_id, kind, body, org) = match (draw, known) {
            (0..10, Some((_, job))) => {
                let id = self.request_id(now);
                let cancel = CancelJobRequest {
                    request_id: id.to_be_bytes().to_vec(),
                    job_id: job,
                    reason: "sim".into(),
                };
                (id, Kind::Cancel, Some(Body::CancelJob(cancel)), None)
            }
            (10..18, Some((operation, _))) => (operation.request_id, Kind::Submit, operation.body, Some(operation.org)),
            (18..23, Some((operation, _))) => {
                let id = operation.request_id;
                let mut submit = self.submit(id, now);
                if let Some(spec) = submit.spec.as_mut() {
                    spec.name = "another".into();
                }
                (id, Kind::Reuse, Some(Body::SubmitJob(submit)), Some(operation.org))
            }
            (23..38, Some((operation, job))) => (0, Kind::Read { job }, None, Some(operation.org)),
            (42..50, Some(_)) => self.extend(now),
            (38..42, _) => {
                let id = self.request_id(now);
                let top_up = TopUpRequest {
                    request_id: id.to_be_bytes().to_vec(),
                    org: ORGS[0].into(),
                    amount_fen: self.rng.random_range(1..100_000),
                    reference: "sim".into(),
                };
                by = Some("treasurer");
                (id, Kind::TopUp, Some(Body::TopUp(top_up)), None)
            }
            (50..58, _) => {
                let id = self.request_id(now);
                let (who, body) = money::next(&mut self.rng, &mut self.issued, id, self.place, now);
                by = who;
                (id, Kind::Money, Some(body), Some(1))
            }
            _ => {
                let id = self.request_id(now);
                (id, Kind::Submit, Some(Body::SubmitJob(self.submit(id, now))), None)
            }
        };
        let org = org.unwrap_or_else(|| self.rng.random_range(0..ORGS.len()));
        let number = ((self.place as u64) << 32) | self.operations;
        Operation {
            number,
            request_id,
            kind,
            body,
            org,
            by,
            tries: 0,
        }
    }

    // One of the last few, because an older one has ended.
    fn extend(&mut self, now: Micros) -> (u128, Kind, Option<Body>, Option<usize>) {
        let id = self.request_id(now);
        let back = self.rng.random_range(1..=self.done.len().min(3));
        let (operation, job) = &self.done[self.done.len() - back];
        let (org, job_id) = (operation.org, *job);
        let named = self.rng.random_range(0..2) == 0;
        let extend = ExtendJobRequest {
            request_id: id.to_be_bytes().to_vec(),
            job_id,
            task: named.then_some(0),
            more_ms: self.rng.random_range(1..10_000),
        };
        (id, Kind::Extend, Some(Body::ExtendJob(extend)), Some(org))
    }

    // One of the last few: its own are known, those of the other org are not, and older ones have left State.
    fn dependencies(&mut self) -> Vec<Dependency> {
        if self.done.is_empty() || self.rng.random_range(0..6) > 0 {
            return Vec::new();
        }
        let back = self.rng.random_range(1..=self.done.len().min(4));
        let after = [After::Ok, After::Any, After::NotOk][self.rng.random_range(0..3)];
        vec![Dependency {
            job_id: self.done[self.done.len() - back].1,
            after: after.into(),
            per_element: self.rng.random_range(0..3) == 0,
        }]
    }

    fn submit(&mut self, id: u128, now: Micros) -> SubmitJobRequest {
        let after = self.dependencies();
        let now_ms = EPOCH_MS + now / 1_000;
        let rng = &mut self.rng;
        // Some are too short of time, unless somebody extends them.
        let (walltime_ms_max, duration_ms) = match rng.random_range(0..24) {
            0 | 1 => (700, rng.random_range(1..1_500)),
            2 | 3 => (3_000, rng.random_range(2_500..8_000)),
            4 => (60_000, rng.random_range(3_000..15_000)),
            _ => (60_000, rng.random_range(1..1_500)),
        };
        let on_site_lost = if rng.random_range(0..2) == 0 {
            OnSiteLost::Requeue
        } else {
            OnSiteLost::Hold
        };
        let retry = (rng.random_range(0..4) == 0).then(|| RetryPolicy {
            time_limit: Some(rng.random_range(0..2)),
            site_lost: (on_site_lost == OnSiteLost::Requeue).then(|| rng.random_range(0..3)),
            agent_fault: Some(rng.random_range(0..3)),
            ..RetryPolicy::default()
        });
        let exit_code = i32::from(rng.random_range(0..8) == 0);
        let nodes: u32 = if rng.random_range(0..6) == 0 {
            rng.random_range(2..4)
        } else {
            1
        };
        let fails = rng.random_range(0..nodes);
        let spec = JobSpec {
            name: "job".into(),
            // The simulated backend reads these three.
            command: vec![
                "run".into(),
                duration_ms.to_string(),
                exit_code.to_string(),
                fails.to_string(),
            ],
            nodes,
            resources: Some(Resources {
                cpu_milli: rng.random_range(1..9) * 500,
                memory_mib: rng.random_range(1..9) * 128,
                ..Resources::default()
            }),
            walltime_ms_max,
            priority: rng.random_range(0..3),
            array_count: if rng.random_range(0..8) == 0 {
                rng.random_range(2..9)
            } else {
                0
            },
            retries_max: rng.random_range(0..3),
            on_site_lost: on_site_lost.into(),
            funding: Some(Funding {
                wallet_only: rng.random_range(0..4) == 0,
                ..Funding::default()
            }),
            not_before_ms: if rng.random_range(0..10) == 0 {
                now_ms + rng.random_range(0..8_000)
            } else {
                0
            },
            // Some of these come too late already, or by the time that there is room.
            done_by_ms: if rng.random_range(0..10) == 0 {
                now_ms + walltime_ms_max + rng.random_range(0..8_000)
            } else {
                0
            },
            after,
            retry,
            ..JobSpec::default()
        };
        SubmitJobRequest {
            request_id: id.to_be_bytes().to_vec(),
            spec: Some(spec),
            ..SubmitJobRequest::default()
        }
    }
}

/// Duration (ms) and exit code of a task's node, as its payload says. Of a gang the nodes end one after the other, and one fails at most.
#[must_use]
pub(crate) fn behaviour(payload: &hesuan_api::v1::TaskPayload, node: u32) -> (u64, i32) {
    let number = |i: usize| payload.command.get(i).and_then(|text| text.parse::<u64>().ok());
    let duration_ms = number(1).unwrap_or(1) + u64::from(node) * 150;
    let fails = number(3).unwrap_or(0) == u64::from(node);
    let exit_code = number(2).filter(|_| fails).unwrap_or(0);
    (duration_ms, i32::try_from(exit_code).unwrap_or(0))
}

/// The commands that set the scene, in order, with the name of the principal who sends each.
#[must_use]
pub(crate) fn scene() -> Vec<(&'static str, Body)> {
    use hesuan_api::v1::*;
    let mut count = 0_u128;
    let mut id = || {
        count += 1;
        ((u128::from(EPOCH_MS) << 80) | (7 << 76) | (0b10 << 62) | count)
            .to_be_bytes()
            .to_vec()
    };
    let day = 86_400_000;
    let mut scene = Vec::new();
    let principal = |id: Vec<u8>, name: &str, role: Role, org: &str, site: &str, region: u32, token: u8| {
        let principal = Principal {
            name: name.into(),
            roles: vec![role.into()],
            org: org.into(),
            site: site.into(),
            region,
            ..Principal::default()
        };
        let request = CreatePrincipalRequest {
            request_id: id,
            principal: Some(principal),
            token_sha256: vec![token; 32],
        };
        ("admin", Body::CreatePrincipal(request))
    };
    scene.push(principal(id(), "issuer", Role::Issuer, "", "", 310_117, 20));
    scene.push(principal(id(), "treasurer", Role::Treasurer, "", "", 0, 21));
    scene.push(principal(id(), "reviewer", Role::Reviewer, "", "", 0, 24));
    for (name, kind) in [("acme", OrgKind::Enterprise), ("photonics-lab", OrgKind::Lab)] {
        let request = CreateOrgRequest {
            request_id: id(),
            name: name.into(),
            kind: kind.into(),
            region: 310_117,
            ..CreateOrgRequest::default()
        };
        scene.push(("admin", Body::CreateOrg(request)));
        let top_up = TopUpRequest {
            request_id: id(),
            org: name.into(),
            amount_fen: 50_000_000,
            reference: "opening".into(),
        };
        scene.push(("treasurer", Body::TopUp(top_up)));
    }
    scene.push(principal(id(), ORGS[0], Role::Member, ORGS[0], "", 0, 22));
    scene.push(principal(id(), ORGS[1], Role::Member, ORGS[1], "", 0, 23));
    let limits = Limits {
        lost_after_ms: 16_000,
        lease_ttl_ms: 4_000,
        ended_job_keep_ms: 20_000,
        settlement_grace_ms: 20_000,
        ..Limits::default()
    };
    scene.push((
        "admin",
        Body::SetLimits(SetLimitsRequest {
            request_id: id(),
            limits: Some(limits),
        }),
    ));
    for (place, (site, region)) in super::SITES.into_iter().enumerate() {
        let provider = format!("{site}-centre");
        let request = CreateOrgRequest {
            request_id: id(),
            name: provider.clone(),
            kind: OrgKind::Provider.into(),
            region,
            ..CreateOrgRequest::default()
        };
        scene.push(("admin", Body::CreateOrg(request)));
        let request = CreateSiteRequest {
            request_id: id(),
            name: site.into(),
            region,
            provider,
        };
        scene.push(("admin", Body::CreateSite(request)));
        scene.push(principal(
            id(),
            super::OPERATORS[place],
            Role::Operator,
            "",
            site,
            0,
            40 + place as u8,
        ));
        scene.push(principal(
            id(),
            &format!("{site}-node"),
            Role::Node,
            "",
            site,
            0,
            30 + place as u8,
        ));
        let unit = |sku: &str, price| UnitPrice {
            sku: sku.into(),
            millifen_per_unit_hour: price,
        };
        // Dear enough that a second costs fen: captures and remainders are then never all zero.
        let prices = vec![unit("cpu", 3_600_000 + 600_000 * place as u64), unit("mem", 100_000)];
        let request = SetPricesRequest {
            request_id: id(),
            site: site.into(),
            prices,
            effective_from_ms: 0,
        };
        scene.push((super::OPERATORS[place], Body::SetPrices(request)));
    }
    let programme = Programme {
        name: "songjiang-compute".into(),
        region: 310_117,
        funders: vec![
            Funder {
                name: "district".into(),
                share: 1,
            },
            Funder {
                name: "city".into(),
                share: 2,
            },
        ],
        budget: 10_000_000,
        budget_policy: BudgetPolicy::CommitAtHold.into(),
        redemption: Redemption::Provider.into(),
        terms: Some(Terms {
            rates: vec![
                Rate {
                    sku: "cpu".into(),
                    rate_bp: 3_333,
                },
                Rate {
                    sku: "mem".into(),
                    rate_bp: 1_000,
                },
            ],
            from_ms: EPOCH_MS - day,
            until_ms: EPOCH_MS + 365 * day,
            ..Terms::default()
        }),
        ..Programme::default()
    };
    let request = CreateProgrammeRequest {
        request_id: id(),
        programme: Some(programme),
    };
    scene.push(("issuer", Body::CreateProgramme(request)));
    // A second one, that its holders advance and claim back.
    let programme = Programme {
        name: money::ADVANCED.into(),
        region: 310_117,
        funders: vec![Funder {
            name: "district".into(),
            share: 1,
        }],
        budget: 10_000_000,
        redemption: Redemption::Holder.into(),
        terms: Some(Terms {
            rates: vec![Rate {
                sku: "cpu".into(),
                rate_bp: 1_500,
            }],
            from_ms: EPOCH_MS - day,
            until_ms: EPOCH_MS + 365 * day,
            reinstate_refunds: true,
            ..Terms::default()
        }),
        ..Programme::default()
    };
    let request = CreateProgrammeRequest {
        request_id: id(),
        programme: Some(programme),
    };
    scene.push(("issuer", Body::CreateProgramme(request)));
    let agreement = Agreement {
        issuer_region: 310_117,
        provider_region: 330_100,
        rate_bp: 2_000,
        from_ms: EPOCH_MS - day,
        until_ms: EPOCH_MS + 300 * day,
        ..Agreement::default()
    };
    let request = CreateAgreementRequest {
        request_id: id(),
        agreement: Some(agreement),
    };
    scene.push(("issuer", Body::CreateAgreement(request)));
    let voucher = |code: &str, until_ms| NewVoucher {
        code: code.into(),
        holder: ORGS[1].into(),
        face: 3_000_000,
        from_ms: EPOCH_MS - day,
        until_ms,
    };
    let vouchers = vec![
        voucher("SJ-1", EPOCH_MS + 200 * day),
        voucher("SJ-2", EPOCH_MS + 45_000),
    ];
    let request = IssueVouchersRequest {
        request_id: id(),
        programme: "songjiang-compute".into(),
        vouchers,
        ..Default::default()
    };
    scene.push(("issuer", Body::IssueVouchers(request)));
    for code in ["SJ-1", "SJ-2"] {
        let request = RedeemVoucherRequest {
            request_id: id(),
            code: code.into(),
        };
        scene.push((ORGS[1], Body::RedeemVoucher(request)));
    }
    scene
}
