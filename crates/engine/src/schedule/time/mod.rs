//! Waiting and passing, over time: what is free when, who is promised room, who may pass without delaying that, and how long work
//! will run. The planner asks these of its hosts; `replay` drives them with traces.
//!
//! - [`Profile`]: free amounts over time; [`Timeline`]: a place, by what runs there;
//! - [`Predictor`]: run times, learned from what has finished;
//! - [`Policy`]: in which order work waits ([`turn()`]) and who may pass;
//! - [`Backlog`]: the three together over one or several places.

mod backlog;
mod lending;
mod policy;
mod predict;
mod profile;
mod timeline;

pub use backlog::{Backlog, Reservation, Start, Work};
pub use policy::{Order, Passing, Patience, Policy, turn};
pub use predict::{Kind, Predictor, longer_ms};
pub use profile::Profile;
pub use timeline::Timeline;

#[cfg(test)]
mod tests;
