//! Bad requests: each is refused with a code and the name of the field at fault, at the replica that takes it and in apply.

use hesuan_api::codec::{decode_command, encode_command};
use hesuan_api::internal::v1::{self as wire, command::Body};
use hesuan_api::v1;
use hesuan_engine::outcome::RejectionKind;
use hesuan_engine::types::PrincipalId;
use prost::Message;

/// 16 bytes of a UUIDv7.
fn request_id() -> Vec<u8> {
    let mut id = vec![1; 16];
    id[6] = 0x71;
    id[8] = 0x81;
    id
}

fn spec() -> v1::JobSpec {
    v1::JobSpec {
        name: "train".into(),
        command: vec!["/bin/true".into()],
        resources: Some(v1::Resources {
            cpu_milli: 1000,
            memory_mib: 1024,
            ..Default::default()
        }),
        walltime_ms_max: 60_000,
        ..Default::default()
    }
}

fn submit(change: impl FnOnce(&mut v1::JobSpec)) -> Body {
    let mut spec = spec();
    change(&mut spec);
    Body::SubmitJob(v1::SubmitJobRequest {
        request_id: request_id(),
        spec: Some(spec),
        ..Default::default()
    })
}

fn resources(change: impl FnOnce(&mut v1::Resources)) -> Body {
    submit(|spec| change(spec.resources.as_mut().expect("the spec of this test has resources")))
}

fn after(job_id: u64, after: i32) -> v1::Dependency {
    v1::Dependency {
        job_id,
        after,
        per_element: false,
    }
}

