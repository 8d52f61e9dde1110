//! The questions every conversion asks of a field. A refusal names the field as in the proto, says what was given, what is
//! allowed, and what to do. Nothing here reads a table that changes between releases: replicas must agree on every answer.

use std::fmt::Display;

use hesuan_engine::outcome::{Rejection, RejectionKind};
use hesuan_ledger::types::{BasisPoints, Fen, Grant, RegionCode, Timestamp, Yuan};

/// Bytes of a name (site, organisation, programme, principal, voucher code).
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a reason or reference.
pub const NOTE_BYTES_MAX: usize = 256;

pub(crate) type Checked<T> = Result<T, Rejection>;

pub(crate) fn invalid(code: &'static str, field: impl Display, message: impl Display) -> Rejection {
    Rejection::new(RejectionKind::Invalid, code, &field.to_string(), message.to_string())
}

pub(crate) fn missing(field: impl Display, hint: &str) -> Rejection {
    invalid("FIELD_MISSING", &field, format_args!("{field} is missing: {hint}"))
}

pub(crate) fn out_of_range(field: impl Display, given: impl Display, allowed: impl Display) -> Rejection {
    invalid(
        "FIELD_OUT_OF_RANGE",
        &field,
        format_args!("{field} is {given}, allowed is {allowed}: change it and send the request again"),
    )
}

/// Between both bounds, both included.
pub(crate) fn range(field: impl Display, given: u64, least: u64, most: u64) -> Checked<u64> {
    if (least..=most).contains(&given) {
        return Ok(given);
    }
    Err(out_of_range(field, given, format_args!("{least} to {most}")))
}

pub(crate) fn count(field: impl Display, given: usize, most: usize) -> Checked<()> {
    if given <= most {
        return Ok(());
    }
    Err(invalid(
        "FIELD_TOO_MANY",
        &field,
        format_args!("{field} has {given} entries, allowed are {most}: send fewer"),
    ))
}

pub(crate) fn bytes(field: impl Display, given: usize, most: usize) -> Checked<()> {
    if given <= most {
        return Ok(());
    }
    Err(invalid(
        "FIELD_TOO_LONG",
        &field,
        format_args!("{field} has {given} bytes, allowed are {most}: shorten it"),
    ))
}

/// One line of text without control characters; may be empty.
pub(crate) fn line(field: impl Display, given: String, bytes_max: usize) -> Checked<Box<str>> {
    bytes(&field, given.len(), bytes_max)?;
    if let Some(bad) = given.chars().find(|&c| is_control(c)) {
        return Err(invalid(
            "FIELD_MALFORMED",
            &field,
            format_args!(
                "{field} holds the control character U+{:04X}: give one plain line",
                u32::from(bad)
            ),
        ));
    }
    Ok(given.into_boxed_str())
}

/// A note for the record: one line of at most [`NOTE_BYTES_MAX`].
pub(crate) fn note(field: impl Display, given: String) -> Checked<Box<str>> {
    line(field, given, NOTE_BYTES_MAX)
}

/// A note that must say why something is done; not blank.
pub(crate) fn reason(field: impl Display, given: String) -> Checked<Box<str>> {
    if given.trim().is_empty() {
        return Err(missing(field, "say why, for the record"));
    }
    note(field, given)
}

