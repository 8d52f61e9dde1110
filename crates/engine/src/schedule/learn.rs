//! What the planner learns from what runs: when it must end, and how long it ran once it has.

use super::planner::Planner;
use super::time::Predictor;
use super::turns::kind_of;
use crate::outcome::Effect;
use crate::state::{Attempt, JobState, State};
use crate::types::{TaskId, Timestamp};

/// Learned from all that has ended and is still in the state, in the order of the ends.
pub(super) fn from_state(state: &State) -> Predictor {
    let mut ended: Vec<(Timestamp, TaskId)> = state
        .all_attempts()
        .filter_map(|(task, attempt)| Some((attempt.ended.as_ref()?.at, task)))
        .collect();
    ended.sort_unstable();
    let mut predictor = Predictor::default();
    for (_, task) in ended {
        learn(&mut predictor, state, task);
    }
    predictor
}

fn learn(predictor: &mut Predictor, state: &State, task: TaskId) {
    let run_ms = state.attempt(task).and_then(run_ms);
    if let Some((run_ms, job)) = run_ms.zip(state.job(task.job)) {
        predictor.learn(kind_of(state, state.request(job)), run_ms);
    }
}

/// How long an attempt ran; `None` if something else than its work ended it.
fn run_ms(attempt: &Attempt) -> Option<u64> {
    let ended = attempt.ended.as_ref()?;
    let by_itself = matches!(
        ended.state,
        JobState::Succeeded | JobState::Failed | JobState::TimeLimit
    );
    (by_itself && !ended.agent_fault).then_some(ended.wall_ms)
}

impl Planner {
    /// What runs longer than was expected is expected to run longer still.
    pub(super) fn run_over(&mut self, state: &State, now: Timestamp) {
        self.promises.changed.extend(self.ends.run_over(state, now));
    }

    /// Notes what begins, ends, or gets another limit.
    pub(super) fn follow_running(&mut self, state: &State, effect: &Effect) {
        match effect {
            Effect::Assigned { task, .. } => {
                self.ends.begin(state, &self.turns, *task);
                self.note_start(state, *task);
            }
            Effect::HostChanged(host) => {
                let over = self.ends.refresh(state, *host);
                // A gang is learned from once, with its first host.
                let leads = |task: &TaskId| state.attempt(*task).is_some_and(|attempt| attempt.host == *host);
                for task in over.into_iter().filter(leads) {
                    learn(&mut self.turns.predictor, state, task);
                }
            }
            Effect::LimitChanged { task, .. } => {
                let host = self.ends.change(state, &self.turns, *task);
                self.promises.changed.extend(host);
            }
            _ => {}
        }
    }
}
