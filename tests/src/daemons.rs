//! Real daemon processes on loopback: this binary re-executed, so nothing has to be built or found first. Every process is
//! ended by its handle when the cluster is dropped.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hesuan_api::v1::cluster_service_client::ClusterServiceClient;
use hesuan_api::v1::{ClusterStatus, GetStatusRequest};
use hesuan_server::cluster_file::{ClusterFile, read_token};

use crate::client::{Bearer, channel};

/// The cities of the three-replica cluster and their region codes (GB/T 2260).
pub const CITIES: [(&str, u32); 3] = [("songjiang", 310_117), ("hangzhou", 330_100), ("hefei", 340_100)];

/// What runs the tasks of every site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Processes.
    Process,
    /// Every task ends at once.
    Instant,
}

/// How a cluster is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Daemons, each with the agent of its own site.
    pub replicas: usize,
    /// What runs the tasks.
    pub backend: Backend,
    /// One host a site, with so many milli-cores.
    pub host_cpu_milli: u64,
    /// Per city, what its configuration says after that host: its devices and other resources, then perhaps further hosts.
    pub equipment: [&'static str; CITIES.len()],
}

/// One daemon.
pub struct Daemon {
    /// Replica and site have the same name.
    pub name: String,
    /// Its region.
    pub region: u32,
    /// Replica id.
    pub id: u64,
    /// host:port for clients.
    pub client: String,
    program: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// A running cluster.
pub struct Daemons {
    /// Where everything lies.
    pub dir: PathBuf,
    /// The daemons, running or not.
    pub replicas: Vec<Daemon>,
    /// The administrator.
    pub admin: Bearer,
    // Held so that the directory lives as long as the daemons.
    _temporary: Option<tempfile::TempDir>,
}

fn free_address() -> anyhow::Result<String> {
    Ok(format!(
        "127.0.0.1:{}",
        TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()
    ))
}

impl Daemons {
    /// Makes a new cluster in a temporary directory and starts all daemons. `program` must call
    /// [`hesuan_server::dispatch_reexec`] first thing in its `main`.
    ///
    /// # Errors
    /// When files cannot be written or a daemon cannot be started.
    pub fn start(program: &Path, layout: Layout) -> anyhow::Result<Daemons> {
        ensure!(
            (1..=CITIES.len()).contains(&layout.replicas),
            "1 to {} replicas",
            CITIES.len()
        );
        let temporary = tempfile::Builder::new().prefix("hesuan-").tempdir()?;
        let dir = temporary.path().to_owned();
        let mut members = Vec::new();
        for (name, _) in &CITIES[..layout.replicas] {
            members.push(((*name).to_owned(), free_address()?, free_address()?));
        }
        let (file, token) = ClusterFile::generate(&members, crate::client::wall_ms());
        let (_, token_file) = file.write_new(&token, &dir)?;
        let mut replicas = Vec::new();
        for ((member, (name, region)), equipment) in file.member.iter().zip(CITIES).zip(layout.equipment) {
            let config = dir.join(format!("{name}.toml"));
            let backend = match layout.backend {
                Backend::Process => "process",
                Backend::Instant => "instant",
            };
            std::fs::write(
                &config,
                format!(
                    "name = \"{name}\"\ndata_dir = \"{name}\"\ncluster_file = \"cluster.toml\"\n\
                     [listen]\nclient = \"{}\"\npeer = \"{}\"\n\
                     [site]\nname = \"{name}\"\ntoken_file = \"{name}.token\"\nbackend = \"{backend}\"\n\
                     [[site.host]]\nname = \"n1\"\ncpu_milli = {}\nmemory_mib = 1048576\n{equipment}\n",
                    member.client, member.peer, layout.host_cpu_milli
                ),
            )?;
            replicas.push(Daemon {
                name: name.to_owned(),
                region,
                id: member.id,
                client: member.client.clone(),
                program: program.to_owned(),
                config,
                log: dir.join(format!("{name}.log")),
                child: None,
            });
        }
        let admin = Bearer::new(&read_token(&token_file)?)?;
        let mut cluster = Daemons {
            dir,
            replicas,
            admin,
            _temporary: Some(temporary),
        };
        for replica in &mut cluster.replicas {
            replica.start()?;
        }
        Ok(cluster)
    }

    /// Client addresses of all replicas.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.replicas.iter().map(|r| r.client.clone()).collect()
    }

