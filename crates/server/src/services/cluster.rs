//! ClusterService: members and leadership, principals, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use hesuan_api::answer;
use hesuan_api::codec::encode_add_member;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::internal::v1::steer_request::Body as SteerBody;
use hesuan_api::internal::v1::{AddLearner, SteerRequest};
use hesuan_api::refusal::{status, trouble};
use hesuan_api::v1;
use hesuan_api::v1::cluster_service_server::ClusterService;
use hesuan_engine::command::Member;
use hesuan_engine::outcome::{Rejection, Reply};
use hesuan_engine::schedule::{self, Accuracy};
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::types::PrincipalId;
use hesuan_replica::node::{ProposeError, Role};
use hesuan_replica::wire::ConfState;
use tonic::{Code, Request, Response, Status};

use super::call::{Deadline, unexpected};
use super::pages::{self, denied};
use super::site::may_read_public;
use super::{Core, Services};
use crate::peer;
use crate::raft::Steer;

/// How long a change of membership or leadership may take.
const STEERING: Duration = Duration::from_secs(8);
/// How often a change is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn start_estimates(accuracy: &Accuracy) -> v1::StartEstimates {
    let count = accuracy.count().max(1);
    v1::StartEstimates {
        bounds_ms: Accuracy::BOUNDS_MS.to_vec(),
        early: accuracy.early.to_vec(),
        late: accuracy.late.to_vec(),
        wait_mean_ms: accuracy.waited_ms / count,
        off_mean_ms: accuracy.off_ms / count,
    }
}

impl Core {
    /// This replica's own view: no quorum is asked.
    async fn status(&self, deadline: Deadline) -> Result<v1::ClusterStatus, Status> {
        let node = self.raft.status();
        let leadership = self.raft.leadership();
        let id = self.id;
        self.look(deadline, move |view| {
            let state = view.state;
            let leads = node.role == Role::Leader;
            let progress: BTreeMap<u64, _> = node.peers.iter().map(|peer| (peer.id, peer)).collect();
            let members = state
                .members()
                .iter()
                .filter(|member| node.conf_state.contains(member.id))
                .map(|member| v1::Member {
                    id: member.id,
                    name: member.name.to_string(),
                    peer_address: member.peer_address.to_string(),
                    client_address: member.client_address.to_string(),
                    voter: node.conf_state.voters.contains(&member.id),
                    leader: leadership.leader == Some(member.id),
                    match_index: match progress.get(&member.id) {
                        Some(peer) => peer.matched,
                        None if leads && member.id == id => node.last,
                        None => 0,
                    },
                    active: member.id == id || progress.get(&member.id).is_some_and(|peer| peer.recent_active),
                });
            v1::ClusterStatus {
                cluster_id: hex::encode(state.cluster_id()),
                replica_id: id,
                leader_id: leadership.leader.unwrap_or(0),
                term: leadership.term,
                commit_index: node.commit,
                applied_index: state.applied_index(),
                outcome_digest: state.outcome_digest().to_vec(),
                level: state.level(),
                members: members.collect(),
                jobs_pending: state.tasks_pending(),
                tasks_running: state.tasks_running(),
                first_index: node.first,
                snapshot_index: node.snapshot_index,
                rss_mib: rss_mib(),
                start_estimates: view.planner.map(|planner| start_estimates(planner.accuracy())),
            }
        })
        .await
    }

    /// Only who administers the cluster may steer it.
    async fn may_administer(&self, caller: PrincipalId, deadline: Deadline) -> Result<(), Status> {
        let judged = self.look(deadline, move |view| {
            let principal = view.state.principal(caller);
            let may = principal.is_some_and(|principal| access::may(principal, Kind::Administer, Scope::Cluster));
            if may {
                Ok(())
            } else {
                Err(Rejection::denied(
                    "PERMISSION_DENIED",
                    "changing the cluster takes the role admin",
                ))
            }
        });
        judged.await?.map_err(|rejection| status(&rejection))
    }

