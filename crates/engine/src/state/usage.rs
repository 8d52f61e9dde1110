//! What orgs have used, and how it is forgotten: the memory of fair share. Kept by apply, read by the planner; it has nothing
//! to do with money, and decides nothing here.
//!
//! Per org and kind of resource two numbers are kept: what runs now, and the integral of what ran over time, in which every
//! millisecond counts half as much a half-life later (as in Slurm's multifactor priority and Kueue's admission fair sharing).
//! Time runs in steps of a 64th of the half-life, counted from 1970: all of a step counts alike, so the integral of a stretch
//! of time is the same in whichever pieces it is taken, but for what is rounded down at each step. An org is brought up to date
//! only when something of it begins or ends.

use std::collections::BTreeMap;

use super::{State, Tables};
use crate::types::{Held, OrgId, Request, Timestamp};

/// Cores (thousandths), memory (MiB), devices (thousandths).
pub const KINDS: usize = 3;

/// Steps of a half-life.
const STEPS: u64 = 64;

/// What a step leaves of 2^64: 2^(64 - 1/64), rounded.
const STEP_LEAVES: u128 = 18_248_035_989_933_441_397;

/// What is left of 2^32 after so many steps: 2^(32 - k/64), rounded.
const LEFT: [u64; STEPS as usize] = {
    let mut left = [0; STEPS as usize];
    let (mut k, mut exact) = (0, 1 << 64);
    while k < STEPS as usize {
        left[k] = ((exact + (1 << 31)) >> 32) as u64;
        exact = (exact * STEP_LEAVES) >> 64;
        k += 1;
    }
    left
};

/// Sums of what is left after 1 to `k` steps, for k from 0 to 64.
const LEFT_SUMS: [u64; STEPS as usize + 1] = {
    let mut sums = [0; STEPS as usize + 1];
    let mut k = 1;
    while k < STEPS as usize {
        sums[k] = sums[k - 1] + LEFT[k];
        k += 1;
    }
    sums[k] = sums[k - 1] + LEFT[0] / 2;
    sums
};

/// How time runs under a half-life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decay {
    step_ms: u64,
}

impl Decay {
    pub(crate) fn of(half_life_ms: u64) -> Self {
        Self {
            step_ms: (half_life_ms / STEPS).max(1),
        }
    }

    fn step(self, at: Timestamp) -> u64 {
        at.0 / self.step_ms
    }

    /// What is left at `to` of an amount at `from`.
    fn left(self, amount: u128, from: Timestamp, to: Timestamp) -> u128 {
        let steps = self.step(to).saturating_sub(self.step(from));
        let (halvings, rest) = (steps / STEPS, steps % STEPS);
        if halvings >= 96 {
            return 0;
        }
        amount.saturating_mul(LEFT[rest as usize].into()) >> (32 + halvings)
    }

    /// What a millisecond of each instant from `from` to `to` counts at `to`, summed; times 2^32.
    fn integral(self, from: Timestamp, to: Timestamp) -> u128 {
        let (first, last) = (self.step(from), self.step(to));
        if last <= first {
            return u128::from(to.0.saturating_sub(from.0)) << 32;
        }
        let steps = last - first;
        let of_first = u128::from((first + 1) * self.step_ms - from.0) * weight(steps);
        let between = u128::from(self.step_ms) * weights(steps - 1);
        let of_last = u128::from(to.0 - last * self.step_ms) << 32;
        of_first + between + of_last
    }
}

/// What a step counts so many steps later; times 2^32.
fn weight(steps: u64) -> u128 {
    u128::from(
        LEFT[(steps % STEPS) as usize]
            .checked_shr((steps / STEPS).min(64) as u32)
            .unwrap_or(0),
    )
}

/// The same of the steps from 1 to `steps`, summed.
fn weights(steps: u64) -> u128 {
    let (halvings, rest) = ((steps / STEPS).min(40), steps % STEPS);
    let whole: u64 = (0..halvings).map(|halving| LEFT_SUMS[STEPS as usize] >> halving).sum();
    u128::from(whole + (LEFT_SUMS[rest as usize] >> halvings))
}

/// What one org runs and has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// When it was brought up to date.
    pub(super) at: Timestamp,
    /// What ran until then, each kind times milliseconds, less what was forgotten.
    pub(super) used: [u128; KINDS],
    /// What runs since.
    pub(super) running: [u128; KINDS],
}

/// What is counted of what a task holds. Named resources are not: every site has its own.
pub(crate) fn amounts(task: &Held) -> [u64; KINDS] {
    [task.cpu_milli, task.memory_mib, task.gpu_milli]
}

impl Usage {
    /// What runs now, of each kind.
    #[must_use]
    pub fn running(&self) -> [u128; KINDS] {
        self.running
    }

