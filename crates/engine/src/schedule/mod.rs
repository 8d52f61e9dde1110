//! Placing work: `filter -> score -> place`, plain functions over the state and a view of free capacity. What is decided
//! comes back as a command and is judged again by apply. No clock, IO, randomness or floats; ties go to the smaller id.
//!
//! - [`allowed`], [`open`], `filter::ever_fits`, `filter::capacity`, [`price()`]: one question each, with a [`Reason`] for no;
//! - `price::offers`: where a class may go, cheapest for its payer first (score);
//! - `view::SiteView::find`: the host where it strands least, by the mix of requests seen so far (place);
//! - `objective`: whether a cheaper site is waited for;
//! - [`Planner`]: the leader's queues over these, looked at only where something changed;
//! - [`quote()`], [`explain()`]: the same questions, asked by users;
//! - `fair`, [`shares`]: whose turn it is among orgs;
//! - [`time`]: who waits for whom, what is free when, how long work will run.

mod class;
mod ends;
mod explain;
mod fair;
mod filter;
mod flight;
mod forecast;
mod gang;
mod hosts;
mod lane;
mod learn;
mod lending;
mod loss;
mod mix;
mod need;
mod objective;
mod parked;
mod planner;
mod price;
mod promises;
mod queues;
mod quote;
mod ranking;
mod reason;
mod reclaim;
mod regain;
mod share;
pub mod time;
mod together;
mod turns;
mod victims;
mod view;
mod worth;

pub use explain::{Explanation, SiteExplanation, explain};
pub use filter::{allowed, ever_fits, models_ever, open};
pub use forecast::{Accuracy, Expected};
pub use lending::refused_by_owner;
pub use need::{DEVICE_MILLI, GpuNeed, accepts_model, choose_devices, price_lines};
pub use planner::Planner;
pub(crate) use price::COPAY_OVER_QUOTED;
pub use price::price;
pub(crate) use quote::feasible_at;
pub use quote::{SiteQuote, quote};
pub use reason::{Reason, Verdict};
pub use share::{Share, shares};
pub use victims::Room;

#[cfg(test)]
mod tests;
