//! The daemon: ties the core to a replica's stream, the journal and a backend. It decides nothing.

mod config;
mod journalist;
mod link;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hesuan_api::internal::v1::{
    AgentMessage, Hello, LogChunk, LogRequest, ReplicaMessage, agent_message, replica_message,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use config::{AgentConfig, BackendKind, this_host};

use crate::backend::instant::InstantBackend;
use crate::backend::process::{ProcessBackend, ProcessConfig};
use crate::backend::{Backend, LogPart, LogStream, ReadLogs, StartOrder};
use crate::clock;
use crate::core::{BackendEvent, Core, CoreConfig, Output};
use crate::journal::{Journal, JournalError};
use crate::task::TaskKey;
use journalist::{Journalist, Write};
use link::{Link, LinkEvent};

/// Backend events taken at once.
const EVENTS_AT_ONCE: usize = 1024;
/// Log requests answered at the same time; more are refused.
const LOG_READS_MAX: usize = 64;

/// The agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A setting makes no sense.
    #[error("agent configuration: {0}")]
    Config(String),
    /// Another daemon uses the directory.
    #[error("agent directory {0} is in use by another daemon")]
    InUse(PathBuf),
    /// The journal failed; nothing may be started without it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The disk or the kernel failed.
    #[error("agent {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl AgentError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> AgentError {
        let what = what.into();
        move |source| AgentError::Io { what, source }
    }
}

/// The agent of one site.
pub struct Agent {
    config: AgentConfig,
}

impl Agent {
    /// An agent that has not been started.
    pub fn new(config: AgentConfig) -> Agent {
        Agent { config }
    }

    /// Runs until `shutdown` becomes true or its sender is gone. Running tasks go on and are adopted at the next start.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) -> Result<(), AgentError> {
        let link = Link::new(&self.config)?;
        let config = self.config;
        let (event_sender, events) = mpsc::unbounded_channel();
        let (done_sender, journal_done) = mpsc::unbounded_channel();
        let opening = tokio::task::spawn_blocking(move || open(config, event_sender, done_sender));
        let (opened, outputs) = opening.await.expect("opening does not panic and is not aborted")?;
        let logs: Arc<dyn ReadLogs> = Arc::from(opened.backend.logs());
        let mut daemon = Daemon {
            opened,
            link,
            logs,
            log_reads: JoinSet::new(),
            events,
            journal_done,
        };
        daemon.perform(outputs);
        let result = daemon.serve(&mut shutdown).await;
        let Daemon {
            opened, mut log_reads, ..
        } = daemon;
        log_reads.shutdown().await;
        // Both join threads, which is waiting.
        let closing = tokio::task::spawn_blocking(move || {
            opened.journal.finish();
            drop(opened.backend);
        });
        closing.await.expect("closing does not panic and is not aborted");
        result
    }
}

/// What lives on this machine.
struct Opened {
    core: Core,
    backend: Box<dyn Backend>,
    journal: Journalist,
    /// Held as long as the daemon runs.
    _lock: File,
}

