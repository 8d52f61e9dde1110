//! A refusal of the ledger in the words of who reads it: names for numbers, yuan for fen, unit-hours for milli-unit-seconds, instants as
//! RFC 3339. The ledger knows neither sites nor principals by name, so that it is said here, where all of them are known.

use std::fmt;

use hesuan_ledger::types::{Fen, OrgId, ProgrammeId, SiteId, Timestamp, Yuan};
use hesuan_ledger::{Account, PeriodRule, Rejection as Refused, SettlementRule, VoucherRule, VoucherState};

use super::State;
use super::money::money_refused;
use crate::instant::civil;
use crate::outcome::{Nearest, Rejection};
use crate::types::PrincipalId;

impl State {
    /// A refusal of the ledger, as an answer.
    pub(super) fn refused(&self, refused: Refused) -> Rejection {
        let (message, nearest) = (self.said(&refused), self.pay_in_first(&refused));
        let answer = money_refused(refused);
        Rejection {
            message: message.into(),
            nearest: answer.nearest.or_else(|| nearest.map(Box::new)),
            ..answer
        }
    }

    /// In one English line.
    pub(crate) fn said(&self, refused: &Refused) -> String {
        match refused {
            Refused::Invalid { field, given, allowed } => self.invalid(field, given, allowed),
            Refused::NoPrice { site, sku } => format!("site {} has no price for {sku} now", self.site_called(*site)),
            Refused::InsufficientFunds { org, needed, available } => format!(
                "the wallet of {} has {} yuan free, {} are needed: {} yuan short",
                self.org_called(*org),
                Yuan(*available),
                Yuan(*needed),
                Yuan(Fen(needed.0.saturating_sub(available.0)))
            ),
            Refused::CopayOverMax { needed, allowed } => format!(
                "{} yuan would be held in the wallet, the job allows {}",
                Yuan(*needed),
                Yuan(*allowed)
            ),
            Refused::SubsidyPartial { needed, available } => format!(
                "caps and budgets leave {} yuan of a subsidy of {}: {} yuan short; allow a partial subsidy or pay without vouchers",
                Yuan(*available),
                Yuan(*needed),
                Yuan(Fen(needed.0.saturating_sub(available.0)))
            ),
            Refused::BudgetExhausted {
                programme,
                needed,
                available,
                unit_hours,
            } => {
                let amount = |amount: i64| granted(amount, *unit_hours);
                format!(
                    "programme {} has {} uncommitted, {} are needed: {} short",
                    self.programme_called(*programme),
                    amount(available.0),
                    amount(needed.0),
                    amount(needed.0.saturating_sub(available.0))
                )
            }
            Refused::BudgetCommitted {
                programme,
                needed,
                committed,
                unit_hours,
            } => format!(
                "programme {} has committed {}, its budget cannot be {}",
                self.programme_called(*programme),
                granted(committed.0, *unit_hours),
                granted(needed.0, *unit_hours)
            ),
            Refused::VoucherRefused { voucher, rule } => {
                let Some(kept) = self.tables.ledger.voucher(*voucher) else {
                    return refused.to_string();
                };
                match rule {
                    VoucherRule::Suspended => {
                        format!("{refused}: its issuer may resume it; until then leave it out")
                    }
                    VoucherRule::NotSuspended if kept.state == VoucherState::Revoked => {
                        format!("voucher {voucher} is revoked, for good: issue another")
                    }
                    VoucherRule::Expired => format!("{refused}: it ended at {}", At(kept.until)),
                    VoucherRule::NotYetValid => format!("{refused}: it begins at {}", At(kept.from)),
                    _ => refused.to_string(),
                }
            }
            Refused::TooManyVouchers { holder, allowed } => format!(
                "{} already has {allowed} vouchers in use, the most one holder may have",
                self.org_called(*holder)
            ),
            Refused::QuoteExpired { quote, expires_at } => {
                format!("quote {quote} ended at {}: ask for a new one", At(*expires_at))
            }
            Refused::RefundTooLarge { key, needed, available } => {
                let attempt = format!("job {}[{}] attempt {}", key.job, key.task, key.attempt);
                if *available == Fen::ZERO {
                    return format!("{attempt} has nothing left to give back");
                }
                format!(
                    "{attempt} has {} yuan left to give back, {} were asked",
                    Yuan(*available),
                    Yuan(*needed)
                )
            }
            Refused::PeriodRefused {
                period,
                rule: PeriodRule::NotEnded(until),
            } => format!(
                "period {period} ends by itself at {}; end it first, or wait",
                At(*until)
            ),
            Refused::SettlementRefused { period, provider, rule } => {
                let settlement = format!("the settlement of {} for period {period}", self.org_called(*provider));
                match rule {
                    SettlementRule::NotReviewed => format!("{settlement} is not reviewed yet"),
                    SettlementRule::Reviewed => format!("{settlement} is reviewed already"),
                    SettlementRule::Paid => format!("{settlement} is paid already"),
                    SettlementRule::OutOfOrder(first) => {
                        format!("{settlement} comes after that for period {first}, which is to be paid first")
                    }
                }
            }
            Refused::ClaimTooLarge {
                holder,
                programme,
                needed,
                available,
            } => format!(
                "{} has {} yuan left to claim under {}, {} were asked",
                self.org_called(*holder),
                Yuan(*available),
                self.programme_called(*programme),
                Yuan(*needed)
            ),
            Refused::TooManyClaims {
                holder,
                programme,
                allowed,
            } => format!(
                "{} already has {allowed} claims waiting under {}, the most it may have",
                self.org_called(*holder),
                self.programme_called(*programme)
            ),
            Refused::SamePrincipal { actor } => {
                let principal = self.principal(PrincipalId(*actor));
                let name = principal.map_or_else(|| format!("principal {actor}"), |one| one.name.to_string());
                format!("{name} did the step before this one, and another principal has to do this one")
            }
            Refused::OverBalance {
                account,
                needed,
                available,
            } => format!(
                "{}: {} yuan are outstanding, {} were given",
                self.account_called(*account),
                Yuan(*available),
                Yuan(*needed)
            ),
            Refused::FundersDue { programme, .. } => {
                let name = self.programme_called(*programme);
                format!("funders of {name} have not paid in what is to be paid out for it")
            }
            Refused::TreasuryShort { needed, available } => format!(
                "the treasury has {} yuan that may be paid out, {} are needed: {} yuan short",
                Yuan(*available),
                Yuan(*needed),
                Yuan(Fen(needed.0.saturating_sub(available.0)))
            ),
            _ => refused.to_string(),
        }
    }

