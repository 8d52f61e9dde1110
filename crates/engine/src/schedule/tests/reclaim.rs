//! Floors: a stranger has to leave when an own user needs the place the floor guarantees, after the notice, and nobody else has to.

use proptest::prelude::*;

use super::lending::{cpus, of};
use super::*;
use crate::command::{NewContract, Reclaim};
use crate::schedule::Room;
use crate::schedule::victims::Candidate;
use crate::types::{Bounds, Held};

const NOTICE: u64 = 60_000;

/// A site with these hosts whose own users are `home`, with a floor.
fn world(hosts: &[HostInventory], floor: Bounds) -> (World, SiteId) {
    let mut world = World::new();
    world.org("home", 1_000_000);
    let site = world.site("a", 310117, 1, hosts);
    world.apply(Body::SetContract {
        site: "a".into(),
        contract: NewContract {
            own: vec!["home".into()],
            floor,
            notice_ms: NOTICE,
            ..NewContract::default()
        },
    });
    (world, site)
}

impl World {
    /// What the planner takes back now, applied; every one must be taken.
    fn take_back(&mut self) -> Vec<Reclaim> {
        let reclaims = self.planner.reclaims(&self.state, Timestamp(self.now));
        if !reclaims.is_empty() {
            let count = reclaims.len() as u32;
            let reply = self.apply(Body::Reclaims(reclaims.clone()));
            assert_eq!(
                reply,
                Reply::Counts {
                    taken: count,
                    refused: 0
                }
            );
            self.state.check();
        }
        reclaims
    }

    /// Time passes; agents stop at once what they are told to stop.
    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.apply(Body::Tick);
        for task in self.running() {
            if self.state.assignment(task).is_some_and(|told| told.cancel_requested) {
                self.end(task, EndKind::Cancelled);
            }
        }
        self.state.check();
    }

    fn states(&self, job: JobId) -> Vec<JobState> {
        self.state
            .attempts(job, 0)
            .map(|(_, attempt)| attempt.state())
            .collect()
    }

    /// The stranger's task starts, so that its work counts.
    fn start(&mut self, job: JobId) {
        for task in self.running().into_iter().filter(|task| task.job == job) {
            let site = self.state.attempt(task).expect("it runs").site;
            let agent = self.state.principals().find(|principal| principal.site == Some(site));
            let agent = agent.expect("sites have agents").id;
            let started = TaskReport {
                task,
                seq: 1,
                event: TaskEvent::Started,
            };
            self.apply_as(agent, Body::Reports(vec![started]))
                .expect("an agent reports");
        }
    }
}

#[test]
fn a_stranger_leaves_after_the_notice_is_paid_for_what_it_used_and_comes_back() {
    let (mut world, site) = world(&[host(8)], cpus(4));
    let stranger = world.submit(SubmitJob {
        walltime_ms_max: 24 * HOUR,
        ..cores(6)
    });
    world.settle();
    world.start(stranger);
    let own = world.submit(of("home", cores(4)));
    assert_eq!(world.settle(), []);
    let taken = world.take_back();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].job, taken[0].victims.len()), (own, 1));
    assert!(world.codes(own, site).contains(&"RECLAIM_UNDER_WAY"));
    assert_eq!(world.take_back(), [], "once is enough");
    world.pass(NOTICE / 2);
    assert_eq!(world.states(stranger), [JobState::Running], "it has its notice");
    assert_eq!(world.settle(), []);
    world.pass(NOTICE);
    assert_eq!(world.states(stranger), [JobState::Preempted]);
    let placed = world.settle();
    assert_eq!(placed[0].job, own, "the room was kept for it");
    let attempt = world.state.attempts(stranger, 0).next().expect("it ran").1;
    let ended = attempt.ended.as_ref().expect("it has ended");
    assert_eq!(ended.wall_ms, 1000, "what it used is billed");
    assert!(ended.receipt.is_some());
    world.finish(own);
    world.settle();
    assert_eq!(world.states(stranger), [JobState::Preempted, JobState::Running]);
    world.finish(stranger);
    let job = world.state.job(stranger).expect("it has just ended");
    assert_eq!(job.state(), JobState::Succeeded, "it was no failure and no retry");
}

#[test]
fn who_comes_before_the_own_user_does_not_get_the_room_that_was_made_for_it() {
    let (mut world, _) = world(&[host(4)], cpus(4));
    let stranger = world.submit(cores(4));
    world.settle();
    let first_in_line = world.submit(SubmitJob {
        priority: 9,
        ..cores(4)
    });
    let own = world.submit(of("home", cores(4)));
    world.settle();
    assert_eq!(world.take_back().len(), 1);
    world.pass(NOTICE + 1);
    assert_eq!(
        world.settle().iter().map(|decision| decision.job).collect::<Vec<_>>(),
        [own]
    );
    world.finish(own);
    assert_eq!(world.settle()[0].job, first_in_line);
    assert_eq!(world.states(stranger), [JobState::Preempted]);
}

