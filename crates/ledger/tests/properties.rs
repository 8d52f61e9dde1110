//! Random commands against a naive model of the same rules. Counts run on small amounts so that roundings, caps and empty
//! purses are met often. After every command: all invariants recomputed (I1-I6), the balances are the fold of the journal (I17), a
//! refusal or a true retry has changed no byte (I10), every receipt and refund obeys its bounds (I7, I13), and the books survive a
//! round through their bytes.

mod model;

use hesuan_ledger::types::{Fen, HoldId, HoldKey, Timestamp};
use hesuan_ledger::{HoldRequest, Ledger, Receipt, Rejection};
use model::{Fold, World, request, terms};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Command {
    TopUp {
        holder: u8,
        amount: u16,
    },
    Withdraw {
        holder: u8,
        amount: u16,
    },
    Issue {
        programme: u8,
        holder: u8,
        face: u16,
        lasts: u8,
    },
    Suspend {
        voucher: u8,
    },
    Resume {
        voucher: u8,
    },
    Revoke {
        voucher: u8,
    },
    Revise {
        programme: u8,
        seed: u64,
    },
    Budget {
        programme: u8,
        budget: u16,
    },
    Price {
        site: u8,
        price: u16,
    },
    EndAgreement {
        agreement: u8,
    },
    Hold {
        job: u8,
        attempt: u8,
        bill: Bill,
    },
    Bind {
        bill: Bill,
        valid: u8,
    },
    TakeUp {
        job: u8,
        quote: u8,
        bill: Bill,
    },
    Settle {
        hold: u8,
        share: u16,
    },
    Release {
        hold: u8,
    },
    Refund {
        job: u8,
        attempt: u8,
        amount: u16,
    },
    Wait {
        hours: u8,
    },
    Expire,
}

#[derive(Clone, Debug)]
struct Bill {
    holder: u8,
    site: u8,
    cpu: u8,
    gpu: u8,
    storage: u8,
    hours: u8,
    pay: u8,
}

fn bills() -> impl Strategy<Value = Bill> {
    (0u8..3, 0u8..3, 0u8..40, 0u8..3, 0u8..40, 1u8..30, 0u8..8).prop_map(
        |(holder, site, cpu, gpu, storage, hours, pay)| Bill {
            holder,
            site,
            cpu,
            gpu: if gpu == 2 { cpu / 3 } else { 0 },
            storage: if gpu == 1 { storage } else { 0 },
            hours,
            pay,
        },
    )
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (0u8..3, any::<u16>()).prop_map(|(holder, amount)| Command::TopUp { holder, amount }),
        1 => (0u8..3, any::<u16>()).prop_map(|(holder, amount)| Command::Withdraw { holder, amount }),
        4 => (0u8..5, 0u8..3, 1u16..4_000, 1u8..90).prop_map(|(programme, holder, face, lasts)| Command::Issue { programme, holder, face, lasts }),
        1 => any::<u8>().prop_map(|voucher| Command::Suspend { voucher }),
        1 => any::<u8>().prop_map(|voucher| Command::Resume { voucher }),
        1 => any::<u8>().prop_map(|voucher| Command::Revoke { voucher }),
        1 => (0u8..5, any::<u64>()).prop_map(|(programme, seed)| Command::Revise { programme, seed }),
        1 => (0u8..5, any::<u16>()).prop_map(|(programme, budget)| Command::Budget { programme, budget }),
        1 => (0u8..3, any::<u16>()).prop_map(|(site, price)| Command::Price { site, price }),
        1 => (0u8..3).prop_map(|agreement| Command::EndAgreement { agreement }),
        10 => (0u8..6, 1u8..4, bills()).prop_map(|(job, attempt, bill)| Command::Hold { job, attempt, bill }),
        2 => (bills(), 1u8..30).prop_map(|(bill, valid)| Command::Bind { bill, valid }),
        2 => (0u8..6, any::<u8>(), bills()).prop_map(|(job, quote, bill)| Command::TakeUp { job, quote, bill }),
        8 => (any::<u8>(), any::<u16>()).prop_map(|(hold, share)| Command::Settle { hold, share }),
        1 => any::<u8>().prop_map(|hold| Command::Release { hold }),
        3 => (0u8..6, 1u8..4, any::<u16>()).prop_map(|(job, attempt, amount)| Command::Refund { job, attempt, amount }),
        2 => (0u8..40).prop_map(|hours| Command::Wait { hours }),
        1 => Just(Command::Expire),
    ]
}

