//! Snapshots through files, crashes, damage and transfers. The state is bytes here.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::archive::{Archive, ArchiveConfig, Record};
use crate::files::{DirFiles, Files, MemoryFiles};

const CLUSTER: [u8; 16] = [9; 16];

fn header(index: u64) -> SnapshotHeader {
    SnapshotHeader {
        version: VERSION,
        cluster_id: CLUSTER.to_vec(),
        index,
        term: 4,
        conf_state: ConfState {
            voters: vec![1, 2, 3],
            learners: vec![4],
            ..ConfState::default()
        },
        at_ms: 1_700_000_000_000 + index,
        outcome_digest: vec![index as u8; 32],
        archived: index / 2,
        level: 1,
    }
}

fn segments(count: u64) -> Vec<SegmentRef> {
    (1..=count)
        .map(|segment| SegmentRef {
            segment,
            bytes: segment * 7,
            ..SegmentRef::default()
        })
        .collect()
}

fn chunks(index: u64) -> Vec<Box<[u8]>> {
    (0..40)
        .map(|n| vec![(index + n) as u8; (n as usize * 997) % CHUNK_BYTES_MAX].into())
        .collect()
}

fn save<F: Files>(store: &mut SnapshotStore<F>, index: u64) -> Stored {
    let encode = |sink: &mut dyn FnMut(&[u8])| chunks(index).iter().for_each(|chunk| sink(chunk));
    store.save(header(index), segments(600), encode).expect("saved")
}

fn open<F: Files>(files: F) -> SnapshotStore<F> {
    SnapshotStore::open(CLUSTER, files).expect("opens")
}

fn read<F: Files>(store: &SnapshotStore<F>, stored: &Stored) -> Vec<Box<[u8]>> {
    let mut chunks = Vec::new();
    store.chunks(stored, |chunk| chunks.push(chunk)).expect("readable");
    chunks
}

#[test]
fn the_newest_of_two_comes_back_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = || DirFiles::open(folder.path().join("snapshots")).expect("a folder");
    let mut store = open(files());
    assert_eq!(store.latest(1).expect("readable"), None);
    let stored = [10, 20, 30].map(|index| save(&mut store, index));
    assert_eq!(files().list().expect("listed").len(), 2);
    let store = open(files());
    assert_eq!(store.latest(25).expect("readable").as_ref(), Some(&stored[2]));
    assert_eq!(read(&store, &stored[2]), chunks(30));
    assert_eq!(stored[2].segments, segments(600));
    assert!(matches!(
        store.latest(31),
        Err(SnapshotError::TooOld { needed: 31, best: 30 })
    ));
}

#[test]
fn damage_anywhere_is_found_and_the_one_before_serves_while_the_log_reaches_back() {
    let files = MemoryFiles::default();
    let mut store = open(files.clone());
    let (older, newer) = (save(&mut store, 10), save(&mut store, 20));
    let name = files.list().expect("listed").pop().expect("two");
    for offset in (0..newer.bytes as usize)
        .step_by(4_001)
        .chain(newer.bytes as usize - 20..newer.bytes as usize)
    {
        files.rot(&name, offset);
        let latest = store.latest(10).unwrap_or_else(|e| panic!("at {offset}: {e}"));
        assert_eq!(latest.as_ref(), Some(&older), "at {offset}");
        assert!(matches!(
            store.latest(11),
            Err(SnapshotError::TooOld { needed: 11, best: 10 })
        ));
        files.rot(&name, offset);
    }
    assert_eq!(store.latest(11).expect("readable"), Some(newer));
    let other = SnapshotStore::open([1; 16], files).expect("opens");
    assert!(matches!(other.latest(1), Err(SnapshotError::OtherCluster)));
}

#[test]
fn a_crash_never_leaves_a_snapshot_that_was_saved_unreadable() {
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let files = MemoryFiles::default();
        let mut saved = 0;
        for index in 1..6 {
            let mut store = open(files.clone());
            assert_eq!(
                store
                    .latest(saved)
                    .expect("readable")
                    .map_or(0, |stored| stored.header.index),
                saved
            );
            if rng.random_ratio(1, 3) {
                // The crash comes while it is being written.
                let mut writing = files.clone();
                writing.create("new.part").expect("created");
                writing.append("new.part", &[1; 100]).expect("written");
            } else {
                save(&mut store, index);
                saved = index;
            }
            files.crash(|n| rng.random_range(0..n));
        }
    }
}

