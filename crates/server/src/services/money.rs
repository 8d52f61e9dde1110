//! WalletService, ProgrammeService and VoucherService: money and its rules. Who may see what is the engine's table.

use hesuan_api::answer;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::v1;
use hesuan_api::v1::Consistency::Linearizable;
use hesuan_api::v1::programme_service_server::ProgrammeService;
use hesuan_api::v1::voucher_service_server::VoucherService;
use hesuan_api::v1::wallet_service_server::WalletService;
use hesuan_engine::outcome::{Rejection, Reply};
use hesuan_engine::state::State;
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::types::{OrgId, PrincipalId, TaskId};
use hesuan_ledger::types::{AgreementId, ProgrammeId, VoucherId};
use tonic::{Request, Response, Status};

use super::call::{Deadline, unexpected};
use super::pages::{self, denied, not_found};
use super::site::may_read_public;
use super::{Core, Services};

/// Whether the caller may look into this organisation's wallet.
fn may_read_wallet(state: &State, caller: PrincipalId, org: OrgId) -> bool {
    access::may_read(state, caller, Kind::ReadWallet, Scope::Org(org))
}

/// Whether the caller may see a voucher: its holder, its issuer, or who reads everything.
fn may_read_voucher(state: &State, caller: PrincipalId, voucher: &hesuan_ledger::Voucher) -> bool {
    let region = state
        .ledger()
        .programme(voucher.programme)
        .map(|programme| programme.region);
    access::may_read(state, caller, Kind::ReadVouchers, Scope::Org(voucher.holder))
        || region.is_some_and(|region| access::may_read(state, caller, Kind::ReadVouchers, Scope::Region(region)))
}

impl Core {
    async fn change_org(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: Body,
    ) -> Result<Response<v1::Org>, Status> {
        let show = |state: &State, reply| {
            let Reply::Org(id) = reply else { return None };
            Some(answer::org(state, state.ledger().org(id)?))
        };
        self.changed(caller, deadline, body, show).await
    }

    async fn change_voucher(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: Body,
    ) -> Result<Response<v1::Voucher>, Status> {
        let show = |state: &State, reply| {
            let Reply::Vouchers { first, .. } = reply else {
                return None;
            };
            Some(answer::voucher(state, state.ledger().voucher(VoucherId(first))?))
        };
        self.changed(caller, deadline, body, show).await
    }

    async fn change_programme(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: Body,
    ) -> Result<Response<v1::Programme>, Status> {
        let show = |state: &State, reply| {
            let Reply::Number(id) = reply else { return None };
            Some(answer::programme(
                state,
                state.ledger().programme(ProgrammeId(id))?,
                true,
            ))
        };
        self.changed(caller, deadline, body, show).await
    }

    async fn change_agreement(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: Body,
    ) -> Result<Response<v1::Agreement>, Status> {
        let show = |state: &State, reply| {
            let Reply::Number(id) = reply else { return None };
            Some(answer::agreement(state, state.ledger().agreement(AgreementId(id))?))
        };
        self.changed(caller, deadline, body, show).await
    }
}

