//! A holder's statement, line by line out of the journal: one row per cell of use, one per leg that paid of it, one per refund.
//!
//! The journal is read from some entry on and every line of one payer that is booked in one period becomes rows. Entries speak of
//! holds by number, so the reading must have begun before the payer's holds were opened; [`Reader::began_too_late`] says when it
//! did not, and the caller begins again earlier. Nothing here calculates a price: amounts are read, and summed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hesuan_engine::state::State;
use hesuan_ledger::types::{OrgId, ProgrammeId, SiteId};
use hesuan_ledger::{Entry, EntryKind};

use crate::v1;
use crate::v1::stream_statement_response::Row;

/// Names of what entries number. Neither programmes nor sites are ever removed, so one look at the state is enough.
#[derive(Clone, Debug, Default)]
pub struct Names {
    programmes: BTreeMap<u64, String>,
    sites: BTreeMap<u64, String>,
}

impl Names {
    /// As they are now.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let programmes = state.ledger().programmes_after(ProgrammeId(0));
        let sites = state.sites();
        Self {
            programmes: programmes.map(|one| (one.id.0.into(), one.name.to_string())).collect(),
            sites: sites.map(|one| (one.id.0.into(), one.name.to_string())).collect(),
        }
    }

    /// For tests of the reading alone.
    #[must_use]
    pub fn given(programmes: &[(ProgrammeId, &str)], sites: &[(SiteId, &str)]) -> Self {
        let programmes = programmes.iter().map(|(id, name)| (id.0.into(), (*name).to_owned()));
        let sites = sites.iter().map(|(id, name)| (id.0.into(), (*name).to_owned()));
        Self {
            programmes: programmes.collect(),
            sites: sites.collect(),
        }
    }
}

/// An entry that does not read as its kind should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its number in the journal.
    pub entry: u64,
}

/// The reading itself: entries go in, in order and without gaps, and rows come out.
#[derive(Debug)]
pub struct Reader {
    payer: u64,
    period: u32,
    /// The first entry that may hold lines of the period.
    first_entry: u64,
    names: Names,
    /// The payer's holds, open and ended: refunds speak of ended ones.
    holds: BTreeMap<u64, Hold>,
    quotes: BTreeMap<u64, Hold>,
    by_key: BTreeMap<Key, u64>,
    /// Jobs of other payers, whose refunds are no news.
    foreign_jobs: BTreeSet<u64>,
    /// Numbers of holds and quotes are given in order: what is above the first one seen was seen.
    first_hold: Option<u64>,
    first_quote: Option<u64>,
    /// Holds that took up quotes from before the reading.
    unknown: BTreeSet<u64>,
    began_too_late: bool,
    sum: v1::StatementTotals,
}

type Key = (u64, u32, u32);

#[derive(Clone, Debug, Default)]
struct Hold {
    key: Key,
    site: u64,
    opened_at_ms: u64,
    skus: Vec<String>,
    milli_units: Vec<u64>,
    open: VecDeque<Slice>,
    cells: Vec<Cell>,
}

/// A captured cell: what it cost, and who paid.
#[derive(Clone, Debug, Default)]
struct Cell {
    period: u32,
    from_ms: u64,
    until_ms: u64,
    gross: i64,
    wallet: i64,
    slice: Slice,
    /// Per leg of the slice: the amount, and what was taken of the grant.
    amounts: Vec<(i64, i64)>,
}

#[derive(Clone, Debug, Default)]
struct Slice {
    prices: Vec<(u64, u32)>,
    legs: Vec<Leg>,
}

#[derive(Clone, Debug, Default)]
struct Leg {
    voucher: u64,
    programme: u64,
    revision: u32,
    agreement: u32,
    holder_redeemed: bool,
}

/// Facts of one entry, from the front.
struct Facts<'a> {
    entry: u64,
    rest: std::slice::Iter<'a, u64>,
}

