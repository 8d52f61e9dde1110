//! `hesuan period`: accounting periods and what they come to, region by region, provider by provider, funder by funder.

mod statement;

use clap::{Args, Subcommand};
use hesuan_api::v1::{
    self, period_service_client::PeriodServiceClient, settlement_service_client::SettlementServiceClient,
};
use serde_json::{Value, json};

use super::settlement::{settlement_json, settlement_text};
use super::{Context, PAGE, all_pages, none_if_empty, none_if_zero};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::sheet::{Cell, Kind, Sheet};
use crate::units::{local, rfc3339, show_money};

/// Verbs of `hesuan period`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// All periods
    List {
        /// For a spreadsheet
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// End the current period now instead of with its month
    End,
    /// Close a period that has ended, for good
    Close {
        /// Its number
        period: u32,
    },
    /// What the programmes of each region owe elsewhere, gross and netted
    Clearing(WhichArgs),
    /// What a provider earned
    Sheet {
        /// The provider
        provider: String,
        /// Which period, and in which form
        #[command(flatten)]
        which: WhichArgs,
    },
    /// What each funder pays
    Payable(WhichArgs),
    /// What one organisation used and who paid for it, line by line
    Statement {
        /// The organisation
        org: String,
        /// Which period, and in which form
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Changes to closed periods, booked in this one
    Corrections(WhichArgs),
}

/// Which period, and in which form.
#[derive(Args, Clone, Copy, Debug)]
pub struct WhichArgs {
    /// Number of the period; the current one unless given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    period: Option<u32>,
    /// For a spreadsheet
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl WhichArgs {
    /// As the requests say it: 0 is the current one.
    fn number(self) -> u32 {
        self.period.unwrap_or(0)
    }
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::List { csv } => list(context, csv).await,
        Verb::End => {
            let request = v1::EndPeriodRequest {
                request_id: request_id(),
            };
            let period = context
                .client
                .call(request, |channel, request| async move {
                    PeriodServiceClient::new(channel).end_period(request).await
                })
                .await?;
            context.output.show(&period_json(&period), || period_line(&period))
        }
        Verb::Close { period } => {
            let request = v1::ClosePeriodRequest {
                request_id: request_id(),
                period,
            };
            let period = context
                .client
                .call(request, |channel, request| async move {
                    PeriodServiceClient::new(channel).close_period(request).await
                })
                .await?;
            context.output.show(&period_json(&period), || period_line(&period))
        }
        Verb::Clearing(which) => clearing(context, which).await,
        Verb::Sheet { provider, which } => sheet(context, provider, which).await,
        Verb::Payable(which) => payable(context, which).await,
        Verb::Statement { org, which } => statement::show(context, org, which.number(), which.csv).await,
        Verb::Corrections(which) => corrections(context, which).await,
    }
}

fn state_name(state: v1::PeriodState) -> &'static str {
    match state {
        v1::PeriodState::Unspecified => "-",
        v1::PeriodState::Open => "OPEN",
        v1::PeriodState::Ended => "ENDED",
        v1::PeriodState::Closed => "CLOSED",
    }
}

fn period_json(period: &v1::Period) -> Value {
    json!({
        "period": period.number,
        "from": rfc3339(period.from_ms),
        "until": rfc3339(period.until_ms),
        "state": state_name(period.state()),
        "first_entry": period.first_entry,
        "last_entry": none_if_zero(period.last_entry),
        "closed_at": rfc3339(period.closed_at_ms),
        "closed_by": none_if_empty(&period.closed_by),
        "closed_sha256": none_if_empty(&hex::encode(&period.closed_sha256)),
    })
}

fn period_line(period: &v1::Period) -> String {
    let mut text = format!(
        "period {} from {} to {} is {}",
        period.number,
        local(period.from_ms),
        local(period.until_ms),
        state_name(period.state())
    );
    if period.state() == v1::PeriodState::Closed {
        text.push_str(&format!(", closed by {}", period.closed_by));
    }
    text
}

async fn list(context: &Context, csv: bool) -> Outcome<()> {
    let mut sheet = Sheet::new(&[
        ("period", Kind::Number),
        ("from", Kind::Text),
        ("until", Kind::Text),
        ("state", Kind::Text),
        ("first_entry", Kind::Number),
        ("last_entry", Kind::Number),
        ("closed_at", Kind::Text),
        ("closed_by", Kind::Text),
    ]);
    let periods = all_pages(async |page_token| {
        let request = v1::ListPeriodsRequest {
            page_size: PAGE,
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                PeriodServiceClient::new(channel).list_periods(request).await
            })
            .await?;
        Ok((page.periods, page.next_page_token))
    })
    .await?;
    for one in &periods {
        sheet.push(vec![
            Cell::Number(one.number.into()),
            Cell::Time(one.from_ms),
            Cell::Time(one.until_ms),
            Cell::text(state_name(one.state())),
            Cell::Number(one.first_entry),
            Cell::number_or_blank(one.last_entry),
            Cell::Time(one.closed_at_ms),
            Cell::text(&one.closed_by),
        ]);
    }
    let value: Vec<Value> = periods.iter().map(period_json).collect();
    sheet.show(&context.output, csv, &json!(value), "", "")
}

