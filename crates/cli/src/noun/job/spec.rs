//! What a job is, from flags, environment and directives, to a `JobSpec`.

use clap::{Args, Parser, ValueEnum};
use hesuan_api::v1;

use super::directives;
use crate::failure::{Failure, Outcome};
use crate::noun::policy::Objective;
use crate::noun::{parse_pair, parse_region};
use crate::units;

/// Options that describe a job. The same are allowed in `#HESUAN` lines and, as `HESUAN_SUBMIT_CPUS` and so on, in the environment.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What the job is")]
pub struct SpecArgs {
    /// Free text, shown in lists
    #[arg(short, long)]
    pub name: Option<String>,
    /// Cores per task, such as 1.5 [default: 1]
    #[arg(long, value_name = "CORES", value_parser = units::parse_milli, allow_negative_numbers = true)]
    pub cpus: Option<u64>,
    /// Memory per task, such as 64GiB [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size, allow_negative_numbers = true)]
    pub mem: Option<u64>,
    /// GPUs per task and the models that will do: 8, 8:a800, 8:a800,h100, or a share of one: 0.5
    #[arg(long, value_name = "GPUS[:MODEL,...]", value_parser = parse_gpus, allow_negative_numbers = true)]
    pub gpus: Option<Gpus>,
    /// Run each task on so many hosts of one site at once, all or nothing; cores, memory, GPUs and resources are of each host. HESUAN_NODE_RANK
    /// tells the nodes apart [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024), allow_negative_numbers = true)]
    pub nodes: Option<u32>,
    /// A named resource per task, such as fpga=2
    #[arg(long = "resource", value_name = "NAME=AMOUNT", value_parser = parse_amount)]
    pub resources: Vec<(String, u64)>,
    /// Wall time one attempt may take, such as 2h [default: 1h]
    #[arg(short, long, value_name = "TIME", value_parser = units::parse_time, allow_negative_numbers = true)]
    pub time: Option<u64>,
    /// Run it as an array of so many tasks, %10: at most 10 at once; HESUAN_TASK_ID tells them apart
    #[arg(long, value_name = "COUNT[%MAX]", value_parser = parse_array, allow_negative_numbers = true)]
    pub array: Option<Array>,
    /// -1000 to 1000, larger runs first
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Sites it may run at
    #[arg(long = "site", value_name = "SITE", value_delimiter = ',')]
    pub sites: Vec<String>,
    /// Regions it may run in, by code
    #[arg(long = "region", value_name = "CODE", value_delimiter = ',', value_parser = parse_region)]
    pub regions: Vec<u32>,
    /// Further attempts after a failure; the same as --retry-on failure=NUMBER
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub retries: Option<u32>,
    /// Further attempts by cause: failure=2,time-limit=1,site-lost=3,agent-fault=0 [default: failure=0, time-limit=0, agent-fault=3, and with
    /// --on-site-lost requeue as many as it takes]
    #[arg(long, value_name = "CAUSE=NUMBER", value_delimiter = ',', value_parser = parse_retry)]
    pub retry_on: Vec<(Cause, u32)>,
    /// Not before this time: 2026-05-01T22:00:00+08:00, 2026-05-01 22:00 of this machine's zone, or from now on: +2h
    #[arg(long, value_name = "TIME|+DURATION", value_parser = units::parse_when)]
    pub not_before: Option<u64>,
    /// Do not begin what would not end by this time; written as for --not-before
    #[arg(long, value_name = "TIME|+DURATION", value_parser = units::parse_when)]
    pub done_by: Option<u64>,
    /// Run it only after this job, and only if that one ends well; 4711[*]: each task after the task of the same number
    #[arg(long, value_name = "JOB|JOB[*]", value_delimiter = ',', value_parser = parse_after)]
    pub after_ok: Vec<(u64, bool)>,
    /// Run it only after this job, however that one ends
    #[arg(long, value_name = "JOB|JOB[*]", value_delimiter = ',', value_parser = parse_after)]
    pub after_any: Vec<(u64, bool)>,
    /// Run it only after this job, and only if that one does not end well
    #[arg(long, value_name = "JOB|JOB[*]", value_delimiter = ',', value_parser = parse_after)]
    pub after_not_ok: Vec<(u64, bool)>,
    /// When its site is lost: wait for the site, or run it elsewhere [default: hold]
    #[arg(long, value_name = "WHAT")]
    pub on_site_lost: Option<OnSiteLost>,
    /// Whether it waits for a cheaper site [default: as the cluster's policy says]
    #[arg(long, value_name = "WHAT")]
    pub objective: Option<Objective>,
    /// Vouchers to use, by number; otherwise those with the largest subsidy are chosen
    #[arg(long = "voucher", value_name = "NUMBER", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    pub vouchers: Vec<u64>,
    /// Use no voucher
    #[arg(long, conflicts_with = "vouchers")]
    pub wallet_only: bool,
    /// Refuse to run where the co-pay held would be above this, in yuan
    #[arg(long, value_name = "YUAN", value_parser = units::parse_money, allow_negative_numbers = true)]
    pub max_copay: Option<i64>,
    /// Run also where a cap or a budget lets vouchers pay less than their rates say
    #[arg(long)]
    pub allow_partial: bool,
    /// A variable of the environment
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub environment: Vec<(String, String)>,
    /// A label to find it by
    #[arg(short, long = "label", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub labels: Vec<(String, String)>,
    /// The organisation that pays, if not your own
    #[arg(long)]
    pub org: Option<String>,
}

