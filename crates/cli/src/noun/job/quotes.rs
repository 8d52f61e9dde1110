//! Binding quotes: what they hold, and giving it back.

use clap::Args;
use hesuan_api::v1::{self, job_service_client::JobServiceClient};
use serde_json::json;

use crate::client::request_id;
use crate::failure::Outcome;
use crate::noun::Context;
use crate::output::table;
use crate::units::{local, rfc3339, show_money};

use super::money::leg_json;

/// Options of `job quotes`.
#[derive(Args, Debug)]
pub struct QuotesArgs {
    /// Give this one back instead of listing them: what it holds is free at once
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    release: Option<u64>,
}

pub(super) async fn quotes(context: &Context, args: QuotesArgs) -> Outcome<()> {
    match args.release {
        Some(quote) => release(context, quote).await,
        None => list(context).await,
    }
}

async fn release(context: &Context, quote_id: u64) -> Outcome<()> {
    let request = v1::ReleaseQuoteRequest {
        request_id: request_id(),
        quote_id,
    };
    context
        .client
        .call(request, |channel, request| async move {
            JobServiceClient::new(channel).release_quote(request).await
        })
        .await?;
    let value = json!({ "quote_id": quote_id, "released": true });
    context.output.show(&value, || {
        format!("quote {quote_id} is given back, what it held is free")
    })
}

async fn list(context: &Context) -> Outcome<()> {
    let mut request = v1::ListQuotesRequest::default();
    let mut quotes = Vec::new();
    loop {
        let page = context
            .client
            .call(request.clone(), |channel, request| async move {
                JobServiceClient::new(channel).list_quotes(request).await
            })
            .await?;
        quotes.extend(page.quotes);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let one = |quote: &v1::BoundQuote| {
        json!({
            "quote_id": quote.quote_id,
            "org": quote.org,
            "site": quote.site,
            "expires_at": rfc3339(quote.expires_at_ms),
            "walltime_ms_max": quote.walltime_ms_max,
            "wallet_fen": quote.wallet_fen,
            "legs": quote.legs.iter().map(leg_json).collect::<Vec<_>>(),
            "taken": quote.taken,
            "ended": (!quote.ended.is_empty()).then_some(&quote.ended),
        })
    };
    let value = json!({ "quotes": quotes.iter().map(one).collect::<Vec<_>>() });
    context.output.show(&value, || {
        let row = |quote: &v1::BoundQuote| {
            let vouchers: i64 = quote.legs.iter().map(|leg| leg.amount_fen).sum();
            let state = match (quote.taken, quote.ended.as_str()) {
                (_, ended) if !ended.is_empty() => format!("ENDED: {ended}"),
                (true, _) => "a job waits with it".to_owned(),
                (false, _) => "OPEN".to_owned(),
            };
            vec![
                quote.quote_id.to_string(),
                quote.org.clone(),
                quote.site.clone(),
                show_money(vouchers),
                show_money(quote.wallet_fen),
                local(quote.expires_at_ms),
                state,
            ]
        };
        let header = [">NO", "ORG", "SITE", ">VOUCHERS", ">WALLET", "UNTIL", "STATE"];
        table(&header, quotes.iter().map(row))
    })
}
