//! A programme to be, or its new terms, from flags or from a TOML file with the same names.

use std::path::{Path, PathBuf};

use clap::Args;
use hesuan_api::v1;

use crate::failure::{Failure, Outcome};
use crate::noun::wallet::{Kind, kind_name};
use crate::noun::{parse_pair, parse_region};
use crate::programme_file::{CommitAt, Draft, Expiry, Redemption, cap_of, rate_of};
use crate::units;

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
    /// In all: yuan, or unit-hours such as 5000h with --unit-hours-of
    #[arg(
        long,
        value_name = "AMOUNT",
        allow_negative_numbers = true,
        required_unless_present = "file"
    )]
    budget: Option<String>,
    /// Who pays, with weights: city=2 district=3
    #[arg(long = "funder", value_name = "NAME=SHARE", value_parser = parse_share, required_unless_present = "file")]
    funders: Vec<(String, u32)>,
    /// It grants unit-hours of this class instead of money, such as gpu/a800
    #[arg(long, value_name = "SKU")]
    unit_hours_of: Option<String>,
    /// The year whose budget it is
    #[arg(long, value_name = "YEAR")]
    fiscal_year: Option<u32>,
    /// Who is paid the subsidy
    #[arg(long, value_name = "WHO")]
    redemption: Option<Redemption>,
    /// When the budget is committed
    #[arg(long, value_name = "WHEN")]
    commit_at: Option<CommitAt>,
    #[command(flatten)]
    terms: TermsArgs,
    /// First day, in Shanghai, or a time
    #[arg(long, value_name = "DAY", required_unless_present = "file")]
    from: Option<String>,
}

/// Options of `programme revise`.
#[derive(Args, Debug)]
pub struct ReviseArgs {
    /// The programme
    pub(super) programme: String,
    /// Take all terms from this file, one as for `create`; what cannot be revised is not read
    #[arg(short, long, value_name = "FILE", conflicts_with = "TermsArgs")]
    file: Option<PathBuf>,
    #[command(flatten)]
    terms: TermsArgs,
    /// The first day the programme pays, in Shanghai, or a time
    #[arg(long, value_name = "DAY", conflicts_with = "file")]
    first_day: Option<String>,
    /// First day the new terms hold, in Shanghai, or a time; from now on unless given
    #[arg(long, value_name = "DAY", value_parser = units::parse_from)]
    pub(super) from: Option<u64>,
    /// The cover of what is held under the old terms ends then too, and is planned anew
    #[arg(long)]
    pub(super) immediate: bool,
}

/// What a revision may change.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TermsArgs {
    /// The part it pays: cpu=20%, gpu/*=30%
    #[arg(long = "rate", value_name = "SKU=RATE", value_parser = parse_pair)]
    rates: Vec<(String, String)>,
    /// Per control group and year: yuan, unit-hours such as 500h, or none
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    cap_per_group: Option<String>,
    /// Per job: yuan, unit-hours such as 50h, or none
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
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
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    exclusive: Option<bool>,
    /// All programmes together pay at most this part of the list price, such as 50%
    #[arg(long, value_name = "RATE")]
    stack_total: Option<String>,
    /// What a voucher's end cuts off
    #[arg(long, value_name = "WHAT")]
    expiry: Option<Expiry>,
    /// Covers reach over the end of the fiscal year
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    carry_over: Option<bool>,
    /// A refund goes back on the voucher while it lives
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    reinstate_refunds: Option<bool>,
    /// Last day, in Shanghai, or the time it ends
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
}

fn parse_share(text: &str) -> Result<(String, u32), String> {
    let (name, share) = parse_pair(text)?;
    share
        .parse()
        .map(|share| (name, share))
        .map_err(|_| format!("\"{share}\" is no whole number"))
}

impl CreateArgs {
    pub(super) fn into_programme(self) -> Outcome<v1::Programme> {
        match &self.file {
            Some(path) => read(path)?.into_programme().map_err(|error| in_file(path, &error)),
            None => self.into_draft()?.into_programme().map_err(Failure::Usage),
        }
    }

    fn into_draft(self) -> Outcome<Draft> {
        let terms = self.terms;
        if terms.rates.is_empty() {
            return Err(Failure::Usage(
                "--rate is missing: what does it pay, such as gpu/*=30%?".to_owned(),
            ));
        }
        let until = terms
            .until
            .ok_or_else(|| Failure::Usage("--until is missing: give the last day".to_owned()))?;
        let kinds = terms
            .holder_kinds
            .into_iter()
            .map(|kind| kind_name(kind.message()).to_owned());
        let funders = self.funders.into_iter();
        Ok(Draft {
            name: self.name.unwrap_or_default(),
            region: self.region.unwrap_or_default(),
            budget: self.budget.unwrap_or_default(),
            funders: funders.map(|(name, share)| (name, i64::from(share).into())).collect(),
            unit_hours_of: self.unit_hours_of,
            fiscal_year: self.fiscal_year,
            redemption: self.redemption,
            commit_at: self.commit_at,
            rates: terms.rates.into_iter().map(|(sku, rate)| (sku, rate.into())).collect(),
            cap_per_group: terms.cap_per_group,
            cap_per_job: terms.cap_per_job,
            holder_kinds: kinds.collect(),
            holder_regions: terms.holder_regions,
            excluded_skus: terms.excluded_skus,
            exclusive: terms.exclusive.unwrap_or(false),
            stack_total: terms.stack_total,
            expiry: terms.expiry,
            carry_over: terms.carry_over.unwrap_or(false),
            reinstate_refunds: terms.reinstate_refunds.unwrap_or(false),
            from: self.from.unwrap_or_default(),
            until,
        })
    }
}

