//! The leader's scheduler: which pending task goes where, looked at only where something changed. Decisions cost per
//! class; a class that fits nowhere is parked until what it lacks may be there: room at a site, money, other rules.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::class::{Basis, ClassPlan, Rank, Standing};
use super::ends::Ends;
use super::flight::{Flight, Flights};
use super::forecast::Forecast;
use super::hosts::Hosts;
use super::learn;
use super::lending::Gates;
use super::parked::Parked;
use super::price;
use super::promises::Promises;
use super::reclaim::Reclaims;
use super::turns::Turns;
use super::view::{Spot, View};
use crate::command::Decision;
use crate::outcome::Effect;
use crate::state::{Attempt, State};
use crate::types::{ClassId, Held, HostId, OrgId, SiteId, Timestamp};

/// A decision that apply has not judged for so long was lost on the way (never committed under this leader).
pub(super) const FLIGHT_MS_MAX: u64 = 15_000;
/// Prices are asked again after this even if nothing was said to have changed: vouchers begin and end, sheets take effect.
const QUOTE_MS_MAX: u64 = 1_000;
/// Classes held back by money are looked at again after this, for the same reason.
pub(super) const MONEY_RETRY_MS: u64 = 5_000;
/// How long a class without pending tasks is remembered.
pub(super) const IDLE_MS_MAX: u64 = 10_000;
/// Parked classes looked at again a pass when money, rules or a site changed, so that no pass is long.
pub(super) const RETRIES_MAX: usize = 256;
/// Parked classes asked a pass whether they fit on hosts that have grown, for the same reason.
const ASKS_MAX: usize = 512;
/// Prices asked a pass, for the same reason.
const QUOTES_MAX: usize = 1_000;
/// A class whose decisions apply refuses twice running waits this long, doubled with each further refusal.
const REFUSED_WAIT_MS: u64 = 50;

/// Soft state of the leader: everything in it can be rebuilt from the state by [`Planner::reset`].
#[derive(Debug, Default)]
pub struct Planner {
    pub(super) view: View,
    pub(super) flights: Flights,
    pub(super) ends: Ends,
    pub(super) turns: Turns,
    pub(super) promises: Promises,
    pub(super) forecast: Forecast,
    /// Sites that take work and hold a lease.
    pub(super) open: BTreeSet<SiteId>,
    /// Looked up; walked only to be sorted. Boxed, so that moving them about in the table is cheap.
    pub(super) classes: HashMap<ClassId, Box<ClassPlan>>,
    pub(super) ready: BTreeSet<Rank>,
    pub(super) delayed: BTreeSet<(Timestamp, ClassId)>,
    /// Parked classes that let a site with room be, and when to look at them again.
    pub(super) holding: BTreeSet<(Timestamp, ClassId)>,
    /// Parked classes to be looked at again, some each pass.
    pub(super) retry: VecDeque<ClassId>,
    pub(super) idle: VecDeque<(Timestamp, ClassId)>,
    /// Classes that found no room at a site, with what a task asks of a host: enough to pass most of them over.
    pub(super) full: BTreeMap<SiteId, Parked>,
    /// Sites that have more room than when those classes were turned away.
    pub(super) grown: BTreeMap<SiteId, Grown>,
    /// Classes kept out of a site by money, by payer.
    pub(super) short: BTreeMap<OrgId, BTreeSet<ClassId>>,
    /// Classes kept out by contracts and quotas.
    pub(super) gates: Gates,
    /// Floors being taken back.
    pub(super) reclaims: Reclaims,
    pub(super) changed: Changed,
    pub(super) rules: u64,
    pub(super) funds: HashMap<OrgId, u64>,
    pub(super) money_looked_at: Timestamp,
    pub(super) planned_at: Timestamp,
    pub(super) quotes_left: usize,
    /// Parked classes that may still be asked this pass whether they fit now.
    pub(super) asks_left: usize,
}

/// What a site has gained, and who was told.
#[derive(Debug, Default)]
pub(super) struct Grown {
    /// Classes that wait for room were looked at up to here.
    pub(super) looked_at: Option<Rank>,
    /// The first behind it that may fit, once that was looked for.
    pub(super) next: Option<Rank>,
    /// Where there is more room; nowhere else.
    pub(super) hosts: BTreeSet<HostId>,
}

impl Grown {
    /// All who wait there are to be looked at once more.
    pub(super) fn look_again(&mut self) {
        (self.looked_at, self.next) = (None, None);
    }
}

/// What happened since the last pass.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) classes: BTreeSet<ClassId>,
    pub(super) hosts: BTreeSet<HostId>,
    pub(super) sites: BTreeSet<SiteId>,
    pub(super) orgs: BTreeSet<OrgId>,
    pub(super) rules: bool,
}

/// What a class finds when it is its turn.
enum Choice {
    /// Place of the offer, and where there.
    Found(usize, Spot),
    /// No site it could pay for has room, or it waits for a cheaper one.
    NoRoom,
    /// Some site is out of reach for lack of money, and no other has room.
    Short,
}

