//! The stream to a replica: dialled, lost, dialled again, the next one of the list each time.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hesuan_api::internal::v1::agent_service_client::AgentServiceClient;
use hesuan_api::internal::v1::{AgentMessage, ReplicaMessage};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::AgentError;
use super::config::AgentConfig;

/// Largest message taken: a complete list with scripts may be long.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Messages waiting for the network. More are dropped: everything sent is repeated or goes stale.
const SEND_QUEUE: usize = 1024;
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// What happened to the stream.
pub(super) enum LinkEvent {
    /// A replica was reached; what is sent from now on goes to it.
    Connected,
    /// It said something.
    Message(ReplicaMessage),
    /// The stream is gone; another replica will be dialled.
    Lost(String),
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

enum State {
    Waiting(Pin<Box<Sleep>>),
    Dialling(Boxed<Channel>),
    Opening(mpsc::Sender<AgentMessage>, Boxed<Streaming<ReplicaMessage>>),
    Open(mpsc::Sender<AgentMessage>, Box<Streaming<ReplicaMessage>>, Instant),
}

pub(super) struct Link {
    endpoints: Vec<Endpoint>,
    next_endpoint: usize,
    authorization: AsciiMetadataValue,
    failures: u32,
    redial_ms_min: u64,
    redial_ms_max: u64,
    silence: Duration,
    state: State,
}

impl Link {
    pub(super) fn new(config: &AgentConfig) -> Result<Link, AgentError> {
        let mut endpoints = Vec::new();
        for address in &config.endpoints {
            let uri = if address.contains("://") {
                address.clone()
            } else {
                format!("http://{address}")
            };
            let endpoint = Endpoint::from_shared(uri)
                .map_err(|error| AgentError::Config(format!("endpoint {address:?}: {error}")))?
                .connect_timeout(DIAL_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(Duration::from_secs(5))
                .keep_alive_timeout(Duration::from_secs(5));
            endpoints.push(endpoint);
        }
        if endpoints.is_empty() {
            return Err(AgentError::Config("no endpoint to dial".to_owned()));
        }
        let mut authorization = MetadataValue::try_from(format!("Bearer {}", config.token))
            .map_err(|_| AgentError::Config("the token has characters that no token has".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Link {
            endpoints,
            next_endpoint: 0,
            authorization,
            failures: 0,
            redial_ms_min: config.redial_ms_min,
            redial_ms_max: config.redial_ms_max,
            silence: Duration::from_millis(config.silence_ms_max),
            state: State::Waiting(Box::pin(sleep(Duration::ZERO))),
        })
    }

    /// Waits for the next event. May be dropped and called again at any point: all progress is in `self`.
    pub(super) async fn next(&mut self) -> LinkEvent {
        loop {
            match &mut self.state {
                State::Waiting(sleep) => {
                    sleep.as_mut().await;
                    let endpoint = self.endpoints[self.next_endpoint % self.endpoints.len()].clone();
                    self.state = State::Dialling(Box::pin(async move {
                        endpoint
                            .connect()
                            .await
                            .map_err(|error| format!("{}: {error}", endpoint.uri()))
                    }));
                }
                State::Dialling(dialling) => match dialling.as_mut().await {
                    Ok(channel) => {
                        self.open(channel);
                        return LinkEvent::Connected;
                    }
                    Err(reason) => {
                        tracing::debug!(%reason, "replica not reached");
                        self.redial();
                    }
                },
                State::Opening(sender, opening) => match opening.as_mut().await {
                    Ok(stream) => self.state = State::Open(sender.clone(), Box::new(stream), Instant::now()),
                    Err(reason) => return self.lose(reason),
                },
                State::Open(_, stream, heard_at) => {
                    return match timeout_at(*heard_at + self.silence, stream.message()).await {
                        Ok(Ok(Some(message))) => {
                            *heard_at = Instant::now();
                            self.failures = 0;
                            LinkEvent::Message(message)
                        }
                        Ok(Ok(None)) => self.lose("the replica closed the stream".to_owned()),
                        Ok(Err(status)) => self.lose(status_text(&status)),
                        Err(_) => self.lose("nothing was heard for too long".to_owned()),
                    };
                }
            }
        }
    }

    /// Sends, or drops when there is no stream or its queue is full.
    pub(super) fn send(&mut self, message: AgentMessage) {
        if let State::Opening(sender, _) | State::Open(sender, ..) = &self.state
            && sender.try_send(message).is_err()
        {
            tracing::debug!("message to the replica dropped");
        }
    }

    /// Gives the stream up and dials the next replica after a while.
    pub(super) fn lose(&mut self, reason: String) -> LinkEvent {
        self.redial();
        LinkEvent::Lost(reason)
    }

    fn redial(&mut self) {
        self.next_endpoint += 1;
        // The first round through the list goes fast: one dead replica must not cost a site its lease.
        let rounds = self.failures / self.endpoints.len() as u32;
        self.failures = self.failures.saturating_add(1);
        let longest = self
            .redial_ms_min
            .saturating_mul(1 << rounds.min(16))
            .min(self.redial_ms_max)
            .max(1);
        let wait_ms = rand::random_range(longest / 2..=longest);
        self.state = State::Waiting(Box::pin(sleep(Duration::from_millis(wait_ms))));
    }

    fn open(&mut self, channel: Channel) {
        let (sender, receiver) = mpsc::channel(SEND_QUEUE);
        let mut request = Request::new(ReceiverStream::new(receiver));
        request
            .metadata_mut()
            .insert("authorization", self.authorization.clone());
        let mut client = AgentServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let silence = self.silence;
        let opening = async move {
            match timeout(silence, client.connect(request)).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(status_text(&status)),
                Err(_) => Err("the replica did not answer".to_owned()),
            }
        };
        self.state = State::Opening(sender, Box::pin(opening));
    }
}

fn status_text(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
