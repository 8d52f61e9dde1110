//! Voucher programmes: who issues, who funds, for whom, at what rate and up to which caps. Terms are revised, never changed.

use std::fmt;

use crate::calendar::year_start;
use crate::party::{OrgKind, check_grant, check_name, check_region};
use crate::price::{check_pattern, check_sku, closeness};
use crate::rejection::Rejection;
use crate::types::{BasisPoints, Fen, Grant, ProgrammeId, RegionCode, Sku, Timestamp};

/// What budget, vouchers and caps of a programme are counted in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Denomination {
    /// Fen.
    #[default]
    Money,
    /// Milli-unit-seconds of one class (政策性算力): the vouchers pay that class at whatever it costs.
    UnitHours(Sku),
}

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
    /// Per control group and fiscal year, in the programme's denomination; `None` = no cap.
    pub cap_per_control_group: Option<Grant>,
    /// Per job, all its tasks and attempts together, in the programme's denomination; `None` = no cap.
    pub cap_per_job: Option<Grant>,
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
    /// What budget, vouchers and caps are counted in.
    pub denomination: Denomination,
    /// The calendar year (in Shanghai) whose budget it is; its terms lie in it, but may end later if they carry over. `None` = of no one year.
    pub fiscal_year: Option<u32>,
    /// In all.
    pub budget: Grant,
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
    /// It ended the covers of the holds open then, too.
    pub immediate: bool,
    /// A later one took its place before it was in force.
    pub replaced: bool,
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
    /// What the amounts below are counted in, unless they say fen.
    pub denomination: Denomination,
    /// The year whose budget it is.
    pub fiscal_year: Option<u32>,
    /// When the budget is committed.
    pub budget_policy: BudgetPolicy,
    /// Who is paid the subsidy.
    pub redemption: Redemption,
    /// Those that are not replaced by `effective_from`; the number of a revision is its place, from 1.
    pub revisions: Vec<Revision>,
    /// In all.
    pub budget: Grant,
    /// Not committed.
    pub uncommitted: Grant,
    /// Over-issued: on vouchers, but not committed (commit at hold only).
    pub unfunded: Grant,
    /// Granted and not used: budget less net captures.
    pub uncalled: Grant,
    /// Called from each funder and not paid in, in fen.
    pub due: Vec<Fen>,
    /// Owed back to the funders, in fen.
    pub recovery: Fen,
    /// Money that its vouchers have paid, refunds deducted, in fen.
    pub paid: Fen,
    /// Faces of all vouchers ever issued.
    pub issued: Grant,
    /// On open holds and binding quotes.
    pub held: Grant,
    /// Captured, refunds deducted.
    pub captured: Grant,
    /// Of the issued: lapsed or given back to the fund.
    pub lapsed: Grant,
    /// Of the issued: revoked.
    pub revoked: Grant,
}

impl Programme {
    /// The terms in force at an instant (before the first revision: the first) and their number.
    pub fn terms_at(&self, at: Timestamp) -> (&Terms, u32) {
        let begun = |revision: &Revision| !revision.replaced && revision.effective_from <= at;
        let place = self.revisions.iter().rposition(begun).unwrap_or(0);
        (&self.revisions[place].terms, place as u32 + 1)
    }

    /// The class whose unit-hours it grants; `None` = money.
    pub fn unit_hours_of(&self) -> Option<&Sku> {
        match &self.denomination {
            Denomination::Money => None,
            Denomination::UnitHours(sku) => Some(sku),
        }
    }

    /// The weights of the funders.
    pub(crate) fn weights(&self) -> Vec<u64> {
        self.funders.iter().map(|funder| u64::from(funder.share)).collect()
    }
}

impl fmt::Display for Terms {
    /// For the journal: what is set, in a fixed order, separated by `;`, which no class can hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rate in &self.rates {
            write!(f, "rate {}={};", rate.sku, rate.rate)?;
        }
        for sku in &self.excluded_skus {
            write!(f, "exclude {sku};")?;
        }
        if let Some(cap) = self.cap_per_control_group {
            write!(f, "cap_group {cap};")?;
        }
        if let Some(cap) = self.cap_per_job {
            write!(f, "cap_job {cap};")?;
        }
        for kind in &self.holder_kinds {
            write!(f, "kind {};", *kind as u32)?;
        }
        for region in &self.holder_regions {
            write!(f, "region {region};")?;
        }
        match self.stacking {
            Stacking::Exclusive => write!(f, "exclusive;")?,
            Stacking::Stackable { total_max } => write!(f, "stack {total_max};")?,
        }
        write!(f, "from {};until {}", self.from, self.until)?;
        let flags = [
            (self.expiry_basis == ExpiryBasis::Hold, ";expiry_hold"),
            (self.carry_over, ";carry_over"),
            (self.reinstate_refunds, ";reinstate"),
        ];
        flags
            .iter()
            .filter(|(set, _)| *set)
            .try_for_each(|(_, name)| f.write_str(name))
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
    check_grant("budget", programme.budget)?;
    if let Denomination::UnitHours(sku) = &programme.denomination {
        check_sku("denomination", sku)?;
    }
    if let Some(year) = programme.fiscal_year
        && !(2_000..10_000).contains(&year)
    {
        return Err(Rejection::invalid("fiscal_year", year, "2000 to 9999, or none"));
    }
    check_terms(&programme.terms)?;
    check_terms_of(&programme.terms, &programme.denomination, programme.fiscal_year)
}

/// Refuses terms that do not suit the rest of their programme: unit-hours have the rate of their class only, and a year's budget pays in its year.
pub(crate) fn check_terms_of(
    terms: &Terms,
    denomination: &Denomination,
    fiscal_year: Option<u32>,
) -> Result<(), Rejection> {
    if let Denomination::UnitHours(sku) = denomination
        && terms.rates.iter().any(|rate| rate.sku != *sku)
    {
        return Err(Rejection::invalid(
            "rates.sku",
            sku,
            "the class of the unit-hours and no other",
        ));
    }
    let Some(year) = fiscal_year else { return Ok(()) };
    if terms.from < year_start(year) || terms.from >= year_start(year + 1) {
        return Err(Rejection::invalid("from", terms.from, "an instant of the fiscal year"));
    }
    if terms.until > year_start(year + 1) && !terms.carry_over {
        return Err(Rejection::invalid(
            "until",
            terms.until,
            "in the fiscal year, unless it carries over",
        ));
    }
    Ok(())
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
        check_grant("cap_per_control_group", cap)?;
    }
    if let Some(cap) = terms.cap_per_job {
        check_grant("cap_per_job", cap)?;
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
