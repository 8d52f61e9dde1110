//! `hesuan programme`: who subsidises what, for whom, up to which caps.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use hesuan_api::v1::{self, programme_service_client::ProgrammeServiceClient};
use serde::Deserialize;
use serde_json::{Value, json};

use super::wallet::{Kind, kind_name};
use super::{Context, PAGE, none_if_zero, parse_pair, parse_region};
use crate::client::request_id;
use crate::failure::{Failure, Outcome};
use crate::output::{record, table};
use crate::units::{self, local, rfc3339, show_money, show_rate};

/// Verbs of `hesuan programme`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Set up a programme, from flags or from a TOML file with the same names
    Create(Box<CreateArgs>),
    /// All programmes
    List,
    /// Everything about one programme
    Show {
        /// Its name
        programme: String,
    },
}

/// Options of `programme create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Unique
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// A TOML file: name, region, budget = "1000000.00", funders = { NAME = 1 }, rates = { "gpu/*" = "30%" }, from, until, ...
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The issuer's region
    #[arg(long, value_name = "CODE", value_parser = parse_region, required_unless_present = "file")]
    region: Option<u32>,
    /// In yuan, in all
    #[arg(
        long,
        value_name = "YUAN",
        allow_negative_numbers = true,
        required_unless_present = "file"
    )]
    budget: Option<String>,
    /// Who pays, with weights: city=2 district=3
    #[arg(long = "funder", value_name = "NAME=SHARE", value_parser = parse_share, required_unless_present = "file")]
    funders: Vec<(String, u32)>,
    /// The part it pays: cpu=20%, gpu/*=30%
    #[arg(long = "rate", value_name = "SKU=RATE", value_parser = parse_pair, required_unless_present = "file")]
    rates: Vec<(String, String)>,
    /// Who is paid the subsidy
    #[arg(long, value_name = "WHO")]
    redemption: Option<Redemption>,
    /// When the budget is committed
    #[arg(long, value_name = "WHEN")]
    commit_at: Option<CommitAt>,
    /// Per control group and year, in yuan
    #[arg(long, value_name = "YUAN", allow_negative_numbers = true)]
    cap_per_group: Option<String>,
    /// Per job, in yuan
    #[arg(long, value_name = "YUAN", allow_negative_numbers = true)]
    cap_per_job: Option<String>,
    /// Kinds of holders; all unless given
    #[arg(long = "holder-kind", value_delimiter = ',')]
    holder_kinds: Vec<Kind>,
    /// Regions of holders; all unless given
    #[arg(long = "holder-region", value_name = "CODE", value_delimiter = ',', value_parser = parse_region)]
    holder_regions: Vec<u32>,
    /// What it never pays for
    #[arg(long = "exclude", value_name = "SKU", value_delimiter = ',')]
    excluded_skus: Vec<String>,
    /// No other programme may pay for the same job
    #[arg(long)]
    exclusive: bool,
    /// First day, in Shanghai, or a time
    #[arg(long, value_name = "DAY", required_unless_present = "file")]
    from: Option<String>,
    /// Last day, in Shanghai, or the time it ends
    #[arg(long, value_name = "DAY", required_unless_present = "file")]
    until: Option<String>,
}

/// See `--redemption`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Redemption {
    /// 通兑: the holder pays its share, the provider collects the rest.
    Provider,
    /// 通用: the holder pays all and is repaid.
    Holder,
}

/// See `--commit-at`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CommitAt {
    /// Faces of vouchers stay inside the budget.
    Issue,
    /// More may be issued; first used, first served.
    Hold,
}

/// The file; the flags are turned into the same.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: String,
    region: u32,
    budget: String,
    funders: toml::map::Map<String, toml::Value>,
    rates: toml::map::Map<String, toml::Value>,
    redemption: Option<Redemption>,
    commit_at: Option<CommitAt>,
    cap_per_group: Option<String>,
    cap_per_job: Option<String>,
    #[serde(default)]
    holder_kinds: Vec<String>,
    #[serde(default)]
    holder_regions: Vec<u32>,
    #[serde(default)]
    excluded_skus: Vec<String>,
    #[serde(default)]
    exclusive: bool,
    from: String,
    until: String,
}

fn parse_share(text: &str) -> Result<(String, u32), String> {
    let (name, share) = parse_pair(text)?;
    share
        .parse()
        .map(|share| (name, share))
        .map_err(|_| format!("\"{share}\" is no whole number"))
}

impl CreateArgs {
    fn into_programme(self) -> Outcome<v1::Programme> {
        match &self.file {
            Some(path) => read_draft(path)?.into_programme(),
            None => self.into_draft().into_programme(),
        }
        .map_err(Failure::Usage)
    }

