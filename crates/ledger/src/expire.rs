//! Time passing, in bounded steps: binding quotes and vouchers end, captures leave the settlement window,
//! accounting periods end, and old ones are dropped.

use crate::ledger::Ledger;
use crate::types::{HoldKey, OrgId, QuoteId, Stamp, Timestamp, VoucherId};

/// What ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Steps done; less than the limit means that nothing is due any more.
    pub count: usize,
    /// Quotes and vouchers that ended, and captures that left the window.
    pub ended: usize,
    /// Organisations whose available funds grew, each once, by id.
    pub funds_grew: Vec<OrgId>,
    /// Uncommitted budget of some programme grew.
    pub budgets_grew: bool,
    /// Holds whose cover ended and whose rest nobody pays, with their new time limits, which have passed already.
    pub limits_changed: Vec<(HoldKey, u64)>,
}

impl Ledger {
    /// Ends up to `limit` of what is due at the stamp's time: covers under open holds and months first, then quotes, vouchers, captures and
    /// periods, each in order of time.
    pub fn expire_due(&mut self, by: impl Into<Stamp>, limit: usize) -> Expired {
        let by = by.into();
        self.assert_time(by);
        let mut expired = Expired::default();
        while expired.count < limit && self.expire_next(by, &mut expired) {
            expired.count += 1;
        }
        expired.funds_grew.sort();
        expired.funds_grew.dedup();
        expired
    }

    /// When the next thing is due.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let quote = self.quote_ends.first().map(|((end, _), ())| *end);
        let voucher = self.voucher_ends.first().map(|((end, _), ())| *end);
        let period = self.current_period().map(|period| period.until);
        let dropping = self.drop_due().then_some(self.time);
        let captures = self.next_capture_end();
        let all = [self.next_sweep(), quote, voucher, captures, period, dropping];
        all.into_iter().flatten().min()
    }

    fn expire_next(&mut self, by: Stamp, expired: &mut Expired) -> bool {
        if self.sweep_step(by, expired) {
            expired.budgets_grew = true;
            return true;
        }
        if let Some(quote) = self.due_quote(by.at) {
            let bound = self.quotes.get(quote.0).expect("the index leads to it");
            if bound.ended.is_some() {
                self.forget_quote(quote);
                return true;
            }
            expired.funds_grew.push(bound.pinned.payer);
            self.release_quote(quote, by).expect("it is open");
            expired.budgets_grew = true;
            expired.ended += 1;
            return true;
        }
        if let Some(voucher) = self.due_voucher(by.at) {
            self.expire_voucher(voucher, by);
            expired.budgets_grew = true;
            expired.ended += 1;
            return true;
        }
        if self.next_capture_end().is_some_and(|end| end <= by.at) {
            self.forget_oldest_capture(by.at);
            expired.ended += 1;
            return true;
        }
        self.roll_period(by) || self.drop_step()
    }

    fn due_quote(&self, at: Timestamp) -> Option<QuoteId> {
        self.quote_ends
            .first()
            .filter(|((end, _), ())| *end <= at)
            .map(|((_, quote), ())| *quote)
    }

    fn due_voucher(&self, at: Timestamp) -> Option<VoucherId> {
        self.voucher_ends
            .first()
            .filter(|((end, _), ())| *end <= at)
            .map(|((_, voucher), ())| *voucher)
    }

    fn next_capture_end(&self) -> Option<Timestamp> {
        let (_, oldest) = self.captures.first()?;
        Some(Timestamp(oldest.at.0.saturating_add(self.window.keep_ms)))
    }
}
