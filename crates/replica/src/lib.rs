//! replica
pub mod node;
pub mod store;
pub mod wire;
