//! Contracts and quotas: who is kept out waits without being asked again, and comes when there is more room under the bound.

use super::*;
use crate::command::NewContract;
use crate::types::Bounds;

pub(super) fn cpus(cores: u64) -> Bounds {
    Bounds {
        cpu_milli: Some(cores * 1000),
        ..Bounds::NONE
    }
}

pub(super) fn of(org: &str, job: SubmitJob) -> SubmitJob {
    SubmitJob { org: org.into(), ..job }
}

/// One site of eight cores, whose own users are `home`; `lab` and `other` are strangers.
fn lent(limit: u64) -> (World, SiteId) {
    let mut world = World::new();
    world.org("home", 1_000_000);
    world.org("other", 1_000_000);
    let site = world.site("a", 310117, 1, &[host(8)]);
    contract(&mut world, limit);
    (world, site)
}

fn contract(world: &mut World, limit: u64) {
    let contract = NewContract {
        own: vec!["home".into()],
        lend_limit: cpus(limit),
        ..NewContract::default()
    };
    world.apply(Body::SetContract {
        site: "a".into(),
        contract,
    });
}

fn quota(world: &mut World, org: &str, most: Bounds) {
    world.apply(Body::SetQuota { org: org.into(), most });
}

#[test]
fn strangers_together_get_what_is_lent_and_own_users_all() {
    let (mut world, site) = lent(3);
    let first = world.submit(cores(2));
    let second = world.submit(of("other", cores(2)));
    world.submit(of("home", cores(4)));
    let placed = world.settle();
    assert_eq!(placed.iter().filter(|decision| decision.job == second).count(), 0);
    assert_eq!(placed.len(), 2);
    assert_eq!(world.codes(second, site), ["LEND_LIMIT"]);
    assert_eq!(
        world.explain(second).sites[0].reasons[0].to_string(),
        "need 2 cores, strangers hold 2 cores of the 3 cores that its operator lends"
    );
    world.finish(first);
    assert_eq!(world.settle()[0].job, second);
}

#[test]
fn who_waits_for_a_bound_is_asked_only_when_there_is_more_room_under_it() {
    let (mut world, _) = lent(3);
    let running = world.submit(cores(3));
    let own = world.submit(of("home", cores(1)));
    world.submit(cores(2));
    world.settle();
    for _ in 0..5 {
        world.submit(cores(2));
        assert_eq!(world.plan(), []);
        assert!(!world.planner.has_more());
    }
    // An own user's end frees a core, and nothing of what is lent.
    world.finish(own);
    assert_eq!(world.settle(), []);
    world.finish(running);
    assert_eq!(world.settle().len(), 1);
}

#[test]
fn in_the_order_of_their_turns_the_first_that_fits_under_the_bound() {
    let (mut world, _) = lent(4);
    let running = world.submit(cores(3));
    world.settle();
    let wide = world.submit(cores(4));
    let small = world.submit(of("other", cores(2)));
    let smaller = world.submit(of("other", cores(1)));
    assert_eq!(world.settle()[0].job, smaller);
    world.finish(running);
    assert_eq!(world.settle()[0].job, small);
    world.finish(small);
    world.finish(smaller);
    assert_eq!(world.settle()[0].job, wide);
}

#[test]
fn another_contract_or_quota_wakes_who_waits() {
    let (mut world, site) = lent(3);
    world.submit(cores(3));
    world.settle();
    let waiting = world.submit(cores(2));
    assert_eq!(world.settle(), []);
    contract(&mut world, 5);
    assert_eq!(world.settle()[0].job, waiting);
    quota(
        &mut world,
        "home",
        Bounds {
            tasks: Some(1),
            ..Bounds::NONE
        },
    );
    world.submit(of("home", cores(1)));
    let second = world.submit(of("home", cores(1)));
    assert_eq!(world.settle().len(), 1);
    assert_eq!(world.codes(second, site), ["QUOTA_TASKS"]);
    quota(&mut world, "home", Bounds::NONE);
    assert_eq!(world.settle()[0].job, second);
}

#[test]
fn a_quota_holds_over_all_sites_and_what_is_in_flight() {
    let mut world = World::new();
    let a = world.site("a", 310117, 1, &[host(8)]);
    let b = world.site("b", 330100, 1, &[host(8)]);
    quota(&mut world, "lab", cpus(10));
    let array = world.submit(SubmitJob {
        tasks: 8,
        array: true,
        ..cores(3)
    });
    let decisions = world.plan();
    assert_eq!(decisions.len(), 3);
    assert_eq!(world.plan(), []);
    for site in [a, b] {
        assert!(world.codes(array, site).contains(&"QUOTA_CPU"));
    }
    assert_eq!(world.judge(decisions), (3, 0));
    assert_eq!(world.plan(), []);
    let first = world.running()[0];
    world.end(first, EndKind::Exited(0));
    assert_eq!(world.settle().len(), 1);
}

#[test]
fn who_is_not_accepted_goes_elsewhere_and_is_told_if_there_is_nowhere() {
    let mut world = World::new();
    world.org("home", 1_000_000);
    world.org("friend", 1_000_000);
    let near = world.site("near", 310117, 1, &[host(8)]);
    let far = world.site("far", 330100, 5, &[host(8)]);
    let closed = NewContract {
        own: vec!["home".into()],
        accepted: vec!["friend".into()],
        ..NewContract::default()
    };
    world.apply(Body::SetContract {
        site: "near".into(),
        contract: closed,
    });
    let friend = world.submit(of("friend", cores(1)));
    let stranger = world.submit(cores(1));
    assert_eq!(world.codes(stranger, near), ["ORG_NOT_ACCEPTED"]);
    let placed = world.settle();
    assert_eq!((placed[0].job, world.site_of(&placed[0])), (friend, near));
    assert_eq!((placed[1].job, world.site_of(&placed[1])), (stranger, far));
    let nowhere = SubmitJob {
        sites: vec!["near".into()],
        ..cores(1)
    };
    let refused = world.apply_as(PrincipalId::CLUSTER, Body::SubmitJob(nowhere));
    let refused = refused.expect_err("nobody could ever run it");
    assert!(
        refused.contains("UNSATISFIABLE") && refused.contains("ORG_NOT_ACCEPTED"),
        "{refused}"
    );
}

#[test]
fn a_request_above_what_is_ever_lent_is_refused_at_submit() {
    let (mut world, _) = lent(3);
    let refused = world.apply_as(PrincipalId::CLUSTER, Body::SubmitJob(cores(4)));
    let refused = refused.expect_err("it could never be placed");
    assert!(
        refused.contains("UNSATISFIABLE") && refused.contains("LEND_LIMIT"),
        "{refused}"
    );
    quota(&mut world, "lab", cpus(1));
    let refused = world.apply_as(PrincipalId::CLUSTER, Body::SubmitJob(cores(2)));
    assert!(refused.expect_err("it could never be placed").contains("QUOTA_CPU"));
    // A job that was taken while more was lent says so.
    quota(&mut world, "lab", Bounds::NONE);
    let waiting = world.submit(cores(3));
    contract(&mut world, 2);
    assert_eq!(world.settle(), []);
    let explanation = world.explain(waiting);
    assert_eq!(explanation.sites[0].verdict, crate::schedule::Verdict::No);
}
