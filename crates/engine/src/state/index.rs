//! What is derived from the tables and kept beside them for speed: queues, names, who runs where. Never encoded, never
//! cloned for a snapshot; rebuilt at decode. [`super::check`] compares it with a fresh one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hesuan_ledger::types::{SiteId, Timestamp};

use super::Tables;
use super::holdings::Holdings;
use super::job::{Attempt, Job};
use super::reclaim::Reclaiming;
use crate::types::{ClassId, Digest, Held, HostId, JobId, PrincipalId, Request, TaskId};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    // Ordered, not hashed: a hash table of a million classes would pause apply to grow.
    pub(super) classes: BTreeMap<Arc<Request>, ClassId>,
    pub(super) tokens: BTreeMap<Digest, PrincipalId>,
    pub(super) principals: BTreeMap<Box<str>, PrincipalId>,
    pub(super) sites: BTreeMap<Box<str>, SiteId>,
    pub(super) hosts: BTreeMap<SiteId, BTreeMap<Box<str>, HostId>>,
    // Jobs that have tasks to place, oldest first in each class: one set, since most classes may have a single job.
    pub(super) queued: BTreeSet<(ClassId, JobId)>,
    pub(super) queue_lengths: BTreeMap<ClassId, u32>,
    // Negative priority first, then the oldest job at the head of its class.
    pub(super) order: BTreeSet<(i64, JobId, ClassId)>,
    pub(super) running: BTreeMap<SiteId, BTreeSet<TaskId>>,
    pub(super) running_total: u64,
    // What running attempts hold, by payer and site.
    pub(super) held: Holdings,
    // Those of them that are to give their place up.
    pub(super) reclaiming: Reclaiming,
    pub(super) pending_total: u64,
    pub(super) ended: BTreeSet<(Timestamp, JobId)>,
    // Jobs whose `not before` has not come.
    pub(super) opening: BTreeSet<(Timestamp, JobId)>,
    // Jobs with pending tasks that have to be done by some time, by the last instant at which such a task may be placed.
    pub(super) overdue: BTreeSet<(Timestamp, JobId)>,
    // (job, who waits for it), and of those the arrays that follow it element by element.
    pub(super) dependents: BTreeSet<(JobId, JobId)>,
    pub(super) followers: BTreeSet<(JobId, JobId)>,
    // Ended jobs that somebody waits for.
    pub(super) settling: BTreeSet<JobId>,
    // Jobs that have to look at which tasks of another had ended before they came.
    pub(super) scans: BTreeSet<JobId>,
    pub(super) script_bytes: u64,
    // Binding quotes that a job in State was submitted with.
    pub(super) quotes: BTreeSet<u64>,
}

impl Index {
    /// All of it, from the tables.
    pub(super) fn of(tables: &Tables) -> Self {
        let mut index = Self::default();
        for (id, class) in tables.classes.iter() {
            index.classes.insert(class.request.clone(), ClassId(id as u32));
            index.quotes.extend(class.request.quote);
        }
        for (_, principal) in tables.principals.iter() {
            if !principal.revoked {
                index.tokens.insert(principal.token_sha256, principal.id);
            }
            index.principals.insert(principal.name.clone(), principal.id);
        }
        for (_, site) in tables.sites.iter() {
            index.sites.insert(site.name.clone(), site.id);
        }
        for (_, host) in tables.hosts.iter() {
            index
                .hosts
                .entry(host.site)
                .or_default()
                .insert(host.name.clone(), host.id);
        }
        for (id, job) in tables.jobs.iter() {
            index.requeue(JobId(id), job, &tables.class(job.class).request);
            index.pending_total += u64::from(job.pending());
            if let Some(ended_at) = job.progress().ended_at {
                index.ended.insert((ended_at, JobId(id)));
            }
        }
        let waited_for: BTreeSet<JobId> = index.dependents.iter().map(|(on, _)| *on).collect();
        let is_over = |id: &JobId| tables.jobs.get(id.0).is_some_and(|job| job.state().is_ended());
        index.settling = waited_for.into_iter().filter(is_over).collect();
        for (id, attempt) in tables.attempts.iter() {
            if attempt.is_running() {
                let job = tables.jobs.get(id.job.0).expect("an attempt has a job");
                index.attempt_began(*id, attempt, &tables.class(job.class).request);
            }
        }
        index.script_bytes = tables.scripts.iter().map(|(_, script)| script.bytes.len() as u64).sum();
        index
    }

