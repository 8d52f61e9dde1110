//! Organisations, wallets, prices, programmes, agreements and vouchers: requests to the commands that end in the ledger.

use hesuan_engine::command::{Body, MoneyCommand};
use hesuan_engine::types::{JobId, TaskId};
use hesuan_ledger::types::{BasisPoints, Grant, Sku, Timestamp};
use hesuan_ledger::{
    BudgetPolicy, Funder, NewAgreement, NewOrg, NewProgramme, NewVoucher, OrgKind, Rate, Redemption, Stacking, Terms,
};

use super::check::{self, Checked, invalid, missing, out_of_range, range};
use crate::v1;

/// Vouchers of one batch.
pub const VOUCHERS_MAX: usize = 1000;
/// Prices of one sheet, rates of a programme, entries of other lists.
pub const LIST_MAX: usize = 256;
/// Payers of one programme's fund.
pub const FUNDERS_MAX: usize = 15;
/// Milli-fen per unit-hour: ten million yuan.
pub const UNIT_PRICE_MAX: u64 = 1_000_000_000_000;

fn money(command: MoneyCommand) -> Body {
    Body::Money(command)
}

pub(super) fn create_org(request: v1::CreateOrgRequest) -> Checked<Body> {
    Ok(money(MoneyCommand::CreateOrg(NewOrg {
        name: check::name("name", request.name)?,
        kind: org_kind("kind", request.kind)?,
        region: check::region("region", request.region)?,
        control_group: check::name_or_empty("control_group", request.control_group)?,
        credit_code: credit_code(request.credit_code)?,
    })))
}

const ORG_KINDS: &str = "enterprise, team, lab and provider";

fn org_kind(field: impl std::fmt::Display, given: i32) -> Checked<OrgKind> {
    Ok(match check::known(&field, given, ORG_KINDS)? {
        v1::OrgKind::Unspecified => return Err(missing(field, ORG_KINDS)),
        v1::OrgKind::Enterprise => OrgKind::Enterprise,
        v1::OrgKind::Team => OrgKind::Team,
        v1::OrgKind::Lab => OrgKind::Lab,
        v1::OrgKind::Provider => OrgKind::Provider,
    })
}

fn credit_code(given: String) -> Checked<Box<str>> {
    let good = given.len() == 18
        && given
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if given.is_empty() || good {
        return Ok(given.into_boxed_str());
    }
    Err(invalid(
        "FIELD_MALFORMED",
        "credit_code",
        format_args!(
            "credit_code is \"{}\": it has 18 digits and capital letters, or leave it out",
            given.escape_default()
        ),
    ))
}

pub(super) fn top_up(request: v1::TopUpRequest) -> Checked<Body> {
    Ok(money(MoneyCommand::TopUp {
        org: check::name("org", request.org)?,
        amount: check::amount("amount_fen", request.amount_fen)?,
        reference: check::note("reference", request.reference)?,
    }))
}

pub(super) fn withdraw(request: v1::WithdrawRequest) -> Checked<Body> {
    Ok(money(MoneyCommand::Withdraw {
        org: check::name("org", request.org)?,
        amount: check::amount("amount_fen", request.amount_fen)?,
        reference: check::note("reference", request.reference)?,
    }))
}

pub(super) fn set_prices(request: v1::SetPricesRequest) -> Checked<Body> {
    if request.prices.is_empty() {
        return Err(missing("prices", "give at least one price"));
    }
    check::count("prices", request.prices.len(), LIST_MAX)?;
    let mut prices = Vec::with_capacity(request.prices.len());
    for (index, price) in request.prices.into_iter().enumerate() {
        let unit = price.millifen_per_unit_hour;
        let unit = range(
            format_args!("prices[{index}].millifen_per_unit_hour"),
            unit,
            0,
            UNIT_PRICE_MAX,
        )?;
        prices.push((check::sku(format_args!("prices[{index}].sku"), price.sku)?, unit));
    }
    let mut skus: Vec<&str> = prices.iter().map(|(sku, _)| &**sku).collect();
    check::sort_distinct("prices", &mut skus)?;
    Ok(money(MoneyCommand::SetPrices {
        site: check::name("site", request.site)?,
        prices,
        effective_from: instant_or_now("effective_from_ms", request.effective_from_ms)?,
    }))
}

