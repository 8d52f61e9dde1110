//! The end of a hold: capture of what was used with release of the rest in one step, or release of everything.
//!
//! What is settled stays here for a settlement window, by its natural key: refunds are checked against it where the money is
//! (never more than was paid, in its own proportions, whatever the caller believes), and a key cannot be charged again. The window is
//! bounded by time and by count, so that captures do not grow for ever; the receipt is the caller's to keep.

use crate::hold::Hold;
use crate::journal::EntryKind;
use crate::ledger::{JobCap, KeyState, Ledger};
use crate::quote::{Leg, LegPin, merged};
use crate::rejection::Rejection;
use crate::slice::{Cell, LegRefunded, Slice};
use crate::tally::{CellLine, LegLine};
use crate::types::{Fen, Few, Grant, HoldId, HoldKey, OrgId, RegionCode, SiteId, Sku, Stamp, Timestamp};

/// One line of a receipt; a class whose price changed while it was used has a line for each price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptLine {
    /// The class.
    pub sku: Sku,
    /// Thousandths of a unit.
    pub milli_units: u64,
    /// Per unit-hour.
    pub millifen_per_unit_hour: u64,
    /// The sheet the price came with.
    pub price_version: u32,
    /// List price of the line.
    pub gross: Fen,
}

/// What a settled attempt cost and who paid: `gross = Σ legs + copay`. Amounts are as captured; what went back later is in `refunded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The hold it settles.
    pub hold: HoldId,
    /// The natural key.
    pub key: HoldKey,
    /// Who paid.
    pub payer: OrgId,
    /// Where it ran.
    pub site: SiteId,
    /// Who was credited.
    pub provider: OrgId,
    /// When it was settled.
    pub at: Timestamp,
    /// Billed time.
    pub wall_ms: u64,
    /// The lines.
    pub lines: Vec<ReceiptLine>,
    /// List price.
    pub gross: Fen,
    /// What each voucher paid, in the order of the hold; a leg that paid nothing is shown with 0.
    pub legs: Vec<Leg>,
    /// What remained for the payer.
    pub copay: Fen,
    /// What the wallet paid: the co-pay and what the holder advances under holder-redeemed programmes.
    pub wallet: Fen,
    /// Given back so far, of `gross`.
    pub refunded: Fen,
}

/// A settled hold inside the settlement window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The hold.
    pub hold: HoldId,
    /// Its natural key.
    pub key: HoldKey,
    /// Who paid.
    pub payer: OrgId,
    /// Where the payer was registered when it was held.
    pub payer_region: RegionCode,
    /// Where it ran.
    pub site: SiteId,
    /// Who was credited.
    pub provider: OrgId,
    /// When it was settled.
    pub at: Timestamp,
    /// Billed time.
    pub wall_ms: u64,
    /// What was captured, in order of time.
    pub cells: Vec<Cell>,
}

impl Settled {
    /// All its cells as one receipt.
    pub fn receipt(&self) -> Receipt {
        let sum = |amount: fn(&Cell) -> Fen| Fen(self.cells.iter().map(|cell| amount(cell).0).sum());
        let mut lines: Vec<ReceiptLine> = Vec::with_capacity(self.cells.first().map_or(0, |cell| cell.lines.len()));
        for (priced, gross) in self
            .cells
            .iter()
            .flat_map(|cell| cell.lines.iter().zip(cell.per_line()))
        {
            let line = ReceiptLine {
                sku: priced.line.sku.clone(),
                milli_units: priced.line.milli_units,
                millifen_per_unit_hour: priced.millifen_per_unit_hour,
                price_version: priced.price_version,
                gross,
            };
            let same = |known: &&mut ReceiptLine| (&known.sku, known.price_version) == (&line.sku, line.price_version);
            match lines.iter_mut().find(same) {
                Some(known) => known.gross.0 += gross.0,
                None => lines.push(line),
            }
        }
        Receipt {
            hold: self.hold,
            key: self.key,
            payer: self.payer,
            site: self.site,
            provider: self.provider,
            at: self.at,
            wall_ms: self.wall_ms,
            lines,
            gross: sum(|cell| cell.gross),
            legs: merged(self.cells.iter().flat_map(|cell| &cell.legs)),
            copay: sum(|cell| cell.copay),
            wallet: sum(|cell| cell.wallet),
            refunded: sum(|cell| cell.refunded),
        }
    }
}

/// How long, and how many, captures stay open to refunds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureWindow {
    /// Since the settlement.
    pub keep_ms: u64,
    /// The oldest goes when there are more.
    pub count_max: u64,
}

impl Default for CaptureWindow {
    fn default() -> Self {
        Self {
            keep_ms: 86_400_000,
            count_max: 100_000,
        }
    }
}

