//! A programme as a TOML file: `hesuan programme create --file`. Money is yuan, or unit-hours written `5000h`; days are days in
//! Shanghai; an unknown name is refused.

use clap::ValueEnum;
use hesuan_api::v1;
use serde::Deserialize;

use crate::noun::wallet::Kind;
use crate::units::{self, Amount};

/// The programme that a file describes.
///
/// # Errors
/// Text for the user: what is wrong, by name.
pub fn parse(text: &str) -> Result<v1::Programme, String> {
    Draft::parse(text)?.into_programme()
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

/// See `--expiry`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Expiry {
    /// Use after it.
    Usage,
    /// What is held after it.
    Hold,
}

/// The file as it is written; flags are turned into the same.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) region: u32,
    pub(crate) budget: String,
    pub(crate) funders: toml::map::Map<String, toml::Value>,
    pub(crate) unit_hours_of: Option<String>,
    pub(crate) fiscal_year: Option<u32>,
    pub(crate) redemption: Option<Redemption>,
    pub(crate) commit_at: Option<CommitAt>,
    pub(crate) rates: toml::map::Map<String, toml::Value>,
    pub(crate) cap_per_group: Option<String>,
    pub(crate) cap_per_job: Option<String>,
    #[serde(default)]
    pub(crate) holder_kinds: Vec<String>,
    #[serde(default)]
    pub(crate) holder_regions: Vec<u32>,
    #[serde(default)]
    pub(crate) excluded_skus: Vec<String>,
    #[serde(default)]
    pub(crate) exclusive: bool,
    pub(crate) stack_total: Option<String>,
    pub(crate) expiry: Option<Expiry>,
    #[serde(default)]
    pub(crate) carry_over: bool,
    #[serde(default)]
    pub(crate) reinstate_refunds: bool,
    pub(crate) from: String,
    pub(crate) until: String,
}

impl Expiry {
    pub(crate) fn message(self) -> v1::ExpiryBasis {
        match self {
            Expiry::Usage => v1::ExpiryBasis::Usage,
            Expiry::Hold => v1::ExpiryBasis::Hold,
        }
    }
}

pub(crate) fn rate_of(sku: String, rate: &str) -> Result<v1::Rate, String> {
    let rate_bp = units::parse_rate(rate).map_err(|error| format!("rates.{sku}: {error}"))?;
    Ok(v1::Rate { sku, rate_bp })
}

fn amount_of(name: &str, text: &str, unit_hours: bool) -> Result<i64, String> {
    let amount = units::parse_positive_amount(text).map_err(|error| format!("{name}: {error}"))?;
    match (amount, unit_hours) {
        (Amount::Money(number), false) | (Amount::UnitHours(number), true) => Ok(number),
        (Amount::Money(_), true) => Err(format!("{name}: the programme counts in unit-hours: write {text}h")),
        (Amount::UnitHours(_), false) => Err(format!(
            "{name}: the programme counts in yuan: write {}",
            text.trim_end_matches('h')
        )),
    }
}

/// A cap; `none` is no cap, and 0 is neither.
pub(crate) fn cap_of(name: &str, text: &str, unit_hours: bool) -> Result<Option<i64>, String> {
    if text == "none" {
        return Ok(None);
    }
    let cap = amount_of(name, text, unit_hours).map_err(|error| format!("{error}, or none for no cap"))?;
    Ok(Some(cap))
}

