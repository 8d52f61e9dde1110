//! `hesuan claim`: what a holder advanced under a holder-redeemed programme and asks back.

use clap::{ArgGroup, Args, Subcommand};
use hesuan_api::v1::{self, settlement_service_client::SettlementServiceClient};
use serde_json::json;

use super::{Context, PAGE, all_pages};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::sheet::{Cell, Kind, Sheet};
use crate::units::{self, show_money};

/// Verbs of `hesuan claim`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Ask back what was advanced under a programme
    File {
        /// The programme
        programme: String,
        /// In yuan; all that may be claimed unless given
        #[arg(long, value_name = "YUAN", value_parser = units::parse_positive_money, allow_negative_numbers = true)]
        amount: Option<i64>,
    },
    /// Claims you may see; with --org also what may still be claimed
    List {
        /// Only of this organisation
        #[arg(long, default_value = "", hide_default_value = true)]
        org: String,
        /// Only of this programme
        #[arg(long, default_value = "", hide_default_value = true)]
        programme: String,
        /// For a spreadsheet
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Find a claim right, or refuse it
    Review(ReviewArgs),
    /// Pay a reviewed claim; by another than its reviewer
    Pay {
        /// Number of the claim
        claim: u64,
        /// Number of the payment, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reference: String,
    },
}

/// Options of `claim review`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("verdict").required(true))]
pub struct ReviewArgs {
    /// Number of the claim
    claim: u64,
    /// It is right
    #[arg(long, group = "verdict")]
    approve: bool,
    /// It is refused; its amount may be claimed again
    #[arg(long, group = "verdict", requires = "reason")]
    reject: bool,
    /// For the record
    #[arg(long)]
    reason: Option<String>,
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::File { programme, amount } => {
            let request = v1::FileClaimRequest {
                request_id: request_id(),
                org: String::new(),
                programme,
                amount_fen: amount,
            };
            let claim = context
                .client
                .call(request, |channel, request| async move {
                    SettlementServiceClient::new(channel).file_claim(request).await
                })
                .await?;
            changed(context, &claim)
        }
        Verb::List { org, programme, csv } => list(context, org, programme, csv).await,
        Verb::Review(args) => {
            let request = v1::ReviewClaimRequest {
                request_id: request_id(),
                claim_id: args.claim,
                approve: args.approve,
                reason: args.reason.unwrap_or_default(),
            };
            let claim = context
                .client
                .call(request, |channel, request| async move {
                    SettlementServiceClient::new(channel).review_claim(request).await
                })
                .await?;
            changed(context, &claim)
        }
        Verb::Pay { claim, reference } => {
            let request = v1::PayClaimRequest {
                request_id: request_id(),
                claim_id: claim,
                reference,
            };
            let claim = context
                .client
                .call(request, |channel, request| async move {
                    SettlementServiceClient::new(channel).pay_claim(request).await
                })
                .await?;
            changed(context, &claim)
        }
    }
}

async fn list(context: &Context, org: String, programme: String, csv: bool) -> Outcome<()> {
    let pages = all_pages(async |page_token| {
        let request = v1::ListClaimsRequest {
            page_size: PAGE,
            page_token,
            org: org.clone(),
            programme: programme.clone(),
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                SettlementServiceClient::new(channel).list_claims(request).await
            })
            .await?;
        Ok((vec![(page.claims, page.claimable)], page.next_page_token))
    });
    let (claims, claimable): (Vec<_>, Vec<_>) = pages.await?.into_iter().unzip();
    let (claims, claimable) = (claims.concat(), claimable.concat());
    let sheet = claims_sheet(&claims);
    let open = claimable_sheet(&claimable);
    let value = json!({ "claims": sheet.json(), "claimable": open.json() });
    let foot = if claimable.is_empty() {
        String::new()
    } else {
        format!("\n{}", open.table())
    };
    sheet.show(&context.output, csv, &value, "", &foot)
}

fn changed(context: &Context, claim: &v1::Claim) -> Outcome<()> {
    let value = claims_sheet(std::slice::from_ref(claim)).json()[0].clone();
    context.output.show(&value, || {
        let mut text = format!(
            "claim {} of {} under {} for {} yuan is {}",
            claim.id,
            claim.org,
            claim.programme,
            show_money(claim.amount_fen - claim.cut_fen),
            state_name(claim.state())
        );
        if claim.state() == v1::ClaimState::Paid {
            text.push_str(&format!(
                ": {} yuan in cash, {} set off",
                show_money(claim.cash_fen),
                show_money(claim.set_off_fen)
            ));
        }
        text
    })
}

fn claims_sheet(claims: &[v1::Claim]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("claim", Kind::Number),
        ("org", Kind::Text),
        ("programme", Kind::Text),
        ("state", Kind::Text),
        ("amount", Kind::Money),
        ("refunded", Kind::Money),
        ("cash", Kind::Money),
        ("set_off", Kind::Money),
        ("filed_at", Kind::Text),
        ("filed_by", Kind::Text),
        ("reviewed_at", Kind::Text),
        ("reviewed_by", Kind::Text),
        ("reason", Kind::Text),
        ("paid_at", Kind::Text),
        ("paid_by", Kind::Text),
    ]);
    for one in claims {
        sheet.push(vec![
            Cell::Number(one.id),
            Cell::text(&one.org),
            Cell::text(&one.programme),
            Cell::text(state_name(one.state())),
            Cell::Fen(one.amount_fen),
            Cell::Fen(one.cut_fen),
            Cell::Fen(one.cash_fen),
            Cell::Fen(one.set_off_fen),
            Cell::Time(one.filed_at_ms),
            Cell::text(&one.filed_by),
            Cell::Time(one.reviewed_at_ms),
            Cell::text(&one.reviewed_by),
            Cell::text(&one.reason),
            Cell::Time(one.paid_at_ms),
            Cell::text(&one.paid_by),
        ]);
    }
    sheet
}

fn claimable_sheet(claimable: &[v1::Claimable]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("org", Kind::Text),
        ("programme", Kind::Text),
        ("to_claim", Kind::Money),
        ("filed", Kind::Money),
        ("paid", Kind::Money),
        ("owed", Kind::Money),
    ]);
    for one in claimable {
        sheet.push(vec![
            Cell::text(&one.org),
            Cell::text(&one.programme),
            Cell::Fen(one.claimable_fen),
            Cell::Fen(one.filed_fen),
            Cell::Fen(one.paid_fen),
            Cell::Fen(one.owed_fen),
        ]);
    }
    sheet
}

fn state_name(state: v1::ClaimState) -> &'static str {
    match state {
        v1::ClaimState::Unspecified => "-",
        v1::ClaimState::Filed => "FILED",
        v1::ClaimState::Approved => "APPROVED",
        v1::ClaimState::Refused => "REFUSED",
        v1::ClaimState::Paid => "PAID",
        v1::ClaimState::Void => "VOID",
    }
}
