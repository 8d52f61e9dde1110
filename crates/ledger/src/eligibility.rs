//! Which vouchers may pay for a bill: a pure function of holder, programme, class, site, agreement, affiliation and time.
//! The rules are asked in the order of [`VoucherRule`]; the first that fails is the reason given.

use crate::agreement::Agreement;
use crate::arithmetic::worth;
use crate::calendar::{fiscal_year, year_start};
use crate::ledger::{JobCap, Ledger};
use crate::party::{Org, Site};
use crate::price::PricedLine;
use crate::programme::{BudgetPolicy, ExpiryBasis, Programme, Redemption, Terms};
use crate::quote::QuoteRequest;
use crate::rejection::{Rejection, VoucherRule};
use crate::types::{BasisPoints, Fen, Few, Funding, Grant, ProgrammeId, Timestamp, VoucherId};
use crate::voucher::{Voucher, VoucherState};

/// A programme as it stands for one bill.
#[derive(Clone)]
pub(crate) struct ProgrammeView<'a> {
    pub(crate) programme: &'a Programme,
    pub(crate) terms: &'a Terms,
    pub(crate) revision: u32,
    pub(crate) agreement: Option<&'a Agreement>,
    /// Per line, the programme's and the agreement's smaller rate.
    pub(crate) rates: Few<BasisPoints, 4>,
    /// The price of the class whose unit-hours it grants; `None` = it grants money.
    pub(crate) unit_price: Option<u64>,
    /// What its caps and, if committed at hold, its budget leave.
    pub(crate) caps_left: Grant,
    /// What the agreement's cap per job leaves to all programmes that it carries, together.
    pub(crate) agreement_left: Fen,
    // How many agreements carry its vouchers abroad: vouchers with fewer uses are spent first.
    scope: usize,
}

impl ProgrammeView<'_> {
    /// Whether its caps leave as much as the whole of a bill.
    pub(crate) fn is_ample(&self, gross: i64) -> bool {
        let caps = self.unit_price.is_none() && self.caps_left.0 >= gross || self.caps_left == Grant::MAX;
        caps && self.agreement_left.0 >= gross
    }

    /// An amount in the programme's denomination as money for this bill.
    pub(crate) fn worth(&self, grant: Grant) -> Fen {
        match self.unit_price {
            Some(price) => worth(grant, price),
            None => Fen(grant.0),
        }
    }
}

/// A voucher that may pay.
#[derive(Clone)]
pub(crate) struct Candidate<'a> {
    pub(crate) voucher: &'a Voucher,
    /// Place of its programme's view.
    pub(crate) view: usize,
    /// How much of the time, from its beginning, it covers.
    pub(crate) cover_ms: u64,
    /// What is free on it and not taken by an earlier slice.
    pub(crate) left: Grant,
}

/// What may pay a bill.
#[derive(Clone, Default)]
pub(crate) struct Offers<'a> {
    pub(crate) views: Few<ProgrammeView<'a>, 2>,
    /// In order of preference.
    pub(crate) candidates: Few<Candidate<'a>, 2>,
}

/// What the rules ask of one bill.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a QuoteRequest,
    pub(crate) lines: &'a [PricedLine],
    // What counts in caps per job.
    job: Option<u64>,
    pub(crate) payer: &'a Org,
    site: &'a Site,
    affiliated: bool,
    // The payer's own choice of vouchers shall pay all that the rates give.
    whole: bool,
    at: Timestamp,
    /// The fiscal year of `at`.
    pub(crate) year: u32,
    // First instant of the next one.
    year_end: Timestamp,
    use_from: Timestamp,
}

/// When a bill is judged, and which time it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    /// Rules, prices and balances are those of this instant.
    pub(crate) at: Timestamp,
    /// The time paid for begins here …
    pub(crate) use_from: Timestamp,
    /// … which is this much after the beginning of its hold.
    pub(crate) offset_ms: u64,
    /// Named vouchers that cannot pay are passed over instead of refused: the hold is open already and its cover ended.
    pub(crate) lenient: bool,
}

impl Ledger {
    /// What may pay: any of the payer's vouchers, or those it names.
    pub(crate) fn offers<'a>(&'a self, asked: &Asked<'a>, when: When) -> Result<Offers<'a>, Rejection> {
        match &asked.request.funding {
            Funding::WalletOnly => Ok(Offers::default()),
            Funding::Auto => Ok(self.usable_vouchers(asked)),
            Funding::Vouchers(named) => self.named_vouchers(asked, named, when.lenient),
        }
    }

