//! The file that an auditor is given: text, one JSON object a line. A header, every journal entry, a trailer.
//!
//! ```text
//! {"format":"hesuan-journal-1","cluster":"…","first":1,"last":2,"before":"00…"}
//! {"index":1,"record":"0801…","hash":"ab…"}
//! {"index":2,"record":"0802…","hash":"cd…"}
//! {"entries":2,"head":"cd…","balances":[{"account":"treasury","unit":"fen","balance":100}, …],"sha256":"ef…"}
//! ```
//!
//! `record` is the entry's protobuf record, `hash` the SHA-256 of the hash before it followed by the record. `before` is the hash before the
//! first entry: 32 zero bytes when that is entry 1. `balances` is the trial balance as the cluster stated it when the head was the last
//! entry. `sha256` is that of all lines before the trailer. There is one way to write each line (no spaces, fields in this order, hex in
//! lower case), and the reader refuses every other, so that there is no byte in the file that nothing depends on.

mod read;
mod write;

use serde::{Deserialize, Serialize};

pub use read::{FileError, Flaw, Line, Reader};
pub use write::Writer;

/// What the header says of the format; a later format says something else.
pub const FORMAT: &str = "hesuan-journal-1";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The cluster's id, 16 bytes in hex.
    pub cluster: String,
    /// Index of the first entry.
    pub first: u64,
    /// Index of the last entry: the head when the export began.
    pub last: u64,
    /// Hash before the first entry, in hex.
    pub before: String,
}

/// One journal entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryLine {
    /// As in the record.
    pub index: u64,
    /// The protobuf record, in hex.
    #[serde(with = "hex::serde")]
    pub record: Vec<u8>,
    /// SHA-256 of the hash before and the record, in hex.
    #[serde(with = "hex::serde")]
    pub hash: [u8; 32],
}

/// A row of the trial balance: first all kinds of accounts in fen, then by class, in order of class, the five kinds that are kept in a
/// programme's denomination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// A kind of accounts, as in [`crate::ACCOUNTS`].
    pub account: String,
    /// `fen`, or `milli-unit-seconds of CLASS` for what is granted in unit-hours.
    pub unit: String,
    /// Sum of the balances of this kind; never negative in whole books.
    pub balance: i64,
}

/// The unit of a class of unit-hours.
#[must_use]
pub fn unit_hours(class: &str) -> String {
    format!("milli-unit-seconds of {class}")
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// How many entries stand before.
    pub entries: u64,
    /// Hash of the last one, in hex.
    pub head: String,
    /// The trial balance at the head, as the cluster states it.
    pub balances: Vec<Balance>,
    /// SHA-256 of all lines before this one, in hex.
    pub sha256: String,
}
