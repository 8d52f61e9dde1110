//! A few nodes on one thread: a wire that can be cut, disks in memory that can be held back and torn, a state machine that is
//! the list of what was applied. It checks what must hold at every step: one leader per term, equal logs where committed, no
//! promise ahead of the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use hesuan_replica::node::{FetchSnapshot, Node, NodeConfig, Output, Persist, Role};
use hesuan_replica::store::memory::BatchFate;
use hesuan_replica::store::{Identity, LogBatch, LogStore, MemoryLog, StoreError};
use hesuan_replica::wire::{ConfState, EntryKind, LogEntry, MessageKind, PeerMessage, SnapshotMeta};
use prost::Message as _;

pub(crate) const CLUSTER: [u8; 16] = *b"a test's cluster";

/// SplitMix64, so that a seed is all a run depends on.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Machine {
    pub(crate) applied: u64,
    term: u64,
    conf_state: ConfState,
    pub(crate) data: Vec<Bytes>,
}

impl Machine {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            index: self.applied,
            term: self.term,
            conf_state: self.conf_state.clone(),
            manifest: Bytes::from(format!("{} entries", self.data.len())),
        }
    }
}

pub(crate) struct Member {
    pub(crate) node: Option<Node>,
    pub(crate) log: MemoryLog,
    identity: Identity,
    pub(crate) machine: Machine,
    /// Durable snapshots by index.
    snapshots: BTreeMap<u64, Machine>,
    /// While set, batches are written and not synced.
    pub(crate) hold_sync: bool,
    held: Vec<Persist>,
    pub(crate) fetches: Vec<FetchSnapshot>,
    /// While set, snapshots asked for stay unfetched.
    pub(crate) hold_fetch: bool,
    pub(crate) reads: Vec<(u64, u64)>,
    pub(crate) installed: Vec<u64>,
    runs: u64,
}

pub(crate) struct Cluster {
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) wire: VecDeque<(u64, u64, Bytes)>,
    pub(crate) cut: BTreeSet<(u64, u64)>,
    pub(crate) sent: BTreeMap<MessageKind, u64>,
    configure: fn(&mut NodeConfig),
    seed: u64,
    committed: BTreeMap<u64, LogEntry>,
    leaders: BTreeMap<u64, u64>,
    /// Whom each replica voted for in each term.
    votes: BTreeMap<(u64, u64), u64>,
    /// What was committed somewhere when a read was asked for, by context.
    asked: Vec<u64>,
}

impl Cluster {
    /// `voters` founders with ids from 1.
    pub(crate) fn new(voters: u64, seed: u64) -> Self {
        Self::with(voters, seed, |_| {})
    }

    pub(crate) fn with(voters: u64, seed: u64, configure: fn(&mut NodeConfig)) -> Self {
        let mut cluster = Self {
            members: BTreeMap::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            sent: BTreeMap::new(),
            configure,
            seed,
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            asked: Vec::new(),
        };
        let conf_state = ConfState::of_voters((1..=voters).collect::<Vec<_>>());
        for id in 1..=voters {
            let mut log = MemoryLog::new();
            log.write(&LogBatch::bootstrap(conf_state.clone())).unwrap();
            log.sync().unwrap();
            let founded = Machine {
                applied: 1,
                term: 1,
                conf_state: conf_state.clone(),
                data: Vec::new(),
            };
            cluster.put(id, log, BTreeMap::from([(1, founded)]));
        }
        cluster
    }

    /// A replica with an empty store, to be added as a learner.
    pub(crate) fn join(&mut self, id: u64) {
        self.put(id, MemoryLog::new(), BTreeMap::new());
    }

    fn put(&mut self, id: u64, log: MemoryLog, snapshots: BTreeMap<u64, Machine>) {
        let member = Member {
            node: None,
            log,
            identity: Identity::new(id, CLUSTER, 0),
            machine: Machine::default(),
            snapshots,
            hold_sync: false,
            held: Vec::new(),
            fetches: Vec::new(),
            hold_fetch: false,
            reads: Vec::new(),
            installed: Vec::new(),
            runs: 0,
        };
        self.members.insert(id, member);
        self.start(id).expect("a new store is in order");
    }

