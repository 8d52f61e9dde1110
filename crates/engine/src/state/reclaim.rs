//! A floor taken back: strangers' attempts that are to give their place up to a task of the site's own users. They are told after
//! the contract's notice, and not at all if the place is not needed any more by then.

use std::collections::{BTreeMap, BTreeSet};

use hesuan_ledger::types::Timestamp;

use super::{Attempt, Contract, Host, State};
use crate::command::Reclaim;
use crate::outcome::{Effect, Reply};
use crate::schedule;
use crate::types::{Held, HostId, JobId, Measure, Request, TaskId};

/// Attempts that are told by one tick.
const TOLD_STEP: usize = 1_000;
/// Attempts that one task may displace.
pub const VICTIMS_MAX: usize = 64;

/// What is noted of an attempt that is to give its place up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reclaimed {
    /// When it is told to stop.
    pub at: Timestamp,
    /// To whom its place goes.
    pub job: JobId,
    /// Which task of that.
    pub task: u32,
    /// On which of its hosts.
    pub host: HostId,
    /// It was told.
    pub told: bool,
}

/// Running attempts that are to give their place up: derived, like every index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reclaiming {
    of_task: BTreeMap<(JobId, u32), BTreeSet<TaskId>>,
    on_host: BTreeMap<HostId, BTreeSet<TaskId>>,
    // Not told yet.
    due: BTreeSet<(Timestamp, TaskId)>,
}

impl Reclaiming {
    pub(super) fn begin(&mut self, id: TaskId, attempt: &Attempt) {
        let Some(reclaimed) = attempt.reclaimed else { return };
        let of = (reclaimed.job, reclaimed.task);
        self.of_task.entry(of).or_default().insert(id);
        for (host, _) in attempt.places() {
            self.on_host.entry(host).or_default().insert(id);
        }
        if !reclaimed.told {
            self.due.insert((reclaimed.at, id));
        }
    }

    pub(super) fn end(&mut self, id: TaskId, attempt: &Attempt) {
        let Some(reclaimed) = attempt.reclaimed else { return };
        remove(&mut self.of_task, (reclaimed.job, reclaimed.task), id);
        attempt
            .places()
            .for_each(|(host, _)| remove(&mut self.on_host, host, id));
        self.due.remove(&(reclaimed.at, id));
    }
}

fn remove<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<TaskId>>, key: K, id: TaskId) {
    if let Some(set) = sets.get_mut(&key) {
        set.remove(&id);
        if set.is_empty() {
            sets.remove(&key);
        }
    }
}

impl Contract {
    /// Whether the floor guarantees a task its place beside what own users hold. Of what is no part of the floor nothing is
    /// guaranteed; a task with GPUs needs a floor of GPUs, another one of cores.
    #[must_use]
    pub fn guarantees(&self, task: &Held, own: &Held) -> bool {
        let leading = if task.gpu_milli > 0 { Measure::Gpu } else { Measure::Cpu };
        self.floor.of(leading).is_some() && self.floor.broken_by(task, own).is_none()
    }
}

impl State {
    pub(super) fn take_reclaims(&mut self, at: Timestamp, reclaims: &[Reclaim], effects: &mut Vec<Effect>) -> Reply {
        let (mut taken, mut refused) = (0, 0);
        for reclaim in reclaims {
            let verdict = self.judge_reclaim(reclaim);
            match verdict {
                Ok(notice_ms) => {
                    self.note_reclaim(Timestamp(at.0.saturating_add(notice_ms)), reclaim, effects);
                    taken += 1;
                }
                Err(_) => refused += 1,
            }
            effects.push(Effect::ReclaimJudged {
                job: reclaim.job,
                task: reclaim.task,
                host: reclaim.host,
                refused: verdict.err(),
            });
        }
        Reply::Counts { taken, refused }
    }

