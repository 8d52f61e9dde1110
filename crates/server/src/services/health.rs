//! grpc.health.v1: each service serves while this replica knows a leader, because a leader without a quorum steps down.

use hesuan_api::internal::v1::agent_service_server::AgentServiceServer;
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
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::Services;
use crate::raft::Leadership;

/// Keeps the answers true until the process ends.
pub(crate) async fn follow(
    reporter: HealthReporter,
    mut leadership: watch::Receiver<Leadership>,
    mut ending: watch::Receiver<bool>,
) {
    loop {
        let ends = *ending.borrow_and_update();
        let serves = leadership.borrow_and_update().leader.is_some() && !ends;
        let status = if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in names().into_iter().chain([""]) {
            reporter.set_service_status(service, status).await;
        }
        if ends {
            return;
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            changed = ending.changed() => if changed.is_err() { return },
        }
    }
}

fn names() -> [&'static str; 10] {
    [
        JobServiceServer::<Services>::NAME,
        SiteServiceServer::<Services>::NAME,
        VoucherServiceServer::<Services>::NAME,
        WalletServiceServer::<Services>::NAME,
        ProgrammeServiceServer::<Services>::NAME,
        PeriodServiceServer::<Services>::NAME,
        SettlementServiceServer::<Services>::NAME,
        ClusterServiceServer::<Services>::NAME,
        AuditServiceServer::<Services>::NAME,
        AgentServiceServer::<Services>::NAME,
    ]
}
