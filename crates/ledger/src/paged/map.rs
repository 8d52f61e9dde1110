//! An ordered map in copy-on-write pages: a sorted directory of sorted pages. Meant for keys that are looked up and
//! walked in order; there is no iteration in hash order anywhere.

use std::borrow::Borrow;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

const PAGE: usize = 256;

type Entries<K, V> = Vec<(K, V)>;

/// An ordered map in pages of up to 256 entries; a clone copies page pointers and one key per page.
#[derive(Clone, Debug)]
pub struct PagedMap<K, V> {
    // The smallest key a page may hold, beside the page; the first page takes everything below the second. Never empty pages.
    directory: Vec<(K, Arc<Entries<K, V>>)>,
    len: usize,
}

impl<K, V> Default for PagedMap<K, V> {
    fn default() -> Self {
        Self {
            directory: Vec::new(),
            len: 0,
        }
    }
}

impl<K, V> PagedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries are present.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry is present.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries in order of key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.directory
            .iter()
            .flat_map(|(_, page)| page.iter().map(|(key, value)| (key, value)))
    }

    /// The entry with the smallest key.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The entry with the largest key.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }
}

impl<K: Ord, V> PagedMap<K, V> {
    /// The value under `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (page, slot) = self.find(key)?;
        Some(&self.directory[page].1[slot].1)
    }

    /// Whether `key` is present.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_some()
    }

    /// Entries whose keys lie in `range`, in order of key.
    pub fn range<R: RangeBounds<K>>(&self, range: R) -> impl Iterator<Item = (&K, &V)> {
        let before_start = |key: &K| match range.start_bound() {
            Bound::Included(start) => key < start,
            Bound::Excluded(start) => key <= start,
            Bound::Unbounded => false,
        };
        let first = self
            .directory
            .partition_point(|(key, _)| before_start(key))
            .saturating_sub(1);
        let skip = self
            .directory
            .get(first)
            .map_or(0, |(_, page)| page.partition_point(|(key, _)| before_start(key)));
        self.directory[first..]
            .iter()
            .flat_map(|(_, page)| page.iter())
            .skip(skip)
            .map(|(key, value)| (key, value))
            .take_while(move |(key, _)| match range.end_bound() {
                Bound::Included(end) => *key <= end,
                Bound::Excluded(end) => *key < end,
                Bound::Unbounded => true,
            })
    }

    fn page_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.directory
            .partition_point(|(first, _)| first.borrow() <= key)
            .saturating_sub(1)
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(usize, usize)>
    where
        K: Borrow<Q>,
    {
        let page = self.page_of(key);
        let slot = self
            .directory
            .get(page)?
            .1
            .binary_search_by(|(found, _)| found.borrow().cmp(key))
            .ok()?;
        Some((page, slot))
    }
}

impl<K: Ord + Clone, V: Clone> PagedMap<K, V> {
    /// The value under `key` for writing; copies its page first when a clone of the map still shares it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (page, slot) = self.find(key)?;
        Some(&mut Arc::make_mut(&mut self.directory[page].1)[slot].1)
    }

    /// Puts `value` under `key` and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.directory.is_empty() {
            self.directory.push((key.clone(), Arc::new(vec![(key, value)])));
            self.len = 1;
            return None;
        }
        let mut index = self.page_of(&key);
        let mut slot = match self.directory[index].1.binary_search_by(|(found, _)| found.cmp(&key)) {
            Ok(slot) => {
                let entries = Arc::make_mut(&mut self.directory[index].1);
                return Some(std::mem::replace(&mut entries[slot].1, value));
            }
            Err(slot) => slot,
        };
        if self.directory[index].1.len() == PAGE {
            // Ascending keys (ids, times) fill their pages: only an insert in the middle splits in halves.
            let cut = if slot == PAGE && index + 1 == self.directory.len() {
                PAGE
            } else {
                PAGE / 2
            };
            if cut == PAGE {
                self.directory.push((key.clone(), Arc::new(Vec::new())));
                (index, slot) = (index + 1, 0);
            } else {
                let upper = Arc::make_mut(&mut self.directory[index].1).split_off(cut);
                self.directory.insert(index + 1, (upper[0].0.clone(), Arc::new(upper)));
                if slot > cut {
                    (index, slot) = (index + 1, slot - cut);
                }
            }
        }
        if key < self.directory[index].0 {
            self.directory[index].0 = key.clone();
        }
        Arc::make_mut(&mut self.directory[index].1).insert(slot, (key, value));
        self.len += 1;
        None
    }

    /// Takes the entry under `key` out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (index, slot) = self.find(key)?;
        let (_, value) = Arc::make_mut(&mut self.directory[index].1).remove(slot);
        self.len -= 1;
        if self.directory[index].1.is_empty() {
            self.directory.remove(index);
        } else if self.directory[index].1.len() <= PAGE / 4 {
            self.merge_with_neighbour(index);
        }
        Some(value)
    }

    // Keeps pages at least about half full on average, so that a map that shrinks gives its memory back.
    fn merge_with_neighbour(&mut self, index: usize) {
        let lower = if index + 1 < self.directory.len() {
            index
        } else {
            index.saturating_sub(1)
        };
        let upper = lower + 1;
        if upper >= self.directory.len() {
            return;
        }
        if self.directory[lower].1.len() + self.directory[upper].1.len() <= PAGE * 3 / 4 {
            let (_, entries) = self.directory.remove(upper);
            Arc::make_mut(&mut self.directory[lower].1).extend(Arc::unwrap_or_clone(entries));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_as_a_btree_map_and_clones_are_frozen(
            steps in proptest::collection::vec((0u8..4, 0u16..600, any::<u8>()), 1..3000),
            from in 0u16..600,
            to in 0u16..600,
        ) {
            let mut map = PagedMap::new();
            let mut model = BTreeMap::new();
            let mut frozen = None;
            for (n, (what, key, value)) in steps.into_iter().enumerate() {
                match what {
                    0 | 1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    2 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    _ => {
                        if let Some(found) = map.get_mut(&key) {
                            *found = value;
                        }
                        if let Some(found) = model.get_mut(&key) {
                            *found = value;
                        }
                    }
                }
                if n == 500 {
                    frozen = Some((map.clone(), model.clone()));
                }
            }
            for (map, model) in [Some((map, model)), frozen].into_iter().flatten() {
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.first(), model.first_key_value());
                prop_assert_eq!(map.last(), model.last_key_value());
                let (from, to) = (from.min(to), from.max(to));
                prop_assert!(map.range(from..to).eq(model.range(from..to)));
                prop_assert!(map.range(from..=to).eq(model.range(from..=to)));
                prop_assert!(map.range(..to).eq(model.range(..to)));
            }
        }
    }

    #[test]
    fn ascending_keys_fill_their_pages() {
        let mut map = PagedMap::new();
        for key in 0..10_000u64 {
            map.insert(key, ());
        }
        assert_eq!(map.directory.len(), 10_000usize.div_ceil(PAGE));
        for key in 0..9_990u64 {
            map.remove(&key);
        }
        assert_eq!((map.len(), map.directory.len()), (10, 1));
    }
}
