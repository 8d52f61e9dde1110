//! Jobs behind a closed gate are not there for the planner; it places them as soon as they open.

use super::*;
use crate::types::Gates;

fn not_before(ms: u64) -> Gates {
    Gates {
        not_before: Some(Timestamp(ms)),
        ..Gates::NONE
    }
}

#[test]
fn a_job_waits_for_its_time_and_says_so() {
    let mut world = World::new();
    let site = world.site("hefei", 340100, 1, &[host(4)]);
    let until = world.now + HOUR;
    let early = world.submit(SubmitJob {
        gates: not_before(until),
        ..job()
    });
    let now = world.submit(job());
    assert_eq!(world.settle().iter().map(|one| one.job).collect::<Vec<_>>(), [now]);
    assert_eq!(world.codes(early, site), ["NOT_BEFORE"]);
    let explanation = world.explain(early);
    assert_eq!(
        (explanation.position, explanation.queued),
        (0, 0),
        "it is in no queue yet"
    );
    assert!(
        explanation.sites[0].reasons[0]
            .to_string()
            .contains("1970-01-01T01:16:4"),
        "{}",
        explanation.sites[0].reasons[0]
    );
    assert_eq!(
        world.state.next_due(),
        Some(Timestamp(until)),
        "the leader knows when to tick"
    );

    world.now = until - 10;
    world.apply(Body::Tick);
    assert!(world.settle().is_empty(), "not yet");
    world.now = until;
    world.apply(Body::Tick);
    assert_eq!(world.settle().iter().map(|one| one.job).collect::<Vec<_>>(), [early]);
}

/// It keeps its number, so it comes before those that were submitted later; a class that was passed by finds it again.
#[test]
fn an_older_job_that_opens_comes_before_younger_ones_of_its_class() {
    let mut world = World::new();
    world.site("hefei", 340100, 1, &[host(1)]);
    let until = world.now + HOUR;
    let early = world.submit(SubmitJob {
        gates: not_before(until),
        ..job()
    });
    let (first, second) = (world.submit(job()), world.submit(job()));
    assert_eq!(world.settle()[0].job, first);
    world.now = until;
    world.apply(Body::Tick);
    assert!(world.settle().is_empty(), "the host is full");
    world.finish(first);
    assert_eq!(world.settle()[0].job, early);
    world.finish(early);
    assert_eq!(world.settle()[0].job, second);
}

#[test]
fn a_tick_opens_a_bounded_number_and_the_next_goes_on() {
    let mut world = World::new();
    world.site("hefei", 340100, 1, &[host(1)]);
    let until = world.now + HOUR;
    for _ in 0..2_500 {
        world.submit(SubmitJob {
            gates: not_before(until),
            ..job()
        });
    }
    let class = world.state.job(JobId(1)).expect("submitted").class;
    world.now = until;
    for opened in [1_000, 2_000, 2_500] {
        assert!(world.state.next_due().is_some_and(|due| due.0 <= world.now));
        world.apply(Body::Tick);
        assert_eq!(world.state.pending_jobs_count(class), opened);
    }
    assert!(
        world.state.next_due().is_none_or(|due| due.0 > world.now),
        "nothing is left to open"
    );
    assert_eq!(world.settle()[0].job, JobId(1));
}

#[test]
fn what_cannot_be_done_in_time_any_more_is_given_up_and_never_planned() {
    let mut world = World::new();
    let site = world.site("hefei", 340100, 1, &[host(1)]);
    let first = world.submit(job());
    assert_eq!(world.settle()[0].job, first);
    let done_by = world.now + 3 * HOUR;
    let in_time = SubmitJob {
        gates: Gates {
            done_by: Some(Timestamp(done_by)),
            ..Gates::NONE
        },
        ..job()
    };
    let (second, third) = (world.submit(in_time.clone()), world.submit(in_time));
    world.now = done_by - HOUR - 2;
    world.finish(first);
    assert_eq!(world.settle()[0].job, second, "at the last moment");
    assert_eq!(world.state.next_due(), Some(Timestamp(done_by - HOUR + 1)));
    world.now = done_by - HOUR;
    assert_eq!(world.codes(third, site), ["CAPACITY_CPU", "CAPACITY_MEMORY"]);
    world.now += 1;
    assert_eq!(world.codes(third, site), ["DONE_BY", "CAPACITY_CPU", "CAPACITY_MEMORY"]);
    world.apply(Body::Tick);
    let job = world.state.job(third).expect("it is kept for a while");
    assert_eq!((job.state(), job.progress().deadline), (JobState::Deadline, 1));
    world.finish(second);
    assert!(world.settle().is_empty());
}
