//! Traces driven through the scheduler in virtual time: one module a subcommand of the binary `replay`.

pub mod drive;
pub mod figures;
pub mod lines;
pub mod pool;
pub mod swf;
