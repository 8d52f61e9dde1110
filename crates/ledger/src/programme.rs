//! Voucher programmes: who issues, who funds, for whom, at what rate and up to which caps. Terms are revised, never changed.

use crate::party::{OrgKind, check_amount, check_name, check_region};
use crate::price::{check_pattern, closeness};
use crate::rejection::Rejection;
use crate::types::{BasisPoints, Fen, ProgrammeId, RegionCode, Sku, Timestamp};

/// When a budget is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BudgetPolicy {
    /// At issue: the faces of all vouchers together stay inside the budget.
    #[default]
    CommitAtIssue,
    /// At hold: more may be issued than there is; first committed, first served.
    CommitAtHold,
}

/// Who is paid the subsidy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redemption {
    /// 通兑: the holder pays its share, the provider collects the rest.
    #[default]
    Provider,
    /// 通用: the holder pays all and claims the subsidy.
    Holder,
}

/// Whether other programmes may pay for the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stacking {
    /// No other.
    Exclusive,
    /// Others may, as long as all together pay at most this part of the list price.
    Stackable {
        /// Of the list price.
        total_max: BasisPoints,
    },
}

/// Which use a voucher's end cuts off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryBasis {
    /// Use after the end is not covered.
    #[default]
    Usage,
    /// What was held before the end is covered whole.
    Hold,
}

/// A rate for a class, or for all classes with a prefix (`gpu/*`); the closest name wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// A class or a prefix ending in `*`.
    pub sku: Sku,
    /// The subsidy's part of the list price.
    pub rate: BasisPoints,
}

/// One payer of a programme's fund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funder {
    /// Its name.
    pub name: Box<str>,
    /// Its weight among the funders.
    pub share: u32,
}

/// What a revision may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// At least one.
    pub rates: Vec<Rate>,
    /// Classes (or prefixes) that are never subsidised.
    pub excluded_skus: Vec<Sku>,
    /// Per control group and fiscal year; `None` = no cap.
    pub cap_per_control_group: Option<Fen>,
    /// Per job, all its tasks and attempts together; `None` = no cap.
    pub cap_per_job: Option<Fen>,
    /// Empty = all.
    pub holder_kinds: Vec<OrgKind>,
    /// Empty = all.
    pub holder_regions: Vec<RegionCode>,
    /// Whether other programmes may pay too.
    pub stacking: Stacking,
    /// First instant it pays.
    pub from: Timestamp,
    /// First instant it pays no more.
    pub until: Timestamp,
    /// Which use a voucher's end cuts off.
    pub expiry_basis: ExpiryBasis,
    /// Covers reach over the end of the fiscal year they were held in.
    pub carry_over: bool,
    /// A refund goes back on the voucher while it lives; otherwise back to the fund.
    pub reinstate_refunds: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            rates: Vec::new(),
            excluded_skus: Vec::new(),
            cap_per_control_group: None,
            cap_per_job: None,
            holder_kinds: Vec::new(),
            holder_regions: Vec::new(),
            stacking: Stacking::Stackable {
                total_max: BasisPoints::WHOLE,
            },
            from: Timestamp(0),
            until: Timestamp::FAR,
            expiry_basis: ExpiryBasis::Usage,
            carry_over: false,
            reinstate_refunds: false,
        }
    }
}

/// A programme to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewProgramme {
    /// Unique; 1 to 128 bytes.
    pub name: Box<str>,
    /// The issuer's jurisdiction.
    pub region: RegionCode,
    /// 1 to 15.
    pub funders: Vec<Funder>,
    /// In all.
    pub budget: Fen,
    /// When the budget is committed.
    pub budget_policy: BudgetPolicy,
    /// Who is paid the subsidy.
    pub redemption: Redemption,
    /// Revision 1.
    pub terms: Terms,
}

/// Terms from an instant on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// First instant new quotes and holds are judged by it.
    pub effective_from: Timestamp,
    /// The terms.
    pub terms: Terms,
}

/// A programme and its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programme {
    /// Dense, from 1.
    pub id: ProgrammeId,
    /// Unique.
    pub name: Box<str>,
    /// The issuer's jurisdiction.
    pub region: RegionCode,
    /// In the fixed order of splits.
    pub funders: Vec<Funder>,
    /// When the budget is committed.
    pub budget_policy: BudgetPolicy,
    /// Who is paid the subsidy.
    pub redemption: Redemption,
    /// By `effective_from`; the number of a revision is its place, from 1.
    pub revisions: Vec<Revision>,
    /// In all.
    pub budget: Fen,
    /// Not committed.
    pub uncommitted: Fen,
    /// Over-issued: on vouchers, but not committed (commit at hold only).
    pub unfunded: Fen,
    /// Granted and not yet called from the funders: budget less net captures.
    pub uncalled: Fen,
    /// Called from each funder and not yet paid in: net captures, split.
    pub due: Vec<Fen>,
    /// Owed back to the funders: refunds of what they had paid in.
    pub recovery: Fen,
    /// Faces of all vouchers ever issued.
    pub issued: Fen,
    /// On open holds and binding quotes.
    pub held: Fen,
    /// Captured, refunds deducted.
    pub captured: Fen,
    /// Of the issued: lapsed or given back to the fund.
    pub lapsed: Fen,
    /// Of the issued: revoked.
    pub revoked: Fen,
}

