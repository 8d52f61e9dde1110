//! What must be there before anybody can run a job: sites and prices, a programme and who recognises it, a lab with a voucher, an
//! enterprise with a wallet, and everybody's token.

use anyhow::Context as _;
use hesuan_api::v1::programme_service_client::ProgrammeServiceClient;
use hesuan_api::v1::site_service_client::SiteServiceClient;
use hesuan_api::v1::voucher_service_client::VoucherServiceClient;
use hesuan_api::v1::wallet_service_client::WalletServiceClient;
use hesuan_api::v1::{self, cluster_service_client::ClusterServiceClient};

use super::client::{Client, request_id};
use super::cluster::{CITIES, Cluster};
use super::print::Page;
use crate::clock::wall_ms;
use crate::cluster_file::{new_token, token_sha256, write_private};

/// The lab that redeems a voucher.
pub(super) const LAB: &str = "g60-lab";
/// The enterprise that pays from its wallet.
pub(super) const ENTERPRISE: &str = "delta-motors";
/// Songjiang's voucher programme.
pub(super) const PROGRAMME: &str = "songjiang-compute-2026";

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Everybody's clients.
pub(super) struct People {
    pub(super) admin: Client,
    pub(super) treasurer: Client,
    pub(super) lab: Client,
    pub(super) enterprise: Client,
    pub(super) auditor: Client,
}

/// Makes all of it through the public interface; a second start only reads the tokens.
pub(super) async fn found(cluster: &Cluster, page: &Page) -> anyhow::Result<People> {
    let admin = Client::new(&cluster.addresses, &cluster.admin_token)?;
    if !cluster.found_again {
        organisations(&admin).await?;
        sites(&admin).await?;
        principals(&admin, cluster).await?;
    }
    let person = |name: &str| -> anyhow::Result<Client> {
        Ok(admin.with_token(&crate::cluster_file::read_token(&cluster.token_file(name))?))
    };
    let people = People {
        treasurer: person("treasurer")?,
        lab: person("lab")?,
        enterprise: person("enterprise")?,
        auditor: person("auditor")?,
        admin: admin.clone(),
    };
    if cluster.found_again {
        return Ok(people);
    }
    prices(&person, page).await?;
    money(&people, &person("songjiang-issuer")?, page).await?;
    Ok(people)
}

async fn organisations(admin: &Client) -> anyhow::Result<()> {
    let org = |name: &str, kind: v1::OrgKind, region: u32| v1::CreateOrgRequest {
        request_id: request_id(),
        name: name.to_owned(),
        kind: kind.into(),
        region,
        ..Default::default()
    };
    let mut orgs: Vec<_> = CITIES
        .iter()
        .map(|city| org(&format!("{}-dc", city.name), v1::OrgKind::Provider, city.region))
        .collect();
    orgs.push(org(LAB, v1::OrgKind::Lab, CITIES[0].region));
    orgs.push(org(ENTERPRISE, v1::OrgKind::Enterprise, CITIES[0].region));
    for org in orgs {
        let name = org.name.clone();
        admin
            .call(org, async |channel, request| {
                WalletServiceClient::new(channel).create_org(request).await
            })
            .await
            .with_context(|| format!("creating the organisation {name}"))?;
    }
    Ok(())
}

async fn sites(admin: &Client) -> anyhow::Result<()> {
    for city in &CITIES {
        let site = v1::CreateSiteRequest {
            request_id: request_id(),
            name: city.name.to_owned(),
            region: city.region,
            provider: format!("{}-dc", city.name),
        };
        admin
            .call(site, async |channel, request| {
                SiteServiceClient::new(channel).create_site(request).await
            })
            .await
            .with_context(|| format!("creating the site {}", city.name))?;
    }
    Ok(())
}

async fn principals(admin: &Client, cluster: &Cluster) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    for city in &CITIES {
        let site = city.name.to_owned();
        wanted.push((
            format!("{site}-node"),
            v1::Role::Node,
            v1::Principal {
                site: site.clone(),
                ..Default::default()
            },
        ));
        wanted.push((
            format!("{site}-operator"),
            v1::Role::Operator,
            v1::Principal {
                site,
                ..Default::default()
            },
        ));
    }
    let issuer = v1::Principal {
        region: CITIES[0].region,
        ..Default::default()
    };
    wanted.push(("songjiang-issuer".into(), v1::Role::Issuer, issuer));
    wanted.push(("treasurer".into(), v1::Role::Treasurer, v1::Principal::default()));
    wanted.push(("auditor".into(), v1::Role::Auditor, v1::Principal::default()));
    wanted.push((
        "lab".into(),
        v1::Role::Member,
        v1::Principal {
            org: LAB.into(),
            ..Default::default()
        },
    ));
    wanted.push((
        "enterprise".into(),
        v1::Role::Member,
        v1::Principal {
            org: ENTERPRISE.into(),
            ..Default::default()
        },
    ));
    for (name, role, principal) in wanted {
        let token = new_token();
        let message = v1::CreatePrincipalRequest {
            request_id: request_id(),
            principal: Some(v1::Principal {
                name: name.clone(),
                roles: vec![role.into()],
                ..principal
            }),
            token_sha256: token_sha256(&token).to_vec(),
        };
        admin
            .call(message, async |channel, request| {
                ClusterServiceClient::new(channel).create_principal(request).await
            })
            .await
            .with_context(|| format!("creating the principal {name}"))?;
        // Only now, because the city's agent takes the token as soon as the file is there.
        write_private(&cluster.token_file(&name), &format!("{token}\n"))?;
    }
    Ok(())
}

