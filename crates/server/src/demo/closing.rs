//! The month's end, a little early: the period is ended and closed, the regions' clearing is shown, each provider's settlement is
//! reviewed by one person and paid by another, and an auditor checks the journal without the cluster.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hesuan_api::v1;
use hesuan_api::v1::period_service_client::PeriodServiceClient;
use hesuan_api::v1::programme_service_client::ProgrammeServiceClient;
use hesuan_api::v1::settlement_service_client::SettlementServiceClient;
use hesuan_api::v1::stream_statement_response::Row;
use tokio::time::Instant;
use tonic::Code;

use super::client::{Client, again, request_id};
use super::cluster::Cluster;
use super::found::{ENTERPRISE, LAB, People};
use super::print::{Page, yuan};

/// How long the ledger may need to sweep what ended in the period.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends and closes the current period and shows the clearing; gives its number.
pub(super) async fn close(people: &People, page: &Page) -> anyhow::Result<u32> {
    let message = v1::EndPeriodRequest {
        request_id: request_id(),
    };
    let ended = people
        .reviewer
        .call(message, async |channel, request| {
            PeriodServiceClient::new(channel).end_period(request).await
        })
        .await
        .context("ending the period")?;
    let until = Instant::now() + PATIENCE;
    let closed = loop {
        let message = v1::ClosePeriodRequest {
            request_id: request_id(),
            period: ended.number,
        };
        let answer = people
            .reviewer
            .call(message, async |channel, request| {
                PeriodServiceClient::new(channel).close_period(request).await
            })
            .await;
        match answer {
            Ok(closed) => break closed,
            // What ended in it may still be swept.
            Err(status) if status.code() == Code::FailedPrecondition && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(status) => return Err(status).context("closing the period"),
        }
    };
    page.line(format_args!(
        "period {} is closed by {}: entries {} to {} of the journal",
        closed.number, closed.closed_by, closed.first_entry, closed.last_entry
    ));
    page.check(
        format_args!("period {} is closed for good", closed.number),
        closed.state() == v1::PeriodState::Closed && closed.last_entry > closed.first_entry,
    );
    clearing(people, closed.number, page).await?;
    Ok(closed.number)
}

async fn clearing(people: &People, period: u32, page: &Page) -> anyhow::Result<()> {
    let clearing = people
        .auditor
        .call(v1::GetClearingRequest { period }, async |channel, request| {
            PeriodServiceClient::new(channel).get_clearing(request).await
        })
        .await
        .context("the clearing")?;
    page.line("what the programmes of each region (down) owe the sites of each region (across), in yuan");
    let payees: std::collections::BTreeSet<u32> = clearing.cells.iter().map(|cell| cell.payee_region).collect();
    let issuers: std::collections::BTreeSet<u32> = clearing.cells.iter().map(|cell| cell.issuer_region).collect();
    let across: Vec<String> = payees.iter().map(|region| format!("{region:>10}")).collect();
    page.line(format_args!("{:>8}{}", "", across.join("")));
    for issuer in &issuers {
        let cell = |payee: &u32| {
            let found = clearing
                .cells
                .iter()
                .find(|cell| (cell.issuer_region, cell.payee_region) == (*issuer, *payee));
            format!("{:>10}", yuan(found.map_or(0, |cell| cell.net_fen)))
        };
        let row: Vec<String> = payees.iter().map(cell).collect();
        page.line(format_args!("{issuer:>8}{}", row.join("")));
    }
    for payment in &clearing.payments {
        page.line(format_args!(
            "netted: {} pays {} {} yuan",
            payment.from_region,
            payment.to_region,
            yuan(payment.amount_fen)
        ));
    }
    let net: i64 = clearing.positions.iter().map(|position| position.net_fen).sum();
    let crossed = clearing
        .cells
        .iter()
        .any(|cell| cell.issuer_region != cell.payee_region && cell.net_fen > 0);
    page.check(
        "one region's vouchers paid in another, and the net positions sum to 0",
        net == 0 && crossed,
    );
    Ok(())
}

/// Funders pay in what they owe; every provider's settlement is shown, reviewed and paid.
pub(super) async fn pay(people: &People, period: u32, page: &Page) -> anyhow::Result<()> {
    funders(people, period, page).await?;
    let message = v1::ListSettlementsRequest {
        period: Some(period),
        ..Default::default()
    };
    let listed = people
        .auditor
        .call(message, async |channel, request| {
            SettlementServiceClient::new(channel).list_settlements(request).await
        })
        .await
        .context("the settlements")?;
    let mut all = 0;
    for settlement in &listed.settlements {
        all += settlement.net_fen;
        sheet(people, settlement, page).await?;
        let paid = review_and_pay(people, settlement).await?;
        page.line(format_args!(
            "           reviewed by {}, paid by {}: {} yuan",
            paid.reviewed_by,
            paid.paid_by,
            yuan(paid.cash_fen)
        ));
        page.check(
            format_args!(
                "{} is paid the {} yuan of its sheet, by another than who reviewed it",
                paid.provider,
                yuan(paid.net_fen)
            ),
            paid.state() == v1::SettlementState::Paid
                && paid.cash_fen + paid.set_off_fen == paid.net_fen
                && paid.reviewed_by != paid.paid_by,
        );
    }
    let (lab, enterprise) = (
        statement(&people.auditor, LAB, period, page).await?,
        statement(&people.auditor, ENTERPRISE, period, page).await?,
    );
    page.check(
        format_args!(
            "providers got {} yuan, the holders' statements come to {}",
            yuan(all),
            yuan(lab + enterprise)
        ),
        all == lab + enterprise && all > 0,
    );
    Ok(())
}

