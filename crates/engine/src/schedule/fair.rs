//! Fair share: whose turn it is among orgs of one priority. The planner keeps a level for every org that it knows classes of
//! (see [`super::share`]) and orders by it before the jobs' turns. A level rises with each decision; a class that was ranked before
//! that notices when it is looked at, and goes back to its place. When a level falls, the org's classes are ranked anew, a
//! bounded number a pass. With one org, or with fair share switched off, every level is 0 and the order is by turns alone.
//!
//! Nobody starves. An org that gets nothing is forgotten half of what it used each half-life, while others use more. And of each
//! org the first in turn that has waited `aged_after_ms` is looked at as if its org had used nothing, until it gets one task; there is
//! one such class an org at a time, and one an hour, so that a long queue does not undo the shares.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::class::{ClassPlan, Rank, Standing, Turn};
use super::flight::Flight;
use super::planner::Planner;
use super::share::{Pool, Share, share};
use crate::state::usage::amounts;
use crate::state::{KINDS, State};
use crate::types::{ClassId, OrgId, SiteId, Timestamp};

/// Orgs whose levels are read a pass, beside those where something happened.
const ORGS_A_PASS: usize = 64;
/// Classes ranked anew a pass, so that no pass is long.
const RANKED_A_PASS: usize = 256;
/// Classes of an org looked through a pass for one that has waited too long.
const AGED_A_PASS: usize = 64;
/// One class an org is looked at for its age so often.
const AGED_EVERY_MS: u64 = 3_600_000;

/// Whose turn it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fair {
    is_on: bool,
    aged_after_ms: u64,
    pool: Pool,
    /// Orgs with classes, or with decisions in flight.
    orgs: BTreeMap<OrgId, Standings>,
    /// Orgs where something happened since their levels were read.
    touched: BTreeSet<OrgId>,
    /// Orgs with classes to be ranked anew.
    stale: BTreeSet<OrgId>,
    /// The org whose level was read last.
    read: Option<OrgId>,
}

/// How one org stands.
#[derive(Clone, Debug, Default)]
struct Standings {
    level: u16,
    in_flight: [u128; KINDS],
    classes: BTreeSet<ClassId>,
    /// So many classes after this one are to be ranked anew.
    ranked: Option<ClassId>,
    to_rank: usize,
    ageing: Ageing,
}

/// Who is looked at for its age.
#[derive(Clone, Debug, Default)]
struct Ageing {
    class: Option<ClassId>,
    /// When the last look through the classes began, and how far this one has come.
    since: Timestamp,
    seen: Option<ClassId>,
    oldest: Option<Rank>,
}

impl Standings {
    fn rank_all(&mut self) {
        self.to_rank = self.classes.len();
    }

    /// The next class to be ranked anew.
    fn next_to_rank(&mut self) -> Option<ClassId> {
        self.to_rank = self.to_rank.checked_sub(1)?;
        let from = self.ranked.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.classes.range((from, Bound::Unbounded)).next();
        self.ranked = next.or_else(|| self.classes.first()).copied();
        self.ranked
    }
}

impl Fair {
    /// As it will be when the planner looks next; elsewhere than on the leader nothing is in flight and nobody aged.
    pub(crate) fn as_of(state: &State, now: Timestamp, leader: Option<&Fair>) -> Self {
        let mut fair = Self {
            is_on: state.policy().fair_share,
            pool: leader.map_or_else(|| Pool::of(state), |leader| leader.pool.clone()),
            ..Self::default()
        };
        for (org, known) in leader.into_iter().flat_map(|leader| &leader.orgs) {
            let standings = fair.orgs.entry(*org).or_default();
            standings.in_flight = known.in_flight;
            standings.ageing.class = known.ageing.class;
        }
        for class in state.pending_classes().filter_map(|id| state.class(id)) {
            fair.orgs.entry(class.request.org).or_default();
        }
        fair.read_all(state, now);
        fair
    }

    /// Reads the policy.
    pub(crate) fn follow(&mut self, state: &State) {
        self.is_on = state.policy().fair_share;
        self.aged_after_ms = state.policy().aged_after_ms;
        self.touch_all();
    }

    /// Counts the machines of a site anew.
    pub(crate) fn measure(&mut self, state: &State, site: SiteId) {
        self.pool.measure(state, site);
    }

