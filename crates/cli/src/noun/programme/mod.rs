//! `hesuan programme`: who subsidises what, for whom, up to which caps; its revisions, its budget, and the money of its funders.

mod draft;
mod show;

use clap::Subcommand;
use hesuan_api::v1::{self, programme_service_client::ProgrammeServiceClient};
use serde_json::{Value, json};

use super::{Context, PAGE, all_pages};
use crate::client::request_id;
use crate::failure::Outcome;
use crate::output::table;
use crate::units::{self, Amount, first_day, last_day, show_amount, show_money, show_plain_amount};

pub use draft::{CreateArgs, ReviseArgs};
use show::{programme_json, programme_text, rates_text};

/// Verbs of `hesuan programme`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Set up a programme, from flags or from a TOML file with the same names
    Create(Box<CreateArgs>),
    /// New terms: what flags name changes, or all of them from a file; what is held keeps the old ones
    Revise(Box<ReviseArgs>),
    /// Raise or lower a budget, not below what is committed
    Budget {
        /// The programme
        programme: String,
        /// In yuan, such as 1000000; in unit-hours, such as 5000h, if the programme counts so
        #[arg(value_parser = units::parse_positive_amount, allow_negative_numbers = true)]
        amount: Amount,
    },
    /// All programmes
    List,
    /// Everything about one programme, its figures and its revisions
    Show {
        /// Its name
        programme: String,
    },
    /// Money a funder paid of what is due from it
    PayIn {
        /// The programme
        programme: String,
        /// One of its funders
        funder: String,
        /// In yuan
        #[arg(value_name = "YUAN", value_parser = units::parse_positive_money, allow_negative_numbers = true)]
        amount: i64,
        /// Number of the payment, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reference: String,
    },
    /// Money given back to the funders: recovered from holders, or paid in for what was refunded since
    Repay {
        /// The programme
        programme: String,
        /// In yuan
        #[arg(value_name = "YUAN", value_parser = units::parse_positive_money, allow_negative_numbers = true)]
        amount: i64,
        /// Number of the payment, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reference: String,
    },
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::Create(args) => {
            let request = v1::CreateProgrammeRequest {
                request_id: request_id(),
                programme: Some(args.into_programme()?),
            };
            let programme = context
                .client
                .call(request, |channel, request| async move {
                    ProgrammeServiceClient::new(channel).create_programme(request).await
                })
                .await?;
            context.output.show(&programme_json(&programme), || {
                format!("programme {} created", programme.name)
            })
        }
        Verb::Revise(args) => revise(context, *args).await,
        Verb::Budget { programme, amount } => {
            let (budget, unit_hours) = amount.number();
            let request = v1::SetBudgetRequest {
                request_id: request_id(),
                programme,
                budget,
                unit_hours,
            };
            let programme = context
                .client
                .call(request, |channel, request| async move {
                    ProgrammeServiceClient::new(channel).set_budget(request).await
                })
                .await?;
            let amount = |amount| show_amount(amount, &programme.unit_hours_of);
            let figures = programme.figures.clone().unwrap_or_default();
            context.output.show(&programme_json(&programme), || {
                format!(
                    "the budget of {} is {}, {} of it not committed",
                    programme.name,
                    amount(programme.budget),
                    amount(figures.uncommitted)
                )
            })
        }
        Verb::List => list(context).await,
        Verb::Show { programme } => {
            let programme = get(context, programme).await?;
            context
                .output
                .show(&programme_json(&programme), || programme_text(&programme))
        }
        Verb::PayIn {
            programme,
            funder,
            amount,
            reference,
        } => {
            let request = v1::PayInRequest {
                request_id: request_id(),
                programme,
                funder,
                amount_fen: amount,
                reference,
            };
            let programme = context
                .client
                .call(request, |channel, request| async move {
                    ProgrammeServiceClient::new(channel).pay_in(request).await
                })
                .await?;
            let due: i64 = programme.figures.iter().flat_map(|figures| &figures.due_fen).sum();
            context.output.show(&programme_json(&programme), || {
                format!(
                    "{} yuan are still due from the funders of {}",
                    show_money(due),
                    programme.name
                )
            })
        }
        Verb::Repay {
            programme,
            amount,
            reference,
        } => {
            let request = v1::RepayFundRequest {
                request_id: request_id(),
                programme,
                amount_fen: amount,
                reference,
            };
            let programme = context
                .client
                .call(request, |channel, request| async move {
                    ProgrammeServiceClient::new(channel).repay_fund(request).await
                })
                .await?;
            let left = programme.figures.as_ref().map_or(0, |figures| figures.recovery_fen);
            context.output.show(&programme_json(&programme), || {
                format!(
                    "{} yuan are still owed to the funds of {}",
                    show_money(left),
                    programme.name
                )
            })
        }
    }
}

async fn get(context: &Context, name: String) -> Outcome<v1::Programme> {
    let request = v1::GetProgrammeRequest { name };
    context
        .client
        .call(request, |channel, request| async move {
            ProgrammeServiceClient::new(channel).get_programme(request).await
        })
        .await
}

async fn revise(context: &Context, args: ReviseArgs) -> Outcome<()> {
    let programme = get(context, args.programme.clone()).await?;
    let (effective_from_ms, immediate) = (args.from.unwrap_or(0), args.immediate);
    let from = args.from;
    let (terms, unit_hours) = args.into_terms(&programme)?;
    draft::refuse_unchanged(&programme, &terms, from, immediate)?;
    let request = v1::ReviseProgrammeRequest {
        request_id: request_id(),
        programme: programme.name,
        terms: Some(terms),
        effective_from_ms,
        immediate,
        unit_hours,
    };
    let programme = context
        .client
        .call(request, |channel, request| async move {
            ProgrammeServiceClient::new(channel).revise_programme(request).await
        })
        .await?;
    context.output.show(&programme_json(&programme), || {
        let last = programme.revisions.last().cloned().unwrap_or_default();
        format!(
            "revision {} of {} holds from {}",
            last.number,
            programme.name,
            first_day(last.effective_from_ms)
        )
    })
}

async fn list(context: &Context) -> Outcome<()> {
    let programmes = all_pages(async |page_token| {
        let request = v1::ListProgrammesRequest {
            page_size: PAGE,
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                ProgrammeServiceClient::new(channel).list_programmes(request).await
            })
            .await?;
        Ok((page.programmes, page.next_page_token))
    })
    .await?;
    let value: Vec<Value> = programmes.iter().map(programme_json).collect();
    let row = |one: &v1::Programme| {
        let amount = |amount| show_plain_amount(amount, &one.unit_hours_of);
        let figures = one.figures.clone().unwrap_or_default();
        let terms = one.terms.clone().unwrap_or_default();
        vec![
            one.name.clone(),
            one.region.to_string(),
            rates_text(&terms.rates),
            amount(one.budget),
            amount(figures.uncommitted),
            amount(figures.issued),
            amount(figures.held),
            amount(figures.captured),
            last_day(terms.until_ms),
        ]
    };
    let header = [
        "PROGRAMME",
        "REGION",
        "RATES",
        ">BUDGET",
        ">UNCOMMITTED",
        ">ISSUED",
        ">HELD",
        ">SPENT",
        "UNTIL",
    ];
    context
        .output
        .show(&json!(value), || table(&header, programmes.iter().map(row)))
}
