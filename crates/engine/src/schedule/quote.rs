//! What each site says to a request that is not queued: could it ever run there, at which price, would it fit now.
//! Asked by users who want a quote; submit asks the same filters.

use hesuan_ledger::Quote;
use hesuan_ledger::types::Fen;

use super::filter;
use super::forecast::Expected;
use super::hosts::{Hosts, Need};
use super::lending;
use super::planner::Planner;
use super::price::price;
use super::reason::Reason;

use crate::state::holdings::Holdings;
use crate::state::{Site, State};
use crate::types::{Request, SiteId, Timestamp};

/// One site's answer.
#[derive(Clone, Debug)]
pub struct SiteQuote {
    /// The site.
    pub site: SiteId,
    /// The price of one task of the cheapest model, if the site could ever run it and it can be paid now.
    pub price: Option<Quote>,
    /// The model that is the price's.
    pub model: Option<Box<str>>,
    /// Why not, if there is no price; otherwise what keeps it from starting now.
    pub reasons: Vec<Reason>,
    /// Capacity for it is free right now.
    pub fits_now: bool,
    /// When it would start there; `None` where nothing is known: refused sites, and elsewhere than on the leader.
    pub expected: Option<Expected>,
}

/// Whether a request could ever run at a site, and for how much: it lets itself be placed there, some host is large
/// enough, everything has a price, and it can be paid with present funds.
pub(crate) fn feasible_at(state: &State, request: &Request, site: &Site, at: Timestamp) -> SiteQuote {
    let refused = |reason| SiteQuote {
        site: site.id,
        price: None,
        model: None,
        reasons: vec![reason],
        fits_now: false,
        expected: None,
    };
    let never = filter::allowed(request, site)
        .or_else(|| lending::never_admitted(state, request, site))
        .or_else(|| filter::ever_fits(state, site, request));
    if let Some(reason) = never {
        return refused(reason);
    }
    let mut best: Option<(Fen, Option<Box<str>>, Quote)> = None;
    let mut why = None;
    for model in filter::models_ever(state, site, request) {
        match price(state, request, site.id, model.as_deref(), at) {
            Ok(quote) if best.as_ref().is_none_or(|(copay, ..)| quote.copay < *copay) => {
                best = Some((quote.copay, model, quote));
            }
            Ok(_) => {}
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    match best {
        Some((_, model, quote)) => SiteQuote {
            site: site.id,
            price: Some(quote),
            model,
            reasons: Vec::new(),
            fits_now: false,
            expected: None,
        },
        None => refused(why.expect("a site where it ever fits has a model to price")),
    }
}

/// The price at each site, cheapest for the user first, refused sites last (by number); with what keeps it from starting now, and
/// when it would start. `planner` is the leader's.
#[must_use]
pub fn quote(state: &State, planner: Option<&Planner>, request: &Request, at: Timestamp) -> Vec<SiteQuote> {
    let need = Need::of(&request.resources);
    let nothing = Holdings::default();
    let mut quotes: Vec<SiteQuote> = state
        .sites()
        .map(|site| {
            let mut quote = feasible_at(state, request, site, at);
            if quote.price.is_some() {
                quote.reasons.extend(filter::open(site, true));
                let in_flight = planner.map_or(&nothing, |planner| &planner.flights.held);
                quote.reasons.extend(lending::reasons(state, in_flight, request, site));
                quote.reasons.extend(filter::capacity(
                    &Hosts::of(state, site.id),
                    &need,
                    request.nodes,
                    std::slice::from_ref(&quote.model),
                ));
                quote.fits_now = quote.reasons.is_empty();
                quote.expected = planner.and_then(|planner| {
                    if quote.fits_now && planner.promises.at(site.id).is_none() {
                        return Some(Expected { start: at, age_ms: 0 });
                    }
                    planner.expected_start_at(state, request, site.id, at)
                });
            }
            quote
        })
        .collect();
    quotes.sort_by_key(|quote| {
        (
            quote
                .price
                .as_ref()
                .map_or((true, Fen::MAX), |price| (false, price.copay)),
            quote.site,
        )
    });
    quotes
}
