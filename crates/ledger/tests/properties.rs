//! Random commands against a naive model of the same rules. Counts run on small amounts so that roundings, caps and empty
//! purses are met often. After every command: all invariants recomputed (I1-I6), the balances are the fold of the journal (I17), a
//! refusal or a true retry has changed no byte (I10), every receipt and refund obeys its bounds (I7, I13), and the books survive a
//! round through their bytes.

mod model;

use hesuan_ledger::types::{Fen, Grant, HoldId, HoldKey, Timestamp};
use hesuan_ledger::{Cell, HoldRequest, Ledger, Pinned, Rejection, Slice};
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
        fraud: bool,
    },
    Extend {
        hold: u8,
        hours: u8,
    },
    Move {
        holder: u8,
        group: bool,
    },
    Revise {
        programme: u8,
        seed: u64,
        immediate: bool,
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
        1 => (any::<u8>(), any::<bool>()).prop_map(|(voucher, fraud)| Command::Revoke { voucher, fraud }),
        2 => (0u8..5, any::<u64>(), any::<bool>()).prop_map(|(programme, seed, immediate)| Command::Revise { programme, seed, immediate }),
        2 => (any::<u8>(), 1u8..100).prop_map(|(hold, hours)| Command::Extend { hold, hours }),
        1 => (0u8..3, any::<bool>()).prop_map(|(holder, group)| Command::Move { holder, group }),
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
        Command::Revoke { voucher, fraud } => world.ledger.revoke_voucher(world.voucher(*voucher), *fraud, "", at),
        Command::Revise {
            programme,
            seed,
            immediate,
        } => world
            .ledger
            .revise_programme(world.programme(*programme), &terms(*seed), None, *immediate, at)
            .map(drop),
        Command::Extend { hold, hours } => match world.open_hold(*hold) {
            Some((id, limit)) => {
                let more = u64::from(*hours) * 3_600_000;
                let extended = world.ledger.extend(id, more, at)?;
                assert_eq!(extended, limit + more);
                Ok(())
            }
            None => Ok(()),
        },
        // Under the provider's controller, or back under its own.
        Command::Move { holder, group } => {
            let group = if *group { "provider" } else { "" };
            world.ledger.update_org(world.holder(*holder), None, Some(group), at)
        }
        Command::Budget { programme, budget } => {
            world
                .ledger
                .set_budget(world.programme(*programme), Grant(i64::from(*budget)), at)
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
    let as_before = world.clone();
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
    let slices = world.ledger.open_hold(id).expect("just opened").pinned.slices.clone();
    for (place, slice) in slices.iter().enumerate() {
        let subsidy: i64 = slice.legs.iter().map(|leg| leg.amount.0).sum();
        if let Some(expected) = as_before.expected_subsidy(&request, &slices[..place], slice) {
            assert_eq!(
                subsidy, expected,
                "the naive model finds another subsidy in slice {place} of {request:?}"
            );
        }
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
        .map(|bound| (bound.pinned.payer, held_in_wallet(&bound.pinned)));
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

fn held_in_wallet(pinned: &Pinned) -> i64 {
    pinned.slices.iter().map(|slice| slice.wallet.0).sum()
}

fn settle(world: &mut World, id: HoldId, wall_ms: u64) -> Result<(), Rejection> {
    let hold = world.ledger.open_hold(id).expect("the test picked an open one").clone();
    let (payer, provider) = (hold.pinned.payer, hold.pinned.provider);
    let figures = |world: &World| {
        let org = world.ledger.org(provider).expect("known");
        (world.ledger.funds(payer), org.receivable.0 - org.owes.0)
    };
    let captured: i64 = hold.cells.iter().map(|cell| cell.gross.0).sum();
    let (before, is_swept) = (
        figures(world),
        world.ledger.clone().expire_due(world.at, 1_000).count > 0,
    );
    let receipt = world.ledger.settle(id, wall_ms, world.at)?;
    let settled = world.ledger.settled_of(receipt.key).expect("just settled").clone();
    assert_eq!(settled.receipt(), receipt);
    settled.cells.iter().for_each(check_cell);
    let beyond = settled.cells.iter().filter(|cell| cell.from_ms >= wall_ms);
    assert!(
        beyond.clone().all(|cell| cell.refunded == cell.gross),
        "use that was not is billed"
    );
    assert!(
        settled.cells.windows(2).all(|pair| pair[0].to_ms == pair[1].from_ms),
        "a gap or an overlap between what was captured: {:?}",
        settled.cells
    );
    let after = figures(world);
    let new_cells = &settled.cells[hold.cells.len()..];
    if is_swept {
        // Its cover may have ended first; what it holds then is planned anew.
        return Ok(());
    }
    let end = settled.cells.last().map_or(0, |cell| cell.to_ms);
    assert!(
        end <= wall_ms.max(hold.cells.last().map_or(0, |cell| cell.to_ms)),
        "billed beyond its use"
    );
    for (cell, slice) in new_cells.iter().zip(&hold.pinned.slices) {
        check_against_slice(cell, slice);
    }
    assert_eq!(
        before.0.wallet_held.0 - after.0.wallet_held.0,
        held_in_wallet(&hold.pinned),
        "the whole hold ends"
    );
    let paid: i64 = new_cells.iter().map(|cell| cell.wallet.0).sum();
    let back = receipt.refunded.0;
    if back == 0 {
        assert_eq!(
            after.0.wallet_available.0 - before.0.wallet_available.0,
            held_in_wallet(&hold.pinned) - paid
        );
    }
    let holder_redeemed = settled.cells.iter().flat_map(|cell| &cell.legs);
    let claims = holder_redeemed.filter(|leg| leg.redemption == hesuan_ledger::Redemption::Holder);
    if back == 0 || claims.count() == 0 {
        assert_eq!(
            after.1 - before.1,
            receipt.gross.0 - captured - back,
            "the provider earns the list price"
        );
    }
    Ok(())
}

fn check_against_slice(cell: &Cell, slice: &Slice) {
    assert!(cell.from_ms == slice.from_ms && cell.to_ms <= slice.until_ms);
    assert!(cell.wallet <= slice.wallet);
    let subsidy: i64 = cell.legs.iter().map(|leg| leg.amount.0).sum();
    assert!(
        subsidy * 10_000 <= cell.gross.0 * i64::from(slice.stack_max.0),
        "over the stack cap"
    );
    for (leg, held) in cell.legs.iter().zip(&slice.legs) {
        assert!(
            leg.amount >= Fen::ZERO && leg.amount <= held.amount && leg.grant <= held.grant,
            "a leg captured more than it held"
        );
    }
}

// I7 with its own arithmetic.
fn check_cell(captured: &Cell) {
    let wall_ms = captured.to_ms - captured.from_ms;
    let cell = |units: u64, ms: u64, price: u64| {
        let raw = u128::from(units) * u128::from(ms) * u128::from(price);
        let (whole, rest) = (raw / 3_600_000_000_000, raw % 3_600_000_000_000);
        if rest >= 1_800_000_000_000 {
            whole as i64 + 1
        } else {
            whole as i64
        }
    };
    let gross: Vec<i64> = captured
        .lines
        .iter()
        .map(|line| cell(line.line.milli_units, wall_ms, line.millifen_per_unit_hour))
        .collect();
    assert_eq!(captured.gross.0, gross.iter().sum::<i64>());
    let subsidy: i64 = captured.legs.iter().map(|leg| leg.amount.0).sum();
    assert_eq!(subsidy + captured.copay.0, captured.gross.0);
    for (leg, pin) in captured.legs.iter().zip(&captured.pins) {
        let mut at_most = 0;
        let mut eligible = 0;
        for (line, rate) in captured.lines.iter().zip(&*pin.rates) {
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
    let before = world.ledger.receipt(key);
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
    for back in &refund.legs {
        let leg = before.legs.iter().find(|leg| leg.voucher == back.voucher);
        assert!(back.amount <= leg.expect("only what paid gets back").amount);
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