    fn into_draft(self) -> Draft {
        let rates = self.rates.into_iter().map(|(sku, rate)| (sku, rate.into()));
        let funders = self
            .funders
            .into_iter()
            .map(|(name, share)| (name, i64::from(share).into()));
        let kinds = self
            .holder_kinds
            .into_iter()
            .map(|kind| kind_name(kind.message()).to_owned());
        Draft {
            name: self.name.unwrap_or_default(),
            region: self.region.unwrap_or_default(),
            budget: self.budget.unwrap_or_default(),
            funders: funders.collect(),
            rates: rates.collect(),
            redemption: self.redemption,
            commit_at: self.commit_at,
            cap_per_group: self.cap_per_group,
            cap_per_job: self.cap_per_job,
            holder_kinds: kinds.collect(),
            holder_regions: self.holder_regions,
            excluded_skus: self.excluded_skus,
            exclusive: self.exclusive,
            from: self.from.unwrap_or_default(),
            until: self.until.unwrap_or_default(),
        }
    }
}

fn read_draft(path: &Path) -> Outcome<Draft> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

impl Draft {
    fn into_programme(self) -> Result<v1::Programme, String> {
        let named = |name: &str, error: String| format!("{name}: {error}");
        let cap = |name: &str, text: Option<String>| {
            text.map_or(Ok(0), |text| {
                units::parse_money(&text).map_err(|error| named(name, error))
            })
        };
        let mut rates = Vec::with_capacity(self.rates.len());
        for (sku, rate) in self.rates {
            let rate = rate.as_str().ok_or_else(|| format!("rates.{sku}: write \"30%\""))?;
            rates.push(v1::Rate {
                sku,
                rate_bp: units::parse_rate(rate).map_err(|error| named("rates", error))?,
            });
        }
        let mut funders = Vec::with_capacity(self.funders.len());
        for (name, share) in self.funders {
            let share = share.as_integer().and_then(|share| u32::try_from(share).ok());
            let share = share.ok_or_else(|| format!("funders.{name}: a share is a whole number above 0"))?;
            funders.push(v1::Funder { name, share });
        }
        let mut holder_kinds = Vec::with_capacity(self.holder_kinds.len());
        for kind in self.holder_kinds {
            holder_kinds.push(Kind::from_str(&kind, true)?.message().into());
        }
        Ok(v1::Programme {
            name: self.name,
            region: self.region,
            funders,
            budget_fen: units::parse_money(&self.budget).map_err(|error| named("budget", error))?,
            budget_policy: match self.commit_at.unwrap_or(CommitAt::Issue) {
                CommitAt::Issue => v1::BudgetPolicy::CommitAtIssue,
                CommitAt::Hold => v1::BudgetPolicy::CommitAtHold,
            }
            .into(),
            redemption: match self.redemption.unwrap_or(Redemption::Provider) {
                Redemption::Provider => v1::Redemption::Provider,
                Redemption::Holder => v1::Redemption::Holder,
            }
            .into(),
            rates,
            cap_per_control_group_fen: cap("cap_per_group", self.cap_per_group)?,
            cap_per_job_fen: cap("cap_per_job", self.cap_per_job)?,
            holder_kinds,
            holder_regions: self.holder_regions,
            excluded_skus: self.excluded_skus,
            exclusive: self.exclusive,
            from_ms: units::parse_from(&self.from).map_err(|error| named("from", error))?,
            until_ms: units::parse_until(&self.until).map_err(|error| named("until", error))?,
            ..Default::default()
        })
    }
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
        Verb::List => list(context).await,
        Verb::Show { programme } => {
            let request = v1::GetProgrammeRequest { name: programme };
            let programme = context
                .client
                .call(request, |channel, request| async move {
                    ProgrammeServiceClient::new(channel).get_programme(request).await
                })
                .await?;
            context
                .output
                .show(&programme_json(&programme), || programme_text(&programme))
        }
    }
}

