//! Jobs, their attempts and their classes as records. No rules: those are in the files of the commands.

use std::collections::BTreeSet;
use std::sync::Arc;

use hesuan_ledger::Leg;
use hesuan_ledger::types::{Fen, HoldId, SiteId, Timestamp};

use super::after::Unmet;
use super::gates::Waits;
use super::reclaim::Reclaimed;
use crate::types::{ClassId, Digest, Gates, HostId, Place, PrincipalId, Request, Retries, devices_on, places};

/// Where a job stands; an attempt uses the same words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    /// No task is placed.
    #[default]
    Pending,
    /// At least one task is placed.
    Running,
    /// Every task ended with code 0.
    Succeeded,
    /// A task failed and had no attempt left.
    Failed,
    /// By its user.
    Cancelled,
    /// A task ran into its time limit.
    TimeLimit,
    /// A task was lost by its site and may not be placed again.
    Lost,
    /// A task could not be placed any more in time to end by the job's `done by`.
    Deadline,
    /// Of an attempt: its place was taken back by the own users of its site. The task is placed again.
    Preempted,
}

impl JobState {
    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_ended(self) -> bool {
        !matches!(self, JobState::Pending | JobState::Running)
    }
}

/// What a job was submitted with and what never changes. Shared, so that copying a page of jobs copies pointers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Free text.
    pub name: Box<str>,
    /// `hesuan.v1.TaskPayload`, encoded: opaque here.
    pub payload: Box<[u8]>,
    /// Digest of the script in State, if any.
    pub script: Option<Digest>,
    /// Tasks; 1 for a single job.
    pub tasks: u32,
    /// Submitted as an array.
    pub array: bool,
    /// Tasks at once; 0 = no bound.
    pub parallel_max: u32,
    /// Further attempts after a failure.
    pub retries_max: u32,
    /// Further attempts after anything else.
    pub retries: Retries,
    /// Free key-value pairs, in the order given.
    pub labels: Box<[Label]>,
    /// What must have come before it runs; see [`Spec::gates`].
    pub(super) gates: Option<Box<Gates>>,
}

static NO_GATES: Gates = Gates::NONE;

impl Spec {
    /// What must have come before it runs, as submitted.
    #[must_use]
    pub fn gates(&self) -> &Gates {
        self.gates.as_deref().unwrap_or(&NO_GATES)
    }
}

/// A key and its value.
pub type Label = (Box<str>, Box<str>);

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What was submitted.
    pub spec: Arc<Spec>,
    /// Its request (see [`Class`]).
    pub class: ClassId,
    /// Who submitted it.
    pub submitter: PrincipalId,
    /// When.
    pub submitted_at: Timestamp,
    /// `None` until the first placement or cancellation, so that a waiting job stays small.
    pub(super) progress: Option<Box<Progress>>,
    /// Its gates that are still closed; `None` when all are open, as of most jobs.
    pub(super) waits: Option<Box<Waits>>,
}

/// What has happened to the tasks of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Tasks from here on were never placed and are pending.
    pub fresh_from: u32,
    /// Pending tasks below `fresh_from`: requeued, or passed over.
    pub returned: BTreeSet<u32>,
    /// Placed and not ended.
    pub running: u32,
    /// Ended with code 0.
    pub succeeded: u32,
    /// Ended without an attempt left.
    pub failed: u32,
    /// Cancelled, pending ones included.
    pub cancelled: u32,
    /// Stopped at the time limit.
    pub time_limit: u32,
    /// Lost for good.
    pub lost: u32,
    /// Given up while pending, because they could not have ended by the job's `done by`.
    pub deadline: u32,
    /// Why tasks were given up, if it was for a job they were to run after. They count as cancelled.
    pub unmet: Option<Unmet>,
    /// A cancel was accepted.
    pub cancel_requested: bool,
    /// When the last task ended.
    pub ended_at: Option<Timestamp>,
    /// Code of the last task that ended by itself.
    pub exit_code: i32,
    /// Settled so far, list price.
    pub gross: Fen,
    /// Settled so far, paid by vouchers.
    pub subsidy: Fen,
    /// Settled so far, paid by the org.
    pub copay: Fen,
    /// Attempts that were already given to the archive; the job follows when it is the last.
    pub archived_parts: u32,
}

