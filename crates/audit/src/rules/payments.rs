//! Money that leaves and enters: claims of holders, settlements of providers, what funders and debtors pay.

use std::collections::BTreeMap;

use super::unknown;
use crate::books::{Books, Programme};
use crate::chart::Account;
use crate::closing::Claim;
use crate::exact::largest_remainder;
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

pub(super) fn file_claim(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("claim")?;
    let org = facts.id("organisation")?;
    let programme = facts.id("programme")?;
    let amount = facts.amount("amount")?;
    let next = books.closing.claims.len() as u64 + 1;
    judge.expect(Check::Number, || "number of the claim".into(), next, id);
    let account = books.closing.claimable.entry((org, programme)).or_default();
    judge.require(
        Check::Payment,
        (1..=account.free).contains(&amount),
        || "claimed".into(),
        format!("1 to {}", account.free),
        amount,
    );
    account.free -= amount;
    account.filed += amount;
    books.closing.claims.push(Claim {
        org,
        programme,
        due: amount,
        filer: judge.actor,
        review: None,
        paid: false,
    });
    Ok(())
}

fn claim(books: &mut Books, id: u64) -> Read<&mut Claim> {
    let place = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
    let claim = place.and_then(|place| books.closing.claims.get_mut(place));
    claim.ok_or_else(|| unknown("claim", id))
}

pub(super) fn review_claim(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("claim")?;
    let approved = facts.flag("approved")?;
    let text = facts.text("reason")?;
    judge.require(
        Check::Reason,
        approved || !text.trim().is_empty(),
        || "reason".into(),
        "a text",
        "none",
    );
    let actor = judge.actor;
    let claim = claim(books, id)?;
    judge.require(
        Check::State,
        claim.review.is_none() && claim.is_open(),
        || format!("claim {id}"),
        "open, not reviewed",
        format!("{} due, review {:?}, paid {}", claim.due, claim.review, claim.paid),
    );
    two_principals(judge, "files", claim.filer, "reviews", actor);
    claim.review = Some((approved, actor));
    let (org, programme, due) = (claim.org, claim.programme, claim.due);
    if !approved {
        let account = books.closing.claimable.entry((org, programme)).or_default();
        account.filed -= due;
        account.free += due;
    }
    Ok(())
}

pub(super) fn pay_claim(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("claim")?;
    let _reference = facts.text("reference")?;
    let actor = judge.actor;
    let claim = claim(books, id)?;
    let approved = matches!(claim.review, Some((true, _))) && claim.is_open();
    judge.require(
        Check::State,
        approved,
        || format!("claim {id}"),
        "approved, not paid",
        format!("{} due, review {:?}, paid {}", claim.due, claim.review, claim.paid),
    );
    let reviewer = claim.review.map_or(0, |(_, reviewer)| reviewer);
    two_principals(judge, "reviews", reviewer, "pays", actor);
    claim.paid = true;
    let (org, programme, due) = (claim.org, claim.programme, claim.due);
    books.closing.claimable.entry((org, programme)).or_default().filed -= due;
    // What the holder owes is set off.
    let set_off = due.min(books.balance(Account::Owes(org)));
    judge.post(Account::Claim(org), Account::Owes(org), set_off);
    let cash = due - set_off;
    judge.post(Account::Claim(org), Account::Treasury, cash);
    if cash > 0 {
        deposits(books, judge);
        // As it was before: what holders have to get under the programme, of which its funders have paid in all but their dues.
        let accounts = books.closing.claimable.iter().filter(|((_, of), _)| *of == programme);
        let owed: i128 = accounts.map(|(_, account)| account.free + account.filed).sum::<i128>() + due;
        // What is owed after it is each funder's to pay in still, by its share; all else it has paid in before.
        let shares = books.programme(programme).map_or_else(Vec::new, Programme::shares);
        let later = largest_remainder(owed - cash, &shares);
        for (funder, (due, later)) in dues(books, programme).into_iter().zip(later).enumerate() {
            judge.require(
                Check::Payment,
                due <= later,
                || format!("due from funder {} of programme {programme}", funder + 1),
                format!("at most its {later} of what is claimed later"),
                due,
            );
        }
    }
    Ok(())
}

/// What funders and payers have paid in for providers and holders, and they have not been paid yet.
pub(super) fn paid_in_for_payees(books: &Books) -> i128 {
    let owed = books.total(Account::Receivable(0).kind()) + books.total(Account::Claim(0).kind());
    (owed - books.total(Account::Due(0, 0).kind())).max(0)
}

// What each funder of a programme has not paid in.
fn dues(books: &Books, programme: u32) -> Vec<i128> {
    let funders = books.programme(programme).map_or(0, |known| known.funders.len());
    (0..funders)
        .map(|funder| books.balance(Account::Due(programme, funder as u8)))
        .collect()
}

// Each programme that pays something on the sheet has been paid in by its funders: all but what was called for later periods.
fn paid_in(books: &Books, judge: &mut Judge<'_>, (period, provider): (u32, u32)) {
    let mut paying: BTreeMap<u32, i128> = BTreeMap::new();
    for (key, tally) in books.closing.rows(period) {
        if key.programme != 0 && books.provider_of(key) == Some(provider) {
            *paying.entry(key.programme).or_default() += tally.net();
        }
    }
    for (programme, _) in paying.into_iter().filter(|(_, net)| *net > 0) {
        for (funder, due) in dues(books, programme).into_iter().enumerate() {
            let tallies = books.closing.tallies.iter();
            let later = tallies.filter(|(key, _)| key.programme == programme && key.of > period);
            let later: i128 = later.filter_map(|(_, tally)| tally.funders.get(funder)).sum();
            judge.require(
                Check::Payment,
                due <= later.max(0),
                || format!("due from funder {} of programme {programme}", funder + 1),
                format!("at most the {} of later periods", later.max(0)),
                due,
            );
        }
    }
}