    /// Levels are in force.
    pub(crate) fn is_in_force(&self) -> bool {
        self.is_on && self.orgs.len() > 1
    }

    /// The level of a class: that of its org, or none if it has waited too long.
    pub(crate) fn level(&self, org: OrgId, class: ClassId) -> u16 {
        if !self.is_in_force() {
            return 0;
        }
        let standings = self.orgs.get(&org);
        let standings = standings.filter(|standings| standings.ageing.class != Some(class));
        standings.map_or(0, |standings| standings.level)
    }

    /// An org's share, where it decides anything.
    pub(crate) fn share(&self, state: &State, org: OrgId, now: Timestamp) -> Option<Share> {
        let standings = self.orgs.get(&org).filter(|_| self.is_in_force())?;
        let share = share(state, &self.pool, org, now);
        Some(Share {
            level: standings.level,
            ..share
        })
    }

    /// Some class may have a rank of another level.
    pub(crate) fn has_more(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Something of an org has begun, ended or come to nothing.
    pub(crate) fn touch(&mut self, org: OrgId) {
        if self.orgs.contains_key(&org) {
            self.touched.insert(org);
        }
    }

    fn touch_all(&mut self) {
        self.touched.extend(self.orgs.keys());
        for (org, standings) in &mut self.orgs {
            standings.rank_all();
            self.stale.insert(*org);
        }
    }

    /// A class that was not known.
    pub(crate) fn join(&mut self, state: &State, now: Timestamp, org: OrgId, class: ClassId) {
        let was_in_force = self.is_in_force();
        self.orgs.entry(org).or_default().classes.insert(class);
        if was_in_force {
            self.read(state, now, org);
        } else if self.is_in_force() {
            self.read_all(state, now);
        }
    }

    /// A class that is forgotten.
    pub(crate) fn leave(&mut self, org: OrgId, class: ClassId) {
        let was_in_force = self.is_in_force();
        if let Some(standings) = self.orgs.get_mut(&org) {
            standings.classes.remove(&class);
            self.forget(org);
        }
        if was_in_force && !self.is_in_force() {
            self.touch_all();
        }
    }

    fn forget(&mut self, org: OrgId) {
        let is_over = |standings: &Standings| standings.classes.is_empty() && standings.in_flight == [0; KINDS];
        if self.orgs.get(&org).is_some_and(is_over) {
            self.orgs.remove(&org);
            self.touched.remove(&org);
            self.stale.remove(&org);
        }
    }

    /// A task is decided: it counts from now on.
    pub(crate) fn charge(&mut self, state: &State, now: Timestamp, flight: &Flight) {
        let (org, class) = (flight.org, flight.class);
        let standings = self.orgs.entry(org).or_default();
        for (sum, amount) in standings.in_flight.iter_mut().zip(amounts(&flight.task)) {
            *sum += u128::from(amount);
        }
        if standings.ageing.class == Some(class) {
            standings.ageing.class = None;
        }
        if self.is_in_force() {
            self.read(state, now, org);
        }
    }

    /// A decision was judged, or never proposed: if it was taken, the state counts it now.
    pub(crate) fn discharge(&mut self, flight: &Flight) {
        let org = flight.org;
        let standings = self
            .orgs
            .get_mut(&org)
            .expect("an org with decisions in flight is known");
        for (sum, amount) in standings.in_flight.iter_mut().zip(amounts(&flight.task)) {
            *sum -= u128::from(amount);
        }
        self.touched.insert(org);
        self.forget(org);
    }

    fn read_all(&mut self, state: &State, now: Timestamp) {
        let orgs: Vec<OrgId> = self.orgs.keys().copied().collect();
        orgs.into_iter().for_each(|org| self.read(state, now, org));
    }

    fn read(&mut self, state: &State, now: Timestamp, org: OrgId) {
        let Some(standings) = self.orgs.get_mut(&org) else {
            return;
        };
        let level = self.pool.level(state, org, standings.in_flight, now);
        if standings.level != level {
            standings.level = level;
            standings.rank_all();
            self.stale.insert(org);
        }
    }
}

impl Planner {
    /// Brings levels up to date: where something happened, and some of the others, for time passes for all.
    pub(super) fn read_fair(&mut self, state: &State, now: Timestamp) {
        let fair = &mut self.turns.fair;
        if fair.is_in_force() {
            let after = fair.read.map_or(Bound::Unbounded, Bound::Excluded);
            let next = fair.orgs.range((after, Bound::Unbounded)).map(|(org, _)| *org);
            let next: Vec<OrgId> = next.take(ORGS_A_PASS).collect();
            fair.read = next.last().copied().filter(|_| next.len() == ORGS_A_PASS);
            fair.touched.extend(next.iter().copied());
            for org in std::mem::take(&mut fair.touched) {
                fair.read(state, now, org);
            }
            next.into_iter().for_each(|org| self.look_for_aged(state, now, org));
        } else {
            fair.touched.clear();
        }
        self.rank_anew();
    }