#[tonic::async_trait]
impl WalletService for Services {
    async fn create_org(&self, request: Request<v1::CreateOrgRequest>) -> Result<Response<v1::Org>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_org(caller, deadline, Body::CreateOrg(request.into_inner()))
            .await
    }

    async fn set_quota(&self, request: Request<v1::SetQuotaRequest>) -> Result<Response<v1::Org>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_org(caller, deadline, Body::SetQuota(request.into_inner()))
            .await
    }

    async fn get_org(&self, request: Request<v1::GetOrgRequest>) -> Result<Response<v1::Org>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let found = self.0.read(Linearizable, deadline, move |view| {
            let org = view
                .state
                .ledger()
                .org_by_name(&name)
                .filter(|org| may_read_wallet(view.state, caller, org.id));
            let org = org.ok_or_else(|| not_found("UNKNOWN_ORG", "name", format!("no organisation \"{name}\"")))?;
            Ok(answer::org(view.state, org))
        });
        Ok(found.await?.into_response())
    }

    async fn list_orgs(&self, request: Request<v1::ListOrgsRequest>) -> Result<Response<v1::ListOrgsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let orgs = view
                .state
                .ledger()
                .orgs_after(OrgId(0))
                .filter(|org| u64::from(org.id.0) >= from);
            let orgs = orgs.filter(|org| may_read_wallet(view.state, caller, org.id));
            let (orgs, next_page_token) = pages::page(
                orgs,
                request.page_size,
                |org| org.id.0.into(),
                |org| answer::org(view.state, org),
            );
            Ok(v1::ListOrgsResponse { orgs, next_page_token })
        });
        Ok(listed.await?.into_response())
    }

    async fn top_up(&self, request: Request<v1::TopUpRequest>) -> Result<Response<v1::Org>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_org(caller, deadline, Body::TopUp(request.into_inner()))
            .await
    }

    async fn withdraw(&self, request: Request<v1::WithdrawRequest>) -> Result<Response<v1::Org>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_org(caller, deadline, Body::Withdraw(request.into_inner()))
            .await
    }

    async fn update_org(&self, request: Request<v1::UpdateOrgRequest>) -> Result<Response<v1::Org>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_org(caller, deadline, Body::UpdateOrg(request.into_inner()))
            .await
    }

    async fn collect(&self, request: Request<v1::CollectRequest>) -> Result<Response<v1::Org>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_org(caller, deadline, Body::Collect(request.into_inner()))
            .await
    }

    async fn set_prices(
        &self,
        request: Request<v1::SetPricesRequest>,
    ) -> Result<Response<v1::SetPricesResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        match self
            .0
            .mutate(caller, deadline, Body::SetPrices(request.into_inner()))
            .await?
        {
            Reply::Number(version) => Ok(Response::new(v1::SetPricesResponse { version })),
            other => Err(unexpected(&other)),
        }
    }

    async fn list_prices(
        &self,
        request: Request<v1::ListPricesRequest>,
    ) -> Result<Response<v1::ListPricesResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let name = request.into_inner().site;
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let site = view.state.site_by_name(&name);
            if !name.is_empty() && site.is_none() {
                return Err(not_found("UNKNOWN_SITE", "site", format!("no site \"{name}\"")));
            }
            let wanted = view
                .state
                .sites()
                .filter(|one| site.is_none_or(|site| site.id == one.id));
            Ok(v1::ListPricesResponse {
                sheets: wanted.flat_map(|site| answer::price_sheets(view.state, site)).collect(),
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn refund(&self, request: Request<v1::RefundRequest>) -> Result<Response<v1::RefundResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let task = TaskId {
            job: hesuan_engine::types::JobId(request.job_id),
            task: request.task,
            attempt: request.attempt,
            ..TaskId::default()
        };
        self.0.mutate(caller, deadline, Body::Refund(request)).await?;
        let refunded = self
            .0
            .look(deadline, move |view| answer::refunded(view.state, task))
            .await?;
        Ok(Response::new(v1::RefundResponse { refunded }))
    }

    async fn get_trial_balance(
        &self,
        request: Request<v1::GetTrialBalanceRequest>,
    ) -> Result<Response<v1::TrialBalance>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let balance = self.0.read(Linearizable, deadline, move |view| {
            if !access::may_read(view.state, caller, Kind::ReadBooks, Scope::Cluster) {
                return Err(denied("the books"));
            }
            Ok(answer::trial_balance(view.state))
        });
        Ok(balance.await?.into_response())
    }
}

#[tonic::async_trait]
impl ProgrammeService for Services {
    async fn create_programme(
        &self,
        request: Request<v1::CreateProgrammeRequest>,
    ) -> Result<Response<v1::Programme>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_programme(caller, deadline, Body::CreateProgramme(request.into_inner()))
            .await
    }

    async fn revise_programme(
        &self,
        request: Request<v1::ReviseProgrammeRequest>,
    ) -> Result<Response<v1::Programme>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_programme(caller, deadline, Body::ReviseProgramme(request.into_inner()))
            .await
    }

    async fn set_budget(&self, request: Request<v1::SetBudgetRequest>) -> Result<Response<v1::Programme>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_programme(caller, deadline, Body::SetBudget(request.into_inner()))
            .await
    }

    async fn pay_in(&self, request: Request<v1::PayInRequest>) -> Result<Response<v1::Programme>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_programme(caller, deadline, Body::PayIn(request.into_inner()))
            .await
    }

    async fn repay_fund(&self, request: Request<v1::RepayFundRequest>) -> Result<Response<v1::Programme>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_programme(caller, deadline, Body::RepayFund(request.into_inner()))
            .await
    }

    async fn get_programme(
        &self,
        request: Request<v1::GetProgrammeRequest>,
    ) -> Result<Response<v1::Programme>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let found = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let programme = view.state.ledger().programme_by_name(&name);
            let programme =
                programme.ok_or_else(|| not_found("UNKNOWN_PROGRAMME", "name", format!("no programme \"{name}\"")))?;
            Ok(answer::programme(view.state, programme, true))
        });
        Ok(found.await?.into_response())
    }

    async fn list_programmes(
        &self,
        request: Request<v1::ListProgrammesRequest>,
    ) -> Result<Response<v1::ListProgrammesResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let all = view.state.ledger().programmes_after(ProgrammeId(0));
            let programmes = all.filter(|programme| u64::from(programme.id.0) >= from);
            let (programmes, next_page_token) = pages::page(
                programmes,
                request.page_size,
                |programme| programme.id.0.into(),
                |programme| answer::programme(view.state, programme, false),
            );
            Ok(v1::ListProgrammesResponse {
                programmes,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn create_agreement(
        &self,
        request: Request<v1::CreateAgreementRequest>,
    ) -> Result<Response<v1::Agreement>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_agreement(caller, deadline, Body::CreateAgreement(request.into_inner()))
            .await
    }

    async fn end_agreement(
        &self,
        request: Request<v1::EndAgreementRequest>,
    ) -> Result<Response<v1::Agreement>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_agreement(caller, deadline, Body::EndAgreement(request.into_inner()))
            .await
    }

    async fn list_agreements(
        &self,
        request: Request<v1::ListAgreementsRequest>,
    ) -> Result<Response<v1::ListAgreementsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let all = view.state.ledger().agreements_after(AgreementId(0));
            let agreements = all.filter(|agreement| u64::from(agreement.id.0) >= from);
            let (agreements, next_page_token) = pages::page(
                agreements,
                request.page_size,
                |agreement| agreement.id.0.into(),
                |agreement| answer::agreement(view.state, agreement),
            );
            Ok(v1::ListAgreementsResponse {
                agreements,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }
}