impl Progress {
    pub(super) const NONE: Progress = Progress {
        fresh_from: 0,
        returned: BTreeSet::new(),
        running: 0,
        succeeded: 0,
        failed: 0,
        cancelled: 0,
        time_limit: 0,
        lost: 0,
        deadline: 0,
        unmet: None,
        cancel_requested: false,
        ended_at: None,
        exit_code: 0,
        gross: Fen::ZERO,
        subsidy: Fen::ZERO,
        copay: Fen::ZERO,
        archived_parts: 0,
    };

    /// Tasks that ended for good.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.succeeded + self.failed + self.cancelled + self.time_limit + self.lost + self.deadline
    }
}

static NO_PROGRESS: Progress = Progress::NONE;

impl Job {
    /// What has happened so far.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        self.progress.as_deref().unwrap_or(&NO_PROGRESS)
    }

    pub(super) fn progress_mut(&mut self) -> &mut Progress {
        self.progress.get_or_insert_with(|| Box::new(Progress::NONE))
    }

    /// Tasks waiting to be placed.
    #[must_use]
    pub fn pending(&self) -> u32 {
        let progress = self.progress();
        self.spec.tasks - progress.running - progress.ended()
    }

    /// Where it stands. An ended array shows its worst task, in the order of the exit codes.
    #[must_use]
    pub fn state(&self) -> JobState {
        let progress = self.progress();
        if progress.ended() < self.spec.tasks {
            return if progress.running > 0 {
                JobState::Running
            } else {
                JobState::Pending
            };
        }
        let worst_first = [
            (progress.deadline, JobState::Deadline),
            (progress.lost, JobState::Lost),
            (progress.time_limit, JobState::TimeLimit),
            (progress.cancelled, JobState::Cancelled),
            (progress.failed, JobState::Failed),
        ];
        worst_first
            .into_iter()
            .find(|(count, _)| *count > 0)
            .map_or(JobState::Succeeded, |(_, state)| state)
    }

    /// The gates that are still closed.
    #[must_use]
    pub fn waits(&self) -> Option<&Waits> {
        self.waits.as_deref()
    }

    /// How many tasks may be placed now: the pending ones, within `parallel_max`, none behind a closed gate or once a cancel was
    /// accepted.
    #[must_use]
    pub fn placeable(&self) -> u32 {
        let progress = self.progress();
        let held = match &self.waits {
            None => 0,
            Some(waits) if waits.close_all() => return 0,
            Some(waits) => waits.held,
        };
        if progress.cancel_requested {
            return 0;
        }
        let free = self.pending().saturating_sub(held);
        match self.spec.parallel_max {
            0 => free,
            max => free.min(max.saturating_sub(progress.running)),
        }
    }

    /// Takes all pending tasks out, and says how many; whoever calls it counts them as something else.
    pub(super) fn give_up_pending(&mut self) -> u32 {
        let (pending, tasks) = (self.pending(), self.spec.tasks);
        self.waits = None;
        let progress = self.progress_mut();
        progress.fresh_from = tasks;
        progress.returned.clear();
        pending
    }

    /// Pending tasks from `from` on, in order; `parallel_max` is not looked at.
    pub fn pending_tasks(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        let progress = self.progress();
        let fresh = progress.fresh_from.max(from)..self.spec.tasks;
        let end = if progress.cancel_requested { 0 } else { u32::MAX };
        progress
            .returned
            .range(from..)
            .copied()
            .chain(fresh)
            .take_while(move |task| *task < end)
    }

    /// Whether this task waits to be placed.
    #[must_use]
    pub fn is_pending(&self, task: u32) -> bool {
        let progress = self.progress();
        !progress.cancel_requested
            && task < self.spec.tasks
            && (task >= progress.fresh_from || progress.returned.contains(&task))
    }
}

