//! `replay pool`: cities with a log each, alone, with jobs sent to the least loaded city, and pooled under one scheduler.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use hesuan_engine::schedule::time::{Backlog, Policy};
use hesuan_engine::types::Timestamp;
use serde::Serialize;

use super::drive::{Job, drive};
use super::figures::{Done, mean, quantile, sorted};
use super::input::{self, Table};
use super::swf;

/// No city of a trace is larger.
const PROCS_MAX: u64 = 1_000_000_000;
/// No instant or run time of a trace is beyond this, seconds.
const SECONDS_MAX: u64 = 100_000_000_000;
/// No line is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Replays the log of several cities: alone, sent to the least loaded, pooled
#[derive(Args)]
pub struct Options {
    /// A log in the Standard Workload Format, or rows of vc,submit,gpus,run; plain or gzip
    file: PathBuf,
    /// What makes a city; told by the file's first line if it is not said
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Demand over capacity, alone and pooled
    #[arg(long, default_value_t = 0.85, value_parser = load)]
    load: f64,
    /// One JSON line instead of text
    #[arg(long)]
    json: bool,
}

/// What makes a city.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The column `vc` of rows
    Vc,
    /// The field of an SWF record
    Partition,
}

fn load(given: &str) -> Result<f64, String> {
    let load = given.parse::<f64>().ok().filter(|load| (0.01..=10.0).contains(load));
    load.ok_or_else(|| format!("given {given:?}, expected a number from 0.01 to 10"))
}

/// Cities and all their jobs in order of arrival.
pub struct Trace {
    /// Their names, by number.
    pub cities: Vec<String>,
    /// Homes are cities.
    pub jobs: Vec<Job>,
}

/// Reads a trace of cities.
///
/// # Errors
/// The file cannot be read, or a line is not of its kind.
pub fn read(path: &Path, by: Option<By>) -> anyhow::Result<Trace> {
    let by = match by {
        Some(by) => by,
        None => guess(path)?,
    };
    // City, submit, run, procs, user.
    let mut rows: Vec<Row> = match by {
        By::Partition => {
            let records = swf::read(path, PROCS_MAX)?;
            let row = |record: &swf::Record| {
                let city = record
                    .partition
                    .map_or_else(|| "unknown".to_owned(), |city| city.to_string());
                (city, record.submit_s, record.run_s, record.procs, Some(record.user))
            };
            records.iter().map(row).collect()
        }
        By::Vc => read_rows(path)?,
    };
    if rows.is_empty() {
        bail!("{}: no job has a run time and processors", path.display());
    }
    rows.sort_by_key(|row| row.1);
    let mut names: Vec<String> = rows.iter().map(|row| row.0.clone()).collect();
    names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
    names.dedup();
    let homes: BTreeMap<&str, usize> = names.iter().enumerate().map(|(home, name)| (&**name, home)).collect();
    let job = |(number, (city, submit_s, run_s, procs, user)): (usize, &Row)| {
        let home = homes[&**city];
        Job {
            number: number as u64,
            submit_s: *submit_s,
            run_s: *run_s,
            procs: *procs,
            limit_s: 0,
            user: user.unwrap_or(home as u64),
            home,
        }
    };
    let jobs = rows.iter().enumerate().map(job).collect();
    Ok(Trace { cities: names, jobs })
}

fn guess(path: &Path) -> anyhow::Result<By> {
    let first = input::lines(path, LINE_BYTES_MAX)?.next();
    let (_, text) = first.ok_or_else(|| anyhow!("{}: given an empty file, expected a trace", path.display()))??;
    Ok(if text.contains(',') { By::Vc } else { By::Partition })
}

type Row = (String, u64, u64, u64, Option<u64>);

fn read_rows(path: &Path) -> anyhow::Result<Vec<Row>> {
    let mut table = Table::open(path, &["vc", "submit", "gpus", "run"])?;
    let mut rows = Vec::new();
    while let Some(row) = table.next_row()? {
        let vc = row.text("vc");
        if vc.is_empty() {
            return Err(row.malformed("vc", vc, "a name").into());
        }
        let submit_s = row.number("submit", 0, SECONDS_MAX)?;
        let gpus = row.number("gpus", 1, PROCS_MAX)?;
        let run_s = row.number("run", 1, SECONDS_MAX)?;
        rows.push((vc.to_owned(), submit_s, run_s, gpus, None));
    }
    Ok(rows)
}