/// Whose money a cell moves.
#[derive(Clone, Copy)]
pub(crate) struct Parties {
    pub(crate) job: u64,
    pub(crate) opened_at: Timestamp,
    pub(crate) payer: OrgId,
    pub(crate) payer_region: RegionCode,
    pub(crate) site: SiteId,
    pub(crate) provider: OrgId,
}

impl Parties {
    pub(crate) fn of(hold: &Hold) -> Self {
        let pinned = &hold.pinned;
        Self {
            job: hold.key.job,
            opened_at: hold.opened_at,
            payer: pinned.payer,
            payer_region: pinned.payer_region,
            site: pinned.site,
            provider: pinned.provider,
        }
    }
}

impl Ledger {
    /// Captures the reserved lines for the time used (capped at the hold's limit, and at what has passed since it was opened), pays, and releases the rest: one step, one entry.
    ///
    /// Where more was captured already, because a month ended and the time used turned out to be shorter, it is counted anew: the outcome is that of a
    /// hold of which nothing was captured before.
    pub fn settle(&mut self, hold: HoldId, wall_ms: u64, by: impl Into<Stamp>) -> Result<Receipt, Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_hold(hold)?;
        self.roll_periods(by);
        self.catch_up(hold, by);
        let mut open = self.holds.remove(hold.0).expect("found above");
        let passed_ms = by.at.0 - open.opened_at.0;
        let wall_ms = wall_ms.min(open.pinned.walltime_ms_max).min(passed_ms);
        let mut slices = std::mem::take(&mut open.pinned.slices);
        let cells = self.capture_until(Parties::of(&open), &mut slices, wall_ms, by);
        self.journal.facts([hold.0, wall_ms]);
        self.journal_cells(&cells);
        let unused = self.recount(&mut open, wall_ms);
        self.write(EntryKind::Settle, by);
        self.forget_legs(open.key.job, slices.iter().flat_map(Slice::legs), by.at);
        self.forget_legs(open.key.job, unused.iter().flat_map(Cell::legs), by.at);
        let settled = self.keep(hold, open, cells, wall_ms, by);
        Ok(self.captures.get(settled).expect("just kept").receipt())
    }

    /// Releases everything that is held, and gives back what was captured already: nothing is owed.
    pub fn release(&mut self, hold: HoldId, by: impl Into<Stamp>) -> Result<(), Rejection> {
        let by = by.into();
        self.assert_time(by);
        self.known_hold(hold)?;
        self.roll_periods(by);
        let mut open = self.holds.remove(hold.0).expect("found above");
        let mut slices = std::mem::take(&mut open.pinned.slices);
        self.capture_until(Parties::of(&open), &mut slices, 0, by);
        self.journal.fact(hold.0);
        let unused = self.recount(&mut open, 0);
        self.write(EntryKind::Release, by);
        self.forget_legs(open.key.job, slices.iter().flat_map(Slice::legs), by.at);
        self.forget_legs(open.key.job, unused.iter().flat_map(Cell::legs), by.at);
        self.keep(hold, open, Vec::new(), 0, by);
        Ok(())
    }

    /// What is settled under a key, while it is in the settlement window.
    pub fn settled_of(&self, key: HoldKey) -> Option<&Settled> {
        match self.keys.get(&key)? {
            KeyState::Open(_) => None,
            KeyState::Ended(settled) => self.captures.get(*settled),
        }
    }

    /// The receipt under a key, while it is in the settlement window.
    pub fn receipt(&self, key: HoldKey) -> Option<Receipt> {
        self.settled_of(key).map(Settled::receipt)
    }

    /// What is in the settlement window, in order of settlement.
    pub fn settled(&self) -> impl Iterator<Item = &Settled> {
        self.captures.iter().map(|(_, settled)| settled)
    }

    /// Sets how long and how many captures stay open to refunds; shrinking it drops the oldest at the next settlement or expiry.
    pub fn set_capture_window(&mut self, window: CaptureWindow) {
        self.window = window;
    }

    /// Captures the use of slices up to an instant of their hold and releases the rest of all of them; gives the cells, in order. The slices after
    /// them stay in the list; their records leave with [`Ledger::forget_legs`].
    pub(crate) fn capture_until(
        &mut self,
        parties: Parties,
        slices: &mut Vec<Slice>,
        to_ms: u64,
        by: Stamp,
    ) -> Vec<Cell> {
        let used = slices.partition_point(|slice| slice.from_ms < to_ms);
        let cells = slices.drain(..used).map(|slice| {
            let until_ms = to_ms.min(slice.until_ms);
            self.capture(parties, slice, until_ms, by)
        });
        let cells = cells.collect();
        self.give_back(parties.payer, slices);
        for (leg, pin) in slices.iter().flat_map(Slice::legs) {
            self.uncount_job(parties.job, leg, pin, (leg.amount, leg.grant));
        }
        cells
    }

    /// Records of legs leave the caps per job, after the entry that they belong to: a cap that nothing counts in any more is forgotten, and where
    /// something was used of it, in an entry of its own.
    pub(crate) fn forget_legs<'a>(
        &mut self,
        job: u64,
        legs: impl Iterator<Item = (&'a Leg, &'a LegPin)>,
        at: Timestamp,
    ) {
        for (leg, pin) in legs {
            for cap in self.forget_job(job, leg, pin) {
                let (programme, agreement) = match cap {
                    JobCap::Programme(id) => (id.0, 0),
                    JobCap::Agreement(id) => (0, id.0),
                };
                self.journal.facts([job, u64::from(programme), u64::from(agreement)]);
                self.write(EntryKind::ForgetJobCap, Stamp { at, actor: 0 });
            }
        }
    }

    /// Captures one slice up to an instant of its hold and releases the rest of it.
    pub(crate) fn capture(&mut self, parties: Parties, slice: Slice, to_ms: u64, by: Stamp) -> Cell {
        let used_until = Timestamp(parties.opened_at.0.saturating_add(to_ms).min(by.at.0));
        let period = self.period_of(used_until);
        let site_region = self.site(parties.site).expect("sites are never removed").region;
        let (held_legs, held_wallet) = (Few::<Leg, 2>::from_slice(&slice.legs), slice.wallet);
        let cell = slice.cell(to_ms, period);
        for (held, (captured, pin)) in held_legs.iter().zip(cell.legs()) {
            let parts = self.end_leg(held, pin, Some((parties, captured)));
            let rest = (
                Fen(held.amount.0 - captured.amount.0),
                Grant(held.grant.0 - captured.grant.0),
            );
            self.uncount_job(parties.job, held, pin, rest);
            let site = (parties.site, site_region);
            let line = LegLine::new(captured, parties.payer, parties.payer_region, site, period);
            self.tally_capture(&LegLine { parts: &parts, ..line });
        }
        self.end_wallet(parties, held_wallet, cell.wallet);
        self.tally_cell(&CellLine {
            period,
            payer: parties.payer,
            site: parties.site,
            site_region,
            gross: cell.gross,
            subsidy: Fen(cell.gross.0 - cell.copay.0),
            wallet: cell.wallet,
        });
        cell
    }

    fn keep(&mut self, hold: HoldId, open: Hold, cells: Vec<Cell>, wall_ms: u64, by: Stamp) -> u64 {
        let Hold {
            key,
            pinned,
            cells: before,
            ..
        } = open;
        let cells = if before.is_empty() {
            cells
        } else {
            before.into_iter().chain(cells).collect()
        };
        let settled = self.captures.push(Settled {
            hold,
            key,
            payer: pinned.payer,
            payer_region: pinned.payer_region,
            site: pinned.site,
            provider: pinned.provider,
            at: by.at,
            wall_ms,
            cells,
        });
        self.keys.insert(key, KeyState::Ended(settled));
        if self.captures.len() as u64 > self.window.count_max.max(1) {
            self.forget_oldest_capture(by.at);
        }
        settled
    }

    pub(crate) fn forget_oldest_capture(&mut self, at: Timestamp) {
        let Some((id, _)) = self.captures.first() else { return };
        let settled = self.captures.remove(id).expect("found above");
        self.keys.remove(&settled.key);
        self.forget_legs(settled.key.job, settled.cells.iter().flat_map(Cell::legs), at);
    }

    /// Number of cells and the cells, as [`EntryKind`] says.
    pub(crate) fn journal_cells(&mut self, cells: &[Cell]) {
        self.journal.fact(cells.len() as u64);
        for cell in cells {
            self.journal.facts([cell.from_ms, cell.to_ms, u64::from(cell.period)]);
            self.journal.facts([cell.gross.0 as u64, cell.wallet.0 as u64]);
            for leg in &cell.legs {
                self.journal.facts([leg.amount.0 as u64, leg.grant.0 as u64]);
            }
        }
    }
}

impl Settled {
    /// What has gone back, by leg, in the order of the receipt.
    pub fn legs_refunded(&self) -> Vec<Leg> {
        let back = |(leg, refunded): (&Leg, &LegRefunded)| Leg {
            amount: refunded.amount,
            grant: refunded.grant,
            ..*leg
        };
        let legs = |cell: &Cell| cell.legs.iter().zip(&cell.legs_refunded).map(back).collect::<Vec<_>>();
        merged(self.cells.iter().flat_map(legs).collect::<Vec<_>>().iter())
    }
}
