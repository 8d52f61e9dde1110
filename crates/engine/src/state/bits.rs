//! A set of tasks of one array: a bit for each, so that it is small to copy and its elements come in order.

/// Which of the tasks 0 to `len - 1` are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Box<[u64]>,
    count: u32,
}

impl Bits {
    /// All of them.
    pub(super) fn all(len: u32) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64) as usize];
        if let (Some(last), over @ 1..) = (words.last_mut(), len % 64) {
            *last = (1 << over) - 1;
        }
        Self {
            words: words.into(),
            count: len,
        }
    }

    /// What [`Bits::bytes`] gave of tasks below `len`; `None` for anything else.
    pub(super) fn read(bytes: &[u8], len: u32) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Box<[u64]> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let count = words.iter().map(|word| word.count_ones()).sum();
        let read = Self { words, count };
        let fits = rest.is_empty() && read.words.len() == len.div_ceil(64) as usize;
        (fits && read.from(0).all(|task| task < len)).then_some(read)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// How many are in it.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn has(&self, task: u32) -> bool {
        let word = self.words.get(task as usize / 64);
        word.is_some_and(|word| word >> (task % 64) & 1 == 1)
    }

    /// Takes it out; whether it was in.
    pub(super) fn take(&mut self, task: u32) -> bool {
        let was_in = self.has(task);
        if was_in {
            self.words[task as usize / 64] &= !(1 << (task % 64));
            self.count -= 1;
        }
        was_in
    }

    /// Those from `from` on, in order.
    pub(super) fn from(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        let first = from as usize / 64;
        let words = self.words.iter().enumerate().skip(first);
        words.flat_map(move |(place, word)| {
            let mut rest = if place == first {
                word >> (from % 64) << (from % 64)
            } else {
                *word
            };
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(place as u32 * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_set_holds() {
        for len in [1, 63, 64, 65, 200] {
            let mut bits = Bits::all(len);
            let mut set: std::collections::BTreeSet<u32> = (0..len).collect();
            for task in (0..len + 3).filter(|task| task % 3 == 0 || *task == len / 2) {
                assert_eq!(bits.take(task), set.remove(&task), "{task} of {len}");
                assert!(!bits.take(task));
            }
            assert_eq!(bits.count() as usize, set.len());
            for from in 0..len + 2 {
                assert!(bits.from(from).eq(set.range(from..).copied()), "from {from} of {len}");
                assert_eq!(bits.has(from), set.contains(&from));
            }
            assert_eq!(Bits::read(&bits.bytes(), len).as_ref(), Some(&bits));
            assert_eq!(Bits::read(&bits.bytes(), len + 64), None);
            assert_eq!(Bits::read(&bits.bytes()[1..], len), None);
        }
        assert_eq!(Bits::read(&[0xff; 8], 63), None, "a task that there is not");
    }
}
