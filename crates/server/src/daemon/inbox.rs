//! Where what other replicas send goes: Raft's messages and forwarded commands to the RAFT thread, the rest to whom it concerns.

use std::sync::Arc;

use hesuan_api::internal::v1::frame::Body;
use hesuan_api::internal::v1::{ForwardRefused, Forwarded, SiteHeartbeat, SiteLease, SteerRequest};
use hesuan_engine::types::SiteId;
use hesuan_replica::wire::PeerMessage;
use prost::Message as _;
use tonic::Status;

use crate::apply;
use crate::peer;
use crate::raft::Input;
use crate::services::Core;
use crate::waiters::Answer;

/// Sorts frames.
pub(super) struct Inbox(pub(super) Arc<Core>);

#[tonic::async_trait]
impl peer::Inbox for Inbox {
    fn meet(&self, from: u64, address: &str) {
        self.0.peers.meet(from, address);
    }

    fn take(&self, from: u64, wall_clock_ms: u64, frames: Vec<Body>) {
        let (mut messages, mut forwarded) = (Vec::new(), Vec::new());
        for frame in frames {
            match frame {
                Body::Raft(bytes) => match PeerMessage::decode(bytes) {
                    Ok(message) => messages.push(message),
                    Err(error) => tracing::warn!(from, %error, "message dropped"),
                },
                Body::Forwarded(Forwarded { ticket, command }) => forwarded.push((ticket, command)),
                Body::ForwardRefused(refused) => self.refused(refused),
                Body::SiteHeartbeat(beat) => self.beat(from, beat),
                Body::SiteLease(lease) => self.lease(lease),
                Body::LogAsk(ask) => self.0.log_asked(from, ask),
                Body::LogAnswer(answer) => self.0.log_answered(answer),
            }
        }
        self.0.raft.tell(Input::Peer {
            from,
            wall_clock_ms,
            messages,
            forwarded,
        });
    }

    async fn steer(&self, request: SteerRequest) -> Result<(), Status> {
        self.0.steer_here(request).await
    }
}

impl Inbox {
    /// Busy is an answer. Who is not the leader gives no answer: the command waits beside its client, for the next leader; if
    /// that one is known already, it was sent there when it became so.
    fn refused(&self, refused: ForwardRefused) {
        if refused.busy {
            for ticket in refused.tickets {
                self.0.waiters.answer(ticket, Answer::Busy);
            }
        }
    }

    fn beat(&self, from: u64, beat: SiteHeartbeat) {
        if let (Some(instance), Some(heartbeat)) = (number(&beat.instance), beat.heartbeat) {
            self.0.apply.tell(apply::Input::Heartbeat {
                site: SiteId(beat.site),
                instance,
                heartbeat,
                from,
            });
        }
    }

    fn lease(&self, lease: SiteLease) {
        if let (Some(instance), Some(grant)) = (number(&lease.instance), lease.grant) {
            self.0.apply.tell(apply::Input::Lease {
                site: SiteId(lease.site),
                instance,
                grant,
            });
        }
    }
}

fn number(instance: &[u8]) -> Option<u128> {
    instance.try_into().ok().map(u128::from_be_bytes)
}
