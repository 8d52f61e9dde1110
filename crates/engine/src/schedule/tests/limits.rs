//! The time limit of what runs, when the ledger changes it: the money behind it ended, or goes on.

use hesuan_ledger::types::HoldKey;

use super::*;

fn key(task: TaskId) -> HoldKey {
    HoldKey {
        job: task.job.0,
        task: task.task,
        attempt: task.attempt,
    }
}

#[test]
fn a_limit_that_the_ledger_cuts_reaches_the_agent_and_caps_the_bill() {
    let mut world = World::new();
    let site = world.site("a", 310117, 3_600, &[host(4)]);
    world.submit(job());
    world.submit(job());
    assert_eq!(world.settle().len(), 2);
    let (cut, other) = (world.running()[0], world.running()[1]);
    world.now += 10_000;
    let mut effects = Vec::new();
    let gone = HoldKey { attempt: 7, ..key(cut) };
    let unchanged = (key(other), HOUR);
    world
        .state
        .limits_changed(&[(key(cut), 400), (gone, 1), unchanged], &mut effects);
    assert_eq!(
        effects,
        [Effect::LimitChanged { site, task: cut }, Effect::JobChanged(cut.job)]
    );
    let limits = [cut, other].map(|task| world.state.assignment(task).expect("it runs").walltime_ms_max);
    assert_eq!(limits, [400, HOUR]);
    // Both ran a second by their agent's clock.
    world.end(cut, EndKind::TimeLimit);
    world.end(other, EndKind::Exited(0));
    let billed = [cut, other].map(|task| {
        let attempt = world.state.attempt(task).expect("just ended");
        let ended = attempt.ended.as_deref().expect("just ended");
        let receipt = ended.receipt.as_ref().expect("it was billed");
        (ended.state, ended.wall_ms, receipt.gross)
    });
    // A core-hour costs 3600 fen: one a second, rounded half up.
    assert_eq!(
        billed,
        [(JobState::TimeLimit, 400, Fen(0)), (JobState::Succeeded, 1_000, Fen(1))]
    );
}

#[test]
fn the_next_attempt_begins_with_what_the_job_asked_for() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4)]);
    let job = world.submit(SubmitJob {
        on_site_lost: OnSiteLost::Requeue,
        ..job()
    });
    world.settle();
    let extend = Body::ExtendJob {
        job,
        task: None,
        more_ms: HOUR,
    };
    assert_eq!(
        world.apply(extend),
        Reply::Extended {
            task: 0,
            walltime_ms_max: 2 * HOUR
        }
    );
    let first = world.running()[0];
    assert_eq!(
        world.state.assignment(first).expect("it runs").walltime_ms_max,
        2 * HOUR
    );
    world.end(first, EndKind::Lost);
    world.settle();
    let second = world.running()[0];
    assert_eq!(second.attempt, 2);
    assert_eq!(world.state.assignment(second).expect("it runs").walltime_ms_max, HOUR);
}
