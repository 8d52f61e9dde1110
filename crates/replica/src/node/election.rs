//! Election timeouts from a seed. raft-rs draws its own from the thread's random source whenever it changes role or term; they
//! are overwritten here before anybody can notice, so that a run is a function of its seed.

use raft::{RawNode, StateRole, Storage};

/// The source of a node's election timeouts.
#[derive(Debug)]
pub(super) struct Timeouts {
    seed: u64,
    drawn: u64,
    current: usize,
    seen: (u64, StateRole),
}

impl Timeouts {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            drawn: 0,
            current: 0,
            seen: (u64::MAX, StateRole::Follower),
        }
    }

    /// Call after everything that may have changed term or role.
    pub(super) fn settle<T: Storage>(&mut self, raw: &mut RawNode<T>, ticks: &std::ops::Range<usize>) {
        let seen = (raw.raft.term, raw.raft.state);
        if self.seen != seen {
            self.seen = seen;
            self.drawn += 1;
            let span = (ticks.end - ticks.start) as u64;
            self.current = ticks.start + (mix(self.seed, self.drawn) % span) as usize;
        }
        raw.raft.set_randomized_election_timeout(self.current);
    }
}

/// The `n`th number of the stream of `seed` (SplitMix64).
fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
