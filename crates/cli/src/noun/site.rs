//! `hesuan site`: the data centres that lend capacity.

use clap::{Args, Subcommand};
use hesuan_api::v1::{self, site_service_client::SiteServiceClient};
use serde_json::{Value, json};

use super::job::resources_text;
use super::lending::{ContractArgs, contract_json, contract_rows, set_contract};
use super::{Context, PAGE, all_pages, none_if_empty, none_if_zero, parse_region};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::output::{record, table};

/// Verbs of `hesuan site`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Register a site
    Create(CreateArgs),
    /// All sites
    List,
    /// Everything about one site
    Show {
        /// Its name
        site: String,
    },
    /// Its machines
    Hosts {
        /// The site's name
        site: String,
    },
    /// Take work again
    Open(StateArgs),
    /// Take nothing new; what runs goes on
    Cordon(StateArgs),
    /// Take nothing new; what runs is stopped and queued again
    Drain(StateArgs),
    /// Say who may use it and how much of it; replaces the contract before
    Contract(ContractArgs),
}

/// Options of `site create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Unique
    name: String,
    /// Its region's code, such as 310117
    #[arg(long, value_name = "CODE", value_parser = parse_region)]
    region: u32,
    /// The organisation that is credited
    #[arg(long, value_name = "ORG")]
    provider: String,
}

/// Options of the verbs that change a site's state.
#[derive(Args, Debug)]
pub struct StateArgs {
    /// The site's name
    site: String,
    /// For the record, and for users whose jobs wait for it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::Create(args) => {
            let request = v1::CreateSiteRequest {
                request_id: request_id(),
                name: args.name,
                region: args.region,
                provider: args.provider,
            };
            let site = context
                .client
                .call(request, |channel, request| async move {
                    SiteServiceClient::new(channel).create_site(request).await
                })
                .await?;
            context
                .output
                .show(&site_json(&site), || format!("site {} created", site.name))
        }
        Verb::List => list(context).await,
        Verb::Show { site } => {
            let request = v1::GetSiteRequest {
                name: site,
                ..Default::default()
            };
            let site = context
                .client
                .call(request, |channel, request| async move {
                    SiteServiceClient::new(channel).get_site(request).await
                })
                .await?;
            context.output.show(&site_json(&site), || site_text(&site))
        }
        Verb::Hosts { site } => hosts(context, site).await,
        Verb::Open(args) => set_state(context, args, v1::SiteState::Open).await,
        Verb::Cordon(args) => set_state(context, args, v1::SiteState::Cordoned).await,
        Verb::Contract(args) => {
            let site = set_contract(context, args).await?;
            context.output.show(&site_json(&site), || {
                let revision = site.contract.as_ref().map_or(0, |contract| contract.revision);
                format!("site {} has revision {revision} of its contract", site.name)
            })
        }
        Verb::Drain(args) => set_state(context, args, v1::SiteState::Draining).await,
    }
}

fn state_name(state: v1::SiteState) -> &'static str {
    match state {
        v1::SiteState::Unspecified => "-",
        v1::SiteState::Open => "OPEN",
        v1::SiteState::Cordoned => "CORDONED",
        v1::SiteState::Draining => "DRAINING",
    }
}

fn reach(site: &v1::Site) -> &'static str {
    match (site.lost, site.up) {
        (true, _) => "LOST",
        (false, true) => "UP",
        (false, false) => "DOWN",
    }
}

async fn set_state(context: &Context, args: StateArgs, state: v1::SiteState) -> Outcome<()> {
    let request = v1::SetSiteStateRequest {
        request_id: request_id(),
        site: args.site,
        state: state.into(),
        reason: args.reason,
    };
    let site = context
        .client
        .call(request, |channel, request| async move {
            SiteServiceClient::new(channel).set_site_state(request).await
        })
        .await?;
    context.output.show(&site_json(&site), || {
        format!("site {} is {}", site.name, state_name(site.state()))
    })
}

