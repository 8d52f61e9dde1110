//! Random batches against a plain list of entries, on the store in memory, which shares keys and chunks with the one on disk.

use hesuan_replica::store::{LoadedLog, LogBatch, LogPosition, LogStore, MemoryLog, StoreError};
use proptest::prelude::*;

use crate::{append, at, entry, founded, run, snapshot};

#[derive(Clone, Debug)]
enum Step {
    /// Entries of the next term or the same, replacing this many at the end, of these sizes.
    Append {
        replace: u64,
        new_term: bool,
        sizes: Vec<usize>,
    },
    /// Our own snapshot this far back from the end, and the log cut off there.
    Compact {
        back: u64,
    },
    /// A snapshot from the leader, this far ahead, entries behind it in the same batch.
    Install {
        ahead: u64,
        entries: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0..100_usize, 2 => 1_000..40_000_usize, 1 => Just(100_000)];
    prop_oneof![
        8 => (0..30_u64, any::<bool>(), prop::collection::vec(size, 1..20))
            .prop_map(|(replace, new_term, sizes)| Step::Append { replace, new_term, sizes }),
        2 => (0..20_u64).prop_map(|back| Step::Compact { back }),
        1 => (1..50_u64, 0..5_u64).prop_map(|(ahead, entries)| Step::Install { ahead, entries }),
        2 => Just(Step::Reopen),
    ]
}

fn check(log: &mut MemoryLog, model: &LoadedLog) {
    let (low, high) = (model.truncated.index + 1, model.last().index + 1);
    assert_eq!(log.entries(low, high, u64::MAX).unwrap(), model.entries);
    if high > low {
        let middle = low + (high - low) / 2;
        let part = log.entries(middle, high, 500).unwrap();
        let whole = &model.entries[(middle - low) as usize..];
        assert_eq!(part, whole[..part.len()]);
        let weight: u64 = part.iter().map(|entry| entry.weight()).sum();
        let next = whole.get(part.len()).map_or(u64::MAX / 2, |entry| entry.weight());
        assert!(part.len() == 1 || weight <= 500, "{weight} for {} entries", part.len());
        assert!(!part.is_empty() && weight + next > 500, "stopped early at {weight}");
    }
    assert!(matches!(log.entries(low - 1, high, 1), Err(StoreError::Missing { .. })));
    assert!(matches!(log.entries(low, high + 1, 1), Err(StoreError::Missing { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_batches_comes_back(steps in prop::collection::vec(step(), 1..40)) {
        let mut log = MemoryLog::new();
        founded(&mut log);
        let mut model = log.load().unwrap();
        for step in steps {
            let mut batch = LogBatch::default();
            let last = model.last();
            match step {
                Step::Append { replace, new_term, sizes } => {
                    let from = (last.index + 1 - replace.min(last.index - model.truncated.index))
                        .max(model.hard_state.commit + 1);
                    model.hard_state.term = model.hard_state.term.max(last.term) + u64::from(new_term);
                    let term = model.hard_state.term;
                    let entries = (from..).zip(&sizes).map(|(index, size)| entry(index, term, vec![index as u8; *size]));
                    batch = append(entries.collect(), term, from - 1);
                    model.entries.retain(|entry| entry.index < from);
                    model.entries.extend(batch.entries.iter().cloned());
                }
                Step::Compact { back } => {
                    let index = last.index.saturating_sub(back).max(model.truncated.index);
                    let found = model.entries.iter().find(|entry| entry.index == index);
                    let position = found.map_or(model.truncated, |entry| at(index, entry.term));
                    batch.snapshot = Some(snapshot(index, position.term));
                    batch.truncate_to = Some(position);
                    batch.hard_state = Some(model.hard_state);
                    batch.hard_state.as_mut().unwrap().commit = model.hard_state.commit.max(index);
                    model.snapshot = batch.snapshot.clone();
                    model.truncated = position;
                    model.entries.retain(|entry| entry.index > index);
                }
                Step::Install { ahead, entries } => {
                    let index = last.index + ahead;
                    let term = model.hard_state.term + 1;
                    batch = append(run(index + 1, index + entries, term), term, index);
                    batch.install_snapshot = Some(snapshot(index, term));
                    model.snapshot = batch.install_snapshot.clone();
                    model.conf = hesuan_replica::store::AppliedConf {
                        applied: index,
                        conf_state: snapshot(index, term).conf_state,
                    };
                    model.truncated = at(index, term);
                    model.entries = batch.entries.clone();
                }
                Step::Reopen => {
                    log.sync().unwrap();
                    log.crash(|_| unreachable!("everything is synced"));
                    prop_assert_eq!(&log.load().unwrap(), &model);
                }
            }
            log.write(&batch).unwrap();
            model.hard_state = batch.hard_state.unwrap_or(model.hard_state);
            check(&mut log, &model);
        }
        prop_assert_eq!(log.load().unwrap(), model);
    }
}

#[test]
fn unsynced_batches_are_kept_lost_torn_or_damaged() {
    let written = || {
        let mut log = MemoryLog::new();
        founded(&mut log);
        log.sync().unwrap();
        log.write(&append(run(2, 9, 1), 1, 1)).unwrap();
        log.write(&append(run(5, 6, 2), 2, 1)).unwrap();
        assert_eq!(log.unsynced_batches(), 2);
        assert_eq!(log.synced_mark().last, at(1, 1));
        log
    };
    let crashed = |fates: &[u64]| {
        let mut log = written();
        let mut fates = fates.iter();
        log.crash(|n| fates.next().copied().unwrap_or(n - 1));
        log.load().map(|loaded| (loaded.last(), loaded.hard_state.term))
    };
    let (kept, lost, torn, damaged) = (0, 1, 2, 3);
    assert_eq!(crashed(&[kept, kept]).unwrap(), (LogPosition { index: 6, term: 2 }, 2));
    assert_eq!(crashed(&[kept, lost]).unwrap(), (at(9, 1), 1));
    assert_eq!(crashed(&[lost]).unwrap(), (at(1, 1), 1));
    assert!(matches!(crashed(&[torn]), Err(StoreError::Damaged(_))));
    assert!(matches!(crashed(&[kept, torn]), Err(StoreError::Damaged(_))));
    assert!(matches!(crashed(&[damaged]), Err(StoreError::Damaged(_))));
}

#[test]
fn a_rotten_bit_anywhere_is_noticed() {
    let mut log = MemoryLog::new();
    founded(&mut log);
    log.write(&append(vec![entry(2, 1, vec![1; 100_000])], 1, 1)).unwrap();
    log.sync().unwrap();
    let mut keys = 0;
    log.rot(|n| {
        keys = n;
        0
    });
    assert!(log.load().is_err());
    log.rot(|_| 0);
    log.load().expect("the bit is back");
    for victim in 0..keys {
        log.rot(|_| victim);
        assert!(matches!(log.load(), Err(StoreError::Damaged(_))), "key {victim}");
        log.rot(|_| victim);
    }
}
