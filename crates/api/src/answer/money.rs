//! Organisations, prices, quotes, receipts and the trial balance as answers.

use std::collections::VecDeque;

use hesuan_engine::outcome::Nearest;
use hesuan_engine::schedule::SiteQuote;
use hesuan_engine::state::{Job, State};
use hesuan_engine::types::{Fen, JobId, TaskId};
use hesuan_ledger::types::{HoldKey, QuoteId};
use hesuan_ledger::{BoundQuote, Leg, Org, OrgKind, Redemption};

use super::job::reasons;
use super::{lending, org_name, programme_name, site_name};
use crate::v1;

/// Attempts listed on a receipt; its total is of all.
pub const RECEIPTS_MAX: usize = 100;

pub(super) fn org_kind(kind: OrgKind) -> v1::OrgKind {
    match kind {
        OrgKind::Enterprise => v1::OrgKind::Enterprise,
        OrgKind::Team => v1::OrgKind::Team,
        OrgKind::Lab => v1::OrgKind::Lab,
        OrgKind::Provider => v1::OrgKind::Provider,
    }
}

/// An organisation and its wallet.
#[must_use]
pub fn org(state: &State, org: &Org) -> v1::Org {
    v1::Org {
        name: org.registered.name.to_string(),
        kind: org_kind(org.registered.kind).into(),
        region: org.registered.region.0,
        control_group: org.registered.control_group.to_string(),
        wallet_available_fen: org.available.0,
        wallet_held_fen: org.held.0,
        wallet_spent_fen: org.spent.0,
        receivable_fen: org.receivable.0,
        credit_code: org.registered.credit_code.to_string(),
        claim_fen: org.claim.0,
        owes_fen: org.owes.0,
        quota: state.quota(org.id).map(lending::quota),
        held: Some(lending::held(&state.held_by(org.id))),
    }
}

/// The price sheets of a site, oldest first.
#[must_use]
pub fn price_sheets(state: &State, site: &hesuan_engine::state::Site) -> Vec<v1::PriceSheet> {
    let mut sheets: Vec<v1::PriceSheet> = Vec::new();
    for price in state
        .ledger()
        .site(site.id)
        .into_iter()
        .flat_map(|site| site.prices.prices())
    {
        let unit = v1::UnitPrice {
            sku: price.sku.to_string(),
            millifen_per_unit_hour: price.millifen_per_unit_hour,
        };
        match sheets.binary_search_by_key(&price.version, |sheet| sheet.version) {
            Ok(at) => sheets[at].prices.push(unit),
            Err(at) => {
                let sheet = v1::PriceSheet {
                    site: site.name.to_string(),
                    version: price.version,
                    effective_from_ms: price.effective_from.0,
                    prices: vec![unit],
                };
                sheets.insert(at, sheet);
            }
        }
    }
    sheets
}

fn leg(state: &State, leg: &Leg) -> v1::PriceLeg {
    v1::PriceLeg {
        voucher_id: leg.voucher.0,
        programme: programme_name(state, leg.programme),
        agreement_id: leg.agreement.0,
        rate_bp: leg.rate.0,
        amount_fen: leg.amount.0,
        taken: leg.grant.0,
        advanced: leg.redemption == Redemption::Holder,
    }
}

/// What a job would cost at each site. `nearest`: what would be paid where nothing is. `bound`: the number of the binding quote that was made of it.
#[must_use]
pub fn quotes(
    state: &State,
    quotes: &[SiteQuote],
    nearest: Option<&Nearest>,
    bound: Option<u64>,
) -> v1::QuoteJobResponse {
    let site = |one: &SiteQuote| v1::SiteQuote {
        site: site_name(state, one.site),
        region: state.site(one.site).map_or(0, |site| site.region.0),
        price: one.price.as_ref().map(|price| v1::Price {
            gross_fen: price.gross.0,
            legs: price.legs.iter().map(|one| leg(state, one)).collect(),
            copay_fen: price.copay.0,
            wallet_fen: price.wallet.0,
        }),
        reasons: reasons(state, one.site, &one.reasons),
        fits_now: one.fits_now,
        expected_start_ms: one.expected.map_or(0, |expected| expected.start.0),
        forecast_age_ms: one.expected.map_or(0, |expected| expected.age_ms),
    };
    let expires_at = bound
        .and_then(|id| state.ledger().bound_quote(QuoteId(id)))
        .map(|quote| quote.expires_at);
    v1::QuoteJobResponse {
        sites: quotes.iter().map(site).collect(),
        quote_id: bound.unwrap_or(0),
        expires_at_ms: expires_at.unwrap_or_default().0,
        nearest: nearest.map(instead),
    }
}

/// A binding quote as its payer sees it.
#[must_use]
pub fn bound_quote(state: &State, id: QuoteId, bound: &BoundQuote) -> v1::BoundQuote {
    let pinned = &bound.pinned;
    v1::BoundQuote {
        quote_id: id.0,
        org: org_name(state, pinned.payer),
        site: site_name(state, pinned.site),
        expires_at_ms: bound.expires_at.0,
        walltime_ms_max: pinned.walltime_ms_max,
        wallet_fen: pinned.wallet().0,
        legs: pinned.legs().iter().map(|one| leg(state, one)).collect(),
        taken: state.quote_is_taken(id),
        ended: state.cover_end_text(bound).unwrap_or_default(),
    }
}

fn instead(nearest: &Nearest) -> v1::Instead {
    let detail = |(key, value): &(&str, Box<str>)| v1::KeyValue {
        key: (*key).to_owned(),
        value: value.to_string(),
    };
    v1::Instead {
        code: nearest.code.to_owned(),
        details: nearest.details.iter().map(detail).collect(),
        text: nearest.text.to_string(),
    }
}

