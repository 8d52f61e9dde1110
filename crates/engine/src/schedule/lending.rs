//! What owners say: the contract of a site and the quota of the payer. Asked at submit, by the planner (with what is in flight
//! counted as held), by explain and quote, and by apply before it places. Classes kept out by a bound wait in its queue, in their
//! order, and are looked at again when there is more room under it: when somebody it counts has left, or the bound has changed.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::class::{ClassPlan, Rank, Standing};
use super::planner::Planner;
use super::reason::Reason;
use crate::state::holdings::Holdings;
use crate::state::{Site, State};
use crate::types::{Held, OrgId, Over, Request, SiteId};

/// A bound on what several tasks hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// What a site lends to strangers.
    Lend(SiteId),
    /// What an organisation holds over the whole region.
    Quota(OrgId),
}

/// Classes that wait at gates.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    /// With what a task of each would hold.
    waiting: BTreeMap<Gate, BTreeMap<Rank, Held>>,
    /// Gates that have more room than when those were turned away, and up to where they were looked at since.
    pub(super) eased: BTreeMap<Gate, Option<Rank>>,
}

/// Why its owner, or the payer's quota, keeps a task out of a site now.
#[must_use]
pub fn refused_by_owner(state: &State, request: &Request, site: &Site) -> Option<Reason> {
    let task = Held::of(request);
    let nothing = Holdings::default();
    (site.contract.as_deref())
        .filter(|contract| !contract.accepts(request.org))
        .map(|_| Reason::OrgNotAccepted)
        .or_else(|| over_lent(state, &nothing, site, request.org, &task).map(Reason::LendLimit))
        .or_else(|| over_quota(state, &nothing, request.org, &task).map(Reason::Quota))
}

/// All of that, with what is in flight counted as held.
pub(crate) fn reasons(state: &State, in_flight: &Holdings, request: &Request, site: &Site) -> Vec<Reason> {
    let task = Held::of(request);
    let is_refused = (site.contract.as_deref()).is_some_and(|contract| !contract.accepts(request.org));
    let lent = over_lent(state, in_flight, site, request.org, &task).map(Reason::LendLimit);
    let quota = over_quota(state, in_flight, request.org, &task).map(Reason::Quota);
    let first = if is_refused { Some(Reason::OrgNotAccepted) } else { lent };
    first.into_iter().chain(quota).collect()
}

/// Why no task of the request could ever be placed at a site, even if nothing else ran.
pub(crate) fn never_admitted(state: &State, request: &Request, site: &Site) -> Option<Reason> {
    let (task, nothing) = (Held::of(request), Held::default());
    if let Some(contract) = site.contract.as_deref() {
        if !contract.accepts(request.org) {
            return Some(Reason::OrgNotAccepted);
        }
        let over = contract.lend_limit.broken_by(&task, &nothing);
        if let Some(over) = over.filter(|_| !contract.is_own(request.org)) {
            return Some(Reason::LendLimit(over));
        }
    }
    let quota = state.quota(request.org)?;
    quota.most.broken_by(&task, &nothing).map(Reason::Quota)
}

/// The bound on what the site lends that a task would break.
fn over_lent(state: &State, in_flight: &Holdings, site: &Site, org: OrgId, task: &Held) -> Option<Over> {
    let contract = site.contract.as_deref().filter(|contract| !contract.is_own(org))?;
    let (_, mut strangers) = state.held_at(site.id, contract);
    strangers.add(&in_flight.strangers_at(site.id, contract));
    contract.lend_limit.broken_by(task, &strangers)
}

/// The bound on what the payer holds that a task would break.
fn over_quota(state: &State, in_flight: &Holdings, org: OrgId, task: &Held) -> Option<Over> {
    let quota = state.quota(org)?;
    let mut held = state.held_by(org);
    held.add(&in_flight.of_org(org));
    quota.most.broken_by(task, &held)
}

