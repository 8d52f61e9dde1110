//! Refunds: never over what was captured, split by the capture's own legs and funders, taken from whoever was paid.

use super::captures::check_rolled;
use super::{reason, unknown};
use crate::books::{Books, Cell, CellLeg, Ended, JobCap, Key, Life};
use crate::chart::Account;
use crate::closing::TallyKey;
use crate::ended::{packed, unpacked};
use crate::exact::largest_remainder;
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

/// What goes back of a cell, as it is written.
struct Stated {
    place: u64,
    period: u32,
    booked: u32,
    back: i128,
    wallet: i128,
    /// Amount, grant, whether the voucher gets it.
    legs: Vec<(i128, i128, bool)>,
}

pub(super) fn refund(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let key: Key = (facts.number("job")?, facts.id("task")?, facts.id("attempt")?);
    let mut charged = take(books, key)?;
    let mut refunded = Vec::new();
    for _ in 0..facts.count("number of cells")? {
        let place = facts.number("place of the cell")?;
        let known = usize::try_from(place).ok().and_then(|place| charged.cells.get(place));
        let cell = known.ok_or_else(|| unknown("cell", place))?;
        let mut stated = Stated {
            place,
            period: facts.id("period of the cell")?,
            booked: facts.id("booked period")?,
            back: facts.amount("back")?,
            wallet: facts.amount("back to the wallet")?,
            legs: Vec::with_capacity(cell.legs.len()),
        };
        for _ in 0..cell.legs.len() {
            let (amount, grant) = (facts.amount("amount of the leg")?, facts.amount("grant of the leg")?);
            stated.legs.push((amount, grant, facts.flag("reinstated")?));
        }
        refunded.push(stated);
    }
    latest_first(judge, &charged, &refunded);
    let parties = (charged.payer, charged.provider, charged.site);
    for stated in &refunded {
        let cell = &mut charged.cells[stated.place as usize];
        refund_cell(books, judge, key, parties, cell, stated)?;
    }
    put_back(books, key, charged);
    reason(judge, facts)
}

fn left_of(cell: &Cell) -> i128 {
    cell.copay + cell.legs.iter().map(|leg| leg.amount).sum::<i128>()
}

// An amount goes back from the latest cell, and from an earlier one only what the later ones have not.
fn latest_first(judge: &mut Judge<'_>, charged: &Ended, refunded: &[Stated]) {
    let mut left: i128 = refunded.iter().map(|stated| stated.back).sum();
    let mut expected = Vec::new();
    for (place, cell) in charged.cells.iter().enumerate().rev() {
        let part = left.min(left_of(cell));
        if part > 0 {
            left -= part;
            expected.push((place as u64, part));
        }
    }
    judge.require(
        Check::Refund,
        left == 0 && !refunded.is_empty(),
        || "back in all".into(),
        "no more than was captured and is left, and something",
        format!("{left} more"),
    );
    let found: Vec<(u64, i128)> = refunded.iter().map(|stated| (stated.place, stated.back)).collect();
    judge.require(
        Check::Refund,
        left > 0 || found == expected,
        || "cells and what goes back of each".into(),
        format!("{expected:?}"),
        format!("{found:?}"),
    );
}

// The captures of a hold, whether it is over or still open.
fn take(books: &mut Books, key: Key) -> Read<Ended> {
    if let Some(ended) = books.ended.remove(&key) {
        return Ok(unpacked(&ended));
    }
    let open = books.open_keys.get(&key).and_then(|id| books.holds.get_mut(id));
    let hold = open.ok_or_else(|| unknown("capture of", format!("{key:?}")))?;
    Ok(Ended {
        payer: hold.payer,
        site: hold.site,
        provider: hold.provider,
        cells: std::mem::take(&mut hold.cells),
    })
}

fn put_back(books: &mut Books, key: Key, charged: Ended) {
    let open = books.open_keys.get(&key).and_then(|id| books.holds.get_mut(id));
    match open {
        Some(hold) => hold.cells = charged.cells,
        None => drop(books.ended.insert(key, packed(&charged))),
    }
}