fn bytes(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.encode_snapshot(&mut |chunk| bytes.extend_from_slice(chunk));
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_every_invariant(seed in any::<u64>(), commands in proptest::collection::vec(commands(), 1..80)) {
        let mut world = World::new(seed);
        let mut fold = Fold::default();
        fold.take(&mut world.ledger);
        for command in &commands {
            let before = bytes(&world.ledger);
            let refused = run(&mut world, command).is_err();
            prop_assert!(!refused || bytes(&world.ledger) == before, "a refusal changed the books: {:?}", command);
            world.ledger.check();
            fold.take(&mut world.ledger);
            fold.compare(&world.ledger);
        }
        let all = bytes(&world.ledger);
        let chunks: Vec<&[u8]> = all.chunks(97).collect();
        let restored = Ledger::decode_snapshot(chunks).expect("what was written can be read");
        restored.check();
        prop_assert!(bytes(&restored) == all, "a restored ledger differs");
    }

    #[test]
    fn more_money_never_buys_less(seed in any::<u64>(), bill in bills(), faces in proptest::collection::vec((0u8..5, 1u16..2_000), 0..6), extra in (0u8..5, 1u16..2_000)) {
        let mut world = World::new(seed);
        for (programme, face) in faces {
            let _ = world.issue(programme, bill.holder, face, 60);
        }
        let request = as_request(&world, &bill, false);
        let Ok(before) = world.ledger.quote(&request, world.at) else { return Ok(()) };
        let subsidy = |world: &World| world.ledger.quote(&request, world.at).map(|quote| quote.gross.0 - quote.copay.0).expect("it was quoted before");
        let least = before.gross.0 - before.copay.0;

        let mut richer = world.clone();
        let _ = richer.issue(extra.0, bill.holder, extra.1, 60);
        prop_assert!(subsidy(&richer) >= least, "a voucher more raised the co-pay");
        for index in 0..5 {
            let mut richer = world.clone();
            richer.raise(index);
            prop_assert!(subsidy(&richer) >= least, "a higher rate, cap or budget of programme {} raised the co-pay", index);
        }
    }

    // The books of a clone are the books at that moment, however the original goes on.
    #[test]
    fn a_clone_is_frozen(seed in any::<u64>(), commands in proptest::collection::vec(commands(), 1..30)) {
        let mut world = World::new(seed);
        let (frozen, before) = (world.ledger.clone(), bytes(&world.ledger));
        for command in &commands {
            let _ = run(&mut world, command);
        }
        prop_assert!(bytes(&frozen) == before);
    }

    #[test]
    fn damaged_snapshots_are_refused_or_read_but_never_panic(seed in any::<u64>(), flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let mut world = World::new(seed);
        let _ = world.issue(0, 0, 500, 60);
        let mut all = bytes(&world.ledger);
        prop_assert!(Ledger::decode_snapshot([&all[..all.len() - 1]]).is_err());
        for (place, value) in flips {
            let place = place as usize % all.len();
            all[place] ^= value;
        }
        let _ = Ledger::decode_snapshot([&all]);
    }
}

fn run(world: &mut World, command: &Command) -> Result<(), Rejection> {
    let at = world.at;
    match command {
        Command::TopUp { holder, amount } => {
            world
                .ledger
                .credit_wallet(world.holder(*holder), Fen(i64::from(*amount)), "", at)
        }
        Command::Withdraw { holder, amount } => {
            world
                .ledger
                .withdraw(world.holder(*holder), Fen(i64::from(*amount)), "", at)
        }
        Command::Issue {
            programme,
            holder,
            face,
            lasts,
        } => world.issue(*programme, *holder, *face, *lasts),
        Command::Suspend { voucher } => world.ledger.suspend_voucher(world.voucher(*voucher), "", at),
        Command::Resume { voucher } => world.ledger.resume_voucher(world.voucher(*voucher), "", at),
        Command::Revoke { voucher } => world.ledger.revoke_voucher(world.voucher(*voucher), "", at),
        Command::Revise { programme, seed } => world
            .ledger
            .revise_programme(world.programme(*programme), &terms(*seed), None, at)
            .map(drop),
        Command::Budget { programme, budget } => {
            world
                .ledger
                .set_budget(world.programme(*programme), Fen(i64::from(*budget)), at)
        }
        Command::Price { site, price } => world.price(*site, u64::from(*price)),
        Command::EndAgreement { agreement } => world.ledger.end_agreement(world.agreement(*agreement), None, at),
        Command::Hold { job, attempt, bill } => hold(world, *job, *attempt, bill),
        Command::Bind { bill, valid } => {
            let request = as_request(world, bill, false);
            let until = Timestamp(at.0 + u64::from(*valid) * 600_000);
            let quote = world.ledger.hold_quote(&request, until, at)?;
            world.quotes.push((quote, request));
            Ok(())
        }
        Command::TakeUp { job, quote, bill } => take_up(world, *job, *quote, bill),
        Command::Settle { hold, share } => {
            let Some((id, limit)) = world.open_hold(*hold) else {
                return Ok(());
            };
            let wall_ms = limit * u64::from(*share) / u64::from(u16::MAX / 2);
            settle(world, id, wall_ms)
        }
        Command::Release { hold } => match world.open_hold(*hold) {
            Some((id, _)) => world.ledger.release(id, at),
            None => Ok(()),
        },
        Command::Refund { job, attempt, amount } => refund(world, key(*job, *attempt), *amount),
        Command::Wait { hours } => {
            world.at = Timestamp(at.0 + u64::from(*hours) * 3_600_000);
            Ok(())
        }
        Command::Expire => {
            world.ledger.expire_due(at, 3);
            Ok(())
        }
    }
}

