//! Why a job waits: every blocking reason of every site, derived on demand from the state (and, on the leader, from what
//! the planner has in flight). Nothing of it is stored.

use std::borrow::Cow;

use super::class::{ClassPlan, Rank, Turn};
use super::fair::Fair;
use super::filter;
use super::forecast::Expected;
use super::hosts::{Hosts, Need};
use super::lending;
use super::planner::Planner;
use super::price::bill;
use super::reason::{Reason, Verdict};
use super::reclaim;
use super::share::Share;
use super::turns::{Turns, kind_of};

use crate::state::holdings::Holdings;
use crate::state::{Job, JobState, Site, State};
use crate::types::{ClassId, JobId, Request, SiteId, Timestamp};

/// Jobs before a job are counted one by one up to this many; beyond it a class's own queue is taken as evenly spread.
const COUNTED_MAX: u64 = 4_000;

/// Where a job stands and what each site says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Of the job.
    pub state: JobState,
    /// Since it was submitted.
    pub waiting_ms: u64,
    /// Its place among the jobs with tasks to place; 1 = next, 0 = it has none. An estimate beyond 4,000.
    pub position: u64,
    /// Jobs with tasks to place.
    pub queued: u64,
    /// Its org's share, where there are others to share with.
    pub share: Option<Share>,
    /// When its first waiting task is expected to start; `None` elsewhere than on the leader, and too far behind.
    pub expected: Option<Expected>,
    /// In order of site; empty if no task waits.
    pub sites: Vec<SiteExplanation>,
}

/// What one site says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteExplanation {
    /// The site.
    pub site: SiteId,
    /// All reasons taken together.
    pub verdict: Verdict,
    /// Every one, the worst first.
    pub reasons: Vec<Reason>,
}

/// Why the tasks of a job are not placed. `planner` is the leader's; elsewhere what is in flight is not known. `site_up`:
/// the site holds a lease, as far as is known here.
#[must_use]
pub fn explain(
    state: &State,
    planner: Option<&Planner>,
    id: JobId,
    now: Timestamp,
    site_up: &dyn Fn(SiteId) -> bool,
) -> Option<Explanation> {
    let job = state.job(id)?;
    // Elsewhere nothing is learned: the limits say how long all will run.
    let elsewhere = Turns::of(state);
    let turns = planner.map_or(&elsewhere, |planner| &planner.turns);
    let order = Order {
        state,
        planner,
        turns,
        fair: Fair::as_of(state, now, planner.map(|planner| &planner.turns.fair)),
    };
    let rank = order.rank(id, job);
    let (position, queued) = order.position(rank, job);
    let mut explanation = Explanation {
        state: job.state(),
        waiting_ms: now.0.saturating_sub(job.submitted_at.0),
        position,
        queued,
        share: order.fair.share(state, state.request(job).org, now),
        expected: None,
        sites: Vec::new(),
    };
    if job.progress().cancel_requested || job.pending() == 0 {
        return Some(explanation);
    }
    explanation.expected = planner.and_then(|planner| planner.expected_start(state, id, now));
    let own = own_reasons(state, planner, id, job, now);
    let request = state.request(job);
    for site in state.sites() {
        let mut reasons = site_reasons(&order, request, site, now, site_up, rank);
        let taken_back = reclaim::reason(state, id, job, site, now);
        reasons.extend(taken_back);
        let fits = reasons.is_empty();
        if fits && own.is_empty() && waits_for_cheaper(state, planner, rank, site.id) {
            reasons.push(Reason::CheaperSite);
        }
        reasons.extend(own.iter().cloned());
        if fits && own.is_empty() && position > 1 {
            reasons.push(Reason::AheadInQueue { ahead: position - 1 });
        }
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict()));
        explanation.sites.push(SiteExplanation {
            site: site.id,
            verdict: Verdict::of(&reasons),
            reasons,
        });
    }
    Some(explanation)
}

