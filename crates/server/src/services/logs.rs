//! A task's output: asked of the agent that has it, by offset, through whichever replica that agent hangs on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hesuan_api::convert::site::task_id_message;
use hesuan_api::internal::v1::frame::Body as Frame;
use hesuan_api::internal::v1::{LogAnswer, LogAsk, LogChunk, LogRequest};
use hesuan_api::refusal::{status, trouble};
use hesuan_api::v1::{StreamLogsRequest, StreamLogsResponse};
use hesuan_engine::outcome::Rejection;
use hesuan_engine::state::State;
use hesuan_engine::types::{JobId, PrincipalId, SiteId, TaskId};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::Core;
use super::call::Deadline;
use super::job::visible_job;
use crate::agents::{Asker, not_here};

/// Bytes of one piece.
const PIECE_BYTES: u32 = 64 << 10;
/// How often a log that has nothing new is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long an agent may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

pub(super) type LogStream = Pin<Box<dyn Stream<Item = Result<StreamLogsResponse, Status>> + Send>>;

/// Where a task's output is.
#[derive(Clone, Copy)]
struct Source {
    task: TaskId,
    /// Rank of the node.
    node: u32,
    site: SiteId,
    /// The replica the site's agent hangs on; `None` while it hangs on none.
    replica: Option<u64>,
    ended: bool,
}

impl Core {
    /// A chunk came from an agent of this replica: hands it to whoever asked.
    pub(super) fn log_chunk(&self, chunk: LogChunk) {
        match self.agents.asker(chunk.id) {
            Some(Asker::Here(sender)) => {
                let _ = sender.send(chunk);
            }
            Some(Asker::Replica { id, request }) => {
                let chunk = LogChunk { id: request, ..chunk };
                self.peers
                    .send(id, [Frame::LogAnswer(LogAnswer { chunk: Some(chunk) })]);
            }
            None => {}
        }
    }

    /// Another replica asks an agent that should hang here.
    pub(crate) fn log_asked(&self, from: u64, ask: LogAsk) {
        let Some(request) = ask.request else { return };
        let theirs = request.id;
        let Some(number) = self.agents.number(Asker::Replica {
            id: from,
            request: theirs,
        }) else {
            return;
        };
        if !self.agents.ask(SiteId(ask.site), LogRequest { id: number, ..request }) {
            self.log_chunk(not_here(number));
        }
    }

    /// The answer to a question to another replica's agent.
    pub(crate) fn log_answered(&self, answer: LogAnswer) {
        if let Some(chunk) = answer.chunk {
            self.log_chunk(chunk);
        }
    }

    async fn piece(&self, source: Source, stderr: bool, offset: u64) -> Result<LogChunk, Status> {
        let Some(replica) = source.replica else {
            return Err(away());
        };
        let (sender, answer) = oneshot::channel();
        let number = self.agents.number(Asker::Here(sender));
        let number = number.ok_or_else(|| {
            trouble(
                Code::ResourceExhausted,
                "BUSY",
                "too many logs are being read; retry a little later",
            )
        })?;
        let stream = if stderr { 2 } else { 1 };
        let task = Some(task_id_message(source.task));
        let request = LogRequest {
            id: number,
            task,
            stream,
            offset,
            bytes_max: PIECE_BYTES,
            node: source.node,
        };
        let asked = if replica == self.id {
            self.agents.ask(source.site, request)
        } else {
            self.peers.send(
                replica,
                [Frame::LogAsk(LogAsk {
                    site: source.site.0,
                    request: Some(request),
                })],
            )
        };
        let answer = if asked {
            tokio::time::timeout(ANSWER, answer).await.ok().and_then(Result::ok)
        } else {
            None
        };
        self.agents.asker(number);
        answer.ok_or_else(away)
    }

    async fn source(&self, caller: PrincipalId, request: &StreamLogsRequest) -> Result<Option<Source>, Status> {
        let (job, task, attempt) = (JobId(request.job_id), request.task, request.attempt);
        let node = request.node;
        let found = self
            .look(Deadline::after(ANSWER), move |view| {
                find(view.state, caller, job, task, attempt, node)
            })
            .await?;
        found.map_err(|rejection| status(&rejection))
    }
}