    /// Has the leader do it, wherever it is, and waits until this replica sees that it is done.
    async fn steer(&self, body: SteerBody, done: impl Fn(&ConfState) -> bool) -> Result<(), Status> {
        let request = SteerRequest { body: Some(body) };
        let steered = async {
            match self.raft.leadership().leader {
                Some(leader) if leader == self.id => self.steer_here(request).await?,
                Some(leader) => {
                    let address = self.peers.address(leader).ok_or_else(no_leader)?;
                    peer::steer(&self.secret, &address, request).await?;
                }
                None => return Err(no_leader()),
            }
            // A joint configuration is left by another entry.
            while !done(&self.raft.status().conf_state) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(())
        };
        tokio::time::timeout(STEERING, steered).await.unwrap_or_else(|_| {
            Err(trouble(
                Code::Unavailable,
                "OUTCOME_UNKNOWN",
                "the change was not confirmed in time; look at the cluster's status",
            ))
        })
    }

    /// A number for a new member, in State under its name. A name that was used before is refused: its number belongs to a replica
    /// that may have promised something under it.
    async fn new_member(&self, caller: PrincipalId, deadline: Deadline, member: Member) -> Result<u64, Status> {
        let asked = member.clone();
        let conf_state = self.raft.status().conf_state;
        let known = self.read_index(deadline, move |view| {
            let members = view.state.members();
            let addresses = [&asked.peer_address, &asked.client_address];
            // The addresses of one that was removed are free again.
            let lives_there = |known: &&Member| {
                conf_state.contains(known.id)
                    && [&known.peer_address, &known.client_address]
                        .iter()
                        .any(|address| addresses.contains(address))
            };
            match members
                .iter()
                .find(|known| known.name == asked.name)
                .or_else(|| members.iter().find(lives_there))
            {
                Some(known) => Err(known.clone()),
                None => Ok(members.iter().map(|member| member.id).max().unwrap_or(0) + 1),
            }
        });
        let id = match known.await? {
            Ok(next) => next,
            Err(known) => {
                let again = known.peer_address == member.peer_address && known.client_address == member.client_address;
                // The first answer was lost on its way: the replica has not joined yet, or is a learner.
                if again && self.raft.status().conf_state.learners.contains(&known.id) {
                    return Ok(known.id);
                }
                if known.name != member.name {
                    let text = format!(
                        "replica {} ({}) has this address already: clients {}, peers {}; remove it first if it is gone",
                        known.id, known.name, known.client_address, known.peer_address
                    );
                    return Err(trouble(Code::AlreadyExists, "MEMBER_ADDRESS_TAKEN", &text));
                }
                let text = format!(
                    "\"{}\" is or was replica {}, and names and numbers are not used again; choose another name, and remove replica {} if it is gone",
                    known.name, known.id, known.id
                );
                return Err(trouble(Code::AlreadyExists, "MEMBER_NAME_TAKEN", &text));
            }
        };
        let command = encode_add_member(caller, &Member { id, ..member }).map_err(|rejection| status(&rejection))?;
        self.command(deadline, command)
            .await?
            .map_err(|rejection| status(&rejection))?;
        Ok(id)
    }

    /// Does it as the leader. A leader does not remove itself: it hands leadership on and has the next one do it.
    pub(crate) async fn steer_here(&self, request: SteerRequest) -> Result<(), Status> {
        let steer = match request.body {
            Some(SteerBody::AddLearner(AddLearner { id })) => Steer::AddLearner(id),
            Some(SteerBody::Promote(id)) => Steer::Promote(id),
            Some(SteerBody::Remove(id)) => Steer::Remove(id),
            Some(SteerBody::TransferTo(id)) => return self.transfer(id).await,
            None => return Err(Status::invalid_argument("nothing is asked")),
        };
        match self.steer_in_turn(steer).await {
            Err(ProposeError::RemovesLeader(_)) => {
                let heir = self.raft.heir().ok_or_else(|| {
                    trouble(
                        Code::FailedPrecondition,
                        "LAST_VOTER",
                        "the leader is the only voter; it cannot be removed",
                    )
                })?;
                self.transfer(heir).await?;
                let address = self.peers.address(heir).ok_or_else(no_leader)?;
                Box::pin(peer::steer(&self.secret, &address, request)).await
            }
            result => result.map_err(|error| refused(&error)),
        }
    }

    /// Membership changes one at a time, and not before a new leader has applied what it found in its log.
    async fn steer_in_turn(&self, steer: Steer) -> Result<(), ProposeError> {
        let until = tokio::time::Instant::now() + STEERING / 2;
        loop {
            match self.raft.steer(steer).await {
                Err(ProposeError::ConfChangePending) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                result => return result,
            }
        }
    }

