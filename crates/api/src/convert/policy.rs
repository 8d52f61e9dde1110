//! The policy of scheduling, as asked for.

use hesuan_engine::command::{Body, PolicyChange};
use hesuan_engine::types::Objective;

use super::check::{self, Checked, missing};
use crate::v1;

/// Weights of one command.
const WEIGHTS_MAX: usize = 1_000;

/// `None` where none is given.
pub(super) fn objective(field: &str, given: i32) -> Checked<Option<Objective>> {
    Ok(
        match check::known_if_given(field, given, "soonest, cheapest and balanced")? {
            None | Some(v1::Objective::Unspecified) => None,
            Some(v1::Objective::Soonest) => Some(Objective::Soonest),
            Some(v1::Objective::Cheapest) => Some(Objective::Cheapest),
            Some(v1::Objective::Balanced) => Some(Objective::Balanced),
        },
    )
}

pub(super) fn set_policy(given: v1::SetPolicyRequest) -> Checked<Body> {
    check::count("weights", given.weights.len(), WEIGHTS_MAX)?;
    let mut weights: Vec<(Box<str>, u32)> = Vec::with_capacity(given.weights.len());
    for (place, weight) in given.weights.into_iter().enumerate() {
        let org = check::name(format_args!("weights[{place}].org"), weight.org)?;
        if weights.iter().any(|(known, _)| *known == org) {
            return Err(check::duplicate(format_args!("weights[{place}].org"), &org));
        }
        weights.push((org, weight.weight_milli));
    }
    let change = PolicyChange {
        objective: objective("objective", given.objective)?,
        fair_share: given.fair_share,
        half_life_ms: given.half_life_ms,
        charge_ahead_ms: given.charge_ahead_ms,
        aged_after_ms: given.aged_after_ms,
        patience: given.patience,
        put_off_ms_max: given.put_off_ms_max,
        weights,
    };
    if change == PolicyChange::default() {
        return Err(missing("", "give what is to change"));
    }
    Ok(Body::SetPolicy(change))
}