    /// What was given is a number of the ledger where the field is about something that has a name, or an instant.
    fn invalid(&self, field: &str, given: &str, allowed: &str) -> String {
        let number = given.parse::<u64>().ok();
        let small = number.and_then(|number| u32::try_from(number).ok());
        let given = match (field, number, small) {
            ("programme", _, Some(id)) => self.programme_called(ProgrammeId(id)),
            ("sites", _, Some(id)) => self.site_called(SiteId(id)),
            ("effective_from" | "from" | "until" | "at" | "expires_at" | "vouchers.until", Some(ms), _) => {
                At(Timestamp(ms)).to_string()
            }
            _ => return format!("{field} is {given:?}, allowed is {allowed}"),
        };
        format!("{field} is {given}, allowed is {allowed}")
    }

    /// What funders of a programme have to pay in for this payment, each with the command that books it.
    fn pay_in_first(&self, refused: &Refused) -> Option<Nearest> {
        let Refused::FundersDue { programme, funders } = refused else {
            return None;
        };
        let programme = self.tables.ledger.programme(*programme)?;
        let due = funders.iter();
        let commands: Vec<String> = due
            .map(|(funder, due)| format!("programme pay-in {} {funder} {}", programme.name, Yuan(*due)))
            .collect();
        (!commands.is_empty()).then(|| Nearest {
            code: "PAY_IN",
            text: format!("book what is due from its funders first: {}", commands.join("; ")).into(),
            details: vec![("programme", programme.name.clone())],
        })
    }

    fn org_called(&self, id: OrgId) -> String {
        let org = self.tables.ledger.org(id);
        org.map_or_else(|| format!("organisation {id}"), |org| org.registered.name.to_string())
    }

    fn programme_called(&self, id: ProgrammeId) -> String {
        let programme = self.tables.ledger.programme(id);
        programme.map_or_else(|| format!("programme {id}"), |programme| programme.name.to_string())
    }

    fn site_called(&self, id: SiteId) -> String {
        self.site(id)
            .map_or_else(|| id.to_string(), |site| site.name.to_string())
    }

    fn account_called(&self, account: Account) -> String {
        match account {
            Account::Due(id, place) => {
                let programme = self.tables.ledger.programme(id);
                let funder = programme.and_then(|programme| programme.funders.get(usize::from(place)));
                let funder = funder.map_or("", |funder| &funder.name);
                format!("due from {funder} for {}", self.programme_called(id))
            }
            Account::Owes(id) => format!("owed by {}", self.org_called(id)),
            Account::Receivable(id) | Account::Claim(id) => format!("owed to {}", self.org_called(id)),
            Account::Recovery(id) => format!("owed to the funders of {}", self.programme_called(id)),
            _ => account.to_string(),
        }
    }
}

/// An amount of a programme: yuan, or unit-hours to the thousandth.
fn granted(amount: i64, unit_hours: bool) -> String {
    if !unit_hours {
        return format!("{} yuan", Yuan(Fen(amount)));
    }
    let thousandths = amount.unsigned_abs() / 3_600;
    format!("{}.{:03} unit-hours", thousandths / 1_000, thousandths % 1_000)
}

/// An instant as RFC 3339 in the time of the programmes, Asia/Shanghai.
struct At(Timestamp);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= Timestamp::FAR {
            return f.write_str("no end");
        }
        let seconds = self.0.0 / 1_000 + 8 * 3_600;
        let (year, month, day) = civil(seconds / 86_400);
        let second = seconds % 86_400;
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}+08:00",
            second % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_amounts_are_written_as_people_read_them() {
        for (ms, said) in [
            (0, "1970-01-01T08:00:00+08:00"),
            (1_798_646_400_000, "2026-12-31T00:00:00+08:00"),
            (1_709_136_000_000, "2024-02-29T00:00:00+08:00"),
            (1_795_624_106_688, "2026-11-26T00:28:26+08:00"),
            (951_753_600_000, "2000-02-29T00:00:00+08:00"),
        ] {
            assert_eq!(At(Timestamp(ms)).to_string(), said);
        }
        assert_eq!(At(Timestamp::FAR).to_string(), "no end");
        assert_eq!(granted(1_800_000_000, true), "500.000 unit-hours");
        assert_eq!(
            (granted(5, false), Yuan(Fen(-105)).to_string()),
            ("0.05 yuan".into(), "-1.05".into())
        );
    }
}
