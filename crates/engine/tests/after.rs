//! Dependencies against a small model: jobs and arrays that wait for each other in random ways end in random ways, are cancelled
//! and ticked over; once all is told, each task stands where its dependencies say, worked out anew from what ended how.

mod support;

use hesuan_engine::command::{Body, EndKind, SubmitJob};
use hesuan_engine::outcome::{Effect, Reply};
use hesuan_engine::state::{FOLLOWERS_MAX, JobState};
use hesuan_engine::types::{After, Dependency, JobId, TaskId};
use proptest::prelude::*;
use support::*;

/// What the model knows of a task that was given up or has ended: whether it ended well.
type Over = Option<bool>;

struct ModelJob {
    after: Vec<Dependency>,
    tasks: Vec<Over>,
}

#[derive(Default)]
struct Model {
    jobs: Vec<ModelJob>,
}

fn met(after: After, well: bool) -> bool {
    match after {
        After::Ok => well,
        After::Any => true,
        After::NotOk => !well,
    }
}

impl Model {
    fn job(&self, id: JobId) -> &ModelJob {
        &self.jobs[id.0 as usize - 1]
    }

    /// How the whole of it ended.
    fn over(&self, id: JobId) -> Over {
        let tasks = &self.job(id).tasks;
        tasks
            .iter()
            .copied()
            .collect::<Option<Vec<bool>>>()
            .map(|tasks| tasks.iter().all(|well| *well))
    }

    /// Whether what a dependency asks of this task is so; `None` while it is open.
    fn judge(&self, on: Dependency, task: usize) -> Option<bool> {
        let over = if on.per_element {
            self.job(on.job).tasks[task]
        } else {
            self.over(on.job)
        };
        over.map(|well| met(on.after, well))
    }

    /// Gives up what can never run, until nothing more follows from it.
    fn settle(&mut self) {
        loop {
            let mut given_up = Vec::new();
            for (place, job) in self.jobs.iter().enumerate() {
                for task in 0..job.tasks.len() {
                    let never = job.after.iter().any(|on| self.judge(*on, task) == Some(false));
                    if job.tasks[task].is_none() && never {
                        given_up.push((place, task));
                    }
                }
            }
            if given_up.is_empty() {
                return;
            }
            for (place, task) in given_up {
                self.jobs[place].tasks[task] = Some(false);
            }
        }
    }

