//! The whole daemon against a replica that says what the test wants.

use std::future::Future;
use std::path::Path;

use hesuan_agent::backend::process::ProcessConfig;
use hesuan_agent::{Agent, AgentConfig, AgentError, BackendKind};
use hesuan_api::internal::v1::{Assignment, LogRequest, TaskEnd, TaskEvent, TaskReport};
use hesuan_api::v1::{KeyValue, TaskPayload};
use prost::Message;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::replica::{Connection, Replica};
use crate::support::{key, wait_until};

const TOKEN: &str = "HESUAN_agent_0123456789abcdef";

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(future);
}

fn config(directory: &Path, endpoints: &[String], backend: BackendKind) -> AgentConfig {
    AgentConfig::new("songjiang", [7; 16], endpoints.to_vec(), TOKEN, directory, backend)
}

fn processes(directory: &Path) -> BackendKind {
    BackendKind::Process(ProcessConfig::new(directory).expect("this binary is known"))
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), AgentError>>,
}

fn start(config: AgentConfig) -> Running {
    let (stop, shutdown) = watch::channel(false);
    Running {
        stop,
        task: tokio::spawn(Agent::new(config).run(shutdown)),
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send(true).expect("the agent listens");
        self.task.await.expect("no panic").expect("no error");
    }
}

fn script(job: u64, text: &str) -> Assignment {
    let environment = vec![KeyValue {
        key: "WHO".into(),
        value: "world".into(),
    }];
    let payload = TaskPayload {
        script_sha256: vec![0; 32],
        environment,
        ..TaskPayload::default()
    };
    Assignment {
        task: Some(key(job).into()),
        payload: payload.encode_to_vec(),
        script: text.as_bytes().to_vec(),
        walltime_ms_max: 60_000,
        cpu_milli: 1_000,
        memory_mib: 64,
        ..Assignment::default()
    }
}

fn log(job: u64, stream: u32, offset: u64) -> LogRequest {
    LogRequest {
        id: 5,
        task: Some(key(job).into()),
        stream,
        offset,
        bytes_max: 1 << 20,
        node: 0,
    }
}

pub(crate) fn a_job_goes_through_the_whole_daemon() {
    block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let mut replica = Replica::start(TOKEN).await;
        let endpoints = [replica.address.to_string()];
        let agent = start(config(directory.path(), &endpoints, processes(directory.path())));
        let mut connection = replica.accept().await;
        let hello = connection.greeting().await;
        assert_eq!((hello.site.as_str(), &hello.instance[..]), ("songjiang", &[7; 16][..]));
        assert!(hello.hosts[0].cpu_milli >= 1_000 && hello.hosts[0].memory_mib > 0);
        let leased = Assignment {
            requeue_on_site_lost: true,
            ..script(1, "#!/bin/sh\necho hello $WHO\nexit 3\n")
        };
        let broken = Assignment {
            payload: vec![0xff; 3],
            ..script(2, "")
        };
        connection.assign(true, vec![leased, broken]);
        let mut reports = [connection.report().await, connection.report().await];
        reports.sort_by_key(|report| report.task.expect("named").job);
        assert_eq!((reports[0].end(), reports[0].exit_code), (TaskEnd::Exited, 3));
        assert_eq!(
            (reports[1].end(), reports[1].start_error_user),
            (TaskEnd::StartFailed, true)
        );
        let chunk = connection.log(log(1, 1, 6)).await;
        assert_eq!(
            (chunk.id, chunk.offset, &chunk.data[..], chunk.eof),
            (5, 6, &b"world\n"[..], true)
        );
        assert!(connection.log(log(9, 1, 0)).await.error.starts_with("LOG_NOT_FOUND"));
        assert!(connection.log(log(1, 3, 0)).await.error.starts_with("LOG_BAD_STREAM"));
        agent.stop().await;
    });
}

pub(crate) fn tasks_outlive_the_daemon_and_are_adopted() {
    block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let mut replica = Replica::start(TOKEN).await;
        let endpoints = [replica.address.to_string()];
        let make = || config(directory.path(), &endpoints, processes(directory.path()));
        let body = "#!/bin/sh\necho $$ >> starts\nuntil [ -e go ]; do sleep 0.02; done\nexit 4\n";
        let agent = start(make());
        let mut connection = replica.accept().await;
        connection.assign(true, vec![script(1, body)]);
        assert_eq!(connection.report().await.event(), TaskEvent::Started);
        agent.stop().await;
        drop(connection);
        let agent = start(make());
        let mut connection = replica.accept().await;
        connection.greeting().await;
        connection.assign(true, vec![script(1, body)]);
        let home = directory.path().join("tasks").join(key(1).to_string()).join("home");
        std::fs::write(home.join("go"), "").expect("writable");
        let report = ended(&mut connection).await;
        assert_eq!((report.end(), report.exit_code), (TaskEnd::Exited, 4));
        let starts = std::fs::read_to_string(home.join("starts")).expect("it ran");
        assert_eq!(starts.lines().count(), 1);
        agent.stop().await;
    });
}

