//! The archive through restarts, crashes, damage and transfers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::files::{DirFiles, MemoryFiles};

const CONFIG: ArchiveConfig = ArchiveConfig {
    cluster_id: [3; 16],
    segment_bytes_max: 600,
};

/// Every third record is a job, numbered backwards so that segments overlap in jobs.
fn record(number: u64) -> Record {
    let job = number.is_multiple_of(3).then(|| 1_000 - number);
    Record {
        job,
        bytes: format!("record {number} {}", "x".repeat(number as usize % 50))
            .into_bytes()
            .into(),
    }
}

fn open<F: Files>(files: F) -> Archive<F> {
    Archive::open(CONFIG, files).expect("opens")
}

fn fill<F: Files>(archive: &mut Archive<F>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        archive.append(number, &record(number)).expect("appended");
    }
}

fn all<F: Files>(archive: &Archive<F>) -> Vec<Record> {
    let mut records = Vec::new();
    let each = |number, record| {
        assert_eq!(number, records.len() as u64);
        records.push(record);
        true
    };
    archive.read_from(0, each).expect("readable");
    records
}

fn expect_whole<F: Files>(archive: &Archive<F>, count: u64) {
    assert_eq!(archive.next(), count);
    assert!(all(archive).into_iter().eq((0..count).map(record)));
    archive.verify().expect("the chain holds");
}

#[test]
fn records_come_back_in_order_over_segments_and_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = || DirFiles::open(folder.path().join("archive")).expect("a folder");
    let mut archive = open(files());
    fill(&mut archive, 0..70);
    expect_whole(&archive, 70);
    assert_eq!(archive.commit(500).expect("synced"), 500);
    let manifest = archive.manifest();
    assert!(manifest.len() > 3, "several segments");
    drop(archive);

    let mut archive = open(files());
    assert_eq!(archive.manifest(), manifest, "hashes are the same after a restart");
    assert_eq!(
        archive.durable_index(),
        0,
        "until the log was applied again or a snapshot vouches"
    );
    fill(&mut archive, 70..90);
    expect_whole(&archive, 90);
    let mut tail = Vec::new();
    archive
        .read_from(85, |number, _| {
            tail.push(number);
            number < 88
        })
        .expect("readable");
    assert_eq!(tail, [85, 86, 87, 88]);
}

#[test]
fn records_applied_again_are_skipped_and_missing_ones_are_refused() {
    let mut archive = open(MemoryFiles::default());
    fill(&mut archive, 0..20);
    let manifest = archive.manifest();
    fill(&mut archive, 5..20);
    assert_eq!(archive.manifest(), manifest);
    assert!(matches!(
        archive.append(21, &record(21)),
        Err(ArchiveError::Gap { number: 21, next: 20 })
    ));
    assert!(matches!(
        archive.start_at(9, 21),
        Err(ArchiveError::Gap { number: 21, next: 20 })
    ));
    archive.start_at(9, 18).expect("it holds more than the snapshot needs");
    assert_eq!(archive.durable_index(), 9);
}

#[test]
fn all_records_of_an_ended_job_are_found_in_sealed_and_open_segments() {
    let mut archive = open(MemoryFiles::default());
    fill(&mut archive, 0..70);
    for number in 0..70 {
        if let Some(job) = record(number).job {
            assert_eq!(archive.find_job(job).expect("readable"), [record(number)], "job {job}");
        }
    }
    let parts: Vec<Record> = (0..70)
        .map(|part: u64| Record {
            job: Some(4711),
            bytes: part.to_string().into_bytes().into(),
        })
        .collect();
    for (number, part) in (70..).zip(&parts) {
        archive.append(number, part).expect("appended");
    }
    assert_eq!(archive.find_job(4711).expect("readable"), parts);
    assert_eq!(archive.find_job(999).expect("readable"), []);
    assert_eq!(archive.find_job(0).expect("readable"), []);
}

#[test]
fn all_replicas_write_the_same_bytes_however_they_batch_and_restart() {
    let files = MemoryFiles::default();
    let mut steady = open(MemoryFiles::default());
    fill(&mut steady, 0..100);
    for number in 0..100 {
        let mut archive = open(files.clone());
        fill(&mut archive, number.max(3) - 3..number + 1);
        archive.commit(number).expect("synced");
    }
    assert_eq!(open(files).manifest(), steady.manifest());
}

// The log is truncated only below the durable index, so whatever a crash takes is appended again. What was committed must never go.
#[test]
fn a_crash_takes_only_what_was_not_committed_and_replay_heals_it() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let files = MemoryFiles::default();
        let (mut written, mut committed) = (0, 0);
        for _ in 0..6 {
            let mut archive = open(files.clone());
            assert!(
                archive.next() >= committed,
                "seed {seed}: {} of {committed} committed records",
                archive.next()
            );
            archive.verify().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let until = written + rng.random_range(0..30);
            let replayed_from = committed;
            for number in replayed_from..until {
                archive.append(number, &record(number)).expect("appended");
                if rng.random_ratio(1, 10) {
                    archive.commit(number).expect("synced");
                    committed = number + 1;
                }
            }
            written = until;
            drop(archive);
            files.crash(|n| rng.random_range(0..n));
        }
        let mut archive = open(files);
        fill(&mut archive, committed..written);
        expect_whole(&archive, written);
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let files = MemoryFiles::default();
    let mut archive = open(files.clone());
    fill(&mut archive, 0..40);
    archive.commit(1).expect("synced");
    let manifest = archive.manifest();
    for their in manifest.iter().filter(|segment| segment.sealed) {
        let name = segment::sealed_name(their.segment);
        for offset in (0..their.bytes as usize).step_by(7) {
            files.rot(&name, offset);
            let found = Archive::open(CONFIG, files.clone()).and_then(|archive| archive.verify());
            assert!(matches!(found, Err(ArchiveError::Damaged { .. })), "{name} at {offset}");
            files.rot(&name, offset);
        }
    }
    expect_whole(&open(files.clone()), 40);
    files.clone().remove(&segment::sealed_name(2)).expect("removed");
    assert!(matches!(
        Archive::open(CONFIG, files.clone()),
        Err(ArchiveError::Damaged { segment: 2, .. })
    ));
    let other = ArchiveConfig {
        cluster_id: [4; 16],
        ..CONFIG
    };
    assert!(matches!(
        Archive::open(other, files),
        Err(ArchiveError::Damaged { segment: 1, .. })
    ));
}

