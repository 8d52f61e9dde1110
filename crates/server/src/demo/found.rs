//! What must be there before anybody can run a job: sites and prices, the programmes of two regions and who recognises them, a lab
//! with a voucher of each, an enterprise with a wallet, and everybody's token.

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

/// The lab that redeems two vouchers.
pub(super) const LAB: &str = "g60-lab";
/// The enterprise that pays from its wallet.
pub(super) const ENTERPRISE: &str = "delta-motors";
/// A programme of the demo: who issues it, what the lab gets of it, and where else its vouchers are recognised, at which rate.
struct Grant {
    issuer: &'static str,
    /// As it lies in `deploy/programmes`.
    file: &'static str,
    voucher: &'static str,
    face_fen: i64,
    recognised: [(usize, u32); 2],
}

/// Songjiang's and Hangzhou's, by the places of their cities in [`CITIES`].
const GRANTS: [Grant; 2] = [
    Grant {
        issuer: "songjiang-issuer",
        file: include_str!("../../../../deploy/programmes/shanghai-district.toml"),
        voucher: "SJ-0001",
        face_fen: 5_000_000,
        recognised: [(1, 3_000), (2, 2_000)],
    },
    Grant {
        issuer: "hangzhou-issuer",
        file: include_str!("../../../../deploy/programmes/hangzhou.toml"),
        voucher: "HZ-0001",
        face_fen: 2_000_000,
        recognised: [(0, 2_000), (2, 1_000)],
    },
];

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Everybody's clients.
pub(super) struct People {
    pub(super) admin: Client,
    pub(super) treasurer: Client,
    pub(super) lab: Client,
    pub(super) enterprise: Client,
    pub(super) auditor: Client,
    pub(super) reviewer: Client,
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
        reviewer: person("reviewer")?,
        admin: admin.clone(),
    };
    if cluster.found_again {
        return Ok(people);
    }
    prices(&person, page).await?;
    for grant in &GRANTS {
        programme(grant, &person(grant.issuer)?, &people.lab, page).await?;
    }
    wallets(&people, page).await?;
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
    for (grant, city) in GRANTS.iter().zip(&CITIES) {
        let bound = v1::Principal {
            region: city.region,
            ..Default::default()
        };
        wanted.push((grant.issuer.into(), v1::Role::Issuer, bound));
    }
    wanted.push(("reviewer".into(), v1::Role::Reviewer, v1::Principal::default()));
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

/// A programme out of its file, the agreements that recognise it elsewhere, and a voucher of it that the lab redeems.
async fn programme(grant: &Grant, issuer: &Client, lab: &Client, page: &Page) -> anyhow::Result<()> {
    // A day of slack on both ends, in case clocks differ. The file's own year may be over when the demo is run.
    let (from_ms, until_ms) = (wall_ms() - 24 * 3_600_000, wall_ms() + YEAR_MS);
    let mut programme = hesuan_cli::programme_file::parse(grant.file).map_err(anyhow::Error::msg)?;
    programme.fiscal_year = None;
    if let Some(terms) = &mut programme.terms {
        (terms.from_ms, terms.until_ms) = (from_ms, until_ms);
    }
    let (name, region) = (programme.name.clone(), programme.region);
    let rate = programme
        .terms
        .iter()
        .flat_map(|terms| &terms.rates)
        .find(|rate| rate.sku == "cpu");
    let rate_bp = rate.map_or(0, |rate| rate.rate_bp);
    let message = v1::CreateProgrammeRequest {
        request_id: request_id(),
        programme: Some(programme),
    };
    issuer
        .call(message, async |channel, request| {
            ProgrammeServiceClient::new(channel).create_programme(request).await
        })
        .await
        .with_context(|| format!("creating the programme {name}"))?;
    let mut elsewhere = Vec::new();
    for (place, rate_bp) in grant.recognised {
        let city = &CITIES[place];
        elsewhere.push(format!("{} % in {}", rate_bp / 100, city.name));
        let agreement = v1::Agreement {
            issuer_region: region,
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
            .with_context(|| format!("the agreement of {name} with {}", city.name))?;
    }
    page.line(format_args!(
        "programme  {name}: {} % at home, up to {} (illustrative figures)",
        rate_bp / 100,
        elsewhere.join(", ")
    ));
    let voucher = v1::NewVoucher {
        code: grant.voucher.into(),
        holder: LAB.into(),
        face: grant.face_fen,
        from_ms,
        until_ms,
    };
    let message = v1::IssueVouchersRequest {
        request_id: request_id(),
        programme: name,
        vouchers: vec![voucher],
        ..Default::default()
    };
    issuer
        .call(message, async |channel, request| {
            VoucherServiceClient::new(channel).issue_vouchers(request).await
        })
        .await
        .context("issuing the voucher")?;
    let redeem = v1::RedeemVoucherRequest {
        request_id: request_id(),
        code: grant.voucher.into(),
    };
    lab.call(redeem, async |channel, request| {
        VoucherServiceClient::new(channel).redeem_voucher(request).await
    })
    .await
    .context("redeeming the voucher")?;
    page.line(format_args!(
        "{LAB:<13} redeemed its voucher {} of {} yuan",
        grant.voucher,
        super::print::yuan(grant.face_fen)
    ));
    Ok(())
}

async fn wallets(people: &People, page: &Page) -> anyhow::Result<()> {
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
        page.line(format_args!(
            "{org:<13} has {} yuan in its wallet",
            super::print::yuan(amount_fen)
        ));
    }
    Ok(())
}
