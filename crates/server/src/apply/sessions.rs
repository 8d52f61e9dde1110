//! The agents that hang on this replica: each is told what it should run, from this replica's own state, and what was taken of
//! its reports.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use hesuan_api::assignment;
use hesuan_api::convert::site::task_id_message;
use hesuan_api::internal::v1::replica_message::Body;
use hesuan_api::internal::v1::{Assignments, LeaseGrant, ReplicaMessage, ReportAck, Welcome, Withdrawal};
use hesuan_engine::outcome::Effect;
use hesuan_engine::state::State;
use hesuan_engine::types::{SiteId, TaskId};
use tokio::sync::mpsc;

/// Acknowledgements of one message.
const ACKS_MAX: usize = 16_384;

/// The sending half of one agent's stream. A stream that cannot take more is ended: its agent comes back and gets everything.
pub(crate) type ToAgent = mpsc::Sender<Result<ReplicaMessage, tonic::Status>>;

struct Session {
    instance: u128,
    to_agent: ToAgent,
    news: News,
}

/// What was not told yet.
#[derive(Default)]
struct News {
    /// Assigned, or with another time limit.
    assigned: Vec<TaskId>,
    withdrawn: Vec<TaskId>,
    judged: Vec<(TaskId, u32)>,
}

/// All agents of this replica.
#[derive(Default)]
pub(super) struct Sessions {
    by_site: HashMap<SiteId, Session>,
}

impl Sessions {
    /// An agent attached: it gets everything it should be running, and from here on what changes.
    pub(super) fn open(&mut self, site: SiteId, instance: u128, to_agent: ToAgent, replica: u64, state: &State) {
        let welcome = Welcome {
            cluster_id: state.cluster_id().to_vec(),
            replica_id: replica,
            restore_epoch: state.restore_epoch(),
        };
        let session = Session {
            instance,
            to_agent,
            news: News::default(),
        };
        if session.say(Body::Welcome(welcome)) && session.say_all(site, state) {
            self.by_site.insert(site, session);
        }
    }

    /// The stream of this instance has ended.
    pub(super) fn close(&mut self, site: SiteId, instance: u128) {
        if let Entry::Occupied(session) = self.by_site.entry(site)
            && session.get().instance == instance
        {
            session.remove();
        }
    }

    /// The leader extends a lease.
    pub(super) fn lease(&mut self, site: SiteId, instance: u128, grant: LeaseGrant) {
        if let Entry::Occupied(session) = self.by_site.entry(site)
            && session.get().instance == instance
            && !session.get().say(Body::LeaseGrant(grant))
        {
            session.remove();
        }
    }

    /// Something changed; told by [`Sessions::tell`], so that a batch of entries makes one message.
    pub(super) fn note(&mut self, effect: &Effect) {
        if self.by_site.is_empty() {
            return;
        }
        match effect {
            Effect::Assigned { site, task } | Effect::LimitChanged { site, task } => {
                if let Some(session) = self.by_site.get_mut(site) {
                    session.news.assigned.push(*task);
                }
            }
            Effect::Withdrawn { site, task } => {
                if let Some(session) = self.by_site.get_mut(site) {
                    session.news.withdrawn.push(*task);
                }
            }
            Effect::ReportJudged { site, task, seq } => {
                if let Some(session) = self.by_site.get_mut(site) {
                    session.news.judged.push((*task, *seq));
                }
            }
            _ => {}
        }
    }

    /// Tells every agent what is new for it. One that another attach has displaced is dropped.
    pub(super) fn tell(&mut self, state: &State) {
        self.by_site.retain(|site, session| {
            let ours = state
                .site(*site)
                .and_then(|site| site.agent)
                .is_some_and(|agent| agent.instance == session.instance);
            ours && session.tell(state)
        });
    }

    /// The state was replaced by a snapshot: everybody gets everything again.
    pub(super) fn tell_all(&mut self, state: &State) {
        self.by_site.retain(|site, session| {
            session.news = News::default();
            session.say_all(*site, state)
        });
    }
}

impl Session {
    fn say(&self, body: Body) -> bool {
        self.to_agent.try_send(Ok(ReplicaMessage { body: Some(body) })).is_ok()
    }

    /// The complete list, in one message: what it does not name is stopped.
    fn say_all(&self, site: SiteId, state: &State) -> bool {
        self.say(Body::Assignments(Assignments {
            complete: true,
            assigned: state.assignments(site).map(|view| assignment::message(&view)).collect(),
            withdrawn: Vec::new(),
            applied_index: state.applied_index(),
        }))
    }

    fn tell(&mut self, state: &State) -> bool {
        let News {
            assigned,
            withdrawn,
            judged,
        } = std::mem::take(&mut self.news);
        let mut told = true;
        if !assigned.is_empty() || !withdrawn.is_empty() {
            let mut message = Assignments {
                applied_index: state.applied_index(),
                ..Assignments::default()
            };
            // Between effect and now a task may have ended again; what the state says counts.
            message.assigned = assigned
                .iter()
                .filter_map(|task| state.assignment(*task))
                .map(|view| assignment::message(&view))
                .collect();
            for task in withdrawn {
                match state.assignment(task) {
                    // To be stopped, and its end is waited for.
                    Some(view) => message.assigned.push(assignment::message(&view)),
                    None => message.withdrawn.push(Withdrawal {
                        task: Some(task_id_message(task)),
                        reason: String::new(),
                    }),
                }
            }
            told = self.say(Body::Assignments(message));
        }
        for part in judged.chunks(ACKS_MAX) {
            let tasks = part.iter().map(|(task, _)| task_id_message(*task)).collect();
            let seqs = part.iter().map(|(_, seq)| *seq).collect();
            told = told && self.say(Body::ReportAck(ReportAck { tasks, seqs }));
        }
        told
    }
}
