//! A client of the public interface, as small as the demo needs it: a token, three endpoints, and patience.

use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

/// How long one call is tried again while no replica can answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Speaks for one principal.
#[derive(Clone)]
pub(super) struct Client {
    channels: Vec<Channel>,
    token: String,
}

impl Client {
    /// Of these replicas; connections are made when they are needed.
    pub(super) fn new(addresses: &[String], token: &str) -> anyhow::Result<Client> {
        let channels = addresses
            .iter()
            .map(|address| {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
                Ok(endpoint
                    .connect_timeout(Duration::from_secs(1))
                    .timeout(Duration::from_secs(5))
                    .tcp_nodelay(true)
                    .connect_lazy())
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Client {
            channels,
            token: token.to_owned(),
        })
    }

    /// The same replicas, somebody else.
    pub(super) fn with_token(&self, token: &str) -> Client {
        Client {
            channels: self.channels.clone(),
            token: token.to_owned(),
        }
    }

    /// Only one of the replicas.
    pub(super) fn only(&self, replica: usize) -> Client {
        Client {
            channels: vec![self.channels[replica].clone()],
            token: self.token.clone(),
        }
    }

    /// One call, tried at the next replica while one cannot answer. The message keeps its request id, so it takes effect once.
    pub(super) async fn call<Q: Clone, A>(
        &self,
        message: Q,
        method: impl AsyncFn(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let until = Instant::now() + PATIENCE;
        for turn in 0.. {
            let channel = self.channels[turn % self.channels.len()].clone();
            match method(channel, self.request(message.clone())?).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if again(&status) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(status) => return Err(status),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// A message with the token.
    pub(super) fn request<Q>(&self, message: Q) -> Result<Request<Q>, Status> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.token)
            .parse()
            .map_err(|_| Status::internal("the token is not ASCII"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }

    /// The connection to one replica, for streams.
    pub(super) fn channel(&self, turn: usize) -> Channel {
        self.channels[turn % self.channels.len()].clone()
    }
}

/// Whether another replica, or the same one a little later, may do better.
pub(super) fn again(status: &Status) -> bool {
    // A connection that breaks under a call shows as UNKNOWN or CANCELLED here.
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::ResourceExhausted
    )
}

/// A fresh request id.
pub(super) fn request_id() -> Vec<u8> {
    Uuid::now_v7().as_bytes().to_vec()
}
