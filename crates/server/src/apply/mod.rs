//! The APPLY thread: owns the state machine, the leader's soft state and the planner. Committed entries go in; answers to waiting
//! clients, news for agents and, on the leader, decisions come out. It never waits for the network, and for a disk only
//! while it replaces its state by a fetched snapshot.

mod ring;
mod sessions;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use hesuan_api::internal::v1::frame::Body;
use hesuan_api::internal::v1::{Heartbeat, LeaseGrant, SiteLease};
use hesuan_engine::outcome::Effect;
use hesuan_engine::types::{SiteId, Timestamp};
use hesuan_replica::applier::{Applied, Applier, ApplierConfig};
use hesuan_replica::leader::{Leader, PLAN_EVERY};
use hesuan_replica::node::{ConfChanged, Role, RoleChange};
use hesuan_replica::snapshot::Stored;
use hesuan_replica::wire::{LogEntry, SnapshotMeta};
use tokio::sync::watch;

use crate::clock::{Monotonic, wall_ms};
use crate::disk::{DiskHandle, must};
use crate::fatal::fatal;
use crate::peer::Peers;
use crate::raft::{self, RaftHandle};
use crate::waiters::{Answer, Waiters};
use sessions::Sessions;

pub(crate) use ring::{Place, Since};
pub(crate) use sessions::ToAgent;
pub(crate) use view::{ApplyHandle, Query, View};

/// Inputs taken before agents are told and the leader plans.
const DRAIN_MAX: usize = 256;

/// What the APPLY thread is told.
pub(crate) enum Input {
    /// Entries to apply, in order, and what became of the membership changes among them.
    Committed {
        entries: Vec<LogEntry>,
        conf_changed: Vec<ConfChanged>,
    },
    /// Questions that may be answered once this index is applied.
    ReadAt { index: u64, queries: Vec<Query> },
    /// A question about the state as it is here and now.
    Ask(Query),
    /// Our role, leader or term is new.
    Role(RoleChange),
    /// An agent is alive; `from` is the replica it hangs on.
    Heartbeat {
        site: SiteId,
        instance: u128,
        heartbeat: Heartbeat,
        from: u64,
    },
    /// The leader's answer to a heartbeat of an agent here.
    Lease {
        site: SiteId,
        instance: u128,
        grant: LeaseGrant,
    },
    /// An agent's attach was applied: serve it.
    AgentCame {
        site: SiteId,
        instance: u128,
        to_agent: ToAgent,
    },
    /// Its stream has ended.
    AgentLeft { site: SiteId, instance: u128 },
    /// Replace the state by this fetched snapshot.
    Install(SnapshotMeta),
    /// A quorum says that nobody else led in this term up to this instant.
    Confirmed { term: u64, asked_at: Duration },
    /// A peer needs a snapshot.
    SnapshotWanted,
    /// A snapshot is on disk.
    SnapshotSaved(Box<Stored>),
    /// The process ends.
    Stop,
}

/// Whom the thread talks to.
pub(crate) struct Around {
    pub(crate) id: u64,
    pub(crate) peers: Arc<Peers>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) raft: RaftHandle,
    /// This very thread.
    pub(crate) this: ApplyHandle,
    pub(crate) disk: DiskHandle,
    /// Rises when tokens may have changed.
    pub(crate) principals_version: Arc<AtomicU64>,
    /// The place of the last change of a job, for watchers to wake on.
    pub(crate) changes: watch::Sender<Place>,
}

/// The thread's own data.
pub(crate) struct Apply {
    applier: Applier,
    applier_config: ApplierConfig,
    leader: Leader,
    /// The term this replica leads in.
    leading: Option<u64>,
    sessions: Sessions,
    ring: ring::Ring,
    waiting_reads: BTreeMap<u64, Vec<Query>>,
    inputs: Receiver<Input>,
    asking: Arc<AtomicUsize>,
    around: Around,
    clock: Monotonic,
    told_index: u64,
}

/// The thread's ends of what [`channel`] makes.
pub(crate) struct Wiring {
    inputs: Receiver<Input>,
    asking: Arc<AtomicUsize>,
}

/// Makes the channel and the handle before the other threads exist.
pub(crate) fn channel(asking_max: usize) -> (ApplyHandle, Wiring) {
    let (inputs, received) = mpsc::channel();
    let asking = Arc::new(AtomicUsize::new(0));
    (
        ApplyHandle {
            inputs,
            asking: Arc::clone(&asking),
            asking_max,
        },
        Wiring {
            inputs: received,
            asking,
        },
    )
}

