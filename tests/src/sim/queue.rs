//! Virtual time: a heap of events, ties broken by the order they were put in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds since the simulation began.
pub(crate) type Micros = u64;

/// Milliseconds to [`Micros`].
#[must_use]
pub(crate) const fn ms(milliseconds: u64) -> Micros {
    milliseconds * 1000
}

struct Slot<E> {
    at: Micros,
    order: u64,
    event: E,
}

impl<E> PartialEq for Slot<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<E> Eq for Slot<E> {}
impl<E> PartialOrd for Slot<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Slot<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What will happen, and when.
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Slot<E>>>,
    order: u64,
    now: Micros,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue {
            heap: BinaryHeap::new(),
            order: 0,
            now: 0,
        }
    }
}

impl<E> Queue<E> {
    /// The instant of the event taken last.
    #[must_use]
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    /// `delay` from now.
    pub(crate) fn after(&mut self, delay: Micros, event: E) {
        self.order += 1;
        self.heap.push(Reverse(Slot {
            at: self.now + delay,
            order: self.order,
            event,
        }));
    }

    /// The next event not later than `until`; moves time there.
    pub(crate) fn next(&mut self, until: Micros) -> Option<E> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        let Reverse(slot) = self.heap.pop()?;
        self.now = slot.at;
        Some(slot.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut queue = Queue::default();
        for (delay, name) in [(5, "c"), (1, "a"), (1, "b"), (9, "late")] {
            queue.after(delay, name);
        }
        let taken: Vec<&str> = std::iter::from_fn(|| queue.next(5)).collect();
        assert_eq!(taken, ["a", "b", "c"]);
        assert_eq!(queue.now(), 5);
    }
}
