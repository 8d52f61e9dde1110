//! The journal: one entry per change of the books, numbered without gaps and chained by SHA-256. An entry is one prost record,
//! so that anything that reads protobuf can check it; balances are the fold of its transfers.

use prost::Message;
use prost::encoding::{WireType, encode_key};
use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::posting::Totals;
use crate::types::{Stamp, Timestamp};

/// What an entry is about. The number is in the record; the meaning of an entry's `facts` and `texts` is given per kind. Together they
/// say everything that the entry's transfers follow from, so that whoever has the journal can derive them again.
///
/// A *slice* is: from ms, until ms, stack cap, list price, held in the wallet, per line (milli-fen per unit-hour, sheet), number of legs,
/// per leg (voucher, programme, revision, agreement, agreement version, redemption, fiscal year, cover in ms from the slice's beginning,
/// amount, grant taken, per line its rate). A *cell* is: from ms, to ms, period, list price, paid from the wallet, per leg of its slice
/// (amount, grant taken). Cells take the open slices of their hold in order; a cell closes its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum EntryKind {
    /// facts: org, kind, region, group; texts: name, control group, credit code.
    CreateOrg = 1,
    /// facts: org; texts: reference.
    TopUp = 2,
    /// facts: org; texts: reference.
    Withdraw = 3,
    /// facts: site, region, provider.
    RegisterSite = 4,
    /// facts: site, version, effective from, then each price; texts: the classes.
    SetPrices = 5,
    /// facts: programme, region, budget, 1 if committed at hold, 1 if redeemed by the holder, fiscal year or 0, each funder's share; texts: name,
    /// class of unit-hours or nothing, terms, funders.
    CreateProgramme = 6,
    /// facts: programme, revision, effective from, 1 if immediate; texts: terms.
    ReviseProgramme = 7,
    /// facts: programme, new budget.
    SetBudget = 8,
    /// facts: agreement, version, issuer's region, provider's region or 0, rate, cap per job or 0, from, until, sites; texts: classes.
    CreateAgreement = 9,
    /// facts: agreement, end.
    EndAgreement = 10,
    /// facts: voucher, programme, holder, face, from, until; texts: code.
    IssueVoucher = 11,
    /// facts: voucher, holder.
    RedeemVoucher = 12,
    /// facts: voucher; texts: reason.
    SuspendVoucher = 13,
    /// facts: voucher; texts: reason.
    ResumeVoucher = 14,
    /// facts: voucher, 1 if for fraud, money to be recovered; texts: reason.
    RevokeVoucher = 15,
    /// facts: voucher.
    ExpireVoucher = 16,
    /// facts: hold, job, task, attempt, payer, site, provider, time limit, number of lines, milli-units of each, number of slices, the slices; texts:
    /// classes of the lines.
    Hold = 17,
    /// As [`EntryKind::Hold`], with the quote in place of the hold, its end in place of the job, and task and attempt 0.
    HoldQuote = 18,
    /// facts: hold, job, task, attempt, quote, time limit. Slices after the limit are released, the last one before it is cut there.
    TakeUpQuote = 19,
    /// facts: hold, wall time, number of cells, the cells, number of cells of earlier entries that end after the wall time, per such cell (its place in
    /// its hold from 0, the period the difference is booked in, to ms, list price, paid from the wallet, per leg (amount, grant taken)): they are counted anew, as if
    /// their slices had been captured now. What is still held is released.
    Settle = 20,
    /// facts: hold, number of cells of earlier entries, per cell as in [`EntryKind::Settle`]: nothing was used. What is still held is released.
    Release = 21,
    /// facts: quote.
    ReleaseQuote = 22,
    /// facts: job, task, attempt, number of cells, per cell (its place in its hold from 0, its period, the period this is booked in, back in all, back
    /// to the wallet, per leg (amount, grant, 1 if back on the voucher)); texts: reason.
    Refund = 23,
    /// facts: hold, number of cells (1), the cell: a slice is over, the hold goes on. What the slice holds beside the cell stays held until the hold ends.
    Capture = 24,
    /// A cover ended under an open hold: a slice that is captured ends there and holds no more than its cell. facts: hold, the instant in ms from the hold's beginning, number of cells, the cells, new time limit, number of slices, the
    /// slices, which replace all that were open.
    Repin = 25,
    /// facts: hold, new time limit, number of slices, the slices added.
    Extend = 26,
    /// facts: org, region, group; texts: control group.
    UpdateOrg = 27,
    /// facts: period, its end. The cluster writes it when a month is over, a principal when it ends the period earlier.
    EndPeriod = 28,
    /// facts: period, number of rows, rows, after those of the entries of [`EntryKind::PeriodRows`] before it; a row is of, programme, agreement, site, payee region, captured, refunded, captures, refunds,
    /// number of funders, net of each (zigzag).
    ClosePeriod = 29,
    /// facts: claim, org, programme, amount.
    FileClaim = 30,
    /// facts: claim, approved 0 or 1; texts: reason.
    ReviewClaim = 31,
    /// facts: claim; texts: reference.
    PayClaim = 32,
    /// facts: period, provider.
    ReviewSettlement = 33,
    /// facts: period, provider, cash; texts: reference.
    PaySettlement = 34,
    /// facts: programme, the funder's place from 0, amount; texts: reference.
    PayIn = 35,
    /// facts: org, amount; texts: reference.
    Collect = 36,
    /// facts: programme, amount; texts: reference.
    RepayFund = 37,
    /// The last record of a job left the settlement window, and with it what it had used of a cap. facts: job, programme or 0, agreement or 0.
    ForgetJobCap = 38,
    /// Rows of a period that the entries after this one close, when they are too many for one. facts: period, number of rows, rows.
    PeriodRows = 39,
}

