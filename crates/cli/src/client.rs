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

/// A page of jobs with long command lines, or one entry of the journal with many legs, may be larger than what gRPC takes unasked.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// One try of a request; a replica that hangs for so long is left for the next, an only one is asked again.
const TRY_TIME_MAX: Duration = Duration::from_secs(4);
const TRY_TIME_MAX_ALONE: Duration = Duration::from_secs(10);
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
            let try_time = left.min(if self.replicas.len() > 1 {
                TRY_TIME_MAX
            } else {
                TRY_TIME_MAX_ALONE
            });
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn client(replicas: usize, time_max: Duration) -> Client {
        let endpoints = (1..=replicas).map(|n| format!("http://replica-{n}:7443")).collect();
        let settings = Settings {
            endpoints,
            token: Some("HESUAN_ab".into()),
        };
        let global = Global {
            timeout: Some(time_max),
            ..Global::default()
        };
        Client::new(&settings, &global).expect("the addresses are good")
    }

    /// A leader that fell must not make a job run twice: what is sent again is the same request.
    #[tokio::test]
    async fn a_request_is_sent_again_to_the_next_replica_with_the_same_id() {
        let client = client(3, Duration::from_secs(20));
        let tries = RefCell::new(Vec::new());
        let answer = client
            .call(request_id(), |_, request: Request<Vec<u8>>| {
                assert!(
                    request
                        .metadata()
                        .get("authorization")
                        .is_some_and(|token| token == "Bearer HESUAN_ab")
                );
                tries.borrow_mut().push((client.current.get(), request.into_inner()));
                let count = tries.borrow().len();
                async move {
                    match count {
                        1 => Err(Status::unavailable("no leader")),
                        2 => Err(Status::deadline_exceeded("slow")),
                        _ => Ok(Response::new(7)),
                    }
                }
            })
            .await;
        assert_eq!(answer.ok(), Some(7));
        let tries = tries.into_inner();
        assert_eq!(tries.iter().map(|(replica, _)| *replica).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(tries.iter().all(|(_, id)| *id == tries[0].1));
    }

    #[tokio::test]
    async fn a_refusal_is_not_sent_again() {
        let client = client(2, Duration::from_secs(20));
        let tries = Cell::new(0);
        let answer: Outcome<()> = client
            .call((), |_, _| {
                tries.set(tries.get() + 1);
                async { Err(Status::not_found("no such job")) }
            })
            .await;
        assert_eq!(
            (answer.map_err(|failure| failure.exit_code()), tries.get()),
            (Err(3), 1)
        );
    }

    #[tokio::test]
    async fn when_nobody_answers_in_time_it_says_whom_it_asked() {
        let client = client(2, Duration::from_millis(120));
        let answer: Outcome<()> = client
            .call((), |_, _| async { Err(Status::unavailable("refused")) })
            .await;
        let failure = answer.expect_err("nobody answers");
        let text = failure.text().expect("it says why");
        assert_eq!(failure.exit_code(), 7);
        assert!(
            text.contains("replica-1:7443, replica-2:7443") && text.contains("refused"),
            "{text}"
        );
    }

    #[test]
    fn request_ids_are_uuids_of_version_7_and_differ() {
        let (one, other) = (request_id(), request_id());
        assert_eq!((one.len(), one[6] >> 4), (16, 7));
        assert_ne!(one, other);
    }
}
