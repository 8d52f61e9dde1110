//! Stand-in until closing lands.
use crate::ledger::Ledger;
use crate::types::{Stamp, Timestamp};

impl Ledger {
    pub(crate) fn period_for(&mut self, _usage_end: Timestamp, _by: Stamp) -> u32 {
        1
    }

    pub(crate) fn period_for_refund(&mut self, _original: u32, _by: Stamp) -> u32 {
        1
    }
}
