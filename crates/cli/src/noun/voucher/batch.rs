//! A batch of vouchers from a CSV file. An error names line and column; nothing is sent unless every line is good.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use hesuan_api::v1;

use crate::failure::{Failure, Outcome};
use crate::units::{self, Amount};

/// Vouchers of one batch, as the cluster takes them.
const VOUCHERS_MAX: usize = 1_000;
/// In any order; each once.
const COLUMNS: [&str; 5] = ["code", "holder", "face", "from", "until"];

/// What a file lists.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) vouchers: Vec<v1::NewVoucher>,
    /// Their faces are in unit-hours.
    pub(super) unit_hours: bool,
    /// Where in the file each of them begins.
    pub(super) lines: Vec<u64>,
}

/// The vouchers of a file.
///
/// # Errors
/// What is wrong, with line and column.
pub(super) fn read(path: &Path) -> Outcome<Batch> {
    let failed = |error: String| Failure::of_field(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    parse(&bytes).map_err(failed)
}

fn parse(bytes: &[u8]) -> Result<Batch, String> {
    // Spreadsheets put a mark in front of UTF-8, which would become part of the first column's name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|error| wrong(&error))?.clone();
    let place = |name: &str| header.iter().position(|column| column == name);
    if let Some(unknown) = header.iter().find(|column| !COLUMNS.contains(column)) {
        return Err(format!(
            "line 1: there is no column {unknown:?}: allowed are {}",
            COLUMNS.join(", ")
        ));
    }
    let mut places = [0; COLUMNS.len()];
    for (place_of, name) in places.iter_mut().zip(COLUMNS) {
        *place_of = place(name).ok_or_else(|| format!("line 1: the column {name} is missing"))?;
    }
    let mut vouchers = Vec::new();
    let mut lines = Vec::new();
    let mut unit_hours = None;
    for record in reader.records() {
        let record = record.map_err(|error| wrong(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row { line, record, places };
        let amount = row.parse(2, units::parse_amount)?;
        let (face, hours) = amount.number();
        if *unit_hours.get_or_insert(hours) != hours {
            let text = if hours { "unit-hours" } else { "yuan" };
            return Err(format!(
                "line {line}, column face: {text}, where the lines before are not: one unit a batch"
            ));
        }
        let (from_ms, until_ms) = (row.parse(3, units::parse_from)?, row.parse(4, units::parse_until)?);
        if until_ms <= from_ms {
            return Err(format!(
                "line {line}, column until: it is before from, so the voucher would never pay"
            ));
        }
        if matches!(amount, Amount::Money(0) | Amount::UnitHours(0)) {
            return Err(format!("line {line}, column face: nothing would be on the voucher"));
        }
        let code = row.text(0)?;
        if let Some(earlier) = vouchers.iter().position(|one: &v1::NewVoucher| one.code == code) {
            return Err(format!(
                "line {line}, column code: \"{code}\" is that of line {} already",
                lines[earlier]
            ));
        }
        lines.push(line);
        vouchers.push(v1::NewVoucher {
            code,
            holder: row.text(1)?,
            face,
            from_ms,
            until_ms,
        });
        if vouchers.len() > VOUCHERS_MAX {
            return Err(format!(
                "line {line}: a batch has at most {VOUCHERS_MAX} vouchers: split the file"
            ));
        }
    }
    if vouchers.is_empty() {
        return Err("it lists no voucher: give one a line below the names of the columns".to_owned());
    }
    Ok(Batch {
        vouchers,
        unit_hours: unit_hours.unwrap_or(false),
        lines,
    })
}

/// A refusal of the cluster with the line of the file that it is about, where it says one voucher: by its place in the batch, or by what is
/// quoted of it. No lines (it was no file), no change.
pub(super) fn name_line(failure: Failure, vouchers: &[v1::NewVoucher], lines: &[u64]) -> Failure {
    let Failure::Refused(mut refusal) = failure else {
        return failure;
    };
    let place = || {
        let field = refusal.field.strip_prefix("vouchers[")?;
        field.split_once(']')?.0.parse::<usize>().ok()
    };
    let quoted = || {
        let says = |text: &str| {
            refusal
                .message
                .split([' ', ':', ','])
                .any(|word| word.trim_matches('"') == text)
        };
        match refusal.code.as_str() {
            "NAME_TAKEN" => vouchers.iter().position(|one| says(&one.code)),
            "UNKNOWN_ORG" => vouchers.iter().position(|one| says(&one.holder)),
            _ => None,
        }
    };
    if let Some(line) = place().or_else(quoted).and_then(|place| lines.get(place)) {
        refusal.message = format!("line {line} of the file: {}", refusal.message);
    }
    Failure::Refused(refusal)
}

struct Row {
    line: u64,
    record: StringRecord,
    places: [usize; COLUMNS.len()],
}

impl Row {
    fn text(&self, column: usize) -> Result<String, String> {
        match self.record.get(self.places[column]) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(format!("line {}, column {}: it is empty", self.line, COLUMNS[column])),
        }
    }

    fn parse<T>(&self, column: usize, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
        let text = self.text(column)?;
        parse(&text).map_err(|error| format!("line {}, column {}: {error}", self.line, COLUMNS[column]))
    }
}

fn wrong(error: &csv::Error) -> String {
    use csv::ErrorKind;
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: it has {len} columns, the first line has {expected_len}")
        }
        ErrorKind::Utf8 { pos, err } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!(
                "line {line}, column {}: it is no UTF-8: save the file as CSV UTF-8",
                err.field() + 1
            )
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "code,holder,face,from,until\nV-1,lab,1000.50,2026-01-01,2026-12-31\nV-2, acme ,20,2026-01-01,2026-06-30\n";

    #[test]
    fn a_file_of_a_spreadsheet_is_read_whole() {
        let good = parse(GOOD.as_bytes()).expect("the file is good");
        assert_eq!(
            (good.vouchers.len(), good.unit_hours, &*good.lines),
            (2, false, &[2, 3][..])
        );
        assert_eq!((&*good.vouchers[1].holder, good.vouchers[0].face), ("acme", 100_050));
        let marked = [b"\xef\xbb\xbf", GOOD.replace('\n', "\r\n").as_bytes()].concat();
        assert_eq!(parse(&marked).expect("marked and with CRLF").vouchers, good.vouchers);
        let turned = "until,from,face,holder,code\n2026-12-31,2026-01-01,5h,lab,V-1\n";
        let turned = parse(turned.as_bytes()).expect("the columns are named");
        assert_eq!((turned.vouchers[0].face, turned.unit_hours), (18_000_000, true));
    }

    #[test]
    fn what_the_cluster_refuses_is_named_by_its_line() {
        use hesuan_api::refusal::Refusal;
        let batch = parse(format!("{GOOD}V-3,nosuch,20,2026-01-01,2026-06-30\n").as_bytes()).expect("well written");
        let said = |code: &str, field: &str, message: &str, lines: &[u64]| {
            let mut refusal = Refusal::from_status(&tonic::Status::not_found(message));
            (refusal.code, refusal.field) = (code.to_owned(), field.to_owned());
            let failure = name_line(Failure::Refused(Box::new(refusal)), &batch.vouchers, lines);
            failure.text().expect("it says why")
        };
        for (code, field, message, line) in [
            ("UNKNOWN_ORG", "org", "no org nosuch", "line 4 of"),
            (
                "NAME_TAKEN",
                "vouchers.code",
                "vouchers.code \"V-2\" is taken",
                "line 3 of",
            ),
            (
                "FIELD_MALFORMED",
                "vouchers[0].code",
                "vouchers[0].code is bad",
                "line 2 of",
            ),
        ] {
            let text = said(code, field, message, &batch.lines);
            assert!(text.contains(line), "{text}");
            assert!(!said(code, field, message, &[]).contains("line"), "it was no file");
        }
        let other = said("BUDGET_EXHAUSTED", "", "programme p has too little", &batch.lines);
        assert!(!other.contains("line"), "{other}");
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_column() {
        let bad = [
            (GOOD.replace("1000.50", "1,000"), "line 2"),
            (GOOD.replace("1000.50", "-5"), "line 2, column face"),
            (GOOD.replace("1000.50", "0"), "line 2, column face"),
            (GOOD.replace("20,2026", "20h,2026"), "line 3, column face"),
            (GOOD.replace("2026-06-30", "2026-02-30"), "line 3, column until"),
            (GOOD.replace("2026-06-30", "2025-06-30"), "line 3, column until"),
            (GOOD.replace("V-2", "V-1"), "line 3, column code"),
            (GOOD.replace(" acme ", ""), "line 3, column holder"),
            (GOOD.replace(",until", ""), "line 1: the column until"),
            (GOOD.replace("face", "value"), "line 1: there is no column \"value\""),
            (GOOD.replace(",2026-06-30", ""), "line 3: it has 4 columns"),
            ("code,holder,face,from,until\n".to_owned(), "no voucher"),
            (String::new(), "line 1"),
        ];
        for (text, said) in bad {
            let error = parse(text.as_bytes()).expect_err(&text);
            assert!(error.contains(said), "{said} is not in {error:?} of\n{text}");
        }
        let error = parse(b"code,holder,face,from,until\nV-\xff,lab,1,2026-01-01,2026-01-02\n").expect_err("no UTF-8");
        assert!(error.contains("line 2, column 1"), "{error}");
    }
}
