//! Submitting, quoting, cancelling and extending: `hesuan.v1` requests to the engine's commands. This is the hot path of decoding, so
//! strings are moved and field names are only written out in a refusal.

use hesuan_engine::command::{ArchivedJob, Body, SubmitJob};
use hesuan_engine::state::DEPENDENCIES_MAX;
use hesuan_engine::state::archive::state_of;
use hesuan_engine::types::{
    After, Dependency, Fen, Funding, Gates, JobId, Nodes, OnSiteLost, RegionCode, Resources, Retries, Timestamp,
};
use prost::Message;
use sha2::{Digest, Sha256};

use super::check::{self, Checked, invalid, missing, out_of_range, range};
use crate::internal::v1 as wire;
use crate::v1;

/// Bytes of an encoded spec, script included.
pub const SPEC_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a script.
pub const SCRIPT_BYTES_MAX: usize = 128 * 1024;
/// Bytes of all names and values of the environment.
pub const ENVIRONMENT_BYTES_MAX: usize = 64 * 1024;
/// Tasks of one array.
pub const TASKS_MAX: u64 = 100_000;
/// Bytes of a job's name.
pub const JOB_NAME_BYTES_MAX: usize = 128;
/// How far a priority may be from 0.
pub const PRIORITY_MAX: i32 = 1000;
/// Further attempts after failures.
pub const RETRIES_MAX: u64 = 100;
/// Entries of a list in a spec (sites, regions, models, generic resources, labels).
pub const LIST_MAX: usize = 64;
/// Vouchers one job may name.
pub const VOUCHERS_MAX: usize = 16;
/// Thousandths of cores one task may ask for.
pub const CPU_MILLI_MAX: u64 = 1_000_000_000;
/// Mebibytes one task may ask for: 1 EiB.
pub const MEMORY_MIB_MAX: u64 = 1 << 40;
/// Thousandths of GPUs one task may ask for.
pub const GPU_MILLI_MAX: u64 = 1_000_000;
/// Three years, the most the ledger can price; the replicated limit is usually far below.
pub const WALLTIME_MS_MAX: u64 = 100_000_000_000;
/// How long a binding quote holds the funds unless it says otherwise.
pub const QUOTE_VALID_MS_DEFAULT: u64 = 10 * 60_000;
/// How long a binding quote may hold the funds.
pub const QUOTE_VALID_MS_MAX: u64 = 24 * 3_600_000;

pub(crate) fn submit(request: v1::SubmitJobRequest) -> Checked<SubmitJob> {
    let spec = request.spec.ok_or_else(|| missing("spec", "describe the job"))?;
    let mut job = job(spec)?;
    if request.quote_id == Some(0) {
        return Err(out_of_range("quote_id", 0, "the number of a binding quote, 1 or more"));
    }
    job.quote = request.quote_id;
    job.validate_only = request.validate_only;
    Ok(job)
}

pub(crate) fn bind_quote(request: v1::QuoteJobRequest) -> Checked<Body> {
    let valid_ms = match request.valid_ms {
        None => QUOTE_VALID_MS_DEFAULT,
        Some(given) => range("valid_ms", given, 1000, QUOTE_VALID_MS_MAX)?,
    };
    if !request.binding {
        return Err(invalid(
            "FIELD_UNKNOWN_VALUE",
            "binding",
            "binding is false: only a binding quote is a command",
        ));
    }
    let spec = request.spec.ok_or_else(|| missing("spec", "describe the job"))?;
    Ok(Body::BindQuote {
        job: job(spec)?,
        valid_ms,
    })
}

pub(crate) fn release_quote(request: &v1::ReleaseQuoteRequest) -> Checked<Body> {
    if request.quote_id == 0 {
        return Err(missing("quote_id", "give the number of the binding quote"));
    }
    Ok(Body::ReleaseQuote {
        quote: request.quote_id,
    })
}

