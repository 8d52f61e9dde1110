//! `hesuan settlement`: what providers are paid for closed periods. One reviews, another pays.

use clap::Subcommand;
use hesuan_api::v1::{self, settlement_service_client::SettlementServiceClient};
use serde_json::Value;

use super::{Context, PAGE, all_pages};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::sheet::{Cell, Kind, Sheet};
use crate::units::show_money;

/// Verbs of `hesuan settlement`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Settlements you may see
    List {
        /// Only of this period
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        period: Option<u32>,
        /// Only of this provider
        #[arg(long, default_value = "", hide_default_value = true)]
        provider: String,
        /// For a spreadsheet
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Find a settlement right
    Review {
        /// Number of the period
        period: u32,
        /// The provider
        provider: String,
    },
    /// Pay a reviewed settlement; by another than its reviewer
    Pay {
        /// Number of the period
        period: u32,
        /// The provider
        provider: String,
        /// Number of the payment, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reference: String,
    },
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::List { period, provider, csv } => list(context, period, provider, csv).await,
        Verb::Review { period, provider } => {
            let request = v1::ReviewSettlementRequest {
                request_id: request_id(),
                period,
                provider,
            };
            let settlement = context
                .client
                .call(request, |channel, request| async move {
                    SettlementServiceClient::new(channel).review_settlement(request).await
                })
                .await?;
            changed(context, &settlement)
        }
        Verb::Pay {
            period,
            provider,
            reference,
        } => {
            let request = v1::PaySettlementRequest {
                request_id: request_id(),
                period,
                provider,
                reference,
            };
            let settlement = context
                .client
                .call(request, |channel, request| async move {
                    SettlementServiceClient::new(channel).pay_settlement(request).await
                })
                .await?;
            changed(context, &settlement)
        }
    }
}

async fn list(context: &Context, period: Option<u32>, provider: String, csv: bool) -> Outcome<()> {
    let settlements = all_pages(async |page_token| {
        let request = v1::ListSettlementsRequest {
            page_size: PAGE,
            period,
            provider: provider.clone(),
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                SettlementServiceClient::new(channel).list_settlements(request).await
            })
            .await?;
        Ok((page.settlements, page.next_page_token))
    })
    .await?;
    let sheet = settlements_sheet(&settlements);
    sheet.show(&context.output, csv, &sheet.json(), "", "")
}

fn changed(context: &Context, settlement: &v1::Settlement) -> Outcome<()> {
    context
        .output
        .show(&settlement_json(settlement), || settlement_text(settlement))
}

pub(super) fn settlement_json(settlement: &v1::Settlement) -> Value {
    settlements_sheet(std::slice::from_ref(settlement)).json()[0].clone()
}

pub(super) fn settlement_text(one: &v1::Settlement) -> String {
    let mut text = format!(
        "settlement of period {} with {} is {}: net {} yuan",
        one.period,
        one.provider,
        state_name(one.state()),
        show_money(one.net_fen)
    );
    let (cash, set_off) = (show_money(one.cash_fen), show_money(one.set_off_fen));
    text.push_str(&match one.state() {
        v1::SettlementState::Paid => {
            format!(
                "; {cash} paid by {}, {set_off} set off; reviewed by {}",
                one.paid_by, one.reviewed_by
            )
        }
        v1::SettlementState::Reviewed => {
            format!(
                "; {cash} to be paid, {set_off} to be set off; reviewed by {}",
                one.reviewed_by
            )
        }
        _ => format!("; {cash} to be paid, {set_off} to be set off"),
    });
    text
}

fn settlements_sheet(settlements: &[v1::Settlement]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("period", Kind::Number),
        ("provider", Kind::Text),
        ("state", Kind::Text),
        ("net", Kind::Money),
        ("cash", Kind::Money),
        ("set_off", Kind::Money),
        ("carried", Kind::Money),
        ("reviewed_at", Kind::Text),
        ("reviewed_by", Kind::Text),
        ("paid_at", Kind::Text),
        ("paid_by", Kind::Text),
    ]);
    for one in settlements {
        sheet.push(vec![
            Cell::Number(one.period.into()),
            Cell::text(&one.provider),
            Cell::text(state_name(one.state())),
            Cell::Fen(one.net_fen),
            Cell::Fen(one.cash_fen),
            Cell::Fen(one.set_off_fen),
            Cell::Fen(one.carried_fen),
            Cell::Time(one.reviewed_at_ms),
            Cell::text(&one.reviewed_by),
            Cell::Time(one.paid_at_ms),
            Cell::text(&one.paid_by),
        ]);
    }
    sheet
}

fn state_name(state: v1::SettlementState) -> &'static str {
    match state {
        v1::SettlementState::Unspecified => "-",
        v1::SettlementState::Closed => "CLOSED",
        v1::SettlementState::Reviewed => "REVIEWED",
        v1::SettlementState::Paid => "PAID",
    }
}
