//! Reading a file, line by line, each held against the one way to write it.

use std::io::{self, BufRead};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{EntryLine, FORMAT, Header, Trailer};

/// The longest line that is read: an entry that closes a large period is some megabytes.
const LINE_BYTES_MAX: u64 = 1 << 28;

/// A line with its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The first one.
    Header(Header),
    /// One of those between.
    Entry(EntryLine),
    /// The last one.
    Trailer(Trailer),
}

/// A line is not written as it must be, though it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The field that differs first.
    pub field: String,
    /// What stands there.
    pub found: String,
    /// What would have to.
    pub expected: String,
}

/// The file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The world failed.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line cannot be understood.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads header, entries and trailer.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    digest: Sha256,
    line: u64,
    buffer: Vec<u8>,
    over: bool,
}

impl<R: BufRead> Reader<R> {
    /// Begins at the first line.
    pub fn new(from: R) -> Self {
        Self {
            from,
            digest: Sha256::new(),
            line: 0,
            buffer: Vec::new(),
            over: false,
        }
    }

    /// Number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next line and what is wrong with its spelling; `None` after the trailer, when nothing follows it.
    ///
    /// # Errors
    /// When it cannot be read or understood, when the file ends without a trailer, or goes on after it.
    pub fn read_line(&mut self) -> Result<Option<(Line, Option<Flaw>)>, FileError> {
        self.buffer.clear();
        let mut limited = io::Read::take(&mut self.from, LINE_BYTES_MAX);
        limited.read_until(b'\n', &mut self.buffer)?;
        if self.over && self.buffer.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if self.over {
            return Err(self.wrong("the file goes on after its trailer"));
        }
        if self.buffer.is_empty() {
            return Err(self.wrong("the file ends without a trailer: it is cut off"));
        }
        if self.buffer.pop_if(|last| *last == b'\n').is_none() {
            return Err(self.wrong("it does not end with a newline: it is cut off, or longer than any line may be"));
        }
        let (line, flaw) = if self.line == 1 {
            let (header, flaw) = self.read::<Header>()?;
            if header.format != FORMAT {
                let what = format!("format is \"{}\", this program reads \"{FORMAT}\"", header.format);
                return Err(self.wrong(&what));
            }
            (Line::Header(header), flaw)
        } else if self.buffer.starts_with(b"{\"entries\"") {
            self.over = true;
            let (trailer, flaw) = self.read::<Trailer>()?;
            let sha256 = hex::encode(self.digest.clone().finalize());
            let flaw = flaw.or((trailer.sha256 != sha256).then(|| Flaw {
                field: "sha256".to_owned(),
                found: trailer.sha256.clone(),
                expected: sha256,
            }));
            (Line::Trailer(trailer), flaw)
        } else {
            let (entry, flaw) = self.read::<EntryLine>()?;
            (Line::Entry(entry), flaw)
        };
        self.digest.update(&self.buffer);
        self.digest.update(b"\n");
        Ok(Some((line, flaw)))
    }

    fn read<T: DeserializeOwned + Serialize>(&self) -> Result<(T, Option<Flaw>), FileError> {
        let read: T = serde_json::from_slice(&self.buffer).map_err(|error| self.wrong(&format!("{error}")))?;
        let canonical = serde_json::to_vec(&read).map_err(|error| self.wrong(&format!("{error}")))?;
        Ok((read, flaw(&self.buffer, &canonical)))
    }

    fn wrong(&self, what: &str) -> FileError {
        FileError::Line {
            line: self.line,
            what: what.to_owned(),
        }
    }
}