pub(crate) fn cancel(request: v1::CancelJobRequest) -> Checked<Body> {
    if request.job_id == 0 {
        return Err(missing("job_id", "give the number of the job"));
    }
    Ok(Body::CancelJob {
        job: JobId(request.job_id),
        reason: check::note("reason", request.reason)?,
    })
}

pub(crate) fn extend(request: v1::ExtendJobRequest) -> Checked<Body> {
    if request.job_id == 0 {
        return Err(missing("job_id", "give the number of the job"));
    }
    let task = match request.task {
        None => None,
        Some(task) => Some(range("task", task.into(), 0, TASKS_MAX - 1)? as u32),
    };
    Ok(Body::ExtendJob {
        job: JobId(request.job_id),
        task,
        more_ms: range("more_ms", request.more_ms, 1, WALLTIME_MS_MAX)?,
    })
}

/// A spec as the engine takes it, with no quote and not as a dry run.
///
/// # Errors
/// The first field that is missing, malformed or out of its bounds.
pub fn job(spec: v1::JobSpec) -> Checked<SubmitJob> {
    check::bytes("spec", spec.encoded_len(), SPEC_BYTES_MAX)?;
    let (payload, script) = payload(spec.command, spec.script, spec.environment)?;
    let resources = resources(
        spec.resources
            .ok_or_else(|| missing("spec.resources", "say what one task gets"))?,
    )?;
    if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&spec.priority) {
        return Err(out_of_range(
            "spec.priority",
            spec.priority,
            format_args!("-{PRIORITY_MAX} to {PRIORITY_MAX}"),
        ));
    }
    let tasks = range("spec.array_count", spec.array_count.into(), 0, TASKS_MAX)?;
    let parallel_max = range("spec.array_parallel_max", spec.array_parallel_max.into(), 0, TASKS_MAX)?;
    let on_site_lost = match check::known_if_given("spec.on_site_lost", spec.on_site_lost, "hold and requeue")? {
        None | Some(v1::OnSiteLost::Unspecified | v1::OnSiteLost::Hold) => OnSiteLost::Hold,
        Some(v1::OnSiteLost::Requeue) => OnSiteLost::Requeue,
    };
    let (retries_max, retries) = retries(spec.retries_max, spec.retry.unwrap_or_default(), on_site_lost)?;
    let gates = Gates {
        not_before: instant("spec.not_before_ms", spec.not_before_ms)?,
        done_by: instant("spec.done_by_ms", spec.done_by_ms)?,
        after: after(spec.after)?,
    };
    Ok(SubmitJob {
        name: check::line("spec.name", spec.name, JOB_NAME_BYTES_MAX)?,
        org: check::name_or_empty("spec.org", spec.org)?,
        payload,
        script,
        resources,
        nodes: nodes(spec.nodes)?,
        walltime_ms_max: range("spec.walltime_ms_max", spec.walltime_ms_max, 1, WALLTIME_MS_MAX)?,
        priority: spec.priority,
        tasks: tasks.max(1) as u32,
        array: tasks > 1,
        parallel_max: parallel_max as u32,
        sites: sites(spec.sites)?,
        regions: regions(spec.regions)?,
        retries_max,
        retries,
        on_site_lost,
        objective: super::policy::objective("spec.objective", spec.objective)?,
        funding: funding(spec.funding.unwrap_or_default())?,
        labels: labels(spec.labels)?,
        gates,
        archived: Vec::new(),
        quote: None,
        validate_only: false,
    })
}

/// 0 = not given.
fn nodes(given: u32) -> Checked<Nodes> {
    let count = range("spec.nodes", given.into(), 0, Nodes::MAX.into())?;
    Ok(Nodes::new(count as u32).unwrap_or_default())
}