/// Processors of each city: in proportion to its demand between the first and the last submission of all, at least its
/// widest job.
#[must_use]
pub fn capacities(trace: &Trace, load: f64) -> Vec<u64> {
    let first_s = trace.jobs.first().map_or(0, |job| job.submit_s);
    let last_s = trace.jobs.last().map_or(0, |job| job.submit_s);
    let span_s = (last_s - first_s).max(1) as f64;
    let capacity = |home: usize| {
        let own = || trace.jobs.iter().filter(|job| job.home == home);
        let demand: f64 = own().map(|job| job.run_s as f64 * job.procs as f64).sum();
        let widest = own().map(|job| job.procs).max().unwrap_or(1);
        widest.max((demand / span_s / load).round() as u64)
    };
    (0..trace.cities.len()).map(capacity).collect()
}

/// Every city alone.
#[must_use]
pub fn isolated(jobs: &[Job], capacities: &[u64]) -> Vec<Done> {
    let done = drive(jobs, &mut alone(capacities), |job, _| job.home);
    done.into_iter().map(|(done, _)| done).collect()
}

/// Every job to the city with the least asked of it for its size, of those that are large enough.
#[must_use]
pub fn least_loaded(jobs: &[Job], capacities: &[u64]) -> Vec<Done> {
    let route = |job: &Job, backlogs: &[Backlog]| {
        let cities = capacities.iter().zip(backlogs).enumerate();
        let large_enough = cities.filter(|(_, (capacity, _))| **capacity >= job.procs);
        // As a fraction of its size, compared without dividing.
        let least = large_enough.min_by(|(_, (a, a_asked)), (_, (b, b_asked))| {
            let left = u128::from(a_asked.asked()) * u128::from(**b);
            left.cmp(&(u128::from(b_asked.asked()) * u128::from(**a)))
        });
        least.map_or(job.home, |(city, _)| city)
    };
    let done = drive(jobs, &mut alone(capacities), route);
    done.into_iter().map(|(done, _)| done).collect()
}

fn alone(capacities: &[u64]) -> Vec<Backlog> {
    let city = |capacity: &u64| Backlog::new(Policy::OURS, Timestamp(0), &[&[*capacity]]);
    capacities.iter().map(city).collect()
}

/// One scheduler over all cities.
#[must_use]
pub fn pooled(jobs: &[Job], capacities: &[u64]) -> Vec<Done> {
    let places: Vec<[u64; 1]> = capacities.iter().map(|capacity| [*capacity]).collect();
    let places: Vec<&[u64]> = places.iter().map(|place| &place[..]).collect();
    let done = drive(
        jobs,
        &mut [Backlog::pooled(Policy::OURS, Timestamp(0), &places)],
        |_, _| 0,
    );
    done.into_iter().map(|(done, _)| done).collect()
}

/// How long jobs waited, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Waits {
    /// Mean.
    pub wait_mean_s: f64,
    /// 95 % waited no longer.
    pub wait_p95_s: f64,
}

impl Waits {
    fn of<'a>(done: impl Iterator<Item = &'a Done>) -> Self {
        let waits = sorted(done.map(Done::wait_s));
        Self {
            wait_mean_s: mean(&waits),
            wait_p95_s: quantile(&waits, 95),
        }
    }
}

/// The same jobs three times.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Name of the city, or `all`.
    pub city: String,
    /// Jobs of it.
    pub jobs: usize,
    /// What it has.
    pub procs: u64,
    /// Of its widest job.
    pub widest: u64,
    /// On its own.
    pub isolated: Waits,
    /// Each job sent, when it came, to the city with the least asked of it.
    pub least_loaded: Waits,
    /// One scheduler over all cities.
    pub pooled: Waits,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Demand over capacity that was aimed at.
    pub load: f64,
    /// In order of name.
    pub cities: Vec<Compared>,
    /// Jobs of all cities.
    pub all: Compared,
    /// How long the replays took.
    pub seconds: f64,
}

