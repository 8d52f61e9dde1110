//! The applier through whole logs: replays, snapshots, archive, and entries it must not swallow.

mod cluster;

use std::time::Duration;

use bytes::Bytes;
use cluster::{CLUSTER_ID, Log, ORIGIN, all_ended, apply, apply_well, cancel, founding, furnish, site, submit};
use hesuan_api::codec::{EntryError, encode_entry, encode_set_level, encode_tick};
use hesuan_api::internal::v1::Item;
use hesuan_engine::outcome::{Effect, Reply};
use hesuan_engine::types::{JobId, Timestamp};
use hesuan_replica::applier::{Applier, ApplierConfig, ApplyError, SnapshotPolicy};
use hesuan_replica::archive::{Archive, ArchiveConfig};
use hesuan_replica::files::MemoryFiles;
use hesuan_replica::leader::{Leader, LeaderConfig};
use hesuan_replica::node::ConfChanged;
use hesuan_replica::snapshot::{SnapshotError, SnapshotStore, Stored};
use hesuan_replica::wire::{ConfChange, ConfState, EntryKind, LogEntry};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn store() -> SnapshotStore<MemoryFiles> {
    SnapshotStore::open(CLUSTER_ID, MemoryFiles::default()).expect("opens")
}

fn save(applier: &Applier, store: &mut SnapshotStore<MemoryFiles>) -> Stored {
    applier.freeze().save(store, Vec::new()).expect("saved")
}

fn full_hash(applier: &Applier) -> [u8; 32] {
    applier.state().full_hash()
}

/// A log in which jobs are submitted, cancelled, placed by a leader, run, fail to be well-formed, and leave for the archive.
fn lively_log(seed: u64) -> (Log, Applier) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut log = Log::new();
    let mut applier = founding(ApplierConfig::default());
    apply_well(&mut applier, &log.bodies(furnish()));
    let mut leader = Leader::new(LeaderConfig::default());
    leader.become_leader(log.term, Duration::ZERO);
    let site = site(&applier);
    for round in 0..120 {
        let mono = Duration::from_millis(round * 400);
        let mut commands: Vec<(u64, Bytes)> = Vec::new();
        for n in 0..rng.random_range(0..4) {
            commands.push((ORIGIN, cluster::command(submit(round * 10 + n))));
        }
        match rng.random_range(0..6) {
            0 => commands.push((ORIGIN, cluster::command(cancel(round, rng.random_range(1..40))))),
            1 => commands.push((ORIGIN, Bytes::from_static(b"\xff\xff no command"))),
            2 => commands.extend(all_ended(&applier).map(|command| (ORIGIN, command))),
            // A retry of what was submitted before.
            3 => commands.push((ORIGIN, cluster::command(submit(rng.random_range(0..=round) * 10)))),
            4 => log.now_ms += 20_000,
            _ => {}
        }
        let planned = leader.plan(applier.state(), Timestamp(log.now_ms), mono);
        commands.extend(planned.into_iter().map(|planned| (0, planned.command)));
        let entry = if commands.is_empty() {
            log.push(EntryKind::Normal, Bytes::new())
        } else {
            log.bundle(commands)
        };
        let applied = apply(&mut applier, &entry);
        leader.observe(applier.state(), &applied);
        leader.heartbeat(applier.state(), site, cluster::INSTANCE, round, mono);
        applier.state().check();
    }
    (log, applier)
}

#[test]
fn snapshot_and_tail_give_the_same_state_as_the_whole_log() {
    for seed in 0..4 {
        let (log, whole) = lively_log(seed);
        assert!(whole.state().jobs_count() > 20, "seed {seed} is lively");
        for cut in (0..log.entries.len()).step_by(17) {
            let mut before = founding(ApplierConfig::default());
            log.entries[..cut]
                .iter()
                .for_each(|entry| drop(apply(&mut before, entry)));
            let mut store = store();
            let stored = save(&before, &mut store);
            assert_eq!(
                stored.footer.state_sha256,
                full_hash(&before),
                "the footer holds the full hash"
            );
            let mut after = Applier::restore(ApplierConfig::default(), &store, &stored).expect("restored");
            let mut records = stored.header.archived;
            // The log overlaps the snapshot: what was applied is skipped.
            for entry in &log.entries[cut.saturating_sub(5)..] {
                let applied = apply(&mut after, entry);
                for (number, _) in applied.archive {
                    assert_eq!(number, records);
                    records += 1;
                }
            }
            assert_eq!(after.index(), whole.index());
            assert_eq!(
                after.state().outcome_digest(),
                whole.state().outcome_digest(),
                "seed {seed} cut {cut}"
            );
            assert_eq!(full_hash(&after), full_hash(&whole), "seed {seed} cut {cut}");
            assert_eq!(records, whole.state().archived());
        }
    }
}

#[test]
fn a_fetched_snapshot_replaces_the_state() {
    let (log, whole) = lively_log(9);
    let mut store = store();
    let stored = save(&whole, &mut store);
    let mut joined = founding(ApplierConfig::default());
    joined.install(&store, &stored).expect("installed");
    assert_eq!(full_hash(&joined), full_hash(&whole));
    assert_eq!((joined.index(), joined.term()), (log.entries.len() as u64 + 1, 2));
    assert_eq!(*joined.conf_state(), ConfState::of_voters([1, 2, 3]));
}

