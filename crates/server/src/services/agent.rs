//! The streams of sites' agents. What they report becomes commands; what they should run comes from this replica's state.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hesuan_api::codec::encode_command;
use hesuan_api::internal::v1::agent_service_server::AgentService;
use hesuan_api::internal::v1::command::Body as Command;
use hesuan_api::internal::v1::frame::Body as Frame;
use hesuan_api::internal::v1::{
    AgentMessage, AttachAgent, Heartbeat, Hello, Refused, ReplicaMessage, Reports, SiteHeartbeat, agent_message,
    replica_message,
};
use hesuan_api::refusal::trouble;
use hesuan_engine::types::{PrincipalId, SiteId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};

use super::call::Deadline;
use super::{Core, Services};
use crate::apply::{Input, ToAgent};

/// Messages that may wait for an agent. One that does not read is cut off and gets everything anew.
const QUEUE: usize = 1_024;
/// How long an agent may take to introduce itself.
const HELLO: Duration = Duration::from_secs(10);

#[tonic::async_trait]
impl AgentService for Services {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ReplicaMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let caller = self.0.caller(request.metadata()).await?;
        let (to_agent, answers) = mpsc::channel(QUEUE);
        let core = Arc::clone(&self.0);
        // Ends with the stream, which ends with the connection or the process.
        tokio::spawn(async move { serve(core, caller, request.into_inner(), to_agent).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

async fn serve(core: Arc<Core>, caller: PrincipalId, mut messages: Streaming<AgentMessage>, to_agent: ToAgent) {
    let hello = match tokio::time::timeout(HELLO, messages.next()).await {
        Ok(Some(Ok(AgentMessage {
            body: Some(agent_message::Body::Hello(hello)),
        }))) => hello,
        _ => {
            let _ = to_agent
                .send(Err(trouble(
                    Code::InvalidArgument,
                    "HELLO_MISSING",
                    "the first message is hello",
                )))
                .await;
            return;
        }
    };
    let (site, instance) = match attach(&core, caller, hello).await {
        Ok(attached) => attached,
        Err(status) => {
            let refusal = hesuan_api::refusal::Refusal::from_status(&status);
            let refused = Refused {
                code: refusal.code,
                message: refusal.message,
            };
            let body = Some(replica_message::Body::Refused(refused));
            let _ = to_agent.send(Ok(ReplicaMessage { body })).await;
            return;
        }
    };
    // From here on the APPLY thread's sender keeps the stream open, and its end closes it.
    let closed = to_agent.downgrade();
    core.agents.came(site, instance, closed.clone());
    core.apply.tell(Input::AgentCame {
        site,
        instance,
        to_agent,
    });
    tracing::info!(site = site.0, "agent attached");
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = core.ended() => break,
        };
        match message {
            Some(Ok(AgentMessage { body: Some(body) })) => take(&core, caller, site, instance, body),
            Some(Ok(AgentMessage { body: None })) => {}
            Some(Err(_)) | None => break,
        }
    }
    core.agents.left(site, instance);
    core.apply.tell(Input::AgentLeft { site, instance });
    tracing::info!(site = site.0, "agent left");
}

/// Has the attach applied; who is refused learns why.
async fn attach(core: &Core, caller: PrincipalId, hello: Hello) -> Result<(SiteId, u128), Status> {
    let Hello {
        site, instance, hosts, ..
    } = hello;
    let number = <[u8; 16]>::try_from(instance.as_slice()).map(u128::from_be_bytes);
    let number =
        number.map_err(|_| trouble(Code::InvalidArgument, "FIELD_MALFORMED", "instance is 16 random bytes"))?;
    let deadline = Deadline::after(HELLO);
    let attach = AttachAgent {
        site: site.clone(),
        instance,
        replica: core.id,
        hosts,
    };
    core.mutate(caller, deadline, Command::AttachAgent(attach)).await?;
    let id = core
        .look(deadline, move |view| view.state.site_by_name(&site).map(|site| site.id))
        .await?;
    id.map(|id| (id, number))
        .ok_or_else(|| trouble(Code::NotFound, "SITE_NOT_FOUND", "there is no such site"))
}

fn take(core: &Core, caller: PrincipalId, site: SiteId, instance: u128, body: agent_message::Body) {
    match body {
        agent_message::Body::Hello(_) => {}
        agent_message::Body::Heartbeat(heartbeat) => beat(core, site, instance, heartbeat),
        agent_message::Body::Reports(reports) => report(core, caller, reports),
        agent_message::Body::LogChunk(chunk) => core.log_chunk(chunk),
    }
}

fn beat(core: &Core, site: SiteId, instance: u128, heartbeat: Heartbeat) {
    match core.raft.leadership().leader {
        Some(leader) if leader == core.id => core.apply.tell(Input::Heartbeat {
            site,
            instance,
            heartbeat,
            from: core.id,
        }),
        Some(leader) => {
            let instance = instance.to_be_bytes().to_vec();
            let beat = SiteHeartbeat {
                site: site.0,
                instance,
                heartbeat: Some(heartbeat),
            };
            core.peers.send(leader, [Frame::SiteHeartbeat(beat)]);
        }
        None => {}
    }
}

/// Nobody waits for the outcome: the agent repeats a report until it is acknowledged.
fn report(core: &Core, caller: PrincipalId, reports: Reports) {
    match encode_command(caller, Command::Reports(reports)) {
        Ok(command) => {
            let _ = core.send(core.waiters.ticket(), command);
        }
        Err(rejection) => {
            tracing::warn!(code = rejection.code, message = %rejection.message, "an agent's report is malformed")
        }
    }
}
