//! Programmes with their revisions and budgets, and recognition agreements.

use hesuan_engine::command::{Body, MoneyCommand};
use hesuan_ledger::types::{BasisPoints, Sku};
use hesuan_ledger::{
    BudgetPolicy, Denomination, ExpiryBasis, Funder, NewAgreement, NewProgramme, OrgKind, Rate, Redemption, Stacking,
    Terms,
};

use super::check::{self, Checked, invalid, missing, range};
use super::money::{LIST_MAX, instant_or_now, money, org_kind};
use crate::v1;

/// Payers of one programme's fund.
pub const FUNDERS_MAX: usize = 15;
const YEAR_MIN: u64 = 2_000;
const YEAR_MAX: u64 = 9_999;

pub(super) fn create(request: v1::CreateProgrammeRequest) -> Checked<Body> {
    let given = request
        .programme
        .ok_or_else(|| missing("programme", "describe the programme"))?;
    let (field, allowed) = ("programme.budget_policy", "commit at issue and commit at hold");
    let budget_policy = match check::known_if_given(field, given.budget_policy, allowed)? {
        None | Some(v1::BudgetPolicy::Unspecified | v1::BudgetPolicy::CommitAtIssue) => BudgetPolicy::CommitAtIssue,
        Some(v1::BudgetPolicy::CommitAtHold) => BudgetPolicy::CommitAtHold,
    };
    let redemption = match check::known_if_given("programme.redemption", given.redemption, "provider and holder")? {
        None | Some(v1::Redemption::Unspecified | v1::Redemption::Provider) => Redemption::Provider,
        Some(v1::Redemption::Holder) => Redemption::Holder,
    };
    let terms = terms("programme.terms", given.terms)?;
    let denomination = match given.unit_hours_of {
        sku if sku.is_empty() => Denomination::Money,
        sku => Denomination::UnitHours(Sku::from(&*check::sku("programme.unit_hours_of", sku)?)),
    };
    let fiscal_year = match given.fiscal_year {
        None => None,
        Some(year) => Some(range("programme.fiscal_year", year.into(), YEAR_MIN, YEAR_MAX)? as u32),
    };
    Ok(money(MoneyCommand::CreateProgramme(NewProgramme {
        name: check::name("programme.name", given.name)?,
        region: check::region("programme.region", given.region)?,
        funders: funders(given.funders)?,
        denomination,
        fiscal_year,
        budget: check::grant("programme.budget", given.budget)?,
        budget_policy,
        redemption,
        terms,
    })))
}

pub(super) fn revise(request: v1::ReviseProgrammeRequest) -> Checked<Body> {
    Ok(money(MoneyCommand::ReviseProgramme {
        programme: check::name("programme", request.programme)?,
        terms: Box::new(terms("terms", request.terms)?),
        effective_from: instant_or_now("effective_from_ms", request.effective_from_ms)?,
        immediate: request.immediate,
        unit_hours: request.unit_hours,
    }))
}

pub(super) fn set_budget(request: v1::SetBudgetRequest) -> Checked<Body> {
    Ok(money(MoneyCommand::SetBudget {
        programme: check::name("programme", request.programme)?,
        budget: check::grant("budget", request.budget)?,
        unit_hours: request.unit_hours,
    }))
}

/// What a revision may change; whether it suits the programme the ledger knows.
fn terms(field: &str, given: Option<v1::Terms>) -> Checked<Terms> {
    let given = given.ok_or_else(|| missing(field, "say what is paid, for whom and how long"))?;
    let (from, until) = check::interval(format_args!("{field}."), given.from_ms, given.until_ms)?;
    let stacking = match (given.exclusive, given.stack_total_bp) {
        (true, None) => Stacking::Exclusive,
        (true, Some(_)) => {
            let field = format!("{field}.stack_total_bp");
            let message = format!("{field} is given and the programme is exclusive: choose one");
            return Err(invalid("FIELD_CONFLICT", field, message));
        }
        (false, None) => Stacking::Stackable {
            total_max: BasisPoints::WHOLE,
        },
        (false, Some(total)) => Stacking::Stackable {
            total_max: check::rate(format_args!("{field}.stack_total_bp"), total)?,
        },
    };
    let basis_field = format_args!("{field}.expiry_basis");
    let expiry_basis = match check::known_if_given(basis_field, given.expiry_basis, "usage and hold")? {
        None | Some(v1::ExpiryBasis::Unspecified | v1::ExpiryBasis::Usage) => ExpiryBasis::Usage,
        Some(v1::ExpiryBasis::Hold) => ExpiryBasis::Hold,
    };
    let cap_group = format!("{field}.cap_per_control_group");
    Ok(Terms {
        rates: rates(&format!("{field}.rates"), given.rates)?,
        excluded_skus: patterns(&format!("{field}.excluded_skus"), given.excluded_skus)?,
        cap_per_control_group: check::grant_if_given(cap_group, given.cap_per_control_group)?,
        cap_per_job: check::grant_if_given(format_args!("{field}.cap_per_job"), given.cap_per_job)?,
        holder_kinds: holder_kinds(&format!("{field}.holder_kinds"), given.holder_kinds)?,
        holder_regions: holder_regions(&format!("{field}.holder_regions"), given.holder_regions)?,
        stacking,
        from,
        until,
        expiry_basis,
        carry_over: given.carry_over,
        reinstate_refunds: given.reinstate_refunds,
    })
}

