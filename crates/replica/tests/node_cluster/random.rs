//! Seeded histories of everything at once: lost, repeated and reordered messages, slow disks, power cuts, transfers,
//! compaction, membership changes. The harness checks safety at each step; afterwards everything must heal.
//! `HESUAN_SEED=n` runs one seed, `HESUAN_SEEDS=n` the first n.

use bytes::Bytes;
use hesuan_replica::node::NodeConfig;
use hesuan_replica::wire::ConfChange;

use crate::harness::{Cluster, Random};

fn small(config: &mut NodeConfig) {
    config.log_entries_keep = 10;
    config.log_entries_max = 40;
    config.cache_bytes_max = 300;
    config.message_bytes_max = 200;
    config.committed_bytes_max = 300;
    config.snapshot_ticks_max = 60;
}

/// What a history went through; over all seeds each must have happened, or the test is a lullaby.
#[derive(Debug, Default)]
struct Seen {
    terms: usize,
    commits: usize,
    conf_changes: usize,
    installed: usize,
    reads: usize,
    crashes: usize,
}

fn history(seed: u64, configure: fn(&mut NodeConfig)) -> Seen {
    let mut random = Random(seed);
    let founders = 3 + random.below(2);
    let mut cluster = Cluster::with(founders, seed, configure);
    cluster.join(9);
    let ids: Vec<u64> = cluster.members.keys().copied().collect();
    let mut crashes = 0;
    for round in 0..1_000_u64 {
        for id in &ids {
            if random.below(4) > 0 {
                cluster.tick(*id);
            }
            if cluster.member(*id).node.is_some() {
                cluster.turn(*id);
                if random.below(3) == 0 {
                    cluster.sync(*id);
                }
            }
        }
        for _ in 0..random.below(2 * cluster.wire.len() as u64 + 2) {
            disturb(&mut cluster, &mut random);
        }
        let id = ids[random.below(ids.len() as u64) as usize];
        if cluster.member(id).node.is_some() {
            if random.below(2) == 0 {
                let to = cluster.leader().unwrap_or(id);
                let _ = cluster.node(to).propose(Bytes::from(format!("entry {round}")));
            }
            if random.below(4) == 0 {
                cluster.read(id);
            }
            if random.below(12) == 0 {
                crashes += usize::from(trouble(&mut cluster, &mut random, id, founders));
            }
        } else if random.below(10) == 0 {
            cluster.start(id).expect("what was synced is there");
        }
        if random.below(20) == 0 {
            cluster.isolate(id, random.below(3) == 0);
        }
    }
    heal(&mut cluster, &ids);
    let installed = cluster.members.values().map(|member| member.installed.len()).sum();
    let reads = cluster.members.values().map(|member| member.reads.len()).sum();
    let (terms, commits, conf_changes) = cluster.history();
    Seen {
        terms,
        commits,
        conf_changes,
        installed,
        reads,
        crashes,
    }
}

/// Something out of the ordinary at a running member. Returns whether it was a crash.
fn trouble(cluster: &mut Cluster, random: &mut Random, id: u64, founders: u64) -> bool {
    let leader = cluster.leader().unwrap_or(id);
    match random.below(10) {
        0 | 1 => {
            let kept = random.below(4);
            cluster.crash(id, |_| u64::from(random.below(4) < kept));
            return true;
        }
        2 => cluster.member(id).hold_sync ^= true,
        3 => cluster.member(id).hold_fetch ^= true,
        4..=6 if cluster.member(id).machine.applied > 0 => {
            let index = cluster.snapshot(id);
            cluster.node(id).compact_to(index);
        }
        7 => {
            let _ = cluster.node(leader).transfer_leader(1 + random.below(founders));
        }
        8 | 9 => {
            let change = match random.below(6) {
                0 | 1 => ConfChange::add_learner(9, "nine"),
                2 | 3 => ConfChange::promote(9, ""),
                4 => ConfChange::demote(1 + random.below(founders), ""),
                _ => ConfChange::promote(1 + random.below(founders), ""),
            };
            let _ = cluster.node(leader).propose_conf_change(change);
        }
        _ => {}
    }
    false
}

