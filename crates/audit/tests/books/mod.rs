//! Journals of the ledger itself as files: its entries, and the trial balance it states.

#![allow(dead_code, reason = "each test uses its part")]

use hesuan_audit::file::{Balance, EntryLine, FORMAT, Header, Writer, unit_hours};
use hesuan_audit::{ACCOUNTS, Finding, Options, Report, verify};
use hesuan_ledger::{JournalEntry, Ledger, TrialRow};

/// The file of a journal.
pub(crate) fn exported(ledger: &Ledger, entries: &[JournalEntry]) -> Vec<u8> {
    let header = Header {
        format: FORMAT.to_owned(),
        cluster: "00".repeat(16),
        first: 1,
        last: entries.len() as u64,
        before: "00".repeat(32),
    };
    let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
    for entry in entries {
        let line = EntryLine {
            index: entry.index,
            record: entry.record.to_vec(),
            hash: entry.hash,
        };
        writer.entry(&line).expect("memory takes everything");
    }
    writer.finish(stated(ledger)).expect("memory takes everything")
}

/// The trial balance as the ledger states it.
pub(crate) fn stated(ledger: &Ledger) -> Vec<Balance> {
    let trial = ledger.trial_balance();
    let row = |account: &str, unit: String, row: &TrialRow| Balance {
        account: account.to_owned(),
        unit,
        balance: i64::try_from(row.debit + row.credit).expect("small books"),
    };
    let money = ACCOUNTS.iter().zip(&trial.rows);
    let mut rows: Vec<Balance> = money
        .map(|((account, ..), one)| row(account, "fen".to_owned(), one))
        .collect();
    for unit in &trial.units {
        let grants = ACCOUNTS.iter().filter(|(.., is_grant)| *is_grant);
        let units = grants.zip(&unit.rows);
        rows.extend(units.map(|((account, ..), one)| row(account, unit_hours(unit.sku.as_str()), one)));
    }
    rows
}

/// Checks a file of books that have no principals.
pub(crate) fn checked(file: &[u8]) -> Report {
    let options = Options {
        findings_max: 100,
        actors: false,
        ..Options::default()
    };
    verify(file, &options, |_, _| true).expect("memory can be read")
}

/// What is wrong, a line each.
pub(crate) fn findings(report: &Report) -> String {
    let lines: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    lines.join("\n")
}