impl Programme {
    /// The terms in force at an instant (before the first revision: the first) and their number.
    pub fn terms_at(&self, at: Timestamp) -> (&Terms, u32) {
        let begun = self
            .revisions
            .partition_point(|revision| revision.effective_from <= at)
            .max(1);
        (&self.revisions[begun - 1].terms, begun as u32)
    }

    /// The weights of the funders.
    pub(crate) fn weights(&self) -> Vec<u64> {
        self.funders.iter().map(|funder| u64::from(funder.share)).collect()
    }
}

impl Terms {
    /// The rate for a class; zero when it is excluded or not named.
    pub fn rate_for(&self, sku: &Sku) -> BasisPoints {
        if self
            .excluded_skus
            .iter()
            .any(|pattern| closeness(pattern, sku).is_some())
        {
            return BasisPoints(0);
        }
        let closest = self
            .rates
            .iter()
            .filter_map(|rate| Some((closeness(&rate.sku, sku)?, rate.rate)));
        closest.max().map_or(BasisPoints(0), |(_, rate)| rate)
    }
}

pub(crate) fn check_programme(programme: &NewProgramme) -> Result<(), Rejection> {
    check_name("name", &programme.name)?;
    check_region("region", programme.region)?;
    if programme.funders.is_empty() || programme.funders.len() > 15 {
        return Err(Rejection::invalid(
            "funders",
            programme.funders.len(),
            "1 to 15 funders",
        ));
    }
    for (index, funder) in programme.funders.iter().enumerate() {
        check_name("funders.name", &funder.name)?;
        if funder.share == 0 {
            return Err(Rejection::invalid("funders.share", funder.share, "above 0"));
        }
        if programme.funders[..index]
            .iter()
            .any(|earlier| earlier.name == funder.name)
        {
            return Err(Rejection::invalid("funders.name", &funder.name, "each funder once"));
        }
    }
    check_amount("budget", programme.budget)?;
    check_terms(&programme.terms)
}

pub(crate) fn check_terms(terms: &Terms) -> Result<(), Rejection> {
    if terms.rates.is_empty() || terms.rates.len() > 256 {
        return Err(Rejection::invalid("rates", terms.rates.len(), "1 to 256 rates"));
    }
    for (index, rate) in terms.rates.iter().enumerate() {
        check_pattern("rates.sku", &rate.sku)?;
        check_rate("rates.rate_bp", rate.rate)?;
        if terms.rates[..index].iter().any(|earlier| earlier.sku == rate.sku) {
            return Err(Rejection::invalid("rates.sku", &rate.sku, "each class once"));
        }
    }
    if terms.excluded_skus.len() > 256 {
        return Err(Rejection::invalid(
            "excluded_skus",
            terms.excluded_skus.len(),
            "at most 256",
        ));
    }
    for pattern in &terms.excluded_skus {
        check_pattern("excluded_skus", pattern)?;
    }
    if let Some(cap) = terms.cap_per_control_group {
        check_amount("cap_per_control_group", cap)?;
    }
    if let Some(cap) = terms.cap_per_job {
        check_amount("cap_per_job", cap)?;
    }
    if terms.holder_kinds.len() > 16 || terms.holder_regions.len() > 1_000 {
        return Err(Rejection::invalid(
            "holder_regions",
            terms.holder_regions.len(),
            "at most 1000 regions and 16 kinds",
        ));
    }
    for region in &terms.holder_regions {
        check_region("holder_regions", *region)?;
    }
    if let Stacking::Stackable { total_max } = terms.stacking {
        check_rate("stacking.total_max", total_max)?;
    }
    check_interval(terms.from, terms.until)
}

pub(crate) fn check_rate(field: &'static str, rate: BasisPoints) -> Result<(), Rejection> {
    if rate.0 == 0 || rate > BasisPoints::WHOLE {
        return Err(Rejection::invalid(field, rate, "1 to 10000 basis points"));
    }
    Ok(())
}

pub(crate) fn check_interval(from: Timestamp, until: Timestamp) -> Result<(), Rejection> {
    if until <= from || until > Timestamp::FAR {
        return Err(Rejection::invalid(
            "until",
            until,
            "after its beginning and before the year 10000",
        ));
    }
    Ok(())
}