fn instant_or_now(field: &str, given: u64) -> Checked<Option<Timestamp>> {
    if given == 0 {
        Ok(None)
    } else {
        check::instant(field, given).map(Some)
    }
}

pub(super) fn refund(request: v1::RefundRequest) -> Checked<Body> {
    if request.job_id == 0 {
        return Err(missing("job_id", "give the number of the job"));
    }
    if request.attempt == 0 {
        return Err(missing("attempt", "give the number of the attempt, 1 or more"));
    }
    Ok(money(MoneyCommand::Refund {
        task: TaskId {
            job: JobId(request.job_id),
            task: request.task,
            attempt: request.attempt,
            restore_epoch: 0,
        },
        amount: check::amount_or_none("amount_fen", request.amount_fen)?,
        reason: check::note("reason", request.reason)?,
    }))
}

pub(super) fn create_programme(request: v1::CreateProgrammeRequest) -> Checked<Body> {
    let given = request
        .programme
        .ok_or_else(|| missing("programme", "describe the programme"))?;
    let (from, until) = check::interval("programme.", given.from_ms, given.until_ms)?;
    let budget_policy = match v1::BudgetPolicy::try_from(given.budget_policy) {
        Ok(v1::BudgetPolicy::Unspecified | v1::BudgetPolicy::CommitAtIssue) => BudgetPolicy::CommitAtIssue,
        Ok(v1::BudgetPolicy::CommitAtHold) => BudgetPolicy::CommitAtHold,
        Err(_) => {
            return Err(unknown(
                "programme.budget_policy",
                given.budget_policy,
                "commit at issue and commit at hold",
            ));
        }
    };
    let redemption = match v1::Redemption::try_from(given.redemption) {
        Ok(v1::Redemption::Unspecified | v1::Redemption::Provider) => Redemption::Provider,
        Ok(v1::Redemption::Holder) => Redemption::Holder,
        Err(_) => return Err(unknown("programme.redemption", given.redemption, "provider and holder")),
    };
    let stacking = if given.exclusive {
        Stacking::Exclusive
    } else {
        Stacking::Stackable {
            total_max: BasisPoints::WHOLE,
        }
    };
    let terms = Terms {
        rates: rates(given.rates)?,
        excluded_skus: patterns("programme.excluded_skus", given.excluded_skus)?,
        cap_per_control_group: check::amount_or_none(
            "programme.cap_per_control_group_fen",
            given.cap_per_control_group_fen,
        )?
        .map(|cap| Grant(cap.0)),
        cap_per_job: check::amount_or_none("programme.cap_per_job_fen", given.cap_per_job_fen)?.map(|cap| Grant(cap.0)),
        holder_kinds: holder_kinds(given.holder_kinds)?,
        holder_regions: holder_regions(given.holder_regions)?,
        stacking,
        from,
        until,
        ..Terms::default()
    };
    Ok(money(MoneyCommand::CreateProgramme(NewProgramme {
        name: check::name("programme.name", given.name)?,
        region: check::region("programme.region", given.region)?,
        funders: funders(given.funders)?,
        budget: Grant(check::amount("programme.budget_fen", given.budget_fen)?.0),
        budget_policy,
        redemption,
        terms,
        ..NewProgramme::default()
    })))
}

fn unknown(field: &str, given: i32, allowed: &str) -> hesuan_engine::outcome::Rejection {
    let message = format!("{field} is {given}, which is no known value: allowed are {allowed}");
    invalid("FIELD_UNKNOWN_VALUE", field, message)
}

