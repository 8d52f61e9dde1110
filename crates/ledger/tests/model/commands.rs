//! Random commands, and what each of them alone has to keep.

use hesuan_ledger::types::{ClaimId, Fen, HoldId, HoldKey, OrgId, RegionCode, Stamp, Timestamp};
use hesuan_ledger::{Account, HoldRequest, Pinned, QuoteRequest, Rejection};
use proptest::prelude::*;

use super::cells::{check_against_slice, check_cell, check_covers};
use super::opinion::Part;
use super::{World, YEAR_END, bytes, request, terms};

/// What may happen. Small numbers pick among what there is.
#[derive(Clone, Debug)]
pub(crate) enum Command {
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
    ReleaseQuote {
        quote: u8,
    },
    Relocate {
        holder: u8,
        home: bool,
    },
    Wait {
        hours: u8,
    },
    Expire,
    Finance {
        what: Finance,
        of: u8,
        funder: u8,
        amount: u16,
        actor: u8,
    },
}

/// What the finance office does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finance {
    EndPeriod,
    ClosePeriod,
    ReviewSettlement,
    PaySettlement,
    FileClaim,
    ReviewClaim,
    PayClaim,
    PayIn,
    Collect,
    RepayFund,
}

/// A bill to be.
#[derive(Clone, Debug)]
pub(crate) struct Bill {
    pub(crate) holder: u8,
    site: u8,
    cpu: u8,
    gpu: u8,
    storage: u8,
    hours: u16,
    pay: u8,
}

pub(crate) fn bills() -> impl Strategy<Value = Bill> {
    (0u8..3, 0u8..3, 0u8..40, 0u8..3, 0u8..40, 1u16..30, 0u8..24).prop_map(
        |(holder, site, cpu, gpu, storage, hours, pay)| Bill {
            holder,
            site,
            cpu,
            gpu: if gpu == 2 { cpu / 3 } else { 0 },
            storage: if gpu == 1 { storage } else { 0 },
            // Some reach over the end of the month, and the year.
            hours: if pay >= 20 { hours * 20 } else { hours },
            pay: pay % 8,
        },
    )
}

pub(crate) fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (0u8..3, any::<u16>()).prop_map(|(holder, amount)| Command::TopUp { holder, amount }),
        1 => (0u8..3, any::<u16>()).prop_map(|(holder, amount)| Command::Withdraw { holder, amount }),
        4 => (0u8..5, 0u8..3, 1u16..4_000, 1u8..200).prop_map(|(programme, holder, face, lasts)| Command::Issue { programme, holder, face, lasts }),
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
        1 => any::<u8>().prop_map(|quote| Command::ReleaseQuote { quote }),
        1 => (0u8..3, any::<bool>()).prop_map(|(holder, home)| Command::Relocate { holder, home }),
        8 => (finance(), 0u8..8, 0u8..3, any::<u16>(), 0u8..3)
            .prop_map(|(what, of, funder, amount, actor)| Command::Finance { what, of, funder, amount, actor }),
    ]
}

