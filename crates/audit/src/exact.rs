//! Exact arithmetic: quotients with their remainders in 128 bits, each rounding in words. Nothing here was taken from the ledger.

/// A price is in milli-fen per unit-hour; use in thousandths of a unit times milliseconds. So many of their products are one fen.
const PARTS_PER_FEN: u128 = 1_000 * 1_000 * 3_600_000;

/// A grant in unit-hours is counted in milli-unit-seconds; so many of them times milli-fen per unit-hour are one fen.
const GRANT_PARTS_PER_FEN: i128 = 1_000 * 1_000 * 3_600;

/// List price in fen of an amount of one class for a time: half a fen goes up. `None` when it does not fit.
pub(crate) fn list_price(milli_units: u64, ms: u64, millifen_per_unit_hour: u64) -> Option<i128> {
    let use_parts = u128::from(milli_units) * u128::from(ms);
    let parts = use_parts.checked_mul(u128::from(millifen_per_unit_hour))?;
    let (whole, rest) = (parts / PARTS_PER_FEN, parts % PARTS_PER_FEN);
    let up = PARTS_PER_FEN - rest <= rest;
    i128::try_from(whole + u128::from(up)).ok()
}

/// The whole fen that a rate in basis points allows of an amount: never more than the exact share.
pub(crate) fn at_most(amount: i128, basis_points: u64) -> i128 {
    let (tens, rest) = (amount / 10_000, amount % 10_000);
    tens * i128::from(basis_points) + rest * i128::from(basis_points) / 10_000
}

/// Milli-unit-seconds that an amount of fen takes at a price: the smallest number that is worth it. `None` when nothing has a price.
pub(crate) fn grant_for(amount: i128, millifen_per_unit_hour: u64) -> Option<i128> {
    if amount == 0 {
        return Some(0);
    }
    (millifen_per_unit_hour > 0).then(|| up(amount * GRANT_PARTS_PER_FEN, i128::from(millifen_per_unit_hour)))
}

/// Whole fen that milli-unit-seconds are worth at a price.
pub(crate) fn worth(grant: i128, millifen_per_unit_hour: u64) -> i128 {
    grant.saturating_mul(i128::from(millifen_per_unit_hour)) / GRANT_PARTS_PER_FEN
}

/// `amount · part / whole`, rounded up; nothing of nothing.
pub(crate) fn proportion_up(amount: i128, part: i128, whole: i128) -> i128 {
    if whole == 0 { 0 } else { up(amount * part, whole) }
}

fn up(numerator: i128, denominator: i128) -> i128 {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    whole + i128::from(rest > 0)
}

/// Splits an amount in proportion to weights: whole shares first, then one more to each of the largest remainders, the earlier first
/// where they are equal. Sums exactly; all zero when every weight is.
pub(crate) fn largest_remainder(amount: i128, weights: &[i128]) -> Vec<i128> {
    let total: i128 = weights.iter().sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let mut shares: Vec<(i128, i128)> = weights
        .iter()
        .map(|weight| (amount * weight / total, amount * weight % total))
        .collect();
    let given: i128 = shares.iter().map(|(share, _)| share).sum();
    for _ in given..amount {
        let mut best = 0;
        for candidate in 1..shares.len() {
            if shares[candidate].1 > shares[best].1 {
                best = candidate;
            }
        }
        shares[best].0 += 1;
        shares[best].1 = -1;
    }
    shares.into_iter().map(|(share, _)| share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_fen_of_list_price_goes_up() {
        // One core for an hour at 500 milli-fen is half a fen.
        assert_eq!(list_price(1_000, 3_600_000, 500), Some(1));
        assert_eq!(list_price(1_000, 3_599_999, 500), Some(0));
        assert_eq!(list_price(1_000, 3_600_000, 1_499), Some(1));
        assert_eq!(list_price(u64::MAX, u64::MAX, u64::MAX), None);
    }

    #[test]
    fn a_rate_gives_whole_fen_and_never_more() {
        assert_eq!(
            (at_most(10_001, 2_500), at_most(3, 3_333), at_most(7, 10_000)),
            (2_500, 0, 7)
        );
        for amount in 0..30_000 {
            let given = at_most(amount, 3_333);
            assert!(given * 10_000 <= amount * 3_333 && (given + 1) * 10_000 > amount * 3_333);
        }
    }

    #[test]
    fn unit_hours_are_taken_for_at_least_their_amount() {
        assert_eq!(grant_for(325, 325_000), Some(3_600_000));
        assert_eq!(grant_for(1, 325_000), Some(11_077));
        assert_eq!((worth(11_077, 325_000), worth(11_076, 325_000)), (1, 0));
        assert_eq!((grant_for(0, 0), grant_for(1, 0)), (Some(0), None));
        assert_eq!((proportion_up(11_077, 1, 3), proportion_up(7, 3, 3)), (3_693, 7));
    }

    #[test]
    fn the_odd_fen_goes_to_the_largest_remainder() {
        assert_eq!(largest_remainder(101, &[1, 1]), [51, 50]);
        assert_eq!(largest_remainder(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(largest_remainder(5, &[2, 7]), [1, 4]);
        assert_eq!(largest_remainder(2, &[1, 1, 2]), [1, 0, 1]);
        assert_eq!(largest_remainder(0, &[0, 0]), [0, 0]);
    }
}
