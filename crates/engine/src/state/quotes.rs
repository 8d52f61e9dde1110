//! What a job would cost where, for the check at submit, for binding quotes and for the hold at placement. A binding quote
//! holds the funds of one task at one site; the job that takes it up asks for that site and carries the quote in its request.

use hesuan_ledger::types::{Fen, Funding, HoldKey, Line, OrgId, QuoteId, SiteId, Sku, Stamp, Timestamp, VoucherId};
use hesuan_ledger::{BoundQuote, CoverEnd, HoldRequest, QuoteRequest};

use super::State;
use super::access::{Kind, Scope, judge_scope};
use crate::command::SubmitJob;
use crate::outcome::{Effect, Nearest, Rejection, RejectionKind, Reply};
use crate::schedule::{self, Reason, SiteQuote, feasible_at};
use crate::types::{JobId, PrincipalId, Request};

const VALID_MS_DEFAULT: u64 = 10 * 60_000;
const VALID_MS_MAX: u64 = 24 * 3_600_000;

impl State {
    /// The bill of one task of this request at a site, on devices of this model: of all its hosts together.
    #[must_use]
    pub fn bill(&self, request: &Request, site: SiteId, model: Option<&str>, at: Timestamp) -> QuoteRequest {
        let prices = self.tables.ledger.site(site).map(|site| &site.prices);
        let priced = |sku: &Sku| prices.is_some_and(|prices| prices.at(sku, at).is_some());
        let mut lines: Vec<Line> = schedule::price_lines(&request.resources, model, priced);
        for line in &mut lines {
            line.milli_units = line.milli_units.saturating_mul(request.nodes.count().into());
        }
        let funding = if request.funding.wallet_only {
            Funding::WalletOnly
        } else if request.funding.vouchers.is_empty() {
            Funding::Auto
        } else {
            Funding::Vouchers(request.funding.vouchers.iter().copied().map(VoucherId).collect())
        };
        QuoteRequest {
            payer: request.org,
            site,
            lines,
            walltime_ms_max: request.walltime_ms_max,
            funding,
            copay_max: request.funding.copay_max,
            allow_partial: request.funding.allow_partial,
            job: None,
        }
    }

    /// The binding quote that still pays for this request, if any: taken up or expired ones are gone, and one whose cover has ended pays nothing.
    #[must_use]
    pub fn live_quote(&self, request: &Request, at: Timestamp) -> Option<(QuoteId, &hesuan_ledger::BoundQuote)> {
        let id = QuoteId(request.quote?);
        let ledger = &self.tables.ledger;
        let bound = ledger.bound_quote(id).filter(|bound| bound.expires_at > at)?;
        ledger.cover_ended(bound).is_none().then_some((id, bound))
    }

    /// Why the binding quote of this request, which would still run, does not pay for it any more.
    #[must_use]
    pub fn quote_ended(&self, request: &Request, at: Timestamp) -> Option<String> {
        let bound = self.tables.ledger.bound_quote(QuoteId(request.quote?))?;
        let known = bound.expires_at > at && bound.pinned.payer == request.org;
        known.then(|| self.cover_end_text(bound))?
    }

    /// Why a binding quote pays nothing any more; `None` while it does.
    #[must_use]
    pub fn cover_end_text(&self, bound: &BoundQuote) -> Option<String> {
        let ledger = &self.tables.ledger;
        Some(match ledger.cover_ended(bound)? {
            CoverEnd::Fraud(voucher) => {
                let code = ledger.voucher(voucher).map_or("", |voucher| &voucher.code);
                format!("voucher {voucher} ({code}) was revoked for fraud")
            }
            CoverEnd::Revision(programme) => {
                let name = ledger.programme(programme).map_or("", |programme| &programme.name);
                format!("programme {name} was revised with immediate effect")
            }
            CoverEnd::Affiliation => "payer and provider have come under one controller".to_owned(),
        })
    }

    /// Whether a job waits with the binding quote, or waited when it was placed.
    #[must_use]
    pub fn quote_is_taken(&self, quote: QuoteId) -> bool {
        self.index.quotes.contains(&quote.0)
    }

    pub(super) fn hold_request(
        &self,
        key: HoldKey,
        request: &Request,
        site: SiteId,
        model: Option<&str>,
        at: Timestamp,
    ) -> HoldRequest {
        let quote = self.live_quote(request, at).map(|(id, _)| id);
        HoldRequest {
            key,
            request: self.bill(request, site, model, at),
            quote,
        }
    }

