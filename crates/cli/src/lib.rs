//! `hesuan`: the command line. Results go to standard output, everything else to standard error; `--json` prints the same facts.
//! One file per noun under [`noun`]; nothing here decides anything.

pub mod client;
pub mod failure;
pub mod noun;
pub mod output;
pub mod programme_file;
pub mod settings;
pub mod sheet;
pub mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::Client;
use crate::failure::{EXIT_CODES, Failure, Outcome};
use crate::noun::{
    Context, agreement, audit, claim, cluster, job, period, programme, settlement, site, voucher, wallet,
};
use crate::output::Output;
use crate::settings::{Global, Settings};

/// Jobs on the shared capacity of several cities, paid by vouchers.
#[derive(Debug, Parser)]
#[command(name = "hesuan", version, max_term_width = 120, after_long_help = EXIT_CODES, subcommand_required = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Submit, quote, follow and cancel jobs
    #[command(subcommand)]
    Job(job::Verb),
    /// The data centres that lend capacity
    #[command(subcommand)]
    Site(site::Verb),
    /// Vouchers: issue, redeem, look at
    #[command(subcommand)]
    Voucher(voucher::Verb),
    /// Organisations, their money, and prices
    #[command(subcommand)]
    Wallet(wallet::Verb),
    /// Voucher programmes
    #[command(subcommand)]
    Programme(programme::Verb),
    /// Where a region's vouchers are recognised
    #[command(subcommand)]
    Agreement(agreement::Verb),
    /// Take the journal away and check it elsewhere
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Accounting periods: close them, see what they come to
    #[command(subcommand)]
    Period(period::Verb),
    /// What providers are paid for closed periods
    #[command(subcommand)]
    Settlement(settlement::Verb),
    /// What holders advanced and ask back
    #[command(subcommand)]
    Claim(claim::Verb),
    /// Replicas, principals, limits
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// `job submit`, `job list` and so on without the noun
    #[command(flatten)]
    Alias(Alias),
}

/// The verbs people type all day.
#[derive(Debug, Subcommand)]
enum Alias {
    /// Same as: job submit
    Submit(Box<job::SubmitArgs>),
    /// Same as: job list
    Ls(job::ListArgs),
    /// Same as: job logs
    Logs(job::LogsArgs),
    /// Same as: job cancel
    Cancel(job::CancelArgs),
    /// Same as: job wait
    Wait(job::WaitArgs),
    /// Same as: job explain
    Explain(job::JobArgs),
}

impl From<Alias> for job::Verb {
    fn from(alias: Alias) -> Self {
        match alias {
            Alias::Submit(args) => job::Verb::Submit(args),
            Alias::Ls(args) => job::Verb::List(args),
            Alias::Logs(args) => job::Verb::Logs(args),
            Alias::Cancel(args) => job::Verb::Cancel(args),
            Alias::Wait(args) => job::Verb::Wait(args),
            Alias::Explain(args) => job::Verb::Explain(args),
        }
    }
}

/// The whole program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// The whole program with these arguments (the first is its name).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            refuse(&error, &arguments);
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let output = Output::new(&arguments.global);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(until_interrupted(arguments)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What was typed is refused: as JSON for who wants that, otherwise as clap writes it, with the stable code.
fn refuse(error: &clap::Error, arguments: &[OsString]) {
    // Help and version go to standard output and are no failure; clap knows which is which.
    if !error.use_stderr() {
        let _ = error.print();
        return;
    }
    let options = arguments.iter().take_while(|word| *word != "--");
    if options.into_iter().any(|word| word == "--json") {
        eprintln!("{}", typing_error(error));
    } else {
        let _ = error.print();
        eprintln!("[{}]", typing_code(error));
    }
}

fn typing_code(error: &clap::Error) -> &'static str {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 => "INVALID_FIELD",
        ErrorKind::MissingRequiredArgument | ErrorKind::NoEquals => "FIELD_MISSING",
        ErrorKind::ArgumentConflict => "FIELD_CONFLICT",
        _ => "USAGE",
    }
}

fn typing_error(error: &clap::Error) -> serde_json::Value {
    use clap::error::{ContextKind, ContextValue};
    let field = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => Some(name.as_str()),
        Some(ContextValue::Strings(names)) => names.first().map(String::as_str),
        _ => None,
    };
    let text = error.render().to_string();
    // What follows the blank line is how the command is used.
    let message = text
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .trim();
    serde_json::json!({ "error": { "code": typing_code(error), "message": message, "field": field } })
}

async fn until_interrupted(arguments: Arguments) -> Outcome<()> {
    tokio::select! {
        result = execute(arguments) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
    }
}

