//! Every rounding of the system is in this file. `i128` inside, one division per cell, no floats.

use crate::types::{BasisPoints, Fen};

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

    proptest! {
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
