//! Submitting and quoting.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use hesuan_api::v1::{self, job_service_client::JobServiceClient};
use serde_json::json;

use super::money::{price_json, quote_text};
use super::spec::{SpecArgs, Work};
use super::{follow, state_name};
use crate::client::request_id;
use crate::failure::{Failure, Outcome};
use crate::noun::{Context, none_if_zero};
use crate::units;

/// What to run.
#[derive(Args, Debug)]
pub struct WorkArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// A script with #HESUAN directives in its leading comments; - reads it from standard input
    #[arg(value_name = "SCRIPT", conflicts_with = "command")]
    script: Option<PathBuf>,
    /// The program and its arguments, after --
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl WorkArgs {
    fn into_spec(self) -> Outcome<v1::JobSpec> {
        let work = match self.script {
            Some(path) => Work::Script(read_script(&path)?),
            None if self.command.is_empty() => {
                return Err(Failure::Usage(
                    "nothing to run: give a script, or a command after --".to_owned(),
                ));
            }
            None => Work::Command(self.command),
        };
        Ok(self
            .spec
            .with_defaults(&work, &|key| std::env::var(key).ok())?
            .into_spec(work))
    }
}

fn read_script(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::Usage(format!("the script {} cannot be read: {error}", path.display())))?;
    if !text.starts_with("#!") {
        return Err(Failure::Usage(format!(
            "the script {} does not begin with #!: its first line names the interpreter, such as #!/bin/sh",
            path.display()
        )));
    }
    Ok(text)
}

/// Options of `job submit`.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// Take up a binding quote
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    quote: Option<u64>,
    /// Check everything, queue nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until it has ended; the exit code says how
    #[arg(long)]
    wait: bool,
}

pub(super) async fn submit(context: Context, args: SubmitArgs) -> Outcome<()> {
    let request = v1::SubmitJobRequest {
        request_id: request_id(),
        spec: Some(args.work.into_spec()?),
        validate_only: args.dry_run,
        quote_id: args.quote,
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            JobServiceClient::new(channel).submit_job(request).await
        })
        .await?;
    let job = answer.job_id;
    if args.dry_run {
        return context.output.show(&json!({ "dry_run": true, "accepted": true }), || {
            "the job would be accepted".to_owned()
        });
    }
    if !args.wait {
        return context.output.show(&json!({ "job_id": job }), || job.to_string());
    }
    context.output.remark(&format!("job {job} submitted"));
    let ended = follow::wait_for(&context, &[job], context.global.timeout, false).await?;
    let state = ended.first().map_or(v1::JobState::Unspecified, v1::Job::state);
    let value = json!({ "job_id": job, "state": state_name(state) });
    context.output.show(&value, || format!("{job} {}", state_name(state)))?;
    follow::verdict(&ended)
}

/// Options of `job quote`.
#[derive(Args, Debug)]
pub struct QuoteArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// Hold the funds until the quote expires; then submit --quote NUMBER
    #[arg(long)]
    binding: bool,
    /// How long a binding quote holds, 1s to 24h [default: 10m]
    #[arg(long, value_name = "TIME", requires = "binding", value_parser = units::parse_validity)]
    valid: Option<u64>,
}

pub(super) async fn quote(context: &Context, args: QuoteArgs) -> Outcome<()> {
    let request = v1::QuoteJobRequest {
        request_id: request_id(),
        spec: Some(args.work.into_spec()?),
        binding: args.binding,
        valid_ms: args.valid,
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            JobServiceClient::new(channel).quote_job(request).await
        })
        .await?;
    let site = |one: &v1::SiteQuote| {
        json!({
            "site": one.site,
            "region": one.region,
            "price": one.price.as_ref().map(price_json),
            "fits_now": one.fits_now,
            "expected_start": units::rfc3339(one.expected_start_ms),
            "forecast_age_ms": (one.expected_start_ms > 0).then_some(one.forecast_age_ms),
            "reasons": one.reasons.iter().map(|reason| json!({ "code": reason.code, "text": reason.text })).collect::<Vec<_>>(),
        })
    };
    let value = json!({
        "sites": answer.sites.iter().map(site).collect::<Vec<_>>(),
        "quote_id": none_if_zero(answer.quote_id),
        "expires_at": units::rfc3339(answer.expires_at_ms),
        "nearest": answer.nearest.as_ref().map(|nearest| {
            let details = nearest.details.iter().map(|detail| (detail.key.clone(), detail.value.clone().into()));
            json!({ "code": nearest.code, "text": nearest.text, "details": details.collect::<serde_json::Map<_, _>>() })
        }),
    });
    context.output.show(&value, || quote_text(&answer))
}
