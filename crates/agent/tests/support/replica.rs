//! A replica that says what the test wants and keeps what the agent says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hesuan_api::internal::v1::agent_service_server::{AgentService, AgentServiceServer};
use hesuan_api::internal::v1::{
    AgentMessage, Assignment, Assignments, Hello, LeaseGrant, LogChunk, LogRequest, ReplicaMessage, ReportAck,
    TaskReport, Welcome, agent_message, replica_message,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

type Said = mpsc::UnboundedSender<Result<ReplicaMessage, Status>>;

struct Service {
    token: String,
    connections: mpsc::UnboundedSender<Connection>,
}

/// One stream of an agent.
pub(crate) struct Connection {
    say: Said,
    heard: Streaming<AgentMessage>,
    reports: VecDeque<TaskReport>,
    chunks: VecDeque<LogChunk>,
    pub(crate) hello: Option<Hello>,
    applied_index: u64,
    /// Grants this lease at each heartbeat, milliseconds.
    pub(crate) lease_ttl_ms: u64,
}

#[tonic::async_trait]
impl AgentService for Service {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ReplicaMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let authorization = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        if authorization != Some(&format!("Bearer {}", self.token)) {
            return Err(Status::unauthenticated("wrong token"));
        }
        let (say, stream) = mpsc::unbounded_channel();
        let connection = Connection {
            say,
            heard: request.into_inner(),
            reports: VecDeque::new(),
            chunks: VecDeque::new(),
            hello: None,
            applied_index: 0,
            lease_ttl_ms: 60_000,
        };
        let _ = self.connections.send(connection);
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(stream))))
    }
}

/// A listening replica.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    connections: mpsc::UnboundedReceiver<Connection>,
    server: JoinHandle<()>,
}

impl Replica {
    pub(crate) async fn start(token: &str) -> Replica {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("bound");
        let (sender, connections) = mpsc::unbounded_channel();
        let service = AgentServiceServer::new(Service {
            token: token.to_owned(),
            connections: sender,
        });
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let _ = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await;
        });
        Replica {
            address,
            connections,
            server,
        }
    }

    /// The next stream that an agent opens, welcomed.
    pub(crate) async fn accept(&mut self) -> Connection {
        let accepted = tokio::time::timeout(Duration::from_secs(30), self.connections.recv()).await;
        let connection = accepted.expect("an agent connects").expect("the server runs");
        connection.say(replica_message::Body::Welcome(Welcome::default()));
        connection
    }
}

impl Replica {
    /// A stream that is there already, if there is one.
    pub(crate) fn try_accept(&mut self) -> Option<Connection> {
        self.connections.try_recv().ok()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Connection {
    pub(crate) fn say(&self, body: replica_message::Body) {
        let _ = self.say.send(Ok(ReplicaMessage { body: Some(body) }));
    }

    pub(crate) fn assign(&mut self, complete: bool, assigned: Vec<Assignment>) {
        self.applied_index += 1;
        let applied_index = self.applied_index;
        let withdrawn = Vec::new();
        let assignments = Assignments {
            complete,
            assigned,
            withdrawn,
            applied_index,
        };
        self.say(replica_message::Body::Assignments(assignments));
    }

    async fn hear(&mut self) {
        let heard = tokio::time::timeout(Duration::from_secs(30), self.heard.next()).await;
        let message = heard
            .expect("the agent says something")
            .expect("the stream is open")
            .expect("a whole message");
        match message.body.expect("a body") {
            agent_message::Body::Hello(hello) => self.hello = Some(hello),
            agent_message::Body::Heartbeat(beat) => self.say(replica_message::Body::LeaseGrant(LeaseGrant {
                sent_at_ms: beat.sent_at_ms,
                ttl_ms: self.lease_ttl_ms,
            })),
            agent_message::Body::Reports(reports) => {
                let tasks = reports.reports.iter().filter_map(|report| report.task).collect();
                let seqs = reports.reports.iter().map(|report| report.seq).collect();
                self.say(replica_message::Body::ReportAck(ReportAck { tasks, seqs }));
                self.reports.extend(reports.reports);
            }
            agent_message::Body::LogChunk(chunk) => self.chunks.push_back(chunk),
        }
    }

    pub(crate) async fn report(&mut self) -> TaskReport {
        while self.reports.is_empty() {
            self.hear().await;
        }
        self.reports.pop_front().expect("not empty")
    }

    pub(crate) async fn log(&mut self, request: LogRequest) -> LogChunk {
        self.say(replica_message::Body::LogRequest(request));
        while self.chunks.is_empty() {
            self.hear().await;
        }
        self.chunks.pop_front().expect("not empty")
    }

    pub(crate) async fn greeting(&mut self) -> Hello {
        while self.hello.is_none() {
            self.hear().await;
        }
        self.hello.clone().expect("waited for")
    }
}
