//! Months and years as policy counts them: in Shanghai, eight hours ahead of UTC all year.

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _};

/// First instant that no date may reach: the year 10000.
pub(crate) const FAR_MS: u64 = 253_402_300_800_000;

fn day(ms: u64) -> Date {
    // What is later than any date counts as the last one; what uses it is refused by its own bounds.
    let instant = Timestamp::from_millisecond(ms.min(FAR_MS - 86_400_000) as i64).unwrap_or(Timestamp::MAX);
    Offset::constant(8).to_datetime(instant).date()
}

fn instant(date: Date) -> u64 {
    let midnight = date.at(0, 0, 0, 0);
    let ms = Offset::constant(8)
        .to_timestamp(midnight)
        .map_or(FAR_MS as i64, Timestamp::as_millisecond);
    u64::try_from(ms).unwrap_or(0)
}

/// The calendar year of an instant.
pub(crate) fn year(ms: u64) -> u64 {
    day(ms).year() as u64
}

/// First instant of a year.
pub(crate) fn year_start(year: u64) -> u64 {
    let year = i16::try_from(year).unwrap_or(i16::MAX);
    Date::new(year, 1, 1).map_or(FAR_MS, instant)
}

/// First instant of the month that holds an instant.
pub(crate) fn month_start(ms: u64) -> u64 {
    instant(day(ms).first_of_month())
}

/// First instant of the month after the one that holds an instant.
pub(crate) fn month_end(ms: u64) -> u64 {
    let first = day(ms).first_of_month();
    first.checked_add(1.month()).map_or(FAR_MS, instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_years_turn_at_midnight_in_shanghai() {
        // 2025-12-31 16:00 UTC is the new year in Shanghai.
        let turn = 1_767_196_800_000;
        assert_eq!((year(turn - 1), year(turn), year_start(2026)), (2025, 2026, turn));
        assert_eq!(month_end(turn - 1), turn);
        assert_eq!((month_start(turn), month_start(turn + 1)), (turn, turn));
        assert_eq!(month_start(turn - 1), turn - 31 * 86_400_000);
        assert_eq!(month_end(turn), turn + 31 * 86_400_000);
        // 2028 has a 29th of February.
        let february = year_start(2028) + 31 * 86_400_000;
        assert_eq!(month_end(february), february + 29 * 86_400_000);
        assert_eq!(month_end(u64::MAX), FAR_MS);
    }
}
