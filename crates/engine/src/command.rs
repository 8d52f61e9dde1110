//! What a log entry may ask of the state. Names (sites, orgs, programmes) are resolved in apply, so that a command is
//! judged against the state at its place in the log.

use hesuan_ledger::types::{ClaimId, Fen, Grant, RegionCode, Timestamp};

use crate::types::{
    Bounds, Digest, Funding, Gates, HostId, JobId, Nodes, Objective, OnSiteLost, Place, PrincipalId, RequestId,
    Resources, Retries, TaskId, devices_on, places,
};

/// One command of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Who asked; authorised against the state.
    pub principal: PrincipalId,
    /// Client-made id of a mutation; `None` for commands of the cluster and of agents.
    pub request_id: Option<RequestId>,
    /// First 16 bytes of the SHA-256 of the request without its id: the same id with another digest is refused.
    pub digest: [u8; 16],
    /// What is asked.
    pub body: Body,
}

/// The kinds of commands.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Queue a job.
    SubmitJob(SubmitJob),
    /// Hold the funds for a job not yet submitted.
    BindQuote {
        /// The job as it would be submitted.
        job: SubmitJob,
        /// How long the funds are held.
        valid_ms: u64,
    },
    /// Give back what a binding quote holds.
    ReleaseQuote {
        /// Its number.
        quote: u64,
    },
    /// Cancel; idempotent.
    CancelJob {
        /// Which.
        job: JobId,
        /// For the record.
        reason: Box<str>,
    },
    /// More time for a running task.
    ExtendJob {
        /// Which.
        job: JobId,
        /// The element; `None` = the only one that runs.
        task: Option<u32>,
        /// On top of its limit, above 0.
        more_ms: u64,
    },
    /// Money and its rules: handed to the ledger after authorisation.
    Money(MoneyCommand),
    /// A new site.
    CreateSite {
        /// Unique.
        name: Box<str>,
        /// Its jurisdiction.
        region: RegionCode,
        /// The organisation that is credited.
        provider: Box<str>,
    },
    /// Open, cordon or drain.
    SetSiteState {
        /// The site's name.
        site: Box<str>,
        /// The new state.
        state: SiteState,
        /// For the record.
        reason: Box<str>,
    },
    /// Who may use a site, and how much of it.
    SetContract {
        /// The site's name.
        site: Box<str>,
        /// All of it: replaces the one before.
        contract: NewContract,
    },
    /// What an organisation may hold over the whole region at once; replaces the one before.
    SetQuota {
        /// Organisation by name.
        org: Box<str>,
        /// The most.
        most: Bounds,
    },
    /// A principal and the hash of its token.
    CreatePrincipal(NewPrincipal),
    /// Its token is refused from here on.
    RevokePrincipal {
        /// The principal's name.
        name: Box<str>,
    },
    /// Replicated limits.
    SetLimits(LimitsChange),
    /// The policy of scheduling.
    SetPolicy(PolicyChange),
    /// An agent hangs on a replica; its inventory replaces the site's hosts.
    AttachAgent {
        /// The site's name.
        site: Box<str>,
        /// Random per start of the agent.
        instance: u128,
        /// The replica it hangs on.
        replica: u64,
        /// The machines of the site.
        hosts: Vec<HostInventory>,
    },
    /// What the agent says of its tasks.
    Reports(Vec<TaskReport>),
    /// The leader's placements; each judged for itself.
    Decisions(Vec<Decision>),
    /// The leader takes floors back; each judged for itself.
    Reclaims(Vec<Reclaim>),
    /// The leader has not heard of the site for `lost_after_ms`.
    SiteLost {
        /// Which.
        site: hesuan_ledger::types::SiteId,
        /// The instance that was silent; a newer one wins.
        instance: u128,
    },
    /// Bounded housekeeping.
    Tick,
    /// A member's name and addresses, beside the conf change that Raft sees.
    AddMember(Member),
    /// The level of apply from this entry on.
    SetLevel(u32),
}