fn away() -> Status {
    trouble(
        Code::Unavailable,
        "SITE_AWAY",
        "the site's agent is not connected just now; its logs are kept there, retry",
    )
}

fn find(
    state: &State,
    caller: PrincipalId,
    id: JobId,
    task: u32,
    attempt: u32,
    node: u32,
) -> Result<Option<Source>, Rejection> {
    let job = visible_job(state, caller, id)?;
    let nodes = state.request(job).nodes.count();
    if node >= nodes {
        let text = format!(
            "node is {node}; each task of job {} has the nodes 0 to {}",
            id.0,
            nodes - 1
        );
        return Err(super::pages::not_found("NODE_NOT_FOUND", "node", text));
    }
    if task >= job.spec.tasks {
        let text = format!("job {} has tasks 0 to {}", id.0, job.spec.tasks - 1);
        return Err(super::pages::not_found("TASK_NOT_FOUND", "task", text));
    }
    let attempts = state.attempts(id, task).take_while(|(attempt, _)| attempt.task == task);
    let wanted = attempts
        .filter(|(number, _)| attempt == 0 || number.attempt == attempt)
        .last();
    let Some((number, record)) = wanted else {
        if attempt == 0 && !job.state().is_ended() {
            return Ok(None);
        }
        return Err(super::pages::not_found(
            "ATTEMPT_NOT_FOUND",
            "attempt",
            format!("task {task} of job {} has no such attempt", id.0),
        ));
    };
    let site = state.site(record.site);
    let replica = site.and_then(|site| site.agent).map(|agent| agent.replica);
    Ok(Some(Source {
        task: number,
        node,
        site: record.site,
        replica,
        ended: !record.is_running(),
    }))
}

/// Opens the stream; what can be refused is refused here.
pub(super) async fn stream(
    core: Arc<Core>,
    caller: PrincipalId,
    request: StreamLogsRequest,
) -> Result<LogStream, Status> {
    if core.source(caller, &request).await?.is_none() && !request.follow {
        return Err(trouble(
            Code::FailedPrecondition,
            "NOT_STARTED",
            "the task was not placed yet; follow its log, or wait",
        ));
    }
    let (sender, receiver) = mpsc::channel(4);
    // Ends with the log, or when the receiver is gone.
    tokio::spawn(async move { send_all(&core, caller, request, sender).await });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

async fn send_all(
    core: &Core,
    caller: PrincipalId,
    request: StreamLogsRequest,
    sender: mpsc::Sender<Result<StreamLogsResponse, Status>>,
) {
    let mut offset = request.offset;
    loop {
        let next = tokio::select! {
            next = next(core, caller, &request, offset) => next,
            () = sender.closed() => return,
            () = core.ended() => Err(trouble(Code::Unavailable, "ENDING", "this replica is shutting down; use another")),
        };
        let (response, done) = match next {
            Ok(Some(response)) => {
                offset = response.offset + response.data.len() as u64;
                let done = response.eof || (response.data.is_empty() && !request.follow);
                (Ok(response), done)
            }
            Ok(None) => {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(status) => (Err(status), true),
        };
        if sender.send(response).await.is_err() || done {
            return;
        }
    }
}

/// The next piece; `None` when there is nothing new yet.
async fn next(
    core: &Core,
    caller: PrincipalId,
    request: &StreamLogsRequest,
    offset: u64,
) -> Result<Option<StreamLogsResponse>, Status> {
    let Some(source) = core.source(caller, request).await? else {
        return Ok(None);
    };
    let chunk = core.piece(source, request.stderr, offset).await?;
    if !chunk.error.is_empty() {
        // Placed, and not started yet: its files will come.
        if request.follow && !source.ended {
            return Ok(None);
        }
        return Err(trouble(Code::NotFound, "LOG_NOT_FOUND", &chunk.error));
    }
    if chunk.data.is_empty() && !chunk.eof && request.follow {
        return Ok(None);
    }
    Ok(Some(StreamLogsResponse {
        attempt: source.task.attempt,
        offset: chunk.offset,
        data: chunk.data,
        eof: chunk.eof,
        truncated_bytes: chunk.truncated_bytes,
    }))
}
