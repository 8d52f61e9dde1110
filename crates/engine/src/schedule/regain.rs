//! Who of those that wait for room at a site may have what it has gained: asked by what they want, not one after the other.

use std::cell::Cell;
use std::ops::Bound;

use super::class::{ClassPlan, Rank, Standing};
use super::hosts::Slot;
use super::lane::Room;
use super::parked::Wanted;
use super::planner::Planner;
use super::promises::Beside;
use crate::types::SiteId;

impl Planner {
    /// The first class before `bound` that was turned away at a site that has grown, and may fit on one of the hosts that have.
    /// None when as many were asked as may be in one pass.
    pub(super) fn next_to_ask(&mut self, site: SiteId, bound: Option<Rank>) -> Option<Rank> {
        let still_waits = |rank: &Rank| self.full.get(&site).is_some_and(|parked| parked.has(rank));
        let known = self.grown.get(&site)?.next.filter(still_waits);
        let Some(rank) = known.or_else(|| self.first_to_ask(site)) else {
            self.grown.remove(&site);
            return None;
        };
        self.grown.entry(site).or_default().next = Some(rank);
        if bound.is_some_and(|bound| bound <= rank) {
            return None;
        }
        self.asks_left = self.asks_left.saturating_sub(1);
        (self.asks_left > 0).then_some(rank)
    }

    /// There was no room anywhere when they were turned away, so there is none but where the site has grown, and on what is
    /// promised to others.
    fn first_to_ask(&mut self, site: SiteId) -> Option<Rank> {
        let (grown, parked) = (self.grown.get(&site)?, self.full.get(&site)?);
        let hosts = &self.view.sites[&site].hosts;
        let from = grown.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let promise = self.promises.at(site);
        let kept: Vec<Beside<'_>> = promise.map_or_else(Vec::new, |promise| promise.beside(hosts, self.planned_at));
        let is_kept = |slot: &&Slot| kept.iter().any(|beside| beside.slot.id == slot.id);
        let slots = grown.hosts.iter().filter_map(|host| hosts.slot(*host));
        let free: Vec<&Slot> = slots.filter(|slot| !is_kept(slot)).collect();
        let rooms: Vec<Room> = free.iter().map(|slot| slot.most()).collect();

        // Who comes before the one that is promised room, or is that one, may have all of it.
        let has = |wanted: &Wanted| rooms.iter().any(|room| room.has(&wanted.ask));
        let before = promise.and_then(|promise| {
            let all: Vec<&Slot> = free
                .iter()
                .copied()
                .chain(kept.iter().map(|beside| beside.slot))
                .collect();
            parked.first(
                (from, Bound::Included(promise.rank)),
                |wanted| has(wanted) || kept.iter().any(|beside| beside.most.has(&wanted.ask)),
                |rank| {
                    may_fit(&self.classes[&rank.3], site, |class, model| {
                        all.iter().any(|slot| slot.fit(&class.need, model).is_some())
                    })
                },
            )
        });
        if before.is_some() {
            return before;
        }
        let from = match (promise, from) {
            (Some(promise), Bound::Excluded(from)) => Bound::Excluded(from.max(promise.rank)),
            (Some(promise), _) => Bound::Excluded(promise.rank),
            (None, from) => from,
        };
        let is_turned_away = Cell::new(false);
        let after = parked.first(
            (from, Bound::Unbounded),
            |wanted| {
                let fits = has(wanted) || kept.iter().any(|beside| beside.has(wanted));
                if !fits && kept.iter().any(|beside| beside.most.has(&wanted.ask)) {
                    is_turned_away.set(true);
                }
                fits
            },
            |rank| {
                may_fit(&self.classes[&rank.3], site, |class, model| {
                    free.iter().any(|slot| slot.fit(&class.need, model).is_some())
                        || kept.iter().any(|beside| beside.slot.fit(&class.need, model).is_some())
                })
            },
        );
        if is_turned_away.get() {
            self.promises.turn_away(site);
        }
        after
    }
}

/// Whether a class fits by one of its offers at a site; one that is not parked is to be asked.
fn may_fit(class: &ClassPlan, site: SiteId, fits: impl Fn(&ClassPlan, Option<u16>) -> bool) -> bool {
    let mut offers = class.offers.iter().filter(|offer| offer.site == site && offer.full);
    class.standing != Standing::Parked || offers.any(|offer| fits(class, offer.model))
}
