//! Accounting periods: their bounds, and the rows of a closed one against what was counted line by line.

use std::collections::{BTreeMap, BTreeSet};

use super::unknown;
use crate::books::Books;
use crate::calendar::{month_end, month_start};
use crate::closing::{Ended, Settlement, Tally, TallyKey};
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

pub(super) fn end(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let number = facts.id("period")?;
    let until = facts.ms("until")?;
    judge.expect(
        Check::Number,
        || "number of the period".into(),
        books.closing.current(),
        number,
    );
    let from = books.closing.current_from();
    // It ends with its month, or earlier when somebody says so.
    let month = month_end(from);
    let at = judge.at;
    judge.require(
        Check::Period,
        from < until && until <= at && (until == month || (until == at && until < month)),
        || "end of the period".into(),
        format!("{month}, or {at} before that"),
        until,
    );
    books.closing.ended.push(Ended {
        from,
        until,
        closed: false,
    });
    Ok(())
}

/// Rows of a period that is closed by the entries that follow; they are held against its tallies then.
pub(super) fn rows(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let number = next_to_close(books, judge, facts)?;
    let count = facts.count("number of rows")?;
    judge.require(Check::Row, count > 0, || "number of rows".into(), "some", count);
    for _ in 0..count {
        books.closing.stated.push(read_row(facts, number)?);
    }
    Ok(())
}

fn next_to_close(books: &Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<u32> {
    let number = facts.id("period")?;
    let next = books.closing.ended.iter().take_while(|period| period.closed).count() as u32 + 1;
    judge.expect(Check::Number, || "number of the period".into(), next, number);
    Ok(number)
}

pub(super) fn close(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let number = next_to_close(books, judge, facts)?;
    let period = *books
        .closing
        .period(number)
        .ok_or_else(|| unknown("ended period", number))?;
    // What was used when a month ended is captured first; a hold that reached its limit in between may still be settled.
    let month = month_start(period.until);
    let late = books.holds.values().find(|hold| {
        let first = hold.slices.first();
        first.is_some_and(|slice| hold.base.saturating_add(slice.until_ms) <= month)
    });
    judge.require(
        Check::Period,
        late.is_none() && period.until <= judge.at,
        || format!("use that ended in period {number}"),
        "captured",
        late.map_or(String::new(), |hold| format!("not yet: {:?}", hold.key)),
    );
    let count = facts.count("number of rows")?;
    let mut expected: BTreeMap<TallyKey, Tally> = books
        .closing
        .rows(number)
        .map(|(key, tally)| (*key, tally.clone()))
        .collect();
    let mut stated = std::mem::take(&mut books.closing.stated);
    for _ in 0..count {
        stated.push(read_row(facts, number)?);
    }
    judge.expect(Check::Row, || "number of rows".into(), expected.len(), stated.len());
    let mut latest = None;
    for (place, (key, found)) in stated.into_iter().enumerate() {
        judge.require(
            Check::Row,
            latest < Some(key),
            || format!("row {}", place + 1),
            "in order",
            shown(&key),
        );
        latest = Some(key);
        match expected.remove(&key) {
            Some(tally) => compare(judge, &key, &tally, &found),
            None => judge.findings.add(Check::Row, shown(&key), "no such row", found.net()),
        }
    }
    for (key, tally) in expected {
        judge.findings.add(Check::Row, shown(&key), tally.net(), "no such row");
    }
    settle(books, number);
    if let Some(period) = books.closing.ended.get_mut(number as usize - 1) {
        period.closed = true;
    }
    Ok(())
}

fn read_row(facts: &mut Facts<'_>, period: u32) -> Read<(TallyKey, Tally)> {
    let key = TallyKey {
        period,
        of: facts.id("of")?,
        programme: facts.id("programme")?,
        agreement: facts.id("agreement")?,
        site: facts.id("site")?,
        payee_region: facts.id("region of the payee")?,
    };
    let mut tally = Tally {
        captured: facts.amount("captured")?,
        refunded: facts.amount("refunded")?,
        captures: facts.number("captures")?,
        refunds: facts.number("refunds")?,
        funders: Vec::new(),
    };
    for _ in 0..facts.count("number of funders")? {
        tally.funders.push(facts.signed("net of a funder")?);
    }
    Ok((key, tally))
}

fn shown(key: &TallyKey) -> String {
    let TallyKey {
        of,
        programme,
        agreement,
        site,
        payee_region,
        ..
    } = key;
    format!("row of {of}, programme {programme}, agreement {agreement}, site {site}, payee in {payee_region}")
}

fn compare(judge: &mut Judge<'_>, key: &TallyKey, expected: &Tally, found: &Tally) {
    let what = |figure: &str| format!("{}: {figure}", shown(key));
    judge.expect(Check::Row, || what("captured"), expected.captured, found.captured);
    judge.expect(Check::Row, || what("refunded"), expected.refunded, found.refunded);
    judge.expect(Check::Row, || what("captures"), expected.captures, found.captures);
    judge.expect(Check::Row, || what("refunds"), expected.refunds, found.refunds);
    judge.require(
        Check::Row,
        expected.funders == found.funders,
        || what("net of the funders"),
        format!("{:?}", expected.funders),
        format!("{:?}", found.funders),
    );
}

// One settlement per provider with lines.
fn settle(books: &mut Books, number: u32) {
    let providers: BTreeSet<u32> = books
        .closing
        .rows(number)
        .filter_map(|(key, _)| books.provider_of(key))
        .collect();
    for provider in providers {
        books
            .closing
            .settlements
            .insert((number, provider), Settlement::default());
    }
}
