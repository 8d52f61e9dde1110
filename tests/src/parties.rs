//! The people of a test cluster: an enterprise with a wallet, a lab with a voucher, providers, sites with prices, their tokens.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hesuan_api::v1::cluster_service_client::ClusterServiceClient;
use hesuan_api::v1::programme_service_client::ProgrammeServiceClient;
use hesuan_api::v1::site_service_client::SiteServiceClient;
use hesuan_api::v1::voucher_service_client::VoucherServiceClient;
use hesuan_api::v1::wallet_service_client::WalletServiceClient;
use hesuan_api::v1::{
    Agreement, BudgetPolicy, CreateAgreementRequest, CreateOrgRequest, CreatePrincipalRequest, CreateProgrammeRequest,
    CreateSiteRequest, Funder, IssueVouchersRequest, ListSitesRequest, NewVoucher, OrgKind, Principal, Programme, Rate,
    RedeemVoucherRequest, Redemption, Role, SetPricesRequest, Terms, TopUpRequest, UnitPrice,
};
use hesuan_server::cluster_file::{new_token, token_sha256, write_private};
use tonic::transport::Channel;

use crate::client::{Bearer, channel, request_id};
use crate::daemons::Daemons;

/// Tokens of those who act.
pub struct Parties {
    /// Submits for `acme`, an enterprise that pays from its wallet.
    pub enterprise: Bearer,
    /// Submits for `photonics-lab`, which holds a redeemed voucher of Songjiang.
    pub lab: Bearer,
    /// Tops up and refunds.
    pub treasurer: Bearer,
}

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Sets everything up through the public API of the replica at `place` and waits until every site's agent is up.
///
/// # Errors
/// When a call is refused or a site does not come up.
pub async fn establish(cluster: &Daemons, place: usize) -> anyhow::Result<Parties> {
    let to = channel(&cluster.replicas[place].client)?;
    let now = crate::client::wall_ms();
    let issuer = principal(cluster, &to, "songjiang-bureau", Role::Issuer, "", "", 310_117).await?;
    let treasurer = principal(cluster, &to, "treasury", Role::Treasurer, "", "", 0).await?;
    for (name, kind) in [("acme", OrgKind::Enterprise), ("photonics-lab", OrgKind::Lab)] {
        org(cluster, &to, name, kind, 310_117).await?;
    }
    for replica in &cluster.replicas {
        let provider = format!("{}-centre", replica.name);
        org(cluster, &to, &provider, OrgKind::Provider, replica.region).await?;
        let request = CreateSiteRequest {
            request_id: request_id(),
            name: replica.name.clone(),
            region: replica.region,
            provider,
        };
        SiteServiceClient::new(to.clone())
            .create_site(cluster.admin.request(request))
            .await?;
        let operator = format!("{}-operator", replica.name);
        let operator = principal(cluster, &to, &operator, Role::Operator, "", &replica.name, 0).await?;
        let prices = [("cpu", 20_000), ("mem", 1_000)];
        let request = SetPricesRequest {
            request_id: request_id(),
            site: replica.name.clone(),
            prices: prices
                .iter()
                .map(|(sku, price)| UnitPrice {
                    sku: (*sku).to_owned(),
                    millifen_per_unit_hour: *price,
                })
                .collect(),
            effective_from_ms: 0,
        };
        WalletServiceClient::new(to.clone())
            .set_prices(operator.request(request))
            .await?;
        // The agent waits for this file.
        principal(cluster, &to, &replica.name, Role::Node, "", &replica.name, 0).await?;
    }
    for name in ["acme", "photonics-lab"] {
        let request = TopUpRequest {
            request_id: request_id(),
            org: name.to_owned(),
            amount_fen: 100_000_000_000,
            reference: "opening balance".to_owned(),
        };
        WalletServiceClient::new(to.clone())
            .top_up(treasurer.request(request))
            .await?;
    }
    let programme = Programme {
        name: "songjiang-compute".to_owned(),
        region: 310_117,
        funders: vec![
            Funder {
                name: "songjiang-district".to_owned(),
                share: 1,
            },
            Funder {
                name: "shanghai-city".to_owned(),
                share: 1,
            },
        ],
        budget: 10_000_000_000,
        budget_policy: BudgetPolicy::CommitAtIssue.into(),
        redemption: Redemption::Provider.into(),
        terms: Some(Terms {
            rates: vec![
                Rate {
                    sku: "cpu".to_owned(),
                    rate_bp: 3_000,
                },
                Rate {
                    sku: "mem".to_owned(),
                    rate_bp: 3_000,
                },
            ],
            from_ms: now - 86_400_000,
            until_ms: now + YEAR_MS,
            ..Terms::default()
        }),
        ..Programme::default()
    };
    let request = CreateProgrammeRequest {
        request_id: request_id(),
        programme: Some(programme),
    };
    ProgrammeServiceClient::new(to.clone())
        .create_programme(issuer.request(request))
        .await?;
    for (region, rate_bp) in [(330_100, 2_000), (340_100, 1_500)] {
        let agreement = Agreement {
            issuer_region: 310_117,
            provider_region: region,
            rate_bp,
            from_ms: now - 86_400_000,
            until_ms: now + YEAR_MS,
            ..Agreement::default()
        };
        let request = CreateAgreementRequest {
            request_id: request_id(),
            agreement: Some(agreement),
        };
        ProgrammeServiceClient::new(to.clone())
            .create_agreement(issuer.request(request))
            .await?;
    }
    let voucher = NewVoucher {
        code: "SJ-2026-0001".to_owned(),
        holder: "photonics-lab".to_owned(),
        face: 1_000_000_000,
        from_ms: now - 86_400_000,
        until_ms: now + YEAR_MS / 2,
    };
    let request = IssueVouchersRequest {
        request_id: request_id(),
        programme: "songjiang-compute".to_owned(),
        vouchers: vec![voucher],
        ..Default::default()
    };
    VoucherServiceClient::new(to.clone())
        .issue_vouchers(issuer.request(request))
        .await?;
    let enterprise = principal(cluster, &to, "acme-user", Role::Member, "acme", "", 0).await?;
    let lab = principal(cluster, &to, "lab-user", Role::Member, "photonics-lab", "", 0).await?;
    let request = RedeemVoucherRequest {
        request_id: request_id(),
        code: "SJ-2026-0001".to_owned(),
    };
    VoucherServiceClient::new(to.clone())
        .redeem_voucher(lab.request(request))
        .await?;
    wait_for_sites(cluster, &to).await?;
    Ok(Parties {
        enterprise,
        lab,
        treasurer,
    })
}

