//! `hesuan.internal.v1.Envelope`: what the data of a normal Raft entry is. The level stands before the body and is looked at
//! first, because prost drops fields and variants it does not know without a word.

use bytes::Bytes;
use hesuan_engine::types::Timestamp;
use prost::Message;

use crate::internal::v1::{Bundle, Envelope, Item};

/// Why the data of an entry cannot be applied. Either stops the replica: skipping an entry would part it from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// Written for a newer release.
    Level {
        /// What the entry asks for.
        needed: u32,
        /// The highest that is known here.
        known: u32,
    },
    /// No envelope or no bundle; the text is the decoder's.
    Malformed(String),
}

impl std::fmt::Display for EntryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EntryError::Level { needed, known } => {
                write!(
                    f,
                    "the entry needs level {needed} and this release knows levels up to {known}: install a newer release"
                )
            }
            EntryError::Malformed(text) => write!(f, "the entry cannot be decoded: {text}"),
        }
    }
}

impl std::error::Error for EntryError {}

/// The data of an entry.
#[must_use]
pub fn encode_entry(level: u32, at: Timestamp, items: Vec<Item>) -> Bytes {
    let body = Bundle { at_ms: at.0, items }.encode_to_vec().into();
    Envelope { level, body }.encode_to_vec().into()
}

/// The bundle of an entry whose level is at most `level_max`. Commands are slices of `data` and stay encoded.
///
/// # Errors
/// A higher level, or bytes that are no entry.
pub fn decode_entry(data: Bytes, level_max: u32) -> Result<Bundle, EntryError> {
    let malformed = |error: prost::DecodeError| EntryError::Malformed(error.to_string());
    let envelope = Envelope::decode(data).map_err(malformed)?;
    if envelope.level > level_max {
        return Err(EntryError::Level {
            needed: envelope.level,
            known: level_max,
        });
    }
    Bundle::decode(envelope.body).map_err(malformed)
}
