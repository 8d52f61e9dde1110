//! `hesuan cluster policy`: who goes before whom, as data.

use clap::{Args, Subcommand, ValueEnum};
use hesuan_api::v1::{self, cluster_service_client::ClusterServiceClient};
use serde_json::{Value, json};

use super::{Context, PAGE, all_pages, parse_pair};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::output::{record, table};
use crate::units::{self, show_milli, show_time};

/// `hesuan cluster policy`, alone or with a verb.
#[derive(Args, Debug)]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Option<PolicyVerb>,
}

/// Verbs of `hesuan cluster policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Change what is given; the rest stays
    Set(Box<SetArgs>),
}

/// A switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is in force.
    On,
    /// It is not.
    Off,
}

/// Where a job goes when sites differ in price and in when they have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Objective {
    /// To the cheapest of those with room now
    Soonest,
    /// To the cheapest, however long it is full
    Cheapest,
    /// To a cheaper one that is full, if the wait is a smaller part of the run time than the saving is of the price
    Balanced,
}

impl Objective {
    pub(crate) fn message(self) -> v1::Objective {
        match self {
            Objective::Soonest => v1::Objective::Soonest,
            Objective::Cheapest => v1::Objective::Cheapest,
            Objective::Balanced => v1::Objective::Balanced,
        }
    }
}

/// Its word; none where the policy decides.
pub(crate) fn objective_name(objective: v1::Objective) -> Option<&'static str> {
    match objective {
        v1::Objective::Unspecified => None,
        v1::Objective::Soonest => Some("soonest"),
        v1::Objective::Cheapest => Some("cheapest"),
        v1::Objective::Balanced => Some("balanced"),
    }
}

/// Options of `cluster policy set`.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct SetArgs {
    /// Whether jobs that do not say wait for a cheaper site
    #[arg(long, value_name = "WHAT")]
    objective: Option<Objective>,
    /// Whether organisations go before each other by what they have used
    #[arg(long)]
    fair_share: Option<Switch>,
    /// After so long half of what an organisation has used is forgotten
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    half_life: Option<u64>,
    /// What runs counts as if it had run so much longer
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    charge_ahead: Option<u64>,
    /// Who has waited so long is looked at whatever its organisation has used
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    aged_after: Option<u64>,
    /// How many times its expected run time a job lets shorter ones go first
    #[arg(long, value_name = "TIMES")]
    patience: Option<u32>,
    /// The longest that a job lets shorter ones go first
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    put_off_max: Option<u64>,
    /// An organisation of twice the weight may use twice as much; 1 is usual; may be given several times
    #[arg(long = "weight", value_name = "ORG=WEIGHT", value_parser = parse_weight)]
    weights: Vec<(String, u32)>,
}

/// `ORG=2` or `ORG=0.5`: the weight in thousandths.
fn parse_weight(text: &str) -> Result<(String, u32), String> {
    let (org, weight) = parse_pair(text)?;
    let milli = units::parse_milli(&weight)?;
    let milli = u32::try_from(milli).map_err(|_| format!("\"{weight}\" is too much; at most 1000"))?;
    Ok((org, milli))
}

pub(super) async fn run(context: &Context, args: PolicyArgs) -> Outcome<()> {
    let policy = match args.verb {
        None => {
            context
                .client
                .call(v1::GetPolicyRequest {}, |channel, request| async move {
                    ClusterServiceClient::new(channel).get_policy(request).await
                })
                .await?
        }
        Some(PolicyVerb::Set(set)) => {
            let weight = |(org, weight_milli)| v1::OrgWeight { org, weight_milli };
            let request = v1::SetPolicyRequest {
                request_id: request_id(),
                objective: set.objective.map_or(0, |objective| objective.message().into()),
                fair_share: set.fair_share.map(|switch| switch == Switch::On),
                half_life_ms: set.half_life,
                charge_ahead_ms: set.charge_ahead,
                aged_after_ms: set.aged_after,
                patience: set.patience,
                put_off_ms_max: set.put_off_max,
                weights: set.weights.into_iter().map(weight).collect(),
            };
            context
                .client
                .call(request, |channel, request| async move {
                    ClusterServiceClient::new(channel).set_policy(request).await
                })
                .await?
        }
    };
    context.output.show(&policy_json(&policy), || policy_text(&policy))
}

