//! Random commands against the invariants: every step is checked whole, a rejection changes nothing (both in
//! [`support::World`]), a second state fed the same log is equal, and so is one that was decoded on the way.

mod support;

use hesuan_engine::command::{
    Body, Command, Decision, EndKind, LimitsChange, MoneyCommand, NewContract, PolicyChange, Reclaim, SiteState,
    SubmitJob, TaskEvent, TaskReport,
};
use hesuan_engine::outcome::{ArchiveRecord, Effect, Outcome};
use hesuan_engine::schedule::{GpuNeed, choose_devices};
use hesuan_engine::state::access::kind_of;
use hesuan_engine::state::{Host, Job, State};
use hesuan_engine::types::{After, Bounds, Dependency, HostId, JobId, Nodes, OnSiteLost, Place, PrincipalId, TaskId};
use hesuan_ledger::types::{Fen, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use support::*;

const SITES: [&str; 3] = ["songjiang", "hangzhou", "hefei"];

#[derive(Clone, Debug)]
enum Step {
    Submit {
        who: u8,
        tasks: u32,
        cpu: u64,
        gpu: u64,
        retries: u32,
        requeue: bool,
        parallel: u32,
        gates: Ask,
    },
    // Of what waits, on a host that may or may not have room, with devices that are free there.
    PlacePending {
        job: usize,
        task: usize,
        host: usize,
    },
    // Of what runs, by its own agent.
    ReportRunning {
        which: usize,
        seq: u32,
        end: Option<u8>,
        wall: u64,
    },
    Place {
        job: u64,
        task: u32,
        host: u32,
        gpus: Vec<u32>,
    },
    Report {
        which: usize,
        site: u8,
        seq: u32,
        end: Option<u8>,
        wall: u64,
    },
    Cancel {
        who: u8,
        job: u64,
    },
    // Of what was placed once; it may have ended.
    Extend {
        who: u8,
        which: usize,
        named: bool,
        more: u64,
    },
    Lose(u8),
    Attach {
        site: u8,
        cores: u64,
        gpus: usize,
    },
    SiteState {
        site: u8,
        state: u8,
    },
    TopUp(i64),
    Withdraw(i64),
    Refund {
        which: usize,
        amount: Option<i64>,
    },
    Quote {
        valid: u64,
    },
    TakeUp {
        quote: u64,
    },
    Repeat(usize),
    Limits {
        keep: u64,
    },
    Policy {
        half_life: u64,
        weight: u32,
    },
    // Cores of the floor and of what is lent; whose the site is, and whether only the other may come.
    Contract {
        site: u8,
        floor: u64,
        lend: u64,
        own: u8,
        closed: bool,
    },
    // For what waits, of so many that run on a host.
    Reclaim {
        job: usize,
        task: usize,
        host: usize,
        victims: usize,
    },
    Quota {
        who: u8,
        cores: u64,
        tasks: Option<u64>,
    },
    Tick,
    Wait(u64),
    Recode,
}

/// What a job asks to come first. Times are from now on.
#[derive(Clone, Debug, Default)]
struct Ask {
    not_before: Option<u64>,
    done_by: Option<u64>,
    // Job, how it has to end, element by element.
    after: Vec<(u64, u8, bool)>,
    time_limit: u32,
    site_lost: Option<u32>,
}

fn ask() -> impl Strategy<Value = Ask> {
    let not_before = proptest::option::weighted(0.1, 0..60 * MINUTE);
    let done_by = proptest::option::weighted(0.1, 55 * MINUTE..120 * MINUTE);
    let after = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::collection::vec((1..12u64, 0..3u8, proptest::bool::weighted(0.3)), 1..3)
    ];
    let retries = (0..2u32, proptest::option::of(0..2u32));
    (not_before, done_by, after, retries).prop_map(|(not_before, done_by, after, retries)| Ask {
        not_before,
        done_by,
        after,
        time_limit: retries.0,
        site_lost: retries.1,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let gpu = prop_oneof![6 => Just(0u64), 1 => Just(1u64), 2 => Just(2u64), 1 => Just(3u64), 2 => Just(4u64)];
    let submit = (0..2u8, 1..5u32, 1..7u64, gpu, 0..3u32, any::<bool>(), 0..3u32, ask());
    prop_oneof![
        6 => submit.prop_map(|(who, tasks, cpu, gpu, retries, requeue, parallel, gates)| {
            Step::Submit { who, tasks, cpu, gpu, retries, requeue, parallel, gates }
        }),
        12 => (0..64usize, 0..64usize, 0..64usize).prop_map(|(job, task, host)| Step::PlacePending { job, task, host }),
        2 => (1..14u64, 0..4u32, 1..6u32, proptest::collection::vec(0..5u32, 0..3))
            .prop_map(|(job, task, host, gpus)| Step::Place { job, task, host, gpus }),
        10 => (0..64usize, 1..9u32, proptest::option::weighted(0.8, 0..9u8), 0..30 * MINUTE)
            .prop_map(|(which, seq, end, wall)| Step::ReportRunning { which, seq, end, wall }),
        2 => (0..64usize, 0..3u8, 1..4u32, proptest::option::of(0..9u8), 0..8 * MINUTE)
            .prop_map(|(which, site, seq, end, wall)| Step::Report { which, site, seq, end, wall }),
        2 => (0..2u8, 1..10u64).prop_map(|(who, job)| Step::Cancel { who, job }),
        3 => (0..2u8, 0..64usize, any::<bool>(), 0..40 * MINUTE)
            .prop_map(|(who, which, named, more)| Step::Extend { who, which, named, more }),
        1 => (0..3u8).prop_map(Step::Lose),
        2 => (0..3u8, 4..17u64, 0..5usize).prop_map(|(site, cores, gpus)| Step::Attach { site, cores, gpus }),
        2 => (0..3u8, prop_oneof![3 => Just(0u8), 1 => Just(1u8), 1 => Just(2u8)])
            .prop_map(|(site, state)| Step::SiteState { site, state }),
        1 => (-5..5_000i64).prop_map(Step::TopUp),
        1 => prop_oneof![4 => -5..1_000i64, 1 => Just(990_000i64)].prop_map(Step::Withdraw),
        2 => (0..64usize, proptest::option::of(-1..400i64)).prop_map(|(which, amount)| Step::Refund { which, amount }),
        1 => (1..HOUR).prop_map(|valid| Step::Quote { valid }),
        1 => (1..4u64).prop_map(|quote| Step::TakeUp { quote }),
        1 => (0..64usize).prop_map(Step::Repeat),
        1 => (0..HOUR).prop_map(|keep| Step::Limits { keep }),
        1 => (HOUR / 2..3 * HOUR, 0..3000u32).prop_map(|(half_life, weight)| Step::Policy { half_life, weight }),
        2 => (0..3u8, 0..20u64, 0..20u64, 0..3u8, any::<bool>())
            .prop_map(|(site, floor, lend, own, closed)| Step::Contract { site, floor, lend, own, closed }),
        8 => (0..64usize, 0..64usize, 0..64usize, 1..5usize)
            .prop_map(|(job, task, host, victims)| Step::Reclaim { job, task, host, victims }),
        1 => (0..2u8, 0..40u64, proptest::option::of(0..5u64)).prop_map(|(who, cores, tasks)| Step::Quota { who, cores, tasks }),
        2 => Just(Step::Tick),
        3 => (1..20 * MINUTE).prop_map(Step::Wait),
        1 => Just(Step::Recode),
    ]
}

struct Run {
    reached: BTreeMap<String, u32>,
    over: BTreeSet<TaskId>,
    world: World,
    other: State,
    log: Vec<Command>,
    seen: Vec<TaskId>,
}

impl Run {
    fn new() -> Self {
        let world = World::new().with_voucher(3_000);
        let other = recoded(&world.state);
        Self {
            reached: BTreeMap::new(),
            over: BTreeSet::new(),
            world,
            other,
            log: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn send(&mut self, who: &str, body: Body) {
        let principal = PrincipalId(self.world.who(who));
        let needs_id = principal.0 != 0 && !matches!(body, Body::AttachAgent { .. } | Body::Reports(_));
        let request_id = needs_id.then(|| self.world.request_id());
        self.apply(Command {
            principal,
            request_id,
            digest: [0; 16],
            body,
        });
    }

    fn apply(&mut self, command: Command) {
        let outcome = self.world.send_with(
            command.principal.0,
            command.request_id,
            command.digest,
            command.body.clone(),
        );
        let mut effects = Vec::new();
        let at = Timestamp(self.world.at);
        self.other.begin_entry(self.world.index, at);
        assert_eq!(self.other.apply(at, &command, &mut effects), outcome);
        self.other.end_entry(self.world.index);
        assert_eq!(effects, self.world.last_effects);
        assert_eq!(self.other.outcome_digest(), self.world.state.outcome_digest());
        self.note(&command, &outcome, &effects);
        let placed = effects.iter().filter_map(|effect| match effect {
            Effect::Assigned { task, .. } => Some(*task),
            _ => None,
        });
        self.seen.extend(placed);
        self.log.push(command);
    }

    // What the random steps got to: a test whose commands are all refused would prove nothing.
    fn note(&mut self, command: &Command, outcome: &Outcome, effects: &[Effect]) {
        let mut reach = |what: String| *self.reached.entry(what).or_default() += 1;
        match &outcome.reply {
            Ok(_) if outcome.repeated => reach("answered again".into()),
            Ok(_) => reach(format!("{:?} accepted", kind_of(&command.body))),
            Err(refused) => reach(format!("refused {}", refused.code)),
        }
        for effect in effects {
            match effect {
                Effect::Assigned { .. } => reach("placed".into()),
                Effect::Withdrawn { .. } => reach("withdrawn".into()),
                Effect::LimitChanged { .. } => reach("extended".into()),
                Effect::DecisionJudged {
                    refused: Some(code), ..
                } => reach(format!("decision refused {code}")),
                Effect::ReclaimJudged { refused, .. } => {
                    reach(refused.map_or("taken back".into(), |code| format!("reclaim refused {code}")))
                }
                Effect::Archive(ArchiveRecord::Job { .. }) => reach("archived".into()),
                _ => {}
            }
        }
        for job in effects.iter().filter_map(|effect| match effect {
            Effect::JobChanged(job) => self.world.state.job(*job),
            _ => None,
        }) {
            if matches!(command.body, Body::Tick) && job.progress().deadline > 0 {
                reach("given up for its deadline".into());
            }
            if let Some(unmet) = job.progress().unmet {
                let element = if unmet.task.is_some() { " of an element" } else { "" };
                reach(format!("given up for a dependency{element}"));
            }
        }
        for (id, attempt) in (1..40).flat_map(|job| self.world.state.attempts(JobId(job), 0)) {
            if let Some(ended) = attempt.ended.as_ref().filter(|_| self.over.insert(id)) {
                let paid = ended.receipt.as_ref().is_some_and(|receipt| receipt.gross > Fen::ZERO);
                reach(format!(
                    "ended {:?}{}",
                    ended.state,
                    if paid { " and paid" } else { "" }
                ));
            }
        }
    }

    fn task(&self, which: usize) -> TaskId {
        if self.seen.is_empty() {
            TaskId::default()
        } else {
            self.seen[which % self.seen.len()]
        }
    }

    fn candidates(&self, task: usize, host: usize) -> Vec<Decision> {
        let state = &self.world.state;
        let hosts: Vec<_> = state.hosts().collect();
        let host = hosts[host % hosts.len()];
        let jobs = state
            .pending_classes()
            .flat_map(|class| state.pending_jobs(class, JobId(0)));
        let decide = |(id, job): (JobId, &Job)| {
            let tasks: Vec<u32> = job.pending_tasks(0).collect();
            let free = host
                .gpus
                .iter()
                .enumerate()
                .map(|(index, gpu)| (index as u32, gpu.free_milli));
            let gpu_indices = choose_devices(GpuNeed::of(&state.request(job).resources), free);
            // Without room for them, devices in use: apply has to say no.
            let gpu_indices = gpu_indices.unwrap_or_else(|| vec![0; usize::from(!host.gpus.is_empty())]);
            // A gang gets the hosts that follow, of other sites too: apply has to look.
            let nodes = state.request(job).nodes.count() as usize;
            let following = hosts.iter().filter(|other| other.id > host.id).take(nodes - 1);
            let place = |other: &&Host| Place {
                host: other.id,
                gpu_indices: gpu_indices.clone().into(),
            };
            Decision {
                job: id,
                task: tasks[task % tasks.len()],
                host: host.id,
                others: following.map(place).collect(),
                gpu_indices: gpu_indices.clone(),
            }
        };
        jobs.map(decide).collect()
    }

    fn step(&mut self, step: Step) {
        let person = |who: u8| if who == 0 { "lab" } else { "acme" };
        match step {
            Step::Submit {
                who,
                tasks,
                cpu,
                gpu,
                retries,
                requeue,
                parallel,
                gates,
            } => {
                let mut one = SubmitJob {
                    tasks,
                    array: tasks > 1,
                    retries_max: retries,
                    parallel_max: parallel,
                    ..job()
                };
                one.resources.cpu_milli = cpu * 1_000;
                one.resources.gpu_milli = gpu * 500;
                one.nodes = Nodes::new(1 + u32::from(cpu % 3 == 0 && gpu == 0)).expect("at least one");
                one.on_site_lost = if requeue { OnSiteLost::Requeue } else { OnSiteLost::Hold };
                one.gates.done_by = gates.done_by.map(|ms| Timestamp(self.world.at + ms));
                one.retries.time_limit = gates.time_limit;
                one.retries.site_lost = gates.site_lost.filter(|_| requeue);
                let newest = self.world.state.jobs_newest_first(None).next();
                let newest = newest.map_or(0, |(id, _)| id.0);
                one.gates.after = gates
                    .after
                    .iter()
                    .map(|(job, after, per_element)| Dependency {
                        job: JobId(1 + job % newest.max(1)),
                        after: [After::Ok, After::Any, After::NotOk][usize::from(*after)],
                        per_element: *per_element,
                    })
                    .collect();
                // Mostly as long as what it follows element by element: others are refused.
                let followed = one.gates.after.iter().find(|on| on.per_element && parallel != 1);
                if let Some(followed) = followed.and_then(|on| self.world.state.job(on.job)) {
                    (one.tasks, one.array) = (followed.spec.tasks, true);
                }
                one.gates.not_before = gates.not_before.map(|ms| Timestamp(self.world.at + ms));
                self.send(person(who), Body::SubmitJob(one));
            }
            Step::Place {
                job,
                task,
                host,
                mut gpus,
            } => {
                gpus.sort_unstable();
                let decision = Decision {
                    job: JobId(job),
                    task,
                    host: HostId(host),
                    gpu_indices: gpus,
                    ..Decision::default()
                };
                self.send("cluster", Body::Decisions(vec![decision]));
            }
            Step::PlacePending { job, task, host } => {
                let pending: Vec<Decision> = self.candidates(task, host);
                if let Some(decision) = pending.get(job % pending.len().max(1)) {
                    self.send("cluster", Body::Decisions(vec![decision.clone()]));
                }
            }
            Step::ReportRunning { which, seq, end, wall } => {
                let state = &self.world.state;
                let running: Vec<(TaskId, String)> = state
                    .sites()
                    .flat_map(|site| state.running_at(site.id).map(|task| (task, site.name.to_string())))
                    .collect();
                if let Some((task, site)) = running.get(which % running.len().max(1)).cloned() {
                    let cancelled = state.assignment(task).is_some_and(|view| view.cancel_requested);
                    // An agent mostly does as it was told.
                    let end = end.map(|end| if cancelled && end > 2 { CANCELLED } else { end });
                    self.send(
                        &site,
                        Body::Reports(vec![TaskReport {
                            task,
                            seq,
                            event: event(end, wall),
                        }]),
                    );
                }
            }
            Step::Report {
                which,
                site,
                seq,
                end,
                wall,
            } => {
                let report = TaskReport {
                    task: self.task(which),
                    seq,
                    event: event(end, wall),
                };
                self.send(SITES[usize::from(site)], Body::Reports(vec![report]));
            }
            Step::Cancel { who, job } => self.send(
                person(who),
                Body::CancelJob {
                    job: JobId(job),
                    reason: "test".into(),
                },
            ),
            Step::Extend {
                who,
                which,
                named,
                more,
            } => {
                let TaskId { job, task, .. } = self.task(which);
                let task = named.then_some(task);
                let more_ms = more;
                self.send(person(who), Body::ExtendJob { job, task, more_ms });
            }
            Step::Lose(site) => {
                let site = self.world.state.site_by_name(SITES[usize::from(site)]).expect("known");
                let (site, instance) = (site.id, site.agent.expect("attached").instance);
                self.send("cluster", Body::SiteLost { site, instance });
            }
            Step::Attach { site, cores, gpus } => {
                let site = SITES[usize::from(site)];
                let names = ["sj-a", "hz-a", "hf-a"];
                let name = names[SITES.iter().position(|known| *known == site).expect("one of them")];
                let instance = u128::from(self.world.index);
                self.send(site, attach(site, instance, &[host(name, cores, 4 * cores, gpus)]));
            }
            Step::SiteState { site, state } => {
                let state = [SiteState::Open, SiteState::Cordoned, SiteState::Draining][usize::from(state)];
                let site = SITES[usize::from(site)];
                self.send(
                    site,
                    Body::SetSiteState {
                        site: site.into(),
                        state,
                        reason: "test".into(),
                    },
                );
            }
            Step::TopUp(fen) => self.send("treasurer", top_up("lab", fen)),
            Step::Withdraw(fen) => {
                let body = MoneyCommand::Withdraw {
                    org: "lab".into(),
                    amount: Fen(fen),
                    reference: "".into(),
                };
                self.send("treasurer", Body::Money(body));
            }
            Step::Refund { which, amount } => {
                let task = self.task(which);
                let body = MoneyCommand::Refund {
                    task,
                    amount: amount.map(Fen),
                    reason: "test".into(),
                };
                self.send("treasurer", Body::Money(body));
            }
            Step::Quote { valid } => self.send(
                "lab",
                Body::BindQuote {
                    job: job(),
                    valid_ms: valid,
                },
            ),
            Step::TakeUp { quote } => {
                let taker = SubmitJob {
                    quote: Some(quote),
                    ..job()
                };
                self.send("lab", Body::SubmitJob(taker));
            }
            Step::Repeat(which) => {
                let asked: Vec<&Command> = self.log.iter().filter(|command| command.request_id.is_some()).collect();
                if let Some(command) = asked.get(which % asked.len().max(1)) {
                    let command = (*command).clone();
                    self.apply(command);
                }
            }
            Step::Limits { keep } => {
                let change = LimitsChange {
                    ended_job_keep_ms: Some(keep),
                    ..LimitsChange::default()
                };
                self.send("operator", Body::SetLimits(change));
            }
            Step::Policy { half_life, weight } => {
                let change = PolicyChange {
                    half_life_ms: Some(half_life),
                    weights: vec![("lab".into(), weight)],
                    ..PolicyChange::default()
                };
                self.send("operator", Body::SetPolicy(change));
            }
            Step::Contract {
                site,
                floor,
                lend,
                own,
                closed,
            } => {
                let org = |who: u8| if who == 0 { "lab" } else { "acme" };
                let site = SITES[usize::from(site)];
                let cores = |cores: u64| Bounds {
                    cpu_milli: Some(cores * 1_000),
                    ..Bounds::NONE
                };
                let contract = NewContract {
                    own: (own < 2).then(|| org(own).into()).into_iter().collect(),
                    floor: if floor < 16 { cores(floor) } else { Bounds::NONE },
                    lend_limit: if lend < 16 { cores(lend) } else { Bounds::NONE },
                    accepted: closed.then(|| org(1 - own.min(1)).into()).into_iter().collect(),
                    notice_ms: 10 * MINUTE,
                };
                self.send(
                    "cluster",
                    Body::SetContract {
                        site: site.into(),
                        contract,
                    },
                );
            }
            Step::Reclaim {
                job,
                task,
                host,
                victims,
            } => {
                let state = &self.world.state;
                let running: Vec<(TaskId, HostId)> = (state.all_attempts())
                    .filter(|(_, attempt)| attempt.is_running())
                    .map(|(id, attempt)| (id, attempt.host))
                    .collect();
                let Some((_, host)) = running.get(host % running.len().max(1)).copied() else {
                    return;
                };
                let place = state.hosts().position(|known| known.id == host).expect("it runs there");
                let mut candidates = self.candidates(task, place);
                candidates.retain(|wanted| wanted.others.is_empty());
                let Some(wanted) = candidates.get(job % candidates.len().max(1)) else {
                    return;
                };
                let org_of = |id: JobId| state.job(id).map(|job| state.request(job).org);
                let own = org_of(wanted.job);
                let strangers = running.iter().filter(|(id, on)| *on == host && org_of(id.job) != own);
                let reclaim = Reclaim {
                    job: wanted.job,
                    task: wanted.task,
                    host,
                    victims: strangers.map(|(id, _)| *id).take(victims).collect(),
                };
                // Mostly its org is at home there.
                let site = state
                    .host(host)
                    .and_then(|host| state.site(host.site))
                    .expect("hosts have sites");
                let name = own
                    .and_then(|own| state.ledger().org(own))
                    .map(|org| org.registered.name.clone());
                let online = || state.hosts_of(site.id).filter(|host| host.online);
                let contract = NewContract {
                    own: name.into_iter().collect(),
                    floor: Bounds {
                        cpu_milli: Some(online().map(|host| host.total.cpu_milli).sum()),
                        gpu_milli: Some(online().map(|host| 1000 * host.gpus.len() as u64).sum()),
                        ..Bounds::NONE
                    },
                    notice_ms: MINUTE,
                    ..NewContract::default()
                };
                let site = site.name.clone();
                if victims > 1 {
                    self.send("cluster", Body::SetContract { site, contract });
                }
                self.send("cluster", Body::Reclaims(vec![reclaim]));
            }
            Step::Quota { who, cores, tasks } => {
                let most = Bounds {
                    cpu_milli: Some(cores * 1_000),
                    tasks,
                    ..Bounds::NONE
                };
                let org = person(who).into();
                self.send("cluster", Body::SetQuota { org, most });
            }
            Step::Tick => self.send("cluster", Body::Tick),
            Step::Wait(ms) => self.world.wait(ms),
            Step::Recode => self.other = recoded(&self.world.state),
        }
    }
}

/// Among the kinds of [`event`].
const CANCELLED: u8 = 5;

fn event(end: Option<u8>, wall: u64) -> TaskEvent {
    let kinds = [
        EndKind::Exited(0),
        EndKind::Exited(0),
        EndKind::Exited(1),
        EndKind::Signalled(9),
        EndKind::TimeLimit,
        EndKind::Cancelled,
        EndKind::StartFailed { by_user: false },
        EndKind::Lost,
        EndKind::LeaseExpired,
    ];
    end.map_or(TaskEvent::Started, |end| ended(kinds[usize::from(end)], wall))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_equal_logs_give_equal_states(steps in proptest::collection::vec(step(), 1..120)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        prop_assert_eq!(run.other.full_hash(), run.world.state.full_hash());
    }
}

#[test]
fn the_random_steps_reach_what_they_are_meant_to() {
    let mut runner = TestRunner::deterministic();
    let steps = proptest::collection::vec(step(), 60..120);
    let mut reached: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..256 {
        let mut run = Run::new();
        for step in steps.new_tree(&mut runner).expect("a plain strategy").current() {
            run.step(step);
        }
        for (what, count) in run.reached {
            *reached.entry(what).or_default() += count;
        }
    }
    println!("{reached:#?}");
    let wanted = [
        "placed",
        "withdrawn",
        "archived",
        "answered again",
        "ended Succeeded and paid",
        "ended Failed and paid",
        "ended Cancelled and paid",
        "ended TimeLimit",
        "ended Lost",
        "given up for its deadline",
        "decision refused NOT_BEFORE",
        "decision refused DEPENDENCY",
        "given up for a dependency",
        "given up for a dependency of an element",
        "refused DEPENDENCY_UNMET",
        "refused DEPENDENCY_ELEMENTS",
        "refused DEPENDENCY_TWICE",
        "refused DONE_BY_TOO_SOON",
        "MoveMoney accepted",
        "extended",
        "refused NOT_RUNNING",
        "refused TASK_MISSING",
        "refused BEING_STOPPED",
        "refused INSUFFICIENT_FUNDS",
        "refused REFUND_TOO_LARGE",
        "refused QUOTE_EXPIRED",
        "decision refused TASK_NOT_PENDING",
        "decision refused GANG_NODES",
        "decision refused GANG_SITES",
        "SetContract accepted",
        "refused FLOOR_WITHOUT_OWN",
        "refused FLOOR_OVER_CAPACITY",
        "decision refused ORG_NOT_ACCEPTED",
        "decision refused LEND_LIMIT",
        "taken back",
        "ended Preempted and paid",
        "reclaim refused VICTIM_GUARANTEED",
        "reclaim refused RECLAIM_UNDER_WAY",
        "reclaim refused RECLAIM_NEEDLESS",
        "reclaim refused FLOOR_EXCEEDED",
        "reclaim refused NOT_OWN",
        "decision refused QUOTA_CPU",
        "decision refused QUOTA_TASKS",
        "decision refused CAPACITY_CPU",
        "decision refused CAPACITY_GPU",
        "decision refused SITE_LOST",
        "decision refused INSUFFICIENT_FUNDS",
    ];
    let missed: Vec<&str> = wanted.into_iter().filter(|what| !reached.contains_key(*what)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
    assert!(reached["placed"] > 500, "only {} placements", reached["placed"]);
}