    // The notice of the site's contract, if the reclaim is what the contract gives its own users.
    fn judge_reclaim(&self, reclaim: &Reclaim) -> Result<u64, &'static str> {
        let job = self.job(reclaim.job).ok_or("UNKNOWN_JOB")?;
        if !job.is_pending(reclaim.task) || job.placeable() == 0 {
            return Err("TASK_NOT_PENDING");
        }
        if self.reclaimed_for(reclaim.job, reclaim.task).next().is_some() {
            return Err("RECLAIM_UNDER_WAY");
        }
        let request = self.request(job);
        if request.nodes.is_gang() {
            return Err("GANG_NODES");
        }
        let host = self
            .host(reclaim.host)
            .filter(|host| host.takes_work())
            .ok_or("HOST_GONE")?;
        let site = self.site(host.site).expect("a host has a site");
        if let Some(reason) = schedule::open(site, true).or_else(|| schedule::allowed(request, site)) {
            return Err(reason.code());
        }
        if let Some(reason) = schedule::refused_by_owner(self, request, site) {
            return Err(reason.code());
        }
        let contract = site.contract.as_deref().ok_or("NO_CONTRACT")?;
        if !contract.is_own(request.org) {
            return Err("NOT_OWN");
        }
        let task = Held::of(request);
        if !contract.guarantees(&task, &self.claimed_at(host, contract)) {
            return Err("FLOOR_EXCEEDED");
        }
        self.judge_victims(reclaim, contract)?;
        self.judge_gain(reclaim, host, request)?;
        Ok(contract.notice_ms)
    }

    fn judge_victims(&self, reclaim: &Reclaim, contract: &Contract) -> Result<(), &'static str> {
        let victims = &reclaim.victims;
        if victims.is_empty() || victims.len() > VICTIMS_MAX || !victims.is_sorted_by(|a, b| a < b) {
            return Err("VICTIMS");
        }
        for victim in victims {
            let attempt = self.attempt(*victim).filter(|attempt| attempt.is_running());
            let attempt = attempt.filter(|attempt| attempt.places().any(|(host, _)| host == reclaim.host));
            if !self.may_displace(*victim, attempt.ok_or("VICTIM_GONE")?, contract) {
                return Err("VICTIM_GUARANTEED");
            }
        }
        Ok(())
    }

    /// Whether an attempt that runs at the site of a contract may be displaced: a stranger's, without a binding quote, and not
    /// about to leave anyway.
    pub(crate) fn may_displace(&self, id: TaskId, attempt: &Attempt, contract: &Contract) -> bool {
        let Some(job) = self.job(id.job) else { return false };
        let request = self.request(job);
        let leaves = attempt.withdrawn || attempt.reclaimed.is_some() || job.progress().cancel_requested;
        !leaves && request.quote.is_none() && !contract.is_own(request.org)
    }

    // Without these victims there is no room, and with them there is.
    fn judge_gain(&self, reclaim: &Reclaim, host: &Host, request: &Request) -> Result<(), &'static str> {
        let mut room = schedule::Room::after_reclaims(self, host);
        if room.fits(request) {
            return Err("RECLAIM_NEEDLESS");
        }
        for victim in &reclaim.victims {
            room.give(self, *victim, host.id);
        }
        if room.fits(request) {
            Ok(())
        } else {
            Err("CAPACITY_HOST")
        }
    }

    /// What own users hold at a site, with what is being taken back for them there.
    pub(crate) fn claimed_at(&self, host: &Host, contract: &Contract) -> Held {
        let (mut own, _) = self.held_at(host.site, contract);
        let here = self.running_reclaims().filter(|(_, at)| *at == host.site);
        for ((job, _), _) in here {
            if let Some(job) = self.job(job) {
                own.add(&Held::of(self.request(job)));
            }
        }
        own
    }

    /// Tasks for which something is being taken back, and at which site.
    fn running_reclaims(&self) -> impl Iterator<Item = ((JobId, u32), hesuan_ledger::types::SiteId)> + '_ {
        self.index.reclaiming.of_task.iter().filter_map(|(of, victims)| {
            let victim = victims.first().and_then(|victim| self.attempt(*victim))?;
            self.is_wanted(*of).then_some((*of, victim.site))
        })
    }

    /// Whether a task still waits for what is taken back for it.
    pub(crate) fn is_wanted(&self, (job, task): (JobId, u32)) -> bool {
        self.job(job)
            .is_some_and(|job| job.is_pending(task) && job.placeable() > 0)
    }

    /// Running attempts that give their place up to a task.
    pub fn reclaimed_for(&self, job: JobId, task: u32) -> impl Iterator<Item = TaskId> + '_ {
        let victims = self.index.reclaiming.of_task.get(&(job, task));
        victims.into_iter().flatten().copied()
    }

    /// Running attempts of a host that give their place up.
    pub(crate) fn reclaimed_on(&self, host: HostId) -> impl Iterator<Item = TaskId> + '_ {
        self.index.reclaiming.on_host.get(&host).into_iter().flatten().copied()
    }

    /// All tasks for which something is being taken back, with the host.
    pub(crate) fn reclaims(&self) -> impl Iterator<Item = (JobId, u32, HostId)> + '_ {
        self.index
            .reclaiming
            .of_task
            .iter()
            .filter_map(|((job, task), victims)| {
                let victim = victims.first().and_then(|victim| self.attempt(*victim))?;
                Some((*job, *task, victim.reclaimed?.host))
            })
    }

    fn note_reclaim(&mut self, at: Timestamp, reclaim: &Reclaim, effects: &mut Vec<Effect>) {
        for victim in &reclaim.victims {
            let attempt = self.attempt_mut(*victim);
            attempt.reclaimed = Some(Reclaimed {
                at,
                job: reclaim.job,
                task: reclaim.task,
                host: reclaim.host,
                told: false,
            });
            let attempt = self.attempt(*victim).expect("judged before").clone();
            self.index.reclaiming.begin(*victim, &attempt);
            effects.push(Effect::JobChanged(victim.job));
        }
    }

    /// Tells attempts whose notice is over to stop, a bounded number; those whose place nobody needs any more run on.
    pub(super) fn tell_reclaimed(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for _ in 0..TOLD_STEP {
            let Some(&(_, id)) = self.index.reclaiming.due.first().filter(|(due, _)| *due <= at) else {
                return;
            };
            let attempt = self.attempt(id).expect("the index names running attempts").clone();
            let reclaimed = attempt.reclaimed.expect("the index names those that are to leave");
            // One that its site gives back already is not billed, and leaves all the same.
            let is_wanted = self.is_wanted((reclaimed.job, reclaimed.task)) && !attempt.withdrawn;
            self.index.reclaiming.end(id, &attempt);
            let kept = self.attempt_mut(id);
            if is_wanted {
                kept.reclaimed = Some(Reclaimed {
                    told: true,
                    ..reclaimed
                });
                kept.withdrawn = true;
                let site = kept.site;
                effects.push(Effect::Withdrawn { site, task: id });
            } else {
                kept.reclaimed = None;
            }
            let kept = self.attempt(id).expect("found above").clone();
            self.index.reclaiming.begin(id, &kept);
            effects.push(Effect::JobChanged(id.job));
        }
    }

    /// When the next notice is over.
    pub(super) fn reclaims_due(&self) -> Option<Timestamp> {
        self.index.reclaiming.due.first().map(|(due, _)| *due)
    }
}
