//! A table under dense ids that are never reused. Removing leaves a hole; a page without records is given back, so the
//! table stays as big as what is in it, however far the ids have gone.

use std::collections::VecDeque;
use std::sync::Arc;

const PAGE: u64 = 128;

// The count stands in the directory and the slots right behind their `Arc`: of a record that is not cached nothing else is waited for.
#[derive(Clone, Debug)]
struct Page<T> {
    live: u32,
    slots: Arc<[Option<T>]>,
}

/// Records under ids 0, 1, 2, … in copy-on-write pages of 128. Ids only grow, `push` and `insert` never reuse one; `put` is for tables of what
/// has its id from elsewhere.
#[derive(Clone, Debug)]
pub struct PagedVec<T> {
    // Pages of ids below `first_page * PAGE` have been given back for good.
    first_page: u64,
    pages: VecDeque<Option<Page<T>>>,
    // Of the first record; meaningless in an empty table. Kept, because what is first in, first out would be searched for each time.
    first_id: u64,
    next_id: u64,
    len: usize,
}

impl<T> Default for PagedVec<T> {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl<T> PagedVec<T> {
    /// An empty table whose first id is 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table whose first id is `first_id`.
    pub fn starting_at(first_id: u64) -> Self {
        Self {
            first_page: first_id / PAGE,
            pages: VecDeque::new(),
            first_id,
            next_id: first_id,
            len: 0,
        }
    }

    /// How many records are present.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no record is present.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id the next `push` gives.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Lets the ids below `id` go unused; does nothing when they are already given.
    pub fn skip_to(&mut self, id: u64) {
        self.next_id = self.next_id.max(id);
    }

    /// The record under `id`, if present.
    pub fn get(&self, id: u64) -> Option<&T> {
        let page = self.pages.get(self.page_index(id)?)?.as_ref()?;
        page.slots.get((id % PAGE) as usize)?.as_ref()
    }

    /// Whether a record is present under `id`.
    pub fn contains(&self, id: u64) -> bool {
        self.get(id).is_some()
    }

    /// Records in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.pages.iter().zip(self.first_page..).flat_map(|(page, number)| {
            let slots = self.given(page, number);
            slots
                .iter()
                .zip(number * PAGE..)
                .filter_map(|(slot, id)| Some((id, slot.as_ref()?)))
        })
    }

    /// Records from `id` on, in order of id.
    pub fn iter_from(&self, id: u64) -> impl Iterator<Item = (u64, &T)> {
        let start = id.max(self.first_page * PAGE);
        let skip = usize::try_from(start / PAGE - self.first_page).unwrap_or(usize::MAX);
        self.pages
            .iter()
            .zip(self.first_page..)
            .skip(skip)
            .flat_map(move |(page, number)| {
                let slots = self.given(page, number);
                let first = (start.saturating_sub(number * PAGE) as usize).min(slots.len());
                slots[first..]
                    .iter()
                    .zip(number * PAGE + first as u64..)
                    .filter_map(|(slot, id)| Some((id, slot.as_ref()?)))
            })
    }

    /// Records from `id` downwards.
    pub fn iter_back_from(&self, id: u64) -> impl Iterator<Item = (u64, &T)> {
        let pages = self
            .pages
            .iter()
            .enumerate()
            .rev()
            .map(|(n, page)| (page, self.first_page + n as u64));
        pages
            .skip_while(move |(_, number)| *number > id / PAGE)
            .flat_map(|(page, number)| {
                let slots = self.given(page, number);
                slots
                    .iter()
                    .enumerate()
                    .rev()
                    .filter_map(move |(n, slot)| Some((number * PAGE + n as u64, slot.as_ref()?)))
            })
            .skip_while(move |(found, _)| *found > id)
    }

    /// The record with the smallest id.
    pub fn first(&self) -> Option<(u64, &T)> {
        Some((self.first_id, self.get(self.first_id)?))
    }

    // The slots of a page whose ids are given: of the last page what comes after them is not looked at.
    fn given<'a>(&self, page: &'a Option<Page<T>>, number: u64) -> &'a [Option<T>] {
        let given = (self.next_id - number * PAGE).min(PAGE) as usize;
        page.as_ref().map_or(&[][..], |page| &page.slots[..given])
    }

    fn page_index(&self, id: u64) -> Option<usize> {
        usize::try_from((id / PAGE).checked_sub(self.first_page)?).ok()
    }
}