    async fn transfer(&self, to: u64) -> Result<(), Status> {
        if self.raft.leadership().leader == Some(to) {
            return Ok(());
        }
        self.raft
            .steer(Steer::TransferTo(to))
            .await
            .map_err(|error| refused(&error))?;
        let mut leadership = self.raft.watch_leadership();
        let handed_over = leadership.wait_for(|now| now.leader == Some(to));
        match tokio::time::timeout(STEERING / 2, handed_over).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(trouble(
                Code::Unavailable,
                "TRANSFER_FAILED",
                "leadership was not taken over in time; it stays where it was",
            )),
        }
    }
}

fn no_leader() -> Status {
    trouble(Code::Unavailable, "NO_LEADER", "there is no leader just now; retry")
}

fn refused(error: &ProposeError) -> Status {
    let (code, reason) = match error {
        ProposeError::NotLeader { .. } | ProposeError::Transferring { .. } => (Code::Unavailable, "NO_LEADER"),
        ProposeError::Busy { .. } => (Code::ResourceExhausted, "BUSY"),
        ProposeError::ConfChangePending => (Code::Aborted, "MEMBERSHIP_CHANGING"),
        ProposeError::Size { .. } => (Code::InvalidArgument, "OUT_OF_RANGE"),
        ProposeError::RemovesLeader(_) | ProposeError::ConfChange(_) => {
            (Code::FailedPrecondition, "MEMBERSHIP_REFUSED")
        }
    };
    trouble(code, reason, &error.to_string())
}

fn rss_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}

#[tonic::async_trait]
impl ClusterService for Services {
    async fn get_status(&self, request: Request<v1::GetStatusRequest>) -> Result<Response<v1::ClusterStatus>, Status> {
        let deadline = Deadline::of(request.metadata());
        self.0.caller(request.metadata()).await?;
        Ok(Response::new(self.0.status(deadline).await?))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0.may_administer(caller, deadline).await?;
        let v1::AddMemberRequest {
            name,
            peer_address,
            client_address,
            ..
        } = request.into_inner();
        let member = Member {
            id: 0,
            name: name.into(),
            peer_address: peer_address.into(),
            client_address: client_address.into(),
        };
        let id = self.0.new_member(caller, deadline, member).await?;
        let until = tokio::time::Instant::now() + STEERING;
        while !self.0.raft.status().conf_state.contains(id) {
            let steered = self
                .0
                .steer(SteerBody::AddLearner(AddLearner { id }), |conf| conf.contains(id))
                .await;
            match steered {
                // Another change is under way, or leadership is: the member has its number and must not be left half added.
                Err(status)
                    if matches!(status.code(), Code::Unavailable | Code::Aborted)
                        && tokio::time::Instant::now() < until =>
                {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                result => result?,
            }
        }
        Ok(Response::new(v1::AddMemberResponse { id }))
    }

    async fn promote_member(
        &self,
        request: Request<v1::PromoteMemberRequest>,
    ) -> Result<Response<v1::ClusterStatus>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0.may_administer(caller, deadline).await?;
        let id = request.into_inner().id;
        self.0
            .steer(SteerBody::Promote(id), |conf| {
                conf.voters.contains(&id) && !conf.is_joint()
            })
            .await?;
        Ok(Response::new(self.0.status(deadline).await?))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::ClusterStatus>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0.may_administer(caller, deadline).await?;
        let id = request.into_inner().id;
        self.0.steer(SteerBody::Remove(id), |conf| !conf.contains(id)).await?;
        Ok(Response::new(self.0.status(deadline).await?))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::ClusterStatus>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0.may_administer(caller, deadline).await?;
        self.0
            .steer(SteerBody::TransferTo(request.into_inner().to), |_| true)
            .await?;
        Ok(Response::new(self.0.status(deadline).await?))
    }