impl Facts<'_> {
    fn next(&mut self) -> Result<u64, Unreadable> {
        self.rest.next().copied().ok_or(Unreadable { entry: self.entry })
    }

    fn small(&mut self) -> Result<u32, Unreadable> {
        let entry = self.entry;
        u32::try_from(self.next()?).map_err(|_| Unreadable { entry })
    }

    fn amount(&mut self) -> Result<i64, Unreadable> {
        let entry = self.entry;
        i64::try_from(self.next()?).map_err(|_| Unreadable { entry })
    }

    fn skip(&mut self, count: usize) -> Result<(), Unreadable> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }
}

impl Reader {
    /// For the lines of `payer` in `period`, of which none is booked before `first_entry`.
    #[must_use]
    pub fn new(payer: OrgId, period: u32, first_entry: u64, names: Names) -> Self {
        Self {
            payer: payer.0.into(),
            period,
            first_entry,
            names,
            holds: BTreeMap::new(),
            quotes: BTreeMap::new(),
            by_key: BTreeMap::new(),
            foreign_jobs: BTreeSet::new(),
            first_hold: None,
            first_quote: None,
            unknown: BTreeSet::new(),
            began_too_late: false,
            sum: v1::StatementTotals::default(),
        }
    }

    /// A line that may be the payer's belongs to a hold that was opened before the reading began.
    #[must_use]
    pub fn began_too_late(&self) -> bool {
        self.began_too_late
    }

    /// What the rows add up to.
    #[must_use]
    pub fn sum(&self) -> v1::StatementTotals {
        self.sum
    }

