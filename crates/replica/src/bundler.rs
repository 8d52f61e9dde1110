//! Packs waiting commands into entries, beside the node on the RAFT thread. While nothing is in flight a command goes at once, unless
//! a bundle has only just gone; otherwise a bundle waits a little to fill, so that under load entries are few and large. The queue is bounded: what does not fit is
//! refused and its client tries again. What must not live here: anything about what a command says.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hesuan_api::codec::encode_entry;
use hesuan_api::internal::v1::Item;
use hesuan_engine::types::Timestamp;

/// Bounds of a [`Bundler`].
#[derive(Clone, Copy, Debug)]
pub struct BundlerConfig {
    /// Commands in one entry.
    pub commands_max: usize,
    /// Bytes of commands in one entry; a single longer command goes alone.
    pub bytes_max: usize,
    /// How long a bundle that is not full waits while entries are in flight, and how soon it may follow the one before.
    pub linger: Duration,
    /// Entries proposed and not yet committed.
    pub entries_in_flight_max: u64,
    /// Clients' commands waiting.
    pub queue_commands_max: usize,
    /// Bytes of clients' commands waiting.
    pub queue_bytes_max: usize,
}

impl Default for BundlerConfig {
    fn default() -> Self {
        Self {
            commands_max: 256,
            bytes_max: 128 << 10,
            linger: Duration::from_millis(5),
            entries_in_flight_max: 128,
            queue_commands_max: 16_384,
            queue_bytes_max: 32 << 20,
        }
    }
}

/// Why a command was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The queue is full: try again later.
    #[error("{waiting} commands are waiting already")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// Only the leader bundles.
    #[error("not the leader")]
    NotLeader,
}

/// An entry to propose, and what is in it: give it back when the proposal is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundled {
    /// An encoded envelope.
    pub data: Bytes,
    /// Its commands.
    pub items: Vec<Item>,
}

/// The queue of a leader; on others it is closed and refuses everything.
#[derive(Debug)]
pub struct Bundler {
    config: BundlerConfig,
    leading: bool,
    level: u32,
    /// The leader's own commands go first: without them nothing that runs would end, and the queue never empty. The leader bounds them.
    own: VecDeque<Item>,
    clients: VecDeque<Item>,
    clients_bytes: usize,
    own_bytes: usize,
    /// Since when something has been waiting.
    waiting_since: Option<Duration>,
    /// When the last bundle went.
    last_taken: Option<Duration>,
    /// Nothing was in flight when this was last asked.
    idle: bool,
    last_at: Timestamp,
    /// Too many entries are in flight: nothing goes before one of them is committed, however long it waits.
    held_back: bool,
}

impl Bundler {
    /// Closed until [`Bundler::become_leader`].
    #[must_use]
    pub fn new(config: BundlerConfig) -> Self {
        Self {
            config,
            leading: false,
            level: 1,
            own: VecDeque::new(),
            clients: VecDeque::new(),
            clients_bytes: 0,
            own_bytes: 0,
            waiting_since: None,
            last_taken: None,
            idle: true,
            last_at: Timestamp(0),
            held_back: false,
        }
    }

    /// This replica leads. `level` is the cluster's, `at` the time of the last entry it knows: stamps go on from there.
    pub fn become_leader(&mut self, level: u32, at: Timestamp) {
        self.leading = true;
        self.applied(level, at);
    }

    /// State moved on: its level goes into the envelopes from here on.
    pub fn applied(&mut self, level: u32, at: Timestamp) {
        self.level = self.level.max(level);
        self.last_at = self.last_at.max(at);
    }

    /// This replica no longer leads: everything queued comes back, to be refused to those who sent it.
    #[must_use]
    pub fn step_down(&mut self) -> Vec<Item> {
        self.leading = false;
        self.waiting_since = None;
        (self.clients_bytes, self.own_bytes) = (0, 0);
        self.own.drain(..).chain(self.clients.drain(..)).collect()
    }

