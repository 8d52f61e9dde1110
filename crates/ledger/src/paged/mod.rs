//! Tables whose pages are shared until written: a clone copies page pointers only, so a snapshot of a million records
//! costs tens of microseconds and the next write to a page copies that page alone. No record type lives here.

mod map;
mod vec;

pub use map::PagedMap;
pub use vec::PagedVec;
