//! One real `hesuand` from `init` on, spoken to through its public interface: tokens, request ids, pages, watching, health.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hesuan_api::v1;
use hesuan_api::v1::audit_service_client::AuditServiceClient;
use hesuan_api::v1::cluster_service_client::ClusterServiceClient;
use hesuan_api::v1::export_journal_response::Part;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::site_service_client::SiteServiceClient;
use hesuan_api::v1::wallet_service_client::WalletServiceClient;
use hesuan_audit::file::{Balance, EntryLine, FORMAT, Header, Writer};
use hesuan_audit::{ACCOUNTS, Options, Report, verify};
use hesuan_server::cluster_file::{new_token, token_sha256};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const HESUAND: &str = env!("CARGO_BIN_EXE_hesuand");

/// A daemon and its directory; both end with it.
struct Replica {
    child: Child,
    channel: Channel,
    admin: String,
    dir: tempfile::TempDir,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Replica {
    fn start() -> Replica {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        // Both held until both are known.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [client, peer] = ports.map(|port| port.local_addr().expect("it is bound").to_string());
        let replica = format!("one={peer},{client}");
        let init = Command::new(HESUAND)
            .args(["init", "--replica", &replica, "--dir"])
            .arg(dir.path())
            .output()
            .expect("it can be run");
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        let config = dir.path().join("one.toml");
        let text = format!(
            "name = \"one\"\ndata_dir = \"data\"\ncluster_file = \"cluster.toml\"\n[listen]\nclient = \"{client}\"\npeer = \"{peer}\"\n\
             [site]\nname = \"here\"\ntoken_file = \"node.token\"\nbackend = \"process\"\n\
             [[site.host]]\nname = \"h1\"\ncpu_milli = 64000\nmemory_mib = 65536\n"
        );
        std::fs::write(&config, text).expect("the directory is ours");
        let check = Command::new(HESUAND).args(["config", "check"]).arg(&config).status();
        assert!(check.expect("it can be run").success());
        let child = Command::new(HESUAND)
            .args(["run", "--until-stdin-closes", "--config"])
            .arg(&config)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it can be run");
        let channel = Channel::from_shared(format!("http://{client}"))
            .expect("an address")
            .connect_lazy();
        let admin = std::fs::read_to_string(dir.path().join("admin.token")).expect("init wrote it");
        Replica {
            child,
            channel,
            admin: admin.trim().to_owned(),
            dir,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    async fn leads(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        let mut cluster = ClusterServiceClient::new(self.channel.clone());
        loop {
            match cluster.get_status(with(&self.admin, v1::GetStatusRequest {})).await {
                Ok(status) if status.get_ref().leader_id == 1 => return,
                answer => assert!(Instant::now() < until, "no leader within 20 s: {answer:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A principal and its token.
    async fn principal(&self, name: &str, role: v1::Role, bound: v1::Principal) -> String {
        let token = new_token();
        let principal = v1::Principal {
            name: name.into(),
            roles: vec![role.into()],
            ..bound
        };
        let request = v1::CreatePrincipalRequest {
            request_id: id(),
            principal: Some(principal),
            token_sha256: token_sha256(&token).to_vec(),
        };
        let mut cluster = ClusterServiceClient::new(self.channel.clone());
        cluster
            .create_principal(with(&self.admin, request))
            .await
            .expect("an admin may");
        token
    }

    /// An enterprise with a wallet, a site with a price and an agent; gives the enterprise's token.
    async fn established(&self) -> String {
        let mut wallet = WalletServiceClient::new(self.channel.clone());
        for (name, kind) in [("dc", v1::OrgKind::Provider), ("firm", v1::OrgKind::Enterprise)] {
            let (name, kind) = (name.into(), kind.into());
            let org = v1::CreateOrgRequest {
                request_id: id(),
                name,
                kind,
                region: 310_117,
                ..Default::default()
            };
            wallet.create_org(with(&self.admin, org)).await.expect("an admin may");
        }
        let mut sites = SiteServiceClient::new(self.channel.clone());
        let site = v1::CreateSiteRequest {
            request_id: id(),
            name: "here".into(),
            region: 310_117,
            provider: "dc".into(),
        };
        sites.create_site(with(&self.admin, site)).await.expect("an admin may");
        let here = v1::Principal {
            site: "here".into(),
            ..Default::default()
        };
        let operator = self.principal("operator", v1::Role::Operator, here.clone()).await;
        let prices = ["cpu", "mem"].map(|sku| v1::UnitPrice {
            sku: sku.into(),
            // So dear that the blink of an eye costs some fen.
            millifen_per_unit_hour: 1_000_000_000,
        });
        let sheet = v1::SetPricesRequest {
            request_id: id(),
            site: "here".into(),
            prices: prices.into(),
            effective_from_ms: 0,
        };
        wallet
            .set_prices(with(&operator, sheet))
            .await
            .expect("an operator may");
        let treasurer = self
            .principal("treasurer", v1::Role::Treasurer, v1::Principal::default())
            .await;
        let money = v1::TopUpRequest {
            request_id: id(),
            org: "firm".into(),
            amount_fen: 1_000_000,
            reference: String::new(),
        };
        wallet.top_up(with(&treasurer, money)).await.expect("a treasurer may");
        let node = self.principal("node", v1::Role::Node, here).await;
        let mut file = std::fs::File::create(self.path().join("node.token")).expect("the directory is ours");
        file.write_all(node.as_bytes()).expect("the directory is ours");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let listed = sites
                .list_sites(with(&self.admin, v1::ListSitesRequest::default()))
                .await
                .expect("everybody may");
            if listed.get_ref().sites.iter().all(|site| site.up && site.hosts == 1) {
                break;
            }
            assert!(Instant::now() < until, "the agent is not up within 20 s: {listed:?}");
            sleep(Duration::from_millis(50)).await;
        }
        self.principal(
            "firm",
            v1::Role::Member,
            v1::Principal {
                org: "firm".into(),
                ..Default::default()
            },
        )
        .await
    }
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    request
}

fn id() -> Vec<u8> {
    uuid::Uuid::now_v7().as_bytes().to_vec()
}

fn spec(name: &str) -> v1::JobSpec {
    v1::JobSpec {
        name: name.into(),
        command: vec!["sleep".into(), "0.05".into()],
        resources: Some(v1::Resources {
            cpu_milli: 1_000,
            memory_mib: 64,
            ..Default::default()
        }),
        walltime_ms_max: 60_000,
        ..Default::default()
    }
}

fn submit(spec: v1::JobSpec) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        request_id: id(),
        spec: Some(spec),
        ..Default::default()
    }
}

fn refusal(status: &Status) -> (Code, String, String) {
    let refusal = hesuan_api::refusal::Refusal::from_status(status);
    (refusal.status, refusal.code, refusal.field)
}

#[tokio::test]
async fn a_replica_serves_from_init_to_watched_jobs() {
    let replica = Replica::start();
    replica.leads().await;
    who_may(&replica).await;
    let firm = replica.established().await;
    requests_and_pages(&replica, &firm).await;
    watching(&replica, &firm).await;
    auditing(&replica, &firm).await;
}

/// Tokens decide; whether it is alive, everybody may ask.
async fn who_may(replica: &Replica) {
    let mut jobs = replica.jobs();
    let nobody = jobs
        .list_jobs(Request::new(v1::ListJobsRequest::default()))
        .await
        .expect_err("no token");
    assert_eq!(refusal(&nobody).0, Code::Unauthenticated);
    let stranger = jobs
        .list_jobs(with(&new_token(), v1::ListJobsRequest::default()))
        .await
        .expect_err("an unknown token");
    assert_eq!(refusal(&stranger).1, "UNAUTHENTICATED");
    let admin = jobs
        .submit_job(with(&replica.admin, submit(spec("mine"))))
        .await
        .expect_err("an admin submits nothing");
    assert_eq!(refusal(&admin).0, Code::PermissionDenied);
    let service = "hesuan.v1.JobService".to_owned();
    let health = HealthClient::new(replica.channel.clone())
        .check(HealthCheckRequest { service })
        .await
        .expect("it answers");
    assert_eq!(health.get_ref().status(), ServingStatus::Serving);
}

async fn requests_and_pages(replica: &Replica, firm: &str) {
    let mut jobs = replica.jobs();
    let first = submit(spec("first"));
    let job = jobs
        .submit_job(with(firm, first.clone()))
        .await
        .expect("it is fine")
        .into_inner()
        .job_id;
    let again = jobs
        .submit_job(with(firm, first.clone()))
        .await
        .expect("the same answer")
        .into_inner()
        .job_id;
    assert_eq!(again, job);
    let other = v1::SubmitJobRequest {
        spec: Some(spec("other")),
        ..first
    };
    let reused = jobs
        .submit_job(with(firm, other))
        .await
        .expect_err("the id was used for something else");
    assert_eq!(refusal(&reused).1, "REQUEST_ID_REUSED");
    let anonymous = v1::SubmitJobRequest {
        request_id: Vec::new(),
        ..submit(spec("anonymous"))
    };
    let anonymous = jobs.submit_job(with(firm, anonymous)).await.expect_err("no request id");
    assert_eq!(
        refusal(&anonymous),
        (Code::InvalidArgument, "FIELD_MISSING".into(), "request_id".into())
    );
    let unknown = jobs
        .get_job(with(
            firm,
            v1::GetJobRequest {
                job_id: 999,
                consistency: 0,
            },
        ))
        .await
        .expect_err("there is none");
    assert_eq!(unknown.code(), Code::NotFound);

    for number in 0..6 {
        jobs.submit_job(with(firm, submit(spec(&format!("n{number}")))))
            .await
            .expect("it is fine");
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListJobsRequest {
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = jobs.list_jobs(with(firm, request)).await.expect("its own").into_inner();
        assert!(page.jobs.len() <= 3);
        seen.extend(page.jobs.iter().map(|job| job.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(
        seen,
        (job..job + 7).rev().collect::<Vec<_>>(),
        "newest first, each once"
    );
    let stale = v1::GetJobRequest {
        job_id: job,
        consistency: v1::Consistency::Stale.into(),
    };
    let stale = jobs.get_job(with(firm, stale)).await.expect("its own");
    assert!(stale.metadata().contains_key("hesuan-applied-index") && stale.metadata().contains_key("hesuan-age-ms"));
}

/// A watcher sees a job to its end, goes on from its token, and is told when a token is too old.
async fn watching(replica: &Replica, firm: &str) {
    let mut jobs = replica.jobs();
    let open = |resume_token: String, send_initial: bool| v1::WatchJobsRequest {
        resume_token,
        send_initial,
        ..Default::default()
    };
    let mut stream = jobs
        .watch_jobs(with(firm, open(String::new(), true)))
        .await
        .expect("it may")
        .into_inner();
    let next = async |stream: &mut tonic::Streaming<v1::WatchJobsResponse>| {
        timeout(Duration::from_secs(20), stream.next())
            .await
            .expect("something comes")
            .expect("the stream goes on")
    };
    let mut there = BTreeSet::new();
    // To their end, so that nothing of them comes after what is watched below.
    while there.len() < 7 {
        // What carries no job is the bookmark after those that were there.
        let seen = next(&mut stream).await.expect("a job or a bookmark").job;
        there.extend(
            seen.filter(|job| job.state() == v1::JobState::Succeeded)
                .map(|job| job.id),
        );
    }
    let job = jobs
        .submit_job(with(firm, submit(spec("watched"))))
        .await
        .expect("it is fine")
        .into_inner()
        .job_id;
    let resume_token = loop {
        let seen = next(&mut stream).await.expect("a job");
        let over = seen
            .job
            .is_some_and(|seen| seen.id == job && seen.state() == v1::JobState::Succeeded);
        if over {
            break seen.resume_token;
        }
    };
    drop(stream);
    let next_job = jobs
        .submit_job(with(firm, submit(spec("later"))))
        .await
        .expect("it is fine")
        .into_inner()
        .job_id;
    let mut resumed = jobs
        .watch_jobs(with(firm, open(resume_token, false)))
        .await
        .expect("it may")
        .into_inner();
    let seen = next(&mut resumed).await.expect("a job").job.expect("not a bookmark").id;
    assert_eq!(seen, next_job, "what came after the token, and nothing before");
    let mut old = jobs
        .watch_jobs(with(firm, open("0.0".into(), false)))
        .await
        .expect("it may")
        .into_inner();
    let refused = next(&mut old).await.expect_err("before anything this replica knows");
    assert_eq!(
        refusal(&refused),
        (Code::OutOfRange, "RESUME_TOKEN_TOO_OLD".into(), String::new())
    );
}

/// An auditor takes the journal away and finds nothing wrong; nobody else gets it.
async fn auditing(replica: &Replica, firm: &str) {
    let from = |from_index| v1::ExportJournalRequest { from_index };
    let mut audits = AuditServiceClient::new(replica.channel.clone());
    for token in [firm, &replica.admin] {
        let refused = audits
            .export_journal(with(token, from(0)))
            .await
            .expect_err("no auditor");
        assert_eq!(refusal(&refused).1, "PERMISSION_DENIED");
    }
    let auditor = replica
        .principal("auditor", v1::Role::Auditor, v1::Principal::default())
        .await;
    let past = audits
        .export_journal(with(&auditor, from(1 << 40)))
        .await
        .expect_err("there is no such entry");
    assert_eq!(
        refusal(&past),
        (Code::InvalidArgument, "FIELD_OUT_OF_RANGE".into(), "from_index".into())
    );
    let rest = exported(&mut audits, &auditor, from(2)).await;
    assert!(!rest.whole && rest.first == 2, "{:?}", rest.findings);
    // Amounts follow from the beginning only: the rest alone agrees with nothing.
    assert!(!rest.agreed && rest.findings_count == 1, "{:?}", rest.findings);
    let mut wallet = WalletServiceClient::new(replica.channel.clone());
    let mut trial = async || {
        let request = with(&auditor, v1::GetTrialBalanceRequest {});
        wallet
            .get_trial_balance(request)
            .await
            .expect("an auditor may")
            .into_inner()
    };
    // The last job may still be running, and then an entry comes in between.
    let until = Instant::now() + Duration::from_secs(20);
    let (all, trial) = loop {
        let all = exported(&mut audits, &auditor, from(0)).await;
        let trial = trial().await;
        if all.last == trial.journal_entries {
            break (all, trial);
        }
        assert!(Instant::now() < until, "the books do not come to rest within 20 s");
        sleep(Duration::from_millis(50)).await;
    };
    assert!(all.agreed && all.whole && all.first == 1, "{:?}", all.findings);
    assert_eq!(all.head, hex::encode(&trial.journal_head_sha256));
    // Jobs were paid: the provider has earned what left the wallet.
    let derived = |account: &str| {
        all.balances
            .iter()
            .find(|row| row.account == account)
            .map(|row| row.derived)
    };
    let earned = derived("owed_to_providers").expect("a kind of accounts");
    assert!(earned > 0, "{:?}", all.balances);
    assert_eq!(
        derived("wallets_available")
            .zip(derived("wallets_held"))
            .map(|(free, held)| free + held),
        Some(1_000_000 - earned)
    );
}

async fn exported(
    audits: &mut AuditServiceClient<Channel>,
    auditor: &str,
    request: v1::ExportJournalRequest,
) -> Report {
    let stream = audits
        .export_journal(with(auditor, request))
        .await
        .expect("an auditor may");
    let mut stream = stream.into_inner();
    let mut next = async || {
        let message = timeout(Duration::from_secs(20), stream.message())
            .await
            .expect("something comes");
        message.expect("the stream goes on").and_then(|message| message.part)
    };
    let Some(Part::Begin(begin)) = next().await else {
        panic!("no beginning")
    };
    let header = Header {
        format: FORMAT.into(),
        cluster: hex::encode(&begin.cluster_id),
        first: begin.first_index,
        last: begin.last_index,
        before: hex::encode(&begin.hash_before),
    };
    let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
    let end = loop {
        match next().await.expect("the end comes last") {
            Part::Entries(entries) => {
                for entry in entries.entries {
                    let line = EntryLine {
                        index: entry.index,
                        record: entry.record,
                        hash: entry.sha256.try_into().expect("a SHA-256"),
                    };
                    writer.entry(&line).expect("memory takes everything");
                }
            }
            Part::End(end) => break end,
            Part::Begin(_) => panic!("it begins twice"),
        }
    };
    assert!(next().await.is_none(), "nothing follows the end");
    assert!(end.units.is_empty(), "nobody grants unit-hours here");
    let rows = ACCOUNTS.iter().zip(end.balances_fen);
    let row = |((account, ..), balance): (&(&str, bool, bool), i64)| Balance {
        account: (*account).into(),
        unit: "fen".into(),
        balance,
    };
    let file = writer.finish(rows.map(row).collect()).expect("memory takes everything");
    verify(&*file, &Options::default(), |_, _| true).expect("memory can be read")
}
