//! What is wrong with a journal: findings, each with the entry it is about and what was expected and found.

use std::fmt;

use serde::Serialize;

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Check {
    /// The file's lines: their spelling, order and number.
    File,
    /// Entries are numbered without gaps.
    Index,
    /// Each hash is that of the hash before and the record; the head is the last one.
    Chain,
    /// A record is protobuf as a journal writes it.
    Record,
    /// Times never decrease.
    Time,
    /// People's entries name a principal.
    Actor,
    /// Entries that need a reason have one.
    Reason,
    /// An entry's facts and texts are those of its kind.
    Facts,
    /// What moved is what the entry's kind, facts and the books so far call for.
    Transfers,
    /// Each transfer is between two accounts of one unit and above zero.
    Unit,
    /// No balance falls below zero; the treasury covers the wallets.
    Balance,
    /// Numbers are given in order, and names are given once.
    Number,
    /// What an entry is about exists and is in a state that allows it.
    State,
    /// Programmes, agreements and vouchers: intervals, rates, years.
    Terms,
    /// List prices: the sheet in force, half a fen up, cell by cell.
    Price,
    /// The rules of a voucher: holder, region, scope, interval, affiliation, stacking, and what is pinned.
    Eligibility,
    /// What a leg pays: within rate, cover, stack cap, caps and balance, the most it can.
    Leg,
    /// Caps per control group and per job, budgets.
    Cap,
    /// Slices and cells: they follow each other, and a hold ends once.
    Cell,
    /// What the wallet pays.
    Wallet,
    /// Refunds: never over the capture, split by its legs.
    Refund,
    /// Periods: bounds, what is booked where.
    Period,
    /// Rows of a closed period.
    Row,
    /// Settlements and claims: what is due, and paid in for it.
    Payment,
    /// Who files, who reviews and who pays are different principals.
    Duties,
    /// The trial balance of the trailer.
    TrialBalance,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).unwrap_or_default();
        f.write_str(name.as_str().unwrap_or_default())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Line of the file, from 1.
    pub line: u64,
    /// Index of the entry; `None` for header and trailer.
    pub index: Option<u64>,
    /// The entry's kind, where it is known.
    pub kind: Option<&'static str>,
    /// What was checked.
    pub check: Check,
    /// Which figure.
    pub what: String,
    /// What the rules give.
    pub expected: String,
    /// What the file says.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, self.kind) {
            (Some(index), Some(kind)) => write!(f, "entry {index} ({kind}), line {}", self.line)?,
            (Some(index), None) => write!(f, "entry {index}, line {}", self.line)?,
            (None, _) => write!(f, "line {}", self.line)?,
        }
        let Finding {
            check,
            what,
            expected,
            found,
            ..
        } = self;
        write!(f, ": {what}: expected {expected}, found {found} [{check}]")
    }
}

/// The findings so far: the first ones whole, the rest counted.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) listed: Vec<Finding>,
    pub(crate) count: u64,
    list_max: usize,
    /// What is being looked at.
    pub(crate) line: u64,
    pub(crate) index: Option<u64>,
    pub(crate) kind: Option<&'static str>,
}

impl Findings {
    pub(crate) fn new(list_max: usize) -> Self {
        Self {
            list_max,
            ..Self::default()
        }
    }

    /// Adds one about the current entry.
    pub(crate) fn add(
        &mut self,
        check: Check,
        what: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        self.count += 1;
        if self.listed.len() < self.list_max {
            self.listed.push(Finding {
                line: self.line,
                index: self.index,
                kind: self.kind,
                check,
                what: what.into(),
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }
}