/// After failures, and after anything else.
fn retries(retries_max: u32, given: v1::RetryPolicy, on_site_lost: OnSiteLost) -> Checked<(u32, Retries)> {
    let bounded = |field: &str, given: u32| Ok(range(field, given.into(), 0, RETRIES_MAX)? as u32);
    let retries_max = bounded("spec.retries_max", retries_max)?;
    let failure = bounded("spec.retry.failure", given.failure.unwrap_or(retries_max))?;
    if retries_max > 0 && failure != retries_max {
        let text = format!(
            "spec.retry.failure is {failure} and spec.retries_max, which says the same, is {retries_max}: give one of them"
        );
        return Err(invalid("FIELD_CONFLICT", "spec.retry.failure", text));
    }
    if given.site_lost.is_some() && on_site_lost == OnSiteLost::Hold {
        let text = "spec.retry.site_lost is given but spec.on_site_lost is hold: then a task waits for its site and is not placed again; \
                    ask for requeue, or leave it out";
        return Err(invalid("FIELD_CONFLICT", "spec.retry.site_lost", text));
    }
    let default = Retries::default();
    let retries = Retries {
        time_limit: bounded("spec.retry.time_limit", given.time_limit.unwrap_or(default.time_limit))?,
        site_lost: match given.site_lost {
            None => default.site_lost,
            Some(most) => Some(bounded("spec.retry.site_lost", most)?),
        },
        agent_fault: bounded(
            "spec.retry.agent_fault",
            given.agent_fault.unwrap_or(default.agent_fault),
        )?,
    };
    Ok((failure, retries))
}

fn after(given: Vec<v1::Dependency>) -> Checked<Vec<Dependency>> {
    check::count("spec.after", given.len(), DEPENDENCIES_MAX)?;
    let mut after = Vec::with_capacity(given.len());
    for (index, one) in given.into_iter().enumerate() {
        if one.job_id == 0 {
            return Err(missing(
                format_args!("spec.after[{index}].job_id"),
                "give the number of the job that has to end first",
            ));
        }
        let field = format_args!("spec.after[{index}].after").to_string();
        let how = match check::known_if_given(&field, one.after, "ok, any and not ok")? {
            Some(v1::After::Ok) => After::Ok,
            Some(v1::After::Any) => After::Any,
            Some(v1::After::NotOk) => After::NotOk,
            None | Some(v1::After::Unspecified) => {
                return Err(missing(field, "say how that job has to end: ok, any or not ok"));
            }
        };
        after.push(Dependency {
            job: JobId(one.job_id),
            after: how,
            per_element: one.per_element,
        });
    }
    Ok(after)
}

/// What a replica's archive says. What cannot be is left out: then apply knows nothing of that job.
pub(crate) fn archived(given: Vec<wire::ArchivedJob>) -> Vec<ArchivedJob> {
    let fact = |one: wire::ArchivedJob| {
        let state = state_of(u32::try_from(one.state).ok()?).filter(|state| state.is_ended())?;
        Some(ArchivedJob {
            job: JobId(one.job),
            org: one.org.into(),
            state,
            tasks: one.tasks,
            succeeded: one.succeeded.min(one.tasks),
        })
    };
    given.into_iter().take(DEPENDENCIES_MAX).filter_map(fact).collect()
}

/// 0 = not given.
fn instant(field: &str, ms: u64) -> Checked<Option<Timestamp>> {
    match ms {
        0 => Ok(None),
        ms => Ok(Some(Timestamp(range(field, ms, 1, Timestamp::FAR.0 - 1)?))),
    }
}

type Script = Option<([u8; 32], Box<[u8]>)>;

