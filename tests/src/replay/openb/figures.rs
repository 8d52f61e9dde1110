//! What is measured: at 100, 110, 120 and 130 % of demand arrived, how much of the GPUs is in use and how much is fragmented.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::cluster::{Cluster, Node, Placement, Pod};
use super::fragment::Fragments;

/// Arrived demand that is reported, in % of the cluster's GPUs.
pub const COLUMNS: [u64; 4] = [100, 110, 120, 130];

/// The figures of one seed, or their mean. Columns that the order does not reach are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// `None` for the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// GPUs in use, in %, by arrived demand in %.
    pub alloc: BTreeMap<u64, f64>,
    /// Idle GPUs that are fragmented, in % of all GPUs.
    pub frag: BTreeMap<u64, f64>,
    /// The same in % of the idle ones.
    pub frag_ratio: BTreeMap<u64, f64>,
    /// Tasks.
    #[serde(serialize_with = "whole_if_whole")]
    pub placed: f64,
    /// Tasks that fitted nowhere.
    #[serde(serialize_with = "whole_if_whole")]
    pub dropped: f64,
    /// For all of them, the measuring included.
    pub seconds: f64,
}

/// A replay as it goes on.
pub struct Outcome {
    nodes: Vec<Node>,
    fragments: Fragments,
    capacity_milli: u64,
    arrived_milli: u64,
    used_milli: u64,
    fragmented_milli: f64,
    columns: BTreeMap<u64, Column>,
    /// Each arrival's place; `None` = dropped.
    pub placements: Vec<Option<Placement>>,
    /// For all of it.
    pub seconds: f64,
}

/// Sums over the arrivals that round to one percent.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    events: f64,
    alloc: f64,
    frag: f64,
    frag_ratio: f64,
}

impl Outcome {
    /// Nothing has arrived.
    #[must_use]
    pub fn new(nodes: &[Node], fragments: &Fragments) -> Self {
        Self {
            capacity_milli: nodes.iter().map(Node::idle_milli).sum(),
            fragmented_milli: nodes.iter().map(|node| fragments.on(node)).sum(),
            nodes: nodes.to_vec(),
            fragments: fragments.clone(),
            arrived_milli: 0,
            used_milli: 0,
            columns: BTreeMap::new(),
            placements: Vec::new(),
            seconds: 0.0,
        }
    }

    /// What is free now.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.nodes
    }

    /// A task came and was placed or dropped.
    ///
    /// # Panics
    /// It was placed where it does not fit.
    pub fn arrived(&mut self, pod: &Pod, placement: Option<Placement>) {
        self.arrived_milli += pod.demand_milli();
        if let Some(placement) = &placement {
            self.used_milli += pod.demand_milli();
            let node = &mut self.nodes[placement.node];
            self.fragmented_milli -= self.fragments.on(node);
            node.take(pod, &placement.gpus);
            self.fragmented_milli += self.fragments.on(node);
        }
        self.placements.push(placement);
        let percent = |milli: f64, of: u64| if of == 0 { 0.0 } else { 100.0 * milli / of as f64 };
        let arrived = percent(self.arrived_milli as f64, self.capacity_milli);
        let column = self.columns.entry(arrived.round() as u64).or_default();
        column.events += 1.0;
        column.alloc += hundredths(percent(self.used_milli as f64, self.capacity_milli));
        column.frag += hundredths(percent(self.fragmented_milli, self.capacity_milli));
        column.frag_ratio += percent(self.fragmented_milli, self.capacity_milli - self.used_milli);
    }

    /// The figures so far.
    #[must_use]
    pub fn figures(&self, seed: Option<u64>) -> Figures {
        let by_column = |of: &dyn Fn(&Column) -> f64| {
            let reached = COLUMNS
                .iter()
                .filter_map(|percent| Some((percent, self.columns.get(percent)?)));
            reached
                .map(|(percent, column)| (*percent, hundredths(of(column) / column.events)))
                .collect()
        };
        let placed = self.placements.iter().flatten().count();
        Figures {
            seed,
            alloc: by_column(&|column| column.alloc),
            frag: by_column(&|column| column.frag),
            frag_ratio: by_column(&|column| column.frag_ratio),
            placed: placed as f64,
            dropped: (self.placements.len() - placed) as f64,
            seconds: hundredths(self.seconds),
        }
    }
}

impl Figures {
    /// Of several seeds; of a column, over those that reach it.
    #[must_use]
    pub fn mean(all: &[Self]) -> Self {
        let mean = |of: &dyn Fn(&Self) -> Option<f64>| {
            let values: Vec<f64> = all.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| hundredths(values.iter().sum::<f64>() / values.len() as f64))
        };
        let by_column = |of: &dyn Fn(&Self) -> &BTreeMap<u64, f64>| {
            let value = |percent: u64| mean(&|figures| of(figures).get(&percent).copied());
            COLUMNS
                .iter()
                .filter_map(|percent| Some((*percent, value(*percent)?)))
                .collect()
        };
        Self {
            seed: None,
            alloc: by_column(&|figures| &figures.alloc),
            frag: by_column(&|figures| &figures.frag),
            frag_ratio: by_column(&|figures| &figures.frag_ratio),
            placed: mean(&|figures| Some(figures.placed)).unwrap_or(0.0),
            dropped: mean(&|figures| Some(figures.dropped)).unwrap_or(0.0),
            seconds: mean(&|figures| Some(figures.seconds)).unwrap_or(0.0),
        }
    }

    /// For the lines that `to_string` gives.
    #[must_use]
    pub fn heading() -> String {
        let mut heading = format!("{:>5}", "seed");
        for what in ["alloc", "frag"] {
            for percent in COLUMNS {
                heading += &format!(" {what:>5} {percent}");
            }
        }
        heading + &format!(" {:>9} {:>9} {:>8}", "placed", "dropped", "seconds")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.seed.map_or("mean".to_owned(), |seed| seed.to_string());
        write!(f, "{seed:>5}")?;
        for column in [&self.alloc, &self.frag] {
            for percent in COLUMNS {
                let value = column
                    .get(&percent)
                    .map_or("-".to_owned(), |value| format!("{value:.2}"));
                write!(f, " {value:>9}")?;
            }
        }
        write!(f, " {:>9} {:>9} {:>8.2}", self.placed, self.dropped, self.seconds)
    }
}

/// Counts are whole, their means need not be.
fn whole_if_whole<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 {
        serializer.serialize_u64(*value as u64)
    } else {
        serializer.serialize_f64(*value)
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
