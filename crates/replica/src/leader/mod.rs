//! What only the leader knows and does, beside the applier: it plans, declares silent sites lost, grants leases, and lets time pass.
//! All of it is soft: a new leader starts with nothing and is right after a few heartbeats. What it decides becomes a command
//! and is judged again by apply. What must not live here: anything another replica would need to agree.
//!
//! The shell's part: tell changes of role before anything learnt later, call [`Leader::observe`] after each entry, then
//! [`Leader::plan`] after each batch of entries and at least every [`PLAN_EVERY`].

mod sites;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hesuan_api::codec::{encode_decisions, encode_reclaims, encode_site_lost, encode_tick};
use hesuan_api::internal::v1::LeaseGrant;
use hesuan_engine::schedule::Planner;
use hesuan_engine::state::State;
use hesuan_engine::types::{SiteId, Timestamp};

use crate::applier::Applied;
use sites::Sites;

/// Call [`Leader::plan`] at least this often.
pub const PLAN_EVERY: Duration = Duration::from_millis(100);
/// A command of ours that was not applied for so long was lost on the way; say it again.
const LOST_ON_THE_WAY: Duration = Duration::from_secs(10);

/// How a [`Leader`] works.
#[derive(Clone, Copy, Debug)]
pub struct LeaderConfig {
    /// Decisions in one command.
    pub decisions_per_command: usize,
    /// Commands of decisions one call of [`Leader::plan`] gives.
    pub commands_per_plan: usize,
    /// Decisions proposed and not yet judged.
    pub decisions_in_flight_max: usize,
    /// Time passes at least so often, even when nothing is due.
    pub tick_every: Duration,
    /// Time passes at most so often.
    pub tick_gap: Duration,
}

impl Default for LeaderConfig {
    fn default() -> Self {
        Self {
            decisions_per_command: 256,
            commands_per_plan: 2,
            decisions_in_flight_max: 4096,
            tick_every: Duration::from_secs(10),
            tick_gap: Duration::from_millis(10),
        }
    }
}

/// A command of the leader, for the bundler with origin 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Comes back in the answer.
    pub ticket: u64,
    /// Encoded.
    pub command: Bytes,
}

/// The leader's soft state; on other replicas it sleeps. All `mono` are time since one fixed instant by this replica's monotonic clock.
#[derive(Default)]
pub struct Leader {
    config: LeaderConfig,
    planner: Planner,
    reign: Option<Reign>,
}

/// One term of leading.
struct Reign {
    term: u64,
    /// An entry of our own term was applied, so State holds all that earlier leaders did.
    established: bool,
    tickets: u64,
    sites: Sites,
    tick: Option<Sent>,
    ticked_at: Option<Duration>,
    losses: BTreeMap<SiteId, Sent>,
}

/// A command on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ticket: u64,
    at: Duration,
}

impl Sent {
    fn is_under_way(self, mono: Duration) -> bool {
        mono.saturating_sub(self.at) < LOST_ON_THE_WAY
    }
}

impl Leader {
    /// Asleep until [`Leader::become_leader`].
    #[must_use]
    pub fn new(config: LeaderConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// This replica leads in `term`. It plans nothing and grants nothing until an entry of that term is applied.
    pub fn become_leader(&mut self, term: u64, mono: Duration) {
        self.reign = Some(Reign {
            term,
            established: false,
            tickets: term << 32,
            sites: Sites::since(mono),
            tick: None,
            ticked_at: None,
            losses: BTreeMap::new(),
        });
    }

    /// It no longer leads.
    pub fn step_down(&mut self) {
        self.reign = None;
        self.planner = Planner::new();
    }

    /// Whether it leads and State has caught up: it plans and grants.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.established)
    }

    /// Placements proposed and not yet judged.
    #[must_use]
    pub fn decisions_in_flight(&self) -> usize {
        self.planner.in_flight()
    }

    /// The planner, to explain why a job waits.
    #[must_use]
    pub fn planner(&self) -> Option<&Planner> {
        self.is_established().then_some(&self.planner)
    }

    /// An entry was applied and gave `state`.
    pub fn observe(&mut self, state: &State, applied: &Applied) {
        let Some(reign) = &mut self.reign else { return };
        if !reign.established {
            if applied.term == reign.term {
                reign.established = true;
                self.planner.reset(state);
            }
            return;
        }
        self.planner.observe(state, &applied.effects);
        // Only our own term's: another leader's tickets may look like ours.
        if applied.term == reign.term {
            for answer in applied.replies.iter().filter(|answer| answer.origin == 0) {
                reign.tick.take_if(|tick| tick.ticket == answer.ticket);
                reign.losses.retain(|_, sent| sent.ticket != answer.ticket);
            }
        }
    }

    /// The state was replaced by a snapshot.
    pub fn state_replaced(&mut self, state: &State) {
        if self.is_established() {
            self.planner.reset(state);
        }
    }

