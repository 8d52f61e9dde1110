//! PeriodService and SettlementService: closing the books, and what is paid by them. Who may see what is the engine's table.

use std::sync::Arc;

use hesuan_api::answer;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::v1;
use hesuan_api::v1::Consistency::Linearizable;
use hesuan_api::v1::period_service_server::PeriodService;
use hesuan_api::v1::settlement_service_server::SettlementService;
use hesuan_engine::outcome::{Rejection, Reply};
use hesuan_engine::state::State;
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::types::{OrgId, PrincipalId, RegionCode};
use hesuan_ledger::types::{ClaimId, ProgrammeId};
use hesuan_ledger::{Claim, Period};
use tonic::{Request, Response, Status};

use super::call::Deadline;
use super::pages::{self, denied, not_found};
use super::site::may_read_public;
use super::statement::{self, StatementStream};
use super::{Core, Services};

/// The period that a request is about; 0 is the current one.
pub(super) fn period_asked(state: &State, number: u32) -> Result<&Period, Rejection> {
    let ledger = state.ledger();
    let found = match number {
        0 => ledger.current_period(),
        number => ledger.period(number),
    };
    found.ok_or_else(|| {
        let text = format!("no period {number}; it is to come, or was closed so long ago that only the journal has it");
        not_found("UNKNOWN_PERIOD", "period", text)
    })
}

/// Which regions' clearing the caller may see.
fn sees_clearing(state: &State, caller: PrincipalId) -> Result<impl Fn(RegionCode) -> bool + '_, Rejection> {
    let bound = state.principal(caller);
    if !bound.is_some_and(|principal| access::may(principal, Kind::ReadClearing, Scope::Later)) {
        return Err(denied("the clearing"));
    }
    Ok(move |region| access::may_read(state, caller, Kind::ReadClearing, Scope::Region(region)))
}

/// A provider's own people, who pays and reviews it, who reads everything.
fn may_read_provider(state: &State, caller: PrincipalId, provider: OrgId) -> bool {
    let region = state.ledger().org(provider).map(|org| org.registered.region);
    access::may_read(state, caller, Kind::ReadWallet, Scope::Org(provider))
        || region.is_some_and(|region| access::may_read(state, caller, Kind::ReadWallet, Scope::Region(region)))
}

/// A provider by its name, if the caller may see what it earns.
fn provider_named(state: &State, caller: PrincipalId, name: &str) -> Result<OrgId, Rejection> {
    let org = state.ledger().org_by_name(name).map(|org| org.id);
    org.filter(|org| may_read_provider(state, caller, *org))
        .ok_or_else(|| not_found("UNKNOWN_ORG", "provider", format!("no provider \"{name}\"")))
}

/// A claim's holder, the bureau of its programme, who pays and reviews it, who reads everything.
fn may_read_claim(state: &State, caller: PrincipalId, claim: &Claim) -> bool {
    let region = state.ledger().programme(claim.programme).map(|one| one.region);
    access::may_read(state, caller, Kind::ReadWallet, Scope::Org(claim.holder))
        || region.is_some_and(|region| access::may_read(state, caller, Kind::ReadClearing, Scope::Region(region)))
}

impl Core {
    async fn change_period(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: Body,
    ) -> Result<Response<v1::Period>, Status> {
        let show = |state: &State, reply| {
            let Reply::Number(number) = reply else { return None };
            Some(answer::period(state, state.ledger().period(number)?))
        };
        self.changed(caller, deadline, body, show).await
    }

    async fn change_settlement(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        provider: String,
        body: Body,
    ) -> Result<Response<v1::Settlement>, Status> {
        let show = move |state: &State, reply| {
            let Reply::Number(period) = reply else { return None };
            let ledger = state.ledger();
            let settlement = ledger.settlement(period, ledger.org_by_name(&provider)?.id)?;
            Some(answer::settlement(state, settlement))
        };
        self.changed(caller, deadline, body, show).await
    }

    async fn change_claim(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: Body,
    ) -> Result<Response<v1::Claim>, Status> {
        let show = |state: &State, reply| {
            let Reply::Claim(id) = reply else { return None };
            Some(answer::claim(state, state.ledger().claim(id)?))
        };
        self.changed(caller, deadline, body, show).await
    }
}

#[tonic::async_trait]
impl PeriodService for Services {
    type StreamStatementStream = StatementStream;

    async fn list_periods(
        &self,
        request: Request<v1::ListPeriodsRequest>,
    ) -> Result<Response<v1::ListPeriodsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let all = view.state.ledger().periods_after(0);
            let (periods, next_page_token) = pages::page(
                all.filter(|period| u64::from(period.number) >= from),
                request.page_size,
                |period| period.number.into(),
                |period| answer::period(view.state, period),
            );
            Ok(v1::ListPeriodsResponse {
                periods,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn end_period(&self, request: Request<v1::EndPeriodRequest>) -> Result<Response<v1::Period>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_period(caller, deadline, Body::EndPeriod(request.into_inner()))
            .await
    }

    async fn close_period(&self, request: Request<v1::ClosePeriodRequest>) -> Result<Response<v1::Period>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_period(caller, deadline, Body::ClosePeriod(request.into_inner()))
            .await
    }

