//! `hesuan wallet`: organisations and their money, price sheets, refunds, the trial balance.

use clap::{Args, Subcommand, ValueEnum};
use hesuan_api::v1::{self, wallet_service_client::WalletServiceClient};
use serde_json::{Value, json};

use super::job::price_json;
use super::lending::{QuotaArgs, held_json, held_text, quota_json, quota_text, set_quota};
use super::{Context, PAGE, all_pages, each_once, none_if_empty, parse_pair, parse_region};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::output::{record, table};
use crate::units::{self, first_day, rfc3339, show_money, show_plain_amount, show_unit_price};

/// Verbs of `hesuan wallet`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Register an organisation with an empty wallet
    CreateOrg(CreateOrgArgs),
    /// All organisations and their wallets
    List,
    /// One organisation and its wallet
    Show {
        /// The organisation
        org: String,
    },
    /// Put money into a wallet
    TopUp(MoveArgs),
    /// Take money out of a wallet
    Withdraw(MoveArgs),
    /// Money an organisation paid back of what it owes
    Collect(MoveArgs),
    /// Another registered region or actual controller
    UpdateOrg(UpdateOrgArgs),
    /// What an organisation may hold over the whole region at once; replaces the quota before
    Quota(QuotaArgs),
    /// What sites charge
    #[command(subcommand)]
    Prices(PricesVerb),
    /// Give back what an attempt cost
    Refund(RefundArgs),
    /// The trial balance of the whole ledger
    Balance,
}

/// Verbs of `hesuan wallet prices`.
#[derive(Debug, Subcommand)]
pub enum PricesVerb {
    /// A new price sheet; what it does not name keeps its price
    Set(SetPricesArgs),
    /// All price sheets of a site
    List {
        /// The site
        site: String,
    },
}

/// What an organisation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A firm.
    Enterprise,
    /// A start-up team.
    Team,
    /// A laboratory.
    Lab,
    /// One that runs sites.
    Provider,
}

impl Kind {
    pub(crate) fn message(self) -> v1::OrgKind {
        match self {
            Kind::Enterprise => v1::OrgKind::Enterprise,
            Kind::Team => v1::OrgKind::Team,
            Kind::Lab => v1::OrgKind::Lab,
            Kind::Provider => v1::OrgKind::Provider,
        }
    }
}

pub(crate) fn kind_name(kind: v1::OrgKind) -> &'static str {
    match kind {
        v1::OrgKind::Unspecified => "-",
        v1::OrgKind::Enterprise => "enterprise",
        v1::OrgKind::Team => "team",
        v1::OrgKind::Lab => "lab",
        v1::OrgKind::Provider => "provider",
    }
}

/// Options of `wallet create-org`.
#[derive(Args, Debug)]
pub struct CreateOrgArgs {
    /// Unique
    name: String,
    /// What it is
    #[arg(long)]
    kind: Kind,
    /// Where it is registered
    #[arg(long, value_name = "CODE", value_parser = parse_region)]
    region: u32,
    /// Organisations under one actual controller share caps; its own name unless given
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    control_group: String,
    /// 统一社会信用代码, 18 characters
    #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
    credit_code: String,
}

/// Options of `wallet update-org`.
#[derive(Args, Debug)]
pub struct UpdateOrgArgs {
    /// The organisation
    org: String,
    /// Where it is registered now
    #[arg(long, value_name = "CODE", value_parser = parse_region, required_unless_present = "control_group")]
    region: Option<u32>,
    /// Who controls it now; organisations of one group share caps
    #[arg(long, value_name = "NAME")]
    control_group: Option<String>,
}

/// Options of `wallet top-up`, `wallet withdraw` and `wallet collect`.
#[derive(Args, Debug)]
pub struct MoveArgs {
    /// The organisation
    org: String,
    /// In yuan, such as 1000 or 12.34
    #[arg(value_name = "YUAN", value_parser = units::parse_positive_money, allow_negative_numbers = true)]
    amount: i64,
    /// Number of the payment, for the record; free text, the same may be given again
    #[arg(long, default_value = "", hide_default_value = true)]
    reference: String,
}