#[test]
fn a_snapshot_right_after_the_founding_can_be_restored() {
    let mut store = store();
    let stored = save(&founding(ApplierConfig::default()), &mut store);
    let restored = Applier::restore(ApplierConfig::default(), &store, &stored).expect("restored");
    assert_eq!(restored.index(), 1);
}

#[test]
fn answers_name_who_asked_and_one_bad_command_costs_only_itself() {
    let mut log = Log::new();
    let mut applier = founding(ApplierConfig::default());
    apply_well(&mut applier, &log.bodies(furnish()));
    let garbage = Bytes::from_static(b"\xff\xff\xff");
    let bundle = [
        (1, cluster::command(submit(1))),
        (2, garbage),
        (3, Bytes::new()),
        (3, cluster::command(submit(2))),
    ];
    let applied = apply(&mut applier, &log.bundle(bundle));
    let replies: Vec<_> = applied
        .replies
        .iter()
        .map(|a| (a.origin, a.outcome.reply.clone().map_err(|r| r.code)))
        .collect();
    assert_eq!(
        replies,
        [
            (1, Ok(Reply::Job(JobId(1)))),
            (2, Err("COMMAND_MALFORMED")),
            (3, Err("COMMAND_UNKNOWN")),
            (3, Ok(Reply::Job(JobId(2))))
        ]
    );
    assert_eq!(applied.at, Timestamp(log.now_ms));
    assert!(applied.effects.contains(&Effect::JobChanged(JobId(2))));
}

#[test]
fn an_entry_given_twice_changes_nothing_and_a_gap_is_refused() {
    let mut log = Log::new();
    let mut applier = founding(ApplierConfig::default());
    let first = log.bodies(furnish());
    apply_well(&mut applier, &first);
    let hash = full_hash(&applier);
    let again = apply(&mut applier, &first);
    assert_eq!((again.index, again.replies.len(), again.effects.len()), (2, 0, 0));
    assert_eq!(full_hash(&applier), hash);
    let skipped = LogEntry { index: 4, ..first };
    assert!(matches!(
        applier.apply(&skipped, None),
        Err(ApplyError::Gap { index: 4, applied: 2 })
    ));
}

#[test]
fn time_in_the_log_never_goes_back() {
    let mut log = Log::new();
    let mut applier = founding(ApplierConfig::default());
    let late = apply_well(&mut applier, &log.bodies(furnish())).at;
    log.now_ms -= 5_000;
    assert_eq!(apply_well(&mut applier, &log.bodies(vec![submit(1)])).at, late);
    assert_eq!(
        apply_well(&mut applier, &log.push(EntryKind::Normal, Bytes::new())).at,
        late
    );
}

#[test]
fn a_higher_level_stops_the_replica_before_the_body_is_read() {
    let mut log = Log::new();
    let mut applier = founding(ApplierConfig::default());
    let hash = full_hash(&applier);
    let entry = log.push(EntryKind::Normal, encode_entry(2, Timestamp(1), Vec::new()));
    let error = applier.apply(&entry, None).expect_err("stops");
    assert!(matches!(
        error,
        ApplyError::Entry {
            index: 2,
            source: EntryError::Level { needed: 2, known: 1 },
            ..
        }
    ));
    assert_eq!(full_hash(&applier), hash);

    let mut log = Log::new();
    let garbage = log.push(EntryKind::Normal, Bytes::from_static(b"\xff\xff\xff"));
    assert!(matches!(
        applier.apply(&garbage, None),
        Err(ApplyError::Entry {
            source: EntryError::Malformed(_),
            ..
        })
    ));
    let raised = vec![Item {
        origin: 0,
        ticket: 1,
        command: encode_set_level(2),
    }];
    let mut log = Log::new();
    let raise = log.push(EntryKind::Normal, encode_entry(1, Timestamp(1), raised));
    let error = applier.apply(&raise, None).expect_err("stops");
    assert!(error.to_string().contains("install a newer release"), "{error}");
}

#[test]
fn a_membership_change_goes_into_the_next_snapshot() {
    let mut log = Log::new();
    let mut applier = founding(ApplierConfig::default());
    let change = ConfChange::add_learner(4, Bytes::new());
    let entry = log.push(EntryKind::ConfChange, change.encode_to_vec().into());
    let conf_state = ConfState {
        voters: vec![1, 2, 3],
        learners: vec![4],
        ..ConfState::default()
    };
    let changed = ConfChanged {
        index: entry.index,
        accepted: true,
        conf_state: conf_state.clone(),
    };
    let applied = applier.apply(&entry, Some(&changed)).expect("applied");
    assert_eq!(applied.effects, [Effect::MembersChanged]);
    let mut store = store();
    let stored = save(&applier, &mut store);
    assert_eq!(stored.meta().conf_state, conf_state);
    let restored = Applier::restore(ApplierConfig::default(), &store, &stored).expect("restored");
    assert_eq!(*restored.conf_state(), conf_state);
}

