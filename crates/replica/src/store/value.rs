//! Values with a checksum over key and content, none longer than sled keeps in a leaf without a blob file.

use super::StoreError;

/// No value is longer.
pub(super) const VALUE_BYTES_MAX: usize = 32 << 10;

/// One change of one key; `None` removes it.
pub(super) type KeyOp = (Vec<u8>, Option<Vec<u8>>);

pub(super) fn put(key: Vec<u8>, content: &[u8], ops: &mut Vec<KeyOp>) {
    let value = [&checksum(&key, content).to_le_bytes(), content].concat();
    assert!(
        value.len() <= VALUE_BYTES_MAX,
        "a value of {} bytes would become a blob file",
        value.len()
    );
    ops.push((key, Some(value)));
}

pub(super) fn checksum(key: &[u8], content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), content)
}

pub(super) fn checked<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    match value.split_first_chunk::<4>() {
        Some((sum, content)) if u32::from_le_bytes(*sum) == checksum(key, content) => Ok(content),
        _ => damaged(format!("the checksum of key {key:02x?} is wrong")),
    }
}

pub(super) fn decode<M: prost::Message + Default>(what: &str, content: &[u8]) -> Result<M, StoreError> {
    M::decode(content).map_err(|error| StoreError::Damaged(format!("{what}: {error}")))
}

pub(super) fn damaged<T>(what: String) -> Result<T, StoreError> {
    Err(StoreError::Damaged(what))
}