async fn principal(
    cluster: &Daemons,
    to: &Channel,
    name: &str,
    role: Role,
    org: &str,
    site: &str,
    region: u32,
) -> anyhow::Result<Bearer> {
    let token = new_token();
    let request = CreatePrincipalRequest {
        request_id: request_id(),
        principal: Some(Principal {
            name: if role == Role::Node {
                format!("{name}-node")
            } else {
                name.to_owned()
            },
            roles: vec![role.into()],
            org: org.to_owned(),
            site: site.to_owned(),
            region,
            ..Principal::default()
        }),
        token_sha256: token_sha256(&token).to_vec(),
    };
    ClusterServiceClient::new(to.clone())
        .create_principal(cluster.admin.request(request))
        .await
        .with_context(|| format!("cannot create the principal {name}"))?;
    write_private(&cluster.token_file(name), &format!("{token}\n"))?;
    Bearer::new(&token)
}

async fn org(cluster: &Daemons, to: &Channel, name: &str, kind: OrgKind, region: u32) -> anyhow::Result<()> {
    let request = CreateOrgRequest {
        request_id: request_id(),
        name: name.to_owned(),
        kind: kind.into(),
        region,
        ..CreateOrgRequest::default()
    };
    WalletServiceClient::new(to.clone())
        .create_org(cluster.admin.request(request))
        .await
        .with_context(|| format!("cannot create the organisation {name}"))?;
    Ok(())
}

/// Waits until every site's agent is up.
///
/// # Errors
/// When one is not within 30 s.
pub async fn wait_for_sites(cluster: &Daemons, to: &Channel) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = SiteServiceClient::new(to.clone())
            .list_sites(cluster.admin.request(ListSitesRequest::default()))
            .await;
        if let Ok(answer) = answer {
            let sites = answer.into_inner().sites;
            if sites.len() == cluster.replicas.len() && sites.iter().all(|s| s.up && s.hosts > 0) {
                return Ok(());
            }
        }
        ensure!(
            Instant::now() < deadline,
            "the sites are not up within 30 s:\n{}",
            cluster.tails()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
