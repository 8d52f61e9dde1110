//! Checks the books from outside: reads an exported journal and derives everything in it once more.
//!
//! This is a second implementation of the rules of money, written from the description of the journal and sharing no code with the ledger
//! that wrote it: its own record reader, arithmetic, flow, calendar and terms. It needs no server. A file of any length is read once,
//! entry by entry; what is kept is the state of the books, not the entries.
//!
//! [`file`] is the format, [`verify`] the check.

mod books;
mod calendar;
mod chart;
mod closing;
mod ended;
mod exact;
mod facts;
pub mod file;
mod finding;
mod flow;
mod judge;
mod record;
mod report;
mod rules;
mod terms;
mod verify;

pub use chart::TABLE as ACCOUNTS;
pub use finding::{Check, Finding};
pub use record::{Damage, Record, Transfer};
pub use report::{BalanceRow, ClearingCell, PayableRow, PeriodReport, Report, SettlementRow};
pub use verify::{Options, verify};