pub(crate) fn a_limit_changes_and_outlives_the_daemon() {
    block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let mut replica = Replica::start(TOKEN).await;
        let endpoints = [replica.address.to_string()];
        let make = || config(directory.path(), &endpoints, processes(directory.path()));
        let body = "#!/bin/sh\nsleep 1.6\n: > past\nuntil [ -e go ]; do sleep 0.02; done\nexit 4\n";
        let limited = |job, walltime_ms_max| Assignment {
            walltime_ms_max,
            ..script(job, body)
        };
        let task = directory.path().join("tasks").join(key(1).to_string());
        let agent = start(make());
        let mut connection = replica.accept().await;
        connection.assign(true, vec![limited(1, 1_000)]);
        assert_eq!(connection.report().await.event(), TaskEvent::Started);
        connection.assign(false, vec![limited(1, 60_000)]);
        wait_until("the supervisor is told", || task.join("limit.json").exists());
        agent.stop().await;
        drop(connection);
        wait_until("it ran past its first limit", || task.join("home/past").exists());

        let agent = start(make());
        let mut connection = replica.accept().await;
        connection.greeting().await;
        // As of the same place in the log as before: an older list would be refused.
        connection.assign(false, vec![]);
        connection.assign(true, vec![limited(1, 60_000), limited(2, 60_000)]);
        std::fs::write(task.join("home/go"), "").expect("writable");
        let report = ended(&mut connection).await;
        assert_eq!((report.end(), report.exit_code), (TaskEnd::Exited, 4));
        assert!(report.wall_ms >= 1_600, "{report:?}");

        let home = directory.path().join("tasks").join(key(2).to_string()).join("home");
        wait_until("the second one runs", || home.join("past").exists());
        connection.assign(false, vec![limited(2, 1)]);
        let report = ended(&mut connection).await;
        assert_eq!((report.end(), report.signal), (TaskEnd::TimeLimit, 15));
        assert!(report.wall_ms < 30_000, "{report:?}");
        agent.stop().await;
    });
}

async fn ended(connection: &mut Connection) -> TaskReport {
    loop {
        let report = connection.report().await;
        if report.event() == TaskEvent::Ended {
            return report;
        }
    }
}

pub(crate) fn the_next_replica_is_dialled() {
    block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let (mut stranger, mut one, mut two) = (
            Replica::start("another").await,
            Replica::start(TOKEN).await,
            Replica::start(TOKEN).await,
        );
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("loopback")
            .local_addr()
            .expect("bound");
        let endpoints = [nobody, stranger.address, one.address, two.address].map(|address| address.to_string());
        let agent = start(config(directory.path(), &endpoints, BackendKind::Instant));
        let mut first = one.accept().await;
        first.greeting().await;
        drop((first, one));
        two.accept().await.greeting().await;
        assert!(stranger.try_accept().is_none());
        agent.stop().await;
    });
}

pub(crate) fn a_directory_has_one_daemon() {
    block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let mut replica = Replica::start(TOKEN).await;
        let endpoints = [replica.address.to_string()];
        let agent = start(config(directory.path(), &endpoints, BackendKind::Instant));
        replica.accept().await;
        let second = start(config(directory.path(), &endpoints, BackendKind::Instant));
        assert!(matches!(
            second.task.await.expect("no panic"),
            Err(AgentError::InUse(_))
        ));
        agent.stop().await;
    });
}

pub(crate) fn bad_settings_are_refused() {
    block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let good = config(directory.path(), &["127.0.0.1:1".to_owned()], BackendKind::Instant);
        for bad in [
            AgentConfig {
                endpoints: Vec::new(),
                ..good.clone()
            },
            AgentConfig {
                endpoints: vec!["not an address".to_owned()],
                ..good.clone()
            },
            AgentConfig {
                token: "line\nbreak".to_owned(),
                ..good
            },
        ] {
            assert!(matches!(
                start(bad).task.await.expect("no panic"),
                Err(AgentError::Config(_))
            ));
        }
    });
}

pub(crate) fn the_instant_backend_goes_the_same_way() {
    block_on(async {
        let directory = TempDir::new().expect("a temporary directory");
        let mut replica = Replica::start(TOKEN).await;
        let endpoints = [replica.address.to_string()];
        let agent = start(config(directory.path(), &endpoints, BackendKind::Instant));
        let mut connection = replica.accept().await;
        let count = 20_000;
        let begun = std::time::Instant::now();
        connection.assign(true, (1..=count).map(|job| script(job, "exit 0\n")).collect());
        for _ in 0..count {
            let report = connection.report().await;
            assert_eq!(
                (report.event(), report.end(), report.exit_code),
                (TaskEvent::Ended, TaskEnd::Exited, 0)
            );
        }
        println!("    {:.0} tasks a second", count as f64 / begun.elapsed().as_secs_f64());
        // Every start was journalled, and a new daemon starts none of them again.
        agent.stop().await;
        let agent = start(config(directory.path(), &endpoints, BackendKind::Instant));
        let mut connection = replica.accept().await;
        connection.assign(true, (1..=count + 1).map(|job| script(job, "exit 0\n")).collect());
        let mut ended = std::collections::BTreeSet::new();
        while !ended.contains(&(count + 1)) {
            let report = connection.report().await;
            assert_eq!(
                report.end(),
                TaskEnd::Exited,
                "nothing is lost: the ends were journalled before the stop"
            );
            ended.insert(report.task.expect("named").job);
        }
        agent.stop().await;
    });
}