/// What the agent gets, encoded, and the script beside it.
fn payload(command: Vec<String>, script: String, environment: Vec<v1::KeyValue>) -> Checked<(Box<[u8]>, Script)> {
    match (command.first().map(String::as_str), script.is_empty()) {
        (None, true) => return Err(missing("spec.command", "give a command or a script")),
        (Some(_), false) => {
            return Err(invalid(
                "FIELD_CONFLICT",
                "spec.script",
                "spec.script and spec.command are both given: give one of them",
            ));
        }
        (Some(""), true) => return Err(missing("spec.command[0]", "give the program to run")),
        _ => {}
    }
    if let Some(index) = command.iter().position(|argument| argument.contains('\0')) {
        return Err(nul(format_args!("spec.command[{index}]")));
    }
    check_environment(&environment)?;
    let script = if script.is_empty() {
        None
    } else {
        check::bytes("spec.script", script.len(), SCRIPT_BYTES_MAX)?;
        if !script.starts_with("#!") {
            return Err(invalid(
                "FIELD_MALFORMED",
                "spec.script",
                "spec.script does not begin with #!: its first line names the interpreter, such as #!/bin/sh",
            ));
        }
        let text = script.into_bytes().into_boxed_slice();
        Some((<[u8; 32]>::from(Sha256::digest(&text)), text))
    };
    let payload = v1::TaskPayload {
        command,
        script_sha256: script.as_ref().map(|(digest, _)| digest.to_vec()).unwrap_or_default(),
        environment,
    };
    Ok((payload.encode_to_vec().into_boxed_slice(), script))
}

fn check_environment(environment: &[v1::KeyValue]) -> Checked<()> {
    if environment.is_empty() {
        return Ok(());
    }
    let total: usize = environment.iter().map(|pair| pair.key.len() + pair.value.len()).sum();
    check::bytes("spec.environment", total, ENVIRONMENT_BYTES_MAX)?;
    let mut names = Vec::with_capacity(environment.len());
    for (index, pair) in environment.iter().enumerate() {
        let good =
            |(at, byte): (usize, u8)| byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
        if pair.key.is_empty() {
            return Err(missing(
                format_args!("spec.environment[{index}].key"),
                "name the variable",
            ));
        }
        if !pair.key.bytes().enumerate().all(good) {
            return Err(invalid(
                "FIELD_MALFORMED",
                format_args!("spec.environment[{index}].key"),
                format_args!(
                    "spec.environment[{index}].key is \"{}\": letters a-z, digits and _ are allowed, no digit first",
                    pair.key.escape_default()
                ),
            ));
        }
        if pair.value.contains('\0') {
            return Err(nul(format_args!("spec.environment[{index}].value")));
        }
        names.push(pair.key.as_str());
    }
    check::sort_distinct("spec.environment", &mut names)
}

fn nul(field: impl std::fmt::Display) -> hesuan_engine::outcome::Rejection {
    invalid(
        "FIELD_MALFORMED",
        &field,
        format_args!("{field} holds a zero byte, which no program can be given: remove it"),
    )
}

fn resources(given: v1::Resources) -> Checked<Resources> {
    let gpu_milli = range("spec.resources.gpu_milli", given.gpu_milli, 0, GPU_MILLI_MAX)?;
    if gpu_milli > 1000 && gpu_milli % 1000 != 0 {
        return Err(out_of_range(
            "spec.resources.gpu_milli",
            gpu_milli,
            "a share of one GPU below 1000 or a multiple of 1000",
        ));
    }
    check::count("spec.resources.gpu_models", given.gpu_models.len(), LIST_MAX)?;
    if gpu_milli == 0 && !given.gpu_models.is_empty() {
        return Err(invalid(
            "FIELD_CONFLICT",
            "spec.resources.gpu_models",
            "spec.resources.gpu_models is given but spec.resources.gpu_milli is 0: ask for GPUs or name no model",
        ));
    }
    let mut gpu_models = Vec::with_capacity(given.gpu_models.len());
    for (index, model) in given.gpu_models.into_iter().enumerate() {
        gpu_models.push(check::token(format_args!("spec.resources.gpu_models[{index}]"), model)?);
    }
    check::sort_distinct("spec.resources.gpu_models", &mut gpu_models)?;
    Ok(Resources {
        cpu_milli: range("spec.resources.cpu_milli", given.cpu_milli, 1, CPU_MILLI_MAX)?,
        memory_mib: range("spec.resources.memory_mib", given.memory_mib, 1, MEMORY_MIB_MAX)?,
        gpu_milli,
        gpu_models,
        generic: generic(
            "spec.resources.generic",
            given.generic.into_iter().map(|one| (one.name, one.amount)).collect(),
        )?,
    })
}

