//! A closed loop of clients that submit single jobs, spread over the replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::{JobSpec, KeyValue, Resources, SubmitJobRequest};
use tonic::Code;
use tonic::transport::Channel;

use super::stats::Latencies;
use crate::client::{Bearer, channel};

/// How many HTTP/2 connections the clients share at most, over all replicas.
const CONNECTIONS_MAX: usize = 24;

/// The job that is submitted over and over: a spec of about 200 bytes, encoded.
#[must_use]
pub fn small_spec(cpu_milli: u64, command: &[&str], serial: u64) -> JobSpec {
    JobSpec {
        name: format!("bench-{serial}"),
        command: command.iter().map(|s| (*s).to_owned()).collect(),
        environment: vec![KeyValue {
            key: "HESUAN_BENCH_CASE".to_owned(),
            value: format!("{:0>110}", serial % 97),
        }],
        resources: Some(Resources {
            cpu_milli,
            memory_mib: 16,
            ..Resources::default()
        }),
        walltime_ms_max: 60_000,
        ..JobSpec::default()
    }
}

/// When the clients stop.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time; answers that come later are not counted.
    Elapsed(Duration),
    /// After so many acknowledged submissions in all.
    Acknowledged(u64),
}

/// What the clients saw.
#[derive(Default)]
pub struct LoadResult {
    /// Of acknowledged submissions.
    pub latencies: Latencies,
    /// Ids that were acknowledged, in no order.
    pub acknowledged: Vec<u64>,
    /// Answers other than an acknowledgement; every one was tried again with the same request id.
    pub retries: u64,
    /// From the first submission to the last answer counted.
    pub elapsed: Duration,
}

/// What each client submits and where.
#[derive(Clone)]
pub struct Load {
    /// Client addresses of the replicas.
    pub addresses: Vec<String>,
    /// The enterprise's token.
    pub bearer: Bearer,
    /// Closed-loop clients.
    pub clients: usize,
    /// Per job.
    pub cpu_milli: u64,
    /// What the job runs.
    pub command: Vec<String>,
    /// Set from outside to stop early.
    pub stop: Arc<AtomicBool>,
}

impl Load {
    /// Runs all clients to the end.
    ///
    /// # Errors
    /// When an address is malformed, or a submission is refused for a reason that trying again does not cure.
    pub async fn run(&self, until: Until) -> anyhow::Result<LoadResult> {
        let per_address = CONNECTIONS_MAX.min(self.clients).div_ceil(self.addresses.len());
        let mut channels = Vec::new();
        for _ in 0..per_address {
            for address in &self.addresses {
                channels.push(channel(address)?);
            }
        }
        let taken = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..self.clients {
            // The others are a client's way out when its replica is gone.
            let mut own = channels.clone();
            own.rotate_left(client % channels.len());
            tasks.spawn(one_client(
                self.clone(),
                own,
                client as u64,
                Arc::clone(&taken),
                start,
                until,
            ));
        }
        let mut result = LoadResult::default();
        while let Some(done) = tasks.join_next().await {
            let part = done??;
            result.latencies.merge(part.latencies);
            result.acknowledged.extend(part.acknowledged);
            result.retries += part.retries;
        }
        result.elapsed = match until {
            Until::Elapsed(limit) => start.elapsed().min(limit),
            Until::Acknowledged(_) => start.elapsed(),
        };
        Ok(result)
    }
}

async fn one_client(
    load: Load,
    channels: Vec<Channel>,
    client: u64,
    taken: Arc<AtomicU64>,
    start: Instant,
    until: Until,
) -> anyhow::Result<LoadResult> {
    let command: Vec<&str> = load.command.iter().map(String::as_str).collect();
    let mut at = 0;
    let mut service = JobServiceClient::new(channels[at].clone());
    let mut result = LoadResult::default();
    let mut serial = client << 32;
    loop {
        let over = match until {
            Until::Elapsed(limit) => start.elapsed() >= limit,
            Until::Acknowledged(count) => taken.fetch_add(1, Ordering::Relaxed) >= count,
        };
        if over || load.stop.load(Ordering::Relaxed) {
            return Ok(result);
        }
        serial += 1;
        let message = SubmitJobRequest {
            request_id: uuid::Uuid::now_v7().as_bytes().to_vec(),
            spec: Some(small_spec(load.cpu_milli, &command, serial)),
            ..SubmitJobRequest::default()
        };
        let sent = Instant::now();
        loop {
            let mut request = load.bearer.request(message.clone());
            request.set_timeout(Duration::from_secs(10));
            match service.submit_job(request).await {
                Ok(answer) => {
                    let counted = match until {
                        Until::Elapsed(limit) => start.elapsed() <= limit,
                        Until::Acknowledged(_) => true,
                    };
                    if counted {
                        result.latencies.record(sent.elapsed());
                    }
                    result.acknowledged.push(answer.into_inner().job_id);
                    break;
                }
                Err(status) if retryable(status.code()) => {
                    if load.stop.load(Ordering::Relaxed) {
                        return Ok(result);
                    }
                    result.retries += 1;
                    at = (at + 1) % channels.len();
                    service = JobServiceClient::new(channels[at].clone());
                    // A closed loop without a pause would turn an election into a busy loop.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(status) => return Err(anyhow::anyhow!("a submission was refused: {status}")),
            }
        }
    }
}

fn retryable(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
    )
}
