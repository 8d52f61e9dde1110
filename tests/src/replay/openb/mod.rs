//! One GPU cluster is filled, task after task, until a third more was asked for than it has; none ever leaves. Measured is how
//! much of its GPUs is in use, by our placement and by three published ones.

mod cluster;
mod figures;
mod files;
mod fragment;
mod ours;
mod published;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

pub use cluster::{Cluster, Node, Placement, Pod};
pub use figures::{COLUMNS, Figures, Outcome};
pub use files::{Order, Trace};
pub use fragment::Fragments;
pub use ours::Ours;
pub use published::Published;

/// Fills a cluster of GPU nodes with tasks in a given order
#[derive(Args)]
pub struct Options {
    /// CSV (or .gz): sn, cpu_milli, memory_mib, gpu, model
    #[arg(long)]
    pub nodes: PathBuf,
    /// CSV (or .gz): name, cpu_milli, memory_mib, num_gpu, gpu_milli, and perhaps gpu_spec
    #[arg(long)]
    pub pods: PathBuf,
    /// For each seed a line `SEED P` with rows of pods as they arrive and a line `SEED N` with a tie-break rank for each node
    #[arg(long)]
    pub order: PathBuf,
    /// Whose placement
    #[arg(long, value_enum, default_value_t = Policy::Ours)]
    pub policy: Policy,
    /// One JSON line for each seed and one for their mean
    #[arg(long)]
    pub json: bool,
}

/// Whose placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// The production scheduler, which learns what is asked for as it comes
    Ours,
    /// Least new fragmentation, for the whole trace's mix of tasks known beforehand
    Fgd,
    /// Least left on the node
    Bestfit,
    /// Least product of what is free and what is asked for
    Dotprod,
}

#[derive(Serialize)]
struct Mean<'a> {
    mean: &'a Figures,
}

/// Replays every seed of the order and prints the figures.
///
/// # Errors
/// A file cannot be read or is malformed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let trace = Trace::read(&options.nodes, &options.pods)?;
    let orders = trace.read_orders(&options.order)?;
    if !options.json {
        println!("{}", Figures::heading());
    }
    let mut all = Vec::new();
    for (seed, order) in &orders {
        let outcome = replay(&trace, order, options.policy).with_context(|| format!("seed {seed}"))?;
        let figures = outcome.figures(Some(*seed));
        println!("{}", print(options.json, &figures, &figures)?);
        all.push(figures);
    }
    let mean = Figures::mean(&all);
    println!("{}", print(options.json, &mean, &Mean { mean: &mean })?);
    Ok(())
}

fn print(json: bool, figures: &Figures, value: &impl Serialize) -> anyhow::Result<String> {
    Ok(if json {
        serde_json::to_string(value)?
    } else {
        figures.to_string()
    })
}

/// Places the tasks of one order, one by one.
///
/// # Errors
/// The production scheduler refuses the cluster or a task as such.
pub fn replay(trace: &Trace, order: &Order, policy: Policy) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let fragments = Fragments::of(&trace.pods);
    let mut outcome = Outcome::new(&trace.nodes, &fragments);
    match policy {
        Policy::Ours => {
            let mut ours = Ours::new(&trace.nodes, &order.ranks)?;
            for pod in order.pods(trace) {
                let placement = ours.place(pod)?;
                outcome.arrived(pod, placement);
            }
        }
        Policy::Fgd | Policy::Bestfit | Policy::Dotprod => {
            let mut published = Published::new(policy, &fragments, &order.ranks);
            for pod in order.pods(trace) {
                let placement = published.place(outcome.cluster(), pod);
                outcome.arrived(pod, placement);
            }
        }
    }
    outcome.seconds = started.elapsed().as_secs_f64();
    Ok(outcome)
}