/// What the attempts of a job cost so far, and what is held for those that run.
#[must_use]
pub fn receipt(state: &State, id: JobId, job: &Job) -> v1::GetReceiptResponse {
    // The job's own sums; legs are summed over the attempts that are still here.
    let progress = job.progress();
    let mut total = v1::Price {
        gross_fen: progress.gross.0,
        legs: Vec::new(),
        copay_fen: progress.copay.0,
        wallet_fen: 0,
    };
    let mut latest = VecDeque::new();
    let mut held = 0;
    for (at, attempt) in state.attempts(id, 0) {
        let Some(ended) = &attempt.ended else {
            held += held_fen(state, at);
            continue;
        };
        let Some(receipt) = &ended.receipt else { continue };
        for one in &receipt.legs {
            add_leg(state, &mut total.legs, one);
        }
        if latest.len() == RECEIPTS_MAX {
            latest.pop_front();
        }
        latest.push_back((at, attempt.site, ended.wall_ms, receipt, ended.refunded));
    }
    let line = |(at, site, wall_ms, receipt, refunded): (TaskId, _, _, &hesuan_engine::state::Receipt, Fen)| {
        v1::AttemptReceipt {
            task: at.task,
            attempt: at.attempt,
            site: site_name(state, site),
            wall_ms,
            price: Some(price(state, receipt.gross, &receipt.legs, receipt.copay)),
            refunded_fen: refunded.0,
        }
    };
    total.wallet_fen = from_wallet(&total);
    v1::GetReceiptResponse {
        job_id: id.0,
        total: Some(total),
        attempts: latest.into_iter().map(line).collect(),
        held_fen: held,
    }
}

/// What was captured or given back. A leg that paid nothing is no news.
#[must_use]
pub fn price(state: &State, gross: Fen, legs: &[Leg], copay: Fen) -> v1::Price {
    let paid = legs.iter().filter(|leg| leg.amount.0 != 0);
    let mut price = v1::Price {
        gross_fen: gross.0,
        legs: paid.map(|one| leg(state, one)).collect(),
        copay_fen: copay.0,
        wallet_fen: 0,
    };
    price.wallet_fen = from_wallet(&price);
    price
}

/// The co-pay and what the holder advances.
fn from_wallet(price: &v1::Price) -> i64 {
    let advanced = price.legs.iter().filter(|leg| leg.advanced);
    price.copay_fen + advanced.map(|leg| leg.amount_fen).sum::<i64>()
}

/// One voucher under one agreement is one leg of a total, whatever its rates were.
fn add_leg(state: &State, legs: &mut Vec<v1::PriceLeg>, one: &Leg) {
    match legs
        .iter_mut()
        .find(|sum| (sum.voucher_id, sum.agreement_id) == (one.voucher.0, one.agreement.0))
    {
        Some(sum) => {
            sum.amount_fen += one.amount.0;
            sum.taken += one.grant.0;
            sum.rate_bp = sum.rate_bp.max(one.rate.0);
        }
        None => legs.push(leg(state, one)),
    }
}

/// Held for a running attempt: in the wallet, and on vouchers whose amount the wallet does not advance.
fn held_fen(state: &State, at: TaskId) -> i64 {
    let key = HoldKey {
        job: at.job.0,
        task: at.task,
        attempt: at.attempt,
    };
    let hold = state
        .ledger()
        .open_hold_of(key)
        .and_then(|id| state.ledger().open_hold(id));
    hold.map_or(0, |hold| {
        let on_vouchers = hold
            .pinned
            .legs()
            .into_iter()
            .filter(|leg| leg.redemption == Redemption::Provider);
        hold.pinned.wallet().0 + on_vouchers.map(|leg| leg.amount.0).sum::<i64>()
    })
}

/// What has gone back of an attempt in all, split as it was paid; `None` when it is past the ledger's settlement window.
#[must_use]
pub fn refunded(state: &State, task: TaskId) -> Option<v1::Price> {
    let key = HoldKey {
        job: task.job.0,
        task: task.task,
        attempt: task.attempt,
    };
    let settled = state.ledger().settled_of(key)?;
    let (receipt, legs) = (settled.receipt(), settled.legs_refunded());
    let from_vouchers: i64 = legs.iter().map(|leg| leg.amount.0).sum();
    let copay = Fen(receipt.refunded.0 - from_vouchers);
    Some(price(state, receipt.refunded, &legs, copay))
}

/// The trial balance of the whole ledger. Sums past what a field holds are shown as its largest value.
#[must_use]
pub fn trial_balance(state: &State) -> v1::TrialBalance {
    let fen = |sum: i128| i64::try_from(sum).unwrap_or(i64::MAX);
    let unit_row = |row: &hesuan_ledger::TrialRow| v1::UnitTrialRow {
        account: row.account.to_owned(),
        debit: fen(row.debit),
        credit: fen(row.credit),
    };
    let unit = |unit: &hesuan_ledger::UnitTrial| v1::UnitTrial {
        sku: unit.sku.to_string(),
        rows: unit.rows.iter().map(unit_row).collect(),
    };
    let balance = state.ledger().trial_balance();
    let row = |row: &hesuan_ledger::TrialRow| v1::TrialBalanceRow {
        account: row.account.to_owned(),
        debit_fen: fen(row.debit),
        credit_fen: fen(row.credit),
    };
    v1::TrialBalance {
        rows: balance.rows.iter().map(row).collect(),
        debit_total_fen: fen(balance.debits),
        credit_total_fen: fen(balance.credits),
        journal_entries: balance.journal_entries,
        journal_head_sha256: balance.journal_head.to_vec(),
        units: balance.units.iter().map(unit).collect(),
    }
}
