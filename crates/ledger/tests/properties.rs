//! Random commands against a naive model of the same rules. Sums run on small amounts so that roundings, caps and empty purses are met often;
//! a failure prints its seed and the shortest sequence.
//!
//! Where the invariants of the domain are checked:
//!
//! | | Invariant | Where |
//! |---|---|---|
//! | I1 | debits = credits | `Ledger::check` after every command; asserted at every entry |
//! | I2 | vouchers and wallets are the sum of their parts | `Ledger::check` |
//! | I3 | open holds fit their vouchers | `Ledger::check` |
//! | I4 | a hold ends once and suffices at any use | `commands::hold` settles it in forks of the world; `commands::settle` |
//! | I5 | budgets | `Ledger::check`, and the naive model of what a budget leaves |
//! | I6 | caps of control groups | counters in `Ledger::check`, and the naive model of what a cap leaves |
//! | I7 | subsidy + co-pay = gross, rates and stack caps | `cells::check_cell`, `cells::check_against_slice` |
//! | I8 | cover ends with the voucher and the year | `cells::check_covers` |
//! | I9 | the pace of sweeping changes no total | `the_pace_of_sweeping_changes_no_total` |
//! | I10 | retries change nothing, another payload is refused, refusals change nothing | `commands::hold`, `random_commands_keep_every_invariant` |
//! | I11 | same commands, same bytes; via snapshot and tail too | `the_same_commands_give_the_same_bytes` |
//! | I12 | time never goes back, in entries and books | `fold::Fold`, `a_change_before_the_latest_is_our_bug` |
//! | I13 | refunds are at most what was paid, by leg | `commands::refund`, `Ledger::check` |
//! | I14, I15 | statements agree with each other and with the accounts; closed ones never change | `Ledger::check` (reconciliation, digests) |
//! | I16 | holds and segments | the engine's random steps |
//! | I17 | chain without a gap, balances = its fold | `fold::Fold` after every command |
//! | I18 | more money never buys less | `more_money_never_buys_less` |
//!
//! I9 as the ledger knows it: one cover ends under the holds, sites report in time or late, and there is money enough; with too little money the log's
//! order decides who is paid. I18 holds for a bill within one month: the
//! months of a longer one are each paid as well as they can be, one after the other.
//!
//! And beyond them: a subsidy is refused as partial exactly when a cap makes it smaller (`commands::check_refusal`).

mod model;

use hesuan_ledger::types::{Fen, OrgId, Timestamp};
use hesuan_ledger::{Ledger, QuoteRequest};
use model::commands::{Command, as_request, bills, commands, run};
use model::pace::{self, Pace};
use model::{Fold, World, bytes};
use proptest::prelude::*;

// I12: the log gives the time of entries, in order; a ledger that went back would let an expired voucher pay.
#[test]
#[should_panic(expected = "a change at 4 ms after one at 1798387200000 ms")]
fn a_change_before_the_latest_is_our_bug() {
    let mut world = World::new(0);
    let _ = world.ledger.credit_wallet(OrgId(2), Fen(1), "", Timestamp(4));
}

// Histories are up to 80 commands long; `HISTORY_COMMANDS` asks for longer ones, which few failures need and which take long to shrink.
fn history() -> impl Strategy<Value = Vec<Command>> {
    let longest = std::env::var("HISTORY_COMMANDS").map_or(80, |most| most.parse().expect("a number of commands"));
    proptest::collection::vec(commands(), 1..longest)
}

// Some cases each time; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 96;
    }
    config
}

// How much of the time that has passed was not used: often nothing.
fn lateness() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), any::<u16>()]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_commands_keep_every_invariant(seed in any::<u64>(), commands in history()) {
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

    // I11: the same commands give the same bytes, on a replica that saw all of them and on one that was restored in the middle.
    #[test]
    fn the_same_commands_give_the_same_bytes(seed in any::<u64>(), commands in proptest::collection::vec(commands(), 1..60), cut in 0usize..60) {
        let (mut one, mut other) = (World::new(seed), World::new(seed));
        for (place, command) in commands.iter().enumerate() {
            if place == cut {
                let restored = Ledger::decode_snapshot([bytes(&other.ledger)]);
                other.ledger = restored.expect("what was written can be read");
            }
            let (first, second) = (run(&mut one, command), run(&mut other, command));
            prop_assert_eq!(first, second);
        }
        prop_assert!(bytes(&one.ledger) == bytes(&other.ledger), "two replicas differ");
    }

    // I9: it does not matter when time passes in the books: at once and step by step, late, or only as each hold is settled.
    #[test]
    fn the_pace_of_sweeping_changes_no_total(seed in any::<u64>(), holds in proptest::collection::vec((bills(), 0u8..60), 1..6), cover in (0u8..4, any::<u8>(), 0u8..6), settles in proptest::collection::vec((any::<u8>(), 0u8..90, lateness()), 1..8)) {
        let paces = [Pace::EveryStep, Pace::OneByOne, Pace::Never];
        let totals = paces.map(|pace| pace::totals(seed, &holds, cover, &settles, pace));
        prop_assert_eq!(&totals[0], &totals[1], "step by step or all at once");
        prop_assert_eq!(&totals[0], &totals[2], "at once or only as holds are settled");
    }

    #[test]
    fn more_money_never_buys_less(seed in any::<u64>(), bill in bills(), faces in proptest::collection::vec((0u8..5, 1u16..2_000), 0..6), extra in (0u8..5, 1u16..2_000)) {
        let mut world = World::new(seed);
        for (programme, face) in faces {
            let _ = world.issue(programme, bill.holder, face, 60);
        }
        let request = QuoteRequest { allow_partial: true, ..as_request(&world, &bill, false) };
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
