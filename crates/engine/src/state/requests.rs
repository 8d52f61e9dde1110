//! Request ids and the answers first given to them: the same id and payload give the first answer, never a second effect.
//! Ids are UUIDv7, so order of id is order of time and the oldest leave from the front. A full table refuses, never evicts.

use hesuan_ledger::paged::PagedMap;
use hesuan_ledger::types::Timestamp;

use super::limits::Limits;
use crate::command::Command;
use crate::outcome::{Rejection, RejectionKind, Reply};
use crate::types::{PrincipalId, RequestId};

/// How far a client's clock may be ahead of the log.
const AHEAD_MS_MAX: u64 = 10 * 60_000;

/// Ids are dropped in batches at least this far apart, so that they do not ask for a tick each.
const EXPIRY_GRAIN_MS: u64 = 10_000;

// Two words instead of a u128, which would be aligned to 16 bytes: there are millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    high: u64,
    low: u64,
    principal: PrincipalId,
}

impl Key {
    pub(super) fn new(id: RequestId, principal: PrincipalId) -> Self {
        Self {
            high: (id.0 >> 64) as u64,
            low: id.0 as u64,
            principal,
        }
    }

    pub(super) fn id(&self) -> RequestId {
        RequestId((u128::from(self.high) << 64) | u128::from(self.low))
    }

    pub(super) fn principal(&self) -> PrincipalId {
        self.principal
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) digest: [u8; 16],
    pub(super) reply: Reply,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub(super) answers: PagedMap<Key, Answer>,
    // Ids made before this were dropped: they are refused even if the window is made longer later.
    pub(super) floor: Timestamp,
}

impl Requests {
    /// The first answer, or `None` if the id is new and may be used.
    pub(super) fn judge(
        &self,
        id: RequestId,
        command: &Command,
        at: Timestamp,
        limits: &Limits,
    ) -> Result<Option<Reply>, Rejection> {
        if let Some(answer) = self.answers.get(&Key::new(id, command.principal)) {
            if answer.digest == command.digest {
                return Ok(Some(answer.reply));
            }
            return Err(Rejection::new(
                RejectionKind::AlreadyExists,
                "REQUEST_ID_REUSED",
                "request_id",
                "this request id was used with another payload; make a new one",
            ));
        }
        let made_at = id.made_at();
        let oldest = self.floor.max(window_start(at, limits));
        if made_at < oldest || made_at.0 > at.0.saturating_add(AHEAD_MS_MAX) {
            let text = format!(
                "the request id was made at {} ms; ids made from {} to {} ms are taken: use UUIDv7 and check the clock",
                made_at.0,
                oldest.0,
                at.0.saturating_add(AHEAD_MS_MAX)
            );
            return Err(Rejection::precondition("REQUEST_ID_EXPIRED", "request_id", text));
        }
        if self.answers.len() as u64 >= limits.requests_max {
            let text = format!(
                "{} request ids are kept and no more are taken; retry later",
                limits.requests_max
            );
            return Err(Rejection::new(RejectionKind::Exhausted, "REQUESTS_FULL", "", text));
        }
        Ok(None)
    }

    pub(super) fn remember(&mut self, id: RequestId, command: &Command, reply: Reply) {
        self.answers.insert(
            Key::new(id, command.principal),
            Answer {
                digest: command.digest,
                reply,
            },
        );
    }

    /// Drops at most `max` ids that left the window.
    pub(super) fn expire(&mut self, at: Timestamp, limits: &Limits, max: usize) {
        self.floor = self.floor.max(window_start(at, limits));
        let end = Key::new(RequestId(u128::from(self.floor.0) << 80), PrincipalId(0));
        let old: Vec<Key> = self.answers.range(..end).take(max).map(|(key, _)| *key).collect();
        for key in old {
            self.answers.remove(&key);
        }
    }

    /// When [`Requests::expire`] next has something worth doing.
    pub(super) fn next_due(&self, limits: &Limits) -> Option<Timestamp> {
        let (oldest, _) = self.answers.first()?;
        Some(Timestamp(
            oldest
                .id()
                .made_at()
                .0
                .saturating_add(limits.request_window_ms + EXPIRY_GRAIN_MS),
        ))
    }
}

fn window_start(at: Timestamp, limits: &Limits) -> Timestamp {
    Timestamp(at.0.saturating_sub(limits.request_window_ms))
}
