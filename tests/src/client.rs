//! The little that every test client needs: a token on the request and a channel to an address.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hesuan_api::v1::ListJobsRequest;
use hesuan_api::v1::job_service_client::JobServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

/// The token of a caller, as gRPC metadata.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// From a token as it stands in a token file.
    ///
    /// # Errors
    /// When the token holds bytes that metadata cannot carry.
    pub fn new(token: &str) -> anyhow::Result<Bearer> {
        Ok(Bearer(format!("Bearer {}", token.trim()).parse()?))
    }

    /// A request that carries the token.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.0.clone());
        request
    }
}

/// Connects lazily to one address, tuned for many small calls.
///
/// # Errors
/// When the address is not a URI.
pub fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint: Endpoint = format!("http://{address}").parse()?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(2))
        .connect_lazy())
}

/// A fresh request id.
#[must_use]
pub fn request_id() -> Vec<u8> {
    uuid::Uuid::now_v7().as_bytes().to_vec()
}

/// Ids of all jobs the caller may see, from the replica at `address`.
///
/// # Errors
/// When they cannot be listed within 30 s.
pub async fn all_jobs(address: &str, bearer: &Bearer) -> anyhow::Result<BTreeSet<u64>> {
    let mut service = JobServiceClient::new(channel(address)?);
    let mut known = BTreeSet::new();
    let mut page_token = String::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let message = ListJobsRequest {
            page_size: 1000,
            page_token: page_token.clone(),
            ..ListJobsRequest::default()
        };
        match service.list_jobs(bearer.request(message)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                known.extend(answer.jobs.iter().map(|job| job.id));
                page_token = answer.next_page_token;
                if page_token.is_empty() {
                    return Ok(known);
                }
            }
            // Right after the election a read may find no leader yet.
            Err(status) => {
                ensure!(Instant::now() < deadline, "jobs cannot be listed: {status}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Milliseconds since 1970, UTC.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
