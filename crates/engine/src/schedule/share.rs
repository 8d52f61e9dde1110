//! What part of the pool an org has used, as one figure to compare orgs by.
//!
//! The dominant share (Ghodsi et al., *Dominant Resource Fairness*, NSDI 2011) of what an org has used over its memory and of
//! what it runs: the largest part that it has of any one kind of resource of all sites together. What runs counts as if it had
//! run `charge_ahead_ms` longer already, so a burst counts as it is placed (the entry penalty of Kueue's admission fair sharing). It
//! is divided by the org's weight and cut into levels of at most a sixteenth, so that an order by levels seldom changes; orgs on
//! one level go before each other by their jobs' turns.

use std::collections::BTreeMap;

use crate::state::{KINDS, Policy, State, Usage};
use crate::types::{OrgId, SiteId, Timestamp};

/// Below a second of the whole pool nobody has used more than another.
const LEAST: u128 = 1_000 << 32;
/// Levels of each doubling.
const LEVELS: u128 = 16;
/// The integral of 2^(-t/h) is so many millionths of h.
const MEMORY_PPM: u128 = 1_442_695;

/// What all hosts together have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    sites: BTreeMap<SiteId, [u128; KINDS]>,
    total: [u128; KINDS],
}

impl Pool {
    pub(crate) fn of(state: &State) -> Self {
        let mut pool = Self::default();
        state.sites().for_each(|site| pool.measure(state, site.id));
        pool
    }

    /// Counts the hosts of a site anew.
    pub(crate) fn measure(&mut self, state: &State, site: SiteId) {
        let mut sum = [0; KINDS];
        for host in state.hosts_of(site).filter(|host| host.online) {
            sum[0] += u128::from(host.total.cpu_milli);
            sum[1] += u128::from(host.total.memory_mib);
            sum[2] += 1000 * host.gpus.len() as u128;
        }
        let before = self.sites.insert(site, sum).unwrap_or_default();
        self.total = std::array::from_fn(|kind| self.total[kind] - before[kind] + sum[kind]);
    }

    /// The largest part of any kind; times `unit`.
    fn dominant(&self, amounts: [u128; KINDS], unit: u128) -> u128 {
        let parts = amounts.iter().zip(self.total).filter(|(_, total)| *total > 0);
        let parts = parts.map(|(amount, total)| amount.saturating_mul(unit) / total);
        parts.max().unwrap_or(0)
    }

    /// Where an org stands that has this in flight: the smaller, the earlier it is its turn.
    pub(crate) fn level(&self, state: &State, org: OrgId, in_flight: [u128; KINDS], now: Timestamp) -> u16 {
        let policy = state.policy();
        let nothing = Usage::default();
        let usage = state.usage(org).unwrap_or(&nothing);
        let used = usage.used_by(now, state.decay());
        let counted = std::array::from_fn(|kind| {
            let running = usage.running()[kind].saturating_add(in_flight[kind]);
            used[kind].saturating_add(running.saturating_mul(policy.charge_ahead_ms.into()))
        });
        let share = self.dominant(counted, 1 << 32);
        level(share.saturating_mul(1000) / u128::from(policy.weight_milli(org)))
    }
}

/// The level of a share, in 2^-32 of the pool times milliseconds.
fn level(share: u128) -> u16 {
    if share < LEAST {
        return 0;
    }
    let parts = share / (LEAST / LEVELS);
    let doublings = parts.ilog2() - LEVELS.ilog2();
    let within = (parts >> doublings) - LEVELS;
    1 + (u128::from(doublings) * LEVELS + within) as u16
}

/// An org's share as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose.
    pub org: OrgId,
    /// Its weight in thousandths.
    pub weight_milli: u32,
    /// Millionths of the pool that it has had on average, as far as is remembered.
    pub used_ppm: u64,
    /// Millionths of the pool that it has now.
    pub running_ppm: u64,
    /// Of two orgs of one priority the smaller goes first.
    pub level: u16,
}

/// The shares of all orgs that have used something or have a weight of their own, in order of org.
#[must_use]
pub fn shares(state: &State, now: Timestamp) -> Vec<Share> {
    let pool = Pool::of(state);
    let mut orgs: Vec<OrgId> = state.usages().map(|(org, _)| org).collect();
    orgs.extend(state.policy().weights.keys());
    orgs.sort_unstable();
    orgs.dedup();
    orgs.into_iter().map(|org| share(state, &pool, org, now)).collect()
}

pub(crate) fn share(state: &State, pool: &Pool, org: OrgId, now: Timestamp) -> Share {
    let policy: &Policy = state.policy();
    let usage = state.usage(org);
    let used = usage.map_or([0; KINDS], |usage| usage.used_by(now, state.decay()));
    let memory_ms = u128::from(policy.half_life_ms) * MEMORY_PPM / 1_000_000;
    let part = |amounts, over: u128| u64::try_from(pool.dominant(amounts, 1_000_000) / over).unwrap_or(u64::MAX);
    Share {
        org,
        weight_milli: policy.weight_milli(org),
        used_ppm: part(used, memory_ms),
        running_ppm: part(usage.map_or([0; KINDS], Usage::running), 1),
        level: pool.level(state, org, [0; KINDS], now),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_begin_at_a_second_of_the_pool() {
        assert_eq!((level(0), level(LEAST - 1), level(LEAST)), (0, 0, 1));
        assert_eq!(level(2 * LEAST), 17);
        assert_eq!(level(u128::MAX), level(u128::MAX - 1));
    }

    proptest! {
        #[test]
        fn more_is_never_a_smaller_level_and_one_level_is_at_most_a_sixteenth_wide(
            share in LEAST..1 << 100,
            more in 0..1u128 << 90,
        ) {
            prop_assert!(level(share + more) >= level(share));
            prop_assert!(level(share + share / 16 + 1) > level(share), "a sixteenth more is another level");
            prop_assert!(level(share + share / 64) <= level(share) + 1);
        }
    }
}
