//! Covers that end under open holds and binding quotes, and months that end while holds go on. What has to happen to many holds is done hold by hold, in
//! bounded steps of the tick; a hold that is settled earlier is brought up to date by itself first, so the outcome does not depend on the pace.

use std::collections::VecDeque;

use crate::calendar::{month_end, month_start};
use crate::eligibility::When;
use crate::expire::Expired;
use crate::hold::{Hold, rest_of};
use crate::journal::EntryKind;
use crate::ledger::Ledger;
use crate::settle::Parties;
use crate::slice::Slice;
use crate::types::{HoldId, HoldKey, OrgId, ProgrammeId, QuoteId, Stamp, Timestamp, VoucherId};

/// Holds looked at in one step.
const STEP: usize = 256;

/// Why open holds are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A month is over: slices that are over are captured.
    Month,
    /// The voucher was revoked for fraud.
    Voucher(VoucherId),
    /// The programme was revised with immediate effect; legs under an earlier revision end.
    Programme(ProgrammeId, u32),
    /// The organisation came under the same controller as others.
    Org(OrgId),
}

/// One pass over the holds that were open when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub(crate) cause: Cause,
    /// The instant at which covers end, or the month ended.
    pub(crate) at: Timestamp,
    /// The next hold to look at …
    pub(crate) next: HoldId,
    /// … and the first one not to.
    pub(crate) end: HoldId,
    /// After the holds, where a cover ended: the next binding quote to look at …
    pub(crate) next_quote: QuoteId,
    /// … and the first one not to.
    pub(crate) end_quote: QuoteId,
}

/// What is to be gone through, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweeps {
    pub(crate) queue: VecDeque<Sweep>,
    /// When the next month ends; zero before the first hold.
    pub(crate) month_end: Timestamp,
}

impl Ledger {
    /// Whether some hold may still have use before an instant that is not captured although it could be.
    pub fn sweep_pending(&self, until: Timestamp) -> bool {
        // One pass captures what ended in all the months before it.
        let begun = |sweep: &Sweep| sweep.cause == Cause::Month;
        let due = self.sweeps.month_end != Timestamp(0) && self.sweeps.month_end <= until && !self.holds.is_empty();
        due || self.sweeps.queue.iter().any(begun)
    }

    /// A month that ends is noticed from the first hold on.
    pub(crate) fn begin_sweeping(&mut self, at: Timestamp) {
        if self.sweeps.month_end == Timestamp(0) {
            self.sweeps.month_end = month_end(at);
        }
    }

    /// Covers end now: for every hold that is open.
    pub(crate) fn sweep(&mut self, cause: Cause, at: Timestamp) {
        let first = self.holds.first().map_or(self.holds.next_id(), |(id, _)| id);
        let end_quote = QuoteId(self.quotes.next_id());
        let first_quote = self.quotes.first().map_or(end_quote, |(id, _)| QuoteId(id));
        self.sweeps.queue.push_back(Sweep {
            cause,
            at,
            next: HoldId(first),
            end: HoldId(self.holds.next_id()),
            next_quote: if cause == Cause::Month { end_quote } else { first_quote },
            end_quote,
        });
    }

    /// When there is sweeping to do.
    pub(crate) fn next_sweep(&self) -> Option<Timestamp> {
        if !self.sweeps.queue.is_empty() {
            return Some(self.time);
        }
        (self.sweeps.month_end != Timestamp(0)).then_some(self.sweeps.month_end)
    }

