//! Which vouchers may pay for a bill: a pure function of holder, programme, class, site, agreement, affiliation and time.
//! The rules are asked in the order of [`VoucherRule`]; the first that fails is the reason given.

use std::sync::Arc;

use crate::agreement::Agreement;
use crate::calendar::{fiscal_year, year_start};
use crate::ledger::{JobCap, Ledger};
use crate::party::{Org, Site};
use crate::programme::{BudgetPolicy, ExpiryBasis, Programme, Redemption, Terms};
use crate::quote::QuoteRequest;
use crate::rejection::{Rejection, VoucherRule};
use crate::types::{BasisPoints, Fen, ProgrammeId, Timestamp, VoucherId};
use crate::voucher::{Voucher, VoucherState};

/// A programme as it stands for one bill.
pub(crate) struct ProgrammeView<'a> {
    pub(crate) programme: &'a Programme,
    pub(crate) terms: &'a Terms,
    pub(crate) revision: u32,
    pub(crate) agreement: Option<&'a Agreement>,
    /// Per line, the programme's and the agreement's smaller rate.
    pub(crate) rates: Arc<[BasisPoints]>,
    /// What its caps and, if committed at hold, its budget leave.
    pub(crate) caps_left: Fen,
    /// What the agreement's cap per job leaves to all programmes that it carries, together.
    pub(crate) agreement_left: Fen,
    // How many agreements carry its vouchers abroad: vouchers with fewer uses are spent first.
    scope: usize,
}

/// A voucher that may pay.
pub(crate) struct Candidate<'a> {
    pub(crate) voucher: &'a Voucher,
    /// Place of its programme's view.
    pub(crate) view: usize,
    /// How much of the time, from its beginning, it covers.
    pub(crate) cover_ms: u64,
}

type Offers<'a> = (Vec<ProgrammeView<'a>>, Vec<Candidate<'a>>);

/// What the rules ask of one bill.
pub(crate) struct Asked<'a> {
    request: &'a QuoteRequest,
    // What counts in caps per job.
    job: Option<u64>,
    pub(crate) payer: &'a Org,
    site: &'a Site,
    affiliated: bool,
    at: Timestamp,
    /// The fiscal year of `at`.
    pub(crate) year: u32,
    // First instant of the next one.
    year_end: Timestamp,
    use_from: Timestamp,
}

impl Ledger {
    /// The payer's vouchers that may pay, in order of preference.
    pub(crate) fn usable_vouchers<'a>(&'a self, asked: &Asked<'a>) -> Offers<'a> {
        let mut seen: Vec<(ProgrammeId, Option<usize>)> = Vec::new();
        let (mut views, mut candidates) = (Vec::new(), Vec::new());
        for voucher in self.vouchers_in_use(asked.payer.id) {
            if state_rule(voucher, asked.at).is_some() {
                continue;
            }
            let view = match seen.iter().find(|(programme, _)| *programme == voucher.programme) {
                Some((_, view)) => *view,
                None => {
                    let view = self.view(asked, voucher.programme).ok().map(|view| {
                        views.push(view);
                        views.len() - 1
                    });
                    seen.push((voucher.programme, view));
                    view
                }
            };
            let Some(view) = view else { continue };
            if let Ok(cover_ms) = cover(asked, voucher, views[view].terms) {
                candidates.push(Candidate {
                    voucher,
                    view,
                    cover_ms,
                });
            }
        }
        sort_by_preference(&views, &mut candidates);
        (views, candidates)
    }

