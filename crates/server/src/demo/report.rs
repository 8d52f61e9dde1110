//! What it cost: a receipt per job, the trial balance, and whether the replicas agree.

use std::time::Duration;

use anyhow::Context as _;
use hesuan_api::v1;
use hesuan_api::v1::cluster_service_client::ClusterServiceClient;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::wallet_service_client::WalletServiceClient;
use tokio::time::Instant;

use super::client::Client;
use super::cluster::CITIES;
use super::jobs::state_word;
use super::print::{Page, yuan};

/// Prints a job's receipt and checks that its parts add up.
pub(super) async fn receipt(client: &Client, job: &v1::Job, page: &Page) -> anyhow::Result<v1::Price> {
    let message = v1::GetReceiptRequest {
        job_id: job.id,
        ..Default::default()
    };
    let receipt = client
        .call(message, async |channel, request| {
            JobServiceClient::new(channel).get_receipt(request).await
        })
        .await
        .with_context(|| format!("the receipt of job {}", job.id))?;
    let total = receipt.total.unwrap_or_default();
    let mut sites: Vec<_> = receipt.attempts.iter().map(|attempt| attempt.site.as_str()).collect();
    sites.sort_unstable();
    sites.dedup();
    let wall_ms: u64 = receipt.attempts.iter().map(|attempt| attempt.wall_ms).sum();
    let name = job.spec.as_ref().map_or("", |spec| spec.name.as_str());
    page.line(format_args!(
        "job {:<3} {name:<10} {:<9} {:>2} attempts, {:>5.1} s at {}",
        job.id,
        state_word(job.state()),
        receipt.attempts.len(),
        wall_ms as f64 / 1000.0,
        sites.join(", "),
    ));
    page.line(format_args!("        list price {:>10} yuan", yuan(total.gross_fen)));
    for leg in &total.legs {
        let by = if leg.agreement_id == 0 {
            "at home".to_owned()
        } else {
            format!("by agreement {}", leg.agreement_id)
        };
        page.line(format_args!(
            "        voucher {:<3}{:>9} yuan  {} {} %, {by}",
            leg.voucher_id,
            yuan(leg.amount_fen),
            leg.programme,
            leg.rate_bp / 100,
        ));
    }
    page.line(format_args!("        co-pay     {:>10} yuan", yuan(total.copay_fen)));
    let legs: i64 = total.legs.iter().map(|leg| leg.amount_fen).sum();
    page.check(
        format_args!(
            "job {}: list price {} = vouchers {} + co-pay {}, nothing left on hold",
            job.id,
            yuan(total.gross_fen),
            yuan(legs),
            yuan(total.copay_fen)
        ),
        total.gross_fen == legs + total.copay_fen && receipt.held_fen == 0,
    );
    Ok(total)
}

/// Prints the trial balance and checks it.
pub(super) async fn trial_balance(auditor: &Client, page: &Page) -> anyhow::Result<v1::TrialBalance> {
    let balance = auditor
        .call(v1::GetTrialBalanceRequest {}, async |channel, request| {
            WalletServiceClient::new(channel).get_trial_balance(request).await
        })
        .await
        .context("the trial balance")?;
    let width = balance
        .rows
        .iter()
        .map(|row| row.account.chars().count())
        .max()
        .unwrap_or(0)
        .max(20);
    page.line(format_args!("{:<width$} {:>14} {:>14}", "account", "debit", "credit"));
    for row in &balance.rows {
        page.line(format_args!(
            "{:<width$} {:>14} {:>14}",
            row.account,
            yuan(row.debit_fen),
            yuan(row.credit_fen)
        ));
    }
    page.line(format_args!(
        "{:<width$} {:>14} {:>14}",
        "",
        yuan(balance.debit_total_fen),
        yuan(balance.credit_total_fen)
    ));
    page.check(
        format_args!(
            "the books balance: debits {} = credits {} after {} journal entries",
            yuan(balance.debit_total_fen),
            yuan(balance.credit_total_fen),
            balance.journal_entries
        ),
        balance.debit_total_fen == balance.credit_total_fen && balance.debit_total_fen > 0,
    );
    Ok(balance)
}

/// A replica's own view of the cluster.
pub(super) async fn status(client: &Client) -> Result<v1::ClusterStatus, tonic::Status> {
    client
        .call(v1::GetStatusRequest {}, async |channel, request| {
            ClusterServiceClient::new(channel).get_status(request).await
        })
        .await
}

/// Looks at all replicas until they stand at the same index, and checks that they came there with the same outcomes.
pub(super) async fn replicas_agree(admin: &Client, page: &Page) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let mut seen = Vec::new();
        for replica in 0..CITIES.len() {
            seen.push(status(&admin.only(replica)).await?);
        }
        let same_index = seen.iter().all(|status| status.applied_index == seen[0].applied_index);
        if same_index || Instant::now() > until {
            let same = seen
                .iter()
                .all(|status| status.outcome_digest == seen[0].outcome_digest);
            page.check(
                format_args!(
                    "the three replicas hold the same state at index {}",
                    seen[0].applied_index
                ),
                same_index && same,
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
