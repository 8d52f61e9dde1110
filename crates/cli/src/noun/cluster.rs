//! `hesuan cluster`: replicas, leadership, principals and their tokens, replicated limits, the policy of scheduling.

use clap::{Args, Subcommand};
use hesuan_api::v1::{self, cluster_service_client::ClusterServiceClient};
use serde_json::{Value, json};

use super::Context;
use super::policy::{self, PolicyArgs};
use super::principal::{self, PrincipalVerb, principal_json, principal_text};
use crate::client::request_id;
use crate::failure::{Failure, Outcome};
use crate::output::{record, table};
use crate::units::{self, show_time, show_time_roughly};

/// Verbs of `hesuan cluster`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Replicas, leader, and how far each is
    Status,
    /// Register a replica; it joins as a learner and catches up
    Add(AddArgs),
    /// Let a learner vote
    Promote {
        /// Number of the replica
        id: u64,
    },
    /// Take a replica out for good; its number is never used again
    Remove {
        /// Number of the replica
        id: u64,
    },
    /// Hand leadership to another replica
    Transfer {
        /// Number of the replica
        to: u64,
    },
    /// Who may do what
    #[command(subcommand)]
    Principal(PrincipalVerb),
    /// Show the replicated limits, or change those given
    Limits(LimitsArgs),
    /// Show who goes before whom, or change it
    Policy(PolicyArgs),
    /// What organisations have used of the pool, and who goes before whom by it
    Shares,
    /// Whose token this is
    Whoami,
    /// Versions of the cluster and of this program
    Version,
}

/// Options of `cluster add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Unique
    name: String,
    /// host:port of its peer listener
    #[arg(long, value_name = "HOST:PORT")]
    peer: String,
    /// host:port of its client listener
    #[arg(long, value_name = "HOST:PORT")]
    client: String,
}

/// Options of `cluster limits`.
#[derive(Args, Debug)]
pub struct LimitsArgs {
    /// How long request ids are kept
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    request_window: Option<u64>,
    /// How many request ids are kept
    #[arg(long, value_name = "COUNT")]
    requests_max: Option<u64>,
    /// How long ended jobs stay before they go to the archive
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    ended_job_keep: Option<u64>,
    /// How many ended jobs stay
    #[arg(long, value_name = "COUNT")]
    ended_jobs_max: Option<u64>,
    /// How many jobs there may be
    #[arg(long, value_name = "COUNT")]
    jobs_max: Option<u64>,
    /// Silence after which a site is lost
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    lost_after: Option<u64>,
    /// A site's lease
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    lease_ttl: Option<u64>,
    /// Bytes of one script
    #[arg(long, value_name = "BYTES")]
    script_bytes_max: Option<u64>,
    /// Bytes of all scripts
    #[arg(long, value_name = "BYTES")]
    scripts_bytes_max_total: Option<u64>,
    /// Longest time limit of a job
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    walltime_max: Option<u64>,
    /// How long a lost site's jobs keep their money held
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    settlement_grace: Option<u64>,
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    let client = &context.client;
    match verb {
        Verb::Status => {
            let status = client
                .call(v1::GetStatusRequest {}, |channel, request| async move {
                    ClusterServiceClient::new(channel).get_status(request).await
                })
                .await?;
            show_status(context, &status)
        }
        Verb::Add(args) => {
            let request = v1::AddMemberRequest {
                request_id: request_id(),
                name: args.name.clone(),
                peer_address: args.peer,
                client_address: args.client,
            };
            let answer = client
                .call(request, |channel, request| async move {
                    ClusterServiceClient::new(channel).add_member(request).await
                })
                .await?;
            context.output.show(&json!({ "id": answer.id }), || {
                format!(
                    "replica {id} ({name}) may join; in its configuration: name = \"{name}\", id = {id}, join = true; start it, \
                     wait until it has caught up, then: hesuan cluster promote {id}",
                    id = answer.id,
                    name = args.name
                )
            })
        }
        Verb::Promote { id } => {
            let status = client
                .call(v1::PromoteMemberRequest { id }, |channel, request| async move {
                    ClusterServiceClient::new(channel).promote_member(request).await
                })
                .await?;
            show_status(context, &status)
        }
        Verb::Remove { id } => {
            let status = client
                .call(v1::RemoveMemberRequest { id }, |channel, request| async move {
                    ClusterServiceClient::new(channel).remove_member(request).await
                })
                .await?;
            show_status(context, &status)
        }
        Verb::Transfer { to } => {
            let status = client
                .call(v1::TransferLeadershipRequest { to }, |channel, request| async move {
                    ClusterServiceClient::new(channel).transfer_leadership(request).await
                })
                .await?;
            show_status(context, &status)
        }
        Verb::Principal(verb) => principal::run(context, verb).await,
        Verb::Limits(args) => limits(context, &args).await,
        Verb::Policy(args) => policy::run(context, args).await,
        Verb::Shares => policy::shares(context).await,
        Verb::Whoami => {
            let who = client
                .call(v1::WhoAmIRequest {}, |channel, request| async move {
                    ClusterServiceClient::new(channel).who_am_i(request).await
                })
                .await?;
            context.output.show(&principal_json(&who), || principal_text(&who))
        }
        Verb::Version => version(context).await,
    }
}

