//! Who goes first, and where.

use super::*;
use crate::types::HostId;

fn jobs(decisions: &[Decision]) -> Vec<u64> {
    decisions.iter().map(|decision| decision.job.0).collect()
}

#[test]
fn larger_priority_first_then_the_oldest() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(3)]);
    let low = world.submit(SubmitJob { priority: -5, ..job() });
    let old = world.submit(job());
    let other_class = world.submit(SubmitJob {
        walltime_ms_max: 2 * HOUR,
        ..job()
    });
    let young = world.submit(job());
    let high = world.submit(SubmitJob { priority: 5, ..job() });
    assert_eq!(jobs(&world.settle()), [high.0, old.0, other_class.0]);
    world.finish(old);
    world.finish(high);
    assert_eq!(jobs(&world.settle()), [young.0, low.0]);
}

#[test]
fn what_does_not_fit_lets_smaller_jobs_pass() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(8)]);
    let first = world.submit(cores(6));
    let wide = world.submit(SubmitJob {
        priority: 10,
        ..cores(8)
    });
    let small = world.submit(cores(2));
    // The wide one is placed first for its priority and fills the host.
    assert_eq!(jobs(&world.settle()), [wide.0]);
    world.finish(wide);
    assert_eq!(jobs(&world.settle()), [first.0, small.0]);
}

#[test]
fn the_cheapest_site_is_filled_first() {
    let mut world = World::new();
    let dear = world.site("dear", 310117, 30, &[host(4)]);
    let cheap = world.site("cheap", 330100, 20, &[host(2)]);
    for _ in 0..4 {
        world.submit(job());
    }
    let placed = world.settle();
    let sites: Vec<SiteId> = placed.iter().map(|decision| world.site_of(decision)).collect();
    assert_eq!(sites, [cheap, cheap, dear, dear]);
}

#[test]
fn equally_cheap_sites_are_told_apart_by_what_is_stranded_then_by_number() {
    let mut world = World::new();
    world.site("roomy", 310117, 10, &[host(16)]);
    let tight = world.site("tight", 330100, 10, &[host(2), host(2)]);
    world.submit(cores(2));
    let placed = world.settle();
    assert_eq!(world.site_of(&placed[0]), tight);
    let hosts: Vec<HostId> = world.state.hosts_of(tight).map(|host| host.id).collect();
    assert_eq!(placed[0].host, hosts[0], "equal hosts: the smaller number");
}

#[test]
fn gpu_hosts_are_left_to_those_who_need_them() {
    let mut world = World::new();
    let site = world.site("a", 310117, 1, &[gpu_host(8, "a800"), host(100)]);
    let hosts: Vec<HostId> = world.state.hosts_of(site).map(|host| host.id).collect();
    world.submit(cores(1));
    world.submit(gpus(2000));
    let placed = world.settle();
    assert_eq!((placed[0].host, placed[1].host), (hosts[1], hosts[0]));
    assert_eq!(placed[1].gpu_indices, [0, 1]);
}

#[test]
fn shares_gather_on_one_device_and_whole_devices_stay_whole() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[gpu_host(2, "a800"), gpu_host(2, "a800")]);
    for milli in [300, 300, 2000, 300, 1000, 100] {
        world.submit(gpus(milli));
    }
    let placed = world.settle();
    let where_to: Vec<(u32, Vec<u32>)> = placed.iter().map(|d| (d.host.0, d.gpu_indices.clone())).collect();
    let first = where_to[0].0;
    assert_eq!(where_to[0].1, [0]);
    assert_eq!(where_to[1], where_to[0]);
    assert_eq!(where_to[2].1, [0, 1]);
    assert_ne!(where_to[2].0, first, "the host without shares has both devices");
    assert_eq!(where_to[3], where_to[0]);
    assert_eq!(where_to[4], (first, vec![1]));
    assert_eq!(
        where_to[5], where_to[0],
        "three shares left 100 thousandths, which somebody asks for"
    );
}

