//! The replicated state: tables, and the indexes derived from them. It changes only in [`State::apply`]; everything else
//! here reads. Commands live one group to a file beside this one.

pub mod access;
mod after;
mod apply;
pub mod archive;
mod bits;
mod check;
mod cluster;
pub mod contract;
mod ending;
mod extend;
mod gang;
mod gates;
pub(crate) mod holdings;
mod housekeeping;
mod index;
pub mod job;
mod jobs;
pub mod limits;
mod money;
mod nearest;
mod placement;
mod policy;
mod policy_record;
pub mod principal;
mod quotes;
mod reclaim;
mod record;
mod record_contract;
mod reports;
mod requests;
mod said;
mod settlement;
pub mod site;
mod sites;
mod snapshot;
pub(crate) mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use hesuan_ledger::Ledger;
use hesuan_ledger::paged::{PagedMap, PagedVec};
use hesuan_ledger::types::{OrgId, SiteId, Timestamp};

pub use self::after::{DEPENDENCIES_MAX, FOLLOWERS_MAX, Unmet, Wait};
pub use self::contract::{Contract, Quota};
pub use self::gates::Waits;
pub use self::job::{Attempt, Class, Ended, Job, JobState, Progress, Receipt, Script, Spec};
pub use self::limits::Limits;
pub use self::policy::{Policy, WEIGHT_MILLI};
pub use self::principal::Principal;
pub use self::reclaim::{Reclaimed, VICTIMS_MAX};
pub use self::site::{Agent, Amounts, Generic, Gpu, Host, Site};

pub use self::cluster::LEVEL;
pub use self::jobs::{PRIORITY_MAX, RETRIES_MAX, TASKS_MAX};
pub use self::snapshot::{CHUNK_BYTES_MAX, DecodeError, Decoder, Frozen};
pub use self::usage::{KINDS, Usage};

use self::index::Index;
use self::requests::Requests;
use crate::command::Member;
use crate::types::{ClassId, Digest, HostId, JobId, OnSiteLost, PrincipalId, TaskId};

/// What a cluster starts with.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// Random; a data directory of another cluster is refused by it.
    pub cluster_id: [u8; 16],
    /// When.
    pub at: Timestamp,
    /// The first replicas.
    pub members: Vec<Member>,
    /// Name of the first principal, an admin.
    pub admin_name: Box<str>,
    /// SHA-256 of its token.
    pub admin_token_sha256: Digest,
    /// Where the replicated limits start.
    pub limits: Limits,
}

/// The whole of what is replicated.
pub struct State {
    tables: Tables,
    index: Index,
    // Outcomes of the entry being applied, for the digest.
    entry: Vec<u8>,
    #[cfg(feature = "planted")]
    planted: Planted,
}

/// Bugs that the simulator must find; never in a release.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// As it should be.
    #[default]
    None,
    /// The end of an attempt captures and leaves the hold open.
    CaptureWithoutRelease,
    /// A report of an older attempt is taken for the present one.
    StaleAttemptAccepted,
}

/// What is encoded: equal tables are equal states. Cloning copies page pointers.
#[derive(Clone)]
pub(crate) struct Tables {
    meta: Meta,
    limits: Limits,
    policy: Arc<Policy>,
    usage: PagedMap<OrgId, Usage>,
    members: Vec<Member>,
    principals: PagedVec<Principal>,
    sites: PagedVec<Site>,
    hosts: PagedVec<Host>,
    classes: PagedVec<Class>,
    jobs: PagedVec<Job>,
    attempts: PagedMap<TaskId, Attempt>,
    scripts: PagedMap<Digest, Script>,
    quotas: PagedMap<OrgId, Quota>,
    requests: Requests,
    ledger: Ledger,
}

#[derive(Clone, Debug, PartialEq)]
struct Meta {
    cluster_id: [u8; 16],
    level: u32,
    restore_epoch: u32,
    applied_index: u64,
    at: Timestamp,
    outcome_digest: Digest,
    // Rises with whatever may change which sites could ever run a class.
    rules_version: u64,
    // Records given to the archive so far.
    archived: u64,
}

impl Tables {
    fn class(&self, id: ClassId) -> &Class {
        self.classes
            .get(id.0.into())
            .expect("a class stays while a job names it")
    }
}

/// What an agent is told to run.
#[derive(Clone, Debug)]
pub struct AssignmentView<'a> {
    /// The attempt.
    pub task: TaskId,
    /// The job's spec: payload, digest of the script, count of tasks.
    pub spec: &'a Arc<Spec>,
    /// The script's text, if the job has one.
    pub script: Option<&'a Arc<[u8]>>,
    /// The job's request: resources; its time limit is the one that the attempt began with.
    pub request: &'a Arc<crate::types::Request>,
    /// Wall time it may take as things stand; 0 when its money ended at once.
    pub walltime_ms_max: u64,
    /// On which machine.
    pub host: &'a str,
    /// On which devices.
    pub gpu_indices: &'a [u32],
    /// The further machines of a gang with the devices there, by rank from 1.
    pub others: Vec<(&'a str, &'a [u32])>,
    /// It must stop when the lease ends.
    pub requeue_on_site_lost: bool,
    /// It is to be stopped.
    pub cancel_requested: bool,
}