/// Whether the job's class lets a site with room be.
fn waits_for_cheaper(state: &State, planner: Option<&Planner>, rank: Rank, site: SiteId) -> bool {
    let known = planner.and_then(|planner| Some((planner, planner.classes.get(&rank.3)?)));
    known.is_some_and(|(planner, class)| {
        let place = class.offers.iter().position(|offer| offer.site == site);
        place.is_some_and(|place| planner.waits_for(state, rank, class, place).is_some())
    })
}

/// What holds the job back wherever it would run.
fn own_reasons(state: &State, planner: Option<&Planner>, id: JobId, job: &Job, now: Timestamp) -> Vec<Reason> {
    let in_flight = planner.map_or(0, |planner| planner.flights.of_job(id));
    let mut reasons = Vec::new();
    if let Some(at) = job.waits().and_then(|waits| waits.until) {
        reasons.push(Reason::NotBefore { at });
    }
    if job.placeable() == 0 {
        let waits = job.waits().into_iter().flat_map(|waits| &waits.on);
        reasons.extend(waits.map(|wait| Reason::Dependency {
            on: wait.on(),
            elements: wait.elements(),
        }));
    }
    let gates = job.spec.gates();
    let latest = gates.latest_start(state.request(job).walltime_ms_max);
    if let (Some(at), Some(_)) = (gates.done_by, latest.filter(|latest| now > *latest)) {
        reasons.push(Reason::DoneBy { at });
    }
    if in_flight > 0 {
        reasons.push(Reason::InFlight);
    }
    let (max, running) = (job.spec.parallel_max, job.progress().running + in_flight);
    if max > 0 && running >= max {
        reasons.push(Reason::ArrayParallelMax { running, max });
    }
    reasons
}

/// What a site says to the request now, as if nobody else waited.
fn site_reasons(
    order: &Order<'_>,
    request: &Request,
    site: &Site,
    now: Timestamp,
    site_up: &dyn Fn(SiteId) -> bool,
    rank: Rank,
) -> Vec<Reason> {
    let (state, planner) = (order.state, order.planner);
    let mut reasons = Vec::new();
    reasons.extend(filter::allowed(request, site));
    reasons.extend(filter::open(site, site_up(site.id)));
    let nothing = Holdings::default();
    let in_flight = planner.map_or(&nothing, |planner| &planner.flights.held);
    reasons.extend(lending::reasons(state, in_flight, request, site));
    let never = filter::ever_fits(state, site, request);
    if let Some(never) = never {
        if !reasons.contains(&never) {
            reasons.push(never);
        }
        return reasons;
    }
    let need = Need::of(&request.resources);
    let mut hosts = free_hosts(state, planner, site.id);
    let (mut payable, mut refusals) = (Vec::new(), Vec::new());
    let models = filter::models_ever(state, site, request);
    for model in &models {
        match bill(state, request, site.id, model.as_deref(), now) {
            Ok(_) => payable.push(model.clone()),
            Err(reason) => refusals.push(reason),
        }
    }
    // A site fits if one model is both free and payable.
    let wanted = if payable.is_empty() { &models } else { &payable };
    let mut short = filter::capacity(&hosts, &need, request.nodes, wanted);
    if short.is_empty()
        && let Some(promise) = planner.and_then(|planner| planner.promises.at(site.id))
        && order.comes_before(promise.rank, rank)
        && let room_ms = order.turns.room_ms(&kind_of(state, request))
        && !promise.leaves_room(hosts.to_mut(), request, wanted, now, room_ms)
    {
        short.push(Reason::CapacityPromised {
            within_ms: promise.start.0.saturating_sub(now.0),
        });
    }
    if payable.is_empty() || !short.is_empty() {
        reasons.extend(short);
        refusals.dedup();
        reasons.extend(refusals);
    }
    reasons
}

/// What the hosts of a site have free, less what is in flight.
fn free_hosts<'a>(state: &State, planner: Option<&'a Planner>, site: SiteId) -> Cow<'a, Hosts> {
    let Some(planner) = planner else {
        return Cow::Owned(Hosts::of(state, site));
    };
    if let Some(hosts) = planner.hosts_as_they_are(state, site) {
        return Cow::Borrowed(hosts);
    }
    // The planner's own view is behind the state until its next pass; what it has in flight is not.
    let mut hosts = Hosts::of(state, site);
    for flight in planner.flights.all() {
        for (host, gpu_indices) in flight.decision.places() {
            hosts.reserve(host, &flight.need, gpu_indices);
        }
    }
    Cow::Owned(hosts)
}

