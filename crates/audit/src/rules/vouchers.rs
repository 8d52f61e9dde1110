//! The life of vouchers apart from paying.

use super::{reason, unknown};
use crate::books::{Books, Life, Voucher};
use crate::chart::Account;
use crate::facts::{Facts, Read};
use crate::finding::Check;
use crate::judge::Judge;

pub(super) fn issue(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("voucher")?;
    let programme = facts.id("programme")?;
    let holder = facts.id("holder")?;
    let face = facts.amount("face")?;
    let from = facts.ms("from")?;
    let until = facts.ms("until")?;
    let code = facts.text("code")?;
    books
        .programme(programme)
        .ok_or_else(|| unknown("programme", programme))?;
    books.org(holder).ok_or_else(|| unknown("organisation", holder))?;
    let next = books.vouchers.len() as u64 + 1;
    judge.expect(Check::Number, || "number of the voucher".into(), next, id);
    let new = books.codes.insert(code.to_owned());
    judge.require(Check::Number, new, || "code".into(), "a new one", code);
    let at = judge.at;
    judge.require(
        Check::Terms,
        face > 0 && from < until && until > at,
        || "voucher".into(),
        format!("a face above 0, an end after its beginning and after {at}"),
        format!("{face} from {from} until {until}"),
    );
    judge.post(books.source(programme), Account::Voucher(next), face);
    books.vouchers.push(Voucher {
        programme,
        holder,
        from,
        until,
        life: Life::Issued,
        fraud: false,
        paid: 0,
    });
    Ok(())
}

pub(super) fn redeem(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("voucher")?;
    let holder = facts.id("holder")?;
    let at = judge.at;
    let voucher = books.voucher_mut(id).ok_or_else(|| unknown("voucher", id))?;
    judge.expect(
        Check::State,
        || format!("holder of voucher {id}"),
        voucher.holder,
        holder,
    );
    let open = voucher.life == Life::Issued && at < voucher.until;
    judge.require(
        Check::State,
        open,
        || format!("voucher {id}"),
        "issued, not over",
        format!("{:?} until {}", voucher.life, voucher.until),
    );
    voucher.life = Life::Active;
    Ok(())
}

pub(super) fn suspend(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("voucher")?;
    reason(judge, facts)?;
    let left = books.balance(Account::Voucher(id)) + books.balance(Account::VoucherHeld(id));
    judge.require(
        Check::State,
        left > 0,
        || format!("left of voucher {id}"),
        "something",
        left,
    );
    change(books, judge, id, Life::Active, Life::Suspended)
}

pub(super) fn resume(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("voucher")?;
    reason(judge, facts)?;
    change(books, judge, id, Life::Suspended, Life::Active)
}

fn change(books: &mut Books, judge: &mut Judge<'_>, id: u64, from: Life, to: Life) -> Read<()> {
    let voucher = books.voucher_mut(id).ok_or_else(|| unknown("voucher", id))?;
    let found = format!("{:?}", voucher.life);
    judge.expect(Check::State, || format!("voucher {id}"), format!("{from:?}"), found);
    voucher.life = to;
    Ok(())
}

pub(super) fn revoke(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("voucher")?;
    let fraud = facts.flag("fraud")?;
    let recovered = facts.amount("recovered")?;
    reason(judge, facts)?;
    let known = books.voucher(id).ok_or_else(|| unknown("voucher", id))?;
    // What the voucher paid comes back from who used it; the providers keep what they were paid.
    let expected = if fraud { known.paid } else { 0 };
    judge.expect(Check::Transfers, || "recovered".into(), expected, recovered);
    judge.post(
        Account::Owes(known.holder),
        Account::Recovery(known.programme),
        expected,
    );
    // Fraud may be found out when the voucher is over.
    if !(fraud && known.is_over() && !known.fraud) {
        end(books, judge, id, Life::Revoked)?;
    }
    if let Some(voucher) = books.voucher_mut(id) {
        voucher.fraud |= fraud;
    }
    Ok(())
}

pub(super) fn expire(books: &mut Books, judge: &mut Judge<'_>, facts: &mut Facts<'_>) -> Read<()> {
    let id = facts.number("voucher")?;
    let until = books.voucher(id).ok_or_else(|| unknown("voucher", id))?.until;
    let at = judge.at;
    judge.require(
        Check::State,
        until <= at,
        || format!("end of voucher {id}"),
        format!("not after {at}"),
        until,
    );
    end(books, judge, id, Life::Expired)
}

// What is free goes back to where it came from; what is held follows when its holds end.
fn end(books: &mut Books, judge: &mut Judge<'_>, id: u64, to: Life) -> Read<()> {
    let known = books.voucher(id).ok_or_else(|| unknown("voucher", id))?;
    judge.require(
        Check::State,
        !known.is_over(),
        || format!("voucher {id}"),
        "one that is not over",
        format!("{:?}", known.life),
    );
    let source = books.source(known.programme);
    judge.post(Account::Voucher(id), source, books.balance(Account::Voucher(id)));
    if let Some(voucher) = books.voucher_mut(id) {
        voucher.life = to;
    }
    Ok(())
}