/// Options of `wallet prices set`.
#[derive(Args, Debug)]
pub struct SetPricesArgs {
    /// The site
    site: String,
    /// Yuan per unit-hour: cpu=0.12 (core), mem=0.02 (GiB), gpu/a800=12.5 (card); 0 is free of charge
    #[arg(required = true, value_name = "SKU=YUAN", value_parser = parse_price)]
    prices: Vec<(String, u64)>,
    /// First day it holds, in Shanghai, or a time; from now on unless given
    #[arg(long, value_name = "DAY", value_parser = units::parse_from)]
    from: Option<u64>,
}

fn parse_price(text: &str) -> Result<(String, u64), String> {
    let (sku, price) = parse_pair(text)?;
    units::parse_unit_price(&price).map(|price| (sku, price))
}

/// Options of `wallet refund`.
#[derive(Args, Debug)]
pub struct RefundArgs {
    /// The job
    job: u64,
    /// Element of the array
    #[arg(long, default_value_t = 0)]
    task: u32,
    /// Number of the attempt
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
    /// In yuan; all of it unless given
    #[arg(long, value_name = "YUAN", value_parser = units::parse_positive_money, allow_negative_numbers = true)]
    amount: Option<i64>,
    /// Why, for the record
    #[arg(long)]
    reason: String,
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::CreateOrg(args) => {
            let request = v1::CreateOrgRequest {
                request_id: request_id(),
                name: args.name,
                kind: args.kind.message().into(),
                region: args.region,
                control_group: args.control_group,
                credit_code: args.credit_code,
            };
            let org = context
                .client
                .call(request, |channel, request| async move {
                    WalletServiceClient::new(channel).create_org(request).await
                })
                .await?;
            context
                .output
                .show(&org_json(&org), || format!("organisation {} created", org.name))
        }
        Verb::Quota(args) => {
            let org = set_quota(context, args).await?;
            context.output.show(&org_json(&org), || match &*quota_text(&org) {
                "" => format!("{} may hold anything", org.name),
                most => format!("{} may hold {most}", org.name),
            })
        }
        Verb::List => list(context).await,
        Verb::Show { org } => {
            let request = v1::GetOrgRequest { name: org };
            let org = context
                .client
                .call(request, |channel, request| async move {
                    WalletServiceClient::new(channel).get_org(request).await
                })
                .await?;
            context.output.show(&org_json(&org), || org_text(&org))
        }
        Verb::TopUp(MoveArgs { org, amount, reference }) => {
            let request = v1::TopUpRequest {
                request_id: request_id(),
                org,
                amount_fen: amount,
                reference,
            };
            let org = context
                .client
                .call(request, |channel, request| async move {
                    WalletServiceClient::new(channel).top_up(request).await
                })
                .await?;
            moved(context, &org)
        }
        Verb::Withdraw(MoveArgs { org, amount, reference }) => {
            let request = v1::WithdrawRequest {
                request_id: request_id(),
                org,
                amount_fen: amount,
                reference,
            };
            let org = context
                .client
                .call(request, |channel, request| async move {
                    WalletServiceClient::new(channel).withdraw(request).await
                })
                .await?;
            moved(context, &org)
        }
        Verb::Collect(MoveArgs { org, amount, reference }) => {
            let request = v1::CollectRequest {
                request_id: request_id(),
                org,
                amount_fen: amount,
                reference,
            };
            let org = context
                .client
                .call(request, |channel, request| async move {
                    WalletServiceClient::new(channel).collect(request).await
                })
                .await?;
            context.output.show(&org_json(&org), || {
                format!("{} still owes {} yuan", org.name, show_money(org.owes_fen))
            })
        }
        Verb::UpdateOrg(args) => {
            let request = v1::UpdateOrgRequest {
                request_id: request_id(),
                org: args.org,
                region: args.region,
                control_group: args.control_group.unwrap_or_default(),
            };
            let org = context
                .client
                .call(request, |channel, request| async move {
                    WalletServiceClient::new(channel).update_org(request).await
                })
                .await?;
            context.output.show(&org_json(&org), || org_text(&org))
        }
        Verb::Prices(PricesVerb::Set(args)) => set_prices(context, args).await,
        Verb::Prices(PricesVerb::List { site }) => list_prices(context, site).await,
        Verb::Refund(args) => refund(context, args).await,
        Verb::Balance => balance(context).await,
    }
}