impl State {
    /// Switches a planted bug on.
    #[cfg(feature = "planted")]
    pub fn set_planted(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// The job, while it is in State (ended ones leave for the archive).
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.tables.jobs.get(id.0)
    }

    /// Jobs in State, newest first, from `from` downwards (`None` = the newest).
    pub fn jobs_newest_first(&self, from: Option<JobId>) -> impl Iterator<Item = (JobId, &Job)> {
        let from = from.map_or(u64::MAX, |id| id.0);
        self.tables.jobs.iter_back_from(from).map(|(id, job)| (JobId(id), job))
    }

    /// Attempts of a job in order of task and attempt. Tasks never placed have none.
    pub fn attempts(&self, job: JobId, from_task: u32) -> impl Iterator<Item = (TaskId, &Attempt)> {
        let from = TaskId {
            job,
            task: from_task,
            ..TaskId::default()
        };
        let end = TaskId {
            job: JobId(job.0 + 1),
            ..TaskId::default()
        };
        self.tables
            .attempts
            .range(from..end)
            .map(|(id, attempt)| (*id, attempt))
    }

    /// One attempt.
    #[must_use]
    pub fn attempt(&self, id: TaskId) -> Option<&Attempt> {
        self.tables.attempts.get(&id)
    }

    /// A class of jobs.
    #[must_use]
    pub fn class(&self, id: ClassId) -> Option<&Class> {
        self.tables.classes.get(id.0.into())
    }

    /// The request a job stands for.
    #[must_use]
    pub fn request(&self, job: &Job) -> &Arc<crate::types::Request> {
        &self.tables.class(job.class).request
    }

    /// The class of jobs with this request, if there is one.
    #[must_use]
    pub fn class_of(&self, request: &crate::types::Request) -> Option<ClassId> {
        self.index.classes.get(request).copied()
    }

