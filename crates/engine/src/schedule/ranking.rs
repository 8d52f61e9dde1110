//! Hosts of one site ranked for the tasks asked about lately: a score for each host, kept until the host changes, and the
//! best of each block of hosts. A decision changes one host, so the next one costs a few scores instead of all of them.

use std::collections::HashMap;

use super::hosts::Need;

/// Hosts whose best score is kept together.
const BLOCK: usize = 64;
/// Needs whose rankings are kept; the one not asked about for longest is dropped for a new one.
const NEEDS_MAX: usize = 256;

/// A host that has no room.
pub(crate) const NO_ROOM: u64 = u64::MAX;

/// All rankings of one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rankings {
    /// Hosts that changed, by position, the latest last.
    changes: Vec<u32>,
    /// Changes before these that are no longer kept.
    forgotten: u64,
    /// By position: the number of its last change.
    last_change: Vec<u64>,
    /// Looked up; walked only to find the one used longest ago, and no two were used at once.
    known: HashMap<Need, Entry>,
    asked: u64,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    /// `None` (no GPUs) first, then by model.
    by_model: Vec<Option<Ranking>>,
    used: u64,
}

#[derive(Clone, Debug)]
struct Ranking {
    /// By position; smaller is better.
    scores: Vec<u64>,
    /// The smallest of each block.
    best: Vec<u64>,
    /// Changes up to here are in the scores.
    read: u64,
}

impl Rankings {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            last_change: vec![0; hosts],
            ..Self::default()
        }
    }

    /// A host has more or less free than before.
    pub(crate) fn changed(&mut self, position: usize) {
        // Whoever is behind by as many changes as there are hosts is made anew.
        if self.changes.len() >= self.last_change.len().max(BLOCK) {
            self.forgotten += self.changes.len() as u64;
            self.changes.clear();
        }
        self.changes.push(position as u32);
        self.last_change[position] = self.forgotten + self.changes.len() as u64;
    }

    /// Scores mean something else now.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    /// The host with the smallest (score, position). `score` gives [`NO_ROOM`] for hosts without room; `with_room`
    /// lists every host that may have some, and is asked only where no ranking is kept; hosts that are `alike` score alike, and
    /// such stand beside each other in it.
    pub(crate) fn best<R: Iterator<Item = usize>>(
        &mut self,
        need: &Need,
        model: Option<u16>,
        score: impl Fn(usize) -> u64,
        alike: impl Fn(usize, usize) -> bool,
        with_room: impl FnOnce() -> R,
    ) -> Option<(u64, usize)> {
        self.asked += 1;
        let place = model.map_or(0, |model| usize::from(model) + 1);
        let entry = match self.known.get_mut(need) {
            Some(entry) => entry,
            None => {
                self.make_place();
                self.known.entry(need.clone()).or_default()
            }
        };
        entry.used = self.asked;
        if entry.by_model.len() <= place {
            entry.by_model.resize_with(place + 1, || None);
        }
        let ranking = &mut entry.by_model[place];
        match ranking {
            Some(ranking) if ranking.read >= self.forgotten => {
                let from = (ranking.read - self.forgotten) as usize;
                for (number, position) in (ranking.read + 1..).zip(&self.changes[from..]) {
                    let position = *position as usize;
                    if self.last_change[position] == number {
                        ranking.set(position, score(position));
                    }
                }
                ranking.read = self.forgotten + self.changes.len() as u64;
                ranking.first()
            }
            _ => {
                let read = self.forgotten + self.changes.len() as u64;
                let made = ranking.insert(Ranking::new(self.last_change.len(), read, score, alike, with_room));
                made.first()
            }
        }
    }

    /// The first so many by (score, position), in that order, right after [`Rankings::best`] was asked; fewer where fewer have room.
    pub(crate) fn smallest(&self, need: &Need, model: Option<u16>, count: usize) -> Vec<(u64, usize)> {
        let place = model.map_or(0, |model| usize::from(model) + 1);
        let ranking = self
            .known
            .get(need)
            .and_then(|entry| entry.by_model.get(place)?.as_ref());
        ranking.map_or_else(Vec::new, |ranking| ranking.smallest(count))
    }

    fn make_place(&mut self) {
        if self.known.len() >= NEEDS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used);
            let oldest = oldest.expect("there are as many as there may be").0.clone();
            self.known.remove(&oldest);
        }
    }
}

impl Ranking {
    fn new<R: Iterator<Item = usize>>(
        hosts: usize,
        read: u64,
        score: impl Fn(usize) -> u64,
        alike: impl Fn(usize, usize) -> bool,
        with_room: impl FnOnce() -> R,
    ) -> Self {
        let mut scores = vec![NO_ROOM; hosts];
        let mut last: Option<usize> = None;
        for position in with_room() {
            scores[position] = match last {
                Some(last) if alike(last, position) => scores[last],
                _ => score(position),
            };
            last = Some(position);
        }
        let smallest = |block: &[u64]| block.iter().copied().min().expect("no block is empty");
        let best = scores.chunks(BLOCK).map(smallest).collect();
        Self { scores, best, read }
    }

    fn set(&mut self, position: usize, score: u64) {
        let old = std::mem::replace(&mut self.scores[position], score);
        let block = position / BLOCK;
        if score < self.best[block] {
            self.best[block] = score;
        } else if old == self.best[block] && score > old {
            let hosts = &self.scores[block * BLOCK..];
            self.best[block] = hosts.iter().take(BLOCK).copied().min().expect("no block is empty");
        }
    }

    fn smallest(&self, count: usize) -> Vec<(u64, usize)> {
        let mut blocks: Vec<(u64, usize)> = self.best.iter().copied().zip(0..).collect();
        blocks.sort_unstable();
        let mut found: Vec<(u64, usize)> = Vec::new();
        for (best, block) in blocks {
            let from = block * BLOCK;
            if best == NO_ROOM || (found.len() >= count && found.last().is_some_and(|last| *last < (best, from))) {
                break;
            }
            let scores = self.scores[from..].iter().copied().take(BLOCK).zip(from..);
            found.extend(scores.filter(|(score, _)| *score != NO_ROOM));
            found.sort_unstable();
            found.truncate(count);
        }
        found
    }

    fn first(&self) -> Option<(u64, usize)> {
        let (best, block) = self.best.iter().copied().zip(0..).min()?;
        if best == NO_ROOM {
            return None;
        }
        let hosts = &self.scores[block * BLOCK..];
        let place = hosts.iter().position(|score| *score == best);
        Some((best, block * BLOCK + place.expect("the best of a block is in it")))
    }
}