    async fn create_principal(
        &self,
        request: Request<v1::CreatePrincipalRequest>,
    ) -> Result<Response<v1::CreatePrincipalResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let reply = self
            .0
            .mutate(caller, deadline, Body::CreatePrincipal(request.into_inner()))
            .await?;
        let Reply::Number(id) = reply else {
            return Err(unexpected(&reply));
        };
        let principal = self.0.look(deadline, move |view| {
            view.state
                .principal(PrincipalId(id))
                .map(|principal| answer::principal(view.state, principal))
        });
        Ok(Response::new(v1::CreatePrincipalResponse {
            principal: principal.await?,
        }))
    }

    async fn revoke_principal(
        &self,
        request: Request<v1::RevokePrincipalRequest>,
    ) -> Result<Response<v1::Principal>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let name = request.name.clone();
        let reply = self.0.mutate(caller, deadline, Body::RevokePrincipal(request)).await?;
        let principal = self.0.look(deadline, move |view| {
            view.state
                .principal_by_name(&name)
                .map(|principal| answer::principal(view.state, principal))
        });
        principal.await?.map(Response::new).ok_or_else(|| unexpected(&reply))
    }

    async fn list_principals(
        &self,
        request: Request<v1::ListPrincipalsRequest>,
    ) -> Result<Response<v1::ListPrincipalsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(v1::Consistency::Linearizable, deadline, move |view| {
            if !access::may_read(view.state, caller, Kind::ReadPrincipals, Scope::Cluster) {
                return Err(denied("principals"));
            }
            let from = pages::start(&request.page_token)?;
            let principals = view
                .state
                .principals()
                .filter(|principal| u64::from(principal.id.0) >= from);
            let (principals, next_page_token) = pages::page(
                principals,
                request.page_size,
                |principal| principal.id.0.into(),
                |principal| answer::principal(view.state, principal),
            );
            Ok(v1::ListPrincipalsResponse {
                principals,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Result<Response<v1::Principal>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let principal = self.0.look(deadline, move |view| {
            view.state
                .principal(caller)
                .map(|principal| answer::principal(view.state, principal))
        });
        principal
            .await?
            .map(Response::new)
            .ok_or_else(|| Status::unauthenticated("this token is unknown"))
    }

    async fn get_limits(&self, request: Request<v1::GetLimitsRequest>) -> Result<Response<v1::Limits>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let limits = self.0.read(v1::Consistency::Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            Ok(answer::limits(view.state.limits()))
        });
        Ok(limits.await?.into_response())
    }

    async fn set_limits(&self, request: Request<v1::SetLimitsRequest>) -> Result<Response<v1::Limits>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .mutate(caller, deadline, Body::SetLimits(request.into_inner()))
            .await?;
        Ok(Response::new(
            self.0
                .look(deadline, |view| answer::limits(view.state.limits()))
                .await?,
        ))
    }

    async fn get_policy(&self, request: Request<v1::GetPolicyRequest>) -> Result<Response<v1::Policy>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let policy = self.0.read(v1::Consistency::Linearizable, deadline, move |view| {
            may_read_public(view.state, caller)?;
            Ok(answer::policy(view.state))
        });
        Ok(policy.await?.into_response())
    }

    async fn set_policy(&self, request: Request<v1::SetPolicyRequest>) -> Result<Response<v1::Policy>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        self.0
            .mutate(caller, deadline, Body::SetPolicy(request.into_inner()))
            .await?;
        let policy = self.0.look(deadline, |view| answer::policy(view.state));
        Ok(Response::new(policy.await?))
    }

    async fn list_shares(
        &self,
        request: Request<v1::ListSharesRequest>,
    ) -> Result<Response<v1::ListSharesResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(v1::Consistency::Linearizable, deadline, move |view| {
            let state = view.state;
            if !access::may_read(state, caller, Kind::ReadJobs, Scope::Later) {
                return Err(denied("shares"));
            }
            let seen = state.principal(caller).and_then(access::jobs_seen);
            let from = pages::start(&request.page_token)?;
            let shares = schedule::shares(state, state.at()).into_iter();
            let shares =
                shares.filter(|share| u64::from(share.org.0) >= from && seen.is_none_or(|seen| seen == share.org));
            let (shares, next_page_token) = pages::page(
                shares,
                request.page_size,
                |share| share.org.0.into(),
                |share| answer::share(state, &share),
            );
            Ok(v1::ListSharesResponse {
                shares,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn get_version(&self, _: Request<v1::GetVersionRequest>) -> Result<Response<v1::Version>, Status> {
        Ok(Response::new(v1::Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            level: hesuan_engine::state::LEVEL,
        }))
    }
}