fn programme(change: impl FnOnce(&mut v1::Programme)) -> Body {
    let mut programme = v1::Programme {
        name: "songjiang-2026".into(),
        region: 310117,
        funders: vec![v1::Funder {
            name: "songjiang".into(),
            share: 1,
        }],
        budget: 1_000_000,
        terms: Some(v1::Terms {
            rates: vec![v1::Rate {
                sku: "gpu/*".into(),
                rate_bp: 3000,
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    change(&mut programme);
    Body::CreateProgramme(v1::CreateProgrammeRequest {
        request_id: request_id(),
        programme: Some(programme),
    })
}

fn terms(change: impl FnOnce(&mut v1::Terms)) -> Body {
    programme(|programme| change(programme.terms.as_mut().expect("the programme of this test has terms")))
}

fn revise(change: impl FnOnce(&mut v1::Terms)) -> Body {
    let Body::CreateProgramme(created) = programme(|_| {}) else {
        unreachable!("a programme is created")
    };
    let mut terms = created
        .programme
        .and_then(|programme| programme.terms)
        .expect("given above");
    change(&mut terms);
    Body::ReviseProgramme(v1::ReviseProgrammeRequest {
        request_id: request_id(),
        programme: "songjiang-2026".into(),
        terms: Some(terms),
        immediate: true,
        ..Default::default()
    })
}

fn update_org(region: u32, control_group: &str) -> Body {
    Body::UpdateOrg(v1::UpdateOrgRequest {
        request_id: request_id(),
        org: "acme".into(),
        region: Some(region),
        control_group: control_group.into(),
    })
}

fn close_period(period: u32) -> Body {
    Body::ClosePeriod(v1::ClosePeriodRequest {
        request_id: request_id(),
        period,
    })
}

fn pay_settlement(period: u32, provider: &str) -> Body {
    Body::PaySettlement(v1::PaySettlementRequest {
        request_id: request_id(),
        period,
        provider: provider.into(),
        reference: "bank 7".into(),
    })
}

fn refund(amount_fen: i64) -> Body {
    Body::Refund(v1::RefundRequest {
        request_id: request_id(),
        job_id: 1,
        attempt: 1,
        amount_fen: Some(amount_fen),
        reason: "outage".into(),
        ..Default::default()
    })
}

fn bind_quote(valid_ms: u64) -> Body {
    Body::BindQuote(v1::QuoteJobRequest {
        request_id: request_id(),
        spec: Some(spec()),
        binding: true,
        valid_ms: Some(valid_ms),
    })
}

fn take_up(quote_id: u64) -> Body {
    Body::SubmitJob(v1::SubmitJobRequest {
        request_id: request_id(),
        spec: Some(spec()),
        quote_id: Some(quote_id),
        ..Default::default()
    })
}

fn file_claim(programme: &str, amount_fen: i64) -> Body {
    Body::FileClaim(v1::FileClaimRequest {
        request_id: request_id(),
        programme: programme.into(),
        amount_fen: Some(amount_fen),
        ..Default::default()
    })
}

fn revoke_voucher(code: &str, reason: &str, fraud: bool) -> Body {
    Body::RevokeVoucher(v1::RevokeVoucherRequest {
        request_id: request_id(),
        code: code.into(),
        reason: reason.into(),
        fraud,
    })
}

fn review_claim(claim_id: u64, approve: bool, reason: &str) -> Body {
    Body::ReviewClaim(v1::ReviewClaimRequest {
        request_id: request_id(),
        claim_id,
        approve,
        reason: reason.into(),
    })
}

fn pay_in(funder: &str, amount_fen: i64) -> Body {
    Body::PayIn(v1::PayInRequest {
        request_id: request_id(),
        programme: "songjiang-2026".into(),
        funder: funder.into(),
        amount_fen,
        reference: String::new(),
    })
}

fn set_budget(budget: i64) -> Body {
    Body::SetBudget(v1::SetBudgetRequest {
        request_id: request_id(),
        programme: "songjiang-2026".into(),
        budget,
        unit_hours: false,
    })
}

fn agreement(change: impl FnOnce(&mut v1::Agreement)) -> Body {
    let mut agreement = v1::Agreement {
        issuer_region: 310117,
        provider_region: 330100,
        rate_bp: 2000,
        ..Default::default()
    };
    change(&mut agreement);
    Body::CreateAgreement(v1::CreateAgreementRequest {
        request_id: request_id(),
        agreement: Some(agreement),
    })
}

fn issue(change: impl FnOnce(&mut v1::NewVoucher)) -> Body {
    let mut voucher = v1::NewVoucher {
        code: "SJ-1".into(),
        holder: "lab".into(),
        face: 100,
        from_ms: 0,
        until_ms: 10,
    };
    change(&mut voucher);
    Body::IssueVouchers(v1::IssueVouchersRequest {
        request_id: request_id(),
        programme: "songjiang-2026".into(),
        vouchers: vec![voucher],
        ..Default::default()
    })
}

fn top_up(amount_fen: i64) -> Body {
    Body::TopUp(v1::TopUpRequest {
        request_id: request_id(),
        org: "acme".into(),
        amount_fen,
        reference: String::new(),
    })
}

fn extend(change: impl FnOnce(&mut v1::ExtendJobRequest)) -> Body {
    let mut request = v1::ExtendJobRequest {
        request_id: request_id(),
        job_id: 4711,
        task: Some(7),
        more_ms: 3_600_000,
    };
    change(&mut request);
    Body::ExtendJob(request)
}

fn prices(sku: &str, price: u64) -> Body {
    Body::SetPrices(v1::SetPricesRequest {
        request_id: request_id(),
        site: "hefei".into(),
        prices: vec![v1::UnitPrice {
            sku: sku.into(),
            millifen_per_unit_hour: price,
        }],
        effective_from_ms: 0,
    })
}

fn principal(change: impl FnOnce(&mut v1::Principal)) -> Body {
    let mut principal = v1::Principal {
        name: "wang".into(),
        roles: vec![v1::Role::Auditor.into()],
        ..Default::default()
    };
    change(&mut principal);
    Body::CreatePrincipal(v1::CreatePrincipalRequest {
        request_id: request_id(),
        principal: Some(principal),
        token_sha256: vec![7; 32],
    })
}

fn attach(change: impl FnOnce(&mut wire::AttachAgent)) -> Body {
    let host = wire::HostInventory {
        name: "h1".into(),
        cpu_milli: 1000,
        memory_mib: 1024,
        ..Default::default()
    };
    let mut attach = wire::AttachAgent {
        site: "hefei".into(),
        instance: vec![1; 16],
        replica: 1,
        hosts: vec![host],
    };
    change(&mut attach);
    Body::AttachAgent(attach)
}

fn pair(key: &str, value: &str) -> v1::KeyValue {
    v1::KeyValue {
        key: key.into(),
        value: value.into(),
    }
}

#[test]
fn a_good_request_of_each_kind_is_taken() {
    let good = [
        submit(|_| {}),
        resources(|r| r.gpu_milli = 500),
        resources(|r| r.gpu_milli = 8000),
        submit(|s| {
            s.command.clear();
            s.script = "#!/bin/sh\necho 你好\n".into();
            s.name = "训练".into();
        }),
        programme(|_| {}),
        agreement(|_| {}),
        agreement(|a| {
            a.provider_region = 0;
            a.sites = vec!["hefei".into()];
        }),
        issue(|_| {}),
        extend(|_| {}),
        extend(|e| e.task = None),
        extend(|e| e.task = Some(99_999)),
        top_up(1),
        prices("gpu/a800", 325_000),
        principal(|_| {}),
        attach(|_| {}),
        revise(|_| {}),
        revise(|terms| terms.exclusive = true),
        programme(|programme| programme.unit_hours_of = "gpu/a800".into()),
        update_org(310115, ""),
        update_org(310_117, "holding"),
        Body::EndPeriod(v1::EndPeriodRequest {
            request_id: request_id(),
        }),
        close_period(1),
        pay_settlement(1, "centre"),
        file_claim("songjiang-2026", 60),
        review_claim(1, true, ""),
        review_claim(1, false, "no delivery"),
        pay_in("songjiang", 1),
        set_budget(1),
        principal(|p| p.roles = vec![v1::Role::Reviewer.into()]),
        principal(|p| {
            p.roles = vec![v1::Role::Reviewer.into()];
            p.region = 310117;
        }),
    ];
    for body in good {
        let text = format!("{body:?}");
        let bytes = encode_command(PrincipalId(3), body).unwrap_or_else(|refused| panic!("{text}: {refused:?}"));
        let command = decode_command(&bytes).unwrap_or_else(|refused| panic!("{text}: {refused:?}"));
        assert_eq!(command.principal, PrincipalId(3));
    }
}

#[test]
fn a_bad_request_is_refused_by_field() {
    let bad = [
        ("spec.resources", "FIELD_MISSING", submit(|s| s.resources = None)),
        ("spec.command", "FIELD_MISSING", submit(|s| s.command.clear())),
        (
            "spec.command[0]",
            "FIELD_MISSING",
            submit(|s| s.command = vec![String::new()]),
        ),
        (
            "spec.command[1]",
            "FIELD_MALFORMED",
            submit(|s| s.command.push("a\0b".into())),
        ),
        (
            "spec.script",
            "FIELD_CONFLICT",
            submit(|s| s.script = "#!/bin/sh".into()),
        ),
        (
            "spec.script",
            "FIELD_MALFORMED",
            submit(|s| {
                s.command.clear();
                s.script = "echo".into();
            }),
        ),
        (
            "spec.script",
            "FIELD_TOO_LONG",
            submit(|s| {
                s.command.clear();
                s.script = format!("#!{}", "x".repeat(128 << 10));
            }),
        ),
        (
            "spec",
            "FIELD_TOO_LONG",
            submit(|s| s.command.push("x".repeat(256 << 10))),
        ),
        ("spec.name", "FIELD_TOO_LONG", submit(|s| s.name = "n".repeat(129))),
        ("spec.name", "FIELD_MALFORMED", submit(|s| s.name = "a\x1b[31m".into())),
        ("spec.org", "FIELD_MALFORMED", submit(|s| s.org = "a b".into())),
        (
            "spec.walltime_ms_max",
            "FIELD_OUT_OF_RANGE",
            submit(|s| s.walltime_ms_max = 0),
        ),
        (
            "spec.walltime_ms_max",
            "FIELD_OUT_OF_RANGE",
            submit(|s| s.walltime_ms_max = u64::MAX),
        ),
        ("spec.priority", "FIELD_OUT_OF_RANGE", submit(|s| s.priority = -1001)),
        (
            "spec.array_count",
            "FIELD_OUT_OF_RANGE",
            submit(|s| s.array_count = 100_001),
        ),
        (
            "spec.retries_max",
            "FIELD_OUT_OF_RANGE",
            submit(|s| s.retries_max = u32::MAX),
        ),
        (
            "spec.on_site_lost",
            "FIELD_UNKNOWN_VALUE",
            submit(|s| s.on_site_lost = 9),
        ),
        ("spec.regions[0]", "FIELD_OUT_OF_RANGE", submit(|s| s.regions = vec![7])),
        (
            "spec.sites",
            "FIELD_DUPLICATE",
            submit(|s| s.sites = vec!["a".into(), "a".into()]),
        ),
        (
            "spec.environment[0].key",
            "FIELD_MALFORMED",
            submit(|s| s.environment = vec![pair("1A", "")]),
        ),
        (
            "spec.environment",
            "FIELD_TOO_LONG",
            submit(|s| s.environment = vec![pair("A", &"x".repeat(64 << 10))]),
        ),
        (
            "spec.environment",
            "FIELD_DUPLICATE",
            submit(|s| s.environment = vec![pair("A", "1"), pair("A", "2")]),
        ),
        (
            "spec.labels",
            "FIELD_DUPLICATE",
            submit(|s| s.labels = vec![pair("a", "1"), pair("a", "1")]),
        ),
        (
            "spec.funding.wallet_only",
            "FIELD_CONFLICT",
            submit(|s| {
                s.funding = Some(v1::Funding {
                    vouchers: vec![1],
                    wallet_only: true,
                    copay_fen_max: None,
                    ..Default::default()
                });
            }),
        ),
        (
            "spec.funding.copay_fen_max",
            "FIELD_OUT_OF_RANGE",
            submit(|s| {
                s.funding = Some(v1::Funding {
                    copay_fen_max: Some(-1),
                    ..Default::default()
                });
            }),
        ),
        (
            "spec.resources.cpu_milli",
            "FIELD_OUT_OF_RANGE",
            resources(|r| r.cpu_milli = 0),
        ),
        (
            "spec.resources.memory_mib",
            "FIELD_OUT_OF_RANGE",
            resources(|r| r.memory_mib = u64::MAX),
        ),
        (
            "spec.resources.gpu_milli",
            "FIELD_OUT_OF_RANGE",
            resources(|r| r.gpu_milli = 1500),
        ),
        (
            "spec.resources.gpu_models",
            "FIELD_CONFLICT",
            resources(|r| r.gpu_models = vec!["a800".into()]),
        ),
        (
            "spec.resources.generic[0].amount",
            "FIELD_OUT_OF_RANGE",
            resources(|r| {
                r.generic = vec![v1::NamedAmount {
                    name: "fpga".into(),
                    amount: 0,
                }];
            }),
        ),
        ("job_id", "FIELD_MISSING", extend(|e| e.job_id = 0)),
        ("task", "FIELD_OUT_OF_RANGE", extend(|e| e.task = Some(100_000))),
        ("more_ms", "FIELD_OUT_OF_RANGE", extend(|e| e.more_ms = 0)),
        ("more_ms", "FIELD_OUT_OF_RANGE", extend(|e| e.more_ms = u64::MAX)),
        ("amount_fen", "FIELD_OUT_OF_RANGE", top_up(0)),
        ("amount_fen", "FIELD_OUT_OF_RANGE", refund(0)),
        ("amount_fen", "FIELD_OUT_OF_RANGE", file_claim("songjiang-2026", 0)),
        ("valid_ms", "FIELD_OUT_OF_RANGE", bind_quote(0)),
        ("quote_id", "FIELD_OUT_OF_RANGE", take_up(0)),
        (
            "programme.terms.cap_per_job",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| terms.cap_per_job = Some(0)),
        ),
        (
            "programme.terms.cap_per_control_group",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| terms.cap_per_control_group = Some(0)),
        ),
        (
            "programme.terms.stack_total_bp",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| terms.stack_total_bp = Some(0)),
        ),
        (
            "programme.fiscal_year",
            "FIELD_OUT_OF_RANGE",
            programme(|programme| programme.fiscal_year = Some(0)),
        ),
        (
            "agreement.cap_per_job_fen",
            "FIELD_OUT_OF_RANGE",
            agreement(|agreement| agreement.cap_per_job_fen = Some(0)),
        ),
        ("region", "FIELD_OUT_OF_RANGE", update_org(0, "acme")),
        ("amount_fen", "FIELD_OUT_OF_RANGE", top_up(-5)),
        ("amount_fen", "FIELD_OUT_OF_RANGE", top_up(i64::MAX)),
        ("prices[0].sku", "FIELD_MALFORMED", prices("disk", 1)),
        (
            "prices[0].millifen_per_unit_hour",
            "FIELD_OUT_OF_RANGE",
            prices("cpu", u64::MAX),
        ),
        (
            "programme.terms",
            "FIELD_MISSING",
            programme(|programme| programme.terms = None),
        ),
        (
            "programme.terms.rates",
            "FIELD_MISSING",
            terms(|terms| terms.rates.clear()),
        ),
        (
            "programme.terms.rates[0].rate_bp",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| terms.rates[0].rate_bp = 10_001),
        ),
        (
            "programme.terms.until_ms",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| {
                terms.from_ms = 10;
                terms.until_ms = 10;
            }),
        ),
        (
            "programme.terms.stack_total_bp",
            "FIELD_CONFLICT",
            terms(|terms| (terms.exclusive, terms.stack_total_bp) = (true, Some(5_000))),
        ),
        (
            "programme.terms.stack_total_bp",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| terms.stack_total_bp = Some(10_001)),
        ),
        (
            "programme.terms.expiry_basis",
            "FIELD_UNKNOWN_VALUE",
            terms(|terms| terms.expiry_basis = 9),
        ),
        (
            "programme.terms.cap_per_control_group",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| terms.cap_per_control_group = Some(-1)),
        ),
        (
            "programme.terms.cap_per_job",
            "FIELD_OUT_OF_RANGE",
            terms(|terms| terms.cap_per_job = Some(i64::MAX)),
        ),
        (
            "programme.budget",
            "FIELD_OUT_OF_RANGE",
            programme(|programme| programme.budget = -1),
        ),
        (
            "programme.unit_hours_of",
            "FIELD_MALFORMED",
            programme(|programme| programme.unit_hours_of = "gpu/*".into()),
        ),
        (
            "programme.fiscal_year",
            "FIELD_OUT_OF_RANGE",
            programme(|programme| programme.fiscal_year = Some(26)),
        ),
        ("programme.funders", "FIELD_MISSING", programme(|p| p.funders.clear())),
        (
            "programme.terms.holder_kinds[0]",
            "FIELD_UNKNOWN_VALUE",
            terms(|terms| terms.holder_kinds = vec![77]),
        ),
        (
            "agreement.sites",
            "FIELD_CONFLICT",
            agreement(|a| a.sites = vec!["hefei".into()]),
        ),
        (
            "agreement.provider_region",
            "FIELD_MISSING",
            agreement(|a| a.provider_region = 0),
        ),
        ("vouchers[0].code", "FIELD_MISSING", issue(|v| v.code.clear())),
        ("vouchers[0].code", "FIELD_MALFORMED", issue(|v| v.code = "-CF".into())),
        (
            "vouchers[0].code",
            "FIELD_MALFORMED",
            issue(|v| v.code = "\u{ff1d}1".into()),
        ),
        ("vouchers[0].code", "FIELD_TOO_LONG", issue(|v| v.code = "c".repeat(65))),
        ("vouchers[0].face", "FIELD_OUT_OF_RANGE", issue(|v| v.face = 0)),
        ("vouchers[0].until_ms", "FIELD_OUT_OF_RANGE", issue(|v| v.from_ms = 99)),
        ("terms.rates", "FIELD_MISSING", revise(|terms| terms.rates.clear())),
        (
            "region",
            "FIELD_MISSING",
            Body::UpdateOrg(v1::UpdateOrgRequest {
                request_id: request_id(),
                org: "acme".into(),
                ..Default::default()
            }),
        ),
        ("region", "FIELD_OUT_OF_RANGE", update_org(7, "")),
        ("control_group", "FIELD_MALFORMED", update_org(310_117, "=cmd")),
        ("period", "FIELD_MISSING", close_period(0)),
        ("period", "FIELD_MISSING", pay_settlement(0, "centre")),
        ("provider", "FIELD_MISSING", pay_settlement(1, "")),
        ("programme", "FIELD_MISSING", file_claim("", 1)),
        ("amount_fen", "FIELD_OUT_OF_RANGE", file_claim("songjiang-2026", -1)),
        ("claim_id", "FIELD_MISSING", review_claim(0, true, "")),
        ("reason", "FIELD_MISSING", review_claim(1, false, "")),
        ("reason", "FIELD_MISSING", review_claim(1, false, " ")),
        ("reason", "FIELD_MISSING", revoke_voucher("A-1", "", false)),
        ("reason", "FIELD_MISSING", revoke_voucher("A-1", " ", true)),
        ("funder", "FIELD_MISSING", pay_in("", 1)),
        ("amount_fen", "FIELD_OUT_OF_RANGE", pay_in("songjiang", 0)),
        ("budget", "FIELD_OUT_OF_RANGE", set_budget(0)),
        ("principal.roles", "FIELD_MISSING", principal(|p| p.roles.clear())),
        (
            "principal.org",
            "FIELD_MISSING",
            principal(|p| p.roles = vec![v1::Role::Member.into()]),
        ),
        (
            "principal.site",
            "FIELD_MISSING",
            principal(|p| p.roles = vec![v1::Role::Node.into()]),
        ),
        (
            "principal.region",
            "FIELD_MISSING",
            principal(|p| p.roles = vec![v1::Role::Issuer.into()]),
        ),
        ("instance", "FIELD_MALFORMED", attach(|a| a.instance = vec![1])),
        (
            "spec.retry.failure",
            "FIELD_CONFLICT",
            submit(|s| {
                s.retries_max = 2;
                s.retry = Some(v1::RetryPolicy {
                    failure: Some(3),
                    ..Default::default()
                });
            }),
        ),
        (
            "spec.retry.site_lost",
            "FIELD_CONFLICT",
            submit(|s| {
                s.retry = Some(v1::RetryPolicy {
                    site_lost: Some(1),
                    ..Default::default()
                });
            }),
        ),
        (
            "spec.retry.time_limit",
            "FIELD_OUT_OF_RANGE",
            submit(|s| {
                s.retry = Some(v1::RetryPolicy {
                    time_limit: Some(101),
                    ..Default::default()
                });
            }),
        ),
        (
            "spec.after[0].job_id",
            "FIELD_MISSING",
            submit(|s| s.after = vec![v1::Dependency::default()]),
        ),
        (
            "spec.after[0].after",
            "FIELD_MISSING",
            submit(|s| s.after = vec![after(4711, 0)]),
        ),
        (
            "spec.after[1].after",
            "FIELD_UNKNOWN_VALUE",
            submit(|s| s.after = vec![after(4711, 1), after(4712, 9)]),
        ),
        (
            "spec.after",
            "FIELD_TOO_MANY",
            submit(|s| s.after = (1..66).map(|job| after(job, 1)).collect()),
        ),
        (
            "spec.not_before_ms",
            "FIELD_OUT_OF_RANGE",
            submit(|s| s.not_before_ms = u64::MAX),
        ),
        (
            "spec.done_by_ms",
            "FIELD_OUT_OF_RANGE",
            submit(|s| s.done_by_ms = 253_402_300_800_000),
        ),
        (
            "hosts[0].cpu_milli",
            "FIELD_OUT_OF_RANGE",
            attach(|a| a.hosts[0].cpu_milli = 0),
        ),
        ("hosts", "FIELD_DUPLICATE", attach(|a| a.hosts.push(a.hosts[0].clone()))),
    ];
    for (field, code, body) in bad {
        let raw = wire::Command {
            principal: 3,
            body: Some(body.clone()),
            ..Default::default()
        }
        .encode_to_vec();
        let refused = encode_command(PrincipalId(3), body).expect_err(field);
        assert_eq!((&*refused.field, refused.code), (field, code), "{}", refused.message);
        assert_eq!(refused.kind, RejectionKind::Invalid);
        assert!(refused.message.contains(field), "{field}: {}", refused.message);
        assert!(!refused.message.ends_with('.'), "{}", refused.message);
        assert_eq!(
            decode_command(&raw).expect_err(field),
            refused,
            "apply refuses what the replica refused"
        );
    }
}

#[test]
fn a_request_id_is_a_uuid_of_version_7() {
    let cancel = |request_id: Vec<u8>| {
        Body::CancelJob(v1::CancelJobRequest {
            request_id,
            job_id: 1,
            reason: String::new(),
        })
    };
    let code = |id| encode_command(PrincipalId(1), cancel(id)).map_err(|refused| (refused.code, refused.field));
    assert!(code(request_id()).is_ok());
    assert_eq!(code(Vec::new()), Err(("FIELD_MISSING", "request_id".into())));
    assert_eq!(code(vec![1; 15]), Err(("FIELD_MALFORMED", "request_id".into())));
    assert_eq!(
        code(vec![0x41; 16]),
        Err(("FIELD_MALFORMED", "request_id".into())),
        "version 4 holds no time"
    );
}
