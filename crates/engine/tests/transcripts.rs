//! Transcripts a colleague can read: commands in, outcome and effects out. `UPDATE_TRANSCRIPTS=1` writes the answers anew;
//! read the difference before committing it.
//!
//! A line is `WHO VERB ARGUMENTS`; answers are indented. Jobs ask for one core, one GiB and one hour.

mod support;

use std::fmt::Write as _;

use hesuan_engine::command::{
    ArchivedJob, Body, ClosingCommand, Decision, EndKind, MoneyCommand, NewContract, PolicyChange, Role, SiteState,
    SubmitJob, TaskEvent, TaskReport,
};
use hesuan_engine::outcome::{ArchiveRecord, Effect};
use hesuan_engine::schedule::shares;
use hesuan_engine::state::JobState;
use hesuan_engine::types::{After, Bounds, Dependency, JobId, Nodes, Objective, OnSiteLost, Place, TaskId};
use hesuan_ledger::types::{BasisPoints, Fen, Grant, Sku, Timestamp};
use hesuan_ledger::{Rate, Terms};
use support::*;

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// `4[1]#2`: job 4, task 1, attempt 2.
fn task(text: &str) -> TaskId {
    let (job, rest) = text.split_once('[').expect("JOB[TASK]#ATTEMPT");
    let (task, attempt) = rest.split_once("]#").expect("JOB[TASK]#ATTEMPT");
    TaskId {
        job: JobId(number(job)),
        task: number(task),
        attempt: number(attempt),
        restore_epoch: 0,
    }
}

fn end_kind(text: &str) -> EndKind {
    match text.split_once('=') {
        Some(("exit", code)) => EndKind::Exited(number(code)),
        _ => match text {
            "time-limit" => EndKind::TimeLimit,
            "cancelled" => EndKind::Cancelled,
            "lost" => EndKind::Lost,
            other => panic!("unknown end {other:?}"),
        },
    }
}

fn submit(world: &World, arguments: &[&str]) -> SubmitJob {
    let mut one = job();
    for argument in arguments {
        match argument.split_once('=') {
            Some(("tasks", n)) => (one.tasks, one.array) = (number(n), true),
            Some(("nodes", n)) => one.nodes = Nodes::new(number(n)).expect("one or more"),
            Some(("hours", n)) => one.walltime_ms_max = number::<u64>(n) * 60 * MINUTE,
            Some(("retries", n)) => one.retries_max = number(n),
            Some(("retry-time-limit", n)) => one.retries.time_limit = number(n),
            Some(("retry-site-lost", n)) => one.retries.site_lost = Some(number(n)),
            Some(("retry-agent-fault", n)) => one.retries.agent_fault = number(n),
            Some(("cores", n)) => one.resources.cpu_milli = number::<u64>(n) * 1000,
            Some(("not-before", minutes)) => {
                one.gates.not_before = Some(Timestamp(world.at + number::<u64>(minutes) * MINUTE))
            }
            Some(("done-by", minutes)) => {
                one.gates.done_by = Some(Timestamp(world.at + number::<u64>(minutes) * MINUTE))
            }
            Some((after @ ("after-ok" | "after-any" | "after-not-ok"), on)) => {
                let after = match after {
                    "after-ok" => After::Ok,
                    "after-any" => After::Any,
                    _ => After::NotOk,
                };
                one.gates.after.push(Dependency {
                    job: JobId(number(on.trim_end_matches("[*]"))),
                    after,
                    per_element: on.ends_with("[*]"),
                });
            }
            Some(("archived", facts)) => {
                let (job, succeeded) = facts.split_once('/').expect("JOB/SUCCEEDED");
                one.archived.push(ArchivedJob {
                    job: JobId(number(job)),
                    org: "lab".into(),
                    state: if succeeded == "1" {
                        JobState::Succeeded
                    } else {
                        JobState::Failed
                    },
                    tasks: 1,
                    succeeded: number(succeeded),
                });
            }
            Some(("site", name)) => one.sites = vec![name.into()],
            _ if *argument == "requeue" => one.on_site_lost = OnSiteLost::Requeue,
            _ => panic!("unknown argument {argument:?}"),
        }
    }
    one
}

