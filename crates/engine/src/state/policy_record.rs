//! The records of the policy and of what orgs have used in a snapshot; see [`super::record`].

use std::sync::Arc;

use super::record::Malformed;
use super::{Policy, Usage};
use crate::types::{Objective, OrgId, Timestamp};

const OBJECTIVES: [Objective; 3] = [Objective::Soonest, Objective::Cheapest, Objective::Balanced];

pub(super) fn objective_number(objective: Objective) -> u32 {
    let place = OBJECTIVES.iter().position(|known| *known == objective);
    place.expect("all are listed") as u32
}

pub(super) fn objective_of(number: u32) -> Result<Objective, Malformed> {
    let found = OBJECTIVES.get(number as usize).copied();
    found.ok_or(Malformed("an objective"))
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PolicyRecord {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(bool, tag = "2")]
    fair_share: bool,
    #[prost(uint64, tag = "3")]
    half_life_ms: u64,
    #[prost(uint64, tag = "4")]
    charge_ahead_ms: u64,
    #[prost(uint64, tag = "5")]
    aged_after_ms: u64,
    #[prost(uint32, tag = "6")]
    patience: u32,
    #[prost(uint64, tag = "7")]
    put_off_ms_max: u64,
    // Org and weight by turns, in order of org.
    #[prost(uint32, repeated, tag = "8")]
    weights: Vec<u32>,
    #[prost(uint32, tag = "9")]
    objective: u32,
}

impl From<&Policy> for PolicyRecord {
    fn from(policy: &Policy) -> Self {
        Self {
            revision: policy.revision,
            fair_share: policy.fair_share,
            half_life_ms: policy.half_life_ms,
            charge_ahead_ms: policy.charge_ahead_ms,
            aged_after_ms: policy.aged_after_ms,
            patience: policy.patience,
            put_off_ms_max: policy.put_off_ms_max,
            objective: objective_number(policy.objective),
            weights: policy
                .weights
                .iter()
                .flat_map(|(org, weight)| [org.0, *weight])
                .collect(),
        }
    }
}

impl PolicyRecord {
    pub(super) fn read(self) -> Result<Arc<Policy>, Malformed> {
        let (weights, rest) = self.weights.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Malformed("a weight without an org"));
        }
        Ok(Arc::new(Policy {
            revision: self.revision,
            objective: objective_of(self.objective)?,
            fair_share: self.fair_share,
            half_life_ms: self.half_life_ms,
            charge_ahead_ms: self.charge_ahead_ms,
            aged_after_ms: self.aged_after_ms,
            patience: self.patience,
            put_off_ms_max: self.put_off_ms_max,
            weights: weights.iter().map(|[org, weight]| (OrgId(*org), *weight)).collect(),
        }))
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UsageRecord {
    #[prost(uint32, tag = "1")]
    org: u32,
    #[prost(uint64, tag = "2")]
    at: u64,
    // The upper and the lower half of each.
    #[prost(uint64, repeated, tag = "3")]
    used: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    running: Vec<u64>,
}

fn halves(numbers: &[u128]) -> Vec<u64> {
    let halves = numbers
        .iter()
        .flat_map(|number| [(number >> 64) as u64, *number as u64]);
    halves.collect()
}

fn numbers<const N: usize>(halves: &[u64]) -> Result<[u128; N], Malformed> {
    let (pairs, _) = halves.as_chunks::<2>();
    let numbers: Vec<u128> = pairs
        .iter()
        .map(|[upper, lower]| u128::from(*upper) << 64 | u128::from(*lower))
        .collect();
    <[u128; N]>::try_from(numbers).map_err(|_| Malformed("what an org has used"))
}

impl UsageRecord {
    pub(super) fn of(org: OrgId, usage: &Usage) -> Self {
        Self {
            org: org.0,
            at: usage.at.0,
            used: halves(&usage.used),
            running: halves(&usage.running),
        }
    }

    pub(super) fn read(self) -> Result<(OrgId, Usage), Malformed> {
        let usage = Usage {
            at: Timestamp(self.at),
            used: numbers(&self.used)?,
            running: numbers(&self.running)?,
        };
        Ok((OrgId(self.org), usage))
    }
}