    /// One step; `false` when there is nothing to do. Holds whose time became shorter and payers whose quotes ended are added to `expired`.
    pub(crate) fn sweep_step(&mut self, by: Stamp, expired: &mut Expired) -> bool {
        if self.sweeps.month_end != Timestamp(0) && self.sweeps.month_end <= by.at {
            // Several months may be over when nobody looked: what ended in any of them is captured.
            self.sweeps.month_end = month_end(by.at);
            self.sweep(Cause::Month, month_start(by.at));
        }
        let Some(mut sweep) = self.sweeps.queue.front().copied() else {
            return false;
        };
        let looked_at = self.holds.iter_from(sweep.next.0).take(STEP);
        let found = looked_at
            .take_while(|(id, _)| *id < sweep.end.0)
            .map(|(id, hold)| (HoldId(id), self.touches(&sweep, hold)));
        // The first hold it touches, or the last of those looked at.
        let mut last = None;
        for (id, touched) in found {
            last = Some((id, touched));
            if touched {
                break;
            }
        }
        let Some((id, touched)) = last else {
            self.sweep_quotes(sweep, by, expired);
            return true;
        };
        sweep.next = HoldId(id.0 + 1);
        *self.sweeps.queue.front_mut().expect("looked at above") = sweep;
        if touched {
            expired.limits_changed.extend(self.apply_sweep(&sweep, id, by));
        }
        true
    }

    // The sweep's step once it is through the holds: what the first quote with an ended cover holds is given back. With the last one it is over.
    fn sweep_quotes(&mut self, mut sweep: Sweep, by: Stamp, expired: &mut Expired) {
        let looked_at = self.quotes.iter_from(sweep.next_quote.0).take(STEP);
        let found = looked_at
            .take_while(|(id, _)| *id < sweep.end_quote.0)
            .map(|(id, bound)| (id, self.cover_ended(bound).filter(|_| bound.ended.is_none())));
        let mut last = None;
        for (id, because) in found {
            last = Some((id, because));
            if because.is_some() {
                break;
            }
        }
        let Some((id, because)) = last else {
            self.sweeps.queue.pop_front();
            return;
        };
        sweep.next_quote = QuoteId(id + 1);
        *self.sweeps.queue.front_mut().expect("the caller looked at it") = sweep;
        if let Some(because) = because {
            let payer = self.quotes.get(id).expect("found above").pinned.payer;
            self.end_quote(QuoteId(id), because, by);
            expired.funds_grew.push(payer);
            expired.ended += 1;
        }
    }

    /// Whether a sweep that has begun will still touch the hold.
    pub(crate) fn is_swept(&self, id: HoldId) -> bool {
        let hold = self.holds.get(id.0).expect("the caller found it");
        self.sweeps_of(id).any(|sweep| self.touches(sweep, hold))
    }

    /// Does to one hold what the sweeps that have begun will do to it, before it ends.
    pub(crate) fn catch_up(&mut self, id: HoldId, by: Stamp) {
        if self.sweeps.queue.is_empty() {
            return;
        }
        for sweep in self.sweeps_of(id).copied().collect::<Vec<_>>() {
            if self.touches(&sweep, self.holds.get(id.0).expect("the caller found it")) {
                self.apply_sweep(&sweep, id, by);
            }
        }
    }

    fn sweeps_of(&self, id: HoldId) -> impl Iterator<Item = &Sweep> {
        self.sweeps
            .queue
            .iter()
            .filter(move |sweep| sweep.next <= id && id < sweep.end)
    }

    fn touches(&self, sweep: &Sweep, hold: &Hold) -> bool {
        let pinned = &hold.pinned;
        let offset_ms = offset(hold, sweep.at);
        let Some(first) = pinned.slices.first() else {
            return false;
        };
        if sweep.cause == Cause::Month {
            return first.until_ms <= offset_ms;
        }
        let begun = offset_ms.max(first.from_ms);
        let ahead = pinned.slices.iter().filter(|slice| slice.until_ms > begun);
        let mut legs = ahead.flat_map(Slice::legs);
        match sweep.cause {
            Cause::Month => false,
            Cause::Voucher(voucher) => legs.any(|(leg, _)| leg.voucher == voucher),
            Cause::Programme(programme, revision) => {
                legs.any(|(leg, pin)| leg.programme == programme && pin.revision < revision)
            }
            Cause::Org(org) => {
                let group = |org| self.org(org).map(|org| org.group);
                (pinned.payer == org || pinned.provider == org)
                    && group(pinned.payer) == group(pinned.provider)
                    && legs.next().is_some()
            }
        }
    }