    /// Whether a task that is not over may be placed: every task of its job that waits for a whole job waits.
    fn may_run(&self, id: JobId, task: usize) -> bool {
        let job = self.job(id);
        job.tasks[task].is_none() && job.after.iter().all(|on| self.judge(*on, task) == Some(true))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit { tasks: u32, after: Vec<(u8, u8, bool)> },
    End { which: usize, well: bool },
    Cancel { job: u8 },
    Tick,
    Recode,
}

fn step() -> impl Strategy<Value = Step> {
    let after = proptest::collection::vec((0..12u8, 0..3u8, any::<bool>()), 0..4);
    prop_oneof![
        4 => (1..4u32, after).prop_map(|(tasks, after)| Step::Submit { tasks, after }),
        6 => (0..64usize, proptest::bool::weighted(0.7)).prop_map(|(which, well)| Step::End { which, well }),
        1 => (0..12u8).prop_map(|job| Step::Cancel { job }),
        1 => Just(Step::Tick),
        1 => Just(Step::Recode),
    ]
}

fn quiet(world: &mut World) {
    let mut ticks = 0;
    while world.state.next_due().is_some_and(|due| due.0 <= world.at) {
        world.tick();
        ticks += 1;
        assert!(ticks < 1_000, "the ticks find no end");
    }
}

fn compare(world: &World, model: &Model) {
    for (place, expected) in model.jobs.iter().enumerate() {
        let id = JobId(place as u64 + 1);
        let job = world.state.job(id).expect("nothing is archived here");
        let open: Vec<u32> = job.pending_tasks(0).collect();
        let blocked = job.waits().is_some_and(|waits| waits.close_all());
        for task in 0..expected.tasks.len() {
            let found = !blocked && open.contains(&(task as u32));
            assert_eq!(found, model.may_run(id, task), "{}[{task}] may be placed", id.0);
        }
        let over = expected.tasks.iter().filter(|over| over.is_some()).count() as u32;
        assert_eq!(job.progress().ended(), over, "tasks of job {} that are over", id.0);
        let well = expected.tasks.iter().filter(|over| **over == Some(true)).count() as u32;
        assert_eq!(job.progress().succeeded, well, "tasks of job {} that ended well", id.0);
    }
}

fn small(tasks: u32) -> SubmitJob {
    let mut job = array(tasks);
    job.resources.cpu_milli = 10;
    job.resources.memory_mib = 1;
    job
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_stands_where_its_dependencies_say(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut world, mut model) = (World::new(), Model::default());
        // All together, so that what is told in one tick is compared too.
        for step in steps {
            match step {
                Step::Submit { tasks, after } => {
                    let mut job = small(tasks);
                    for (on, after, per_element) in after {
                        let on = JobId(u64::from(on) + 1);
                        if job.gates.after.iter().all(|other| other.job != on) {
                            let after = [After::Ok, After::Any, After::NotOk][usize::from(after)];
                            job.gates.after.push(Dependency { job: on, after, per_element });
                        }
                    }
                    let after = job.gates.after.clone();
                    let known = |on: &Dependency| {
                        let found = model.jobs.get(on.job.0 as usize - 1);
                        found.is_some_and(|found| !on.per_element || found.tasks.len() == tasks as usize)
                    };
                    let good = after.iter().all(known);
                    let outcome = world.send(world.who("lab"), Body::SubmitJob(job));
                    match outcome.reply {
                        Ok(Reply::Job(id)) => {
                            prop_assert!(good);
                            prop_assert_eq!(id.0 as usize, model.jobs.len() + 1);
                            model.jobs.push(ModelJob { after, tasks: vec![None; tasks as usize] });
                            // What it is to run after may have ended already.
                            model.settle();
                        }
                        Ok(other) => panic!("{other:?}"),
                        Err(refused) if good => {
                            // Of what is known to be over, it could never run; not one task of it.
                            prop_assert_eq!(refused.code, "DEPENDENCY_UNMET");
                            let never = |on: &Dependency| (0..tasks as usize).all(|task| model.judge(*on, task) == Some(false));
                            prop_assert!(after.iter().any(never), "{:?}", refused);
                        }
                        Err(refused) => prop_assert!(
                            ["UNKNOWN_JOB", "DEPENDENCY_ELEMENTS", "DEPENDENCY_UNMET"].contains(&refused.code),
                            "{:?}",
                            refused
                        ),
                    }
                }
                Step::End { which, well } => {
                    let ready: Vec<(JobId, u32)> = world
                        .state
                        .pending_classes()
                        .flat_map(|class| world.state.pending_jobs(class, JobId(0)))
                        .flat_map(|(id, job)| job.pending_tasks(0).map(move |task| (id, task)))
                        .collect();
                    let Some((id, task)) = ready.get(which % ready.len().max(1)).copied() else { continue };
                    prop_assert!(model.may_run(id, task as usize), "{}[{}] runs before its time", id.0, task);
                    let placed = world.place(id, task, "sj-a", &[]).expect("there is room");
                    let code = i32::from(!well);
                    prop_assert!(world.end("songjiang", placed, EndKind::Exited(code), 1_000));
                    model.jobs[id.0 as usize - 1].tasks[task as usize] = Some(well);
                    model.settle();
                }
                Step::Cancel { job } => {
                    let id = JobId(u64::from(job) + 1);
                    if id.0 as usize <= model.jobs.len() {
                        world.must_as("lab", Body::CancelJob { job: id, reason: "".into() });
                        for over in &mut model.jobs[job as usize].tasks {
                            over.get_or_insert(false);
                        }
                        model.settle();
                    }
                }
                Step::Tick => {
                    quiet(&mut world);
                    compare(&world, &model);
                }
                Step::Recode => world.state = recoded(&world.state),
            }
        }
        quiet(&mut world);
        compare(&world, &model);
    }
}

