//! Replays of recorded work through the production scheduler, in virtual time, beside the policies that it is measured
//! against. A module for each kind of record.

pub mod input;
pub mod openb;
