//! The policy of scheduling as an answer.

use hesuan_engine::schedule::Share;
use hesuan_engine::state::State;
use hesuan_engine::types::Objective;

use super::org_name;
use crate::v1;

/// What an org has used of the pool.
#[must_use]
pub fn share(state: &State, share: &Share) -> v1::OrgShare {
    v1::OrgShare {
        org: org_name(state, share.org),
        weight_milli: share.weight_milli,
        used_ppm: share.used_ppm,
        running_ppm: share.running_ppm,
        level: share.level.into(),
    }
}

/// Whether a cheaper site is waited for.
pub(super) fn objective(objective: Objective) -> v1::Objective {
    match objective {
        Objective::Soonest => v1::Objective::Soonest,
        Objective::Cheapest => v1::Objective::Cheapest,
        Objective::Balanced => v1::Objective::Balanced,
    }
}

/// The policy of scheduling.
#[must_use]
pub fn policy(state: &State) -> v1::Policy {
    let policy = state.policy();
    let weight = |(org, weight_milli): (&_, &u32)| v1::OrgWeight {
        org: org_name(state, *org),
        weight_milli: *weight_milli,
    };
    v1::Policy {
        revision: policy.revision,
        objective: objective(policy.objective).into(),
        fair_share: policy.fair_share,
        half_life_ms: policy.half_life_ms,
        charge_ahead_ms: policy.charge_ahead_ms,
        aged_after_ms: policy.aged_after_ms,
        patience: policy.patience,
        put_off_ms_max: policy.put_off_ms_max,
        weights: policy.weights.iter().map(weight).collect(),
    }
}
