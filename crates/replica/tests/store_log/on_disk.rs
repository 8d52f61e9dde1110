//! The store on disk.

use std::path::Path;

use bytes::Bytes;
use hesuan_replica::store::{LogBatch, LogStore, SledLog, StoreError, directory};

use crate::{append, at, entry, founded, run, snapshot};

/// sled gives its lock up a moment after the value is dropped; a process opens a store only once.
fn open(path: &Path) -> SledLog {
    for _ in 0..10_000 {
        match SledLog::open(path) {
            Err(StoreError::InUse(_)) => std::thread::yield_now(),
            opened => return opened.expect("a store in order"),
        }
    }
    panic!("the lock is never given up")
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let mut log = open(&path);
    assert!(log.load().unwrap().is_new());
    founded(&mut log);
    log.write(&append(run(2, 500, 1), 1, 400)).unwrap();
    log.write(&append(run(451, 600, 2), 2, 450)).unwrap();
    log.write(&append(vec![entry(601, 2, vec![9; 1 << 20])], 2, 600))
        .unwrap();
    log.sync().unwrap();
    let mark = log.synced_mark();
    assert_eq!((mark.last, mark.commit, mark.term), (at(601, 2), 600, 2));
    drop(log);

    let mut log = open(&path);
    let loaded = log.load().unwrap();
    assert_eq!((loaded.last(), loaded.hard_state.commit), (at(601, 2), 600));
    let mut expected = run(2, 450, 1);
    expected.extend(run(451, 600, 2));
    expected.push(entry(601, 2, vec![9; 1 << 20]));
    assert!(loaded.entries == expected);
    let reader = log.reader();
    assert_eq!(reader.entries(449, 453, u64::MAX).unwrap(), expected[447..451]);
    assert!(!path.join("blobs").exists() || std::fs::read_dir(path.join("blobs")).unwrap().next().is_none());
}

#[test]
fn compaction_and_installation_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let mut log = open(&path);
    founded(&mut log);
    for from in (2..2_002).step_by(10) {
        log.write(&append(run(from, from + 9, 1), 1, from)).unwrap();
    }
    let cut = LogBatch {
        snapshot: Some(snapshot(1_900, 1)),
        truncate_to: Some(at(1_895, 1)),
        ..LogBatch::default()
    };
    log.write(&cut).unwrap();
    log.sync().unwrap();
    drop(log);

    let mut log = open(&path);
    let loaded = log.load().unwrap();
    assert_eq!(loaded.truncated, at(1_895, 1));
    assert_eq!(loaded.entries, run(1_896, 2_001, 1));
    assert_eq!(loaded.snapshot, Some(snapshot(1_900, 1)));
    let mut install = append(Vec::new(), 7, 5_000);
    install.install_snapshot = Some(snapshot(5_000, 6));
    log.write(&install).unwrap();
    log.write(&append(run(5_001, 5_003, 7), 7, 5_000)).unwrap();
    log.sync().unwrap();
    drop(log);

    let mut log = open(&path);
    let loaded = log.load().unwrap();
    assert_eq!((loaded.truncated, loaded.conf.applied), (at(5_000, 6), 5_000));
    assert_eq!(loaded.entries, run(5_001, 5_003, 7));
}

#[test]
fn entries_are_read_while_others_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir.path().join("raft"));
    founded(&mut log);
    let long = |index, term| entry(index, term, Bytes::from(vec![index as u8; 50_000]));
    log.write(&append((2..20).map(|index| long(index, 1)).collect(), 1, 10))
        .unwrap();
    let reader = log.reader();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            for _ in 0..200 {
                let read = reader.entries(2, 11, u64::MAX).unwrap();
                assert!(read == (2..11).map(|index| long(index, 1)).collect::<Vec<_>>());
            }
        });
        for term in 2..60 {
            log.write(&append((11..20).map(|index| long(index, term)).collect(), term, 10))
                .unwrap();
        }
        reading.join().unwrap();
    });
}