/// An entry as it is written: its record and its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// From 1, without gaps.
    pub index: u64,
    /// The record, encoded.
    pub record: Box<[u8]>,
    /// SHA-256 of the previous entry's hash followed by `record`; 32 zero bytes stand before the first.
    pub hash: [u8; 32],
}

/// An entry as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub index: u64,
    /// When, and who asked.
    pub stamp: Stamp,
    /// An [`EntryKind`] by its number.
    pub kind: u32,
    /// Debit, credit, amount: fen, or of grant accounts in the programme's denomination.
    pub transfers: Vec<(Account, Account, i64)>,
    /// By kind.
    pub facts: Vec<u64>,
    /// By kind.
    pub texts: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    at_ms: u64,
    #[prost(uint32, tag = "3")]
    actor: u32,
    #[prost(uint32, tag = "4")]
    kind: u32,
    // Triples of debit account, credit account, amount.
    #[prost(uint64, repeated, tag = "5")]
    transfers: Vec<u64>,
    #[prost(uint64, repeated, tag = "6")]
    facts: Vec<u64>,
    #[prost(string, repeated, tag = "7")]
    texts: Vec<String>,
}

/// An entry and its hash in one record, for files.
#[derive(Clone, PartialEq, Message)]
struct StoredRecord {
    #[prost(bytes = "vec", tag = "1")]
    record: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    hash: Vec<u8>,
}

impl JournalEntry {
    /// Record and hash as one protobuf message (fields 1 and 2), for the archive.
    pub fn encode(&self) -> Vec<u8> {
        StoredRecord {
            record: self.record.to_vec(),
            hash: self.hash.to_vec(),
        }
        .encode_to_vec()
    }

    /// The inverse of [`JournalEntry::encode`]; `None` when the bytes are not an entry. Does not check the hash.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = StoredRecord::decode(bytes).ok()?;
        let record = EntryRecord::decode(&*stored.record).ok()?;
        let hash = stored.hash.try_into().ok()?;
        Some(Self {
            index: record.index,
            record: stored.record.into(),
            hash,
        })
    }

    /// What the entry says; `None` when its record is damaged.
    pub fn read(&self) -> Option<Entry> {
        let record = EntryRecord::decode(&*self.record).ok()?;
        let transfers = record.transfers.chunks(3).map(|triple| {
            let [debit, credit, amount] = *triple else { return None };
            Some((
                Account::from_code(debit)?,
                Account::from_code(credit)?,
                i64::try_from(amount).ok()?,
            ))
        });
        Some(Entry {
            index: record.index,
            stamp: Stamp {
                at: Timestamp(record.at_ms),
                actor: record.actor,
            },
            kind: record.kind,
            transfers: transfers.collect::<Option<_>>()?,
            facts: record.facts,
            texts: record.texts,
        })
    }

    /// Whether the entry follows another whose index and hash are given (0 and zeros for the first).
    pub fn follows(&self, index: u64, hash: &[u8; 32]) -> bool {
        self.index == index + 1
            && self.hash == chained(hash, &self.record)
            && self.read().is_some_and(|entry| entry.index == self.index)
    }
}