#[test]
fn nothing_is_taken_back_beyond_the_floor_from_own_users_or_for_strangers() {
    let (mut world, _) = world(&[host(8)], cpus(4));
    let own = world.submit(of("home", cores(4)));
    let stranger = world.submit(cores(4));
    world.settle();
    // Own users hold the floor; more is not guaranteed, and a stranger has no floor.
    world.submit(of("home", cores(1)));
    world.submit(cores(8));
    world.settle();
    assert_eq!(world.take_back(), []);
    let attempt = |job: JobId, world: &World| {
        let mut running = world.running().into_iter();
        running.find(|task| task.job == job).expect("it runs")
    };
    // What a planner would never ask for, apply refuses.
    let host = world.state.hosts().next().expect("there is one").id;
    let waiting = JobId(3);
    let ask = |job: JobId, victims: Vec<TaskId>| Reclaim {
        job,
        task: 0,
        host,
        victims,
    };
    let (own, stranger) = (attempt(own, &world), attempt(stranger, &world));
    for reclaim in [
        ask(waiting, vec![stranger]),
        ask(waiting, vec![own]),
        ask(JobId(4), vec![stranger]),
        ask(JobId(9), vec![stranger]),
    ] {
        let before = world.state.full_hash();
        let refused = Reply::Counts { taken: 0, refused: 1 };
        assert_eq!(world.apply(Body::Reclaims(vec![reclaim])), refused);
        assert_ne!(before, world.state.full_hash(), "an entry was applied");
        assert!(world.state.reclaims().next().is_none());
    }
}

#[test]
fn a_task_with_a_binding_quote_keeps_its_place() {
    let (mut world, _) = world(&[host(4)], cpus(4));
    let bound = Body::BindQuote {
        job: cores(4),
        valid_ms: 24 * HOUR,
    };
    let Reply::Quote(quote) = world.apply(bound) else {
        panic!("a binding quote has a number")
    };
    world.submit(SubmitJob {
        quote: Some(quote),
        ..cores(4)
    });
    assert_eq!(world.settle().len(), 1);
    world.submit(of("home", cores(4)));
    world.settle();
    assert_eq!(world.take_back(), []);
}

#[test]
fn a_notice_is_void_when_its_reason_is_gone() {
    let (mut world, _) = world(&[host(4)], cpus(4));
    let stranger = world.submit(SubmitJob {
        walltime_ms_max: 24 * HOUR,
        ..cores(4)
    });
    world.settle();
    let own = world.submit(of("home", cores(4)));
    world.settle();
    assert_eq!(world.take_back().len(), 1);
    world.cancel(own);
    world.pass(2 * NOTICE);
    assert_eq!(world.states(stranger), [JobState::Running]);
    assert!(
        world
            .state
            .attempts(stranger, 0)
            .all(|(_, attempt)| attempt.reclaimed.is_none())
    );
    world.pass(NOTICE);
    assert_eq!(world.take_back(), []);
}

#[test]
fn the_work_that_is_lost_least_is_given_up_over_all_hosts() {
    let (mut world, _) = world(&[host(4), host(4), host(4)], cpus(12));
    let mut strangers = Vec::new();
    for _ in 0..3 {
        let stranger = world.submit(SubmitJob {
            walltime_ms_max: 24 * HOUR,
            ..cores(4)
        });
        world.settle();
        world.start(stranger);
        world.now += HOUR;
        strangers.push(stranger);
    }
    let own = world.submit(SubmitJob {
        tasks: 2,
        array: true,
        ..of("home", cores(3))
    });
    world.settle();
    let mut victims: Vec<JobId> = world
        .take_back()
        .iter()
        .flat_map(|taken| &taken.victims)
        .map(|id| id.job)
        .collect();
    victims.extend(
        world
            .take_back()
            .iter()
            .flat_map(|taken| &taken.victims)
            .map(|id| id.job),
    );
    victims.sort();
    assert_eq!(
        victims,
        [strangers[1], strangers[2]],
        "those that ran the shortest, one for each task"
    );
    world.pass(NOTICE + 1);
    let placed = world.settle();
    assert_eq!(placed.iter().filter(|decision| decision.job == own).count(), 2);
}

#[test]
fn a_new_leader_keeps_the_room_and_does_not_take_back_twice() {
    let (mut world, _) = world(&[host(4)], cpus(4));
    world.submit(cores(4));
    world.settle();
    let rival = world.submit(SubmitJob {
        priority: 9,
        ..cores(4)
    });
    let own = world.submit(of("home", cores(4)));
    world.settle();
    assert_eq!(world.take_back().len(), 1);
    world.planner = Planner::new();
    world.planner.reset(&world.state);
    world.settle();
    assert_eq!(world.take_back(), []);
    world.pass(NOTICE + 1);
    let placed = world.settle();
    assert_eq!(placed.iter().map(|decision| decision.job).collect::<Vec<_>>(), [own]);
    assert_ne!(own, rival);
}

