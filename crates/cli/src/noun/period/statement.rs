//! `hesuan period statement`: the lines as the server streams them, added up here once more.

use hesuan_api::v1::stream_statement_response::Row;
use hesuan_api::v1::{self, period_service_client::PeriodServiceClient};
use serde_json::{Value, json};
use tonic::Status;

use super::{period_json, period_line};
use crate::failure::{Failure, Outcome};
use crate::noun::Context;
use crate::sheet::{Cell, Kind, Sheet};
use crate::units::{show_milli, show_money, show_unit_price};

/// A whole statement.
#[derive(Debug, Default)]
struct Statement {
    heading: v1::StatementHeading,
    rows: Vec<Row>,
    sum: v1::StatementTotals,
}

pub(super) async fn show(context: &Context, org: String, period: u32, csv: bool) -> Outcome<()> {
    let statement = fetch(context, v1::StreamStatementRequest { org, period }).await?;
    let counted = statement.heading.totals.unwrap_or_default();
    if added_up(&statement.rows) != counted || statement.sum != counted {
        return Err(Failure::Local(format!(
            "the lines do not add up to the ledger's totals: {:?} against {counted:?}",
            statement.sum
        )));
    }
    let period = statement.heading.period.clone().unwrap_or_default();
    let mut sheet = columns();
    statement.rows.iter().for_each(|row| sheet.push(cells(row)));
    let value = json!({
        "period": period_json(&period),
        "org": statement.heading.org,
        "journal_entry": statement.heading.journal_entry,
        "lines": statement.rows.iter().map(row_json).collect::<Vec<_>>(),
        "totals": totals_json(&counted),
    });
    let head = format!(
        "{}\nstatement of {}, in yuan, from the journal up to entry {}",
        period_line(&period),
        statement.heading.org,
        statement.heading.journal_entry
    );
    sheet.show(&context.output, csv, &value, &head, &totals_text(&counted))
}

/// Reads the whole stream; one that breaks is read again from another replica.
async fn fetch(context: &Context, request: v1::StreamStatementRequest) -> Outcome<Statement> {
    // The call that opens the stream is retried like any other; what is left of it is read in one go.
    context
        .client
        .call(request, |channel, request| async move {
            let mut stream = PeriodServiceClient::new(channel)
                .stream_statement(request)
                .await?
                .into_inner();
            let mut statement = Statement::default();
            let mut whole = false;
            while let Some(row) = stream.message().await? {
                match row.row {
                    Some(Row::Heading(heading)) => statement.heading = heading,
                    Some(Row::Sum(sum)) => (statement.sum, whole) = (sum, true),
                    Some(row) => statement.rows.push(row),
                    None => {}
                }
            }
            if whole {
                Ok(tonic::Response::new(statement))
            } else {
                Err(Status::unavailable("the statement broke off before its sum"))
            }
        })
        .await
}

fn added_up(rows: &[Row]) -> v1::StatementTotals {
    let mut sum = v1::StatementTotals::default();
    for row in rows {
        match row {
            Row::Usage(usage) => {
                sum.cells += 1;
                sum.gross_fen += usage.gross_fen;
                sum.copay_fen += usage.copay_fen;
                sum.wallet_fen += usage.wallet_fen;
            }
            Row::Credit(credit) => sum.subsidy_fen += credit.amount_fen,
            Row::Refund(refund) => {
                sum.refunds += 1;
                sum.refunded_fen += refund.amount_fen;
                sum.refunded_to_wallet_fen += refund.wallet_fen;
            }
            Row::Heading(_) | Row::Sum(_) => {}
        }
    }
    sum
}

fn columns() -> Sheet {
    Sheet::new(&[
        ("line", Kind::Text),
        ("entry", Kind::Number),
        ("task", Kind::Text),
        ("cell", Kind::Number),
        ("site", Kind::Text),
        ("from", Kind::Text),
        ("until", Kind::Text),
        ("what", Kind::Text),
        ("voucher", Kind::Number),
        ("programme", Kind::Text),
        ("agreement", Kind::Number),
        ("list_price", Kind::Money),
        ("credit", Kind::Money),
        ("own", Kind::Money),
        ("wallet", Kind::Money),
        ("given_back", Kind::Money),
    ])
}

