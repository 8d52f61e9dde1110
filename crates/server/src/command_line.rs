//! What `hesuand` understands on its command line, and the short commands that need no daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::cluster_file::ClusterFile;
use crate::config::Config;

/// One replica of a Hesuan cluster, with the agent of its own site.
#[derive(Debug, Parser)]
#[command(name = "hesuand", version)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new cluster: its identity, its secret and the admin's token
    Init(Init),
    /// Run a replica
    Run(Run),
    /// About configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Three cities on this machine: real daemons, real jobs, vouchers, a leader killed in the middle
    Demo(crate::demo::Options),
}

#[derive(Debug, Args)]
struct Init {
    /// Where to write cluster.toml and admin.token
    #[arg(long)]
    dir: PathBuf,
    /// NAME=PEER_ADDR,CLIENT_ADDR of each first member, such as hefei=127.0.0.1:7444,127.0.0.1:7443; may be repeated
    #[arg(long = "replica", required = true, value_parser = parse_replica)]
    replicas: Vec<(String, String, String)>,
}

/// Options of `hesuand run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// The configuration file
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Listen beyond loopback although nothing is encrypted
    #[arg(long)]
    pub(crate) insecure: bool,
    /// End when stdin does, as a child of a process that may die
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with a file, or that nothing is
    Check {
        /// The configuration file
        file: PathBuf,
    },
}

/// Parses the arguments and does what they say; the exit status says whether it worked.
pub(crate) fn run(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let parsed = match CommandLine::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match parsed.command {
        Command::Init(init) => run_init(&init).map(|()| ExitCode::SUCCESS),
        Command::Run(run) => crate::daemon::run(&run).map(|()| ExitCode::SUCCESS),
        Command::Config(ConfigCommand::Check { file }) => check_config(&file).map(|()| ExitCode::SUCCESS),
        Command::Demo(options) => crate::demo::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("hesuand: {}", in_full(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes; what one of them repeats is not said again.
fn in_full(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |text, cause| match text {
            text if text.is_empty() => cause,
            text if text.contains(&cause) => text,
            text => format!("{text}: {cause}"),
        })
}

fn parse_replica(text: &str) -> Result<(String, String, String), String> {
    let parts = text
        .split_once('=')
        .and_then(|(name, rest)| rest.split_once(',').map(|(peer, client)| (name, peer, client)));
    match parts {
        Some((name, peer, client)) if !name.is_empty() && peer.contains(':') && client.contains(':') => {
            Ok((name.to_owned(), peer.to_owned(), client.to_owned()))
        }
        _ => Err(format!("\"{text}\" is not NAME=PEER_HOST:PORT,CLIENT_HOST:PORT")),
    }
}

fn run_init(init: &Init) -> anyhow::Result<()> {
    let now_ms = crate::clock::wall_ms();
    let (file, token) = ClusterFile::generate(&init.replicas, now_ms);
    file.check_members().context("--replica")?;
    let (cluster, token_file) = file.write_new(&token, &init.dir)?;
    println!("cluster   {}", hex::encode(file.cluster_id));
    for member in &file.member {
        println!(
            "replica   {} {}  peers {}  clients {}",
            member.id, member.name, member.peer, member.client
        );
    }
    println!(
        "{}  copy it to every replica's machine, readable by hesuand only",
        cluster.display()
    );
    println!("{}  keep it: it is the admin's", token_file.display());
    Ok(())
}

fn check_config(file: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let cluster = ClusterFile::load(&config.cluster_file)?;
    if !config.join {
        crate::daemon::member_of(&cluster, &config)?;
    }
    config.addresses(true).map_err(anyhow::Error::msg).context("listen")?;
    println!("{}: nothing is wrong with it", file.display());
    if config.addresses(false).is_err() {
        println!("it listens beyond loopback: `hesuand run` needs --insecure, because nothing is encrypted yet");
    }
    Ok(())
}
