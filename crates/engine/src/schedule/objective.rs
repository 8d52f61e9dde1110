//! Where a job goes when sites differ in price and in when they have room. By [`Objective::Soonest`] a class takes the cheapest of
//! the sites with room now; the others may let a site with room be, and wait for a cheaper one that is full:
//!
//! - [`Objective::Cheapest`] always;
//! - [`Objective::Balanced`] while `waited × dearest ≤ run × saved`: from its submission to its expected start there it waits no
//!   larger part of the time that it is expected to run than the part of the dearest site's price that it saves, all in fen after
//!   vouchers. So it never waits longer for a price than it runs.
//!
//! A start is expected when the room is promised, or earlier if the look ahead says so. Only the planner knows of this.

use super::class::{ClassPlan, Offer, Rank};
use super::planner::Planner;
use super::price;
use crate::state::State;
use crate::types::{Objective, SiteId, Timestamp};

/// Who waits for a cheaper site is looked at again after this: what was expected may have changed. No start there is expected
/// sooner.
const LOOK_AGAIN_MS: u64 = 60_000;

/// Whether it is better to have waited so long for a start at a price lower by `saved`, the dearest price being `dearest`.
fn is_worth_waiting(waited_ms: u64, run_ms: u64, saved: i64, dearest: i64) -> bool {
    i128::from(waited_ms) * i128::from(dearest) <= i128::from(run_ms) * i128::from(saved)
}

impl Planner {
    /// Whether the class lets an offer with room be. If so, it is looked at again in a while.
    pub(super) fn holds_out(&mut self, state: &State, rank: Rank, class: &ClassPlan, place: usize) -> bool {
        let holds_out = self.waits_for(state, rank, class, place).is_some();
        if holds_out {
            let again = Timestamp(self.planned_at.0.saturating_add(LOOK_AGAIN_MS));
            self.holding.insert((again, rank.3));
        }
        holds_out
    }

    /// The cheaper site for which the class lets an offer be.
    pub(super) fn waits_for(&self, state: &State, rank: Rank, class: &ClassPlan, place: usize) -> Option<SiteId> {
        let objective = class.request.objective.unwrap_or(state.policy().objective);
        if objective == Objective::Soonest {
            return None;
        }
        let here = &class.offers[place];
        let mut cheaper = class.offers[..place].iter().filter(|there| {
            there.full
                && there.bill.copay < here.bill.copay
                && self.open.contains(&there.site)
                && price::affordable(state, &self.flights, class.request.org, &there.bill)
        });
        let there = cheaper.find(|there| {
            objective == Objective::Cheapest || self.is_worth_waiting_for(state, rank, class, there, here)
        });
        there.map(|there| there.site)
    }

    fn is_worth_waiting_for(&self, state: &State, rank: Rank, class: &ClassPlan, there: &Offer, here: &Offer) -> bool {
        let promised = self.earliest_at(state, class, rank, there.site);
        let expected = self.expected_start_at(state, &class.request, there.site, self.planned_at);
        let expected = expected.map(|expected| expected.start);
        let Some(start) = promised.into_iter().chain(expected).min() else {
            return false;
        };
        let start_ms = start.0.max(self.planned_at.0.saturating_add(LOOK_AGAIN_MS));
        let submitted_at = state.job(rank.2).map_or(self.planned_at, |job| job.submitted_at);
        let run_ms = self.turns.predictor.expect_ms(&class.kind);
        let dearest = class.offers.last().map_or(here, |last| last).bill.copay.0;
        let saved = here.bill.copay.0.saturating_sub(there.bill.copay.0);
        is_worth_waiting(start_ms.saturating_sub(submitted_at.0), run_ms, saved, dearest)
    }

    /// Looks again at who has waited for a cheaper site for a while.
    pub(super) fn look_at_holding(&mut self, now: Timestamp) {
        while self.holding.first().is_some_and(|(at, _)| *at <= now) {
            let (_, class) = self.holding.pop_first().expect("it has a first");
            self.retry(class);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_worth_waiting;

    proptest! {
        #[test]
        fn it_is_the_smaller_part(waited in 0..1_000_000u64, run in 1..1_000_000u64, saved in 0..5_000i64, more in 1..5_000i64) {
            let dearest = saved + more;
            let (time, price) = (waited as f64 / run as f64, saved as f64 / dearest as f64);
            if (time - price).abs() > 1e-9 {
                prop_assert_eq!(is_worth_waiting(waited, run, saved, dearest), time < price);
            }
            prop_assert!(!is_worth_waiting(run + 1, run, saved, dearest), "never longer than it runs");
        }
    }
}