fn moved(context: &Context, org: &v1::Org) -> Outcome<()> {
    context.output.show(&org_json(org), || {
        format!(
            "{} has {} yuan available",
            org.name,
            show_money(org.wallet_available_fen)
        )
    })
}

fn org_json(org: &v1::Org) -> Value {
    json!({
        "name": org.name,
        "kind": kind_name(org.kind()),
        "region": org.region,
        "control_group": none_if_empty(&org.control_group),
        "credit_code": none_if_empty(&org.credit_code),
        "wallet_available_fen": org.wallet_available_fen,
        "wallet_held_fen": org.wallet_held_fen,
        "wallet_spent_fen": org.wallet_spent_fen,
        "receivable_fen": org.receivable_fen,
        "claim_fen": org.claim_fen,
        "owes_fen": org.owes_fen,
        "quota": quota_json(org),
        "held": org.held.as_ref().map(held_json),
    })
}

fn org_text(org: &v1::Org) -> String {
    let unless_zero = |fen: i64| if fen == 0 { String::new() } else { show_money(fen) };
    record(&[
        ("organisation", org.name.clone()),
        ("kind", kind_name(org.kind()).to_owned()),
        ("region", org.region.to_string()),
        ("control group", org.control_group.clone()),
        ("credit code", org.credit_code.clone()),
        ("available", format!("{} yuan", show_money(org.wallet_available_fen))),
        ("held", show_money(org.wallet_held_fen)),
        ("spent", show_money(org.wallet_spent_fen)),
        ("receivable", unless_zero(org.receivable_fen)),
        ("to claim", unless_zero(org.claim_fen)),
        ("owes", unless_zero(org.owes_fen)),
        ("quota", quota_text(org)),
        ("runs", org.held.as_ref().map(held_text).unwrap_or_default()),
    ])
}

async fn list(context: &Context) -> Outcome<()> {
    let orgs = all_pages(async |page_token| {
        let request = v1::ListOrgsRequest {
            page_size: PAGE,
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                WalletServiceClient::new(channel).list_orgs(request).await
            })
            .await?;
        Ok((page.orgs, page.next_page_token))
    })
    .await?;
    let value: Vec<Value> = orgs.iter().map(org_json).collect();
    let row = |org: &v1::Org| {
        vec![
            org.name.clone(),
            kind_name(org.kind()).to_owned(),
            org.region.to_string(),
            show_money(org.wallet_available_fen),
            show_money(org.wallet_held_fen),
            show_money(org.wallet_spent_fen),
            show_money(org.receivable_fen),
        ]
    };
    let header = ["ORG", "KIND", "REGION", ">AVAILABLE", ">HELD", ">SPENT", ">RECEIVABLE"];
    context
        .output
        .show(&json!(value), || table(&header, orgs.iter().map(row)))
}

async fn set_prices(context: &Context, args: SetPricesArgs) -> Outcome<()> {
    each_once("SKU=YUAN", args.prices.iter().map(|(sku, _)| &**sku))?;
    let price = |(sku, millifen_per_unit_hour)| v1::UnitPrice {
        sku,
        millifen_per_unit_hour,
    };
    let request = v1::SetPricesRequest {
        request_id: request_id(),
        site: args.site.clone(),
        prices: args.prices.into_iter().map(price).collect(),
        effective_from_ms: args.from.unwrap_or(0),
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            WalletServiceClient::new(channel).set_prices(request).await
        })
        .await?;
    let value = json!({ "site": args.site, "version": answer.version });
    context
        .output
        .show(&value, || format!("price sheet {} of {}", answer.version, args.site))
}