#[test]
fn a_model_list_is_kept_to_and_the_cheaper_model_taken() {
    let mut world = World::new();
    let site = world.site(
        "a",
        310117,
        1,
        &[gpu_host(1, "a800"), gpu_host(1, "h800"), gpu_host(1, "v100")],
    );
    let prices = [
        ("cpu", 0),
        ("mem", 0),
        ("gpu/a800", 900_000),
        ("gpu/h800", 800_000),
        ("gpu/v100", 1_000),
    ];
    let prices = prices.iter().map(|(sku, price)| ((*sku).into(), *price)).collect();
    world.apply(Body::Money(MoneyCommand::SetPrices {
        site: "a".into(),
        prices,
        effective_from: None,
    }));
    let hosts: Vec<HostId> = world.state.hosts_of(site).map(|host| host.id).collect();
    let mut picky = gpus(1000);
    picky.resources.gpu_models = vec!["a800".into(), "h800".into()];
    world.submit(picky.clone());
    world.submit(picky.clone());
    world.submit(picky);
    let placed: Vec<HostId> = world.settle().iter().map(|decision| decision.host).collect();
    assert_eq!(placed, [hosts[1], hosts[0]]);
}

#[test]
fn named_resources_are_counted() {
    let mut world = World::new();
    world.site(
        "a",
        310117,
        1,
        &[
            host(8),
            HostInventory {
                generic: vec![("fpga".into(), 3)],
                ..host(8)
            },
        ],
    );
    let mut fpga = job();
    fpga.resources.generic = vec![("fpga".into(), 2)];
    let first = world.submit(fpga.clone());
    world.submit(fpga);
    let placed = world.settle();
    assert_eq!(jobs(&placed), [first.0]);
}

#[test]
fn sites_and_regions_of_the_job_are_kept_to() {
    let mut world = World::new();
    let _cheap = world.site("cheap", 310117, 1, &[host(8)]);
    let hangzhou = world.site("hangzhou", 330100, 5, &[host(8)]);
    let hefei = world.site("hefei", 340100, 9, &[host(8)]);
    world.submit(SubmitJob {
        regions: vec![RegionCode(330100), RegionCode(340100)],
        ..job()
    });
    world.submit(SubmitJob {
        sites: vec!["hefei".into()],
        ..job()
    });
    let placed = world.settle();
    let sites: Vec<SiteId> = placed.iter().map(|decision| world.site_of(decision)).collect();
    assert_eq!(sites, [hangzhou, hefei]);
}

#[test]
fn an_array_stays_within_its_bound() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(64)]);
    let array = world.submit(SubmitJob {
        tasks: 10,
        array: true,
        parallel_max: 3,
        ..job()
    });
    let single = world.submit(job());
    let placed = world.settle();
    assert_eq!(jobs(&placed), [array.0, array.0, array.0, single.0]);
    let tasks: Vec<u32> = placed.iter().map(|decision| decision.task).collect();
    assert_eq!(tasks, [0, 1, 2, 0]);
    let second = world
        .running()
        .into_iter()
        .find(|task| task.task == 1)
        .expect("it runs");
    world.end(second, EndKind::Exited(0));
    let placed = world.settle();
    assert_eq!(placed.iter().map(|decision| decision.task).collect::<Vec<_>>(), [3]);
}

#[test]
fn no_task_is_decided_twice_while_it_is_in_flight() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[host(4)]);
    world.submit(SubmitJob {
        tasks: 6,
        array: true,
        ..job()
    });
    let first = world.plan_at_most(3);
    assert_eq!(
        first.iter().map(|decision| decision.task).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    // The capacity and the tasks of the first three are spoken for.
    let second = world.plan();
    assert_eq!(second.iter().map(|decision| decision.task).collect::<Vec<_>>(), [3]);
    assert_eq!(world.planner.in_flight(), 4);
    assert_eq!(world.judge(second), (1, 0));
    assert_eq!(world.judge(first), (3, 0));
    assert_eq!(world.planner.in_flight(), 0);
    assert_eq!(world.plan(), []);
}
