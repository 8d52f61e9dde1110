//! The same story told at different paces: some holds, one cover that ends under them, their settlements; in a world where there is money enough,
//! so that nobody's turn decides who is paid. Sites report late or in time: what was used may be any part of what has passed.

use std::collections::BTreeMap;

use hesuan_ledger::types::{Fen, Grant, HoldKey, OrgId, Timestamp, VoucherId};
use hesuan_ledger::{HoldRequest, Terms};

use super::commands::{Bill, as_request};
use super::{World, terms};

/// How often time passes in the books.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// All that is due, after every step.
    EveryStep,
    /// One bounded step before every hold and settlement.
    OneByOne,
    /// When everything else is over.
    Never,
}

// List price, wallet, and each voucher that paid.
type Cost = (i64, i64, Vec<(VoucherId, i64)>);

/// What each hold cost in the end, and what everybody has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    holds: BTreeMap<HoldKey, Cost>,
    balances: Vec<(String, i64)>,
}

pub(crate) fn totals(
    seed: u64,
    holds: &[(Bill, u8)],
    (what, which, when): (u8, u8, u8),
    settles: &[(u8, u8, u16)],
    pace: Pace,
) -> Totals {
    let mut world = rich(seed);
    let pass = |world: &mut World, limit| {
        let at = world.at;
        world.ledger.expire_due(at, limit);
    };
    let step = |world: &mut World| match pace {
        Pace::EveryStep => pass(world, usize::MAX),
        Pace::OneByOne => pass(world, 1),
        Pace::Never => {}
    };
    for (place, (bill, wait)) in holds.iter().enumerate() {
        if place == usize::from(when) {
            end_cover(&mut world, what, which);
            step(&mut world);
        }
        let request = HoldRequest {
            key: HoldKey {
                job: place as u64,
                task: 0,
                attempt: 1,
            },
            request: as_request(&world, bill, false),
            quote: None,
        };
        let _ = world.ledger.hold(&request, world.at);
        world.at.0 += u64::from(*wait) * super::HOUR;
        step(&mut world);
    }
    if usize::from(when) >= holds.len() {
        end_cover(&mut world, what, which);
        step(&mut world);
    }
    let all = holds.len() as u64;
    let rest = (0..all).map(|job| (job as u8, 7, 0));
    for (job, wait, share) in settles.iter().copied().chain(rest) {
        world.at.0 += u64::from(wait) * super::HOUR + 1;
        step(&mut world);
        let key = HoldKey {
            job: u64::from(job) % all,
            task: 0,
            attempt: 1,
        };
        let Some(id) = world.ledger.open_hold_of(key) else {
            continue;
        };
        let opened_at = world.ledger.open_hold(id).expect("found by its key").opened_at;
        // The report may be late: of the time that has passed only a part was used.
        let elapsed_ms = world.at.0 - opened_at.0;
        let unused_ms = u128::from(elapsed_ms) * u128::from(share) / u128::from(u16::MAX);
        let used_ms = elapsed_ms - unused_ms as u64;
        world.ledger.settle(id, used_ms, world.at).expect("an open hold");
        world.ledger.check();
    }
    while world.ledger.expire_due(world.at, 100).count > 0 {}
    let of = |settled: &hesuan_ledger::Settled| {
        let receipt = settled.receipt();
        // Where no cover ended the wallet holds what any time costs.
        assert!(what < 3 || receipt.refunded == Fen::ZERO, "{receipt:?}");
        let mut legs: Vec<_> = receipt.legs.iter().map(|leg| (leg.voucher, leg.amount.0)).collect();
        legs.retain(|(_, amount)| *amount > 0);
        legs.sort();
        (
            settled.key,
            (receipt.gross.0 - receipt.refunded.0, receipt.wallet.0, legs),
        )
    };
    let ledger = &world.ledger;
    Totals {
        holds: ledger.settled().map(of).collect(),
        balances: ledger
            .accounts()
            .map(|account| (account.to_string(), ledger.balance(account)))
            .collect(),
    }
}

// A world without caps, with full purses and vouchers that end at different times.
fn rich(seed: u64) -> World {
    let mut world = World::new(seed | 8);
    world.keep_all();
    for holder in 0..3 {
        let org = world.holder(holder);
        let filled = world.ledger.credit_wallet(org, Fen(1_000_000_000), "", world.at);
        filled.expect("well formed");
    }
    for index in 0..5 {
        let id = world.programme(index);
        let known = world.ledger.programme(id).expect("made by the world");
        let terms = without_caps(known.revisions[0].terms.clone());
        let budget = world.ledger.set_budget(id, Grant(10_000_000_000_000), world.at);
        budget.expect("a budget may be raised");
        let revised = world.ledger.revise_programme(id, &terms, None, false, world.at);
        revised.expect("well formed");
        for holder in 0..3 {
            let lasts = 30 + index * 40 + holder * 7 + (seed >> (index * 4) & 31) as u8;
            world
                .issue(index, holder, u16::MAX, lasts)
                .expect("the budget is large");
        }
    }
    world
}

fn without_caps(terms: Terms) -> Terms {
    Terms {
        cap_per_control_group: None,
        cap_per_job: None,
        ..terms
    }
}

// A voucher is found to be a fraud, a programme is revised at once, or a holder turns out to be affiliated.
fn end_cover(world: &mut World, what: u8, which: u8) {
    let at: Timestamp = world.at;
    match what {
        0 => drop(
            world
                .ledger
                .revoke_voucher(VoucherId(1 + u64::from(which) % 15), true, "", at),
        ),
        1 => {
            let id = world.programme(which);
            let terms = without_caps(terms(u64::from(which) * 0x9e37_79b9, world.in_units(id)));
            drop(world.ledger.revise_programme(id, &terms, None, true, at));
        }
        2 => drop(
            world
                .ledger
                .update_org(OrgId(2 + u32::from(which) % 3), None, Some("provider"), at),
        ),
        _ => {}
    }
}
