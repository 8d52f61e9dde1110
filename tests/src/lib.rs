//! Whole clusters under test: real processes on loopback ([`daemons`]), virtual ones under faults ([`sim`]), and the benchmarks.

mod alone;
pub mod bench;
pub mod client;
pub mod daemons;
pub mod parties;
pub mod replay;
pub mod sim;
