//! What to do about a job that only money keeps from running: the amount that is missing, and the nearest option that would be
//! paid. Each option is quoted like a job that asks for it, so that what is proposed would be accepted as things stand.

use hesuan_ledger::types::{Fen, Timestamp};
use hesuan_ledger::{QuoteRequest, Rejection as Refused};

use super::State;
use super::money;
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
            .or_else(|| self.other_vouchers(request, at))
            .or_else(|| self.other_site(request, at))
            .or_else(|| self.shorter(request, at))
            .or_else(|| more_money(&refused));
        (money::figures(&refused), nearest.map(Box::new))
    }

    /// The refusal that misses the least; one without an amount counts as the farthest.
    fn least_refused(&self, request: &Request, at: Timestamp) -> Option<Refused> {
        let mut least: Option<(i64, Refused)> = None;
        for site in self.sites().filter(|site| schedule::allowed(request, site).is_none()) {
            for model in schedule::models_ever(self, site, &request.resources) {
                let bill = self.bill(request, site.id, model.as_deref(), at);
                let Err(refused) = self.afford(&bill, at) else { continue };
                let short_by = refused.short_by().unwrap_or(i64::MAX);
                if least.as_ref().is_none_or(|(shortest, _)| short_by < *shortest) {
                    least = Some((short_by, refused));
                }
            }
        }
        least.map(|(_, refused)| refused)
    }

    fn afford(&self, bill: &QuoteRequest, at: Timestamp) -> Result<(), Refused> {
        let ledger = &self.tables.ledger;
        let quote = ledger.quote(bill, at)?;
        ledger.afford(bill, &quote)
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
                yuan(subsidy),
                yuan(copay)
            )
            .into(),
            details: vec![("site", site), ("subsidy_fen", fen(subsidy)), ("copay_fen", fen(copay))],
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
                yuan(subsidy),
                yuan(copay)
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
            text: format!("run it at {site}, where you pay {} yuan (--site {site})", yuan(copay)).into(),
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
                yuan(copay)
            )
            .into(),
            details: vec![
                ("site", site),
                ("walltime_ms_max", (paid * STEP_MS).to_string().into()),
                ("copay_fen", fen(copay)),
            ],
        })
    }

    fn name_of(&self, quote: &SiteQuote) -> Box<str> {
        self.site(quote.site)
            .map_or_else(Box::default, |site| site.name.clone())
    }
}

fn more_money(refused: &Refused) -> Option<Nearest> {
    match *refused {
        Refused::InsufficientFunds { needed, available, .. } => {
            let short_by = Fen(needed.0 - available.0);
            Some(Nearest {
                code: "TOP_UP",
                details: vec![("amount_fen", fen(short_by))],
                text: format!("put {} yuan more into the wallet", yuan(short_by)).into(),
            })
        }
        Refused::CopayOverMax { needed, .. } => Some(Nearest {
            code: "COPAY_MAX",
            details: vec![("copay_fen_max", fen(needed))],
            text: format!("allow {0} yuan to be held (--max-copay {0})", yuan(needed)).into(),
        }),
        _ => None,
    }
}

fn fen(amount: Fen) -> Box<str> {
    amount.to_string().into()
}

fn yuan(amount: Fen) -> String {
    format!("{}.{:02}", amount.0 / 100, amount.0 % 100)
}
