//! One replica as a process: opens what is on disk, starts the threads and listeners, waits for the end and ends in order.

mod inbox;
mod open;
mod serve;
mod site;

use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hesuan_replica::bundler::{Bundler, BundlerConfig};
use hesuan_replica::leader::{Leader, LeaderConfig};
use hesuan_replica::node::{FetchSnapshot, Node, NodeConfig};
use hesuan_replica::store::LogStore as _;
use tokio::sync::watch;

use crate::agents::Agents;
use crate::apply::{self, Apply, Place};
use crate::cluster_file::ClusterFile;
use crate::command_line::Run;
use crate::config::Config;
use crate::disk::DiskHandle;
use crate::fatal::{abort_on_panic, fatal, thread};
use crate::log::Log;
use crate::peer::{Fetcher, Peers, Secret};
use crate::raft::{self, Input, Raft, RaftHandle, Steer};
use crate::services::{Core, Services};
use crate::waiters::Waiters;
use open::Opened;

/// Network threads.
const WORKERS: usize = 2;
/// How long streams and agents may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// The id of this replica.
///
/// # Errors
/// The configured name is no member of the cluster file.
pub(crate) fn member_of(cluster: &ClusterFile, config: &Config) -> anyhow::Result<u64> {
    if let (true, Some(id)) = (config.join, config.id) {
        return Ok(id);
    }
    let Some(member) = cluster.member.iter().find(|member| member.name == config.name) else {
        let names: Vec<_> = cluster.member.iter().map(|member| member.name.as_str()).collect();
        bail!(
            "name: \"{}\" is no member of the cluster file; its members are {}; a replica that `hesuan cluster add` made has \
             `join = true` and its `id`",
            config.name,
            names.join(", ")
        );
    };
    Ok(member.id)
}

/// Runs a replica until it is told to end.
pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    start_logging();
    let config = Config::load(&run.config)?;
    let cluster = ClusterFile::load(&config.cluster_file)?;
    let id = member_of(&cluster, &config)?;
    let (client, peer) = config.addresses(run.insecure).map_err(anyhow::Error::msg)?;
    // Before anything on disk is touched: a second daemon of the same configuration ends here.
    let bind = |address| TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    let (client, peer) = (bind(client)?, bind(peer)?);
    let opened = open::open(&config, &cluster, id)?;
    // From here on; sled's own panics at opening become errors that say how to recover.
    abort_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    let daemon = Daemon::start(&config, cluster, id, opened, runtime.handle())?;
    tracing::info!(id, name = %config.name, "replica started");
    runtime.block_on(daemon.serve(&config, client, peer, run.until_stdin_closes))?;
    runtime.shutdown_timeout(FAREWELL);
    Ok(())
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HESUAND_LOG").unwrap_or_else(|_| "info".into());
    // Fails only when a test has set one up already.
    let colours = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .try_init();
}

/// The threads and what talks to them.
struct Daemon {
    core: Arc<Core>,
    raft: RaftHandle,
    disk: DiskHandle,
    threads: Vec<JoinHandle<()>>,
    ending: watch::Sender<bool>,
}

impl Daemon {
    fn start(
        config: &Config,
        cluster: ClusterFile,
        id: u64,
        opened: Opened,
        runtime: &tokio::runtime::Handle,
    ) -> anyhow::Result<Daemon> {
        let Opened {
            store,
            loaded,
            identity,
            disk,
            applier,
            applier_config,
            applied,
        } = opened;
        let limits = &config.limits;
        let mut node_config = NodeConfig::new(id, cluster.cluster_id);
        node_config.cache_bytes_max = limits.log_cache_bytes_max as u64;
        let tick_ms = node_config.tick_ms;
        let node = Node::open(node_config, loaded, store.reader(), applied, rand::random())?;
        let (disk, _) = DiskHandle::start(disk);
        let secret = Secret::new(&cluster, id);
        let waiters = Arc::new(Waiters::new());
        let (raft, raft_wiring) = raft::channel(node.status(), limits.commands_waiting_max);
        let (apply, apply_wiring) = apply::channel(limits.commands_waiting_max);
        let unreachable = raft.clone();
        let on_unreachable = Arc::new(move |peer| unreachable.tell(Input::Unreachable(peer)));
        let peers = Arc::new(Peers::new(
            secret.clone(),
            config.listen.peer.clone(),
            limits.peer_frames_max,
            runtime.clone(),
            on_unreachable,
        ));
        let principals_version = Arc::new(AtomicU64::new(1));
        let (changes, changes_seen) = watch::channel(Place::default());
        let (ending, ending_seen) = watch::channel(false);
        let last_applied = (applier.state().level(), applier.state().at());

        let (persists, batches) = std::sync::mpsc::channel();
        let log = Log {
            store,
            identity,
            dir: config.data_dir.clone(),
            batches,
            peers: Arc::clone(&peers),
            raft: raft.clone(),
            disk: disk.clone(),
        };
        let around = apply::Around {
            id,
            peers: Arc::clone(&peers),
            waiters: Arc::clone(&waiters),
            raft: raft.clone(),
            this: apply.clone(),
            disk: disk.clone(),
            principals_version: Arc::clone(&principals_version),
            changes,
        };
        let applying = Apply::new(
            applier,
            applier_config,
            Leader::new(LeaderConfig::default()),
            apply_wiring,
            around,
        );
        let bundler = Bundler::new(BundlerConfig {
            queue_commands_max: limits.commands_waiting_max,
            ..BundlerConfig::default()
        });
        let around = raft::Around {
            peers: Arc::clone(&peers),
            waiters: Arc::clone(&waiters),
            log: persists,
            apply: apply.clone(),
            fetch_snapshot: fetcher(runtime.clone(), &peers, &secret, &disk, &raft),
        };
        let rafting = Raft::new(node, bundler, tick_ms, last_applied, raft_wiring, around);
        let threads = vec![
            thread("hesuan-apply", move || applying.run()),
            thread("hesuan-log", move || log.run()),
            thread("hesuan-raft", move || rafting.run()),
        ];
        let core = Arc::new(Core {
            id,
            cluster,
            raft: raft.clone(),
            apply,
            peers,
            secret,
            waiters,
            agents: Arc::new(Agents::default()),
            disk: disk.clone(),
            principals: Core::principals(principals_version),
            changes: changes_seen,
            ending: ending_seen,
        });
        Ok(Daemon {
            core,
            raft,
            disk,
            threads,
            ending,
        })
    }

