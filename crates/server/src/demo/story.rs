//! The story itself, from the first daemon to the last check.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hesuan_api::v1;
use hesuan_api::v1::job_service_client::JobServiceClient;
use hesuan_api::v1::site_service_client::SiteServiceClient;
use tokio::time::Instant;

use super::client::{Client, request_id};
use super::closing;
use super::cluster::{CITIES, Cluster};
use super::found::{self, People};
use super::jobs;
use super::print::{Page, yuan};
use super::report;

/// While the demo stays up, a daemon that ends is started again, unless that was done so short a time before.
const RESTART_AFTER: Duration = Duration::from_secs(5);
/// Jobs an earlier run of the demo was told of, kept beside its data.
const ACKNOWLEDGED: &str = "acknowledged-jobs.txt";

/// Runs everything; true if every check held.
pub(super) async fn tell(cluster: &mut Cluster, page: &Page, dir: &Path, exit: bool) -> anyhow::Result<bool> {
    page.part(format_args!("three daemons start; their data is in {}", dir.display()));
    for city in 0..CITIES.len() {
        cluster.start(city)?;
    }
    let admin = Client::new(&cluster.addresses, &cluster.admin_token)?;
    let leader = wait_for_leader(cluster, &admin, 0).await?;
    page.line(format_args!("leader: {}", CITIES[leader].name));

    page.part(if cluster.found_again {
        "everything is found again"
    } else {
        "sites, prices, two regions' programmes, people"
    });
    let people = found::found(cluster, page).await?;
    if cluster.found_again {
        find_again(&people, page, dir).await?;
    }
    wait_for_sites(cluster, &people.admin).await?;
    page.line("all three sites are up");

    page.part("what would it cost?");
    quote(&people.lab, page).await?;

    page.part("jobs are submitted");
    let spectrum = jobs::submit(&people.lab, jobs::spectrum())
        .await
        .context("submitting the script")?;
    let frames = jobs::submit(&people.enterprise, jobs::frames())
        .await
        .context("submitting the array")?;
    let broken = jobs::submit(&people.enterprise, jobs::broken())
        .await
        .context("submitting the one that fails")?;
    page.line(format_args!("{spectrum}: spectrum, a CPU-bound script of the lab"));
    page.line(format_args!("{frames}: frames, an array of 20 of the enterprise"));
    page.line(format_args!("{broken}: broken, which fails"));
    refuse_too_big(&people.enterprise, page).await;

    page.part("the script's output as it comes");
    let seen = jobs::follow(&people.lab, spectrum, 0, |text| text.contains("3 of 12")).await?;

    let (killed, meanwhile) = kill_the_leader(cluster, &people, page).await?;
    page.part(format_args!(
        "{} starts again and takes up its tasks; the output goes on",
        CITIES[killed].name
    ));
    cluster.start(killed)?;
    let rest = jobs::follow(&people.lab, spectrum, seen.len() as u64, |_| false).await?;
    let said = [seen, rest].concat();
    let whole = (1..=12).all(|second| said.matches(&format!("spectrum: {second} of 12\n")).count() == 1);
    page.check(
        "the script ran through once, without a line lost or repeated",
        whole && said.ends_with("spectrum: done\n"),
    );

    let all = [spectrum, frames, broken, meanwhile];
    let over = jobs::wait(&people.auditor, &all, Duration::from_secs(40)).await?;
    judge(&over, page);
    keep_acknowledged(dir, &over)?;

    page.part("receipts");
    let mut paid = Vec::new();
    for job in &over {
        paid.push(report::receipt(&people.auditor, job, page).await?);
    }
    let programmes: BTreeSet<&str> = paid[0].legs.iter().map(|leg| leg.programme.as_str()).collect();
    page.check(
        "the lab's job was paid from the vouchers of two regions and from its wallet",
        programmes.len() == 2 && paid[0].legs.iter().all(|leg| leg.amount_fen > 0) && paid[0].copay_fen > 0,
    );
    page.check(
        "the enterprise, without a voucher, paid all of its array",
        paid[1].legs.is_empty() && paid[1].copay_fen > 0,
    );

    page.part("the books are closed");
    let closed = closing::close(&people, page).await?;
    page.part("what the providers are paid");
    closing::pay(&people, closed, page).await?;

    page.part("trial balance");
    report::trial_balance(&people.auditor, page).await?;
    report::replicas_agree(&people.admin, page).await?;

    page.part("the auditor takes the journal away and derives everything again, with other code and no cluster");
    closing::audit(cluster, dir, page).await?;
    if let Some(ended) = cluster.ended() {
        bail!("{ended}");
    }
    let held = page.verdict();
    if !exit {
        stay(cluster, spectrum, page).await?;
    }
    Ok(held)
}

