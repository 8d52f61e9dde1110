//! An index over the hosts of one site: finds the tightest host that has room without looking at every host.
//! A complete binary tree over the hosts in order of id; each node keeps the most that any host below has of each
//! resource and the smallest tightness key below, so a search skips what cannot fit and what cannot be better.

/// What a host has free, as the index sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Thousandths of cores.
    pub(crate) cpu_milli: u64,
    /// Mebibytes.
    pub(crate) memory_mib: u64,
    /// Devices nobody uses.
    pub(crate) whole: u32,
    /// The most that is free of one device in use, in thousandths.
    pub(crate) part: u32,
    /// Smaller is tighter: placing here strands less.
    pub(crate) key: u64,
}

impl Room {
    /// A host that takes nothing.
    pub(crate) const CLOSED: Room = Room {
        cpu_milli: 0,
        memory_mib: 0,
        whole: 0,
        part: 0,
        key: u64::MAX,
    };

    fn has(&self, ask: &Ask) -> bool {
        self.key != u64::MAX
            && self.cpu_milli >= ask.cpu_milli
            && self.memory_mib >= ask.memory_mib
            && self.whole >= ask.whole
            && self.part >= ask.part
    }

    fn over(left: &Room, right: &Room) -> Room {
        Room {
            cpu_milli: left.cpu_milli.max(right.cpu_milli),
            memory_mib: left.memory_mib.max(right.memory_mib),
            whole: left.whole.max(right.whole),
            part: left.part.max(right.part),
            key: left.key.min(right.key),
        }
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask {
    /// Thousandths of cores.
    pub(crate) cpu_milli: u64,
    /// Mebibytes.
    pub(crate) memory_mib: u64,
    /// Untouched devices.
    pub(crate) whole: u32,
    /// Thousandths of one device in use.
    pub(crate) part: u32,
}

/// The tree; positions are those of the hosts in their site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// `nodes[1]` is the root, `nodes[leaves..]` are the hosts.
    nodes: Vec<Room>,
    leaves: usize,
}

impl Lane {
    pub(crate) fn new(rooms: &[Room]) -> Self {
        let leaves = rooms.len().next_power_of_two();
        let mut nodes = vec![Room::CLOSED; 2 * leaves];
        nodes[leaves..leaves + rooms.len()].copy_from_slice(rooms);
        for node in (1..leaves).rev() {
            nodes[node] = Room::over(&nodes[2 * node], &nodes[2 * node + 1]);
        }
        Self { nodes, leaves }
    }

    pub(crate) fn set(&mut self, position: usize, room: Room) {
        let mut node = self.leaves + position;
        if self.nodes[node] == room {
            return;
        }
        self.nodes[node] = room;
        while node > 1 {
            node /= 2;
            let merged = Room::over(&self.nodes[2 * node], &self.nodes[2 * node + 1]);
            if self.nodes[node] == merged {
                return;
            }
            self.nodes[node] = merged;
        }
    }

    /// The host with the smallest (key, position) that has room for `ask` and is accepted.
    pub(crate) fn tightest(&self, ask: &Ask, mut accept: impl FnMut(usize) -> bool) -> Option<(u64, usize)> {
        let mut best: Option<(u64, usize)> = None;
        // Depth is at most 32; two children a level are pushed, one of them popped at once.
        let mut stack = [0usize; 64];
        let mut depth = 0;
        if self.leaves > 0 {
            stack[0] = 1;
            depth = 1;
        }
        while depth > 0 {
            depth -= 1;
            let node = stack[depth];
            let room = &self.nodes[node];
            if !room.has(ask) || best.is_some_and(|(key, position)| !self.may_beat(node, room.key, key, position)) {
                continue;
            }
            if node >= self.leaves {
                let position = node - self.leaves;
                if accept(position) {
                    best = Some((room.key, position));
                }
                continue;
            }
            let (left, right) = (2 * node, 2 * node + 1);
            let (first, second) = if self.nodes[left].key <= self.nodes[right].key {
                (left, right)
            } else {
                (right, left)
            };
            stack[depth] = second;
            stack[depth + 1] = first;
            depth += 2;
        }
        best
    }

    /// Whether something below `node` could be smaller than (key, position).
    fn may_beat(&self, node: usize, key_below: u64, key: u64, position: usize) -> bool {
        key_below < key || (key_below == key && self.first_position(node) < position)
    }

    fn first_position(&self, node: usize) -> usize {
        let mut node = node;
        while node < self.leaves {
            node *= 2;
        }
        node - self.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room() -> impl Strategy<Value = Room> {
        (0..20u64, 0..20u64, 0..4u32, 0..10u32, 0..6u64).prop_map(|(cpu_milli, memory_mib, whole, part, key)| Room {
            cpu_milli,
            memory_mib,
            whole,
            part,
            key: if key == 5 { u64::MAX } else { key },
        })
    }

    fn ask() -> impl Strategy<Value = Ask> {
        (0..20u64, 0..20u64, 0..4u32, 0..10u32).prop_map(|(cpu_milli, memory_mib, whole, part)| Ask {
            cpu_milli,
            memory_mib,
            whole,
            part,
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            mut rooms in prop::collection::vec(room(), 0..40),
            changes in prop::collection::vec((0..40usize, room()), 0..20),
            asks in prop::collection::vec((ask(), 0..3usize), 1..10),
        ) {
            let mut lane = Lane::new(&rooms);
            for (position, room) in changes {
                if position < rooms.len() {
                    rooms[position] = room;
                    lane.set(position, room);
                }
            }
            for (ask, refused) in asks {
                let accept = |position: usize| position % 3 != refused;
                let scan = (0..rooms.len())
                    .filter(|&position| rooms[position].has(&ask) && accept(position))
                    .map(|position| (rooms[position].key, position))
                    .min();
                prop_assert_eq!(lane.tightest(&ask, accept), scan);
            }
        }
    }
}