    pub(crate) fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).expect("a member of the test")
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.member(id).node.as_mut().expect("the member runs")
    }

    pub(crate) fn data(&mut self, id: u64) -> Vec<Bytes> {
        self.member(id).machine.data.clone()
    }

    /// Starts a member on what its disk holds.
    pub(crate) fn start(&mut self, id: u64) -> Result<(), StoreError> {
        let (seed, configure) = (self.seed, self.configure);
        let member = self.member(id);
        let loaded = member.log.load()?;
        member.identity.check_promise(&loaded)?;
        let last = loaded.last().index;
        let newest = member.snapshots.range(..=last).next_back();
        member.machine = newest.map(|(_, machine)| machine.clone()).unwrap_or_default();
        member.runs += 1;
        let mut config = NodeConfig::new(id, CLUSTER);
        configure(&mut config);
        let seed = seed ^ (id << 32) ^ member.runs;
        let node = Node::open(config, loaded, member.log.reader(), member.machine.applied, seed);
        member.node = Some(node.expect("store and state fit"));
        Ok(())
    }

    /// Power cut; what was not synced meets the fates of `choose`.
    pub(crate) fn crash(&mut self, id: u64, choose: impl FnMut(u64) -> u64) -> Vec<BatchFate> {
        let member = self.member(id);
        member.node = None;
        member.held.clear();
        member.fetches.clear();
        member.log.crash(choose)
    }

    /// `kill -9`: what was written stays.
    pub(crate) fn kill(&mut self, id: u64) {
        self.crash(id, |_| 0);
    }

    /// Lets everything ready happen until nothing is, without time passing.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut idle = true;
            for id in self.members.keys().copied().collect::<Vec<_>>() {
                idle &= !self.turn(id);
            }
            while self.deliver(0) {
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    /// Takes one member's outputs. Returns whether there were any.
    pub(crate) fn turn(&mut self, id: u64) -> bool {
        let mut any = false;
        loop {
            let member = self.member(id);
            let Some(output) = member.node.as_mut().and_then(Node::ready) else {
                break;
            };
            any = true;
            self.handle(id, output);
        }
        if !self.member(id).hold_sync {
            any |= self.sync(id);
        }
        if !self.member(id).hold_fetch {
            any |= self.fetch(id);
        }
        any
    }

    fn handle(&mut self, id: u64, output: Output) {
        if let Some(change) = output.role_changed.filter(|change| change.role == Role::Leader) {
            let leader = *self.leaders.entry(change.term).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {}", change.term);
        }
        for (to, message) in output.send_now {
            self.send(id, to, message);
        }
        for (context, index) in &output.read_states {
            assert!(
                *index >= self.asked[*context as usize],
                "replica {id} reads at {index}, which is stale"
            );
        }
        let member = self.member(id);
        if let Some(persist) = output.persist {
            member.log.write(&persist.batch).expect("memory does not fail");
            member.held.push(persist);
        }
        if let Some(meta) = output.install_snapshot {
            member.machine = member
                .snapshots
                .get(&meta.index)
                .expect("fetched before it is installed")
                .clone();
            member.installed.push(meta.index);
            // A state machine may be faster than the disk and say so before the log's part is durable. It once stopped the
            // process: raft-rs stands before the snapshot until then.
            let applied = member.machine.applied;
            self.node(id).applied(applied);
        }
        let member = self.member(id);
        member.reads.extend(output.read_states);
        member.fetches.extend(output.fetch_snapshot);
        let mut conf_changed = output.conf_changed.into_iter().peekable();
        for entry in output.committed {
            let changed = conf_changed.next_if(|changed| changed.index == entry.index);
            self.apply(id, entry, changed.map(|changed| changed.conf_state));
        }
        if output.snapshot_wanted {
            self.snapshot(id);
        }
    }

    fn apply(&mut self, id: u64, entry: LogEntry, conf_state: Option<ConfState>) {
        let agreed = self.committed.entry(entry.index).or_insert_with(|| entry.clone());
        assert_eq!(*agreed, entry, "replica {id} applies something else");
        let member = self.member(id);
        assert_eq!(
            entry.index,
            member.machine.applied + 1,
            "replica {id} skips or repeats an entry"
        );
        assert!(
            member.log.synced_mark().last.index >= entry.index,
            "replica {id} applies what is not durable"
        );
        (member.machine.applied, member.machine.term) = (entry.index, entry.term);
        assert_eq!(entry.kind() == EntryKind::ConfChange, conf_state.is_some());
        member.machine.conf_state = conf_state.unwrap_or_else(|| member.machine.conf_state.clone());
        if entry.kind() == EntryKind::Normal && !entry.data.is_empty() {
            member.machine.data.push(entry.data);
        }
        let applied = member.machine.applied;
        self.node(id).applied(applied);
    }

    /// Makes a snapshot of a member's state.
    pub(crate) fn snapshot(&mut self, id: u64) -> u64 {
        let member = self.member(id);
        let meta = member.machine.meta();
        member.snapshots.insert(meta.index, member.machine.clone());
        let index = meta.index;
        self.node(id).snapshot_available(meta);
        index
    }

    /// Syncs a member's disk and reports what was held back.
    pub(crate) fn sync(&mut self, id: u64) -> bool {
        let member = self.member(id);
        let held = std::mem::take(&mut member.held);
        if held.is_empty() {
            return false;
        }
        member.log.sync().expect("memory does not fail");
        member.identity.synced = member.log.synced_mark();
        for persist in held {
            self.node(id).persisted(persist.number);
            for (to, message) in persist.send_after {
                self.send(id, to, message);
            }
        }
        true
    }

    fn fetch(&mut self, id: u64) -> bool {
        let fetches = std::mem::take(&mut self.member(id).fetches);
        let any = !fetches.is_empty();
        for fetch in fetches {
            let source = self.members.get(&fetch.from).filter(|member| member.node.is_some());
            let machine = source
                .and_then(|member| member.snapshots.get(&fetch.meta.index))
                .cloned();
            let ok = machine.is_some() && !self.cut.contains(&(fetch.from, id));
            if let Some(machine) = machine.filter(|_| ok) {
                assert_eq!(machine.meta(), fetch.meta);
                self.member(id).snapshots.insert(fetch.meta.index, machine);
            }
            self.node(id)
                .snapshot_fetched(&fetch.meta, ok)
                .expect("a snapshot asked for");
        }
        any
    }

    fn send(&mut self, from: u64, to: u64, message: PeerMessage) {
        let kind = message
            .validate()
            .unwrap_or_else(|error| panic!("replica {from} sends {message:?}: {error}"));
        *self.sent.entry(kind).or_default() += 1;
        let durable = self.member(from).log.synced_mark();
        match kind {
            MessageKind::AppendResponse if !message.reject => {
                // If the term has moved on meanwhile, the acknowledgement is as good as one delayed by the network: what it
                // speaks of was there when this replica judged the next leader, and may have been replaced since.
                let ends = durable.last.index;
                assert!(
                    message.index <= ends || message.term < durable.term,
                    "replica {from} has synced {ends} and acknowledges {message:?}"
                );
            }
            MessageKind::RequestVote | MessageKind::RequestVoteResponse if !message.reject => {
                assert!(
                    message.term <= durable.term,
                    "replica {from} votes before the vote is durable"
                );
                let candidate = if kind == MessageKind::RequestVote { from } else { to };
                let voted = *self.votes.entry((from, message.term)).or_insert(candidate);
                assert_eq!(voted, candidate, "replica {from} votes twice in term {}", message.term);
            }
            _ => {}
        }
        if !self.cut.contains(&(from, to)) {
            self.wire.push_back((from, to, Bytes::from(message.encode_to_vec())));
        }
    }

    /// Delivers one message under way. Returns whether there was one.
    pub(crate) fn deliver(&mut self, position: usize) -> bool {
        let Some((from, to, bytes)) = self.wire.remove(position) else {
            return false;
        };
        if let Some(node) = self.members.get_mut(&to).and_then(|member| member.node.as_mut()) {
            let message = PeerMessage::from_bytes(bytes).expect("it was encoded here");
            node.step(from, message)
                .unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        }
        true
    }

    pub(crate) fn tick(&mut self, id: u64) {
        if let Some(node) = self.member(id).node.as_mut() {
            node.tick();
        }
    }

    /// One tick everywhere, and all that follows from it.
    pub(crate) fn tick_all(&mut self) {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.tick(id);
        }
        self.settle();
    }

    /// Lets time pass until `done`; fails after 40 election timeouts.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..1_600 {
            self.settle();
            if done(self) {
                return;
            }
            self.tick_all();
        }
        let status: Vec<_> = self
            .members
            .values()
            .filter_map(|member| member.node.as_ref())
            .map(Node::status)
            .collect();
        panic!("never happened: {what}\n{status:#?}");
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        let nodes = self.members.values().filter_map(|member| member.node.as_ref());
        let leaders = nodes.map(Node::status).filter(|status| status.established);
        leaders.max_by_key(|status| status.term).map(|status| status.id)
    }

    /// Waits for a leader that can act.
    pub(crate) fn elect(&mut self) -> u64 {
        self.until("a leader is elected", |cluster| cluster.leader().is_some());
        self.leader().expect("just seen")
    }

    /// Proposes through the leader and waits until every running member has applied it.
    pub(crate) fn put_data(&mut self, data: &'static str) {
        let leader = self.elect();
        self.node(leader)
            .propose(Bytes::from_static(data.as_bytes()))
            .expect("the leader takes it");
        self.until("everybody applies it", |cluster| {
            let mut running = cluster.members.values().filter(|member| member.node.is_some());
            running.all(|member| member.machine.data.last().is_some_and(|last| last == data))
        });
    }

    pub(crate) fn has_led(&self, id: u64) -> bool {
        self.leaders.values().any(|leader| *leader == id)
    }

    /// Asks `id` for a read index; the answer must not miss what anybody had applied by now.
    pub(crate) fn read(&mut self, id: u64) -> u64 {
        let context = self.asked.len() as u64;
        self.asked
            .push(self.committed.last_key_value().map_or(0, |(index, _)| *index));
        self.node(id).read_index(context);
        context
    }

    /// How many terms had a leader, how many entries were applied, and how many of them changed the membership.
    pub(crate) fn history(&self) -> (usize, usize, usize) {
        let changes = self
            .committed
            .values()
            .filter(|entry| entry.kind() == EntryKind::ConfChange);
        (self.leaders.len(), self.committed.len(), changes.count())
    }

    /// Cuts `id` off in both directions, or connects it again.
    pub(crate) fn isolate(&mut self, id: u64, cut: bool) {
        for other in self.members.keys().copied().filter(|other| *other != id) {
            for link in [(id, other), (other, id)] {
                if cut {
                    self.cut.insert(link);
                } else {
                    self.cut.remove(&link);
                }
            }
        }
        self.wire.retain(|(from, to, _)| !cut || (*from != id && *to != id));
    }
}
