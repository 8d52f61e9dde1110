//! The books as bytes: a stream of length-delimited records in a fixed order, cut into chunks. Equal books give equal bytes.
//!
//! Indexes and sums are not written; they are rebuilt from the tables.

mod closing;
mod load;
mod records;
mod store;

use std::fmt;

use prost::Message;

use self::load::Loader;
use self::records::{EndRecord, EntryRecord, GroupUseRecord, Header, NamedWeight, Record, Table};
use crate::ledger::Ledger;

/// No chunk is larger.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;

const VERSION: u32 = 2;

/// Why bytes are not a snapshot of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// A record cannot be decoded.
    Damaged {
        /// Its place in the stream, from 0.
        record: u64,
    },
    /// A record decodes, but what it says is impossible there.
    Impossible {
        /// Its place in the stream, from 0.
        record: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It was written by a release that wrote another version.
    OtherVersion {
        /// The version found.
        version: u32,
    },
    /// It ends too early.
    CutShort,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Damaged { record } => write!(f, "record {record} of the ledger snapshot is damaged"),
            SnapshotError::Impossible { record, what } => write!(f, "record {record} of the ledger snapshot: {what}"),
            SnapshotError::OtherVersion { version } => {
                write!(
                    f,
                    "the ledger snapshot has version {version}, this release reads {VERSION}"
                )
            }
            SnapshotError::CutShort => write!(f, "the ledger snapshot ends too early"),
        }
    }
}

impl std::error::Error for SnapshotError {}

struct Writer<'a> {
    sink: &'a mut dyn FnMut(&[u8]),
    buffer: Vec<u8>,
    records: u64,
}

impl Writer<'_> {
    fn write(&mut self, table: Table) {
        let record = Record { table: Some(table) };
        record
            .encode_length_delimited(&mut self.buffer)
            .expect("a vector takes any number of bytes");
        self.records += 1;
        let mut cut = 0;
        while self.buffer.len() - cut >= CHUNK_BYTES_MAX {
            (self.sink)(&self.buffer[cut..cut + CHUNK_BYTES_MAX]);
            cut += CHUNK_BYTES_MAX;
        }
        self.buffer.drain(..cut);
    }

    fn finish(mut self) {
        let records = self.records;
        self.write(Table::End(EndRecord { records }));
        if !self.buffer.is_empty() {
            (self.sink)(&self.buffer);
        }
    }
}

impl Ledger {
    /// Writes the books in chunks of at most 32 KiB. A chunk may end inside a record; only all of them in order mean something.
    pub fn encode_snapshot(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut writer = Writer {
            sink,
            buffer: Vec::with_capacity(2 * CHUNK_BYTES_MAX),
            records: 0,
        };
        writer.write(Table::Header(self.header()));
        for (id, group) in self.groups.iter() {
            let (name, weight) = (group.name.to_string(), id as u32);
            writer.write(Table::Group(NamedWeight { name, weight }));
        }
        for (_, org) in self.orgs.iter() {
            writer.write(Table::Org(org.into()));
        }
        for (id, site) in self.sites.iter() {
            writer.write(Table::Site(store::site_record(*id, site)));
        }
        for (_, programme) in self.programmes.iter() {
            writer.write(Table::Programme(programme.into()));
        }
        for (_, agreement) in self.agreements.iter() {
            writer.write(Table::Agreement(agreement.into()));
        }
        for (_, voucher) in self.vouchers.iter() {
            writer.write(Table::Voucher(voucher.into()));
        }
        for (id, quote) in self.quotes.iter() {
            writer.write(Table::Quote(store::quote_record(id, quote)));
        }
        for (id, hold) in self.holds.iter() {
            writer.write(Table::Hold(store::hold_record(id, hold)));
        }
        for (id, capture) in self.captures.iter() {
            writer.write(Table::Capture(store::capture_record(id, capture)));
        }
        for ((programme, group, year), used) in self.group_uses() {
            let (programme, group, used) = (programme.0, group.0, used.0);
            writer.write(Table::GroupUse(GroupUseRecord {
                programme,
                group,
                year,
                used,
            }));
        }
        for ((job, cap), entry) in self.job_use.iter() {
            writer.write(Table::JobUse(store::job_use_record(*job, *cap, entry)));
        }
        for sweep in &self.sweeps.queue {
            writer.write(Table::Sweep(store::sweep_record(sweep)));
        }
        for (_, period) in self.periods.iter() {
            writer.write(Table::Period(closing::period_record(period)));
        }
        for (key, tally) in self.tallies.iter() {
            writer.write(Table::Tally(closing::tally_record(key, tally)));
        }
        for (key, totals) in self.holder_totals.iter() {
            writer.write(Table::HolderTotals(closing::holder_totals_record(key, totals)));
        }
        for (_, settlement) in self.settlements.iter() {
            writer.write(Table::Settlement(closing::settlement_record(settlement)));
        }
        for (_, claim) in self.claims.iter() {
            writer.write(Table::Claim(closing::claim_record(claim)));
        }
        for (key, claimable) in self.claimable.iter() {
            writer.write(Table::Claimable(closing::claimable_record(*key, claimable)));
        }
        for (key, account) in self.funder_accounts.iter() {
            writer.write(Table::FunderAccount(closing::funder_record(*key, account)));
        }
        for (provider, account) in self.provider_accounts.iter() {
            writer.write(Table::ProviderAccount(closing::provider_record(*provider, account)));
        }
        for entry in &self.journal.pending {
            let (record, hash) = (entry.record.to_vec(), entry.hash.to_vec());
            writer.write(Table::Entry(EntryRecord {
                index: entry.index,
                record,
                hash,
            }));
        }
        writer.finish();
    }

    /// Reads the chunks of [`Ledger::encode_snapshot`], in order; where they are cut does not matter.
    ///
    /// # Errors
    /// When the bytes are damaged, cut short, contradict themselves, or come from a newer release.
    pub fn decode_snapshot(chunks: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Ledger, SnapshotError> {
        let mut loader = Loader::default();
        let mut buffer: Vec<u8> = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk.as_ref());
            let mut rest = &buffer[..];
            while let Some((record, tail)) = next_record(rest, loader.records())? {
                loader.load(record)?;
                rest = tail;
            }
            let used = buffer.len() - rest.len();
            buffer.drain(..used);
        }
        if !buffer.is_empty() {
            return Err(SnapshotError::CutShort);
        }
        loader.finish()
    }

    fn header(&self) -> Header {
        Header {
            version: VERSION,
            time_ms: self.time.0,
            treasury: self.treasury.0,
            journal_index: self.journal.index,
            journal_head: self.journal.head.to_vec(),
            window_keep_ms: self.window.keep_ms,
            window_count_max: self.window.count_max,
            month_end: self.sweeps.month_end.0,
            next_ids: vec![
                self.quotes.next_id(),
                self.holds.next_id(),
                self.captures.next_id(),
                self.claims.next_id(),
            ],
        }
    }
}

fn next_record(bytes: &[u8], number: u64) -> Result<Option<(Record, &[u8])>, SnapshotError> {
    let damaged = SnapshotError::Damaged { record: number };
    let mut rest = bytes;
    let Ok(length) = prost::decode_length_delimiter(&mut rest) else {
        // A length is at most ten bytes: with fewer at hand the next chunk may bring the others.
        return if bytes.len() < 10 { Ok(None) } else { Err(damaged) };
    };
    if rest.len() < length {
        return Ok(None);
    }
    let (record, tail) = rest.split_at(length);
    Ok(Some((Record::decode(record).map_err(|_| damaged)?, tail)))
}
