//! Capture: what a slice costs for the time used, what each leg and the wallet pay of it, and the release of the rest.

use super::plan::{count_job, line_costs};
use super::recount::{recount, release_rest};
use super::unknown;
use crate::books::{Books, Cell, CellLeg, Ended, Hold, JobCap, Leg, Slice};
use crate::calendar::month_end;
use crate::chart::Account;
use crate::closing::TallyKey;
use crate::ended::packed;
use crate::exact::{at_most, largest_remainder, proportion_up};
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::flow::{Bill, NO_BOUND, Offer, Side, leg_amounts};
use crate::judge::Judge;

/// A cell as it is written.
pub(super) struct Stated {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    period: u32,
    gross: i128,
    wallet: i128,
    /// Amount and grant.
    legs: Vec<(i128, i128)>,
}

/// Reads the cell of a slice.
pub(super) fn read_cell(facts: &mut Facts<'_>, slice: &Slice) -> Read<Stated> {
    Ok(Stated {
        from_ms: facts.ms("cell from")?,
        to_ms: facts.ms("cell to")?,
        period: facts.id("period")?,
        gross: facts.amount("list price of the cell")?,
        wallet: facts.amount("wallet of the cell")?,
        legs: slice
            .legs
            .iter()
            .map(|_| Ok((facts.amount("amount of the leg")?, facts.amount("grant of the leg")?)))
            .collect::<Read<_>>()?,
    })
}

pub(super) fn settle(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("hold")?;
    let wall_ms = facts.ms("wall time")?;
    let count = facts.count("number of cells")?;
    let mut hold = books.holds.remove(&id).ok_or_else(|| unknown("open hold", id))?;
    // No more than was asked for, nor than has passed.
    let most_ms = hold.limit_ms.min(judge.at.saturating_sub(hold.base));
    judge.require(
        Check::Cell,
        wall_ms <= most_ms,
        || "wall time".into(),
        format!("at most {most_ms}"),
        wall_ms,
    );
    let used = hold.slices.iter().take_while(|slice| slice.from_ms < wall_ms).count();
    judge.expect(Check::Cell, || "number of cells".into(), used, count);
    for (place, slice) in std::mem::take(&mut hold.slices).into_iter().enumerate() {
        if place < count {
            let stated = read_cell(facts, &slice)?;
            let to_ms = slice.until_ms.min(wall_ms).max(slice.from_ms);
            let cell = capture(books, judge, &hold, &slice, to_ms, &stated)?;
            release_rest(books, judge, &hold, &slice, &cell);
            hold.cells.push(cell);
        } else {
            release(books, judge, &hold, &slice);
        }
    }
    recount(books, judge, facts, &mut hold, wall_ms)?;
    end(books, id, hold);
    Ok(())
}

pub(super) fn capture_slice(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("hold")?;
    let count = facts.number("number of cells")?;
    judge.expect(Check::Facts, || "number of cells".into(), 1, count);
    let mut hold = books.holds.remove(&id).ok_or_else(|| unknown("open hold", id))?;
    if hold.slices.is_empty() {
        return Err(unknown("open slice of hold", id));
    }
    let slice = hold.slices.remove(0);
    let stated = read_cell(facts, &slice)?;
    let (over, at) = (hold.base.saturating_add(slice.until_ms), judge.at);
    judge.require(
        Check::Cell,
        over <= at,
        || "end of the slice".into(),
        format!("not after {at}"),
        over,
    );
    // What it holds besides stays held: the hold may turn out to be shorter.
    let cell = capture(books, judge, &hold, &slice, slice.until_ms, &stated)?;
    hold.cells.push(cell);
    hold.past.push(slice);
    books.holds.insert(id, hold);
    Ok(())
}

/// What a job had used of a cap is forgotten, long after its last hold: it counts from nothing again.
pub(super) fn forget_job_cap(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let job = facts.number("job")?;
    let (programme, agreement) = (facts.id("programme")?, facts.id("agreement")?);
    let one = (programme == 0) != (agreement == 0);
    judge.require(
        Check::Facts,
        one,
        || "programme and agreement".into(),
        "one of them",
        format!("{programme} and {agreement}"),
    );
    let cap = if agreement == 0 {
        JobCap::Programme(programme)
    } else {
        JobCap::Agreement(agreement)
    };
    let used = books.job_use.remove(&(job, cap)).unwrap_or(0);
    judge.require(Check::Cap, used > 0, || format!("used by job {job}"), "something", used);
    let is_capped = |leg: &Leg| {
        let programme = books.programme(leg.programme);
        let terms = programme.and_then(|programme| programme.terms_of(leg.revision));
        terms.is_some_and(|terms| terms.cap_job.is_some())
    };
    let counts = |leg: &Leg| match cap {
        JobCap::Programme(id) => leg.programme == id && is_capped(leg),
        JobCap::Agreement(id) => leg.agreement == id,
    };
    let open = books.open_keys.range((job, 0, 0)..=(job, u32::MAX, u32::MAX));
    let holds = open.filter_map(|(_, id)| books.holds.get(id));
    let held = holds
        .flat_map(|hold| hold.slices.iter().chain(&hold.past))
        .flat_map(|slice| &slice.legs)
        .any(counts);
    judge.require(
        Check::Cap,
        !held,
        || format!("held by job {job} under the cap"),
        "nothing",
        "an open hold",
    );
    Ok(())
}

