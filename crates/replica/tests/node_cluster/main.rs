//! Nodes together: elections, replication, membership, snapshots, crashes.

mod crashes;
mod elections;
mod harness;
mod membership;
mod random;
mod refusals;
mod snapshots;
