//! The links between replicas and between agents and replicas: delay with a tail, loss, duplication, reordering, cuts
//! (one way too). Each seed turns on a random subset.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::queue::{Micros, ms};

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Peer {
    /// A replica by its id.
    Replica(u64),
    /// A site's agent by the site's place in the scenario.
    Agent(usize),
}

/// How the links of one seed behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkFaults {
    /// Shortest delay.
    pub(crate) delay_min: Micros,
    /// Longest ordinary delay.
    pub(crate) delay_max: Micros,
    /// Per mille of messages that take ten times as long.
    pub(crate) tail_per_mille: u32,
    /// Per mille of replica messages lost.
    pub(crate) loss_per_mille: u32,
    /// Per mille of replica messages that arrive twice.
    pub(crate) duplicate_per_mille: u32,
    /// Messages of one link may overtake each other.
    pub(crate) reorder: bool,
}

/// State of the network.
pub(crate) struct Network {
    rng: ChaCha8Rng,
    faults: LinkFaults,
    /// Directed links that are cut.
    cut: BTreeMap<(Peer, Peer), ()>,
    /// When the last message of a directed link arrives, to keep its order.
    last_arrival: BTreeMap<(Peer, Peer), Micros>,
    quiet: bool,
}

impl Network {
    /// A network for one seed.
    #[must_use]
    pub(crate) fn new(rng: ChaCha8Rng, faults: LinkFaults) -> Network {
        Network {
            rng,
            faults,
            cut: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            quiet: false,
        }
    }

    /// Cuts one direction.
    pub(crate) fn cut(&mut self, from: Peer, to: Peer) {
        self.cut.insert((from, to), ());
    }

    /// Mends every link; delays stay.
    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    /// No loss or duplication from here on: the heal phase.
    pub(crate) fn calm(&mut self) {
        self.mend();
        self.quiet = true;
    }

    /// Whether a message would get through now.
    #[must_use]
    pub(crate) fn open(&self, from: Peer, to: Peer) -> bool {
        !self.cut.contains_key(&(from, to))
    }

    /// Delays after which copies of one message arrive: none when it is lost, two when it is doubled.
    /// `reliable` links (an agent's stream is one TCP connection) lose and double nothing and keep their order.
    pub(crate) fn delays(&mut self, from: Peer, to: Peer, now: Micros, reliable: bool) -> Vec<Micros> {
        if !self.open(from, to) {
            return Vec::new();
        }
        let mut copies = 1;
        if !reliable && !self.quiet {
            let draw = self.rng.random_range(0..1000);
            if draw < self.faults.loss_per_mille {
                return Vec::new();
            }
            if draw >= 1000 - self.faults.duplicate_per_mille {
                copies = 2;
            }
        }
        (0..copies).map(|_| self.one_delay(from, to, now, reliable)).collect()
    }

    fn one_delay(&mut self, from: Peer, to: Peer, now: Micros, reliable: bool) -> Micros {
        let mut delay = self.rng.random_range(self.faults.delay_min..=self.faults.delay_max);
        if self.rng.random_range(0..1000) < self.faults.tail_per_mille {
            delay = (delay * 10).min(ms(2_000));
        }
        if self.faults.reorder && !reliable {
            return delay;
        }
        let last = self.last_arrival.entry((from, to)).or_default();
        let arrival = (now + delay).max(*last);
        *last = arrival;
        arrival - now
    }
}
