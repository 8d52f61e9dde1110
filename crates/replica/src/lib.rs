//! replica
pub mod node;
pub mod store;
pub mod wire;
pub mod archive;
pub mod files;
pub mod bundler;
pub mod clock;
pub mod snapshot;
mod frame;
