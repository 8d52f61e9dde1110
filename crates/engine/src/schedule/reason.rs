//! Why a site does not take a task now: a stable code, the figures, one English line. Filters give these; explain, quote
//! and the refusal at submit show them.

use std::fmt;

use crate::instant::Utc;
use crate::types::{Dependency, Fen, Measure, Over, RegionCode, Timestamp};

/// What one site says to one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It would be placed here now.
    Fits,
    /// What is missing may come by itself: capacity, the site, its turn.
    Wait,
    /// Somebody must change something first.
    No,
}

impl Verdict {
    /// As shown to users.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fits => "FITS",
            Self::Wait => "WAIT",
            Self::No => "NO",
        }
    }

    /// Of all reasons together: the worst.
    #[must_use]
    pub fn of(reasons: &[Reason]) -> Self {
        reasons.iter().map(Reason::verdict).max().unwrap_or(Self::Fits)
    }
}

/// One blocking reason with its figures. cpu in thousandths of cores, memory in MiB, GPUs in thousandths of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The job names other sites.
    SiteNotAllowed,
    /// The job names other regions.
    RegionNotAllowed {
        /// The site's.
        region: RegionCode,
    },
    /// Its operator lends to others only.
    OrgNotAccepted,
    /// Strangers hold there what its operator lends.
    LendLimit(Over),
    /// Strangers there have got notice to give their place up to it.
    ReclaimUnderWay {
        /// When the notice is over.
        within_ms: u64,
    },
    /// The payer holds what it may hold over the whole region.
    Quota(Over),
    /// Its operator takes no new work.
    SiteCordoned,
    /// Its operator empties it.
    SiteDraining,
    /// The leader declared it lost.
    SiteLost,
    /// It has no lease now: silent, but not declared lost yet.
    SiteDown,
    /// No agent ever attached, or it has no machines online.
    NoHosts,
    /// Even empty, no host is large enough.
    NeverFits {
        /// Which resource decides (`cpu`, `memory`, `gpu`, a name), or `host` if only the combination is too large.
        resource: Box<str>,
        /// Asked for.
        need: u64,
        /// The most that one host has in total.
        largest: u64,
    },
    /// Hosts are large enough, but not as many as the gang needs.
    GangTooWide {
        /// Asked for.
        need: u32,
        /// The most that are large enough, with devices of one model.
        hosts: u32,
    },
    /// No host has devices of an accepted model.
    GpuModel {
        /// Accepted.
        wanted: Vec<Box<str>>,
        /// What the site has.
        present: Vec<Box<str>>,
    },
    /// No host has enough cores free.
    CapacityCpu {
        /// Asked for.
        need: u64,
        /// The most free on one host.
        free: u64,
    },
    /// No host has enough memory free.
    CapacityMemory {
        /// Asked for.
        need: u64,
        /// The most free on one host.
        free: u64,
    },
    /// No host has enough devices (or enough of one device) free.
    CapacityGpu {
        /// Asked for.
        need: u64,
        /// The most that could be had on one host.
        free: u64,
    },
    /// No host has enough of a named resource free.
    CapacityGeneric {
        /// The resource.
        name: Box<str>,
        /// Asked for.
        need: u64,
        /// The most free on one host.
        free: u64,
    },
    /// Each resource is free on some host, but never all on the same one.
    CapacityHost,
    /// Hosts have room, but not as many at once as the gang needs.
    CapacityNodes {
        /// Asked for.
        need: u32,
        /// The most that have room now, with devices of one model.
        free: u32,
    },
    /// The room that is free is kept for a job that comes before it and waits for more.
    CapacityPromised {
        /// How soon that one starts at the latest, if nothing overruns its limit.
        within_ms: u64,
    },
    /// The site has no price for something that is always paid.
    NoPrice {
        /// The resource class.
        sku: Box<str>,
    },
    /// The ledger refuses: funds, vouchers, budgets, the bound on the co-pay.
    Money {
        /// The ledger's code.
        code: &'static str,
        /// The ledger's line.
        text: Box<str>,
        /// What could end it by itself: money of the payer that is held for running work.
        held: Fen,
    },
    /// The array runs as many tasks at once as it may.
    ArrayParallelMax {
        /// Running or about to.
        running: u32,
        /// The bound.
        max: u32,
    },
    /// It asks not to be placed before a time.
    NotBefore {
        /// That time.
        at: Timestamp,
    },
    /// It runs after another job, which has not ended.
    Dependency {
        /// Which, and how it has to end.
        on: Dependency,
        /// How many tasks wait for theirs of it; `None` = all for the whole of it.
        elements: Option<u32>,
    },
    /// It could not end any more by the time it asks to be done by; it is about to be given up.
    DoneBy {
        /// That time.
        at: Timestamp,
    },
    /// It would fit here now; by its objective it waits for a cheaper site that is full.
    CheaperSite,
    /// The decision to place it is being replicated.
    InFlight,
    /// It would fit here now; others come first.
    AheadInQueue {
        /// Pending jobs before it.
        ahead: u64,
    },
}

