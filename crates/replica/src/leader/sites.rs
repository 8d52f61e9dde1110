//! Which sites were heard, and when: leases on one side, silence on the other. All on the leader's monotonic clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hesuan_engine::state::State;
use hesuan_engine::state::limits::STOP_ALLOWANCE_MS;
use hesuan_engine::types::SiteId;

/// Heartbeats remembered until a quorum confirms a time after them; agents send one a second.
const UNCONFIRMED_MAX: usize = 16;
/// Leadership is confirmed so often.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);
/// A leader that did not look for so long stood still itself and cannot tell who was silent.
const STOOD_STILL: Duration = Duration::from_secs(5);

/// What the leader heard in its present term.
#[derive(Debug)]
pub(super) struct Sites {
    heard: BTreeMap<SiteId, Heard>,
    began_at: Duration,
    /// Up to here a quorum says that there was no other leader.
    confirmed_at: Option<Duration>,
    asked_at: Option<Duration>,
    looked_at: Duration,
}

#[derive(Debug)]
struct Heard {
    instance: u128,
    /// Of the last heartbeat, or since when its silence counts.
    at: Duration,
    ever: bool,
    /// Received when, sent when by the agent's clock; oldest first.
    beats: VecDeque<(Duration, u64)>,
    /// Longest lease granted, in ms.
    ttl_ms: u64,
}

impl Heard {
    fn nothing(instance: u128, at: Duration) -> Self {
        Self {
            instance,
            at,
            ever: false,
            beats: VecDeque::new(),
            ttl_ms: 0,
        }
    }
}

impl Sites {
    /// Nothing was heard before `began_at`, when this replica became leader.
    pub(super) fn since(began_at: Duration) -> Self {
        Self {
            heard: BTreeMap::new(),
            began_at,
            confirmed_at: None,
            asked_at: None,
            looked_at: began_at,
        }
    }

    /// A heartbeat; answers the agent's time from which a lease may be counted.
    pub(super) fn heard(
        &mut self,
        site: SiteId,
        instance: u128,
        sent_at_ms: u64,
        ttl_ms: u64,
        mono: Duration,
    ) -> Option<u64> {
        let heard = self.heard.entry(site).or_insert_with(|| Heard::nothing(instance, mono));
        if heard.instance != instance {
            *heard = Heard::nothing(instance, mono);
        }
        (heard.at, heard.ever) = (mono, true);
        heard.beats.push_back((mono, sent_at_ms));
        let confirmed_at = self.confirmed_at;
        let is_confirmed = |beat: &(Duration, u64)| confirmed_at.is_some_and(|at| beat.0 <= at);
        while heard.beats.get(1).is_some_and(is_confirmed) || heard.beats.len() > UNCONFIRMED_MAX {
            heard.beats.pop_front();
        }
        let granted = heard
            .beats
            .front()
            .filter(|beat| is_confirmed(beat))
            .map(|beat| beat.1)?;
        heard.ttl_ms = heard.ttl_ms.max(ttl_ms);
        Some(granted)
    }

    pub(super) fn confirmation_due(&mut self, mono: Duration) -> bool {
        let due = self.asked_at.is_none_or(|at| mono.saturating_sub(at) >= CONFIRM_EVERY);
        if due {
            self.asked_at = Some(mono);
        }
        due
    }

    pub(super) fn confirmed(&mut self, asked_at: Duration) {
        if asked_at >= self.began_at {
            self.confirmed_at = self.confirmed_at.max(Some(asked_at));
        }
    }

    /// How long ago the site was heard in this term; `None` = never.
    pub(super) fn silence(&self, site: SiteId, mono: Duration) -> Option<Duration> {
        self.heard
            .get(&site)
            .filter(|heard| heard.ever)
            .map(|heard| mono.saturating_sub(heard.at))
    }

    /// Sites whose agent was silent for too long, by number, with the instance that was silent. Silence counts from the later of the
    /// last heartbeat, this replica becoming leader, and it first seeing that instance attached.
    pub(super) fn silent(&mut self, state: &State, mono: Duration) -> Vec<(SiteId, u128)> {
        let stood_still = mono.saturating_sub(std::mem::replace(&mut self.looked_at, mono)) > STOOD_STILL;
        let mut silent = Vec::new();
        for site in state.sites() {
            let Some(agent) = site.agent.filter(|_| site.lost_at.is_none()) else {
                self.heard.remove(&site.id);
                continue;
            };
            let heard = self
                .heard
                .entry(site.id)
                .or_insert_with(|| Heard::nothing(agent.instance, mono));
            if heard.instance != agent.instance {
                *heard = Heard::nothing(agent.instance, mono);
            }
            if stood_still {
                heard.at = mono;
            }
            // Limits may have been lowered since the last lease was granted; that lease must still have ended.
            let lost_after_ms = state.limits().lost_after_ms.max(heard.ttl_ms + STOP_ALLOWANCE_MS);
            if mono.saturating_sub(heard.at) >= Duration::from_millis(lost_after_ms) {
                silent.push((site.id, agent.instance));
            }
        }
        silent
    }
}
