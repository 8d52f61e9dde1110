//! Slices as a hold pins them: how its time is cut, prices, and what the wallet must hold. Who may pay is in `eligible`, how much in `amounts`.

use super::amounts::amounts;
use super::eligible::{eligible, stacking};
use super::unknown;
use crate::books::{Books, Hold, JobCap, Leg, Slice};
use crate::calendar::month_end;
use crate::chart::Account;
use crate::exact::list_price;
use crate::facts::{Facts, Malformed, Read};
use crate::finding::Check;
use crate::judge::Judge;

/// The job that a quote will be taken up by, which has used nothing yet: no job has this number.
const QUOTED: u64 = u64::MAX;

/// A slice as it is written: with the versions that are only checked.
pub(super) struct Stated {
    slice: Slice,
    /// Per line.
    sheets: Vec<u64>,
    /// Per leg.
    agreement_versions: Vec<u64>,
}

/// Reads a number of slices.
pub(super) fn read_slices(facts: &mut Facts<'_>, lines: usize) -> Read<Vec<Stated>> {
    let count = facts.count("number of slices")?;
    (0..count).map(|_| read_slice(facts, lines)).collect()
}

fn read_slice(facts: &mut Facts<'_>, lines: usize) -> Read<Stated> {
    let mut slice = Slice {
        from_ms: facts.ms("slice from")?,
        until_ms: facts.ms("slice until")?,
        stack_max: facts.number("stack cap")?,
        prices: Vec::with_capacity(lines),
        gross: facts.amount("list price of the slice")?,
        wallet: facts.amount("wallet of the slice")?,
        legs: Vec::new(),
    };
    let mut sheets = Vec::with_capacity(lines);
    for _ in 0..lines {
        slice.prices.push(facts.factor("price")?);
        sheets.push(facts.number("version of the price sheet")?);
    }
    let mut agreement_versions = Vec::new();
    for _ in 0..facts.count("number of legs")? {
        let (voucher, programme) = (facts.number("voucher")?, facts.id("programme")?);
        let (revision, agreement) = (facts.number("revision")?, facts.id("agreement")?);
        agreement_versions.push(facts.number("version of the agreement")?);
        slice.legs.push(Leg {
            voucher,
            programme,
            revision,
            agreement,
            by_holder: facts.flag("redemption")?,
            year: facts.ms("fiscal year")?,
            group: 0,
            cover_ms: facts.ms("cover")?,
            amount: facts.amount("amount of the leg")?,
            grant: facts.amount("grant of the leg")?,
            rates: (0..lines).map(|_| facts.number("rate")).collect::<Read<_>>()?,
        });
    }
    Ok(Stated {
        slice,
        sheets,
        agreement_versions,
    })
}

/// Checks slices that are planned now for a hold, from an offset to its limit, and sets their money aside.
pub(super) fn set_aside(
    books: &mut Books,
    judge: &mut Judge<'_>,
    hold: &mut Hold,
    from_ms: u64,
    stated: Vec<Stated>,
) -> Read<()> {
    let job = hold.key.map_or(QUOTED, |(job, ..)| job);
    let mut next = from_ms;
    let last = stated.len().saturating_sub(1);
    for (place, one) in stated.into_iter().enumerate() {
        let number = hold.slices.len() + 1;
        let what = |figure: &str| format!("slice {number}: {figure}");
        let Slice { from_ms, until_ms, .. } = one.slice;
        judge.expect(Check::Cell, || what("from"), next, from_ms);
        let month = month_end(hold.base.saturating_add(from_ms)).saturating_sub(hold.base);
        // One slice per calendar month that the time reaches into.
        let until = if place == last { hold.limit_ms } else { month };
        judge.expect(Check::Cell, || what("until"), until, until_ms);
        judge.require(
            Check::Cell,
            from_ms < until_ms && until_ms <= month,
            || what("until"),
            format!("after {from_ms} and at most {month}"),
            until_ms,
        );
        if from_ms >= until_ms {
            return Err(Malformed {
                what: what("time"),
                expected: "an end after the beginning".into(),
                found: format!("{from_ms} to {until_ms}"),
            });
        }
        next = until_ms;
        let slice = check(books, judge, hold, job, one)?;
        post(books, judge, hold, job, &slice);
        hold.slices.push(slice);
    }
    judge.expect(Check::Cell, || "end of the last slice".into(), hold.limit_ms, next);
    if hold.key.is_none() {
        // Counted when a job takes the quote up.
        for leg in hold.slices.iter().flat_map(|slice| &slice.legs) {
            count_job(books, QUOTED, leg, -leg.amount, -leg.grant);
        }
    }
    Ok(())
}