fn body(world: &World, words: &[&str]) -> Body {
    match words {
        ["submit", arguments @ ..] => Body::SubmitJob(submit(world, arguments)),
        ["cancel", job] => Body::CancelJob {
            job: JobId(number(job)),
            reason: "".into(),
        },
        ["extend", what, minutes] => {
            let (job, task) = what.trim_end_matches(']').split_once('[').unzip();
            Body::ExtendJob {
                job: JobId(number(job.unwrap_or(what))),
                task: task.map(number),
                more_ms: number::<u64>(minutes) * MINUTE,
            }
        }
        ["place", at, host, others @ ..] => {
            let TaskId { job, task, .. } = task(&format!("{at}#0"));
            let place = |host: &&str| Place {
                host: world.host_id(host),
                gpu_indices: [].into(),
            };
            Body::Decisions(vec![Decision {
                job,
                task,
                host: world.host_id(host),
                others: others.iter().map(place).collect(),
                ..Decision::default()
            }])
        }
        ["started", at, seq] => Body::Reports(vec![TaskReport {
            task: task(at),
            seq: number(seq),
            event: TaskEvent::Started,
        }]),
        ["ended", at, seq, kind, minutes] => {
            let event = ended(end_kind(kind), number::<u64>(minutes) * MINUTE);
            Body::Reports(vec![TaskReport {
                task: task(at),
                seq: number(seq),
                event,
            }])
        }
        ["lose", site] => {
            let site = world.state.site_by_name(site).expect("a known site");
            Body::SiteLost {
                site: site.id,
                instance: site.agent.expect("attached").instance,
            }
        }
        ["attach", site, name, cores] => attach(site, world.index.into(), &[host(name, number(cores), 32, 0)]),
        ["drain", site] => Body::SetSiteState {
            site: (*site).into(),
            state: SiteState::Draining,
            reason: "works".into(),
        },
        ["contract", site, terms @ ..] => Body::SetContract {
            site: (*site).into(),
            contract: contract(terms),
        },
        ["quota", org, bounds @ ..] => Body::SetQuota {
            org: (*org).into(),
            most: bounds_of(bounds),
        },
        ["withdraw", org, yuan] => Body::Money(MoneyCommand::Withdraw {
            org: (*org).into(),
            amount: Fen(number::<i64>(yuan) * 100),
            reference: "".into(),
        }),
        ["policy", changes @ ..] => Body::SetPolicy(policy(changes)),
        ["tick"] => Body::Tick,
        [
            verb @ ("revise" | "budget" | "revoke" | "end-period" | "close-period" | "review" | "pay" | "pay-in"),
            words @ ..,
        ] => Body::Money(money(verb, words)),
        other => panic!("unknown command {other:?}"),
    }
}

/// Times in hours, weights in thousandths.
fn policy(changes: &[&str]) -> PolicyChange {
    let mut change = PolicyChange::default();
    for word in changes {
        let (what, value) = word.split_once('=').expect("WHAT=VALUE");
        let hours = || Some(number::<u64>(value) * HOUR);
        match what {
            "objective" => {
                change.objective = Some(match value {
                    "soonest" => Objective::Soonest,
                    "cheapest" => Objective::Cheapest,
                    _ => Objective::Balanced,
                });
            }
            "fair-share" => change.fair_share = Some(value == "on"),
            "half-life" => change.half_life_ms = hours(),
            "charge-ahead" => change.charge_ahead_ms = hours(),
            "aged-after" => change.aged_after_ms = hours(),
            "patience" => change.patience = Some(number(value)),
            "put-off" => change.put_off_ms_max = hours(),
            org => change.weights.push((org.into(), number(value))),
        }
    }
    change
}

fn contract(terms: &[&str]) -> NewContract {
    let mut new = NewContract::default();
    for term in terms {
        let names = |list: &str| list.split(',').map(Box::from).collect();
        match term.split_once('=') {
            Some(("own", orgs)) => new.own = names(orgs),
            Some(("accept", orgs)) => new.accepted = names(orgs),
            Some(("floor", cores)) => new.floor = bounds_of(&[&format!("cores={cores}")]),
            Some(("lend", cores)) => new.lend_limit = bounds_of(&[&format!("cores={cores}")]),
            Some(("notice", minutes)) => new.notice_ms = number::<u64>(minutes) * MINUTE,
            _ => panic!("unknown term {term:?}"),
        }
    }
    new
}

fn bounds_of(words: &[&str]) -> Bounds {
    let mut bounds = Bounds::NONE;
    for word in words {
        match word.split_once('=') {
            Some(("cores", cores)) => bounds.cpu_milli = Some(number::<u64>(cores) * 1_000),
            Some(("tasks", tasks)) => bounds.tasks = Some(number(tasks)),
            _ => panic!("unknown bound {word:?}"),
        }
    }
    bounds
}

