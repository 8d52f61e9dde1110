//! Trace files line by line, plain or gzip, and errors that name the line.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use flate2::read::MultiGzDecoder;

/// The longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// One line of a trace, with what an error about it must say.
pub struct Line<'a> {
    file: &'a str,
    /// From 1.
    pub number: usize,
    /// Without its end.
    pub text: &'a str,
}

impl Line<'_> {
    /// Says what is wrong with this line.
    #[must_use]
    pub fn error(&self, what: &str, given: impl Display, expected: impl Display) -> anyhow::Error {
        anyhow!(
            "{}:{}: {what}: given {given}, expected {expected}",
            self.file,
            self.number
        )
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// It is not one.
    pub fn integer(&self, what: &str, given: &str, min: i64, max: i64) -> anyhow::Result<i64> {
        let number = given.parse::<i64>().ok();
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.error(what, quoted(given), format_args!("a whole number from {min} to {max}")))
    }
}

/// Cut short: a line of rubbish may be long.
fn quoted(given: &str) -> String {
    let mut short: String = given.chars().take(40).collect();
    if short.len() < given.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// Calls `take` with each line of a file.
///
/// # Errors
/// The file cannot be read, is no text, has an overlong line, or `take` refuses one.
pub fn each(path: &Path, mut take: impl FnMut(&Line<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name}: cannot be opened"))?;
    let mut file = BufReader::new(file);
    let start = file.fill_buf().with_context(|| format!("{name}: cannot be read"))?;
    let mut reader: Box<dyn BufRead> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    };
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        if read.with_context(|| format!("{name}:{number}: cannot be read (is the file cut off?)"))? == 0 {
            break;
        }
        if bytes.len() as u64 == LINE_BYTES_MAX {
            bail!("{name}:{number}: given a line of more than {LINE_BYTES_MAX} bytes, expected a shorter one");
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            bail!("{name}:{number}: given bytes that are no text, expected UTF-8");
        };
        take(&Line {
            file: &name,
            number,
            text: text.trim_end_matches(['\n', '\r']),
        })?;
    }
    Ok(())
}
