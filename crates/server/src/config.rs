//! The daemon's own file: TOML, overridden by `HESUAND__A__B` from the environment. Unknown keys are refused with what is allowed.
//!
//! What all replicas must agree on is not here: the cluster's identity is in the cluster file, limits that decide anything are in State.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

/// Everything `hesuand run` needs to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This replica's name: one of the cluster file's members, or with `join` the name given to `hesuan cluster add`.
    pub name: String,
    /// Everything this replica keeps.
    pub data_dir: PathBuf,
    /// Written by `hesuand init`; the same on every replica.
    pub cluster_file: PathBuf,
    /// True for a replica that was added later.
    #[serde(default)]
    pub join: bool,
    /// Only with `join`: the number that `hesuan cluster add` gave.
    #[serde(default)]
    pub id: Option<u64>,
    /// Where it listens.
    pub listen: Listen,
    /// The site whose agent runs inside this daemon.
    #[serde(default)]
    pub site: Option<Site>,
    /// What this process may hold.
    #[serde(default)]
    pub limits: Limits,
}

/// The two listeners.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// For clients and agents, such as `127.0.0.1:7443`.
    pub client: String,
    /// For the other replicas, such as `127.0.0.1:7444`.
    pub peer: String,
}

/// The embedded agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// As created with `hesuan site create`.
    pub name: String,
    /// Holds the token of a principal with the role NODE for this site. It may appear later: the agent waits for it.
    pub token_file: PathBuf,
    /// What runs the tasks.
    #[serde(default)]
    pub backend: Backend,
    /// The machines; absent = this one, as found.
    #[serde(default)]
    pub host: Vec<Host>,
}

/// What runs the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// Processes on this machine.
    #[default]
    Process,
    /// Ends each task at once with exit code 0; for measurements.
    Instant,
}

/// A machine of the site.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Unique in the site.
    pub name: String,
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Mebibytes.
    pub memory_mib: u64,
    /// One model name a device.
    #[serde(default)]
    pub gpus: Vec<String>,
    /// Named generic resources.
    #[serde(default)]
    pub generic: std::collections::BTreeMap<String, u64>,
}

/// Bounds of this process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Commands that may wait for the log here; more are refused with RESOURCE_EXHAUSTED.
    pub commands_waiting_max: usize,
    /// Frames that may wait for one peer; more are dropped.
    pub peer_frames_max: usize,
    /// Streams a client may have open on one connection.
    pub streams_per_connection_max: u32,
    /// Raft entries that are kept in memory, in bytes.
    pub log_cache_bytes_max: usize,
    /// Applied bytes after which a snapshot is due.
    pub snapshot_after_bytes: u64,
    /// And applied entries that must have passed since the last one.
    pub snapshot_after_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            commands_waiting_max: 16_384,
            peer_frames_max: 8_192,
            streams_per_connection_max: 4_096,
            log_cache_bytes_max: 32 << 20,
            snapshot_after_bytes: 64 << 20,
            snapshot_after_entries: 20_000,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there, not TOML, an unknown key, a missing key, a wrong type.
    #[error("{path}: {message}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Names the key and what is allowed.
        message: String,
    },
    /// The file is not there at all.
    #[error("{}: no such file", .0.display())]
    Missing(PathBuf),
    /// The values do not fit together.
    #[error("{path}: {key}: {message}", path = .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Dotted.
        key: &'static str,
        /// What is wrong and what is allowed.
        message: String,
    },
}

