//! Jobs on several hosts: whole or not at all, at one site, and in bounded time however much small work comes.

use super::*;
use crate::types::{HostId, Nodes, Place};

const MINUTE: u64 = 60_000;

fn gang(nodes: u32, job: SubmitJob) -> SubmitJob {
    SubmitJob {
        nodes: Nodes::new(nodes).expect("at least one"),
        ..job
    }
}

fn hosts_of(decision: &Decision) -> Vec<HostId> {
    decision.places().map(|(host, _)| host).collect()
}

fn free_cores(world: &World) -> Vec<u64> {
    world.state.hosts().map(|host| host.free.cpu_milli / 1000).collect()
}

#[test]
fn a_gang_starts_whole_or_not_at_all() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[host(4), host(4), host(4)]);
    let small = world.submit(job());
    world.settle();
    let wide = world.submit(gang(3, cores(4)));
    assert_eq!(world.settle(), [], "one of three hosts is in use");
    assert_eq!(world.codes(wide, site), ["CAPACITY_NODES"]);
    assert_eq!(
        free_cores(&world).iter().sum::<u64>(),
        11,
        "nothing is held for a part of it"
    );
    world.finish(small);
    let placed = world.settle();
    assert_eq!(placed.len(), 1);
    assert_eq!(hosts_of(&placed[0]), [HostId(1), HostId(2), HostId(3)]);
    assert_eq!(free_cores(&world), [0, 0, 0]);
    world.state.check();
    let held = world.state.ledger().open_holds().count();
    assert_eq!(held, 1, "one hold for all of it");
    world.finish(wide);
    assert_eq!(free_cores(&world), [4, 4, 4]);
    assert_eq!(world.state.job(wide).expect("known").state(), JobState::Succeeded);
}

#[test]
fn all_its_hosts_are_billed() {
    let mut world = World::new();
    world.site("a", 310117, 60, &[host(4), host(4), host(4)]);
    let available = |world: &World| {
        let org = world.state.ledger().org_by_name("lab").expect("known");
        org.available.0
    };
    let before = available(&world);
    let wide = world.submit(gang(3, cores(4)));
    world.settle();
    assert_eq!(before - available(&world), 3 * 4 * 60, "an hour is held on each host");
    world.now += 2 * HOUR;
    let task = world.running()[0];
    world.end(task, EndKind::Exited(0));
    // The agent says one second, which is a third of a fen on each of 12 cores.
    let cost = world.state.job(wide).expect("known").progress().gross.0;
    assert_eq!((cost, before - available(&world)), (0, 0));
}

#[test]
fn a_gang_is_of_one_site() {
    let mut world = World::new();
    let (a, b) = (
        world.site("a", 310117, 1, &[host(4), host(4)]),
        world.site("b", 330101, 2, &[host(4), host(4), host(1)]),
    );
    let refused = world.apply_as(PrincipalId::CLUSTER, Body::SubmitJob(gang(3, cores(4))));
    let text = refused.expect_err("no site has three");
    assert!(text.contains("UNSATISFIABLE"), "{text}");
    for reason in [
        "\"a\", \"GANG_TOO_WIDE\", \"need 3 hosts at once, 2 of the site are large enough\"",
        "\"b\", \"GANG_TOO_WIDE\"",
    ] {
        assert!(text.contains(reason), "{text}");
    }
    let small = world.submit(gang(3, job()));
    let placed = world.settle();
    assert_eq!(
        placed.iter().map(|one| world.site_of(one)).collect::<Vec<_>>(),
        [b],
        "only b has three"
    );
    // a is cheaper, and has two hosts free.
    let two = world.submit(gang(2, cores(4)));
    let placed = world.settle();
    assert_eq!(
        placed
            .iter()
            .map(|one| (one.job, world.site_of(one)))
            .collect::<Vec<_>>(),
        [(two, a)]
    );
    assert_eq!(world.state.attempts(small, 0).count(), 1);
}

#[test]
fn its_devices_are_of_one_model() {
    let mut world = World::new();
    let hosts = [
        gpu_host(2, "a800"),
        gpu_host(2, "h800"),
        gpu_host(2, "a800"),
        gpu_host(1, "h800"),
    ];
    let site = world.site("a", 310117, 1, &hosts);
    let wide = world.submit(gang(2, gpus(2000)));
    let placed = world.settle();
    assert_eq!(hosts_of(&placed[0]), [HostId(1), HostId(3)]);
    assert!(placed[0].places().all(|(_, devices)| devices == [0, 1]));
    let another = world.submit(gang(2, gpus(2000)));
    assert_eq!(world.settle(), []);
    // A site is asked only for models that it has on hosts enough.
    assert_eq!(world.codes(another, site), ["CAPACITY_GPU"]);
    let of_h800 = |gpu_milli| {
        let mut job = gang(2, gpus(gpu_milli));
        job.resources.gpu_models = vec!["h800".into()];
        Body::SubmitJob(job)
    };
    let refused = world.apply_as(PrincipalId::CLUSTER, of_h800(2000));
    assert!(refused.expect_err("one host has two").contains("GANG_TOO_WIDE"));
    world
        .apply_as(PrincipalId::CLUSTER, of_h800(1000))
        .expect("two hosts have one");
    world.finish(wide);
    world.settle();
    world.state.check();
}

