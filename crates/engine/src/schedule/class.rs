//! What the planner knows of one class: which of its tasks comes next, and where it could go at which price.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::fair::Fair;
use super::flight::Flights;
use super::hosts::Need;
use super::lending::Gate;
use super::parked::Wanted;
use super::price::Bill;
use super::time::Kind;
use super::turns::{self, Given, Turns};
use crate::state::State;
use crate::types::{ClassId, JobId, Request, SiteId, Timestamp};

/// The order in which classes are looked at: larger priority first, then the org that has used less, then the earliest turn.
pub(crate) type Rank = (Reverse<i32>, Turn, JobId, ClassId);

/// When it is a class's turn, within its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    /// By what its org has used; see [`Fair`].
    pub(crate) level: u16,
    /// Of its head job; see [`super::time::Order::Turn`].
    pub(crate) at: Timestamp,
}

/// Where a class stands with the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All its tasks are decided or held back by their array's bound: new tasks wake it.
    Idle,
    /// In the queue of classes to be looked at.
    Ready(Rank),
    /// It fits nowhere: new tasks do not wake it, only what it lacks.
    Parked,
    /// Apply refused its decisions repeatedly; it is looked at again at this time.
    Delayed(Timestamp),
}

/// A site (and a model of its devices) that the class may go to, at a price.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) bill: Bill,
    pub(crate) site: SiteId,
    pub(crate) model: Option<u16>,
    /// There was no room; cleared when there may be.
    pub(crate) full: bool,
}

/// The versions of what the offers were made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    pub(crate) rules: u64,
    pub(crate) funds: u64,
}

/// One class.
#[derive(Clone, Debug)]
pub(crate) struct ClassPlan {
    pub(crate) request: Arc<Request>,
    pub(crate) need: Arc<Need>,
    /// What its run times are learned under.
    pub(crate) kind: Kind,
    pub(crate) standing: Standing,
    /// Cheapest first, then by site and model.
    pub(crate) offers: Vec<Offer>,
    /// Some site was left out because the ledger refused.
    pub(crate) refused_by_ledger: bool,
    /// `None` = to be made.
    pub(crate) basis: Option<Basis>,
    pub(crate) quoted_at: Timestamp,
    /// Its rank among those who wait for room; set while an offer is full or a bound keeps it out.
    pub(crate) waits_as: Option<Rank>,
    /// Bounds that keep it out, in whose queues it waits.
    pub(crate) gates: Vec<Gate>,
    /// It is in the queue of parked classes to be looked at again.
    pub(crate) retrying: bool,
    /// How often apply refused since it last took one of its decisions; those of one pass count once.
    pub(crate) refusals: u32,
    /// Decisions up to here are accounted for in `refusals`.
    pub(crate) refused_until: Timestamp,
    /// The count of refusals that was already waited for.
    pub(crate) waited_for: u32,
    pub(crate) used_at: Timestamp,
    /// What the turns of its jobs follow from, from which job on; never empty. It is what was expected when they came, so that
    /// turns are fixed and waiting is ageing.
    given: VecDeque<(JobId, Given)>,
    /// Tasks before it were decided or passed over.
    cursor: (JobId, u32),
    /// Jobs up to the cursor that are worth another look, and from which task on.
    again: BTreeMap<JobId, u32>,
}

impl ClassPlan {
    pub(crate) fn new(state: &State, turns: &Turns, request: &Arc<Request>) -> Self {
        let kind = turns::kind_of(state, request);
        let given = [(JobId(0), turns.given(&kind))].into();
        Self {
            request: request.clone(),
            need: Arc::new(Need::of(&request.resources)),
            kind,
            standing: Standing::Idle,
            offers: Vec::new(),
            refused_by_ledger: false,
            basis: None,
            quoted_at: Timestamp(0),
            waits_as: None,
            gates: Vec::new(),
            retrying: false,
            refusals: 0,
            refused_until: Timestamp(0),
            waited_for: 0,
            used_at: Timestamp(0),
            given,
            cursor: (JobId(0), 0),
            again: BTreeMap::new(),
        }
    }