#[test]
// Feature `planted` adds fields.
#[allow(clippy::needless_update)]
fn snapshots_are_asked_for_by_policy() {
    let mut log = Log::new();
    let config = ApplierConfig {
        snapshot: SnapshotPolicy::every(50),
        ..ApplierConfig::default()
    };
    let mut applier = founding(config);
    let mut store = store();
    let mut due = Vec::new();
    for _ in 0..160 {
        let entry = log.push(EntryKind::Normal, Bytes::new());
        if apply(&mut applier, &entry).snapshot_due {
            due.push(entry.index);
            let stored = save(&applier, &mut store);
            applier.snapshot_saved(&stored);
        }
    }
    assert_eq!(due, [51, 101, 151]);
}

#[test]
fn a_snapshot_that_is_not_the_state_it_says_is_refused() {
    let (_, applier) = lively_log(3);
    let frozen = applier.freeze();
    let header = frozen.header().clone();
    let encode = |sink: &mut dyn FnMut(&[u8])| applier.state().encode(sink);
    let restore = |header, cut: usize| {
        let mut store = store();
        let mut left = cut;
        let encode = |sink: &mut dyn FnMut(&[u8])| {
            encode(&mut |chunk| {
                let chunk = &chunk[..chunk.len().min(left)];
                left -= chunk.len();
                sink(chunk);
            });
        };
        let stored = store.save(header, Vec::new(), encode).expect("saved");
        Applier::restore(ApplierConfig::default(), &store, &stored).map(|_| ())
    };
    restore(header.clone(), usize::MAX).expect("as it is");
    let mut other = header.clone();
    other.outcome_digest[0] ^= 1;
    assert!(matches!(restore(other, usize::MAX), Err(ApplyError::State { .. })));
    let mut newer = header.clone();
    newer.level = 2;
    assert!(matches!(
        restore(newer, usize::MAX),
        Err(ApplyError::Level { level: 2, .. })
    ));
    assert!(matches!(restore(header.clone(), 100), Err(ApplyError::State { .. })));
    let mut layout = header;
    layout.version = 2;
    assert!(matches!(
        restore(layout, usize::MAX),
        Err(ApplyError::Snapshot(SnapshotError::Version { found: 2 }))
    ));
}

// Records that leave State reach the archive once, in order, however often the log is applied again.
#[test]
fn the_archive_holds_each_record_once_after_crashes_and_replays() {
    let (mut log, mut applier) = lively_log(2);
    // Ended jobs leave after an hour; money was written down all along.
    log.now_ms += 4_000_000;
    apply_well(&mut applier, &log.bundle([(0, encode_tick())]));
    let ended = (1..)
        .map(JobId)
        .find(|job| applier.state().job(*job).is_none())
        .expect("some job left State");
    assert!(
        applier.state().archived() > 50,
        "{} records",
        applier.state().archived()
    );

    let files = MemoryFiles::default();
    let config = ArchiveConfig {
        segment_bytes_max: 2_000,
        ..ArchiveConfig::new(CLUSTER_ID)
    };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..8 {
        // Each life replays the whole log up to some point and dies.
        let mut archive = Archive::open(config, files.clone()).expect("opens");
        let mut applier = founding(ApplierConfig::default());
        for entry in &log.entries[..rng.random_range(0..log.entries.len())] {
            let applied = apply(&mut applier, entry);
            for (number, record) in &applied.archive {
                archive.append(*number, record).expect("appended");
            }
            if rng.random_ratio(1, 8) {
                assert_eq!(archive.commit(applied.index).expect("synced"), applied.index);
            }
        }
        drop(archive);
        files.crash(|n| rng.random_range(0..n));
    }
    let mut archive = Archive::open(config, files).expect("opens");
    let mut applier = founding(ApplierConfig::default());
    let mut expected = Vec::new();
    for entry in &log.entries {
        for (number, record) in apply(&mut applier, entry).archive {
            archive.append(number, &record).expect("appended");
            expected.push(record);
        }
    }
    let mut found = Vec::new();
    archive
        .read_from(0, |_, record| {
            found.push(record);
            true
        })
        .expect("readable");
    assert_eq!(found, expected);
    archive.verify().expect("the chain holds");
    assert_eq!(archive.find_job(ended.0).expect("readable").len(), 1);
}

#[cfg(feature = "planted")]
#[test]
fn the_planted_second_application_shows_in_the_digest() {
    use hesuan_replica::applier::Planted;
    let (log, whole) = lively_log(1);
    let mut before = founding(ApplierConfig::default());
    log.entries[..40]
        .iter()
        .for_each(|entry| drop(apply(&mut before, entry)));
    let mut store = store();
    let stored = save(&before, &mut store);
    let config = ApplierConfig {
        planted: Planted::ApplyTwice,
        ..ApplierConfig::default()
    };
    let mut after = Applier::restore(config, &store, &stored).expect("restored");
    log.entries[40..]
        .iter()
        .for_each(|entry| drop(apply(&mut after, entry)));
    assert_ne!(after.state().outcome_digest(), whole.state().outcome_digest());
}
