//! Organisations, wallets, prices and vouchers: requests to the commands that end in the ledger.

use hesuan_engine::command::{Body, MoneyCommand};
use hesuan_engine::types::{JobId, TaskId};
use hesuan_ledger::types::Timestamp;
use hesuan_ledger::{NewOrg, NewVoucher, OrgKind};

use super::check::{self, Checked, invalid, missing, range};
use crate::v1;

/// Vouchers of one batch.
pub const VOUCHERS_MAX: usize = 1000;
/// Prices of one sheet, rates of a programme, entries of other lists.
pub const LIST_MAX: usize = 256;
/// Milli-fen per unit-hour: ten million yuan.
pub const UNIT_PRICE_MAX: u64 = 1_000_000_000_000;

pub(super) fn money(command: MoneyCommand) -> Body {
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

pub(super) fn org_kind(field: impl std::fmt::Display, given: i32) -> Checked<OrgKind> {
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

pub(super) fn update_org(request: v1::UpdateOrgRequest) -> Checked<Body> {
    let region = request.region.map(|code| check::region("region", code)).transpose()?;
    let control_group = check::name_or_empty("control_group", request.control_group)?;
    if region.is_none() && control_group.is_empty() {
        return Err(missing("region", "give a region, a control group, or both"));
    }
    Ok(money(MoneyCommand::UpdateOrg {
        org: check::name("org", request.org)?,
        region,
        control_group: (!control_group.is_empty()).then_some(control_group),
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

pub(super) fn instant_or_now(field: &str, given: u64) -> Checked<Option<Timestamp>> {
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
        amount: check::amount_if_given("amount_fen", request.amount_fen)?,
        reason: check::reason("reason", request.reason)?,
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
            face: check::grant(format_args!("vouchers[{index}].face"), one.face)?,
            from,
            until,
        });
    }
    let mut codes: Vec<&str> = vouchers.iter().map(|voucher| &*voucher.code).collect();
    check::sort_distinct("vouchers", &mut codes)?;
    Ok(money(MoneyCommand::IssueVouchers {
        programme: check::name("programme", request.programme)?,
        vouchers,
        unit_hours: request.unit_hours,
    }))
}

pub(super) fn redeem_voucher(request: v1::RedeemVoucherRequest) -> Checked<Body> {
    Ok(money(MoneyCommand::RedeemVoucher {
        code: check::name("code", request.code)?,
    }))
}

pub(super) fn suspend_voucher(request: v1::SuspendVoucherRequest) -> Checked<Body> {
    let reason = check::reason("reason", request.reason)?;
    Ok(money(MoneyCommand::SuspendVoucher {
        code: check::name("code", request.code)?,
        reason,
    }))
}

pub(super) fn resume_voucher(request: v1::ResumeVoucherRequest) -> Checked<Body> {
    let reason = check::reason("reason", request.reason)?;
    Ok(money(MoneyCommand::ResumeVoucher {
        code: check::name("code", request.code)?,
        reason,
    }))
}

pub(super) fn revoke_voucher(request: v1::RevokeVoucherRequest) -> Checked<Body> {
    let reason = check::reason("reason", request.reason)?;
    Ok(money(MoneyCommand::RevokeVoucher {
        code: check::name("code", request.code)?,
        reason,
        fraud: request.fraud,
    }))
}