    /// Queues a command. `origin` 0 is the leader itself, which is never refused for being busy.
    ///
    /// # Errors
    /// [`PushError`]; nothing was queued.
    pub fn push(&mut self, origin: u64, ticket: u64, command: Bytes, mono: Duration) -> Result<(), PushError> {
        if !self.leading {
            return Err(PushError::NotLeader);
        }
        let bytes = command.len();
        let item = Item {
            origin,
            ticket,
            command,
        };
        if origin == 0 {
            self.own.push_back(item);
            self.own_bytes += bytes;
        } else {
            let full = self.clients.len() >= self.config.queue_commands_max
                || self.clients_bytes + bytes > self.config.queue_bytes_max;
            if full {
                return Err(PushError::Busy {
                    waiting: self.clients.len(),
                });
            }
            self.clients.push_back(item);
            self.clients_bytes += bytes;
        }
        self.waiting_since.get_or_insert(mono);
        Ok(())
    }

    /// The next entry, if it is time. `wall_ms` is since 1970; `in_flight` counts entries proposed and not yet committed. Call
    /// again until there is none.
    pub fn take(&mut self, wall_ms: u64, mono: Duration, in_flight: u64) -> Option<Bundled> {
        let since = self.waiting_since?;
        self.held_back = in_flight >= self.config.entries_in_flight_max;
        if self.held_back {
            return None;
        }
        self.idle = in_flight == 0;
        let full = self.waiting() >= self.config.commands_max || self.waiting_bytes() >= self.config.bytes_max;
        if !full && mono < self.due(since) {
            return None;
        }
        let items = self.take_items();
        self.last_taken = Some(mono);
        if self.waiting() == 0 {
            self.waiting_since = None;
        } else {
            self.waiting_since = Some(mono);
        }
        self.last_at = self.last_at.max(Timestamp(wall_ms));
        // Handing out the items costs their vector only: the commands' bytes are shared.
        let data = encode_entry(self.level, self.last_at, items.clone());
        Some(Bundled { data, items })
    }

    /// The node did not take the entry but may later: its commands go back to where they stood.
    pub fn give_back(&mut self, items: Vec<Item>, mono: Duration) {
        for item in items.into_iter().rev() {
            let bytes = item.command.len();
            if item.origin == 0 {
                self.own.push_front(item);
                self.own_bytes += bytes;
            } else {
                self.clients.push_front(item);
                self.clients_bytes += bytes;
            }
            self.waiting_since.get_or_insert(mono);
        }
    }

