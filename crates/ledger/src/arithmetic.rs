//! Every rounding of the system is in this file. `i128` inside, one division per cell, no floats.

use crate::types::{BasisPoints, Fen, Grant};

/// milli-units × milliseconds × milli-fen per unit-hour, in one fen.
const RAW_PER_FEN: i128 = 3_600_000_000_000;

/// List price of one cell, rounded half up: milli-units × milliseconds × milli-fen per unit-hour. `None` when it is over [`Fen::MAX`].
pub(crate) fn gross(milli_units: u64, ms: u64, millifen_per_unit_hour: u64) -> Option<Fen> {
    // The three factors are bounded where they come in (10^12, 10^11, 10^12), so the product stays below 2^127.
    let raw = i128::from(milli_units) * i128::from(ms) * i128::from(millifen_per_unit_hour);
    let fen = match u64::try_from(raw + RAW_PER_FEN / 2) {
        // The same division, several times faster; almost every bill fits.
        Ok(raw) => i128::from(raw / RAW_PER_FEN as u64),
        Err(_) => (raw + RAW_PER_FEN / 2) / RAW_PER_FEN,
    };
    (fen <= i128::from(Fen::MAX.0)).then_some(Fen(fen as i64))
}

/// What a rate gives of an amount: rounded down, because policy says "at most" (不超过).
pub(crate) fn share(amount: Fen, rate: BasisPoints) -> Fen {
    // No amount is over 10^14 and no rate over 10^4, so the product fits.
    Fen(amount.0 * i64::from(rate.0) / 10_000)
}

// milli-unit-seconds × milli-fen per unit-hour, in one fen.
const GRANT_RAW_PER_FEN: i128 = 3_600_000_000;

/// The most that unit-hours pay of a class at a price: rounded down, so that never more is paid than they are worth.
pub(crate) fn worth(grant: Grant, millifen_per_unit_hour: u64) -> Fen {
    let fen = i128::from(grant.0) * i128::from(millifen_per_unit_hour) / GRANT_RAW_PER_FEN;
    Fen(fen.min(i128::from(Fen::MAX.0)) as i64)
}

/// The unit-hours that an amount takes at a price: rounded up, so that [`worth`] of them is at least the amount. Nothing is taken
/// for nothing; what has no price pays nothing.
pub(crate) fn taken_for(amount: Fen, millifen_per_unit_hour: u64) -> Grant {
    if amount == Fen::ZERO {
        return Grant::ZERO;
    }
    let raw = i128::from(amount.0) * GRANT_RAW_PER_FEN;
    let price = i128::from(millifen_per_unit_hour);
    Grant(((raw + price - 1) / price) as i64)
}

/// A part of what a leg took, as its amount is a part of the leg's: rounded up, all of it for the whole amount.
pub(crate) fn taken_of(grant: Grant, part: Fen, whole: Fen) -> Grant {
    if part == Fen::ZERO {
        return Grant::ZERO;
    }
    let raw = i128::from(grant.0) * i128::from(part.0);
    let whole = i128::from(whole.0);
    Grant(((raw + whole - 1) / whole) as i64)
}

/// Splits an amount by weights, exactly: largest remainder, ties to the earlier weight.
pub(crate) fn split(amount: Fen, weights: &[u64]) -> Vec<Fen> {
    let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if total == 0 {
        assert!(amount == Fen::ZERO, "{amount} fen split by no weight at all");
        return vec![Fen::ZERO; weights.len()];
    }
    let exact = |weight: u64| i128::from(amount.0) * i128::from(weight);
    let mut parts: Vec<Fen> = weights
        .iter()
        .map(|weight| Fen((exact(*weight) / total) as i64))
        .collect();
    let left = amount.0 - parts.iter().map(|part| part.0).sum::<i64>();
    if left > 0 {
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(exact(weights[*index]) % total));
        for index in order.into_iter().take(left as usize) {
            parts[index].0 += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_fen_goes_up_and_subsidies_go_down() {
        // 1 core for 1 h at 500 milli-fen is half a fen; a millisecond less is not.
        assert_eq!(gross(1_000, 3_600_000, 500), Some(Fen(1)));
        assert_eq!(gross(1_000, 3_599_999, 500), Some(Fen(0)));
        assert_eq!(gross(1_000_000_000_000, 100_000_000_000, 1_000_000_000_000), None);
        assert_eq!(share(Fen(3), BasisPoints(3_333)), Fen(0));
        assert_eq!(share(Fen(10_001), BasisPoints(2_500)), Fen(2_500));
    }

    #[test]
    fn odd_fen_between_funders_go_by_largest_remainder() {
        assert_eq!(split(Fen(101), &[1, 1]), [Fen(51), Fen(50)]);
        assert_eq!(split(Fen(100), &[10, 15]), [Fen(40), Fen(60)]);
        assert_eq!(split(Fen(100), &[1, 1, 1]), [Fen(34), Fen(33), Fen(33)]);
        assert_eq!(split(Fen(5), &[2, 7]), [Fen(1), Fen(4)]);
    }

    #[test]
    fn unit_hours_pay_at_most_their_worth() {
        // 3.25 yuan a card-hour: an hour is worth 325 fen, a fen takes 11,077 milli-unit-seconds.
        assert_eq!(worth(Grant::UNIT_HOUR, 325_000), Fen(325));
        assert_eq!(taken_for(Fen(325), 325_000), Grant::UNIT_HOUR);
        assert_eq!(
            (
                taken_for(Fen(1), 325_000),
                worth(Grant(11_077), 325_000),
                worth(Grant(11_076), 325_000)
            ),
            (Grant(11_077), Fen(1), Fen(0))
        );
        assert_eq!(taken_of(Grant(11_077), Fen(1), Fen(3)), Grant(3_693));
        assert_eq!(taken_of(Grant(7), Fen(3), Fen(3)), Grant(7));
    }

    proptest! {
        #[test]
        fn unit_hours_taken_are_never_more_than_there_are(grant in 0..Grant::MAX.0, price in 1..1_000_000_000u64, part in 0..=10_000i64) {
            let all = worth(Grant(grant), price);
            let amount = Fen((i128::from(all.0) * i128::from(part) / 10_000) as i64);
            let taken = taken_for(amount, price);
            prop_assert!(taken <= Grant(grant) || all == Fen::MAX);
            prop_assert!(worth(taken, price) >= amount);
        }

        #[test]
        fn a_split_is_exact_and_within_a_fen_of_its_share(
            amount in 0..Fen::MAX.0,
            weights in proptest::collection::vec(1u64..1_000_000, 1..6),
        ) {
            let parts = split(Fen(amount), &weights);
            prop_assert_eq!(parts.iter().map(|part| part.0).sum::<i64>(), amount);
            let total: u64 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = i128::from(amount) * i128::from(*weight);
                prop_assert!((i128::from(part.0) * i128::from(total) - exact).abs() < i128::from(total));
            }
        }
    }
}
