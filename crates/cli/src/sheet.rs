//! Rows and columns in three forms of the same facts: a table for people, JSON for programs, CSV for spreadsheets.
//!
//! Money is fen. In CSV it stands twice, in yuan with two decimals and in fen. Text from others that a spreadsheet would take for a
//! formula gets an apostrophe in front, which makes it text there.

use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};
use crate::output::{Output, table};
use crate::units::{local, rfc3339, show_money};

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A name, a reason, a reference: whatever somebody typed.
    Text(String),
    /// A number that is no money.
    Number(u64),
    /// Money.
    Fen(i64),
    /// Milliseconds since 1970 UTC; 0 is no instant.
    Time(u64),
    /// Nothing belongs here.
    Blank,
}

impl Cell {
    /// Text, or blank if it is empty.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() { Cell::Blank } else { Cell::Text(text) }
    }

    /// A number of which 0 means "none".
    pub fn number_or_blank(number: impl Into<u64>) -> Self {
        match number.into() {
            0 => Cell::Blank,
            number => Cell::Number(number),
        }
    }

    fn for_people(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => number.to_string(),
            Cell::Fen(fen) => show_money(*fen),
            Cell::Time(ms) => local(*ms),
            Cell::Blank => String::new(),
        }
    }

    fn for_programs(&self) -> Value {
        match self {
            Cell::Text(text) => text.clone().into(),
            Cell::Number(number) => (*number).into(),
            Cell::Fen(fen) => (*fen).into(),
            Cell::Time(ms) => rfc3339(*ms).into(),
            Cell::Blank => Value::Null,
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Cell::Text`], [`Cell::Time`].
    Text,
    /// [`Cell::Number`].
    Number,
    /// [`Cell::Fen`].
    Money,
}

/// Named columns and rows.
#[derive(Clone, Debug)]
pub struct Sheet {
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<Cell>>,
}

impl Sheet {
    /// With these columns, named in snake case, and no rows yet.
    #[must_use]
    pub fn new(columns: &[(&'static str, Kind)]) -> Self {
        Sheet {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; as many cells as there are columns.
    ///
    /// # Panics
    /// With fewer or more cells.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push(row);
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let name = |(name, kind): &(&str, Kind)| {
            let sign = if *kind == Kind::Text { "" } else { ">" };
            format!("{sign}{}", name.replace('_', " ").to_uppercase())
        };
        let header: Vec<String> = self.columns.iter().map(name).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(Cell::for_people).collect());
        table(&header, rows)
    }

    /// For programs: one object a row; the name of an amount ends in `_fen`.
    #[must_use]
    pub fn json(&self) -> Value {
        let key = |(name, kind): &(&str, Kind)| match kind {
            Kind::Money => format!("{name}_fen"),
            _ => (*name).to_owned(),
        };
        let object = |row: &Vec<Cell>| {
            let fields = self.columns.iter().zip(row);
            let fields: Map<String, Value> = fields
                .map(|(column, cell)| (key(column), cell.for_programs()))
                .collect();
            Value::Object(fields)
        };
        self.rows.iter().map(object).collect()
    }

    /// For spreadsheets.
    ///
    /// # Errors
    /// When a row cannot be written, which memory does not do.
    pub fn csv(&self) -> Outcome<String> {
        let failed = |error: csv::Error| Failure::Local(format!("the rows cannot be written as CSV: {error}"));
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut header = Vec::new();
        for (name, kind) in &self.columns {
            match kind {
                Kind::Money => header.extend([format!("{name}_yuan"), format!("{name}_fen")]),
                _ => header.push((*name).to_owned()),
            }
        }
        writer.write_record(&header).map_err(failed)?;
        for row in &self.rows {
            let mut record = Vec::with_capacity(header.len());
            for (cell, (_, kind)) in row.iter().zip(&self.columns) {
                match (cell, kind) {
                    (Cell::Fen(fen), _) => record.extend([show_money(*fen), fen.to_string()]),
                    (_, Kind::Money) => record.extend([String::new(), String::new()]),
                    (Cell::Text(text), _) => record.push(harmless(text)),
                    (Cell::Time(ms), _) => record.push(rfc3339(*ms).unwrap_or_default()),
                    (Cell::Number(number), _) => record.push(number.to_string()),
                    (Cell::Blank, _) => record.push(String::new()),
                }
            }
            writer.write_record(&record).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|error| Failure::Local(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| Failure::Local(error.to_string()))
    }

    /// Shows it as the options say: CSV, or `value` as JSON, or `head`, the table and `foot`.
    ///
    /// # Errors
    /// `--csv` beside `--json`; standard output is gone.
    pub fn show(&self, output: &Output, csv: bool, value: &Value, head: &str, foot: &str) -> Outcome<()> {
        if csv && output.json {
            return Err(Failure::Usage("--csv and --json are both given: choose one".to_owned()));
        }
        if csv {
            let text = self.csv()?;
            return output.show_text(&text);
        }
        output.show(value, || {
            let parts = [head, &self.table(), foot];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            parts.join("\n")
        })
    }
}

/// Text that a spreadsheet shows and does not execute.
fn harmless(text: &str) -> String {
    // The full-width forms are executed where the spreadsheet is set to Chinese or Japanese.
    let executed = [
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ];
    // Some leave blanks before it out.
    if text.starts_with(executed) || text.trim_start().starts_with(executed) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(&[("site", Kind::Text), ("cells", Kind::Number), ("net", Kind::Money)]);
        sheet.push(vec![Cell::text("songjiang"), Cell::Number(3), Cell::Fen(-5)]);
        sheet.push(vec![Cell::Blank, Cell::Blank, Cell::Blank]);
        sheet
    }

    #[test]
    fn the_three_forms_say_the_same() {
        let sheet = sheet();
        assert_eq!(
            sheet.csv().expect("memory"),
            "site,cells,net_yuan,net_fen\nsongjiang,3,-0.05,-5\n,,,\n"
        );
        assert_eq!(
            sheet.json(),
            serde_json::json!([
                { "site": "songjiang", "cells": 3, "net_fen": -5 },
                { "site": null, "cells": null, "net_fen": null },
            ])
        );
        let table = sheet.table();
        assert!(table.starts_with("SITE") && table.contains("-0.05"), "{table}");
    }

    /// A reason typed by somebody else runs as a formula in the spreadsheet of whoever opens the statement.
    #[test]
    fn what_a_spreadsheet_would_execute_becomes_text() {
        let mut sheet = Sheet::new(&[("reason", Kind::Text)]);
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\tx",
            "\rx",
            "\nx",
            "＝1+1",
            "＠SUM(A1)",
            " =1",
            "\u{3000}=1",
            "a=b",
            "\"quoted\", too",
        ] {
            sheet.push(vec![Cell::text(text)]);
        }
        let written = sheet.csv().expect("memory");
        let mut reader = csv::Reader::from_reader(written.as_bytes());
        let cells: Vec<String> = reader
            .records()
            .map(|record| record.expect("well-formed")[0].to_owned())
            .collect();
        assert_eq!(
            cells,
            [
                "'=1+1",
                "'+1",
                "'-1",
                "'@SUM(A1)",
                "'\tx",
                "'\rx",
                "'\nx",
                "'＝1+1",
                "'＠SUM(A1)",
                "' =1",
                "'\u{3000}=1",
                "a=b",
                "\"quoted\", too"
            ]
        );
    }
}
