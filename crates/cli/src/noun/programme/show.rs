//! A programme as people and programs read it.

use hesuan_api::v1;
use serde_json::{Value, json};

use crate::noun::none_if_empty;
use crate::noun::wallet::kind_name;
use crate::output::{record, table};
use crate::units::{first_day, last_day, rfc3339, show_amount, show_money, show_plain_amount, show_rate};

pub(super) fn rates_text(rates: &[v1::Rate]) -> String {
    let rates = rates
        .iter()
        .map(|rate| format!("{} {}", rate.sku, show_rate(rate.rate_bp)));
    rates.collect::<Vec<_>>().join(", ")
}

fn redemption_name(programme: &v1::Programme) -> &'static str {
    if programme.redemption() == v1::Redemption::Holder {
        "holder"
    } else {
        "provider"
    }
}

fn commit_name(programme: &v1::Programme) -> &'static str {
    if programme.budget_policy() == v1::BudgetPolicy::CommitAtHold {
        "hold"
    } else {
        "issue"
    }
}

fn expiry_name(terms: &v1::Terms) -> &'static str {
    if terms.expiry_basis() == v1::ExpiryBasis::Hold {
        "hold"
    } else {
        "usage"
    }
}

fn terms_json(terms: &v1::Terms) -> Value {
    let rate = |rate: &v1::Rate| json!({ "sku": rate.sku, "rate_bp": rate.rate_bp });
    json!({
        "rates": terms.rates.iter().map(rate).collect::<Vec<_>>(),
        "cap_per_control_group": terms.cap_per_control_group,
        "cap_per_job": terms.cap_per_job,
        "holder_kinds": terms.holder_kinds().map(kind_name).collect::<Vec<_>>(),
        "holder_regions": terms.holder_regions,
        "excluded_skus": terms.excluded_skus,
        "exclusive": terms.exclusive,
        "stack_total_bp": terms.stack_total_bp,
        "from": rfc3339(terms.from_ms),
        "until": rfc3339(terms.until_ms),
        "expiry_basis": expiry_name(terms),
        "carry_over": terms.carry_over,
        "reinstate_refunds": terms.reinstate_refunds,
    })
}

/// Amounts are fen, or milli-unit-seconds where `unit_hours_of` names a class.
pub(super) fn programme_json(one: &v1::Programme) -> Value {
    let figures = one.figures.clone().unwrap_or_default();
    let funder = |(place, funder): (usize, &v1::Funder)| json!({ "name": funder.name, "share": funder.share, "due_fen": figures.due_fen.get(place) });
    let revision = |revision: &v1::Revision| {
        json!({
            "revision": revision.number,
            "effective_from": rfc3339(revision.effective_from_ms),
            "immediate": revision.immediate,
            "replaced": revision.replaced,
            "terms": revision.terms.as_ref().map(terms_json),
        })
    };
    json!({
        "name": one.name,
        "region": one.region,
        "funders": one.funders.iter().enumerate().map(funder).collect::<Vec<_>>(),
        "unit_hours_of": none_if_empty(&one.unit_hours_of),
        "fiscal_year": one.fiscal_year,
        "budget": one.budget,
        "commit_at": commit_name(one),
        "redemption": redemption_name(one),
        "terms": one.terms.as_ref().map(terms_json),
        "revision": one.revision,
        "revisions": one.revisions.iter().map(revision).collect::<Vec<_>>(),
        "uncommitted": figures.uncommitted,
        "issued": figures.issued,
        "held": figures.held,
        "captured": figures.captured,
        "lapsed": figures.lapsed,
        "revoked": figures.revoked,
        "paid_fen": figures.paid_fen,
        "recovery_fen": figures.recovery_fen,
    })
}

