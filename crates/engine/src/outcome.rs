//! What applying one command gives: an answer for the client and effects for the shell. Effects are never performed here,
//! and any of them may be lost or repeated.

use hesuan_ledger::types::{ClaimId, OrgId, SiteId};

use crate::types::{ClassId, HostId, JobId, TaskId};

/// The result of one command.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer, or the refusal that changed nothing.
    pub reply: Result<Reply, Rejection>,
    /// The command was answered from the request table: nothing changed now.
    pub repeated: bool,
}

/// Answers that are remembered with the request id. Ids only: the service reads the rest from State.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// The job that was queued or cancelled; 0 after a dry run.
    Job(JobId),
    /// A binding quote.
    Quote(u64),
    /// An organisation.
    Org(OrgId),
    /// A site.
    Site(SiteId),
    /// A programme, agreement or principal by its number.
    Number(u32),
    /// The first of a batch of vouchers and how many.
    Vouchers {
        /// Id of the first; the others follow.
        first: u64,
        /// How many.
        count: u32,
    },
    /// A running task got more time.
    Extended {
        /// The element of the job that was asked for.
        task: u32,
        /// Its limit from here on.
        walltime_ms_max: u64,
    },
    /// How many items of a bundle of decisions or reports were taken, and how many refused.
    Counts {
        /// Taken.
        taken: u32,
        /// Refused; each cost only itself.
        refused: u32,
    },
    /// A claim.
    Claim(ClaimId),
}

impl Reply {
    /// As three numbers, for digests and snapshots.
    pub(crate) fn numbers(self) -> (u32, u64, u32) {
        match self {
            Reply::Done => (1, 0, 0),
            Reply::Job(id) => (2, id.0, 0),
            Reply::Quote(id) => (3, id, 0),
            Reply::Org(id) => (4, id.0.into(), 0),
            Reply::Site(id) => (5, id.0.into(), 0),
            Reply::Number(id) => (6, id.into(), 0),
            Reply::Vouchers { first, count } => (7, first, count),
            Reply::Counts { taken, refused } => (8, taken.into(), refused),
            Reply::Extended { task, walltime_ms_max } => (9, walltime_ms_max, task),
            Reply::Claim(id) => (10, id.0, 0),
        }
    }

    /// The reverse of [`Reply::numbers`].
    pub(crate) fn of_numbers(kind: u32, first: u64, second: u32) -> Option<Self> {
        let small = u32::try_from(first);
        Some(match kind {
            1 => Reply::Done,
            2 => Reply::Job(JobId(first)),
            3 => Reply::Quote(first),
            4 => Reply::Org(OrgId(small.ok()?)),
            5 => Reply::Site(SiteId(small.ok()?)),
            6 => Reply::Number(small.ok()?),
            7 => Reply::Vouchers { first, count: second },
            8 => Reply::Counts {
                taken: small.ok()?,
                refused: second,
            },
            9 => Reply::Extended {
                task: second,
                walltime_ms_max: first,
            },
            10 => Reply::Claim(ClaimId(first)),
            _ => return None,
        })
    }
}

/// A refusal: stable code, the field and the figures, one English line. The same on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Stable, SCREAMING_SNAKE.
    pub code: &'static str,
    /// What kind of refusal it is (decides the gRPC status and the exit code).
    pub kind: RejectionKind,
    /// The field of the request that is at fault, as in the proto; empty if none is.
    pub field: Box<str>,
    /// What was given, what is allowed, what to do next: lower case, no full stop at the end.
    pub message: Box<str>,
    /// Per site, for a job that no site could ever run: (site name, code, text).
    pub sites: Vec<(Box<str>, &'static str, Box<str>)>,
    /// What is missing, where it is an amount.
    pub figures: Option<Box<Figures>>,
    /// The nearest option that works, where there is one.
    pub nearest: Option<Box<Nearest>>,
}

/// What a refusal misses: `needed - available` is what is short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// What it would take.
    pub needed: i64,
    /// What there is.
    pub available: i64,
    /// `None` = both are fen; otherwise milli-unit-seconds of this sku.
    pub unit_hours_of: Option<Box<str>>,
}

/// What the caller could ask for instead, or do first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Stable, SCREAMING_SNAKE.
    pub code: &'static str,
    /// For programs: names and what they are.
    pub details: Vec<(&'static str, Box<str>)>,
    /// For people: lower case, no full stop at the end.
    pub text: Box<str>,
}

