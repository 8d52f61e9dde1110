//! The shell of a replica: what the threads and sockets of `server` do, as reactions to events.

use hesuan_api::codec::encode_command;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::internal::v1::{Reports, agent_message, replica_message};
use hesuan_engine::types::{JobId, PrincipalId, Timestamp};
use hesuan_replica::applier::{Applied, FrozenSnapshot};
use hesuan_replica::bundler::PushError;
use hesuan_replica::node::{NodeError, Output, ProposeError, Role, RoleChange};
use hesuan_replica::store::LogStore as _;
use hesuan_replica::wire::{EntryKind, MessageKind, PeerMessage, SnapshotMeta};
use prost::Message as _;
use rand::RngExt as _;

use super::network::Peer;
use super::queue::ms;
use super::replica::{Frame, Process, Read, Replica, Waiting};
use super::world::{Event, World};

const TICK: u64 = ms(50);

impl World {
    /// Starts a replica's process; damage found at start keeps it down for good.
    pub(crate) fn replica_start(&mut self, id: u64) {
        let seed = self.rng.random();
        let (plant, founders) = (self.plant, self.founders.clone());
        let Some(replica) = self.replicas.get_mut(&id) else {
            return;
        };
        if replica.process.is_some() || replica.refused.is_some() {
            return;
        }
        replica.start(&self.swarm, plant, &founders, seed);
        let boot = replica.boot;
        match &replica.process {
            Some(process) => {
                let (index, digest) = (process.applier.index(), process.applier.state().outcome_digest());
                self.oracle.applied(id, index, digest, None);
                self.oracle.remembers(id, process.vote_found);
                self.count("starts");
                self.queue.after(TICK, Event::Tick { replica: id, boot });
            }
            None => self.count("refusals to start"),
        }
    }

    /// Lets a running process act: `act`, then everything that follows from it.
    fn with_process(&mut self, id: u64, boot: Option<u64>, act: impl FnOnce(&mut World, &mut Process)) {
        let Some(replica) = self.replicas.get_mut(&id) else {
            return;
        };
        if boot.is_some_and(|boot| boot != replica.boot) {
            return;
        }
        let Some(mut process) = replica.process.take() else {
            return;
        };
        act(self, &mut process);
        self.pump(id, &mut process);
        if let Some(replica) = self.replicas.get_mut(&id) {
            replica.process = Some(process);
        }
    }

    pub(crate) fn replica_tick(&mut self, id: u64, boot: u64) {
        self.with_process(id, Some(boot), |world, process| {
            world.queue.after(TICK, Event::Tick { replica: id, boot });
            process.node.tick();
            let mono = Replica::mono(world.queue.now());
            let status = process.node.status();
            if status.role == Role::Leader
                && process
                    .guard
                    .must_step_down(id, &status.conf_state.voters, mono)
                    .is_some()
                && status.transferring_to.is_none()
                && let Some(heir) = status
                    .peers
                    .iter()
                    .filter(|p| p.recent_active)
                    .max_by_key(|p| p.matched)
                && status.conf_state.voters.contains(&heir.id)
                && process.node.transfer_leader(heir.id).is_ok()
            {
                world.count("clock step-downs");
            }
            let context = process.contexts;
            if status.role == Role::Leader && process.leader.confirmation_due(mono) {
                process.contexts = context + 1;
                process.confirmations.insert(context + 1, mono);
                process.node.read_index(context + 1);
            }
            let planned = process
                .leader
                .plan(process.applier.state(), Timestamp(world.wall_ms(id)), mono);
            world.push_planned(process, planned);
            // A read index may be lost on the way: asked again under a new context.
            let asked: Vec<u64> = process
                .reads
                .iter()
                .filter(|(_, r)| r.index.is_none())
                .map(|(c, _)| *c)
                .collect();
            for old in asked {
                if old + 40 < process.contexts
                    && let Some(read) = process.reads.remove(&old)
                {
                    process.contexts += 1;
                    process.reads.insert(process.contexts, read);
                    process.node.read_index(process.contexts);
                }
            }
            process.contexts += 1;
        });
    }

    fn wall_ms(&self, id: u64) -> u64 {
        self.replicas
            .get(&id)
            .map_or(0, |replica| replica.wall_ms(self.queue.now()))
    }

