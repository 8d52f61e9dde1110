//! Policy dates are Asia/Shanghai (UTC+8, no summer time) days; this is the little of a calendar that money needs.

use crate::types::Timestamp;

const DAY_MS: i64 = 86_400_000;
const SHANGHAI_OFFSET_MS: i64 = 8 * 3_600_000;

/// The fiscal (calendar) year of an instant, in Shanghai.
pub(crate) fn fiscal_year(at: Timestamp) -> u32 {
    let day = (at.0.min(Timestamp::FAR.0) as i64 + SHANGHAI_OFFSET_MS) / DAY_MS;
    // 400 Gregorian years are 146,097 days: this guess is never more than a year off.
    let mut year = 1970 + day * 400 / 146_097;
    while days_before(year) > day {
        year -= 1;
    }
    while days_before(year + 1) <= day {
        year += 1;
    }
    year as u32
}

/// The first instant of a year, in Shanghai.
pub(crate) fn year_start(year: u32) -> Timestamp {
    Timestamp((days_before(i64::from(year)) * DAY_MS - SHANGHAI_OFFSET_MS).max(0) as u64)
}

/// The first instant of the month of an instant, in Shanghai.
pub(crate) fn month_start(at: Timestamp) -> Timestamp {
    month_starts(at)
        .rfind(|start| *start <= at)
        .expect("a year's first month begins before its instants")
}

/// The first instant of the month after an instant, in Shanghai.
pub(crate) fn month_end(at: Timestamp) -> Timestamp {
    // Past every date there is no end any more, so that nothing waits for one in vain.
    let next = month_starts(at).find(|start| *start > at);
    next.filter(|_| at < Timestamp::FAR).unwrap_or(Timestamp(u64::MAX))
}

// Of the year of an instant, with the first month of the next year.
fn month_starts(at: Timestamp) -> impl DoubleEndedIterator<Item = Timestamp> {
    let year = i64::from(fiscal_year(at));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in = [0, 31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let starts: [i64; 13] = std::array::from_fn(|month| days_before(year) + days_in[..=month].iter().sum::<i64>());
    starts
        .into_iter()
        .map(|day| Timestamp((day * DAY_MS - SHANGHAI_OFFSET_MS).max(0) as u64))
}

// Days from 1970-01-01 to January 1 of the year.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    365 * (year - 1970) + (past / 4 - past / 100 + past / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_turn_at_midnight_in_shanghai() {
        // 2024-02-29 16:00:00 UTC is 2024-03-01 00:00 +08:00.
        let march = Timestamp(1_709_222_400_000);
        assert_eq!(month_end(Timestamp(march.0 - 1)), march);
        assert_eq!(month_start(march), march);
        assert_eq!(
            month_start(Timestamp(march.0 - 1)),
            Timestamp(march.0 - 29 * DAY_MS as u64)
        );
        let mut start = month_start(Timestamp(0));
        for month in 0..12 * 300 {
            let end = month_end(start);
            let days = (end.0 + (SHANGHAI_OFFSET_MS as u64) * u64::from(start.0 == 0) - start.0) / DAY_MS as u64;
            assert!((28..=31).contains(&days), "month {month} has {days} days");
            assert_eq!(
                (month_end(Timestamp(end.0 - 1)), month_start(Timestamp(end.0 - 1))),
                (end, start)
            );
            if month % 12 == 11 {
                assert_eq!(end, year_start(fiscal_year(end)));
            }
            start = end;
        }
        assert_eq!(month_end(Timestamp::FAR), Timestamp(u64::MAX));
    }

    #[test]
    fn years_turn_at_midnight_in_shanghai() {
        // 2025-12-31 16:00:00 UTC is 2026-01-01 00:00 +08:00.
        let turn = 1_767_196_800_000;
        assert_eq!(
            (fiscal_year(Timestamp(turn - 1)), fiscal_year(Timestamp(turn))),
            (2025, 2026)
        );
        assert_eq!(year_start(2026), Timestamp(turn));
        assert_eq!(fiscal_year(Timestamp(0)), 1970);
        // 2028-02-29 23:59:59.999 +08:00 and the millisecond after it.
        let march = 1_835_452_800_000;
        assert_eq!(month_end(Timestamp(march - 1)), Timestamp(march));
        assert_eq!(month_end(Timestamp(march)), Timestamp(march + 31 * 86_400_000));
        assert_eq!(month_end(Timestamp(turn - 1)), Timestamp(turn));
        for year in 1971..3000 {
            assert_eq!(fiscal_year(year_start(year)), year);
            assert_eq!(fiscal_year(Timestamp(year_start(year).0 - 1)), year - 1);
        }
    }
}
