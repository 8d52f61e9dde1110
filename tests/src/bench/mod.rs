//! Benchmarks against real daemon processes on loopback: sync, tokens, money and scheduler on. Beside them the ledger alone.

pub mod crash;
pub mod ledger;
pub mod load;
pub mod pending;
pub mod run;
pub mod stats;
pub mod submit;

use std::time::Duration;

use crate::daemons::{Daemons, Layout};
use crate::parties::{Parties, establish};

/// Starts a cluster with its parties and waits until it takes jobs. Gives the leader's place.
///
/// # Errors
/// When a daemon does not start or a call is refused.
pub async fn ready(layout: Layout) -> anyhow::Result<(Daemons, Parties, usize)> {
    let cluster = Daemons::start(&std::env::current_exe()?, layout)?;
    let leader = cluster.leader(Duration::from_secs(15)).await?;
    let parties = establish(&cluster, leader).await?;
    let leader = cluster.leader(Duration::from_secs(15)).await?;
    Ok((cluster, parties, leader))
}