/// Bytes of a name that other things refer to.
pub(crate) fn name(field: impl Display, given: String) -> Checked<Box<str>> {
    if given.is_empty() {
        return Err(missing(field, "give a name"));
    }
    bytes(&field, given.len(), NAME_BYTES_MAX)?;
    if let Some(bad) = given.chars().find(|&c| !is_name(c)) {
        return Err(invalid(
            "FIELD_MALFORMED",
            &field,
            format_args!(
                "{field} is \"{}\" and holds {:?}: letters, digits and . _ - are allowed",
                given.escape_debug(),
                bad
            ),
        ));
    }
    // Taken for an option by a command line, or for a formula by a spreadsheet.
    if given.starts_with(['-', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']) {
        return Err(invalid(
            "FIELD_MALFORMED",
            &field,
            format_args!(
                "{field} is \"{}\": a name does not begin with - nor with a sign that a spreadsheet executes",
                given.escape_debug()
            ),
        ));
    }
    Ok(given.into_boxed_str())
}

/// Like [`name`], but empty means "not given".
pub(crate) fn name_or_empty(field: impl Display, given: String) -> Checked<Box<str>> {
    if given.is_empty() {
        Ok(Box::default())
    } else {
        name(field, given)
    }
}

/// ASCII letters, digits, `.`, `_`, `-`: GPU models and named resources.
pub(crate) fn token(field: impl Display, given: String) -> Checked<Box<str>> {
    if given.is_ascii() {
        return name(field, given);
    }
    Err(invalid(
        "FIELD_MALFORMED",
        &field,
        format_args!("{field} is \"{given}\": letters a-z, digits and . _ - are allowed"),
    ))
}

/// A priced resource class: `cpu`, `mem`, `gpu/MODEL` or `res/NAME`.
pub(crate) fn sku(field: impl Display, given: String) -> Checked<Box<str>> {
    let rest = given.strip_prefix("gpu/").or_else(|| given.strip_prefix("res/"));
    let good = match rest {
        Some(rest) => !rest.is_empty() && rest.is_ascii() && rest.chars().all(is_name),
        None => given == "cpu" || given == "mem",
    };
    if good && given.len() <= NAME_BYTES_MAX {
        return Ok(given.into_boxed_str());
    }
    Err(invalid(
        "FIELD_MALFORMED",
        &field,
        format_args!(
            "{field} is \"{}\": a resource class is cpu, mem, gpu/MODEL or res/NAME, at most {NAME_BYTES_MAX} bytes",
            given.escape_default()
        ),
    ))
}

/// A resource class, or a prefix of one that ends in `*`.
pub(crate) fn sku_pattern(field: impl Display, given: String) -> Checked<Box<str>> {
    match given.strip_suffix('*') {
        Some("" | "gpu/" | "res/") => Ok(given.into_boxed_str()),
        Some(prefix) if prefix.contains('/') => {
            sku(field, prefix.to_owned())?;
            Ok(given.into_boxed_str())
        }
        _ => sku(field, given),
    }
}

/// A GB/T 2260 code of six digits.
pub(crate) fn region(field: impl Display, given: u32) -> Checked<RegionCode> {
    if (110_000..=990_000).contains(&given) {
        return Ok(RegionCode(given));
    }
    Err(out_of_range(
        field,
        given,
        "a GB/T 2260 code of six digits, 110000 to 990000, such as 310117",
    ))
}

/// More than nothing.
pub(crate) fn amount(field: impl Display, given: i64) -> Checked<Fen> {
    if given > 0 && given <= Fen::MAX.0 {
        return Ok(Fen(given));
    }
    Err(out_of_range(
        field,
        format_args!("{} yuan", Yuan(Fen(given))),
        format_args!("0.01 to {} yuan", Yuan(Fen::MAX)),
    ))
}

/// More than nothing, where an amount is given. An explicit 0 is refused: it must never be taken for "all" or for "no bound".
pub(crate) fn amount_if_given(field: impl Display, given: Option<i64>) -> Checked<Option<Fen>> {
    given.map(|given| amount(field, given)).transpose()
}

/// More than nothing of what a programme is denominated in.
pub(crate) fn grant(field: impl Display, given: i64) -> Checked<Grant> {
    if given > 0 && given <= Grant::MAX.0 {
        return Ok(Grant(given));
    }
    Err(out_of_range(
        field,
        given,
        format_args!(
            "1 to {}: fen, or milli-unit-seconds (3600000 are a unit-hour) where the programme counts so",
            Grant::MAX.0
        ),
    ))
}

/// The same, where it is given. An explicit 0 is refused: it must never be taken for "no cap".
pub(crate) fn grant_if_given(field: impl Display, given: Option<i64>) -> Checked<Option<Grant>> {
    given.map(|given| grant(field, given)).transpose()
}

/// 1 to 10,000 basis points.
pub(crate) fn rate(field: impl Display, given: u32) -> Checked<BasisPoints> {
    if (1..=BasisPoints::WHOLE.0).contains(&given) {
        return Ok(BasisPoints(given));
    }
    Err(out_of_range(
        field,
        format_args!("{}.{:02}%", given / 100, given % 100),
        "0.01% to 100% (1 to 10000 basis points)",
    ))
}

/// A half-open interval of instants that is not empty. `until` 0 means no end.
pub(crate) fn interval(prefix: impl Display, from_ms: u64, until_ms: u64) -> Checked<(Timestamp, Timestamp)> {
    let until = if until_ms == 0 {
        Timestamp::FAR
    } else {
        instant(format_args!("{prefix}until_ms"), until_ms)?
    };
    if from_ms >= until.0 {
        return Err(out_of_range(
            format_args!("{prefix}until_ms"),
            until_ms,
            format_args!("a time after {prefix}from_ms, {from_ms}"),
        ));
    }
    Ok((Timestamp(from_ms), until))
}

/// Milliseconds since 1970 that are still a date.
pub(crate) fn instant(field: impl Display, given: u64) -> Checked<Timestamp> {
    range(field, given, 0, Timestamp::FAR.0).map(Timestamp)
}

/// 32 bytes.
pub(crate) fn digest(field: impl Display, given: &[u8]) -> Checked<[u8; 32]> {
    given.try_into().map_err(|_| {
        invalid(
            "FIELD_MALFORMED",
            &field,
            format_args!("{field} has {} bytes, allowed are 32: send a SHA-256", given.len()),
        )
    })
}

/// 16 bytes as a number, the first byte the most significant.
pub(crate) fn instance(field: impl Display, given: &[u8]) -> Checked<u128> {
    given.try_into().map(u128::from_be_bytes).map_err(|_| {
        invalid(
            "FIELD_MALFORMED",
            &field,
            format_args!("{field} has {} bytes, allowed are 16 random ones", given.len()),
        )
    })
}

/// A number of an enum that we know and that is not the unspecified one.
pub(crate) fn known<T: TryFrom<i32>>(field: impl Display, given: i32, allowed: &str) -> Checked<T> {
    known_if_given(&field, given, allowed)?.ok_or_else(|| missing(&field, allowed))
}

/// The same, where 0, the unspecified one, says that none is given.
pub(crate) fn known_if_given<T: TryFrom<i32>>(field: impl Display, given: i32, allowed: &str) -> Checked<Option<T>> {
    let refuse = |_| {
        invalid(
            "FIELD_UNKNOWN_VALUE",
            &field,
            format_args!("{field} is {given}, which is no known value: allowed are {allowed}"),
        )
    };
    let given = (given != 0).then_some(given);
    given.map(|given| T::try_from(given).map_err(refuse)).transpose()
}

/// Refuses a list that names something twice; the list is sorted afterwards.
pub(crate) fn sort_distinct<T: Ord + Display>(field: impl Display, list: &mut [T]) -> Checked<()> {
    list.sort_unstable();
    match list.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(duplicate(field, &pair[0])),
    }
}

pub(crate) fn duplicate(field: impl Display, what: impl Display) -> Rejection {
    invalid(
        "FIELD_DUPLICATE",
        &field,
        format_args!("{field} names \"{what}\" twice: name it once"),
    )
}

fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}')
}

/// Fixed ranges on purpose: what std takes for a letter changes between its releases.
fn is_name(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => true,
        '\0'..='\u{a0}' | '\u{2000}'..='\u{206f}' | '\u{3000}' | '\u{e000}'..='\u{f8ff}' => false,
        '\u{feff}' | '\u{fff0}'.. => false,
        _ => true,
    }
}
