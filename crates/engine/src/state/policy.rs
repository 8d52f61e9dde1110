//! The policy of scheduling, as data: who goes before whom. Replicated and changed by command, so that every leader orders by
//! the same figures, whatever release it runs. Apply judges the figures; only the planner uses them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::State;
use crate::command::PolicyChange;
use crate::outcome::{Effect, Rejection, Reply};
use crate::schedule::time::Patience;
use crate::types::{Objective, OrgId, Timestamp};

/// See [`PolicyChange`] for what each means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Counts the changes; the first policy is 1.
    pub revision: u64,
    /// Whether jobs that do not say wait for a cheaper site.
    pub objective: Objective,
    /// Whether orgs share by what they have used.
    pub fair_share: bool,
    /// How fast what was used is forgotten.
    pub half_life_ms: u64,
    /// What runs counts as if it had run so much longer.
    pub charge_ahead_ms: u64,
    /// Who has waited so long is looked at whatever its org has used.
    pub aged_after_ms: u64,
    /// How many times its expected run time a job's turn is put off.
    pub patience: u32,
    /// The most that a turn is put off.
    pub put_off_ms_max: u64,
    /// Thousandths; only those that are not [`WEIGHT_MILLI`].
    pub weights: BTreeMap<OrgId, u32>,
}

/// An org's weight unless another was set: 1.
pub const WEIGHT_MILLI: u32 = 1000;
const WEIGHT_MILLI_MAX: u32 = 1_000_000;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

impl Default for Policy {
    fn default() -> Self {
        Self {
            revision: 1,
            objective: Objective::Soonest,
            fair_share: true,
            half_life_ms: 7 * DAY,
            charge_ahead_ms: HOUR,
            aged_after_ms: 2 * DAY,
            patience: Patience::USUAL.times as u32,
            put_off_ms_max: Patience::USUAL.ms_max,
            weights: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// Thousandths of the usual weight.
    #[must_use]
    pub fn weight_milli(&self, org: OrgId) -> u32 {
        self.weights.get(&org).copied().unwrap_or(WEIGHT_MILLI)
    }

    /// How turns are put off.
    #[must_use]
    pub fn turns(&self) -> Patience {
        Patience {
            times: self.patience.into(),
            ms_max: self.put_off_ms_max,
        }
    }

    /// Puts in what a change says of times and counts, or says why that cannot be.
    fn change_figures(&mut self, change: &PolicyChange) -> Result<(), Rejection> {
        let Self {
            half_life_ms,
            charge_ahead_ms,
            aged_after_ms,
            put_off_ms_max,
            patience,
            ..
        } = self;
        let mut times = u64::from(*patience);
        let fields = [
            (half_life_ms, change.half_life_ms, "half_life_ms", HOUR, 366 * DAY),
            (charge_ahead_ms, change.charge_ahead_ms, "charge_ahead_ms", 0, 7 * DAY),
            (aged_after_ms, change.aged_after_ms, "aged_after_ms", HOUR, 366 * DAY),
            (put_off_ms_max, change.put_off_ms_max, "put_off_ms_max", 0, 30 * DAY),
            (&mut times, change.patience.map(u64::from), "patience", 0, 100),
        ];
        for (figure, new, field, min, max) in fields {
            let Some(new) = new else { continue };
            if new < min || new > max {
                let text = format!("{field} is {new}; it must lie between {min} and {max}");
                return Err(Rejection::invalid("POLICY_OUT_OF_RANGE", field, text));
            }
            *figure = new;
        }
        *patience = times as u32;
        Ok(())
    }

    fn change_weight(&mut self, org: OrgId, field: &str, weight_milli: u32) -> Result<(), Rejection> {
        if !(1..=WEIGHT_MILLI_MAX).contains(&weight_milli) {
            let text = format!(
                "{field} is {weight_milli} thousandths; it must lie between 1 and {WEIGHT_MILLI_MAX}, {WEIGHT_MILLI} is usual"
            );
            return Err(Rejection::invalid("POLICY_OUT_OF_RANGE", field, text));
        }
        if weight_milli == WEIGHT_MILLI {
            self.weights.remove(&org);
        } else {
            self.weights.insert(org, weight_milli);
        }
        Ok(())
    }
}

impl State {
    /// The policy of scheduling.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.tables.policy
    }

    /// Changes what is given; the rest stays. All or nothing.
    pub(super) fn set_policy(
        &mut self,
        at: Timestamp,
        change: &PolicyChange,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let mut policy = Policy::clone(&self.tables.policy);
        policy.change_figures(change)?;
        policy.objective = change.objective.unwrap_or(policy.objective);
        policy.fair_share = change.fair_share.unwrap_or(policy.fair_share);
        for (place, (name, weight_milli)) in change.weights.iter().enumerate() {
            let org = self.org_by_name(name, &format!("weights[{place}].org"))?;
            policy.change_weight(org, &format!("weights[{place}].weight_milli"), *weight_milli)?;
        }
        policy.revision += 1;
        self.bring_usage_up_to(at);
        self.tables.policy = Arc::new(policy);
        effects.push(Effect::PolicyChanged);
        Ok(Reply::Done)
    }
}