    fn push_planned(&mut self, process: &mut Process, planned: Vec<hesuan_replica::leader::Planned>) {
        let mono = Replica::mono(self.queue.now());
        for one in planned {
            // Not the leader any more: the next one plans anew.
            let _ = process.bundler.push(0, one.ticket, one.command, mono);
        }
    }

    pub(crate) fn replica_frame(&mut self, to: u64, from: u64, wall_ms: u64, frame: Frame) {
        if !self.network.open(Peer::Replica(from), Peer::Replica(to)) {
            return;
        }
        self.with_process(to, None, |world, process| {
            let now = world.queue.now();
            let mono = Replica::mono(now);
            process.guard.heard(from, wall_ms, world.wall_ms(to), mono);
            // Only members are listened to, but for Raft, which knows better who is one.
            if !matches!(frame, Frame::Raft(_)) && !process.node.conf_state().contains(from) {
                return;
            }
            match frame {
                Frame::Raft(bytes) => {
                    let message = PeerMessage::decode(bytes.as_slice()).expect("what we encoded decodes");
                    match process.node.step(from, message) {
                        Ok(()) => {}
                        Err(error @ NodeError::CommitBeyondLog { .. }) => panic!("replica {to}: {error}"),
                        // A removed member's leftovers.
                        Err(_) => world.count("messages dropped"),
                    }
                }
                Frame::Forward { ticket, command } => {
                    if process.bundler.push(from, ticket, command, mono).is_err() {
                        world.send(to, from, Frame::Refused { ticket });
                    }
                }
                Frame::Refused { ticket } => world.refuse(process, ticket),
                Frame::Heartbeat {
                    site,
                    instance,
                    sent_at_ms,
                } => {
                    let site = hesuan_engine::types::SiteId(site);
                    let grant = process
                        .leader
                        .heartbeat(process.applier.state(), site, instance, sent_at_ms, mono);
                    if let Some(grant) = grant {
                        world.send(
                            to,
                            from,
                            Frame::Lease {
                                site: site.0,
                                instance,
                                grant,
                            },
                        );
                    }
                }
                Frame::Lease { site, instance, grant } => world.hand_lease(process, site, instance, grant),
            }
        });
    }

    fn refuse(&mut self, process: &mut Process, ticket: u64) {
        if let Some(Waiting::Client { client, operation }) = process.waiting.remove(&ticket) {
            self.queue.after(
                ms(1),
                Event::Answer {
                    client,
                    operation,
                    outcome: None,
                },
            );
        }
    }

    fn hand_lease(
        &mut self,
        process: &Process,
        site: u32,
        instance: u128,
        grant: hesuan_api::internal::v1::LeaseGrant,
    ) {
        let session = process
            .sessions
            .iter()
            .find(|(_, s)| s.site_id == site && s.instance == instance && s.attached);
        if let Some((place, session)) = session {
            let (place, stream) = (*place, session.stream);
            self.tell_agent(place, stream, replica_message::Body::LeaseGrant(grant));
        }
    }

    pub(crate) fn replica_synced(&mut self, id: u64, boot: u64, number: u64) {
        let Some(replica) = self
            .replicas
            .get_mut(&id)
            .filter(|r| r.boot == boot && r.process.is_some())
        else {
            return;
        };
        replica.log().sync().expect("memory syncs");
        if self.disk_rng.random_range(0..10) == 0 {
            replica.remember_promise();
        }
        self.with_process(id, Some(boot), |world, process| {
            process.node.persisted(number);
            while process.syncing.front().is_some_and(|(batch, _)| *batch <= number) {
                let Some((_, promises)) = process.syncing.pop_front() else {
                    break;
                };
                world.send_raft(id, promises);
            }
        });
    }

    pub(crate) fn replica_wake(&mut self, id: u64, boot: u64) {
        self.with_process(id, Some(boot), |_, process| process.wake_at = None);
    }

    pub(crate) fn replica_save(&mut self, id: u64, boot: u64, frozen: FrozenSnapshot) {
        self.with_process(id, Some(boot), |world, process| {
            process.saving = false;
            let index = frozen.header().index;
            process.archive.commit(index).expect("memory syncs");
            let segments = process.archive.manifest();
            let stored = frozen.save(&mut process.snapshots, segments).expect("memory takes it");
            process.applier.snapshot_saved(&stored);
            let compact_to = process.archive.durable_index().min(index);
            process.node.snapshot_available(stored.meta());
            process.node.compact_to(compact_to);
            world.count("snapshots");
        });
    }