/// A job as submitted, checked for form by the api crate; names not yet resolved. The default asks for nothing, of no task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubmitJob {
    /// Free text, at most 128 bytes.
    pub name: Box<str>,
    /// The paying organisation; empty = the principal's.
    pub org: Box<str>,
    /// `hesuan.v1.TaskPayload`, encoded: opaque here.
    pub payload: Box<[u8]>,
    /// A script and its digest.
    pub script: Option<(Digest, Box<[u8]>)>,
    /// Of each host.
    pub resources: Resources,
    /// Hosts of one task.
    pub nodes: Nodes,
    /// Wall time one attempt may take.
    pub walltime_ms_max: u64,
    /// Larger first.
    pub priority: i32,
    /// Tasks; 1 for a single job.
    pub tasks: u32,
    /// It was submitted as an array (its tasks are shown with an index even if there is only one).
    pub array: bool,
    /// Tasks at once; 0 = no bound.
    pub parallel_max: u32,
    /// Allowed sites by name; empty = any.
    pub sites: Vec<Box<str>>,
    /// Allowed regions; empty = any.
    pub regions: Vec<RegionCode>,
    /// Further attempts after a failure.
    pub retries_max: u32,
    /// Further attempts after anything else.
    pub retries: Retries,
    /// What happens when the site is lost.
    pub on_site_lost: OnSiteLost,
    /// Whether a cheaper site is waited for; `None` = as the policy says.
    pub objective: Option<Objective>,
    /// Which money.
    pub funding: Funding,
    /// Free key-value pairs, in the order given.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// What must have come before it runs.
    pub gates: Gates,
    /// Jobs it is to run after that have left State, as the replica that took the request found them in its archive.
    pub archived: Vec<ArchivedJob>,
    /// A binding quote to take up.
    pub quote: Option<u64>,
    /// Check everything, queue nothing.
    pub validate_only: bool,
}

/// A job that has left State, as the archive has it. A fact that a replica puts beside a request, as it does the principal: apply
/// cannot look there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedJob {
    /// Which.
    pub job: JobId,
    /// Who paid for it: decides who may name it.
    pub org: Box<str>,
    /// How it ended.
    pub state: crate::state::JobState,
    /// Tasks in all.
    pub tasks: u32,
    /// Of these, ended with code 0.
    pub succeeded: u32,
}

/// Commands that end in the ledger. Names are resolved by apply.
#[derive(Clone, Debug, PartialEq)]
pub enum MoneyCommand {
    /// A new organisation.
    CreateOrg(hesuan_ledger::NewOrg),
    /// Money comes in.
    TopUp {
        /// Organisation by name.
        org: Box<str>,
        /// Above 0.
        amount: Fen,
        /// For the record.
        reference: Box<str>,
    },
    /// Money goes out.
    Withdraw {
        /// Organisation by name.
        org: Box<str>,
        /// Above 0.
        amount: Fen,
        /// For the record.
        reference: Box<str>,
    },
    /// A new version of a site's price sheet.
    SetPrices {
        /// Site by name.
        site: Box<str>,
        /// Sku and milli-fen per unit-hour.
        prices: Vec<(Box<str>, u64)>,
        /// `None` = now.
        effective_from: Option<Timestamp>,
    },
    /// Give back a settled attempt.
    Refund {
        /// The attempt; `restore_epoch` is not read.
        task: TaskId,
        /// `None` = all.
        amount: Option<Fen>,
        /// For the record.
        reason: Box<str>,
    },
    /// A new programme.
    CreateProgramme(hesuan_ledger::NewProgramme),
    /// A new agreement; named sites are resolved here, not by the ledger.
    CreateAgreement {
        /// With `sites` empty.
        agreement: hesuan_ledger::NewAgreement,
        /// Named sites; empty = by region.
        sites: Vec<Box<str>>,
    },
    /// Ends an agreement at an instant not in the past.
    EndAgreement {
        /// Which.
        id: u32,
        /// `None` = now.
        at: Option<Timestamp>,
    },
    /// A batch, all or none.
    IssueVouchers {
        /// Programme by name.
        programme: Box<str>,
        /// Holders by name.
        vouchers: Vec<hesuan_ledger::NewVoucher>,
        /// The amounts are milli-unit-seconds and not fen.
        unit_hours: bool,
    },
    /// Once, by its holder.
    RedeemVoucher {
        /// The voucher's code.
        code: Box<str>,
    },
    /// No new holds until resumed.
    SuspendVoucher {
        /// The voucher's code.
        code: Box<str>,
        /// For the record.
        reason: Box<str>,
    },
    /// Ends a suspension.
    ResumeVoucher {
        /// The voucher's code.
        code: Box<str>,
        /// For the record.
        reason: Box<str>,
    },
    /// For good.
    RevokeVoucher {
        /// The voucher's code.
        code: Box<str>,
        /// For the record.
        reason: Box<str>,
        /// Covers of running segments end too, and what it paid is owed by its holder.
        fraud: bool,
    },
    /// A new registered region or actual controller.
    UpdateOrg {
        /// Organisation by name.
        org: Box<str>,
        /// `None` = as it is.
        region: Option<RegionCode>,
        /// `None` = as it is.
        control_group: Option<Box<str>>,
    },
    /// New terms of a programme.
    ReviseProgramme {
        /// Programme by name.
        programme: Box<str>,
        /// All of them.
        terms: Box<hesuan_ledger::Terms>,
        /// `None` = now.
        effective_from: Option<Timestamp>,
        /// The cover of what is held under earlier terms ends then too.
        immediate: bool,
        /// The amounts are milli-unit-seconds and not fen.
        unit_hours: bool,
    },
    /// A new budget, not below what is committed.
    SetBudget {
        /// Programme by name.
        programme: Box<str>,
        /// In the programme's denomination.
        budget: Grant,
        /// The amounts are milli-unit-seconds and not fen.
        unit_hours: bool,
    },
    /// Closing the books and paying what they say.
    Closing(ClosingCommand),
}