#[tonic::async_trait]
impl VoucherService for Services {
    async fn issue_vouchers(
        &self,
        request: Request<v1::IssueVouchersRequest>,
    ) -> Result<Response<v1::IssueVouchersResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let reply = self
            .0
            .mutate(caller, deadline, Body::IssueVouchers(request.into_inner()))
            .await?;
        let Reply::Vouchers { first, count } = reply else {
            return Err(unexpected(&reply));
        };
        let vouchers = self.0.look(deadline, move |view| {
            let ids = (first..).take(count as usize).map(VoucherId);
            ids.filter_map(|id| view.state.ledger().voucher(id))
                .map(|voucher| answer::voucher(view.state, voucher))
                .collect()
        });
        Ok(Response::new(v1::IssueVouchersResponse {
            vouchers: vouchers.await?,
        }))
    }

    async fn redeem_voucher(
        &self,
        request: Request<v1::RedeemVoucherRequest>,
    ) -> Result<Response<v1::Voucher>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_voucher(caller, deadline, Body::RedeemVoucher(request.into_inner()))
            .await
    }

    async fn get_voucher(&self, request: Request<v1::GetVoucherRequest>) -> Result<Response<v1::Voucher>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let code = request.into_inner().code;
        let found = self.0.read(Linearizable, deadline, move |view| {
            let ledger = view.state.ledger();
            // A code may look like a number; then it is the code.
            let numbered = || ledger.voucher(VoucherId(code.parse().ok()?));
            let voucher = ledger
                .voucher_by_code(&code)
                .or_else(numbered)
                .filter(|voucher| may_read_voucher(view.state, caller, voucher));
            let voucher =
                voucher.ok_or_else(|| not_found("UNKNOWN_VOUCHER", "code", format!("no voucher \"{code}\"")))?;
            Ok(answer::voucher(view.state, voucher))
        });
        Ok(found.await?.into_response())
    }

    async fn list_vouchers(
        &self,
        request: Request<v1::ListVouchersRequest>,
    ) -> Result<Response<v1::ListVouchersResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let ledger = view.state.ledger();
            let holder = named(&request.holder, "holder", || {
                ledger.org_by_name(&request.holder).map(|org| org.id)
            })?;
            let programme = named(&request.programme, "programme", || {
                ledger
                    .programme_by_name(&request.programme)
                    .map(|programme| programme.id)
            })?;
            let vouchers = ledger
                .vouchers_after(VoucherId(from.saturating_sub(1)))
                .filter(|voucher| {
                    holder.is_none_or(|holder| voucher.holder == holder)
                        && programme.is_none_or(|programme| voucher.programme == programme)
                        && may_read_voucher(view.state, caller, voucher)
                });
            let (vouchers, next_page_token) = pages::page(
                vouchers,
                request.page_size,
                |voucher| voucher.id.0,
                |voucher| answer::voucher(view.state, voucher),
            );
            Ok(v1::ListVouchersResponse {
                vouchers,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn suspend_voucher(
        &self,
        request: Request<v1::SuspendVoucherRequest>,
    ) -> Result<Response<v1::Voucher>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_voucher(caller, deadline, Body::SuspendVoucher(request.into_inner()))
            .await
    }

    async fn resume_voucher(
        &self,
        request: Request<v1::ResumeVoucherRequest>,
    ) -> Result<Response<v1::Voucher>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_voucher(caller, deadline, Body::ResumeVoucher(request.into_inner()))
            .await
    }

    async fn revoke_voucher(
        &self,
        request: Request<v1::RevokeVoucherRequest>,
    ) -> Result<Response<v1::Voucher>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_voucher(caller, deadline, Body::RevokeVoucher(request.into_inner()))
            .await
    }
}

/// What a filter names; nothing if it is empty.
fn named<T>(name: &str, field: &'static str, find: impl FnOnce() -> Option<T>) -> Result<Option<T>, Rejection> {
    if name.is_empty() {
        return Ok(None);
    }
    find()
        .map(Some)
        .ok_or_else(|| not_found("UNKNOWN_NAME", field, format!("no {field} \"{name}\"")))
}