#[test]
fn gpus_are_taken_back_device_by_device() {
    let (mut world, _) = world(
        &[gpu_host(2, "a800")],
        Bounds {
            gpu_milli: Some(1000),
            ..Bounds::NONE
        },
    );
    let longer = world.submit(gpus(1000));
    world.settle();
    world.start(longer);
    world.now += 60_000;
    let shorter = world.submit(gpus(500));
    let other_half = world.submit(gpus(500));
    world.settle();
    world.start(shorter);
    world.start(other_half);
    world.now += 20_000;
    let own = world.submit(of("home", gpus(1000)));
    world.settle();
    let victims: Vec<JobId> = world.take_back()[0].victims.iter().map(|id| id.job).collect();
    assert_eq!(victims, [shorter, other_half]);
    world.pass(NOTICE + 1);
    assert_eq!(world.settle()[0].job, own);
}

/// Cores and cost of each stranger on one host, and what is asked for.
fn small_case() -> impl Strategy<Value = (Vec<(u64, u128)>, u64)> {
    (prop::collection::vec((1..5u64, 0..20u128), 1..9), 1..12u64)
}

#[derive(Clone, Debug)]
enum Step {
    Stranger(u64, u64),
    Own(u64),
    End(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6u64, 1..4u64).prop_map(|(size, hours)| Step::Stranger(size, hours)),
        2 => (1..4u64).prop_map(Step::Own),
        2 => any::<usize>().prop_map(Step::End),
        2 => (1..90_000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_set_of_victims_costs_less((strangers, wanted) in small_case()) {
        let mut world = World::new();
        let size = strangers.iter().map(|(cores, _)| cores).sum::<u64>();
        world.site("a", 310117, 1, &[host(size)]);
        let mut candidates = Vec::new();
        for (count, cost) in &strangers {
            let job = world.submit(cores(*count));
            world.settle();
            let id = world.running().into_iter().find(|task| task.job == job).expect("there is room");
            candidates.push(Candidate { id, cost: *cost });
        }
        let own = world.submit(cores(wanted.min(size)));
        let job = world.state.job(own).expect("it waits");
        let room = Room::after_reclaims(&world.state, world.state.hosts().next().expect("one"));
        let found = room.victims(&world.state, world.state.request(job), &candidates, None);
        let brute = (1..1usize << candidates.len()).filter_map(|set| {
            let chosen = (0..candidates.len()).filter(|place| set >> place & 1 == 1);
            let (mut freed, mut cost, mut count) = (0, 0, 0usize);
            for place in chosen {
                freed += strangers[place].0;
                cost += strangers[place].1;
                count += 1;
            }
            (freed >= wanted.min(size)).then_some((cost, count))
        });
        let best = brute.min();
        prop_assert_eq!(found.map(|(cost, victims)| (cost, victims.len())), best);
    }

    /// Whatever strangers do: an own user within the floor is placed when the notice is over, nobody else's place is taken, and no
    /// money is lost or doubled (both in the check of the state).
    #[test]
    fn floors_are_kept(steps in prop::collection::vec(step(), 1..40)) {
        let floor = cpus(6);
        let (mut world, site) = world(&[host(5), host(5)], floor);
        let mut owed: Vec<(JobId, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Stranger(size, hours) => {
                    let job = SubmitJob { walltime_ms_max: hours * HOUR, ..cores(size.min(5)) };
                    world.submit(job);
                }
                Step::Own(size) => {
                    let contract = world.state.site(site).and_then(|site| site.contract.clone()).expect("given");
                    let (mut own, _) = world.state.held_at(site, &contract);
                    for (job, _) in &owed {
                        let job = world.state.job(*job).expect("kept");
                        if job.pending() > 0 {
                            own.add(&Held::of(world.state.request(job)));
                        }
                    }
                    let job = of("home", cores(size));
                    // Only what the floor still guarantees; and no more than one host gives beside others of it.
                    if contract.guarantees(&Held::of(&crate::types::Request { resources: job.resources.clone(), ..Default::default() }), &own) && own.tasks == 0 {
                        let at = world.now;
                        owed.push((world.submit(job), at));
                    }
                }
                Step::End(which) => {
                    let running = world.running();
                    if !running.is_empty() {
                        world.end(running[which % running.len()], EndKind::Exited(0));
                    }
                }
                Step::Wait(ms) => world.pass(ms),
            }
            for _ in 0..2 {
                world.settle();
                for taken in world.take_back() {
                    let of = world.state.job(taken.job).expect("it waits");
                    let org = world.state.request(of).org;
                    for victim in taken.victims {
                        let job = world.state.job(victim.job).expect("it runs");
                        prop_assert_ne!(world.state.request(job).org, org, "an own user is displaced");
                    }
                }
            }
            world.state.check();
        }
        // Notices that are given end, and what they were given for is placed.
        for _ in 0..3 {
            world.pass(NOTICE + 2_000);
            world.settle();
            world.take_back();
        }
        world.settle();
        for (job, _) in owed {
            let job = world.state.job(job).expect("kept");
            prop_assert_eq!(job.pending(), 0, "an own user within the floor waits");
        }
    }
}