/// Commands of closing: periods, settlements, claims, and the money that goes in and out for them.
#[derive(Clone, Debug, PartialEq)]
pub enum ClosingCommand {
    /// A funder paid.
    PayIn {
        /// Programme by name.
        programme: Box<str>,
        /// Funder by name.
        funder: Box<str>,
        /// Above 0.
        amount: Fen,
        /// For the record.
        reference: Box<str>,
    },
    /// Money goes back to the funders.
    RepayFund {
        /// Programme by name.
        programme: Box<str>,
        /// Above 0.
        amount: Fen,
        /// For the record.
        reference: Box<str>,
    },
    /// An organisation paid what it owes.
    Collect {
        /// Organisation by name.
        org: Box<str>,
        /// Above 0.
        amount: Fen,
        /// For the record.
        reference: Box<str>,
    },
    /// The current accounting period ends now.
    EndPeriod,
    /// A period that has ended is closed for good.
    ClosePeriod {
        /// Which.
        period: u32,
    },
    /// A provider's settlement of a closed period is found right.
    ReviewSettlement {
        /// Of which period.
        period: u32,
        /// Organisation by name.
        provider: Box<str>,
    },
    /// A reviewed settlement is paid.
    PaySettlement {
        /// Of which period.
        period: u32,
        /// Organisation by name.
        provider: Box<str>,
        /// For the record.
        reference: Box<str>,
    },
    /// A holder asks for subsidies that it advanced.
    FileClaim {
        /// Organisation by name; empty = the principal's.
        org: Box<str>,
        /// Programme by name.
        programme: Box<str>,
        /// `None` = all that may be claimed.
        amount: Option<Fen>,
    },
    /// A claim is approved or rejected.
    ReviewClaim {
        /// Which.
        claim: ClaimId,
        /// Or rejected.
        approve: bool,
        /// For the record.
        reason: Box<str>,
    },
    /// An approved claim is paid.
    PayClaim {
        /// Which.
        claim: ClaimId,
        /// For the record.
        reference: Box<str>,
    },
}

/// What an operator says of his site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SiteState {
    /// Takes work.
    #[default]
    Open,
    /// Takes no new work.
    Cordoned,
    /// Takes no new work and what runs is withdrawn and requeued.
    Draining,
}

/// An operator's contract to be; see [`crate::state::Contract`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewContract {
    /// The site's own users by name.
    pub own: Vec<Box<str>>,
    /// What they get together, after a notice; no bound on tasks.
    pub floor: Bounds,
    /// What strangers may hold together; no bound on tasks.
    pub lend_limit: Bounds,
    /// Strangers that may come, by name; empty = all.
    pub accepted: Vec<Box<str>>,
    /// How long a stranger's task still runs after it was told that its place is needed.
    pub notice_ms: u64,
}

/// Rights; one table of method x role decides (see `state::access`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything about the cluster; not money.
    Admin,
    /// One site.
    Operator,
    /// One org.
    Member,
    /// One region's programmes.
    Issuer,
    /// Whatever is paid or given back.
    Treasurer,
    /// Reads everything.
    Auditor,
    /// The agent of one site.
    Node,
    /// Closes periods, reviews settlements and claims; in one region, or in all.
    Reviewer,
}

/// A principal to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPrincipal {
    /// Unique.
    pub name: Box<str>,
    /// Not empty.
    pub roles: Vec<Role>,
    /// For [`Role::Member`].
    pub org: Option<Box<str>>,
    /// For [`Role::Operator`] and [`Role::Node`].
    pub site: Option<Box<str>>,
    /// For [`Role::Issuer`], and for a [`Role::Reviewer`] of one region.
    pub region: Option<RegionCode>,
    /// SHA-256 of the token.
    pub token_sha256: Digest,
}

