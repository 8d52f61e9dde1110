//! `replay swf`: one machine of interchangeable processors and a log in the Standard Workload Format.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use hesuan_engine::schedule::Accuracy;
use hesuan_engine::schedule::time::{Backlog, Policy};
use hesuan_engine::types::Timestamp;

use super::drive::{Job, drive};
use super::figures::{Done, Figures};
use super::input::{self, Malformed};
use super::region::{LIMIT_S_MAX, Region, Wanted};

/// Fields of a record.
const FIELDS: usize = 18;
/// No instant, duration or count of a trace is beyond this.
const NUMBER_MAX: i64 = 100_000_000_000;
/// No record is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Replays a batch log (Standard Workload Format, plain or gzip)
#[derive(Args)]
pub struct Options {
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
    /// The planner over a state: turns by predicted run time, EASY backfill
    Ours,
    /// The same order and backfill over a bare backlog
    OursBare,
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
            Self::Ours | Self::OursBare => Policy::OURS,
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
    for line in input::lines(path, LINE_BYTES_MAX)? {
        let (number, text) = line?;
        if !text.starts_with(';') && !text.trim().is_empty() {
            let malformed = |given: String, expected: &str| Malformed {
                file: path.to_owned(),
                line: number,
                given,
                expected: expected.into(),
            };
            records.extend(record(&text, procs, malformed)?);
        }
    }
    records.sort_by_key(|record: &Record| record.submit_s);
    Ok(records)
}

