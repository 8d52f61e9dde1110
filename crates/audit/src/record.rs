//! One journal record as bytes: the protobuf message of an entry, read strictly and written back.
//!
//! Fields: 1 index, 2 time, 3 actor, 4 kind (varints, left out when 0), 5 transfers and 6 facts (packed varints, left out when empty),
//! 7 texts (one field each). There is one way to write a record; any other is refused, so that no two byte strings mean the same.

/// What an entry says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// From 1, without gaps.
    pub index: u64,
    /// Milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Number of the principal; 0 is the cluster.
    pub actor: u64,
    /// What the entry is about.
    pub kind: u64,
    /// What moved.
    pub transfers: Vec<Transfer>,
    /// By kind.
    pub facts: Vec<u64>,
    /// By kind.
    pub texts: Vec<String>,
}

/// An amount that moved between two accounts, given by their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Code of the account that is debited.
    pub debit: u64,
    /// Code of the account that is credited.
    pub credit: u64,
    /// Fen, or what the programme is denominated in.
    pub amount: u64,
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field} {what}")]
pub struct Damage {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

const NAMES: [&str; 8] = ["?", "index", "at_ms", "actor", "kind", "transfers", "facts", "texts"];
const VARINT: u64 = 0;
const BYTES: u64 = 2;

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Record::write`] would give.
    pub fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let mut record = Record::default();
        let mut rest = bytes;
        let mut latest = 0;
        while !rest.is_empty() {
            let key = varint(&mut rest, "?")?;
            let number = key >> 3;
            let field = usize::try_from(number).ok().and_then(|number| NAMES.get(number));
            let field = *field.ok_or(damage("?", "is unknown"))?;
            if number < latest || (number == latest && number < 7) {
                return Err(damage(field, "stands out of order"));
            }
            latest = number;
            match (number, key & 7) {
                (1..=4, VARINT) => {
                    let slot = match number {
                        1 => &mut record.index,
                        2 => &mut record.at_ms,
                        3 => &mut record.actor,
                        _ => &mut record.kind,
                    };
                    *slot = varint(&mut rest, field)?;
                    if *slot == 0 {
                        return Err(damage(field, "is written though it is 0"));
                    }
                }
                (5 | 6, BYTES) => {
                    let numbers = packed(chunk(&mut rest, field)?, field)?;
                    if number == 6 {
                        record.facts = numbers;
                        continue;
                    }
                    let (triples, odd) = numbers.as_chunks::<3>();
                    if !odd.is_empty() {
                        return Err(damage(field, "does not come in threes"));
                    }
                    let transfer = |[debit, credit, amount]: &[u64; 3]| Transfer {
                        debit: *debit,
                        credit: *credit,
                        amount: *amount,
                    };
                    record.transfers = triples.iter().map(transfer).collect();
                }
                (7, BYTES) => {
                    let text = std::str::from_utf8(chunk(&mut rest, field)?);
                    record
                        .texts
                        .push(text.map_err(|_| damage(field, "is not UTF-8"))?.to_owned());
                }
                _ => return Err(damage(field, "has another wire type")),
            }
        }
        Ok(record)
    }

    /// The bytes of the record.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, value) in [(1, self.index), (2, self.at_ms), (3, self.actor), (4, self.kind)] {
            if value > 0 {
                push_varint(&mut bytes, number << 3 | VARINT);
                push_varint(&mut bytes, value);
            }
        }
        let transfers = self
            .transfers
            .iter()
            .flat_map(|one| [one.debit, one.credit, one.amount]);
        push_packed(&mut bytes, 5, transfers);
        push_packed(&mut bytes, 6, self.facts.iter().copied());
        for text in &self.texts {
            push_chunk(&mut bytes, 7, text.as_bytes());
        }
        bytes
    }
}

fn damage(field: &'static str, what: &'static str) -> Damage {
    Damage { field, what }
}

fn varint(rest: &mut &[u8], field: &'static str) -> Result<u64, Damage> {
    let mut value = 0u64;
    for place in 0..10 {
        let (byte, after) = rest.split_first().ok_or(damage(field, "ends in the middle"))?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return Err(damage(field, "is larger than 64 bits"));
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            if *byte == 0 && place > 0 {
                return Err(damage(field, "is a number with a needless byte"));
            }
            return Ok(value);
        }
    }
    Err(damage(field, "is larger than 64 bits"))
}

fn chunk<'a>(rest: &mut &'a [u8], field: &'static str) -> Result<&'a [u8], Damage> {
    let length = usize::try_from(varint(rest, field)?).map_err(|_| damage(field, "ends in the middle"))?;
    let (chunk, after) = rest
        .split_at_checked(length)
        .ok_or(damage(field, "ends in the middle"))?;
    *rest = after;
    Ok(chunk)
}

fn packed(mut chunk: &[u8], field: &'static str) -> Result<Vec<u64>, Damage> {
    if chunk.is_empty() {
        return Err(damage(field, "is written though it is empty"));
    }
    let mut numbers = Vec::with_capacity(chunk.len());
    while !chunk.is_empty() {
        numbers.push(varint(&mut chunk, field)?);
    }
    Ok(numbers)
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn push_chunk(bytes: &mut Vec<u8>, number: u64, chunk: &[u8]) {
    push_varint(bytes, number << 3 | BYTES);
    push_varint(bytes, chunk.len() as u64);
    bytes.extend_from_slice(chunk);
}

fn push_packed(bytes: &mut Vec<u8>, number: u64, numbers: impl Iterator<Item = u64>) {
    let mut chunk = Vec::new();
    for value in numbers {
        push_varint(&mut chunk, value);
    }
    if !chunk.is_empty() {
        push_chunk(bytes, number, &chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Record {
        Record {
            index: 300,
            at_ms: 1_767_196_800_000,
            actor: 0,
            kind: 2,
            transfers: vec![Transfer {
                debit: 0,
                credit: 24,
                amount: 1_000_000,
            }],
            facts: vec![1, u64::MAX],
            texts: vec!["invoice 7".into(), String::new()],
        }
    }

    #[test]
    fn a_record_reads_back_and_has_one_spelling() {
        let bytes = sample().write();
        assert_eq!(Record::read(&bytes), Ok(sample()));
        assert_eq!(
            bytes[..3],
            [0x08, 0xac, 0x02],
            "field 1, 300, as protobuf has written it since 2008"
        );
        let needless = [&[0x08, 0xac, 0x82, 0x00][..], &bytes[3..]].concat();
        assert_eq!(
            Record::read(&needless),
            Err(damage("index", "is a number with a needless byte"))
        );
        let unknown = [&bytes[..], &[0x40, 0x01]].concat();
        assert_eq!(Record::read(&unknown), Err(damage("?", "is unknown")));
        let twice = [&[0x08, 0x01], &bytes[..]].concat();
        assert_eq!(Record::read(&twice), Err(damage("index", "stands out of order")));
        assert!(Record::read(&bytes[..bytes.len() - 3]).is_err());
    }

    proptest! {
        #[test]
        fn bytes_that_read_are_the_bytes_that_are_written(mut bytes in Just(sample().write()), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            if let Ok(record) = Record::read(&bytes) {
                prop_assert_eq!(record.write(), bytes);
            }
        }
    }
}