async fn clearing(context: &Context, which: WhichArgs) -> Outcome<()> {
    let request = v1::GetClearingRequest { period: which.number() };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            PeriodServiceClient::new(channel).get_clearing(request).await
        })
        .await?;
    let period = answer.period.clone().unwrap_or_default();
    let mut cells = Sheet::new(&[
        ("issuer_region", Kind::Number),
        ("payee_region", Kind::Number),
        ("captured", Kind::Money),
        ("refunded", Kind::Money),
        ("net", Kind::Money),
    ]);
    for one in &answer.cells {
        cells.push(vec![
            Cell::Number(one.issuer_region.into()),
            Cell::Number(one.payee_region.into()),
            Cell::Fen(one.captured_fen),
            Cell::Fen(one.refunded_fen),
            Cell::Fen(one.net_fen),
        ]);
    }
    let mut positions = Sheet::new(&[
        ("region", Kind::Number),
        ("pays", Kind::Money),
        ("receives", Kind::Money),
        ("net", Kind::Money),
    ]);
    for one in &answer.positions {
        positions.push(vec![
            Cell::Number(one.region.into()),
            Cell::Fen(one.pays_fen),
            Cell::Fen(one.receives_fen),
            Cell::Fen(one.net_fen),
        ]);
    }
    let (netted, payments) = (payments_sheet(&answer.netted), payments_sheet(&answer.payments));
    let value = json!({
        "period": period_json(&period),
        "cells": cells.json(),
        "positions": positions.json(),
        "netted": netted.json(),
        "payments": payments.json(),
    });
    if which.csv {
        return clearing_csv(&answer).show(&context.output, true, &value, "", "");
    }
    let net: i64 = answer.positions.iter().map(|one| one.net_fen).sum();
    let foot = format!(
        "\nnet positions, in yuan; together {}\n{}\n\nnetted between two regions each\n{}\n\nnetted among all: what settles them\n{}",
        show_money(net),
        positions.table(),
        netted.table(),
        payments.table()
    );
    let head = format!("{}\nwhat each region's programmes owe, in yuan", period_line(&period));
    cells.show(&context.output, false, &value, &head, &foot)
}

/// All of it as one sheet, for which a row says what it is.
fn clearing_csv(answer: &v1::Clearing) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("row", Kind::Text),
        ("from_region", Kind::Number),
        ("to_region", Kind::Number),
        ("captured", Kind::Money),
        ("refunded", Kind::Money),
        ("amount", Kind::Money),
    ]);
    for one in &answer.cells {
        sheet.push(vec![
            Cell::text("owed"),
            Cell::Number(one.issuer_region.into()),
            Cell::Number(one.payee_region.into()),
            Cell::Fen(one.captured_fen),
            Cell::Fen(one.refunded_fen),
            Cell::Fen(one.net_fen),
        ]);
    }
    // What a region receives in all less what it pays.
    for one in &answer.positions {
        let region = Cell::Number(one.region.into());
        sheet.push(vec![
            Cell::text("position"),
            Cell::Blank,
            region,
            Cell::Blank,
            Cell::Blank,
            Cell::Fen(one.net_fen),
        ]);
    }
    for (row, payments) in [
        ("netted in pairs", &answer.netted),
        ("netted among all", &answer.payments),
    ] {
        for one in payments {
            sheet.push(vec![
                Cell::text(row),
                Cell::Number(one.from_region.into()),
                Cell::Number(one.to_region.into()),
                Cell::Blank,
                Cell::Blank,
                Cell::Fen(one.amount_fen),
            ]);
        }
    }
    sheet
}

fn payments_sheet(payments: &[v1::ClearingPayment]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("from_region", Kind::Number),
        ("to_region", Kind::Number),
        ("amount", Kind::Money),
    ]);
    for one in payments {
        sheet.push(vec![
            Cell::Number(one.from_region.into()),
            Cell::Number(one.to_region.into()),
            Cell::Fen(one.amount_fen),
        ]);
    }
    sheet
}