/// The position of the replica that leads, in a term after `after_term`.
async fn wait_for_leader(cluster: &mut Cluster, admin: &Client, after_term: u64) -> anyhow::Result<usize> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(ended) = cluster.ended() {
            bail!("{ended}");
        }
        for replica in 0..CITIES.len() {
            let asked = tokio::time::timeout(Duration::from_millis(500), report::status(&admin.only(replica))).await;
            if let Ok(Ok(status)) = asked
                && status.leader_id != 0
                && status.term > after_term
            {
                return Ok(status.leader_id as usize - 1);
            }
        }
        if Instant::now() > until {
            bail!("no leader within 20 seconds");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_for_sites(cluster: &mut Cluster, admin: &Client) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(ended) = cluster.ended() {
            bail!("{ended}");
        }
        // Of the leader, because only it knows who holds a lease.
        let leader = report::status(admin).await.context("who leads")?.leader_id.max(1) as usize - 1;
        let answer = admin
            .only(leader)
            .call(v1::ListSitesRequest::default(), async |channel, request| {
                SiteServiceClient::new(channel).list_sites(request).await
            })
            .await
            .context("listing the sites")?;
        if answer.sites.len() == CITIES.len() && answer.sites.iter().all(|site| site.up && site.hosts > 0) {
            return Ok(());
        }
        if Instant::now() > until {
            let down: Vec<_> = answer
                .sites
                .iter()
                .filter(|site| !site.up)
                .map(|site| site.name.as_str())
                .collect();
            bail!("these sites are not up within 20 seconds: {}", down.join(", "));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn quote(lab: &Client, page: &Page) -> anyhow::Result<()> {
    let message = v1::QuoteJobRequest {
        request_id: request_id(),
        spec: Some(jobs::spectrum()),
        ..Default::default()
    };
    let answer = lab
        .call(message, async |channel, request| {
            JobServiceClient::new(channel).quote_job(request).await
        })
        .await
        .context("the quote")?;
    page.line("the lab's script, 2 cores for at most 2 minutes; cheapest for the lab first");
    for site in &answer.sites {
        let price = site.price.clone().unwrap_or_default();
        let legs: i64 = price.legs.iter().map(|leg| leg.amount_fen).sum();
        page.line(format_args!(
            "{:<10} list price {:>8}  vouchers {:>8}  co-pay {:>8} yuan",
            site.site,
            yuan(price.gross_fen),
            yuan(legs),
            yuan(price.copay_fen),
        ));
    }
    page.check("the quote covers three sites, cheapest co-pay first", {
        let copays: Vec<_> = answer
            .sites
            .iter()
            .filter_map(|site| site.price.as_ref())
            .map(|price| price.copay_fen)
            .collect();
        copays.len() == CITIES.len() && copays.is_sorted()
    });
    Ok(())
}

async fn refuse_too_big(enterprise: &Client, page: &Page) {
    match jobs::submit(enterprise, jobs::too_big()).await {
        Ok(job) => page.check(format_args!("64 GPUs are refused (but it became job {job})"), false),
        Err(status) => {
            let refusal = hesuan_api::refusal::Refusal::from_status(&status);
            page.line(format_args!(
                "too-big is refused: {} ({})",
                refusal.message, refusal.code
            ));
            for (site, code, text) in &refusal.sites {
                page.line(format_args!("   {site:<10} {code}: {text}"));
            }
            page.check(
                "a job for 64 GPUs is refused with a reason per site",
                refusal.code == "UNSATISFIABLE" && refusal.sites.len() == CITIES.len(),
            );
        }
    }
}

/// Kills the leader, submits at once, and gives who was killed and the job.
async fn kill_the_leader(cluster: &mut Cluster, people: &People, page: &Page) -> anyhow::Result<(usize, u64)> {
    let before = report::status(&people.admin).await.context("who leads")?;
    let leader = before.leader_id as usize - 1;
    page.part(format_args!("kill -9 of the leader, {}", CITIES[leader].name));
    cluster.kill(leader)?;
    let killed_at = Instant::now();
    let meanwhile = jobs::submit(&people.enterprise, jobs::meanwhile())
        .await
        .context("submitting while there is no leader")?;
    let after = killed_at.elapsed();
    let term = before.term;
    let next = wait_for_leader(cluster, &people.admin, term).await?;
    page.line(format_args!(
        "{meanwhile}: meanwhile, submitted at once, is acknowledged after {:.1} s",
        after.as_secs_f64()
    ));
    page.line(format_args!("new leader: {}", CITIES[next].name));
    page.check(
        format_args!(
            "another city leads, and took a job {:.1} s after the kill",
            after.as_secs_f64()
        ),
        next != leader && after < Duration::from_secs(10),
    );
    Ok((leader, meanwhile))
}

fn judge(over: &[v1::Job], page: &Page) {
    let [spectrum, frames, broken, meanwhile] = over else {
        return page.check("four jobs are over", false);
    };
    page.check("the script succeeded", spectrum.state() == v1::JobState::Succeeded);
    page.check(
        format_args!("{} of 20 tasks of the array succeeded", frames.tasks_succeeded),
        frames.state() == v1::JobState::Succeeded && frames.tasks_succeeded == 20,
    );
    page.check(
        format_args!("the broken one FAILED with its own exit code {}", broken.exit_code),
        broken.state() == v1::JobState::Failed && broken.exit_code == 3,
    );
    page.check(
        "the job submitted without a leader succeeded",
        meanwhile.state() == v1::JobState::Succeeded,
    );
}

fn keep_acknowledged(dir: &Path, over: &[v1::Job]) -> anyhow::Result<()> {
    let file = dir.join(ACKNOWLEDGED);
    let mut text = std::fs::read_to_string(&file).unwrap_or_default();
    for job in over {
        text.push_str(&format!(
            "{} {} {}\n",
            job.id,
            jobs::state_word(job.state()),
            job.gross_fen
        ));
    }
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}

/// Every job an earlier run was told of must be there, with its end and its price.
async fn find_again(people: &People, page: &Page, dir: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(dir.join(ACKNOWLEDGED)).unwrap_or_default();
    let mut missing = 0;
    for line in text.lines() {
        let job_id: u64 = line
            .split(' ')
            .next()
            .and_then(|id| id.parse().ok())
            .context("a job id at the start of the line")?;
        let now = match jobs::get(&people.auditor, job_id).await {
            Ok(job) => format!("{job_id} {} {}", jobs::state_word(job.state()), job.gross_fen),
            Err(status) => status.message().to_owned(),
        };
        if now != line {
            page.line(format_args!("was: {line}; is: {now}"));
            missing += 1;
        }
    }
    page.line(format_args!(
        "{} jobs of earlier runs, {missing} not as they were",
        text.lines().count()
    ));
    page.check(
        format_args!("all {} jobs of earlier runs are as they were", text.lines().count()),
        missing == 0,
    );
    Ok(())
}

/// Prints what to try and waits for Ctrl-C.
async fn stay(cluster: &mut Cluster, job: u64, page: &Page) -> anyhow::Result<()> {
    page.part("the cluster stays up; try, in another shell");
    page.line(format_args!("export HESUAN_ENDPOINTS={}", cluster.addresses.join(",")));
    page.line(format_args!(
        "export HESUAN_TOKEN_FILE={}",
        cluster.token_file("enterprise").display()
    ));
    let hesuan = std::env::current_exe()
        .ok()
        .map(|program| program.with_file_name("hesuan"));
    let hesuan = match hesuan.filter(|program| program.is_file()) {
        Some(program) => program.display().to_string(),
        None => "cargo run --release --bin hesuan --".to_owned(),
    };
    for command in [
        "job submit -n hello --cpus 1 --mem 256MiB --time 1m --wait -- echo hello".to_owned(),
        "job list".to_owned(),
        "job quote --cpus 4 --mem 8GiB --time 1h -- true".to_owned(),
        format!("--token-file {} job show {job}", cluster.token_file("lab").display()),
        format!("--token-file {} job receipt {job}", cluster.token_file("lab").display()),
        "site list".to_owned(),
        format!(
            "--token-file {} cluster status",
            cluster.token_file("auditor").display()
        ),
        format!(
            "--token-file {} wallet balance",
            cluster.token_file("auditor").display()
        ),
        format!(
            "--token-file {} period clearing --period 1",
            cluster.token_file("auditor").display()
        ),
        format!(
            "--token-file {} period statement {} --period 1 --csv",
            cluster.token_file("lab").display(),
            found::LAB
        ),
        format!(
            "--token-file {} settlement list",
            cluster.token_file("auditor").display()
        ),
    ] {
        page.line(format_args!("{hesuan} {command}"));
    }
    page.line("Ctrl-C ends it");
    let mut restarted: [Option<Instant>; CITIES.len()] = [None; CITIES.len()];
    while cluster.any_runs() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Some(ended) = cluster.ended() else { continue };
        let (city, brief) = (ended.city, ended.brief());
        // One that ends as soon as it is started would do so for ever.
        if restarted[city].is_some_and(|at| at.elapsed() < RESTART_AFTER) {
            page.line(format_args!("{brief} again, and stays down; the others go on"));
            continue;
        }
        page.line(format_args!("{brief}; it is started again"));
        cluster.start(city)?;
        restarted[city] = Some(Instant::now());
    }
    bail!("none of the daemons runs any more")
}