impl Apply {
    /// Puts the thread's data together.
    pub(crate) fn new(
        applier: Applier,
        applier_config: ApplierConfig,
        leader: Leader,
        wiring: Wiring,
        around: Around,
    ) -> Apply {
        let index = applier.index();
        Apply {
            applier,
            applier_config,
            leader,
            leading: None,
            sessions: Sessions::default(),
            ring: ring::Ring::after(index),
            waiting_reads: BTreeMap::new(),
            inputs: wiring.inputs,
            asking: wiring.asking,
            around,
            clock: Monotonic::start(),
            told_index: index,
        }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        self.members_changed();
        loop {
            let mut next = match self.inputs.recv_timeout(PLAN_EVERY) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut taken = 0;
            while let Some(input) = next {
                if matches!(input, Input::Stop) {
                    return;
                }
                self.take(input);
                taken += 1;
                next = if taken < DRAIN_MAX {
                    self.inputs.try_recv().ok()
                } else {
                    None
                };
            }
            self.tell_applied();
            self.sessions.tell(self.applier.state());
            self.lead();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Committed { entries, conf_changed } => self.apply(&entries, &conf_changed),
            Input::ReadAt { index, queries } => {
                self.waiting_reads.entry(index).or_default().extend(queries);
                self.answer_reads();
            }
            Input::Ask(query) => {
                self.asking.fetch_sub(1, Ordering::Relaxed);
                self.answer([query]);
            }
            Input::Role(change) => self.role_changed(change),
            Input::Heartbeat {
                site,
                instance,
                heartbeat,
                from,
            } => self.heartbeat(site, instance, &heartbeat, from),
            Input::Lease { site, instance, grant } => self.sessions.lease(site, instance, grant),
            Input::AgentCame {
                site,
                instance,
                to_agent,
            } => {
                // What is noted must not be told twice: once in the complete list and once as news.
                self.sessions.tell(self.applier.state());
                self.sessions
                    .open(site, instance, to_agent, self.around.id, self.applier.state());
            }
            Input::AgentLeft { site, instance } => self.sessions.close(site, instance),
            Input::Install(meta) => self.install(meta),
            Input::Confirmed { term, asked_at } => {
                if self.leading == Some(term) {
                    self.leader.confirmed(asked_at);
                }
            }
            Input::SnapshotWanted => {
                if self.applier.snapshot_wanted() {
                    self.save_snapshot();
                }
            }
            Input::SnapshotSaved(stored) => self.applier.snapshot_saved(&stored),
            Input::Stop => {}
        }
    }

    fn apply(&mut self, entries: &[LogEntry], conf_changed: &[ConfChanged]) {
        let mut archive = Vec::new();
        for entry in entries {
            let conf = conf_changed.iter().find(|changed| changed.index == entry.index);
            let applied = match self.applier.apply(entry, conf) {
                Ok(applied) => applied,
                Err(error) => fatal("an entry cannot be applied", error),
            };
            if self.leading.is_some() {
                self.leader.observe(self.applier.state(), &applied);
            }
            let Applied {
                index,
                replies,
                effects,
                archive: records,
                snapshot_due,
                ..
            } = applied;
            for answer in replies {
                if answer.origin == self.around.id {
                    self.around
                        .waiters
                        .answer(answer.ticket, Answer::Applied(answer.outcome));
                }
            }
            self.note(index, &effects);
            archive.extend(records);
            if snapshot_due {
                self.send_to_archive(std::mem::take(&mut archive));
                self.save_snapshot();
            }
        }
        self.send_to_archive(archive);
        self.answer_reads();
    }

    fn note(&mut self, index: u64, effects: &[Effect]) {
        let mut position = 0;
        for effect in effects {
            self.sessions.note(effect);
            match effect {
                Effect::JobChanged(job) => {
                    self.ring.push(Place { index, position }, *job);
                    position += 1;
                }
                Effect::MembersChanged => self.members_changed(),
                Effect::PrincipalsChanged => {
                    self.around.principals_version.fetch_add(1, Ordering::Release);
                }
                _ => {}
            }
        }
        if position > 0 && self.around.changes.receiver_count() > 0 {
            self.around.changes.send_replace(self.ring.head());
        }
    }

    fn send_to_archive(&self, records: Vec<(u64, hesuan_replica::archive::Record)>) {
        if records.is_empty() {
            return;
        }
        self.around.disk.submit(move |disk| {
            for (number, record) in &records {
                must("the archive cannot be written", disk.archive().append(*number, record));
            }
        });
    }

    /// Freezing is cheap; the rest is the SNAP worker's. The archive must be durable first, because the log goes after.
    fn save_snapshot(&mut self) {
        let frozen = self.applier.freeze();
        let (raft, apply) = (self.around.raft.clone(), self.around.this.clone());
        self.around.disk.submit(move |disk| {
            let index = frozen.header().index;
            must("the archive cannot be synced", disk.archive().commit(index));
            let segments = disk.archive().manifest();
            let stored = must(
                "a snapshot cannot be written",
                frozen.save(&mut disk.snapshots, segments),
            );
            let compact_to = disk.archive().durable_index().min(index);
            raft.tell(raft::Input::SnapshotSaved {
                meta: stored.meta(),
                compact_to,
            });
            apply.tell(Input::SnapshotSaved(Box::new(stored)));
        });
    }