/// Lines of a provider's sheet, or corrections.
fn lines_sheet(lines: &[v1::SettlementLine]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("of_period", Kind::Number),
        ("programme", Kind::Text),
        ("agreement", Kind::Number),
        ("site", Kind::Text),
        ("payee_region", Kind::Number),
        ("captured", Kind::Money),
        ("refunded", Kind::Money),
        ("net", Kind::Money),
        ("captures", Kind::Number),
        ("refunds", Kind::Number),
        ("funders", Kind::Text),
    ]);
    for one in lines {
        let own = one.programme.is_empty();
        let funders = one
            .funders
            .iter()
            .map(|part| format!("{} {}", part.funder, show_money(part.net_fen)));
        sheet.push(vec![
            Cell::Number(one.of_period.into()),
            Cell::text(if own { "own money" } else { &one.programme }),
            Cell::number_or_blank(one.agreement_id),
            Cell::text(&one.site),
            Cell::Number(one.payee_region.into()),
            Cell::Fen(one.captured_fen),
            Cell::Fen(one.refunded_fen),
            Cell::Fen(one.net_fen),
            Cell::Number(one.captures),
            Cell::Number(one.refunds),
            Cell::text(funders.collect::<Vec<_>>().join("; ")),
        ]);
    }
    sheet
}

fn lines_json(lines: &[v1::SettlementLine]) -> Value {
    let funder = |part: &v1::FunderAmount| json!({ "funder": part.funder, "net_fen": part.net_fen });
    let line = |one: &v1::SettlementLine| {
        json!({
            "of_period": one.of_period,
            "programme": none_if_empty(&one.programme),
            "agreement_id": none_if_zero(one.agreement_id.into()),
            "site": one.site,
            "payee_region": one.payee_region,
            "captured_fen": one.captured_fen,
            "refunded_fen": one.refunded_fen,
            "net_fen": one.net_fen,
            "captures": one.captures,
            "refunds": one.refunds,
            "funders": one.funders.iter().map(funder).collect::<Vec<_>>(),
        })
    };
    lines.iter().map(line).collect()
}

async fn sheet(context: &Context, provider: String, which: WhichArgs) -> Outcome<()> {
    let request = v1::GetSettlementSheetRequest {
        period: which.number(),
        provider,
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            SettlementServiceClient::new(channel)
                .get_settlement_sheet(request)
                .await
        })
        .await?;
    let period = answer.period.clone().unwrap_or_default();
    let value = json!({
        "period": period_json(&period),
        "provider": answer.provider,
        "lines": lines_json(&answer.lines),
        "own_fen": answer.own_fen,
        "subsidies_fen": answer.subsidies_fen,
        "net_fen": answer.net_fen,
        "settlement": answer.settlement.as_ref().map(settlement_json),
    });
    let head = format!("{}\nwhat {} earned, in yuan", period_line(&period), answer.provider);
    let mut foot = format!(
        "own money {}, subsidies {}, net {}",
        show_money(answer.own_fen),
        show_money(answer.subsidies_fen),
        show_money(answer.net_fen)
    );
    if let Some(settlement) = &answer.settlement {
        foot.push_str(&format!("\n{}", settlement_text(settlement)));
    }
    lines_sheet(&answer.lines).show(&context.output, which.csv, &value, &head, &foot)
}

async fn corrections(context: &Context, which: WhichArgs) -> Outcome<()> {
    let request = v1::ListCorrectionsRequest { period: which.number() };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            PeriodServiceClient::new(channel).list_corrections(request).await
        })
        .await?;
    let period = answer.period.clone().unwrap_or_default();
    let value = json!({ "period": period_json(&period), "lines": lines_json(&answer.lines) });
    let head = format!("{}\ncorrections of closed periods, in yuan", period_line(&period));
    lines_sheet(&answer.lines).show(&context.output, which.csv, &value, &head, "")
}

async fn payable(context: &Context, which: WhichArgs) -> Outcome<()> {
    let request = v1::GetPayableRequest { period: which.number() };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            PeriodServiceClient::new(channel).get_payable(request).await
        })
        .await?;
    let period = answer.period.clone().unwrap_or_default();
    let mut sheet = Sheet::new(&[
        ("programme", Kind::Text),
        ("region", Kind::Number),
        ("funder", Kind::Text),
        ("ordinary", Kind::Money),
        ("corrections", Kind::Money),
        ("to_providers", Kind::Money),
        ("to_holders", Kind::Money),
        ("net", Kind::Money),
        ("due", Kind::Money),
    ]);
    for one in &answer.rows {
        sheet.push(vec![
            Cell::text(&one.programme),
            Cell::Number(one.region.into()),
            Cell::text(&one.funder),
            Cell::Fen(one.ordinary_fen),
            Cell::Fen(one.corrections_fen),
            Cell::Fen(one.to_providers_fen),
            Cell::Fen(one.to_holders_fen),
            Cell::Fen(one.net_fen),
            Cell::Fen(one.due_fen),
        ]);
    }
    let value = json!({ "period": period_json(&period), "rows": sheet.json() });
    let head = format!(
        "{}\nwhat funders pay for it, in yuan; due is of all periods",
        period_line(&period)
    );
    sheet.show(&context.output, which.csv, &value, &head, "")
}
