//! Contracts, quotas and what is taken back under them, as records of a snapshot.

use hesuan_ledger::types::{OrgId, Timestamp};

use super::contract::{Contract, Quota};
use super::reclaim::Reclaimed;
use super::record::{Decoded, Malformed};
use crate::types::{Bounds, HostId, JobId};

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct ReclaimedRecord {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(uint64, tag = "2")]
    job: u64,
    #[prost(uint32, tag = "3")]
    task: u32,
    #[prost(bool, tag = "4")]
    told: bool,
    #[prost(uint32, tag = "5")]
    host: u32,
}

impl From<&Reclaimed> for ReclaimedRecord {
    fn from(reclaimed: &Reclaimed) -> Self {
        Self {
            at: reclaimed.at.0,
            job: reclaimed.job.0,
            task: reclaimed.task,
            told: reclaimed.told,
            host: reclaimed.host.0,
        }
    }
}

impl From<ReclaimedRecord> for Reclaimed {
    fn from(record: ReclaimedRecord) -> Self {
        Self {
            at: Timestamp(record.at),
            job: JobId(record.job),
            task: record.task,
            told: record.told,
            host: HostId(record.host),
        }
    }
}

// Absent = no bound.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct BoundsRecord {
    #[prost(uint64, optional, tag = "1")]
    cpu_milli: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    memory_mib: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    gpu_milli: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    tasks: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContractRecord {
    #[prost(uint32, tag = "1")]
    revision: u32,
    #[prost(uint32, repeated, tag = "2")]
    own: Vec<u32>,
    #[prost(message, optional, tag = "3")]
    floor: Option<BoundsRecord>,
    #[prost(message, optional, tag = "4")]
    lend_limit: Option<BoundsRecord>,
    #[prost(uint32, repeated, tag = "5")]
    accepted: Vec<u32>,
    #[prost(uint64, tag = "6")]
    notice_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct QuotaRecord {
    #[prost(uint32, tag = "1")]
    org: u32,
    #[prost(uint32, tag = "2")]
    revision: u32,
    #[prost(message, optional, tag = "3")]
    most: Option<BoundsRecord>,
}

impl From<&Bounds> for BoundsRecord {
    fn from(bounds: &Bounds) -> Self {
        Self {
            cpu_milli: bounds.cpu_milli,
            memory_mib: bounds.memory_mib,
            gpu_milli: bounds.gpu_milli,
            tasks: bounds.tasks,
        }
    }
}

impl From<BoundsRecord> for Bounds {
    fn from(record: BoundsRecord) -> Self {
        Self {
            cpu_milli: record.cpu_milli,
            memory_mib: record.memory_mib,
            gpu_milli: record.gpu_milli,
            tasks: record.tasks,
        }
    }
}

impl From<&Contract> for ContractRecord {
    fn from(contract: &Contract) -> Self {
        let numbers = |orgs: &[OrgId]| orgs.iter().map(|org| org.0).collect();
        Self {
            revision: contract.revision,
            own: numbers(&contract.own),
            floor: Some(BoundsRecord::from(&contract.floor)),
            lend_limit: Some(BoundsRecord::from(&contract.lend_limit)),
            accepted: numbers(&contract.accepted),
            notice_ms: contract.notice_ms,
        }
    }
}

impl ContractRecord {
    pub(super) fn read(self) -> Decoded<Contract> {
        let orgs = |numbers: Vec<u32>| {
            let sorted = numbers.is_sorted_by(|a, b| a < b);
            let orgs = numbers.into_iter().map(OrgId).collect::<Vec<_>>();
            sorted
                .then_some(orgs)
                .ok_or(Malformed("the organisations of a contract"))
        };
        let bounds =
            |record: Option<BoundsRecord>| record.map(Bounds::from).ok_or(Malformed("the bounds of a contract"));
        Ok(Contract {
            revision: self.revision,
            own: orgs(self.own)?,
            floor: bounds(self.floor)?,
            lend_limit: bounds(self.lend_limit)?,
            accepted: orgs(self.accepted)?,
            notice_ms: self.notice_ms,
        })
    }
}

impl QuotaRecord {
    pub(super) fn of(org: OrgId, quota: &Quota) -> Self {
        Self {
            org: org.0,
            revision: quota.revision,
            most: Some(BoundsRecord::from(&quota.most)),
        }
    }

    pub(super) fn read(self) -> Decoded<(OrgId, Quota)> {
        let most = self.most.map(Bounds::from).ok_or(Malformed("the bounds of a quota"))?;
        let revision = self.revision;
        Ok((OrgId(self.org), Quota { revision, most }))
    }
}
