//! How people write and read amounts: sizes, times, money, rates, days. Exact integers both ways; no floats.

use jiff::civil::{Date, DateTime};
use jiff::tz::{self, TimeZone};
use jiff::{Timestamp, ToSpan};

/// A decimal number with at most `places` digits after the point, as an integer of 10^-places units.
fn decimal(text: &str, places: u32) -> Result<u64, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return Err(format!("\"{text}\" is no number such as 3 or 1.5"));
    }
    if fraction.len() > places as usize {
        return Err(format!("\"{text}\" has more than {places} digits after the point"));
    }
    let too_large = || format!("\"{text}\" is too large");
    let scale = 10u64.pow(places);
    let padded = format!("{fraction:0<width$}", width = places as usize);
    let whole = whole
        .parse::<u64>()
        .ok()
        .and_then(|whole| whole.checked_mul(scale))
        .ok_or_else(too_large)?;
    let fraction = if padded.is_empty() {
        0
    } else {
        padded.parse::<u64>().map_err(|_| too_large())?
    };
    whole.checked_add(fraction).ok_or_else(too_large)
}

/// An integer of 10^-places units as a decimal number without needless zeros.
fn undecimal(value: u64, places: u32) -> String {
    let scale = 10u64.pow(places);
    let text = format!("{}.{:0width$}", value / scale, value % scale, width = places as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1.5` cores or GPUs as thousandths.
///
/// # Errors
/// Text for the user when it is no such number.
pub fn parse_milli(text: &str) -> Result<u64, String> {
    decimal(text, 3)
}

/// Thousandths as `1.5`.
#[must_use]
pub fn show_milli(milli: u64) -> String {
    undecimal(milli, 3)
}

/// `64GiB`, `512M`, `1.5TiB`, `10GB` as mebibytes, rounded up. K, M, G and T alone are binary, as in Slurm.
///
/// # Errors
/// Text for the user when it is no such size.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let bytes_per_unit: u128 = match unit.to_ascii_lowercase().as_str() {
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => {
            return Err(format!(
                "\"{text}\" is no size: give a number and a unit, such as 64GiB or 512MiB"
            ));
        }
    };
    let number = decimal(number, 3)?;
    let bytes = (u128::from(number) * bytes_per_unit).div_ceil(1000);
    u64::try_from(bytes.div_ceil(1 << 20)).map_err(|_| format!("\"{text}\" is too large"))
}

/// Mebibytes in the largest unit that says it exactly.
#[must_use]
pub fn show_size(mib: u64) -> String {
    match mib {
        0 => "0".to_owned(),
        mib if mib % (1 << 20) == 0 => format!("{}TiB", mib >> 20),
        mib if mib % (1 << 10) == 0 => format!("{}GiB", mib >> 10),
        mib => format!("{mib}MiB"),
    }
}

/// `2h`, `1d12h`, `90m`, `30s`, `500ms` or `HH:MM:SS` as milliseconds. A number alone is refused: minutes and seconds are both
/// too easily meant.
///
/// # Errors
/// Text for the user when it is no such time.
pub fn parse_time(text: &str) -> Result<u64, String> {
    let bad = || format!("\"{text}\" is no length of time: write 2h, 1d12h, 90m, 30s or 02:00:00");
    let sum = if text.contains(':') {
        clock_time(text)
    } else {
        unit_time(text)
    };
    sum.ok_or_else(bad)
}

fn clock_time(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let mut next = |most: u64| {
        let part = parts.next()?;
        let number: u64 = part
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse().ok())??;
        (number <= most).then_some(number)
    };
    let (hours, minutes, seconds) = (next(1_000_000)?, next(59)?, next(59)?);
    parts
        .next()
        .is_none()
        .then_some((hours * 3600 + minutes * 60 + seconds) * 1000)
}

fn unit_time(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        rest = &rest[letters..];
        sum = sum.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.is_empty()).then_some(sum)
}

/// Milliseconds as `1d12h`, exactly.
#[must_use]
pub fn show_time(ms: u64) -> String {
    let mut rest = ms;
    let mut text = String::new();
    for (unit, name) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ] {
        if rest >= unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Milliseconds in its two largest units, for people.
#[must_use]
pub fn show_time_roughly(ms: u64) -> String {
    let unit = match ms {
        0..10_000 => return format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        10_000..3_600_000 => 1_000,
        3_600_000..86_400_000 => 60_000,
        _ => 3_600_000,
    };
    show_time(ms / unit * unit)
}

/// `12.34` yuan as fen.
///
/// # Errors
/// Text for the user when it is no such amount.
pub fn parse_money(text: &str) -> Result<i64, String> {
    let number = text.trim_start_matches('¥').trim_end_matches("yuan").trim();
    let fen = decimal(number, 2).map_err(|error| format!("{error}: give yuan, such as 12.34"))?;
    i64::try_from(fen).map_err(|_| format!("\"{text}\" is too large"))
}

/// Yuan to be moved, paid or allowed: the same, and more than nothing. Zero is never taken for "all" or "no bound".
///
/// # Errors
/// Text for the user when it is no such amount.
pub fn parse_positive_money(text: &str) -> Result<i64, String> {
    parse_money(text).and_then(|fen| above_zero(text, fen, fen == 0))
}

fn above_zero<T>(text: &str, value: T, is_zero: bool) -> Result<T, String> {
    if is_zero {
        return Err(format!("\"{text}\" is nothing: allowed is more than 0"));
    }
    Ok(value)
}

/// Fen as yuan with two decimals.
#[must_use]
pub fn show_money(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.unsigned_abs() / 100, fen.unsigned_abs() % 100)
}

/// An amount of a programme: money, or unit-hours of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Fen.
    Money(i64),
    /// Milli-unit-seconds.
    UnitHours(i64),
}

impl Amount {
    /// The number that is sent, and whether it is of unit-hours.
    #[must_use]
    pub fn number(self) -> (i64, bool) {
        match self {
            Amount::Money(fen) => (fen, false),
            Amount::UnitHours(number) => (number, true),
        }
    }
}

/// `12.34` yuan, or `500h` unit-hours (card-hours, core-hours, GiB-hours).
///
/// # Errors
/// Text for the user when it is neither.
pub fn parse_amount(text: &str) -> Result<Amount, String> {
    let Some(hours) = text.strip_suffix('h') else {
        return parse_money(text).map(Amount::Money);
    };
    let thousandths = decimal(hours, 3).map_err(|error| format!("{error}: give unit-hours, such as 500h"))?;
    let number = thousandths.checked_mul(UNIT_HOUR / 1_000);
    number
        .and_then(|number| i64::try_from(number).ok())
        .map(Amount::UnitHours)
        .ok_or_else(|| format!("\"{text}\" is too large"))
}

/// An amount of a programme, more than nothing.
///
/// # Errors
/// Text for the user when it is none.
pub fn parse_positive_amount(text: &str) -> Result<Amount, String> {
    parse_amount(text).and_then(|amount| above_zero(text, amount, amount.number().0 == 0))
}

/// Milli-unit-seconds.
const UNIT_HOUR: u64 = 3_600_000;

/// An amount of a programme with its unit: yuan, or unit-hours of a class down to whole thousandths.
#[must_use]
pub fn show_amount(amount: i64, unit_hours_of: &str) -> String {
    if unit_hours_of.is_empty() {
        return format!("{} yuan", show_money(amount));
    }
    format!("{} of {unit_hours_of}", show_plain_amount(amount, unit_hours_of))
}

/// The same for a column: `12.34` or `500h`.
#[must_use]
pub fn show_plain_amount(amount: i64, unit_hours_of: &str) -> String {
    if unit_hours_of.is_empty() {
        return show_money(amount);
    }
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}h", undecimal(amount.unsigned_abs() / (UNIT_HOUR / 1_000), 3))
}

/// `0.02` yuan per unit-hour as milli-fen: five decimals.
///
/// # Errors
/// Text for the user when it is no such price.
pub fn parse_unit_price(text: &str) -> Result<u64, String> {
    decimal(text.trim_start_matches('¥'), 5).map_err(|error| format!("{error}: give yuan per unit-hour, such as 0.02"))
}

/// Milli-fen as yuan, with at least two decimals.
#[must_use]
pub fn show_unit_price(millifen: u64) -> String {
    let text = format!("{}.{:05}", millifen / 100_000, millifen % 100_000);
    let least = text.len() - 3;
    let end = text.trim_end_matches('0').len().max(least);
    text[..end].to_owned()
}

/// `30%` or `12.5%` as basis points, above 0%.
///
/// # Errors
/// Text for the user when it is no such rate.
pub fn parse_rate(text: &str) -> Result<u32, String> {
    let number = text
        .strip_suffix('%')
        .ok_or_else(|| format!("\"{text}\" is no rate: write a per cent sign, such as 30%"))?;
    let rate = decimal(number, 2)?;
    u32::try_from(rate)
        .ok()
        .filter(|rate| (1..=10_000).contains(rate))
        .ok_or_else(|| format!("\"{text}\" is out of range: allowed is 0.01% to 100%"))
}

/// Basis points as per cent.
#[must_use]
pub fn show_rate(bp: u32) -> String {
    format!("{}%", undecimal(bp.into(), 2))
}

/// The zone of programme dates: Asia/Shanghai, which has no other offset since 1991.
fn shanghai() -> TimeZone {
    TimeZone::fixed(tz::offset(8))
}

/// How long a binding quote holds, as milliseconds: 1 second to 24 hours.
///
/// # Errors
/// Text for the user when it is none.
pub fn parse_validity(text: &str) -> Result<u64, String> {
    let ms = parse_time(text)?;
    if (1_000..=86_400_000).contains(&ms) {
        return Ok(ms);
    }
    Err(format!("\"{text}\" is out of range: allowed is 1s to 24h"))
}

/// The first instant of a day in Shanghai, or an instant of RFC 3339, as milliseconds.
///
/// # Errors
/// Text for the user when it is neither.
pub fn parse_from(text: &str) -> Result<u64, String> {
    instant(text, 0)
}

/// The first instant after a day in Shanghai (the day itself still counts), or an instant of RFC 3339, as milliseconds.
///
/// # Errors
/// Text for the user when it is neither.
pub fn parse_until(text: &str) -> Result<u64, String> {
    instant(text, 1)
}

fn instant(text: &str, days: i64) -> Result<u64, String> {
    let bad = || format!("\"{text}\" is no day such as 2026-12-31 and no time such as 2026-12-31T18:00:00+08:00");
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let day: Date = text.parse().map_err(|_| bad())?;
            let out = |_| format!("\"{text}\" is out of range: allowed are the years 2000 to 9998");
            let day = day.checked_add(days.days()).map_err(out)?;
            day.to_zoned_datetime(shanghai()).map_err(|_| bad())?.timestamp()
        }
    };
    dated(text, at)
}

/// An instant as milliseconds. Years outside of 2000 to 9998 are typing errors, and the ends of the scale have meanings of their own on
/// the wire.
fn dated(text: &str, at: Timestamp) -> Result<u64, String> {
    let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
    if (FIRST_MS..LAST_MS).contains(&ms) {
        return Ok(ms);
    }
    Err(format!(
        "\"{text}\" is out of range: allowed are the years 2000 to 9998"
    ))
}

/// 2000-01-01 and 9999-01-01 in Shanghai.
const FIRST_MS: u64 = 946_656_000_000;
const LAST_MS: u64 = 253_370_736_000_000;

/// An instant as milliseconds: RFC 3339, `2026-05-01 22:00` in the zone of this machine, or so long after now: `+2h`.
///
/// # Errors
/// Text for the user when it is none of these.
pub fn parse_when(text: &str) -> Result<u64, String> {
    when(text, Timestamp::now(), &TimeZone::system())
}

fn when(text: &str, now: Timestamp, zone: &TimeZone) -> Result<u64, String> {
    let bad = || {
        format!(
            "\"{text}\" is no time: write 2026-05-01T22:00:00+08:00, \"2026-05-01 22:00\" in the zone of this machine, or +2h for two hours from now"
        )
    };
    let ms = |at: Timestamp| dated(text, at);
    if let Some(length) = text.strip_prefix('+') {
        return ms(now)?.checked_add(parse_time(length)?).ok_or_else(bad);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return ms(at);
    }
    // A day alone would leave open whether its beginning or its end is meant.
    let has_time = text.contains(':');
    let civil: DateTime = text.parse().ok().filter(|_| has_time).ok_or_else(bad)?;
    ms(civil.to_zoned_datetime(zone.clone()).map_err(|_| bad())?.timestamp())
}

/// This machine's clock, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// Milliseconds since 1970 as RFC 3339 in UTC; `None` for 0 and for "no end".
#[must_use]
pub fn rfc3339(ms: u64) -> Option<String> {
    if ms == 0 || ms >= NO_END_MS {
        return None;
    }
    Some(Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?.to_string())
}

/// From here on an instant means "no end".
const NO_END_MS: u64 = 253_402_300_800_000;

/// An instant for people, in the zone of this machine; `-` for none.
#[must_use]
pub fn local(ms: u64) -> String {
    if ms == 0 || ms >= NO_END_MS {
        return "-".to_owned();
    }
    let at = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "-".to_owned(),
        |at| {
            at.to_zoned_datetime(TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S %:z")
                .to_string()
        },
    )
}

/// The first instant of something that is given in days, as `parse_from` reads it: the day alone where it is the first instant of one in
/// Shanghai.
#[must_use]
pub fn first_day(ms: u64) -> String {
    day_or_time(ms, 0)
}

/// The end of something that is given in days, as `parse_until` reads it: the last day that still counts.
#[must_use]
pub fn last_day(ms: u64) -> String {
    day_or_time(ms, 1)
}

fn day_or_time(ms: u64, back: i64) -> String {
    if ms == 0 || ms >= NO_END_MS {
        return "-".to_owned();
    }
    let at = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let Some(at) = at.map(|at| at.to_zoned_datetime(shanghai())) else {
        return "-".to_owned();
    };
    let midnight = at.time() == jiff::civil::Time::midnight();
    match at.date().checked_sub(back.days()) {
        Ok(day) if midnight => day.to_string(),
        _ => at.strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_write_amounts_in_many_ways() {
        assert_eq!(parse_milli("1.5"), Ok(1500));
        assert_eq!(parse_milli("0.125"), Ok(125));
        assert_eq!(parse_size("64GiB"), Ok(64 << 10));
        assert_eq!(parse_size("64G"), Ok(64 << 10));
        assert_eq!(parse_size("1.5tib"), Ok(3 << 19));
        assert_eq!(parse_size("1GB"), Ok(954), "rounded up to whole MiB");
        assert_eq!(parse_size("1K"), Ok(1));
        assert_eq!(parse_time("1d12h"), Ok(36 * 3_600_000));
        assert_eq!(parse_time("02:30:05"), Ok(9_005_000));
        assert_eq!(parse_time("500ms"), Ok(500));
        assert_eq!(parse_money("12.34"), Ok(1234));
        assert_eq!(parse_money("¥12"), Ok(1200));
        assert_eq!(parse_unit_price("0.02"), Ok(2000));
        assert_eq!(parse_rate("12.5%"), Ok(1250));
        assert_eq!(show_unit_price(325_000), "3.25");
        assert_eq!(show_unit_price(2), "0.00002");
        assert_eq!(show_unit_price(100_000), "1.00");
        assert_eq!(show_money(-5), "-0.05");
        assert_eq!(parse_amount("12.34"), Ok(Amount::Money(1234)));
        assert_eq!(parse_amount("1.5h"), Ok(Amount::UnitHours(5_400_000)));
        assert_eq!(show_amount(5_400_000, "gpu/a800"), "1.5h of gpu/a800");
        assert_eq!(show_amount(1234, ""), "12.34 yuan");
        assert_eq!(
            show_plain_amount(3_599_999, "cpu"),
            "0.999h",
            "never more than there is"
        );
    }

    #[test]
    fn what_could_be_meant_in_two_ways_is_refused() {
        for text in ["", "64", "1.5.2GiB", "-1GiB", "GiB", "1XB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["", "90", "1h30", "-1h", "1:00", "1:60:00", "2 h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        for text in ["", "1.234", "-1", "1,5", "99999999999999999999", "."] {
            assert!(parse_money(text).is_err(), "{text}");
        }
        for text in ["30", "101%", "-1%", "0%", "0.00%"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        for text in ["0", "0.00", "¥0", "-1"] {
            assert!(parse_positive_money(text).is_err(), "{text}");
            assert!(parse_positive_amount(text).is_err(), "{text}");
        }
        assert!(parse_positive_amount("0h").is_err());
        assert_eq!(parse_positive_money("0.01"), Ok(1));
        for text in ["0s", "999ms", "24h1s"] {
            assert!(parse_validity(text).expect_err(text).contains("1s to 24h"));
        }
        assert_eq!(parse_validity("24h"), Ok(86_400_000));
        for text in ["1970-01-01T00:00:00Z", "1999-12-30", "9999-12-31", "9999-01-01"] {
            assert!(parse_from(text).expect_err(text).contains("2000 to 9998"), "{text}");
            assert!(parse_until(text).expect_err(text).contains("2000 to 9998"), "{text}");
        }
        assert!(parse_from("2000-01-01").is_ok() && parse_until("9998-12-30").is_ok());
    }

    #[test]
    fn an_instant_is_absolute_local_or_from_now() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().expect("an instant");
        let read = |text: &str| when(text, now, &shanghai());
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant").as_millisecond() as u64;
        assert_eq!(read("2026-05-01T22:00:00+08:00"), Ok(at("2026-05-01T14:00:00Z")));
        assert_eq!(read("2026-05-01 22:00"), Ok(at("2026-05-01T14:00:00Z")));
        assert_eq!(read("2026-05-01T22:00:30"), Ok(at("2026-05-01T14:00:30Z")));
        assert_eq!(read("+1d30m"), Ok(at("2026-05-02T12:30:00Z")));
        for text in [
            "",
            "+",
            "+5",
            "-1h",
            "tomorrow",
            "2026-05-01",
            "22:00",
            "2026-13-01 22:00",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_are_days_in_shanghai_and_the_last_one_counts() {
        assert_eq!(parse_from("2026-01-01"), parse_from("2025-12-31T16:00:00Z"));
        assert_eq!(parse_until("2026-12-31"), parse_from("2027-01-01"));
        assert_eq!(
            rfc3339(parse_until("2026-12-31").expect("a day")).as_deref(),
            Some("2026-12-31T16:00:00Z")
        );
        assert!(parse_from("2026-02-30").is_err());
        let (from, until) = (parse_from("2026-01-01"), parse_until("2026-12-31"));
        assert_eq!(first_day(from.expect("a day")), "2026-01-01");
        assert_eq!(last_day(until.expect("a day")), "2026-12-31", "as it was given");
        let time = parse_until("2026-12-31T18:00:00+08:00").expect("a time");
        assert_eq!(last_day(time), "2026-12-31 18:00:00 +08:00");
        assert_eq!(last_day(0), "-");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(value in 0u64..1 << 50) {
            prop_assert_eq!(parse_milli(&show_milli(value)), Ok(value));
            prop_assert_eq!(parse_time(&show_time(value)), Ok(value));
            prop_assert_eq!(parse_money(&show_money(value as i64)), Ok(value as i64));
            prop_assert_eq!(parse_unit_price(&show_unit_price(value)), Ok(value));
            let bp = (value % 10_000) as u32 + 1;
            prop_assert_eq!(parse_rate(&show_rate(bp)), Ok(bp));
            if value > 0 {
                prop_assert_eq!(parse_size(&show_size(value)), Ok(value));
            }
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,20}") {
            let _ = (parse_milli(&text), parse_size(&text), parse_time(&text), parse_money(&text));
            let _ = (parse_unit_price(&text), parse_rate(&text), parse_from(&text), parse_until(&text));
            let _ = parse_when(&text);
        }
    }
}