    /// The vouchers asked for, in order of preference; refused with the rule when one may not pay.
    pub(crate) fn asked_vouchers<'a>(
        &'a self,
        asked: &Asked<'a>,
        named: &[VoucherId],
    ) -> Result<Offers<'a>, Rejection> {
        if named.is_empty() || named.len() > 64 {
            return Err(Rejection::invalid("vouchers", named.len(), "1 to 64 vouchers"));
        }
        let (mut views, mut candidates): Offers<'a> = (Vec::new(), Vec::new());
        for (index, id) in named.iter().enumerate() {
            if named[..index].contains(id) {
                return Err(Rejection::invalid("vouchers", id, "each voucher once"));
            }
            let voucher = self.known_voucher(*id)?;
            let refused = |rule| Rejection::voucher(*id, rule);
            if voucher.holder != asked.payer.id {
                return Err(refused(VoucherRule::WrongHolder));
            }
            if let Some(rule) = state_rule(voucher, asked.at) {
                return Err(refused(rule));
            }
            let view = match views.iter().position(|view| view.programme.id == voucher.programme) {
                Some(view) => view,
                None => {
                    views.push(self.view(asked, voucher.programme).map_err(refused)?);
                    views.len() - 1
                }
            };
            let cover_ms = cover(asked, voucher, views[view].terms).map_err(refused)?;
            candidates.push(Candidate {
                voucher,
                view,
                cover_ms,
            });
        }
        sort_by_preference(&views, &mut candidates);
        Ok((views, candidates))
    }

    pub(crate) fn asked<'a>(
        &'a self,
        request: &'a QuoteRequest,
        job: Option<u64>,
        at: Timestamp,
        use_from: Timestamp,
    ) -> Result<Asked<'a>, Rejection> {
        let payer = self.known_org(request.payer)?;
        let site = self.known_site(request.site)?;
        let affiliated = payer.group == self.known_org(site.provider)?.group;
        let year = fiscal_year(at);
        Ok(Asked {
            request,
            job,
            payer,
            site,
            affiliated,
            at,
            year,
            year_end: year_start(year + 1),
            use_from,
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
        let rate = |line: &crate::types::Line| {
            let own = terms.rate_for(&line.sku);
            agreement.map_or(own, |agreement| own.min(agreement.rate_for(&line.sku)))
        };
        let rates: Arc<[BasisPoints]> = asked.request.lines.iter().map(rate).collect();
        if rates.iter().all(|rate| rate.0 == 0) {
            return Err(VoucherRule::Sku);
        }
        let caps_left = self.caps_left(asked, programme, terms)?;
        let agreement_left = self.agreement_left(asked, agreement)?;
        Ok(ProgrammeView {
            programme,
            terms,
            revision,
            agreement,
            rates,
            caps_left,
            agreement_left,
            scope,
        })
    }

    fn caps_left(&self, asked: &Asked<'_>, programme: &Programme, terms: &Terms) -> Result<Fen, VoucherRule> {
        let mut left = Fen::MAX;
        if programme.budget_policy == BudgetPolicy::CommitAtHold {
            left = positive(programme.uncommitted, VoucherRule::Budget)?;
        }
        if let Some(cap) = terms.cap_per_control_group {
            let key = (programme.id, asked.payer.group, asked.year);
            let used = self.group_use.get(&key).copied().unwrap_or_default();
            left = left.min(positive(Fen(cap.0 - used.0), VoucherRule::GroupCap)?);
        }
        if let Some(cap) = terms.cap_per_job {
            let used = self.used_by_job(asked, JobCap::Programme(programme.id));
            left = left.min(positive(Fen(cap.0 - used.0), VoucherRule::JobCap)?);
        }
        Ok(left)
    }

    fn agreement_left(&self, asked: &Asked<'_>, agreement: Option<&Agreement>) -> Result<Fen, VoucherRule> {
        let capped = agreement.and_then(|agreement| Some((agreement.id, agreement.agreed.cap_per_job?)));
        let Some((id, cap)) = capped else { return Ok(Fen::MAX) };
        let used = self.used_by_job(asked, JobCap::Agreement(id));
        positive(Fen(cap.0 - used.0), VoucherRule::JobCap)
    }

    fn used_by_job(&self, asked: &Asked<'_>, cap: JobCap) -> Fen {
        let key = asked.job.map(|job| (job, cap));
        key.and_then(|key| self.job_use.get(&key))
            .map_or(Fen::ZERO, |job| job.used)
    }
}

fn positive(left: Fen, rule: VoucherRule) -> Result<Fen, VoucherRule> {
    if left > Fen::ZERO { Ok(left) } else { Err(rule) }
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
    } else if voucher.available == Fen::ZERO {
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
fn sort_by_preference(views: &[ProgrammeView<'_>], candidates: &mut [Candidate<'_>]) {
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
