//! After a refusal: the nearest option that works. Reads only, and every option offered was tried: what is named here would be accepted at the
//! same instant. At most [`NEAREST_SITES_MAX`] other sites are quoted, and at most 30 times at the site asked for.

use std::fmt;

use crate::ledger::Ledger;
use crate::price::WALLTIME_MS_MAX;
use crate::quote::{Quote, QuoteRequest};
use crate::rejection::{Rejection, Subject, VoucherRule};
use crate::types::{Fen, Funding, Grant, OrgId, ProgrammeId, SiteId, Timestamp, VoucherId};
use crate::voucher::VoucherState;

/// The most other sites that are looked at, by id.
pub const NEAREST_SITES_MAX: usize = 256;

// Time limits offered are whole minutes.
const MINUTE_MS: u64 = 60_000;

/// What would be accepted instead of what was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearest {
    /// The same at another site: of those that can be paid, the one that takes the least from the wallet.
    OtherSite {
        /// The site.
        site: SiteId,
        /// What the wallet would hold.
        wallet: Fen,
    },
    /// The same for a shorter time.
    Shorter {
        /// The time limit.
        walltime_ms_max: u64,
        /// What the wallet would hold.
        wallet: Fen,
    },
    /// The same after the wallet was filled up.
    TopUp {
        /// Whose wallet.
        org: OrgId,
        /// At least this.
        amount: Fen,
    },
    /// The same with a higher bound on what the wallet holds.
    CopayMax {
        /// The bound.
        needed: Fen,
    },
    /// The same with a subsidy that caps and budgets make smaller.
    AllowPartial {
        /// What remains for the payer.
        copay: Fen,
        /// What the wallet would hold.
        wallet: Fen,
    },
    /// The same after the voucher named was redeemed by its holder.
    Redeem {
        /// The voucher.
        voucher: VoucherId,
        /// What the wallet would hold.
        wallet: Fen,
    },
    /// The same with the vouchers that are chosen automatically.
    OtherVoucher {
        /// The first of them.
        voucher: VoucherId,
        /// What the wallet would hold.
        wallet: Fen,
    },
    /// The same without vouchers.
    WalletOnly {
        /// What the wallet would hold.
        wallet: Fen,
    },
    /// The same as a new bill, without the quote.
    WithoutQuote {
        /// What the wallet would hold.
        wallet: Fen,
    },
    /// The same amount with, or as, another budget.
    Budget {
        /// The programme.
        programme: ProgrammeId,
        /// The least that works, in its denomination.
        least: Grant,
        /// It grants unit-hours, not money.
        unit_hours: bool,
    },
    /// The same with a smaller amount.
    Amount {
        /// The largest that works.
        at_most: Fen,
    },
}

