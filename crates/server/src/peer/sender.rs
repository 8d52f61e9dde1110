//! The task that keeps the stream to one peer open and empties its queue into it.

use std::time::Duration;

use hesuan_api::internal::v1::frame::Body;
use hesuan_api::internal::v1::peer_service_client::PeerServiceClient;
use hesuan_api::internal::v1::{Frame, PeerBatch};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::{OnUnreachable, Secret};
use crate::clock::wall_ms;

/// Frames that travel in one message at most.
const BATCH_FRAMES_MAX: usize = 512;
/// Bytes after which a batch is closed.
const BATCH_BYTES: usize = 1 << 20;
/// A peer's message may be this long: one append of 1 MiB, or a single larger entry, and what it is batched with.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(1000);

/// Connects to a peer's listener.
pub(super) async fn connect(address: &str) -> Result<PeerServiceClient<Channel>, tonic::transport::Error> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .connect()
        .await?;
    Ok(PeerServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Runs until aborted.
pub(super) async fn run(
    id: u64,
    address: String,
    secret: Secret,
    own_address: String,
    mut frames: mpsc::Receiver<Body>,
    on_unreachable: OnUnreachable,
) {
    let mut backoff = BACKOFF_FIRST;
    loop {
        match connect(&address).await {
            Ok(mut client) => {
                tracing::debug!(peer = id, %address, "connected");
                let started = tokio::time::Instant::now();
                let (batches, stream) = mpsc::channel(4);
                let call = client.exchange(secret.sign_from(&own_address, ReceiverStream::new(stream)));
                tokio::select! {
                    answer = call => match answer {
                        Err(status) if matches!(status.code(), tonic::Code::Unauthenticated | tonic::Code::PermissionDenied) => {
                            tracing::warn!(peer = id, %address, message = status.message(), "peer refused us");
                        }
                        _ => tracing::debug!(peer = id, "stream ended"),
                    },
                    () = pump(&mut frames, batches) => return,
                }
                if started.elapsed() > Duration::from_secs(1) {
                    backoff = BACKOFF_FIRST;
                }
            }
            Err(error) => tracing::debug!(peer = id, %address, %error, "cannot connect"),
        }
        on_unreachable(id);
        let jitter = rand::random_range(0..=backoff.as_millis() as u64 / 2);
        tokio::time::sleep(backoff + Duration::from_millis(jitter)).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        // What waited for a stream that was not there is old by now.
        while frames.try_recv().is_ok() {}
    }
}

/// Moves whatever is queued into the stream, as few messages as possible; returns when the queue is closed.
async fn pump(frames: &mut mpsc::Receiver<Body>, batches: mpsc::Sender<PeerBatch>) {
    let mut held = Vec::with_capacity(BATCH_FRAMES_MAX);
    loop {
        // A place in the stream first: while there is none, frames gather in the queue and the next batch is larger.
        let Ok(place) = batches.reserve().await else {
            // The stream has ended; the caller's other branch notices.
            return std::future::pending().await;
        };
        let Some(first) = frames.recv().await else { return };
        let mut bytes = weight(&first);
        held.push(Frame { body: Some(first) });
        while held.len() < BATCH_FRAMES_MAX && bytes < BATCH_BYTES {
            let Ok(next) = frames.try_recv() else { break };
            bytes += weight(&next);
            held.push(Frame { body: Some(next) });
        }
        place.send(PeerBatch {
            wall_clock_ms: wall_ms(),
            frames: std::mem::take(&mut held),
        });
    }
}

fn weight(frame: &Body) -> usize {
    match frame {
        Body::Raft(bytes) => bytes.len(),
        Body::Forwarded(forwarded) => forwarded.command.len() + 16,
        _ => 256,
    }
}
