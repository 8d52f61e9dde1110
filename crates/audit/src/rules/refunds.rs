//! Refunds: never over what was captured, split by the capture's own legs and funders, taken from whoever was paid.

use super::{reason, unknown};
use crate::books::{Books, Cell, CellLeg, Ended, JobCap, Key, Life};
use crate::chart::Account;
use crate::closing::TallyKey;
use crate::exact::largest_remainder;
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

/// What goes back of a cell, as it is written.
struct Stated {
    period: u32,
    back: i128,
    wallet: i128,
    /// Amount, grant, whether the voucher gets it.
    legs: Vec<(i128, i128, bool)>,
}

pub(super) fn refund(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let key: Key = (facts.number("job")?, facts.id("task")?, facts.id("attempt")?);
    let booked = facts.id("booked period")?;
    judge.expect(
        Check::Period,
        || "booked period".into(),
        books.closing.current(),
        booked,
    );
    let mut charged = take(books, key)?;
    for _ in 0..facts.count("number of cells")? {
        let place = facts.number("place of the cell")?;
        let known = usize::try_from(place)
            .ok()
            .and_then(|place| charged.cells.get_mut(place));
        let cell = known.ok_or_else(|| unknown("cell", place))?;
        let mut stated = Stated {
            period: facts.id("period of the cell")?,
            back: facts.amount("back")?,
            wallet: facts.amount("back to the wallet")?,
            legs: Vec::with_capacity(cell.legs.len()),
        };
        for _ in 0..cell.legs.len() {
            let (amount, grant) = (facts.amount("amount of the leg")?, facts.amount("grant of the leg")?);
            stated.legs.push((amount, grant, facts.flag("reinstated")?));
        }
        let parties = (charged.payer, charged.provider, charged.site);
        refund_cell(books, judge, key, parties, cell, place, &stated)?;
    }
    put_back(books, key, charged);
    reason(judge, facts)
}

// The captures of a hold, whether it is over or still open.
fn take(books: &mut Books, key: Key) -> Read<Ended> {
    if let Some(ended) = books.ended.remove(&key) {
        return Ok(ended);
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
        None => drop(books.ended.insert(key, charged)),
    }
}

fn refund_cell(
    books: &mut Books,
    judge: &mut Judge<'_>,
    key: Key,
    (payer, provider, site): (u32, u32, u32),
    cell: &mut Cell,
    place: u64,
    stated: &Stated,
) -> Read<()> {
    let what = |figure: &str| format!("cell {place}: {figure}");
    judge.expect(Check::Period, || what("period"), cell.period, stated.period);
    let mut left: Vec<i128> = cell.legs.iter().map(|leg| leg.amount).collect();
    left.push(cell.copay);
    let most: i128 = left.iter().sum();
    judge.require(
        Check::Refund,
        (1..=most).contains(&stated.back),
        || what("back"),
        format!("1 to {most}"),
        stated.back,
    );
    let parts = largest_remainder(stated.back.min(most), &left);
    let booked = if books.closing.is_closed(cell.period) {
        books.closing.current()
    } else {
        cell.period
    };
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
        let payee = if leg.by_holder {
            wallet += amount;
            Account::Claim(payer)
        } else {
            Account::Receivable(provider)
        };
        let back = largest_remainder(amount, &leg.funders);
        let debtor = if leg.by_holder { payer } else { provider };
        for (funder, part) in back.iter().enumerate() {
            give_back(
                books,
                judge,
                payee,
                debtor,
                Account::Due(leg.programme, funder as u8),
                *part,
            );
        }
        post_grant(books, judge, leg, grant, reinstated);
        count_back(books, judge, key, payer, leg, amount, grant);
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
    let copay = parts[cell.legs.len()];
    books.closing.count(key_of(0, 0, site_region), true, copay, &[]);
    cell.copay -= copay;
    Ok(())
}

// The funder owes less, and the payee is owed less; what either has settled since becomes a debt the other way.
fn give_back(books: &Books, judge: &mut Judge<'_>, payee: Account, debtor: u32, due: Account, amount: i128) {
    let owed = judge.balance(books, payee).clamp(0, amount);
    let called = judge.balance(books, due).clamp(0, amount);
    let recovery = match due {
        Account::Due(programme, _) => Account::Recovery(programme),
        other => other,
    };
    let both = owed.min(called);
    judge.post(payee, due, both);
    judge.post(payee, recovery, owed - both);
    judge.post(Account::Owes(debtor), due, called - both);
    judge.post(Account::Owes(debtor), recovery, amount - owed - (called - both));
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

fn count_back(
    books: &mut Books,
    judge: &mut Judge<'_>,
    (job, ..): Key,
    payer: u32,
    leg: &CellLeg,
    amount: i128,
    grant: i128,
) {
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
    if leg.by_holder {
        *books.closing.claimable.entry((payer, leg.programme)).or_default() -= amount;
    }
    if let Some(voucher) = books.voucher_mut(leg.voucher) {
        voucher.paid -= amount;
        if voucher.fraud {
            judge.post(Account::Recovery(leg.programme), Account::Owes(voucher.holder), amount);
        }
    }
}