/// Ends a hold; what it captured stays open to refunds.
pub(super) fn end(books: &mut Books, id: u64, hold: Hold) {
    books.holds.remove(&id);
    let Some(key) = hold.key else { return };
    books.open_keys.remove(&key);
    // A hold that cost nothing keeps its key too: nobody is charged under it again.
    let ended = Ended {
        payer: hold.payer,
        site: hold.site,
        provider: hold.provider,
        cells: hold.cells,
    };
    books.ended.insert(key, packed(&ended));
}

/// A period that ends by itself must have ended before anything is booked after its end.
pub(super) fn check_rolled(books: &Books, judge: &mut Judge<'_>) {
    let over = month_end(books.closing.current_from());
    let at = judge.at;
    judge.require(
        Check::Period,
        at < over,
        || format!("end of period {}", books.closing.current()),
        format!("an entry for the end at {over}"),
        format!("a line at {at} without one"),
    );
}

/// Captures a slice up to an offset; the rest of it stays held.
pub(super) fn capture(
    books: &mut Books,
    judge: &mut Judge<'_>,
    hold: &Hold,
    slice: &Slice,
    to_ms: u64,
    stated: &Stated,
) -> Read<Cell> {
    let number = hold.cells.len() + 1;
    let what = |figure: &str| format!("cell {number}: {figure}");
    judge.expect(Check::Cell, || what("from"), slice.from_ms, stated.from_ms);
    judge.expect(Check::Cell, || what("to"), to_ms, stated.to_ms);
    check_rolled(books, judge);
    let period = books.closing.booked(hold.base.saturating_add(to_ms).min(judge.at));
    judge.expect(Check::Period, || what("period"), period, stated.period);
    let costs = line_costs(hold, slice, to_ms - slice.from_ms)?;
    let gross: i128 = costs.iter().sum();
    judge.expect(Check::Price, || what("list price"), gross, stated.gross);
    let amounts = paid(hold, slice, &costs, to_ms - slice.from_ms)?;
    let mut legs = Vec::with_capacity(slice.legs.len());
    let (mut subsidy, mut advanced) = (0, 0);
    for (place, (leg, amount)) in slice.legs.iter().zip(amounts).enumerate() {
        let grant = proportion_up(leg.grant, amount, leg.amount);
        let says = |figure: &str| format!("cell {number}, leg {}: {figure}", place + 1);
        judge.expect(Check::Leg, || says("amount"), amount, stated.legs[place].0);
        judge.expect(Check::Leg, || says("grant"), grant, stated.legs[place].1);
        subsidy += amount;
        advanced += if leg.by_holder { amount } else { 0 };
        legs.push(capture_leg(books, judge, hold, leg, amount, grant)?);
    }
    let copay = gross - subsidy;
    let wallet = copay + advanced;
    judge.expect(Check::Wallet, || what("wallet"), wallet, stated.wallet);
    judge.require(
        Check::Wallet,
        wallet <= slice.wallet,
        || what("wallet"),
        format!("at most the {} held", slice.wallet),
        wallet,
    );
    judge.post(
        Account::WalletHeld(hold.payer),
        Account::Receivable(hold.provider),
        wallet,
    );
    let cell = Cell { period, copay, legs };
    tally(books, hold.site, period, &cell, wallet);
    Ok(cell)
}