impl Rejection {
    /// A refusal without a list of sites.
    #[must_use]
    pub fn new(kind: RejectionKind, code: &'static str, field: &str, message: impl Into<Box<str>>) -> Self {
        Self {
            code,
            kind,
            field: field.into(),
            message: message.into(),
            sites: Vec::new(),
            figures: None,
            nearest: None,
        }
    }

    /// The request is malformed or out of range.
    #[must_use]
    pub fn invalid(code: &'static str, field: &str, message: impl Into<Box<str>>) -> Self {
        Self::new(RejectionKind::Invalid, code, field, message)
    }

    /// Something it names does not exist, or may not be seen.
    #[must_use]
    pub fn not_found(code: &'static str, field: &str, message: impl Into<Box<str>>) -> Self {
        Self::new(RejectionKind::NotFound, code, field, message)
    }

    /// The state does not allow it now.
    #[must_use]
    pub fn precondition(code: &'static str, field: &str, message: impl Into<Box<str>>) -> Self {
        Self::new(RejectionKind::Precondition, code, field, message)
    }

    /// The principal may not do this.
    #[must_use]
    pub fn denied(code: &'static str, message: impl Into<Box<str>>) -> Self {
        Self::new(RejectionKind::Denied, code, "", message)
    }
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// The request is malformed or out of range.
    Invalid,
    /// Something it names does not exist (or may not be seen).
    NotFound,
    /// The name is taken, or the request id was used for something else.
    AlreadyExists,
    /// The state does not allow it now.
    Precondition,
    /// The principal may not do this.
    Denied,
    /// Quota, budget, voucher or wallet refuse.
    Funds,
    /// A replicated limit is reached; retry later.
    Exhausted,
    /// No site could ever run it.
    Unsatisfiable,
}

/// What the shell (and the leader's scheduler) should know after a command. Order is the order of the changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A task was placed: the site's agent must be told.
    Assigned {
        /// Where.
        site: SiteId,
        /// The attempt.
        task: TaskId,
    },
    /// A placement is over for the cluster, or is to be cancelled: the agent must be told.
    Withdrawn {
        /// Where.
        site: SiteId,
        /// The attempt.
        task: TaskId,
    },
    /// A running attempt has another time limit: the agent must be told.
    LimitChanged {
        /// Where.
        site: SiteId,
        /// The attempt.
        task: TaskId,
    },
    /// A job changed in a way a watcher would want to see.
    JobChanged(JobId),
    /// New or requeued tasks of a class.
    ClassWoken(ClassId),
    /// A site's machines, state, lease or prices changed: everything about it is worth another look.
    SiteChanged(SiteId),
    /// Capacity of one host was freed (a task ended or was withdrawn). Much cheaper for the scheduler than `SiteChanged`.
    HostChanged(HostId),
    /// Available funds of an org may have grown (top-up, release, voucher, new programme, refund).
    FundsChanged(OrgId),
    /// Rules of money changed for everybody (programme, agreement): every parked class is worth another look.
    RulesChanged,
    /// A decision was judged (taken or refused): the leader drops it from its overlay.
    DecisionJudged {
        /// The job.
        job: JobId,
        /// The element.
        task: u32,
        /// Code of the refusal.
        refused: Option<&'static str>,
    },
    /// A reclaim was judged: strangers have got their notice, or keep their place.
    ReclaimJudged {
        /// The job that needs the place.
        job: JobId,
        /// The element.
        task: u32,
        /// Where.
        host: HostId,
        /// Code of the refusal.
        refused: Option<&'static str>,
    },
    /// A report was taken or refused for good: the agent may forget it.
    ReportJudged {
        /// Where.
        site: SiteId,
        /// The attempt.
        task: TaskId,
        /// Up to this sequence number.
        seq: u32,
    },
    /// Append to the archive: an ended job or journal entries that leave State, encoded, in order.
    Archive(ArchiveRecord),
    /// The policy of scheduling changed: the planner reads it again.
    PolicyChanged,
    /// A member's addresses changed.
    MembersChanged,
    /// Principals changed: caches of tokens are void.
    PrincipalsChanged,
}

/// What leaves State for the archive.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchiveRecord {
    /// An ended job.
    Job {
        /// Which: the archive finds it by this.
        job: JobId,
        /// Encoded `JobRecord`.
        record: Box<[u8]>,
    },
    /// Encoded ledger journal entry.
    Journal(Box<[u8]>),
}