fn key(job: u8, attempt: u8) -> HoldKey {
    HoldKey {
        job: u64::from(job),
        task: 0,
        attempt: u32::from(attempt),
    }
}

fn as_request(world: &World, bill: &Bill, wallet_only: bool) -> hesuan_ledger::QuoteRequest {
    let amounts = [("cpu", bill.cpu), ("gpu/a800", bill.gpu), ("storage", bill.storage)];
    request(
        world.holder(bill.holder),
        world.site(bill.site),
        amounts,
        bill.hours,
        wallet_only,
    )
}

fn hold(world: &mut World, job: u8, attempt: u8, bill: &Bill) -> Result<(), Rejection> {
    let request = HoldRequest {
        key: key(job, attempt),
        request: as_request(world, bill, bill.pay == 0),
        quote: None,
    };
    let expected = world.expected_subsidy(&request);
    let already_open = world.ledger.open_hold_of(request.key);
    let before = bytes(&world.ledger);
    let id = world.ledger.hold(&request, world.at)?;
    if let Some(open) = already_open {
        assert!(
            open == id && bytes(&world.ledger) == before,
            "a retry opened a second hold"
        );
        return Ok(());
    }
    let pinned = &world.ledger.open_hold(id).expect("just opened").pinned;
    let subsidy: i64 = pinned.legs.iter().map(|leg| leg.amount.0).sum();
    if let Some(expected) = expected {
        assert_eq!(
            subsidy, expected,
            "the naive model finds another subsidy for {request:?}"
        );
    }
    // A retry of what was just done gives the same answer and changes nothing; another payload under the key is refused.
    let after = bytes(&world.ledger);
    assert_eq!(world.ledger.hold(&request, world.at), Ok(id));
    let mut other = request.clone();
    other.request.walltime_ms_max += 1;
    assert_eq!(
        world
            .ledger
            .hold(&other, world.at)
            .map_err(|rejection| rejection.code()),
        Err("HOLD_KEY_REUSED")
    );
    assert!(bytes(&world.ledger) == after);
    // Whatever part of the limit is used, the hold suffices (I4), and half the time never costs the wallet more than all of it.
    let limit = request.request.walltime_ms_max;
    for wall_ms in [0, 1, limit / 3, limit / 2, limit - 1, limit, limit + 1] {
        let mut fork = world.clone();
        settle(&mut fork, id, wall_ms)?;
        fork.ledger.check();
    }
    Ok(())
}

fn take_up(world: &mut World, job: u8, quote: u8, bill: &Bill) -> Result<(), Rejection> {
    let Some((quote, held_for)) = world.quote(quote) else {
        return Ok(());
    };
    let request = if bill.pay < 2 {
        as_request(world, bill, false)
    } else {
        held_for
    };
    let request = HoldRequest {
        key: key(job, 3),
        request,
        quote: Some(quote),
    };
    let wallet = world
        .ledger
        .bound_quote(quote)
        .map(|bound| (bound.pinned.payer, bound.pinned.wallet));
    let available = wallet.map(|(payer, _)| world.ledger.funds(payer).wallet_available);
    world.ledger.hold(&request, world.at)?;
    if let Some((payer, _)) = wallet {
        assert_eq!(
            Some(world.ledger.funds(payer).wallet_available),
            available,
            "taking up a quote moved money"
        );
    }
    Ok(())
}

