//! Tallies: what the lines booked in a period add up to. Every capture and every refund of a leg, and of the payer's own money, is
//! counted here once, as it is booked; statements are read from here. A closed period's tallies never change again.

use std::sync::Arc;

use crate::ledger::Ledger;
use crate::paged::{PagedMap, PagedVec};
use crate::programme::Redemption;
use crate::quote::Leg;
use crate::types::{AgreementId, Fen, OrgId, ProgrammeId, RegionCode, SiteId};

/// What a line is counted under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TallyKey {
    /// The period it is booked in.
    pub period: u32,
    /// The period its capture was booked in. Another one makes it a correction: a refund of a line of a closed period.
    pub of: u32,
    /// The programme that pays; 0 is the payer's own money.
    pub programme: ProgrammeId,
    /// The agreement it pays under; 0 in the issuer's own region.
    pub agreement: AgreementId,
    /// Where it ran.
    pub site: SiteId,
    /// The site's region, or the holder's where the holder is paid.
    pub payee_region: RegionCode,
}

/// What the lines under one key add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Captured.
    pub captured: Fen,
    /// Given back.
    pub refunded: Fen,
    /// How many lines were captured.
    pub captures: u64,
    /// How many lines were refunds.
    pub refunds: u64,
    // Net per funder where there are several.
    pub(crate) funders: Vec<Fen>,
}

impl Tally {
    /// Captured less given back; below zero where only refunds are booked.
    pub fn net(&self) -> Fen {
        Fen(self.captured.0 - self.refunded.0)
    }

    /// The net in the parts of the programme's funders, in their order; the whole for the payer's own money.
    pub fn parts(&self) -> impl Iterator<Item = Fen> + '_ {
        let whole = self.funders.is_empty().then(|| self.net());
        whole.into_iter().chain(self.funders.iter().copied())
    }

    fn count(&mut self, captured: Fen, refunded: Fen, parts: &[Fen]) {
        add(&mut self.captured, captured);
        add(&mut self.refunded, refunded);
        self.captures += u64::from(captured > Fen::ZERO);
        self.refunds += u64::from(refunded > Fen::ZERO);
        if parts.len() > 1 {
            self.funders.resize(parts.len(), Fen::ZERO);
            for (net, part) in self.funders.iter_mut().zip(parts) {
                add(net, Fen(if captured > Fen::ZERO { part.0 } else { -part.0 }));
            }
        }
    }
}

/// What one payer's cells add up to in a period: `gross = subsidy + copay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HolderTotals {
    /// How many cells were captured.
    pub cells: u64,
    /// List price.
    pub gross: Fen,
    /// Paid by vouchers.
    pub subsidy: Fen,
    /// Paid from the wallet: the co-pay, and what was advanced under holder-redeemed programmes.
    pub wallet: Fen,
    /// How many refunds were booked.
    pub refunds: u64,
    /// Given back, of `gross`; of whatever period the use was.
    pub refunded: Fen,
    /// Given back to the wallet.
    pub to_wallet: Fen,
}

impl HolderTotals {
    /// What remained for the payer, refunds not deducted.
    pub fn copay(&self) -> Fen {
        Fen(self.gross.0 - self.subsidy.0)
    }
}

/// The totals of every payer in every period. Those of one period stand under the payers' own dense numbers: a search among many payers would wait
/// for memory at each of its steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct TotalsByPayer(PagedMap<u32, Arc<PagedVec<HolderTotals>>>);

impl TotalsByPayer {
    fn get(&self, period: u32, payer: OrgId) -> Option<&HolderTotals> {
        self.0.get(&period)?.get(u64::from(payer.0))
    }

    /// Of a payer in a period for writing; zero when there were none.
    pub(crate) fn of(&mut self, period: u32, payer: OrgId) -> &mut HolderTotals {
        if !self.0.contains_key(&period) {
            self.0.insert(period, Arc::default());
        }
        let payers = Arc::make_mut(self.0.get_mut(&period).expect("put there above"));
        let payer = u64::from(payer.0);
        if !payers.contains(payer) {
            payers.put(payer, HolderTotals::default());
        }
        payers.get_mut(payer).expect("put there above")
    }