    /// The list price at the first site that could ever run the request and be paid now; else what each site says. Whether a
    /// site is open or full now is not asked: that may change by itself.
    pub(super) fn first_that_could(&self, request: &Request, at: Timestamp) -> Result<Fen, Rejection> {
        let mut refusals = Vec::new();
        for site in self.sites() {
            let quote = feasible_at(self, request, site, at);
            if let Some(price) = quote.price {
                return Ok(price.gross);
            }
            refusals.extend(quote.reasons.into_iter().map(|reason| (site.name.clone(), reason)));
        }
        let money = only_money(refusals.iter().map(|(_, reason)| reason));
        let (kind, code, text) = if money {
            (
                RejectionKind::Funds,
                "FUNDS",
                "the funds at hand pay for no site that could run it",
            )
        } else {
            (
                RejectionKind::Unsatisfiable,
                "UNSATISFIABLE",
                "no site could ever run it",
            )
        };
        let line = |(site, reason): (Box<str>, Reason)| (site, reason.code(), reason.to_string().into());
        let sites = refusals.into_iter().map(line).collect();
        let (figures, nearest) = if money {
            self.what_would_pay(request, at)
        } else {
            (None, None)
        };
        Err(Rejection {
            sites,
            figures,
            nearest,
            ..Rejection::new(kind, code, "spec", text)
        })
    }

    /// What one task may hold in the wallet at most, where vouchers help at some site and the payer set no bound itself: the
    /// dearest of these sites as quoted now. Another site may be chosen as long as it is no dearer for the payer.
    pub(super) fn quoted_wallet(&self, request: &Request, at: Timestamp) -> Option<Fen> {
        bounded_by_quote(request)?;
        let ledger = &self.tables.ledger;
        ledger.vouchers_in_use(request.org).next()?;
        let quotes = self.bills(request, at).filter_map(|(_, bill)| {
            let quote = ledger.affordable_quote(&bill, at).ok()?;
            (!quote.legs.is_empty()).then_some(quote.wallet)
        });
        quotes.max()
    }

    /// The nearest option that would be paid, where a quote was refused at every site and only money is missing.
    #[must_use]
    pub fn instead_of(&self, request: &Request, quotes: &[SiteQuote], at: Timestamp) -> Option<Box<Nearest>> {
        let refused = quotes.iter().all(|quote| quote.price.is_none());
        let money = refused && only_money(quotes.iter().flat_map(|quote| &quote.reasons));
        money.then(|| self.what_would_pay(request, at).1).flatten()
    }

    pub(super) fn bind_quote(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        job: &SubmitJob,
        valid_ms: u64,
    ) -> Result<Reply, Rejection> {
        self.check_form(job)?;
        let valid_ms = if valid_ms == 0 { VALID_MS_DEFAULT } else { valid_ms };
        if valid_ms > VALID_MS_MAX {
            let text = format!("valid_ms is {valid_ms}; a quote binds for at most {VALID_MS_MAX} ms");
            return Err(Rejection::invalid("OUT_OF_RANGE", "valid_ms", text));
        }
        check_single(job)?;
        self.judge_times(job, at)?;
        let request = self.resolve(principal, job)?;
        // The refusal, with all sites, is that of a submit.
        self.first_that_could(&request, at)?;
        let quotes = self.sites().map(|site| feasible_at(self, &request, site, at));
        let priced = quotes.filter_map(|quote| Some((quote.price?.copay, quote.site, quote.model)));
        // Cheapest for the user; of equals the smaller number.
        let (_, site, model) = priced.min().expect("the first that could is one of them");
        let bill = self.bill(&request, site, model.as_deref(), at);
        let by = Stamp { at, actor: principal.0 };
        let expires_at = Timestamp(at.0.saturating_add(valid_ms));
        let id = self
            .tables
            .ledger
            .hold_quote(&bill, expires_at, by)
            .map_err(|refused| self.refused(refused))?;
        Ok(Reply::Quote(id.0))
    }

    /// Gives back what a binding quote holds, at the wish of its payer. Another's quote gets the same answer as none.
    pub(super) fn release_quote(
        &mut self,
        principal: PrincipalId,
        quote: u64,
        by: Stamp,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let bound = self.tables.ledger.bound_quote(QuoteId(quote));
        let payer = bound.map(|bound| bound.pinned.payer);
        let own = |payer: &OrgId| judge_scope(self, principal, Kind::Submit, Scope::Org(*payer)).is_ok();
        let Some(payer) = payer.filter(own) else {
            let text = format!("no binding quote {quote} is open here; `job quotes` lists them");
            return Err(Rejection::not_found("UNKNOWN_QUOTE", "quote_id", text));
        };
        if self.quote_is_taken(QuoteId(quote)) {
            let text = format!("a job waits with quote {quote}: cancel that job, and the quote is given back with it");
            return Err(Rejection::precondition("QUOTE_TAKEN", "quote_id", text));
        }
        self.tables
            .ledger
            .release_quote(QuoteId(quote), by)
            .map_err(|refused| self.refused(refused))?;
        quote_released(payer, effects);
        Ok(Reply::Quote(quote))
    }

