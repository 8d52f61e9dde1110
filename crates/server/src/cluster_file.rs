//! The cluster file and tokens: what `hesuand init` makes once and every replica gets a copy of.
//!
//! It holds the secret that opens the peer listeners, so it is readable by its owner only. The admin token itself is in a file of
//! its own, for the person who runs the cluster; replicas know its hash.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Identity, secret and first members of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// Random, 16 bytes.
    #[serde(with = "hex::serde")]
    pub cluster_id: [u8; 16],
    /// Random, 32 bytes; replicas show it to each other.
    #[serde(with = "hex::serde")]
    pub secret: [u8; 32],
    /// Time of the genesis entry, milliseconds since 1970 UTC.
    pub created_at_ms: u64,
    /// Of the principal `admin`.
    #[serde(with = "hex::serde")]
    pub admin_token_sha256: [u8; 32],
    /// The voters of the genesis entry.
    pub member: Vec<ClusterMember>,
}

/// One of the first members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterMember {
    /// From 1 in the order given to `init`; never reused.
    pub id: u64,
    /// Unique.
    pub name: String,
    /// Where other replicas reach it.
    pub peer: String,
    /// Where clients reach it.
    pub client: String,
}

impl ClusterFile {
    /// A new cluster of these members (name, peer address, client address) and the text of its admin token.
    #[must_use]
    pub fn generate(members: &[(String, String, String)], created_at_ms: u64) -> (ClusterFile, String) {
        let token = new_token();
        let file = ClusterFile {
            cluster_id: rand::random(),
            secret: rand::random(),
            created_at_ms,
            admin_token_sha256: token_sha256(&token),
            member: (1u64..)
                .zip(members)
                .map(|(id, (name, peer, client))| ClusterMember {
                    id,
                    name: name.clone(),
                    peer: peer.clone(),
                    client: client.clone(),
                })
                .collect(),
        };
        (file, token)
    }

    /// Reads the file and checks that it is private and complete.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn load(path: &Path) -> anyhow::Result<ClusterFile> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read the cluster file {}", path.display()))?;
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        ensure!(
            mode & 0o077 == 0,
            "{}: mode {mode:o} lets others read the cluster secret; chmod 600 it",
            path.display()
        );
        let file: ClusterFile =
            toml::from_str(&text).with_context(|| format!("{} is no cluster file", path.display()))?;
        ensure!(!file.member.is_empty(), "{}: no members", path.display());
        file.check_members().with_context(|| path.display().to_string())?;
        Ok(file)
    }

    /// Whether the first members can be told apart and reached.
    ///
    /// # Errors
    /// Names the member that is at fault.
    pub fn check_members(&self) -> anyhow::Result<()> {
        for (index, member) in self.member.iter().enumerate() {
            let ClusterMember { id, name, peer, client } = member;
            ensure!(*id != 0, "member \"{name}\" has id 0");
            ensure!(
                crate::config::is_name(name),
                "member \"{name}\": a name is 1 to 63 of a-z, 0-9, '-', '_' and '.'"
            );
            for address in [peer, client] {
                let port = address
                    .rsplit_once(':')
                    .filter(|(host, _)| !host.is_empty())
                    .map(|(_, port)| port.parse::<u16>());
                ensure!(
                    port.is_some_and(|port| port.is_ok_and(|port| port != 0)),
                    "member \"{name}\": \"{address}\" is no HOST:PORT, such as 10.0.0.1:7444"
                );
            }
            ensure!(
                peer != client,
                "member \"{name}\": {peer} is given twice; clients and peers need a port each"
            );
            for other in &self.member[..index] {
                ensure!(
                    other.id != *id && other.name != *name,
                    "member \"{name}\" (id {id}) is given twice"
                );
                let taken = [&other.peer, &other.client]
                    .into_iter()
                    .find(|address| [peer, client].contains(address));
                if let Some(address) = taken {
                    bail!("member \"{name}\": {address} is taken by member \"{}\"", other.name);
                }
            }
        }
        Ok(())
    }

    /// Writes the cluster file and the admin token file into `dir`; refuses to touch existing ones.
    ///
    /// # Errors
    /// A file that exists already, or the file system's.
    pub fn write_new(&self, admin_token: &str, dir: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let cluster = dir.join("cluster.toml");
        let token = dir.join("admin.token");
        for path in [&cluster, &token] {
            if path.exists() {
                bail!(
                    "{} exists: this directory belongs to a cluster already; choose another",
                    path.display()
                );
            }
        }
        let text = toml::to_string(self).context("a cluster file is plain data")?;
        write_private(&cluster, &text)?;
        write_private(&token, &format!("{admin_token}\n"))?;
        Ok((cluster, token))
    }
}