    /// What has been used by an instant, of each kind in milliseconds, less what was forgotten.
    pub(crate) fn used_by(&self, now: Timestamp, decay: Decay) -> [u128; KINDS] {
        let now = now.max(self.at);
        let grown = decay.integral(self.at, now);
        std::array::from_fn(|kind| {
            let run = self.running[kind].saturating_mul(grown) >> 32;
            decay.left(self.used[kind], self.at, now).saturating_add(run)
        })
    }

    fn bring_up_to(&mut self, now: Timestamp, decay: Decay) {
        self.used = self.used_by(now, decay);
        self.at = now.max(self.at);
    }

    fn begin(&mut self, now: Timestamp, decay: Decay, amounts: [u64; KINDS]) {
        self.bring_up_to(now, decay);
        for (running, amount) in self.running.iter_mut().zip(amounts) {
            *running += u128::from(amount);
        }
    }

    /// Something that has counted until now should have counted until `until` only.
    fn end(&mut self, now: Timestamp, decay: Decay, amounts: [u64; KINDS], until: Timestamp) {
        self.bring_up_to(now, decay);
        let too_much = decay.integral(until.min(now), now);
        for ((running, used), amount) in self.running.iter_mut().zip(&mut self.used).zip(amounts) {
            *running = running
                .checked_sub(amount.into())
                .expect("what ends was counted when it began");
            *used = used.saturating_sub(u128::from(amount).saturating_mul(too_much) >> 32);
        }
    }
}

impl State {
    /// What an org has used; `None` if nothing of it ever ran.
    #[must_use]
    pub fn usage(&self, org: OrgId) -> Option<&Usage> {
        self.tables.usage.get(&org)
    }

    /// Orgs that have used something, in order.
    pub fn usages(&self) -> impl Iterator<Item = (OrgId, &Usage)> {
        self.tables.usage.iter().map(|(org, usage)| (*org, usage))
    }

    pub(crate) fn decay(&self) -> Decay {
        Decay::of(self.tables.policy.half_life_ms)
    }

    /// The half-life changes: what was forgotten until now is forgotten by the old one.
    pub(super) fn bring_usage_up_to(&mut self, at: Timestamp) {
        let decay = self.decay();
        let orgs: Vec<OrgId> = self.usages().map(|(org, _)| org).collect();
        for org in orgs {
            let usage = self.tables.usage.get_mut(&org).expect("it was just found");
            usage.bring_up_to(at, decay);
        }
    }

    /// An attempt of this request begins.
    pub(super) fn count_begun(&mut self, request: &Request, at: Timestamp) {
        let (decay, amounts) = (self.decay(), amounts(&Held::of(request)));
        if let Some(usage) = self.tables.usage.get_mut(&request.org) {
            usage.begin(at, decay, amounts);
        } else {
            let usage = Usage {
                at,
                used: [0; KINDS],
                running: amounts.map(u128::from),
            };
            self.tables.usage.insert(request.org, usage);
        }
    }

    /// An attempt ends in whatever way: of the time since its placement only what is billed counts, be it nothing.
    pub(super) fn count_ended(&mut self, request: &Request, until: Timestamp, at: Timestamp) {
        let (decay, amounts) = (self.decay(), amounts(&Held::of(request)));
        let usage = self.tables.usage.get_mut(&request.org);
        let usage = usage.expect("an org was counted when its attempt began");
        usage.end(at, decay, amounts, until);
    }

    /// What is counted as running is what runs.
    pub(super) fn check_usage(&self) {
        assert!(
            is_counted(&self.tables),
            "orgs do not run what is counted: {:?}",
            self.usages().collect::<Vec<_>>()
        );
    }
}

/// Whether what is counted as running of every org is what its running attempts have.
pub(super) fn is_counted(tables: &Tables) -> bool {
    let mut running: BTreeMap<OrgId, [u128; KINDS]> = BTreeMap::new();
    for (id, _) in tables.attempts.iter().filter(|(_, attempt)| attempt.is_running()) {
        let Some(job) = tables.jobs.get(id.job.0) else {
            return false;
        };
        let request = &tables.class(job.class).request;
        let sums = running.entry(request.org).or_default();
        for (sum, amount) in sums.iter_mut().zip(amounts(&Held::of(request))) {
            *sum += u128::from(amount);
        }
    }
    let counted = |org: &OrgId| tables.usage.get(org).map(|usage| usage.running);
    running.iter().all(|(org, sums)| counted(org) == Some(*sums))
        && tables
            .usage
            .iter()
            .all(|(org, usage)| running.contains_key(org) || usage.running == [0; KINDS])
}

#[cfg(test)]
mod tests;