    pub(crate) fn replica_fetched(&mut self, id: u64, boot: u64, from: u64, meta: SnapshotMeta) {
        if !self
            .replicas
            .get(&id)
            .is_some_and(|r| r.boot == boot && r.process.is_some())
        {
            return;
        }
        let reachable = self.network.open(Peer::Replica(from), Peer::Replica(id));
        let source = self.replicas.get_mut(&from).and_then(|r| r.process.take());
        self.with_process(id, Some(boot), |world, process| {
            let fetched = match &source {
                Some(source) if reachable => fetch(source, process, &meta).is_some(),
                _ => false,
            };
            if fetched {
                world.count("snapshots fetched");
            }
            process
                .node
                .snapshot_fetched(&meta, fetched)
                .expect("a fetched snapshot is taken");
        });
        if let (Some(source), Some(replica)) = (source, self.replicas.get_mut(&from)) {
            replica.process = Some(source);
        }
    }

    /// Everything that is due at a replica, until nothing is.
    fn pump(&mut self, id: u64, process: &mut Process) {
        loop {
            self.propose(id, process);
            let mut acted = false;
            while let Some(output) = process.node.ready() {
                acted = true;
                self.carry_out(id, process, output);
            }
            if !acted {
                break;
            }
        }
        self.ask_to_wake(id, process);
    }

    fn propose(&mut self, id: u64, process: &mut Process) {
        let mono = Replica::mono(self.queue.now());
        let status = process.node.status();
        let in_flight = status.last.saturating_sub(status.commit);
        // A leader whose clock is off stamps nothing.
        if process
            .guard
            .must_step_down(id, &status.conf_state.voters, mono)
            .is_some()
        {
            return;
        }
        while let Some(bundled) = process.bundler.take(self.wall_ms(id), mono, in_flight) {
            match process.node.propose(bundled.data) {
                Ok(()) => {}
                Err(ProposeError::Busy { .. } | ProposeError::Transferring { .. }) => {
                    process.bundler.give_back(bundled.items, mono);
                    return;
                }
                Err(ProposeError::NotLeader { .. }) => return,
                Err(error) => panic!("a bundle cannot be proposed: {error}"),
            }
        }
    }

    fn ask_to_wake(&mut self, id: u64, process: &mut Process) {
        let now = self.queue.now();
        if let Some(wake) = process.bundler.next_wake() {
            let at = u64::try_from(wake.as_micros()).unwrap_or(u64::MAX).max(now + 100);
            if process.wake_at.is_none_or(|earlier| at < earlier) {
                process.wake_at = Some(at);
                let boot = self.replicas.get(&id).map_or(0, |r| r.boot);
                self.queue.after(at - now, Event::Wake { replica: id, boot });
            }
        }
    }

    fn carry_out(&mut self, id: u64, process: &mut Process, output: Output) {
        let boot = self.replicas.get(&id).map_or(0, |r| r.boot);
        if let Some(change) = output.role_changed {
            self.role_changed(id, process, change);
        }
        self.check_no_promise(id, process, &output.send_now);
        self.send_raft(id, output.send_now);
        if let Some(persist) = output.persist {
            let replica = self.replicas.get_mut(&id).expect("it runs");
            replica.log().write(&persist.batch).expect("memory takes it");
            process.syncing.push_back((persist.number, persist.send_after));
            let delay = self.disk_rng.random_range(100..=self.swarm.sync_max);
            self.queue.after(
                delay,
                Event::Synced {
                    replica: id,
                    boot,
                    number: persist.number,
                },
            );
        }
        if let Some(fetch) = output.fetch_snapshot {
            let delay = self.rng.random_range(ms(5)..ms(300));
            self.queue.after(
                delay,
                Event::Fetched {
                    replica: id,
                    boot,
                    from: fetch.from,
                    meta: fetch.meta,
                },
            );
        }
        if let Some(meta) = output.install_snapshot {
            self.install(id, process, &meta);
        }
        for entry in &output.committed {
            self.oracle.committed(id, entry.index, entry.term, &entry.data);
            let conf = output.conf_changed.iter().find(|changed| changed.index == entry.index);
            let applied = process
                .applier
                .apply(entry, conf)
                .unwrap_or_else(|error| panic!("replica {id}: {error}"));
            self.after_apply(id, process, applied, entry.kind == EntryKind::Normal as i32);
            process.node.applied(process.applier.index());
        }
        for (context, index) in output.read_states {
            if let Some(asked_at) = process.confirmations.remove(&context) {
                process.leader.confirmed(asked_at);
            }
            if let Some(read) = process.reads.get_mut(&context) {
                read.index = Some(index);
            }
        }
        self.answer_reads(process);
        if output.snapshot_wanted && process.applier.snapshot_wanted() {
            self.freeze(id, process);
        }
    }

