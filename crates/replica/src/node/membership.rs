//! Changes of membership: one at a time, voters only through a joint configuration that the leader leaves by itself, and
//! never against the leader, because raft-rs 0.7 lets a removed leader carry on (its issue 584).

use raft::eraftpb::ConfChangeV2;
use raft::{Changer, Progress};

use super::{ConfChanged, Node, ProposeError, Role};
use crate::store::AppliedConf;
use crate::wire::{ConfChange, ConfState, LogEntry, MemberChange, MemberChangeKind, Transition};

/// A learner further behind than this is not promoted: the quorum would wait for it.
const PROMOTE_LAG_MAX: u64 = 10_000;

impl Node {
    /// Proposes a change of membership. Whether it goes through a joint configuration is decided here. Its fate comes in
    /// `conf_changed`, and the end of the joint configuration as another change.
    pub fn propose_conf_change(&mut self, mut change: ConfChange) -> Result<(), ProposeError> {
        self.check_may_propose()?;
        let conf = self.conf_state();
        if self.raw.raft.has_pending_conf() || conf.is_joint() {
            return Err(ProposeError::ConfChangePending);
        }
        if change.changes.is_empty() {
            return Err(ProposeError::ConfChange("it changes nothing".to_owned()));
        }
        for member in &change.changes {
            self.check_member_change(member, &conf)?;
        }
        let touches_voters =
            |member: &MemberChange| member.kind == MemberChangeKind::Voter as i32 || conf.voters.contains(&member.id);
        let joint = change.changes.len() > 1 || change.changes.iter().any(touches_voters);
        change.transition = if joint { Transition::Joint } else { Transition::Simple } as i32;
        let change = change
            .to_raft()
            .map_err(|error| ProposeError::ConfChange(error.to_string()))?;
        let mut changer = Changer::new(self.raw.raft.prs());
        let tried = if joint {
            changer.enter_joint(false, &change.changes)
        } else {
            changer.simple(&change.changes)
        };
        tried.map_err(|error| ProposeError::ConfChange(error.to_string()))?;
        self.raw
            .propose_conf_change(Vec::new(), change)
            .map_err(|_| self.busy())
    }

    fn check_member_change(&self, member: &MemberChange, conf: &ConfState) -> Result<(), ProposeError> {
        let id = member.id;
        let refuse = |what: String| Err(ProposeError::ConfChange(what));
        match MemberChangeKind::try_from(member.kind) {
            _ if id == 0 => refuse("0 is not a replica id".to_owned()),
            Ok(MemberChangeKind::Voter) if conf.voters.contains(&id) => refuse(format!("{id} already votes")),
            Ok(MemberChangeKind::Voter) if !conf.learners.contains(&id) => {
                refuse(format!("{id} is not a learner; replicas join as learners"))
            }
            Ok(MemberChangeKind::Voter) => self.check_caught_up(id),
            Ok(MemberChangeKind::Learner) if conf.learners.contains(&id) => {
                refuse(format!("{id} is a learner already"))
            }
            Ok(MemberChangeKind::Remove) if !conf.contains(id) => refuse(format!("{id} is not a member")),
            Ok(MemberChangeKind::Learner | MemberChangeKind::Remove) if id == self.config.id => {
                Err(ProposeError::RemovesLeader(id))
            }
            Ok(MemberChangeKind::Learner | MemberChangeKind::Remove) => Ok(()),
            Err(_) => refuse("unknown kind of change".to_owned()),
        }
    }

    fn check_caught_up(&self, id: u64) -> Result<(), ProposeError> {
        let progress = self.raw.raft.prs().get(id);
        let lag = self.raw.raft.raft_log.last_index() - progress.map_or(0, |progress| progress.matched);
        // One just added counts as active before it ever answered.
        let answered = progress.is_some_and(|progress| progress.recent_active && progress.matched > 0);
        if answered && lag <= PROMOTE_LAG_MAX {
            return Ok(());
        }
        Err(ProposeError::ConfChange(format!(
            "learner {id} is not reachable or {lag} entries behind"
        )))
    }

    /// Puts a committed change into force. Every replica does so at the same place in the log with the same result.
    pub(super) fn apply_conf_change(&mut self, entry: &LogEntry) -> ConfChanged {
        let change = ConfChange::from_entry(entry).and_then(|change| change.to_raft());
        let applied = change.ok().and_then(|change| self.raw.apply_conf_change(&change).ok());
        let changed = ConfChanged {
            index: entry.index,
            accepted: applied.is_some(),
            conf_state: self.conf_state(),
        };
        if self.stored_conf.applied == changed.index {
            assert_eq!(
                self.stored_conf.conf_state, changed.conf_state,
                "the membership at {} is not the one stored",
                changed.index
            );
        }
        self.next_conf = Some(AppliedConf {
            applied: changed.index,
            conf_state: changed.conf_state.clone(),
        });
        self.step_down_if_removed();
        changed
    }

    /// The membership in force.
    pub fn conf_state(&self) -> ConfState {
        ConfState::from_raft(&self.raw.raft.prs().conf().to_conf_state())
    }

    /// A leader that an earlier leader's change removed must not go on; the voter that has most stands at once.
    fn step_down_if_removed(&mut self) {
        if self.role() == Role::Leader && !self.raw.raft.promotable() {
            if let Some(heir) = self.best_voter() {
                self.raw.raft.send_timeout_now(heir);
            }
            let term = self.term();
            self.raw.raft.become_follower(term, raft::INVALID_ID);
            self.settle();
        }
    }

    /// A leader ends a joint configuration as soon as it is applied here. If it is itself on the way out, it hands
    /// leadership to one that stays first.
    pub(super) fn leave_joint_if_due(&mut self) {
        let conf = self.raw.raft.prs().conf().to_conf_state();
        let due = self.role() == Role::Leader && !conf.voters_outgoing.is_empty() && !self.raw.raft.has_pending_conf();
        if !due || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        if conf.voters.contains(&self.config.id) {
            // Refused only while too much is uncommitted; the next tick tries again.
            let _ = self.raw.propose_conf_change(Vec::new(), ConfChangeV2::default());
        } else if let Some(heir) = self.best_voter() {
            self.raw.transfer_leader(heir);
        }
    }

    /// The other voter of the coming configuration that has most of the log; of equals the one with the smallest id.
    fn best_voter(&self) -> Option<u64> {
        let conf = self.conf_state();
        let prs = self.raw.raft.prs();
        let others = conf.voters.iter().copied().filter(|id| *id != self.config.id);
        let rank = |id: &u64| {
            let progress: Option<&Progress> = prs.get(*id);
            (
                progress.is_some_and(|progress| progress.recent_active),
                progress.map_or(0, |progress| progress.matched),
            )
        };
        others.max_by_key(|id| (rank(id), std::cmp::Reverse(*id)))
    }

    /// Hands leadership to the voter `to`, if we lead. It may fail silently, after one election timeout at most; proposals
    /// are refused meanwhile.
    pub fn transfer_leader(&mut self, to: u64) -> Result<(), ProposeError> {
        if self.role() != Role::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if !self.conf_state().voters.contains(&to) || to == self.config.id {
            return Err(ProposeError::ConfChange(format!("{to} is not another voter")));
        }
        self.raw.transfer_leader(to);
        Ok(())
    }
}
