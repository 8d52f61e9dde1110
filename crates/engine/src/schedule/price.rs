//! What a task would cost its payer at a site, in the form that the planner compares and keeps.

use std::sync::Arc;

use hesuan_ledger::types::{Fen, Grant, VoucherId};
use hesuan_ledger::{Quote, Rejection};

use super::class::Offer;
use super::filter;
use super::flight::Flights;
use super::lending;
use super::need::{GpuNeed, accepts_model};
use super::reason::Reason;
use super::view::View;
use crate::state::{Site, State};
use crate::types::{OrgId, Request, SiteId, Timestamp};

/// Vouchers would pay less of it than when it was submitted.
pub(crate) const COPAY_OVER_QUOTED: &str = "COPAY_OVER_QUOTED";

/// A price at a site, as far as the planner needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bill {
    /// What the payer pays in the end: decides what is cheapest.
    pub(crate) copay: Fen,
    /// What its wallet must hold.
    pub(crate) wallet: Fen,
    /// What is held on each voucher, in its programme's denomination.
    pub(crate) legs: Arc<[(VoucherId, Grant)]>,
}

impl Bill {
    fn of(quote: &Quote) -> Self {
        let legs = quote.legs.iter().map(|leg| (leg.voucher, leg.grant)).collect();
        Self {
            copay: quote.copay,
            wallet: quote.wallet,
            legs,
        }
    }
}

/// The price of one task at a site, and that its payer can bear it now. A binding quote that is still good has its money held
/// already; see [`bill`].
///
/// # Errors
/// No price, or the ledger refuses.
pub fn price(
    state: &State,
    request: &Request,
    site: SiteId,
    model: Option<&str>,
    at: Timestamp,
) -> Result<Quote, Reason> {
    let asked = state.bill(request, site, model, at);
    let affordable = state.ledger().affordable_quote(&asked, at);
    let quote = affordable.map_err(|refused| reason(state, request.org, &refused))?;
    match request.wallet_max {
        Some(most) if quote.wallet > most => Err(Reason::Money {
            code: COPAY_OVER_QUOTED,
            text: {
                let because = state.quote_ended(request, at);
                format!(
                    "{} fen would be held in the wallet, {most} were quoted with vouchers when it was submitted: {}; redeem another, or \
                     cancel it and submit it with --max-copay",
                    quote.wallet,
                    because.as_deref().unwrap_or("a voucher ended or was used up meanwhile")
                )
                .into()
            },
            held: held(state, request.org),
        }),
        _ => Ok(quote),
    }
}

fn held(state: &State, org: OrgId) -> Fen {
    let funds = state.ledger().funds(org);
    Fen(funds.wallet_held.0.saturating_add(funds.vouchers_held.0))
}

/// The price as the planner compares it. What a binding quote holds is not asked of wallet and vouchers again.
pub(crate) fn bill(
    state: &State,
    request: &Request,
    site: SiteId,
    model: Option<&str>,
    at: Timestamp,
) -> Result<Bill, Reason> {
    if let Some((_, bound)) = state.live_quote(request, at) {
        let pinned = &bound.pinned;
        let asked = state.bill(request, site, model, at).lines;
        if pinned.site == site && pinned.lines.iter().map(|priced| &priced.line).eq(&asked) {
            return Ok(Bill {
                copay: pinned.wallet(),
                wallet: Fen::ZERO,
                legs: Arc::new([]),
            });
        }
    }
    price(state, request, site, model, at).map(|quote| Bill::of(&quote))
}

fn reason(state: &State, org: OrgId, refused: &Rejection) -> Reason {
    if let Rejection::NoPrice { sku, .. } = refused {
        return Reason::NoPrice {
            sku: sku.as_str().into(),
        };
    }
    let held = match refused {
        Rejection::InsufficientFunds { .. } | Rejection::CopayOverMax { .. } => held(state, org),
        _ => Fen::ZERO,
    };
    Reason::Money {
        code: refused.code(),
        text: state.said(refused).into(),
        held,
    }
}

/// Every site and model the class may go to and can pay, cheapest first, then by site and model; and whether the ledger
/// refused some.
pub(crate) fn offers(state: &State, view: &View, request: &Request, at: Timestamp) -> (Vec<Offer>, bool) {
    let mut offers = Vec::new();
    let mut refused = false;
    for site in state.sites().filter(|site| {
        filter::allowed(request, site).is_none() && lending::never_admitted(state, request, site).is_none()
    }) {
        for model in models(view, request, site) {
            let name = model.map(|model| &*view.sites[&site.id].hosts.models[usize::from(model)]);
            match bill(state, request, site.id, name, at) {
                Ok(bill) => offers.push(Offer {
                    bill,
                    site: site.id,
                    model,
                    full: false,
                }),
                Err(_) => refused = true,
            }
        }
    }
    offers.sort_by_key(|offer| (offer.bill.copay, offer.site, offer.model));
    (offers, refused)
}

/// Models of the site's devices that the request takes; one `None` for a request without GPUs.
fn models(view: &View, request: &Request, site: &Site) -> Vec<Option<u16>> {
    let Some(site) = view.sites.get(&site.id) else {
        return Vec::new();
    };
    if GpuNeed::of(&request.resources) == GpuNeed::Nothing {
        return vec![None];
    }
    let places = 0..site.hosts.models.len();
    let accepted = places.filter(|&place| accepts_model(&request.resources, &site.hosts.models[place]));
    accepted.map(|place| Some(place as u16)).collect()
}

/// Whether wallet and vouchers bear the bill beside what is in flight.
pub(crate) fn affordable(state: &State, flights: &Flights, org: OrgId, bill: &Bill) -> bool {
    let wallet = state.ledger().org(org).map_or(0, |org| org.available.0);
    let voucher = |id: VoucherId| state.ledger().voucher(id).map_or(0, |voucher| voucher.available.0);
    wallet - flights.wallet(org).0 >= bill.wallet.0
        && bill
            .legs
            .iter()
            .all(|(id, amount)| voucher(*id) - flights.voucher(*id).0 >= amount.0)
}