// The first place where a line differs from what it should be, with some of what stands around it.
fn flaw(found: &[u8], expected: &[u8]) -> Option<Flaw> {
    let longer = found.len().max(expected.len());
    let at = (0..longer).find(|at| found.get(*at) != expected.get(*at))?;
    let part = |bytes: &[u8]| {
        let around = bytes.get(at.saturating_sub(8)..(at + 8).min(bytes.len()));
        String::from_utf8_lossy(around.unwrap_or_default()).into_owned()
    };
    // A value is written between the key before it and the next comma; the last key that has begun is the field.
    let before = String::from_utf8_lossy(&expected[..at.min(expected.len())]).into_owned();
    let keys = before.rsplit(['{', ',']).next().unwrap_or_default();
    let field = keys.split('"').nth(1).unwrap_or_default();
    Some(Flaw {
        field: field.to_owned(),
        found: part(found),
        expected: part(expected),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Balance, Writer};

    fn file() -> Vec<u8> {
        let header = Header {
            format: FORMAT.to_owned(),
            cluster: "00".repeat(16),
            first: 1,
            last: 1,
            before: "00".repeat(32),
        };
        let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
        let entry = EntryLine {
            index: 1,
            record: vec![8, 0xab],
            hash: [0xcd; 32],
        };
        writer.entry(&entry).expect("memory takes everything");
        let balance = Balance {
            account: "treasury".to_owned(),
            unit: "fen".to_owned(),
            balance: 100,
        };
        writer.finish(vec![balance]).expect("memory takes everything")
    }

    fn read(bytes: &[u8]) -> Result<Vec<Option<Flaw>>, String> {
        let mut reader = Reader::new(bytes);
        let mut flaws = Vec::new();
        while let Some((_, flaw)) = reader.read_line().map_err(|error| error.to_string())? {
            flaws.push(flaw);
        }
        Ok(flaws)
    }

    fn replaced(what: &str, by: &str) -> Result<Vec<Option<Flaw>>, String> {
        let text = String::from_utf8(file()).expect("it is text");
        assert!(text.contains(what), "{text}");
        read(text.replacen(what, by, 1).as_bytes())
    }

    #[test]
    fn what_was_written_reads_back() {
        assert_eq!(read(&file()), Ok(vec![None, None, None]));
    }

    #[test]
    fn another_spelling_of_the_same_is_named_by_line_and_field() {
        let flaws = replaced("08ab", "08AB").expect("it can be read");
        assert_eq!(flaws[1].as_ref().map(|flaw| flaw.field.as_str()), Some("record"));
        let flaws = replaced("\"index\":1", "\"index\": 1").expect("it can be read");
        assert_eq!(flaws[1].as_ref().map(|flaw| flaw.field.as_str()), Some("index"));
        assert_eq!(
            flaws[2].as_ref().map(|flaw| flaw.field.as_str()),
            Some("sha256"),
            "the lines before are not what they were"
        );
    }

    #[test]
    fn no_byte_can_be_altered_unseen() {
        let whole = file();
        for at in 0..whole.len() {
            for bit in [0, 1, 5, 7] {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let clean = read(&bytes).is_ok_and(|flaws| flaws.iter().all(Option::is_none));
                // The trailer's own figures are held against the entries by the verifier, not by the reader.
                let own = whole
                    .windows(10)
                    .position(|part| part == b"{\"entries\"")
                    .expect("it has one");
                let digest = whole
                    .windows(8)
                    .position(|part| part == b"\"sha256\"")
                    .expect("it has one");
                assert!(!clean || (own..digest).contains(&at), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_or_goes_on_says_so() {
        let whole = file();
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let cut = read(&lines[..2].concat()).expect_err("the trailer is gone");
        assert_eq!(cut, "line 3: the file ends without a trailer: it is cut off");
        let more = read(&[lines[0], lines[1], lines[2], lines[1]].concat()).expect_err("an entry follows");
        assert_eq!(more, "line 4: the file goes on after its trailer");
        let half = read(&whole[..whole.len() - 1]).expect_err("the last newline is gone");
        assert!(half.starts_with("line 3: it does not end with a newline"), "{half}");
        assert!(replaced("hesuan-journal-1", "hesuan-journal-2").is_err());
    }
}