const CLUSTER: [u8; 16] = [7; 16];

/// A directory whose replica has promised 100 entries.
fn used(dir: &Path) {
    let mut opened = reopened(dir, 3, CLUSTER).unwrap();
    founded(&mut opened.log);
    opened.log.write(&append(run(2, 100, 4), 4, 90)).unwrap();
    opened.log.sync().unwrap();
    opened.identity.synced = opened.log.synced_mark();
    opened.identity.write(dir).unwrap();
}

fn reopened(dir: &Path, replica: u64, cluster: [u8; 16]) -> Result<directory::Opened, StoreError> {
    for _ in 0..10_000 {
        match directory::open(dir, replica, cluster) {
            Err(StoreError::InUse(_)) => std::thread::yield_now(),
            opened => return opened,
        }
    }
    panic!("the lock is never given up")
}

#[test]
fn a_directory_is_opened_again_by_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let opened = reopened(dir.path(), 3, CLUSTER).unwrap();
    assert_eq!(opened.loaded.last(), at(100, 4));
    assert_eq!(opened.identity.synced.last, at(100, 4));
    drop(opened);
    for (replica, cluster) in [(4, CLUSTER), (3, [8; 16])] {
        let error = reopened(dir.path(), replica, cluster).expect_err("somebody else's");
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        // It once said to wipe the directory: with a wrong `data_dir` that was the neighbour's.
        assert!(!error.to_string().contains("wipe"), "{error}");
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let opened = reopened(dir.path(), 3, CLUSTER).unwrap();
    let error = directory::open(dir.path(), 3, CLUSTER).expect_err("a second process");
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    drop(opened);
}

#[test]
fn an_emptied_store_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    std::fs::remove_dir_all(dir.path().join("raft")).unwrap();
    let error = reopened(dir.path(), 3, CLUSTER).expect_err("it forgot what it promised");
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
    assert!(error.to_string().contains("wipe its data directory"), "{error}");
}

#[test]
fn a_shorter_store_is_refused() {
    let (dir, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    used(dir.path());
    let mut log = open(&older.path().join("raft"));
    founded(&mut log);
    log.write(&append(run(2, 60, 4), 4, 50)).unwrap();
    log.sync().unwrap();
    drop(log);
    std::fs::remove_dir_all(dir.path().join("raft")).unwrap();
    std::fs::rename(older.path().join("raft"), dir.path().join("raft")).unwrap();
    let error = reopened(dir.path(), 3, CLUSTER).expect_err("an older copy");
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
}

#[test]
fn a_log_without_its_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    std::fs::remove_file(dir.path().join("identity")).unwrap();
    assert!(matches!(reopened(dir.path(), 3, CLUSTER), Err(StoreError::Damaged(_))));
}

#[test]
fn a_damaged_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    let path = dir.path().join("identity");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("replica 3", "replica 4")).unwrap();
    assert!(matches!(reopened(dir.path(), 4, CLUSTER), Err(StoreError::Damaged(_))));
}

/// Whatever byte of sled's file is damaged, opening it gives an error or everything that was promised; never less.
#[test]
fn damage_in_the_file_is_an_error_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path());
    drop(reopened(dir.path(), 3, CLUSTER).unwrap());
    let file = dir.path().join("raft").join("db");
    let whole = std::fs::read(&file).unwrap();
    let used_bytes = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for tenth in 0..10 {
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("raft")).unwrap();
        for name in ["identity", "raft/conf"] {
            std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let mut damaged = whole.clone();
        damaged[used_bytes * tenth / 10 + 13] ^= 0x55;
        std::fs::write(copy.path().join("raft/db"), damaged).unwrap();
        match reopened(copy.path(), 3, CLUSTER) {
            Ok(opened) => assert_eq!(opened.loaded.entries, run(2, 100, 4), "silently less"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("hesuan cluster add"), "{error}");
            }
        }
    }
    assert!(refused > 0, "no damage was ever noticed");
}
