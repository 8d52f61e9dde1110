//! Benchmarks against real daemon processes on loopback, and of the ledger alone. The daemons are this binary, re-executed.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hesuan_tests::bench::{crash, ledger, pending, run, submit};
use serde::Serialize;

/// Measures a cluster of real processes on this machine
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    bench: Bench,
    /// One JSON line instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Bench {
    /// Acknowledged independent single-job submissions
    Submit {
        /// Daemons
        #[arg(long, default_value_t = 3)]
        replicas: usize,
        /// Closed-loop clients, spread over the replicas
        #[arg(long, default_value_t = 256)]
        clients: usize,
        /// How long
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// One array, from the call to its acknowledgement
    Array {
        /// Tasks of the array
        #[arg(long, default_value_t = 100_000)]
        tasks: u32,
        /// How often
        #[arg(long, default_value_t = 10)]
        rounds: usize,
    },
    /// Jobs from submit to finished and captured
    Run {
        /// Run /bin/true for each instead of ending them at once
        #[arg(long)]
        exec: bool,
        /// How many
        #[arg(long)]
        jobs: Option<u64>,
        /// Closed-loop clients
        #[arg(long, default_value_t = 256)]
        clients: usize,
    },
    /// From kill -9 of the leader under load to the next new placement
    Failover {
        /// How often
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// Memory of the leader per pending job
    Pending {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        jobs: u64,
    },
    /// Acknowledged, then every process killed at once
    Killall {
        /// Submissions a round
        #[arg(long, default_value_t = 500)]
        jobs: u64,
        /// How often
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// Holds captured and released a CPU second, and a quote, of the ledger alone
    Ledger {
        /// Cycles a round
        #[arg(long, default_value_t = 300_000)]
        cycles: u64,
        /// How often
        #[arg(long, default_value_t = 7)]
        rounds: usize,
    },
}

fn main() -> ExitCode {
    if let Some(code) = hesuan_server::dispatch_reexec() {
        return code;
    }
    let line = CommandLine::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built at start");
    match runtime.block_on(measure(&line)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(line: &CommandLine) -> anyhow::Result<()> {
    match &line.bench {
        Bench::Submit {
            replicas,
            clients,
            seconds,
        } => print(line.json, &submit::submit(*replicas, *clients, *seconds).await?),
        Bench::Array { tasks, rounds } => print(line.json, &submit::array(*tasks, *rounds).await?),
        Bench::Run { exec, jobs, clients } => {
            let jobs = jobs.unwrap_or(if *exec { 5_000 } else { 50_000 });
            print(line.json, &run::run(jobs, *clients, *exec).await?)
        }
        Bench::Failover { rounds } => print(line.json, &crash::failover(*rounds).await?),
        Bench::Pending { jobs } => print(line.json, &pending::pending(*jobs).await?),
        Bench::Killall { jobs, rounds } => print(line.json, &crash::killall(*jobs, *rounds).await?),
        Bench::Ledger { cycles, rounds } => print(line.json, &ledger::ledger(*cycles, *rounds)?),
    }
}

/// The same facts as one JSON line or as one line per figure.
fn print<T: Serialize>(json: bool, figures: &T) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
        return Ok(());
    }
    if let serde_json::Value::Object(fields) = serde_json::to_value(figures)? {
        for (name, value) in fields {
            println!("{name:>16}  {value}");
        }
    }
    Ok(())
}