    /// Votes and acknowledgements promise something: none may leave before it is durable, as the disk model sees it.
    fn check_no_promise(&mut self, id: u64, process: &Process, messages: &[(u64, PeerMessage)]) {
        for (_, message) in messages {
            // An answer with index 0 only tells an old leader the new term.
            let promise = match MessageKind::try_from(message.kind) {
                Ok(MessageKind::AppendResponse) => message.index > 0,
                Ok(MessageKind::RequestVoteResponse) => true,
                _ => false,
            };
            assert!(
                !promise || message.reject || process.syncing.is_empty(),
                "no promise before its sync: replica {id} sends {message:?} while writes wait"
            );
        }
    }

    fn role_changed(&mut self, id: u64, process: &mut Process, change: RoleChange) {
        let mono = Replica::mono(self.queue.now());
        if change.role == Role::Leader {
            self.oracle.leads(id, change.term);
            self.count("leaders");
            let state = process.applier.state();
            process.bundler.become_leader(state.level(), state.at());
            process.leader.become_leader(change.term, mono);
        } else {
            process.leader.step_down();
            for item in process.bundler.step_down() {
                if item.origin == id {
                    self.refuse(process, item.ticket);
                } else if item.origin != 0 {
                    self.send(id, item.origin, Frame::Refused { ticket: item.ticket });
                }
            }
        }
    }

    fn install(&mut self, id: u64, process: &mut Process, meta: &SnapshotMeta) {
        let stored = process
            .snapshots
            .latest(meta.index)
            .expect("it was just fetched")
            .filter(|stored| stored.header.index == meta.index)
            .expect("a fetched snapshot is there");
        process
            .archive
            .start_at(meta.index, stored.header.archived)
            .expect("its segments were fetched before");
        process
            .applier
            .install(&process.snapshots, &stored)
            .unwrap_or_else(|error| panic!("replica {id}: {error}"));
        process.leader.state_replaced(process.applier.state());
        process.node.applied(process.applier.index());
        self.oracle.applied(
            id,
            process.applier.index(),
            process.applier.state().outcome_digest(),
            None,
        );
        // Everybody here gets everything again.
        let sites: Vec<usize> = process
            .sessions
            .iter()
            .filter(|(_, s)| s.attached)
            .map(|(site, _)| *site)
            .collect();
        for site in sites {
            self.tell_all(process, site);
        }
    }

    fn after_apply(&mut self, id: u64, process: &mut Process, applied: Applied, normal: bool) {
        let mono = Replica::mono(self.queue.now());
        for (number, record) in &applied.archive {
            process.archive.append(*number, record).expect("memory takes it");
        }
        let state = process.applier.state();
        // The chain of outcomes is compared at every entry; the whole state, which costs far more, as often as asked.
        let whole = normal && applied.index.is_multiple_of(self.depth);
        let hash = whole.then(|| state.freeze().full_hash());
        self.oracle.applied(id, applied.index, state.outcome_digest(), hash);
        if whole {
            state.check();
        }
        self.oracle.state(state);
        process.bundler.applied(state.level(), state.at());
        process.leader.observe(state, &applied);
        if applied
            .effects
            .contains(&hesuan_engine::outcome::Effect::PrincipalsChanged)
        {
            let state = process.applier.state();
            self.learn_principals(state);
        }
        for answer in &applied.replies {
            if answer.origin == id
                && let Some(waiting) = process.waiting.remove(&answer.ticket)
            {
                self.answer(process, waiting, answer.outcome.clone());
            }
        }
        self.tell_agents(process, &applied.effects);
        let planned = process
            .leader
            .plan(process.applier.state(), Timestamp(self.wall_ms(id)), mono);
        self.push_planned(process, planned);
        if applied.snapshot_due {
            self.freeze(id, process);
        }
    }

