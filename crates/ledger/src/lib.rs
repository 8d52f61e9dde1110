//! Money: parties, programmes, vouchers, recognition agreements, price sheets, quotes, holds, captures and refunds, in
//! double entry. Knows no job, clock, float or hash order: commands go in with their time, answers and journal entries come out.
//!
//! A [`Ledger`] is a value. Reading is by `&self`; every change is one method that checks everything, then changes everything and
//! writes one journal entry, or refuses with a [`Rejection`] and changes nothing.

mod account;
mod admin;
mod agreement;
mod arithmetic;
mod audit;
mod bill;
mod calendar;
mod choice;
mod claim;
mod closing;
mod eligibility;
mod expire;
mod flow;
mod hold;
mod issue;
mod journal;
mod ledger;
mod legs;
pub mod paged;
mod party;
mod payment;
mod period;
mod posting;
mod price;
mod programme;
mod quote;
mod reconcile;
mod recount;
mod refund;
mod rejection;
mod settle;
mod settlement;
mod slice;
mod snapshot;
mod statement;
mod sweep;
mod tally;
mod trial;
pub mod types;
mod voucher;

pub use account::Account;
pub use agreement::{Agreement, NewAgreement};
pub use claim::{CLAIMS_OPEN_MAX, Claim, ClaimState, Claimable};
pub use expire::Expired;
pub use hold::{BoundQuote, CoverEnd, Hold, HoldRequest, Pinned, QUOTE_VALID_MS_MAX};
pub use issue::{BATCH_MAX, VOUCHERS_IN_USE_MAX};
pub use journal::{Entry, EntryKind, JournalEntry};
pub use ledger::Ledger;
pub use party::{Funds, NewOrg, Org, OrgKind, Site};
pub use period::{CLOSED_PERIODS_KEPT, Closed, Period};
pub use price::{LINES_MAX, MILLI_UNITS_MAX, MILLIFEN_MAX, Price, PriceSheets, PricedLine, WALLTIME_MS_MAX};
pub use programme::{
    BudgetPolicy, Denomination, ExpiryBasis, Funder, NewProgramme, Programme, Rate, Redemption, Revision, Stacking,
    Terms,
};
pub use quote::{Leg, LegPin, Quote, QuoteRequest};
pub use refund::Refund;
pub use rejection::{ClaimRule, PeriodRule, Rejection, RejectionKind, SettlementRule, Subject, VoucherRule};
pub use settle::{CaptureWindow, Receipt, ReceiptLine, Settled};
pub use settlement::{Payment, Settlement};
pub use slice::{Cell, LegRefunded, SLICES_MAX, Slice};
pub use snapshot::{CHUNK_BYTES_MAX, SnapshotError};
pub use statement::{Clearing, ClearingCell, Payable, Position, RegionPayment, Sheet};
pub use tally::{HolderTotals, Tally, TallyKey};
pub use trial::{TrialBalance, TrialRow, UnitTrial};
pub use voucher::{NewVoucher, Voucher, VoucherState};