pub(super) fn programme_text(one: &v1::Programme) -> String {
    let figures = one.figures.clone().unwrap_or_default();
    let terms = one.terms.clone().unwrap_or_default();
    let amount = |amount: i64| show_amount(amount, &one.unit_hours_of);
    let unless_zero = |number: i64| if number == 0 { String::new() } else { amount(number) };
    let funders = one
        .funders
        .iter()
        .zip(figures.due_fen.iter().chain(std::iter::repeat(&0)));
    let funders = funders.map(|(funder, due)| {
        let due = if *due == 0 {
            String::new()
        } else {
            format!(", {} yuan due", show_money(*due))
        };
        format!("{} {}{due}", funder.name, funder.share)
    });
    let mut text = record(&[
        ("programme", one.name.clone()),
        ("region", one.region.to_string()),
        ("funders", funders.collect::<Vec<_>>().join("; ")),
        (
            "fiscal year",
            one.fiscal_year.map_or_else(String::new, |year| year.to_string()),
        ),
        (
            "budget",
            format!("{}, committed at {}", amount(one.budget), commit_name(one)),
        ),
        ("uncommitted", amount(figures.uncommitted)),
        ("issued", amount(figures.issued)),
        ("held", amount(figures.held)),
        ("spent", amount(figures.captured)),
        ("lapsed", unless_zero(figures.lapsed)),
        ("revoked", unless_zero(figures.revoked)),
        (
            "subsidies",
            format!(
                "{} yuan by its vouchers, refunds deducted",
                show_money(figures.paid_fen)
            ),
        ),
        (
            "owed to funds",
            if figures.recovery_fen == 0 {
                String::new()
            } else {
                format!("{} yuan", show_money(figures.recovery_fen))
            },
        ),
        ("redeemed by", redemption_name(one).to_owned()),
        ("revision", one.revision.to_string()),
    ]);
    text.push('\n');
    text.push_str(&terms_text(&terms, &one.unit_hours_of));
    if one.revisions.len() > 1 {
        let row = |revision: &v1::Revision| {
            let terms = revision.terms.clone().unwrap_or_default();
            vec![
                revision.number.to_string(),
                first_day(revision.effective_from_ms),
                match (revision.immediate, revision.replaced) {
                    (_, true) => "replaced before it was in force",
                    (true, false) => "yes",
                    (false, false) => "",
                }
                .to_owned(),
                rates_text(&terms.rates),
                caps_text(&terms, &one.unit_hours_of),
                last_day(terms.until_ms),
            ]
        };
        text.push_str("\n\n");
        let header = [">REVISION", "FROM", "IMMEDIATE", "RATES", "CAPS", "UNTIL"];
        text.push_str(&table(&header, one.revisions.iter().map(row)));
    }
    text
}

/// For a column.
fn caps_text(terms: &v1::Terms, unit_hours_of: &str) -> String {
    let caps = [(terms.cap_per_control_group, "a group"), (terms.cap_per_job, "a job")];
    let caps = caps
        .into_iter()
        .filter_map(|(cap, each)| cap.map(|cap| format!("{} {each}", show_plain_amount(cap, unit_hours_of))));
    caps.collect::<Vec<_>>().join(", ")
}

fn terms_text(terms: &v1::Terms, unit_hours_of: &str) -> String {
    let cap = |cap: Option<i64>| cap.map_or_else(String::new, |cap| show_amount(cap, unit_hours_of));
    let regions: Vec<_> = terms.holder_regions.iter().map(u32::to_string).collect();
    let yes = |flag: bool| if flag { "yes" } else { "" }.to_owned();
    record(&[
        ("rates", rates_text(&terms.rates)),
        ("cap per group", cap(terms.cap_per_control_group)),
        ("cap per job", cap(terms.cap_per_job)),
        (
            "for",
            terms.holder_kinds().map(kind_name).collect::<Vec<_>>().join(", "),
        ),
        ("from regions", regions.join(", ")),
        ("never for", terms.excluded_skus.join(", ")),
        ("exclusive", yes(terms.exclusive)),
        (
            "stacks up to",
            match terms.stack_total_bp {
                None | Some(10_000) => String::new(),
                Some(bp) => format!("{} of the list price", show_rate(bp)),
            },
        ),
        ("from", first_day(terms.from_ms)),
        ("until", last_day(terms.until_ms)),
        (
            "at its end",
            if terms.expiry_basis() == v1::ExpiryBasis::Hold {
                "what was held is covered whole".to_owned()
            } else {
                String::new()
            },
        ),
        ("carries over", yes(terms.carry_over)),
        (
            "refunds",
            if terms.reinstate_refunds {
                "back on the voucher while it lives".to_owned()
            } else {
                String::new()
            },
        ),
    ])
}
