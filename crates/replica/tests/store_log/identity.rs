//! What an identity promises, and what it cannot.

use hesuan_replica::store::{Identity, LoadedLog, StoreError, SyncedMark};
use hesuan_replica::wire::HardState;

use crate::{at, run};

fn promised(term: u64, commit: u64, last: (u64, u64)) -> Identity {
    Identity {
        synced: SyncedMark {
            term,
            commit,
            last: at(last.0, last.1),
        },
        ..Identity::new(1, [1; 16], 0)
    }
}

fn held(term: u64, entries: u64) -> LoadedLog {
    LoadedLog {
        hard_state: HardState {
            term,
            ..HardState::default()
        },
        truncated: at(1, 1),
        entries: run(2, entries, 1),
        ..LoadedLog::default()
    }
}

#[test]
fn less_than_promised_is_lost() {
    let lost =
        |identity: Identity, loaded: LoadedLog| matches!(identity.check_promise(&loaded), Err(StoreError::Lost(_)));
    assert!(!lost(promised(3, 50, (60, 3)), held(3, 60)));
    assert!(lost(promised(3, 50, (60, 3)), held(2, 60)), "an older term");
    assert!(
        lost(promised(3, 50, (60, 3)), held(3, 59)),
        "within a term a log only grows"
    );
    assert!(
        lost(promised(3, 50, (60, 3)), held(4, 49)),
        "what was committed cannot go"
    );
    assert!(
        !lost(promised(3, 50, (60, 3)), held(4, 50)),
        "a later leader may replace the rest"
    );
    assert!(
        !lost(promised(3, 50, (60, 2)), held(3, 50)),
        "so may the leader of a term the tail is older than"
    );
}

#[test]
fn it_is_read_as_written() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Identity::read(dir.path()).unwrap(), None);
    let identity = Identity {
        restore_epoch: 2,
        ..promised(3, 50, (60, 3))
    };
    identity.write(dir.path()).unwrap();
    identity.write(dir.path()).unwrap();
    assert_eq!(Identity::read(dir.path()).unwrap(), Some(identity));
}