impl ReviseArgs {
    /// The new terms, and whether their caps are unit-hours: those of the file, or the latest ones with what the flags change.
    pub(super) fn into_terms(self, programme: &v1::Programme) -> Outcome<(v1::Terms, bool)> {
        let unit_hours = !programme.unit_hours_of.is_empty();
        let Some(path) = &self.file else {
            let latest = programme.revisions.last().and_then(|revision| revision.terms.clone());
            let latest = latest.or_else(|| programme.terms.clone()).unwrap_or_default();
            let terms = self.terms.change(latest, self.first_day, unit_hours);
            return terms.map(|terms| (terms, unit_hours)).map_err(Failure::Usage);
        };
        let draft = read(path)?;
        if draft.name != programme.name {
            let text = format!("name is \"{}\", you revise \"{}\"", draft.name, programme.name);
            return Err(in_file(path, &text));
        }
        let written = draft.into_programme().map_err(|error| in_file(path, &error))?;
        let unit_hours = !written.unit_hours_of.is_empty();
        Ok((written.terms.unwrap_or_default(), unit_hours))
    }
}

impl TermsArgs {
    fn change(self, mut terms: v1::Terms, first_day: Option<String>, unit_hours: bool) -> Result<v1::Terms, String> {
        if !self.rates.is_empty() {
            let rates = self.rates.into_iter().map(|(sku, rate)| rate_of(sku, &rate));
            terms.rates = rates.collect::<Result<_, _>>()?;
        }
        if let Some(cap) = self.cap_per_group {
            terms.cap_per_control_group = cap_of("--cap-per-group", &cap, unit_hours)?;
        }
        if let Some(cap) = self.cap_per_job {
            terms.cap_per_job = cap_of("--cap-per-job", &cap, unit_hours)?;
        }
        if !self.holder_kinds.is_empty() {
            terms.holder_kinds = self.holder_kinds.iter().map(|kind| kind.message().into()).collect();
        }
        if !self.holder_regions.is_empty() {
            terms.holder_regions = self.holder_regions;
        }
        if !self.excluded_skus.is_empty() {
            terms.excluded_skus = self.excluded_skus;
        }
        if let Some(exclusive) = self.exclusive {
            terms.exclusive = exclusive;
            terms.stack_total_bp = 0;
        }
        if let Some(total) = self.stack_total {
            terms.stack_total_bp = units::parse_rate(&total).map_err(|error| format!("--stack-total: {error}"))?;
        }
        if let Some(expiry) = self.expiry {
            terms.expiry_basis = expiry.message().into();
        }
        terms.carry_over = self.carry_over.unwrap_or(terms.carry_over);
        terms.reinstate_refunds = self.reinstate_refunds.unwrap_or(terms.reinstate_refunds);
        if let Some(day) = first_day {
            terms.from_ms = units::parse_from(&day).map_err(|error| format!("--first-day: {error}"))?;
        }
        if let Some(day) = self.until {
            terms.until_ms = units::parse_until(&day).map_err(|error| format!("--until: {error}"))?;
        }
        Ok(terms)
    }
}

fn read(path: &Path) -> Outcome<Draft> {
    let text = std::fs::read_to_string(path).map_err(|error| in_file(path, &error.to_string()))?;
    Draft::parse(&text).map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, error: &str) -> Failure {
    Failure::Usage(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programme_file::parse;

    const FILE: &str = r#"
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

    #[test]
    fn a_revision_keeps_what_no_flag_names() {
        let before = parse(FILE).expect("the file is good");
        let args = TermsArgs {
            rates: vec![("gpu/*".into(), "40%".into())],
            cap_per_job: Some("none".into()),
            carry_over: Some(true),
            ..TermsArgs::default()
        };
        let old = before.terms.expect("always given");
        let new = args.change(old.clone(), None, false).expect("the flags are good");
        assert_eq!((new.rates.len(), new.rates[0].rate_bp, new.cap_per_job), (1, 4_000, 0));
        assert!(new.carry_over);
        assert_eq!(
            (new.holder_kinds, new.from_ms, new.until_ms),
            (old.holder_kinds, old.from_ms, old.until_ms)
        );
    }
}
