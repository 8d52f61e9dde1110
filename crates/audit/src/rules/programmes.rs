//! Programmes with their terms and budgets, and the agreements that carry their vouchers abroad.

use super::unknown;
use crate::books::{Agreement, Books, Programme};
use crate::calendar::year_start;
use crate::chart::Account;
use crate::facts::{Facts, Malformed, Read};
use crate::finding::Check;
use crate::judge::Judge;
use crate::terms::Terms;

const WHOLE: u64 = 10_000;

pub(super) fn create(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.id("programme")?;
    let region = facts.id("region")?;
    let budget = facts.amount("budget")?;
    let commit_at_hold = facts.flag("commit at hold")?;
    let by_holder = facts.flag("redeemed by the holder")?;
    let fiscal_year = facts.ms("fiscal year")?;
    let mut shares = Vec::new();
    while facts.left() > 0 {
        shares.push(facts.id("share of a funder")?.into());
    }
    let name = facts.text("name")?;
    let denomination = facts.text("denomination")?;
    let terms = terms(facts)?;
    let funders: Vec<(String, i128)> = facts.texts().iter().cloned().zip(shares.iter().copied()).collect();
    judge.expect(Check::Facts, || "funders".into(), shares.len(), funders.len());
    let whole = !funders.is_empty() && funders.len() <= 15 && shares.iter().all(|share| *share > 0);
    judge.require(
        Check::Terms,
        whole,
        || "shares of the funders".into(),
        "1 to 15, all above 0",
        shares.len(),
    );
    let next = books.programmes.len() as u32 + 1;
    judge.expect(Check::Number, || "number of the programme".into(), next, id);
    let taken = books.programmes.iter().any(|known| known.name == name);
    judge.require(Check::Number, !taken, || "name".into(), "a new one", name);
    judge.post(Account::Uncalled(next), Account::Budget(next), budget);
    check_terms(judge, &terms, fiscal_year);
    books.programmes.push(Programme {
        name: name.to_owned(),
        region,
        budget,
        commit_at_hold,
        by_holder,
        fiscal_year,
        denomination: denomination.to_owned(),
        funders,
        revisions: vec![(judge.at, terms)],
    });
    Ok(())
}

pub(super) fn revise(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.id("programme")?;
    let revision = facts.number("revision")?;
    let from = facts.ms("effective from")?;
    let _immediate = facts.flag("immediate")?;
    let terms = terms(facts)?;
    let known = books.programme(id).ok_or_else(|| unknown("programme", id))?;
    let next = known.revisions.len() as u64 + 1;
    judge.expect(Check::Number, || "number of the revision".into(), next, revision);
    let at = judge.at;
    judge.require(
        Check::Terms,
        from == at || (at..terms.until).contains(&from),
        || "effective from".into(),
        format!("from {at} until the end of the terms, {}", terms.until),
        from,
    );
    check_terms(judge, &terms, known.fiscal_year);
    let revisions = &mut books.programmes[id as usize - 1].revisions;
    // What was planned for then or later is never in force.
    for (planned, _) in revisions
        .iter_mut()
        .filter(|(planned, _)| *planned > at && *planned >= from)
    {
        *planned = u64::MAX;
    }
    revisions.push((from, terms));
    Ok(())
}

fn terms(facts: &mut Facts<'_>) -> Read<Terms> {
    let text = facts.text("terms")?;
    Terms::read(text).map_err(|found| Malformed {
        what: "terms".into(),
        expected: "fields of terms in their order".into(),
        found,
    })
}

fn check_terms(judge: &mut Judge<'_>, terms: &Terms, fiscal_year: u64) {
    let rates = terms.rates.iter().map(|(_, rate)| *rate).chain(terms.stack);
    for rate in rates {
        check_rate(judge, rate);
    }
    judge.require(
        Check::Terms,
        !terms.rates.is_empty() && terms.from < terms.until,
        || "terms".into(),
        "a rate, and an end after the beginning",
        format!("{} rates, from {} until {}", terms.rates.len(), terms.from, terms.until),
    );
    if fiscal_year > 0 {
        let (from, until) = (year_start(fiscal_year), year_start(fiscal_year + 1));
        judge.require(
            Check::Terms,
            terms.from >= from && (terms.until <= until || terms.carry_over),
            || format!("terms of fiscal year {fiscal_year}"),
            format!("from {from} until {until}"),
            format!("from {} until {}", terms.from, terms.until),
        );
    }
}

fn check_rate(judge: &mut Judge<'_>, rate: u64) {
    let inside = (1..=WHOLE).contains(&rate);
    judge.require(Check::Terms, inside, || "rate".into(), "1 to 10000 basis points", rate);
}

pub(super) fn set_budget(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.id("programme")?;
    let budget = facts.amount("budget")?;
    let known = books.programme(id).ok_or_else(|| unknown("programme", id))?;
    let more = budget - known.budget;
    if more > 0 {
        judge.post(Account::Uncalled(id), Account::Budget(id), more);
    } else {
        judge.post(Account::Budget(id), Account::Uncalled(id), -more);
    }
    books.programmes[id as usize - 1].budget = budget;
    Ok(())
}

pub(super) fn create_agreement(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.id("agreement")?;
    let version = facts.number("version")?;
    let issuer = facts.id("issuer's region")?;
    let provider_region = facts.id("provider's region")?;
    let rate = facts.number("rate")?;
    let cap = facts.amount("cap")?;
    let from = facts.ms("from")?;
    let until = facts.ms("until")?;
    let mut sites = Vec::new();
    while facts.left() > 0 {
        sites.push(facts.id("site")?);
    }
    let skus = facts.texts().to_vec();
    let next = books.agreements.len() as u32 + 1;
    judge.expect(Check::Number, || "number of the agreement".into(), next, id);
    let same =
        |known: &&Agreement| (known.issuer, known.provider_region, &known.sites) == (issuer, provider_region, &sites);
    let expected = books.agreements.iter().filter(same).count() as u64 + 1;
    judge.expect(Check::Number, || "version of the agreement".into(), expected, version);
    check_rate(judge, rate);
    let one_scope = (provider_region == 0) != sites.is_empty() && provider_region != issuer;
    judge.require(
        Check::Terms,
        one_scope,
        || "scope".into(),
        "another region, or named sites",
        provider_region,
    );
    judge.require(
        Check::Terms,
        from < until,
        || "interval".into(),
        "an end after the beginning",
        until,
    );
    for site in &sites {
        let known = books.sites.get(site).ok_or_else(|| unknown("site", site))?;
        let abroad = known.region != issuer;
        judge.require(
            Check::Terms,
            abroad,
            || format!("site {site}"),
            "outside the issuer's region",
            known.region,
        );
    }
    books.agreements.push(Agreement {
        version: expected,
        issuer,
        provider_region,
        sites,
        skus,
        rate,
        cap: (cap > 0).then_some(cap),
        from,
        until,
    });
    Ok(())
}

pub(super) fn end_agreement(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.id("agreement")?;
    let end = facts.ms("end")?;
    let known = books.agreement(id).ok_or_else(|| unknown("agreement", id))?;
    let (at, until) = (judge.at, known.until);
    judge.require(
        Check::State,
        (at..=until).contains(&end) && at < until,
        || "end".into(),
        format!("from {at} to {until}"),
        end,
    );
    books.agreements[id as usize - 1].until = end;
    Ok(())
}