impl Ledger {
    /// The nearest option that works after a quote, a hold or a binding quote of `request` was refused at `at`; after another command was
    /// (with a request without lines), the amount that would have been accepted. `None` where there is none, or none that is simply another figure.
    pub fn nearest(&self, request: &QuoteRequest, refused: &Rejection, at: Timestamp) -> Option<Nearest> {
        let asked = Asked {
            ledger: self,
            request,
            at,
        };
        match *refused {
            Rejection::BudgetExhausted {
                programme,
                needed,
                available,
                unit_hours,
            } => {
                let least = Grant(self.programme(programme)?.budget.0 + needed.0 - available.0);
                let possible = least <= Grant::MAX;
                possible.then_some(Nearest::Budget {
                    programme,
                    least,
                    unit_hours,
                })
            }
            Rejection::BudgetCommitted {
                programme,
                committed,
                unit_hours,
                ..
            } => Some(Nearest::Budget {
                programme,
                least: committed.max(Grant(1)),
                unit_hours,
            }),
            Rejection::RefundTooLarge { available, .. }
            | Rejection::ClaimTooLarge { available, .. }
            | Rejection::OverBalance { available, .. }
            | Rejection::TreasuryShort { available, .. } => amount(available),
            Rejection::InsufficientFunds { available, .. } if request.lines.is_empty() => amount(available),
            _ if request.lines.is_empty() => None,
            Rejection::InsufficientFunds { org, needed, available } => asked.short(Nearest::TopUp {
                org,
                amount: Fen(needed.0 - available.0),
            }),
            Rejection::CopayOverMax { needed, .. } => asked.over_max(needed),
            Rejection::SubsidyPartial { .. } => asked.partial(),
            Rejection::VoucherRefused { voucher, rule } => asked.without(voucher, rule),
            Rejection::NoPrice { .. } => asked.other_site(),
            Rejection::Invalid {
                field: "lines" | "walltime_ms_max",
                ..
            } => asked.shorter(),
            Rejection::Unknown {
                what: Subject::Voucher, ..
            } => asked.other_vouchers().or_else(|| asked.wallet_only()),
            Rejection::QuoteExpired { .. }
            | Rejection::QuoteMismatch { .. }
            | Rejection::Unknown {
                what: Subject::Quote, ..
            } => {
                let wallet = asked.payable(request)?.wallet;
                Some(Nearest::WithoutQuote { wallet })
            }
            _ => None,
        }
    }
}

fn amount(at_most: Fen) -> Option<Nearest> {
    let at_most = at_most.min(Fen::MAX);
    (at_most > Fen::ZERO).then_some(Nearest::Amount { at_most })
}

// A bill that was refused.
struct Asked<'a> {
    ledger: &'a Ledger,
    request: &'a QuoteRequest,
    at: Timestamp,
}