    /// A job that ended without having been placed leaves nothing held: its binding quote goes with it.
    pub(super) fn give_quote_back(&mut self, job: JobId, at: Timestamp, effects: &mut Vec<Effect>) {
        let request = self.request(self.job(job).expect("the caller has it"));
        let payer = request.org;
        let Some(quote) = request.quote.map(QuoteId) else {
            return;
        };
        let bound = self.tables.ledger.bound_quote(quote);
        if bound.is_some_and(|bound| bound.ended.is_none()) {
            self.tables.ledger.release_quote(quote, at).expect("it is open");
            quote_released(payer, effects);
        }
    }

    /// Binds the request to the quote: its site, its model, its funds.
    pub(super) fn take_up_quote(
        &self,
        quote: u64,
        request: &mut Request,
        job: &SubmitJob,
        at: Timestamp,
    ) -> Result<(), Rejection> {
        check_single(job)?;
        request.quote = Some(quote);
        if let Some(because) = self.quote_ended(request, at) {
            let text = format!(
                "quote {quote} is not good any more, and what it held is free again: {because}; ask for a new one, or submit without it"
            );
            return Err(Rejection::precondition("QUOTE_COVER_ENDED", "quote_id", text));
        }
        let Some((_, bound)) = self.live_quote(request, at) else {
            let text = format!("quote {quote} is unknown, expired or taken up");
            return Err(Rejection::precondition("QUOTE_EXPIRED", "quote_id", text));
        };
        if self.index.quotes.contains(&quote) {
            let text = format!("a job has taken quote {quote} up already");
            return Err(Rejection::precondition("QUOTE_TAKEN", "quote_id", text));
        }
        let pinned = &bound.pinned;
        let skus = pinned.lines.iter().map(|priced| priced.line.sku.as_str());
        let model: Option<Box<str>> = skus.filter_map(|sku| sku.strip_prefix("gpu/")).map(Box::from).next();
        let site = self
            .site(pinned.site)
            .expect("the ledger's sites are those of the state");
        if let Some(reason) = schedule::allowed(request, site) {
            let text = format!("quote {quote} is for {}: {reason}", site.name);
            return Err(Rejection::precondition("QUOTE_MISMATCH", "quote_id", text));
        }
        let accepted = model
            .as_deref()
            .is_none_or(|model| schedule::accepts_model(&request.resources, model));
        let bill = self.bill(request, pinned.site, model.as_deref(), at);
        let same = accepted
            && pinned.payer == bill.payer
            && pinned.lines.iter().map(|priced| &priced.line).eq(&bill.lines)
            && pinned.funding == bill.funding
            && pinned.copay_max == bill.copay_max
            && pinned.allow_partial == bill.allow_partial
            && bill.walltime_ms_max <= pinned.walltime_ms_max;
        if !same {
            let text = format!("quote {quote} was made for another payer, other resources, time or funding");
            return Err(Rejection::precondition("QUOTE_MISMATCH", "quote_id", text));
        }
        let subsidised = pinned.slices.iter().any(|slice| !slice.legs.is_empty());
        let wallet = pinned.wallet();
        request.sites = vec![pinned.site];
        request.wallet_max = bounded_by_quote(request).filter(|()| subsidised).map(|()| wallet);
        request.resources.gpu_models = model.into_iter().collect();
        Ok(())
    }
}

// What it held is free for others: the payer's funds, and what programmes have left.
fn quote_released(payer: OrgId, effects: &mut Vec<Effect>) {
    effects.push(Effect::FundsChanged(payer));
    effects.push(Effect::RulesChanged);
}

/// Whether what was quoted bounds what is paid: the payer names no bound of its own, and does not take what it gets.
fn bounded_by_quote(request: &Request) -> Option<()> {
    let funding = &request.funding;
    (funding.copay_max.is_none() && !funding.wallet_only && !funding.allow_partial).then_some(())
}

fn check_single(job: &SubmitJob) -> Result<(), Rejection> {
    if job.tasks == 1 {
        return Ok(());
    }
    let text = format!("a binding quote is for one task; this array has {}", job.tasks);
    Err(Rejection::invalid("QUOTE_ARRAY", "spec.array_count", text))
}

/// Where the payer did not exclude it, only money is missing.
fn only_money<'a>(mut reasons: impl Iterator<Item = &'a Reason> + Clone) -> bool {
    let is_money = |reason: &Reason| matches!(reason, Reason::Money { .. });
    let excluded = |reason: &Reason| matches!(reason, Reason::SiteNotAllowed | Reason::RegionNotAllowed { .. });
    reasons.clone().any(is_money) && reasons.all(|reason| is_money(reason) || excluded(reason))
}