async fn list_prices(context: &Context, site: String) -> Outcome<()> {
    let request = v1::ListPricesRequest { site };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            WalletServiceClient::new(channel).list_prices(request).await
        })
        .await?;
    let price = |one: &v1::UnitPrice| json!({ "sku": one.sku, "millifen_per_unit_hour": one.millifen_per_unit_hour });
    let sheet = |sheet: &v1::PriceSheet| {
        json!({
            "site": sheet.site,
            "version": sheet.version,
            "effective_from": rfc3339(sheet.effective_from_ms),
            "prices": sheet.prices.iter().map(price).collect::<Vec<_>>(),
        })
    };
    let value: Vec<Value> = answer.sheets.iter().map(sheet).collect();
    let rows = answer.sheets.iter().flat_map(|sheet| {
        sheet.prices.iter().map(move |price| {
            vec![
                sheet.version.to_string(),
                first_day(sheet.effective_from_ms),
                price.sku.clone(),
                show_unit_price(price.millifen_per_unit_hour),
            ]
        })
    });
    context.output.show(&json!(value), || {
        table(&["SHEET", "FROM", "SKU", ">YUAN PER UNIT-HOUR"], rows)
    })
}

async fn refund(context: &Context, args: RefundArgs) -> Outcome<()> {
    let request = v1::RefundRequest {
        request_id: request_id(),
        job_id: args.job,
        task: args.task,
        attempt: args.attempt,
        amount_fen: args.amount,
        reason: args.reason,
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            WalletServiceClient::new(channel).refund(request).await
        })
        .await?;
    let refunded = answer.refunded.unwrap_or_default();
    context.output.show(&json!({ "refunded": price_json(&refunded) }), || {
        format!(
            "{} yuan of it are given back so far, {} of these to the wallet",
            show_money(refunded.gross_fen),
            show_money(refunded.wallet_fen)
        )
    })
}

async fn balance(context: &Context) -> Outcome<()> {
    let answer = context
        .client
        .call(v1::GetTrialBalanceRequest {}, |channel, request| async move {
            WalletServiceClient::new(channel).get_trial_balance(request).await
        })
        .await?;
    let row = |row: &v1::TrialBalanceRow| json!({ "account": row.account, "debit_fen": row.debit_fen, "credit_fen": row.credit_fen });
    let unit_row = |row: &v1::UnitTrialRow| json!({ "account": row.account, "debit": row.debit, "credit": row.credit });
    let unit =
        |unit: &v1::UnitTrial| json!({ "sku": unit.sku, "rows": unit.rows.iter().map(unit_row).collect::<Vec<_>>() });
    let value = json!({
        "units": answer.units.iter().map(unit).collect::<Vec<_>>(),
        "rows": answer.rows.iter().map(row).collect::<Vec<_>>(),
        "debit_total_fen": answer.debit_total_fen,
        "credit_total_fen": answer.credit_total_fen,
        "balanced": answer.debit_total_fen == answer.credit_total_fen,
        "journal_entries": answer.journal_entries,
        "journal_head_sha256": hex::encode(&answer.journal_head_sha256),
    });
    context.output.show(&value, || {
        let blank = |fen: i64| if fen == 0 { String::new() } else { show_money(fen) };
        let mut rows: Vec<Vec<String>> = answer
            .rows
            .iter()
            .map(|row| vec![row.account.clone(), blank(row.debit_fen), blank(row.credit_fen)])
            .collect();
        rows.push(vec![
            "total".to_owned(),
            show_money(answer.debit_total_fen),
            show_money(answer.credit_total_fen),
        ]);
        let verdict = if answer.debit_total_fen == answer.credit_total_fen {
            "balanced"
        } else {
            "NOT BALANCED"
        };
        let entries = answer.journal_entries;
        let mut text = table(&["ACCOUNT", ">DEBIT", ">CREDIT"], rows);
        for unit in &answer.units {
            let hours = |amount: i64| match amount {
                0 => String::new(),
                amount => show_plain_amount(amount, &unit.sku),
            };
            let rows = unit.rows.iter();
            let rows = rows.map(|row| vec![row.account.clone(), hours(row.debit), hours(row.credit)]);
            text.push_str(&format!(
                "\n\nunit-hours of {}\n{}",
                unit.sku,
                table(&["ACCOUNT", ">DEBIT", ">CREDIT"], rows)
            ));
        }
        format!("{text}\n{verdict}, {entries} journal entries")
    })
}
