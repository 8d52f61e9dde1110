//! Calls to the cluster. Any replica will do: one that is unavailable is left for the next one, with the same request and the
//! same request id, until the time is up.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use hesuan_api::refusal::Refusal;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::failure::{Failure, Outcome};
use crate::settings::{Global, Settings};

/// One try of a request; a replica that does not answer in this time is left for the next.
const TRY_TIME_MAX: Duration = Duration::from_secs(10);
const TIME_DEFAULT: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The cluster, by any of its replicas.
pub struct Client {
    replicas: Vec<(String, Channel)>,
    // The replica that answered last.
    current: Cell<usize>,
    token: Option<MetadataValue<Ascii>>,
    time_max: Duration,
}

/// A fresh request id. Made once per command and kept through its retries, so that it is carried out once.
#[must_use]
pub fn request_id() -> Vec<u8> {
    Uuid::now_v7().as_bytes().to_vec()
}

impl Client {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(settings: &Settings, global: &Global) -> Outcome<Self> {
        let channel = |address: &String| {
            let endpoint = Endpoint::from_shared(address.clone())
                .map_err(|error| Failure::Usage(format!("{address}: {error}")))?
                .connect_timeout(Duration::from_secs(2))
                .http2_keep_alive_interval(Duration::from_secs(30))
                .tcp_nodelay(true);
            Ok((address.clone(), endpoint.connect_lazy()))
        };
        let token = match &settings.token {
            None => None,
            Some(token) => {
                let mut value = format!("Bearer {token}")
                    .parse::<MetadataValue<Ascii>>()
                    .map_err(|_| Failure::Usage("the token holds characters that cannot be sent".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Client {
            replicas: settings.endpoints.iter().map(channel).collect::<Outcome<_>>()?,
            current: Cell::new(0),
            token,
            time_max: global.timeout.unwrap_or(TIME_DEFAULT),
        })
    }

    /// Sends a request until it is answered, refused for good, or the time is up. `call` makes one try.
    ///
    /// # Errors
    /// The refusal, or that nobody answered.
    pub async fn call<Q, A, F>(&self, request: Q, call: impl Fn(Channel, Request<Q>) -> F) -> Outcome<A>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = Instant::now() + self.time_max;
        let mut backoff = BACKOFF_FIRST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let try_time = left.min(TRY_TIME_MAX);
            let mut one = self.request(request.clone());
            one.set_timeout(try_time);
            let answer = timeout_at(Instant::now() + try_time, call(self.channel(), one)).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if !may_retry(&status) => {
                    return Err(Failure::Refused(Box::new(Refusal::from_status(&status))));
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {} ms", try_time.as_millis())),
            };
            self.next_replica();
            let pause = jittered(backoff);
            if Instant::now() + pause >= deadline {
                return Err(Failure::Unavailable {
                    last: Box::new(Refusal::from_status(&status)),
                    tried: format!(
                        "no answer within {} s from {}: check that they run and can be reached, then try again",
                        self.time_max.as_secs_f32(),
                        self.addresses()
                    ),
                });
            }
            sleep(pause).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// A request with the token.
    pub fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// The replica of the last answer.
    pub fn channel(&self) -> Channel {
        self.replicas[self.current.get()].1.clone()
    }

    /// Leaves this replica for the next one.
    pub fn next_replica(&self) {
        self.current.set((self.current.get() + 1) % self.replicas.len());
    }

    fn addresses(&self) -> String {
        let names: Vec<_> = self
            .replicas
            .iter()
            .map(|(address, _)| address.trim_start_matches("http://"))
            .collect();
        names.join(", ")
    }
}

/// Besides what the cluster calls unavailable: a try that ran out of time, and a connection that broke under the request. The
/// request id makes all of these safe.
fn may_retry(status: &Status) -> bool {
    use std::error::Error;
    let broken = || {
        let mut source = status.source();
        while let Some(error) = source {
            if error.is::<tonic::transport::Error>() || error.is::<std::io::Error>() {
                return true;
            }
            source = error.source();
        }
        false
    };
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        Code::Unknown | Code::Cancelled | Code::Internal => broken(),
        _ => false,
    }
}

/// Half of it for certain, half by chance, so that clients of a fallen leader do not come back at once.
fn jittered(backoff: Duration) -> Duration {
    let half = backoff / 2;
    half + half.mul_f64(rand::random::<f64>())
}