/// What organisations have used of the pool.
pub(super) async fn shares(context: &Context) -> Outcome<()> {
    let shares = all_pages(async |page_token| {
        let request = v1::ListSharesRequest {
            page_size: PAGE,
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                ClusterServiceClient::new(channel).list_shares(request).await
            })
            .await?;
        Ok((page.shares, page.next_page_token))
    })
    .await?;
    let value: Vec<Value> = shares.iter().map(share_json).collect();
    let row = |share: &v1::OrgShare| {
        vec![
            share.org.clone(),
            show_milli(share.weight_milli.into()),
            show_ppm(share.used_ppm),
            show_ppm(share.running_ppm),
            share.level.to_string(),
        ]
    };
    let header = ["ORG", ">WEIGHT", ">USED", ">RUNNING", ">LEVEL"];
    context
        .output
        .show(&json!(value), || table(&header, shares.iter().map(row)))
}

/// Millionths as `12.34%`, rounded down.
fn show_ppm(ppm: u64) -> String {
    format!("{}.{:02}%", ppm / 10_000, ppm % 10_000 / 100)
}

pub(crate) fn share_json(share: &v1::OrgShare) -> Value {
    json!({
        "org": share.org,
        "weight_milli": share.weight_milli,
        "used_ppm": share.used_ppm,
        "running_ppm": share.running_ppm,
        "level": share.level,
    })
}

/// Where an org stands among those that wait, in a line.
pub(crate) fn share_text(share: &v1::OrgShare) -> String {
    format!(
        "{} has used {} of the pool lately and runs on {}, weight {}: level {}; smaller levels go first",
        share.org,
        show_ppm(share.used_ppm),
        show_ppm(share.running_ppm),
        show_milli(share.weight_milli.into()),
        share.level
    )
}

fn policy_json(policy: &v1::Policy) -> Value {
    let weights = policy.weights.iter();
    json!({
        "revision": policy.revision,
        "objective": objective_name(policy.objective()),
        "fair_share": policy.fair_share,
        "half_life_ms": policy.half_life_ms,
        "charge_ahead_ms": policy.charge_ahead_ms,
        "aged_after_ms": policy.aged_after_ms,
        "patience": policy.patience,
        "put_off_ms_max": policy.put_off_ms_max,
        "weights": weights
            .map(|weight| json!({ "org": weight.org, "weight_milli": weight.weight_milli }))
            .collect::<Vec<_>>(),
    })
}

fn policy_text(policy: &v1::Policy) -> String {
    let weights = policy.weights.iter();
    let weights: Vec<String> = weights
        .map(|weight| format!("{}={}", weight.org, show_milli(weight.weight_milli.into())))
        .collect();
    let weights = if weights.is_empty() {
        "1 each".to_owned()
    } else {
        format!("{}; 1 all others", weights.join(", "))
    };
    record(&[
        ("revision", policy.revision.to_string()),
        (
            "objective",
            objective_name(policy.objective()).unwrap_or("-").to_owned(),
        ),
        ("fair-share", if policy.fair_share { "on" } else { "off" }.to_owned()),
        ("half-life", show_time(policy.half_life_ms)),
        ("charge-ahead", show_time(policy.charge_ahead_ms)),
        ("aged-after", show_time(policy.aged_after_ms)),
        ("patience", policy.patience.to_string()),
        ("put-off-max", show_time(policy.put_off_ms_max)),
        ("weights", weights),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_decimal_numbers() {
        assert_eq!(parse_weight("lab=2"), Ok(("lab".to_owned(), 2000)));
        assert_eq!(parse_weight("lab=0.5"), Ok(("lab".to_owned(), 500)));
        for bad in ["lab", "=2", "lab=", "lab=two", "lab=-1", "lab=0.0001", "lab=99999999"] {
            assert!(parse_weight(bad).is_err(), "{bad}");
        }
    }
}