    /// A site's agent was heard. The answer, if there is one, is for that agent: a lease counted from a heartbeat that was
    /// received before a quorum confirmed that this replica leads, see [`Leader::confirmed`].
    pub fn heartbeat(
        &mut self,
        state: &State,
        site: SiteId,
        instance: u128,
        sent_at_ms: u64,
        mono: Duration,
    ) -> Option<LeaseGrant> {
        let reign = self.reign.as_mut().filter(|reign| reign.established)?;
        let record = state.site(site)?;
        let attached = record.agent.is_some_and(|agent| agent.instance == instance);
        // Once we said that it is lost, no lease may go on that apply does not know of.
        if !attached || record.lost_at.is_some() || reign.losses.contains_key(&site) {
            return None;
        }
        let ttl_ms = state.limits().lease_ttl_ms;
        let sent_at_ms = reign.sites.heard(site, instance, sent_at_ms, ttl_ms, mono)?;
        Some(LeaseGrant { sent_at_ms, ttl_ms })
    }

    /// Whether to ask the node for a read index now, to confirm leadership; report it to [`Leader::confirmed`] when it is answered.
    pub fn confirmation_due(&mut self, mono: Duration) -> bool {
        self.reign
            .as_mut()
            .is_some_and(|reign| reign.established && reign.sites.confirmation_due(mono))
    }

    /// A read index that this replica asked for at `asked_at`, as leader of the present term, was answered: until then no other
    /// leader had been elected. Leases are counted from heartbeats received before such an instant, so that a leader that was deposed
    /// without knowing grants none, and the next one's `lost_after` begins after every lease.
    pub fn confirmed(&mut self, asked_at: Duration) {
        if let Some(reign) = &mut self.reign {
            reign.sites.confirmed(asked_at);
        }
    }

    /// Whether the site was heard within its lease.
    #[must_use]
    pub fn is_up(&self, state: &State, site: SiteId, mono: Duration) -> bool {
        let ttl = Duration::from_millis(state.limits().lease_ttl_ms);
        self.reign
            .as_ref()
            .is_some_and(|reign| reign.sites.silence(site, mono).is_some_and(|silence| silence < ttl))
    }

    /// What is to be done now. `wall` is this replica's clock.
    pub fn plan(&mut self, state: &State, wall: Timestamp, mono: Duration) -> Vec<Planned> {
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.established) else {
            return Vec::new();
        };
        let now = wall.max(state.at());
        let mut planned = Vec::new();
        reign.declare_lost(state, mono, &mut planned);
        reign.let_time_pass(&self.config, state, now, mono, &mut planned);
        self.place(state, now, mono, &mut planned);
        planned
    }

    fn place(&mut self, state: &State, now: Timestamp, mono: Duration, planned: &mut Vec<Planned>) {
        let Some(reign) = &mut self.reign else { return };
        let ttl = Duration::from_millis(state.limits().lease_ttl_ms);
        let Reign { sites, losses, .. } = &*reign;
        let site_up =
            |site| !losses.contains_key(&site) && sites.silence(site, mono).is_some_and(|silence| silence < ttl);
        let mut commands = Vec::new();
        for _ in 0..self.config.commands_per_plan {
            let room = self
                .config
                .decisions_in_flight_max
                .saturating_sub(self.planner.in_flight());
            let wanted = room.min(self.config.decisions_per_command);
            if wanted == 0 {
                break;
            }
            let decisions = self.planner.plan(state, now, &site_up, wanted);
            if decisions.is_empty() {
                break;
            }
            commands.push(encode_decisions(&decisions));
            if decisions.len() < wanted {
                break;
            }
        }
        let reclaims = self.planner.reclaims(state, now);
        if !reclaims.is_empty() {
            commands.push(encode_reclaims(&reclaims));
        }
        planned.extend(commands.into_iter().map(|command| Planned {
            ticket: reign.ticket(),
            command,
        }));
    }
}

impl Reign {
    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn declare_lost(&mut self, state: &State, mono: Duration, planned: &mut Vec<Planned>) {
        self.losses.retain(|_, sent| sent.is_under_way(mono));
        for (site, instance) in self.sites.silent(state, mono) {
            if self.losses.contains_key(&site) {
                continue;
            }
            let ticket = self.ticket();
            self.losses.insert(site, Sent { ticket, at: mono });
            planned.push(Planned {
                ticket,
                command: encode_site_lost(site, instance),
            });
        }
    }

    fn let_time_pass(
        &mut self,
        config: &LeaderConfig,
        state: &State,
        now: Timestamp,
        mono: Duration,
        planned: &mut Vec<Planned>,
    ) {
        if self.tick.is_some_and(|sent| sent.is_under_way(mono)) {
            return;
        }
        let rested = self.ticked_at.map_or(Duration::MAX, |at| mono.saturating_sub(at));
        let due = state.next_due().is_some_and(|due| due <= now);
        if rested >= config.tick_every || (due && rested >= config.tick_gap) {
            let ticket = self.ticket();
            self.tick = Some(Sent { ticket, at: mono });
            self.ticked_at = Some(mono);
            planned.push(Planned {
                ticket,
                command: encode_tick(),
            });
        }
    }
}