    /// Ranks a bounded number of classes by the levels as they are.
    fn rank_anew(&mut self) {
        let mut left = RANKED_A_PASS;
        while left > 0
            && let Some(org) = self.turns.fair.stale.first().copied()
        {
            left -= 1;
            let standings = self.turns.fair.orgs.get_mut(&org);
            match standings.and_then(Standings::next_to_rank) {
                Some(class) => self.rank_by_level(class),
                None => {
                    self.turns.fair.stale.remove(&org);
                }
            }
        }
    }

    /// Moves a class that waits to where its level belongs. Its promise goes with it.
    fn rank_by_level(&mut self, id: ClassId) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        let level = self.turns.fair.level(class.request.org, id);
        let moved = |rank: Rank| (rank.0, Turn { level, ..rank.1 }, rank.2, rank.3);
        let is_elsewhere = |rank: &Rank| rank.1.level != level;
        let ready = match class.standing {
            Standing::Ready(old) => Some(old).filter(is_elsewhere),
            _ => None,
        };
        let waiting = class.waits_as.filter(is_elsewhere);
        if let Some(old) = ready {
            class.standing = Standing::Ready(moved(old));
            self.ready.remove(&old);
            self.ready.insert(moved(old));
        }
        if let Some(old) = waiting {
            self.wait_as(id, old, moved(old));
        }
        for old in ready.into_iter().chain(waiting) {
            self.move_promise(old, moved(old));
        }
    }

    /// Looks on for the org's first in turn that has waited too long.
    fn look_for_aged(&mut self, state: &State, now: Timestamp, org: OrgId) {
        let fair = &mut self.turns.fair;
        let aged_before = Timestamp(now.0.saturating_sub(fair.aged_after_ms));
        let Some(standings) = fair.orgs.get_mut(&org) else {
            return;
        };
        let ageing = &mut standings.ageing;
        if let Some(class) = ageing.class {
            if self.classes.get(&class).and_then(|class| waits(class)).is_none() {
                ageing.class = None;
            }
            return;
        }
        if ageing.seen.is_none() {
            if now.0 < ageing.since.0.saturating_add(AGED_EVERY_MS) {
                return;
            }
            ageing.since = now;
        }
        let from = ageing.seen.map_or(Bound::Unbounded, Bound::Excluded);
        let mut left = AGED_A_PASS;
        for id in standings.classes.range((from, Bound::Unbounded)) {
            if left == 0 {
                return;
            }
            left -= 1;
            ageing.seen = Some(*id);
            let Some(rank) = self.classes.get(id).and_then(|class| waits(class)) else {
                continue;
            };
            let is_aged = state.job(rank.2).is_some_and(|job| job.submitted_at <= aged_before);
            let turn = |rank: &Rank| (rank.0, rank.1.at, rank.2);
            if is_aged && ageing.oldest.is_none_or(|oldest| turn(&rank) < turn(&oldest)) {
                ageing.oldest = Some(rank);
            }
        }
        ageing.seen = None;
        if let Some(oldest) = ageing.oldest.take() {
            ageing.class = Some(oldest.3);
            self.rank_by_level(oldest.3);
        }
    }
}

/// The rank at which a class waits, for its turn or for room.
fn waits(class: &ClassPlan) -> Option<Rank> {
    match class.standing {
        Standing::Ready(rank) => Some(rank),
        Standing::Parked => class.waits_as,
        Standing::Idle | Standing::Delayed(_) => None,
    }
}
