//! Requests to commands. One function a request; each refuses with the field at fault, before anything is changed.
//!
//! The same functions judge a request at the replica that takes it and in apply, so a command that was let in is never found
//! malformed later, unless replicas run different releases: then apply still answers, with the same refusal everywhere.

pub mod check;
pub mod cluster;
pub mod job;
pub mod lending;
pub mod money;
mod policy;
pub mod programme;
pub mod settlement;
pub mod site;

use hesuan_engine::command::Body;

use self::check::{Checked, missing};
use crate::internal::v1::command::Body as WireBody;

/// The command a request stands for.
pub(crate) fn body(given: WireBody) -> Checked<Body> {
    match given {
        WireBody::SubmitJob(request) => job::submit(request).map(Body::SubmitJob),
        WireBody::BindQuote(request) => job::bind_quote(request),
        WireBody::ReleaseQuote(request) => job::release_quote(&request),
        WireBody::CancelJob(request) => job::cancel(request),
        WireBody::ExtendJob(request) => job::extend(request),
        WireBody::CreateOrg(request) => money::create_org(request),
        WireBody::TopUp(request) => money::top_up(request),
        WireBody::Withdraw(request) => money::withdraw(request),
        WireBody::SetPrices(request) => money::set_prices(request),
        WireBody::Refund(request) => money::refund(request),
        WireBody::CreateProgramme(request) => programme::create(request),
        WireBody::CreateAgreement(request) => programme::create_agreement(request),
        WireBody::EndAgreement(request) => programme::end_agreement(request),
        WireBody::IssueVouchers(request) => money::issue_vouchers(request),
        WireBody::RedeemVoucher(request) => money::redeem_voucher(request),
        WireBody::SuspendVoucher(request) => money::suspend_voucher(request),
        WireBody::ResumeVoucher(request) => money::resume_voucher(request),
        WireBody::RevokeVoucher(request) => money::revoke_voucher(request),
        WireBody::UpdateOrg(request) => money::update_org(request),
        WireBody::Collect(request) => settlement::collect(request),
        WireBody::ReviseProgramme(request) => programme::revise(request),
        WireBody::SetBudget(request) => programme::set_budget(request),
        WireBody::PayIn(request) => settlement::pay_in(request),
        WireBody::RepayFund(request) => settlement::repay_fund(request),
        WireBody::EndPeriod(request) => settlement::end_period(request),
        WireBody::ClosePeriod(request) => settlement::close_period(request),
        WireBody::ReviewSettlement(request) => settlement::review_settlement(request),
        WireBody::PaySettlement(request) => settlement::pay_settlement(request),
        WireBody::FileClaim(request) => settlement::file_claim(request),
        WireBody::ReviewClaim(request) => settlement::review_claim(request),
        WireBody::PayClaim(request) => settlement::pay_claim(request),
        WireBody::CreateSite(request) => site::create(request),
        WireBody::SetSiteState(request) => site::set_state(request),
        WireBody::SetContract(request) => lending::contract(request),
        WireBody::SetQuota(request) => lending::quota(request),
        WireBody::CreatePrincipal(request) => cluster::create_principal(request),
        WireBody::RevokePrincipal(request) => cluster::revoke_principal(request),
        WireBody::SetLimits(request) => cluster::set_limits(request),
        WireBody::SetPolicy(request) => policy::set_policy(request),
        WireBody::AttachAgent(request) => site::attach(request),
        WireBody::Reports(request) => site::reports(request),
        WireBody::Decisions(request) => cluster::decisions(request),
        WireBody::Reclaims(request) => lending::reclaims(request),
        WireBody::SiteLost(request) => site::lost(request),
        WireBody::Tick(_) => Ok(Body::Tick),
        WireBody::AddMember(request) => cluster::add_member(request),
        WireBody::SetLevel(request) if request.level == 0 => Err(missing("level", "give the level, 1 or more")),
        WireBody::SetLevel(request) => Ok(Body::SetLevel(request.level)),
    }
}