fn open(
    config: AgentConfig,
    events: mpsc::UnboundedSender<BackendEvent>,
    done: mpsc::UnboundedSender<Result<u64, JournalError>>,
) -> Result<(Opened, Vec<Output>), AgentError> {
    let directory = &config.directory;
    std::fs::create_dir_all(directory).map_err(AgentError::io(format!("directory {}", directory.display())))?;
    let lock = File::create(directory.join("lock")).map_err(AgentError::io("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(AgentError::InUse(directory.clone())),
        Err(std::fs::TryLockError::Error(error)) => return Err(AgentError::io("lock")(error)),
    }
    let (journal, records) = Journal::open(&directory.join("journal"))?;
    let mut backend: Box<dyn Backend> = match config.backend {
        BackendKind::Instant => Box::new(InstantBackend::new(events)),
        BackendKind::Process(process) => {
            let process = ProcessConfig {
                directory: directory.clone(),
                kill_grace_ms: config.kill_grace_ms,
                ..process
            };
            Box::new(ProcessBackend::new(process, events).map_err(AgentError::io("process backend"))?)
        }
    };
    let owned = backend.list_owned().map_err(AgentError::io("task directories"))?;
    tracing::info!(site = %config.site, journal_records = records.len(), owned = owned.len(), "agent starts");
    let hosts = if config.hosts.is_empty() {
        vec![this_host()]
    } else {
        config.hosts
    };
    let hello = Hello {
        site: config.site,
        instance: config.instance.to_vec(),
        hosts,
        version: config.version,
    };
    let core_config = CoreConfig {
        kill_grace_ms: config.kill_grace_ms,
        lease_until_ms: backend.lease_until_ms(),
        ..CoreConfig::new(hello)
    };
    let (core, outputs) = Core::new(core_config, records, owned, clock::now_ms());
    let journal = Journalist::start(journal, done).map_err(AgentError::io("journal thread"))?;
    Ok((
        Opened {
            core,
            backend,
            journal,
            _lock: lock,
        },
        outputs,
    ))
}

struct Daemon {
    opened: Opened,
    link: Link,
    logs: Arc<dyn ReadLogs>,
    log_reads: JoinSet<LogChunk>,
    events: mpsc::UnboundedReceiver<BackendEvent>,
    journal_done: mpsc::UnboundedReceiver<Result<u64, JournalError>>,
}

impl Daemon {
    async fn serve(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<(), AgentError> {
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            let wait = self
                .opened
                .core
                .next_wake()
                .map(|at_ms| at_ms.saturating_sub(clock::now_ms()));
            // Nothing to wait for: then only what arrives wakes it.
            let timer = sleep(Duration::from_millis(wait.unwrap_or(3_600_000)));
            tokio::select! {
                stopped = shutdown.wait_for(|stop| *stop) => {
                    // An error means that whoever could say so is gone, which says it too.
                    drop(stopped);
                    return Ok(());
                }
                event = self.link.next() => self.link_event(event),
                _ = self.events.recv_many(&mut events, EVENTS_AT_ONCE) => {
                    for event in events.drain(..) {
                        self.opened.core.backend_event(event, clock::now_ms());
                    }
                }
                Some(done) = self.journal_done.recv() => self.opened.core.journalled(done?, clock::now_ms()),
                Some(read) = self.log_reads.join_next() => {
                    let chunk = read.expect("reading logs does not panic and is aborted only at the end");
                    self.link.send(AgentMessage { body: Some(agent_message::Body::LogChunk(chunk)) });
                }
                () = timer => self.opened.core.tick(clock::now_ms()),
            }
            let outputs = self.opened.core.take_outputs();
            self.perform(outputs);
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => self.opened.core.connected(clock::now_ms()),
            LinkEvent::Message(ReplicaMessage {
                body: Some(replica_message::Body::LogRequest(request)),
            }) => {
                self.read_log(request);
            }
            LinkEvent::Message(message) => self.opened.core.handle(message, clock::now_ms()),
            LinkEvent::Lost(reason) => {
                tracing::info!(%reason, "stream to the replica lost");
                self.opened.core.disconnected(clock::now_ms());
            }
        }
    }

    /// Does what the core wants, in order, until it wants nothing more.
    fn perform(&mut self, mut outputs: Vec<Output>) {
        while !outputs.is_empty() {
            for output in outputs {
                self.perform_one(output);
            }
            // A start that nothing can be made of has ended already.
            outputs = self.opened.core.take_outputs();
        }
    }

    fn perform_one(&mut self, output: Output) {
        let Opened {
            core, backend, journal, ..
        } = &mut self.opened;
        match output {
            Output::Send(message) => self.link.send(message),
            Output::Journal { seq, records } => journal.write(Write::Append { seq, records }),
            Output::Rewrite { seq, records } => journal.write(Write::Rewrite { seq, records }),
            Output::Start(assignment) => {
                let id = assignment
                    .task
                    .as_ref()
                    .expect("the core drops assignments without a task");
                let task = TaskKey::from(id);
                let nodes = (assignment.nodes.len() as u32).max(1);
                match StartOrder::from_assignment(task, *assignment) {
                    Ok(orders) => orders.into_iter().for_each(|order| backend.start(order)),
                    Err(outcome) => {
                        for node in 0..nodes {
                            let (task, outcome) = (task.with_node(node), outcome.clone());
                            core.backend_event(BackendEvent::Ended { task, outcome }, clock::now_ms());
                        }
                    }
                }
            }
            Output::SetLimit { task, walltime_ms_max } => backend.set_limit(task, walltime_ms_max),
            Output::Signal { task, signal } => backend.signal(task, signal),
            Output::Forget { task } => backend.forget(task),
            Output::Lease { until_ms } => backend.lease(until_ms),
            Output::Reconnect { reason } => {
                let event = self.link.lose(reason);
                self.link_event(event);
            }
        }
    }

    fn read_log(&mut self, request: LogRequest) {
        let chunk = LogChunk {
            id: request.id,
            offset: request.offset,
            ..LogChunk::default()
        };
        let stream = match request.stream {
            1 => Ok(LogStream::Stdout),
            2 => Ok(LogStream::Stderr),
            other => Err(format!("LOG_BAD_STREAM: no stream {other}")),
        };
        let target = request
            .task
            .as_ref()
            .map(|id| TaskKey::from(id).with_node(request.node))
            .ok_or_else(|| "LOG_NOT_FOUND: no task named".to_owned());
        let target = if self.log_reads.len() < LOG_READS_MAX {
            target
        } else {
            Err("LOG_BUSY: try again".to_owned())
        };
        match target.and_then(|task| stream.map(|stream| (task, stream))) {
            Ok((task, stream)) => {
                let logs = self.logs.clone();
                let read = move || match logs.read(task, stream, request.offset, request.bytes_max) {
                    Ok(LogPart {
                        data,
                        eof,
                        truncated_bytes,
                    }) => LogChunk {
                        data: data.into(),
                        eof,
                        truncated_bytes,
                        ..chunk
                    },
                    Err(error) => LogChunk {
                        error: error.to_string(),
                        ..chunk
                    },
                };
                self.log_reads.spawn_blocking(read);
            }
            Err(error) => {
                let refused = LogChunk { error, ..chunk };
                self.link.send(AgentMessage {
                    body: Some(agent_message::Body::LogChunk(refused)),
                });
            }
        }
    }
}