fn fetch(
    from: &Archive<MemoryFiles>,
    to: &mut Archive<MemoryFiles>,
    refs: Vec<SegmentRef>,
) -> Result<(), ArchiveError> {
    for segment in refs {
        let mut receiver = to.receive(segment.clone())?;
        let mut offset = 0;
        while offset < segment.bytes {
            let bytes = from.read_segment(segment.segment, offset, (segment.bytes - offset).min(100) as usize)?;
            offset += bytes.len() as u64;
            to.receive_bytes(&mut receiver, &bytes)?;
        }
        to.receive_end(receiver)?;
    }
    Ok(())
}

#[test]
fn a_replica_that_was_away_fetches_what_it_misses_and_goes_on() {
    for held in [0, 1, 7, 25, 50] {
        let mut leader = open(MemoryFiles::default());
        fill(&mut leader, 0..50);
        leader.commit(1).expect("synced");
        let announced = leader.manifest();
        // The leader goes on while others fetch what the snapshot named.
        fill(&mut leader, 50..80);
        leader.commit(2).expect("synced");

        let files = MemoryFiles::default();
        let mut follower = open(files.clone());
        fill(&mut follower, 0..held);
        follower.commit(0).expect("synced");
        let missing = follower.missing(&announced).expect("same history");
        assert_eq!(missing.is_empty(), held == 50);
        fetch(&leader, &mut follower, missing).expect("fetched");
        expect_whole(&follower, 50);
        if held % 2 == 0 {
            drop(follower);
            files.crash(|n| n - 1);
            follower = open(files);
            expect_whole(&follower, 50);
        }
        assert!(follower.missing(&announced).expect("same history").is_empty());
        fill(&mut follower, 50..80);
        assert_eq!(follower.manifest(), leader.manifest());
        assert!(
            leader.missing(&announced).expect("same history").is_empty(),
            "it knows what it announced"
        );
    }
}

// The state machine goes on applying what it has while a snapshot is fetched.
#[test]
fn records_appended_while_segments_arrive_are_neither_lost_nor_doubled() {
    for (held, meanwhile) in [(0, 3), (3, 20), (3, 49), (20, 30), (20, 80), (49, 60)] {
        let mut leader = open(MemoryFiles::default());
        fill(&mut leader, 0..50);
        leader.commit(1).expect("synced");
        let announced = leader.manifest();
        let files = MemoryFiles::default();
        let mut follower = open(files.clone());
        fill(&mut follower, 0..held);
        let mut appended = held;
        for segment in follower.missing(&announced).expect("same history") {
            let until = meanwhile.min(appended + 7);
            for number in appended..until {
                follower.append(number, &record(number)).expect("appended");
            }
            appended = until.max(appended);
            fetch(&leader, &mut follower, vec![segment]).expect("fetched");
        }
        let next = follower.next();
        assert!(next >= 50, "{held} {meanwhile}");
        fill(&mut follower, appended..90);
        expect_whole(&follower, 90);
        follower.commit(1).expect("synced");
        drop(follower);
        files.crash(|_| 0);
        expect_whole(&open(files), 90);
    }
}

#[test]
fn a_segment_that_arrives_damaged_or_differs_is_refused() {
    let mut leader = open(MemoryFiles::default());
    fill(&mut leader, 0..50);
    leader.commit(1).expect("synced");
    let first = leader.manifest().swap_remove(0);
    let mut follower = open(MemoryFiles::default());
    for (bytes, flip) in [(first.bytes - 1, false), (first.bytes, true), (first.bytes + 1, false)] {
        let mut receiver = follower.receive(first.clone()).expect("a file");
        let mut content = leader.read_segment(1, 0, first.bytes as usize).expect("readable");
        content.resize(bytes as usize, 0);
        content[30] ^= u8::from(flip);
        let received = follower
            .receive_bytes(&mut receiver, &content)
            .and_then(|()| follower.receive_end(receiver));
        assert!(
            matches!(received, Err(ArchiveError::Received { segment: 1, .. })),
            "{bytes} {flip}"
        );
    }
    let mut other = open(MemoryFiles::default());
    other
        .append(
            0,
            &Record {
                job: None,
                bytes: b"another history".as_slice().into(),
            },
        )
        .expect("appended");
    for number in 1..50 {
        other.append(number, &record(number)).expect("appended");
    }
    assert!(matches!(
        other.missing(&[first]),
        Err(ArchiveError::Damaged { segment: 1, .. })
    ));
}
