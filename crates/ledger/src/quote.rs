//! What a bill would cost and who would pay which part: prices, eligible vouchers, the choice of legs. Changes nothing.

use std::sync::Arc;

use crate::bill::Bill;
use crate::eligibility::{Asked, Candidate, Offers, ProgrammeView, When};
use crate::ledger::Ledger;
use crate::price::{Price, PricedLine, check_lines};
use crate::programme::{Redemption, Stacking};
use crate::rejection::{Rejection, VoucherRule};
use crate::slice::{Slice, advanced, plan_slices};
use crate::types::{
    AgreementId, BasisPoints, Fen, Few, Funding, Grant, GroupId, Line, OrgId, ProgrammeId, SiteId, Timestamp, VoucherId,
};

/// A bill to be: who pays for what, where, for how long at most, and with which money.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuoteRequest {
    /// Who pays.
    pub payer: OrgId,
    /// Where it would run.
    pub site: SiteId,
    /// What is reserved, each class once.
    pub lines: Vec<Line>,
    /// For how long at most.
    pub walltime_ms_max: u64,
    /// Which money.
    pub funding: Funding,
    /// The most that may be held in the wallet; `None` = no bound.
    pub copay_max: Option<Fen>,
    /// A cap or a budget may make the subsidy smaller than the rates give; otherwise that is a refusal.
    pub allow_partial: bool,
    /// The job, where caps per job should count what it has used already; holds take it from their key.
    pub job: Option<u64>,
}

/// What one voucher pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The voucher.
    pub voucher: VoucherId,
    /// Its programme.
    pub programme: ProgrammeId,
    /// The agreement it is recognised under; 0 in the issuer's own region.
    pub agreement: AgreementId,
    /// The highest rate among the lines.
    pub rate: BasisPoints,
    /// List price of the lines and the time it may pay for.
    pub eligible: Fen,
    /// What it pays.
    pub amount: Fen,
    /// What that takes from the voucher, in the programme's denomination.
    pub grant: Grant,
    /// The programme grants unit-hours, not money.
    pub unit_hours: bool,
    /// Who is paid the amount: the provider, or the holder afterwards.
    pub redemption: Redemption,
}

/// The price of a bill, should it run to its limit: `gross = Σ legs + copay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The lines with their prices and sheet versions.
    pub lines: Arc<[PricedLine]>,
    /// List price.
    pub gross: Fen,
    /// What each voucher pays, in order of preference; over all months that the time reaches into.
    pub legs: Vec<Leg>,
    /// What remains for the payer.
    pub copay: Fen,
    /// Rounding may turn against the payer when less than the limit is used, by at most this.
    pub slack: Fen,
    /// What the wallet must hold: co-pay, slack, and what the holder advances under holder-redeemed programmes.
    pub wallet: Fen,
}

/// A quote with everything a hold pins.
pub(crate) struct Plan {
    pub(crate) lines: Arc<[PricedLine]>,
    pub(crate) slices: Vec<Slice>,
}

/// What a leg keeps whatever happens to its programme and agreement while the hold is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegPin {
    /// Revision of the programme.
    pub revision: u32,
    /// Version of the agreement.
    pub agreement_version: u32,
    /// The cap counter it counts in: the payer's control group …
    pub group: GroupId,
    /// … and the fiscal year of the hold.
    pub year: u32,
    /// How much of the slice's time, from its beginning, is covered.
    pub cover_ms: u64,
    /// Per line.
    pub rates: Few<BasisPoints, 4>,
    /// A refund goes back on the voucher.
    pub reinstate: bool,
    /// The leg counts in the programme's cap per job.
    pub programme_job_cap: bool,
    /// The leg counts in the agreement's cap per job.
    pub agreement_job_cap: bool,
}

impl Ledger {
    /// What the bill would cost at the limit if it began at `at`. Whether the wallet can bear it is asked of [`Ledger::afford`].
    pub fn quote(&self, request: &QuoteRequest, at: Timestamp) -> Result<Quote, Rejection> {
        let now = When {
            at,
            use_from: at,
            offset_ms: 0,
            lenient: false,
        };
        Ok(self.plan(request, request.job, now)?.quote())
    }

