//! Owns the state and applies committed entries to it, in order, each once. What must not live here: a clock, a file, a thread;
//! anything that another replica might see differently. Apply logs nothing.
//!
//! Should a broken invariant ever stop every replica at one entry, the way out is a release that names this index as
//! quarantined: `apply` then ends that entry without running its commands, on every replica that runs the release, and none may run
//! an older one from there on, which a raised level in the next entry ensures.

mod frozen;
mod policy;

pub use frozen::FrozenSnapshot;
pub use policy::SnapshotPolicy;

use hesuan_api::codec::{EntryError, decode_command, decode_entry};
use hesuan_engine::command::Command;
use hesuan_engine::outcome::{ArchiveRecord, Effect, Outcome, Rejection};
use hesuan_engine::state::{LEVEL, State};
use hesuan_engine::types::Timestamp;

use crate::archive::Record;
use crate::files::Files;
use crate::node::ConfChanged;
use crate::snapshot::{SnapshotError, SnapshotHeader, SnapshotStore, Stored};
use crate::store::LogPosition;
use crate::wire::{ConfState, EntryKind, LogEntry};
use policy::SinceSnapshot;

/// How an [`Applier`] works.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApplierConfig {
    /// When a snapshot is due.
    pub snapshot: SnapshotPolicy,
    /// A fault the simulator must find.
    #[cfg(feature = "planted")]
    pub planted: Planted,
    /// One in the state itself; it survives restarts and installed snapshots.
    #[cfg(feature = "planted")]
    pub planted_in_state: hesuan_engine::state::Planted,
}

/// Faults for the simulator's bite test.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    None,
    /// After a restart from a snapshot the first entry's commands are applied twice.
    ApplyTwice,
}

/// An outcome, for the replica that took the command.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Replica that took it; 0 = the leader's own planning.
    pub origin: u64,
    /// Unique at the origin.
    pub ticket: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What applying one entry gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its time; never decreases.
    pub at: Timestamp,
    /// In the order of the bundle, for every origin.
    pub replies: Vec<Answer>,
    /// In the order of the changes; what goes to the archive is taken out.
    pub effects: Vec<Effect>,
    /// Numbered records for [`crate::archive::Archive::append`]; all that earlier entries gave come before these.
    pub archive: Vec<(u64, Record)>,
    /// Freeze now and have the snapshot written; said once until [`Applier::snapshot_saved`] or [`Applier::snapshot_failed`].
    pub snapshot_due: bool,
}

/// Why this replica cannot go on applying. The process must stop: skipping an entry would part it from the others.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The entry is for a newer release, or is no entry.
    #[error("entry {index} of term {term}: {source}")]
    Entry {
        /// The entry.
        index: u64,
        /// Its term.
        term: u64,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The cluster was raised to a level this release does not know.
    #[error(
        "the cluster is at level {level} since entry {index} and this release knows levels up to {LEVEL}: install a newer release"
    )]
    Level {
        /// The entry, or the snapshot's index.
        index: u64,
        /// The cluster's level.
        level: u32,
    },
    /// Entries are missing in between.
    #[error("entry {index} does not follow {applied}: entries are missing")]
    Gap {
        /// The entry offered.
        index: u64,
        /// The last one applied.
        applied: u64,
    },
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshot's state does not decode, or is not the state its header speaks of.
    #[error("the snapshot of index {index} holds no such state: {what}")]
    State {
        /// The snapshot's index.
        index: u64,
        /// What does not fit.
        what: String,
    },
}

/// The state machine of one replica.
pub struct Applier {
    config: ApplierConfig,
    state: State,
    index: u64,
    term: u64,
    conf_state: ConfState,
    since_snapshot: SinceSnapshot,
    #[cfg(feature = "planted")]
    apply_again: bool,
}

impl Applier {
    /// A founder's: the state before the first entry, at the bootstrap snapshot's index 1 and term 1. A replica that joins starts
    /// so too and has it replaced by its first snapshot.
    #[must_use]
    pub fn founding(config: ApplierConfig, mut genesis: State, conf_state: ConfState) -> Self {
        // The bootstrap snapshot stands for entry 1, so that index and state agree from the start.
        genesis.begin_entry(1, genesis.at());
        genesis.end_entry(1);
        Self::at(config, genesis, LogPosition { index: 1, term: 1 }, conf_state, 0)
    }

    /// After a restart: from a snapshot that [`SnapshotStore::latest`] found.
    ///
    /// # Errors
    /// When the snapshot cannot be used.
    pub fn restore<F: Files>(
        config: ApplierConfig,
        store: &SnapshotStore<F>,
        stored: &Stored,
    ) -> Result<Self, ApplyError> {
        let state = read_state(store, stored)?;
        let SnapshotHeader {
            index,
            term,
            ref conf_state,
            ..
        } = stored.header;
        Ok(Self::at(
            config,
            state,
            LogPosition { index, term },
            conf_state.clone(),
            stored.bytes,
        ))
    }

    /// Replaces everything by a snapshot fetched from another replica.
    ///
    /// # Errors
    /// When the snapshot cannot be used; nothing changed then.
    pub fn install<F: Files>(&mut self, store: &SnapshotStore<F>, stored: &Stored) -> Result<(), ApplyError> {
        *self = Self::restore(self.config, store, stored)?;
        Ok(())
    }