// What organisations put in is theirs: nothing is paid out of it.
fn deposits(books: &Books, judge: &mut Judge<'_>) {
    let wallets = books.total(Account::Wallet(0).kind()) + books.total(Account::WalletHeld(0).kind());
    let cash = judge.balance(books, Account::Treasury);
    judge.require(
        Check::Balance,
        cash >= wallets,
        || "treasury after the payment".into(),
        format!("at least the {wallets} of the wallets"),
        cash,
    );
}

fn two_principals(judge: &mut Judge<'_>, does: &str, one: u64, does_next: &str, other: u64) {
    // Entries without principals are named by their own check.
    judge.require(
        Check::Duties,
        one != other || other == 0,
        || format!("who {does} and who {does_next}"),
        "two principals",
        format!("principal {other} twice"),
    );
}

pub(super) fn review_settlement(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let key = (facts.id("period")?, facts.id("provider")?);
    let actor = judge.actor;
    let known = books.closing.settlements.get_mut(&key);
    let settlement = known.ok_or_else(|| unknown("settlement", format!("{key:?}")))?;
    judge.require(
        Check::State,
        settlement.reviewer.is_none(),
        || format!("settlement {key:?}"),
        "not reviewed",
        "reviewed before",
    );
    settlement.reviewer = Some(actor);
    Ok(())
}

pub(super) fn pay_settlement(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let key = (facts.id("period")?, facts.id("provider")?);
    let amount = facts.amount("amount")?;
    let _reference = facts.text("reference")?;
    let actor = judge.actor;
    let known = books.closing.settlements.get(&key);
    let settlement = *known.ok_or_else(|| unknown("settlement", format!("{key:?}")))?;
    judge.require(
        Check::State,
        settlement.reviewer.is_some() && settlement.paid.is_none(),
        || format!("settlement {key:?}"),
        "reviewed, not paid",
        format!("reviewed by {:?}, paid {:?}", settlement.reviewer, settlement.paid),
    );
    let mut earlier = books
        .closing
        .settlements
        .range(..key)
        .filter(|((_, provider), _)| *provider == key.1);
    let skipped = earlier.find(|(_, settlement)| settlement.paid.is_none());
    judge.require(
        Check::Payment,
        skipped.is_none(),
        || format!("settlement {key:?}"),
        "paid after the provider's earlier ones",
        format!("{:?} is not paid", skipped.map(|(key, _)| key)),
    );
    two_principals(judge, "reviews", settlement.reviewer.unwrap_or(0), "pays", actor);
    // Of what is owed to the provider, what it owes is set off first; what belongs to later periods is left.
    let (receivable, owes) = (Account::Receivable(key.1), Account::Owes(key.1));
    let owed = books.balance(receivable);
    let set_off = owed.min(books.balance(owes));
    let later = books
        .closing
        .earned_after(key.0, |line| books.provider_of(line) == Some(key.1));
    let cash = (owed - set_off - later.max(0)).max(0);
    judge.expect(Check::Payment, || "paid".into(), cash, amount);
    judge.post(receivable, owes, set_off);
    judge.post(receivable, Account::Treasury, cash);
    if cash > 0 {
        deposits(books, judge);
        paid_in(books, judge, key);
    }
    if let Some(settlement) = books.closing.settlements.get_mut(&key) {
        settlement.paid = Some(cash);
    }
    Ok(())
}

pub(super) fn pay_in(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let programme = facts.id("programme")?;
    let funder = facts.number("funder")?;
    let known = books
        .programme(programme)
        .ok_or_else(|| unknown("programme", programme))?;
    let funders = known.funders.len() as u64;
    judge.require(
        Check::State,
        funder < funders,
        || "funder".into(),
        format!("below {funders}"),
        funder,
    );
    let due = Account::Due(programme, (funder % 16) as u8);
    pay(books, judge, facts, (Account::Treasury, due), due)
}

pub(super) fn collect(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let org = facts.id("organisation")?;
    books.org(org).ok_or_else(|| unknown("organisation", org))?;
    let owes = Account::Owes(org);
    pay(books, judge, facts, (Account::Treasury, owes), owes)
}

pub(super) fn repay_fund(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let programme = facts.id("programme")?;
    books
        .programme(programme)
        .ok_or_else(|| unknown("programme", programme))?;
    let recovery = Account::Recovery(programme);
    pay(books, judge, facts, (recovery, Account::Treasury), recovery)?;
    deposits(books, judge);
    let wallets = books.total(Account::Wallet(0).kind()) + books.total(Account::WalletHeld(0).kind());
    let least = wallets + paid_in_for_payees(books);
    let left = judge.balance(books, Account::Treasury);
    judge.require(
        Check::Balance,
        left >= least,
        || "treasury after the repayment".into(),
        format!("at least the {least} of wallets and payees"),
        left,
    );
    Ok(())
}

// An amount of what is owed on an account is paid.
fn pay(
    books: &Books,
    judge: &mut Judge<'_>,
    facts: &mut Facts<'_>,
    (debit, credit): (Account, Account),
    owed: Account,
) -> Read<()> {
    let amount = facts.amount("amount")?;
    let _reference = facts.text("reference")?;
    let most = books.balance(owed);
    judge.require(
        Check::Payment,
        (1..=most).contains(&amount),
        || "paid".into(),
        format!("1 to {most}"),
        amount,
    );
    judge.post(debit, credit, amount);
    Ok(())
}
