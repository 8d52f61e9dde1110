//! Usage against a naive model: every attempt kept whole, and counted step by step in floating point when it is asked for.

use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3_600_000;

/// What ran from when until when, and what of it.
struct Ran {
    from: u64,
    until: Option<u64>,
    amounts: [u64; KINDS],
}

/// What all of it counts at an instant, of one kind.
fn naive(ran: &[Ran], now: u64, step_ms: u64, kind: usize) -> f64 {
    let mut sum = 0.0;
    for one in ran {
        let until = one.until.unwrap_or(now).min(now);
        let mut at = one.from;
        while at < until {
            let next = ((at / step_ms + 1) * step_ms).min(until);
            let steps = (now / step_ms - at / step_ms) as f64;
            sum += (next - at) as f64 * (-steps / STEPS as f64).exp2() * one.amounts[kind] as f64;
            at = next;
        }
    }
    sum
}

#[test]
fn a_half_life_leaves_half() {
    let decay = Decay::of(64 * HOUR);
    let (from, to) = (Timestamp(1000 * 64 * HOUR), Timestamp(1001 * 64 * HOUR));
    assert_eq!(decay.left(1_000_000, from, to), 500_000);
    assert_eq!(decay.left(1_000_000, from, from), 1_000_000);
    assert_eq!(decay.left(1_000_000, from, Timestamp(to.0 * 2)), 0);
    // Each step leaves the same part as any other: 64 of them are a half-life.
    for (k, left) in LEFT.into_iter().enumerate() {
        let expected = (32.0 - k as f64 / 64.0).exp2();
        assert!((left as f64 - expected).abs() <= 0.5, "after {k} steps");
    }
}

#[test]
fn what_runs_for_ever_counts_as_much_as_its_memory_is_long() {
    let decay = Decay::of(64 * HOUR);
    let integral = decay.integral(Timestamp(0), Timestamp(100 * 64 * HOUR)) >> 32;
    // The integral of 2^(-t/h) is h / ln 2; steps that count whole are half a step more.
    let expected = 64.0 * HOUR as f64 * std::f64::consts::LOG2_E - HOUR as f64 / 2.0;
    assert!(
        (integral as f64 - expected).abs() < expected / 1e4,
        "{integral} {expected}"
    );
}

#[test]
fn figures_beyond_all_measure_are_no_panic() {
    let decay = Decay::of(366 * 24 * HOUR);
    let mut usage = Usage::default();
    usage.begin(Timestamp(1), decay, [u64::MAX; KINDS]);
    usage.begin(Timestamp(u64::MAX / 2), decay, [u64::MAX; KINDS]);
    usage.end(Timestamp(u64::MAX / 2), decay, [u64::MAX; KINDS], Timestamp(0));
    assert!(usage.used_by(Timestamp(u64::MAX / 2), decay)[0] < u128::MAX);
}

#[derive(Clone, Debug)]
enum Step {
    Begin([u64; KINDS]),
    /// Which of those that run, and how many thousandths of its time are billed.
    End(usize, u64),
    Look,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let amounts = [0..100_000u64, 0..1_000_000u64, 0..8000u64];
    let step = prop_oneof![
        3 => amounts.prop_map(Step::Begin),
        3 => (0..8usize, 0..=1000u64).prop_map(|(which, part)| Step::End(which, part)),
        1 => Just(Step::Look),
    ];
    proptest::collection::vec((0..3 * HOUR, step), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_is_what_ran_and_was_billed_whenever_it_is_looked_at(
        half_life in HOUR..40 * HOUR,
        steps in steps(),
    ) {
        let decay = Decay::of(half_life);
        let (mut usage, mut ran) = (Usage::default(), Vec::<Ran>::new());
        let mut now = 1_700_000_000_000;
        usage.at = Timestamp(now);
        for (gap, step) in steps {
            now += gap;
            match step {
                Step::Begin(amounts) => {
                    usage.begin(Timestamp(now), decay, amounts);
                    ran.push(Ran { from: now, until: None, amounts });
                }
                Step::End(which, part) => {
                    let mut running: Vec<&mut Ran> = ran.iter_mut().filter(|one| one.until.is_none()).collect();
                    let count = running.len();
                    if count > 0 {
                        let one = &mut *running[which % count];
                        let until = one.from + (now - one.from) * part / 1000;
                        one.until = Some(until);
                        usage.end(Timestamp(now), decay, one.amounts, Timestamp(until));
                    }
                }
                Step::Look => {
                    let before = usage.clone();
                    usage.bring_up_to(Timestamp(now), decay);
                    let later = Timestamp(now + 5 * HOUR);
                    let (once, twice) = (before.used_by(later, decay), usage.used_by(later, decay));
                    for kind in 0..KINDS {
                        prop_assert!(once[kind].abs_diff(twice[kind]) <= 2 + (once[kind] >> 28), "looking changes nothing");
                    }
                }
            }
            let used = usage.used_by(Timestamp(now), decay);
            for (kind, used) in used.into_iter().enumerate() {
                let expected = naive(&ran, now, decay.step_ms, kind);
                let off = (used as f64 - expected).abs();
                prop_assert!(off <= 200.0 + expected * 1e-7, "{used} is counted, {expected} ran");
            }
        }
        let running: [u128; KINDS] = std::array::from_fn(|kind| {
            ran.iter().filter(|one| one.until.is_none()).map(|one| u128::from(one.amounts[kind])).sum()
        });
        prop_assert_eq!(usage.running(), running);
    }
}
