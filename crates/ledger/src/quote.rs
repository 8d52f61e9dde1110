//! What a bill would cost and who would pay which part: prices, eligible vouchers, the choice of legs. Changes nothing.

use std::sync::Arc;

use crate::bill::Bill;
use crate::choice::best_choice;
use crate::eligibility::{Asked, Candidate, ProgrammeView};
use crate::ledger::Ledger;
use crate::price::{PricedLine, check_lines};
use crate::programme::{Redemption, Stacking};
use crate::rejection::{Rejection, VoucherRule};
use crate::types::{AgreementId, BasisPoints, Fen, Funding, Line, OrgId, ProgrammeId, SiteId, Timestamp, VoucherId};

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
    /// The job, where caps per job should count what it has used already; holds take it from their key.
    pub job: Option<u64>,
}

/// What one voucher pays.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Who is paid the amount: the provider, or the holder afterwards.
    pub redemption: Redemption,
}

/// The price of a bill, should it run to its limit: `gross = Σ legs + copay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The lines with their prices and sheet versions.
    pub lines: Vec<PricedLine>,
    /// List price.
    pub gross: Fen,
    /// What each voucher pays, in order of preference.
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
    pub(crate) quote: Quote,
    pub(crate) pins: Vec<LegPin>,
    pub(crate) stack_max: BasisPoints,
}

/// What a leg keeps whatever happens to its programme and agreement while the hold is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegPin {
    /// Revision of the programme.
    pub revision: u32,
    /// Version of the agreement.
    pub agreement_version: u32,
    /// The cap counter it counts in: the payer's control group …
    pub group: OrgId,
    /// … and the fiscal year of the hold.
    pub year: u32,
    /// How much of the time, from its beginning, is covered.
    pub cover_ms: u64,
    /// Per line.
    pub rates: Arc<[BasisPoints]>,
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
        Ok(self.plan(request, request.job, at, at)?.quote)
    }

    /// Whether the payer's wallet has, and the payer allows, what a quote needs.
    pub fn afford(&self, request: &QuoteRequest, quote: &Quote) -> Result<(), Rejection> {
        if let Some(allowed) = request.copay_max
            && quote.wallet > allowed
        {
            return Err(Rejection::CopayOverMax {
                needed: quote.wallet,
                allowed,
            });
        }
        let available = self.known_org(request.payer)?.available;
        if quote.wallet > available {
            return Err(Rejection::InsufficientFunds {
                org: request.payer,
                needed: quote.wallet,
                available,
            });
        }
        Ok(())
    }

    /// A quote judged at `at` for use that begins at `use_from` (later than `at` for binding quotes, so that a cover that
    /// ends soon is not promised for longer than it lasts).
    pub(crate) fn plan(
        &self,
        request: &QuoteRequest,
        job: Option<u64>,
        at: Timestamp,
        use_from: Timestamp,
    ) -> Result<Plan, Rejection> {
        let asked = self.asked(request, job, at, use_from)?;
        check_lines(&request.lines, request.walltime_ms_max)?;
        let lines = self.priced(request, at)?;
        let bill = Bill::new(&lines, request.walltime_ms_max)?;
        let (views, candidates) = match &request.funding {
            Funding::WalletOnly => (Vec::new(), Vec::new()),
            Funding::Auto => self.usable_vouchers(&asked),
            Funding::Vouchers(named) => self.named_vouchers(&asked, named)?,
        };
        let choice = best_choice(&bill, &views, &candidates);
        let mut legs = Vec::with_capacity(choice.legs.len());
        let mut pins = Vec::with_capacity(choice.legs.len());
        for (index, amount) in choice.legs {
            let candidate = &candidates[index];
            legs.push(leg(&bill, &views[candidate.view], candidate, amount));
            pins.push(pin(&asked, &views[candidate.view], candidate));
        }
        let subsidy: i64 = legs.iter().map(|leg| leg.amount.0).sum();
        let advanced: i64 = legs
            .iter()
            .filter(|leg| leg.redemption == Redemption::Holder)
            .map(|leg| leg.amount.0)
            .sum();
        let copay = Fen(bill.gross.0 - subsidy);
        assert!(
            copay >= Fen::ZERO,
            "vouchers pay {subsidy} fen of a bill of {}",
            bill.gross
        );
        let slack = slack(&legs, &pins, request.walltime_ms_max, lines.len());
        let wallet = Fen(copay.0 + slack.0 + advanced);
        let gross = bill.gross;
        let quote = Quote {
            lines,
            gross,
            legs,
            copay,
            slack,
            wallet,
        };
        Ok(Plan {
            quote,
            pins,
            stack_max: choice.stack_max,
        })
    }

    fn priced(&self, request: &QuoteRequest, at: Timestamp) -> Result<Vec<PricedLine>, Rejection> {
        let site = self.known_site(request.site)?;
        let priced = request.lines.iter().map(|line| {
            let price = site.prices.at(&line.sku, at);
            let price = price.ok_or_else(|| Rejection::NoPrice {
                site: request.site,
                sku: line.sku.clone(),
            })?;
            let (millifen_per_unit_hour, price_version) = (price.millifen_per_unit_hour, price.version);
            Ok(PricedLine {
                line: line.clone(),
                millifen_per_unit_hour,
                price_version,
            })
        });
        priced.collect()
    }

    fn named_vouchers<'a>(
        &'a self,
        asked: &Asked<'a>,
        named: &[VoucherId],
    ) -> Result<(Vec<ProgrammeView<'a>>, Vec<Candidate<'a>>), Rejection> {
        let (views, candidates) = self.asked_vouchers(asked, named)?;
        let exclusive = views.iter().position(|view| view.terms.stacking == Stacking::Exclusive);
        if let Some(exclusive) = exclusive
            && views.len() > 1
        {
            let blocking = candidates.iter().find(|candidate| candidate.view == exclusive);
            let voucher = blocking.map_or(VoucherId(0), |candidate| candidate.voucher.id);
            return Err(Rejection::voucher(voucher, VoucherRule::Stacking));
        }
        Ok((views, candidates))
    }
}

