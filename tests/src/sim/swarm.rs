//! Which faults a seed has: a random subset, so that rare ones are not drowned by common ones.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::network::LinkFaults;
use super::queue::{Micros, ms};

/// A bug compiled in on purpose, to see whether the simulator finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// The code as shipped.
    #[default]
    None,
    /// Acknowledgements leave before what they promise is durable.
    AckBeforeSync,
    /// The vote is missing in the hard state.
    VoteNotSaved,
    /// After a restart an entry's commands are applied twice.
    ApplyTwice,
    /// The end of an attempt captures and does not release.
    CaptureWithoutRelease,
    /// A report of an older attempt is taken.
    StaleAttemptAccepted,
    /// After a crash a journalled start is started again.
    StartTwiceAfterCrash,
}

/// A random stream of a seed; streams do not disturb each other.
#[must_use]
pub(crate) fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// The faults of one seed. Rates are per minute for the whole cluster; 0 = never.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    /// Links.
    pub(crate) links: LinkFaults,
    /// Replicas that crash and start again.
    pub(crate) crashes_per_minute: u32,
    /// All replicas at once.
    pub(crate) power_cuts_per_minute: u32,
    /// Cuts of links, one way or both.
    pub(crate) cuts_per_minute: u32,
    /// Agents that crash and start again.
    pub(crate) agent_crashes_per_minute: u32,
    /// Leadership handed to somebody.
    pub(crate) transfers_per_minute: u32,
    /// Learners added, promoted, members removed.
    pub(crate) member_changes_per_minute: u32,
    /// Entries between snapshots.
    pub(crate) snapshot_every: u64,
    /// Longest time a sync takes.
    pub(crate) sync_max: Micros,
    /// Wall clocks of the replicas, off by up to so many ms.
    pub(crate) clock_offset_ms_max: i64,
    /// Unsynced writes may be torn or damaged, not only lost: the replica must then notice and refuse.
    pub(crate) torn_writes: bool,
}

impl Swarm {
    /// Draws the faults of a seed.
    #[must_use]
    pub(crate) fn draw(seed: u64) -> Swarm {
        let mut rng = stream(seed, 1);
        let mut some = |rate: u32, chance: u32| if rng.random_range(0..100) < chance { rate } else { 0 };
        let crashes_per_minute = some(12, 70);
        let power_cuts_per_minute = some(2, 30);
        let cuts_per_minute = some(10, 60);
        let agent_crashes_per_minute = some(8, 50);
        let transfers_per_minute = some(12, 30);
        let some_member_changes = some(6, 30);
        let (loss, duplicate, tail) = (some(30, 50), some(30, 50), some(20, 50));
        let reorder = some(1, 30) == 1;
        let torn_writes = some(1, 25) == 1;
        let slow_disk = some(1, 30) == 1;
        let skew = some(1, 40) == 1;
        let wide = some(1, 50) == 1;
        Swarm {
            links: LinkFaults {
                delay_min: if wide { ms(5) } else { 200 },
                delay_max: if wide { ms(30) } else { ms(2) },
                tail_per_mille: tail,
                loss_per_mille: loss,
                duplicate_per_mille: duplicate,
                reorder,
            },
            crashes_per_minute,
            power_cuts_per_minute,
            cuts_per_minute,
            agent_crashes_per_minute,
            transfers_per_minute,
            // A torn store is replaced by a new member.
            member_changes_per_minute: if torn_writes { 20 } else { some_member_changes },
            snapshot_every: if rng.random_range(0..2) == 0 { 50 } else { 400 },
            sync_max: if slow_disk { ms(200) } else { ms(4) },
            clock_offset_ms_max: if skew { 20_000 } else { 200 },
            torn_writes,
        }
    }
}
