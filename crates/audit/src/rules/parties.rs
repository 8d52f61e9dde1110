//! Organisations and their wallets, sites and their prices.

use std::collections::HashMap;

use super::payments::paid_in_for_payees;
use super::unknown;
use crate::books::{Books, Org, Site};
use crate::chart::Account;
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

pub(super) fn create_org(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.id("organisation")?;
    let kind = facts.number("kind")?;
    let region = facts.id("region")?;
    let group = facts.id("control group")?;
    let name = facts.text("name")?;
    let control_group = facts.text("control group")?;
    let credit_code = facts.text("credit code")?;
    let next = books.orgs.len() as u32 + 1;
    judge.expect(Check::Number, || "number of the organisation".into(), next, id);
    let new = books.org_names.insert(name.to_owned());
    judge.require(Check::Number, new, || "name".into(), "a new one", name);
    let new = credit_code.is_empty() || books.credit_codes.insert(credit_code.to_ascii_uppercase());
    judge.require(
        Check::Number,
        new,
        || "credit code".into(),
        "one that no other has",
        credit_code,
    );
    let expected = group_of(books, control_group);
    judge.expect(Check::Number, || "control group".into(), expected, group);
    books.orgs.push(Org {
        name: name.to_owned(),
        kind,
        region,
        group: expected,
    });
    Ok(())
}

// A group is numbered when its name comes up first.
fn group_of(books: &mut Books, name: &str) -> u32 {
    let next = books.groups.len() as u32 + 1;
    *books.groups.entry(name.to_owned()).or_insert(next)
}

pub(super) fn update_org(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.id("organisation")?;
    let region = facts.id("region")?;
    let group = facts.id("control group")?;
    let control_group = facts.text("control group")?;
    books.org(id).ok_or_else(|| unknown("organisation", id))?;
    let expected = group_of(books, control_group);
    judge.expect(Check::Number, || "control group".into(), expected, group);
    let org = &mut books.orgs[id as usize - 1];
    (org.region, org.group) = (region, expected);
    Ok(())
}

pub(super) fn top_up(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let org = wallet(books, facts)?;
    let amount = moved(judge);
    judge.post(Account::Treasury, Account::Wallet(org), amount);
    Ok(())
}

pub(super) fn withdraw(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let org = wallet(books, facts)?;
    let amount = moved(judge);
    judge.post(Account::Wallet(org), Account::Treasury, amount);
    // What is left covers everybody else's deposits, and what was paid in for providers and holders.
    let others = books.total(Account::Wallet(0).kind()) + books.total(Account::WalletHeld(0).kind())
        - books.balance(Account::Wallet(org));
    let least = others + paid_in_for_payees(books);
    let left = judge.balance(books, Account::Treasury);
    judge.require(
        Check::Balance,
        left >= least,
        || "treasury after the withdrawal".into(),
        format!("at least {least}"),
        left,
    );
    Ok(())
}

fn wallet(books: &Books, facts: &mut Facts<'_>) -> Read<u32> {
    let org = facts.id("organisation")?;
    let _reference = facts.text("reference")?;
    books.org(org).ok_or_else(|| unknown("organisation", org))?;
    Ok(org)
}

// The amount stands in the transfer alone; there must be one.
fn moved(judge: &mut Judge<'_>) -> i128 {
    let amount = judge.stated_amount();
    judge.require(Check::Transfers, amount > 0, || "amount".into(), "one transfer", amount);
    amount
}

pub(super) fn register_site(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let number = facts.id("site")?;
    let region = facts.id("region")?;
    let provider = facts.id("provider")?;
    books.org(provider).ok_or_else(|| unknown("organisation", provider))?;
    let site = Site {
        region,
        provider,
        sheets: 0,
        prices: HashMap::new(),
    };
    let taken = books.sites.contains_key(&number);
    judge.require(Check::Number, !taken, || "site".into(), "a new one", number);
    books.sites.entry(number).or_insert(site);
    Ok(())
}

pub(super) fn set_prices(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let number = facts.id("site")?;
    let version = facts.number("version")?;
    let from = facts.ms("effective from")?;
    let mut prices = Vec::with_capacity(facts.left());
    while facts.left() > 0 {
        prices.push((facts.factor("price")?, facts.text("class")?));
    }
    let at = judge.at;
    let site = books.sites.get_mut(&number).ok_or_else(|| unknown("site", number))?;
    site.sheets += 1;
    judge.expect(
        Check::Number,
        || "version of the price sheet".into(),
        site.sheets,
        version,
    );
    judge.require(
        Check::Terms,
        from >= at,
        || "effective from".into(),
        "not in the past",
        from,
    );
    for (price, sku) in prices {
        let known = site.prices.entry(sku.to_owned()).or_default();
        known.push((from, site.sheets, price));
    }
    Ok(())
}