/// The order of classes as it is now.
struct Order<'a> {
    state: &'a State,
    planner: Option<&'a Planner>,
    turns: &'a Turns,
    fair: Fair,
}

impl Order<'_> {
    /// Where the job stands, if it were at the head of its class.
    fn rank(&self, id: JobId, job: &Job) -> Rank {
        let own = self.head_rank(job.class, id);
        // The head of its class goes first, however late the turn that it has kept.
        let head = self.state.head_job(job.class).filter(|head| *head < id);
        let head = head.map(|head| self.head_rank(job.class, head));
        (own.0, head.map_or(own.1, |head| own.1.max(head.1)), own.2, own.3)
    }

    fn head_rank(&self, class: ClassId, job: JobId) -> Rank {
        self.plan_of(class).rank_among(self.state, &self.fair, class, job)
    }

    fn plan_of(&self, class: ClassId) -> Cow<'_, ClassPlan> {
        if let Some(plan) = self.planner.and_then(|planner| planner.classes.get(&class)) {
            return Cow::Borrowed(plan);
        }
        let request = &self.state.class(class).expect("a job has a class").request;
        Cow::Owned(ClassPlan::new(self.state, self.turns, request))
    }

    /// Whether what is promised to one class is kept from another, by the levels as they are now.
    fn comes_before(&self, promised: Rank, rank: Rank) -> bool {
        let org = self.state.class(promised.3).map(|class| class.request.org);
        let level = org.map_or(promised.1.level, |org| self.fair.level(org, promised.3));
        let promised = (promised.0, Turn { level, ..promised.1 }, promised.2, promised.3);
        promised < rank && promised.3 != rank.3
    }

    /// Jobs before this one and all jobs with tasks to place.
    fn position(&self, own: Rank, job: &Job) -> (u64, u64) {
        let state = self.state;
        let priority = i64::from(state.request(job).priority);
        let (mut ahead, mut counted) = (0, 0);
        let queued = state.queued_count() as u64;
        let newest = state.jobs_newest_first(None).next();
        let newest = newest.map_or(Timestamp(0), |(_, newest)| newest.submitted_at);
        let not_after = state.pending_heads().take_while(|(others, ..)| *others >= priority);
        for (others, head, class) in not_after {
            let jobs = state.pending_jobs_count(class) as u64;
            if others > priority {
                ahead += jobs;
                continue;
            }
            let plan = self.plan_of(class);
            let first = plan.rank_among(state, &self.fair, class, head);
            if first >= own {
                continue;
            }
            if jobs == 1 {
                ahead += 1;
                continue;
            }
            let left = COUNTED_MAX.saturating_sub(counted) as usize;
            let is_before = |(id, job): &(JobId, &Job)| {
                let at = plan.turn(*id, job.submitted_at).max(first.1.at);
                (Turn { at, ..first.1 }, *id) < (own.1, own.2)
            };
            let mut before = 1;
            if left > 0 {
                let following = state.pending_jobs(class, JobId(first.2.0 + 1));
                before += following.take(left).take_while(is_before).count() as u64;
            }
            counted += before;
            ahead += if before <= left as u64 {
                before
            } else {
                spread(state, newest, first, own, jobs)
            };
        }
        if job.placeable() > 0 {
            (ahead + 1, queued)
        } else {
            (0, queued)
        }
    }
}

/// Jobs of a class before `own`, if they came evenly spread between its head and the newest job of all.
fn spread(state: &State, newest: Timestamp, head: Rank, own: Rank, jobs: u64) -> u64 {
    let submitted_at = state.job(head.2).map_or(newest, |job| job.submitted_at);
    let whole = newest.0.saturating_sub(submitted_at.0).max(1);
    let part = own.1.at.0.saturating_sub(head.1.at.0);
    u64::try_from(u128::from(jobs) * u128::from(part) / u128::from(whole))
        .unwrap_or(jobs)
        .clamp(1, jobs)
}
