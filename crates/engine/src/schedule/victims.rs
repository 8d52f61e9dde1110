//! Who gives his place up: of all sets of strangers on one host that make room for a task, the one whose work is lost least.

use super::hosts::{Hosts, Need, Slot};
use super::need::accepts_model;
use crate::state::{Host, State};
use crate::types::{HostId, Request, TaskId};

/// Sets looked at for one host; beyond, the best so far is taken.
const SETS_MAX: usize = 20_000;

/// What a host has free at some time to come.
#[derive(Clone, Debug)]
pub struct Room {
    slot: Slot,
    models: Vec<Box<str>>,
}

/// A running attempt that may be displaced.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: TaskId,
    /// The work that is lost with it.
    pub(crate) cost: u128,
}

impl Room {
    /// What a host has free now.
    pub(crate) fn of(host: &Host) -> Self {
        let (slot, models) = Hosts::alone(host);
        Self { slot, models }
    }

    /// What it will have free when all who are to give their place up have left and those for whom they do have come.
    #[must_use]
    pub fn after_reclaims(state: &State, host: &Host) -> Self {
        let mut room = Self::of(host);
        let mut wanted = Vec::new();
        for victim in state.reclaimed_on(host.id) {
            room.give(state, victim, host.id);
            let reclaimed = state.attempt(victim).and_then(|attempt| attempt.reclaimed);
            let here = reclaimed.filter(|reclaimed| reclaimed.host == host.id);
            wanted.extend(here.map(|reclaimed| (reclaimed.job, reclaimed.task)));
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|of| state.is_wanted(*of));
        for (job, _) in wanted {
            if let Some(job) = state.job(job) {
                room.take(state.request(job));
            }
        }
        room
    }

    /// Takes out what a task of the request needs.
    pub(crate) fn take(&mut self, request: &Request) {
        let need = Need::of(&request.resources);
        let gpu_indices = self.devices(request).unwrap_or_default();
        self.slot.take(&need, &gpu_indices);
    }

    /// Takes out what a task needs on these devices.
    pub(crate) fn reserve(&mut self, need: &Need, gpu_indices: &[u32]) {
        self.slot.take(need, gpu_indices);
    }

    /// Puts back what a running attempt has of the host.
    pub fn give(&mut self, state: &State, id: TaskId, host: HostId) {
        if let Some((attempt, job)) = state.attempt(id).zip(state.job(id.job)) {
            let need = Need::of(&state.request(job).resources);
            self.slot.give(&need, attempt.devices_on(host));
        }
    }

    /// The devices that a task of the request would get, if there is room for it.
    pub(crate) fn devices(&self, request: &Request) -> Option<Vec<u32>> {
        let need = Need::of(&request.resources);
        if request.resources.gpu_milli == 0 {
            return self.slot.fit(&need, None);
        }
        let places = 0..self.models.len();
        let mut accepted = places.filter(|place| accepts_model(&request.resources, &self.models[*place]));
        accepted.find_map(|place| self.slot.fit(&need, Some(place as u16)))
    }

    /// Whether there is room for a task of the request.
    #[must_use]
    pub fn fits(&self, request: &Request) -> bool {
        self.devices(request).is_some()
    }

    /// The set of candidates that makes room for the request at the least cost, of equal ones the smallest and then the first in
    /// order; its cost. Nothing if none does, or none below `most`.
    pub(crate) fn victims(
        &self,
        state: &State,
        request: &Request,
        candidates: &[Candidate],
        most: Option<(u128, usize)>,
    ) -> Option<(u128, Vec<TaskId>)> {
        let mut by_cost = candidates.to_vec();
        by_cost.sort_by_key(|candidate| (candidate.cost, candidate.id));
        let mut search = Search {
            state,
            request,
            candidates: &by_cost,
            best: None,
            most,
            sets_left: SETS_MAX,
        };
        search.look(0, self, 0, &mut Vec::new());
        let (cost, mut victims) = search.best?;
        victims.sort_unstable();
        Some((cost, victims))
    }
}

/// Branch and bound over the candidates in order of cost.
struct Search<'a> {
    state: &'a State,
    request: &'a Request,
    candidates: &'a [Candidate],
    best: Option<(u128, Vec<TaskId>)>,
    /// Cost and size that must be undercut.
    most: Option<(u128, usize)>,
    sets_left: usize,
}

impl Search<'_> {
    fn look(&mut self, from: usize, room: &Room, cost: u128, chosen: &mut Vec<TaskId>) {
        let is_too_dear = |most: (u128, usize)| (cost, chosen.len()) >= most;
        if self.most.is_some_and(is_too_dear) || self.sets_left == 0 {
            return;
        }
        self.sets_left -= 1;
        if room.fits(self.request) {
            self.most = Some((cost, chosen.len()));
            self.best = Some((cost, chosen.clone()));
            return;
        }
        // If not even all that are left make room, no set of them does.
        let mut all = room.clone();
        self.candidates[from..]
            .iter()
            .for_each(|candidate| all.give(self.state, candidate.id, room.slot.id));
        if !all.fits(self.request) {
            return;
        }
        for next in from..self.candidates.len() {
            let candidate = &self.candidates[next];
            let mut with = room.clone();
            with.give(self.state, candidate.id, room.slot.id);
            chosen.push(candidate.id);
            self.look(next + 1, &with, cost + candidate.cost, chosen);
            chosen.pop();
        }
    }
}