async fn prices(person: &impl Fn(&str) -> anyhow::Result<Client>, page: &Page) -> anyhow::Result<()> {
    for city in &CITIES {
        let [cpu, mem, gpu] = city.prices;
        let mut prices = vec![price("cpu", cpu), price("mem", mem)];
        if gpu != 0 {
            prices.push(price("gpu/a800", gpu));
        }
        let sheet = v1::SetPricesRequest {
            request_id: request_id(),
            site: city.name.into(),
            prices,
            effective_from_ms: 0,
        };
        person(&format!("{}-operator", city.name))?
            .call(sheet, async |channel, request| {
                WalletServiceClient::new(channel).set_prices(request).await
            })
            .await
            .with_context(|| format!("setting the prices of {}", city.name))?;
        page.line(format_args!(
            "{:<10} {}  {} cores, {} GiB, {} GPUs; {} yuan a core-hour",
            city.name,
            city.region,
            city.cpu_milli / 1000,
            city.memory_mib / 1024,
            city.gpus.len(),
            super::print::yuan((cpu / 1000) as i64),
        ));
    }
    Ok(())
}

fn price(sku: &str, millifen_per_unit_hour: u64) -> v1::UnitPrice {
    v1::UnitPrice {
        sku: sku.to_owned(),
        millifen_per_unit_hour,
    }
}

async fn money(people: &People, issuer: &Client, page: &Page) -> anyhow::Result<()> {
    // A day of slack on both ends, in case clocks differ.
    let (from_ms, until_ms) = (wall_ms() - 24 * 3_600_000, wall_ms() + YEAR_MS);
    let programme = v1::Programme {
        name: PROGRAMME.into(),
        region: CITIES[0].region,
        funders: vec![v1::Funder {
            name: "songjiang-bureau".into(),
            share: 1,
        }],
        budget_fen: 100_000_000,
        budget_policy: v1::BudgetPolicy::CommitAtIssue.into(),
        redemption: v1::Redemption::Holder.into(),
        rates: ["cpu", "mem", "gpu/*"]
            .iter()
            .map(|sku| v1::Rate {
                sku: (*sku).into(),
                rate_bp: 5_000,
            })
            .collect(),
        from_ms,
        until_ms,
        ..Default::default()
    };
    let message = v1::CreateProgrammeRequest {
        request_id: request_id(),
        programme: Some(programme),
    };
    issuer
        .call(message, async |channel, request| {
            ProgrammeServiceClient::new(channel).create_programme(request).await
        })
        .await
        .context("creating the programme")?;
    for (city, rate_bp) in [(&CITIES[1], 3_000), (&CITIES[2], 2_000)] {
        let agreement = v1::Agreement {
            issuer_region: CITIES[0].region,
            provider_region: city.region,
            rate_bp,
            from_ms,
            until_ms,
            ..Default::default()
        };
        let message = v1::CreateAgreementRequest {
            request_id: request_id(),
            agreement: Some(agreement),
        };
        issuer
            .call(message, async |channel, request| {
                ProgrammeServiceClient::new(channel).create_agreement(request).await
            })
            .await
            .with_context(|| format!("the agreement with {}", city.name))?;
    }
    page.line(format_args!(
        "programme  {PROGRAMME}: 50 % at home, 30 % in Hangzhou, 20 % in Hefei"
    ));
    let voucher = v1::NewVoucher {
        code: "SJ-2026-0001".into(),
        holder: LAB.into(),
        face_fen: 5_000_000,
        from_ms,
        until_ms,
    };
    let message = v1::IssueVouchersRequest {
        request_id: request_id(),
        programme: PROGRAMME.into(),
        vouchers: vec![voucher],
    };
    issuer
        .call(message, async |channel, request| {
            VoucherServiceClient::new(channel).issue_vouchers(request).await
        })
        .await
        .context("issuing the voucher")?;
    let redeem = v1::RedeemVoucherRequest {
        request_id: request_id(),
        code: "SJ-2026-0001".into(),
    };
    people
        .lab
        .call(redeem, async |channel, request| {
            VoucherServiceClient::new(channel).redeem_voucher(request).await
        })
        .await
        .context("redeeming the voucher")?;
    for (org, amount_fen) in [(LAB, 1_000_000), (ENTERPRISE, 5_000_000)] {
        let message = v1::TopUpRequest {
            request_id: request_id(),
            org: org.into(),
            amount_fen,
            reference: "demo".into(),
        };
        people
            .treasurer
            .call(message, async |channel, request| {
                WalletServiceClient::new(channel).top_up(request).await
            })
            .await
            .with_context(|| format!("topping up {org}"))?;
    }
    page.line(format_args!(
        "{LAB:<13} redeemed voucher SJ-2026-0001 of 50000.00 yuan; wallet 10000.00 yuan"
    ));
    page.line(format_args!("{ENTERPRISE:<13} no voucher; wallet 50000.00 yuan"));
    Ok(())
}
