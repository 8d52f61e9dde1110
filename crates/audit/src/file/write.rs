//! Writing a file, line by line as the entries come.

use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Balance, EntryLine, Header, Trailer};

/// Writes header, entries and trailer, and keeps nothing but a running hash.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    digest: Sha256,
    entries: u64,
    head: String,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(to: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            to,
            digest: Sha256::new(),
            entries: 0,
            head: header.before.clone(),
        };
        writer.line(header)?;
        Ok(writer)
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn entry(&mut self, entry: &EntryLine) -> io::Result<()> {
        self.entries += 1;
        self.head = hex::encode(entry.hash);
        self.line(entry)
    }

    /// Writes the trailer and gives back what was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, balances: Vec<Balance>) -> io::Result<W> {
        let trailer = Trailer {
            entries: self.entries,
            head: std::mem::take(&mut self.head),
            balances,
            sha256: hex::encode(std::mem::take(&mut self.digest).finalize()),
        };
        self.line(&trailer)?;
        Ok(self.to)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.digest.update(&text);
        self.to.write_all(&text)
    }
}