async fn list(context: &Context) -> Outcome<()> {
    let mut programmes = Vec::new();
    let mut request = v1::ListProgrammesRequest {
        page_size: PAGE,
        page_token: String::new(),
    };
    loop {
        let page = context
            .client
            .call(request.clone(), |channel, request| async move {
                ProgrammeServiceClient::new(channel).list_programmes(request).await
            })
            .await?;
        programmes.extend(page.programmes);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let value: Vec<Value> = programmes.iter().map(programme_json).collect();
    let row = |one: &v1::Programme| {
        vec![
            one.name.clone(),
            one.region.to_string(),
            rates_text(&one.rates),
            show_money(one.budget_fen),
            show_money(one.issued_fen),
            show_money(one.held_fen),
            show_money(one.captured_fen),
            local(one.until_ms),
        ]
    };
    let header = [
        "PROGRAMME",
        "REGION",
        "RATES",
        ">BUDGET",
        ">ISSUED",
        ">HELD",
        ">SPENT",
        "UNTIL",
    ];
    context
        .output
        .show(&json!(value), || table(&header, programmes.iter().map(row)))
}

fn rates_text(rates: &[v1::Rate]) -> String {
    rates
        .iter()
        .map(|rate| format!("{} {}", rate.sku, show_rate(rate.rate_bp)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn redemption_name(programme: &v1::Programme) -> &'static str {
    if programme.redemption() == v1::Redemption::Holder {
        "holder"
    } else {
        "provider"
    }
}

fn commit_name(programme: &v1::Programme) -> &'static str {
    if programme.budget_policy() == v1::BudgetPolicy::CommitAtHold {
        "hold"
    } else {
        "issue"
    }
}

fn programme_json(one: &v1::Programme) -> Value {
    let funder = |funder: &v1::Funder| json!({ "name": funder.name, "share": funder.share });
    let rate = |rate: &v1::Rate| json!({ "sku": rate.sku, "rate_bp": rate.rate_bp });
    json!({
        "name": one.name,
        "region": one.region,
        "funders": one.funders.iter().map(funder).collect::<Vec<_>>(),
        "budget_fen": one.budget_fen,
        "commit_at": commit_name(one),
        "redemption": redemption_name(one),
        "rates": one.rates.iter().map(rate).collect::<Vec<_>>(),
        "cap_per_control_group_fen": none_if_zero(one.cap_per_control_group_fen.unsigned_abs()),
        "cap_per_job_fen": none_if_zero(one.cap_per_job_fen.unsigned_abs()),
        "holder_kinds": one.holder_kinds().map(kind_name).collect::<Vec<_>>(),
        "holder_regions": one.holder_regions,
        "excluded_skus": one.excluded_skus,
        "exclusive": one.exclusive,
        "from": rfc3339(one.from_ms),
        "until": rfc3339(one.until_ms),
        "revision": one.revision,
        "issued_fen": one.issued_fen,
        "held_fen": one.held_fen,
        "captured_fen": one.captured_fen,
    })
}

fn programme_text(one: &v1::Programme) -> String {
    let funders: Vec<_> = one
        .funders
        .iter()
        .map(|funder| format!("{} {}", funder.name, funder.share))
        .collect();
    let regions: Vec<_> = one.holder_regions.iter().map(u32::to_string).collect();
    let cap = |fen: i64| if fen == 0 { String::new() } else { show_money(fen) };
    record(&[
        ("programme", one.name.clone()),
        ("region", one.region.to_string()),
        ("funders", funders.join(", ")),
        ("rates", rates_text(&one.rates)),
        (
            "budget",
            format!("{} yuan, committed at {}", show_money(one.budget_fen), commit_name(one)),
        ),
        ("issued", show_money(one.issued_fen)),
        ("held", show_money(one.held_fen)),
        ("spent", show_money(one.captured_fen)),
        ("redeemed by", redemption_name(one).to_owned()),
        ("cap per group", cap(one.cap_per_control_group_fen)),
        ("cap per job", cap(one.cap_per_job_fen)),
        ("for", one.holder_kinds().map(kind_name).collect::<Vec<_>>().join(", ")),
        ("from regions", regions.join(", ")),
        ("never for", one.excluded_skus.join(", ")),
        (
            "exclusive",
            if one.exclusive { "yes".to_owned() } else { String::new() },
        ),
        ("from", local(one.from_ms)),
        ("until", local(one.until_ms)),
        ("revision", one.revision.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_the_same_as_the_flags() {
        let text = r#"
            name = "songjiang-2026"
            region = 310117
            budget = "1000000"
            funders = { city = 2, district = 3 }
            rates = { "gpu/*" = "30%", cpu = "12.5%" }
            cap_per_job = "5000"
            holder_kinds = ["lab"]
            from = "2026-01-01"
            until = "2026-12-31"
        "#;
        let draft: Draft = toml::from_str(text).expect("the file is good");
        let programme = draft.into_programme().expect("the file is good");
        assert_eq!(programme.budget_fen, 100_000_000);
        assert_eq!(programme.cap_per_job_fen, 500_000);
        let mut rates: Vec<_> = programme.rates.iter().map(|rate| (&*rate.sku, rate.rate_bp)).collect();
        rates.sort_unstable();
        assert_eq!(rates, [("cpu", 1250), ("gpu/*", 3000)]);
        assert_eq!(programme.until_ms - programme.from_ms, 365 * 86_400_000);
    }

    #[test]
    fn an_unknown_key_and_a_bad_amount_are_refused_by_name() {
        let unknown = toml::from_str::<Draft>("name = \"x\"\nbugdet = \"1\"\n").expect_err("a typing error");
        assert!(unknown.to_string().contains("bugdet"));
        let draft = Draft {
            budget: "1,000".into(),
            from: "2026-01-01".into(),
            ..Draft::default()
        };
        assert!(draft.into_programme().expect_err("a comma").starts_with("budget"));
    }
}
