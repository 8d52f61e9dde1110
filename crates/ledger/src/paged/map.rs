//! An ordered map in copy-on-write pages: a sorted directory of sorted pages. Meant for keys that are looked up and
//! walked in order; there is no iteration in hash order anywhere.

use std::borrow::Borrow;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

const PAGE: usize = 256;

// Keys stand apart from their values, so that a search in a big map touches as little memory as it can.
#[derive(Clone, Debug)]
struct Page<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

/// An ordered map in pages of up to 256 entries; a clone copies page pointers and one key per page.
#[derive(Clone, Debug)]
pub struct PagedMap<K, V> {
    // The smallest key that each page may hold; the first page takes everything below the second.
    firsts: Vec<K>,
    // Beside them; never empty pages.
    pages: Vec<Arc<Page<K, V>>>,
    len: usize,
}

impl<K, V> Default for PagedMap<K, V> {
    fn default() -> Self {
        Self {
            firsts: Vec::new(),
            pages: Vec::new(),
            len: 0,
        }
    }
}

impl<K, V> Page<K, V> {
    fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.keys.iter().zip(&self.values)
    }

    fn insert(&mut self, slot: usize, key: K, value: V) {
        self.keys.insert(slot, key);
        self.values.insert(slot, value);
    }

    fn split_off(&mut self, slot: usize) -> Self {
        Self {
            keys: self.keys.split_off(slot),
            values: self.values.split_off(slot),
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
        self.pages.iter().flat_map(|page| page.iter())
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
        Some(&self.pages[page].values[slot])
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
        let first = self.firsts.partition_point(before_start).saturating_sub(1);
        let skip = self
            .pages
            .get(first)
            .map_or(0, |page| page.keys.partition_point(before_start));
        self.pages[first..]
            .iter()
            .flat_map(|page| page.iter())
            .skip(skip)
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
        // Ids and times are mostly looked up while they are new.
        match self.firsts.last() {
            Some(last) if last.borrow() <= key => self.firsts.len() - 1,
            _ => {
                let after = self.firsts.partition_point(|first| first.borrow() <= key);
                after.saturating_sub(1)
            }
        }
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(usize, usize)>
    where
        K: Borrow<Q>,
    {
        let page = self.page_of(key);
        let keys = &self.pages.get(page)?.keys;
        let slot = keys.binary_search_by(|found| found.borrow().cmp(key)).ok()?;
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
        Some(&mut Arc::make_mut(&mut self.pages[page]).values[slot])
    }

    /// Puts `value` under `key` and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.pages.is_empty() {
            self.append_page(key, value);
            return None;
        }
        let (mut index, last) = (self.page_of(&key), self.pages.len() - 1);
        let page = &mut self.pages[index];
        let mut slot = match page.keys.binary_search(&key) {
            Ok(slot) => return Some(std::mem::replace(&mut Arc::make_mut(page).values[slot], value)),
            Err(slot) => slot,
        };
        if page.keys.len() == PAGE {
            // Ascending keys (ids, times) fill their pages: only an insert in the middle splits in halves.
            if slot == PAGE && index == last {
                self.append_page(key, value);
                return None;
            }
            let cut = PAGE / 2;
            let upper = Arc::make_mut(page).split_off(cut);
            self.firsts.insert(index + 1, upper.keys[0].clone());
            self.pages.insert(index + 1, Arc::new(upper));
            if slot > cut {
                (index, slot) = (index + 1, slot - cut);
            }
        }
        if key < self.firsts[index] {
            self.firsts[index] = key.clone();
        }
        Arc::make_mut(&mut self.pages[index]).insert(slot, key, value);
        self.len += 1;
        None
    }

    /// Takes the entry under `key` out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (index, slot) = self.find(key)?;
        let page = Arc::make_mut(&mut self.pages[index]);
        page.keys.remove(slot);
        let value = page.values.remove(slot);
        let left = page.keys.len();
        self.len -= 1;
        if left == 0 {
            self.firsts.remove(index);
            self.pages.remove(index);
        } else if left <= PAGE / 4 {
            self.merge_with_neighbour(index);
        }
        Some(value)
    }

    fn append_page(&mut self, key: K, value: V) {
        self.firsts.push(key.clone());
        self.pages.push(Arc::new(Page {
            keys: vec![key],
            values: vec![value],
        }));
        self.len += 1;
    }

    // Keeps pages at least about half full on average, so that a map that shrinks gives its memory back.
    fn merge_with_neighbour(&mut self, index: usize) {
        let lower = if index + 1 < self.pages.len() {
            index
        } else {
            index.saturating_sub(1)
        };
        let upper = lower + 1;
        if upper >= self.pages.len() {
            return;
        }
        if self.pages[lower].keys.len() + self.pages[upper].keys.len() <= PAGE * 3 / 4 {
            self.firsts.remove(upper);
            let Page { keys, values } = Arc::unwrap_or_clone(self.pages.remove(upper));
            let lower = Arc::make_mut(&mut self.pages[lower]);
            lower.keys.extend(keys);
            lower.values.extend(values);
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
        assert_eq!(map.pages.len(), 10_000usize.div_ceil(PAGE));
        for key in 0..9_990u64 {
            map.remove(&key);
        }
        assert_eq!((map.len(), map.pages.len()), (10, 1));
    }
}
