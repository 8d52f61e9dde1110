//! What waits before one or several places, and who starts when something has changed. No clock: every call says what time it is.

use std::collections::{BTreeMap, BTreeSet};

use super::lending::Lending;
use super::policy::{Order, Passing, Policy};
use super::predict::{Kind, Predictor, longer_ms};
use super::profile::Profile;
use super::timeline::Timeline;
use crate::types::Timestamp;

/// Something to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Dense in the order of arrival; ties go to the smaller.
    pub number: u64,
    /// Who pays, or submits.
    pub payer: u64,
    /// What it takes of one place, of each kind.
    pub amounts: Box<[u64]>,
    /// How long it may run; 0 = without a limit.
    pub limit_ms: u64,
    /// The place whose own work it is.
    pub home: usize,
}

impl Work {
    fn kind(&self) -> Kind {
        let amount = |kind: usize| self.amounts.get(kind).copied().unwrap_or(0);
        Kind {
            payer: self.payer,
            limit_ms: self.limit_ms,
            amounts: [amount(0), amount(1), amount(2)],
        }
    }
}

/// A decision: this work starts now, at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Of the work.
    pub number: u64,
    /// Which place.
    pub place: usize,
}

/// What blocked work is promised: it starts at this place at this instant, or earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Of the work.
    pub number: u64,
    /// Which place.
    pub place: usize,
    /// When, if what runs there runs as long as is expected.
    pub start: Timestamp,
}

#[derive(Clone, Debug)]
struct Waiting {
    work: Work,
    expected_ms: u64,
    passing: Turn,
}

impl Waiting {
    /// For how long room is asked: a limit is certain, a prediction is not.
    fn duration_ms(&self) -> u64 {
        if self.work.limit_ms > 0 {
            self.work.limit_ms
        } else {
            self.expected_ms
        }
    }
}

#[derive(Clone, Debug)]
struct Running {
    work: Work,
    place: usize,
    since: Timestamp,
}

type Turn = (u64, u64);

/// The backlog.
#[derive(Clone, Debug)]
pub struct Backlog {
    policy: Policy,
    places: Vec<Timeline<u64>>,
    predictor: Predictor,
    waiting: BTreeMap<Turn, Waiting>,
    /// In the order of those that may pass, if that is another.
    passing: BTreeSet<(Turn, Turn)>,
    running: BTreeMap<u64, Running>,
    reservations: Vec<Reservation>,
    asked: u64,
    /// If the places lend to each other.
    lending: Option<Lending>,
}

impl Backlog {
    /// Empty places with these amounts. Work goes where it fits, whoever it is of.
    #[must_use]
    pub fn new(policy: Policy, now: Timestamp, places: &[&[u64]]) -> Self {
        Self {
            policy,
            places: places.iter().map(|total| Timeline::new(now, total)).collect(),
            predictor: Predictor::default(),
            waiting: BTreeMap::new(),
            passing: BTreeSet::new(),
            running: BTreeMap::new(),
            reservations: Vec::new(),
            asked: 0,
            lending: None,
        }
    }

    /// Places that lend to each other: the work of each is entitled to as much as the place has, and borrows beyond that.
    #[must_use]
    pub fn pooled(policy: Policy, now: Timestamp, places: &[&[u64]]) -> Self {
        let quotas = places.iter().map(|total| total[0]).collect();
        Self {
            lending: Some(Lending::new(quotas)),
            ..Self::new(policy, now, places)
        }
    }

    /// How many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// What all that waits or runs takes of the first kind.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Work that waits.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What the last pass promised to those it left blocked.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// What a place has free beside what runs.
    #[must_use]
    pub fn profile(&self, place: usize) -> &Profile {
        self.places[place].profile()
    }

    /// New work.
    ///
    /// # Panics
    /// If there is no such home.
    pub fn submit(&mut self, now: Timestamp, work: Work) {
        assert!(work.home < self.places.len(), "home {} is one of the places", work.home);
        let nothing = Predictor::default();
        let predictor = if self.policy.predicts {
            &self.predictor
        } else {
            &nothing
        };
        let expected_ms = predictor.expect_ms(&work.kind());
        let turn = |order: Order| (order.key(now, expected_ms), work.number);
        let (first, passing) = (turn(self.policy.order), turn(self.policy.passing_order));
        if self.policy.passing_order != self.policy.order {
            self.passing.insert((passing, first));
        }
        self.asked += work.amounts[0];
        let waiting = Waiting {
            work,
            expected_ms,
            passing,
        };
        self.waiting.insert(first, waiting);
    }

