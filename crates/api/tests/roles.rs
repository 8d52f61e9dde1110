//! Who may do what: every command and every read of the public interface, by every role. A row that is missing here or there fails.

#![allow(
    clippy::needless_update,
    reason = "one macro makes requests of many fields and of none"
)]

use std::collections::BTreeSet;

use hesuan_api::FILE_DESCRIPTOR_SET;
use hesuan_api::codec::{decode_command, encode_command};
use hesuan_api::internal::v1::command::Body;
use hesuan_api::v1;
use hesuan_engine::command::Role;
use hesuan_engine::state::access::{Kind, kind_of, roles};
use hesuan_engine::types::PrincipalId;
use prost::Message as _;

use Role::{Admin, Auditor, Issuer, Member, Node, Operator, Reviewer, Treasurer};

const EVERYBODY: &[Role] = &[Admin, Operator, Member, Issuer, Treasurer, Auditor, Node, Reviewer];

/// RPC, its row, and who may call it.
const TABLE: &[(&str, Kind, &[Role])] = &[
    ("AuditService/ExportJournal", Kind::ExportJournal, &[Auditor]),
    ("JobService/SubmitJob", Kind::Submit, &[Member]),
    ("JobService/QuoteJob", Kind::Submit, &[Member]),
    ("JobService/ListQuotes", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("JobService/ReleaseQuote", Kind::Submit, &[Member]),
    ("JobService/GetJob", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("JobService/ListJobs", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("JobService/ListTasks", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("JobService/CancelJob", Kind::Cancel, &[Admin, Member]),
    ("JobService/ExtendJob", Kind::Submit, &[Member]),
    ("JobService/ExplainJob", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("JobService/GetReceipt", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("JobService/WatchJobs", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("JobService/StreamLogs", Kind::ReadJobs, &[Admin, Member, Auditor]),
    ("WalletService/CreateOrg", Kind::Organisations, &[Admin, Treasurer]),
    ("WalletService/UpdateOrg", Kind::Organisations, &[Admin, Treasurer]),
    (
        "WalletService/GetOrg",
        Kind::ReadWallet,
        &[Member, Treasurer, Auditor, Reviewer],
    ),
    (
        "WalletService/ListOrgs",
        Kind::ReadWallet,
        &[Member, Treasurer, Auditor, Reviewer],
    ),
    ("WalletService/SetQuota", Kind::Administer, &[Admin]),
    ("WalletService/TopUp", Kind::MoveMoney, &[Treasurer]),
    ("WalletService/Withdraw", Kind::MoveMoney, &[Treasurer]),
    ("WalletService/Collect", Kind::MoveMoney, &[Treasurer]),
    ("WalletService/SetPrices", Kind::SetPrices, &[Operator]),
    ("WalletService/ListPrices", Kind::ReadPublic, EVERYBODY),
    ("WalletService/Refund", Kind::MoveMoney, &[Treasurer]),
    (
        "WalletService/GetTrialBalance",
        Kind::ReadBooks,
        &[Treasurer, Auditor, Reviewer],
    ),
    ("ProgrammeService/CreateProgramme", Kind::Programmes, &[Issuer]),
    ("ProgrammeService/GetProgramme", Kind::ReadPublic, EVERYBODY),
    ("ProgrammeService/ListProgrammes", Kind::ReadPublic, EVERYBODY),
    ("ProgrammeService/ReviseProgramme", Kind::Programmes, &[Issuer]),
    ("ProgrammeService/SetBudget", Kind::Programmes, &[Issuer]),
    ("ProgrammeService/PayIn", Kind::MoveMoney, &[Treasurer]),
    ("ProgrammeService/RepayFund", Kind::MoveMoney, &[Treasurer]),
    ("ProgrammeService/CreateAgreement", Kind::Programmes, &[Issuer]),
    ("ProgrammeService/EndAgreement", Kind::Programmes, &[Issuer]),
    ("ProgrammeService/ListAgreements", Kind::ReadPublic, EVERYBODY),
    ("VoucherService/IssueVouchers", Kind::Programmes, &[Issuer]),
    ("VoucherService/RedeemVoucher", Kind::Redeem, &[Member]),
    (
        "VoucherService/GetVoucher",
        Kind::ReadVouchers,
        &[Member, Issuer, Auditor, Reviewer],
    ),
    (
        "VoucherService/ListVouchers",
        Kind::ReadVouchers,
        &[Member, Issuer, Auditor, Reviewer],
    ),
    ("VoucherService/SuspendVoucher", Kind::Programmes, &[Issuer]),
    ("VoucherService/ResumeVoucher", Kind::Programmes, &[Issuer]),
    ("VoucherService/RevokeVoucher", Kind::Programmes, &[Issuer]),
    ("PeriodService/ListPeriods", Kind::ReadPublic, EVERYBODY),
    ("PeriodService/EndPeriod", Kind::Close, &[Reviewer]),
    ("PeriodService/ClosePeriod", Kind::Close, &[Reviewer]),
    (
        "PeriodService/GetClearing",
        Kind::ReadClearing,
        &[Issuer, Treasurer, Auditor, Reviewer],
    ),
    (
        "PeriodService/GetPayable",
        Kind::ReadClearing,
        &[Issuer, Treasurer, Auditor, Reviewer],
    ),
    (
        "PeriodService/ListCorrections",
        Kind::ReadClearing,
        &[Issuer, Treasurer, Auditor, Reviewer],
    ),
    (
        "PeriodService/StreamStatement",
        Kind::ReadWallet,
        &[Member, Treasurer, Auditor, Reviewer],
    ),
    (
        "SettlementService/GetSettlementSheet",
        Kind::ReadWallet,
        &[Member, Treasurer, Auditor, Reviewer],
    ),
    (
        "SettlementService/ListSettlements",
        Kind::ReadWallet,
        &[Member, Treasurer, Auditor, Reviewer],
    ),
    ("SettlementService/ReviewSettlement", Kind::Review, &[Reviewer]),
    ("SettlementService/PaySettlement", Kind::MoveMoney, &[Treasurer]),
    ("SettlementService/FileClaim", Kind::Claim, &[Member]),
    (
        "SettlementService/ListClaims",
        Kind::ReadWallet,
        &[Member, Treasurer, Auditor, Reviewer],
    ),
    ("SettlementService/ReviewClaim", Kind::Review, &[Reviewer]),
    ("SettlementService/PayClaim", Kind::MoveMoney, &[Treasurer]),
    ("SiteService/CreateSite", Kind::CreateSite, &[Admin]),
    ("SiteService/GetSite", Kind::ReadPublic, EVERYBODY),
    ("SiteService/ListSites", Kind::ReadPublic, EVERYBODY),
    ("SiteService/ListHosts", Kind::ReadPublic, EVERYBODY),
    ("SiteService/SetSiteState", Kind::SetSiteState, &[Admin, Operator]),
    ("SiteService/SetContract", Kind::SetContract, &[Admin, Operator]),
    ("ClusterService/GetStatus", Kind::ReadPublic, EVERYBODY),
    ("ClusterService/AddMember", Kind::Administer, &[Admin]),
    ("ClusterService/PromoteMember", Kind::Administer, &[Admin]),
    ("ClusterService/RemoveMember", Kind::Administer, &[Admin]),
    ("ClusterService/TransferLeadership", Kind::Administer, &[Admin]),
    ("ClusterService/CreatePrincipal", Kind::Administer, &[Admin]),
    ("ClusterService/RevokePrincipal", Kind::Administer, &[Admin]),
    ("ClusterService/ListPrincipals", Kind::ReadPrincipals, &[Admin, Auditor]),
    ("ClusterService/WhoAmI", Kind::ReadPublic, EVERYBODY),
    ("ClusterService/GetVersion", Kind::ReadPublic, EVERYBODY),
    ("ClusterService/GetLimits", Kind::ReadPublic, EVERYBODY),
    ("ClusterService/SetLimits", Kind::Administer, &[Admin]),
    ("ClusterService/GetPolicy", Kind::ReadPublic, EVERYBODY),
    ("ClusterService/SetPolicy", Kind::Administer, &[Admin]),
    ("ClusterService/ListShares", Kind::ReadJobs, &[Member, Admin, Auditor]),
];

/// Service and method of every RPC of `hesuan.v1`.
fn rpcs() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the build wrote it");
    let files = set.file.iter().filter(|file| file.package() == "hesuan.v1");
    let services = files.flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            service
                .method
                .iter()
                .map(|method| format!("{}/{}", service.name(), method.name()))
        })
        .collect()
}

fn id() -> Vec<u8> {
    let mut id = vec![1; 16];
    id[6] = 0x71;
    id[8] = 0x81;
    id
}

/// A well-formed request of each RPC that changes something, as the log holds it.
fn commands() -> Vec<(&'static str, Body)> {
    macro_rules! request {
        ($rpc:literal, $body:ident, $message:ident { $($field:ident: $value:expr),* $(,)? }) => {
            ($rpc, Body::$body(v1::$message { request_id: id(), $($field: $value,)* ..Default::default() }))
        };
    }
    let spec = || {
        Some(v1::JobSpec {
            command: vec!["true".into()],
            resources: Some(v1::Resources {
                cpu_milli: 1000,
                memory_mib: 64,
                ..Default::default()
            }),
            walltime_ms_max: 1_000,
            ..Default::default()
        })
    };
    let terms = || {
        let rates = vec![v1::Rate {
            sku: "cpu".into(),
            rate_bp: 1,
        }];
        Some(v1::Terms {
            rates,
            ..Default::default()
        })
    };
    let (p, o, v, s) = ("programme", "org", "V-1", "site");
    vec![
        request!("JobService/SubmitJob", SubmitJob, SubmitJobRequest { spec: spec() }),
        request!(
            "JobService/QuoteJob",
            BindQuote,
            QuoteJobRequest {
                spec: spec(),
                binding: true
            }
        ),
        request!("JobService/CancelJob", CancelJob, CancelJobRequest { job_id: 1 }),
        request!(
            "JobService/ReleaseQuote",
            ReleaseQuote,
            ReleaseQuoteRequest { quote_id: 1 }
        ),
        request!(
            "JobService/ExtendJob",
            ExtendJob,
            ExtendJobRequest { job_id: 1, more_ms: 1 }
        ),
        request!(
            "WalletService/CreateOrg",
            CreateOrg,
            CreateOrgRequest {
                name: o.into(),
                kind: 1,
                region: 310_117
            }
        ),
        request!(
            "WalletService/UpdateOrg",
            UpdateOrg,
            UpdateOrgRequest {
                org: o.into(),
                region: Some(310_117)
            }
        ),
        request!(
            "WalletService/TopUp",
            TopUp,
            TopUpRequest {
                org: o.into(),
                amount_fen: 1
            }
        ),
        request!(
            "WalletService/Withdraw",
            Withdraw,
            WithdrawRequest {
                org: o.into(),
                amount_fen: 1
            }
        ),
        request!(
            "WalletService/Collect",
            Collect,
            CollectRequest {
                org: o.into(),
                amount_fen: 1
            }
        ),
        request!(
            "WalletService/SetPrices",
            SetPrices,
            SetPricesRequest {
                site: s.into(),
                prices: vec![v1::UnitPrice {
                    sku: "cpu".into(),
                    millifen_per_unit_hour: 1
                }],
            }
        ),
        request!(
            "WalletService/Refund",
            Refund,
            RefundRequest {
                job_id: 1,
                attempt: 1,
                reason: "test".into()
            }
        ),
        request!(
            "ProgrammeService/CreateProgramme",
            CreateProgramme,
            CreateProgrammeRequest {
                programme: Some(v1::Programme {
                    name: p.into(),
                    region: 310_117,
                    funders: vec![v1::Funder {
                        name: "city".into(),
                        share: 1
                    }],
                    budget: 1,
                    terms: terms(),
                    ..Default::default()
                }),
            }
        ),
        request!(
            "ProgrammeService/ReviseProgramme",
            ReviseProgramme,
            ReviseProgrammeRequest {
                programme: p.into(),
                terms: terms(),
            }
        ),
        request!(
            "ProgrammeService/SetBudget",
            SetBudget,
            SetBudgetRequest {
                programme: p.into(),
                budget: 1
            }
        ),
        request!(
            "ProgrammeService/PayIn",
            PayIn,
            PayInRequest {
                programme: p.into(),
                funder: "city".into(),
                amount_fen: 1,
            }
        ),
        request!(
            "ProgrammeService/RepayFund",
            RepayFund,
            RepayFundRequest {
                programme: p.into(),
                amount_fen: 1
            }
        ),
        request!(
            "ProgrammeService/CreateAgreement",
            CreateAgreement,
            CreateAgreementRequest {
                agreement: Some(v1::Agreement {
                    issuer_region: 310_117,
                    provider_region: 330_100,
                    rate_bp: 1,
                    ..Default::default()
                }),
            }
        ),
        request!(
            "ProgrammeService/EndAgreement",
            EndAgreement,
            EndAgreementRequest { id: 1 }
        ),
        request!(
            "VoucherService/IssueVouchers",
            IssueVouchers,
            IssueVouchersRequest {
                programme: p.into(),
                vouchers: vec![v1::NewVoucher {
                    code: v.into(),
                    holder: o.into(),
                    face: 1,
                    from_ms: 0,
                    until_ms: 1
                }],
            }
        ),
        request!(
            "VoucherService/RedeemVoucher",
            RedeemVoucher,
            RedeemVoucherRequest { code: v.into() }
        ),
        request!(
            "VoucherService/SuspendVoucher",
            SuspendVoucher,
            SuspendVoucherRequest {
                code: v.into(),
                reason: "test".into()
            }
        ),
        request!(
            "VoucherService/ResumeVoucher",
            ResumeVoucher,
            ResumeVoucherRequest {
                code: v.into(),
                reason: "test".into()
            }
        ),
        request!(
            "VoucherService/RevokeVoucher",
            RevokeVoucher,
            RevokeVoucherRequest {
                code: v.into(),
                reason: "test".into()
            }
        ),
        request!("PeriodService/EndPeriod", EndPeriod, EndPeriodRequest {}),
        request!(
            "PeriodService/ClosePeriod",
            ClosePeriod,
            ClosePeriodRequest { period: 1 }
        ),
        request!(
            "SettlementService/ReviewSettlement",
            ReviewSettlement,
            ReviewSettlementRequest {
                period: 1,
                provider: o.into(),
            }
        ),
        request!(
            "SettlementService/PaySettlement",
            PaySettlement,
            PaySettlementRequest {
                period: 1,
                provider: o.into(),
            }
        ),
        request!(
            "SettlementService/FileClaim",
            FileClaim,
            FileClaimRequest { programme: p.into() }
        ),
        request!(
            "SettlementService/ReviewClaim",
            ReviewClaim,
            ReviewClaimRequest {
                claim_id: 1,
                approve: true
            }
        ),
        request!("SettlementService/PayClaim", PayClaim, PayClaimRequest { claim_id: 1 }),
        request!(
            "SiteService/CreateSite",
            CreateSite,
            CreateSiteRequest {
                name: s.into(),
                region: 310_117,
                provider: o.into(),
            }
        ),
        request!(
            "SiteService/SetSiteState",
            SetSiteState,
            SetSiteStateRequest {
                site: s.into(),
                state: 1
            }
        ),
        request!(
            "SiteService/SetContract",
            SetContract,
            SetContractRequest {
                site: s.into(),
                contract: Some(v1::Contract::default())
            }
        ),
        request!("WalletService/SetQuota", SetQuota, SetQuotaRequest { org: o.into() }),
        request!(
            "ClusterService/CreatePrincipal",
            CreatePrincipal,
            CreatePrincipalRequest {
                principal: Some(v1::Principal {
                    name: o.into(),
                    roles: vec![1],
                    ..Default::default()
                }),
                token_sha256: vec![1; 32],
            }
        ),
        request!(
            "ClusterService/RevokePrincipal",
            RevokePrincipal,
            RevokePrincipalRequest { name: o.into() }
        ),
        request!(
            "ClusterService/SetLimits",
            SetLimits,
            SetLimitsRequest {
                limits: Some(v1::Limits::default())
            }
        ),
        request!(
            "ClusterService/SetPolicy",
            SetPolicy,
            SetPolicyRequest { patience: Some(2) }
        ),
    ]
}

/// The row that apply judges a command by is that of its RPC.
#[test]
fn apply_judges_every_command_by_the_row_of_its_rpc() {
    let commands = commands();
    for (rpc, body) in &commands {
        let bytes = encode_command(PrincipalId(1), body.clone()).unwrap_or_else(|refused| panic!("{rpc}: {refused:?}"));
        let command = decode_command(&bytes).expect("what was encoded decodes");
        let (_, kind, _) = TABLE.iter().find(|(listed, ..)| listed == rpc).expect("a row");
        assert_eq!(kind_of(&command.body), *kind, "{rpc}");
    }
    // Members are changed through Raft, and only then through the log.
    let beside_the_log = ["AddMember", "PromoteMember", "RemoveMember", "TransferLeadership"];
    let judged: BTreeSet<&str> = commands.iter().map(|(rpc, _)| *rpc).collect();
    for (rpc, kind, _) in TABLE {
        let reads = *kind == Kind::ExportJournal || format!("{kind:?}").starts_with("Read");
        let method = rpc.split('/').nth(1).expect("a method");
        assert_eq!(
            judged.contains(rpc),
            !reads && !beside_the_log.contains(&method),
            "{rpc} changes something and is not judged here, or the reverse"
        );
    }
}

#[test]
fn every_rpc_has_a_row_and_every_role_is_judged_by_it() {
    let listed: BTreeSet<String> = TABLE.iter().map(|(rpc, ..)| (*rpc).to_owned()).collect();
    assert_eq!(listed, rpcs(), "an RPC without a row, or a row without an RPC");
    for (rpc, kind, allowed) in TABLE {
        for role in EVERYBODY {
            let may = roles(*kind).contains(role);
            assert_eq!(may, allowed.contains(role), "{rpc}: {role:?}");
        }
    }
}

/// Whoever decides that money is owed does not hand it out, and whoever reads everything changes nothing.
#[test]
fn duties_are_apart() {
    let changes = [
        Kind::Submit,
        Kind::Cancel,
        Kind::Redeem,
        Kind::Organisations,
        Kind::MoveMoney,
        Kind::Claim,
        Kind::Close,
        Kind::Review,
        Kind::SetPrices,
        Kind::Programmes,
        Kind::CreateSite,
        Kind::SetSiteState,
        Kind::SetContract,
        Kind::Administer,
        Kind::Agent,
        Kind::Lead,
    ];
    for kind in changes {
        assert!(!roles(kind).contains(&Auditor), "an auditor changes nothing: {kind:?}");
    }
    for (one, other) in [
        (Kind::Review, Kind::MoveMoney),
        (Kind::Programmes, Kind::MoveMoney),
        (Kind::Programmes, Kind::Review),
        (Kind::Claim, Kind::Review),
        (Kind::Administer, Kind::MoveMoney),
    ] {
        let both = roles(one).iter().find(|role| roles(other).contains(role));
        assert_eq!(both, None, "{one:?} and {other:?}");
    }
}
