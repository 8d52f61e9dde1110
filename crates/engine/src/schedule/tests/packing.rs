//! Which host and which devices: rests are left that others ask for, cores stay with the GPUs that need them, whole machines
//! with those who need them whole; and the index finds what looking at every host finds.

use proptest::prelude::*;

use super::*;
use crate::schedule::hosts::Need;
use crate::schedule::loss::{self, Profile};
use crate::schedule::ranking::NO_ROOM;
use crate::schedule::view::{SiteView, Spot};
use crate::schedule::worth::Tables;
use crate::types::{HostId, Nodes};

fn machine(cores: u64, gpus: usize) -> HostInventory {
    HostInventory {
        gpus: vec!["a800".into(); gpus],
        ..host(cores)
    }
}

fn asks(cores: u64, gpu_milli: u64) -> SubmitJob {
    let mut job = super::cores(cores);
    job.resources.gpu_milli = gpu_milli;
    job
}

/// Lets the planner see such requests without keeping what they take.
fn seen(world: &mut World, requests: &[SubmitJob]) {
    let jobs: Vec<JobId> = requests.iter().map(|request| world.submit(request.clone())).collect();
    for job in jobs {
        world.cancel(job);
    }
    assert_eq!(world.settle(), []);
}

/// Host (by place) and devices of one more job.
fn goes_to(world: &mut World, job: SubmitJob) -> (u32, Vec<u32>) {
    world.submit(job);
    let placed = world.settle();
    assert_eq!(placed.len(), 1, "{placed:?}");
    let first = world
        .state
        .hosts()
        .map(|host| host.id.0)
        .min()
        .expect("there are hosts");
    (placed[0].host.0 - first, placed[0].gpu_indices.clone())
}

#[test]
fn a_share_goes_where_the_rest_is_of_use_not_where_it_is_smallest() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[machine(32, 2), machine(32, 2)]);
    seen(
        &mut world,
        &[asks(1, 700), asks(1, 500), asks(1, 500), asks(1, 500), asks(1, 1000)],
    );
    assert_eq!(goes_to(&mut world, asks(1, 500)), (0, vec![0]));
    assert_eq!(goes_to(&mut world, asks(1, 700)), (0, vec![1]));
    // 500 are free on one device. 300 there would leave 200 that nobody asks for, beside 700 it leaves nothing.
    assert_eq!(goes_to(&mut world, asks(1, 300)), (0, vec![1]));
    assert_eq!(goes_to(&mut world, asks(1, 500)), (0, vec![0]));
}

#[test]
fn cores_beside_gpus_that_need_them_are_left_alone() {
    let mut world = World::new();
    // 12 cores for each GPU, and 40 for each.
    world.site("a", 310117, 1, &[machine(96, 8), machine(80, 2)]);
    seen(&mut world, &[asks(12, 1000), asks(12, 1000)]);
    assert_eq!(
        goes_to(&mut world, cores(30)),
        (1, vec![]),
        "though the other has more room"
    );
    assert_eq!(
        goes_to(&mut world, asks(24, 1000)).0,
        1,
        "one task of 24 cores would idle two GPUs of the other"
    );
}

#[test]
fn machines_stay_whole_for_those_who_need_them_whole() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[machine(96, 8), machine(96, 8)]);
    seen(&mut world, &[asks(8, 1000), asks(8, 1000), asks(80, 8000)]);
    for device in 0..7 {
        assert_eq!(goes_to(&mut world, asks(8, 1000)), (0, vec![device]));
    }
    assert_eq!(goes_to(&mut world, asks(80, 8000)).0, 1);
}

#[test]
fn a_new_leader_knows_the_requests_of_the_jobs_in_state() {
    let mut world = World::new();
    world.site("a", 310117, 1, &[machine(32, 2)]);
    for milli in [300, 700, 1000, 2000] {
        world.submit(asks(1, milli));
    }
    world.settle();
    let mut fresh = Planner::new();
    fresh.reset(&world.state);
    assert_eq!(fresh.view.mix, world.planner.view.mix);
}

#[derive(Clone, Debug)]
enum Step {
    /// Find room, and take it.
    Place(usize),
    /// A host is empty again.
    Empty(usize),
}

fn any_machine() -> impl Strategy<Value = HostInventory> {
    let model = prop::sample::select(vec!["a800", "h800"]);
    (1..40u64, 0..5usize, model, 0..3u64).prop_map(|(size, gpus, model, fpga)| HostInventory {
        gpus: vec![model.into(); gpus],
        generic: if fpga > 0 {
            vec![("fpga".into(), fpga)]
        } else {
            Vec::new()
        },
        ..host(size)
    })
}