    fn usable_vouchers<'a>(&'a self, asked: &Asked<'a>) -> Offers<'a> {
        let mut seen: Few<(ProgrammeId, Option<usize>), 4> = Few::new();
        let mut offers = Offers::default();
        for voucher in self.vouchers_in_use(asked.payer.id) {
            if state_rule(voucher, asked.at).is_some() {
                continue;
            }
            let view = match seen.iter().find(|(programme, _)| *programme == voucher.programme) {
                Some((_, view)) => *view,
                None => {
                    let view = match self.view(asked, voucher.programme) {
                        Ok(view) => {
                            offers.views.push(view);
                            Some(offers.views.len() - 1)
                        }
                        Err(_) => None,
                    };
                    seen.push((voucher.programme, view));
                    view
                }
            };
            let Some(view) = view else { continue };
            if let Ok(cover_ms) = cover(asked, voucher, offers.views[view].terms) {
                let left = voucher.available;
                offers.candidates.push(Candidate {
                    voucher,
                    view,
                    cover_ms,
                    left,
                });
            }
        }
        sort_by_preference(&mut offers);
        offers
    }

    // In order of preference; refused with the rule when one may not pay.
    fn named_vouchers<'a>(
        &'a self,
        asked: &Asked<'a>,
        named: &[VoucherId],
        lenient: bool,
    ) -> Result<Offers<'a>, Rejection> {
        if named.is_empty() || named.len() > 64 {
            return Err(Rejection::invalid("vouchers", named.len(), "1 to 64 vouchers"));
        }
        let mut offers = Offers::default();
        for (index, id) in named.iter().enumerate() {
            if named[..index].contains(id) {
                return Err(Rejection::invalid("vouchers", id, "each voucher once"));
            }
            match self.named_voucher(asked, *id, &mut offers) {
                Err(_) if lenient => {}
                outcome => outcome?,
            }
        }
        sort_by_preference(&mut offers);
        Ok(offers)
    }

    fn named_voucher<'a>(&'a self, asked: &Asked<'a>, id: VoucherId, offers: &mut Offers<'a>) -> Result<(), Rejection> {
        let voucher = self.known_voucher(id)?;
        let refused = |rule| Rejection::voucher(id, rule);
        if voucher.holder != asked.payer.id {
            return Err(refused(VoucherRule::WrongHolder));
        }
        if let Some(rule) = state_rule(voucher, asked.at) {
            return Err(refused(rule));
        }
        let known = offers
            .views
            .iter()
            .position(|view| view.programme.id == voucher.programme);
        let view = match known {
            Some(view) => view,
            None => {
                offers.views.push(self.view(asked, voucher.programme).map_err(refused)?);
                offers.views.len() - 1
            }
        };
        let cover_ms = cover(asked, voucher, offers.views[view].terms).map_err(refused)?;
        let left = voucher.available;
        offers.candidates.push(Candidate {
            voucher,
            view,
            cover_ms,
            left,
        });
        Ok(())
    }

    pub(crate) fn asked<'a>(
        &'a self,
        request: &'a QuoteRequest,
        lines: &'a [PricedLine],
        job: Option<u64>,
        when: When,
    ) -> Result<Asked<'a>, Rejection> {
        let payer = self.known_org(request.payer)?;
        let site = self.known_site(request.site)?;
        let affiliated = payer.group == self.known_org(site.provider)?.group;
        let year = fiscal_year(when.at);
        Ok(Asked {
            request,
            lines,
            job,
            payer,
            site,
            affiliated,
            whole: request.funding == Funding::Auto && !request.allow_partial && !when.lenient,
            at: when.at,
            year,
            year_end: year_start(year + 1),
            use_from: when.use_from,
        })
    }

    fn view<'a>(&'a self, asked: &Asked<'a>, id: ProgrammeId) -> Result<ProgrammeView<'a>, VoucherRule> {
        let programme = self.programme(id).expect("a voucher's programme exists");
        let (terms, revision) = programme.terms_at(asked.at);
        if asked.at < terms.from || terms.until <= asked.at {
            return Err(VoucherRule::ProgrammeNotInForce);
        }
        let registered = &asked.payer.registered;
        if !terms.holder_kinds.is_empty() && !terms.holder_kinds.contains(&registered.kind) {
            return Err(VoucherRule::HolderKind);
        }
        if !terms.holder_regions.is_empty() && !terms.holder_regions.contains(&registered.region) {
            return Err(VoucherRule::HolderRegion);
        }
        if asked.affiliated {
            return Err(VoucherRule::Affiliated);
        }
        let abroad = asked.site.region != programme.region;
        let mut scope = 0;
        let mut agreement = None;
        for (_, known) in self.agreements.iter() {
            if known.agreed.issuer_region == programme.region && known.in_force(asked.at) {
                scope += 1;
                if abroad && known.covers(asked.request.site, asked.site) {
                    agreement = Some(known);
                }
            }
        }
        if abroad && agreement.is_none() {
            return Err(VoucherRule::Scope);
        }
        let rate = |priced: &PricedLine| {
            let own = terms.rate_for(&priced.line.sku);
            agreement.map_or(own, |agreement| own.min(agreement.rate_for(&priced.line.sku)))
        };
        let rates: Few<BasisPoints, 4> = asked.lines.iter().map(rate).collect();
        if rates.iter().all(|rate| rate.0 == 0) {
            return Err(VoucherRule::Sku);
        }
        let unit_price = programme.unit_hours_of().map(|sku| {
            let priced = asked.lines.iter().find(|priced| priced.line.sku == *sku);
            priced.map_or(0, |priced| priced.millifen_per_unit_hour)
        });
        let caps_left = self.caps_left(asked, programme, terms)?;
        let agreement_left = self.agreement_left(asked, agreement)?;
        Ok(ProgrammeView {
            programme,
            terms,
            revision,
            agreement,
            rates,
            unit_price,
            caps_left,
            agreement_left,
            scope,
        })
    }

    fn caps_left(&self, asked: &Asked<'_>, programme: &Programme, terms: &Terms) -> Result<Grant, VoucherRule> {
        let mut left = Grant::MAX;
        // Who wants it whole or not at all is told how much of it a cap takes away, also where that is all of it; see `check_whole`.
        let positive = |left: i64, rule| match asked.whole {
            true => Ok(left.max(0)),
            false => positive(left, rule),
        };
        if programme.budget_policy == BudgetPolicy::CommitAtHold {
            left = Grant(positive(programme.uncommitted.0, VoucherRule::Budget)?);
        }
        if let Some(cap) = terms.cap_per_control_group {
            let used = self.group(asked.payer.group).used(programme.id, asked.year);
            left = left.min(Grant(positive(cap.0 - used.0, VoucherRule::GroupCap)?));
        }
        if let Some(cap) = terms.cap_per_job {
            let used = self.used_by_job(asked, JobCap::Programme(programme.id));
            left = left.min(Grant(positive(cap.0 - used, VoucherRule::JobCap)?));
        }
        Ok(left)
    }

    fn agreement_left(&self, asked: &Asked<'_>, agreement: Option<&Agreement>) -> Result<Fen, VoucherRule> {
        let capped = agreement.and_then(|agreement| Some((agreement.id, agreement.agreed.cap_per_job?)));
        let Some((id, cap)) = capped else { return Ok(Fen::MAX) };
        let left = cap.0 - self.used_by_job(asked, JobCap::Agreement(id));
        if asked.whole {
            return Ok(Fen(left.max(0)));
        }
        positive(left, VoucherRule::JobCap).map(Fen)
    }

    fn used_by_job(&self, asked: &Asked<'_>, cap: JobCap) -> i64 {
        let key = asked.job.map(|job| (job, cap));
        key.and_then(|key| self.job_use.get(&key)).map_or(0, |job| job.used)
    }
}