    fn freeze(&mut self, id: u64, process: &mut Process) {
        if std::mem::replace(&mut process.saving, true) {
            return;
        }
        let frozen = Box::new(process.applier.freeze());
        let boot = self.replicas.get(&id).map_or(0, |r| r.boot);
        let delay = self.rng.random_range(ms(1)..ms(100));
        self.queue.after(
            delay,
            Event::Save {
                replica: id,
                boot,
                frozen,
            },
        );
    }

    fn answer(&mut self, process: &mut Process, waiting: Waiting, outcome: hesuan_engine::outcome::Outcome) {
        match waiting {
            Waiting::Client { client, operation } => {
                self.queue.after(
                    ms(1),
                    Event::Answer {
                        client,
                        operation,
                        outcome: Some(outcome),
                    },
                );
            }
            Waiting::Attach { site, stream } => {
                let Some(session) = process.sessions.get_mut(&site).filter(|s| s.stream == stream) else {
                    return;
                };
                match outcome.reply {
                    Ok(_) => {
                        session.attached = true;
                        self.tell_all(process, site);
                    }
                    Err(_) => {
                        process.sessions.remove(&site);
                        self.count("attachments refused");
                        self.hang_up(site, stream);
                    }
                }
            }
            Waiting::Nobody => {}
        }
    }

    fn answer_reads(&mut self, process: &mut Process) {
        let applied = process.applier.index();
        let due: Vec<u64> = process
            .reads
            .iter()
            .filter(|(_, r)| r.index.is_some_and(|i| i <= applied))
            .map(|(c, _)| *c)
            .collect();
        for context in due {
            let Some(Read {
                client, operation, job, ..
            }) = process.reads.remove(&context)
            else {
                continue;
            };
            let archived = || process.archive.find_job(job).is_ok_and(|record| !record.is_empty());
            let found = process.applier.state().job(JobId(job)).is_some() || archived();
            self.queue.after(
                ms(1),
                Event::ReadAnswer {
                    client,
                    operation,
                    found,
                },
            );
        }
    }

    fn send_raft(&mut self, from: u64, messages: Vec<(u64, PeerMessage)>) {
        for (to, message) in messages {
            if message.kind == MessageKind::RequestVoteResponse as i32 && !message.reject {
                self.oracle.voted(from, message.term, to);
            }
            self.send(from, to, Frame::Raft(message.encode_to_vec()));
        }
    }

    /// Takes a command at this replica: into its own bundle, or once to the leader.
    pub(crate) fn take_command(
        &mut self,
        id: u64,
        process: &mut Process,
        principal: u32,
        body: Body,
        waiting: Waiting,
    ) {
        let command = match encode_command(PrincipalId(principal), body) {
            Ok(command) => command,
            Err(rejection) => panic!("the simulator sends only sound requests: {rejection:?}"),
        };
        process.tickets += 1;
        let ticket = process.tickets;
        process.waiting.insert(ticket, waiting);
        let mono = Replica::mono(self.queue.now());
        match process.node.leader() {
            Some(leader) if leader != id => self.send(id, leader, Frame::Forward { ticket, command }),
            Some(_) => {
                if let Err(PushError::Busy { .. } | PushError::NotLeader) =
                    process.bundler.push(id, ticket, command, mono)
                {
                    self.refuse(process, ticket);
                }
            }
            None => self.refuse(process, ticket),
        }
    }

    /// A client's call arrives.
    pub(crate) fn client_asks(&mut self, client: usize, operation: u64, replica: u64) {
        let read = (client != super::world::SCENE_CLIENT)
            .then(|| self.clients[client].current.as_ref().filter(|c| c.number == operation))
            .flatten()
            .and_then(|current| match current.kind {
                super::client::Kind::Read { job } => Some(job),
                _ => None,
            });
        if let Some(job) = read {
            self.with_process(replica, None, |_, process| {
                process.contexts += 1;
                process.reads.insert(
                    process.contexts,
                    Read {
                        client,
                        operation,
                        job,
                        index: None,
                    },
                );
                process.node.read_index(process.contexts);
            });
            return;
        }
        let Some((principal, body)) = self.operation(client, operation) else {
            return;
        };
        self.with_process(replica, None, |world, process| {
            world.take_command(replica, process, principal, body, Waiting::Client { client, operation });
        });
    }