fn pin(asked: &Asked<'_>, view: &ProgrammeView<'_>, candidate: &Candidate<'_>) -> LegPin {
    LegPin {
        revision: view.revision,
        agreement_version: view.agreement.map_or(0, |agreement| agreement.version),
        group: asked.payer.group,
        year: asked.year,
        cover_ms: candidate.cover_ms,
        rates: view.rates.clone(),
        reinstate: view.terms.reinstate_refunds,
        programme_job_cap: view.terms.cap_per_job.is_some(),
        agreement_job_cap: view
            .agreement
            .is_some_and(|agreement| agreement.agreed.cap_per_job.is_some()),
    }
}

fn leg(bill: &Bill<'_>, view: &ProgrammeView<'_>, candidate: &Candidate<'_>, amount: Fen) -> Leg {
    Leg {
        voucher: candidate.voucher.id,
        programme: view.programme.id,
        agreement: view.agreement.map_or(AgreementId(0), |agreement| agreement.id),
        rate: view.rates.iter().copied().max().unwrap_or(BasisPoints(0)),
        eligible: bill.eligible(&view.rates, candidate.cover_ms),
        amount,
        redemption: view.programme.redemption,
    }
}

/// By how much the co-pay at less than full use can exceed the co-pay at full use, through rounding alone.
///
/// Without rounding it never does: scaling a payment plan down scales every bound at least as much. On a line that n programmes
/// cover whole, each floor loses less than a fen, so n floors lose at most n - 1 whole fen more than at full use (one leg: none). On a
/// line that some voucher covers in part, the rounding of its own list price comes on top: at most two fen a voucher and one for the line.
fn slack(legs: &[Leg], pins: &[LegPin], walltime_ms_max: u64, lines: usize) -> Fen {
    let mut slack = 0;
    for line in 0..lines {
        let paying = || legs.iter().zip(pins).filter(move |(_, pin)| pin.rates[line].0 > 0);
        let vouchers = paying().count() as i64;
        if paying().any(|(_, pin)| pin.cover_ms < walltime_ms_max) {
            slack += 2 * vouchers + 1;
        } else {
            let first =
                |index: usize, leg: &Leg| legs[..index].iter().all(|earlier| earlier.programme != leg.programme);
            let distinct = legs
                .iter()
                .zip(pins)
                .enumerate()
                .filter(|(index, (leg, pin))| pin.rates[line].0 > 0 && first(*index, leg));
            slack += (distinct.count() as i64 - 1).max(0);
        }
    }
    Fen(slack)
}
