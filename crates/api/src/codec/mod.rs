//! Bytes of the log and back: commands, and the entries that carry bundles of them.

mod command;
mod entry;

pub use command::{
    decode_command, encode_add_member, encode_command, encode_decisions, encode_reclaims, encode_set_level,
    encode_site_lost, encode_submit, encode_tick,
};
pub use entry::{EntryError, decode_entry, encode_entry};