// What the slice takes, and what caps count.
fn post(books: &mut Books, judge: &mut Judge<'_>, hold: &Hold, job: u64, slice: &Slice) {
    for leg in &slice.legs {
        judge.post(
            Account::Voucher(leg.voucher),
            Account::VoucherHeld(leg.voucher),
            leg.grant,
        );
        if books
            .programme(leg.programme)
            .is_some_and(|programme| programme.commit_at_hold)
        {
            judge.post(
                Account::Budget(leg.programme),
                Account::Unfunded(leg.programme),
                leg.grant,
            );
        }
        books.count_group(leg.programme, leg.group, leg.year, leg.grant);
        count_job(books, job, leg, leg.amount, leg.grant);
    }
    judge.post(
        Account::Wallet(hold.payer),
        Account::WalletHeld(hold.payer),
        slice.wallet,
    );
}

/// Counts a leg in the caps per job it was pinned under.
pub(super) fn count_job(books: &mut Books, job: u64, leg: &Leg, amount: i128, grant: i128) {
    let terms = books
        .programme(leg.programme)
        .and_then(|programme| programme.terms_of(leg.revision));
    if terms.is_some_and(|terms| terms.cap_job.is_some()) {
        books.count_job(job, JobCap::Programme(leg.programme), grant);
    }
    if books
        .agreement(leg.agreement)
        .is_some_and(|agreement| agreement.cap.is_some())
    {
        books.count_job(job, JobCap::Agreement(leg.agreement), amount);
    }
}

fn check(books: &Books, judge: &mut Judge<'_>, hold: &Hold, job: u64, stated: Stated) -> Read<Slice> {
    let Stated {
        mut slice,
        sheets,
        agreement_versions,
    } = stated;
    let number = hold.slices.len() + 1;
    let site = books.sites.get(&hold.site).ok_or_else(|| unknown("site", hold.site))?;
    for (line, (sku, _)) in hold.lines.iter().enumerate() {
        let found = (slice.prices[line], sheets[line]);
        let Some(expected) = site.price(sku, judge.rules_at) else {
            judge
                .findings
                .add(Check::Price, format!("slice {number}: price of {sku}"), "none", found.0);
            continue;
        };
        let what = |figure: &str| format!("slice {number}: {figure} of {sku}");
        judge.expect(Check::Price, || what("price"), expected.0, found.0);
        judge.expect(Check::Price, || what("price sheet"), expected.1, found.1);
        slice.prices[line] = expected.0;
    }
    let length_ms = slice.until_ms - slice.from_ms;
    let costs = line_costs(hold, &slice, length_ms)?;
    let gross: i128 = costs.iter().sum();
    judge.expect(
        Check::Price,
        || format!("slice {number}: list price"),
        gross,
        slice.gross,
    );
    slice.gross = gross;
    let mut legs = std::mem::take(&mut slice.legs);
    for (place, leg) in legs.iter_mut().enumerate() {
        let what = format!("slice {number}, leg {}", place + 1);
        eligible(books, judge, hold, &slice, leg, agreement_versions[place], &what)?;
    }
    slice.legs = legs;
    stacking(books, judge, &slice, number);
    amounts(books, judge, hold, job, &mut slice, &costs, number)?;
    let paid: i128 = slice.legs.iter().map(|leg| leg.amount).sum();
    let advanced: i128 = slice
        .legs
        .iter()
        .filter(|leg| leg.by_holder)
        .map(|leg| leg.amount)
        .sum();
    let wallet = gross - paid + advanced + for_rounding(&slice, costs.len());
    judge.expect(
        Check::Wallet,
        || format!("slice {number}: held in the wallet"),
        wallet,
        slice.wallet,
    );
    slice.wallet = wallet;
    Ok(slice)
}

// What the co-pay of a part of the slice can exceed its share of the whole slice's by, through rounding: on each line a fen for every
// programme but one; where a voucher covers the line in part, two for every voucher and one.
fn for_rounding(slice: &Slice, lines: usize) -> i128 {
    let length_ms = slice.until_ms - slice.from_ms;
    let of_line = |line: usize| {
        let paying: Vec<&Leg> = slice.legs.iter().filter(|leg| leg.rates[line] > 0).collect();
        if paying.iter().any(|leg| leg.cover_ms < length_ms) {
            return 2 * paying.len() as i128 + 1;
        }
        let mut programmes: Vec<u32> = paying.iter().map(|leg| leg.programme).collect();
        programmes.sort_unstable();
        programmes.dedup();
        (programmes.len() as i128 - 1).max(0)
    };
    (0..lines).map(of_line).sum()
}

/// What each line costs for a time.
pub(super) fn line_costs(hold: &Hold, slice: &Slice, ms: u64) -> Read<Vec<i128>> {
    let lines = hold.lines.iter().zip(&slice.prices);
    lines
        .map(|((sku, milli_units), price)| {
            list_price(*milli_units, ms, *price).ok_or_else(|| Malformed {
                what: format!("list price of {sku}"),
                expected: "an amount that fits".into(),
                found: format!("{milli_units} milli-units for {ms} ms at {price}"),
            })
        })
        .collect()
}