impl Config {
    /// Reads and checks the file, environment included. Relative paths are taken from the file's directory.
    ///
    /// # Errors
    /// Names the key that is at fault.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        if !path.is_file() {
            return Err(ConfigError::Missing(path.to_owned()));
        }
        let figment = Figment::new()
            .merge(Toml::file_exact(path))
            .merge(Env::prefixed("HESUAND__").split("__"));
        let mut config: Config = figment.extract().map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            message: in_words(&cause),
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let mut files = vec![
            ("data_dir", &mut config.data_dir),
            ("cluster_file", &mut config.cluster_file),
        ];
        if let Some(site) = &mut config.site {
            files.push(("site.token_file", &mut site.token_file));
        }
        for (key, file) in files {
            if file.as_os_str().is_empty() {
                let message = "is empty; give a path".to_owned();
                return Err(ConfigError::Wrong {
                    path: path.to_owned(),
                    key,
                    message,
                });
            }
            *file = base.join(&*file);
        }
        config.check().map_err(|(key, message)| ConfigError::Wrong {
            path: path.to_owned(),
            key,
            message,
        })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        check_name("name", &self.name)?;
        match (self.join, self.id) {
            (true, None) => {
                return Err((
                    "id",
                    "missing: a replica that joins needs the id that `hesuan cluster add` gave".into(),
                ));
            }
            (false, Some(id)) => {
                return Err((
                    "id",
                    format!("{id} is given without `join = true`; the cluster file knows the ids of the first members"),
                ));
            }
            (true, Some(0)) => return Err(("id", "0 is not an id; ids count from 1".into())),
            _ => {}
        }
        let client = resolve("listen.client", &self.listen.client)?;
        if client == resolve("listen.peer", &self.listen.peer)? {
            return Err((
                "listen.peer",
                format!("{client} is taken by listen.client; clients and peers need a port each"),
            ));
        }
        let limits = &self.limits;
        for (key, value) in [
            ("limits.commands_waiting_max", limits.commands_waiting_max),
            ("limits.peer_frames_max", limits.peer_frames_max),
            (
                "limits.streams_per_connection_max",
                limits.streams_per_connection_max as usize,
            ),
            ("limits.log_cache_bytes_max", limits.log_cache_bytes_max),
        ] {
            if value == 0 {
                return Err((key, "0 leaves no room for anything; give a number above 0".into()));
            }
        }
        let Some(site) = &self.site else { return Ok(()) };
        check_name("site.name", &site.name)?;
        let mut seen = std::collections::BTreeSet::new();
        for host in &site.host {
            check_name("site.host.name", &host.name)?;
            if !seen.insert(&host.name) {
                return Err(("site.host.name", format!("\"{}\" is given twice", host.name)));
            }
            if host.cpu_milli == 0 || host.memory_mib == 0 {
                return Err((
                    "site.host",
                    format!("\"{}\" has no cpu_milli or no memory_mib; both are above 0", host.name),
                ));
            }
        }
        Ok(())
    }

    /// Addresses to bind: client, then peer.
    ///
    /// # Errors
    /// An address beyond loopback needs `insecure`, because nothing is encrypted yet.
    pub fn addresses(&self, insecure: bool) -> Result<(SocketAddr, SocketAddr), String> {
        let client =
            resolve("listen.client", &self.listen.client).map_err(|(key, message)| format!("{key}: {message}"))?;
        let peer = resolve("listen.peer", &self.listen.peer).map_err(|(key, message)| format!("{key}: {message}"))?;
        for (key, address) in [("listen.client", client), ("listen.peer", peer)] {
            if !insecure && !address.ip().is_loopback() {
                return Err(format!(
                    "{key}: {address} is beyond loopback, and connections are not encrypted: anyone on the way can read tokens and \
                     the cluster secret; use a loopback address, or say --insecure if the network between is yours"
                ));
            }
        }
        Ok((client, peer))
    }
}

/// The key, what is wrong with it, and where it was given if that is not the file.
fn in_words(error: &figment::Error) -> String {
    let key = error.path.join(".");
    let text = match &error.kind {
        Kind::UnknownField(_, allowed) => format!("{key}: there is no such key; allowed are {}", allowed.join(", ")),
        Kind::UnknownVariant(found, allowed) => format!("{key}: \"{found}\" is not one of {}", allowed.join(", ")),
        Kind::MissingField(name) if key.is_empty() => format!("{name}: missing"),
        Kind::MissingField(name) => format!("{key}.{name}: missing"),
        kind if key.is_empty() => kind.to_string(),
        kind => format!("{key}: {kind}"),
    };
    match &error.metadata {
        Some(metadata) if metadata.source.is_none() => format!("{text} (from the environment)"),
        _ => text,
    }
}

fn check_name(key: &'static str, name: &str) -> Result<(), (&'static str, String)> {
    if is_name(name) {
        return Ok(());
    }
    Err((
        key,
        format!("\"{name}\" is not a name: 1 to 63 of a-z, 0-9, '-', '_' and '.'"),
    ))
}