    /// Classes with tasks to place: priority descending, then the oldest job at the head.
    pub fn pending_classes(&self) -> impl Iterator<Item = ClassId> + '_ {
        self.index.order.iter().map(|(_, _, class)| *class)
    }

    /// The same with the priority and the oldest job of each.
    pub fn pending_heads(&self) -> impl Iterator<Item = (i64, JobId, ClassId)> + '_ {
        self.index
            .order
            .iter()
            .map(|(rank, head, class)| (-rank, *head, *class))
    }

    /// How many jobs have tasks to place.
    #[must_use]
    pub fn queued_count(&self) -> usize {
        self.index.queued.len()
    }

    /// Jobs of a class that have tasks to place, oldest first, from `from` on. `Job::placeable` says how many each may have
    /// placed now, `Job::pending_tasks` which.
    pub fn pending_jobs(&self, class: ClassId, from: JobId) -> impl Iterator<Item = (JobId, &Job)> {
        let jobs = self.index.queue(class, from);
        jobs.map(|id| (id, self.tables.jobs.get(id.0).expect("a queued job is in State")))
    }

    /// The oldest job of a class that has tasks to place.
    #[must_use]
    pub fn head_job(&self, class: ClassId) -> Option<JobId> {
        self.index.head(class)
    }

    /// How many jobs of a class have tasks to place.
    #[must_use]
    pub fn pending_jobs_count(&self, class: ClassId) -> usize {
        self.index
            .queue_lengths
            .get(&class)
            .map_or(0, |length| *length as usize)
    }

    /// A site.
    #[must_use]
    pub fn site(&self, id: SiteId) -> Option<&Site> {
        self.tables.sites.get(id.0.into())
    }

    /// A site by its name.
    #[must_use]
    pub fn site_by_name(&self, name: &str) -> Option<&Site> {
        self.site(*self.index.sites.get(name)?)
    }

    /// Sites in order of number.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.tables.sites.iter().map(|(_, site)| site)
    }

    /// A host.
    #[must_use]
    pub fn host(&self, id: HostId) -> Option<&Host> {
        self.tables.hosts.get(id.0.into())
    }

    /// Hosts in order of number.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.tables.hosts.iter().map(|(_, host)| host)
    }

    /// Hosts of a site in order of name.
    pub fn hosts_of(&self, site: SiteId) -> impl Iterator<Item = &Host> {
        let ids = self.index.hosts.get(&site).into_iter().flat_map(|hosts| hosts.values());
        ids.map(|id| self.host(*id).expect("the index names hosts of the table"))
    }

    /// A principal.
    #[must_use]
    pub fn principal(&self, id: PrincipalId) -> Option<&Principal> {
        self.tables.principals.get(id.0.into())
    }

    /// The principal whose token has this digest; revoked ones are not found.
    #[must_use]
    pub fn principal_by_token(&self, token_sha256: &Digest) -> Option<&Principal> {
        self.principal(*self.index.tokens.get(token_sha256)?)
    }

    /// A principal by its name, revoked or not.
    #[must_use]
    pub fn principal_by_name(&self, name: &str) -> Option<&Principal> {
        self.principal(*self.index.principals.get(name)?)
    }

    /// Principals in order of number.
    pub fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.tables.principals.iter().map(|(_, principal)| principal)
    }

    /// All attempts in State, in order.
    pub fn all_attempts(&self) -> impl Iterator<Item = (TaskId, &Attempt)> {
        self.tables.attempts.iter().map(|(id, attempt)| (*id, attempt))
    }

    /// Running attempts of a site, in order.
    pub fn running_at(&self, site: SiteId) -> impl Iterator<Item = TaskId> + '_ {
        self.index.running.get(&site).into_iter().flatten().copied()
    }

    /// How many attempts run at a site.
    #[must_use]
    pub fn running_count(&self, site: SiteId) -> usize {
        self.index.running.get(&site).map_or(0, BTreeSet::len)
    }

    /// What the agent is told of a running attempt; `None` once it has ended.
    #[must_use]
    pub fn assignment(&self, task: TaskId) -> Option<AssignmentView<'_>> {
        let attempt = self.attempt(task).filter(|attempt| attempt.is_running())?;
        let job = self.job(task.job)?;
        let request = self.request(job);
        Some(AssignmentView {
            task,
            spec: &job.spec,
            script: job.spec.script.as_ref().and_then(|digest| self.script(digest)),
            request,
            walltime_ms_max: attempt.walltime_ms_max,
            host: &self.host(attempt.host)?.name,
            gpu_indices: &attempt.gpu_indices,
            others: self.other_hosts(attempt)?,
            requeue_on_site_lost: request.on_site_lost == OnSiteLost::Requeue,
            cancel_requested: attempt.withdrawn || job.progress().cancel_requested,
        })
    }

    /// Everything an agent should be running at a site.
    pub fn assignments(&self, site: SiteId) -> impl Iterator<Item = AssignmentView<'_>> {
        self.running_at(site)
            .map(|task| self.assignment(task).expect("the index names running attempts"))
    }

    /// The text of a script.
    #[must_use]
    pub fn script(&self, digest: &Digest) -> Option<&Arc<[u8]>> {
        self.tables.scripts.get(digest).map(|script| &script.bytes)
    }

    /// Money.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.tables.ledger
    }

    /// Replicated limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.tables.limits
    }

    /// Names and addresses of the replicas, in order of id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.tables.members
    }

    /// The level of apply.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.tables.meta.level
    }

    /// Restores from a backup so far.
    #[must_use]
    pub fn restore_epoch(&self) -> u32 {
        self.tables.meta.restore_epoch
    }

    /// Random, from the start of the cluster.
    #[must_use]
    pub fn cluster_id(&self) -> [u8; 16] {
        self.tables.meta.cluster_id
    }

    /// Index of the last entry applied.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.tables.meta.applied_index
    }

    /// Time of the last entry applied.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.tables.meta.at
    }

    /// SHA-256 chain over the outcomes of every entry: equal applied index, equal digest.
    #[must_use]
    pub fn outcome_digest(&self) -> Digest {
        self.tables.meta.outcome_digest
    }

    /// Rises with whatever may change which sites could ever run a class: sites, hosts, prices, programmes, vouchers.
    #[must_use]
    pub fn rules_version(&self) -> u64 {
        self.tables.meta.rules_version
    }

    /// How many records were given to the archive so far: the last one of an entry has this number less one.
    #[must_use]
    pub fn archived(&self) -> u64 {
        self.tables.meta.archived
    }

    /// Jobs in State.
    #[must_use]
    pub fn jobs_count(&self) -> usize {
        self.tables.jobs.len()
    }

    /// Ended jobs still in State.
    #[must_use]
    pub fn ended_jobs_count(&self) -> usize {
        self.index.ended.len()
    }

    /// Request ids kept.
    #[must_use]
    pub fn requests_count(&self) -> usize {
        self.tables.requests.answers.len()
    }

    /// Tasks that wait to be placed.
    #[must_use]
    pub fn tasks_pending(&self) -> u64 {
        self.index.pending_total
    }

    /// Attempts that run.
    #[must_use]
    pub fn tasks_running(&self) -> u64 {
        self.index.running_total
    }
}
