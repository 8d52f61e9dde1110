//! How much each leg of a slice pays at the hold: as much as rates, cover, stack cap, caps, budgets and balances leave.

use super::plan::line_costs;
use super::unknown;
use crate::books::{Books, Hold, JobCap, Leg, Programme, Slice};
use crate::chart::Account;
use crate::exact::{at_most, grant_for, worth};
use crate::facts::Read;
use crate::finding::Check;
use crate::flow::{Bill, NO_BOUND, Offer, Side, is_largest_out_of_order, leg_amounts};
use crate::judge::Judge;

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
    let (terms, _) = programme.terms_at(judge.rules_at);
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

/// Checks what each leg of a slice pays and takes; what it says is replaced by what it should.
pub(super) fn amounts(
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