    fn apply_sweep(&mut self, sweep: &Sweep, id: HoldId, by: Stamp) -> Option<(HoldKey, u64)> {
        self.roll_periods(by);
        if sweep.cause == Cause::Month {
            self.capture_ended(id, sweep.at, by);
            return None;
        }
        self.repin(id, sweep.at, by)
    }

    // Captures the slices that were over at an instant, an entry each: they count as used, since the hold is open. What they hold besides stays held
    // until it ends, when they may be counted anew.
    fn capture_ended(&mut self, id: HoldId, at: Timestamp, by: Stamp) {
        let hold = self.holds.get(id.0).expect("the caller found it");
        let (parties, offset_ms) = (Parties::of(hold), offset(hold, at));
        let over = |slice: &&Slice| slice.until_ms <= offset_ms;
        let ended: Vec<Slice> = hold.pinned.slices.iter().take_while(over).cloned().collect();
        for slice in ended {
            let until_ms = slice.until_ms;
            let used = slice.clone().cell(until_ms, 0);
            let cell = self.capture(parties, slice.ended_with(&used), until_ms, by);
            self.journal.fact(id.0);
            self.journal_cells(std::slice::from_ref(&cell));
            let hold = self.hold_mut(id);
            let slice = hold.pinned.slices.remove(0);
            hold.cells.push(cell);
            hold.past.push(slice);
            self.write(EntryKind::Capture, by);
        }
    }

    // Captures what was used under the covers that end, and pays the rest anew by the rules of that instant, however long ago it is: from other
    // vouchers and the wallet. If they cannot, the hold's time ends there.
    fn repin(&mut self, id: HoldId, at: Timestamp, by: Stamp) -> Option<(HoldKey, u64)> {
        // Months that were over then are captured as months, whether anybody has looked since or not.
        self.capture_ended(id, at, by);
        let hold = self.hold_mut(id);
        let (key, opened_at, parties) = (hold.key, hold.opened_at, Parties::of(hold));
        let before = hold.pinned.walltime_ms_max;
        let first_ms = hold.pinned.slices.first().map_or(before, |slice| slice.from_ms);
        let offset_ms = offset(hold, at).max(first_ms);
        let mut replaced = std::mem::take(&mut hold.pinned.slices);
        let begun = replaced.partition_point(|slice| slice.from_ms < offset_ms);
        let used = replaced[..begun].to_vec();
        let cells = self.capture_until(parties, &mut replaced, offset_ms, by);
        let hold = self.hold_mut(id);
        hold.cells.extend(cells.iter().cloned());
        let captured = used.into_iter().zip(&cells);
        hold.past.extend(captured.map(|(slice, cell)| slice.ended_with(cell)));
        let request = rest_of(&hold.pinned, before - offset_ms);
        let paid = hold.past_wallet();
        let when = When {
            at,
            use_from: Timestamp(opened_at.0 + offset_ms),
            offset_ms,
            lenient: true,
        };
        let plan = self.plan(&request, Some(key.job), when).and_then(|plan| {
            self.afford_wallet(&request, plan.wallet(), paid)?;
            Ok(plan.slices)
        });
        let (slices, limit) = plan.map_or((Vec::new(), offset_ms), |slices| (slices, before));
        self.set_aside(request.payer, &slices);
        self.count_job(key.job, &slices);
        self.journal.facts([id.0, offset_ms]);
        self.journal_cells(&cells);
        self.journal.fact(limit);
        self.journal_slices(&slices);
        let pinned = &mut self.hold_mut(id).pinned;
        pinned.slices = slices;
        pinned.walltime_ms_max = limit;
        self.write(EntryKind::Repin, by);
        self.forget_legs(key.job, replaced.iter().flat_map(Slice::legs), by.at);
        (limit < before).then_some((key, limit))
    }
}

// An instant in ms from the hold's beginning; 0 before it.
fn offset(hold: &Hold, at: Timestamp) -> u64 {
    at.0.saturating_sub(hold.opened_at.0)
}
