//! The words the ledger is asked in: ids, money, rates, times, resource classes. Plain values without rules of their own.

use std::fmt;
use std::sync::Arc;

/// A list that is almost always short: up to `N` in place, more on the heap. Bills have a handful of lines and few legs, and most of
/// what a hold cost was asking for memory to write them down in.
pub type Few<T, const N: usize> = smallvec::SmallVec<[T; N]>;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A paying or providing organisation; dense, from 1, given by the ledger.
    OrgId(u32)
);
id!(
    /// A control group: organisations under one actual controller; dense, from 1, given by the ledger to each name of a group.
    GroupId(u32)
);
id!(
    /// A jurisdiction by its GB/T 2260 code, such as 310117.
    RegionCode(u32)
);
id!(
    /// A data centre; given by whoever registers it.
    SiteId(u32)
);
id!(
    /// A voucher programme; dense, from 1, given by the ledger.
    ProgrammeId(u32)
);
id!(
    /// A recognition agreement; dense, from 1, given by the ledger. 0 on a leg says "the issuer's own region".
    AgreementId(u32)
);
id!(
    /// A voucher; dense, from 1, given by the ledger.
    VoucherId(u64)
);
id!(
    /// A hold; dense, from 1, given by the ledger.
    HoldId(u64)
);
id!(
    /// A binding quote; dense, from 1, given by the ledger.
    QuoteId(u64)
);
id!(
    /// A holder's claim; dense, from 1, given by the ledger.
    ClaimId(u64)
);
id!(
    /// An amount of money in fen (1/100 yuan).
    Fen(i64)
);
id!(
    /// An amount in what a programme is denominated in: fen for money, milli-unit-seconds of its class for policy compute (one
    /// unit-hour is [`Grant::UNIT_HOUR`]).
    Grant(i64)
);
id!(
    /// A rate in basis points; 10,000 is the whole.
    BasisPoints(u32)
);
id!(
    /// Milliseconds since 1970-01-01 UTC: the time of the log entry, never a clock's.
    Timestamp(u64)
);

impl Fen {
    /// Nothing.
    pub const ZERO: Fen = Fen(0);
    /// The largest single amount, balance or budget accepted: 1 万亿 yuan.
    pub const MAX: Fen = Fen(100_000_000_000_000);
}

/// An amount of money as people read it.
#[derive(Clone, Copy, Debug)]
pub struct Yuan(pub Fen);

impl fmt::Display for Yuan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0.0 < 0 { "-" } else { "" };
        let fen = self.0.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", fen / 100, fen % 100)
    }
}

impl Grant {
    /// Nothing.
    pub const ZERO: Grant = Grant(0);
    /// The largest face, budget or cap accepted, in either denomination.
    pub const MAX: Grant = Grant(Fen::MAX.0);
    /// One card-hour, core-hour or GiB-hour.
    pub const UNIT_HOUR: Grant = Grant(3_600_000);
}

impl BasisPoints {
    /// All of it.
    pub const WHOLE: BasisPoints = BasisPoints(10_000);
}

impl Timestamp {
    /// Past every date anyone may give; "no end".
    pub const FAR: Timestamp = Timestamp(253_402_300_800_000);
}

/// A priced resource class such as `cpu`, `memory` or `gpu/a800`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sku(Arc<str>);

impl Sku {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Sku {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Sku {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// What is reserved of one resource class: thousandths of a unit (core, GiB, card).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// The class.
    pub sku: Sku,
    /// Thousandths of a unit.
    pub milli_units: u64,
}

/// How the payer wants to pay.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Funding {
    /// The largest subsidy the payer's vouchers give here, the rest from the wallet.
    #[default]
    Auto,
    /// These vouchers and no others, the rest from the wallet; one that cannot pay here is a refusal that names it.
    Vouchers(Vec<VoucherId>),
    /// No voucher.
    WalletOnly,
}

/// Who runs, uniquely and for ever: the natural key of a hold. Opaque to the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldKey {
    /// The job.
    pub job: u64,
    /// The task of the job.
    pub task: u32,
    /// The attempt of the task.
    pub attempt: u32,
}

/// When a change is made, and by which principal; the journal keeps both. A bare [`Timestamp`] stands for the cluster itself (actor 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The log entry's time.
    pub at: Timestamp,
    /// The principal who asked; 0 is the cluster.
    pub actor: u32,
}

impl From<Timestamp> for Stamp {
    fn from(at: Timestamp) -> Self {
        Self { at, actor: 0 }
    }
}
