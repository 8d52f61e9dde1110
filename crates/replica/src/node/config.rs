//! What a node is told at start. The defaults suit 10-30 ms between cities and a tick of 50 ms.

use std::ops::Range;

/// Settings of one node; all sizes in bytes, all times in ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// This replica's id, from 1 up.
    pub id: u64,
    /// The cluster's id; the transport compares it, the node only shows it.
    pub cluster_id: [u8; 16],
    /// How long a tick should last, in milliseconds; the node itself counts ticks only.
    pub tick_ms: u64,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader before a replica stands, drawn anew each time. The start is also how long a leader without a
    /// quorum stays one.
    pub election_ticks: Range<usize>,
    /// Entries in one append message weigh at most this, but for a single larger one.
    pub message_bytes_max: u64,
    /// Unacknowledged append messages per follower.
    pub inflight_messages_max: usize,
    /// Proposals are dropped while uncommitted entries weigh more than this.
    pub uncommitted_bytes_max: u64,
    /// Committed entries handed out at once.
    pub committed_bytes_max: u64,
    /// One proposal.
    pub entry_bytes_max: usize,
    /// Entries kept in memory for followers, beside those not yet durable.
    pub cache_bytes_max: u64,
    /// Entries kept behind the applied index when the log is compacted, for followers that are a little late.
    pub log_entries_keep: u64,
    /// Past this many entries the log is compacted without regard to late followers; they get a snapshot.
    pub log_entries_max: u64,
    /// Ticks after which a leader takes a snapshot it announced for lost and announces it again.
    pub snapshot_ticks_max: u64,
    /// A bug to plant.
    #[cfg(feature = "planted")]
    pub planted: Planted,
}

impl NodeConfig {
    /// The default settings of replica `id`.
    pub fn new(id: u64, cluster_id: [u8; 16]) -> Self {
        Self {
            id,
            cluster_id,
            tick_ms: 50,
            heartbeat_ticks: 2,
            election_ticks: 20..40,
            message_bytes_max: 1 << 20,
            inflight_messages_max: 96,
            uncommitted_bytes_max: 64 << 20,
            committed_bytes_max: 4 << 20,
            entry_bytes_max: 8 << 20,
            cache_bytes_max: 32 << 20,
            log_entries_keep: 20_000,
            log_entries_max: 200_000,
            snapshot_ticks_max: 1_200,
            #[cfg(feature = "planted")]
            planted: Planted::None,
        }
    }
}

/// Bugs the simulator must be able to find.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    None,
    /// Acknowledgements leave before what they promise is durable.
    AckBeforeSync,
    /// The vote is missing in the hard state written.
    VoteNotSaved,
}