/// The legs of the slice in their order, each the most it can up to what it holds; caps and budgets were judged at the hold.
pub(super) fn paid(hold: &Hold, slice: &Slice, costs: &[i128], ms: u64) -> Read<Vec<i128>> {
    let mut programmes: Vec<u32> = Vec::new();
    let mut bill = Bill {
        lines: costs.to_vec(),
        together: at_most(costs.iter().sum(), slice.stack_max),
        agreements: vec![NO_BOUND],
        ..Bill::default()
    };
    for leg in &slice.legs {
        let covered = line_costs(hold, slice, leg.cover_ms.min(ms))?;
        let per_line: Vec<i128> = covered
            .iter()
            .zip(&leg.rates)
            .map(|(cost, rate)| at_most(*cost, *rate))
            .collect();
        let side = programmes
            .iter()
            .position(|known| *known == leg.programme)
            .unwrap_or_else(|| {
                programmes.push(leg.programme);
                bill.programmes.push(Side {
                    agreement: 0,
                    left: NO_BOUND,
                    per_line: vec![0; costs.len()],
                });
                programmes.len() - 1
            });
        for (most, gives) in bill.programmes[side].per_line.iter_mut().zip(&per_line) {
            *most = (*most).max(*gives);
        }
        bill.legs.push(Offer {
            programme: side,
            balance: leg.amount,
            per_line,
        });
    }
    Ok(leg_amounts(&bill))
}

// The voucher's grant is used, its funders owe the amount, the payee is owed it.
fn capture_leg(
    books: &mut Books,
    judge: &mut Judge<'_>,
    hold: &Hold,
    leg: &Leg,
    amount: i128,
    grant: i128,
) -> Read<CellLeg> {
    judge.post(
        Account::VoucherHeld(leg.voucher),
        Account::Uncalled(leg.programme),
        grant,
    );
    let programme = books
        .programme(leg.programme)
        .ok_or_else(|| unknown("programme", leg.programme))?;
    let funders = largest_remainder(amount, &programme.shares());
    let payee = if leg.by_holder {
        Account::Claim(hold.payer)
    } else {
        Account::Receivable(hold.provider)
    };
    for (place, part) in funders.iter().enumerate() {
        judge.post(Account::Due(leg.programme, place as u8), payee, *part);
    }
    if let Some(voucher) = books.voucher_mut(leg.voucher) {
        voucher.paid += amount;
        if voucher.fraud {
            judge.post(Account::Owes(voucher.holder), Account::Recovery(leg.programme), amount);
        }
    }
    if leg.by_holder {
        let account = books.closing.claimable.entry((hold.payer, leg.programme)).or_default();
        account.free += amount;
    }
    let payee_region = if leg.by_holder {
        hold.payer_region
    } else {
        books.sites.get(&hold.site).map_or(0, |site| site.region)
    };
    Ok(CellLeg {
        voucher: leg.voucher,
        programme: leg.programme,
        revision: leg.revision as u32,
        agreement: leg.agreement,
        year: leg.year as u32,
        group: leg.group,
        payee_region,
        by_holder: leg.by_holder,
        amount,
        grant,
        funders,
    })
}

/// Releases a slice whole.
pub(super) fn release(books: &mut Books, judge: &mut Judge<'_>, hold: &Hold, slice: &Slice) {
    for leg in &slice.legs {
        release_leg(books, judge, hold, leg, leg.amount, leg.grant);
    }
    judge.post(
        Account::WalletHeld(hold.payer),
        Account::Wallet(hold.payer),
        slice.wallet,
    );
}

/// What is not used goes back to the voucher, or to the budget when the voucher is over.
pub(super) fn release_leg(books: &mut Books, judge: &mut Judge<'_>, hold: &Hold, leg: &Leg, amount: i128, grant: i128) {
    let over = books.voucher(leg.voucher).is_some_and(|voucher| voucher.is_over());
    let held = Account::VoucherHeld(leg.voucher);
    if over {
        judge.post(held, Account::Budget(leg.programme), grant);
    } else {
        judge.post(held, Account::Voucher(leg.voucher), grant);
        if let source @ Account::Unfunded(_) = books.source(leg.programme) {
            judge.post(source, Account::Budget(leg.programme), grant);
        }
    }
    books.count_group(leg.programme, leg.group, leg.year, -grant);
    if let Some((job, ..)) = hold.key {
        count_job(books, job, leg, -amount, -grant);
    }
}

fn tally(books: &mut Books, site: u32, period: u32, cell: &Cell, wallet: i128) {
    let site_region = books.sites.get(&site).map_or(0, |site| site.region);
    let key = |programme, agreement, payee_region| TallyKey {
        period,
        of: period,
        programme,
        agreement,
        site,
        payee_region,
    };
    for leg in &cell.legs {
        let key = key(leg.programme, leg.agreement, leg.payee_region);
        books.closing.count(key, false, leg.amount, &leg.funders);
    }
    books.closing.count(key(0, 0, site_region), false, wallet, &[]);
}