fn estimates_json(estimates: &v1::StartEstimates) -> Value {
    json!({
        "bounds_ms": estimates.bounds_ms,
        "early": estimates.early,
        "late": estimates.late,
        "wait_mean_ms": estimates.wait_mean_ms,
        "off_mean_ms": estimates.off_mean_ms,
    })
}

/// How estimates of starts came true, in a line.
fn estimates_text(estimates: &v1::StartEstimates) -> String {
    let (early, late): (u64, u64) = (estimates.early.iter().sum(), estimates.late.iter().sum());
    if early + late == 0 {
        return "no estimate has come true yet".to_owned();
    }
    format!(
        "{early} no later than estimated, {late} later; off by {} on average, after waits of {}",
        show_time_roughly(estimates.off_mean_ms),
        show_time_roughly(estimates.wait_mean_ms)
    )
}

fn show_status(context: &Context, status: &v1::ClusterStatus) -> Outcome<()> {
    let role = |member: &v1::Member| match (member.leader, member.voter) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    };
    // Only the leader hears from all the others; from elsewhere nothing is known, which is not "no".
    let active =
        |member: &v1::Member| (status.replica_id == status.leader_id || member.active).then_some(member.active);
    let member = |member: &v1::Member| {
        json!({
            "id": member.id,
            "name": member.name,
            "peer_address": member.peer_address,
            "client_address": member.client_address,
            "role": role(member),
            "match_index": super::none_if_zero(member.match_index),
            "active": active(member),
        })
    };
    let value = json!({
        "cluster_id": status.cluster_id,
        "replica_id": status.replica_id,
        "leader_id": super::none_if_zero(status.leader_id),
        "term": status.term,
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "outcome_digest": hex::encode(&status.outcome_digest),
        "level": status.level,
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
        "jobs_pending": status.jobs_pending,
        "tasks_running": status.tasks_running,
        "first_index": status.first_index,
        "snapshot_index": status.snapshot_index,
        "rss_mib": status.rss_mib,
        "start_estimates": status.start_estimates.as_ref().map(estimates_json),
    });
    context.output.show(&value, || {
        let leader = match status.leader_id {
            0 => "none: a majority of the voters must run and reach each other".to_owned(),
            leader => format!("replica {leader}, term {}", status.term),
        };
        let text = record(&[
            ("cluster", status.cluster_id.clone()),
            ("answered by", format!("replica {}", status.replica_id)),
            ("leader", leader),
            (
                "applied",
                format!("{} of {} committed", status.applied_index, status.commit_index),
            ),
            (
                "log",
                format!("from {}, snapshot at {}", status.first_index, status.snapshot_index),
            ),
            (
                "jobs",
                format!(
                    "{} pending, {} tasks running",
                    status.jobs_pending, status.tasks_running
                ),
            ),
            ("level", status.level.to_string()),
            ("memory", format!("{} MiB", status.rss_mib)),
            (
                "starts",
                status.start_estimates.as_ref().map_or("-".to_owned(), estimates_text),
            ),
        ]);
        let row = |member: &v1::Member| {
            let matched = if member.match_index == 0 {
                "-".to_owned()
            } else {
                member.match_index.to_string()
            };
            vec![
                member.id.to_string(),
                member.name.clone(),
                role(member).to_owned(),
                match active(member) {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "-",
                }
                .to_owned(),
                matched,
                member.client_address.clone(),
                member.peer_address.clone(),
            ]
        };
        let header = ["ID", "NAME", "ROLE", "ACTIVE", ">MATCH", "CLIENTS", "PEERS"];
        format!("{text}\n\n{}", table(&header, status.members.iter().map(row)))
    })
}

