//! Placing work: `filter -> score -> place`, plain functions over the state and a view of free capacity. What is decided
//! comes back as a command and is judged again by apply. No clock, IO, randomness or floats; ties go to the smaller id.

mod lane;
mod need;
mod reason;

pub use need::{DEVICE_MILLI, GpuNeed, accepts_model, choose_devices, price_lines};
pub use reason::{Reason, Verdict};
