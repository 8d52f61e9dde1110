//! replica
pub mod node;
pub mod store;
pub mod wire;
pub mod archive;
pub mod files;