fn settle(world: &mut World, id: HoldId, wall_ms: u64) -> Result<(), Rejection> {
    let hold = world.ledger.open_hold(id).expect("the test picked an open one").clone();
    let before = (
        world.ledger.funds(hold.pinned.payer),
        world.ledger.org(hold.pinned.provider).map(|org| org.receivable),
    );
    let receipt = world.ledger.settle(id, wall_ms, world.at)?;
    check_receipt(&receipt, &hold.pinned, wall_ms);
    let after = (
        world.ledger.funds(hold.pinned.payer),
        world.ledger.org(hold.pinned.provider).map(|org| org.receivable),
    );
    assert_eq!(
        before.0.wallet_held.0 - after.0.wallet_held.0,
        hold.pinned.wallet.0,
        "the whole hold ends"
    );
    assert_eq!(
        after.0.wallet_available.0 - before.0.wallet_available.0,
        hold.pinned.wallet.0 - receipt.wallet.0
    );
    assert_eq!(
        after.1.expect("known").0 - before.1.expect("known").0,
        receipt.gross.0,
        "the provider earns the list price"
    );
    assert_eq!(world.ledger.receipt(receipt.key), Some(&receipt));
    Ok(())
}

// I7 with its own arithmetic.
fn check_receipt(receipt: &Receipt, pinned: &hesuan_ledger::Pinned, wall_ms: u64) {
    let wall_ms = wall_ms.min(pinned.walltime_ms_max);
    let cell = |units: u64, ms: u64, price: u64| {
        let raw = u128::from(units) * u128::from(ms) * u128::from(price);
        let (whole, rest) = (raw / 3_600_000_000_000, raw % 3_600_000_000_000);
        if rest >= 1_800_000_000_000 {
            whole as i64 + 1
        } else {
            whole as i64
        }
    };
    let gross: Vec<i64> = pinned
        .lines
        .iter()
        .map(|line| cell(line.line.milli_units, wall_ms, line.millifen_per_unit_hour))
        .collect();
    assert_eq!(receipt.gross.0, gross.iter().sum::<i64>());
    let subsidy: i64 = receipt.legs.iter().map(|leg| leg.amount.0).sum();
    assert_eq!(subsidy + receipt.copay.0, receipt.gross.0);
    assert!(
        subsidy * 10_000 <= receipt.gross.0 * i64::from(pinned.stack_max.0),
        "over the stack cap"
    );
    for ((leg, held), pin) in receipt.legs.iter().zip(&pinned.legs).zip(&pinned.pins) {
        assert!(
            leg.amount >= Fen::ZERO && leg.amount <= held.amount,
            "a leg captured more than it held"
        );
        let mut at_most = 0;
        let mut eligible = 0;
        for (line, rate) in pinned.lines.iter().zip(&*pin.rates) {
            let covered = cell(
                line.line.milli_units,
                wall_ms.min(pin.cover_ms),
                line.millifen_per_unit_hour,
            );
            at_most += covered * i64::from(rate.0);
            eligible += if rate.0 > 0 { covered } else { 0 };
        }
        assert_eq!(leg.eligible.0, eligible);
        assert!(leg.amount.0 * 10_000 <= at_most, "a leg over its rates: {leg:?}");
    }
}

fn refund(world: &mut World, key: HoldKey, amount: u16) -> Result<(), Rejection> {
    let before = world.ledger.receipt(key).cloned();
    let amount = if amount < 20_000 {
        Some(Fen(i64::from(amount % 700)))
    } else {
        None
    };
    let refund = world.ledger.refund(key, amount, "", world.at)?;
    let before = before.expect("only what is settled can be refunded");
    let after = world.ledger.receipt(key).expect("it stays in the window");
    assert_eq!(after.refunded.0, before.refunded.0 + refund.amount.0);
    assert!(after.refunded <= after.gross, "more went back than was paid");
    assert_eq!(
        refund.amount.0,
        refund.copay.0 + refund.legs.iter().map(|leg| leg.amount.0).sum::<i64>()
    );
    for (back, leg) in refund.legs.iter().zip(&before.legs) {
        assert!(back.amount <= leg.amount);
    }
    if after.refunded == after.gross {
        // Given back whole: each leg and the co-pay got exactly what they had paid, in however many steps.
        let mut fork = world.ledger.clone();
        assert_eq!(
            fork.refund(key, None, "", world.at)
                .map_err(|rejection| rejection.code()),
            Err("REFUND_TOO_LARGE")
        );
    }
    Ok(())
}