fn rates(field: &str, given: Vec<v1::Rate>) -> Checked<Vec<Rate>> {
    if given.is_empty() {
        return Err(missing(field, "give at least one rate"));
    }
    check::count(field, given.len(), LIST_MAX)?;
    let mut rates: Vec<Rate> = Vec::with_capacity(given.len());
    for (index, one) in given.into_iter().enumerate() {
        let sku = check::sku_pattern(format_args!("{field}[{index}].sku"), one.sku)?;
        if rates.iter().any(|rate| rate.sku.as_str() == &*sku) {
            return Err(check::duplicate(field, sku));
        }
        let rate = check::rate(format_args!("{field}[{index}].rate_bp"), one.rate_bp)?;
        rates.push(Rate {
            sku: Sku::from(&*sku),
            rate,
        });
    }
    Ok(rates)
}

fn patterns(field: &str, given: Vec<String>) -> Checked<Vec<Sku>> {
    check::count(field, given.len(), LIST_MAX)?;
    let mut patterns = Vec::with_capacity(given.len());
    for (index, pattern) in given.into_iter().enumerate() {
        patterns.push(Sku::from(&*check::sku_pattern(
            format_args!("{field}[{index}]"),
            pattern,
        )?));
    }
    check::sort_distinct(field, &mut patterns)?;
    Ok(patterns)
}

fn holder_kinds(field: &str, given: Vec<i32>) -> Checked<Vec<OrgKind>> {
    check::count(field, given.len(), 8)?;
    let mut kinds = Vec::with_capacity(given.len());
    for (index, kind) in given.into_iter().enumerate() {
        kinds.push(org_kind(format_args!("{field}[{index}]"), kind)?);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

fn holder_regions(field: &str, given: Vec<u32>) -> Checked<Vec<hesuan_ledger::types::RegionCode>> {
    check::count(field, given.len(), LIST_MAX)?;
    let mut regions = Vec::with_capacity(given.len());
    for (index, code) in given.into_iter().enumerate() {
        regions.push(check::region(format_args!("{field}[{index}]"), code)?);
    }
    check::sort_distinct(field, &mut regions)?;
    Ok(regions)
}

fn funders(given: Vec<v1::Funder>) -> Checked<Vec<Funder>> {
    if given.is_empty() {
        return Err(missing("programme.funders", "say who pays"));
    }
    check::count("programme.funders", given.len(), FUNDERS_MAX)?;
    let mut funders: Vec<Funder> = Vec::with_capacity(given.len());
    for (index, one) in given.into_iter().enumerate() {
        let name = check::name(format_args!("programme.funders[{index}].name"), one.name)?;
        if funders.iter().any(|funder| funder.name == name) {
            return Err(check::duplicate("programme.funders", name));
        }
        let share = range(
            format_args!("programme.funders[{index}].share"),
            one.share.into(),
            1,
            1_000_000,
        )? as u32;
        funders.push(Funder { name, share });
    }
    Ok(funders)
}

pub(super) fn create_agreement(request: v1::CreateAgreementRequest) -> Checked<Body> {
    let given = request
        .agreement
        .ok_or_else(|| missing("agreement", "describe the agreement"))?;
    let (from, until) = check::interval("agreement.", given.from_ms, given.until_ms)?;
    let provider_region = match (given.provider_region, given.sites.is_empty()) {
        (0, true) => return Err(missing("agreement.provider_region", "give a region, or name sites")),
        (0, false) => None,
        (code, true) => Some(check::region("agreement.provider_region", code)?),
        (_, false) => {
            return Err(invalid(
                "FIELD_CONFLICT",
                "agreement.sites",
                "agreement.sites and agreement.provider_region are both given: give one of them",
            ));
        }
    };
    check::count("agreement.sites", given.sites.len(), LIST_MAX)?;
    let mut sites = Vec::with_capacity(given.sites.len());
    for (index, site) in given.sites.into_iter().enumerate() {
        sites.push(check::name(format_args!("agreement.sites[{index}]"), site)?);
    }
    check::sort_distinct("agreement.sites", &mut sites)?;
    Ok(money(MoneyCommand::CreateAgreement {
        agreement: NewAgreement {
            issuer_region: check::region("agreement.issuer_region", given.issuer_region)?,
            provider_region,
            sites: Vec::new(),
            skus: patterns("agreement.skus", given.skus)?,
            rate: check::rate("agreement.rate_bp", given.rate_bp)?,
            cap_per_job: check::amount_if_given("agreement.cap_per_job_fen", given.cap_per_job_fen)?,
            from,
            until,
        },
        sites,
    }))
}

pub(super) fn end_agreement(request: v1::EndAgreementRequest) -> Checked<Body> {
    if request.id == 0 {
        return Err(missing("id", "give the number of the agreement"));
    }
    Ok(money(MoneyCommand::EndAgreement {
        id: request.id,
        at: instant_or_now("at_ms", request.at_ms)?,
    }))
}