#[test]
fn an_array_of_gangs_runs_as_many_as_fit() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4), host(4), host(4), host(4), host(4)]);
    let array = world.submit(SubmitJob {
        tasks: 3,
        array: true,
        ..gang(2, cores(3))
    });
    let placed = world.settle();
    assert_eq!(placed.iter().map(|one| one.task).collect::<Vec<_>>(), [0, 1]);
    world.finish(array);
    assert_eq!(world.settle().len(), 1);
    world.finish(array);
    assert_eq!(world.state.job(array).expect("known").state(), JobState::Succeeded);
}

#[test]
fn a_decision_that_is_no_gang_of_its_job_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4), host(4), host(1)]);
    world.site("b", 330101, 1, &[host(4)]);
    let wide = world.submit(gang(2, cores(4)));
    let single = world.submit(cores(4));
    let decide = |job, hosts: &[u32]| {
        let place = |host: &u32| Place {
            host: HostId(*host),
            gpu_indices: [].into(),
        };
        Decision {
            job,
            task: 0,
            host: HostId(hosts[0]),
            others: hosts[1..].iter().map(place).collect(),
            ..Decision::default()
        }
    };
    let before = world
        .state
        .ledger()
        .funds(world.state.ledger().org_by_name("lab").expect("known").id);
    for (job, hosts) in [
        (wide, &[1][..]),
        (wide, &[1, 2, 3]),
        (wide, &[1, 1]),
        (wide, &[2, 1]),
        (wide, &[1, 3]),
        (wide, &[1, 4]),
        (wide, &[1, 99]),
        (single, &[1, 2]),
    ] {
        assert_eq!(world.judge(vec![decide(job, hosts)]), (0, 1), "{hosts:?}");
        assert_eq!(free_cores(&world), [4, 4, 1, 4], "{hosts:?}");
        let funds = world
            .state
            .ledger()
            .funds(world.state.ledger().org_by_name("lab").expect("known").id);
        assert_eq!(funds, before);
        world.state.check();
    }
    assert_eq!(world.judge(vec![decide(wide, &[1, 2])]), (1, 0));
}

/// Small work comes without end and always finds room; without a reservation the gang would never see its hosts free together.
#[test]
fn a_stream_of_small_jobs_does_not_keep_a_gang_waiting() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[host(2), host(2), host(2), host(2)]);
    let mut ends: Vec<(u64, TaskId)> = Vec::new();
    let mut wide = None;
    let (mut promised, mut started) = (None, None);
    for minute in 0..600u64 {
        world.now = 1_000_000 + minute * MINUTE;
        let over = ends.iter().filter(|(at, _)| *at <= minute).map(|(_, task)| *task);
        for task in over.collect::<Vec<_>>() {
            world.end(task, EndKind::Exited(0));
        }
        ends.retain(|(at, _)| *at > minute);
        // Of one core, for 40 to 60 minutes, somewhat more than there is room for.
        for number in 0..(if minute % 7 == 0 { 2 } else { u64::from(minute % 6 == 0) }) {
            world.submit(SubmitJob {
                walltime_ms_max: (40 + (minute * 13 + number * 7) % 21) * MINUTE,
                ..job()
            });
        }
        if minute == 100 {
            wide = Some(world.submit(gang(
                4,
                SubmitJob {
                    walltime_ms_max: 30 * MINUTE,
                    ..cores(2)
                },
            )));
        }
        for decision in world.settle() {
            let (id, attempt) = world
                .state
                .attempts(decision.job, decision.task)
                .last()
                .expect("placed");
            ends.push((minute + attempt.walltime_ms_max / MINUTE, id));
            if Some(decision.job) == wide {
                started = Some(minute);
            }
        }
        world.state.check();
        if let (Some(wide), None) = (wide, started) {
            let codes = world.codes(wide, site);
            let wait = codes.iter().all(|code| code.starts_with("CAPACITY_"));
            assert!(wait && !codes.is_empty(), "{codes:?}");
            let class = world.state.job(wide).expect("known").class;
            // Once it is its turn; who came long before it is promised first.
            let promise = world.planner.promises.to(class).map(|(_, promise)| promise.start.0);
            assert!(promise.is_some() || promised.is_none(), "it keeps what it was promised");
            if let Some(promise) = promise {
                let first = *promised.get_or_insert(promise);
                assert!(promise <= first, "what was promised is not put off");
            }
        }
    }
    let promised = (promised.expect("it waited") - 1_000_000) / MINUTE;
    let started = started.expect("it started");
    assert!(
        promised <= 220,
        "its turn comes, and no limit ends later than an hour on: {promised}"
    );
    assert!(
        started <= promised + 1,
        "started in minute {started}, promised {promised}"
    );
}