impl Planner {
    /// Whether the payer's quota keeps the class out; if so, it waits for that.
    pub(super) fn is_over_quota(&mut self, state: &State, rank: Rank, class: &mut ClassPlan) -> bool {
        let org = class.request.org;
        let is_over = over_quota(state, &self.flights.held, org, &Held::of(&class.request)).is_some();
        if is_over {
            self.wait_at(Gate::Quota(org), rank, class);
        }
        is_over
    }

    /// Whether the site lends the class nothing now; if so, it waits for that.
    pub(super) fn is_over_lent(&mut self, state: &State, rank: Rank, class: &mut ClassPlan, site: SiteId) -> bool {
        let Some(site) = state.site(site).filter(|site| site.contract.is_some()) else {
            return false;
        };
        let task = Held::of(&class.request);
        let is_over = over_lent(state, &self.flights.held, site, class.request.org, &task).is_some();
        if is_over {
            self.wait_at(Gate::Lend(site.id), rank, class);
        }
        is_over
    }

    fn wait_at(&mut self, gate: Gate, rank: Rank, class: &mut ClassPlan) {
        class.waits_as = Some(rank);
        if !class.gates.contains(&gate) {
            class.gates.push(gate);
        }
        let task = Held::of(&class.request);
        self.gates.waiting.entry(gate).or_default().insert(rank, task);
    }

    /// There may be more room under a bound.
    pub(super) fn ease(&mut self, gate: Gate) {
        if self.gates.waiting.contains_key(&gate) {
            self.gates.eased.insert(gate, None);
        }
    }

    /// Takes a class out of the queues it waits in as `rank`.
    pub(super) fn leave_gates(&mut self, class: &mut ClassPlan, rank: Rank) {
        for gate in std::mem::take(&mut class.gates) {
            if let Some(ranks) = self.gates.waiting.get_mut(&gate) {
                ranks.remove(&rank);
                if ranks.is_empty() {
                    self.gates.waiting.remove(&gate);
                }
            }
        }
    }

    /// It waits at its gates in another place of the order.
    pub(super) fn wait_at_gates_as(&mut self, class: &mut ClassPlan, old: Rank, new: Rank) {
        let gates = class.gates.clone();
        self.leave_gates(class, old);
        for gate in gates {
            self.wait_at(gate, new, class);
            self.gates.eased.entry(gate).and_modify(|looked_at| *looked_at = None);
        }
    }

    /// The class is looked at: whether a bound still keeps it out is asked anew.
    pub(super) fn ask_gates_again(&mut self, class: &mut ClassPlan) {
        let Some(rank) = class.waits_as.filter(|_| !class.gates.is_empty()) else {
            return;
        };
        self.leave_gates(class, rank);
        if !class.offers.iter().any(|offer| offer.full) {
            class.waits_as = None;
        }
    }

    /// The first class before `bound` that waits at a gate with more room and would be let in now. Who is not is not asked again
    /// until there is more room still.
    pub(super) fn next_to_let_in(&mut self, state: &State, gate: Gate, bound: Option<Rank>) -> Option<Rank> {
        let from = self.gates.eased.get(&gate)?.map_or(Bound::Unbounded, Bound::Excluded);
        let waiting = self.gates.waiting.get(&gate).into_iter();
        let mut looked_at = None;
        for (rank, task) in waiting.flat_map(|ranks| ranks.range((from, Bound::Unbounded))) {
            if bound.is_some_and(|bound| bound <= *rank) {
                self.gates.eased.extend(looked_at.map(|rank| (gate, Some(rank))));
                return None;
            }
            let class = self
                .classes
                .get(&rank.3)
                .expect("a class that waits at a gate is known");
            let org = class.request.org;
            let is_kept_out = match gate {
                Gate::Quota(org) => over_quota(state, &self.flights.held, org, task),
                Gate::Lend(site) => {
                    let site = state.site(site).expect("a gate is of a site");
                    over_lent(state, &self.flights.held, site, org, task)
                }
            };
            if is_kept_out.is_none() && class.standing == Standing::Parked {
                self.gates.eased.extend(looked_at.map(|rank| (gate, Some(rank))));
                return Some(*rank);
            }
            looked_at = Some(*rank);
        }
        self.gates.eased.remove(&gate);
        None
    }
}
