//! Jobs on several hosts, typed at the command line against daemons whose sites have three hosts each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hesuan_tests::daemons::{Backend, Daemons};
use hesuan_tests::parties::establish;
use serde_json::Value;

use crate::equipped;
use crate::person::person;

/// Two more hosts beside the one that every site has.
const TWO_MORE: &str = "[[site.host]]\nname = \"n2\"\ncpu_milli = 2000\nmemory_mib = 65536\n\
                        [[site.host]]\nname = \"n3\"\ncpu_milli = 2000\nmemory_mib = 65536\n";
const SMALL: [&str; 8] = ["job", "submit", "--cpus", "1", "--mem", "16MiB", "--time", "1h"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gang_starts_runs_and_ends_as_one() -> anyhow::Result<()> {
    let mut cluster = equipped(Backend::Process, 2_000, [TWO_MORE; 3])?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    establish(&cluster, leader).await?;
    each_node_knows_the_others(&cluster)?;
    one_that_fails_stops_all(&cluster)?;
    all_are_cancelled(&cluster)?;
    more_than_there_are(&cluster)?;
    let site = (leader + 1) % cluster.replicas.len();
    its_daemon_is_killed(&mut cluster, site)
}

fn each_node_knows_the_others(cluster: &Daemons) -> anyhow::Result<()> {
    let text = "echo $HESUAN_NODE_RANK of $HESUAN_NODES: $HESUAN_NODE_LIST; sleep 1";
    let acme = person(cluster, "acme-user");
    let quoted = |nodes: &str| {
        let words = [&["job", "quote"], &SMALL[2..], &["--nodes", nodes, "--", "true"]].concat();
        let quote = acme.json(&words)?;
        let gross_fen = quote["sites"][0]["price"]["gross_fen"].as_i64();
        gross_fen.with_context(|| format!("a price: {quote}"))
    };
    let (one, three) = (quoted("1")?, quoted("3")?);
    ensure!(three == 3 * one, "{three} for three, {one} for one");

    let job = submit(cluster, &["--nodes", "3"], text)?;
    let shown = until(cluster, &job, is_over)?;
    ensure!(shown["state"] == "SUCCEEDED", "{shown}");
    let nodes = shown["attempts"][0]["nodes"].as_array().context("its hosts")?;
    let hosts: Vec<&Value> = nodes.iter().map(|node| &node["host"]).collect();
    ensure!(hosts == ["n1", "n2", "n3"], "{shown}");
    for node in ["0", "1", "2"] {
        let said = acme.text(&["job", "logs", &job, "--node", node])?;
        ensure!(said == format!("{node} of 3: n1,n2,n3\n"), "node {node} says {said:?}");
    }
    let (_, refused) = acme.refused(&["job", "logs", &job, "--node", "3"])?;
    ensure!(refused["code"] == "NODE_NOT_FOUND", "{refused}");
    Ok(())
}

fn one_that_fails_stops_all(cluster: &Daemons) -> anyhow::Result<()> {
    let job = submit(
        cluster,
        &["--nodes", "3"],
        "test $HESUAN_NODE_RANK = 1 && exit 3; sleep 1000",
    )?;
    let shown = until(cluster, &job, is_over)?;
    ensure!(shown["state"] == "FAILED" && shown["exit_code"] == 3, "{shown}");
    let message = shown["attempts"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("node 1"), "{shown}");
    Ok(())
}

fn all_are_cancelled(cluster: &Daemons) -> anyhow::Result<()> {
    let job = submit(cluster, &["--nodes", "2"], "sleep 1000")?;
    until(cluster, &job, runs)?;
    person(cluster, "acme-user").text(&["job", "cancel", &job])?;
    let shown = until(cluster, &job, is_over)?;
    ensure!(shown["state"] == "CANCELLED", "{shown}");
    Ok(())
}

fn more_than_there_are(cluster: &Daemons) -> anyhow::Result<()> {
    let acme = person(cluster, "acme-user");
    let words = [&SMALL[..], &["--nodes", "4", "--", "true"]].concat();
    let (code, refused) = acme.refused(&words)?;
    ensure!(code == 9 && refused["code"] == "UNSATISFIABLE", "{code}, {refused}");
    let text = refused.to_string();
    ensure!(text.matches("GANG_TOO_WIDE").count() == 3, "of each site: {text}");
    let usage = acme.run(&[&SMALL[..], &["--nodes", "1025", "--", "true"]].concat());
    ensure!(usage.status.code() == Some(2), "{usage:?}");
    Ok(())
}

/// Its nodes go on without the daemon, and the one that comes back finds them all.
fn its_daemon_is_killed(cluster: &mut Daemons, site: usize) -> anyhow::Result<()> {
    let end = cluster.dir.join("gang-end");
    let text = format!("until test -e {}; do sleep 0.05; done", end.display());
    let name = cluster.replicas[site].name.clone();
    let job = submit(cluster, &["--nodes", "3", "--site", &name], &text)?;
    until(cluster, &job, runs)?;
    cluster.replicas[site].kill();
    cluster.replicas[site].start()?;
    std::fs::write(&end, "")?;
    let shown = until(cluster, &job, is_over)?;
    ensure!(shown["state"] == "SUCCEEDED", "{shown}");
    ensure!(shown["attempts"].as_array().map(Vec::len) == Some(1), "{shown}");
    Ok(())
}

fn submit(cluster: &Daemons, options: &[&str], text: &str) -> anyhow::Result<String> {
    let words = [&SMALL[..], options, &["--", "sh", "-c", text]].concat();
    Ok(person(cluster, "acme-user").json(&words)?["job_id"].to_string())
}

fn runs(job: &Value) -> bool {
    job["attempts"][0]["started_at"].is_string()
}

fn is_over(job: &Value) -> bool {
    job["ended_at"].is_string()
}

fn until(cluster: &Daemons, job: &str, condition: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let shown = person(cluster, "acme-user").json(&["job", "show", job])?;
        if condition(&shown) {
            return Ok(shown);
        }
        ensure!(Instant::now() < deadline, "waited in vain: {shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
