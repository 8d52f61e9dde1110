//! The end of a hold of which something was captured while it went on: where less was used than was captured, the cells are what they would be had their
//! slices been captured now, and what the slices hold besides is released.

use super::captures::{check_rolled, paid, release_leg};
use super::plan::line_costs;
use super::refunds::{set_against, take_back};
use super::unknown;
use crate::books::{Books, Cell, CellLeg, Hold, Leg, Slice};
use crate::chart::Account;
use crate::closing::TallyKey;
use crate::exact::{largest_remainder, proportion_up};
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

/// Reads the cells that are counted anew, checks them, and releases what is kept.
pub(super) fn recount(
    books: &mut Books,
    judge: &mut Judge<'_>,
    facts: &mut Facts<'_>,
    hold: &mut Hold,
    wall_ms: u64,
) -> Read<()> {
    let past = std::mem::take(&mut hold.past);
    let whole = past.iter().take_while(|slice| slice.until_ms <= wall_ms).count();
    let count = facts.count("number of cells counted anew")?;
    judge.expect(
        Check::Cell,
        || "number of cells counted anew".into(),
        past.len() - whole,
        count,
    );
    let mut cells = std::mem::take(&mut hold.cells);
    for (place, slice) in past.iter().enumerate() {
        let cell = cells.get_mut(place).ok_or_else(|| unknown("cell", place))?;
        if place >= whole {
            count_anew(books, judge, facts, hold, (place, slice), wall_ms, cell)?;
        }
        release_rest(books, judge, hold, slice, cell);
    }
    hold.cells = cells;
    Ok(())
}

/// What a slice holds beside its cell goes back.
pub(super) fn release_rest(books: &mut Books, judge: &mut Judge<'_>, hold: &Hold, slice: &Slice, cell: &Cell) {
    for (leg, used) in slice.legs.iter().zip(&cell.legs) {
        release_leg(
            books,
            judge,
            hold,
            leg,
            leg.amount - used.amount,
            leg.grant - used.grant,
        );
    }
    judge.post(
        Account::WalletHeld(hold.payer),
        Account::Wallet(hold.payer),
        slice.wallet - from_wallet(cell),
    );
}

/// A slice that was captured where its cover ended holds no more than its cell took.
pub(super) fn ended_with(mut slice: Slice, until_ms: u64, cell: &Cell) -> Slice {
    (slice.until_ms, slice.wallet) = (until_ms, from_wallet(cell));
    for (leg, used) in slice.legs.iter_mut().zip(&cell.legs) {
        (leg.amount, leg.grant) = (used.amount, used.grant);
    }
    slice
}

// Its co-pay, and what the holder advanced.
fn from_wallet(cell: &Cell) -> i128 {
    let advanced = cell.legs.iter().filter(|leg| leg.by_holder);
    cell.copay + advanced.map(|leg| leg.amount).sum::<i128>()
}

fn count_anew(
    books: &mut Books,
    judge: &mut Judge<'_>,
    facts: &mut Facts<'_>,
    hold: &Hold,
    (place, slice): (usize, &Slice),
    wall_ms: u64,
    cell: &mut Cell,
) -> Read<()> {
    let what = |figure: &str| format!("cell {place} anew: {figure}");
    judge.expect(
        Check::Cell,
        || what("place"),
        place as u64,
        facts.number("place of the cell")?,
    );
    check_rolled(books, judge);
    let booked = if books.closing.is_closed(cell.period) {
        books.closing.current()
    } else {
        cell.period
    };
    judge.expect(
        Check::Period,
        || what("booked period"),
        booked,
        facts.id("booked period")?,
    );
    let to_ms = wall_ms.max(slice.from_ms);
    judge.expect(Check::Cell, || what("to"), to_ms, facts.ms("cell to")?);
    let used_ms = to_ms - slice.from_ms;
    let costs = line_costs(hold, slice, used_ms)?;
    let gross: i128 = costs.iter().sum();
    judge.expect(
        Check::Price,
        || what("list price"),
        gross,
        facts.amount("list price of the cell")?,
    );
    let stated_wallet = facts.amount("wallet of the cell")?;
    let amounts = paid(hold, slice, &costs, used_ms)?;
    let (mut legs, mut subsidy) = (Vec::with_capacity(slice.legs.len()), 0);
    for (number, (leg, amount)) in slice.legs.iter().zip(amounts).enumerate() {
        let grant = proportion_up(leg.grant, amount, leg.amount);
        let says = |figure: &str| format!("cell {place} anew, leg {}: {figure}", number + 1);
        judge.expect(
            Check::Leg,
            || says("amount"),
            amount,
            facts.amount("amount of the leg")?,
        );
        judge.expect(Check::Leg, || says("grant"), grant, facts.amount("grant of the leg")?);
        subsidy += amount;
        legs.push(leg_anew(books, leg, &cell.legs[number], amount, grant)?);
    }
    let mut after = Cell {
        period: cell.period,
        copay: gross - subsidy,
        legs,
    };
    // Where a cover ended nothing is kept for rounding: the wallet pays no more than it did.
    after.copay -= (from_wallet(&after) - slice.wallet).max(0);
    judge.expect(Check::Wallet, || what("wallet"), from_wallet(&after), stated_wallet);
    post(books, judge, hold, booked, cell, &after);
    *cell = after;
    Ok(())
}