fn disturb(cluster: &mut Cluster, random: &mut Random) {
    let waiting = cluster.wire.len() as u64;
    if waiting == 0 {
        return;
    }
    let position = if random.below(5) == 0 { random.below(waiting) } else { 0 } as usize;
    match random.below(40) {
        0 => drop(cluster.wire.remove(position)),
        1 => cluster.wire.extend(cluster.wire.get(position).cloned()),
        _ => {
            let to = cluster.wire[position].1;
            cluster.deliver(position);
            if cluster.member(to).node.is_some() {
                cluster.turn(to);
            }
        }
    }
}

fn heal(cluster: &mut Cluster, ids: &[u64]) {
    cluster.cut.clear();
    for id in ids {
        let member = cluster.member(*id);
        (member.hold_sync, member.hold_fetch) = (false, false);
        if member.node.is_none() {
            cluster.start(*id).expect("what was synced is there");
        }
    }
    cluster.until("the joint configuration ends", |cluster| {
        cluster
            .leader()
            .is_some_and(|leader| !cluster.node(leader).conf_state().is_joint())
    });
    let leader = cluster.elect();
    cluster.until("the leader takes a proposal", |cluster| {
        let leader = cluster.leader().unwrap_or(leader);
        cluster.node(leader).propose(Bytes::from_static(b"healed")).is_ok()
    });
    cluster.until("all members have the same", |cluster| {
        let Some(leader) = cluster.leader() else { return false };
        let conf = cluster.node(leader).conf_state();
        let wanted = cluster.member(leader).machine.clone();
        let members = cluster.members.iter().filter(|(id, _)| conf.contains(**id));
        let mut members = members.map(|(_, member)| &member.machine);
        wanted.data.contains(&Bytes::from_static(b"healed")) && members.all(|machine| *machine == wanted)
    });
}

#[test]
fn random_histories_are_safe_and_heal() {
    let seeds = match std::env::var("HESUAN_SEED") {
        Ok(seed) => vec![seed.parse().expect("HESUAN_SEED is a number")],
        Err(_) => {
            let count = std::env::var("HESUAN_SEEDS").map_or(60, |count| count.parse().expect("a number"));
            (0..count).collect::<Vec<u64>>()
        }
    };
    let all = seeds.len() > 1;
    let mut seen = Seen::default();
    for seed in seeds {
        println!("seed {seed}");
        let one = history(seed, small);
        println!("{one:?}");
        seen.terms += one.terms;
        seen.commits += one.commits;
        seen.conf_changes += one.conf_changes;
        seen.installed += one.installed;
        seen.reads += one.reads;
        seen.crashes += one.crashes;
    }
    println!("{seen:?}");
    if all {
        assert!(
            seen.terms > 200 && seen.commits > 10_000 && seen.conf_changes > 50,
            "{seen:?}"
        );
        assert!(
            seen.installed > 50 && seen.reads > 1_000 && seen.crashes > 200,
            "{seen:?}"
        );
    }
}

#[cfg(feature = "planted")]
mod planted {
    use super::{history, small};
    use hesuan_replica::node::{NodeConfig, Planted};

    fn found(configure: fn(&mut NodeConfig)) -> bool {
        (0..2_000).any(|seed| std::panic::catch_unwind(|| history(seed, configure)).is_err())
    }

    #[test]
    fn acknowledging_before_the_sync_is_found() {
        assert!(found(|config| {
            small(config);
            config.planted = Planted::AckBeforeSync;
        }));
    }

    #[test]
    fn a_vote_that_is_not_saved_is_found() {
        assert!(found(|config| {
            small(config);
            config.planted = Planted::VoteNotSaved;
        }));
    }
}