/// `8:a800,h100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpus {
    milli: u64,
    models: Vec<String>,
}

/// `100%10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    count: u32,
    parallel_max: u32,
}

/// Why an attempt ended; see `--retry-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A code other than 0, a signal, too much memory.
    Failure,
    /// Its time limit.
    TimeLimit,
    /// With its site.
    SiteLost,
    /// Its agent could not start it or lost it.
    AgentFault,
}

fn parse_retry(text: &str) -> Result<(Cause, u32), String> {
    let bad = || {
        format!(
            "\"{text}\" is no retry: write failure=2, and likewise time-limit, site-lost and agent-fault, each 100 at most"
        )
    };
    let (cause, number) = text.split_once('=').ok_or_else(bad)?;
    let cause = match cause {
        "failure" => Cause::Failure,
        "time-limit" => Cause::TimeLimit,
        "site-lost" => Cause::SiteLost,
        "agent-fault" => Cause::AgentFault,
        _ => return Err(bad()),
    };
    let number = number.parse().ok().filter(|number| *number <= 100).ok_or_else(bad)?;
    Ok((cause, number))
}

/// See `--on-site-lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnSiteLost {
    /// Wait for the site.
    Hold,
    /// Run it elsewhere.
    Requeue,
}

fn parse_gpus(text: &str) -> Result<Gpus, String> {
    let (number, models) = text
        .split_once(':')
        .map_or((text, None), |(number, models)| (number, Some(models)));
    let milli = units::parse_milli(number)?;
    if milli > 1000 && milli % 1000 != 0 {
        return Err(format!(
            "\"{number}\" GPUs cannot be had: a share of one below 1, or a whole number"
        ));
    }
    let models: Vec<String> = models
        .map(|models| models.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    if models.iter().any(String::is_empty) {
        return Err(format!("\"{text}\" names an empty model: write 8:a800 or 8:a800,h100"));
    }
    Ok(Gpus { milli, models })
}

/// `4711`, or `4711[*]` for element by element.
fn parse_after(text: &str) -> Result<(u64, bool), String> {
    let (number, per_element) = text.strip_suffix("[*]").map_or((text, false), |number| (number, true));
    let job = number.parse().ok().filter(|job| *job > 0);
    job.map(|job| (job, per_element)).ok_or_else(|| {
        format!("\"{text}\" is no job: write 4711, or 4711[*] for task by task of an array of equal length")
    })
}

fn parse_amount(text: &str) -> Result<(String, u64), String> {
    let (name, amount) = parse_pair(text)?;
    amount
        .parse()
        .map(|amount| (name, amount))
        .map_err(|_| format!("\"{amount}\" is no whole number"))
}

fn parse_array(text: &str) -> Result<Array, String> {
    let bad = || format!("\"{text}\" is no array: write 100, or 100%10 for at most 10 at once");
    let (count, parallel) = text
        .split_once('%')
        .map_or((text, None), |(count, parallel)| (count, Some(parallel)));
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(bad);
    let count = match count.split_once('-') {
        // 0-99, as Slurm writes it; tasks are always numbered from 0.
        Some(("0", last)) => last
            .parse::<u32>()
            .ok()
            .and_then(|last| last.checked_add(1))
            .ok_or_else(bad)?,
        Some(_) => return Err(format!("\"{text}\" does not begin at 0: tasks are numbered from 0")),
        None => number(count)?,
    };
    Ok(Array {
        count,
        parallel_max: parallel.map_or(Ok(0), number)?,
    })
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A program and its arguments.
    Command(Vec<String>),
    /// The text of a script.
    Script(String),
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Words {
    #[command(flatten)]
    spec: SpecArgs,
}

/// Options with one value that the environment may give, as `HESUAN_SUBMIT_` and the name in capitals.
const FROM_ENVIRONMENT: [&str; 22] = [
    "name",
    "cpus",
    "mem",
    "gpus",
    "nodes",
    "time",
    "array",
    "priority",
    "site",
    "region",
    "retries",
    "retry-on",
    "not-before",
    "done-by",
    "after-ok",
    "after-any",
    "after-not-ok",
    "on-site-lost",
    "voucher",
    "max-copay",
    "env",
    "org",
];

impl SpecArgs {
    /// Flags before environment before the directives of the script.
    ///
    /// # Errors
    /// A directive or variable that is none.
    pub fn with_defaults(self, work: &Work, env: &dyn Fn(&str) -> Option<String>) -> Outcome<Self> {
        let mut words = Vec::new();
        for name in FROM_ENVIRONMENT {
            let variable = format!("HESUAN_SUBMIT_{}", name.to_uppercase().replace('-', "_"));
            if let Some(value) = env(&variable) {
                words.push(format!("--{name}={value}"));
            }
        }
        let from_env = parse_words(words, "environment HESUAN_SUBMIT_*")?;
        let from_script = match work {
            Work::Command(_) => SpecArgs::default(),
            Work::Script(text) => {
                let words = directives::words(text).map_err(Failure::Usage)?;
                parse_words(words, "#HESUAN lines of the script")?
            }
        };
        Ok(self.or(from_env).or(from_script))
    }

    /// What is not given here is taken from there. Variables and labels are put together, these winning.
    fn or(self, other: SpecArgs) -> SpecArgs {
        fn list<T>(this: Vec<T>, other: Vec<T>) -> Vec<T> {
            if this.is_empty() { other } else { this }
        }
        fn pairs<T>(mut this: Vec<(String, T)>, other: Vec<(String, T)>) -> Vec<(String, T)> {
            for (key, value) in other {
                if this.iter().all(|(taken, _)| *taken != key) {
                    this.push((key, value));
                }
            }
            this
        }
        // Which money is one decision: vouchers named closer to the user void "wallet only" further away, and the reverse.
        let funding_given = self.wallet_only || !self.vouchers.is_empty();
        SpecArgs {
            name: self.name.or(other.name),
            cpus: self.cpus.or(other.cpus),
            mem: self.mem.or(other.mem),
            gpus: self.gpus.or(other.gpus),
            nodes: self.nodes.or(other.nodes),
            resources: pairs(self.resources, other.resources),
            time: self.time.or(other.time),
            array: self.array.or(other.array),
            priority: self.priority.or(other.priority),
            sites: list(self.sites, other.sites),
            regions: list(self.regions, other.regions),
            retries: self.retries.or(other.retries),
            retry_on: list(self.retry_on, other.retry_on),
            not_before: self.not_before.or(other.not_before),
            done_by: self.done_by.or(other.done_by),
            after_ok: list(self.after_ok, other.after_ok),
            after_any: list(self.after_any, other.after_any),
            after_not_ok: list(self.after_not_ok, other.after_not_ok),
            on_site_lost: self.on_site_lost.or(other.on_site_lost),
            objective: self.objective.or(other.objective),
            vouchers: if funding_given { self.vouchers } else { other.vouchers },
            wallet_only: if funding_given {
                self.wallet_only
            } else {
                other.wallet_only
            },
            max_copay: self.max_copay.or(other.max_copay),
            allow_partial: self.allow_partial || other.allow_partial,
            environment: pairs(self.environment, other.environment),
            labels: pairs(self.labels, other.labels),
            org: self.org.or(other.org),
        }
    }

    /// The request's spec, with the defaults of the command line.
    #[must_use]
    pub fn into_spec(self, work: Work) -> v1::JobSpec {
        let (command, script) = match work {
            Work::Command(command) => (command, String::new()),
            Work::Script(script) => (Vec::new(), script),
        };
        let pair = |(key, value): (String, String)| v1::KeyValue { key, value };
        let gpus = self.gpus.unwrap_or(Gpus {
            milli: 0,
            models: Vec::new(),
        });
        let generic = self
            .resources
            .into_iter()
            .map(|(name, amount)| v1::NamedAmount { name, amount });
        let array = self.array.unwrap_or(Array {
            count: 0,
            parallel_max: 0,
        });
        let retry_on = self.retry_on;
        let retry = |cause: Cause| retry_on.iter().rev().find(|one| one.0 == cause).map(|one| one.1);
        let retry = (!retry_on.is_empty()).then(|| v1::RetryPolicy {
            failure: retry(Cause::Failure),
            time_limit: retry(Cause::TimeLimit),
            site_lost: retry(Cause::SiteLost),
            agent_fault: retry(Cause::AgentFault),
        });
        let dependency = |after: v1::After| {
            move |(job_id, per_element): (u64, bool)| v1::Dependency {
                job_id,
                after: after.into(),
                per_element,
            }
        };
        let ok = self.after_ok.into_iter().map(dependency(v1::After::Ok));
        let any = self.after_any.into_iter().map(dependency(v1::After::Any));
        let not_ok = self.after_not_ok.into_iter().map(dependency(v1::After::NotOk));
        let after = ok.chain(any).chain(not_ok).collect();
        v1::JobSpec {
            name: self.name.unwrap_or_default(),
            org: self.org.unwrap_or_default(),
            command,
            script,
            environment: self.environment.into_iter().map(pair).collect(),
            resources: Some(v1::Resources {
                cpu_milli: self.cpus.unwrap_or(1000),
                memory_mib: self.mem.unwrap_or(1024),
                gpu_milli: gpus.milli,
                gpu_models: gpus.models,
                generic: generic.collect(),
            }),
            walltime_ms_max: self.time.unwrap_or(3_600_000),
            priority: self.priority.unwrap_or(0),
            array_count: array.count,
            array_parallel_max: array.parallel_max,
            sites: self.sites,
            regions: self.regions,
            retries_max: self.retries.unwrap_or(0),
            objective: self.objective.map_or(0, |objective| objective.message().into()),
            on_site_lost: match self.on_site_lost {
                None => v1::OnSiteLost::Unspecified,
                Some(OnSiteLost::Hold) => v1::OnSiteLost::Hold,
                Some(OnSiteLost::Requeue) => v1::OnSiteLost::Requeue,
            }
            .into(),
            funding: Some(v1::Funding {
                vouchers: self.vouchers,
                wallet_only: self.wallet_only,
                copay_fen_max: self.max_copay,
                allow_partial: self.allow_partial,
            }),
            labels: self.labels.into_iter().map(pair).collect(),
            not_before_ms: self.not_before.unwrap_or(0),
            done_by_ms: self.done_by.unwrap_or(0),
            after,
            retry,
            nodes: self.nodes.unwrap_or(0),
        }
    }
}

fn parse_words(words: Vec<String>, from: &str) -> Outcome<SpecArgs> {
    match Words::try_parse_from(words) {
        Ok(words) => Ok(words.spec),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Err(Failure::Usage(format!("{from}: {first}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> SpecArgs {
        parse_words(words.iter().map(|word| (*word).to_owned()).collect(), "test").expect("the flags are good")
    }

    #[test]
    fn a_flag_beats_the_environment_and_that_beats_the_script() {
        let work = Work::Script(
            "#!/bin/sh\n#HESUAN --cpus 1 --mem 1GiB --time 1h --env A=script --env B=script --wallet-only\n".to_owned(),
        );
        let env = |key: &str| match key {
            "HESUAN_SUBMIT_CPUS" => Some("2".to_owned()),
            "HESUAN_SUBMIT_MEM" => Some("2GiB".to_owned()),
            "HESUAN_SUBMIT_SITE" => Some("hefei,songjiang".to_owned()),
            _ => None,
        };
        let spec = flags(&["--cpus", "3", "--env", "A=flag", "--voucher", "7"])
            .with_defaults(&work, &env)
            .expect("all are good")
            .into_spec(work);
        let resources = spec.resources.expect("always given");
        assert_eq!((resources.cpu_milli, resources.memory_mib), (3000, 2048));
        assert_eq!(spec.walltime_ms_max, 3_600_000);
        assert_eq!(spec.sites, ["hefei", "songjiang"]);
        let environment: Vec<_> = spec.environment.iter().map(|one| (&*one.key, &*one.value)).collect();
        assert_eq!(environment, [("A", "flag"), ("B", "script")]);
        let funding = spec.funding.expect("always given");
        assert_eq!((funding.vouchers, funding.wallet_only), (vec![7], false));
        assert!(
            spec.script.starts_with("#!/bin/sh\n#HESUAN"),
            "the script is sent as it is"
        );
    }

    #[test]
    fn gpus_and_arrays_are_read_as_documented() {
        assert_eq!(
            parse_gpus("8:a800,h100"),
            Ok(Gpus {
                milli: 8000,
                models: vec!["a800".into(), "h100".into()]
            })
        );
        assert_eq!(
            parse_gpus("0.5"),
            Ok(Gpus {
                milli: 500,
                models: vec![]
            })
        );
        for text in ["1.5", "8:", "a800", "-1", "8:a800,"] {
            assert!(parse_gpus(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_array("100%10"),
            Ok(Array {
                count: 100,
                parallel_max: 10
            })
        );
        assert_eq!(
            parse_array("0-99"),
            Ok(Array {
                count: 100,
                parallel_max: 0
            })
        );
        for text in ["0", "5%0", "1-9", "x", "0-", "-5"] {
            assert!(parse_array(text).is_err(), "{text}");
        }
        assert_eq!(flags(&["--priority", "-5"]).priority, Some(-5));
        assert_eq!(
            flags(&["--nodes", "4"])
                .into_spec(Work::Command(vec!["true".into()]))
                .nodes,
            4
        );
    }

    #[test]
    fn jobs_to_run_after_are_read_as_documented() {
        let spec =
            flags(&["--after-ok", "4711,4712[*]", "--after-not-ok", "7"]).into_spec(Work::Command(vec!["true".into()]));
        let after: Vec<_> = spec
            .after
            .iter()
            .map(|on| (on.job_id, on.after(), on.per_element))
            .collect();
        let (ok, not_ok) = (v1::After::Ok, v1::After::NotOk);
        assert_eq!(after, [(4711, ok, false), (4712, ok, true), (7, not_ok, false)]);
        for text in ["", "0", "-1", "5[3]", "[*]", "x"] {
            assert!(parse_after(text).is_err(), "{text}");
        }
    }

    #[test]
    fn retries_by_cause_are_read_as_documented() {
        let spec = flags(&["--retry-on", "failure=2,site-lost=3"]).into_spec(Work::Command(vec!["true".into()]));
        let expected = v1::RetryPolicy {
            failure: Some(2),
            site_lost: Some(3),
            ..Default::default()
        };
        assert_eq!(spec.retry, Some(expected));
        for text in ["", "failure", "failure=", "failure=101", "failure=-1", "bad-luck=1"] {
            assert!(parse_retry(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_directive_is_a_usage_error_that_says_where() {
        let work = Work::Script("#!/bin/sh\n#HESUAN --cpu 4\n".to_owned());
        let failure = SpecArgs::default()
            .with_defaults(&work, &|_| None)
            .expect_err("there is no --cpu");
        assert_eq!(failure.exit_code(), 2);
        let text = failure.text().expect("it says why");
        assert!(text.contains("#HESUAN") && text.contains("--cpu"), "{text}");
    }
}