async fn execute(arguments: Arguments) -> Outcome<()> {
    let Arguments { global, noun } = arguments;
    if let Noun::Audit(audit::Verb::Verify(args)) = noun {
        return audit::check(Output::new(&global), args).await;
    }
    let settings = Settings::load(&global, &|key| std::env::var(key).ok())?;
    let context = Context {
        client: Client::new(&settings, &global)?,
        output: Output::new(&global),
        global,
    };
    match noun {
        Noun::Job(verb) => job::run(context, verb).await,
        Noun::Alias(alias) => job::run(context, alias.into()).await,
        Noun::Site(verb) => site::run(&context, verb).await,
        Noun::Voucher(verb) => voucher::run(&context, verb).await,
        Noun::Wallet(verb) => wallet::run(&context, verb).await,
        Noun::Programme(verb) => programme::run(&context, verb).await,
        Noun::Agreement(verb) => agreement::run(&context, verb).await,
        Noun::Audit(audit::Verb::Export(args)) => audit::export(&context, args).await,
        Noun::Audit(audit::Verb::Verify(args)) => audit::check(context.output, args).await,
        Noun::Period(verb) => period::run(&context, verb).await,
        Noun::Settlement(verb) => settlement::run(&context, verb).await,
        Noun::Claim(verb) => claim::run(&context, verb).await,
        Noun::Cluster(verb) => cluster::run(&context, verb).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_alias_is_its_verb() {
        let parse = |words: &[&str]| {
            format!(
                "{:?}",
                Arguments::try_parse_from(words)
                    .map(|parsed| match parsed.noun {
                        Noun::Job(verb) => verb,
                        Noun::Alias(alias) => alias.into(),
                        other => panic!("{other:?} is no job"),
                    })
                    .expect("the words are good")
            )
        };
        let submit = [
            "--cpus", "2", "--gpus", "8:a800", "--", "python", "train.py", "--lr", "1",
        ];
        for (alias, verb) in [
            (
                [&["hesuan", "submit"][..], &submit].concat(),
                [&["hesuan", "job", "submit"][..], &submit].concat(),
            ),
            (
                vec!["hesuan", "ls", "--state", "pending"],
                vec!["hesuan", "job", "list", "--state", "pending"],
            ),
            (
                vec!["hesuan", "logs", "-f", "7"],
                vec!["hesuan", "job", "logs", "-f", "7"],
            ),
            (
                vec!["hesuan", "cancel", "7", "8"],
                vec!["hesuan", "job", "cancel", "7", "8"],
            ),
            (vec!["hesuan", "wait", "7"], vec!["hesuan", "job", "wait", "7"]),
            (vec!["hesuan", "explain", "7"], vec!["hesuan", "job", "explain", "7"]),
        ] {
            assert_eq!(parse(&alias), parse(&verb));
        }
    }

    #[test]
    fn a_typing_error_has_a_code_and_names_the_option() {
        let said = |words: &[&str]| {
            let words = ["hesuan"].iter().chain(words);
            typing_error(&Arguments::try_parse_from(words).expect_err("a typing error"))["error"].clone()
        };
        for words in [
            &["wallet", "refund", "1", "--amount", "0", "--reason", "x"][..],
            &["claim", "file", "p", "--amount", "0"],
            &["job", "quote", "--binding", "--valid", "0s", "--", "true"],
            &["job", "submit", "--quote", "0", "--", "true"],
            &["job", "submit", "--voucher", "0", "--", "true"],
            &["period", "clearing", "--period", "0"],
            &["settlement", "list", "--period", "0"],
            &["wallet", "top-up", "acme", "0"],
            &["wallet", "update-org", "acme", "--region", "000000"],
            &["programme", "pay-in", "p", "f", "0.00"],
            &["programme", "budget", "p", "0h"],
            &["job", "list", "--limit", "0"],
        ] {
            let error = said(words);
            assert_eq!(error["code"], "INVALID_FIELD", "{words:?}: {error}");
            assert!(error["field"].is_string(), "{words:?}: {error}");
        }
        let error = said(&["wallet", "refund", "1"]);
        assert_eq!(error["code"], "FIELD_MISSING");
        assert!(
            error["field"]
                .as_str()
                .is_some_and(|field| field.starts_with("--reason")),
            "{error}"
        );
        assert_eq!(said(&["job", "sbmit"])["code"], "USAGE");
    }

    #[test]
    fn the_help_documents_the_exit_codes() {
        let help = Arguments::command().render_long_help().to_string();
        for code in ["  9  ", "  100", "  130"] {
            assert!(help.contains(code), "{help}");
        }
    }
}
