//! When it is whose turn, and for how long work asks for room.

use super::fair::Fair;
use super::planner::Planner;
use super::time::{Kind, Order, Patience, Predictor};
use crate::state::State;
use crate::types::{JobId, Request, Timestamp};

/// What run times are learned under: the payer and what is asked for. Who asks for the longest that the cluster allows has not
/// said how long it runs, so that counts as no limit.
pub(crate) fn kind_of(state: &State, request: &Request) -> Kind {
    let resources = &request.resources;
    let is_open = request.walltime_ms_max >= state.limits().walltime_ms_max;
    Kind {
        payer: request.org.0.into(),
        limit_ms: if is_open { 0 } else { request.walltime_ms_max },
        amounts: [resources.cpu_milli, resources.memory_mib, resources.gpu_milli]
            .map(|amount| amount.saturating_mul(request.nodes.count().into())),
    }
}

/// What turns are made from.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    pub(crate) order: Order,
    /// Learned from what has ended: says who goes first, never stops anybody.
    pub(crate) predictor: Predictor,
    pub(crate) fair: Fair,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            order: Order::Turn(Patience::USUAL),
            predictor: Predictor::default(),
            fair: Fair::default(),
        }
    }
}

impl Turns {
    /// As the policy has it, with nothing learned.
    pub(crate) fn of(state: &State) -> Self {
        let mut turns = Self::default();
        turns.follow(state);
        turns
    }

    /// Turns that are given from here on are given by this policy.
    pub(crate) fn follow(&mut self, state: &State) {
        if let Order::Turn(patience) = &mut self.order {
            *patience = state.policy().turns();
        }
        self.fair.follow(state);
    }

    /// What the turn of a job of this kind that comes now follows from.
    pub(crate) fn given(&self, kind: &Kind) -> Given {
        Given {
            order: self.order,
            expected_ms: self.predictor.expect_ms(kind),
        }
    }

    /// For how long room is asked. A limit that was asked for is certain and what else is promised counts on it; where there is
    /// none, what is expected must do.
    pub(crate) fn room_ms(&self, kind: &Kind) -> u64 {
        if kind.limit_ms > 0 {
            kind.limit_ms
        } else {
            self.predictor.expect_ms(kind)
        }
    }
}

/// What was in force and expected when a job came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    order: Order,
    expected_ms: u64,
}

impl Given {
    /// Its turn.
    pub(crate) fn turn(self, submitted_at: Timestamp) -> Timestamp {
        Timestamp(self.order.key(submitted_at, self.expected_ms))
    }
}

impl Planner {
    /// A new job came: its turn follows from what is expected of it now.
    pub(super) fn note_new(&mut self, state: &State, id: JobId) {
        let class = state.job(id).and_then(|job| self.classes.get_mut(&job.class));
        if let Some(class) = class {
            class.note_new(id, self.turns.given(&class.kind));
        }
    }
}