impl Reason {
    /// Stable, SCREAMING_SNAKE.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::SiteNotAllowed => "SITE_NOT_ALLOWED",
            Self::RegionNotAllowed { .. } => "REGION_NOT_ALLOWED",
            Self::OrgNotAccepted => "ORG_NOT_ACCEPTED",
            Self::LendLimit(_) => "LEND_LIMIT",
            Self::ReclaimUnderWay { .. } => "RECLAIM_UNDER_WAY",
            Self::Quota(over) => match over.measure {
                Measure::Cpu => "QUOTA_CPU",
                Measure::Memory => "QUOTA_MEMORY",
                Measure::Gpu => "QUOTA_GPU",
                Measure::Tasks => "QUOTA_TASKS",
            },
            Self::SiteCordoned => "SITE_CORDONED",
            Self::SiteDraining => "SITE_DRAINING",
            Self::SiteLost => "SITE_LOST",
            Self::SiteDown => "SITE_DOWN",
            Self::NoHosts => "NO_HOSTS",
            Self::NeverFits { .. } => "NEVER_FITS",
            Self::GangTooWide { .. } => "GANG_TOO_WIDE",
            Self::GpuModel { .. } => "GPU_MODEL",
            Self::CapacityCpu { .. } => "CAPACITY_CPU",
            Self::CapacityMemory { .. } => "CAPACITY_MEMORY",
            Self::CapacityGpu { .. } => "CAPACITY_GPU",
            Self::CapacityGeneric { .. } => "CAPACITY_GENERIC",
            Self::CapacityHost => "CAPACITY_HOST",
            Self::CapacityNodes { .. } => "CAPACITY_NODES",
            Self::CapacityPromised { .. } => "CAPACITY_PROMISED",
            Self::NoPrice { .. } => "NO_PRICE",
            Self::Money { code, .. } => code,
            Self::ArrayParallelMax { .. } => "ARRAY_PARALLEL_MAX",
            Self::NotBefore { .. } => "NOT_BEFORE",
            Self::Dependency { .. } => "DEPENDENCY",
            Self::DoneBy { .. } => "DONE_BY",
            Self::CheaperSite => "CHEAPER_SITE",
            Self::InFlight => "IN_FLIGHT",
            Self::AheadInQueue { .. } => "AHEAD_IN_QUEUE",
        }
    }

    /// Whether it may end by itself.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::SiteNotAllowed
            | Self::RegionNotAllowed { .. }
            | Self::OrgNotAccepted
            | Self::SiteCordoned
            | Self::SiteDraining
            | Self::NoHosts
            | Self::NeverFits { .. }
            | Self::GangTooWide { .. }
            | Self::GpuModel { .. }
            | Self::NoPrice { .. }
            | Self::DoneBy { .. } => Verdict::No,
            Self::LendLimit(over) | Self::Quota(over) if over.need > over.limit => Verdict::No,
            Self::Money { held, .. } if held.0 == 0 => Verdict::No,
            _ => Verdict::Wait,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SiteNotAllowed => write!(f, "the job names other sites"),
            Self::RegionNotAllowed { region } => write!(f, "the job names other regions than {region}"),
            Self::OrgNotAccepted => write!(f, "its operator lends to other organisations only"),
            Self::LendLimit(over) => write!(
                f,
                "need {}, strangers hold {} of the {} that its operator lends",
                over.measure.text(over.need),
                over.measure.text(over.held),
                over.measure.text(over.limit)
            ),
            Self::ReclaimUnderWay { within_ms } => write!(
                f,
                "others have got notice to leave for it within {} s",
                within_ms.div_ceil(1000)
            ),
            Self::Quota(over) => write!(
                f,
                "need {}, the organisation holds {} of the {} of its quota",
                over.measure.text(over.need),
                over.measure.text(over.held),
                over.measure.text(over.limit)
            ),
            Self::SiteCordoned => write!(f, "its operator takes no new work"),
            Self::SiteDraining => write!(f, "its operator is emptying it"),
            Self::SiteLost => write!(f, "declared lost: its agent has been silent too long"),
            Self::SiteDown => write!(f, "its agent is silent; waiting for it"),
            Self::NoHosts => write!(f, "it has no machines online"),
            Self::NeverFits {
                resource,
                need,
                largest,
            } => match &**resource {
                "cpu" => write!(
                    f,
                    "need {} cores, the largest host has {}",
                    Milli(*need),
                    Milli(*largest)
                ),
                "memory" => write!(f, "need {need} MiB of memory, the largest host has {largest}"),
                "gpu" => write!(
                    f,
                    "need {} GPUs, the largest host has {}",
                    Milli(*need),
                    Milli(*largest)
                ),
                "host" => write!(f, "no single host has all of it together"),
                name => write!(f, "need {need} {name}, the largest host has {largest}"),
            },
            Self::GangTooWide { need, hosts } => {
                write!(f, "need {need} hosts at once, {hosts} of the site are large enough")
            }
            Self::GpuModel { wanted, present } => {
                write!(
                    f,
                    "need GPU model {}, it has {}",
                    list(wanted, "any"),
                    list(present, "none")
                )
            }
            Self::CapacityCpu { need, free } => {
                write!(
                    f,
                    "need {} cores, at most {} free on a host",
                    Milli(*need),
                    Milli(*free)
                )
            }
            Self::CapacityMemory { need, free } => {
                write!(f, "need {need} MiB of memory, at most {free} free on a host")
            }
            Self::CapacityGpu { need, free } => {
                write!(f, "need {} GPUs, at most {} free on a host", Milli(*need), Milli(*free))
            }
            Self::CapacityGeneric { name, need, free } => {
                write!(f, "need {need} {name}, at most {free} free on a host")
            }
            Self::CapacityHost => write!(f, "no single host has all of it free together"),
            Self::CapacityNodes { need, free } => {
                write!(f, "need {need} hosts at once, {free} have room")
            }
            Self::CapacityPromised { within_ms } => write!(
                f,
                "what is free is kept for a job that comes before it and starts within {} min",
                within_ms.div_ceil(60_000)
            ),
            Self::NoPrice { sku } => write!(f, "it has no price for {sku}"),
            Self::Money { text, .. } => f.write_str(text),
            Self::ArrayParallelMax { running, max } => {
                write!(
                    f,
                    "{running} tasks of the array run or are being started, at most {max} may"
                )
            }
            Self::NotBefore { at } => write!(f, "the job asks to begin not before {}", Utc(*at)),
            Self::Dependency { on, elements: None } => write!(f, "{on}: job {} has not ended", on.job.0),
            Self::Dependency {
                on,
                elements: Some(held),
            } => write!(f, "{on}: {held} tasks wait for theirs of job {}", on.job.0),
            Self::DoneBy { at } => write!(f, "it could not end any more by {}, as it asks", Utc(*at)),
            Self::CheaperSite => write!(
                f,
                "it would fit; by its objective it waits for a cheaper site that is full"
            ),
            Self::InFlight => write!(f, "the decision to place it is being replicated"),
            Self::AheadInQueue { ahead } => write!(f, "it would fit; {ahead} jobs come before it"),
        }
    }
}

