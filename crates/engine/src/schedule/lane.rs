//! An index over the hosts of one site: finds the hosts that have room without looking at every host.
//! Hosts stand in order of tightness in short blocks; each block keeps the most that any of its hosts has of each resource,
//! so a search skips blocks that cannot fit.

/// Hosts of one block; a fuller one is split.
const BLOCK_MAX: usize = 48;

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

    pub(super) fn has(&self, ask: &Ask) -> bool {
        self.cpu_milli >= ask.cpu_milli
            && self.memory_mib >= ask.memory_mib
            && self.whole >= ask.whole
            && self.part >= ask.part
    }

    fn is_closed(&self) -> bool {
        self.key == u64::MAX
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
    /// No host with a smaller key has room.
    pub(crate) key_min: u64,
}

/// The index; positions are those of the hosts in their site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// By position.
    rooms: Vec<Room>,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
struct Block {
    /// The most of each resource; its key is not used.
    most: Room,
    /// In order of (key, position); never empty.
    hosts: Vec<(Room, usize)>,
}

impl Block {
    fn new(hosts: Vec<(Room, usize)>) -> Self {
        let mut block = Self {
            most: Room::CLOSED,
            hosts,
        };
        block.measure();
        block
    }

    fn measure(&mut self) {
        self.most = self.hosts.iter().fold(Room::CLOSED, |most, (room, _)| Room {
            cpu_milli: most.cpu_milli.max(room.cpu_milli),
            memory_mib: most.memory_mib.max(room.memory_mib),
            whole: most.whole.max(room.whole),
            part: most.part.max(room.part),
            key: u64::MAX,
        });
    }

    fn last(&self) -> (u64, usize) {
        let (room, position) = self.hosts.last().expect("no block is empty");
        (room.key, *position)
    }
}

impl Lane {
    pub(crate) fn new(rooms: Vec<Room>) -> Self {
        let mut hosts: Vec<(Room, usize)> = rooms
            .iter()
            .copied()
            .zip(0..)
            .filter(|(room, _)| !room.is_closed())
            .collect();
        hosts.sort_unstable_by_key(|(room, position)| (room.key, *position));
        let blocks = hosts
            .chunks(BLOCK_MAX / 2)
            .map(|hosts| Block::new(hosts.to_vec()))
            .collect();
        Self { rooms, blocks }
    }

    pub(crate) fn set(&mut self, position: usize, room: Room) {
        let old = std::mem::replace(&mut self.rooms[position], room);
        if old == room {
            return;
        }
        if !old.is_closed() {
            self.remove(old.key, position);
        }
        if !room.is_closed() {
            self.insert(room, position);
        }
    }

    /// Positions of the hosts that have room for `ask`, in order of (key, position).
    pub(crate) fn with_room(&self, ask: Ask) -> impl Iterator<Item = usize> {
        let first = self.blocks.partition_point(|block| block.last().0 < ask.key_min);
        let blocks = self.blocks[first..].iter().filter(move |block| block.most.has(&ask));
        let hosts = blocks.flat_map(|block| &block.hosts);
        hosts
            .filter(move |(room, _)| room.has(&ask))
            .map(|(_, position)| *position)
    }

    fn remove(&mut self, key: u64, position: usize) {
        let at = self.blocks.partition_point(|block| block.last() < (key, position));
        let block = &mut self.blocks[at];
        let place = block
            .hosts
            .binary_search_by_key(&(key, position), |(room, position)| (room.key, *position));
        block
            .hosts
            .remove(place.expect("a host that is not closed is in a block"));
        if block.hosts.is_empty() {
            self.blocks.remove(at);
        } else {
            block.measure();
        }
    }

    fn insert(&mut self, room: Room, position: usize) {
        if self.blocks.is_empty() {
            self.blocks.push(Block::new(vec![(room, position)]));
            return;
        }
        let rank = (room.key, position);
        let at = self
            .blocks
            .partition_point(|block| block.last() < rank)
            .min(self.blocks.len() - 1);
        let block = &mut self.blocks[at];
        let place = block
            .hosts
            .partition_point(|(other, position)| (other.key, *position) < rank);
        block.hosts.insert(place, (room, position));
        if block.hosts.len() > BLOCK_MAX {
            let upper = block.hosts.split_off(BLOCK_MAX / 2);
            block.measure();
            self.blocks.insert(at + 1, Block::new(upper));
        } else {
            block.measure();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room() -> impl Strategy<Value = Room> {
        (0..20u64, 0..20u64, 0..4u32, 0..10u32, 0..6u64).prop_map(|(cpu_milli, memory_mib, whole, part, spare)| {
            let key = cpu_milli + memory_mib + spare;
            if spare == 5 {
                Room::CLOSED
            } else {
                Room {
                    cpu_milli,
                    memory_mib,
                    whole,
                    part,
                    key,
                }
            }
        })
    }

    fn ask() -> impl Strategy<Value = Ask> {
        (0..20u64, 0..20u64, 0..4u32, 0..10u32).prop_map(|(cpu_milli, memory_mib, whole, part)| Ask {
            cpu_milli,
            memory_mib,
            whole,
            part,
            key_min: cpu_milli + memory_mib,
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            mut rooms in prop::collection::vec(room(), 0..300),
            changes in prop::collection::vec((0..300usize, room()), 0..200),
            asks in prop::collection::vec(ask(), 1..10),
        ) {
            let mut lane = Lane::new(rooms.clone());
            for (position, room) in changes {
                if position < rooms.len() {
                    rooms[position] = room;
                    lane.set(position, room);
                }
            }
            for ask in asks {
                let mut scan: Vec<usize> = (0..rooms.len())
                    .filter(|&position| !rooms[position].is_closed() && rooms[position].has(&ask))
                    .collect();
                scan.sort_by_key(|&position| (rooms[position].key, position));
                prop_assert_eq!(lane.with_room(ask).collect::<Vec<_>>(), scan);
            }
        }
    }
}