    fn install(&mut self, meta: SnapshotMeta) {
        let config = self.applier_config;
        let (sender, restored) = mpsc::channel();
        self.around.disk.submit(move |disk| {
            let stored = match disk.snapshots.latest(meta.index) {
                Ok(Some(stored)) if stored.header.index == meta.index => stored,
                Ok(_) => fatal("a fetched snapshot is gone", meta.index),
                Err(error) => fatal("a fetched snapshot cannot be read", error),
            };
            must(
                "the archive lacks what the snapshot counts on",
                disk.archive().start_at(meta.index, stored.header.archived),
            );
            let _ = sender.send(must(
                "a fetched snapshot cannot be used",
                Applier::restore(config, &disk.snapshots, &stored),
            ));
        });
        match restored.recv() {
            Ok(applier) => self.applier = applier,
            Err(_) => fatal("a fetched snapshot cannot be read", "the SNAP worker is gone"),
        }
        self.ring = ring::Ring::after(self.applier.index());
        self.around.changes.send_replace(self.ring.head());
        self.around.principals_version.fetch_add(1, Ordering::Release);
        self.members_changed();
        self.sessions.tell_all(self.applier.state());
        self.leader.state_replaced(self.applier.state());
        self.answer_reads();
    }

    /// The peers to talk to are the members of the present configuration, less this replica.
    fn members_changed(&self) {
        let conf = self.applier.conf_state();
        let members = self.applier.state().members().iter();
        let others = members.filter(|member| member.id != self.around.id && conf.contains(member.id));
        self.around.peers.set(
            &others
                .map(|member| (member.id, member.peer_address.to_string()))
                .collect(),
        );
    }

    fn role_changed(&mut self, change: RoleChange) {
        let leads = (change.role == Role::Leader).then_some(change.term);
        if leads == self.leading {
            return;
        }
        self.leading = leads;
        match leads {
            Some(term) => self.leader.become_leader(term, self.now()),
            None => self.leader.step_down(),
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.clock.ms())
    }

    fn heartbeat(&mut self, site: SiteId, instance: u128, heartbeat: &Heartbeat, from: u64) {
        // An agent on a replica that was removed gets no lease there, and so looks for another.
        if self.leading.is_none() || !self.applier.conf_state().contains(from) {
            return;
        }
        let now = self.now();
        let Some(grant) = self
            .leader
            .heartbeat(self.applier.state(), site, instance, heartbeat.sent_at_ms, now)
        else {
            return;
        };
        if from == self.around.id {
            self.sessions.lease(site, instance, grant);
        } else {
            let lease = SiteLease {
                site: site.0,
                instance: instance.to_be_bytes().to_vec(),
                grant: Some(grant),
            };
            self.around.peers.send(from, [Body::SiteLease(lease)]);
        }
    }

    fn lead(&mut self) {
        let Some(term) = self.leading else { return };
        let now = self.now();
        if self.leader.confirmation_due(now) {
            self.around.raft.tell(raft::Input::Confirm { term, asked_at: now });
        }
        let planned = self.leader.plan(self.applier.state(), Timestamp(wall_ms()), now);
        if !planned.is_empty() {
            self.around.raft.tell(raft::Input::Planned { term, planned });
        }
    }

    fn tell_applied(&mut self) {
        let index = self.applier.index();
        if index > self.told_index {
            self.told_index = index;
            let state = self.applier.state();
            self.around.raft.tell(raft::Input::Applied {
                index,
                level: state.level(),
                at: state.at(),
            });
        }
    }

    fn answer_reads(&mut self) {
        let later = self.waiting_reads.split_off(&(self.applier.index() + 1));
        let ready = std::mem::replace(&mut self.waiting_reads, later);
        self.answer(ready.into_values().flatten());
    }

    fn answer(&self, queries: impl IntoIterator<Item = Query>) {
        let now = self.now();
        let state = self.applier.state();
        // Who does not lead knows of no lease; an agent that is not given up is taken for alive.
        let attached = |site| {
            state
                .site(site)
                .is_some_and(|site| site.agent.is_some() && site.lost_at.is_none())
        };
        let leads = self.leader.is_established();
        let site_up = |site| {
            if leads {
                self.leader.is_up(state, site, now)
            } else {
                attached(site)
            }
        };
        let view = View {
            state,
            planner: self.leader.planner(),
            site_up: &site_up,
            ring: &self.ring,
            wall_ms: wall_ms(),
        };
        for query in queries {
            query.run(&view);
        }
    }
}