impl<T: Clone> PagedVec<T> {
    /// The record under `id` for writing; copies its page first when a clone of the table still shares it.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let index = self.page_index(id)?;
        let page = self.pages.get_mut(index)?.as_mut()?;
        Arc::make_mut(&mut page.slots)[(id % PAGE) as usize].as_mut()
    }

    /// Adds a record under the next id and returns the id.
    pub fn push(&mut self, value: T) -> u64 {
        let id = self.next_id;
        self.insert(id, value);
        id
    }

    /// Adds a record under `id`.
    ///
    /// # Panics
    /// When `id` was already given: ids are never reused.
    pub fn insert(&mut self, id: u64, value: T) {
        assert!(
            id >= self.next_id,
            "id {id} was already given, the next is {}",
            self.next_id
        );
        if self.pages.len() as u64 <= id / PAGE - self.first_page {
            self.give_back_empty(self.pages.len().wrapping_sub(1));
        }
        if self.pages.is_empty() {
            self.first_page = id / PAGE;
        }
        if self.len == 0 {
            self.first_id = id;
        }
        self.fill(id, value);
        self.next_id = id + 1;
    }

    /// Puts a record under any id and returns what was there.
    pub fn put(&mut self, id: u64, value: T) -> Option<T> {
        if let Some(known) = self.get_mut(id) {
            return Some(std::mem::replace(known, value));
        }
        if self.pages.is_empty() {
            self.first_page = id / PAGE;
        }
        while id / PAGE < self.first_page {
            self.pages.push_front(None);
            self.first_page -= 1;
        }
        self.first_id = if self.len == 0 { id } else { self.first_id.min(id) };
        self.fill(id, value);
        self.next_id = self.next_id.max(id + 1);
        None
    }

    fn fill(&mut self, id: u64, value: T) {
        let index = (id / PAGE - self.first_page) as usize;
        while self.pages.len() <= index {
            self.pages.push_back(None);
        }
        let page = self.pages[index].get_or_insert_with(|| Page {
            live: 0,
            slots: std::iter::repeat_with(|| None).take(PAGE as usize).collect(),
        });
        Arc::make_mut(&mut page.slots)[(id % PAGE) as usize] = Some(value);
        page.live += 1;
        self.len += 1;
    }

    /// Takes the record out; its id stays used.
    pub fn remove(&mut self, id: u64) -> Option<T> {
        let index = self.page_index(id)?;
        let page = self.pages.get_mut(index)?.as_mut()?;
        let value = Arc::make_mut(&mut page.slots)[(id % PAGE) as usize].take()?;
        page.live -= 1;
        self.len -= 1;
        // The last page is about to be used again.
        if index + 1 < self.pages.len() {
            self.give_back_empty(index);
        }
        if id == self.first_id {
            let next = self.iter_from(id + 1).next().map(|(next, _)| next);
            self.first_id = next.unwrap_or(self.next_id);
        }
        Some(value)
    }

    fn give_back_empty(&mut self, index: usize) {
        let Some(page) = self.pages.get_mut(index) else { return };
        if page.as_ref().is_some_and(|page| page.live > 0) {
            return;
        }
        *page = None;
        while let Some(None) = self.pages.front() {
            self.pages.pop_front();
            self.first_page += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut table = PagedVec::starting_at(1);
        for n in 1..=1000u64 {
            assert_eq!(table.push(n * 10), n);
        }
        let before = table.clone();
        *table.get_mut(500).expect("pushed above") = 7;
        assert_eq!(table.remove(501), Some(5010));
        assert_eq!(table.remove(501), None);
        table.push(1);
        assert_eq!(
            (before.get(500), before.get(501), before.len()),
            (Some(&5000), Some(&5010), 1000)
        );
        assert_eq!((table.get(500), table.get(501), table.len()), (Some(&7), None, 1000));
        assert_eq!(before.iter().map(|(id, n)| n / id).sum::<u64>(), 10_000);
        assert_eq!((table.get(0), table.get(9999)), (None, None));
    }

    #[test]
    fn pages_of_gone_records_are_given_back_and_ids_stay_used() {
        let mut table = PagedVec::new();
        for n in 0..10_000u64 {
            table.push(n);
            if n >= 300 {
                assert_eq!(table.remove(n - 300), Some(n - 300));
            }
        }
        assert_eq!(table.len(), 300);
        assert!(table.pages.len() <= 4, "{} pages", table.pages.len());
        assert_eq!(table.first(), Some((9_700, &9_700)));
        assert_eq!(
            table.iter_from(9_998).map(|(id, _)| id).collect::<Vec<_>>(),
            [9_998, 9_999]
        );
        assert_eq!(table.iter_from(3).count(), 300);
        assert_eq!(
            table
                .iter_back_from(9_990)
                .take(2)
                .map(|(id, _)| id)
                .collect::<Vec<_>>(),
            [9_990, 9_989]
        );
        assert_eq!(table.iter_back_from(u64::MAX).map(|(id, _)| id).last(), Some(9_700));
        table.skip_to(1_000_000);
        assert_eq!(table.push(1), 1_000_000);
        assert_eq!(table.get(999_999), None);
    }

    #[test]
    fn ids_from_elsewhere_come_in_any_order() {
        let mut table = PagedVec::new();
        let mut model = std::collections::BTreeMap::new();
        for n in 0..4_000u64 {
            let id = 7_000 + n * 2_654_435_761 % 3_000;
            if n % 3 == 2 {
                assert_eq!(table.remove(id), model.remove(&id));
            } else {
                assert_eq!(table.put(id, n), model.insert(id, n));
            }
            assert_eq!(table.first(), model.first_key_value().map(|(id, n)| (*id, n)));
        }
        assert!(table.iter().eq(model.iter().map(|(id, n)| (*id, n))));
        assert!(table.iter_from(8_000).eq(model.range(8_000..).map(|(id, n)| (*id, n))));
        assert_eq!(table.len(), model.len());
        for id in 0..20_000 {
            assert_eq!(table.remove(id), model.remove(&id));
        }
        assert_eq!(table.first(), None);
    }

    #[test]
    fn an_emptied_table_goes_on_with_the_next_id() {
        let mut table = PagedVec::new();
        table.push('a');
        table.remove(0);
        assert_eq!(table.push('b'), 1);
        table.remove(1);
        table.skip_to(128);
        assert_eq!(table.push('c'), 128);
        assert_eq!((table.get(1), table.get(128)), (None, Some(&'c')));
    }

    #[test]
    #[should_panic(expected = "already given")]
    fn an_id_is_never_reused() {
        let mut table = PagedVec::new();
        table.push(1);
        table.remove(0);
        table.insert(0, 2);
    }
}
