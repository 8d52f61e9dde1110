//! SiteService: data centres and their machines.

use hesuan_api::answer;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::v1;
use hesuan_api::v1::site_service_server::SiteService;
use hesuan_engine::outcome::{Rejection, Reply};
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::state::{Site, State};
use hesuan_engine::types::PrincipalId;
use tonic::{Request, Response, Status};

use super::call::{Deadline, unexpected};
use super::pages::{self, denied, not_found};
use super::{Core, Services};
use crate::apply::View;

/// What everybody with a valid token may read.
pub(super) fn may_read_public(state: &State, caller: PrincipalId) -> Result<(), Rejection> {
    let bound = state
        .principal(caller)
        .is_some_and(|principal| access::may(principal, Kind::ReadPublic, Scope::Later));
    if bound { Ok(()) } else { Err(denied("this")) }
}

fn site_named<'a>(state: &'a State, name: &str) -> Result<&'a Site, Rejection> {
    state
        .site_by_name(name)
        .ok_or_else(|| not_found("UNKNOWN_SITE", "name", format!("no site \"{name}\"")))
}

fn message(view: &View<'_>, site: &Site) -> v1::Site {
    answer::site(view.state, site, (view.site_up)(site.id))
}

impl Core {
    async fn change_site(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: Body,
    ) -> Result<Response<v1::Site>, Status> {
        let Reply::Site(id) = self.mutate(caller, deadline, body).await? else {
            return Err(Status::internal("a change of a site was answered with something else"));
        };
        let site = self
            .look(deadline, move |view| {
                view.state.site(id).map(|site| message(view, site))
            })
            .await?;
        site.map(Response::new).ok_or_else(|| unexpected(&Reply::Site(id)))
    }
}

#[tonic::async_trait]
impl SiteService for Services {
    async fn create_site(&self, request: Request<v1::CreateSiteRequest>) -> Result<Response<v1::Site>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_site(caller, deadline, Body::CreateSite(request.into_inner()))
            .await
    }

    async fn get_site(&self, request: Request<v1::GetSiteRequest>) -> Result<Response<v1::Site>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let consistency = request.consistency();
        let found = self.0.read(consistency, deadline, move |view| {
            may_read_public(view.state, caller)?;
            site_named(view.state, &request.name).map(|site| message(view, site))
        });
        Ok(found.await?.into_response())
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let consistency = request.consistency();
        let listed = self.0.read(consistency, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let sites = view.state.sites().filter(|site| u64::from(site.id.0) >= from);
            let (sites, next_page_token) = pages::page(
                sites,
                request.page_size,
                |site| site.id.0.into(),
                |site| message(view, site),
            );
            Ok(v1::ListSitesResponse { sites, next_page_token })
        });
        Ok(listed.await?.into_response())
    }

    async fn set_site_state(&self, request: Request<v1::SetSiteStateRequest>) -> Result<Response<v1::Site>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_site(caller, deadline, Body::SetSiteState(request.into_inner()))
            .await
    }

    async fn set_contract(&self, request: Request<v1::SetContractRequest>) -> Result<Response<v1::Site>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .change_site(caller, deadline, Body::SetContract(request.into_inner()))
            .await
    }

    async fn list_hosts(
        &self,
        request: Request<v1::ListHostsRequest>,
    ) -> Result<Response<v1::ListHostsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(v1::Consistency::Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            let from = pages::start(&request.page_token)?;
            let only = match request.site.as_str() {
                "" => None,
                name => Some(site_named(view.state, name)?.id),
            };
            let hosts = view
                .state
                .hosts()
                .filter(|host| u64::from(host.id.0) >= from && only.is_none_or(|site| host.site == site));
            let (hosts, next_page_token) = pages::page(
                hosts,
                request.page_size,
                |host| host.id.0.into(),
                |host| answer::host(view.state, host),
            );
            Ok(v1::ListHostsResponse { hosts, next_page_token })
        });
        Ok(listed.await?.into_response())
    }
}
