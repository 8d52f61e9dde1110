//! The two listeners.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hesuan_api::FILE_DESCRIPTOR_SET;
use hesuan_api::internal::v1::agent_service_server::AgentServiceServer;
use hesuan_api::internal::v1::peer_service_server::PeerServiceServer;
use hesuan_api::v1::audit_service_server::AuditServiceServer;
use hesuan_api::v1::cluster_service_server::ClusterServiceServer;
use hesuan_api::v1::job_service_server::JobServiceServer;
use hesuan_api::v1::period_service_server::PeriodServiceServer;
use hesuan_api::v1::programme_service_server::ProgrammeServiceServer;
use hesuan_api::v1::settlement_service_server::SettlementServiceServer;
use hesuan_api::v1::site_service_server::SiteServiceServer;
use hesuan_api::v1::voucher_service_server::VoucherServiceServer;
use hesuan_api::v1::wallet_service_server::WalletServiceServer;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::inbox::Inbox;
use crate::disk::DiskHandle;
use crate::fatal::fatal;
use crate::peer::{MESSAGE_BYTES_MAX, PeerDoor};
use crate::services::{Core, Services, follow_health};

/// A client's message.
const CLIENT_BYTES_MAX: usize = 1 << 20;
/// A message of an agent: a batch of reports or a piece of a log.
const AGENT_BYTES_MAX: usize = 16 << 20;
/// A message to an agent: a complete list with scripts may be long.
const TO_AGENT_BYTES_MAX: usize = 64 << 20;

fn incoming(listener: TcpListener) -> anyhow::Result<TcpIncoming> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener).context("the runtime does not take the listener")?;
    Ok(TcpIncoming::from(listener).with_nodelay(Some(true)))
}

async fn ended(mut ending: watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

/// Serves clients and agents until the process ends.
pub(super) fn clients(
    services: Services,
    listener: TcpListener,
    streams_max: u32,
    ending: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let incoming = incoming(listener)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("the interface's own description is not one")?;
    macro_rules! service {
        ($server:ident) => {
            $server::new(services.clone()).max_decoding_message_size(CLIENT_BYTES_MAX)
        };
    }
    let agents = AgentServiceServer::new(services.clone())
        .max_decoding_message_size(AGENT_BYTES_MAX)
        .max_encoding_message_size(TO_AGENT_BYTES_MAX);
    let router = Server::builder()
        .max_concurrent_streams(streams_max)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .add_service(service!(JobServiceServer))
        .add_service(service!(SiteServiceServer))
        .add_service(service!(WalletServiceServer))
        .add_service(service!(ProgrammeServiceServer))
        .add_service(service!(VoucherServiceServer))
        .add_service(service!(PeriodServiceServer))
        .add_service(service!(SettlementServiceServer))
        .add_service(service!(ClusterServiceServer))
        .add_service(service!(AuditServiceServer))
        .add_service(agents)
        .add_service(health)
        .add_service(reflection);
    let leadership = services.0.raft.watch_leadership();
    Ok(async move {
        let health = follow_health(reporter, leadership, ending.clone());
        let serving = router.serve_with_incoming_shutdown(incoming, ended(ending));
        let (served, ()) = tokio::join!(serving, health);
        if let Err(error) = served {
            fatal("clients cannot be served", error);
        }
    })
}

/// Serves the other replicas until the process ends.
pub(super) fn peers(
    core: Arc<Core>,
    disk: DiskHandle,
    listener: TcpListener,
    ending: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let incoming = incoming(listener)?;
    let door = PeerDoor::new(core.secret.clone(), Arc::new(Inbox(core)), disk, ending.clone());
    let service = PeerServiceServer::new(door)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let router = Server::builder()
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .add_service(service);
    Ok(async move {
        if let Err(error) = router.serve_with_incoming_shutdown(incoming, ended(ending)).await {
            fatal("peers cannot be served", error);
        }
    })
}