/// Does one command, and checks what it alone has to keep.
pub(crate) fn run(world: &mut World, command: &Command) -> Result<(), Rejection> {
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
            .revise_programme(
                world.programme(*programme),
                &terms(*seed, world.in_units(world.programme(*programme))),
                None,
                *immediate,
                at,
            )
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
        Command::Budget { programme, budget } => world.ledger.set_budget(
            world.programme(*programme),
            world.grant(world.programme(*programme), *budget),
            at,
        ),
        Command::Price { site, price } => world.price(*site, *price),
        Command::EndAgreement { agreement } => world.ledger.end_agreement(world.agreement(*agreement), None, at),
        Command::Hold { job, attempt, bill } => hold(world, *job, *attempt, bill),
        Command::Bind { bill, valid } => {
            let request = as_request(world, bill, bill.pay == 0);
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
            // Mostly so much has passed, or a little more.
            if !share.is_multiple_of(4) {
                let opened_at = world.ledger.open_hold(id).expect("it is open").opened_at;
                world.at = world
                    .at
                    .max(Timestamp(opened_at.0 + wall_ms.min(limit) + u64::from(share % 3)));
            }
            settle(world, id, wall_ms)
        }
        Command::Release { hold } => match world.open_hold(*hold) {
            Some((id, _)) => world.ledger.release(id, at),
            None => Ok(()),
        },
        Command::Refund { job, attempt, amount } => refund(world, key(*job, *attempt), *amount),
        Command::ReleaseQuote { quote } => match world.quote(*quote) {
            Some((quote, _)) => world.ledger.release_quote(quote, at),
            None => Ok(()),
        },
        Command::Relocate { holder, home } => {
            let region = RegionCode(if *home { 310_117 } else { 330_100 });
            world.ledger.update_org(world.holder(*holder), Some(region), None, at)
        }
        Command::Finance {
            what,
            of,
            funder,
            amount,
            actor,
        } => finance_office(world, *what, (*of, *funder, *amount, *actor)),
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

fn finance() -> impl Strategy<Value = Finance> {
    prop_oneof![
        Just(Finance::EndPeriod),
        Just(Finance::ClosePeriod),
        Just(Finance::ReviewSettlement),
        Just(Finance::PaySettlement),
        Just(Finance::FileClaim),
        Just(Finance::ReviewClaim),
        Just(Finance::PayClaim),
        Just(Finance::PayIn),
        Just(Finance::Collect),
        Just(Finance::RepayFund),
    ]
}

fn finance_office(
    world: &mut World,
    what: Finance,
    (of, funder, amount, actor): (u8, u8, u16, u8),
) -> Result<(), Rejection> {
    let by = Stamp {
        at: world.at,
        actor: u32::from(actor),
    };
    let (programme, org, period) = (world.programme(of), OrgId(1 + u32::from(of % 4)), u32::from(of));
    let claim = ClaimId(u64::from(of));
    // Half of them ask for something, half for all there is or a little more.
    let drawn = Fen(i64::from(amount % 500));
    let all_of = |available: i64| Fen(available + i64::from(amount % 3) - 1);
    let amount_of = |account| {
        let balance = world.ledger.accounts().find(|known| *known == account);
        let balance = balance.map_or(0, |known| world.ledger.balance(known));
        if amount.is_multiple_of(2) {
            drawn
        } else {
            all_of(balance)
        }
    };
    match what {
        Finance::EndPeriod => world.ledger.end_period(by).map(drop),
        Finance::ClosePeriod => {
            let next = world.ledger.periods_after(0).find(|period| period.closed.is_none());
            let next = next.map_or(
                period,
                |next| if amount.is_multiple_of(4) { period } else { next.number },
            );
            world.ledger.close_period(next, by)
        }
        Finance::ReviewSettlement => {
            let open = world
                .ledger
                .settlements_after(0, OrgId(0))
                .find(|known| known.reviewed.is_none());
            let (period, provider) = open.map_or((period, org), |open| (open.period, open.provider));
            world.ledger.review_settlement(period, provider, by)
        }
        Finance::PaySettlement => {
            let open = world
                .ledger
                .settlements_after(0, OrgId(0))
                .find(|known| known.paid.is_none());
            let (period, provider) = open.map_or((period, org), |open| (open.period, open.provider));
            world.ledger.pay_settlement(period, provider, "", by).map(drop)
        }
        Finance::FileClaim => {
            let amount = amount.is_multiple_of(2).then_some(drawn);
            world.ledger.file_claim(org, programme, amount, by).map(drop)
        }
        Finance::ReviewClaim => world.ledger.review_claim(claim, !amount.is_multiple_of(4), "", by),
        Finance::PayClaim => world.ledger.pay_claim(claim, "", by).map(drop),
        Finance::PayIn => {
            let amount = amount_of(Account::Due(programme, funder));
            world
                .ledger
                .pay_in(programme, &format!("funder {funder}"), amount, "", by)
        }
        Finance::Collect => world.ledger.collect(org, amount_of(Account::Owes(org)), "", by),
        Finance::RepayFund => world
            .ledger
            .repay_fund(programme, amount_of(Account::Recovery(programme)), "", by),
    }
}

fn key(job: u8, attempt: u8) -> HoldKey {
    HoldKey {
        job: u64::from(job),
        task: 0,
        attempt: u32::from(attempt),
    }
}

/// The request of a bill.
pub(crate) fn as_request(world: &World, bill: &Bill, wallet_only: bool) -> QuoteRequest {
    let amounts = [("cpu", bill.cpu), ("gpu/a800", bill.gpu), ("storage", bill.storage)];
    QuoteRequest {
        allow_partial: bill.pay != 7,
        ..request(
            world.holder(bill.holder),
            world.site(bill.site),
            amounts,
            bill.hours,
            wallet_only,
        )
    }
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
    let id = match world.ledger.hold(&request, world.at) {
        Ok(id) => id,
        Err(refused) => {
            check_refusal(&as_before, &request, &refused);
            return Err(refused);
        }
    };
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
        let part = |capped| Part {
            before: &slices[..place],
            from_ms: slice.from_ms,
            until_ms: slice.until_ms,
            capped,
        };
        let expected = as_before.expected_subsidy(&request, &part(true));
        assert!(
            expected.is_none_or(|expected| expected == subsidy),
            "the naive model finds {expected:?} and not {subsidy} in slice {place} of {request:?}"
        );
        if !request.request.allow_partial && slices.len() == 1 {
            let whole = as_before.expected_subsidy(&request, &part(false));
            assert!(
                whole.is_none_or(|whole| whole == subsidy),
                "a cap made {subsidy} of {whole:?} in {request:?}"
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
        fork.at.0 += wall_ms;
        settle(&mut fork, id, wall_ms)?;
        fork.ledger.check();
    }
    Ok(())
}

// A subsidy is refused as partial when, and only when, caps make it smaller.
fn check_refusal(world: &World, request: &HoldRequest, refused: &Rejection) {
    let asked = QuoteRequest {
        job: Some(request.key.job),
        ..request.request.clone()
    };
    if let Rejection::SubsidyPartial { needed, available } = refused {
        let partial = QuoteRequest {
            allow_partial: true,
            ..asked.clone()
        };
        let quote = world
            .ledger
            .quote(&partial, world.at)
            .expect("only a cap is in the way");
        assert!(needed > available && quote.gross.0 - quote.copay.0 == available.0);
        let until_ms = request.request.walltime_ms_max;
        if world.at.0 + until_ms <= YEAR_END {
            let part = Part {
                before: &[],
                from_ms: 0,
                until_ms,
                capped: false,
            };
            let whole = world.expected_subsidy(request, &part);
            assert!(
                whole.is_none_or(|whole| whole == needed.0),
                "without caps the subsidy is {whole:?} and not {needed} in {request:?}"
            );
        }
    }
}

fn take_up(world: &mut World, job: u8, quote: u8, bill: &Bill) -> Result<(), Rejection> {
    let Some((quote, held_for)) = world.quote(quote) else {
        return Ok(());
    };
    let request = match bill.pay {
        0 | 1 => as_request(world, bill, false),
        // For less time than was quoted.
        2 | 3 => QuoteRequest {
            walltime_ms_max: (held_for.walltime_ms_max / 2).max(1),
            ..held_for
        },
        _ => held_for,
    };
    let request = HoldRequest {
        key: key(job, 3),
        request,
        quote: Some(quote),
    };
    let bound = world.ledger.bound_quote(quote).map(|bound| bound.pinned.clone());
    let available = bound
        .as_ref()
        .map(|pinned| world.ledger.funds(pinned.payer).wallet_available);
    let id = world.ledger.hold(&request, world.at)?;
    if let (Some(pinned), Some(available)) = (bound, available) {
        // What was held for months after the shorter limit is released; nothing else moves.
        let limit = request.request.walltime_ms_max;
        let after = pinned.slices.iter().filter(|slice| slice.from_ms >= limit);
        let released: i64 = after.map(|slice| slice.wallet.0).sum();
        assert_eq!(
            world.ledger.funds(pinned.payer).wallet_available.0,
            available.0 + released,
            "taking up a quote moved money"
        );
        let taken = &world.ledger.open_hold(id).expect("just taken up").pinned;
        assert_eq!(held_in_wallet(taken), held_in_wallet(&pinned) - released);
        assert_eq!(taken.slices.last().map(|slice| slice.until_ms), Some(limit));
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
    for cell in &settled.cells {
        check_cell(cell);
        check_covers(world, hold.opened_at, cell);
    }
    let end = settled.cells.last().map_or(0, |cell| cell.to_ms);
    assert!(
        end <= wall_ms.min(world.at.0 - hold.opened_at.0),
        "billed beyond its use, or beyond what has passed"
    );
    assert!(
        settled.cells.windows(2).all(|pair| pair[0].to_ms == pair[1].from_ms),
        "a gap or an overlap between what was captured: {:?}",
        settled.cells
    );
    let after = figures(world);
    if is_swept {
        // Its cover may have ended first; what it holds then is planned anew.
        return Ok(());
    }
    // What was captured before and what was not are all captured as of now, each within its own slice.
    let slices = || hold.past.iter().chain(&hold.pinned.slices);
    for (cell, slice) in settled.cells.iter().zip(slices()) {
        if cell.refunded == Fen::ZERO {
            check_against_slice(cell, slice);
        }
    }
    let held_before = before.0.wallet_held.0 - after.0.wallet_held.0;
    let paid_before: i64 = hold.cells.iter().map(|cell| cell.wallet.0).sum();
    let in_all: i64 = slices().map(|slice| slice.wallet.0).sum();
    assert_eq!(held_before + paid_before, in_all, "the whole hold ends");
    let back = receipt.refunded.0;
    assert_eq!(
        after.0.wallet_available.0 - before.0.wallet_available.0,
        in_all - (receipt.wallet.0 - back)
    );
    let slack = |slice: &hesuan_ledger::Slice| i64::try_from(slice.legs.len() * 4 + slice.lines.len()).expect("few");
    let most: i64 = slices().map(slack).sum();
    assert!(back <= most, "{back} fen are not billed where a cover ended");
    let holder_redeemed = settled.cells.iter().chain(&hold.cells).flat_map(|cell| &cell.legs);
    let claims = holder_redeemed.filter(|leg| leg.redemption == hesuan_ledger::Redemption::Holder);
    if claims.count() == 0 {
        assert_eq!(
            after.1 - before.1,
            receipt.gross.0 - captured - back,
            "the provider earns the list price"
        );
    }
    Ok(())
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
