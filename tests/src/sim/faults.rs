//! The storm: crashes, cuts, transfers, changes of membership, each kind at the rate the seed has.

use hesuan_api::internal::v1::AddMember;
use hesuan_api::internal::v1::command::Body;
use hesuan_replica::node::Role;
use hesuan_replica::wire::ConfChange;
use rand::RngExt as _;

use super::network::Peer;
use super::queue::ms;
use super::replica::{Replica, Waiting};
use super::world::{Event, Fault, World};

/// Replicas that ever were, at most.
const REPLICAS_MAX: u64 = 60;

impl World {
    /// Draws when the next fault of a kind comes.
    pub(crate) fn next_fault(&mut self, fault: Fault) {
        let per_minute = match fault {
            Fault::Crash => self.swarm.crashes_per_minute,
            Fault::PowerCut => self.swarm.power_cuts_per_minute,
            Fault::Cut => self.swarm.cuts_per_minute,
            Fault::AgentCrash => self.swarm.agent_crashes_per_minute,
            Fault::Transfer => self.swarm.transfers_per_minute,
            Fault::Members => self.swarm.member_changes_per_minute,
        };
        if per_minute > 0 && self.stormy {
            let mean = ms(60_000) / u64::from(per_minute);
            let delay = self.faults_rng.random_range(mean / 4..mean * 2);
            self.queue.after(delay, Event::Fault(fault));
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        if !self.stormy {
            return;
        }
        match fault {
            Fault::Crash => {
                if let Some(id) = self.any_running() {
                    self.crash(id, true);
                }
            }
            Fault::PowerCut => {
                self.count("power cuts");
                for id in self.replicas.keys().copied().collect::<Vec<_>>() {
                    self.crash(id, false);
                }
            }
            Fault::Cut => self.cut(),
            Fault::AgentCrash => {
                let site = self.faults_rng.random_range(0..self.sites.len());
                let machine = self.faults_rng.random_range(0..3) == 0;
                self.site_crash(site, machine);
                let delay = self.faults_rng.random_range(ms(50)..ms(12_000));
                self.queue.after(delay, Event::SiteStart { site });
            }
            Fault::Transfer => self.transfer(),
            Fault::Members => self.change_members(),
        }
        self.next_fault(fault);
    }

    fn all_members_run(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(process) = self.replicas.get(&leader).and_then(|r| r.process.as_ref()) else {
            return false;
        };
        let conf = process.node.conf_state();
        let runs = |id: &u64| self.replicas.get(id).is_some_and(|r| r.process.is_some());
        !conf.is_joint() && conf.learners.is_empty() && conf.voters.len() == 3 && conf.voters.iter().all(runs)
    }

    /// A replica loses power and comes back later. What it had not synced is kept or lost, and torn if it `may_tear`.
    pub(crate) fn crash(&mut self, id: u64, may_tear: bool) {
        // A replica whose store was torn must be replaced, so only one at a time may be, or no quorum would be left to do it.
        let torn = may_tear && self.swarm.torn_writes && self.all_members_run();
        let Some(replica) = self.replicas.get_mut(&id).filter(|r| r.process.is_some()) else {
            return;
        };
        replica.crash(torn, &mut self.disk_rng);
        self.count("crashes");
        let delay = self.faults_rng.random_range(ms(20)..ms(6_000));
        self.queue.after(delay, Event::Start { replica: id });
    }

    fn cut(&mut self) {
        self.count("cuts");
        let mut ends: Vec<Peer> = self.replicas.keys().map(|id| Peer::Replica(*id)).collect();
        ends.extend((0..self.sites.len()).map(Peer::Agent));
        let one = ends[self.faults_rng.random_range(0..ends.len())];
        let one_way = self.faults_rng.random_range(0..2) == 0;
        // Either one end is alone, or one link is cut.
        let alone = self.faults_rng.random_range(0..2) == 0;
        let other = ends[self.faults_rng.random_range(0..ends.len())];
        for end in ends.into_iter().filter(|end| *end != one && (alone || *end == other)) {
            self.network.cut(one, end);
            if !one_way {
                self.network.cut(end, one);
            }
        }
        let delay = self.faults_rng.random_range(ms(200)..ms(20_000));
        self.queue.after(delay, Event::Mend);
    }

    fn leader(&self) -> Option<u64> {
        let leads = |r: &&Replica| r.process.as_ref().is_some_and(|p| p.node.role() == Role::Leader);
        self.replicas
            .values()
            .filter(leads)
            .max_by_key(|r| r.process.as_ref().map(|p| p.node.term()))
            .map(|r| r.id)
    }

    fn transfer(&mut self) {
        let Some(leader) = self.leader() else { return };
        let Some(process) = self.replicas.get_mut(&leader).and_then(|r| r.process.as_mut()) else {
            return;
        };
        let voters = process.node.conf_state().voters;
        let heir = voters[self.faults_rng.random_range(0..voters.len())];
        if process.node.transfer_leader(heir).is_ok() {
            self.count("transfers");
        }
    }

    /// One step of a member's life: a new one is added, promoted when it has caught up, and an old one removed. A replica that
    /// refuses to start is replaced this way.
    pub(crate) fn change_members(&mut self) {
        let Some(leader) = self.leader() else { return };
        let refused: Vec<u64> = self
            .replicas
            .values()
            .filter(|r| r.refused.is_some())
            .map(|r| r.id)
            .collect();
        let Some(mut process) = self.replicas.get_mut(&leader).and_then(|r| r.process.take()) else {
            return;
        };
        let conf = process.node.conf_state();
        // A learner that never came up is given up.
        let gone = conf.learners.iter().find(|id| refused.contains(id));
        let change = if let Some(learner) = gone {
            Some(ConfChange::remove(*learner, bytes::Bytes::new()))
        } else if let Some(learner) = conf.learners.first() {
            Some(ConfChange::promote(*learner, bytes::Bytes::new()))
        } else if conf.voters.len() > 3 {
            let victim = conf
                .voters
                .iter()
                .copied()
                .filter(|id| *id != leader)
                .max_by_key(|id| (refused.contains(id), std::cmp::Reverse(*id)));
            victim.map(|id| ConfChange::remove(id, bytes::Bytes::new()))
        } else if self.next_replica_id <= REPLICAS_MAX {
            let id = self.next_replica_id;
            let add = AddMember {
                id,
                name: format!("replica-{id}"),
                peer_address: format!("10.0.0.{id}:7444"),
                client_address: format!("10.0.0.{id}:7443"),
            };
            self.take_command(leader, &mut process, 1, Body::AddMember(add), Waiting::Nobody);
            Some(ConfChange::add_learner(id, bytes::Bytes::new()))
        } else {
            None
        };
        if let Some(change) = change {
            let added = change
                .changes
                .first()
                .filter(|c| c.kind == hesuan_replica::wire::MemberChangeKind::Learner as i32)
                .map(|c| c.id);
            if process.node.propose_conf_change(change).is_ok() {
                self.count("member changes");
                if let Some(id) = added {
                    self.next_replica_id += 1;
                    let offset = self.faults_rng.random_range(
                        -self.swarm.clock_offset_ms_max.min(2_000)..=self.swarm.clock_offset_ms_max.min(2_000),
                    );
                    self.replicas.insert(id, Replica::new(id, None, offset));
                    self.queue.after(ms(100), Event::Start { replica: id });
                }
            }
        }
        if let Some(replica) = self.replicas.get_mut(&leader) {
            replica.process = Some(process);
        }
    }
}
