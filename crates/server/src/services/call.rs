//! How a call reaches the log or the state, and how long it may take.

use std::time::Duration;

use bytes::Bytes;
use hesuan_api::codec::encode_command;
use hesuan_api::internal::v1::frame::Body as Frame;
use hesuan_api::internal::v1::{Forwarded, command};
use hesuan_api::refusal::{status, trouble};
use hesuan_api::v1::Consistency;
use hesuan_engine::outcome::{Rejection, Reply};
use hesuan_engine::state::State;
use hesuan_engine::types::PrincipalId;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

use super::Core;
use crate::apply::{Query, View};
use crate::raft::Input;
use crate::waiters::Answer;

/// Of a call that says nothing of its own.
const PATIENCE: Duration = Duration::from_secs(10);
/// At most.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// When a call's client stops waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// From the call's `grpc-timeout`, less a little, so that the answer says what happened instead of nothing.
    pub(super) fn of(metadata: &MetadataMap) -> Deadline {
        let asked = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(parse_timeout);
        let patience = asked.map_or(PATIENCE, |asked| (asked - asked / 20).min(PATIENCE_MAX));
        Deadline(Instant::now() + patience)
    }

    /// From now.
    pub(super) fn after(patience: Duration) -> Deadline {
        Deadline(Instant::now() + patience)
    }
}

/// The gRPC wire format: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// An answer with where it was read.
pub(super) struct Answered<T> {
    pub(super) answer: T,
    applied_index: u64,
    age_ms: u64,
    stale: bool,
}

impl<T> Answered<T> {
    /// A response; a stale one says how stale.
    pub(super) fn into_response(self) -> Response<T> {
        let mut response = Response::new(self.answer);
        if self.stale {
            response
                .metadata_mut()
                .insert("hesuan-applied-index", self.applied_index.into());
            response.metadata_mut().insert("hesuan-age-ms", self.age_ms.into());
        }
        response
    }
}

impl Core {
    /// Puts a request into the log and gives what apply said of it, here.
    ///
    /// # Errors
    /// A rejection; or UNAVAILABLE with the outcome unknown, in which case the same request id may be sent again.
    pub(super) async fn mutate(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: command::Body,
    ) -> Result<Reply, Status> {
        let command = encode_command(caller, body).map_err(|rejection| status(&rejection))?;
        self.command(deadline, command)
            .await?
            .map_err(|rejection| status(&rejection))
    }

    /// A mutation, answered with what it changed as it stands here once it is applied; `show` gives `None` when the reply is of another kind.
    pub(super) async fn changed<T: Send + 'static>(
        &self,
        caller: PrincipalId,
        deadline: Deadline,
        body: command::Body,
        show: impl FnOnce(&State, Reply) -> Option<T> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let reply = self.mutate(caller, deadline, body).await?;
        let shown = self.look(deadline, move |view| show(view.state, reply)).await?;
        shown.map(Response::new).ok_or_else(|| unexpected(&reply))
    }

    /// The same for a command that is encoded already; a rejection is an answer.
    pub(super) async fn command(&self, deadline: Deadline, command: Bytes) -> Result<Result<Reply, Rejection>, Status> {
        // Registered before the leader is looked up: a leader elected in between gets it from the list of waiters.
        let mut waiting = self.waiters.wait(command.clone());
        self.send(waiting.ticket, command)?;
        match tokio::time::timeout_at(deadline.0, &mut waiting.answer).await {
            Ok(Ok(Answer::Applied(outcome))) => Ok(outcome.reply),
            Ok(Ok(Answer::Busy)) => Err(busy()),
            Ok(Err(_)) => Err(trouble(
                Code::Unavailable,
                "ENDING",
                "this replica is shutting down; use another",
            )),
            Err(_) if self.raft.leadership().leader.is_none() => Err(trouble(
                Code::Unavailable,
                "NO_LEADER",
                "there is no leader: fewer than half of the replicas reach each other; the outcome is unknown, retry with the same request id",
            )),
            Err(_) => Err(trouble(
                Code::Unavailable,
                "OUTCOME_UNKNOWN",
                "no answer in time; the outcome is unknown, retry with the same request id",
            )),
        }
    }

    /// Sends a command to the leader, or leaves it beside its waiter until there is one.
    pub(super) fn send(&self, ticket: u64, command: Bytes) -> Result<(), Status> {
        let taken = match self.raft.leadership().leader {
            Some(leader) if leader == self.id => self.raft.offer(Input::Command { ticket, command }),
            Some(leader) => self
                .peers
                .send(leader, [Frame::Forwarded(Forwarded { ticket, command })]),
            None => true,
        };
        if taken { Ok(()) } else { Err(busy()) }
    }

    /// Looks at the state; linearizable unless the caller asked otherwise.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        consistency: Consistency,
        deadline: Deadline,
        look: impl FnOnce(&View<'_>) -> Result<T, Rejection> + Send + 'static,
    ) -> Result<Answered<T>, Status> {
        let stale = consistency == Consistency::Stale;
        let look = move |view: &View<'_>| {
            let age_ms = view.wall_ms.saturating_sub(view.state.at().0);
            look(view).map(|answer| Answered {
                answer,
                applied_index: view.state.applied_index(),
                age_ms,
                stale,
            })
        };
        let answered = if stale {
            self.look(deadline, look).await?
        } else {
            self.read_index(deadline, look).await?
        };
        answered.map_err(|rejection| status(&rejection))
    }

    /// Looks at this replica's state as it is.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        deadline: Deadline,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (query, answer) = Query::new(look);
        if !self.apply.ask(query) {
            return Err(busy());
        }
        wait(deadline, answer).await
    }

    /// Looks at this replica's state once it has everything that was committed before now.
    pub(super) async fn read_index<T: Send + 'static>(
        &self,
        deadline: Deadline,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (query, answer) = Query::new(look);
        if !self.raft.offer(Input::Read(query)) {
            return Err(busy());
        }
        wait(deadline, answer).await
    }
}

async fn wait<T>(deadline: Deadline, answer: tokio::sync::oneshot::Receiver<T>) -> Result<T, Status> {
    match tokio::time::timeout_at(deadline.0, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(trouble(
            Code::Unavailable,
            "ENDING",
            "this replica is shutting down; use another",
        )),
        Err(_) => Err(trouble(
            Code::Unavailable,
            "NO_QUORUM",
            "no quorum confirmed the read in time; retry, or ask for consistency stale",
        )),
    }
}

/// Apply answered with something that does not belong to the request: a bug, and nothing a client can do about.
pub(super) fn unexpected(reply: &Reply) -> Status {
    trouble(
        Code::Internal,
        "UNEXPECTED_REPLY",
        &format!("the request was applied, and answered with {reply:?}"),
    )
}

fn busy() -> Status {
    trouble(
        Code::ResourceExhausted,
        "BUSY",
        "too much is waiting here already; retry a little later",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_of_a_call_is_read_as_grpc_writes_it() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("1500000u"), Some(Duration::from_millis(1500)));
        for wrong in ["", "S", "5", "-5S", "123456789S", "5x"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }
}