impl Asked<'_> {
    // The quote of a bill that would be accepted.
    fn payable(&self, request: &QuoteRequest) -> Option<Quote> {
        let quote = self.ledger.quote(request, self.at).ok()?;
        self.ledger.afford(request, &quote).ok()?;
        Some(quote)
    }

    fn short(&self, top_up: Nearest) -> Option<Nearest> {
        self.other_site().or_else(|| self.shorter()).or(Some(top_up))
    }

    fn over_max(&self, needed: Fen) -> Option<Nearest> {
        let raised = QuoteRequest {
            copay_max: Some(needed),
            ..self.request.clone()
        };
        let raised = || self.payable(&raised).map(|_| Nearest::CopayMax { needed });
        self.other_site().or_else(raised).or_else(|| self.shorter())
    }

    fn partial(&self) -> Option<Nearest> {
        let partial = QuoteRequest {
            allow_partial: true,
            ..self.request.clone()
        };
        let (copay, wallet) = match self.payable(&partial) {
            Some(quote) => (quote.copay, quote.wallet),
            None => return self.other_site().or_else(|| self.shorter()),
        };
        Some(Nearest::AllowPartial { copay, wallet })
    }

    fn without(&self, voucher: VoucherId, rule: VoucherRule) -> Option<Nearest> {
        let elsewhere = match rule {
            VoucherRule::Scope | VoucherRule::Affiliated => self.other_site(),
            VoucherRule::NotRedeemed => self.redeemed(voucher),
            _ => None,
        };
        elsewhere
            .or_else(|| self.other_vouchers())
            .or_else(|| self.wallet_only())
    }

    // Tried on books of its own.
    fn redeemed(&self, voucher: VoucherId) -> Option<Nearest> {
        let known = self.ledger.voucher(voucher)?;
        if known.state != VoucherState::Issued || self.at < self.ledger.time() {
            return None;
        }
        let mut books = self.ledger.clone();
        books.redeem_voucher(&known.code, known.holder, self.at).ok()?;
        let then = Asked {
            ledger: &books,
            ..*self
        };
        let wallet = then.payable(self.request)?.wallet;
        Some(Nearest::Redeem { voucher, wallet })
    }

    fn other_vouchers(&self) -> Option<Nearest> {
        let automatic = QuoteRequest {
            funding: Funding::Auto,
            ..self.request.clone()
        };
        let quote = self.payable(&automatic)?;
        let (voucher, wallet) = (quote.legs.first()?.voucher, quote.wallet);
        Some(Nearest::OtherVoucher { voucher, wallet })
    }

    fn wallet_only(&self) -> Option<Nearest> {
        let plain = QuoteRequest {
            funding: Funding::WalletOnly,
            ..self.request.clone()
        };
        let wallet = self.payable(&plain)?.wallet;
        Some(Nearest::WalletOnly { wallet })
    }

    fn other_site(&self) -> Option<Nearest> {
        let others = self.ledger.sites.iter().map(|(site, _)| *site);
        let others = others.filter(|site| *site != self.request.site).take(NEAREST_SITES_MAX);
        let payable = others.filter_map(|site| {
            let there = QuoteRequest {
                site,
                ..self.request.clone()
            };
            Some((self.payable(&there)?.wallet, site))
        });
        let (wallet, site) = payable.min()?;
        Some(Nearest::OtherSite { site, wallet })
    }

    // The longest time limit that can be paid here; what a bill takes from the wallet hardly ever falls with its time, and where it does, some
    // limit that can be paid is found.
    fn shorter(&self) -> Option<Nearest> {
        let wallet_for = |minutes: u64| {
            let shorter = QuoteRequest {
                walltime_ms_max: minutes * MINUTE_MS,
                ..self.request.clone()
            };
            self.payable(&shorter).map(|quote| (quote.wallet, quote.gross))
        };
        let asked_ms = self.request.walltime_ms_max.min(WALLTIME_MS_MAX + 1);
        // More than `most` minutes are as long as what was refused.
        let (mut most, mut best) = (asked_ms.saturating_sub(1) / MINUTE_MS, None);
        let mut least = 1;
        while least <= most {
            let middle = least + (most - least) / 2;
            match wallet_for(middle) {
                Some((wallet, gross)) => {
                    // Time so short that it costs nothing helps nobody.
                    best = (gross > Fen::ZERO).then_some(Nearest::Shorter {
                        walltime_ms_max: middle * MINUTE_MS,
                        wallet,
                    });
                    least = middle + 1;
                }
                None => most = middle - 1,
            }
        }
        best
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nearest::OtherSite { site, wallet } => write!(f, "at site {site}, with {wallet} fen held in the wallet"),
            Nearest::Shorter {
                walltime_ms_max,
                wallet,
            } => {
                let minutes = walltime_ms_max / MINUTE_MS;
                write!(f, "for {minutes} minutes at most, with {wallet} fen held in the wallet")
            }
            Nearest::TopUp { org, amount } => write!(f, "after {amount} fen more in the wallet of organisation {org}"),
            Nearest::CopayMax { needed } => write!(f, "with {needed} fen allowed to be held in the wallet"),
            Nearest::AllowPartial { copay, wallet } => write!(
                f,
                "with a partial subsidy: {copay} fen of co-pay, {wallet} held in the wallet"
            ),
            Nearest::Redeem { voucher, wallet } => write!(
                f,
                "after voucher {voucher} is redeemed, with {wallet} fen held in the wallet"
            ),
            Nearest::OtherVoucher { voucher, wallet } => write!(
                f,
                "with voucher {voucher}, chosen automatically, and {wallet} fen held in the wallet"
            ),
            Nearest::WalletOnly { wallet } => write!(f, "without vouchers, with {wallet} fen held in the wallet"),
            Nearest::WithoutQuote { wallet } => write!(f, "without the quote, with {wallet} fen held in the wallet"),
            Nearest::Budget {
                programme,
                least,
                unit_hours,
            } => {
                let unit = if *unit_hours { "milli-unit-seconds" } else { "fen" };
                write!(f, "with a budget of programme {programme} of {least} {unit}")
            }
            Nearest::Amount { at_most } => write!(f, "with at most {at_most} fen"),
        }
    }
}