    /// What it waits for where it finds no room.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            ask: self.need.ask(),
            room_ms: self.kind.limit_ms,
        }
    }

    /// The next task to decide: the oldest job first, then the smallest task.
    pub(crate) fn next_task(&mut self, state: &State, id: ClassId, flights: &Flights) -> Option<(JobId, u32)> {
        while let Some((&job_id, &from)) = self.again.first_key_value() {
            let task = state
                .job(job_id)
                .filter(|job| job.class == id && job.placeable() > flights.of_job(job_id))
                .and_then(|job| {
                    let mut tasks = job.pending_tasks(from).take_while(|task| (job_id, *task) < self.cursor);
                    tasks.find(|task| !flights.has(job_id, *task))
                });
            match task {
                Some(task) => {
                    self.again.insert(job_id, task);
                    return Some((job_id, task));
                }
                None => self.again.remove(&job_id),
            };
        }
        let (job_from, task_from) = self.cursor;
        for (job_id, job) in state.pending_jobs(id, job_from) {
            let from = if job_id == job_from { task_from } else { 0 };
            if job.placeable() > flights.of_job(job_id)
                && let Some(task) = job.pending_tasks(from).find(|task| !flights.has(job_id, *task))
            {
                self.cursor = (job_id, task);
                return Some((job_id, task));
            }
            self.cursor = (job_id, u32::MAX);
        }
        None
    }

    /// The task that [`ClassPlan::next_task`] gave was decided.
    pub(crate) fn decided(&mut self, job: JobId, task: u32) {
        if self.cursor == (job, task) {
            self.cursor.1 += 1;
        } else {
            self.again.insert(job, task + 1);
        }
    }

    /// Something happened to a job; `true` if that may give the class a task it has passed.
    pub(crate) fn look_again(&mut self, job: JobId, from_task: u32) -> bool {
        let passed = (job, from_task) < self.cursor;
        if passed {
            let from = self.again.entry(job).or_insert(from_task);
            *from = (*from).min(from_task);
        }
        passed
    }

    /// A new job came; what its turn follows from.
    pub(crate) fn note_new(&mut self, job: JobId, given: Given) {
        if self.given.back().is_none_or(|(_, last)| *last != given) {
            self.given.push_back((job, given));
        }
    }

    /// When it is the turn of one of its jobs, submitted at an instant.
    pub(crate) fn turn(&self, job: JobId, submitted_at: Timestamp) -> Timestamp {
        let later = self.given.partition_point(|(from, _)| *from <= job);
        self.given[later.saturating_sub(1)].1.turn(submitted_at)
    }

    /// Its place in the order of classes, with this job at its head: those before it are forgotten.
    pub(crate) fn rank(&mut self, state: &State, turns: &Turns, id: ClassId, job: JobId) -> Rank {
        while self.given.get(1).is_some_and(|(from, _)| *from <= job) {
            self.given.pop_front();
        }
        self.rank_of(state, turns, id, job)
    }

    /// The same without making the job the head.
    pub(crate) fn rank_of(&self, state: &State, turns: &Turns, id: ClassId, job: JobId) -> Rank {
        self.rank_among(state, &turns.fair, id, job)
    }

    /// The same where orgs stand otherwise.
    pub(crate) fn rank_among(&self, state: &State, fair: &Fair, id: ClassId, job: JobId) -> Rank {
        let submitted_at = state.job(job).map_or(Timestamp(0), |job| job.submitted_at);
        let at = self.turn(job, submitted_at);
        let level = fair.level(self.request.org, id);
        (Reverse(self.request.priority), Turn { level, at }, job, id)
    }

    /// A decision made at `decided_at` was refused; `now` is the time of the last pass.
    pub(crate) fn refused(&mut self, decided_at: Timestamp, now: Timestamp) {
        self.basis = None;
        if decided_at >= self.refused_until {
            self.refusals += 1;
            self.refused_until = Timestamp(now.0 + 1);
        }
    }
}