impl Planner {
    /// Knows nothing; [`Planner::reset`] comes before the first plan.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts over from the state: on becoming leader, or after the state was replaced. Decisions in flight are forgotten.
    pub fn reset(&mut self, state: &State) {
        let mut turns = Turns {
            order: self.turns.order,
            predictor: learn::from_state(state),
            ..Turns::default()
        };
        turns.follow(state);
        *self = Self {
            view: View::of(state),
            ends: Ends::of(state, &turns),
            turns,
            ..Self::default()
        };
        state.sites().for_each(|site| self.turns.fair.measure(state, site.id));
        self.changed.classes = state.pending_classes().collect();
        self.read_reclaims(state);
    }

    /// The hosts of a site less what is in flight, unless something happened there since the last pass.
    pub(super) fn hosts_as_they_are(&self, state: &State, site: SiteId) -> Option<&Hosts> {
        let at_site = |host: &HostId| state.host(*host).is_some_and(|host| host.site == site);
        let changed = self.changed.sites.contains(&site) || self.changed.hosts.iter().any(at_site);
        let view = self.view.sites.get(&site).filter(|_| !changed);
        view.map(|view| &view.hosts)
    }

    /// Decisions proposed and not yet judged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// The last pass stopped at a bound, not because nothing more could be placed: plan again soon.
    #[must_use]
    pub fn has_more(&self) -> bool {
        let waits = !self.ready.is_empty() || !self.retry.is_empty() || !self.grown.is_empty();
        waits || !self.gates.eased.is_empty() || self.turns.fair.has_more()
    }

    /// Notes what commands did. Must see every effect since the last [`Planner::reset`], with the state after them.
    pub fn observe(&mut self, state: &State, effects: &[Effect]) {
        for effect in effects {
            self.follow_running(state, effect);
            match effect {
                Effect::ClassWoken(class) => {
                    self.changed.classes.insert(*class);
                }
                Effect::JobChanged(job) => {
                    if self.view.note(state, *job) {
                        self.note_new(state, *job);
                    }
                    self.look_again(state, *job, 0);
                    self.forget_kept(state, *job);
                }
                Effect::ReclaimJudged {
                    job,
                    task,
                    host,
                    refused,
                } => self.note_reclaim(state, (*job, *task), *host, refused.is_none()),
                Effect::SiteChanged(site) => {
                    self.changed.sites.insert(*site);
                }
                Effect::HostChanged(host) => {
                    self.changed.hosts.insert(*host);
                }
                Effect::FundsChanged(org) => {
                    self.changed.orgs.insert(*org);
                    self.turns.fair.touch(*org);
                }
                Effect::RulesChanged => self.changed.rules = true,
                Effect::PolicyChanged => self.turns.follow(state),
                Effect::DecisionJudged { job, task, refused } => self.land(state, *job, *task, refused.is_some()),
                // Placed by a decision that is not ours (of the leader before): its host has less than we believe.
                Effect::Assigned { task, .. } if !self.flights.has(task.job, task.task) => {
                    let places = state.attempt(*task).into_iter().flat_map(Attempt::places);
                    self.changed.hosts.extend(places.map(|(host, _)| host));
                }
                _ => {}
            }
        }
    }

    /// Decisions that were not proposed after all.
    pub fn forget(&mut self, state: &State, decisions: &[Decision]) {
        for decision in decisions {
            self.land(state, decision.job, decision.task, true);
        }
    }

    /// Decides for at most `max` tasks. `site_up`: the site holds a lease now.
    pub fn plan(
        &mut self,
        state: &State,
        now: Timestamp,
        site_up: &dyn Fn(SiteId) -> bool,
        max: usize,
    ) -> Vec<Decision> {
        self.planned_at = now;
        self.quotes_left = QUOTES_MAX;
        self.asks_left = ASKS_MAX;
        self.drop_overdue(state, now);
        self.run_over(state, now);
        self.view.appraise();
        let mut decisions = Vec::new();
        self.place_kept(state, now, max, &mut decisions);
        self.read_hosts(state);
        self.read_sites(state, site_up);
        self.read_money(state, now);
        self.look_at_holding(now);
        self.read_classes(state, now);
        // After the classes: one that is new may put fair share in force, and whoever waits then has another place at once.
        self.read_fair(state, now);
        while decisions.len() < max && self.quotes_left > 0 && self.asks_left > 0 {
            self.renew_promises(state);
            let Some(id) = self.next_class(state) else { break };
            let mut class = self.classes.remove(&id).expect("a class that comes next is known");
            let standing = self.place_class(state, now, id, &mut class, max, &mut decisions);
            self.stand(now, id, &mut class, standing);
            self.classes.insert(id, class);
            self.promise_blocked(state, id);
            self.note_blocked(state, id);
        }
        self.forget_idle(state, now);
        self.roll_forecast(state);
        decisions
    }

