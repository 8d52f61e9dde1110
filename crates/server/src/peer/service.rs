//! The peer listener: who knows the cluster's secret may hand in frames and fetch files.

use std::pin::Pin;
use std::sync::Arc;

use hesuan_api::internal::v1::frame::Body;
use hesuan_api::internal::v1::peer_service_server::PeerService;
use hesuan_api::internal::v1::{
    ExchangeEnd, FetchSegmentRequest, FetchSnapshotRequest, FileChunk, PeerBatch, SteerRequest, SteerResponse,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::Secret;
use crate::disk::DiskHandle;

/// Bytes of one chunk of a file.
const CHUNK_BYTES: usize = 256 << 10;

/// Where what peers send goes.
#[tonic::async_trait]
pub(crate) trait Inbox: Send + Sync + 'static {
    /// A replica dialled us and says where it listens.
    fn meet(&self, from: u64, address: &str);
    /// Frames of one batch, in order, with the sender's wall clock.
    fn take(&self, from: u64, wall_clock_ms: u64, frames: Vec<Body>);
    /// A change of membership or leadership, for this replica as the leader.
    async fn steer(&self, request: SteerRequest) -> Result<(), Status>;
}

/// The service on the peer listener.
pub(crate) struct PeerDoor<I> {
    secret: Secret,
    inbox: Arc<I>,
    disk: DiskHandle,
    ending: watch::Receiver<bool>,
}

impl<I: Inbox> PeerDoor<I> {
    /// Lets in who shows the secret.
    pub(crate) fn new(secret: Secret, inbox: Arc<I>, disk: DiskHandle, ending: watch::Receiver<bool>) -> Self {
        PeerDoor {
            secret,
            inbox,
            disk,
            ending,
        }
    }
}

type ChunkStream = Pin<Box<dyn Stream<Item = Result<FileChunk, Status>> + Send>>;

#[tonic::async_trait]
impl<I: Inbox> PeerService for PeerDoor<I> {
    async fn exchange(&self, request: Request<Streaming<PeerBatch>>) -> Result<Response<ExchangeEnd>, Status> {
        let from = self.secret.check(request.metadata())?;
        if let Some(address) = Secret::address(request.metadata()) {
            self.inbox.meet(from, address);
        }
        let mut batches = request.into_inner();
        let mut ending = self.ending.clone();
        loop {
            let batch = tokio::select! {
                batch = batches.next() => batch,
                _ = ending.wait_for(|ending| *ending) => None,
            };
            let Some(batch) = batch.transpose()? else { break };
            let frames: Vec<Body> = batch.frames.into_iter().filter_map(|frame| frame.body).collect();
            self.inbox.take(from, batch.wall_clock_ms, frames);
        }
        Ok(Response::new(ExchangeEnd {}))
    }

    type FetchSnapshotStream = ChunkStream;

    async fn fetch_snapshot(&self, request: Request<FetchSnapshotRequest>) -> Result<Response<ChunkStream>, Status> {
        self.secret.check(request.metadata())?;
        let FetchSnapshotRequest {
            index,
            term,
            mut offset,
        } = request.into_inner();
        let disk = self.disk.clone();
        let (sender, receiver) = mpsc::channel(4);
        // Ends by itself with the file, or when the receiver is gone.
        tokio::spawn(async move {
            disk.submit(move |disk| disk.snapshots.pin(index, term));
            loop {
                let data = disk
                    .run(move |disk| disk.snapshots.read(index, term, offset, CHUNK_BYTES))
                    .await;
                let data = data.map_err(|error| Status::not_found(error.to_string()));
                if !send(&sender, &mut offset, data).await {
                    break;
                }
            }
            disk.submit(move |disk| {
                if let Err(error) = disk.snapshots.unpin(index, term) {
                    tracing::warn!(%error, "an old snapshot could not be removed");
                }
            });
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type FetchSegmentStream = ChunkStream;

    async fn fetch_segment(&self, request: Request<FetchSegmentRequest>) -> Result<Response<ChunkStream>, Status> {
        self.secret.check(request.metadata())?;
        let FetchSegmentRequest {
            segment,
            mut offset,
            end,
        } = request.into_inner();
        let disk = self.disk.clone();
        let (sender, receiver) = mpsc::channel(4);
        // Ends by itself where asked, or when the receiver is gone.
        tokio::spawn(async move {
            loop {
                let bytes = usize::try_from(end.saturating_sub(offset))
                    .unwrap_or(usize::MAX)
                    .min(CHUNK_BYTES);
                let from = offset;
                let data = disk
                    .run(move |disk| disk.archive().read_segment(segment, from, bytes))
                    .await;
                let data = data.map_err(|error| Status::not_found(error.to_string()));
                if bytes == 0 || !send(&sender, &mut offset, data).await {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn steer(&self, request: Request<SteerRequest>) -> Result<Response<SteerResponse>, Status> {
        self.secret.check(request.metadata())?;
        self.inbox.steer(request.into_inner()).await?;
        Ok(Response::new(SteerResponse {}))
    }
}

/// Sends what was read; false when there is nothing more to do.
async fn send(
    sender: &mpsc::Sender<Result<FileChunk, Status>>,
    offset: &mut u64,
    data: Result<Vec<u8>, Status>,
) -> bool {
    let chunk = match data {
        Ok(data) if data.is_empty() => return false,
        Ok(data) => {
            let chunk = FileChunk {
                offset: *offset,
                data: data.into(),
            };
            *offset += chunk.data.len() as u64;
            Ok(chunk)
        }
        Err(status) => Err(status),
    };
    let goes_on = chunk.is_ok();
    sender.send(chunk).await.is_ok() && goes_on
}
