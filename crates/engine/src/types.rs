//! The words of the scheduler: ids, resources, requests. Units are in the names.

pub use crate::held::{Bounds, Held, Measure, Over};
pub use hesuan_ledger::types::{Fen, OrgId, RegionCode, SiteId, Timestamp};
use std::num::NonZeroU32;

/// A job, dense and never reused (`4711`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A host of a site, dense over the whole cluster and never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// Jobs with equal requests: everything that filter, score, price and order read, the payer included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

/// Who asked. 0 is the cluster itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalId(pub u32);

impl PrincipalId {
    /// The leader of the cluster, for commands that no person sent.
    pub const CLUSTER: PrincipalId = PrincipalId(0);
}

/// A client's UUIDv7; its first 48 bits are milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

impl RequestId {
    /// The instant the client made it, by its own clock.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        Timestamp((self.0 >> 80) as u64)
    }
}

/// One placement of one task; `attempt` (from 1) fences old reports, `restore_epoch` those from before a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// Element of the array; 0 for a single job.
    pub task: u32,
    /// Counts placements of this task from 1.
    pub attempt: u32,
    /// Rises by one with each restore from a backup.
    pub restore_epoch: u32,
}

/// How many hosts one task runs on, each with the whole of its resources. A task on more than one is a gang: its hosts are of one
/// site, all different, and are placed, billed and ended together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nodes(NonZeroU32);

impl Nodes {
    /// A task on one host.
    pub const ONE: Nodes = Nodes(NonZeroU32::MIN);
    /// The widest gang.
    pub const MAX: u32 = 1_024;

    /// `None` for 0.
    #[must_use]
    pub fn new(count: u32) -> Option<Nodes> {
        NonZeroU32::new(count).map(Nodes)
    }

    /// At least 1.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0.get()
    }

    /// More than one.
    #[must_use]
    pub fn is_gang(self) -> bool {
        self != Nodes::ONE
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes::ONE
    }
}

/// The hosts of a task with its devices there, by rank: the first, and the further ones of a gang.
pub(crate) fn places<'a>(
    host: HostId,
    gpu_indices: &'a [u32],
    others: &'a [Place],
) -> impl Iterator<Item = (HostId, &'a [u32])> {
    let others = others.iter().map(|place| (place.host, &*place.gpu_indices));
    std::iter::once((host, gpu_indices)).chain(others)
}

/// The devices at one of such places; none on a host that is not among them.
pub(crate) fn devices_on<'a>(host: HostId, mut places: impl Iterator<Item = (HostId, &'a [u32])>) -> &'a [u32] {
    places.find(|(own, _)| *own == host).map_or(&[], |(_, devices)| devices)
}

/// A host and the devices there that one node of a task has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The machine.
    pub host: HostId,
    /// Devices of it, sorted.
    pub gpu_indices: Box<[u32]>,
}

/// What one task asks of each of its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Mebibytes.
    pub memory_mib: u64,
    /// Thousandths of GPUs: below 1000 a share of one device, otherwise a multiple of 1000.
    pub gpu_milli: u64,
    /// Accepted models, sorted; empty = any.
    pub gpu_models: Vec<Box<str>>,
    /// Named generic resources, sorted by name, amounts above 0.
    pub generic: Vec<(Box<str>, u64)>,
}

/// How the payer wants to pay.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Funding {
    /// Vouchers to use; empty = chosen automatically.
    pub vouchers: Vec<u64>,
    /// Use no voucher.
    pub wallet_only: bool,
    /// Refuse placements where the co-pay held would be above this.
    pub copay_max: Option<Fen>,
    /// Be placed also where a cap or a budget lets vouchers pay less than their rates say.
    pub allow_partial: bool,
}

/// What happens to a running task when its site is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnSiteLost {
    /// Wait for the site.
    #[default]
    Hold,
    /// Place it again elsewhere; it runs only under the site's lease.
    Requeue,
}

/// Where a job goes when sites differ in price and in when they have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Objective {
    /// To the cheapest of those with room now; a cheaper one that is full is not waited for.
    #[default]
    Soonest,
    /// To the cheapest, however long it is full.
    Cheapest,
    /// To a cheaper one that is full, if the wait is a smaller part of the run time than the saving is of the price.
    Balanced,
}

/// What must have come before a job's tasks may be placed. These are the job's own and not part of its request: a job behind a
/// closed gate is simply not there for the scheduler, and its class knows nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// No task is placed before this.
    pub not_before: Option<Timestamp>,
    /// A task that would not end by this, were it to take all its time, is not placed any more.
    pub done_by: Option<Timestamp>,
    /// Other jobs that have to end first, each named once.
    pub after: Vec<Dependency>,
}

impl Gates {
    /// None at all.
    pub const NONE: Gates = Gates {
        not_before: None,
        done_by: None,
        after: Vec::new(),
    };

    /// The last instant at which a task that takes so long may be placed.
    #[must_use]
    pub fn latest_start(&self, walltime_ms_max: u64) -> Option<Timestamp> {
        Some(Timestamp(self.done_by?.0.saturating_sub(walltime_ms_max)))
    }
}

/// How often a task is placed again by why an attempt of it ended, beside its retries after failures. A site that is emptied by its
/// operator always gives its tasks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// It ran into its time limit. Each attempt is paid.
    pub time_limit: u32,
    /// Its site was lost and it may be requeued; `None` = as often as it takes.
    pub site_lost: Option<u32>,
    /// Its agent could not start it, or lost it.
    pub agent_fault: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            time_limit: 0,
            site_lost: None,
            agent_fault: 3,
        }
    }
}

/// A job that has to end before another runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Which; submitted before.
    pub job: JobId,
    /// How it has to end.
    pub after: After,
    /// Each task of the array waits for the task of the same number only.
    pub per_element: bool,
}

/// How a job has to end for another to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Well: every task with code 0.
    Ok,
    /// In any way.
    Any,
    /// In any other way than well.
    NotOk,
}

/// Everything that filter, score, price and order read. Jobs with equal requests are one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Who pays.
    pub org: OrgId,
    /// Larger first.
    pub priority: i32,
    /// Of each host.
    pub resources: Resources,
    /// Hosts of one task.
    pub nodes: Nodes,
    /// Wall time one attempt may take.
    pub walltime_ms_max: u64,
    /// Allowed sites, sorted; empty = any.
    pub sites: Vec<SiteId>,
    /// Allowed regions, sorted; empty = any.
    pub regions: Vec<RegionCode>,
    /// Which money.
    pub funding: Funding,
    /// Decides whether it may be placed under a lease only.
    pub on_site_lost: OnSiteLost,
    /// Whether a cheaper site is waited for; `None` = as the policy says.
    pub objective: Option<Objective>,
    /// The binding quote taken up: while it lives, it pays.
    pub quote: Option<u64>,
    /// The most that one attempt may hold in the wallet where vouchers were to help and the payer set no bound: what it was
    /// quoted when it was submitted. So a job whose vouchers end while it waits does not start at full price unasked.
    pub wallet_max: Option<Fen>,
}

/// SHA-256 of a script.
pub type Digest = [u8; 32];