    /// A quote that the payer's wallet can bear now and the payer allows.
    pub fn affordable_quote(&self, request: &QuoteRequest, at: Timestamp) -> Result<Quote, Rejection> {
        let quote = self.quote(request, at)?;
        self.afford(request, &quote)?;
        Ok(quote)
    }

    /// Whether the payer's wallet has, and the payer allows, what a quote needs.
    pub fn afford(&self, request: &QuoteRequest, quote: &Quote) -> Result<(), Rejection> {
        self.afford_wallet(request, quote.wallet, Fen::ZERO)
    }

    /// Whether the wallet has an amount, and the payer allows it on top of what is held or paid for the same hold already.
    pub(crate) fn afford_wallet(&self, request: &QuoteRequest, wallet: Fen, before: Fen) -> Result<(), Rejection> {
        let needed = Fen(wallet.0 + before.0);
        if let Some(allowed) = request.copay_max
            && needed > allowed
        {
            return Err(Rejection::CopayOverMax { needed, allowed });
        }
        let available = self.known_org(request.payer)?.available;
        if wallet > available {
            return Err(Rejection::InsufficientFunds {
                org: request.payer,
                needed: wallet,
                available,
            });
        }
        Ok(())
    }

    /// A quote judged at one time for use that begins at another (later for binding quotes, so that a cover that ends soon is not
    /// promised for longer than it lasts; in the middle of a hold for what is added to it).
    pub(crate) fn plan(&self, request: &QuoteRequest, job: Option<u64>, when: When) -> Result<Plan, Rejection> {
        self.known_org(request.payer)?;
        if let Some(most) = request.copay_max.filter(|most| *most < Fen::ZERO) {
            return Err(Rejection::invalid("copay_max", most, "0 fen or more, or no bound"));
        }
        check_lines(&request.lines, request.walltime_ms_max)?;
        let lines = self.priced(request, when.at)?;
        // The whole is bounded before it is cut.
        let whole = Bill::new(&lines, request.walltime_ms_max)?;
        let slices = self.plan_of(request, &lines, &whole, job, when)?;
        Ok(Plan { lines, slices })
    }

    fn plan_of(
        &self,
        request: &QuoteRequest,
        lines: &Arc<[PricedLine]>,
        whole: &Bill<'_>,
        job: Option<u64>,
        when: When,
    ) -> Result<Vec<Slice>, Rejection> {
        let asked = self.asked(request, lines, job, when)?;
        let mut offers = self.offers(&asked, when)?;
        if matches!(request.funding, Funding::Vouchers(_)) && !when.lenient {
            check_exclusive(&offers)?;
        }
        // A cap that leaves more than the bill cannot be in the way. In slices it may be dearer by as much as roundings add.
        let most = whole.gross.0 + ROUNDING_MAX;
        let capped = !request.allow_partial && !when.lenient && !offers.views.iter().all(|view| view.is_ample(most));
        let before = capped.then(|| offers.clone());
        let slices = plan_slices(&asked, lines, whole, &mut offers, when)?;
        if let Some(before) = before {
            check_whole(&asked, lines, whole, &slices, before, when)?;
        }
        Ok(slices)
    }

    fn priced(&self, request: &QuoteRequest, at: Timestamp) -> Result<Arc<[PricedLine]>, Rejection> {
        let site = self.known_site(request.site)?;
        let mut prices: Few<&Price, 4> = Few::new();
        for line in &request.lines {
            let price = site.prices.at(&line.sku, at);
            prices.push(price.ok_or_else(|| Rejection::NoPrice {
                site: request.site,
                sku: line.sku.clone(),
            })?);
        }
        // With nothing left to refuse the length is known, and the list is written where it stays.
        let priced = request.lines.iter().zip(prices.iter()).map(|(line, price)| PricedLine {
            line: line.clone(),
            millifen_per_unit_hour: price.millifen_per_unit_hour,
            price_version: price.version,
        });
        Ok(priced.collect())
    }
}

impl Plan {
    /// What all slices hold in the wallet.
    pub(crate) fn wallet(&self) -> Fen {
        Fen(self.slices.iter().map(|slice| slice.wallet.0).sum())
    }