/// Replays the trace three times.
#[must_use]
pub fn compare(trace: &Trace, load: f64) -> Answer {
    let started = Instant::now();
    let capacities = capacities(trace, load);
    let runs = [
        isolated(&trace.jobs, &capacities),
        least_loaded(&trace.jobs, &capacities),
        pooled(&trace.jobs, &capacities),
    ];
    let compared = |city: &str, procs: u64, which: &dyn Fn(&Job) -> bool| {
        let waits = |run: usize| {
            let of_city = |done: &&Done| which(&trace.jobs[done.number as usize]);
            Waits::of(runs[run].iter().filter(of_city))
        };
        let own = || trace.jobs.iter().filter(|job| which(job));
        Compared {
            city: city.to_owned(),
            jobs: own().count(),
            procs,
            widest: own().map(|job| job.procs).max().unwrap_or(0),
            isolated: waits(0),
            least_loaded: waits(1),
            pooled: waits(2),
        }
    };
    let cities = trace.cities.iter().enumerate();
    Answer {
        load,
        cities: cities
            .map(|(home, name)| compared(name, capacities[home], &|job| job.home == home))
            .collect(),
        all: compared("all", capacities.iter().sum(), &|_| true),
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Runs the subcommand.
///
/// # Errors
/// The trace is no such trace.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let trace = read(&options.file, options.by)?;
    let answer = compare(&trace, options.load);
    if options.json {
        println!("{}", serde_json::to_string(&answer)?);
        return Ok(());
    }
    println!("mean and p95 wait in minutes; a city's pooled mean over its isolated one");
    println!(
        "{:>10} {:>7} {:>6} {:>7}  {:>19}  {:>19}  {:>19}  {:>6}",
        "city", "jobs", "procs", "widest", "isolated", "least loaded", "pooled", "ratio"
    );
    for city in answer.cities.iter().chain([&answer.all]) {
        let waits = |waits: &Waits| format!("{:9.1} {:9.1}", waits.wait_mean_s / 60.0, waits.wait_p95_s / 60.0);
        println!(
            "{:>10} {:>7} {:>6} {:>7}  {}  {}  {}  {:>6.3}",
            city.city,
            city.jobs,
            city.procs,
            city.widest,
            waits(&city.isolated),
            waits(&city.least_loaded),
            waits(&city.pooled),
            city.pooled.wait_mean_s / city.isolated.wait_mean_s,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        file.write_all(text.as_bytes()).expect("it can be written");
        file
    }

    #[test]
    fn a_quiet_city_keeps_its_own_and_a_busy_one_borrows() {
        let mut rows = String::from("vc,submit,gpus,run\n");
        for hour in 0..40 {
            rows.push_str(&format!("busy,{},4,{}\n", hour * 600, 3600));
        }
        for hour in 0..10 {
            rows.push_str(&format!("quiet,{},2,{}\n", hour * 2400 + 7, 600));
        }
        let trace = read(file(&rows).path(), None).expect("a good trace");
        assert_eq!(trace.cities, ["busy", "quiet"]);
        let answer = compare(&trace, 1.2);
        let [busy, quiet] = &answer.cities[..] else {
            panic!("two cities")
        };
        assert_eq!(answer.all.jobs, 50);
        assert!(busy.pooled.wait_mean_s <= busy.isolated.wait_mean_s);
        assert!(quiet.pooled.wait_mean_s <= quiet.isolated.wait_mean_s + 600.0);
    }

    #[test]
    fn capacity_is_in_proportion_to_demand_and_holds_the_widest() {
        let rows = "vc,submit,gpus,run\na,0,1,1000\nb,0,8,10\na,1000,3,1000\n";
        let trace = read(file(rows).path(), Some(By::Vc)).expect("a good trace");
        assert_eq!(capacities(&trace, 0.5), [8, 8]);
    }

    #[test]
    fn bad_rows_are_named() {
        let cases = [
            (
                "vc,submit\n",
                ", line 1: columns \"vc,submit\"; expected a header with the column gpus (needed: vc,submit,gpus,run)",
            ),
            (
                "vc,submit,gpus,run\na,0,1\n",
                ", line 2: 3 fields; expected 4 fields, as in the header",
            ),
            (
                "vc,submit,gpus,run\na,0,0,5\n",
                ", line 2: gpus is \"0\"; expected a whole number from 1 to 1000000000",
            ),
            ("vc,submit,gpus,run\n,0,1,5\n", ", line 2: vc is \"\"; expected a name"),
        ];
        for (text, expected) in cases {
            let error = read(file(text).path(), Some(By::Vc)).err().expect("it is bad");
            let said = format!("{error:#}");
            assert!(said.ends_with(expected), "{said}\ndoes not end with\n{expected}");
        }
    }
}