    /// Waits until a running replica names a leader, and gives its place.
    ///
    /// # Errors
    /// When there is none within `patience`.
    pub async fn leader(&self, patience: Duration) -> anyhow::Result<usize> {
        let deadline = Instant::now() + patience;
        loop {
            for replica in self.replicas.iter().filter(|r| r.running()) {
                if let Ok(status) = self.status(replica).await
                    && status.leader_id != 0
                    && let Some(place) = self
                        .replicas
                        .iter()
                        .position(|r| r.id == status.leader_id && r.running())
                {
                    return Ok(place);
                }
            }
            ensure!(
                Instant::now() < deadline,
                "no leader within {patience:?}; see the logs:\n{}",
                self.tails()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What one replica says of the cluster.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self, replica: &Daemon) -> anyhow::Result<ClusterStatus> {
        let mut service = ClusterServiceClient::new(channel(&replica.client)?);
        let mut request = self.admin.request(GetStatusRequest {});
        request.set_timeout(Duration::from_secs(2));
        Ok(service.get_status(request).await?.into_inner())
    }

    /// Waits until all replicas have applied the same index, and checks that their outcomes are the same.
    ///
    /// # Errors
    /// When they are not within `patience`, or differ.
    pub async fn caught_up(&self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let mut applied = BTreeSet::new();
            let mut digests = BTreeSet::new();
            for replica in &self.replicas {
                match self.status(replica).await {
                    Ok(status) => {
                        applied.insert(status.applied_index);
                        digests.insert(status.outcome_digest);
                    }
                    Err(_) => {
                        applied.insert(0);
                    }
                }
            }
            if applied.len() == 1 && !applied.contains(&0) {
                ensure!(digests.len() == 1, "replicas differ at applied index {applied:?}");
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the replicas do not catch up: applied {applied:?}\n{}",
                self.tails()
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until the replica at `place` has applied what the others had when this was called; load may go on.
    ///
    /// # Errors
    /// When it has not within `patience`.
    pub async fn caught_up_under_load(&self, place: usize, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        let mut target = 0;
        for replica in &self.replicas {
            if let Ok(status) = self.status(replica).await {
                target = target.max(status.applied_index);
            }
        }
        loop {
            if let Ok(status) = self.status(&self.replicas[place]).await
                && status.applied_index >= target
                && status.leader_id != 0
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "replica {place} does not reach {target}:\n{}",
                self.tails()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until no job is pending and none runs.
    ///
    /// # Errors
    /// When that is not so within `patience`.
    pub async fn settled(&self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let leader = self.leader(patience).await?;
            let status = self.status(&self.replicas[leader]).await?;
            if status.jobs_pending == 0 && status.tasks_running == 0 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} jobs pending, {} tasks running after {patience:?}:\n{}",
                status.jobs_pending,
                status.tasks_running,
                self.tails()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last lines of every daemon's log, for an error message.
    #[must_use]
    pub fn tails(&self) -> String {
        let mut text = String::new();
        for replica in &self.replicas {
            let log = std::fs::read_to_string(&replica.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(8)..].join("\n");
            text.push_str(&format!("-- {}\n{tail}\n", replica.name));
        }
        text
    }

    /// Where the token of a principal is kept.
    #[must_use]
    pub fn token_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.token"))
    }
}

impl Daemon {
    /// Starts the process; its output goes to a log file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args(["__daemon", "run", "--until-stdin-closes", "--config"])
            .arg(&self.config)
            // Held open by the handle: should this process die, the daemon ends too.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start the daemon of {}", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it, as a power cut would end the process, and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends the kill without waiting; [`Daemon::kill`] reaps.
    pub fn kill_at_once(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// Asks it to stop, waits until it has, and reaps it.
    ///
    /// # Errors
    /// When it does not stop within `patience`.
    pub fn terminate(&mut self, patience: Duration) -> anyhow::Result<()> {
        if let Some(child) = &self.child {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
            self.exit_code(patience)?;
        }
        Ok(())
    }

    /// Waits until the process has ended by itself; `None` when a signal ended it.
    ///
    /// # Errors
    /// When it goes on for longer than `patience`.
    pub fn exit_code(&mut self, patience: Duration) -> anyhow::Result<Option<i32>> {
        let deadline = Instant::now() + patience;
        let child = self.child.as_mut().context("it was not started")?;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status.code());
            }
            ensure!(
                Instant::now() < deadline,
                "the daemon of {} still runs after {patience:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Peer and client address, from its configuration.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn addresses(&self) -> anyhow::Result<(String, String)> {
        let config = hesuan_server::config::Config::load(&self.config)?;
        Ok((config.listen.peer, config.listen.client))
    }

    /// Changes its configuration so that it joins under a new id. Its site keeps its name.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn rejoin_as(&mut self, name: &str, id: u64) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        let old = format!("name = \"{}\"\ndata_dir", self.name);
        ensure!(
            text.contains(&old),
            "the configuration does not begin as it was written"
        );
        let new = format!("name = \"{name}\"\njoin = true\nid = {id}\ndata_dir");
        std::fs::write(&self.config, text.replacen(&old, &new, 1))?;
        self.id = id;
        Ok(())
    }

    /// It was started and not killed.
    #[must_use]
    pub fn running(&self) -> bool {
        self.child.is_some()
    }

    /// Its process id, 0 if it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for replica in &mut self.replicas {
            replica.kill_at_once();
        }
        for replica in &mut self.replicas {
            replica.kill();
        }
    }
}
