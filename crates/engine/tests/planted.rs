//! The planted bugs are caught by the state's own assertions; the same steps without them pass.
#![cfg(feature = "planted")]

mod support;

use hesuan_engine::command::{Body, EndKind};
use hesuan_engine::state::Planted;
use hesuan_engine::types::OnSiteLost;
use support::*;

fn a_job_ends(planted: Planted) {
    let mut world = World::new();
    world.state.set_planted(planted);
    let job = world.submit("lab", job());
    let task = world.place(job, 0, "sj-a", &[]).expect("it fits");
    world.wait(MINUTE);
    assert!(world.end("songjiang", task, EndKind::Exited(0), MINUTE));
}

fn an_old_attempt_is_reported(planted: Planted) {
    let mut world = World::new();
    world.state.set_planted(planted);
    let mut moving = job();
    moving.on_site_lost = OnSiteLost::Requeue;
    let job = world.submit("lab", moving);
    let first = world.place(job, 0, "sj-a", &[]).expect("it fits");
    let site = world.state.site_by_name("songjiang").expect("known");
    let (site, instance) = (site.id, site.agent.expect("attached").instance);
    world.must(0, Body::SiteLost { site, instance });
    world.place(job, 0, "hf-a", &[]).expect("it fits");
    assert!(!world.end("songjiang", first, EndKind::Exited(0), 1));
}

#[test]
fn without_a_planted_bug_both_pass() {
    a_job_ends(Planted::None);
    an_old_attempt_is_reported(Planted::None);
}

#[test]
#[should_panic(expected = "1 holds are open for 0 running attempts")]
fn capture_without_release_is_caught() {
    a_job_ends(Planted::CaptureWithoutRelease);
}

#[test]
#[should_panic(expected = "is taken for")]
fn a_stale_attempt_accepted_is_caught() {
    an_old_attempt_is_reported(Planted::StaleAttemptAccepted);
}
