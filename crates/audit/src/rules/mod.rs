//! The rules, by kind of entry: what each calls for, and what it changes.

mod amounts;
mod captures;
mod eligible;
mod holds;
mod parties;
mod payments;
mod periods;
mod plan;
mod programmes;
mod recount;
mod refunds;
mod vouchers;

use crate::books::Books;
use crate::facts::{Facts, Malformed, Read};
use crate::finding::Check;
use crate::judge::Judge;

/// Of each kind from 1 on: its name, and whether only people do it.
const KINDS: [(&str, bool); 39] = [
    ("CreateOrg", true),
    ("TopUp", true),
    ("Withdraw", true),
    ("RegisterSite", true),
    ("SetPrices", true),
    ("CreateProgramme", true),
    ("ReviseProgramme", true),
    ("SetBudget", true),
    ("CreateAgreement", true),
    ("EndAgreement", true),
    ("IssueVoucher", true),
    ("RedeemVoucher", true),
    ("SuspendVoucher", true),
    ("ResumeVoucher", true),
    ("RevokeVoucher", true),
    ("ExpireVoucher", false),
    ("Hold", false),
    ("HoldQuote", true),
    ("TakeUpQuote", false),
    ("Settle", false),
    ("Release", false),
    ("ReleaseQuote", false),
    ("Refund", false),
    ("Capture", false),
    ("Repin", false),
    ("Extend", false),
    ("UpdateOrg", true),
    ("EndPeriod", false),
    ("ClosePeriod", true),
    ("FileClaim", true),
    ("ReviewClaim", true),
    ("PayClaim", true),
    ("ReviewSettlement", true),
    ("PaySettlement", true),
    ("PayIn", true),
    ("Collect", true),
    ("RepayFund", true),
    ("ForgetJobCap", false),
    ("PeriodRows", true),
];

/// The name of a kind.
pub(crate) fn kind_name(kind: u64) -> Option<&'static str> {
    let place = usize::try_from(kind.checked_sub(1)?).ok()?;
    KINDS.get(place).map(|(name, _)| *name)
}

/// Whether an entry of this kind has a person behind it.
pub(crate) fn is_personal(kind: u64) -> bool {
    kind_name(kind).is_some_and(|_| KINDS[kind as usize - 1].1)
}

/// Judges an entry and carries it out.
pub(crate) fn apply(books: &mut Books, judge: &mut Judge<'_>, kind: u64, mut facts: Facts<'_>) -> Read<()> {
    let facts = &mut facts;
    match kind {
        1 => parties::create_org(books, judge, facts)?,
        2 => parties::top_up(books, judge, facts)?,
        3 => parties::withdraw(books, judge, facts)?,
        4 => parties::register_site(books, judge, facts)?,
        5 => parties::set_prices(books, judge, facts)?,
        6 => programmes::create(books, judge, facts)?,
        7 => programmes::revise(books, judge, facts)?,
        8 => programmes::set_budget(books, judge, facts)?,
        9 => programmes::create_agreement(books, judge, facts)?,
        10 => programmes::end_agreement(books, judge, facts)?,
        11 => vouchers::issue(books, judge, facts)?,
        12 => vouchers::redeem(books, judge, facts)?,
        13 => vouchers::suspend(books, judge, facts)?,
        14 => vouchers::resume(books, judge, facts)?,
        15 => vouchers::revoke(books, judge, facts)?,
        16 => vouchers::expire(books, judge, facts)?,
        17 => holds::hold(books, judge, facts)?,
        18 => holds::quote(books, judge, facts)?,
        19 => holds::take_up(books, judge, facts)?,
        20 => captures::settle(books, judge, facts)?,
        21 => holds::release(books, judge, facts)?,
        22 => holds::release_quote(books, judge, facts)?,
        23 => refunds::refund(books, judge, facts)?,
        24 => captures::capture_slice(books, judge, facts)?,
        25 => holds::repin(books, judge, facts)?,
        26 => holds::extend(books, judge, facts)?,
        27 => parties::update_org(books, judge, facts)?,
        28 => periods::end(books, judge, facts)?,
        29 => periods::close(books, judge, facts)?,
        30 => payments::file_claim(books, judge, facts)?,
        31 => payments::review_claim(books, judge, facts)?,
        32 => payments::pay_claim(books, judge, facts)?,
        33 => payments::review_settlement(books, judge, facts)?,
        34 => payments::pay_settlement(books, judge, facts)?,
        35 => payments::pay_in(books, judge, facts)?,
        36 => payments::collect(books, judge, facts)?,
        37 => payments::repay_fund(books, judge, facts)?,
        38 => captures::forget_job_cap(books, judge, facts)?,
        39 => periods::rows(books, judge, facts)?,
        _ => {
            return Err(Malformed {
                what: "kind".into(),
                expected: format!("1 to {}", KINDS.len()),
                found: kind.to_string(),
            });
        }
    }
    facts.end()
}

/// What an entry is about does not exist.
fn unknown(what: &str, id: impl std::fmt::Display) -> Malformed {
    Malformed {
        what: format!("{what} {id}"),
        expected: "one that exists".into(),
        found: "none".into(),
    }
}

/// A reason that must be given.
fn reason(judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let reason = facts.text("reason")?;
    judge.require(
        Check::Reason,
        !reason.trim().is_empty(),
        || "reason".into(),
        "a text",
        "none",
    );
    Ok(())
}