    /// Applies a committed entry. `conf` is what the node says became of it, if it is a change of membership. An entry that was
    /// applied before changes nothing and gives nothing.
    ///
    /// # Errors
    /// [`ApplyError`]: the process must stop.
    pub fn apply(&mut self, entry: &LogEntry, conf: Option<&ConfChanged>) -> Result<Applied, ApplyError> {
        let (index, term) = (entry.index, entry.term);
        if index <= self.index {
            return Ok(Applied {
                index: self.index,
                term: self.term,
                at: self.state.at(),
                ..Applied::default()
            });
        }
        if index != self.index + 1 {
            return Err(ApplyError::Gap {
                index,
                applied: self.index,
            });
        }
        let mut applied = Applied {
            index,
            term,
            ..Applied::default()
        };
        if entry.kind == EntryKind::Normal as i32 && !entry.data.is_empty() {
            // Level before body: a bundle of a newer release may decode and mean something else.
            let bundle =
                decode_entry(entry.data.clone(), LEVEL).map_err(|source| ApplyError::Entry { index, term, source })?;
            self.state.begin_entry(index, Timestamp(bundle.at_ms));
            applied.replies.reserve(bundle.items.len());
            for item in &bundle.items {
                let outcome = self.apply_command(&decode_command(&item.command), &mut applied.effects);
                applied.replies.push(Answer {
                    origin: item.origin,
                    ticket: item.ticket,
                    outcome,
                });
            }
            #[cfg(feature = "planted")]
            if std::mem::take(&mut self.apply_again) {
                for item in &bundle.items {
                    self.apply_command(&decode_command(&item.command), &mut applied.effects);
                }
            }
        } else {
            self.state.begin_entry(index, self.state.at());
        }
        self.state.end_entry(index);
        if self.state.level() > LEVEL {
            return Err(ApplyError::Level {
                index,
                level: self.state.level(),
            });
        }
        if let Some(conf) = conf {
            assert_eq!(conf.index, index, "a change of membership comes with its own entry");
            self.conf_state = conf.conf_state.clone();
            applied.effects.push(Effect::MembersChanged);
        }
        (self.index, self.term) = (index, term);
        applied.at = self.state.at();
        applied.archive = take_archive(&mut applied.effects, self.state.archived());
        applied.snapshot_due = self.since_snapshot.count(&self.config.snapshot, entry.weight());
        Ok(applied)
    }

    /// The state, for queries and for the leader.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Index of the last entry applied.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The membership as of this index.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// What a snapshot needs, cheaply: encoding it is for another thread.
    #[must_use]
    pub fn freeze(&self) -> FrozenSnapshot {
        let state = &self.state;
        let header = SnapshotHeader {
            version: crate::snapshot::VERSION,
            cluster_id: state.cluster_id().to_vec(),
            index: self.index,
            term: self.term,
            conf_state: self.conf_state.clone(),
            at_ms: state.at().0,
            outcome_digest: state.outcome_digest().to_vec(),
            archived: state.archived(),
            level: state.level(),
        };
        FrozenSnapshot::new(header, state.freeze())
    }

    /// The snapshot asked for is on disk.
    pub fn snapshot_saved(&mut self, stored: &Stored) {
        self.since_snapshot.saved(stored.bytes);
    }

    /// It could not be made; it is asked for again as the log grows on.
    pub fn snapshot_failed(&mut self) {
        self.since_snapshot.failed();
    }

    /// A snapshot is wanted by a peer: whether to freeze now. Not while another is being written.
    pub fn snapshot_wanted(&mut self) -> bool {
        self.since_snapshot.wanted()
    }

    fn at(config: ApplierConfig, state: State, place: LogPosition, conf_state: ConfState, last_bytes: u64) -> Self {
        #[cfg(feature = "planted")]
        let state = {
            let mut state = state;
            state.set_planted(config.planted_in_state);
            state
        };
        Self {
            config,
            state,
            index: place.index,
            term: place.term,
            conf_state,
            since_snapshot: SinceSnapshot::of(last_bytes),
            #[cfg(feature = "planted")]
            apply_again: config.planted == Planted::ApplyTwice && place.index > 1,
        }
    }

    fn apply_command(&mut self, command: &Result<Command, Rejection>, effects: &mut Vec<Effect>) -> Outcome {
        match command {
            Ok(command) => self.state.apply(self.state.at(), command, effects),
            Err(rejection) => Outcome {
                reply: Err(rejection.clone()),
                repeated: false,
            },
        }
    }
}

fn read_state<F: Files>(store: &SnapshotStore<F>, stored: &Stored) -> Result<State, ApplyError> {
    let header = &stored.header;
    let index = header.index;
    if header.level > LEVEL {
        return Err(ApplyError::Level {
            index,
            level: header.level,
        });
    }
    let state = frozen::decode(store, stored)?;
    let found = (state.applied_index(), state.outcome_digest().to_vec(), state.archived());
    let said = (index, header.outcome_digest.clone(), header.archived);
    if found != said {
        let what = format!("it is at index {} with {} records archived", found.0, found.2);
        return Err(ApplyError::State { index, what });
    }
    Ok(state)
}

/// Moves the records out of the effects and numbers them; `archived` counts those of this entry already.
fn take_archive(effects: &mut Vec<Effect>, archived: u64) -> Vec<(u64, Record)> {
    let mut records = Vec::new();
    effects.retain_mut(|effect| match effect {
        Effect::Archive(ArchiveRecord::Job { job, record }) => {
            records.push(Record {
                job: Some(job.0),
                bytes: std::mem::take(record),
            });
            false
        }
        Effect::Archive(ArchiveRecord::Journal(record)) => {
            records.push(Record {
                job: None,
                bytes: std::mem::take(record),
            });
            false
        }
        _ => true,
    });
    let first = archived
        .checked_sub(records.len() as u64)
        .expect("the state counts every record it gives out");
    (first..).zip(records).collect()
}