/// The journal's end: what the chain hangs on, the entries nobody has taken yet, and what all its transfers add up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) index: u64,
    pub(crate) head: [u8; 32],
    pub(crate) pending: Vec<JournalEntry>,
    pub(crate) totals: Totals,
    draft: Draft,
}

/// The entry being written, field by field as it will stand in the record: every change of the books passes through here, so
/// the bytes are written once and nothing but the record is allocated. Reads back as [`EntryRecord`].
#[derive(Clone, Debug, Default)]
struct Draft {
    // All of it, put together.
    record: Vec<u8>,
    transfers: Vec<u8>,
    facts: Vec<u8>,
    texts: Vec<u8>,
}

impl Journal {
    pub(crate) fn restore(index: u64, head: [u8; 32], pending: Vec<JournalEntry>) -> Self {
        Self {
            index,
            head,
            pending,
            ..Self::default()
        }
    }

    /// A transfer as the entry tells it.
    #[inline]
    pub(crate) fn note(&mut self, debit: Account, credit: Account, amount: i64) {
        for number in [debit.code(), credit.code(), amount as u64] {
            put(number, &mut self.draft.transfers);
        }
    }

    #[inline]
    pub(crate) fn fact(&mut self, fact: impl Into<u64>) {
        put(fact.into(), &mut self.draft.facts);
    }

    pub(crate) fn facts(&mut self, facts: impl IntoIterator<Item = u64>) {
        for fact in facts {
            put(fact, &mut self.draft.facts);
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        encode_field(7, text.as_bytes(), &mut self.draft.texts);
    }

    /// Closes the draft: numbers it, chains it, and keeps it until taken.
    pub(crate) fn write(&mut self, kind: EntryKind, stamp: Stamp) {
        self.index += 1;
        let Draft {
            record,
            transfers,
            facts,
            texts,
        } = &mut self.draft;
        record.clear();
        for (tag, number) in [
            (1, self.index),
            (2, stamp.at.0),
            (3, u64::from(stamp.actor)),
            (4, kind as u64),
        ] {
            if number > 0 {
                encode_key(tag, WireType::Varint, record);
                put(number, record);
            }
        }
        for (tag, packed) in [(5, transfers), (6, facts)] {
            if !packed.is_empty() {
                encode_field(tag, packed, record);
                packed.clear();
            }
        }
        record.append(texts);
        self.head = chained(&self.head, record);
        self.pending.push(JournalEntry {
            index: self.index,
            record: Box::from(&**record),
            hash: self.head,
        });
    }
}

fn put(mut number: u64, out: &mut Vec<u8>) {
    // Most numbers of an entry are a byte or two long.
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn encode_field(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn chained(previous: &[u8; 32], record: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(previous)
        .chain_update(record)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::OrgId;

    #[test]
    fn an_altered_byte_breaks_the_chain() {
        let mut journal = Journal::default();
        for n in 1..=3u64 {
            journal.note(Account::Treasury, Account::Wallet(OrgId(1)), n as i64 * 100);
            journal.fact(1u64);
            journal.text("invoice");
            journal.write(
                EntryKind::TopUp,
                Stamp {
                    at: Timestamp(n),
                    actor: 9,
                },
            );
        }
        let mut entries = std::mem::take(&mut journal.pending);
        let holds = |entries: &[JournalEntry]| {
            let mut last = (0, [0; 32]);
            entries.iter().all(|entry| {
                let follows = entry.follows(last.0, &last.1);
                last = (entry.index, entry.hash);
                follows
            })
        };
        assert!(holds(&entries));
        let mut bytes = entries[0].hash.to_vec();
        bytes.extend_from_slice(&entries[1].record);
        assert_eq!(entries[1].hash.as_slice(), Sha256::digest(&bytes).as_slice());
        let read = entries[1].read().expect("written above");
        assert_eq!(
            (read.index, read.stamp.actor, read.kind),
            (2, 9, EntryKind::TopUp as u32)
        );
        assert_eq!(read.transfers, [(Account::Treasury, Account::Wallet(OrgId(1)), 200)]);
        assert_eq!((read.facts, read.texts), (vec![1], vec!["invoice".to_string()]));
        let record = EntryRecord::decode(&*entries[1].record).expect("written above");
        assert_eq!(
            record.encode_to_vec(),
            entries[1].record.to_vec(),
            "the record is written as prost would write it"
        );
        assert_eq!(JournalEntry::decode(&entries[2].encode()).as_ref(), Some(&entries[2]));
        entries[1].record[3] ^= 1;
        assert!(!holds(&entries));
    }
}
