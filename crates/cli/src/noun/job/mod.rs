//! `hesuan job`: submit, quote, follow, cancel, extend.

pub mod directives;
pub mod extend;
pub mod follow;
mod money;
pub mod quotes;
pub mod select;
pub mod show;
pub mod spec;
pub mod submit;

use clap::{Args, Subcommand};
use hesuan_api::v1;

pub use self::extend::ExtendArgs;
pub use self::follow::{CancelArgs, LogsArgs, WaitArgs};
pub use self::quotes::QuotesArgs;
pub use self::show::{ListArgs, TasksArgs};
pub use self::submit::{QuoteArgs, SubmitArgs};
use super::Context;
use crate::failure::Outcome;

/// Verbs of `hesuan job`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Queue a job: a command after --, or a script with #HESUAN directives
    Submit(Box<SubmitArgs>),
    /// The price per site, split by voucher and co-pay, and why other sites refuse
    Quote(Box<QuoteArgs>),
    /// Binding quotes that are open, and what they hold; or give one back
    Quotes(QuotesArgs),
    /// Jobs, newest first
    List(ListArgs),
    /// Everything about one job
    Show(JobArgs),
    /// Tasks of an array that were placed
    Tasks(TasksArgs),
    /// What a job printed
    Logs(LogsArgs),
    /// Cancel jobs; what has ended stays as it is
    Cancel(CancelArgs),
    /// Give a running task more time; what it may cost is held at once
    Extend(ExtendArgs),
    /// Wait until jobs have ended; the exit code is that of the worst
    Wait(WaitArgs),
    /// Why a job waits, site by site, and until when it may run
    Explain(JobArgs),
    /// What a job cost: list price, each voucher leg, co-pay
    Receipt(JobArgs),
}

/// One job.
#[derive(Args, Debug)]
pub struct JobArgs {
    /// Number of the job, or last
    #[arg(value_parser = select::parse_one)]
    job: select::One,
}

/// Carries out a verb.
pub(crate) async fn run(context: Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::Submit(args) => submit::submit(context, *args).await,
        Verb::Quote(args) => submit::quote(&context, *args).await,
        Verb::Quotes(args) => quotes::quotes(&context, args).await,
        Verb::List(args) => show::list(&context, args).await,
        Verb::Show(args) => show::show(&context, args.job.resolve(&context).await?).await,
        Verb::Tasks(args) => show::tasks(&context, args).await,
        Verb::Logs(args) => follow::logs(&context, args).await,
        Verb::Cancel(args) => follow::cancel(&context, args).await,
        Verb::Extend(args) => extend::extend(&context, args).await,
        Verb::Wait(args) => follow::wait(context, args).await,
        Verb::Explain(args) => show::explain(&context, args.job.resolve(&context).await?).await,
        Verb::Receipt(args) => money::receipt(&context, args.job.resolve(&context).await?).await,
    }
}

/// A state as it is typed and shown.
pub(crate) fn state_name(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Unspecified => "-",
        v1::JobState::Pending => "PENDING",
        v1::JobState::Running => "RUNNING",
        v1::JobState::Succeeded => "SUCCEEDED",
        v1::JobState::Failed => "FAILED",
        v1::JobState::Cancelled => "CANCELLED",
        v1::JobState::TimeLimit => "TIME_LIMIT",
        v1::JobState::Lost => "LOST",
        v1::JobState::Deadline => "DEADLINE",
        v1::JobState::Preempted => "PREEMPTED",
    }
}

pub(crate) use self::money::price_json;
pub(crate) use self::show::resources_text;

pub(crate) fn is_ended(state: v1::JobState) -> bool {
    !matches!(
        state,
        v1::JobState::Unspecified | v1::JobState::Pending | v1::JobState::Running
    )
}
