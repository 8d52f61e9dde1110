//! Contracts of sites and quotas of organisations: their options, and how they are shown.

use clap::Args;
use hesuan_api::v1::{self, site_service_client::SiteServiceClient, wallet_service_client::WalletServiceClient};
use serde_json::{Value, json};

use super::Context;
use crate::client::request_id;
use crate::failure::Outcome;
use crate::units::{parse_milli, parse_size, parse_time, show_milli, show_size, show_time};

/// Options of `site contract`.
#[derive(Args, Debug)]
pub struct ContractArgs {
    /// The site's name
    site: String,
    /// Organisations that are the site's own users; may be given repeatedly
    #[arg(long, value_name = "ORG,...", value_delimiter = ',')]
    own: Vec<String>,
    /// What own users get together, if strangers have it after the notice: gpus=8,cpus=64,mem=512G
    #[arg(long, value_name = "AMOUNTS", value_parser = parse_amounts, requires = "own")]
    floor: Option<v1::Bounds>,
    /// What all others may hold together
    #[arg(long, value_name = "AMOUNTS", value_parser = parse_amounts)]
    lend_limit: Option<v1::Bounds>,
    /// Others that may come; all unless given
    #[arg(long, value_name = "ORG,...", value_delimiter = ',')]
    accept: Vec<String>,
    /// How long another's task still runs after it was told that its place is needed
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    notice: Option<u64>,
    /// Everybody alike may use the site
    #[arg(
        long,
        conflicts_with_all = ["own", "floor", "lend_limit", "accept", "notice"],
        required_unless_present_any = ["own", "floor", "lend_limit", "accept", "notice"]
    )]
    none: bool,
}

/// Options of `wallet quota`.
#[derive(Args, Debug)]
pub struct QuotaArgs {
    /// The organisation
    org: String,
    /// What it may hold over the whole region at once: gpus=8,cpus=64,mem=512G,tasks=100
    #[arg(long, value_name = "AMOUNTS", value_parser = parse_bounds, required_unless_present = "none")]
    most: Option<v1::Bounds>,
    /// It may hold anything
    #[arg(long, conflicts_with = "most")]
    none: bool,
}

/// Replaces a site's contract.
pub(super) async fn set_contract(context: &Context, args: ContractArgs) -> Outcome<v1::Site> {
    let request = v1::SetContractRequest {
        request_id: request_id(),
        site: args.site,
        contract: Some(v1::Contract {
            revision: 0,
            own: args.own,
            floor: args.floor,
            lend_limit: args.lend_limit,
            accepted: args.accept,
            notice_ms: args.notice.unwrap_or(0),
        }),
    };
    context
        .client
        .call(request, |channel, request| async move {
            SiteServiceClient::new(channel).set_contract(request).await
        })
        .await
}

/// Replaces an organisation's quota.
pub(super) async fn set_quota(context: &Context, args: QuotaArgs) -> Outcome<v1::Org> {
    let request = v1::SetQuotaRequest {
        request_id: request_id(),
        org: args.org,
        most: args.most,
    };
    context
        .client
        .call(request, |channel, request| async move {
            WalletServiceClient::new(channel).set_quota(request).await
        })
        .await
}

/// `gpus=8,cpus=64,mem=512G`.
fn parse_amounts(text: &str) -> Result<v1::Bounds, String> {
    let bounds = parse_bounds(text)?;
    match bounds.tasks {
        None => Ok(bounds),
        Some(_) => Err("a contract speaks of gpus, cpus and mem; leave tasks out".to_owned()),
    }
}

