//! An instant as a line of text says it. Reading one is the client's work; nothing here looks at a clock.

use std::fmt;

use crate::types::Timestamp;

/// Shown as RFC 3339 in UTC, to the second, and to the millisecond where it is not a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Utc(pub(crate) Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc(Timestamp(ms)) = *self;
        if ms >= Timestamp::FAR.0 {
            return write!(f, "never");
        }
        let (day, in_day) = (ms / 86_400_000, ms % 86_400_000);
        let (year, month, day) = civil(day);
        let (seconds, rest) = (in_day / 1_000, in_day % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if rest > 0 {
            write!(f, ".{rest:03}")?;
        }
        f.write_str("Z")
    }
}

/// A length of time in milliseconds, shown as `1d2h3m4s5ms` without the parts that are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
            (1, "ms"),
        ];
        let mut rest = self.0;
        for (unit, name) in units {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        if self.0 == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

/// Year, month and day of a count of days since 1970-01-01, as in H. Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`: years begin in March here, so that the leap day is the last.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_0 = days + 719_468;
    let (era, in_era) = (since_march_0 / 146_097, since_march_0 % 146_097);
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_in_utc() {
        let shown = |ms| Utc(Timestamp(ms)).to_string();
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(1_767_225_600_000), "2026-01-01T00:00:00Z");
        assert_eq!(shown(1_709_164_799_007), "2024-02-28T23:59:59.007Z");
        assert_eq!(shown(1_709_164_800_000), "2024-02-29T00:00:00Z");
        assert_eq!(shown(4_107_542_400_000), "2100-03-01T00:00:00Z", "2100 has no leap day");
        assert_eq!(shown(u64::MAX), "never");
    }

    #[test]
    fn spans_leave_out_what_is_zero() {
        let shown = [0, 1, 61_000, 93_784_005].map(|ms| Span(ms).to_string());
        assert_eq!(shown, ["0s", "1ms", "1m1s", "1d2h3m4s5ms"]);
    }

    #[test]
    fn every_day_is_one_after_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            day += 1;
            if day > last {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
