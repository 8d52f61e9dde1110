//! Facts and texts of an entry, taken one after the other by name. What is missing, surplus or beyond every bound ends the judging of
//! the entry: what it means cannot be known.

use crate::record::Record;

/// No figure of the books is larger than this.
const FIGURE_MAX: u64 = 4_000_000_000_000_000_000;
/// Bound of amounts of a class, and of prices.
const FACTOR_MAX: u64 = 1_000_000_000_000;
/// Bound of times, instants and durations.
const MS_MAX: u64 = 1_000_000_000_000_000;

/// Why an entry's facts or texts cannot be understood.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

pub(crate) type Read<T> = Result<T, Malformed>;

/// The facts that have not been taken yet.
pub(crate) struct Facts<'a> {
    numbers: &'a [u64],
    texts: &'a [String],
}

impl<'a> Facts<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        Self {
            numbers: &record.facts,
            texts: &record.texts,
        }
    }

    /// The next number, whatever it is.
    pub(crate) fn number(&mut self, what: &'static str) -> Read<u64> {
        let (number, rest) = self.numbers.split_first().ok_or_else(|| missing(what))?;
        self.numbers = rest;
        Ok(*number)
    }

    fn bounded(&mut self, what: &'static str, max: u64) -> Read<u64> {
        let number = self.number(what)?;
        if number > max {
            return Err(Malformed {
                what: format!("fact \"{what}\""),
                expected: format!("at most {max}"),
                found: number.to_string(),
            });
        }
        Ok(number)
    }

    /// An organisation, programme, region or the like.
    pub(crate) fn id(&mut self, what: &'static str) -> Read<u32> {
        self.bounded(what, u32::MAX.into()).map(|id| id as u32)
    }

    /// An amount in fen or in a programme's denomination.
    pub(crate) fn amount(&mut self, what: &'static str) -> Read<i128> {
        self.bounded(what, FIGURE_MAX).map(i128::from)
    }

    /// An amount with its sign, as a zigzag number.
    pub(crate) fn signed(&mut self, what: &'static str) -> Read<i128> {
        let number = self.number(what)?;
        let half = i128::from(number / 2);
        Ok(if number % 2 == 0 { half } else { -half - 1 })
    }

    /// Milli-units or a price.
    pub(crate) fn factor(&mut self, what: &'static str) -> Read<u64> {
        self.bounded(what, FACTOR_MAX)
    }

    /// An instant or a duration in milliseconds.
    pub(crate) fn ms(&mut self, what: &'static str) -> Read<u64> {
        self.bounded(what, MS_MAX)
    }

    /// 0 or 1.
    pub(crate) fn flag(&mut self, what: &'static str) -> Read<bool> {
        self.bounded(what, 1).map(|flag| flag == 1)
    }

    /// A number of things of which each takes at least one fact more.
    pub(crate) fn count(&mut self, what: &'static str) -> Read<usize> {
        let left = self.numbers.len() as u64;
        self.bounded(what, left).map(|count| count as usize)
    }

    /// How many numbers are left.
    pub(crate) fn left(&self) -> usize {
        self.numbers.len()
    }

    /// The next text.
    pub(crate) fn text(&mut self, what: &'static str) -> Read<&'a str> {
        let (text, rest) = self.texts.split_first().ok_or_else(|| missing(what))?;
        self.texts = rest;
        Ok(text)
    }

    /// All texts that are left.
    pub(crate) fn texts(&mut self) -> &'a [String] {
        std::mem::take(&mut self.texts)
    }

    /// Nothing is left.
    pub(crate) fn end(&self) -> Read<()> {
        if self.numbers.is_empty() && self.texts.is_empty() {
            return Ok(());
        }
        Err(Malformed {
            what: "facts and texts".into(),
            expected: "no more".into(),
            found: format!("{} numbers and {} texts more", self.numbers.len(), self.texts.len()),
        })
    }
}

fn missing(what: &'static str) -> Malformed {
    Malformed {
        what: format!("\"{what}\""),
        expected: "a value".into(),
        found: "the end of the entry".into(),
    }
}
