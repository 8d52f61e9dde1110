//! Organisations share the pool by what they have used: a policy that the admin sets at the command line of three real daemons.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;
use serde_json::Value;

use crate::person::{Person, person};
use crate::three;

const LAB: &str = "photonics-lab";
const ACME: &str = "acme";
/// Two of these fill a site.
const WIDE: [&str; 8] = ["--cpus", "4", "--mem", "64M", "--time", "10m", "--wallet-only", "--"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_one_organisation_does_not_keep_another_waiting() -> anyhow::Result<()> {
    let cluster = three(Backend::Process, 8_000)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    establish(&cluster, leader).await?;
    let [admin, acme, lab] = ["admin", "acme-user", "lab-user"].map(|name| person(&cluster, name));
    tokio::task::block_in_place(|| {
        the_policy_is_the_admins(&admin, &lab)?;
        the_burst_waits_for_the_late_one(&admin, &acme, &lab)
    })
}

fn the_policy_is_the_admins(admin: &Person<'_>, lab: &Person<'_>) -> anyhow::Result<()> {
    let first = lab.json(&["cluster", "policy"])?;
    ensure!(first["revision"] == 1 && first["fair_share"] == true, "{first}");
    let (_, error) = lab.refused(&["cluster", "policy", "set", "--half-life", "1d"])?;
    ensure!(error["code"] == "PERMISSION_DENIED", "{error}");
    let (_, error) = admin.refused(&["cluster", "policy", "set", "--half-life", "1s"])?;
    ensure!(
        error["code"] == "POLICY_OUT_OF_RANGE" && error["field"] == "half_life_ms",
        "{error}"
    );
    let (_, error) = admin.refused(&["cluster", "policy", "set", "--weight", "nobody=2"])?;
    ensure!(error["code"] == "UNKNOWN_ORG", "{error}");
    ensure!(
        lab.json(&["cluster", "policy"])? == first,
        "what is refused changes nothing"
    );
    let weight = format!("{LAB}=1.5");
    let set = ["cluster", "policy", "set", "--half-life", "2d", "--weight", &weight];
    let changed = admin.json(&[&set[..], &["--objective", "balanced"]].concat())?;
    ensure!(
        first["objective"] == "soonest" && changed["objective"] == "balanced",
        "{changed}"
    );
    ensure!(
        changed["revision"] == 2 && changed["half_life_ms"] == 172_800_000,
        "{changed}"
    );
    ensure!(
        changed["weights"][0]["org"] == LAB && changed["weights"][0]["weight_milli"] == 1500,
        "{changed}"
    );
    ensure!(lab.json(&["cluster", "policy"])? == changed);
    Ok(())
}

fn the_burst_waits_for_the_late_one(admin: &Person<'_>, acme: &Person<'_>, lab: &Person<'_>) -> anyhow::Result<()> {
    // Three sites run six of these at once, three seconds each: more than two minutes in all.
    let burst = [&["job", "submit", "--array", "300"][..], &WIDE, &["sleep", "3"]].concat();
    let burst = acme.json(&burst)?["job_id"].to_string();
    let late = [&["job", "submit", "--wait"][..], &WIDE, &["true"]].concat();
    let late = lab.json(&late)?;
    ensure!(late["state"] == "SUCCEEDED", "{late}");
    let waiting = acme.json(&["job", "show", &burst])?;
    let pending = waiting["tasks"]["pending"].as_u64().context("a count")?;
    ensure!(
        pending > 200,
        "{pending} of the burst wait when the late one has ended: {waiting}"
    );

    let shares = admin.json(&["cluster", "shares"])?;
    let share = |org: &str| -> anyhow::Result<Value> {
        let mut all = shares.as_array().context("a list")?.iter();
        all.find(|share| share["org"] == org)
            .cloned()
            .with_context(|| format!("{org} in {shares}"))
    };
    let (of_burst, of_late) = (share(ACME)?, share(LAB)?);
    ensure!(
        of_late["weight_milli"] == 1500 && of_burst["weight_milli"] == 1000,
        "{shares}"
    );
    ensure!(of_burst["running_ppm"].as_u64() > Some(0), "{shares}");
    ensure!(of_burst["level"].as_u64() > of_late["level"].as_u64(), "{shares}");
    // A member sees its own only.
    let own = lab.json(&["cluster", "shares"])?;
    ensure!(
        own.as_array().is_some_and(|own| own.len() == 1 && own[0]["org"] == LAB),
        "{own}"
    );

    // While others wait too, a job says where its organisation stands.
    let held = [
        &["job", "submit"][..],
        &["--array", "100", "--objective", "cheapest"],
        &WIDE,
        &["sleep", "2"],
    ]
    .concat();
    let held = lab.json(&held)?["job_id"].to_string();
    let shown = lab.json(&["job", "show", &held])?;
    ensure!(shown["spec"]["objective"] == "cheapest", "{shown}");
    let why = acme.json(&["job", "explain", &burst])?;
    ensure!(
        why["share"]["org"] == ACME && why["share"]["level"].as_u64() > Some(0),
        "{why}"
    );
    for (who, job) in [(acme, &burst), (lab, &held)] {
        who.text(&["job", "cancel", job])?;
    }
    Ok(())
}