    fn quote(self) -> Quote {
        let gross = Fen(self.slices.iter().map(|slice| slice.gross.0).sum());
        let wallet = self.wallet();
        let legs = merged(self.slices.iter().flat_map(|slice| &slice.legs));
        let subsidy: i64 = legs.iter().map(|leg| leg.amount.0).sum();
        let copay = Fen(gross.0 - subsidy);
        Quote {
            lines: self.lines,
            gross,
            slack: Fen(wallet.0 - copay.0 - advanced(&legs).0),
            legs,
            copay,
            wallet,
        }
    }
}

/// Legs of one voucher as one, in the order of their first.
pub(crate) fn merged<'a>(legs: impl Iterator<Item = &'a Leg>) -> Vec<Leg> {
    let mut merged: Vec<Leg> = Vec::with_capacity(2);
    for leg in legs {
        match merged.iter_mut().find(|known| known.voucher == leg.voucher) {
            Some(known) => {
                known.rate = known.rate.max(leg.rate);
                known.eligible.0 += leg.eligible.0;
                known.amount.0 += leg.amount.0;
                known.grant.0 += leg.grant.0;
            }
            None => merged.push(*leg),
        }
    }
    merged
}

// Of the vouchers named, one that excludes the others is a refusal.
fn check_exclusive(offers: &Offers<'_>) -> Result<(), Rejection> {
    let exclusive = |view: &ProgrammeView<'_>| view.terms.stacking == Stacking::Exclusive;
    let Some(place) = offers.views.iter().position(exclusive) else {
        return Ok(());
    };
    if offers.views.len() == 1 {
        return Ok(());
    }
    let blocking = offers.candidates.iter().find(|candidate| candidate.view == place);
    let voucher = blocking.map_or(VoucherId(0), |candidate| candidate.voucher.id);
    Err(Rejection::voucher(voucher, VoucherRule::Stacking))
}

// Fen by which slices can cost more than the whole: each of at most 64 lines in each of less than 40 months is rounded by less than one.
const ROUNDING_MAX: i64 = 64 * 40;

// Whether the vouchers pay as much as their rates and balances give: the same bill is planned without caps and budgets. Any cap may be in the way
// that does not leave more than the bill, also that of a programme that is not chosen because of it.
fn check_whole(
    asked: &Asked<'_>,
    lines: &Arc<[PricedLine]>,
    whole: &Bill<'_>,
    slices: &[Slice],
    mut before: Offers<'_>,
    when: When,
) -> Result<(), Rejection> {
    let gross = slices.iter().map(|slice| slice.gross.0).sum::<i64>();
    if before.views.iter().all(|view| view.is_ample(gross)) {
        return Ok(());
    }
    for view in &mut before.views {
        (view.caps_left, view.agreement_left) = (Grant::MAX, Fen::MAX);
    }
    let subsidy = |slices: &[Slice]| {
        Fen(slices
            .iter()
            .flat_map(|slice| &slice.legs)
            .map(|leg| leg.amount.0)
            .sum())
    };
    let needed = subsidy(&plan_slices(asked, lines, whole, &mut before, when)?);
    let available = subsidy(slices);
    if needed > available {
        return Err(Rejection::SubsidyPartial { needed, available });
    }
    Ok(())
}

pub(crate) fn pin(asked: &Asked<'_>, view: &ProgrammeView<'_>, cover_ms: u64) -> LegPin {
    LegPin {
        revision: view.revision,
        agreement_version: view.agreement.map_or(0, |agreement| agreement.version),
        group: asked.payer.group,
        year: asked.year,
        cover_ms,
        rates: Few::from_slice(&view.rates),
        reinstate: view.terms.reinstate_refunds,
        programme_job_cap: view.terms.cap_per_job.is_some(),
        agreement_job_cap: view
            .agreement
            .is_some_and(|agreement| agreement.agreed.cap_per_job.is_some()),
    }
}

pub(crate) fn leg(
    bill: &Bill<'_>,
    view: &ProgrammeView<'_>,
    candidate: &Candidate<'_>,
    cover_ms: u64,
    amount: Fen,
    grant: Grant,
) -> Leg {
    Leg {
        voucher: candidate.voucher.id,
        programme: view.programme.id,
        agreement: view.agreement.map_or(AgreementId(0), |agreement| agreement.id),
        rate: view.rates.iter().copied().max().unwrap_or(BasisPoints(0)),
        eligible: bill.eligible(&view.rates, cover_ms),
        amount,
        grant,
        unit_hours: view.unit_price.is_some(),
        redemption: view.programme.redemption,
    }
}
