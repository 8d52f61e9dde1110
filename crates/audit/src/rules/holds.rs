//! Holds and binding quotes: opened, taken up, planned anew, extended, released.

use super::captures::{capture, end, read_cell, release as release_slice};
use super::plan::{count_job, read_slices, set_aside};
use super::recount::{ended_with, recount, release_rest};
use super::unknown;
use crate::books::{Books, Hold, Key};
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

pub(super) fn hold(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("hold")?;
    let key = read_key(facts)?;
    judge.expect(Check::Number, || "number of the hold".into(), books.last_hold + 1, id);
    new_key(books, judge, key);
    let base = judge.at;
    let hold = read_hold(books, judge, facts, Some(key), base)?;
    books.last_hold += 1;
    books.open_keys.insert(key, books.last_hold);
    books.holds.insert(books.last_hold, hold);
    Ok(())
}

pub(super) fn quote(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("quote")?;
    let expires_at = facts.ms("expiry")?;
    let nothing = (facts.number("task")?, facts.number("attempt")?);
    judge.require(
        Check::Facts,
        nothing == (0, 0),
        || "task and attempt".into(),
        "0",
        format!("{nothing:?}"),
    );
    judge.expect(Check::Number, || "number of the quote".into(), books.last_quote + 1, id);
    let at = judge.at;
    judge.require(
        Check::Cell,
        expires_at > at,
        || "expiry".into(),
        format!("after {at}"),
        expires_at,
    );
    let hold = read_hold(books, judge, facts, None, expires_at)?;
    books.last_quote += 1;
    books.quotes.insert(books.last_quote, hold);
    Ok(())
}

fn read_key(facts: &mut Facts<'_>) -> Read<Key> {
    Ok((facts.number("job")?, facts.id("task")?, facts.id("attempt")?))
}

fn new_key(books: &Books, judge: &mut Judge<'_>, key: Key) {
    let known = books.open_keys.contains_key(&key) || books.ended.contains_key(&key);
    judge.require(
        Check::Number,
        !known,
        || "job, task and attempt".into(),
        "one that was never charged",
        format!("{key:?}"),
    );
}

fn read_hold(
    books: &mut Books,
    judge: &mut Judge<'_>,
    facts: &mut Facts<'_>,
    key: Option<Key>,
    base: u64,
) -> Read<Hold> {
    let payer = facts.id("payer")?;
    let site = facts.id("site")?;
    let provider = facts.id("provider")?;
    let limit_ms = facts.ms("time limit")?;
    let count = facts.count("number of lines")?;
    let lines = (0..count).map(|_| Ok((facts.text("class")?.to_owned(), facts.factor("milli-units")?)));
    let lines = lines.collect::<Read<Vec<_>>>()?;
    let payer_region = books.org(payer).ok_or_else(|| unknown("organisation", payer))?.region;
    let expected = books.sites.get(&site).ok_or_else(|| unknown("site", site))?.provider;
    judge.expect(Check::State, || "provider of the site".into(), expected, provider);
    let mut hold = Hold {
        key,
        payer,
        payer_region,
        site,
        provider: expected,
        base,
        limit_ms,
        lines,
        slices: Vec::new(),
        cells: Vec::new(),
        past: Vec::new(),
    };
    let stated = read_slices(facts, count)?;
    set_aside(books, judge, &mut hold, 0, stated)?;
    Ok(hold)
}

pub(super) fn take_up(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("hold")?;
    let key = read_key(facts)?;
    let quote = facts.number("quote")?;
    let limit_ms = facts.ms("time limit")?;
    judge.expect(Check::Number, || "number of the hold".into(), books.last_hold + 1, id);
    new_key(books, judge, key);
    let mut hold = books
        .quotes
        .remove(&quote)
        .ok_or_else(|| unknown("open quote", quote))?;
    let at = judge.at;
    judge.require(
        Check::State,
        at < hold.base,
        || "expiry of the quote".into(),
        format!("after {at}"),
        hold.base,
    );
    judge.require(
        Check::Cell,
        (1..=hold.limit_ms).contains(&limit_ms),
        || "time limit".into(),
        format!("1 to {}", hold.limit_ms),
        limit_ms,
    );
    // What is quoted for after the limit is released, the slice before it ends there.
    let within = hold.slices.partition_point(|slice| slice.from_ms < limit_ms);
    for slice in hold.slices.split_off(within) {
        release_slice(books, judge, &hold, &slice);
    }
    if let Some(last) = hold.slices.last_mut() {
        last.until_ms = last.until_ms.min(limit_ms);
    }
    (hold.key, hold.base, hold.limit_ms) = (Some(key), at, limit_ms);
    for slice in &hold.slices {
        for leg in &slice.legs {
            count_job(books, key.0, leg, leg.amount, leg.grant);
        }
    }
    books.last_hold += 1;
    books.open_keys.insert(key, books.last_hold);
    books.holds.insert(books.last_hold, hold);
    Ok(())
}