    async fn serve(
        self,
        config: &Config,
        client: TcpListener,
        peer: TcpListener,
        until_stdin_closes: bool,
    ) -> anyhow::Result<()> {
        let services = Services(Arc::clone(&self.core));
        let clients = tokio::spawn(serve::clients(
            services.clone(),
            client,
            config.limits.streams_per_connection_max,
            self.ending.subscribe(),
        )?);
        let peers = tokio::spawn(serve::peers(
            Arc::clone(&self.core),
            self.disk.clone(),
            peer,
            self.ending.subscribe(),
        )?);
        let agent = config.site.as_ref().map(|site| {
            let endpoints = site::endpoints(config, &self.core.cluster);
            tokio::spawn(site::run(
                site.clone(),
                config.data_dir.join("agent"),
                endpoints,
                self.ending.subscribe(),
            ))
        });
        end_is_asked(until_stdin_closes).await?;
        tracing::info!("replica ends");
        self.hand_over().await;
        self.ending.send_replace(true);
        for (what, task) in [("clients", Some(clients)), ("peers", Some(peers)), ("agent", agent)] {
            let Some(mut task) = task else { continue };
            if tokio::time::timeout(FAREWELL, &mut task).await.is_err() {
                tracing::info!(what, "did not end in time and is cut off");
                task.abort();
            }
        }
        self.core.peers.close().await;
        self.raft.tell(Input::Stop);
        self.core.apply.tell(apply::Input::Stop);
        let disk = self.disk.clone();
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        if tokio::time::timeout(FAREWELL, joined).await.is_err() {
            fatal("the threads do not end", "waited five seconds");
        }
        // Whatever the SNAP worker was given is done when this is.
        disk.run(|_| ()).await;
        Ok(())
    }

    /// A leader that ends on purpose spares the others the wait for an election.
    async fn hand_over(&self) {
        if !self.raft.leadership().ours {
            return;
        }
        let Some(heir) = self.raft.heir() else { return };
        if self.raft.steer(Steer::TransferTo(heir)).await.is_ok() {
            let mut leadership = self.raft.watch_leadership();
            let _ = tokio::time::timeout(Duration::from_secs(1), leadership.wait_for(|now| !now.ours)).await;
        }
    }
}

/// Fetches an announced snapshot in a task and tells of it.
fn fetcher(
    runtime: tokio::runtime::Handle,
    peers: &Arc<Peers>,
    secret: &Secret,
    disk: &DiskHandle,
    raft: &RaftHandle,
) -> Box<dyn Fn(FetchSnapshot) + Send> {
    let (peers, secret, disk, raft) = (Arc::clone(peers), secret.clone(), disk.clone(), raft.clone());
    Box::new(move |FetchSnapshot { from, meta }| {
        let fetcher = peers
            .address(from)
            .map(|address| Fetcher::new(secret.clone(), address, disk.clone()));
        let raft = raft.clone();
        runtime.spawn(async move {
            let fetched = match fetcher {
                Some(fetcher) => fetcher
                    .fetch(meta.clone())
                    .await
                    .map(|_| ())
                    .map_err(|error| error.to_string()),
                None => Err("its address is not known".to_owned()),
            };
            match &fetched {
                Ok(()) => tracing::info!(from, index = meta.index, "snapshot fetched"),
                Err(error) => tracing::warn!(from, index = meta.index, %error, "snapshot not fetched"),
            }
            raft.tell(Input::SnapshotFetched {
                meta,
                ok: fetched.is_ok(),
            });
        });
    })
}

/// Waits for SIGTERM, SIGINT or, if asked, the end of stdin.
async fn end_is_asked(until_stdin_closes: bool) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stdin_closed = async {
        if !until_stdin_closes {
            std::future::pending::<()>().await;
        }
        let (sender, closed) = tokio::sync::oneshot::channel();
        // A plain thread, because a blocking read would keep the runtime from ending; it ends with the process.
        let reader = std::thread::Builder::new()
            .name("hesuan-stdin".to_owned())
            .spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                let _ = sender.send(());
            });
        if reader.is_ok() {
            let _ = closed.await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c(), if !until_stdin_closes => {}
        () = stdin_closed => {}
    }
    Ok(())
}