fn refund_cell(
    books: &mut Books,
    judge: &mut Judge<'_>,
    key: Key,
    (payer, provider, site): (u32, u32, u32),
    cell: &mut Cell,
    stated: &Stated,
) -> Read<()> {
    let place = stated.place;
    let what = |figure: &str| format!("cell {place}: {figure}");
    judge.expect(Check::Period, || what("period"), cell.period, stated.period);
    let mut left: Vec<i128> = cell.legs.iter().map(|leg| leg.amount).collect();
    left.push(cell.copay);
    let most = left_of(cell);
    judge.require(
        Check::Refund,
        (1..=most).contains(&stated.back),
        || what("back"),
        format!("1 to {most}"),
        stated.back,
    );
    let parts = largest_remainder(stated.back.min(most), &left);
    check_rolled(books, judge);
    let booked = if books.closing.is_closed(cell.period) {
        books.closing.current()
    } else {
        cell.period
    };
    judge.expect(Check::Period, || what("booked period"), booked, stated.booked);
    let site_region = books.sites.get(&site).map_or(0, |site| site.region);
    let key_of = |programme, agreement, payee_region| TallyKey {
        period: booked,
        of: cell.period,
        programme,
        agreement,
        site,
        payee_region,
    };
    let mut wallet = parts[cell.legs.len()];
    for (number, leg) in cell.legs.iter_mut().enumerate() {
        let amount = parts[number];
        let says = |figure: &str| format!("cell {place}, leg {}: {figure}", number + 1);
        let grant = if leg.amount == 0 {
            0
        } else {
            leg.grant * amount / leg.amount
        };
        let reinstated = amount > 0 && is_reinstated(books, judge.at, leg);
        let found = stated.legs[number];
        judge.expect(Check::Refund, || says("amount"), amount, found.0);
        judge.expect(Check::Refund, || says("grant"), grant, found.1);
        judge.expect(Check::Refund, || says("reinstated"), reinstated, found.2);
        let back = largest_remainder(amount, &leg.funders);
        post_grant(books, judge, leg, grant, reinstated);
        let unpaid = if leg.by_holder {
            wallet += amount;
            (
                Account::Claim(payer),
                books.closing.take_claim(payer, leg.programme, amount),
            )
        } else {
            let account = Account::Receivable(provider);
            (account, judge.balance(books, account).clamp(0, amount))
        };
        let debtor = if leg.by_holder { payer } else { provider };
        take_back(books, judge, leg, &back, unpaid, (debtor, amount - unpaid.1));
        count_back(books, key, leg, amount, grant);
        let row = key_of(leg.programme, leg.agreement, leg.payee_region);
        books.closing.count(row, true, amount, &back);
        leg.amount -= amount;
        leg.grant -= grant;
        for (left, part) in leg.funders.iter_mut().zip(&back) {
            *left -= part;
        }
    }
    judge.expect(Check::Refund, || what("back to the wallet"), wallet, stated.wallet);
    let receivable = judge.balance(books, Account::Receivable(provider)).clamp(0, wallet);
    judge.post(Account::Receivable(provider), Account::Wallet(payer), receivable);
    judge.post(Account::Owes(provider), Account::Wallet(payer), wallet - receivable);
    books.closing.count(key_of(0, 0, site_region), true, wallet, &[]);
    cell.copay -= parts[cell.legs.len()];
    Ok(())
}