    /// Places tasks of one class until another class comes first, nothing is left, or nothing fits.
    fn place_class(
        &mut self,
        state: &State,
        now: Timestamp,
        id: ClassId,
        class: &mut ClassPlan,
        max: usize,
        decisions: &mut Vec<Decision>,
    ) -> Standing {
        if class
            .offers
            .iter()
            .any(|offer| offer.full && self.grown.contains_key(&offer.site))
        {
            self.wait_no_more(class);
        }
        if class.refusals >= 2 && class.waited_for != class.refusals {
            class.waited_for = class.refusals;
            return Standing::Delayed(Timestamp(now.0 + (REFUSED_WAIT_MS << class.refusals.min(8))));
        }
        self.ask_gates_again(class);
        let next_rank = self.next_rank(state);
        loop {
            let Some((job, task)) = class.next_task(state, id, &self.flights) else {
                return Standing::Idle;
            };
            let rank = class.rank(state, &self.turns, id, job);
            let comes_later = next_rank.is_some_and(|next| next < rank);
            // A broken promise is made anew before anybody else is looked at.
            if decisions.len() >= max || comes_later || !self.promises.due.is_empty() {
                return Standing::Ready(rank);
            }
            self.price(state, now, class);
            let mut choice = self.choose(state, rank, class);
            if matches!(choice, Choice::Short) && class.quoted_at != now {
                // A balance may have sunk below what an old price counts on.
                class.basis = None;
                self.price(state, now, class);
                choice = self.choose(state, rank, class);
            }
            let Choice::Found(place, spot) = choice else {
                return Standing::Parked;
            };
            let decision = Decision {
                job,
                task,
                host: spot.host,
                gpu_indices: spot.gpu_indices,
                others: spot.others,
            };
            let site = class.offers[place].site;
            // The rank it was found by: while it waits for room elsewhere it keeps the one it waits as.
            self.use_promised(class, class.waits_as.unwrap_or(rank), site, &decision);
            for (host, gpu_indices) in decision.places() {
                self.view.reserve(host, &class.need, gpu_indices);
            }
            let flight = Flight {
                class: id,
                need: class.need.clone(),
                org: class.request.org,
                site,
                task: Held::of(&class.request),
                decision: decision.clone(),
                bill: class.offers[place].bill.clone(),
                decided_at: now,
            };
            class.decided(job, task);
            self.turns.fair.charge(state, now, &flight);
            self.flights.begin(flight);
            decisions.push(decision);
            if class.refusals >= 2 {
                return Standing::Idle;
            }
        }
    }

    /// Makes the offers of a class anew if what they were made from has changed.
    fn price(&mut self, state: &State, now: Timestamp, class: &mut ClassPlan) {
        let funds = self.funds.get(&class.request.org).copied().unwrap_or(0);
        let basis = Basis {
            rules: self.rules,
            funds,
        };
        if class.basis == Some(basis) && now.0 < class.quoted_at.0.saturating_add(QUOTE_MS_MAX) {
            return;
        }
        self.wait_no_more(class);
        (class.offers, class.refused_by_ledger) = price::offers(state, &self.view, &class.request, now);
        class.basis = Some(basis);
        class.quoted_at = now;
        self.quotes_left = self.quotes_left.saturating_sub(class.offers.len() + 1);
    }

    /// The cheapest offer with room and money, and of equally cheap ones the spot where least is stranded.
    fn choose(&mut self, state: &State, rank: Rank, class: &mut ClassPlan) -> Choice {
        let org = class.request.org;
        let rank = class.waits_as.unwrap_or(rank);
        if self.is_over_quota(state, rank, class) {
            return Choice::NoRoom;
        }
        let mut best: Option<(usize, Spot)> = None;
        let mut cheapest = None;
        let mut short = class.refused_by_ledger;
        for place in 0..class.offers.len() {
            let offer = &class.offers[place];
            if cheapest.is_some_and(|copay| offer.bill.copay > copay) {
                break;
            }
            if offer.full || !self.open.contains(&offer.site) {
                continue;
            }
            let (site, model) = (offer.site, offer.model);
            if self.is_over_lent(state, rank, class, site) {
                continue;
            }
            let offer = &class.offers[place];
            if !price::affordable(state, &self.flights, org, &offer.bill) {
                short = true;
                if self.flights.of_org(org) > 0 {
                    // Until the decisions in flight have landed nobody knows what is cheapest.
                    break;
                }
                continue;
            }
            let Some(spot) = self.find(class, rank, site, model) else {
                self.note_turned_away(&class.need, rank, site, model);
                self.full.entry(site).or_default().insert(rank, class.wanted());
                class.offers[place].full = true;
                class.waits_as = Some(rank);
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|(_, found)| (spot.score, spot.host) < (found.score, found.host))
            {
                cheapest = Some(class.offers[place].bill.copay);
                best = Some((place, spot));
            }
        }
        match best {
            Some((place, _)) if self.holds_out(state, rank, class, place) => Choice::NoRoom,
            Some((place, spot)) => Choice::Found(place, spot),
            None if short => {
                self.short.entry(org).or_default().insert(rank.3);
                Choice::Short
            }
            None => Choice::NoRoom,
        }
    }
}