fn rates(given: Vec<v1::Rate>) -> Checked<Vec<Rate>> {
    if given.is_empty() {
        return Err(missing("programme.rates", "give at least one rate"));
    }
    check::count("programme.rates", given.len(), LIST_MAX)?;
    let mut rates: Vec<Rate> = Vec::with_capacity(given.len());
    for (index, one) in given.into_iter().enumerate() {
        let sku = check::sku_pattern(format_args!("programme.rates[{index}].sku"), one.sku)?;
        if rates.iter().any(|rate| rate.sku.as_str() == &*sku) {
            return Err(check::duplicate("programme.rates", sku));
        }
        let rate = check::rate(format_args!("programme.rates[{index}].rate_bp"), one.rate_bp)?;
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

fn holder_kinds(given: Vec<i32>) -> Checked<Vec<OrgKind>> {
    check::count("programme.holder_kinds", given.len(), 8)?;
    let mut kinds = Vec::with_capacity(given.len());
    for (index, kind) in given.into_iter().enumerate() {
        kinds.push(org_kind(format_args!("programme.holder_kinds[{index}]"), kind)?);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

fn holder_regions(given: Vec<u32>) -> Checked<Vec<hesuan_ledger::types::RegionCode>> {
    check::count("programme.holder_regions", given.len(), LIST_MAX)?;
    let mut regions = Vec::with_capacity(given.len());
    for (index, code) in given.into_iter().enumerate() {
        regions.push(check::region(format_args!("programme.holder_regions[{index}]"), code)?);
    }
    check::sort_distinct("programme.holder_regions", &mut regions)?;
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
            cap_per_job: check::amount_or_none("agreement.cap_per_job_fen", given.cap_per_job_fen)?,
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

pub(super) fn issue_vouchers(request: v1::IssueVouchersRequest) -> Checked<Body> {
    if request.vouchers.is_empty() {
        return Err(missing("vouchers", "give at least one voucher"));
    }
    check::count("vouchers", request.vouchers.len(), VOUCHERS_MAX)?;
    let mut vouchers = Vec::with_capacity(request.vouchers.len());
    for (index, one) in request.vouchers.into_iter().enumerate() {
        let (from, until) = check::interval(format_args!("vouchers[{index}]."), one.from_ms, one.until_ms)?;
        vouchers.push(NewVoucher {
            code: check::name(format_args!("vouchers[{index}].code"), one.code)?,
            holder: check::name(format_args!("vouchers[{index}].holder"), one.holder)?,
            face: Grant(check::amount(format_args!("vouchers[{index}].face_fen"), one.face_fen)?.0),
            from,
            until,
        });
    }
    let mut codes: Vec<&str> = vouchers.iter().map(|voucher| &*voucher.code).collect();
    check::sort_distinct("vouchers", &mut codes)?;
    Ok(money(MoneyCommand::IssueVouchers {
        programme: check::name("programme", request.programme)?,
        vouchers,
    }))
}

pub(super) fn redeem_voucher(request: v1::RedeemVoucherRequest) -> Checked<Body> {
    Ok(money(MoneyCommand::RedeemVoucher {
        code: check::name("code", request.code)?,
    }))
}

pub(super) fn suspend_voucher(request: v1::SuspendVoucherRequest) -> Checked<Body> {
    let reason = check::note("reason", request.reason)?;
    Ok(money(MoneyCommand::SuspendVoucher {
        code: check::name("code", request.code)?,
        reason,
    }))
}

pub(super) fn resume_voucher(request: v1::ResumeVoucherRequest) -> Checked<Body> {
    let reason = check::note("reason", request.reason)?;
    Ok(money(MoneyCommand::ResumeVoucher {
        code: check::name("code", request.code)?,
        reason,
    }))
}

pub(super) fn revoke_voucher(request: v1::RevokeVoucherRequest) -> Checked<Body> {
    if request.fraud && request.reason.is_empty() {
        return Err(out_of_range("reason", "empty", "a text, when fraud is claimed"));
    }
    let reason = check::note("reason", request.reason)?;
    Ok(money(MoneyCommand::RevokeVoucher {
        code: check::name("code", request.code)?,
        reason,
        fraud: request.fraud,
    }))
}
