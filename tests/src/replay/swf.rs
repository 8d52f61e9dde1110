//! `replay swf`: one machine of interchangeable processors and a log in the Standard Workload Format.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use hesuan_engine::schedule::time::{Backlog, Policy};
use hesuan_engine::types::Timestamp;

use super::drive::{Job, drive};
use super::figures::{Done, Figures};
use super::lines::{self, Line};

/// Fields of a record.
const FIELDS: usize = 18;
/// No instant, duration or count of a trace is beyond this.
const NUMBER_MAX: i64 = 100_000_000_000;

/// Replays a batch log (Standard Workload Format, plain or gzip)
#[derive(Args)]
pub struct Command {
    /// The log
    file: PathBuf,
    /// Processors of the machine
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    procs: u64,
    /// Who starts when
    #[arg(long, value_enum, default_value = "ours")]
    policy: PolicyName,
    /// One JSON line instead of text
    #[arg(long)]
    json: bool,
}

/// Policies that can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyName {
    /// The planner's: turns by predicted run time, EASY backfill
    Ours,
    /// First come, first served
    Fcfs,
    /// EASY backfill
    Easy,
    /// EASY backfill, the shortest request first
    EasySjbf,
    /// Conservative backfill
    Conservative,
}

impl PolicyName {
    /// What decides under this name.
    #[must_use]
    pub fn policy(self) -> Policy {
        match self {
            Self::Ours => Policy::OURS,
            Self::Fcfs => Policy::FCFS,
            Self::Easy => Policy::EASY,
            Self::EasySjbf => Policy::EASY_SHORTEST,
            Self::Conservative => Policy::CONSERVATIVE,
        }
    }
}

/// One record that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Seconds from the start of the log.
    pub submit_s: u64,
    /// Seconds.
    pub run_s: u64,
    /// Asked for, or else allocated.
    pub procs: u64,
    /// Seconds asked for, if any were.
    pub request_s: Option<u64>,
    /// Number of the user; one for all that are unknown.
    pub user: u64,
    /// The cluster, if it is said.
    pub partition: Option<u64>,
}

/// Reads the records of a log that have a run time and processors, in order of submission; `procs` = what the machine has.
///
/// # Errors
/// The file cannot be read, or a line is no record, or asks for more than the machine has.
pub fn read(path: &Path, procs: u64) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    lines::each(path, |line| {
        if !line.text.starts_with(';') && !line.text.trim().is_empty() {
            records.extend(record(line, procs)?);
        }
        Ok(())
    })?;
    records.sort_by_key(|record: &Record| record.submit_s);
    Ok(records)
}

fn record(line: &Line<'_>, procs_max: u64) -> anyhow::Result<Option<Record>> {
    let fields: Vec<&str> = line.text.split_whitespace().collect();
    if fields.len() != FIELDS {
        return Err(line.error("record", format_args!("{} fields", fields.len()), "18 numbers"));
    }
    for (place, field) in fields.iter().enumerate() {
        if field.parse::<f64>().is_err() {
            return Err(line.error(&format!("field {}", place + 1), format_args!("{field:?}"), "a number"));
        }
    }
    let number = |place: usize, what: &str| line.integer(what, fields[place - 1], -1, NUMBER_MAX);
    let known = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let submit = number(2, "field 2 (submit time)")?;
    let run = number(4, "field 4 (run time)")?;
    let allocated = number(5, "field 5 (allocated processors)")?;
    let requested = number(8, "field 8 (requested processors)")?;
    let request = number(9, "field 9 (requested time)")?;
    let user = number(12, "field 12 (user)")?;
    let partition = number(16, "field 16 (partition)")?;
    let (Ok(submit_s), Some(run_s)) = (u64::try_from(submit), known(run)) else {
        return Ok(None);
    };
    let Some(procs) = known(requested).or(known(allocated)) else {
        return Ok(None);
    };
    if procs > procs_max {
        return Err(line.error("processors", procs, format_args!("at most the machine's {procs_max}")));
    }
    let request_s = known(request);
    Ok(Some(Record {
        submit_s,
        run_s: request_s.map_or(run_s, |request_s| run_s.min(request_s)),
        procs,
        request_s,
        user: u64::try_from(user + 1).unwrap_or(0),
        partition: u64::try_from(partition).ok(),
    }))
}

/// What the scheduler is to know of the records. One that does not say how long it may run has no limit for a policy that
/// predicts; for the others its run time is taken as its request, as the published figures do.
#[must_use]
pub fn jobs(records: &[Record], policy: &Policy) -> Vec<Job> {
    let job = |(number, record): (usize, &Record)| Job {
        number: number as u64,
        submit_s: record.submit_s,
        run_s: record.run_s,
        procs: record.procs,
        limit_s: record
            .request_s
            .unwrap_or(if policy.predicts { 0 } else { record.run_s }),
        user: record.user,
        home: 0,
    };
    records.iter().enumerate().map(job).collect()
}

/// Who started when, in that order.
#[must_use]
pub fn replay(jobs: &[Job], procs: u64, policy: Policy) -> Vec<Done> {
    let mut backlogs = [Backlog::new(policy, Timestamp(0), &[&[procs]])];
    let done = drive(jobs, &mut backlogs, |_, _| 0);
    done.into_iter().map(|(done, _)| done).collect()
}

/// Runs the subcommand.
///
/// # Errors
/// The log is no such log.
pub fn run(command: &Command) -> anyhow::Result<()> {
    let records = read(&command.file, command.procs)?;
    if records.is_empty() {
        bail!("{}: no record has a run time and processors", command.file.display());
    }
    let started = Instant::now();
    let policy = command.policy.policy();
    let done = replay(&jobs(&records, &policy), command.procs, policy);
    let figures = Figures::of(done, command.procs, started.elapsed().as_secs_f64());
    if command.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        let fields = serde_json::to_value(&figures)?;
        for (name, value) in fields.as_object().context("figures have names")? {
            println!("{name:>12}  {value}");
        }
    }
    Ok(())
}