pub(super) fn release(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("hold")?;
    let mut hold = books.holds.remove(&id).ok_or_else(|| unknown("open hold", id))?;
    release_all(books, judge, &mut hold);
    recount(books, judge, facts, &mut hold, 0)?;
    end(books, id, hold);
    Ok(())
}

pub(super) fn release_quote(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("quote")?;
    let mut quote = books.quotes.remove(&id).ok_or_else(|| unknown("open quote", id))?;
    release_all(books, judge, &mut quote);
    Ok(())
}

fn release_all(books: &mut Books, judge: &mut Judge<'_>, hold: &mut Hold) {
    for slice in std::mem::take(&mut hold.slices) {
        release_slice(books, judge, hold, &slice);
    }
}

/// Cover ended: the running slice is captured up to an instant, the rest planned anew.
pub(super) fn repin(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("hold")?;
    let offset_ms = facts.ms("offset")?;
    let mut hold = books.holds.remove(&id).ok_or_else(|| unknown("open hold", id))?;
    let elapsed = judge.at.saturating_sub(hold.base);
    judge.require(
        Check::Cell,
        offset_ms <= elapsed.min(hold.limit_ms),
        || "offset".into(),
        format!("at most {}", elapsed.min(hold.limit_ms)),
        offset_ms,
    );
    let used = hold.slices.iter().take_while(|slice| slice.from_ms < offset_ms).count();
    let cells = facts.count("number of cells")?;
    judge.expect(Check::Cell, || "number of cells".into(), used, cells);
    for _ in 0..cells {
        if hold.slices.is_empty() {
            return Err(unknown("open slice of hold", id));
        }
        let slice = hold.slices.remove(0);
        let stated = read_cell(facts, &slice)?;
        let to_ms = offset_ms.clamp(slice.from_ms, slice.until_ms);
        let cell = capture(books, judge, &hold, &slice, to_ms, &stated)?;
        release_rest(books, judge, &hold, &slice, &cell);
        hold.past.push(ended_with(slice, to_ms, &cell));
        hold.cells.push(cell);
    }
    release_all(books, judge, &mut hold);
    let limit_ms = facts.ms("new time limit")?;
    judge.require(
        Check::Cell,
        (offset_ms..=hold.limit_ms).contains(&limit_ms),
        || "new time limit".into(),
        format!("{offset_ms} to {}", hold.limit_ms),
        limit_ms,
    );
    judge.rules_at = hold.base.saturating_add(offset_ms);
    plan(books, judge, facts, hold, id, offset_ms, limit_ms)
}

pub(super) fn extend(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("hold")?;
    let limit_ms = facts.ms("new time limit")?;
    let hold = books.holds.remove(&id).ok_or_else(|| unknown("open hold", id))?;
    let from_ms = hold.limit_ms;
    judge.require(
        Check::Cell,
        limit_ms > from_ms,
        || "new time limit".into(),
        format!("more than {from_ms}"),
        limit_ms,
    );
    plan(books, judge, facts, hold, id, from_ms, limit_ms)
}

fn plan(
    books: &mut Books,
    judge: &mut Judge<'_>,
    facts: &mut Facts<'_>,
    mut hold: Hold,
    id: u64,
    from_ms: u64,
    limit_ms: u64,
) -> Read<()> {
    hold.limit_ms = limit_ms;
    let stated = read_slices(facts, hold.lines.len())?;
    set_aside(books, judge, &mut hold, from_ms, stated)?;
    books.holds.insert(id, hold);
    Ok(())
}