fn positive(left: i64, rule: VoucherRule) -> Result<i64, VoucherRule> {
    if left > 0 { Ok(left) } else { Err(rule) }
}

fn state_rule(voucher: &Voucher, at: Timestamp) -> Option<VoucherRule> {
    match voucher.state {
        VoucherState::Issued => return Some(VoucherRule::NotRedeemed),
        VoucherState::Suspended => return Some(VoucherRule::Suspended),
        VoucherState::Revoked => return Some(VoucherRule::Revoked),
        VoucherState::Expired => return Some(VoucherRule::Expired),
        VoucherState::Exhausted => return Some(VoucherRule::Exhausted),
        VoucherState::Active => {}
    }
    if voucher.until <= at {
        Some(VoucherRule::Expired)
    } else if at < voucher.from {
        Some(VoucherRule::NotYetValid)
    } else if voucher.available == Grant::ZERO {
        Some(VoucherRule::Exhausted)
    } else {
        None
    }
}

// Use counts from the beginning of the hold, which is when capacity is reserved: the same at quote and at settlement.
fn cover(asked: &Asked<'_>, voucher: &Voucher, terms: &Terms) -> Result<u64, VoucherRule> {
    let limit = asked.request.walltime_ms_max;
    if terms.expiry_basis == ExpiryBasis::Hold {
        return Ok(limit);
    }
    let mut end = voucher.until.min(terms.until);
    if !terms.carry_over {
        end = end.min(asked.year_end);
    }
    let cover_ms = end.0.saturating_sub(asked.use_from.0);
    if cover_ms == 0 {
        Err(VoucherRule::Expired)
    } else {
        Ok(cover_ms.min(limit))
    }
}

// Provider-redeemed ones first, so that as little as possible is advanced by the holder (and so that what the wallet must hold
// at full use suffices at any use: the first in the order always get their own maximum).
fn sort_by_preference(offers: &mut Offers<'_>) {
    let Offers { views, candidates } = offers;
    candidates.sort_by_key(|candidate| {
        let view = &views[candidate.view];
        let advanced = view.programme.redemption == Redemption::Holder;
        (
            advanced,
            view.scope,
            candidate.voucher.until,
            candidate.voucher.available,
            candidate.voucher.id,
        )
    });
}
