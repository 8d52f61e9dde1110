//! The openb replay on small made-up clusters, and on the published one if `HESUAN_OPENB` names the folder of its files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hesuan_tests::replay::openb::{COLUMNS, Order, Placement, Policy, Trace, replay};
use tempfile::TempDir;

const NODES: &str = "\
sn,cpu_milli,memory_mib,gpu,model
b,16000,65536,2,P100
a,32000,65536,2,T4
c,8000,65536,0,
";

const PODS: &str = "\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos
p0,4000,1024,1,500,,LS
p1,4000,1024,1,1000,T4|P100,LS
p2,20000,0,0,0,,BE
p3,8000,1024,2,1000,P100,LS
";

const ORDER: &str = "\
42 P 0 1 2 3 0
42 N 5 9 1
";

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: TempDir::new().expect("a folder for a test"),
        };
        files.write("nodes.csv", NODES);
        files.write("pods.csv", PODS);
        files.write("order.txt", ORDER);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a test may write to its folder");
    }

    fn zip(&self, name: &str) {
        let plain = fs::read(self.path(name)).expect("it was written");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&plain).expect("memory takes all");
        fs::write(self.path(name), packed.finish().expect("memory takes all")).expect("a test may write to its folder");
    }

    fn read(&self) -> anyhow::Result<(Trace, BTreeMap<u64, Order>)> {
        let trace = Trace::read(&self.path("nodes.csv"), &self.path("pods.csv"))?;
        let orders = trace.read_orders(&self.path("order.txt"))?;
        Ok((trace, orders))
    }

    /// What reading says, without the folder.
    fn refusal(&self) -> String {
        let error = self.read().expect_err("the test wrote something malformed");
        format!("{error:#}").replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn placements(trace: &Trace, order: &Order, policy: Policy) -> Vec<Option<Placement>> {
    replay(trace, order, policy).expect("the engine takes it").placements
}

fn at(node: usize, gpus: &[usize]) -> Option<Placement> {
    Some(Placement {
        node,
        gpus: gpus.to_vec(),
    })
}

#[test]
fn plain_and_packed_files_read_alike() {
    let files = Files::new();
    let (trace, orders) = files.read().expect("it is well-formed");
    assert_eq!(
        trace.nodes.iter().map(|node| &*node.name).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(trace.pods[1].models, ["T4", "P100"]);
    assert_eq!(orders[&42].arrivals, [0, 1, 2, 3, 0]);
    assert_eq!(orders[&42].ranks, [5, 9, 1]);
    for name in ["nodes.csv", "pods.csv", "order.txt"] {
        files.zip(name);
    }
    assert_eq!(files.read().expect("it is well-formed"), (trace, orders));
}

#[test]
fn the_published_policies_do_as_defined() {
    let (trace, orders) = Files::new().read().expect("it is well-formed");
    let order = &orders[&42];
    // b is left with least by the share; 12 cores of it do not do for the task without GPUs, and a has 32; then b's GPUs are
    // not both idle any more.
    let best_fit = [at(1, &[0]), at(1, &[1]), at(0, &[]), None, at(1, &[0])];
    assert_eq!(placements(&trace, order, Policy::Bestfit), best_fit);
    // Whole points are equal for both nodes, 98 and then 99: the smaller rank, a's, decides.
    let dot_product = [at(1, &[0]), at(0, &[0]), at(0, &[]), None, at(0, &[1])];
    assert_eq!(placements(&trace, order, Policy::Dotprod), dot_product);
}

#[test]
fn malformed_files_are_refused_with_the_place_and_what_was_expected() {
    let cases = [
        (
            "nodes.csv",
            "",
            "nodes.csv, line 1: columns \"\"; expected a header with the column sn",
        ),
        (
            "nodes.csv",
            "sn,cpu_milli,memory_mib,gpu,model\na,1000,1024,two,T4\n",
            "nodes.csv, line 2: gpu is \"two\"; expected a whole number from 0 to 64",
        ),
        (
            "nodes.csv",
            "sn,cpu_milli,memory_mib,gpu,model\na,1000,1024,1,T4\na,1000,1024,1,T4\n",
            "nodes.csv, line 3: sn is \"a\"; expected a name that no other node has",
        ),
        (
            "nodes.csv",
            "sn,cpu_milli,memory_mib,gpu,model\na,1000,1024,1\n",
            "nodes.csv, line 2: 4 fields; expected 5 fields, as in the header",
        ),
        (
            "nodes.csv",
            "sn,cpu_milli,memory_mib,gpu,model\na,1000,1024,1,\n",
            "nodes.csv, line 2: model is \"\"; expected the model of its GPUs",
        ),
        (
            "nodes.csv",
            "sn,cpu_milli,memory_mib,gpu,model\na,99999999999999999999,1024,1,T4\n",
            "nodes.csv, line 2: cpu_milli is \"99999999999999999999\"; expected a whole number from 0 to",
        ),
        (
            "nodes.csv",
            "sn,cpu_milli,memory_mib,gpu,model\na,1000,1024,0,\n",
            "nodes.csv, line 1: 1 nodes without any GPU; expected nodes with GPUs",
        ),
        (
            "pods.csv",
            "name,cpu_milli,memory_mib,gpu_milli\n",
            "pods.csv, line 1: columns \"name,cpu_milli,memory_mib,gpu_milli\"; expected a header with the column num_gpu",
        ),
        (
            "pods.csv",
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np,1000,1024,2,500\n",
            "pods.csv, line 2: gpu_milli is \"500\"; expected a whole number from 1000 to 1000",
        ),
        (
            "pods.csv",
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np,-5,1024,1,500\n",
            "pods.csv, line 2: cpu_milli is \"-5\"; expected a whole number",
        ),
        (
            "pods.csv",
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np,5,1024,0,0,T4\n",
            "pods.csv, line 2: gpu_spec is \"T4\"; expected models joined by |, and none for a task without GPUs",
        ),
        (
            "order.txt",
            "",
            "order.txt, line 1: an empty file; expected one P and one N line for each seed",
        ),
        (
            "order.txt",
            "42 P 0 4\n",
            "order.txt, line 1: \"4\"; expected whole numbers below 4 (rows of pods)",
        ),
        (
            "order.txt",
            "42 P 0 1\n42 N 1 2\n",
            "order.txt, line 2: 2 ranks, 2 of them different; expected a rank of its own for each of the 3 nodes",
        ),
        (
            "order.txt",
            "42 P 0 1\n42 N 1 2 2\n",
            "order.txt, line 2: 3 ranks, 2 of them different; expected a rank of its own for each of the 3 nodes",
        ),
        (
            "order.txt",
            "42 P 0 1\n42 P 0 1\n",
            "order.txt, line 2: a second P line for seed 42; expected one P and one N line for each seed",
        ),
        (
            "order.txt",
            "42 P 0 1\n",
            "order.txt, line 1: the end, without a line \"42 N\"; expected one P and one N line for each seed",
        ),
        (
            "order.txt",
            "x P 0 1\n",
            "order.txt, line 1: the seed is \"x\"; expected a line",
        ),
        (
            "order.txt",
            "42 Q 0 1\n",
            "order.txt, line 1: \"Q\" after the seed; expected P or N",
        ),
    ];
    for (name, text, expected) in cases {
        let files = Files::new();
        files.write(name, text);
        let refusal = files.refusal();
        assert!(refusal.starts_with(expected), "{refusal}\nand not\n{expected}");
    }
}

#[test]
fn bytes_that_are_no_text_and_broken_archives_are_refused() {
    for name in ["nodes.csv", "pods.csv", "order.txt"] {
        let files = Files::new();
        let mut bytes = fs::read(files.path(name)).expect("it was written");
        bytes.truncate(bytes.len() / 2);
        bytes.extend([0xff, 0xfe, b'\n']);
        fs::write(files.path(name), &bytes).expect("a test may write to its folder");
        assert!(files.refusal().contains("line"), "{}", files.refusal());

        let files = Files::new();
        files.zip(name);
        let packed = fs::read(files.path(name)).expect("it was written");
        fs::write(files.path(name), &packed[..packed.len() / 2]).expect("a test may write to its folder");
        let refusal = files.refusal();
        assert!(refusal.contains(name), "{refusal}");
    }
}

/// Numbers from a seed, the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Files of a made-up cluster of 30 nodes and an order that asks for more than it has.
fn made_up(seed: u64) -> (String, Vec<String>, Vec<u64>, Vec<u64>) {
    let mut draw = Draw(seed);
    let mut nodes = "sn,cpu_milli,memory_mib,gpu,model\n".to_owned();
    for node in 0..30 {
        let (cores, gpus, model) = [(96, 8, "G2"), (104, 2, "T4"), (16, 2, "P100")][draw.below(3) as usize];
        nodes += &format!("n{node:02},{},{},{gpus},{model}\n", cores * 1000, cores * 4096);
    }
    let pods: Vec<String> = (0..400)
        .map(|pod| {
            let cpu = 1000 * (1 + draw.below(20));
            let (count, milli) = [
                (0, 0),
                (1, 810),
                (1, 470),
                (1, 320),
                (1, 1000),
                (1, 1000),
                (2, 1000),
                (8, 1000),
            ][draw.below(8) as usize];
            let spec = if count == 1 && draw.below(8) == 0 {
                "T4|P100"
            } else {
                ""
            };
            format!("p{pod},{cpu},{},{count},{milli},{spec}\n", 1024 * draw.below(16))
        })
        .collect();
    let arrivals = (0..500).map(|_| draw.below(400)).collect();
    let ranks = (0..30).map(|rank| (rank * 7) % 30).collect();
    (nodes, pods, arrivals, ranks)
}

fn join(numbers: &[u64]) -> String {
    numbers.iter().map(|number| format!(" {number}")).collect()
}

#[test]
fn our_placement_does_not_see_the_future() {
    for seed in [1, 2, 3] {
        let (nodes, pods, arrivals, ranks) = made_up(seed);
        let whole = Files::new();
        let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n";
        whole.write("nodes.csv", &nodes);
        whole.write("pods.csv", &(header.to_owned() + &pods.concat()));
        whole.write("order.txt", &format!("7 P{}\n7 N{}\n", join(&arrivals), join(&ranks)));
        let (trace, orders) = whole.read().expect("it is well-formed");
        let all = placements(&trace, &orders[&7], Policy::Ours);
        assert!(all.iter().any(Option::is_none), "seed {seed}: the cluster is filled");

        for first in [1, 50, 200, 431] {
            // The files end after the first so many: tasks that come later are nowhere in them.
            let mut rows: Vec<u64> = Vec::new();
            let cut: Vec<u64> = arrivals[..first]
                .iter()
                .map(|row| {
                    let known = rows.iter().position(|known| known == row);
                    known.unwrap_or_else(|| {
                        rows.push(*row);
                        rows.len() - 1
                    }) as u64
                })
                .collect();
            let short = Files::new();
            let seen: String = rows.iter().map(|row| &*pods[*row as usize]).collect();
            short.write("nodes.csv", &nodes);
            short.write("pods.csv", &(header.to_owned() + &seen));
            short.write("order.txt", &format!("7 P{}\n7 N{}\n", join(&cut), join(&ranks)));
            let (trace, orders) = short.read().expect("it is well-formed");
            assert_eq!(
                placements(&trace, &orders[&7], Policy::Ours),
                all[..first],
                "seed {seed}, the first {first}"
            );
        }
    }
}

#[test]
fn equal_files_give_equal_placements() {
    let (nodes, pods, arrivals, ranks) = made_up(4);
    let files = Files::new();
    files.write("nodes.csv", &nodes);
    files.write(
        "pods.csv",
        &format!(
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n{}",
            pods.concat()
        ),
    );
    files.write("order.txt", &format!("7 P{}\n7 N{}\n", join(&arrivals), join(&ranks)));
    let (trace, orders) = files.read().expect("it is well-formed");
    for policy in [Policy::Ours, Policy::Fgd, Policy::Bestfit, Policy::Dotprod] {
        assert_eq!(
            placements(&trace, &orders[&7], policy),
            placements(&trace, &orders[&7], policy)
        );
    }
}

fn published(folder: &Path, file: &str) -> BTreeMap<(String, String, u64), BTreeMap<u64, f64>> {
    let columns = ["workload", "sc_policy", "seed"];
    let mut table =
        hesuan_tests::replay::input::Table::open(&folder.join(file), &columns).expect("it is in the folder");
    let mut rows = BTreeMap::new();
    while let Some(row) = table.next_row().expect("it is well-formed") {
        let key = (
            row.text("workload").trim_start_matches("openb_pod_list_").to_owned(),
            row.text("sc_policy").to_owned(),
            row.number("seed", 0, u64::MAX).expect("a seed"),
        );
        let value = |percent: &u64| {
            let text = row.text(&percent.to_string()).parse().expect("a figure");
            (*percent, text)
        };
        rows.insert(key, COLUMNS.iter().map(value).collect());
    }
    rows
}

#[test]
#[ignore = "minutes, and needs the folder of the trace in HESUAN_OPENB"]
fn the_published_tables_come_out_and_ours_is_not_below_fgd() {
    let folder = PathBuf::from(std::env::var("HESUAN_OPENB").expect("HESUAN_OPENB names the folder"));
    let alloc = published(&folder, "published_alloc.csv.gz");
    let frag = published(&folder, "published_frag_amount.csv.gz");
    let frag_ratio = published(&folder, "published_frag_ratio.csv.gz");
    for workload in ["default", "cpu100", "gpushare40", "gpuspec10", "multigpu20"] {
        let pods = folder.join(format!("pods_{workload}.csv.gz"));
        let trace = Trace::read(&folder.join("nodes_gpu.csv.gz"), &pods).expect("it is well-formed");
        let orders = trace
            .read_orders(&folder.join(format!("order_{workload}.txt.gz")))
            .expect("it is well-formed");
        let (mut ours, mut fgd) = (0.0, 0.0);
        for (seed, order) in &orders {
            let policies = [
                (Policy::Dotprod, "02-DotProd"),
                (Policy::Bestfit, "05-BestFit"),
                (Policy::Fgd, "06-FGD"),
            ];
            for (policy, name) in policies {
                let figures = replay(&trace, order, policy).expect("it is replayed").figures(None);
                let key = (workload.to_owned(), name.to_owned(), *seed);
                for (known, found) in [
                    (&alloc, &figures.alloc),
                    (&frag, &figures.frag),
                    (&frag_ratio, &figures.frag_ratio),
                ] {
                    for (percent, value) in &known[&key] {
                        let off = (found[percent] - value).abs();
                        assert!(off <= 0.05, "{key:?} at {percent}: {} and not {value}", found[percent]);
                    }
                }
                if policy == Policy::Fgd {
                    fgd += figures.alloc[&130];
                }
            }
            let figures = replay(&trace, order, Policy::Ours)
                .expect("it is replayed")
                .figures(None);
            ours += figures.alloc[&130];
        }
        println!("{workload}: ours {:.2}, fgd {:.2}", ours / 10.0, fgd / 10.0);
        assert!(ours >= fgd, "{workload}");
    }
}
