//! Three daemons as child processes: their files, their ports, starting, killing, ending.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cluster_file::{ClusterFile, read_token};

/// A city of the demo.
pub(super) struct City {
    /// Of its site and its replica.
    pub(super) name: &'static str,
    /// GB/T 2260.
    pub(super) region: u32,
    /// Thousandths of cores of its one host.
    pub(super) cpu_milli: u64,
    /// Mebibytes of it.
    pub(super) memory_mib: u64,
    /// Devices of it.
    pub(super) gpus: &'static [&'static str],
    /// Milli-fen per core-hour, per GiB-hour, per card-hour.
    pub(super) prices: [u64; 3],
}

/// Prices are about a thousand times real ones, so that a job of seconds costs something.
pub(super) const CITIES: [City; 3] = [
    City {
        name: "songjiang",
        region: 310_117,
        cpu_milli: 8_000,
        memory_mib: 16_384,
        gpus: &["a800"],
        prices: [54_000_000, 1_800_000, 1_200_000_000],
    },
    City {
        name: "hangzhou",
        region: 330_100,
        cpu_milli: 8_000,
        memory_mib: 16_384,
        gpus: &[],
        prices: [43_200_000, 1_440_000, 0],
    },
    City {
        name: "hefei",
        region: 340_100,
        cpu_milli: 12_000,
        memory_mib: 32_768,
        gpus: &["a800", "a800"],
        prices: [36_000_000, 1_080_000, 900_000_000],
    },
];

/// How a daemon ended that should not have.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its position in [`CITIES`].
    pub(super) city: usize,
    status: ExitStatus,
    log_tail: String,
}

impl Ended {
    /// Without what it wrote.
    pub(super) fn brief(&self) -> String {
        format!("the daemon of {} ended ({})", CITIES[self.city].name, self.status)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:\n{}", self.brief(), self.log_tail)
    }
}

/// The three daemons.
pub(super) struct Cluster {
    dir: PathBuf,
    /// Client addresses, in the order of [`CITIES`].
    pub(super) addresses: Vec<String>,
    /// Text of the admin's token.
    pub(super) admin_token: String,
    /// Whether this directory was used before.
    pub(super) found_again: bool,
    children: Vec<Option<Child>>,
}

impl Cluster {
    /// Prepares the directory, or finds what an earlier start left in it. Nothing runs yet.
    pub(super) fn prepare(dir: &Path) -> anyhow::Result<Cluster> {
        let found_again = dir.join("cluster.toml").exists();
        if !found_again {
            found(dir)?;
        }
        let file = ClusterFile::load(&dir.join("cluster.toml"))?;
        let addresses: Vec<_> = file.member.iter().map(|member| member.client.clone()).collect();
        if addresses.len() != CITIES.len() {
            bail!("{} was not made by the demo", dir.display());
        }
        for address in file.member.iter().flat_map(|member| [&member.client, &member.peer]) {
            TcpListener::bind(address).with_context(|| {
                format!("{address}, which the data of an earlier demo names, is taken; is that demo still up?")
            })?;
        }
        let admin_token = read_token(&dir.join("admin.token"))?;
        Ok(Cluster {
            dir: dir.to_owned(),
            addresses,
            admin_token,
            found_again,
            children: vec![None, None, None],
        })
    }

    /// Where the token of a principal is kept.
    pub(super) fn token_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.token"))
    }

    /// Starts one city's daemon: this very program again.
    pub(super) fn start(&mut self, city: usize) -> anyhow::Result<()> {
        let name = CITIES[city].name;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{name}.log")))?;
        let child = Command::new(std::env::current_exe().context("cannot find this program")?)
            .arg("__daemon")
            .args(["run", "--until-stdin-closes", "--config"])
            .arg(self.dir.join(format!("{name}.toml")))
            // Ctrl-C is for the demo, which then ends its daemons in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start the daemon of {name}"))?;
        self.children[city] = Some(child);
        Ok(())
    }

    /// Kills one city's daemon as `kill -9` does.
    pub(super) fn kill(&mut self, city: usize) -> anyhow::Result<()> {
        let mut child = self.children[city].take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// A daemon that ended by itself, said once: which city's, how, and the end of what it wrote.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        for (index, city) in CITIES.iter().enumerate() {
            let Some(status) = self.children[index]
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten())
            else {
                continue;
            };
            self.children[index] = None;
            let log = fs::read_to_string(self.dir.join(format!("{}.log", city.name))).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(15).collect();
            let tail: Vec<_> = lines.into_iter().rev().collect();
            return Some(Ended {
                city: index,
                status,
                log_tail: tail.join("\n"),
            });
        }
        None
    }

    /// Whether any daemon runs.
    pub(super) fn any_runs(&self) -> bool {
        self.children.iter().any(Option::is_some)
    }

    /// Asks every daemon to end and waits for it; who does not within ten seconds is killed.
    pub(super) fn stop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            drop(child.stdin.take());
        }
        for child in &mut self.children {
            let Some(mut child) = child.take() else { continue };
            for _ in 0..200 {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes the cluster's files: what `hesuand init` does, and one configuration a city.
fn found(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Held until all are known, so that no port is given twice.
    let listeners: Vec<TcpListener> = (0..2 * CITIES.len())
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let address = |index: usize| listeners[index].local_addr().map(|address| address.to_string());
    let mut members = Vec::new();
    for (index, city) in CITIES.iter().enumerate() {
        members.push((city.name.to_owned(), address(2 * index)?, address(2 * index + 1)?));
    }
    for (city, (_, peer, client)) in CITIES.iter().zip(&members) {
        let gpus: Vec<_> = city.gpus.iter().map(|model| format!("\"{model}\"")).collect();
        let text = format!(
            "name = \"{name}\"\ndata_dir = \"{name}\"\ncluster_file = \"cluster.toml\"\n\n\
             [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\n\n\
             [site]\nname = \"{name}\"\ntoken_file = \"{name}-node.token\"\n\n\
             [[site.host]]\nname = \"{name}-1\"\ncpu_milli = {cpu}\nmemory_mib = {memory}\ngpus = [{gpus}]\n",
            name = city.name,
            cpu = city.cpu_milli,
            memory = city.memory_mib,
            gpus = gpus.join(", "),
        );
        fs::write(dir.join(format!("{}.toml", city.name)), text)?;
    }
    let (file, token) = ClusterFile::generate(&members, crate::clock::wall_ms());
    file.write_new(&token, dir)?;
    Ok(())
}