    /// Takes in the next entry and appends its rows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take(&mut self, entry: &Entry, rows: &mut Vec<Row>) -> Result<(), Unreadable> {
        let mut facts = Facts {
            entry: entry.index,
            rest: entry.facts.iter(),
        };
        match entry.kind {
            kind if kind == EntryKind::Hold as u32 => self.hold(entry, &mut facts),
            kind if kind == EntryKind::HoldQuote as u32 => self.hold_quote(entry, &mut facts),
            kind if kind == EntryKind::TakeUpQuote as u32 => self.take_up(entry, &mut facts),
            kind if kind == EntryKind::Settle as u32 => {
                let hold = facts.next()?;
                facts.skip(1)?;
                self.cells(entry, hold, &mut facts, rows)?;
                self.counted_anew(entry, hold, &mut facts, rows)
            }
            kind if kind == EntryKind::Release as u32 => {
                let hold = facts.next()?;
                self.counted_anew(entry, hold, &mut facts, rows)
            }
            kind if kind == EntryKind::Capture as u32 => {
                let hold = facts.next()?;
                self.cells(entry, hold, &mut facts, rows)
            }
            kind if kind == EntryKind::Repin as u32 => self.repin(entry, &mut facts, rows),
            kind if kind == EntryKind::Extend as u32 => {
                let hold = facts.next()?;
                facts.skip(1)?;
                if let Some(hold) = self.holds.get_mut(&hold) {
                    let lines = hold.skus.len();
                    hold.open.extend(slices(&mut facts, lines)?);
                }
                Ok(())
            }
            kind if kind == EntryKind::Refund as u32 => self.refund(entry, &mut facts, rows),
            _ => Ok(()),
        }
    }

    fn hold(&mut self, entry: &Entry, facts: &mut Facts<'_>) -> Result<(), Unreadable> {
        let number = facts.next()?;
        self.first_hold.get_or_insert(number);
        let key = (facts.next()?, facts.small()?, facts.small()?);
        let Some(hold) = self.opened(entry, key, facts)? else {
            self.foreign_jobs.insert(key.0);
            return Ok(());
        };
        self.by_key.insert(key, number);
        self.holds.insert(number, hold);
        Ok(())
    }

    fn hold_quote(&mut self, entry: &Entry, facts: &mut Facts<'_>) -> Result<(), Unreadable> {
        let number = facts.next()?;
        self.first_quote.get_or_insert(number);
        // Its end stands in place of the job.
        facts.skip(3)?;
        if let Some(quote) = self.opened(entry, Key::default(), facts)? {
            self.quotes.insert(number, quote);
        }
        Ok(())
    }

    /// The rest of an entry that opens a hold or quote; `None` if it is another payer's.
    fn opened(&self, entry: &Entry, key: Key, facts: &mut Facts<'_>) -> Result<Option<Hold>, Unreadable> {
        if facts.next()? != self.payer {
            return Ok(None);
        }
        let site = facts.next()?;
        // Provider and time limit.
        facts.skip(2)?;
        let lines = facts.next()? as usize;
        let milli_units = (0..lines).map(|_| facts.next()).collect::<Result<_, _>>()?;
        let open = slices(facts, lines)?;
        Ok(Some(Hold {
            key,
            site,
            opened_at_ms: entry.stamp.at.0,
            skus: entry.texts.clone(),
            milli_units,
            open: open.into(),
            cells: Vec::new(),
        }))
    }

    fn take_up(&mut self, entry: &Entry, facts: &mut Facts<'_>) -> Result<(), Unreadable> {
        let number = facts.next()?;
        self.first_hold.get_or_insert(number);
        let key = (facts.next()?, facts.small()?, facts.small()?);
        let quote = facts.next()?;
        if let Some(hold) = self.quotes.remove(&quote) {
            let opened_at_ms = entry.stamp.at.0;
            self.by_key.insert(key, number);
            self.holds.insert(
                number,
                Hold {
                    key,
                    opened_at_ms,
                    ..hold
                },
            );
        } else if self.first_quote.is_some_and(|first| quote >= first) {
            self.foreign_jobs.insert(key.0);
        } else {
            self.unknown.insert(number);
        }
        Ok(())
    }

    fn repin(&mut self, entry: &Entry, facts: &mut Facts<'_>, rows: &mut Vec<Row>) -> Result<(), Unreadable> {
        let number = facts.next()?;
        facts.skip(1)?;
        self.cells(entry, number, facts, rows)?;
        if let Some(hold) = self.holds.get_mut(&number) {
            facts.skip(1)?;
            let lines = hold.skus.len();
            hold.open = slices(facts, lines)?.into();
        }
        Ok(())
    }

    /// A number of cells and the cells, captured from the open slices of a hold in their order.
    fn cells(
        &mut self,
        entry: &Entry,
        number: u64,
        facts: &mut Facts<'_>,
        rows: &mut Vec<Row>,
    ) -> Result<(), Unreadable> {
        let count = facts.next()?;
        if !self.holds.contains_key(&number) {
            self.unknown_hold(entry, number, count);
            return Ok(());
        }
        for _ in 0..count {
            let unreadable = Unreadable { entry: entry.index };
            let hold = self.holds.get_mut(&number).ok_or(unreadable)?;
            let slice = hold.open.pop_front().ok_or(unreadable)?;
            let (from_ms, until_ms) = (facts.next()?, facts.next()?);
            let period = facts.small()?;
            let (gross, wallet) = (facts.amount()?, facts.amount()?);
            let mut amounts = Vec::with_capacity(slice.legs.len());
            for _ in &slice.legs {
                amounts.push((facts.amount()?, facts.amount()?));
            }
            let cell = Cell {
                period,
                from_ms,
                until_ms,
                gross,
                wallet,
                slice,
                amounts,
            };
            let place = hold.cells.len() as u32;
            hold.cells.push(cell.clone());
            if period == self.period {
                self.usage(entry, number, place, &cell, rows);
            }
        }
        Ok(())
    }

    // Lines of a hold that the reading has not seen opened: another payer's, or the reading began too late.
    fn unknown_hold(&mut self, entry: &Entry, number: u64, count: u64) {
        let seen = self.first_hold.is_some_and(|first| number >= first) && !self.unknown.contains(&number);
        self.began_too_late |= !seen && count > 0 && entry.index >= self.first_entry;
    }

    /// A row of a cell, and one of each leg that paid.
    fn usage(&mut self, entry: &Entry, number: u64, place: u32, cell: &Cell, rows: &mut Vec<Row>) {
        let Some(hold) = self.holds.get(&number).filter(|_| cell.gross != 0) else {
            return;
        };
        let subsidy: i64 = cell.amounts.iter().map(|(amount, _)| amount).sum();
        let (job_id, task, attempt) = hold.key;
        rows.push(Row::Usage(v1::StatementUsage {
            journal_entry: entry.index,
            booked_at_ms: entry.stamp.at.0,
            job_id,
            task,
            attempt,
            cell: place,
            site: self.names.sites.get(&hold.site).cloned().unwrap_or_default(),
            from_ms: hold.opened_at_ms + cell.from_ms,
            until_ms: hold.opened_at_ms + cell.until_ms,
            skus: skus(hold, &cell.slice),
            gross_fen: cell.gross,
            copay_fen: cell.gross - subsidy,
            wallet_fen: cell.wallet,
        }));
        for (leg, (amount_fen, taken)) in cell.slice.legs.iter().zip(&cell.amounts) {
            if *amount_fen == 0 {
                continue;
            }
            let redemption = if leg.holder_redeemed {
                v1::Redemption::Holder
            } else {
                v1::Redemption::Provider
            };
            rows.push(Row::Credit(v1::StatementCredit {
                journal_entry: entry.index,
                job_id,
                task,
                attempt,
                cell: place,
                voucher_id: leg.voucher,
                programme: self.names.programmes.get(&leg.programme).cloned().unwrap_or_default(),
                revision: leg.revision,
                agreement_id: leg.agreement,
                redemption: redemption.into(),
                amount_fen: *amount_fen,
                taken: *taken,
            }));
        }
        self.sum.cells += 1;
        self.sum.gross_fen += cell.gross;
        self.sum.subsidy_fen += subsidy;
        self.sum.copay_fen += cell.gross - subsidy;
        self.sum.wallet_fen += cell.wallet;
    }

    /// Cells of which less was used than had been captured at a month's end: by how much each of those who paid pays less is a row as of a refund, by how
    /// much one pays more through a rounding is a row of use.
    fn counted_anew(
        &mut self,
        entry: &Entry,
        number: u64,
        facts: &mut Facts<'_>,
        rows: &mut Vec<Row>,
    ) -> Result<(), Unreadable> {
        let count = facts.next()?;
        let unreadable = Unreadable { entry: entry.index };
        if !self.holds.contains_key(&number) {
            self.unknown_hold(entry, number, count);
            return Ok(());
        }
        for _ in 0..count {
            let (place, booked_in, until_ms) = (facts.small()?, facts.small()?, facts.next()?);
            let (gross, wallet) = (facts.amount()?, facts.amount()?);
            let known = self
                .holds
                .get_mut(&number)
                .and_then(|hold| hold.cells.get_mut(place as usize));
            let cell = known.ok_or(unreadable)?;
            let mut more = Cell {
                period: booked_in,
                until_ms,
                wallet: (wallet - cell.wallet).max(0),
                amounts: Vec::with_capacity(cell.amounts.len()),
                ..cell.clone()
            };
            let (mut less_subsidy, mut more_subsidy) = (0, 0);
            let (mut before, mut after) = (cell.wallet, wallet);
            for (leg, (amount, grant)) in cell.slice.legs.iter().zip(&mut cell.amounts) {
                let (now, taken) = (facts.amount()?, facts.amount()?);
                less_subsidy += (*amount - now).max(0);
                more_subsidy += (now - *amount).max(0);
                more.amounts.push(((now - *amount).max(0), (taken - *grant).max(0)));
                if leg.holder_redeemed {
                    before -= *amount;
                    after -= now;
                }
                (*amount, *grant) = (now, taken);
            }
            // Without what was advanced: the co-pay.
            more.gross = more_subsidy + (after - before).max(0);
            let refund = v1::StatementRefund {
                journal_entry: entry.index,
                booked_at_ms: entry.stamp.at.0,
                cell: place,
                of_period: cell.period,
                amount_fen: less_subsidy + (before - after).max(0),
                wallet_fen: (cell.wallet - wallet).max(0),
                subsidy_fen: less_subsidy,
                reason: "not used".to_owned(),
                ..v1::StatementRefund::default()
            };
            (cell.until_ms, cell.gross, cell.wallet) = (until_ms, gross, wallet);
            if booked_in == self.period {
                self.refunded(self.holds[&number].key, refund, rows);
                self.usage(entry, number, place, &more, rows);
            }
        }
        Ok(())
    }

    fn refunded(&mut self, (job_id, task, attempt): Key, refund: v1::StatementRefund, rows: &mut Vec<Row>) {
        if refund.amount_fen == 0 {
            return;
        }
        self.sum.refunds += 1;
        self.sum.refunded_fen += refund.amount_fen;
        self.sum.refunded_to_wallet_fen += refund.wallet_fen;
        rows.push(Row::Refund(v1::StatementRefund {
            job_id,
            task,
            attempt,
            ..refund
        }));
    }

    fn refund(&mut self, entry: &Entry, facts: &mut Facts<'_>, rows: &mut Vec<Row>) -> Result<(), Unreadable> {
        let key: Key = (facts.next()?, facts.small()?, facts.small()?);
        let Some(hold) = self.by_key.get(&key).and_then(|number| self.holds.get(number)) else {
            self.began_too_late |= !self.foreign_jobs.contains(&key.0) && entry.index >= self.first_entry;
            return Ok(());
        };
        let mut found = Vec::new();
        for _ in 0..facts.next()? {
            let cell = facts.small()?;
            let (of_period, booked_in) = (facts.small()?, facts.small()?);
            let (amount_fen, wallet_fen) = (facts.amount()?, facts.amount()?);
            let known = hold.cells.get(cell as usize).ok_or(Unreadable { entry: entry.index })?;
            let mut subsidy_fen = 0;
            for _ in &known.amounts {
                subsidy_fen += facts.amount()?;
                facts.skip(2)?;
            }
            if booked_in == self.period {
                found.push(v1::StatementRefund {
                    journal_entry: entry.index,
                    booked_at_ms: entry.stamp.at.0,
                    cell,
                    of_period,
                    amount_fen,
                    wallet_fen,
                    subsidy_fen,
                    reason: entry.texts.first().cloned().unwrap_or_default(),
                    ..v1::StatementRefund::default()
                });
            }
        }
        for refund in found {
            self.refunded(key, refund, rows);
        }
        Ok(())
    }
}