    /// When to call [`Bundler::take`] again if nothing else happens; `None` when only something else helps.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let since = self.waiting_since.filter(|_| !self.held_back)?;
        Some(self.due(since))
    }

    /// When a bundle goes that is not full. A flight shorter than the wait between bundles must not make them many and small.
    fn due(&self, since: Duration) -> Duration {
        match (self.idle, self.last_taken) {
            (true, None) => since,
            (true, Some(last)) => since.max(last + self.config.linger).min(since + self.config.linger),
            (false, _) => since + self.config.linger,
        }
    }

    /// Commands waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.own.len() + self.clients.len()
    }

    fn waiting_bytes(&self) -> usize {
        self.own_bytes + self.clients_bytes
    }

    fn take_items(&mut self) -> Vec<Item> {
        let mut items = Vec::with_capacity(self.waiting().min(self.config.commands_max));
        let mut bytes = 0;
        while items.len() < self.config.commands_max {
            let (queue, queue_bytes) = if self.own.is_empty() {
                (&mut self.clients, &mut self.clients_bytes)
            } else {
                (&mut self.own, &mut self.own_bytes)
            };
            let Some(item) = queue.pop_front() else { break };
            let length = item.command.len();
            if !items.is_empty() && bytes + length > self.config.bytes_max {
                queue.push_front(item);
                break;
            }
            bytes += length;
            *queue_bytes -= length;
            items.push(item);
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use hesuan_api::codec::decode_entry;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn leader(config: BundlerConfig) -> Bundler {
        let mut bundler = Bundler::new(config);
        bundler.become_leader(1, Timestamp(0));
        bundler
    }

    fn push(bundler: &mut Bundler, origin: u64, tickets: std::ops::Range<u64>, mono: u64) {
        for ticket in tickets {
            bundler
                .push(origin, ticket, Bytes::from(vec![7; 10]), ms(mono))
                .expect("queued");
        }
    }

    fn tickets(bundled: &Bundled) -> Vec<(u64, u64)> {
        bundled.items.iter().map(|item| (item.origin, item.ticket)).collect()
    }

    #[test]
    fn a_command_goes_at_once_when_nothing_is_in_flight_and_lingers_otherwise() {
        let mut bundler = leader(BundlerConfig::default());
        push(&mut bundler, 3, 0..1, 100);
        assert_eq!(tickets(&bundler.take(5, ms(100), 0).expect("at once")), [(3, 0)]);
        push(&mut bundler, 3, 1..3, 101);
        assert_eq!(bundler.take(5, ms(102), 1), None, "still filling");
        assert_eq!(bundler.next_wake(), Some(ms(106)));
        assert_eq!(
            tickets(&bundler.take(5, ms(106), 1).expect("lingered")),
            [(3, 1), (3, 2)]
        );
        assert_eq!((bundler.take(5, ms(200), 0), bundler.next_wake()), (None, None));
    }

    #[test]
    fn a_bundle_that_has_only_just_gone_is_not_followed_at_once_by_a_small_one() {
        let mut bundler = leader(BundlerConfig::default());
        push(&mut bundler, 3, 0..1, 100);
        assert_eq!(tickets(&bundler.take(5, ms(100), 0).expect("at once")), [(3, 0)]);
        push(&mut bundler, 3, 1..2, 103);
        assert_eq!(bundler.take(5, ms(103), 0), None);
        assert_eq!(bundler.next_wake(), Some(ms(105)));
        push(&mut bundler, 3, 2..3, 104);
        assert_eq!(tickets(&bundler.take(5, ms(105), 0).expect("due")), [(3, 1), (3, 2)]);
        push(&mut bundler, 3, 3..4, 200);
        assert_eq!(tickets(&bundler.take(5, ms(200), 0).expect("at once")), [(3, 3)]);
    }

    #[test]
    fn a_full_bundle_does_not_linger_and_keeps_the_order() {
        let mut bundler = leader(BundlerConfig {
            commands_max: 4,
            ..BundlerConfig::default()
        });
        push(&mut bundler, 2, 0..9, 0);
        assert_eq!(
            tickets(&bundler.take(5, ms(0), 9).expect("full")),
            [(2, 0), (2, 1), (2, 2), (2, 3)]
        );
        assert_eq!(
            tickets(&bundler.take(5, ms(0), 9).expect("full")),
            [(2, 4), (2, 5), (2, 6), (2, 7)]
        );
        assert_eq!(bundler.take(5, ms(1), 9), None);
        assert_eq!(tickets(&bundler.take(5, ms(5), 9).expect("lingered")), [(2, 8)]);
    }

    #[test]
    fn bytes_bound_a_bundle_and_a_long_command_goes_alone() {
        let mut bundler = leader(BundlerConfig {
            bytes_max: 100,
            ..BundlerConfig::default()
        });
        for (ticket, bytes) in [(0, 60), (1, 60), (2, 500), (3, 1)] {
            bundler
                .push(1, ticket, Bytes::from(vec![0; bytes]), ms(0))
                .expect("queued");
        }
        let bundles: Vec<_> = (1..)
            .map_while(|n| bundler.take(5, ms(9 * n), 0))
            .map(|b| tickets(&b))
            .collect();
        assert_eq!(bundles, [[(1, 0)], [(1, 1)], [(1, 2)], [(1, 3)]]);
    }

    #[test]
    fn time_never_goes_back() {
        let mut bundler = leader(BundlerConfig::default());
        bundler.applied(1, Timestamp(1_000));
        let mut stamps = Vec::new();
        for (ticket, wall) in (0..).zip([900, 1_200, 1_100, 1_300]) {
            push(&mut bundler, 1, ticket..ticket + 1, ticket * 10);
            let bundled = bundler.take(wall, ms(ticket * 10), 0).expect("at once");
            stamps.push(decode_entry(bundled.data, 1).expect("an entry").at_ms);
        }
        assert_eq!(stamps, [1_000, 1_200, 1_200, 1_300]);
    }

    #[test]
    fn a_full_queue_refuses_clients_but_not_the_leader_whose_commands_go_first() {
        let mut bundler = leader(BundlerConfig {
            queue_commands_max: 2,
            ..BundlerConfig::default()
        });
        push(&mut bundler, 5, 0..2, 0);
        assert_eq!(
            bundler.push(5, 2, Bytes::new(), ms(0)),
            Err(PushError::Busy { waiting: 2 })
        );
        push(&mut bundler, 0, 7..8, 0);
        assert_eq!(
            tickets(&bundler.take(5, ms(0), 0).expect("at once")),
            [(0, 7), (5, 0), (5, 1)]
        );
        push(&mut bundler, 5, 3..4, 0);
        let mut bundler = leader(BundlerConfig {
            queue_bytes_max: 15,
            ..BundlerConfig::default()
        });
        push(&mut bundler, 5, 0..1, 0);
        assert_eq!(
            bundler.push(5, 1, Bytes::from(vec![7; 10]), ms(0)),
            Err(PushError::Busy { waiting: 1 })
        );
    }

    #[test]
    fn what_the_node_refused_goes_back_to_its_place() {
        let mut bundler = leader(BundlerConfig {
            commands_max: 3,
            ..BundlerConfig::default()
        });
        push(&mut bundler, 5, 0..5, 0);
        let refused = bundler.take(5, ms(0), 0).expect("at once");
        bundler.give_back(refused.items, ms(1));
        assert_eq!(
            tickets(&bundler.take(5, ms(9), 1).expect("full")),
            [(5, 0), (5, 1), (5, 2)]
        );
        assert_eq!(
            tickets(&bundler.take(5, ms(19), 1).expect("lingered")),
            [(5, 3), (5, 4)]
        );
    }

    #[test]
    fn losing_leadership_hands_everything_back_and_closes_the_queue() {
        let mut bundler = leader(BundlerConfig::default());
        push(&mut bundler, 5, 0..2, 0);
        push(&mut bundler, 0, 2..3, 0);
        let back: Vec<u64> = bundler.step_down().into_iter().map(|item| item.ticket).collect();
        assert_eq!(back, [2, 0, 1]);
        assert_eq!(bundler.push(5, 9, Bytes::new(), ms(0)), Err(PushError::NotLeader));
        assert_eq!(bundler.take(5, ms(9), 0), None);
    }

    #[test]
    fn not_more_entries_than_allowed_are_in_flight_and_the_level_is_the_clusters() {
        let mut bundler = leader(BundlerConfig {
            entries_in_flight_max: 2,
            ..BundlerConfig::default()
        });
        push(&mut bundler, 5, 0..1, 0);
        assert_eq!(bundler.take(5, ms(99), 2), None);
        assert_eq!(bundler.next_wake(), None, "time alone does not help");
        bundler.applied(3, Timestamp(0));
        let bundled = bundler.take(5, ms(99), 1).expect("room again");
        assert!(decode_entry(bundled.data.clone(), 2).is_err());
        assert_eq!(decode_entry(bundled.data, 3).expect("level 3").items.len(), 1);
    }
}