/// Named amounts above 0, sorted by name, each name once.
pub(super) fn generic(field: impl std::fmt::Display, given: Vec<(String, u64)>) -> Checked<Vec<(Box<str>, u64)>> {
    check::count(&field, given.len(), LIST_MAX)?;
    let mut generic = Vec::with_capacity(given.len());
    for (index, (name, amount)) in given.into_iter().enumerate() {
        let amount = range(format_args!("{field}[{index}].amount"), amount, 1, 1 << 40)?;
        generic.push((check::token(format_args!("{field}[{index}].name"), name)?, amount));
    }
    generic.sort_unstable();
    match generic.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(generic),
        Some(pair) => Err(check::duplicate(field, &pair[0].0)),
    }
}

fn sites(given: Vec<String>) -> Checked<Vec<Box<str>>> {
    check::count("spec.sites", given.len(), LIST_MAX)?;
    let mut sites = Vec::with_capacity(given.len());
    for (index, site) in given.into_iter().enumerate() {
        sites.push(check::name(format_args!("spec.sites[{index}]"), site)?);
    }
    check::sort_distinct("spec.sites", &mut sites)?;
    Ok(sites)
}

fn regions(given: Vec<u32>) -> Checked<Vec<RegionCode>> {
    check::count("spec.regions", given.len(), LIST_MAX)?;
    let mut regions = Vec::with_capacity(given.len());
    for (index, code) in given.into_iter().enumerate() {
        regions.push(check::region(format_args!("spec.regions[{index}]"), code)?);
    }
    check::sort_distinct("spec.regions", &mut regions)?;
    Ok(regions)
}

fn funding(given: v1::Funding) -> Checked<Funding> {
    check::count("spec.funding.vouchers", given.vouchers.len(), VOUCHERS_MAX)?;
    if given.wallet_only && !given.vouchers.is_empty() {
        return Err(invalid(
            "FIELD_CONFLICT",
            "spec.funding.wallet_only",
            "spec.funding.wallet_only is set and spec.funding.vouchers names vouchers: choose one",
        ));
    }
    let mut vouchers = given.vouchers;
    if let Some(index) = vouchers.iter().position(|&voucher| voucher == 0) {
        return Err(out_of_range(
            format_args!("spec.funding.vouchers[{index}]"),
            0,
            "the number of a voucher, 1 or more",
        ));
    }
    check::sort_distinct("spec.funding.vouchers", &mut vouchers)?;
    let copay_max = match given.copay_fen_max {
        None => None,
        Some(most) if (0..=Fen::MAX.0).contains(&most) => Some(Fen(most)),
        Some(most) => {
            return Err(out_of_range(
                "spec.funding.copay_fen_max",
                most,
                format_args!("0 to {}", Fen::MAX.0),
            ));
        }
    };
    Ok(Funding {
        vouchers,
        wallet_only: given.wallet_only,
        copay_max,
        allow_partial: given.allow_partial,
    })
}

fn labels(given: Vec<v1::KeyValue>) -> Checked<Vec<(Box<str>, Box<str>)>> {
    check::count("spec.labels", given.len(), LIST_MAX)?;
    let mut labels: Vec<(Box<str>, Box<str>)> = Vec::with_capacity(given.len());
    for (index, pair) in given.into_iter().enumerate() {
        let key = check::name(format_args!("spec.labels[{index}].key"), pair.key)?;
        if labels.iter().any(|(taken, _)| *taken == key) {
            return Err(check::duplicate("spec.labels", key));
        }
        labels.push((
            key,
            check::line(format_args!("spec.labels[{index}].value"), pair.value, 256)?,
        ));
    }
    Ok(labels)
}