/// The end of a job that very many wait for is one short step; the ticks tell them, a bounded number each.
#[test]
fn a_hundred_thousand_dependents_are_told_in_bounded_steps() {
    const DEPENDENTS: u64 = 100_000;
    let mut world = World::new();
    let first = world.submit("lab", small(1));
    let on = Dependency {
        job: first,
        after: After::Ok,
        per_element: false,
    };
    let mut waiting = small(1);
    waiting.gates.after = vec![on];
    for _ in 0..DEPENDENTS {
        world.apply_unchecked("lab", Body::SubmitJob(waiting.clone()));
    }
    let placed = world.place(first, 0, "sj-a", &[]).expect("there is room");
    assert!(world.end("songjiang", placed, EndKind::Exited(0), 1_000));
    assert!(world.last_effects.len() < 10, "{:?}", world.last_effects);
    assert_eq!(world.state.tasks_pending(), DEPENDENTS);
    let mut ticks = 0;
    while world.state.next_due().is_some_and(|due| due.0 <= world.at) {
        world.apply_unchecked("cluster", Body::Tick);
        let woken = world
            .last_effects
            .iter()
            .filter(|effect| matches!(effect, Effect::ClassWoken(_)));
        assert!(woken.count() <= 1_000);
        ticks += 1;
    }
    assert_eq!(ticks, DEPENDENTS / 1_000);
    let class = world.state.job(JobId(2)).expect("it waits").class;
    assert_eq!(world.state.pending_jobs_count(class) as u64, DEPENDENTS);
    world.state.check();
}

/// Arrays of the largest size, element by element: no step is longer than a tick may be, and nothing is lost on the way.
#[test]
fn the_largest_arrays_follow_each_other_in_bounded_steps() {
    const TASKS: u32 = 100_000;
    let mut world = World::new();
    let first = world.submit("lab", small(TASKS));
    let placed: TaskId = world.place(first, 7, "sj-a", &[]).expect("there is room");
    assert!(world.end("songjiang", placed, EndKind::Exited(0), 1_000));
    let mut follower = small(TASKS);
    let on = |after| Dependency {
        job: first,
        after,
        per_element: true,
    };
    follower.gates.after = vec![on(After::Ok)];
    let follower = world.submit("lab", follower);
    let mut ticks = 0;
    while world.state.next_due().is_some_and(|due| due.0 <= world.at) {
        world.apply_unchecked("cluster", Body::Tick);
        ticks += 1;
    }
    assert!(ticks >= TASKS / 1_000, "{ticks} ticks");
    let job = world.state.job(follower).expect("it waits");
    assert_eq!((job.placeable(), job.pending_tasks(0).next()), (1, Some(7)));
    world.must_as(
        "lab",
        Body::CancelJob {
            job: first,
            reason: "".into(),
        },
    );
    assert!(world.last_effects.len() < 10);
    let mut ticks = 0;
    while world.state.next_due().is_some_and(|due| due.0 <= world.at) {
        world.apply_unchecked("cluster", Body::Tick);
        assert!(world.last_effects.len() < 10);
        ticks += 1;
    }
    assert!(ticks >= TASKS / 1_001, "{ticks} ticks");
    let job = world.state.job(follower).expect("its task 7 is pending");
    assert_eq!((job.placeable(), job.progress().cancelled), (1, TASKS - 1));
    assert_eq!(job.state(), JobState::Pending);
    world.state.check();
}

#[test]
fn so_many_arrays_follow_one_and_no_more() {
    let mut world = World::new();
    let first = world.submit("lab", small(2));
    let mut follower = small(2);
    follower.gates.after = vec![Dependency {
        job: first,
        after: After::Any,
        per_element: true,
    }];
    for _ in 0..FOLLOWERS_MAX {
        world.submit("lab", follower.clone());
    }
    assert_eq!(
        world.refused("lab", Body::SubmitJob(follower.clone())).code,
        "FOLLOWERS_FULL"
    );
    follower.gates.after[0].per_element = false;
    world.submit("lab", follower);
}
