//! The check itself: reads a file from its first line to its last, entry by entry.

use std::io::BufRead;

use sha2::{Digest, Sha256};

use crate::books::Books;
use crate::chart::{Account, KINDS, TABLE};
use crate::facts::{Facts, Malformed};
use crate::file::{EntryLine, FileError, Flaw, Header, Line, Reader, Trailer, unit_hours};
use crate::finding::{Check, Findings};
use crate::judge::Judge;
use crate::record::{Record, Transfer};
use crate::report::{BalanceRow, Report, periods};
use crate::rules;

/// What to hold a file against.
#[derive(Clone, Debug)]
pub struct Options {
    /// Hash of the last entry, known from elsewhere, in hex: only this finds a file that was written anew from some entry on with all its
    /// hashes.
    pub head: Option<String>,
    /// How many findings are listed; the rest is counted.
    pub findings_max: usize,
    /// A file that does not begin at entry 1 is taken as it is: its chain is checked and no amount can be. Otherwise that is a finding.
    pub chain_only: bool,
    /// Entries that people make must name a principal. Off for books that were never behind a cluster.
    pub actors: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            head: None,
            findings_max: 20,
            chain_only: false,
            actors: true,
        }
    }
}

/// Checks a file. `progress` is called with the index of every entry and the last index announced, and says whether to go on.
///
/// # Errors
/// Only when the file cannot be read from the disk, or the check was broken off; everything in the file that is wrong is a finding.
pub fn verify(
    file: impl BufRead,
    options: &Options,
    mut progress: impl FnMut(u64, u64) -> bool,
) -> Result<Report, std::io::Error> {
    let mut reader = Reader::new(file);
    let mut check = Checker::new(options);
    loop {
        let next = reader.read_line();
        check.findings.line = reader.line();
        match next {
            Ok(Some((line, flaw))) => {
                if let Line::Entry(entry) = &line
                    && !progress(entry.index, check.announced)
                {
                    return Err(std::io::ErrorKind::Interrupted.into());
                }
                check.line(line, flaw);
            }
            Ok(None) => break,
            Err(FileError::Io(error)) => return Err(error),
            Err(error) => {
                check.findings.index = None;
                check.findings.kind = None;
                let what = error.to_string();
                check
                    .findings
                    .add(Check::File, what, "a line of the format", "something else");
                break;
            }
        }
    }
    Ok(check.report())
}

struct Checker<'a> {
    options: &'a Options,
    findings: Findings,
    books: Books,
    whole: bool,
    cluster: String,
    first: u64,
    announced: u64,
    index: u64,
    entries: u64,
    hash: [u8; 32],
    at_ms: u64,
    stated: Vec<i64>,
}

