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

/// The first instant after `at` at which a month begins, in Shanghai.
pub(crate) fn month_end(at: Timestamp) -> Timestamp {
    let day = (at.0.min(Timestamp::FAR.0) as i64 + SHANGHAI_OFFSET_MS) / DAY_MS;
    let year = i64::from(fiscal_year(at));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut end = days_before(year);
    for days in [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        end += days;
        if day < end {
            break;
        }
    }
    Timestamp((end * DAY_MS - SHANGHAI_OFFSET_MS) as u64)
}

/// The first instant of a year, in Shanghai.
pub(crate) fn year_start(year: u32) -> Timestamp {
    Timestamp((days_before(i64::from(year)) * DAY_MS - SHANGHAI_OFFSET_MS).max(0) as u64)
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