/// What comes back of a leg: what was not paid out from the payee's account, the rest the payee owes from now on. A funder that has not paid its part in
/// owes it no longer, else it is owed to the fund; one whose part is below zero owes more.
///
/// Of a voucher revoked for fraud its holder owes the fund what it paid: as far as it still does, that shrinks; what it has paid the fund already comes back
/// to the holder.
pub(super) fn take_back(
    books: &Books,
    judge: &mut Judge<'_>,
    leg: &CellLeg,
    back: &[i128],
    unpaid: (Account, i128),
    (debtor, mut paid): (u32, i128),
) {
    if unpaid.1 + paid == 0 {
        return;
    }
    let recovery = Account::Recovery(leg.programme);
    let mut parts = back.to_vec();
    let mut credits = Vec::with_capacity(back.len() + 2);
    let defrauded = books.voucher(leg.voucher).filter(|voucher| voucher.fraud);
    if let Some(voucher) = defrauded {
        let owes = Account::Owes(voucher.holder);
        let all = unpaid.1 + paid;
        let open = judge
            .balance(books, owes)
            .min(judge.balance(books, recovery))
            .clamp(0, all);
        let mut to_holder = all - open;
        let weights: Vec<i128> = back.iter().map(|part| *part.max(&0)).collect();
        for (part, kept) in parts.iter_mut().zip(largest_remainder(to_holder, &weights)) {
            *part -= kept;
        }
        if debtor == voucher.holder {
            // It would owe itself.
            let both = paid.min(to_holder);
            (paid, to_holder) = (paid - both, to_holder - both);
        }
        credits.push((Account::Wallet(voucher.holder), to_holder));
        judge.post(recovery, owes, open);
    }
    let mut debits = vec![unpaid, (Account::Owes(debtor), paid)];
    for (funder, part) in parts.iter().enumerate() {
        let due = Account::Due(leg.programme, funder as u8);
        let called = judge.balance(books, due).clamp(0, *part.max(&0));
        credits.extend([(due, called), (recovery, part.max(&0) - called)]);
        debits.push((due, (-part).max(0)));
    }
    set_against(judge, debits, credits);
}

/// Each debit is set against the credits in turn.
pub(super) fn set_against(judge: &mut Judge<'_>, debits: Vec<(Account, i128)>, credits: Vec<(Account, i128)>) {
    let mut credits = credits.into_iter().filter(|(_, amount)| *amount > 0);
    let mut credit = credits.next();
    for (debit, mut left) in debits {
        while let Some((account, open)) = credit.as_mut().filter(|_| left > 0) {
            let amount = left.min(*open);
            judge.post(debit, *account, amount);
            left -= amount;
            *open -= amount;
            if *open == 0 {
                credit = credits.next();
            }
        }
    }
}

fn is_reinstated(books: &Books, at: u64, leg: &CellLeg) -> bool {
    let terms = books
        .programme(leg.programme)
        .and_then(|programme| programme.terms_of(leg.revision.into()));
    let voucher = books.voucher(leg.voucher);
    terms.is_some_and(|terms| terms.reinstate)
        && voucher.is_some_and(|voucher| matches!(voucher.life, Life::Active | Life::Suspended) && at < voucher.until)
}

fn post_grant(books: &Books, judge: &mut Judge<'_>, leg: &CellLeg, grant: i128, reinstated: bool) {
    let used = Account::Uncalled(leg.programme);
    let budget = Account::Budget(leg.programme);
    match (reinstated, books.source(leg.programme)) {
        (true, source @ Account::Unfunded(_)) => {
            judge.post(used, budget, grant);
            judge.post(source, Account::Voucher(leg.voucher), grant);
        }
        (true, _) => judge.post(used, Account::Voucher(leg.voucher), grant),
        (false, _) => judge.post(used, budget, grant),
    }
}

fn count_back(books: &mut Books, (job, ..): Key, leg: &CellLeg, amount: i128, grant: i128) {
    books.count_group(leg.programme, leg.group, leg.year.into(), -grant);
    let terms = books
        .programme(leg.programme)
        .and_then(|programme| programme.terms_of(leg.revision.into()));
    if terms.is_some_and(|terms| terms.cap_job.is_some()) {
        books.count_job(job, JobCap::Programme(leg.programme), -grant);
    }
    if books
        .agreement(leg.agreement)
        .is_some_and(|agreement| agreement.cap.is_some())
    {
        books.count_job(job, JobCap::Agreement(leg.agreement), -amount);
    }
    if let Some(voucher) = books.voucher_mut(leg.voucher) {
        voucher.paid -= amount;
    }
}