impl<'a> Checker<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            findings: Findings::new(options.findings_max),
            books: Books::default(),
            whole: true,
            cluster: String::new(),
            first: 0,
            announced: 0,
            index: 0,
            entries: 0,
            hash: [0; 32],
            at_ms: 0,
            stated: Vec::new(),
        }
    }

    fn line(&mut self, line: Line, flaw: Option<Flaw>) {
        self.findings.kind = None;
        self.findings.index = match &line {
            Line::Entry(entry) => Some(entry.index),
            _ => None,
        };
        if let Some(flaw) = flaw {
            let Flaw { field, found, expected } = flaw;
            self.findings
                .add(Check::File, format!("field {field}"), expected, found);
        }
        match line {
            Line::Header(header) => self.header(header),
            Line::Entry(entry) => self.entry(entry),
            Line::Trailer(trailer) => self.trailer(&trailer),
        }
    }

    fn header(&mut self, header: Header) {
        let before = hex::decode(&header.before).ok().and_then(|hash| hash.try_into().ok());
        match before {
            Some(before) => self.hash = before,
            None => self
                .findings
                .add(Check::File, "field before", "a hash in hex", &header.before),
        }
        if hex::decode(&header.cluster).map(|id| id.len()) != Ok(16) {
            self.findings
                .add(Check::File, "field cluster", "16 bytes in hex", &header.cluster);
        }
        self.whole = header.first == 1;
        if !self.whole && !self.options.chain_only {
            self.findings.add(
                Check::File,
                "first entry: amounts follow from the beginning of the journal only",
                1,
                header.first,
            );
        }
        if self.whole && self.hash != [0; 32] {
            self.findings.add(
                Check::Chain,
                "hash before entry 1",
                hex::encode([0; 32]),
                &header.before,
            );
        }
        self.cluster = header.cluster;
        self.first = header.first;
        self.index = header.first.saturating_sub(1);
        self.announced = header.last;
    }

    fn entry(&mut self, entry: EntryLine) {
        self.entries += 1;
        let next = self.index.wrapping_add(1);
        if entry.index != next {
            self.findings.add(Check::Index, "index of the line", next, entry.index);
        }
        self.index = next;
        let expected: [u8; 32] = Sha256::new()
            .chain_update(self.hash)
            .chain_update(&entry.record)
            .finalize()
            .into();
        let record = Record::read(&entry.record);
        if let Ok(record) = &record {
            self.findings.kind = rules::kind_name(record.kind);
        }
        if expected != entry.hash {
            self.findings
                .add(Check::Chain, "hash", hex::encode(expected), hex::encode(entry.hash));
        }
        // Going on from what the line says: one altered line is one finding.
        self.hash = entry.hash;
        match record {
            Ok(record) => self.record(&record),
            Err(damage) => self
                .findings
                .add(Check::Record, format!("record: {damage}"), "an entry", "damaged bytes"),
        }
    }

    fn record(&mut self, record: &Record) {
        if record.index != self.index {
            self.findings
                .add(Check::Index, "index of the record", self.index, record.index);
        }
        if record.at_ms < self.at_ms {
            self.findings
                .add(Check::Time, "time", format!("at least {}", self.at_ms), record.at_ms);
        }
        self.at_ms = self.at_ms.max(record.at_ms);
        if !self.whole {
            return;
        }
        if self.options.actors && record.actor == 0 && rules::is_personal(record.kind) {
            self.findings.add(Check::Actor, "actor", "a principal", "the cluster");
        }
        self.judge(record);
        self.post(&record.transfers);
    }

    fn judge(&mut self, record: &Record) {
        if record.index == 1 {
            self.books.closing.begun = record.at_ms;
        }
        let mut judge = Judge::new(record.at_ms, record.actor, &record.transfers, &mut self.findings);
        match rules::apply(&mut self.books, &mut judge, record.kind, Facts::of(record)) {
            Ok(()) => judge.compare(),
            Err(Malformed { what, expected, found }) => {
                self.findings.add(Check::Facts, what, expected, found);
            }
        }
    }

    // Balances follow what the entries say that moved.
    fn post(&mut self, transfers: &[Transfer]) {
        for transfer in transfers {
            let accounts = (Account::of_code(transfer.debit), Account::of_code(transfer.credit));
            let (Some(debit), Some(credit)) = accounts else {
                let found = format!("{} and {}", transfer.debit, transfer.credit);
                self.findings
                    .add(Check::Unit, "accounts of a transfer", "two that exist", found);
                continue;
            };
            let (one, other) = (self.books.unit_of(debit), self.books.unit_of(credit));
            let same = debit.is_grant() == credit.is_grant() && one == other && debit.is_grant() == one.is_some();
            if !same || debit == credit || !(1..=i64::MAX as u64).contains(&transfer.amount) {
                self.findings.add(
                    Check::Unit,
                    "transfer",
                    "an amount above 0 between two accounts of one unit",
                    format!("{} from {debit} to {credit}", transfer.amount),
                );
            }
            for (account, balance) in self.books.transfer(debit, credit, transfer.amount.into()) {
                self.findings
                    .add(Check::Balance, format!("balance of {account}"), "at least 0", balance);
            }
        }
        let imbalance = self.books.imbalance();
        if imbalance != [0; 3] {
            let [money, grants, units] = imbalance;
            let found = format!("{money} fen of money, {grants} fen of grants, {units} of unit-hours");
            self.findings.add(Check::Balance, "debits less credits", 0, found);
        }
    }

    fn trailer(&mut self, trailer: &Trailer) {
        let head = hex::encode(self.hash);
        if trailer.entries != self.entries {
            self.findings
                .add(Check::File, "number of entries", self.entries, trailer.entries);
        }
        if self.index != self.announced {
            self.findings.add(Check::File, "last entry", self.announced, self.index);
        }
        if trailer.head != head {
            self.findings.add(Check::Chain, "head", &head, &trailer.head);
        }
        if let Some(expected) = &self.options.head
            && !expected.eq_ignore_ascii_case(&head)
        {
            self.findings
                .add(Check::Chain, "head known from elsewhere", expected, &head);
        }
        self.stated = trailer.balances.iter().map(|row| row.balance).collect();
        if !self.whole {
            return;
        }
        let derived = balances(&self.books);
        let names = |row: &BalanceRow| (row.account.to_owned(), row.unit.clone());
        let expected: Vec<_> = derived.iter().map(names).collect();
        let found = trailer
            .balances
            .iter()
            .map(|row| (row.account.clone(), row.unit.clone()));
        if !found.eq(expected) {
            self.stated.clear();
            self.findings.add(
                Check::TrialBalance,
                "rows of the trial balance",
                format!("{} rows: every kind of accounts in every unit", derived.len()),
                format!("{} others", trailer.balances.len()),
            );
        }
        for (row, stated) in derived.iter().zip(&self.stated) {
            if row.derived != i128::from(*stated) {
                let what = format!("{} in {}", row.account, row.unit);
                self.findings.add(Check::TrialBalance, what, row.derived, stated);
            }
        }
    }

    fn report(self) -> Report {
        let mut balances = balances(&self.books);
        for (row, stated) in balances.iter_mut().zip(&self.stated) {
            row.stated = Some(*stated);
        }
        if !self.whole {
            balances.clear();
        }
        Report {
            agreed: self.findings.count == 0,
            whole: self.whole,
            balances,
            periods: periods(&self.books),
            cluster: self.cluster,
            first: self.first,
            last: self.index,
            head: hex::encode(self.hash),
            findings: self.findings.listed,
            findings_count: self.findings.count,
        }
    }
}

// The trial balance as it is derived.
fn balances(books: &Books) -> Vec<BalanceRow> {
    let row = |kind: usize, unit: String, derived: i128| BalanceRow {
        account: TABLE[kind].0,
        unit,
        side: if TABLE[kind].1 { "debit" } else { "credit" },
        derived,
        stated: None,
    };
    let money = (0..KINDS).map(|kind| row(kind, "fen".to_owned(), books.total(kind)));
    let units = books.unit_totals().iter().flat_map(|(class, totals)| {
        let grants = (0..KINDS).filter(|kind| TABLE[*kind].2);
        grants.map(move |kind| row(kind, unit_hours(class), totals[kind]))
    });
    money.chain(units).collect()
}
