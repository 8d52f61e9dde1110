//! A state without replicas, for what is measured and replayed in virtual time: just founded, and each command an entry of its own.

use hesuan_engine::command::{Body, Command};
use hesuan_engine::outcome::{Effect, Rejection, Reply};
use hesuan_engine::state::{Genesis, Limits, State};
use hesuan_engine::types::{PrincipalId, Timestamp};

/// Founded at an instant, with an administrator and nothing else.
pub(crate) fn founded(at: Timestamp) -> State {
    State::genesis(&Genesis {
        cluster_id: [0; 16],
        at,
        members: Vec::new(),
        admin_name: "admin".into(),
        admin_token_sha256: [0; 32],
        limits: Limits::default(),
    })
}

/// Applies a command at an instant, not before the last one; what it is answered, and what the planner must be told.
pub(crate) fn apply(
    state: &mut State,
    at: Timestamp,
    principal: PrincipalId,
    body: Body,
) -> (Result<Reply, Rejection>, Vec<Effect>) {
    let command = Command {
        principal,
        request_id: None,
        digest: [0; 16],
        body,
    };
    let index = state.applied_index() + 1;
    let mut effects = Vec::new();
    state.begin_entry(index, at);
    let outcome = state.apply(at, &command, &mut effects);
    state.end_entry(index);
    (outcome.reply, effects)
}
