//! The replicated state as a value: jobs, attempts, sites, hosts, capacity and money move in [`State::apply`] and nowhere else.
//!
//! Commands go in, a reply and effects come out. No clock, disk, network or randomness lives here; time arrives in the entry.
//! The scheduler ([`schedule`]) is a pure function of a view of the state and time; what it decides comes back as a command.

pub mod command;
mod held;
mod instant;
pub mod outcome;
pub mod schedule;
pub mod state;
pub mod types;
