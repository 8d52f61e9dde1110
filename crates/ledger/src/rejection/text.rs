//! A refusal in one English line.

use std::fmt;

use super::Rejection;
use crate::hold::CoverEnd;

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Invalid { field, given, allowed } => write!(f, "{field} is {given:?}, allowed is {allowed}"),
            Rejection::NameTaken { field, name } => write!(f, "{field} {name:?} is taken"),
            Rejection::Unknown { what, named } => write!(f, "no {} {named}", what.word()),
            Rejection::NoPrice { site, sku } => write!(f, "site {site} has no price for {sku} now"),
            Rejection::InsufficientFunds { org, needed, available } => {
                write!(
                    f,
                    "the wallet of organisation {org} has {available} fen free, {needed} are needed: "
                )?;
                write!(f, "{} fen short", needed.0.saturating_sub(available.0))
            }
            Rejection::CopayOverMax { needed, allowed } => {
                write!(f, "{needed} fen would be held in the wallet, the job allows {allowed}")
            }
            Rejection::BudgetExhausted {
                programme,
                needed,
                available,
                unit_hours,
            } => {
                let unit = unit(*unit_hours);
                write!(
                    f,
                    "programme {programme} has {available} {unit} uncommitted, {needed} are needed: "
                )?;
                write!(f, "{} {unit} short", needed.0.saturating_sub(available.0))
            }
            Rejection::BudgetCommitted {
                programme,
                needed,
                committed,
                unit_hours,
            } => {
                let unit = unit(*unit_hours);
                write!(
                    f,
                    "programme {programme} has committed {committed} {unit}, its budget cannot be {needed}"
                )
            }
            Rejection::VoucherRefused { voucher, rule } => write!(f, "voucher {voucher} {}", rule.text()),
            Rejection::TooManyVouchers { holder, allowed } => {
                write!(
                    f,
                    "organisation {holder} already has {allowed} vouchers in use, the most one holder may have"
                )
            }
            Rejection::QuoteExpired { quote, expires_at } => write!(f, "quote {quote} ended at {expires_at} ms"),
            Rejection::QuoteCoverEnded { quote, because } => {
                write!(
                    f,
                    "quote {quote} is not good any more, and what it held is free: {because}; ask for a new one"
                )
            }
            Rejection::QuoteMismatch { quote, field } => write!(f, "quote {quote} was made with a different {field}"),
            Rejection::KeyReused { key, field } => {
                write!(
                    f,
                    "job {}[{}] attempt {} already has a hold with a different {field}",
                    key.job, key.task, key.attempt
                )
            }
            Rejection::HoldEnded { hold } => write!(f, "hold {hold} is over"),
            Rejection::RefundTooLarge { key, needed, available } => write!(
                f,
                "job {}[{}] attempt {} has {available} fen left to give back, {needed} were asked",
                key.job, key.task, key.attempt
            ),
            Rejection::SubsidyPartial { needed, available } => {
                write!(f, "caps and budgets leave {available} fen of a subsidy of {needed}: ")?;
                write!(
                    f,
                    "{} fen short; allow a partial subsidy or pay without vouchers",
                    needed.0.saturating_sub(available.0)
                )
            }
            Rejection::HoldOver { hold } => write!(f, "the time of hold {hold} is over"),
            Rejection::HoldSwept { hold } => {
                write!(
                    f,
                    "a cover under hold {hold} has just ended; try again when it is paid anew"
                )
            }
            Rejection::AgreementEnded { agreement } => write!(f, "agreement {agreement} has ended"),
            Rejection::PeriodRefused { period, rule } => {
                write!(f, "period {period} ")?;
                rule.describe(f)
            }
            Rejection::SettlementRefused { period, provider, rule } => {
                write!(f, "the settlement of organisation {provider} for period {period} ")?;
                rule.describe(f)
            }
            Rejection::ClaimRefused { claim, rule } => write!(f, "claim {claim} {}", rule.text()),
            Rejection::ClaimTooLarge {
                holder,
                programme,
                needed,
                available,
            } => write!(
                f,
                "organisation {holder} has {available} fen left to claim under programme {programme}, {needed} were asked"
            ),
            Rejection::TooManyClaims {
                holder,
                programme,
                allowed,
            } => write!(
                f,
                "organisation {holder} already has {allowed} claims waiting under programme {programme}, the most it may have"
            ),
            Rejection::SamePrincipal { actor } => write!(
                f,
                "principal {actor} did the step before this one, and another principal has to do this one"
            ),
            Rejection::OverBalance {
                account,
                needed,
                available,
            } => write!(f, "{account}: {available} fen are outstanding, {needed} were given"),
            Rejection::FundersDue { programme, funders } => {
                write!(
                    f,
                    "the funders of programme {programme} have not paid in what is to be paid out for it: "
                )?;
                for (place, (funder, due)) in funders.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(f, "{comma}{funder} has {due} fen to pay in")?;
                }
                Ok(())
            }
            Rejection::TreasuryShort { needed, available } => {
                write!(
                    f,
                    "the treasury has {available} fen that may be paid out, {needed} are needed: "
                )?;
                write!(f, "{} fen short", needed.0.saturating_sub(available.0))
            }
        }
    }
}

impl std::error::Error for Rejection {}

impl fmt::Display for CoverEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoverEnd::Fraud(voucher) => write!(f, "voucher {voucher} was revoked for fraud"),
            CoverEnd::Revision(programme) => write!(f, "programme {programme} was revised with immediate effect"),
            CoverEnd::Affiliation => write!(f, "payer and provider are under one controller"),
        }
    }
}

// What the amounts of a programme are counted in.
fn unit(unit_hours: bool) -> &'static str {
    if unit_hours { "milli-unit-seconds" } else { "fen" }
}