fn record(
    text: &str,
    procs_max: u64,
    malformed: impl Fn(String, &str) -> Malformed,
) -> Result<Option<Record>, Malformed> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS {
        return Err(malformed(format!("{} fields", fields.len()), "18 numbers"));
    }
    let short = |field: &str| field.chars().take(40).collect::<String>();
    for (place, field) in fields.iter().enumerate() {
        if field.parse::<f64>().is_err() {
            let given = format!("field {} is \"{}\"", place + 1, short(field));
            return Err(malformed(given, "a number"));
        }
    }
    let number = |place: usize, what: &str| {
        let field = fields[place - 1];
        let number = field.parse().ok().filter(|number| (-1..=NUMBER_MAX).contains(number));
        number.ok_or_else(|| {
            let given = format!("field {place} ({what}) is \"{}\"", short(field));
            malformed(given, &format!("a whole number from -1 to {NUMBER_MAX}"))
        })
    };
    let known = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let submit = number(2, "submit time")?;
    let run = number(4, "run time")?;
    let allocated = number(5, "allocated processors")?;
    let requested = number(8, "requested processors")?;
    let request = number(9, "requested time")?;
    let user = number(12, "user")?;
    let partition = number(16, "partition")?;
    let (Ok(submit_s), Some(run_s)) = (u64::try_from(submit), known(run)) else {
        return Ok(None);
    };
    let Some(procs) = known(requested).or(known(allocated)) else {
        return Ok(None);
    };
    if procs > procs_max {
        let expected = format!("at most the machine's {procs_max}");
        return Err(malformed(format!("{procs} processors"), &expected));
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

/// The same through the planner and apply, as in production: a site of one host, an org for each user.
///
/// # Errors
/// The engine refuses something.
pub fn replay_in_region(jobs: &[Job], procs: u64) -> anyhow::Result<(Vec<Done>, Accuracy)> {
    let mut region = Region::new(&[procs])?;
    let mut arriving = jobs.iter().peekable();
    let mut ending: BTreeSet<(u64, u64)> = BTreeSet::new();
    let mut done = Vec::with_capacity(jobs.len());
    loop {
        let next_end = ending.first().map(|(at, _)| *at);
        let next_arrival = arriving.peek().map(|job| job.submit_s);
        let Some(now_s) = next_end.into_iter().chain(next_arrival).min() else {
            return Ok((done, *region.planner().accuracy()));
        };
        let now = Timestamp(now_s * 1000);
        while let Some(&(at, number)) = ending.first()
            && at == now_s
        {
            ending.pop_first();
            region.end(now, number)?;
        }
        while let Some(job) = arriving.next_if(|job| job.submit_s == now_s) {
            let limit_s = if job.limit_s > 0 { job.limit_s } else { LIMIT_S_MAX };
            let wanted = Wanted {
                user: job.user,
                procs: job.procs,
                limit_s,
            };
            let number = region.submit(now, &wanted)?;
            assert_eq!(number, job.number, "jobs are numbered as they come");
        }
        for number in region.pass(now)? {
            let job = &jobs[number as usize];
            let ended_s = now_s + job.run_s;
            ending.insert((ended_s, number));
            done.push(Done {
                number,
                submitted_s: job.submit_s,
                started_s: now_s,
                ended_s,
                procs: job.procs,
            });
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// The log is no such log.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let records = read(&options.file, options.procs)?;
    if records.is_empty() {
        bail!("{}: no record has a run time and processors", options.file.display());
    }
    let started = Instant::now();
    let policy = options.policy.policy();
    let jobs = jobs(&records, &policy);
    let done = if options.policy == PolicyName::Ours {
        replay_in_region(&jobs, options.procs)?.0
    } else {
        replay(&jobs, options.procs, policy)
    };
    let figures = Figures::of(done, options.procs, started.elapsed().as_secs_f64());
    if options.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        let fields = serde_json::to_value(&figures)?;
        for (name, value) in fields.as_object().context("figures have names")? {
            println!("{name:>12}  {value}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A record of the format with what matters here.
    fn line(number: usize, submit_s: u64, run_s: u64, procs: u64, request_s: i64, user: u64) -> String {
        format!("{number} {submit_s} -1 {run_s} {procs} -1 -1 {procs} {request_s} -1 1 {user} 1 -1 -1 -1 -1 -1\n")
    }

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        file.write_all(text).expect("it can be written");
        file
    }

    /// Some hundred jobs, more than the machine can do at once.
    fn log() -> String {
        let mut text = String::from("; a header\n\n");
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut submit_s = 0;
        for number in 1..=400 {
            submit_s += draw(120);
            let (request_s, user) = (60 + draw(7_200), draw(5));
            let run_s = 1 + draw(request_s) / (1 + user);
            text.push_str(&line(number, submit_s, run_s, 1 + draw(12), request_s as i64, user));
        }
        text
    }

    #[test]
    fn ours_knows_only_what_has_finished() {
        let log = file(log().as_bytes());
        let all = read(log.path(), 16).expect("a good log");
        let whole = replay(&jobs(&all, &Policy::OURS), 16, Policy::OURS);
        let waited = whole.iter().filter(|done| done.started_s > done.submitted_s).count();
        assert!(waited > 100, "{waited} waited: there is something to decide");
        for kept in [50, 137, 200, 399] {
            // Nothing after it is there, and what ends after it runs ten times as long.
            let until_s = all[kept].submit_s;
            let mut part = all[..kept].to_vec();
            for done in &whole {
                if let Some(record) = part.get_mut(done.number as usize)
                    && done.ended_s >= until_s
                {
                    record.run_s = (record.run_s * 10).min(record.request_s.expect("all have one"));
                }
            }
            let part = replay(&jobs(&part, &Policy::OURS), 16, Policy::OURS);
            let before = |done: &[Done]| -> Vec<(u64, u64)> {
                let started = done.iter().map(|done| (done.number, done.started_s));
                started.filter(|(_, started_s)| *started_s < until_s).collect()
            };
            assert_eq!(
                before(&whole),
                before(&part),
                "the first {kept} jobs, until {until_s} s"
            );
        }
    }

    #[test]
    fn a_job_without_a_request_hides_its_run_time_from_a_policy_that_predicts() {
        let log = file(line(1, 0, 500, 1, -1, 1).as_bytes());
        let records = read(log.path(), 1).expect("a good log");
        assert_eq!(jobs(&records, &Policy::OURS)[0].limit_s, 0);
        assert_eq!(jobs(&records, &Policy::EASY)[0].limit_s, 500);
    }

    #[test]
    fn runs_are_cut_at_the_request_and_what_never_ran_is_left_out() {
        let text = [line(1, 0, 500, 1, 100, 1), line(2, 0, 0, 1, 100, 1)].concat();
        let records = read(file(text.as_bytes()).path(), 4).expect("a good log");
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].run_s, 100);
    }

    #[test]
    fn bad_lines_are_named_with_what_was_given_and_expected() {
        let good = line(1, 0, 5, 1, 10, 1);
        let cases: [(Vec<u8>, &str); 6] = [
            (b"1 2 3\n".to_vec(), ", line 2: 3 fields; expected 18 numbers"),
            (
                line(1, 0, 5, 1, 10, 1).replacen(" 5 ", " five ", 1).into_bytes(),
                ", line 2: field 4 is \"five\"; expected a number",
            ),
            (
                line(1, 0, 5, 9, 10, 1).into_bytes(),
                ", line 2: 9 processors; expected at most the machine's 4",
            ),
            (
                line(1, 0, 5, 1, 10, 1).replacen(" 5 ", " 1.5 ", 1).into_bytes(),
                ", line 2: field 4 (run time) is \"1.5\"; expected a whole number from -1 to 100000000000",
            ),
            (
                line(1, 0, 5, 1, 10, 1)
                    .replacen(" 5 ", " 99999999999999999999 ", 1)
                    .into_bytes(),
                ", line 2: field 4 (run time) is \"99999999999999999999\"; expected a whole number from -1 to 100000000000",
            ),
            (
                vec![0xff, 0xfe, b'\n'],
                ", line 2: bytes that are no UTF-8; expected text",
            ),
        ];
        for (bad, expected) in cases {
            let text = [good.as_bytes(), &bad].concat();
            let error = read(file(&text).path(), 4).expect_err("the second line is bad");
            let said = format!("{error:#}");
            assert!(said.ends_with(expected), "{said}\ndoes not end with\n{expected}");
        }
    }

    #[test]
    fn gzip_is_read_and_a_torn_one_is_named() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(log().as_bytes()).expect("memory can be written");
        let packed = packed.finish().expect("memory can be written");
        assert_eq!(read(file(&packed).path(), 16).expect("a good log").len(), 400);
        let error = read(file(&packed[..packed.len() / 2]).path(), 16).expect_err("it is torn");
        assert!(format!("{error:#}").contains("cannot be read"), "{error:#}");
    }
}