async fn funders(people: &People, period: u32, page: &Page) -> anyhow::Result<()> {
    let payable = people
        .auditor
        .call(v1::GetPayableRequest { period }, async |channel, request| {
            PeriodServiceClient::new(channel).get_payable(request).await
        })
        .await
        .context("what the funders pay")?;
    for row in payable.rows.iter().filter(|row| row.due_fen > 0) {
        let message = v1::PayInRequest {
            request_id: request_id(),
            programme: row.programme.clone(),
            funder: row.funder.clone(),
            amount_fen: row.due_fen,
            reference: "demo".into(),
        };
        people
            .treasurer
            .call(message, async |channel, request| {
                ProgrammeServiceClient::new(channel).pay_in(request).await
            })
            .await
            .with_context(|| format!("{} pays in", row.funder))?;
        page.line(format_args!(
            "{} pays in {} yuan for {}",
            row.funder,
            yuan(row.due_fen),
            row.programme
        ));
    }
    Ok(())
}

async fn sheet(people: &People, settlement: &v1::Settlement, page: &Page) -> anyhow::Result<()> {
    let message = v1::GetSettlementSheetRequest {
        period: settlement.period,
        provider: settlement.provider.clone(),
    };
    let sheet = people
        .auditor
        .call(message, async |channel, request| {
            SettlementServiceClient::new(channel)
                .get_settlement_sheet(request)
                .await
        })
        .await
        .with_context(|| format!("the sheet of {}", settlement.provider))?;
    page.line(format_args!(
        "{:<12} net {:>10} yuan",
        sheet.provider,
        yuan(sheet.net_fen)
    ));
    for line in &sheet.lines {
        let source = match line.programme.as_str() {
            "" => "own money of the payers",
            programme => programme,
        };
        page.line(format_args!(
            "           {:>10} yuan  {source}, {} captures at {}",
            yuan(line.net_fen),
            line.captures,
            line.site
        ));
    }
    Ok(())
}

async fn review_and_pay(people: &People, settlement: &v1::Settlement) -> anyhow::Result<v1::Settlement> {
    let (period, provider) = (settlement.period, settlement.provider.clone());
    let message = v1::ReviewSettlementRequest {
        request_id: request_id(),
        period,
        provider: provider.clone(),
    };
    people
        .reviewer
        .call(message, async |channel, request| {
            SettlementServiceClient::new(channel).review_settlement(request).await
        })
        .await
        .with_context(|| format!("reviewing the settlement with {provider}"))?;
    let message = v1::PaySettlementRequest {
        request_id: request_id(),
        period,
        provider: provider.clone(),
        reference: "demo".into(),
    };
    people
        .treasurer
        .call(message, async |channel, request| {
            SettlementServiceClient::new(channel).pay_settlement(request).await
        })
        .await
        .with_context(|| format!("paying {provider}"))
}

/// Reads a whole statement, whose lines the server has compared with the ledger's totals; gives what was used less what was given back.
async fn statement(client: &Client, org: &str, period: u32, page: &Page) -> anyhow::Result<i64> {
    let until = Instant::now() + PATIENCE;
    for turn in 0.. {
        match read_statement(client, org, period, turn).await {
            Ok((lines, totals)) => {
                page.line(format_args!(
                    "{org}: {lines} lines; list price {} = vouchers {} + own {} yuan",
                    yuan(totals.gross_fen),
                    yuan(totals.subsidy_fen),
                    yuan(totals.copay_fen)
                ));
                return Ok(totals.gross_fen - totals.refunded_fen);
            }
            Err(status) if again(&status) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(status) => return Err(status).with_context(|| format!("the statement of {org}")),
        }
    }
    bail!("the statement of {org} does not end")
}

async fn read_statement(
    client: &Client,
    org: &str,
    period: u32,
    turn: usize,
) -> Result<(usize, v1::StatementTotals), tonic::Status> {
    let message = v1::StreamStatementRequest {
        org: org.to_owned(),
        period,
    };
    let mut stream = PeriodServiceClient::new(client.channel(turn))
        .stream_statement(client.request(message)?)
        .await?
        .into_inner();
    let mut lines = 0;
    while let Some(row) = stream.message().await? {
        match row.row {
            Some(Row::Sum(sum)) => return Ok((lines, sum)),
            Some(Row::Heading(_)) | None => {}
            Some(_) => lines += 1,
        }
    }
    Err(tonic::Status::unavailable("the statement broke off before its sum"))
}

/// `hesuan audit export` and `hesuan audit verify`, as an auditor types them.
pub(super) async fn audit(cluster: &Cluster, dir: &Path, page: &Page) -> anyhow::Result<()> {
    let journal = dir.join("journal.jsonl");
    let exported = hesuan(vec![
        "--endpoint".into(),
        cluster.addresses.join(",").into(),
        "--token-file".into(),
        cluster.token_file("auditor").into(),
        "audit".into(),
        "export".into(),
        "-o".into(),
        journal.clone().into(),
    ]);
    let exported = exported.await?;
    let agrees = hesuan(vec!["audit".into(), "verify".into(), journal.into()]).await?;
    page.check(
        "the exported journal agrees with itself to the fen: balances, captures, settlements, payments",
        exported && agrees,
    );
    Ok(())
}

/// The whole command line, which has a runtime of its own; true if it ends with 0.
async fn hesuan(arguments: Vec<OsString>) -> anyhow::Result<bool> {
    let arguments = std::iter::once("hesuan".into()).chain(arguments);
    let ended = tokio::task::spawn_blocking(move || hesuan_cli::run(arguments)).await?;
    Ok(ended == ExitCode::SUCCESS)
}
