//! `hesuan agreement`: which region's vouchers are recognised where. Directed: nothing is implied the other way round.

use clap::{Args, Subcommand};
use hesuan_api::v1::{self, programme_service_client::ProgrammeServiceClient};
use serde_json::{Value, json};

use super::{Context, PAGE, all_pages, none_if_zero, parse_region};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::output::table;
use crate::units::{self, first_day, last_day, local, now_ms, rfc3339, show_money, show_rate};

/// Verbs of `hesuan agreement`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Recognise a region's vouchers in another region, or at named sites
    Create(CreateArgs),
    /// End an agreement; what runs under it keeps its cover
    End {
        /// Number of the agreement
        agreement: u32,
        /// At this time; now unless given
        #[arg(long, value_name = "TIME", value_parser = units::parse_from)]
        at: Option<u64>,
    },
    /// All agreements
    List,
}

/// Options of `agreement create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Whose vouchers
    #[arg(long, value_name = "CODE", value_parser = parse_region)]
    issuer: u32,
    /// Where they may be spent: a region
    #[arg(long, value_name = "CODE", value_parser = parse_region, required_unless_present = "sites", conflicts_with = "sites")]
    provider: Option<u32>,
    /// Where they may be spent: named sites
    #[arg(long = "site", value_name = "SITE", value_delimiter = ',')]
    sites: Vec<String>,
    /// What they may be spent on; everything unless given
    #[arg(long = "sku", value_name = "SKU", value_delimiter = ',')]
    skus: Vec<String>,
    /// The programme's rate counts up to this, such as 20%
    #[arg(long, value_parser = units::parse_rate)]
    rate: u32,
    /// Per job, in yuan; no cap unless given
    #[arg(long, value_name = "YUAN", value_parser = units::parse_positive_money, allow_negative_numbers = true)]
    cap_per_job: Option<i64>,
    /// First day, in Shanghai, or a time
    #[arg(long, value_name = "DAY", value_parser = units::parse_from)]
    from: u64,
    /// Last day, in Shanghai, or the time it ends
    #[arg(long, value_name = "DAY", value_parser = units::parse_until)]
    until: u64,
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::Create(args) => {
            let agreement = v1::Agreement {
                issuer_region: args.issuer,
                provider_region: args.provider.unwrap_or(0),
                sites: args.sites,
                skus: args.skus,
                rate_bp: args.rate,
                cap_per_job_fen: args.cap_per_job,
                from_ms: args.from,
                until_ms: args.until,
                ..Default::default()
            };
            let request = v1::CreateAgreementRequest {
                request_id: request_id(),
                agreement: Some(agreement),
            };
            let agreement = context
                .client
                .call(request, |channel, request| async move {
                    ProgrammeServiceClient::new(channel).create_agreement(request).await
                })
                .await?;
            context.output.show(&agreement_json(&agreement), || {
                format!("agreement {} created", agreement.id)
            })
        }
        Verb::End { agreement, at } => {
            let request = v1::EndAgreementRequest {
                request_id: request_id(),
                id: agreement,
                at_ms: at.unwrap_or(0),
            };
            let agreement = context
                .client
                .call(request, |channel, request| async move {
                    ProgrammeServiceClient::new(channel).end_agreement(request).await
                })
                .await?;
            context.output.show(&agreement_json(&agreement), || {
                format!("agreement {} ends at {}", agreement.id, local(agreement.until_ms))
            })
        }
        Verb::List => list(context).await,
    }
}

async fn list(context: &Context) -> Outcome<()> {
    let agreements = all_pages(async |page_token| {
        let request = v1::ListAgreementsRequest {
            page_size: PAGE,
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                ProgrammeServiceClient::new(channel).list_agreements(request).await
            })
            .await?;
        Ok((page.agreements, page.next_page_token))
    })
    .await?;
    let value: Vec<Value> = agreements.iter().map(agreement_json).collect();
    let row = |one: &v1::Agreement| {
        let place = if one.sites.is_empty() {
            one.provider_region.to_string()
        } else {
            one.sites.join(",")
        };
        let all_if_empty = |list: &[String]| {
            if list.is_empty() {
                "all".to_owned()
            } else {
                list.join(",")
            }
        };
        vec![
            one.id.to_string(),
            one.issuer_region.to_string(),
            place,
            all_if_empty(&one.skus),
            show_rate(one.rate_bp),
            one.cap_per_job_fen.map_or_else(|| "-".to_owned(), show_money),
            first_day(one.from_ms),
            last_day(one.until_ms),
            one.version.to_string(),
            if one.until_ms != 0 && one.until_ms <= now_ms() {
                "ended"
            } else {
                ""
            }
            .to_owned(),
        ]
    };
    let header = [
        "NO",
        "ISSUER",
        "WHERE",
        "FOR",
        ">RATE",
        ">CAP PER JOB",
        "FROM",
        "UNTIL",
        ">VERSION",
        "ENDED",
    ];
    context
        .output
        .show(&json!(value), || table(&header, agreements.iter().map(row)))
}

fn agreement_json(one: &v1::Agreement) -> Value {
    json!({
        "agreement_id": one.id,
        "issuer_region": one.issuer_region,
        "provider_region": none_if_zero(one.provider_region.into()),
        "sites": one.sites,
        "skus": one.skus,
        "rate_bp": one.rate_bp,
        "cap_per_job_fen": one.cap_per_job_fen,
        "from": rfc3339(one.from_ms),
        "until": rfc3339(one.until_ms),
        "version": one.version,
    })
}