    async fn get_clearing(&self, request: Request<v1::GetClearingRequest>) -> Result<Response<v1::Clearing>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let number = request.into_inner().period;
        let read = self.0.read(Linearizable, deadline, move |view| {
            let sees = sees_clearing(view.state, caller)?;
            let period = period_asked(view.state, number)?;
            Ok(answer::clearing(view.state, period, &sees))
        });
        Ok(read.await?.into_response())
    }

    async fn get_payable(&self, request: Request<v1::GetPayableRequest>) -> Result<Response<v1::Payable>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let number = request.into_inner().period;
        let read = self.0.read(Linearizable, deadline, move |view| {
            let sees = sees_clearing(view.state, caller)?;
            let period = period_asked(view.state, number)?;
            Ok(answer::payable(view.state, period, &sees))
        });
        Ok(read.await?.into_response())
    }

    async fn list_corrections(
        &self,
        request: Request<v1::ListCorrectionsRequest>,
    ) -> Result<Response<v1::ListCorrectionsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let number = request.into_inner().period;
        let read = self.0.read(Linearizable, deadline, move |view| {
            let sees = sees_clearing(view.state, caller)?;
            let period = period_asked(view.state, number)?;
            Ok(answer::corrections(view.state, period, &sees))
        });
        Ok(read.await?.into_response())
    }

    async fn stream_statement(
        &self,
        request: Request<v1::StreamStatementRequest>,
    ) -> Result<Response<StatementStream>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let core = Arc::clone(&self.0);
        let stream = statement::stream(core, caller, deadline, request.into_inner()).await?;
        Ok(Response::new(stream))
    }
}

#[tonic::async_trait]
impl SettlementService for Services {
    async fn get_settlement_sheet(
        &self,
        request: Request<v1::GetSettlementSheetRequest>,
    ) -> Result<Response<v1::SettlementSheet>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let read = self.0.read(Linearizable, deadline, move |view| {
            let provider = provider_named(view.state, caller, &request.provider)?;
            let period = period_asked(view.state, request.period)?;
            Ok(answer::settlement_sheet(view.state, period, provider))
        });
        Ok(read.await?.into_response())
    }

    async fn list_settlements(
        &self,
        request: Request<v1::ListSettlementsRequest>,
    ) -> Result<Response<v1::ListSettlementsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let provider = match request.provider.as_str() {
                "" => None,
                name => Some(provider_named(view.state, caller, name)?),
            };
            let key = |period: u32, provider: OrgId| u64::from(period) << 32 | u64::from(provider.0);
            let (period, before) = ((from >> 32) as u32, (from as u32).saturating_sub(1));
            let all = view.state.ledger().settlements_after(period, OrgId(before));
            let settlements = all.filter(|one| {
                request.period.is_none_or(|period| one.period == period)
                    && provider.is_none_or(|provider| one.provider == provider)
                    && may_read_provider(view.state, caller, one.provider)
            });
            let (settlements, next_page_token) = pages::page(
                settlements,
                request.page_size,
                |one| key(one.period, one.provider),
                |one| answer::settlement(view.state, one),
            );
            Ok(v1::ListSettlementsResponse {
                settlements,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn review_settlement(
        &self,
        request: Request<v1::ReviewSettlementRequest>,
    ) -> Result<Response<v1::Settlement>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let provider = request.provider.clone();
        self.0
            .change_settlement(caller, deadline, provider, Body::ReviewSettlement(request))
            .await
    }

    async fn pay_settlement(
        &self,
        request: Request<v1::PaySettlementRequest>,
    ) -> Result<Response<v1::Settlement>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let provider = request.provider.clone();
        self.0
            .change_settlement(caller, deadline, provider, Body::PaySettlement(request))
            .await
    }

    async fn file_claim(&self, request: Request<v1::FileClaimRequest>) -> Result<Response<v1::Claim>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_claim(caller, deadline, Body::FileClaim(request.into_inner()))
            .await
    }

    async fn list_claims(
        &self,
        request: Request<v1::ListClaimsRequest>,
    ) -> Result<Response<v1::ListClaimsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let ledger = view.state.ledger();
            let holder = holder_named(view.state, caller, &request.org)?;
            let programme = programme_named(view.state, &request.programme)?;
            let claims = ledger.claims_after(ClaimId(from.saturating_sub(1))).filter(|claim| {
                holder.is_none_or(|holder| claim.holder == holder)
                    && programme.is_none_or(|programme| claim.programme == programme)
                    && may_read_claim(view.state, caller, claim)
            });
            let (claims, next_page_token) = pages::page(
                claims,
                request.page_size,
                |claim| claim.id.0,
                |claim| answer::claim(view.state, claim),
            );
            let claimable = holder.filter(|_| request.page_token.is_empty());
            Ok(v1::ListClaimsResponse {
                claims,
                next_page_token,
                claimable: claimable.map_or_else(Vec::new, |holder| answer::claimable(view.state, holder)),
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn review_claim(&self, request: Request<v1::ReviewClaimRequest>) -> Result<Response<v1::Claim>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_claim(caller, deadline, Body::ReviewClaim(request.into_inner()))
            .await
    }

    async fn pay_claim(&self, request: Request<v1::PayClaimRequest>) -> Result<Response<v1::Claim>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_claim(caller, deadline, Body::PayClaim(request.into_inner()))
            .await
    }
}

/// The holder whose claims are asked for; the caller must be allowed to look into its wallet.
fn holder_named(state: &State, caller: PrincipalId, name: &str) -> Result<Option<OrgId>, Rejection> {
    if name.is_empty() {
        return Ok(None);
    }
    let org = state.ledger().org_by_name(name).map(|org| org.id);
    org.filter(|org| access::may_read(state, caller, Kind::ReadWallet, Scope::Org(*org)))
        .map(Some)
        .ok_or_else(|| not_found("UNKNOWN_ORG", "org", format!("no organisation \"{name}\"")))
}

fn programme_named(state: &State, name: &str) -> Result<Option<ProgrammeId>, Rejection> {
    if name.is_empty() {
        return Ok(None);
    }
    let programme = state.ledger().programme_by_name(name).map(|programme| programme.id);
    programme
        .map(Some)
        .ok_or_else(|| not_found("UNKNOWN_PROGRAMME", "programme", format!("no programme \"{name}\"")))
}