async fn limits(context: &Context, args: &LimitsArgs) -> Outcome<()> {
    let change = [
        args.request_window,
        args.requests_max,
        args.ended_job_keep,
        args.ended_jobs_max,
        args.jobs_max,
        args.lost_after,
        args.lease_ttl,
        args.script_bytes_max,
        args.scripts_bytes_max_total,
        args.walltime_max,
        args.settlement_grace,
    ];
    if change.contains(&Some(0)) {
        return Err(Failure::Usage("a limit of 0 cannot be set".to_owned()));
    }
    let limits = if change.iter().all(Option::is_none) {
        context
            .client
            .call(v1::GetLimitsRequest {}, |channel, request| async move {
                ClusterServiceClient::new(channel).get_limits(request).await
            })
            .await?
    } else {
        let limits = v1::Limits {
            request_window_ms: args.request_window.unwrap_or(0),
            requests_max: args.requests_max.unwrap_or(0),
            ended_job_keep_ms: args.ended_job_keep.unwrap_or(0),
            ended_jobs_max: args.ended_jobs_max.unwrap_or(0),
            jobs_max: args.jobs_max.unwrap_or(0),
            lost_after_ms: args.lost_after.unwrap_or(0),
            lease_ttl_ms: args.lease_ttl.unwrap_or(0),
            script_bytes_max: args.script_bytes_max.unwrap_or(0),
            scripts_bytes_max_total: args.scripts_bytes_max_total.unwrap_or(0),
            walltime_ms_max: args.walltime_max.unwrap_or(0),
            settlement_grace_ms: args.settlement_grace.unwrap_or(0),
        };
        let request = v1::SetLimitsRequest {
            request_id: request_id(),
            limits: Some(limits),
        };
        context
            .client
            .call(request, |channel, request| async move {
                ClusterServiceClient::new(channel).set_limits(request).await
            })
            .await?
    };
    context.output.show(&limits_json(&limits), || {
        record(&[
            ("request-window", show_time(limits.request_window_ms)),
            ("requests-max", limits.requests_max.to_string()),
            ("ended-job-keep", show_time(limits.ended_job_keep_ms)),
            ("ended-jobs-max", limits.ended_jobs_max.to_string()),
            ("jobs-max", limits.jobs_max.to_string()),
            ("lost-after", show_time(limits.lost_after_ms)),
            ("lease-ttl", show_time(limits.lease_ttl_ms)),
            ("script-bytes-max", limits.script_bytes_max.to_string()),
            ("scripts-bytes-max-total", limits.scripts_bytes_max_total.to_string()),
            ("walltime-max", show_time(limits.walltime_ms_max)),
            ("settlement-grace", show_time(limits.settlement_grace_ms)),
        ])
    })
}

fn limits_json(limits: &v1::Limits) -> Value {
    json!({
        "request_window_ms": limits.request_window_ms,
        "requests_max": limits.requests_max,
        "ended_job_keep_ms": limits.ended_job_keep_ms,
        "ended_jobs_max": limits.ended_jobs_max,
        "jobs_max": limits.jobs_max,
        "lost_after_ms": limits.lost_after_ms,
        "lease_ttl_ms": limits.lease_ttl_ms,
        "script_bytes_max": limits.script_bytes_max,
        "scripts_bytes_max_total": limits.scripts_bytes_max_total,
        "walltime_ms_max": limits.walltime_ms_max,
        "settlement_grace_ms": limits.settlement_grace_ms,
    })
}

async fn version(context: &Context) -> Outcome<()> {
    let own = env!("CARGO_PKG_VERSION");
    let version = context
        .client
        .call(v1::GetVersionRequest {}, |channel, request| async move {
            ClusterServiceClient::new(channel).get_version(request).await
        })
        .await?;
    let value = json!({ "client": own, "server": version.version, "level": version.level });
    context.output.show(&value, || {
        format!("hesuan {own}, cluster {} at level {}", version.version, version.level)
    })
}