impl Draft {
    pub(crate) fn parse(text: &str) -> Result<Draft, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    pub(crate) fn into_programme(self) -> Result<v1::Programme, String> {
        let named = |name: &str, error: String| format!("{name}: {error}");
        let unit_hours_of = self.unit_hours_of.unwrap_or_default();
        let unit_hours = !unit_hours_of.is_empty();
        let cap = |name: &str, text: Option<String>| text.map_or(Ok(None), |text| cap_of(name, &text, unit_hours));
        let mut rates = Vec::with_capacity(self.rates.len());
        for (sku, rate) in self.rates {
            let rate = rate.as_str().ok_or_else(|| format!("rates.{sku}: write \"30%\""))?;
            rates.push(rate_of(sku, rate)?);
        }
        let mut funders = Vec::with_capacity(self.funders.len());
        for (name, share) in self.funders {
            let share = share.as_integer().and_then(|share| u32::try_from(share).ok());
            let share = share.ok_or_else(|| format!("funders.{name}: a share is a whole number above 0"))?;
            funders.push(v1::Funder { name, share });
        }
        let mut holder_kinds = Vec::with_capacity(self.holder_kinds.len());
        for kind in self.holder_kinds {
            let kind = Kind::from_str(&kind, true).map_err(|error| named("holder_kinds", error))?;
            holder_kinds.push(kind.message().into());
        }
        let stack_total = self.stack_total.as_deref().map(units::parse_rate).transpose();
        let terms = v1::Terms {
            rates,
            cap_per_control_group: cap("cap_per_group", self.cap_per_group)?,
            cap_per_job: cap("cap_per_job", self.cap_per_job)?,
            holder_kinds,
            holder_regions: self.holder_regions,
            excluded_skus: self.excluded_skus,
            exclusive: self.exclusive,
            stack_total_bp: stack_total.map_err(|error| named("stack_total", error))?,
            from_ms: units::parse_from(&self.from).map_err(|error| named("from", error))?,
            until_ms: units::parse_until(&self.until).map_err(|error| named("until", error))?,
            expiry_basis: self.expiry.unwrap_or(Expiry::Usage).message().into(),
            carry_over: self.carry_over,
            reinstate_refunds: self.reinstate_refunds,
        };
        Ok(v1::Programme {
            name: self.name,
            region: self.region,
            funders,
            fiscal_year: self.fiscal_year,
            budget: amount_of("budget", &self.budget, unit_hours)?,
            unit_hours_of,
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
            terms: Some(terms),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_file_says_the_same_as_the_flags() {
        let programme = parse(FILE).expect("the file is good");
        let terms = programme.terms.expect("always given");
        assert_eq!(programme.budget, 100_000_000);
        assert_eq!((terms.cap_per_job, terms.cap_per_control_group), (Some(500_000), None));
        let mut rates: Vec<_> = terms.rates.iter().map(|rate| (&*rate.sku, rate.rate_bp)).collect();
        rates.sort_unstable();
        assert_eq!(rates, [("cpu", 1250), ("gpu/*", 3000)]);
        assert_eq!(terms.until_ms - terms.from_ms, 365 * 86_400_000);
    }

    #[test]
    fn an_unknown_key_and_a_bad_amount_are_refused_by_name() {
        let unknown = Draft::parse("name = \"x\"\nbugdet = \"1\"\n").expect_err("a typing error");
        assert!(unknown.contains("bugdet"));
        let draft = Draft {
            budget: "1,000".into(),
            from: "2026-01-01".into(),
            until: "2026-12-31".into(),
            ..Draft::default()
        };
        assert!(draft.into_programme().expect_err("a comma").starts_with("budget"));
    }

    #[test]
    fn zero_is_no_cap_of_any_kind() {
        for zero in ["0", "0.00", "-1"] {
            let refused = parse(&FILE.replace("\"5000\"", &format!("\"{zero}\""))).expect_err(zero);
            assert!(
                refused.starts_with("cap_per_job: ") && refused.ends_with("or none for no cap"),
                "{refused}"
            );
        }
        let none = parse(&FILE.replace("\"5000\"", "\"none\"")).expect("none is a word for it");
        assert_eq!(none.terms.expect("always given").cap_per_job, None);
        assert!(parse(&FILE.replace("\"1000000\"", "\"0\"")).is_err());
        assert!(parse(&FILE.replace("30%", "0%")).is_err());
    }

    /// A budget of 5000 card-hours must not be read as 5000 yuan, nor the other way round.
    #[test]
    fn yuan_and_hours_are_never_taken_for_each_other() {
        let hours = FILE.replace("region", "unit_hours_of = \"gpu/a800\"\nregion");
        let refused = parse(&hours).expect_err("caps and budget are in yuan");
        assert!(refused.contains("unit-hours") && refused.contains("5000h"), "{refused}");
        let hours = hours
            .replace("\"1000000\"", "\"1000000h\"")
            .replace("\"5000\"", "\"5000h\"");
        let granted = parse(&hours).expect("all of it in hours");
        assert_eq!(granted.budget, 1_000_000 * 3_600_000);
        let refused = parse(&FILE.replace("\"5000\"", "\"5000h\"")).expect_err("a cap in hours");
        assert!(
            refused.starts_with("cap_per_job") && refused.contains("yuan"),
            "{refused}"
        );
    }
}