    /// Running work has ended by itself or at its limit.
    ///
    /// # Panics
    /// If it does not run.
    pub fn end(&mut self, now: Timestamp, number: u64) {
        let running = self.running.remove(&number).expect("what ends has run");
        let amount = running.work.amounts[0];
        self.asked -= amount;
        if let Some(lending) = &mut self.lending {
            lending.end(running.work.home, amount);
        }
        self.places[running.place].end(number, now);
        self.predictor.learn(running.work.kind(), now.0 - running.since.0);
    }

    /// Who starts now.
    pub fn pass(&mut self, now: Timestamp) -> Vec<Start> {
        self.run_over(now);
        let mut plan = Plan::over(&self.places, now);
        if self.policy.passing == Passing::All {
            self.keep_promises(&mut plan);
        }
        let entitled = self.plan_entitled(&mut plan);
        let headroom = self.lending.as_ref().map_or(0, Lending::headroom);
        let mut others = self.waiting.iter().filter(|(turn, _)| !entitled.contains(turn));
        let is_one_order = self.policy.order == self.policy.passing_order;
        let mut all_seen = true;
        for (turn, waiting) in others.by_ref() {
            let promises = self.policy.passing == Passing::First && !plan.all_promised() && self.lending.is_none();
            if plan.is_full() && !promises && self.policy.passing != Passing::All {
                break;
            }
            plan.release(waiting);
            if plan.start(turn, waiting, headroom) {
                continue;
            }
            match self.policy.passing {
                Passing::Nobody => break,
                // Who borrows is promised nothing.
                Passing::First if self.lending.is_some() => {}
                passing => plan.reserve(waiting, passing),
            }
            if self.policy.passing == Passing::First && plan.all_promised() && !is_one_order {
                all_seen = false;
                break;
            }
        }
        if !all_seen {
            self.plan_passing(&mut plan);
        }
        let Plan {
            started, reservations, ..
        } = plan;
        self.reservations = reservations;
        started.iter().for_each(|(turn, start)| self.begin(now, turn, *start));
        started.into_iter().map(|(_, start)| start).collect()
    }

    /// Those who are entitled to what their home brought come before all others, and are promised room.
    fn plan_entitled(&self, plan: &mut Plan) -> BTreeSet<Turn> {
        let Some(lending) = &self.lending else {
            return BTreeSet::new();
        };
        let waiting = self.waiting.iter();
        let entitled = lending.entitled(
            plan.now.0,
            waiting.map(|(turn, waiting)| (*turn, waiting.work.home, waiting.work.amounts[0])),
        );
        for turn in &entitled {
            let waiting = &self.waiting[turn];
            if !plan.start(turn, waiting, 0) {
                plan.reserve(waiting, self.policy.passing);
            }
        }
        entitled
    }

    /// What was promised stays promised until its turn to be looked at: it may come earlier then, never later.
    fn keep_promises(&self, plan: &mut Plan) {
        let waiting: BTreeMap<u64, &Waiting> = self
            .waiting
            .values()
            .map(|waiting| (waiting.work.number, waiting))
            .collect();
        for promise in &self.reservations {
            let Some(waiting) = waiting.get(&promise.number) else {
                continue;
            };
            let start = promise.start.max(plan.now);
            let until = Timestamp(start.0.saturating_add(waiting.duration_ms()));
            let profile = &mut plan.profiles[promise.place];
            if profile.fits(start, until, &waiting.work.amounts) {
                profile.take(start, until, &waiting.work.amounts);
                plan.reservations.push(Reservation { start, ..*promise });
            }
        }
    }

    /// Those behind the blocked one, in the order of passing.
    fn plan_passing(&self, plan: &mut Plan) {
        let started: BTreeSet<Turn> = plan.started.iter().map(|(turn, _)| *turn).collect();
        for (_, turn) in &self.passing {
            if plan.is_full() {
                break;
            }
            let waiting = &self.waiting[turn];
            if !started.contains(turn) && !plan.has_promised(waiting.work.number) {
                plan.start(turn, waiting, 0);
            }
        }
    }

