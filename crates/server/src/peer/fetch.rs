//! Fetching a snapshot and the archive segments it names from another replica, taken up again where a stream broke, verified
//! before it counts.

use std::time::Duration;

use hesuan_api::internal::v1::{FetchSegmentRequest, FetchSnapshotRequest, FileChunk, SteerRequest};
use hesuan_replica::archive::{ArchiveError, SegmentRef};
use hesuan_replica::snapshot::{SnapshotError, SnapshotReceiver, Stored};
use hesuan_replica::wire::SnapshotMeta;
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};

use super::{Secret, sender};
use crate::disk::DiskHandle;

/// Times in a row a broken transfer is taken up again without a byte of progress before it is given up.
const ATTEMPTS: u32 = 5;

/// Why a snapshot could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{}: {}", .0.code(), .0.message())]
    Refused(#[from] Status),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the pieces do not follow each other")]
    Torn,
}

impl FetchError {
    /// Whether the same transfer may go on.
    fn may_go_on(&self) -> bool {
        match self {
            FetchError::Connect(_) => true,
            FetchError::Refused(status) => status.code() != tonic::Code::NotFound,
            FetchError::Snapshot(_) | FetchError::Archive(_) | FetchError::Torn => false,
        }
    }
}

/// Fetches from one peer.
pub(crate) struct Fetcher {
    secret: Secret,
    address: String,
    disk: DiskHandle,
}

impl Fetcher {
    /// From the peer that listens at `address`.
    pub(crate) fn new(secret: Secret, address: String, disk: DiskHandle) -> Self {
        Fetcher { secret, address, disk }
    }

    /// Fetches the snapshot and what the archive lacks; all of it is durable and checked when this returns.
    pub(crate) async fn fetch(&self, meta: SnapshotMeta) -> Result<Stored, FetchError> {
        let (index, term) = (meta.index, meta.term);
        let mut receiver = Some(self.disk.run(move |disk| disk.snapshots.receive(meta)).await?);
        let mut offset = 0;
        let mut patience = Patience::default();
        loop {
            match self.snapshot_stream(index, term, &mut offset, &mut receiver).await {
                Ok(()) => break,
                Err(error) => patience.go_on(error, offset).await?,
            }
        }
        let receiver = receiver.ok_or(FetchError::Torn)?;
        let segments = receiver.segments().to_vec();
        let missing = self.disk.run(move |disk| disk.archive().missing(&segments)).await?;
        for segment in missing {
            self.segment(segment).await?;
        }
        // Last, because a restart begins from whatever snapshot is there.
        Ok(self.disk.run(move |disk| disk.receive_end(receiver)).await?)
    }

    async fn snapshot_stream(
        &self,
        index: u64,
        term: u64,
        offset: &mut u64,
        receiver: &mut Option<SnapshotReceiver>,
    ) -> Result<(), FetchError> {
        let mut client = sender::connect(&self.address).await?;
        let request = FetchSnapshotRequest {
            index,
            term,
            offset: *offset,
        };
        let mut chunks: Streaming<FileChunk> = client.fetch_snapshot(self.secret.sign(request)).await?.into_inner();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if chunk.offset != *offset {
                return Err(FetchError::Torn);
            }
            *offset += chunk.data.len() as u64;
            let mut given = receiver.take().ok_or(FetchError::Torn)?;
            let (given, taken) = self
                .disk
                .run(move |disk| {
                    let taken = disk.snapshots.receive_bytes(&mut given, &chunk.data);
                    (given, taken)
                })
                .await;
            *receiver = Some(given);
            taken?;
        }
        Ok(())
    }

    /// A segment is small: a broken one is fetched from its beginning.
    async fn segment(&self, segment: SegmentRef) -> Result<(), FetchError> {
        let mut patience = Patience::default();
        loop {
            match self.segment_stream(&segment).await {
                Ok(()) => return Ok(()),
                Err(error) => patience.go_on(error, 0).await?,
            }
        }
    }

    async fn segment_stream(&self, segment: &SegmentRef) -> Result<(), FetchError> {
        let mut client = sender::connect(&self.address).await?;
        let request = FetchSegmentRequest {
            segment: segment.segment,
            offset: 0,
            end: segment.bytes,
        };
        let mut chunks = client.fetch_segment(self.secret.sign(request)).await?.into_inner();
        let wanted = segment.clone();
        let mut receiver = self.disk.run(move |disk| disk.archive().receive(wanted)).await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let (given, taken) = self
                .disk
                .run(move |disk| {
                    let taken = disk.archive().receive_bytes(&mut receiver, &chunk.data);
                    (receiver, taken)
                })
                .await;
            receiver = given;
            taken?;
        }
        Ok(self.disk.run(move |disk| disk.archive().receive_end(receiver)).await?)
    }
}

/// Asks a peer, as the leader, for a change of membership or leadership.
pub(crate) async fn steer(secret: &Secret, address: &str, request: SteerRequest) -> Result<(), Status> {
    let connected = sender::connect(address).await;
    let mut client =
        connected.map_err(|error| Status::unavailable(format!("the leader cannot be reached: {error}")))?;
    client.steer(secret.sign(request)).await?;
    Ok(())
}

/// How often a transfer may break.
#[derive(Default)]
struct Patience {
    offset: u64,
    attempts: u32,
}

impl Patience {
    /// Waits a little before the transfer goes on at `offset`, or gives the error back.
    async fn go_on(&mut self, error: FetchError, offset: u64) -> Result<(), FetchError> {
        if offset > self.offset {
            *self = Patience { offset, attempts: 0 };
        }
        self.attempts += 1;
        if self.attempts >= ATTEMPTS || !error.may_go_on() {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(200) * self.attempts).await;
        Ok(())
    }
}