fn leg_anew(books: &Books, leg: &Leg, before: &CellLeg, amount: i128, grant: i128) -> Read<CellLeg> {
    let programme = books
        .programme(leg.programme)
        .ok_or_else(|| unknown("programme", leg.programme))?;
    Ok(CellLeg {
        amount,
        grant,
        funders: largest_remainder(amount, &programme.shares()),
        ..before.clone()
    })
}

// What has to move so that the books are as if the cell had been captured as it is now.
fn post(books: &mut Books, judge: &mut Judge<'_>, hold: &Hold, booked: u32, before: &Cell, after: &Cell) {
    let site_region = books.sites.get(&hold.site).map_or(0, |site| site.region);
    let key = |programme, agreement, payee_region| TallyKey {
        period: booked,
        of: before.period,
        programme,
        agreement,
        site: hold.site,
        payee_region,
    };
    for (old, new) in before.legs.iter().zip(&after.legs) {
        let (used, held) = (Account::Uncalled(old.programme), Account::VoucherHeld(old.voucher));
        judge.post(used, held, (old.grant - new.grant).max(0));
        judge.post(held, used, (new.grant - old.grant).max(0));
        let back = old.amount - new.amount;
        if back == 0 {
            continue;
        }
        let parts: Vec<i128> = old
            .funders
            .iter()
            .zip(&new.funders)
            .map(|(old, new)| old - new)
            .collect();
        money(books, judge, hold, old, back, &parts);
        let row = key(old.programme, old.agreement, old.payee_region);
        let signed: Vec<i128> = parts.iter().map(|part| part * back.signum()).collect();
        books.closing.count(row, back > 0, back.abs(), &signed);
        if let Some(voucher) = books.voucher_mut(old.voucher) {
            voucher.paid -= back;
        }
    }
    let back = from_wallet(before) - from_wallet(after);
    let (held, receivable) = (Account::WalletHeld(hold.payer), Account::Receivable(hold.provider));
    let unpaid = judge.balance(books, receivable).clamp(0, back.max(0));
    judge.post(receivable, held, unpaid);
    judge.post(Account::Owes(hold.provider), held, back.max(0) - unpaid);
    judge.post(held, receivable, (-back).max(0));
    books.closing.count(key(0, 0, site_region), back > 0, back.abs(), &[]);
}

// Who gives and who gets: the payee and each funder by its own sign; what was paid out, or in, is owed.
fn money(books: &mut Books, judge: &mut Judge<'_>, hold: &Hold, leg: &CellLeg, back: i128, parts: &[i128]) {
    let (payee, debtor) = if leg.by_holder {
        (Account::Claim(hold.payer), hold.payer)
    } else {
        (Account::Receivable(hold.provider), hold.provider)
    };
    if back > 0 {
        let unpaid = if leg.by_holder {
            books.closing.take_claim(hold.payer, leg.programme, back)
        } else {
            judge.balance(books, payee).clamp(0, back)
        };
        take_back(books, judge, leg, parts, (payee, unpaid), (debtor, back - unpaid));
        return;
    }
    if leg.by_holder {
        let account = books.closing.claimable.entry((hold.payer, leg.programme)).or_default();
        account.free -= back;
    }
    let (mut debits, mut credits) = (Vec::new(), vec![(payee, -back)]);
    for (funder, part) in parts.iter().enumerate() {
        let due = Account::Due(leg.programme, funder as u8);
        let called = judge.balance(books, due).clamp(0, *part.max(&0));
        let paid_in = part.max(&0) - called;
        credits.extend([(due, called), (Account::Recovery(leg.programme), paid_in)]);
        debits.push((due, (-part).max(0)));
    }
    set_against(judge, debits, credits);
    if let Some(voucher) = books.voucher(leg.voucher).filter(|voucher| voucher.fraud) {
        judge.post(Account::Owes(voucher.holder), Account::Recovery(leg.programme), -back);
    }
}
