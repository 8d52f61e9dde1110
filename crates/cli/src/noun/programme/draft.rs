//! A programme to be, or its new terms, from flags or from a TOML file with the same names.

use std::path::{Path, PathBuf};

use clap::Args;
use hesuan_api::v1;

use crate::failure::{Failure, Outcome};
use crate::noun::wallet::{Kind, kind_name};
use crate::noun::{each_once, parse_pair, parse_region};
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
    /// It no longer pays for this, named as in its rates; the other rates stay
    #[arg(
        long = "drop-rate",
        value_name = "SKU",
        value_delimiter = ',',
        conflicts_with = "file"
    )]
    dropped: Vec<String>,
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
    /// The part it pays: cpu=20%, gpu/*=30%; in a revision the rates not named stay
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
            None => self.into_draft()?.into_programme().map_err(Failure::of_field),
        }
    }

    fn into_draft(self) -> Outcome<Draft> {
        let terms = self.terms;
        if terms.rates.is_empty() {
            let text = "--rate is missing: what does it pay, such as gpu/*=30%?";
            return Err(Failure::argument("FIELD_MISSING", "--rate", text.to_owned()));
        }
        each_once("--rate", terms.rates.iter().map(|(sku, _)| &**sku))?;
        each_once("--funder", self.funders.iter().map(|(name, _)| &**name))?;
        let until = terms.until.ok_or_else(|| {
            Failure::argument(
                "FIELD_MISSING",
                "--until",
                "--until is missing: give the last day".to_owned(),
            )
        })?;
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
            let before = terms_at(programme, self.from);
            let terms = self.terms.change(before, self.first_day, &self.dropped, unit_hours)?;
            return Ok((terms, unit_hours));
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

/// The terms that a revision which holds from then on (`None` = from now on) would follow.
fn terms_at(programme: &v1::Programme, from: Option<u64>) -> v1::Terms {
    let in_force = |one: &&v1::Revision| match from {
        None => one.number == programme.revision,
        Some(from) => one.effective_from_ms <= from,
    };
    let before = programme
        .revisions
        .iter()
        .rev()
        .find(|one| !one.replaced && in_force(one));
    let before = before.and_then(|revision| revision.terms.clone());
    before.or_else(|| programme.terms.clone()).unwrap_or_default()
}

/// Refuses a revision that says what holds already: a clerk who sends one has left something out. Ending the cover under earlier terms,
/// and new times for terms that are planned, are changes.
pub(super) fn refuse_unchanged(
    programme: &v1::Programme,
    new: &v1::Terms,
    from: Option<u64>,
    immediate: bool,
) -> Outcome<()> {
    let Some(latest) = programme.revisions.iter().rfind(|revision| !revision.replaced) else {
        return Ok(());
    };
    let holds = latest.number == programme.revision || from.is_some_and(|from| latest.effective_from_ms <= from);
    let same = latest
        .terms
        .as_ref()
        .is_some_and(|terms| alike(terms.clone(), new.clone()));
    if !(holds && same) || (immediate && !latest.immediate) {
        return Ok(());
    }
    let text = format!(
        "nothing is changed: revision {} of {} says the same; name what is to change, such as --rate cpu=15%",
        latest.number, programme.name
    );
    Err(Failure::argument("NOTHING_TO_CHANGE", "terms", text))
}

/// The order of lists says nothing.
fn alike(mut one: v1::Terms, mut other: v1::Terms) -> bool {
    for terms in [&mut one, &mut other] {
        terms.rates.sort_by(|a, b| a.sku.cmp(&b.sku));
        terms.excluded_skus.sort_unstable();
        terms.holder_kinds.sort_unstable();
        terms.holder_regions.sort_unstable();
        terms.stack_total_bp = terms.stack_total_bp.filter(|bp| *bp != 10_000);
    }
    one == other
}

/// The rates as they were, but for those named.
fn new_rates(mut rates: Vec<v1::Rate>, given: Vec<(String, String)>, dropped: &[String]) -> Outcome<Vec<v1::Rate>> {
    each_once(
        "--rate",
        given
            .iter()
            .map(|(sku, _)| &**sku)
            .chain(dropped.iter().map(String::as_str)),
    )?;
    for sku in dropped {
        let place = rates.iter().position(|rate| rate.sku == *sku).ok_or_else(|| {
            let known: Vec<_> = rates.iter().map(|rate| &*rate.sku).collect();
            let text = format!(
                "--drop-rate: it has no rate \"{sku}\": allowed are {}",
                known.join(", ")
            );
            Failure::argument("INVALID_FIELD", "--drop-rate", text)
        })?;
        rates.remove(place);
    }
    for (sku, rate) in given {
        let new =
            rate_of(sku, &rate).map_err(|error| Failure::of_field(format!("{error}; --drop-rate takes one out")))?;
        match rates.iter_mut().find(|rate| rate.sku == new.sku) {
            Some(rate) => *rate = new,
            None => rates.push(new),
        }
    }
    Ok(rates)
}

impl TermsArgs {
    fn change(
        mut self,
        mut terms: v1::Terms,
        first_day: Option<String>,
        dropped: &[String],
        unit_hours: bool,
    ) -> Outcome<v1::Terms> {
        terms.rates = new_rates(terms.rates, std::mem::take(&mut self.rates), dropped)?;
        self.rest(terms, first_day, unit_hours).map_err(Failure::of_field)
    }

    /// All but the rates.
    fn rest(self, mut terms: v1::Terms, first_day: Option<String>, unit_hours: bool) -> Result<v1::Terms, String> {
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
            terms.stack_total_bp = None;
        }
        if let Some(total) = self.stack_total {
            let total = units::parse_rate(&total).map_err(|error| format!("--stack-total: {error}"))?;
            terms.stack_total_bp = Some(total);
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
    Failure::of_field(format!("{}: {error}", path.display()))
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

    fn rates(terms: &v1::Terms) -> Vec<(&str, u32)> {
        terms.rates.iter().map(|rate| (&*rate.sku, rate.rate_bp)).collect()
    }

    fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn before() -> v1::Terms {
        let terms = parse(FILE).expect("the file is good").terms;
        terms.expect("always given")
    }

    #[test]
    fn a_revision_keeps_what_no_flag_names() {
        let args = TermsArgs {
            rates: pairs(&[("gpu/*", "40%"), ("mem", "5%")]),
            cap_per_job: Some("none".into()),
            carry_over: Some(true),
            ..TermsArgs::default()
        };
        let old = before();
        let new = args.change(old.clone(), None, &[], false).expect("the flags are good");
        let mut sorted = rates(&new);
        sorted.sort_unstable();
        assert_eq!(sorted, [("cpu", 1_250), ("gpu/*", 4_000), ("mem", 500)]);
        assert!(new.carry_over && new.cap_per_job.is_none());
        assert_eq!(
            (new.holder_kinds, new.from_ms, new.until_ms),
            (old.holder_kinds, old.from_ms, old.until_ms)
        );
    }

    #[test]
    fn a_rate_goes_only_when_it_is_dropped_by_name() {
        let change = |given: &[(&str, &str)], dropped: &[&str]| {
            let args = TermsArgs {
                rates: pairs(given),
                ..TermsArgs::default()
            };
            let dropped: Vec<String> = dropped.iter().map(|sku| (*sku).into()).collect();
            args.change(before(), None, &dropped, false)
        };
        assert_eq!(
            rates(&change(&[], &["cpu"]).expect("it has that rate")),
            [("gpu/*", 3_000)]
        );
        for (given, dropped, says) in [
            (&[("cpu", "0%")][..], &[][..], "--drop-rate"),
            (&[], &["mem"], "allowed are"),
            (&[("cpu", "5%")], &["cpu"], "twice"),
            (&[("cpu", "5%"), ("cpu", "6%")], &[], "twice"),
        ] {
            let refused = change(given, dropped).expect_err(says);
            let text = refused.text().expect("it says why");
            assert!(refused.exit_code() == 2 && text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_key_given_twice_is_refused_at_the_founding() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: CreateArgs,
        }
        let create = |more: &[&str]| {
            let words = "x p --region 310117 --budget 100 --from 2026-01-01 --until 2026-12-31".split(' ');
            let line = <Line as clap::Parser>::try_parse_from(words.chain(more.iter().copied())).expect("it parses");
            line.args.into_programme()
        };
        assert!(create(&["--funder", "a=1", "--funder", "b=2", "--rate", "cpu=10%"]).is_ok());
        for twice in [
            ["--funder", "a=1", "--funder", "a=2", "--rate", "cpu=10%"],
            ["--funder", "a=1", "--rate", "cpu=90%", "--rate", "cpu=10%"],
        ] {
            let refused = create(&twice)
                .expect_err("which one was meant?")
                .json()
                .expect("it says why");
            assert_eq!(refused["error"]["code"], "FIELD_DUPLICATE");
        }
    }

    #[test]
    fn a_revision_follows_the_terms_in_force_then_and_has_to_change_something() {
        let revision = |number, effective_from_ms, rate_bp| v1::Revision {
            number,
            effective_from_ms,
            immediate: false,
            replaced: false,
            terms: Some(v1::Terms {
                rates: vec![v1::Rate {
                    sku: "cpu".into(),
                    rate_bp,
                }],
                ..before()
            }),
        };
        let mut programme = v1::Programme {
            revision: 1,
            revisions: vec![revision(1, 10, 1_000), revision(2, 50, 2_000)],
            ..Default::default()
        };
        let rate = |programme: &v1::Programme, from| terms_at(programme, from).rates[0].rate_bp;
        assert_eq!(rate(&programme, None), 1_000, "what is planned does not hold yet");
        assert_eq!((rate(&programme, Some(49)), rate(&programme, Some(50))), (1_000, 2_000));
        let unchanged = |programme: &v1::Programme, from, immediate| {
            let new = terms_at(programme, from);
            refuse_unchanged(programme, &new, from, immediate).is_err()
        };
        assert!(unchanged(&programme, Some(60), false));
        assert!(
            !unchanged(&programme, None, false),
            "it takes the place of what is planned"
        );
        programme.revision = 2;
        assert!(unchanged(&programme, None, false));
        assert!(!unchanged(&programme, None, true), "it ends the cover under the first");
    }
}
