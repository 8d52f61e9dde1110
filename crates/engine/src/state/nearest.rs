//! What to do about a refusal for money: the amount that is missing, and the nearest option that works. For a job each option is
//! quoted like a job that asks for it, so that what is proposed would be accepted as things stand; for other commands it is an amount.

use hesuan_ledger::types::{Fen, Grant, Timestamp, VoucherId, Yuan};
use hesuan_ledger::{QuoteRequest, Rejection as Refused, VoucherState};

use super::State;
use super::money;
use super::site::Site;
use crate::outcome::{Figures, Nearest};
use crate::schedule::{self, SiteQuote, feasible_at};
use crate::types::Request;

/// A shorter time is proposed in steps of this, and not below it.
const STEP_MS: u64 = 60_000;

impl State {
    /// What is missing at the site where the least is, and the nearest option that works.
    pub(super) fn what_would_pay(
        &self,
        request: &Request,
        at: Timestamp,
    ) -> (Option<Box<Figures>>, Option<Box<Nearest>>) {
        let Some(refused) = self.least_refused(request, at) else {
            return (None, None);
        };
        let nearest = self
            .part_of_the_subsidy(request, at)
            .or_else(|| self.redeemed(request, at))
            .or_else(|| self.other_vouchers(request, at))
            .or_else(|| self.other_site(request, at))
            .or_else(|| self.shorter(request, at))
            .or_else(|| self.larger_copay(request, &refused, at))
            .or_else(|| more_money(&refused));
        (money::figures(&refused), nearest.map(Box::new))
    }

    /// The refusal that misses the least; one without an amount counts as the farthest.
    fn least_refused(&self, request: &Request, at: Timestamp) -> Option<Refused> {
        let refused = self
            .bills(request, at)
            .filter_map(|(_, bill)| self.tables.ledger.affordable_quote(&bill, at).err());
        refused.min_by_key(|refused| refused.short_by().unwrap_or(i64::MAX))
    }

