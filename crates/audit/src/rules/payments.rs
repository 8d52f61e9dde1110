//! Money that leaves and enters: claims of holders, settlements of providers, what funders and debtors pay.

use super::unknown;
use crate::books::Books;
use crate::chart::Account;
use crate::closing::Claim;
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
    let left = books.closing.claimable.entry((org, programme)).or_default();
    judge.require(
        Check::Payment,
        (1..=*left).contains(&amount),
        || "claimed".into(),
        format!("1 to {left}"),
        amount,
    );
    *left -= amount;
    books.closing.claims.push(Claim {
        org,
        programme,
        amount,
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
        claim.review.is_none(),
        || format!("claim {id}"),
        "not reviewed",
        "reviewed before",
    );
    claim.review = Some((approved, actor));
    let (org, programme, amount) = (claim.org, claim.programme, claim.amount);
    if !approved {
        *books.closing.claimable.entry((org, programme)).or_default() += amount;
    }
    Ok(())
}

pub(super) fn pay_claim(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("claim")?;
    let _reference = facts.text("reference")?;
    let actor = judge.actor;
    let claim = claim(books, id)?;
    let approved = matches!(claim.review, Some((true, _))) && !claim.paid;
    judge.require(
        Check::State,
        approved,
        || format!("claim {id}"),
        "approved, not paid",
        format!("review {:?}, paid {}", claim.review, claim.paid),
    );
    let reviewer = claim.review.map(|(_, reviewer)| reviewer);
    two_principals(judge, reviewer, actor);
    claim.paid = true;
    let (org, amount) = (claim.org, claim.amount);
    judge.post(Account::Claim(org), Account::Treasury, amount);
    deposits(books, judge);
    Ok(())
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

fn two_principals(judge: &mut Judge<'_>, reviewer: Option<u64>, payer: u64) {
    // Entries without principals are named by their own check.
    judge.require(
        Check::Payment,
        payer == 0 || reviewer != Some(payer),
        || "who reviews and who pays".into(),
        "two principals",
        format!("principal {payer} twice"),
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
    let account = Account::Receivable(key.1);
    let owed = books.balance(account);
    let known = books.closing.settlements.get_mut(&key);
    let settlement = known.ok_or_else(|| unknown("settlement", format!("{key:?}")))?;
    judge.require(
        Check::State,
        settlement.reviewer.is_some() && settlement.paid.is_none(),
        || format!("settlement {key:?}"),
        "reviewed, not paid",
        format!("reviewed by {:?}, paid {:?}", settlement.reviewer, settlement.paid),
    );
    let expected = settlement.net.min(owed).max(0);
    judge.expect(Check::Payment, || "paid".into(), expected, amount);
    let reviewer = settlement.reviewer;
    settlement.paid = Some(expected);
    two_principals(judge, reviewer, actor);
    judge.post(account, Account::Treasury, expected);
    deposits(books, judge);
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