/// What bureau, reviewer and treasurer say.
fn money(verb: &str, words: &[&str]) -> MoneyCommand {
    match (verb, words) {
        ("revise", [programme, per_cent, rest @ ..]) => MoneyCommand::ReviseProgramme {
            programme: (*programme).into(),
            terms: Box::new(Terms {
                rates: vec![Rate {
                    sku: Sku::from("*"),
                    rate: BasisPoints(number::<u32>(per_cent) * 100),
                }],
                from: Timestamp(START),
                until: Timestamp(START + 365 * 24 * HOUR),
                ..Terms::default()
            }),
            effective_from: None,
            immediate: rest == ["immediate"],
            unit_hours: false,
        },
        ("budget", [programme, fen]) => MoneyCommand::SetBudget {
            programme: (*programme).into(),
            budget: Grant(number(fen)),
            unit_hours: false,
        },
        ("revoke", [code, rest @ ..]) => MoneyCommand::RevokeVoucher {
            code: (*code).into(),
            reason: "false statements".into(),
            fraud: rest == ["fraud"],
        },
        ("end-period", []) => MoneyCommand::Closing(ClosingCommand::EndPeriod),
        ("close-period", [period]) => MoneyCommand::Closing(ClosingCommand::ClosePeriod { period: number(period) }),
        ("review", [period, provider]) => MoneyCommand::Closing(ClosingCommand::ReviewSettlement {
            period: number(period),
            provider: (*provider).into(),
        }),
        ("pay", [period, provider]) => MoneyCommand::Closing(ClosingCommand::PaySettlement {
            period: number(period),
            provider: (*provider).into(),
            reference: "bank 7".into(),
        }),
        ("pay-in", [programme, funder, fen]) => MoneyCommand::Closing(ClosingCommand::PayIn {
            programme: (*programme).into(),
            funder: (*funder).into(),
            amount: Fen(number(fen)),
            reference: "bank 6".into(),
        }),
        other => panic!("unknown command {other:?}"),
    }
}

fn show(world: &World, what: &[&str]) -> String {
    match what {
        ["job", id] => match world.state.job(JobId(number(id))) {
            None => "not in State".to_owned(),
            Some(job) => {
                let progress = job.progress();
                let (pending, running, over) = (job.pending(), progress.running, progress.ended());
                let because = world.state.given_up_because(job);
                let because = because.map_or(String::new(), |(code, text)| format!("; {code}: {text}"));
                let paid = (progress.gross.0, progress.subsidy.0, progress.copay.0);
                format!(
                    "{:?}: {pending} pending, {running} running, {over} over; list price {}, vouchers {}, co-pay {} fen{because}",
                    job.state(),
                    paid.0,
                    paid.1,
                    paid.2
                )
            }
        },
        ["limit", at] => {
            let attempt = world.state.attempt(task(at)).expect("placed and not archived");
            format!("{} minutes", attempt.walltime_ms_max / MINUTE)
        }
        ["wallet", org] => {
            let org = world.state.ledger().org_by_name(org).expect("a known org");
            format!("{} fen free, {} held", org.available, org.held)
        }
        ["voucher", code] => {
            let voucher = world.state.ledger().voucher_by_code(code).expect("a known voucher");
            let (free, held, spent) = (voucher.available, voucher.held, voucher.captured);
            format!("{:?}: {free} fen free, {held} held, {spent} spent", voucher.state)
        }
        ["contract", site] => {
            let site = world.state.site_by_name(site).expect("a known site");
            let contract = site.contract.as_deref().expect("it has one");
            let (own, strangers) = world.state.held_at(site.id, contract);
            format!(
                "revision {}: own users hold {} milli-cores in {} tasks, strangers {} in {}",
                contract.revision, own.cpu_milli, own.tasks, strangers.cpu_milli, strangers.tasks
            )
        }
        ["org", name] => {
            let org = world.state.ledger().org_by_name(name).expect("a known org");
            format!("owed to it {} fen, it owes {}", org.receivable, org.owes)
        }
        ["policy"] => {
            let policy = world.state.policy();
            let hours = |ms: u64| ms / HOUR;
            let name = |org| {
                world
                    .state
                    .ledger()
                    .org(org)
                    .map_or("?".into(), |org| org.registered.name.clone())
            };
            let weights = policy.weights.iter();
            let weights: Vec<String> = weights
                .map(|(org, weight)| format!("{}={weight}", name(*org)))
                .collect();
            format!(
                "revision {}: {:?}; fair share {}, half-life {} h, charge ahead {} h, aged after {} h; patience {}, at most {} h; weights {weights:?}",
                policy.revision,
                policy.objective,
                if policy.fair_share { "on" } else { "off" },
                hours(policy.half_life_ms),
                hours(policy.charge_ahead_ms),
                hours(policy.aged_after_ms),
                policy.patience,
                hours(policy.put_off_ms_max)
            )
        }
        ["share", org] => {
            let org = world.state.ledger().org_by_name(org).expect("a known org").id;
            let all = shares(&world.state, Timestamp(world.at));
            match all.iter().find(|share| share.org == org) {
                None => "nothing yet".to_owned(),
                Some(share) => format!(
                    "{} millionths of the pool lately, {} now; weight {}, level {}",
                    share.used_ppm, share.running_ppm, share.weight_milli, share.level
                ),
            }
        }
        ["host", name] => {
            let host = world.state.host(world.host_id(name)).expect("known");
            format!("{} of {} milli-cores free", host.free.cpu_milli, host.total.cpu_milli)
        }
        other => panic!("unknown {other:?}"),
    }
}