async fn list(context: &Context) -> Outcome<()> {
    let sites = all_pages(async |page_token| {
        let request = v1::ListSitesRequest {
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                SiteServiceClient::new(channel).list_sites(request).await
            })
            .await?;
        Ok((page.sites, page.next_page_token))
    })
    .await?;
    let value: Vec<Value> = sites.iter().map(site_json).collect();
    let row = |site: &v1::Site| {
        vec![
            site.name.clone(),
            site.region.to_string(),
            state_name(site.state()).to_owned(),
            reach(site).to_owned(),
            site.hosts.to_string(),
            site.tasks_running.to_string(),
            site.free.as_ref().map(resources_text).unwrap_or_default(),
            site.provider.clone(),
        ]
    };
    let header = [
        "SITE", "REGION", "STATE", "AGENT", ">HOSTS", ">RUNNING", "FREE", "PROVIDER",
    ];
    context
        .output
        .show(&json!(value), || table(&header, sites.iter().map(row)))
}

fn resources_json(resources: &v1::Resources) -> Value {
    let generic: serde_json::Map<String, Value> = resources
        .generic
        .iter()
        .map(|one| (one.name.clone(), one.amount.into()))
        .collect();
    json!({
        "cpu_milli": resources.cpu_milli,
        "memory_mib": resources.memory_mib,
        "gpu_milli": resources.gpu_milli,
        "gpu_models": resources.gpu_models,
        "generic": generic,
    })
}

fn site_json(site: &v1::Site) -> Value {
    json!({
        "name": site.name,
        "region": site.region,
        "provider": site.provider,
        "state": state_name(site.state()),
        "agent": reach(site),
        "agent_replica": none_if_zero(site.agent_replica),
        "capacity": site.capacity.as_ref().map(resources_json),
        "free": site.free.as_ref().map(resources_json),
        "hosts": site.hosts,
        "tasks_running": site.tasks_running,
        "reason": none_if_empty(&site.reason),
        "contract": contract_json(site),
    })
}

fn site_text(site: &v1::Site) -> String {
    let replica = none_if_zero(site.agent_replica)
        .map(|replica| format!(" at replica {replica}"))
        .unwrap_or_default();
    let mut rows = vec![
        ("site", site.name.clone()),
        ("region", site.region.to_string()),
        ("provider", site.provider.clone()),
        ("state", state_name(site.state()).to_owned()),
        ("reason", site.reason.clone()),
        ("agent", format!("{}{replica}", reach(site))),
        ("hosts", site.hosts.to_string()),
        (
            "capacity",
            site.capacity.as_ref().map(resources_text).unwrap_or_default(),
        ),
        ("free", site.free.as_ref().map(resources_text).unwrap_or_default()),
        ("running", format!("{} tasks", site.tasks_running)),
    ];
    rows.extend(contract_rows(site));
    record(&rows)
}

async fn hosts(context: &Context, site: String) -> Outcome<()> {
    let hosts = all_pages(async |page_token| {
        let request = v1::ListHostsRequest {
            site: site.clone(),
            page_size: PAGE,
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                SiteServiceClient::new(channel).list_hosts(request).await
            })
            .await?;
        Ok((page.hosts, page.next_page_token))
    })
    .await?;
    let host_json = |host: &v1::Host| {
        let gpus: Vec<_> = host
            .gpus
            .iter()
            .map(|gpu| json!({ "model": gpu.model, "free_milli": gpu.free_milli }))
            .collect();
        json!({
            "name": host.name,
            "site": host.site,
            "capacity": host.capacity.as_ref().map(resources_json),
            "free": host.free.as_ref().map(resources_json),
            "gpus": gpus,
        })
    };
    let value: Vec<Value> = hosts.iter().map(host_json).collect();
    let row = |host: &v1::Host| {
        vec![
            host.name.clone(),
            host.capacity.as_ref().map(resources_text).unwrap_or_default(),
            host.free.as_ref().map(resources_text).unwrap_or_default(),
        ]
    };
    context.output.show(&json!(value), || {
        table(&["HOST", "CAPACITY", "FREE"], hosts.iter().map(row))
    })
}