fn any_request() -> impl Strategy<Value = SubmitJob> {
    let gpu = prop::sample::select(vec![0u64, 100, 250, 400, 810, 1000, 1000, 2000, 4000]);
    (1..12u64, gpu, any::<bool>(), 0..6u64).prop_map(|(size, gpu, picky, fpga)| {
        let mut job = asks(size, gpu);
        if picky && gpu > 0 {
            job.resources.gpu_models = vec!["h800".into()];
        }
        if fpga == 1 {
            job.resources.generic = vec![("fpga".into(), 1)];
        }
        job
    })
}

/// The best host and its score by looking at each, and whether the scores agree with what fits.
fn scan(site: &SiteView, need: &Need, model: Option<u16>) -> Vec<(u64, HostId)> {
    let score = |slot| loss::score(slot, &Profile::of(slot, &site.tables), &site.tables, need, model);
    for slot in &site.hosts.slots {
        let fits = slot.open
            && slot.cpu_milli >= need.cpu_milli
            && slot.memory_mib >= need.memory_mib
            && slot.has_generic(need)
            && slot.devices_for(need, model).is_some();
        assert_eq!(fits, score(slot) != NO_ROOM, "{need:?} on {slot:?}");
    }
    let scores = site.hosts.slots.iter().map(|slot| (score(slot), slot.id));
    let mut scores: Vec<(u64, HostId)> = scores.filter(|(score, _)| *score != NO_ROOM).collect();
    scores.sort_unstable();
    scores
}

fn check_devices(site: &SiteView, need: &Need, model: Option<u16>, spot: &Spot) {
    let slot = &site.hosts.slots[site.hosts.position(spot.host).expect("it is a host of the site")];
    assert_eq!(spot.gpu_indices.len(), need.gpu.devices());
    assert!(spot.gpu_indices.is_sorted_by(|a, b| a < b));
    for index in &spot.gpu_indices {
        let (of, free) = slot.devices[*index as usize];
        assert!(
            Some(of) == model && free >= need.gpu.milli_per_device(),
            "{spot:?} on {slot:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// And a view that was made anew finds the same: what was asked before leaves no trace.
    #[test]
    fn the_index_finds_what_a_scan_finds_and_never_over_commits(
        machines in prop::collection::vec(any_machine(), 1..150),
        requests in prop::collection::vec(any_request(), 1..12),
        steps in prop::collection::vec(
            prop_oneof![
                6 => any::<usize>().prop_map(Step::Place),
                1 => any::<usize>().prop_map(Step::Empty),
            ],
            1..200,
        ),
    ) {
        let mut world = World::new();
        let id = world.site("a", 310117, 1, &machines);
        for request in &requests {
            // What no host could ever take is refused.
            let _ = world.apply_as(PrincipalId::CLUSTER, Body::SubmitJob(request.clone()));
        }
        let hosts: Vec<HostId> = world.state.hosts_of(id).map(|host| host.id).collect();
        let view = &mut world.planner.view;
        view.rebuild(&world.state, id);
        view.appraise();
        for step in steps {
            match step {
                Step::Place(which) => {
                    let need = Need::of(&requests[which % requests.len()].resources);
                    let models = view.sites[&id].hosts.models.len() as u16;
                    let model = (need.gpu.devices() > 0).then(|| which as u16 % models.max(1));
                    if model.is_some() && models == 0 {
                        continue;
                    }
                    let site = view.sites.get_mut(&id).expect("it was just rebuilt");
                    let mut anew = SiteView::of(site.hosts.clone(), &mut Tables::of(&view.mix));
                    let found = site.find(&need, Nodes::ONE, model, None);
                    prop_assert_eq!(&found, &anew.find(&need, Nodes::ONE, model, None));
                    let scores = scan(site, &need, model);
                    prop_assert_eq!(found.as_ref().map(|spot| (spot.score, spot.host)), scores.first().copied());
                    prop_assert_eq!(found.is_some(), site.has_room(&need, Nodes::ONE, model, None));
                    for count in 2..4 {
                        let nodes = Nodes::new(count).expect("at least one");
                        let gang = site.find(&need, nodes, model, None);
                        prop_assert_eq!(gang.is_some(), scores.len() >= count as usize);
                        prop_assert_eq!(gang.is_some(), site.has_room(&need, nodes, model, None));
                        let places = gang.iter().flat_map(|spot| spot.others.iter().map(|place| place.host));
                        let hosts: Vec<HostId> = gang.iter().map(|spot| spot.host).chain(places).collect();
                        let mut least: Vec<HostId> = scores.iter().take(hosts.len()).map(|(_, host)| *host).collect();
                        least.sort_unstable();
                        prop_assert_eq!(hosts, least);
                    }
                    if let Some(spot) = found {
                        check_devices(site, &need, model, &spot);
                        view.reserve(spot.host, &need, &spot.gpu_indices);
                    }
                }
                Step::Empty(which) => {
                    let host = world.state.host(hosts[which % hosts.len()]).expect("hosts stay");
                    prop_assert!(view.refresh(host));
                }
            }
        }
    }
}