    /// What runs longer than was expected is expected to run longer still.
    fn run_over(&mut self, now: Timestamp) {
        let running = &self.running;
        for place in &mut self.places {
            place.run_over(now, |number| {
                let running = &running[&number];
                let run_ms = now.0 - running.since.0;
                Timestamp(running.since.0.saturating_add(longer_ms(run_ms, running.work.limit_ms)))
            });
        }
    }

    fn begin(&mut self, now: Timestamp, turn: &Turn, start: Start) {
        let waiting = self.waiting.remove(turn).expect("who starts has waited");
        self.passing.remove(&(waiting.passing, *turn));
        let until = Timestamp(now.0.saturating_add(waiting.duration_ms()));
        if let Some(lending) = &mut self.lending {
            lending.begin(waiting.work.home, waiting.work.amounts[0]);
        }
        self.places[start.place].begin(start.number, now, until, &waiting.work.amounts);
        let running = Running {
            work: waiting.work,
            place: start.place,
            since: now,
        };
        self.running.insert(start.number, running);
    }
}

/// The places as they will be if those that start now start, and those that are promised room get it.
struct Plan {
    now: Timestamp,
    profiles: Vec<Profile>,
    started: Vec<(Turn, Start)>,
    reservations: Vec<Reservation>,
}

impl Plan {
    fn over(places: &[Timeline<u64>], now: Timestamp) -> Self {
        Self {
            now,
            profiles: places.iter().map(|place| place.profile().clone()).collect(),
            started: Vec::new(),
            reservations: Vec::new(),
        }
    }

    fn free_now(&self, place: usize) -> u64 {
        self.profiles[place].at(self.now)[0]
    }

    /// No place has anything of its first kind free: nothing can start.
    fn is_full(&self) -> bool {
        (0..self.profiles.len()).all(|place| self.free_now(place) == 0)
    }

    /// Every place has promised room to somebody.
    fn all_promised(&self) -> bool {
        self.reservations.len() >= self.profiles.len()
    }

    fn has_promised(&self, number: u64) -> bool {
        self.reservations.iter().any(|promise| promise.number == number)
    }

    /// Starts it at home if it fits there beside what was promised, or else where the least is left; `false` if it fits nowhere,
    /// or less than `headroom` would stay free.
    fn start(&mut self, turn: &Turn, waiting: &Waiting, headroom: u64) -> bool {
        let places = 0..self.profiles.len();
        let amounts = &waiting.work.amounts;
        if headroom > 0 && places.clone().map(|place| self.free_now(place)).sum::<u64>() < headroom + amounts[0] {
            return false;
        }
        let until = Timestamp(self.now.0.saturating_add(waiting.duration_ms()));
        let home = waiting.work.home;
        let fitting = places.filter(|place| self.profiles[*place].fits(self.now, until, amounts));
        let Some(place) = fitting.min_by_key(|place| (*place != home, self.free_now(*place), *place)) else {
            return false;
        };
        self.profiles[place].take(self.now, until, amounts);
        let number = waiting.work.number;
        self.started.push((*turn, Start { number, place }));
        true
    }

    /// Takes back what was promised to it before.
    fn release(&mut self, waiting: &Waiting) {
        let of = |promise: &Reservation| promise.number == waiting.work.number;
        if let Some(place) = self.reservations.iter().position(of) {
            let promise = self.reservations.remove(place);
            let until = Timestamp(promise.start.0.saturating_add(waiting.duration_ms()));
            self.profiles[promise.place].give(promise.start, until, &waiting.work.amounts);
        }
    }

    /// Promises the blocked work its earliest start, at a place that has promised nothing yet if one promise a place is enough.
    fn reserve(&mut self, waiting: &Waiting, passing: Passing) {
        let amounts = &waiting.work.amounts;
        let promised = |place: usize| self.reservations.iter().any(|promise| promise.place == place);
        let may = (0..self.profiles.len()).filter(|place| passing == Passing::All || !promised(*place));
        let starts = may.filter_map(|place| {
            let fits = |free: &[u64]| amounts.iter().zip(free).all(|(asked, free)| asked <= free);
            let start = self.profiles[place].earliest(self.now, waiting.duration_ms(), fits)?;
            Some((start, place))
        });
        if let Some((start, place)) = starts.min() {
            let until = Timestamp(start.0.saturating_add(waiting.duration_ms()));
            self.profiles[place].take(start, until, amounts);
            self.reservations.push(Reservation {
                number: waiting.work.number,
                place,
                start,
            });
        }
    }
}
