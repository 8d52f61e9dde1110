//! Accounting periods: contiguous stretches of time, numbered from 1, in which lines are booked until they are closed.
//!
//! The current period ends by itself at the end of its calendar month in Shanghai: time passing rolls it, and so does whatever books
//! first after it. It may be ended earlier. Periods that have ended stay open for what ended in them until they are closed, in order.

use crate::calendar::{month_end, month_start};
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::rejection::{PeriodRule, Rejection, Subject};
use crate::types::{Stamp, Timestamp};

/// A closed period, its statements and its finished claims stay this many closed periods long.
pub const CLOSED_PERIODS_KEPT: u32 = 24;

/// A stretch of time that is settled as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Dense, from 1.
    pub number: u32,
    /// Its first instant.
    pub from: Timestamp,
    /// First instant after it; of the current one when it will end by itself.
    pub until: Timestamp,
    /// First journal entry written while it was the current one.
    pub first_entry: u64,
    /// Once closed, nothing is booked in it any more.
    pub closed: Option<Closed>,
}

/// How a period was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// The principal who closed it.
    pub actor: u32,
    /// The closing entry: none of the period's lines comes after it.
    pub last_entry: u64,
    /// SHA-256 over its tallies and holder totals.
    pub digest: [u8; 32],
}

impl Ledger {
    /// Ends the current period now, before its month's end; the next one begins at this instant. Returns the number of the ended one.
    pub fn end_period(&mut self, by: impl Into<Stamp>) -> Result<u32, Rejection> {
        let by = by.into();
        self.assert_time(by);
        let current = self
            .current_period()
            .ok_or_else(|| Rejection::unknown(Subject::Period, 1))?;
        // When months have ended meanwhile, the period to end is the one that began with the latest month.
        let begun = if current.until <= by.at {
            month_start(by.at)
        } else {
            current.from
        };
        if begun >= by.at {
            let number = current.number + u32::from(current.until <= by.at);
            return Err(Rejection::period(number, PeriodRule::Empty));
        }
        self.roll_periods(by);
        let number = self.current_number();
        self.end_current(by.at, by);
        Ok(number)
    }

    /// The period that lines of use that ends now are booked in; `None` before the first entry of the books.
    pub fn current_period(&self) -> Option<&Period> {
        self.periods.get(self.periods.next_id() - 1)
    }

    /// A period that is kept.
    pub fn period(&self, number: u32) -> Option<&Period> {
        self.periods.get(u64::from(number))
    }

    /// Periods with numbers above `after`, by number.
    pub fn periods_after(&self, after: u32) -> impl Iterator<Item = &Period> {
        self.periods.iter_from(u64::from(after) + 1).map(|(_, period)| period)
    }

    pub(crate) fn known_period(&self, number: u32) -> Result<&Period, Rejection> {
        self.period(number)
            .ok_or_else(|| Rejection::unknown(Subject::Period, number))
    }

    pub(crate) fn is_closed(&self, number: u32) -> bool {
        // Numbers below the first kept period are of closed ones that were dropped.
        self.period(number).is_none_or(|period| period.closed.is_some())
    }

    /// The period in which an instant lies (an end belongs to the period it ends) while that is not closed, else the current one.
    pub(crate) fn period_of(&self, usage_end: Timestamp) -> u32 {
        let current = self.current_number();
        let open = self
            .periods
            .iter_back_from(u64::from(current))
            .map(|(_, period)| period)
            .take_while(|period| period.closed.is_none());
        open.filter(|period| usage_end > period.from)
            .map(|period| period.number)
            .next()
            .unwrap_or(current)
    }

    pub(crate) fn current_number(&self) -> u32 {
        (self.periods.next_id() - 1) as u32
    }

    /// Ends what has ended by itself; each end is an entry by the cluster.
    pub(crate) fn roll_periods(&mut self, by: Stamp) {
        while self.roll_period(by) {}
    }

    /// Ends the current period if its month is over.
    pub(crate) fn roll_period(&mut self, by: Stamp) -> bool {
        let Some(until) = self
            .current_period()
            .map(|period| period.until)
            .filter(|until| *until <= by.at)
        else {
            return false;
        };
        self.end_current(until, Stamp { at: by.at, actor: 0 });
        true
    }

    /// The first entry of the books begins the first period.
    pub(crate) fn begin_periods(&mut self, at: Timestamp) {
        self.periods.push(Period {
            number: 1,
            from: at,
            until: month_end(at),
            first_entry: 1,
            closed: None,
        });
    }

    fn end_current(&mut self, until: Timestamp, by: Stamp) {
        let number = self.current_number();
        self.periods
            .get_mut(u64::from(number))
            .expect("the current period is kept")
            .until = until;
        self.journal.facts([u64::from(number), until.0]);
        self.write(EntryKind::EndPeriod, by);
        self.periods.push(Period {
            number: number + 1,
            from: until,
            until: month_end(until),
            first_entry: self.journal.index + 1,
            closed: None,
        });
    }
}