    /// What it would be billed at the sites that the payer allows, by each model of device there.
    pub(super) fn bills<'a>(
        &'a self,
        request: &'a Request,
        at: Timestamp,
    ) -> impl Iterator<Item = (&'a Site, QuoteRequest)> + 'a {
        let allowed = self.sites().filter(|site| schedule::allowed(request, site).is_none());
        allowed.flat_map(move |site| {
            let models = schedule::models_ever(self, site, request).into_iter();
            models.map(move |model| (site, self.bill(request, site.id, model.as_deref(), at)))
        })
    }

    /// Where a request would be paid for the smallest co-pay; of equals the smaller number.
    fn cheapest(&self, request: &Request, at: Timestamp) -> Option<(SiteQuote, Fen, Fen)> {
        let quotes = self.sites().map(|site| feasible_at(self, request, site, at));
        let paid = quotes.filter_map(|quote| {
            let price = quote.price.as_ref()?;
            let (copay, subsidy) = (price.copay, Fen(price.gross.0 - price.copay.0));
            Some((quote, copay, subsidy))
        });
        paid.min_by_key(|(quote, copay, _)| (*copay, quote.site))
    }

    fn part_of_the_subsidy(&self, request: &Request, at: Timestamp) -> Option<Nearest> {
        if request.funding.allow_partial || request.funding.wallet_only {
            return None;
        }
        let mut other = request.clone();
        other.funding.allow_partial = true;
        let (quote, copay, subsidy) = self.cheapest(&other, at)?;
        let site = self.name_of(&quote);
        Some(Nearest {
            code: "ALLOW_PARTIAL",
            text: format!(
                "take the part that caps and budgets leave: at {site} vouchers pay {}, you {} yuan (--allow-partial)",
                Yuan(subsidy),
                Yuan(copay)
            )
            .into(),
            details: vec![("site", site), ("subsidy_fen", fen(subsidy)), ("copay_fen", fen(copay))],
        })
    }

    /// With the named vouchers that are still to be redeemed: tried on a copy of the books, which shares what it does not change.
    fn redeemed(&self, request: &Request, at: Timestamp) -> Option<Nearest> {
        let mut books = self.tables.ledger.clone();
        let mut codes = Vec::new();
        for id in &request.funding.vouchers {
            let voucher = self.tables.ledger.voucher(VoucherId(*id))?;
            if voucher.state == VoucherState::Issued {
                books.redeem_voucher(&voucher.code, request.org, at).ok()?;
                codes.push(voucher.code.to_string());
            }
        }
        if codes.is_empty() {
            return None;
        }
        let paid = self.bills(request, at).filter_map(|(site, bill)| {
            let quote = books.affordable_quote(&bill, at).ok()?;
            Some((quote.copay, site.id, Fen(quote.gross.0 - quote.copay.0), &site.name))
        });
        let (copay, _, subsidy, site) = paid.min()?;
        let codes = codes.join(",");
        Some(Nearest {
            code: "REDEEM",
            text: format!(
                "redeem {codes} first: at {site} vouchers then pay {}, you {} yuan",
                Yuan(subsidy),
                Yuan(copay)
            )
            .into(),
            details: vec![
                ("vouchers", codes.into()),
                ("site", site.clone()),
                ("subsidy_fen", fen(subsidy)),
                ("copay_fen", fen(copay)),
            ],
        })
    }

    /// The budget with which the programme could do what was refused for want of it.
    pub(super) fn larger_budget(&self, refused: &Refused) -> Option<Nearest> {
        let (least, unit_hours) = match *refused {
            Refused::BudgetExhausted {
                programme,
                needed,
                available,
                unit_hours,
            } => {
                let budget = self.tables.ledger.programme(programme)?.budget;
                (Grant(budget.0 + needed.0 - available.0), unit_hours)
            }
            Refused::BudgetCommitted {
                committed, unit_hours, ..
            } => (committed.max(Grant(1)), unit_hours),
            _ => return None,
        };
        if least > Grant::MAX {
            return None;
        }
        let (name, amount) = if unit_hours {
            ("budget_milli_unit_seconds", unit_hours_at_least(least))
        } else {
            ("budget_fen", format!("{} yuan", Yuan(Fen(least.0))))
        };
        Some(Nearest {
            code: "BUDGET",
            text: format!("set the programme's budget to {amount} or more").into(),
            details: vec![(name, least.0.to_string().into())],
        })
    }

    fn other_vouchers(&self, request: &Request, at: Timestamp) -> Option<Nearest> {
        if request.funding.vouchers.is_empty() && !request.funding.wallet_only {
            return None;
        }
        let mut other = request.clone();
        other.funding.vouchers.clear();
        other.funding.wallet_only = false;
        let (quote, copay, subsidy) = self.cheapest(&other, at)?;
        let site = self.name_of(&quote);
        let way = if request.funding.wallet_only {
            "without --wallet-only"
        } else {
            "without --voucher"
        };
        Some(Nearest {
            code: "ANY_VOUCHER",
            text: format!(
                "let the vouchers be chosen, {way}: at {site} they pay {}, you {} yuan",
                Yuan(subsidy),
                Yuan(copay)
            )
            .into(),
            details: vec![("site", site), ("subsidy_fen", fen(subsidy)), ("copay_fen", fen(copay))],
        })
    }

    fn other_site(&self, request: &Request, at: Timestamp) -> Option<Nearest> {
        if request.sites.is_empty() && request.regions.is_empty() {
            return None;
        }
        let mut other = request.clone();
        other.sites.clear();
        other.regions.clear();
        let (quote, copay, _) = self.cheapest(&other, at)?;
        let site = self.name_of(&quote);
        Some(Nearest {
            code: "OTHER_SITE",
            text: format!("run it at {site}, where you pay {} yuan (--site {site})", Yuan(copay)).into(),
            details: vec![("site", site), ("copay_fen", fen(copay))],
        })
    }

    /// The longest time that would be paid, if that is half of what was asked or more.
    fn shorter(&self, request: &Request, at: Timestamp) -> Option<Nearest> {
        let within = |steps: u64| {
            let mut other = request.clone();
            other.walltime_ms_max = steps * STEP_MS;
            self.cheapest(&other, at)
        };
        let asked = request.walltime_ms_max / STEP_MS;
        let mut paid = asked.div_ceil(2).max(1);
        let mut best = within(paid).filter(|_| paid < asked)?;
        let mut refused = asked;
        // Longer costs more, so what is between is found by halves.
        while paid + 1 < refused {
            let middle = u64::midpoint(paid, refused);
            match within(middle) {
                Some(found) => (paid, best) = (middle, found),
                None => refused = middle,
            }
        }
        let (quote, copay, _) = best;
        let site = self.name_of(&quote);
        Some(Nearest {
            code: "SHORTER",
            text: format!(
                "ask for {paid} minutes instead of {asked}: at {site} you pay {} yuan (--time {paid}m)",
                Yuan(copay)
            )
            .into(),
            details: vec![
                ("site", site),
                ("walltime_ms_max", (paid * STEP_MS).to_string().into()),
                ("copay_fen", fen(copay)),
            ],
        })
    }

    fn larger_copay(&self, request: &Request, refused: &Refused, at: Timestamp) -> Option<Nearest> {
        let Refused::CopayOverMax { needed, .. } = *refused else {
            return None;
        };
        let mut other = request.clone();
        other.funding.copay_max = Some(needed);
        self.cheapest(&other, at)?;
        Some(Nearest {
            code: "COPAY_MAX",
            details: vec![("copay_fen_max", fen(needed))],
            text: format!("allow {0} yuan to be held (--max-copay {0})", Yuan(needed)).into(),
        })
    }

    fn name_of(&self, quote: &SiteQuote) -> Box<str> {
        self.site(quote.site)
            .map_or_else(Box::default, |site| site.name.clone())
    }
}

/// The largest amount that would have been accepted, after one that was not.
pub(super) fn smaller_amount(refused: &Refused) -> Option<Nearest> {
    let at_most = match *refused {
        Refused::RefundTooLarge { available, .. }
        | Refused::ClaimTooLarge { available, .. }
        | Refused::OverBalance { available, .. }
        | Refused::InsufficientFunds { available, .. } => available.min(Fen::MAX),
        _ => return None,
    };
    (at_most > Fen::ZERO).then(|| Nearest {
        code: "AMOUNT_MAX",
        text: format!("ask for {} yuan at most", Yuan(at_most)).into(),
        details: vec![("amount_fen", fen(at_most))],
    })
}

pub(super) fn more_money(refused: &Refused) -> Option<Nearest> {
    match *refused {
        Refused::InsufficientFunds { needed, available, .. } => {
            let short_by = Fen(needed.0 - available.0);
            Some(Nearest {
                code: "TOP_UP",
                details: vec![("amount_fen", fen(short_by))],
                text: format!("put {} yuan more into the wallet", Yuan(short_by)).into(),
            })
        }
        _ => None,
    }
}

fn fen(amount: Fen) -> Box<str> {
    amount.to_string().into()
}

/// In thousandths of a unit-hour, rounded up: less would not do.
fn unit_hours_at_least(amount: Grant) -> String {
    let thousandths = u64::try_from(amount.0).unwrap_or(0).div_ceil(3_600);
    format!("{}.{:03} unit-hours", thousandths / 1_000, thousandths % 1_000)
}
