//! Reading files of records, plain or gzipped, with errors that name the place.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;

/// A line that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: u64,
    /// What stands there.
    pub given: String,
    /// What should.
    pub expected: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            given,
            expected,
        } = self;
        write!(f, "{}, line {line}: {given}; expected {expected}", file.display())
    }
}

impl std::error::Error for Malformed {}

/// Opens a file, unpacking it if it begins as gzip does.
///
/// # Errors
/// It cannot be read.
pub fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut file = BufReader::new(file);
    let start = file
        .fill_buf()
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// Lines of a file with their numbers. A line longer than `bytes_max` is malformed.
///
/// # Errors
/// Each line: it cannot be read, is no text, or is too long.
pub fn lines(path: &Path, bytes_max: u64) -> anyhow::Result<impl Iterator<Item = anyhow::Result<(u64, String)>>> {
    let mut reader = BufReader::new(open(path)?);
    let path = path.to_owned();
    let mut line = 0;
    let mut over = false;
    Ok(std::iter::from_fn(move || {
        if over {
            return None;
        }
        line += 1;
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(bytes_max + 1).read_until(b'\n', &mut bytes);
        let read = read.with_context(|| format!("{}, line {line}: cannot be read", path.display()));
        let malformed = |given: String, expected: String| Malformed {
            file: path.clone(),
            line,
            given,
            expected,
        };
        let text = match read {
            Ok(0) => return None,
            Ok(_) if bytes.len() as u64 > bytes_max => {
                Err(malformed(format!("a line of over {bytes_max} bytes"), "shorter lines".into()).into())
            }
            Ok(_) => String::from_utf8(bytes)
                .map(|text| (line, text.trim_end_matches(['\n', '\r']).to_owned()))
                .map_err(|_| malformed("bytes that are no UTF-8".into(), "text".into()).into()),
            Err(error) => Err(error),
        };
        over = text.is_err();
        Some(text)
    }))
}

/// Records of a CSV file with a header, by column name.
pub struct Table {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read>>,
    header: csv::StringRecord,
}

impl Table {
    /// Opens it and reads the header.
    ///
    /// # Errors
    /// It cannot be read, or lacks one of these columns.
    pub fn open(path: &Path, columns: &[&str]) -> anyhow::Result<Self> {
        let mut reader = csv::ReaderBuilder::new().from_reader(open(path)?);
        let header = reader.headers().map_err(|error| refused(path, &error))?.clone();
        if let Some(missing) = columns.iter().find(|name| !header.iter().any(|known| known == **name)) {
            let given: String = header.iter().collect::<Vec<_>>().join(",").chars().take(200).collect();
            return Err(Malformed {
                file: path.to_owned(),
                line: 1,
                given: format!("columns \"{given}\""),
                expected: format!("a header with the column {missing} (needed: {})", columns.join(",")),
            }
            .into());
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            header,
        })
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// It is no record of as many fields as the header.
    pub fn next_row(&mut self) -> anyhow::Result<Option<Row<'_>>> {
        let mut record = csv::StringRecord::new();
        match self.reader.read_record(&mut record) {
            Ok(true) => Ok(Some(Row { table: self, record })),
            Ok(false) => Ok(None),
            Err(error) => Err(refused(&self.path, &error)),
        }
    }
}

fn refused(path: &Path, error: &csv::Error) -> anyhow::Error {
    let line = error.position().map_or(1, csv::Position::line);
    let (given, expected) = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => (
            format!("{len} fields"),
            format!("{expected_len} fields, as in the header"),
        ),
        csv::ErrorKind::Utf8 { .. } => ("bytes that are no UTF-8".into(), "text".into()),
        csv::ErrorKind::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
            (error.to_string(), "a file that can be read to its end".into())
        }
        _ => (error.to_string(), "comma-separated values".into()),
    };
    Malformed {
        file: path.to_owned(),
        line,
        given,
        expected,
    }
    .into()
}

/// One record.
pub struct Row<'a> {
    table: &'a Table,
    record: csv::StringRecord,
}

impl Row<'_> {
    /// A column's text; empty if the file has no such column.
    #[must_use]
    pub fn text(&self, column: &str) -> &str {
        let place = self.table.header.iter().position(|known| known == column);
        place.and_then(|place| self.record.get(place)).unwrap_or("")
    }

    /// A column's whole number.
    ///
    /// # Errors
    /// It is none, or lies outside `min..=max`.
    pub fn number(&self, column: &str, min: u64, max: u64) -> Result<u64, Malformed> {
        let text = self.text(column);
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| self.malformed(column, text, &format!("a whole number from {min} to {max}")))
    }

    /// The error for a column of this record.
    #[must_use]
    pub fn malformed(&self, column: &str, given: &str, expected: &str) -> Malformed {
        let given: String = given.chars().take(80).collect();
        Malformed {
            file: self.table.path.clone(),
            line: self.record.position().map_or(0, csv::Position::line),
            given: format!("{column} is \"{given}\""),
            expected: expected.into(),
        }
    }
}
