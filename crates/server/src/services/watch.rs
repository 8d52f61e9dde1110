//! Changes of jobs as a stream. A watcher pulls from the ring when it is woken, so one that reads slowly costs nothing and
//! sees each job as it is by then; past the ring it is told to list again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hesuan_api::refusal::{status, trouble};
use hesuan_api::v1::{Job, WatchJobsRequest, WatchJobsResponse};
use hesuan_engine::outcome::Rejection;
use hesuan_engine::types::PrincipalId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::Core;
use super::call::Deadline;
use super::job::{self, Filter};
use crate::apply::{Place, Since, View};

/// Changes looked at in one go: the APPLY thread has other work.
const CHANGES_MAX: usize = 500;
/// A watcher is woken at most so often; what changes in between is seen once.
const REST: Duration = Duration::from_millis(20);
/// How often a bookmark is sent when nothing else is.
const BOOKMARK: Duration = Duration::from_secs(10);

pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchJobsResponse, Status>> + Send>>;
type Sender = mpsc::Sender<Result<WatchJobsResponse, Status>>;

/// What a look at the ring gives.
struct Look {
    /// Each with the place from which a client goes on that has seen it and those before.
    jobs: Vec<(Job, Place)>,
    /// Up to where it looked.
    place: Place,
    more: bool,
}

/// Opens the stream; what can be refused is refused here.
pub(super) async fn stream(
    core: Arc<Core>,
    caller: PrincipalId,
    request: WatchJobsRequest,
) -> Result<WatchStream, Status> {
    let place = match request.resume_token.as_str() {
        "" => None,
        token => Some(parse(token)?),
    };
    let filter = core.look(Deadline::after(BOOKMARK), {
        let request = request.clone();
        move |view| Filter::of_watch(view.state, caller, &request)
    });
    let filter = filter.await?.map_err(|rejection| status(&rejection))?;
    let (sender, receiver) = mpsc::channel(16);
    // Ends when the receiver is gone.
    tokio::spawn(async move {
        let result = watch(&core, &filter, place, request.send_initial, &sender).await;
        if let Err(status) = result {
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

async fn watch(
    core: &Core,
    filter: &Filter,
    place: Option<Place>,
    initial: bool,
    sender: &Sender,
) -> Result<(), Status> {
    let mut changes = core.changes.clone();
    let mut place = match place {
        Some(place) => place,
        // Before anything is listed: what changes meanwhile comes again as a change.
        None => core.look(Deadline::after(BOOKMARK), |view| view.ring.head()).await?,
    };
    if initial {
        // Without tokens: who has seen only a part of the list must list again. The bookmark after it has the first one.
        send_initial(core, filter, sender).await?;
        say(sender, None, Some(place)).await?;
    }
    let mut bookmark_at = Instant::now() + BOOKMARK;
    loop {
        changes.mark_unchanged();
        let Look {
            jobs,
            place: reached,
            more,
        } = look(core, filter.clone(), place).await?;
        place = reached;
        for (job, place) in jobs {
            bookmark_at = Instant::now() + BOOKMARK;
            say(sender, Some(job), Some(place)).await?;
        }
        if more {
            continue;
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return Err(ended());
                }
                tokio::time::sleep(REST).await;
            }
            () = tokio::time::sleep_until(bookmark_at) => {
                bookmark_at = Instant::now() + BOOKMARK;
                say(sender, None, Some(place)).await?;
            }
            () = sender.closed() => return Ok(()),
            () = core.ended() => return Err(ended()),
        }
    }
}

fn ended() -> Status {
    trouble(
        Code::Unavailable,
        "ENDING",
        "this replica is shutting down; go on with the last resume token at another",
    )
}

async fn say(sender: &Sender, job: Option<Job>, place: Option<Place>) -> Result<(), Status> {
    let response = WatchJobsResponse {
        job,
        resume_token: place.map(format).unwrap_or_default(),
    };
    sender
        .send(Ok(response))
        .await
        .map_err(|_| Status::cancelled("the watcher has gone"))
}

async fn look(core: &Core, filter: Filter, place: Place) -> Result<Look, Status> {
    let looked = core.look(Deadline::after(BOOKMARK), move |view| {
        match view.ring.since(place, CHANGES_MAX) {
            Since::Forgotten => None,
            Since::Jobs(ids, reached) => {
                let jobs = ids
                    .into_iter()
                    .filter_map(|(id, place)| Some((job::answer_if(view.state, id, &filter)?, place)))
                    .collect();
                Some(Look {
                    jobs,
                    place: reached,
                    more: reached < view.ring.head(),
                })
            }
        }
    });
    looked.await?.ok_or_else(|| {
        trouble(
            Code::OutOfRange,
            "RESUME_TOKEN_TOO_OLD",
            "the changes after this resume token are no longer kept here: list again",
        )
    })
}

async fn send_initial(core: &Core, filter: &Filter, sender: &Sender) -> Result<(), Status> {
    let mut from = None;
    loop {
        let filter = filter.clone();
        let page = core
            .look(Deadline::after(BOOKMARK), move |view: &View<'_>| {
                job::page(view.state, &filter, from, CHANGES_MAX)
            })
            .await?;
        for job in page.jobs {
            say(sender, Some(job), None).await?;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

fn format(place: Place) -> String {
    format!("{}.{}", place.index, place.position)
}

fn parse(token: &str) -> Result<Place, Status> {
    let parts = token
        .split_once('.')
        .and_then(|(index, position)| Some((index.parse().ok()?, position.parse().ok()?)));
    let Some((index, position)) = parts else {
        let text = "resume_token is none that a watch gave: leave it empty to watch from now";
        return Err(status(&Rejection::invalid("FIELD_MALFORMED", "resume_token", text)));
    };
    Ok(Place { index, position })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_token_comes_back_as_it_went() {
        let place = Place {
            index: 4711,
            position: 3,
        };
        assert_eq!(parse(&format(place)).expect("it is one"), place);
        assert_eq!(
            parse("yesterday").expect_err("it is none").code(),
            Code::InvalidArgument
        );
    }
}