#[test]
fn a_fetched_snapshot_is_kept_only_if_it_is_the_one_announced() {
    let mut leader = open(MemoryFiles::default());
    let stored = save(&mut leader, 20);
    let meta = stored.meta();
    assert!(meta.manifest.len() < SnapshotMeta::MANIFEST_BYTES_MAX);
    let content = leader.read(20, 4, 0, usize::MAX).expect("readable");
    let transfer_to = |archived: u64, meta: &SnapshotMeta, content: &[u8], piece: usize| {
        let mut archive = Archive::open(ArchiveConfig::new(CLUSTER), MemoryFiles::default()).expect("opens");
        for number in 0..archived {
            archive
                .append(
                    number,
                    &Record {
                        job: None,
                        bytes: [].into(),
                    },
                )
                .expect("appended");
        }
        let files = MemoryFiles::default();
        let mut store = open(files.clone());
        let mut receiver = store.receive(meta.clone())?;
        for piece in content.chunks(piece) {
            store.receive_bytes(&mut receiver, piece)?;
        }
        let received = store.receive_end(receiver, &mut archive)?;
        files.crash(|_| 0);
        assert_eq!(archive.durable_index(), 20);
        assert_eq!(open(files.clone()).latest(20)?.as_ref(), Some(&received));
        assert_eq!(read(&open(files), &received), chunks(20));
        Ok::<_, SnapshotError>(received)
    };
    let transfer = |meta: &SnapshotMeta, content: &[u8], piece| transfer_to(10, meta, content, piece);
    assert!(
        matches!(transfer_to(9, &meta, &content, 1000), Err(SnapshotError::Archive(_))),
        "it counts on 10 records"
    );
    for piece in [1 << 20, 4_099, 13] {
        assert_eq!(transfer(&meta, &content, piece).expect("kept"), stored);
    }
    assert!(transfer(&meta, &content[..content.len() - 1], 1000).is_err());
    let mut longer = content.clone();
    longer.push(0);
    assert!(transfer(&meta, &longer, 1000).is_err());
    let mut flipped = content.clone();
    flipped[50_000] ^= 1;
    assert!(matches!(
        transfer(&meta, &flipped, 1000),
        Err(SnapshotError::Damaged { .. })
    ));
    let mut other = meta;
    other.conf_state.voters.push(9);
    assert!(matches!(
        transfer(&other, &content, 1000),
        Err(SnapshotError::Damaged { .. })
    ));
}

#[test]
fn a_snapshot_being_fetched_stays_until_the_fetch_is_over() {
    let mut store = open(MemoryFiles::default());
    save(&mut store, 10);
    store.pin(10, 4);
    store.pin(10, 4);
    for index in [20, 30, 40] {
        save(&mut store, index);
    }
    assert!(store.read(10, 4, 0, 10).is_ok());
    assert!(matches!(
        store.read(20, 4, 0, 10),
        Err(SnapshotError::Missing { index: 20 })
    ));
    store.unpin(10, 4).expect("unpinned");
    assert!(store.read(10, 4, 0, 10).is_ok(), "another one still fetches it");
    store.unpin(10, 4).expect("unpinned");
    assert!(matches!(
        store.read(10, 4, 0, 10),
        Err(SnapshotError::Missing { index: 10 })
    ));
}

#[test]
fn equal_states_have_equal_hashes_whatever_surrounds_them() {
    let mut store = open(MemoryFiles::default());
    let encode = |sink: &mut dyn FnMut(&[u8])| chunks(7).iter().for_each(|chunk| sink(chunk));
    let one = store.save(header(20), segments(3), encode).expect("saved");
    let other = store
        .save(SnapshotHeader { term: 5, ..header(20) }, segments(4), encode)
        .expect("saved");
    assert_eq!(one.footer.state_sha256, other.footer.state_sha256);
    assert_ne!(one.footer.sha256, other.footer.sha256);
}