/// Writes a new file only its owner can read, on disk when this returns.
///
/// # Errors
/// The file exists, or the file system's.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// 256 random bits, as `HESUAN_` and 64 hex digits.
#[must_use]
pub fn new_token() -> String {
    let bits: [u8; 32] = rand::random();
    format!("HESUAN_{}", hex::encode(bits))
}

/// What the cluster keeps of a token: the SHA-256 of its whole text.
#[must_use]
pub fn token_sha256(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Reads a token file: one line, surrounding white space ignored.
///
/// # Errors
/// The file system's, or the text is no token.
pub fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()))?;
    let token = text.trim();
    let hex_digits = token.strip_prefix("HESUAN_").unwrap_or_default();
    ensure!(
        hex_digits.len() == 64 && hex_digits.bytes().all(|b| b.is_ascii_hexdigit()),
        "{}: not a token; it starts with HESUAN_ and 64 hex digits follow",
        path.display()
    );
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<(String, String, String)> {
        ["songjiang", "hangzhou", "hefei"]
            .iter()
            .enumerate()
            .map(|(i, name)| {
                (
                    (*name).to_owned(),
                    format!("127.0.0.1:{}", 7444 + i * 10),
                    format!("127.0.0.1:{}", 7443 + i * 10),
                )
            })
            .collect()
    }

    #[test]
    fn what_init_writes_is_private_and_reads_back() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let (file, token) = ClusterFile::generate(&members(), 1_700_000_000_000);
        let (cluster_path, token_path) = file.write_new(&token, dir.path()).expect("an empty directory takes it");
        for path in [&cluster_path, &token_path] {
            let mode = fs::metadata(path).expect("it was just written").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
        assert_eq!(ClusterFile::load(&cluster_path).expect("it reads back"), file);
        assert_eq!(
            token_sha256(&read_token(&token_path).expect("it is a token")),
            file.admin_token_sha256
        );
        assert_eq!(file.member.iter().map(|m| m.id).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn members_that_could_not_reach_each_other_are_refused() {
        let member = |name: &str, peer: &str, client: &str| (name.to_owned(), peer.to_owned(), client.to_owned());
        let refused = |members: &[(String, String, String)], why: &str| {
            let error = ClusterFile::generate(members, 1).0.check_members().expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        };
        ClusterFile::generate(&members(), 1)
            .0
            .check_members()
            .expect("these are fine");
        refused(&[member("A b", "x:1", "x:2")], "a name is");
        refused(&[member("a", "x:99999", "x:2")], "no HOST:PORT");
        refused(&[member("a", "x:1", ":2")], "no HOST:PORT");
        refused(&[member("a", "x:1", "x:1")], "given twice");
        refused(&[member("a", "x:1", "x:2"), member("a", "x:3", "x:4")], "given twice");
        refused(
            &[member("a", "x:1", "x:2"), member("b", "x:3", "x:1")],
            "x:1 is taken by member \"a\"",
        );
    }

    #[test]
    fn an_existing_cluster_is_not_overwritten_and_a_public_file_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let (file, token) = ClusterFile::generate(&members(), 1);
        let (cluster_path, _) = file.write_new(&token, dir.path()).expect("an empty directory takes it");
        let again = file.write_new(&token, dir.path()).expect_err("it is there already");
        assert!(again.to_string().contains("belongs to a cluster already"), "{again}");
        fs::set_permissions(&cluster_path, fs::Permissions::from_mode(0o644)).expect("we own it");
        let error = ClusterFile::load(&cluster_path).expect_err("others could read the secret");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
