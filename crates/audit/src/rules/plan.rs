//! Slices as a hold pins them: prices, who may pay, at which rates, how much of it, and what the wallet must hold.

use super::unknown;
use crate::books::{Books, Hold, JobCap, Leg, Life, Programme, Slice};
use crate::calendar::{month_end, year, year_start};
use crate::chart::Account;
use crate::exact::{at_most, grant_for, list_price, worth};
use crate::facts::{Facts, Malformed, Read};
use crate::finding::Check;
use crate::flow::{Bill, NO_BOUND, Offer, Side, is_largest_out_of_order, leg_amounts};
use crate::judge::Judge;

/// All of it, in basis points.
const WHOLE: u64 = 10_000;

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
        let Some(expected) = site.price(sku, judge.at) else {
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

// Holder, region, scope, interval, affiliation; and everything that is pinned. What the leg pins is replaced by what it should.
fn eligible(
    books: &Books,
    judge: &mut Judge<'_>,
    hold: &Hold,
    slice: &Slice,
    leg: &mut Leg,
    agreement_version: u64,
    what: &str,
) -> Read<()> {
    let at = judge.at;
    let voucher = books
        .voucher(leg.voucher)
        .ok_or_else(|| unknown("voucher", leg.voucher))?;
    let programme = books
        .programme(voucher.programme)
        .ok_or_else(|| unknown("programme", voucher.programme))?;
    let payer = books
        .org(hold.payer)
        .ok_or_else(|| unknown("organisation", hold.payer))?;
    let provider = books
        .org(hold.provider)
        .ok_or_else(|| unknown("organisation", hold.provider))?;
    let site = books.sites.get(&hold.site).ok_or_else(|| unknown("site", hold.site))?;
    let says = |figure: &str| format!("{what}: {figure}");
    let rule = Check::Eligibility;
    judge.expect(
        rule,
        || says("programme of the voucher"),
        voucher.programme,
        leg.programme,
    );
    leg.programme = voucher.programme;
    judge.expect(rule, || says("holder of the voucher"), hold.payer, voucher.holder);
    judge.require(
        rule,
        voucher.life == Life::Active,
        || says("voucher"),
        "Active",
        format!("{:?}", voucher.life),
    );
    let inside = |from: u64, until: u64| (from..until).contains(&at);
    judge.require(
        rule,
        inside(voucher.from, voucher.until),
        || says("voucher is valid"),
        format!("from {} until {}", voucher.from, voucher.until),
        at,
    );
    let (terms, revision) = programme.terms_at(at);
    judge.expect(rule, || says("revision"), revision, leg.revision);
    leg.revision = revision;
    judge.require(
        rule,
        inside(terms.from, terms.until),
        || says("programme is in force"),
        format!("from {} until {}", terms.from, terms.until),
        at,
    );
    judge.require(
        rule,
        terms.kinds.is_empty() || terms.kinds.contains(&payer.kind),
        || says("kind of the holder"),
        format!("one of {:?}", terms.kinds),
        payer.kind,
    );
    judge.require(
        rule,
        terms.regions.is_empty() || terms.regions.contains(&payer.region.into()),
        || says("region of the holder"),
        format!("one of {:?}", terms.regions),
        payer.region,
    );
    judge.require(
        rule,
        payer.group != provider.group,
        || says("control groups of holder and provider"),
        "two",
        format!("{} twice", payer.group),
    );
    let mut agreement = (0, 0, None);
    if site.region != programme.region {
        // Of those that apply, the latest counts.
        let applies = |known: &&crate::books::Agreement| {
            known.issuer == programme.region && inside(known.from, known.until) && known.covers(hold.site, site)
        };
        match books.agreements.iter().rposition(|known| applies(&known)) {
            Some(place) => {
                let known = &books.agreements[place];
                agreement = (place as u32 + 1, known.version, Some(known));
            }
            None => judge.findings.add(
                rule,
                says("scope"),
                format!("an agreement from {} to site {}", programme.region, hold.site),
                "none in force",
            ),
        }
    }
    judge.expect(rule, || says("agreement"), agreement.0, leg.agreement);
    judge.expect(
        rule,
        || says("version of the agreement"),
        agreement.1,
        agreement_version,
    );
    leg.agreement = agreement.0;
    for (rate, (sku, _)) in leg.rates.iter_mut().zip(&hold.lines) {
        let of_class = programme.denomination.is_empty() || programme.denomination == *sku;
        let own = if of_class { terms.rate_of(sku) } else { 0 };
        let expected = agreement.2.map_or(own, |agreement| own.min(agreement.rate_of(sku)));
        judge.expect(rule, || says(&format!("rate for {sku}")), expected, *rate);
        *rate = expected;
    }
    judge.expect(
        rule,
        || says("redeemed by the holder"),
        programme.by_holder,
        leg.by_holder,
    );
    leg.by_holder = programme.by_holder;
    leg.group = payer.group;
    let begins = hold.base.saturating_add(slice.from_ms);
    judge.expect(rule, || says("fiscal year"), year(at), leg.year);
    leg.year = year(at);
    let length_ms = slice.until_ms - slice.from_ms;
    let cover = if terms.expiry_hold {
        length_ms
    } else {
        let mut end = voucher.until.min(terms.until);
        if !terms.carry_over {
            end = end.min(year_start(year(at) + 1));
        }
        end.saturating_sub(begins).min(length_ms)
    };
    judge.expect(rule, || says("cover"), cover, leg.cover_ms);
    leg.cover_ms = cover;
    Ok(())
}

fn stacking(books: &Books, judge: &mut Judge<'_>, slice: &Slice, number: usize) {
    let mut programmes: Vec<u32> = slice.legs.iter().map(|leg| leg.programme).collect();
    programmes.sort_unstable();
    programmes.dedup();
    let mut most = WHOLE;
    for id in &programmes {
        let Some((terms, _)) = books.programme(*id).map(|programme| programme.terms_at(judge.at)) else {
            continue;
        };
        match terms.stack {
            Some(stack) => most = most.min(stack),
            None => judge.require(
                Check::Eligibility,
                programmes.len() == 1,
                || format!("slice {number}: programme {id} is exclusive"),
                "no other programme",
                format!("programmes {programmes:?}"),
            ),
        }
    }
    judge.require(
        Check::Leg,
        slice.stack_max <= most,
        || format!("slice {number}: stack cap"),
        format!("at most {most}"),
        slice.stack_max,
    );
}

// What caps and, if committed at hold, the budget leave of a programme: in fen, at the price of its class.
fn programme_left(
    books: &Books,
    judge: &Judge<'_>,
    job: u64,
    leg: &Leg,
    programme: &Programme,
    in_fen: impl Fn(i128) -> i128,
) -> i128 {
    let id = leg.programme;
    let (terms, _) = programme.terms_at(judge.at);
    let mut left = NO_BOUND;
    if programme.commit_at_hold {
        left = in_fen(judge.balance(books, Account::Budget(id)));
    }
    if let Some(cap) = terms.cap_group {
        let used = books.group_use.get(&(id, leg.group, leg.year)).copied().unwrap_or(0);
        left = left.min(in_fen(cap - used));
    }
    if let Some(cap) = terms.cap_job {
        let used = books.job_use.get(&(job, JobCap::Programme(id))).copied().unwrap_or(0);
        left = left.min(in_fen(cap - used));
    }
    left.max(0)
}

fn amounts(
    books: &Books,
    judge: &mut Judge<'_>,
    hold: &Hold,
    job: u64,
    slice: &mut Slice,
    costs: &[i128],
    number: usize,
) -> Read<()> {
    let mut bill = Bill {
        lines: costs.to_vec(),
        together: at_most(costs.iter().sum(), slice.stack_max),
        ..Bill::default()
    };
    let mut agreements: Vec<u32> = Vec::new();
    let mut programmes: Vec<u32> = Vec::new();
    // Of unit-hours, the price of their class: what a grant is worth.
    let price_of = |programme: &Programme| {
        let line = hold.lines.iter().position(|(sku, _)| *sku == programme.denomination);
        line.map_or(0, |line| slice.prices[line])
    };
    for leg in &slice.legs {
        let programme = books
            .programme(leg.programme)
            .ok_or_else(|| unknown("programme", leg.programme))?;
        let in_fen = |grant: i128| {
            if programme.denomination.is_empty() {
                grant
            } else {
                worth(grant, price_of(programme))
            }
        };
        let agreement = agreements
            .iter()
            .position(|known| *known == leg.agreement)
            .unwrap_or_else(|| {
                agreements.push(leg.agreement);
                let cap = books.agreement(leg.agreement).and_then(|agreement| agreement.cap);
                let used = books.job_use.get(&(job, JobCap::Agreement(leg.agreement))).copied();
                let used = used.unwrap_or(0);
                bill.agreements.push(cap.map_or(NO_BOUND, |cap| (cap - used).max(0)));
                agreements.len() - 1
            });
        let per_line = covered(hold, slice, leg)?;
        let side = programmes
            .iter()
            .position(|known| *known == leg.programme)
            .unwrap_or_else(|| {
                programmes.push(leg.programme);
                bill.programmes.push(Side {
                    agreement,
                    left: programme_left(books, judge, job, leg, programme, in_fen),
                    per_line: vec![0; costs.len()],
                });
                programmes.len() - 1
            });
        for (most, gives) in bill.programmes[side].per_line.iter_mut().zip(&per_line) {
            *most = (*most).max(*gives);
        }
        bill.legs.push(Offer {
            programme: side,
            balance: in_fen(judge.balance(books, Account::Voucher(leg.voucher))).max(0),
            per_line,
        });
    }
    let expected = expected_amounts(slice, bill.clone(), costs);
    // Unit-hours are rounded up once for all vouchers of a programme: its caps never give more than they have.
    let mut of_programme = vec![0; bill.programmes.len()];
    for (place, amount) in expected.into_iter().enumerate() {
        let leg = &slice.legs[place];
        let programme = books.programme(leg.programme);
        let in_money = programme.is_none_or(|programme| programme.denomination.is_empty());
        let grant = if in_money {
            Some(amount)
        } else {
            let before: &mut i128 = &mut of_programme[bill.legs[place].programme];
            let price = programme.map_or(0, &price_of);
            let taken = grant_for(*before + amount, price).zip(grant_for(*before, price));
            *before += amount;
            taken.map(|(after, before)| after - before)
        };
        let what = |figure: &str| format!("slice {number}, leg {}: {figure}", place + 1);
        judge.expect(Check::Leg, || what("amount"), amount, leg.amount);
        judge.expect(Check::Leg, || what("grant"), grant.unwrap_or(0), leg.grant);
        let leg = &mut slice.legs[place];
        (leg.amount, leg.grant) = (amount, grant.unwrap_or(0));
    }
    Ok(())
}

// What each leg should pay; what it says it pays where that is right too.
fn expected_amounts(slice: &Slice, mut bill: Bill, costs: &[i128]) -> Vec<i128> {
    let stated: Vec<i128> = slice.legs.iter().map(|leg| leg.amount).collect();
    let in_order = leg_amounts(&bill);
    if stated == in_order || is_largest_out_of_order(&bill, &stated) {
        return stated;
    }
    // A voucher that was offered, covers more of a line than the ones that pay, and was left with nothing is not in the entry; it widens
    // what its programme may pay of the line.
    for (leg, offer) in slice.legs.iter().zip(&bill.legs) {
        let widest = leg.rates.iter().zip(costs).map(|(rate, cost)| at_most(*cost, *rate));
        bill.programmes[offer.programme].per_line = widest.collect();
    }
    if stated == leg_amounts(&bill) || is_largest_out_of_order(&bill, &stated) {
        return stated;
    }
    in_order
}

// What the rates of a leg give of each line, as far as it covers the slice.
fn covered(hold: &Hold, slice: &Slice, leg: &Leg) -> Read<Vec<i128>> {
    let costs = line_costs(hold, slice, leg.cover_ms.min(slice.until_ms - slice.from_ms))?;
    Ok(costs
        .iter()
        .zip(&leg.rates)
        .map(|(cost, rate)| at_most(*cost, *rate))
        .collect())
}
