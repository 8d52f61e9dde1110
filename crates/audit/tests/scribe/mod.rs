//! Writes journals by hand: entry by entry from plain numbers, chained and wrapped into a file. Knows no rule of money.

#![allow(dead_code, reason = "each test uses its part")]

use hesuan_audit::file::{Balance, EntryLine, FORMAT, Header, Writer};
use hesuan_audit::{ACCOUNTS, Finding, Options, Record, Report, Transfer, verify};
use sha2::{Digest, Sha256};

/// Midnight of 1 January 2026 in Shanghai.
pub(crate) const NEW_YEAR: u64 = 1_767_196_800_000;
pub(crate) const DAY: u64 = 86_400_000;
pub(crate) const HOUR: u64 = 3_600_000;

pub(crate) const TREASURY: u64 = 0;
pub(crate) fn uncalled(programme: u64) -> u64 {
    programme << 4 | 1
}
pub(crate) fn due(programme: u64, funder: u64) -> u64 {
    (programme << 4 | funder) << 4 | 2
}
pub(crate) fn unfunded(programme: u64) -> u64 {
    programme << 4 | 3
}
pub(crate) fn owes(org: u64) -> u64 {
    org << 4 | 4
}
pub(crate) fn budget(programme: u64) -> u64 {
    programme << 4 | 5
}
pub(crate) fn voucher(voucher: u64) -> u64 {
    voucher << 4 | 6
}
pub(crate) fn voucher_held(voucher: u64) -> u64 {
    voucher << 4 | 7
}
pub(crate) fn wallet(org: u64) -> u64 {
    org << 4 | 8
}
pub(crate) fn wallet_held(org: u64) -> u64 {
    org << 4 | 9
}
pub(crate) fn receivable(org: u64) -> u64 {
    org << 4 | 10
}
pub(crate) fn claim(org: u64) -> u64 {
    org << 4 | 11
}
pub(crate) fn recovery(programme: u64) -> u64 {
    programme << 4 | 12
}

/// A journal being written.
#[derive(Clone, Default)]
pub(crate) struct Scribe {
    pub(crate) records: Vec<Record>,
    pub(crate) at: u64,
    pub(crate) actor: u64,
}

impl Scribe {
    pub(crate) fn entry(&mut self, kind: u64, transfers: &[(u64, u64, u64)], facts: &[u64], texts: &[&str]) {
        let transfer = |(debit, credit, amount): &(u64, u64, u64)| Transfer {
            debit: *debit,
            credit: *credit,
            amount: *amount,
        };
        self.records.push(Record {
            index: self.records.len() as u64 + 1,
            at_ms: self.at,
            actor: self.actor,
            kind,
            transfers: transfers.iter().map(transfer).collect(),
            facts: facts.to_vec(),
            texts: texts.iter().map(ToString::to_string).collect(),
        });
    }

    /// The file, with the trial balance of its own transfers.
    pub(crate) fn file(&self) -> Vec<u8> {
        self.file_stating(&balances(&self.records))
    }

    /// The file with a trial balance from elsewhere.
    pub(crate) fn file_stating(&self, balances: &[i64]) -> Vec<u8> {
        let header = Header {
            format: FORMAT.to_owned(),
            cluster: "5a".repeat(16),
            first: self.records.first().map_or(1, |record| record.index),
            last: self.records.last().map_or(0, |record| record.index),
            before: "00".repeat(32),
        };
        let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
        let mut hash = [0; 32];
        for record in &self.records {
            let bytes = record.write();
            hash = Sha256::new().chain_update(hash).chain_update(&bytes).finalize().into();
            let line = EntryLine {
                index: record.index,
                record: bytes,
                hash,
            };
            writer.entry(&line).expect("memory takes everything");
        }
        let rows = ACCOUNTS.iter().zip(balances).map(|((account, ..), balance)| Balance {
            account: (*account).to_owned(),
            unit: "fen".to_owned(),
            balance: *balance,
        });
        writer.finish(rows.collect()).expect("memory takes everything")
    }
}

/// Sums of the transfers per kind of account.
pub(crate) fn balances(records: &[Record]) -> Vec<i64> {
    let mut sums = vec![0; ACCOUNTS.len()];
    for transfer in records.iter().flat_map(|record| &record.transfers) {
        for (code, sign) in [(transfer.debit, 1), (transfer.credit, -1)] {
            let kind = (code % 16) as usize;
            let Some((_, is_debit, _)) = ACCOUNTS.get(kind) else {
                continue;
            };
            sums[kind] += if *is_debit { sign } else { -sign } * transfer.amount as i64;
        }
    }
    sums
}

/// Checks a file.
pub(crate) fn checked(file: &[u8]) -> Report {
    let options = Options {
        findings_max: 200,
        ..Options::default()
    };
    verify(file, &options, |_, _| true).expect("memory can be read")
}

/// Insists that nothing is wrong.
pub(crate) fn agrees(file: &[u8]) -> Report {
    let report = checked(file);
    let findings: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    assert!(report.agreed, "{}", findings.join("\n"));
    report
}