    /// All, by period and payer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ((u32, OrgId), &HolderTotals)> {
        self.0.iter().flat_map(|(period, payers)| {
            let of_one = payers.iter();
            of_one.map(|(payer, totals)| ((*period, OrgId(payer as u32)), totals))
        })
    }

    pub(crate) fn first(&self) -> Option<(u32, OrgId)> {
        let (period, payers) = self.0.first()?;
        let (payer, _) = payers.first()?;
        Some((*period, OrgId(payer as u32)))
    }

    pub(crate) fn remove(&mut self, (period, payer): (u32, OrgId)) {
        let Some(payers) = self.0.get_mut(&period).map(Arc::make_mut) else {
            return;
        };
        payers.remove(u64::from(payer.0));
        if payers.is_empty() {
            self.0.remove(&period);
        }
    }
}

/// A leg of a cell or of a refund, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegLine<'a> {
    /// The period its capture is booked in.
    pub(crate) period: u32,
    pub(crate) programme: ProgrammeId,
    pub(crate) agreement: AgreementId,
    pub(crate) site: SiteId,
    /// As it was at the hold, also for a refund.
    pub(crate) payee_region: RegionCode,
    /// Who may claim it under a holder-redeemed programme.
    pub(crate) claimant: Option<OrgId>,
    pub(crate) amount: Fen,
    /// Per funder, in their order; they sum up to `amount`.
    pub(crate) parts: &'a [Fen],
}

/// A cell or its refund as a whole, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellLine {
    /// The period the capture is booked in.
    pub(crate) period: u32,
    pub(crate) payer: OrgId,
    pub(crate) site: SiteId,
    pub(crate) site_region: RegionCode,
    pub(crate) gross: Fen,
    pub(crate) subsidy: Fen,
    /// From, or back to, the wallet.
    pub(crate) wallet: Fen,
}

impl Ledger {
    /// Counts the capture of a leg in the period it is booked in, and with it what its holder may claim.
    pub(crate) fn tally_capture(&mut self, line: &LegLine<'_>) {
        if line.amount == Fen::ZERO {
            return;
        }
        let key = line.key(line.period);
        self.count(key, line.amount, Fen::ZERO, line.parts);
        if let Some(holder) = line.claimant {
            self.credit_claim(holder, line.programme, line.amount);
        }
    }

    /// Counts the refund of a leg: in the period of its capture, or as a correction in the current one when that is closed. What the
    /// payee no longer has is not counted here; see [`Ledger::take_claim`] and [`Ledger::take_receivable`]. Returns the period.
    pub(crate) fn tally_refund(&mut self, line: &LegLine<'_>) -> u32 {
        let period = self.refund_period(line.period);
        if line.amount > Fen::ZERO {
            self.count(line.key(period), Fen::ZERO, line.amount, line.parts);
        }
        period
    }

    /// Counts a captured cell: the payer's own money, and the payer's totals.
    pub(crate) fn tally_cell(&mut self, cell: &CellLine) {
        self.tally_cell_in(cell.period, cell);
    }

    fn tally_cell_in(&mut self, period: u32, cell: &CellLine) {
        if cell.gross == Fen::ZERO {
            return;
        }
        if cell.wallet > Fen::ZERO {
            self.count(cell.own_key(period), cell.wallet, Fen::ZERO, &[]);
        }
        let totals = self.holder_totals.of(period, cell.payer);
        totals.cells += 1;
        add(&mut totals.gross, cell.gross);
        add(&mut totals.subsidy, cell.subsidy);
        add(&mut totals.wallet, cell.wallet);
    }

    /// Counts the refund of a cell, as [`Ledger::tally_refund`] counts a leg's. Returns the period.
    pub(crate) fn tally_cell_refund(&mut self, cell: &CellLine) -> u32 {
        let period = self.refund_period(cell.period);
        if cell.gross == Fen::ZERO {
            return period;
        }
        if cell.wallet > Fen::ZERO {
            self.count(cell.own_key(period), Fen::ZERO, cell.wallet, &[]);
        }
        let totals = self.holder_totals.of(period, cell.payer);
        totals.refunds += 1;
        add(&mut totals.refunded, cell.gross);
        add(&mut totals.to_wallet, cell.wallet);
        period
    }

