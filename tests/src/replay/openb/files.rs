//! The files of the trace: nodes, pods, and in which order the pods arrive.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::cluster::{Node, Pod};
use crate::replay::input::{self, Malformed, Table};

/// More than any machine has, and far from overflow.
const AMOUNT_MAX: u64 = 1 << 32;
const GPUS_MAX: u64 = 64;
const NODES_MAX: usize = 20_000;
const LINE_BYTES_MAX: u64 = 64 << 20;

/// The cluster and all tasks that may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// In order of name.
    pub nodes: Vec<Node>,
    /// In order of the file.
    pub pods: Vec<Pod>,
}

/// One seed's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By place in [`Trace::pods`]; one may come again.
    pub arrivals: Vec<usize>,
    /// For each node: among equals the smallest goes first.
    pub ranks: Vec<usize>,
}

/// A seed's arrivals and ranks, as far as they were read.
type Lists = (Option<Vec<usize>>, Option<Vec<usize>>);

impl Order {
    /// The tasks as they arrive.
    pub fn pods<'a>(&'a self, trace: &'a Trace) -> impl Iterator<Item = &'a Pod> {
        self.arrivals.iter().map(|place| &trace.pods[*place])
    }
}

impl Trace {
    /// Reads nodes and pods.
    ///
    /// # Errors
    /// They cannot be read or are malformed.
    pub fn read(nodes: &Path, pods: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            nodes: read_nodes(nodes)?,
            pods: read_pods(pods)?,
        })
    }

    /// Reads the orders, by seed.
    ///
    /// # Errors
    /// They cannot be read, are malformed, or speak of other nodes and pods than these.
    pub fn read_orders(&self, path: &Path) -> anyhow::Result<BTreeMap<u64, Order>> {
        let mut orders: BTreeMap<u64, Lists> = BTreeMap::new();
        let mut last = 0;
        for line in input::lines(path, LINE_BYTES_MAX)? {
            let (line, text) = line?;
            last = line;
            let malformed = |given: String, expected: String| Malformed {
                file: path.to_owned(),
                line,
                given,
                expected,
            };
            let mut words = text.split_ascii_whitespace();
            let (seed, what) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let seed: u64 = seed.parse().map_err(|_| {
                malformed(
                    format!("the seed is \"{}\"", start(seed)),
                    "a line \"SEED P row row ...\" or \"SEED N rank rank ...\"".into(),
                )
            })?;
            let entry = orders.entry(seed).or_default();
            let (list, below, whose) = match what {
                "P" => (&mut entry.0, self.pods.len(), "rows of pods"),
                "N" => (&mut entry.1, usize::MAX, "ranks of nodes"),
                _ => {
                    return Err(malformed(
                        format!("\"{}\" after the seed", start(what)),
                        "P or N after the seed".into(),
                    )
                    .into());
                }
            };
            let number = |word: &str| {
                let number = word.parse::<usize>().ok().filter(|number| *number < below);
                number.ok_or_else(|| {
                    let most = if below == usize::MAX {
                        String::new()
                    } else {
                        format!(" below {below}")
                    };
                    malformed(format!("\"{}\"", start(word)), format!("whole numbers{most} ({whose})"))
                })
            };
            let numbers = words.map(number).collect::<Result<Vec<usize>, Malformed>>()?;
            if what == "N" {
                let distinct: HashSet<usize> = numbers.iter().copied().collect();
                if numbers.len() != self.nodes.len() || distinct.len() != numbers.len() {
                    return Err(malformed(
                        format!("{} ranks, {} of them different", numbers.len(), distinct.len()),
                        format!("a rank of its own for each of the {} nodes", self.nodes.len()),
                    )
                    .into());
                }
            }
            if list.replace(numbers).is_some() {
                return Err(malformed(
                    format!("a second {what} line for seed {seed}"),
                    "one P and one N line for each seed".into(),
                )
                .into());
            }
        }
        let whole = |(seed, lists): (u64, Lists)| match lists {
            (Some(arrivals), Some(ranks)) => Ok((seed, Order { arrivals, ranks })),
            (arrivals, _) => Err(Malformed {
                file: path.to_owned(),
                line: last,
                given: format!(
                    "the end, without a line \"{seed} {}\"",
                    if arrivals.is_some() { "N" } else { "P" }
                ),
                expected: "one P and one N line for each seed".into(),
            }),
        };
        if orders.is_empty() {
            return Err(Malformed {
                file: path.to_owned(),
                line: 1,
                given: "an empty file".into(),
                expected: "one P and one N line for each seed".into(),
            }
            .into());
        }
        Ok(orders.into_iter().map(whole).collect::<Result<_, _>>()?)
    }
}

fn start(word: &str) -> String {
    word.chars().take(40).collect()
}

fn read_nodes(path: &Path) -> anyhow::Result<Vec<Node>> {
    let mut table = Table::open(path, &["sn", "cpu_milli", "memory_mib", "gpu", "model"])?;
    let mut names = HashSet::new();
    let mut nodes = Vec::new();
    while let Some(row) = table.next_row()? {
        let (name, model) = (row.text("sn"), row.text("model"));
        if name.is_empty() || !names.insert(name.to_owned()) {
            return Err(row.malformed("sn", name, "a name that no other node has").into());
        }
        let gpus = row.number("gpu", 0, GPUS_MAX)?;
        if gpus > 0 && (model.is_empty() || model.len() > 64) {
            return Err(row
                .malformed("model", model, "the model of its GPUs, at most 64 bytes")
                .into());
        }
        if nodes.len() == NODES_MAX {
            return Err(row.malformed("sn", name, &format!("at most {NODES_MAX} nodes")).into());
        }
        nodes.push(Node {
            name: name.to_owned(),
            cpu_milli: row.number("cpu_milli", 0, AMOUNT_MAX)?,
            memory_mib: row.number("memory_mib", 0, AMOUNT_MAX)?,
            gpus: vec![1000; gpus as usize],
            model: model.to_owned(),
        });
    }
    if nodes.iter().all(|node| node.gpus.is_empty()) {
        return Err(Malformed {
            file: path.to_owned(),
            line: 1,
            given: format!("{} nodes without any GPU", nodes.len()),
            expected: "nodes with GPUs: figures are parts of them".into(),
        }
        .into());
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

fn read_pods(path: &Path) -> anyhow::Result<Vec<Pod>> {
    let mut table = Table::open(path, &["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"])?;
    let mut pods = Vec::new();
    while let Some(row) = table.next_row()? {
        let gpus = row.number("num_gpu", 0, GPUS_MAX)?;
        let gpu_milli = match gpus {
            0 => 0,
            1 => row.number("gpu_milli", 1, 1000)?,
            _ => row.number("gpu_milli", 1000, 1000)?,
        };
        let spec = row.text("gpu_spec");
        let models: Vec<String> = spec
            .split('|')
            .filter(|model| !model.is_empty())
            .map(str::to_owned)
            .collect();
        if (gpus == 0 && !models.is_empty()) || models.iter().any(|model| model.len() > 64) {
            return Err(row
                .malformed("gpu_spec", spec, "models joined by |, and none for a task without GPUs")
                .into());
        }
        pods.push(Pod {
            cpu_milli: row.number("cpu_milli", 0, AMOUNT_MAX)?,
            memory_mib: row.number("memory_mib", 0, AMOUNT_MAX)?,
            gpus,
            gpu_milli,
            models,
        });
    }
    Ok(pods)
}