fn cells(row: &Row) -> Vec<Cell> {
    let task = |job: u64, task: u32, attempt: u32| Cell::text(format!("{job}[{task}].{attempt}"));
    match row {
        Row::Usage(one) => vec![
            Cell::text("usage"),
            Cell::Number(one.journal_entry),
            task(one.job_id, one.task, one.attempt),
            Cell::Number(one.cell.into()),
            Cell::text(&one.site),
            Cell::Time(one.from_ms),
            Cell::Time(one.until_ms),
            Cell::text(one.skus.iter().map(sku_text).collect::<Vec<_>>().join("; ")),
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::Fen(one.gross_fen),
            Cell::Blank,
            Cell::Fen(one.copay_fen),
            Cell::Fen(one.wallet_fen),
            Cell::Blank,
        ],
        Row::Credit(one) => vec![
            Cell::text("credit"),
            Cell::Number(one.journal_entry),
            task(one.job_id, one.task, one.attempt),
            Cell::Number(one.cell.into()),
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::text(match one.redemption() {
                v1::Redemption::Holder => "advanced by the holder",
                _ => "",
            }),
            Cell::Number(one.voucher_id),
            Cell::text(&one.programme),
            Cell::number_or_blank(one.agreement_id),
            Cell::Blank,
            Cell::Fen(one.amount_fen),
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
        ],
        Row::Refund(one) => vec![
            Cell::text("refund"),
            Cell::Number(one.journal_entry),
            task(one.job_id, one.task, one.attempt),
            Cell::Number(one.cell.into()),
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::text(&one.reason),
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::Fen(-one.wallet_fen),
            Cell::Fen(one.amount_fen),
        ],
        Row::Heading(_) | Row::Sum(_) => unreachable!("kept apart when the stream is read"),
    }
}

fn sku_text(one: &v1::StatementSku) -> String {
    format!(
        "{} {} at {}",
        show_milli(one.milli_units),
        one.sku,
        show_unit_price(one.millifen_per_unit_hour)
    )
}

fn row_json(row: &Row) -> Value {
    let sku = |one: &v1::StatementSku| {
        json!({
            "sku": one.sku,
            "milli_units": one.milli_units,
            "millifen_per_unit_hour": one.millifen_per_unit_hour,
            "price_version": one.price_version,
        })
    };
    match row {
        Row::Usage(one) => json!({
            "line": "usage",
            "journal_entry": one.journal_entry,
            "job_id": one.job_id,
            "task": one.task,
            "attempt": one.attempt,
            "cell": one.cell,
            "site": one.site,
            "from_ms": one.from_ms,
            "until_ms": one.until_ms,
            "skus": one.skus.iter().map(sku).collect::<Vec<_>>(),
            "gross_fen": one.gross_fen,
            "copay_fen": one.copay_fen,
            "wallet_fen": one.wallet_fen,
        }),
        Row::Credit(one) => json!({
            "line": "credit",
            "journal_entry": one.journal_entry,
            "job_id": one.job_id,
            "task": one.task,
            "attempt": one.attempt,
            "cell": one.cell,
            "voucher_id": one.voucher_id,
            "programme": one.programme,
            "revision": one.revision,
            "agreement_id": super::none_if_zero(one.agreement_id.into()),
            "holder_redeemed": one.redemption() == v1::Redemption::Holder,
            "amount_fen": one.amount_fen,
            "taken": one.taken,
        }),
        Row::Refund(one) => json!({
            "line": "refund",
            "journal_entry": one.journal_entry,
            "job_id": one.job_id,
            "task": one.task,
            "attempt": one.attempt,
            "cell": one.cell,
            "of_period": one.of_period,
            "amount_fen": one.amount_fen,
            "wallet_fen": one.wallet_fen,
            "subsidy_fen": one.subsidy_fen,
            "reason": one.reason,
        }),
        Row::Heading(_) | Row::Sum(_) => Value::Null,
    }
}

fn totals_json(totals: &v1::StatementTotals) -> Value {
    json!({
        "cells": totals.cells,
        "gross_fen": totals.gross_fen,
        "subsidy_fen": totals.subsidy_fen,
        "copay_fen": totals.copay_fen,
        "wallet_fen": totals.wallet_fen,
        "refunds": totals.refunds,
        "refunded_fen": totals.refunded_fen,
        "refunded_to_wallet_fen": totals.refunded_to_wallet_fen,
    })
}

fn totals_text(totals: &v1::StatementTotals) -> String {
    let mut text = format!(
        "list price {}, by vouchers {}, own {}; from the wallet {}",
        show_money(totals.gross_fen),
        show_money(totals.subsidy_fen),
        show_money(totals.copay_fen),
        show_money(totals.wallet_fen)
    );
    if totals.refunds > 0 {
        text.push_str(&format!(
            "; given back {}, {} of it to the wallet",
            show_money(totals.refunded_fen),
            show_money(totals.refunded_to_wallet_fen)
        ));
    }
    text
}