impl Measure {
    /// An amount with its unit, for people.
    pub(crate) fn text(self, amount: u64) -> String {
        match self {
            Self::Cpu => format!("{} cores", Milli(amount)),
            Self::Memory => format!("{amount} MiB of memory"),
            Self::Gpu => format!("{} GPUs", Milli(amount)),
            Self::Tasks => format!("{amount} tasks"),
        }
    }
}

/// Thousandths, shown as units: `500` is `0.5`, `2000` is `2`.
struct Milli(u64);

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{units}");
        }
        let decimals = format!("{rest:03}");
        write!(f, "{units}.{}", decimals.trim_end_matches('0'))
    }
}

fn list(names: &[Box<str>], empty: &str) -> String {
    if names.is_empty() {
        empty.to_owned()
    } else {
        names.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_carry_the_figures_in_units() {
        let reason = Reason::CapacityCpu { need: 4500, free: 2000 };
        assert_eq!(reason.to_string(), "need 4.5 cores, at most 2 free on a host");
        let reason = Reason::CapacityGpu { need: 50, free: 25 };
        assert_eq!(reason.to_string(), "need 0.05 GPUs, at most 0.025 free on a host");
    }

    #[test]
    fn the_worst_reason_gives_the_verdict() {
        assert_eq!(Verdict::of(&[]), Verdict::Fits);
        assert_eq!(Verdict::of(&[Reason::CapacityHost, Reason::InFlight]), Verdict::Wait);
        assert_eq!(Verdict::of(&[Reason::SiteDown, Reason::SiteCordoned]), Verdict::No);
    }
}