/// Whether a replica, a site or a host may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_' || c == '.';
    !name.is_empty() && name.len() <= 63 && name.chars().all(allowed)
}

fn resolve(key: &'static str, address: &str) -> Result<SocketAddr, (&'static str, String)> {
    let found = address
        .to_socket_addrs()
        .map_err(|error| (key, format!("\"{address}\" is no HOST:PORT: {error}")))?
        .next();
    found.ok_or_else(|| (key, format!("\"{address}\" has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "songjiang"
data_dir = "data"
cluster_file = "cluster.toml"
[listen]
client = "127.0.0.1:7443"
peer = "127.0.0.1:7444"
[site]
name = "songjiang"
token_file = "songjiang.token"
[[site.host]]
name = "n1"
cpu_milli = 8000
memory_mib = 16384
gpus = ["a800", "a800"]
generic = { licence = 3 }
"#;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let file = dir.path().join("hesuand.toml");
        std::fs::write(&file, text).expect("a file in it can be written");
        Config::load(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_file_is_understood_and_paths_hang_on_its_directory() {
        let config = load(GOOD).expect("the example is right");
        assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("data"));
        let site = config.site.expect("a site is given");
        assert_eq!(site.backend, Backend::Process);
        assert_eq!(site.host[0].gpus.len(), 2);
        assert_eq!(config.limits.peer_frames_max, Limits::default().peer_frames_max);
    }

    #[test]
    fn an_unknown_key_is_refused_with_what_is_allowed() {
        let error = load(&GOOD.replace("data_dir", "datadir")).expect_err("datadir is no key");
        assert!(error.contains("datadir") && error.contains("data_dir"), "{error}");
        let error = load(&format!("{GOOD}cpus = 3\n")).expect_err("cpus is no key of a host");
        assert!(error.contains("cpus") && error.contains("cpu_milli"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_value_is_said_once_and_with_its_key() {
        let ends = |text: &str, end: &str| {
            let error = load(text).expect_err(end);
            assert!(error.ends_with(end), "{error}");
        };
        ends(
            &GOOD.replace("[listen]", "[listen]\nport = 1"),
            "hesuand.toml: listen.port: there is no such key; allowed are client, peer",
        );
        ends(
            &GOOD.replace("peer = \"127.0.0.1:7444\"", ""),
            "hesuand.toml: listen.peer: missing",
        );
        ends(
            &GOOD.replace("[[site.host]]", "backend = \"docker\"\n[[site.host]]"),
            "site.backend: \"docker\" is not one of process, instant",
        );
        ends(
            &GOOD.replace("cluster.toml", ""),
            "hesuand.toml: cluster_file: is empty; give a path",
        );
    }

    #[test]
    fn keys_that_do_not_fit_together_are_named() {
        let error = load(&format!("join = true\n{GOOD}")).expect_err("join needs an id");
        assert!(error.contains(": id: missing"), "{error}");
        let error = load(&format!("id = 4\n{GOOD}")).expect_err("an id needs join");
        assert!(error.contains("join = true"), "{error}");
        let error = load(&GOOD.replace("\"songjiang\"\ndata", "\"Song jiang\"\ndata")).expect_err("no name");
        assert!(error.contains("name:"), "{error}");
        let error = load(&GOOD.replace("127.0.0.1:7443", "nowhere")).expect_err("no address");
        assert!(error.contains("listen.client"), "{error}");
        let error = load(&GOOD.replace("7444", "7443")).expect_err("one port for two");
        assert!(error.contains("listen.peer"), "{error}");
        let error = load(&GOOD.replace("cpu_milli = 8000", "cpu_milli = 0")).expect_err("no cpu");
        assert!(error.contains("site.host"), "{error}");
    }

    #[test]
    fn beyond_loopback_needs_insecure() {
        let config = load(&GOOD.replace("127.0.0.1:7444", "0.0.0.0:7444")).expect("the file itself is right");
        let error = config.addresses(false).expect_err("0.0.0.0 is beyond loopback");
        assert!(error.contains("listen.peer") && error.contains("--insecure"), "{error}");
        assert!(config.addresses(true).is_ok());
    }
}
