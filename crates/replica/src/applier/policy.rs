//! When a snapshot is worth its cost: when the log since the last one is both long and heavy.

/// All conditions must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Entries since the last one.
    pub entries_min: u64,
    /// Bytes of entries since the last one.
    pub bytes_min: u64,
    /// And as many bytes as the last snapshot had: so that writing snapshots costs at most as much again as writing the log.
    pub outgrow_last: bool,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self {
            entries_min: 10_000,
            bytes_min: 64 << 20,
            outgrow_last: true,
        }
    }
}

impl SnapshotPolicy {
    /// Every so many entries, whatever they weigh: for the simulator.
    #[must_use]
    pub fn every(entries: u64) -> Self {
        Self {
            entries_min: entries,
            bytes_min: 0,
            outgrow_last: false,
        }
    }
}

/// The log since the last snapshot.
#[derive(Debug, Default)]
pub(super) struct SinceSnapshot {
    entries: u64,
    bytes: u64,
    last_bytes: u64,
    /// Frozen and not yet saved: what came since.
    pending: Option<(u64, u64)>,
}

impl SinceSnapshot {
    pub(super) fn of(last_bytes: u64) -> Self {
        Self {
            last_bytes,
            ..Self::default()
        }
    }

    /// One more entry; answers whether a snapshot is due, once.
    pub(super) fn count(&mut self, policy: &SnapshotPolicy, bytes: u64) -> bool {
        let (entries_now, bytes_now) = self
            .pending
            .as_mut()
            .map_or((&mut self.entries, &mut self.bytes), |p| (&mut p.0, &mut p.1));
        *entries_now += 1;
        *bytes_now += bytes;
        let bytes_min = if policy.outgrow_last {
            policy.bytes_min.max(self.last_bytes)
        } else {
            policy.bytes_min
        };
        if self.pending.is_some() || self.entries < policy.entries_min || self.bytes < bytes_min {
            return false;
        }
        self.pending = Some((0, 0));
        true
    }

    pub(super) fn wanted(&mut self) -> bool {
        let free = self.pending.is_none();
        self.pending.get_or_insert((0, 0));
        free
    }

    pub(super) fn saved(&mut self, bytes: u64) {
        let (entries, since) = self.pending.take().unwrap_or_default();
        (self.entries, self.bytes, self.last_bytes) = (entries, since, bytes);
    }

    pub(super) fn failed(&mut self) {
        // What it would have covered counts as waiting from now on, so that a failing disk is not asked after every entry.
        (self.entries, self.bytes) = self.pending.take().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_once_and_again_when_the_log_outgrew_the_last_one() {
        let policy = SnapshotPolicy {
            entries_min: 3,
            bytes_min: 100,
            outgrow_last: true,
        };
        let mut since = SinceSnapshot::default();
        let due = |since: &mut SinceSnapshot, bytes| since.count(&policy, bytes);
        assert_eq!(
            [200, 1, 1, 1].map(|bytes| due(&mut since, bytes)),
            [false, false, true, false]
        );
        since.saved(500);
        assert_eq!(
            [300, 1, 198, 1].map(|bytes| due(&mut since, bytes)),
            [false, false, true, false]
        );
    }

    #[test]
    fn every_fifty_entries_whatever_the_last_one_weighs() {
        let policy = SnapshotPolicy::every(50);
        let mut since = SinceSnapshot::of(1 << 30);
        let mut due = Vec::new();
        for entry in 1..=150 {
            if since.count(&policy, 1) {
                due.push(entry);
                since.saved(1 << 30);
            }
        }
        assert_eq!(due, [50, 100, 150]);
    }

    #[test]
    fn entries_that_came_while_it_was_written_count_for_the_next_and_a_failure_waits_as_long() {
        let policy = SnapshotPolicy::every(2);
        let mut since = SinceSnapshot::default();
        let due = |since: &mut SinceSnapshot| since.count(&policy, 1);
        assert_eq!(
            [due(&mut since), due(&mut since), due(&mut since)],
            [false, true, false]
        );
        since.saved(9);
        assert!(due(&mut since), "one came meanwhile");
        since.failed();
        assert_eq!([due(&mut since), due(&mut since)], [false, true]);
        assert!(!since.wanted(), "one is being written");
        since.saved(9);
        assert!(since.wanted());
    }
}