/// `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsChange {
    /// How long request ids are kept.
    pub request_window_ms: Option<u64>,
    /// How many request ids are kept.
    pub requests_max: Option<u64>,
    /// How long ended jobs stay in State.
    pub ended_job_keep_ms: Option<u64>,
    /// How many ended jobs stay in State.
    pub ended_jobs_max: Option<u64>,
    /// How many jobs may be in State.
    pub jobs_max: Option<u64>,
    /// Silence after which the leader declares a site lost.
    pub lost_after_ms: Option<u64>,
    /// The site's lease.
    pub lease_ttl_ms: Option<u64>,
    /// One script.
    pub script_bytes_max: Option<u64>,
    /// All scripts.
    pub scripts_bytes_max_total: Option<u64>,
    /// One attempt.
    pub walltime_ms_max: Option<u64>,
    /// How long a lost site's held attempts keep their hold.
    pub settlement_grace_ms: Option<u64>,
}

/// `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// Whether jobs that do not say wait for a cheaper site.
    pub objective: Option<Objective>,
    /// Whether orgs go before each other by what they have used, weighed; if not, only by their jobs' turns.
    pub fair_share: Option<bool>,
    /// After so long half of what an org has used is forgotten.
    pub half_life_ms: Option<u64>,
    /// What runs counts as if it had run so much longer, so that a burst counts as soon as it is placed.
    pub charge_ahead_ms: Option<u64>,
    /// The first in turn of an org that has waited so long is looked at whatever its org has used.
    pub aged_after_ms: Option<u64>,
    /// How many times its expected run time a job's turn is put off. Turns that were given are kept.
    pub patience: Option<u32>,
    /// The most that a turn is put off.
    pub put_off_ms_max: Option<u64>,
    /// Orgs by name, and their weights in thousandths: an org of twice the weight may use twice as much.
    pub weights: Vec<(Box<str>, u32)>,
}

/// A machine as its agent describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInventory {
    /// Unique in the site.
    pub name: Box<str>,
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Mebibytes.
    pub memory_mib: u64,
    /// One entry a device; the index is its place.
    pub gpus: Vec<Box<str>>,
    /// Named generic resources.
    pub generic: Vec<(Box<str>, u64)>,
}

/// One line of an agent's reports; a later `seq` replaces an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskReport {
    /// The attempt.
    pub task: TaskId,
    /// From 1, rising.
    pub seq: u32,
    /// What happened.
    pub event: TaskEvent,
}

/// What an agent reports.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskEvent {
    /// It runs.
    Started,
    /// It is over.
    Ended(TaskEnd),
}

/// How an attempt ended, with cumulative usage.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEnd {
    /// Which way.
    pub kind: EndKind,
    /// Wall time by the agent; billed up to the log-time interval and the limit.
    pub wall_ms: u64,
    /// By the kernel; shown only.
    pub cpu_ms: u64,
    /// By the kernel; shown only.
    pub memory_peak_mib: u64,
    /// Text of the agent, at most 256 bytes.
    pub message: Box<str>,
}

/// The ways an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// By itself, with a code.
    Exited(i32),
    /// By a signal of its own.
    Signalled(u32),
    /// Stopped at its time limit.
    TimeLimit,
    /// Stopped because it was cancelled or withdrawn.
    Cancelled,
    /// Never ran.
    StartFailed {
        /// The job's own mistake (no such command).
        by_user: bool,
    },
    /// Unprovable after a crash, or its watcher died: the site's fault.
    Lost,
    /// Killed for memory.
    MemoryLimit,
    /// Stopped because the site's lease ended.
    LeaseExpired,
}

/// Place this task on this host; a gang on all of these, or on none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The job.
    pub job: JobId,
    /// The element.
    pub task: u32,
    /// Where.
    pub host: HostId,
    /// Which devices, sorted; as many as the request needs.
    pub gpu_indices: Vec<u32>,
    /// The further hosts of a gang, by rank from 1; the ids of all hosts rise with the rank.
    pub others: Vec<Place>,
}

impl Decision {
    /// All its hosts with the devices there, by rank.
    pub fn places(&self) -> impl Iterator<Item = (HostId, &[u32])> {
        places(self.host, &self.gpu_indices, &self.others)
    }

    /// The devices it takes on a host; none on a host that is not one of its own.
    #[must_use]
    pub fn devices_on(&self, host: HostId) -> &[u32] {
        devices_on(host, self.places())
    }
}

/// Strangers on one host give their place up to a task of the site's own users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaim {
    /// The job that needs the place.
    pub job: JobId,
    /// The element.
    pub task: u32,
    /// Where.
    pub host: HostId,
    /// Attempts that run there, sorted; no more than it takes.
    pub victims: Vec<TaskId>,
}

/// A member of the Raft group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Never reused.
    pub id: u64,
    /// Unique.
    pub name: Box<str>,
    /// host:port for peers.
    pub peer_address: Box<str>,
    /// host:port for clients.
    pub client_address: Box<str>,
}
