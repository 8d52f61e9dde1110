//! How archive and snapshot files are cut into checked pieces: length (u32), crc32c (u32), kind (one byte), body, little-endian.

/// Bytes before the kind.
pub(crate) const HEAD: usize = 8;

/// Appends a frame whose body is `parts`, one after the other.
pub(crate) fn push(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let bytes: usize = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend_from_slice(&u32::try_from(bytes).expect("bodies are far below 4 GiB").to_le_bytes());
    let crc_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    let crc = crc32c::crc32c(&out[crc_at + 4..]);
    out[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Length of kind and body of the frame at `at`, if its head is there.
pub(crate) fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..at + HEAD)?.first_chunk()?;
    Some(u32::from_le_bytes(*length) as usize)
}

/// Kind, body and end of the frame at `at`, if it is whole and true.
pub(crate) fn parse(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let start = at.checked_add(HEAD)?;
    let end = start.checked_add(length(bytes, at)?)?;
    let crc = u32::from_le_bytes(*bytes.get(at + 4..start)?.first_chunk()?);
    let framed = bytes.get(start..end)?;
    let (kind, body) = framed.split_first()?;
    (crc32c::crc32c(framed) == crc).then_some((*kind, body, end))
}

/// The number at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