    /// A message of an agent arrives at its replica.
    pub(crate) fn agent_message(
        &mut self,
        site: usize,
        stream: super::site::Stream,
        message: hesuan_api::internal::v1::AgentMessage,
    ) {
        let id = stream.replica;
        if !self.network.open(Peer::Agent(site), Peer::Replica(id)) {
            self.hang_up(site, stream.number);
            return;
        }
        let node_principal = format!("{}-node", super::SITES[site].0);
        let Some(principal) = self.principal_of(&node_principal) else {
            return;
        };
        self.with_process(id, Some(stream.replica_boot), |world, process| match message.body {
            Some(agent_message::Body::Hello(hello)) => world.hello(id, process, site, stream.number, principal, hello),
            Some(agent_message::Body::Reports(Reports { reports }))
                if process
                    .sessions
                    .get(&site)
                    .is_some_and(|s| s.stream == stream.number && s.attached) =>
            {
                let body = Body::Reports(Reports { reports });
                world.take_command(id, process, principal, body, Waiting::Nobody);
            }
            Some(agent_message::Body::Heartbeat(heartbeat)) => {
                let Some(session) = process
                    .sessions
                    .get(&site)
                    .filter(|s| s.stream == stream.number && s.attached)
                else {
                    return;
                };
                let (site_id, instance) = (session.site_id, session.instance);
                match process.node.leader() {
                    Some(leader) if leader == id => {
                        let mono = Replica::mono(world.queue.now());
                        let site = hesuan_engine::types::SiteId(site_id);
                        let state = process.applier.state();
                        let grant = process
                            .leader
                            .heartbeat(state, site, instance, heartbeat.sent_at_ms, mono);
                        if let Some(grant) = grant {
                            world.hand_lease(process, site_id, instance, grant);
                        }
                    }
                    Some(leader) => {
                        let frame = Frame::Heartbeat {
                            site: site_id,
                            instance,
                            sent_at_ms: heartbeat.sent_at_ms,
                        };
                        world.send(id, leader, frame);
                    }
                    None => {}
                }
            }
            _ => {}
        });
    }
}

/// Copies a snapshot and the archive's segments it counts on, as the peers' streams do.
fn fetch(source: &Process, process: &mut Process, meta: &SnapshotMeta) -> Option<()> {
    let mut receiver = process.snapshots.receive(meta.clone()).ok()?;
    let mut offset = 0;
    loop {
        let bytes = source.snapshots.read(meta.index, meta.term, offset, 10_000).ok()?;
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        process.snapshots.receive_bytes(&mut receiver, &bytes).ok()?;
    }
    for segment in process.archive.missing(receiver.segments()).ok()? {
        let mut receiver = process.archive.receive(segment.clone()).ok()?;
        let mut offset = 0;
        while offset < segment.bytes {
            let wanted = usize::try_from(segment.bytes - offset).ok()?.min(4_096);
            let bytes = source.archive.read_segment(segment.segment, offset, wanted).ok()?;
            if bytes.is_empty() {
                return None;
            }
            offset += bytes.len() as u64;
            process.archive.receive_bytes(&mut receiver, &bytes).ok()?;
        }
        process.archive.receive_end(receiver).ok()?;
    }
    process.snapshots.receive_end(receiver, &mut process.archive).ok()?;
    Some(())
}

impl World {
    fn tell_all(&mut self, process: &Process, site: usize) {
        let Some(session) = process.sessions.get(&site) else {
            return;
        };
        let stream = session.stream;
        let state = process.applier.state();
        let Some(site_id) = state.site_by_name(super::SITES[site].0).map(|s| s.id) else {
            return;
        };
        let assignments = hesuan_api::internal::v1::Assignments {
            complete: true,
            assigned: state
                .assignments(site_id)
                .map(|view| hesuan_api::assignment::message(&view))
                .collect(),
            withdrawn: Vec::new(),
            applied_index: state.applied_index(),
        };
        let welcome = hesuan_api::internal::v1::Welcome {
            cluster_id: state.cluster_id().to_vec(),
            replica_id: 0,
            restore_epoch: state.restore_epoch(),
        };
        self.tell_agent(site, stream, replica_message::Body::Welcome(welcome));
        self.tell_agent(site, stream, replica_message::Body::Assignments(assignments));
    }
}