/// One placement of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Where.
    pub site: SiteId,
    /// On which machine.
    pub host: HostId,
    /// On which of its devices, sorted.
    pub gpu_indices: Box<[u32]>,
    /// The further hosts of a gang, by rank from 1.
    pub others: Box<[Place]>,
    /// When the capacity was reserved.
    pub placed_at: Timestamp,
    /// When the agent said it runs.
    pub started_at: Option<Timestamp>,
    /// The money held for it; ends with the attempt.
    pub hold: HoldId,
    /// Wall time it may take and is billed for at most. Begins as the job's and changes with the hold's.
    pub walltime_ms_max: u64,
    /// Of the last report taken.
    pub seq: u32,
    /// The site is being drained: the agent is to stop it, and it is requeued unbilled.
    pub withdrawn: bool,
    /// It is to give its place up to a task of the site's own users.
    pub reclaimed: Option<Reclaimed>,
    /// `None` while it runs (or is believed to).
    pub ended: Option<Box<Ended>>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// When, by the log.
    pub at: Timestamp,
    /// Never `Pending` or `Running`.
    pub state: JobState,
    /// Of the process.
    pub exit_code: i32,
    /// Of the process; 0 = none.
    pub signal: u32,
    /// Billed.
    pub wall_ms: u64,
    /// By the kernel; shown only.
    pub cpu_ms: u64,
    /// By the kernel; shown only.
    pub memory_peak_mib: u64,
    /// Text of the agent or of the cluster.
    pub message: Box<str>,
    /// What it cost; `None` if nothing was billed.
    pub receipt: Option<Receipt>,
    /// Given back since.
    pub refunded: Fen,
    /// Its agent could not run it or lost it; a task is placed again only so often after that.
    pub agent_fault: bool,
    /// Its site was lost with it, and it was requeued or may not be.
    pub site_lost: bool,
}

/// Why an attempt ended, as far as it decides whether there is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The program failed.
    Failure,
    /// Stopped at its time limit.
    TimeLimit,
    /// With its site.
    SiteLost,
    /// By its agent.
    AgentFault,
}

impl Ended {
    /// `None` for an end that is not counted.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self.state {
            JobState::Failed => Some(Cause::Failure),
            JobState::TimeLimit => Some(Cause::TimeLimit),
            JobState::Lost if self.agent_fault => Some(Cause::AgentFault),
            JobState::Lost if self.site_lost => Some(Cause::SiteLost),
            _ => None,
        }
    }
}

impl Spec {
    /// Further attempts of a task after this; `None` = any number.
    pub(super) fn retries_after(&self, cause: Cause) -> Option<u32> {
        match cause {
            Cause::Failure => Some(self.retries_max),
            Cause::TimeLimit => Some(self.retries.time_limit),
            Cause::SiteLost => self.retries.site_lost,
            Cause::AgentFault => Some(self.retries.agent_fault),
        }
    }
}

/// What an attempt cost and who paid: `gross = legs + copay`. The ledger keeps the whole receipt for its settlement window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// List price.
    pub gross: Fen,
    /// What each voucher paid.
    pub legs: Box<[Leg]>,
    /// What remained for the payer.
    pub copay: Fen,
}

impl Receipt {
    /// What vouchers paid.
    #[must_use]
    pub fn subsidy(&self) -> Fen {
        Fen(self.gross.0 - self.copay.0)
    }
}

impl Attempt {
    /// All its hosts with the devices there, by rank: what it holds of capacity.
    pub fn places(&self) -> impl Iterator<Item = (HostId, &[u32])> {
        places(self.host, &self.gpu_indices, &self.others)
    }

    /// The devices it has on a host; none on a host that is not one of its own.
    #[must_use]
    pub fn devices_on(&self, host: HostId) -> &[u32] {
        devices_on(host, self.places())
    }

    /// Whether it holds capacity and money.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// Its word in the API.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.ended.as_ref().map_or(JobState::Running, |ended| ended.state)
    }
}

/// Jobs with equal requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// What they all ask for.
    pub request: Arc<Request>,
    /// Jobs of this class in State, ended ones included; the class goes with the last.
    pub jobs: u32,
    /// The last verdict at submit (see `state::submit`).
    pub(super) satisfiable: Option<Satisfiable>,
}

/// Some site could run the class under this version of the rules, and it costs at most this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Satisfiable {
    pub(super) rules_version: u64,
    pub(super) gross: Fen,
}

/// A script, stored once for all jobs that name it.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The text.
    pub bytes: Arc<[u8]>,
    /// Jobs in State that name it; it goes with the last.
    pub jobs: u32,
}