/// A number of slices and the slices.
fn slices(facts: &mut Facts<'_>, lines: usize) -> Result<Vec<Slice>, Unreadable> {
    let count = facts.next()?;
    (0..count).map(|_| slice(facts, lines)).collect()
}

fn slice(facts: &mut Facts<'_>, lines: usize) -> Result<Slice, Unreadable> {
    // From, until, stack cap, list price, held in the wallet: what is captured of them its cell says.
    facts.skip(5)?;
    let mut slice = Slice::default();
    for _ in 0..lines {
        slice.prices.push((facts.next()?, facts.small()?));
    }
    for _ in 0..facts.next()? {
        let (voucher, programme) = (facts.next()?, facts.next()?);
        let (revision, agreement) = (facts.small()?, facts.small()?);
        // Version of the agreement.
        facts.skip(1)?;
        let holder_redeemed = facts.next()? == 1;
        // Fiscal year, cover, amount, grant, the rate of each line.
        facts.skip(4 + lines)?;
        slice.legs.push(Leg {
            voucher,
            programme,
            revision,
            agreement,
            holder_redeemed,
        });
    }
    Ok(slice)
}

fn skus(hold: &Hold, slice: &Slice) -> Vec<v1::StatementSku> {
    let lines = hold.skus.iter().zip(&hold.milli_units).zip(&slice.prices);
    let sku = |((sku, milli_units), (price, version)): ((&String, &u64), &(u64, u32))| v1::StatementSku {
        sku: sku.clone(),
        milli_units: *milli_units,
        millifen_per_unit_hour: *price,
        price_version: *version,
    };
    lines.map(sku).collect()
}
