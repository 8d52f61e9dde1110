//! Settings of the daemon, and what it finds out about its machine by itself.

use std::fs;
use std::path::PathBuf;

use hesuan_api::internal::v1::HostInventory;

use crate::backend::process::ProcessConfig;

/// What runs the tasks.
#[derive(Clone, Debug)]
pub enum BackendKind {
    /// Real processes of this machine. Directory and kill grace are the daemon's, whatever is said here.
    Process(ProcessConfig),
    /// Nothing: each task ends at once with exit code 0. For measurements and tests.
    Instant,
}

/// Settings of the agent of one site. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The site's name, as registered.
    pub site: String,
    /// Random per start of the daemon.
    pub instance: [u8; 16],
    /// Replicas to dial, the preferred one first: `host:port` or `http://host:port`.
    pub endpoints: Vec<String>,
    /// The agent's token.
    pub token: String,
    /// Where journal, lease and tasks are kept. One daemon at a time uses it.
    pub directory: PathBuf,
    /// The site's machines; empty = this machine as [`this_host`] finds it.
    pub hosts: Vec<HostInventory>,
    /// Version told to the replica.
    pub version: String,
    /// What runs the tasks.
    pub backend: BackendKind,
    /// From SIGTERM to SIGKILL.
    pub kill_grace_ms: u64,
    /// A stream on which nothing comes for this long is given up; lease grants come every second on a healthy one.
    pub silence_ms_max: u64,
    /// Between the first two attempts to dial; doubles up to `redial_ms_max`.
    pub redial_ms_min: u64,
    /// Between two attempts to dial at most.
    pub redial_ms_max: u64,
}

impl AgentConfig {
    /// The usual times.
    pub fn new(
        site: impl Into<String>,
        instance: [u8; 16],
        endpoints: Vec<String>,
        token: impl Into<String>,
        directory: impl Into<PathBuf>,
        backend: BackendKind,
    ) -> AgentConfig {
        AgentConfig {
            site: site.into(),
            instance,
            endpoints,
            token: token.into(),
            directory: directory.into(),
            hosts: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            backend,
            kill_grace_ms: 5_000,
            silence_ms_max: 10_000,
            redial_ms_min: 100,
            redial_ms_max: 3_000,
        }
    }
}

/// This machine: its name, its cores, its memory. GPUs are not looked for; they are listed in the configuration.
pub fn this_host() -> HostInventory {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total_kib = meminfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0);
    HostInventory {
        name: if name.is_empty() { "localhost".to_owned() } else { name },
        cpu_milli: cores * 1000,
        memory_mib: total_kib / 1024,
        ..HostInventory::default()
    }
}