fn name(task: &TaskId) -> String {
    format!("{}[{}]#{}", task.job.0, task.task, task.attempt)
}

fn effect(world: &World, effect: &Effect) -> String {
    let site = |id| world.state.site(id).map_or("?", |site| &*site.name);
    match effect {
        Effect::Assigned { site: id, task } => format!("{} assigned to {}", name(task), site(*id)),
        Effect::Withdrawn { site: id, task } => format!("{} withdrawn at {}", name(task), site(*id)),
        Effect::LimitChanged { site: id, task } => format!("{} has another limit at {}", name(task), site(*id)),
        Effect::JobChanged(job) => format!("job {} changed", job.0),
        Effect::ClassWoken(class) => format!("class {} woken", class.0),
        Effect::SiteChanged(id) => format!("{} changed", site(*id)),
        Effect::FundsChanged(org) => format!("funds of org {org} changed"),
        Effect::DecisionJudged { job, task, refused } => {
            format!(
                "decision {}[{task}] {}",
                job.0,
                refused.map_or("taken".to_owned(), |code| format!("refused: {code}"))
            )
        }
        Effect::ReportJudged { task, seq, .. } => format!("report {} of {} judged", seq, name(task)),
        Effect::Archive(ArchiveRecord::Journal(_)) => "a journal entry".to_owned(),
        Effect::Archive(ArchiveRecord::Job { job, .. }) => format!("job {} archived", job.0),
        Effect::HostChanged(host) => format!(
            "host {} changed",
            world.state.host(*host).map_or("?", |host| &*host.name)
        ),
        other => format!("{other:?}"),
    }
}

fn run(text: &str) -> String {
    let mut world = World::new().with_voucher(100_000);
    world.must_principal("reviewer", &[Role::Reviewer], None, None, None);
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(out, "{line}").expect("a string grows");
        let words: Vec<&str> = line.split_whitespace().collect();
        match &*words {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["wait", minutes] => world.wait(number::<u64>(minutes) * MINUTE),
            ["show", what @ ..] => writeln!(out, "  {}", show(&world, what)).expect("a string grows"),
            [who, words @ ..] => {
                let outcome = world.send(world.who(who), body(&world, words));
                match outcome.reply {
                    Ok(reply) => writeln!(out, "  {reply:?}"),
                    Err(refused) => {
                        let nearest = refused.nearest.as_ref();
                        let nearest =
                            nearest.map_or(String::new(), |nearest| format!("\n    instead: {}", nearest.text));
                        writeln!(out, "  refused: {} ({}){nearest}", refused.code, refused.message)
                    }
                }
                .expect("a string grows");
                for found in &world.last_effects {
                    writeln!(out, "    {}", effect(&world, found)).expect("a string grows");
                }
            }
        }
    }
    out
}

#[test]
fn transcripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let files = std::fs::read_dir(&folder).expect("the folder is in the repository");
    let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no transcripts");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a text");
        let found = run(&text);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&file, &found).expect("writable");
            continue;
        }
        assert!(found == text, "{} differs; it now says:\n{found}", file.display());
    }
}
