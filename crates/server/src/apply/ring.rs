//! Recent changes of jobs, for watchers to go on from: bounded, and the same on every replica because a change is named by its
//! entry's index and its position in the entry.

use std::collections::VecDeque;

use hesuan_engine::types::JobId;

/// Changes kept.
const KEEP: usize = 65_536;

/// The place of a change: index of the entry, position in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) position: u32,
}

/// What follows a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// The jobs that changed, each once, with the place of its last change and in that order; and the place up to which this
    /// looked.
    Jobs(Vec<(JobId, Place)>, Place),
    /// The place is older than what is kept: list again.
    Forgotten,
}

/// The changes.
pub(crate) struct Ring {
    changes: VecDeque<(Place, JobId)>,
    /// Everything after this place is kept.
    from: Place,
    head: Place,
}

impl Ring {
    /// Knows nothing of what came up to `index`.
    pub(crate) fn after(index: u64) -> Ring {
        let from = Place {
            index,
            position: u32::MAX,
        };
        Ring {
            changes: VecDeque::new(),
            from,
            head: from,
        }
    }

    /// A change, in order.
    pub(crate) fn push(&mut self, place: Place, job: JobId) {
        if self.changes.len() == KEEP
            && let Some((oldest, _)) = self.changes.pop_front()
        {
            self.from = oldest;
        }
        self.changes.push_back((place, job));
        self.head = place;
    }

    /// The place of the last change.
    pub(crate) fn head(&self) -> Place {
        self.head
    }

    /// At most `max` changes after `place`.
    pub(crate) fn since(&self, place: Place, max: usize) -> Since {
        if place < self.from {
            return Since::Forgotten;
        }
        let start = self.changes.partition_point(|(at, _)| *at <= place);
        let mut jobs: Vec<_> = self
            .changes
            .iter()
            .skip(start)
            .take(max)
            .map(|(at, job)| (*job, *at))
            .collect();
        let reached = jobs.last().map_or(place, |(_, at)| *at);
        // Of several changes the last one counts: what is shown is the job as it is.
        let mut seen = std::collections::HashSet::new();
        jobs.reverse();
        jobs.retain(|(job, _)| seen.insert(*job));
        jobs.reverse();
        Since::Jobs(jobs, reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: u64, position: u32) -> Place {
        Place { index, position }
    }

    #[test]
    fn a_watcher_goes_on_where_it_was_or_is_told_to_list_again() {
        let mut ring = Ring::after(10);
        ring.push(place(11, 0), JobId(1));
        ring.push(place(11, 1), JobId(2));
        ring.push(place(12, 0), JobId(1));
        assert_eq!(
            ring.since(place(10, u32::MAX), 10),
            Since::Jobs(vec![(JobId(2), place(11, 1)), (JobId(1), place(12, 0))], place(12, 0))
        );
        assert_eq!(
            ring.since(place(11, 0), 1),
            Since::Jobs(vec![(JobId(2), place(11, 1))], place(11, 1))
        );
        assert_eq!(ring.since(place(12, 0), 10), Since::Jobs(vec![], place(12, 0)));
        assert_eq!(ring.since(place(10, 3), 10), Since::Forgotten);
        for index in 0..KEEP as u64 {
            ring.push(place(20 + index, 0), JobId(7));
        }
        assert_eq!(ring.since(place(11, 1), 10), Since::Forgotten);
        assert_eq!(
            ring.since(place(12, 0), 1),
            Since::Jobs(vec![(JobId(7), place(20, 0))], place(20, 0))
        );
    }
}