/// The same, and `tasks=100`.
fn parse_bounds(text: &str) -> Result<v1::Bounds, String> {
    let mut bounds = v1::Bounds::default();
    for part in text.split(',') {
        let (name, amount) = part.split_once('=').unwrap_or((part, ""));
        let (field, amount) = match name {
            "gpus" => (&mut bounds.gpu_milli, parse_milli(amount)?),
            "cpus" => (&mut bounds.cpu_milli, parse_milli(amount)?),
            "mem" => (&mut bounds.memory_mib, parse_size(amount)?),
            "tasks" => {
                let count = amount
                    .parse()
                    .map_err(|_| format!("\"{amount}\" is no count of tasks"))?;
                (&mut bounds.tasks, count)
            }
            _ => return Err(format!("\"{part}\" is no amount: write gpus=8,cpus=64,mem=512G")),
        };
        if field.replace(amount).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(bounds)
}

fn bounds_json(bounds: &v1::Bounds) -> Value {
    json!({
        "cpu_milli": bounds.cpu_milli,
        "memory_mib": bounds.memory_mib,
        "gpu_milli": bounds.gpu_milli,
        "tasks": bounds.tasks,
    })
}

fn bounds_text(bounds: &v1::Bounds) -> String {
    let parts = [
        bounds.gpu_milli.map(|milli| format!("gpus={}", show_milli(milli))),
        bounds.cpu_milli.map(|milli| format!("cpus={}", show_milli(milli))),
        bounds.memory_mib.map(|mib| format!("mem={}", show_size(mib))),
        bounds.tasks.map(|tasks| format!("tasks={tasks}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(",")
}

pub(super) fn held_json(held: &v1::Held) -> Value {
    json!({
        "cpu_milli": held.cpu_milli,
        "memory_mib": held.memory_mib,
        "gpu_milli": held.gpu_milli,
        "tasks": held.tasks,
    })
}

pub(super) fn held_text(held: &v1::Held) -> String {
    if held.tasks == 0 {
        return "nothing".to_owned();
    }
    let held = v1::Bounds {
        cpu_milli: Some(held.cpu_milli),
        memory_mib: Some(held.memory_mib),
        gpu_milli: Some(held.gpu_milli),
        tasks: Some(held.tasks),
    };
    bounds_text(&held)
}

pub(super) fn contract_json(site: &v1::Site) -> Value {
    site.contract.as_ref().map_or(Value::Null, |contract| {
        json!({
            "revision": contract.revision,
            "own": contract.own,
            "floor": contract.floor.as_ref().map(bounds_json),
            "lend_limit": contract.lend_limit.as_ref().map(bounds_json),
            "accepted": contract.accepted,
            "notice_ms": contract.notice_ms,
            "held_by_own": site.held_by_own.as_ref().map(held_json),
            "held_by_strangers": site.held_by_strangers.as_ref().map(held_json),
        })
    })
}

/// Rows of a site's record; none without a contract.
pub(super) fn contract_rows(site: &v1::Site) -> Vec<(&'static str, String)> {
    let Some(contract) = &site.contract else {
        return Vec::new();
    };
    let held = |held: &Option<v1::Held>| held.as_ref().map(held_text).unwrap_or_default();
    let bounds = |bounds: &Option<v1::Bounds>| bounds.as_ref().map(bounds_text).unwrap_or_default();
    let notice = if contract.notice_ms == 0 {
        String::new()
    } else {
        show_time(contract.notice_ms)
    };
    vec![
        ("contract", format!("revision {}", contract.revision)),
        ("own users", contract.own.join(", ")),
        ("floor", bounds(&contract.floor)),
        ("lends", bounds(&contract.lend_limit)),
        ("accepts", contract.accepted.join(", ")),
        ("notice", notice),
        ("own hold", held(&site.held_by_own)),
        ("others hold", held(&site.held_by_strangers)),
    ]
}

pub(super) fn quota_json(org: &v1::Org) -> Value {
    org.quota.as_ref().map_or(Value::Null, |quota| {
        json!({
            "revision": quota.revision,
            "most": quota.most.as_ref().map(bounds_json),
        })
    })
}

pub(super) fn quota_text(org: &v1::Org) -> String {
    let most = org.quota.as_ref().and_then(|quota| quota.most.as_ref());
    most.map(bounds_text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_named_and_each_once() {
        let bounds = parse_bounds("gpus=0.5,cpus=64,mem=512G,tasks=10").expect("good words");
        assert_eq!(
            (bounds.gpu_milli, bounds.cpu_milli, bounds.memory_mib, bounds.tasks),
            (Some(500), Some(64_000), Some(512 << 10), Some(10))
        );
        assert_eq!(bounds_text(&bounds), "gpus=0.5,cpus=64,mem=512GiB,tasks=10");
        for bad in ["", "8", "gpus", "gpus=", "gpus=1,gpus=2", "disks=1", "tasks=x"] {
            assert!(parse_bounds(bad).is_err(), "{bad:?}");
        }
        assert!(parse_amounts("tasks=1").is_err());
    }
}