    /// Puts the job into its class's queue or takes it out, as it stands now.
    pub(super) fn requeue(&mut self, id: JobId, job: &Job, request: &Request) {
        self.note_gates(id, job, request);
        let (wanted, entry) = (job.placeable() > 0, (job.class, id));
        if self.queued.contains(&entry) == wanted {
            return;
        }
        let rank = |head: JobId| (-i64::from(request.priority), head, job.class);
        let before = self.head(job.class);
        if wanted {
            self.queued.insert(entry);
            *self.queue_lengths.entry(job.class).or_default() += 1;
        } else {
            self.queued.remove(&entry);
            let length = self.queue_lengths.get_mut(&job.class).expect("it had a job");
            *length -= 1;
            if *length == 0 {
                self.queue_lengths.remove(&job.class);
            }
        }
        let after = self.head(job.class);
        if before != after {
            if let Some(before) = before {
                self.order.remove(&rank(before));
            }
            self.order.extend(after.map(rank));
        }
    }

    /// Notes when the job is to be looked at for its gates alone, or that it is not.
    fn note_gates(&mut self, id: JobId, job: &Job, request: &Request) {
        let gates = job.spec.gates();
        if !gates.after.is_empty() {
            self.note_dependencies(id, job);
        }
        if let Some(not_before) = gates.not_before {
            if job.waits().is_some_and(|waits| waits.until.is_some()) {
                self.opening.insert((not_before, id));
            } else {
                self.opening.remove(&(not_before, id));
            }
        }
        if let Some(latest) = gates.latest_start(request.walltime_ms_max) {
            if job.pending() > 0 {
                self.overdue.insert((latest, id));
            } else {
                self.overdue.remove(&(latest, id));
            }
        }
    }

    /// Notes for whom the job waits.
    fn note_dependencies(&mut self, id: JobId, job: &Job) {
        let mut unscanned = false;
        for dependency in &job.spec.gates().after {
            let on = dependency.job;
            let wait = job
                .waits()
                .and_then(|waits| waits.on.iter().find(|wait| wait.on.job == on));
            let elements = wait.and_then(|wait| wait.elements.as_ref());
            unscanned |= elements.is_some_and(|elements| elements.scan_from.is_some());
            if elements.is_some() {
                self.followers.insert((on, id));
            } else {
                self.followers.remove(&(on, id));
            }
            if wait.is_some() {
                self.dependents.insert((on, id));
            } else if self.dependents.remove(&(on, id)) && self.dependents(on).next().is_none() {
                self.settling.remove(&on);
            }
        }
        if unscanned {
            self.scans.insert(id);
        } else {
            self.scans.remove(&id);
        }
    }

    /// A job has ended: whoever waits for it is to be told.
    pub(super) fn settle(&mut self, id: JobId) {
        if self.dependents(id).next().is_some() {
            self.settling.insert(id);
        }
    }

    /// Jobs that wait for this one.
    pub(super) fn dependents(&self, on: JobId) -> impl Iterator<Item = JobId> + '_ {
        let range = self.dependents.range((on, JobId(0))..=(on, JobId(u64::MAX)));
        range.map(|(_, dependent)| *dependent)
    }

    /// Arrays that wait for this one's tasks, each for its own.
    pub(super) fn followers(&self, on: JobId) -> impl Iterator<Item = JobId> + '_ {
        let range = self.followers.range((on, JobId(0))..=(on, JobId(u64::MAX)));
        range.map(|(_, follower)| *follower)
    }

    /// Jobs of a class that have tasks to place, oldest first.
    pub(super) fn queue(&self, class: ClassId, from: JobId) -> impl Iterator<Item = JobId> + '_ {
        self.queued
            .range((class, from)..=(class, JobId(u64::MAX)))
            .map(|(_, job)| *job)
    }

    pub(super) fn head(&self, class: ClassId) -> Option<JobId> {
        self.queue(class, JobId(0)).next()
    }

    pub(super) fn attempt_began(&mut self, id: TaskId, attempt: &Attempt, request: &Request) {
        self.held.begin(attempt.site, request.org, &Held::of(request));
        self.reclaiming.begin(id, attempt);
        self.running.entry(attempt.site).or_default().insert(id);
        self.running_total += 1;
    }

    pub(super) fn attempt_ended(&mut self, id: TaskId, attempt: &Attempt, request: &Request) {
        let site = attempt.site;
        self.reclaiming.end(id, attempt);
        self.held.end(site, request.org, &Held::of(request));
        let at_site = self
            .running
            .get_mut(&site)
            .expect("a running attempt is in the index of its site");
        assert!(at_site.remove(&id), "a running attempt is in the index of its site");
        if at_site.is_empty() {
            self.running.remove(&site);
        }
        self.running_total -= 1;
    }
}