    /// Counts by how much less than was captured a leg pays after a recount; by how much more, when the amount is below zero. In the period of a refund.
    pub(crate) fn tally_leg_recount(&mut self, line: &LegLine<'_>) {
        if line.amount > Fen::ZERO {
            self.tally_refund(line);
            return;
        }
        let key = line.key(self.refund_period(line.period));
        let parts: Vec<Fen> = line.parts.iter().map(|part| Fen(-part.0)).collect();
        self.count(key, Fen(-line.amount.0), Fen::ZERO, &parts);
        if let Some(holder) = line.claimant {
            self.credit_claim(holder, line.programme, Fen(-line.amount.0));
        }
    }

    /// Counts a recounted cell: by how much less its payer pays, and by how much more where a rounding says so. Returns the period.
    pub(crate) fn tally_recount(&mut self, less: &CellLine, more: &CellLine) -> u32 {
        let period = self.tally_cell_refund(less);
        self.tally_cell_in(period, more);
        period
    }

    /// The lines of a period as they are counted, by key.
    pub fn tallies(&self, period: u32) -> impl Iterator<Item = (&TallyKey, &Tally)> {
        self.tallies.range(all_of(period))
    }

    /// What one payer's cells add up to in a period.
    pub fn holder_totals(&self, period: u32, payer: OrgId) -> Option<&HolderTotals> {
        self.holder_totals.get(period, payer)
    }

    /// The totals of a period of payers with ids above `after`, by id.
    pub fn holder_totals_after(&self, period: u32, after: OrgId) -> impl Iterator<Item = (OrgId, &HolderTotals)> {
        let payers = self.holder_totals.0.get(&period).into_iter();
        let later = payers.flat_map(move |payers| payers.iter_from(u64::from(after.0) + 1));
        later.map(|(payer, totals)| (OrgId(payer as u32), totals))
    }

    fn refund_period(&self, captured_in: u32) -> u32 {
        if self.is_closed(captured_in) {
            self.current_number()
        } else {
            captured_in
        }
    }

    fn count(&mut self, key: TallyKey, captured: Fen, refunded: Fen, parts: &[Fen]) {
        assert!(
            !self.is_closed(key.period),
            "a line is booked in period {}, which is closed",
            key.period
        );
        match self.tallies.get_mut(&key) {
            Some(tally) => tally.count(captured, refunded, parts),
            None => {
                let mut tally = Tally::default();
                tally.count(captured, refunded, parts);
                self.tallies.insert(key, tally);
            }
        }
    }
}

impl LegLine<'static> {
    /// A leg of one funder, captured or given back. The payer's region is that of the capture.
    pub(crate) fn new(
        leg: &Leg,
        payer: OrgId,
        payer_region: RegionCode,
        (site, site_region): (SiteId, RegionCode),
        period: u32,
    ) -> Self {
        let (payee_region, claimant) = match leg.redemption {
            Redemption::Provider => (site_region, None),
            Redemption::Holder => (payer_region, Some(payer)),
        };
        LegLine {
            period,
            programme: leg.programme,
            agreement: leg.agreement,
            site,
            payee_region,
            claimant,
            amount: leg.amount,
            parts: &[],
        }
    }
}

impl LegLine<'_> {
    fn key(&self, period: u32) -> TallyKey {
        TallyKey {
            period,
            of: self.period,
            programme: self.programme,
            agreement: self.agreement,
            site: self.site,
            payee_region: self.payee_region,
        }
    }
}

impl CellLine {
    fn own_key(&self, period: u32) -> TallyKey {
        TallyKey {
            period,
            of: self.period,
            programme: ProgrammeId(0),
            agreement: AgreementId(0),
            site: self.site,
            payee_region: self.site_region,
        }
    }
}

/// The keys of a period.
pub(crate) fn all_of(period: u32) -> std::ops::Range<TallyKey> {
    let first = |period| TallyKey {
        period,
        ..TallyKey::default()
    };
    first(period)..first(period + 1)
}

pub(crate) fn add(sum: &mut Fen, amount: Fen) {
    sum.0 = sum
        .0
        .checked_add(amount.0)
        .expect("sums stay far below the bound of the books as a whole");
}
