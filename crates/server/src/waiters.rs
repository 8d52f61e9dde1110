//! Clients waiting for their command to be applied here, by ticket.
//!
//! The command's bytes stay beside the waiter: when the leader changes they are sent again under the same ticket. That is safe
//! because every command a client sends carries a request id, so it takes effect once whichever copy comes first.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hesuan_engine::outcome::Outcome;
use tokio::sync::oneshot;

/// What a waiting client learns.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Applied here; a rejection is an outcome too.
    Applied(Outcome),
    /// Not taken: the leader's queue is full.
    Busy,
}

struct Waiter {
    command: Bytes,
    answer: oneshot::Sender<Answer>,
}

const SHARDS: usize = 16;

/// All waiting clients of this replica.
pub(crate) struct Waiters {
    next_ticket: AtomicU64,
    shards: [Mutex<HashMap<u64, Waiter>>; SHARDS],
}

/// Takes the waiter away when its client has gone or was answered.
pub(crate) struct Waiting<'a> {
    waiters: &'a Waiters,
    /// Names the command between origin and leader.
    pub(crate) ticket: u64,
    /// Resolves when the command was applied here or refused on the way.
    pub(crate) answer: oneshot::Receiver<Answer>,
}

impl Waiters {
    /// Tickets start at a random number, so that an answer meant for an earlier run of this process finds nobody.
    pub(crate) fn new() -> Self {
        let base: u64 = rand::random::<u64>() | 1;
        Waiters {
            next_ticket: AtomicU64::new(base),
            shards: Default::default(),
        }
    }

    fn shard(&self, ticket: u64) -> std::sync::MutexGuard<'_, HashMap<u64, Waiter>> {
        let shard = &self.shards[(ticket % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Registers a client before its command leaves.
    pub(crate) fn wait(&self, command: Bytes) -> Waiting<'_> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.shard(ticket).insert(
            ticket,
            Waiter {
                command,
                answer: sender,
            },
        );
        Waiting {
            waiters: self,
            ticket,
            answer,
        }
    }

    /// A ticket for a command nobody waits for.
    pub(crate) fn ticket(&self) -> u64 {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives the answer to whoever waits for it; nobody may.
    pub(crate) fn answer(&self, ticket: u64, answer: Answer) {
        let waiter = self.shard(ticket).remove(&ticket);
        if let Some(waiter) = waiter {
            let _ = waiter.answer.send(answer);
        }
    }

    /// Every command somebody waits for, oldest first.
    pub(crate) fn commands(&self) -> Vec<(u64, Bytes)> {
        let mut all = Vec::new();
        for shard in 0..SHARDS as u64 {
            all.extend(
                self.shard(shard)
                    .iter()
                    .map(|(ticket, waiter)| (*ticket, waiter.command.clone())),
            );
        }
        all.sort_unstable_by_key(|(ticket, _)| *ticket);
        all
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiters.shard(self.ticket).remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_went_away_leaves_nothing_behind() {
        let waiters = Waiters::new();
        let first = waiters.wait(Bytes::from_static(b"first"));
        let mut second = waiters.wait(Bytes::from_static(b"second"));
        assert_eq!(waiters.commands().len(), 2);
        drop(first);
        assert_eq!(waiters.commands(), [(second.ticket, Bytes::from_static(b"second"))]);
        waiters.answer(second.ticket, Answer::Busy);
        assert!(matches!(second.answer.try_recv(), Ok(Answer::Busy)));
        assert!(waiters.commands().is_empty());
        waiters.answer(second.ticket, Answer::Busy);
    }
}
