//! Prices, quotes and receipts as people and programs read them.

use hesuan_api::v1::{self, job_service_client::JobServiceClient};
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::noun::{Context, none_if_zero};
use crate::output::table;
use crate::units::{local, show_money, show_rate, show_time_roughly};

/// A price with its legs, in fen.
pub(crate) fn price_json(price: &v1::Price) -> Value {
    json!({
        "gross_fen": price.gross_fen,
        "legs": price.legs.iter().map(leg_json).collect::<Vec<_>>(),
        "copay_fen": price.copay_fen,
        "wallet_fen": price.wallet_fen,
    })
}

/// What one voucher pays.
pub(super) fn leg_json(leg: &v1::PriceLeg) -> Value {
    json!({
        "voucher_id": leg.voucher_id,
        "programme": leg.programme,
        "agreement_id": none_if_zero(leg.agreement_id.into()),
        "rate_bp": leg.rate_bp,
        "amount_fen": leg.amount_fen,
        "taken": leg.taken,
        "advanced": leg.advanced,
    })
}

/// What vouchers pay of a price.
pub(crate) fn subsidy(price: &v1::Price) -> i64 {
    price.legs.iter().map(|leg| leg.amount_fen).sum()
}

fn leg_line(leg: &v1::PriceLeg) -> String {
    let by = match leg.agreement_id {
        0 => String::new(),
        agreement => format!(", agreement {agreement}"),
    };
    let how = if leg.advanced {
        ", advanced by you and claimed back"
    } else {
        ""
    };
    format!(
        "{} by voucher {} ({}{by}, {}{how})",
        show_money(leg.amount_fen),
        leg.voucher_id,
        leg.programme,
        show_rate(leg.rate_bp)
    )
}

pub(super) fn quote_text(answer: &v1::QuoteJobResponse) -> String {
    let row = |one: &v1::SiteQuote| match &one.price {
        Some(price) => {
            let legs: Vec<_> = price.legs.iter().map(leg_line).collect();
            let now = match (one.fits_now, one.expected_start_ms) {
                (true, _) => "now".to_owned(),
                (false, 0) => "waits".to_owned(),
                (false, start_ms) => format!("about {}", local(start_ms)),
            };
            vec![
                one.site.clone(),
                one.region.to_string(),
                now,
                show_money(price.gross_fen),
                show_money(subsidy(price)),
                show_money(price.copay_fen),
                show_money(price.wallet_fen),
                legs.join("; "),
            ]
        }
        None => {
            let reasons: Vec<_> = one
                .reasons
                .iter()
                .map(|reason| format!("{}: {}", reason.code, reason.text))
                .collect();
            let none = || "-".to_owned();
            vec![
                one.site.clone(),
                one.region.to_string(),
                "NO".to_owned(),
                none(),
                none(),
                none(),
                none(),
                reasons.join("; "),
            ]
        }
    };
    let header = [
        "SITE",
        "REGION",
        "FITS",
        ">PRICE",
        ">VOUCHERS",
        ">YOU PAY",
        ">HELD",
        "HOW",
    ];
    let mut text = table(&header, answer.sites.iter().map(row));
    text.push_str("\namounts are yuan, held for the whole time limit; what is not used is not billed");
    if let Some(nearest) = &answer.nearest {
        text.push_str(&format!("\nwould work: {}", nearest.text));
    }
    if answer.quote_id != 0 {
        text.push_str(&format!(
            "\nbinding quote {id}, funds held until {until}: submit the same job with --quote {id}",
            id = answer.quote_id,
            until = local(answer.expires_at_ms)
        ));
    }
    text
}

pub(super) async fn receipt(context: &Context, job: u64) -> Outcome<()> {
    let request = v1::GetReceiptRequest {
        job_id: job,
        ..Default::default()
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            JobServiceClient::new(channel).get_receipt(request).await
        })
        .await?;
    let attempt = |one: &v1::AttemptReceipt| {
        json!({
            "task": one.task,
            "attempt": one.attempt,
            "site": one.site,
            "wall_ms": one.wall_ms,
            "price": one.price.as_ref().map(price_json),
            "refunded_fen": one.refunded_fen,
        })
    };
    let value = json!({
        "job_id": answer.job_id,
        "total": answer.total.as_ref().map(price_json),
        "attempts": answer.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "held_fen": answer.held_fen,
    });
    context.output.show(&value, || receipt_text(&answer))
}

fn receipt_text(answer: &v1::GetReceiptResponse) -> String {
    let row = |one: &v1::AttemptReceipt| {
        let price = one.price.clone().unwrap_or_default();
        let refunded = if one.refunded_fen == 0 {
            "-".to_owned()
        } else {
            show_money(one.refunded_fen)
        };
        vec![
            format!("{}.{}", one.task, one.attempt),
            one.site.clone(),
            show_time_roughly(one.wall_ms),
            show_money(price.gross_fen),
            show_money(subsidy(&price)),
            show_money(price.copay_fen),
            refunded,
        ]
    };
    let header = [
        "TASK.ATTEMPT",
        "SITE",
        ">TIME",
        ">LIST PRICE",
        ">VOUCHERS",
        ">CO-PAY",
        ">REFUNDED",
    ];
    let mut text = format!("receipt of job {}, in yuan\n", answer.job_id);
    if !answer.attempts.is_empty() {
        text.push_str(&table(&header, answer.attempts.iter().map(row)));
        text.push('\n');
    }
    let total = answer.total.clone().unwrap_or_default();
    text.push_str(&format!("list price  {}\n", show_money(total.gross_fen)));
    for leg in &total.legs {
        text.push_str(&format!("voucher     {}\n", leg_line(leg)));
    }
    text.push_str(&format!("co-pay      {}", show_money(total.copay_fen)));
    if total.wallet_fen != total.copay_fen {
        text.push_str(&format!("\nfrom wallet {}", show_money(total.wallet_fen)));
    }
    if answer.held_fen != 0 {
        text.push_str(&format!("\nstill held  {}", show_money(answer.held_fen)));
    }
    text
}
