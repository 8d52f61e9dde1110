//! A month of vouchers and its end, typed at the command line against three daemons: a bureau issues from a file, a lab's job is paid
//! by two regions and its wallet, the period is closed, reviewed, paid and corrected, and an auditor verifies all of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;
use serde_json::Value;

use crate::person::{Person, person};
use crate::three;

const LAB: &str = "photonics-lab";
const PROVIDER: &str = "songjiang-centre";

/// A principal and its command line.
fn principal<'a>(admin: &Person<'a>, name: &str, words: &[&str]) -> anyhow::Result<Person<'a>> {
    let token_file = admin.cluster.token_file(name);
    let path = token_file.to_string_lossy().into_owned();
    let create = ["cluster", "principal", "create", name, "--token-out", &path];
    admin.text(&[&create, words].concat())?;
    Ok(person(admin.cluster, name))
}

fn fen(value: &Value) -> i64 {
    value.as_i64().unwrap_or(i64::MIN)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_of_two_regions_is_closed_paid_corrected_and_verified_at_the_command_line() -> anyhow::Result<()> {
    let cluster = three(Backend::Process, 8_000)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    establish(&cluster, leader).await?;
    let admin = person(&cluster, "admin");
    let people = People {
        bureau: person(&cluster, "songjiang-bureau"),
        treasurer: person(&cluster, "treasury"),
        lab: person(&cluster, "lab-user"),
        reviewer: principal(&admin, "reviewer", &["--role", "reviewer"])?,
        auditor: principal(&admin, "auditor", &["--role", "auditor"])?,
        provider: principal(&admin, "centre", &["--role", "member", "--org", PROVIDER])?,
    };
    let hangzhou = principal(&admin, "hangzhou-bureau", &["--role", "issuer", "--region", "330100"])?;
    // A yuan a second, so that a job of a second costs something.
    person(&cluster, "songjiang-operator").text(&["wallet", "prices", "set", "songjiang", "cpu=3600", "mem=36"])?;
    issue_from_a_file(&hangzhou, &people.lab, &cluster.dir)?;
    say_what_would_work(&people.lab)?;
    let job = run(&people.lab)?;
    paid_by_two_regions(&people.lab, &job)?;
    close(&people, &job)?;
    correct(&people, &job)?;
    claim(&people)?;
    fraud(&people)?;
    suspend_and_resume(&people.lab, &hangzhou)?;
    hours(&people)?;
    bind(&people.lab)?;
    audit(&people.auditor, &cluster.dir)
}

struct People<'a> {
    bureau: Person<'a>,
    treasurer: Person<'a>,
    lab: Person<'a>,
    reviewer: Person<'a>,
    auditor: Person<'a>,
    provider: Person<'a>,
}

const ALWAYS: [&str; 4] = ["--from", "2020-01-01", "--until", "2099-12-31"];

fn issue_from_a_file(bureau: &Person<'_>, lab: &Person<'_>, dir: &Path) -> anyhow::Result<()> {
    let create = [
        "programme",
        "create",
        "hangzhou",
        "--region",
        "330100",
        "--budget",
        "1000000",
        "--funder",
        "city=2",
        "--funder",
        "district=1",
        "--rate",
        "cpu=20%",
        "--rate",
        "mem=20%",
    ];
    bureau.text(&[&create[..], &ALWAYS].concat())?;
    let agree = [
        "agreement",
        "create",
        "--issuer",
        "330100",
        "--provider",
        "310117",
        "--rate",
        "10%",
    ];
    bureau.text(&[&agree[..], &ALWAYS].concat())?;
    let file = dir.join("vouchers.csv");
    let path = file.to_string_lossy().into_owned();
    let issue = ["voucher", "issue", "--programme", "hangzhou", "--csv", &path];
    std::fs::write(
        &file,
        format!(
            "code,holder,face,from,until\nHZ-1,{LAB},5000,2020-01-01,2099-12-31\nHZ-2,{LAB},-1,2020-01-01,2099-12-31\n"
        ),
    )?;
    let output = bureau.run(&issue);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2) && said.contains("line 3, column face"),
        "{said}"
    );
    std::fs::write(
        &file,
        format!(
            "code,holder,face,from,until\nHZ-1,{LAB},5000,2020-01-01,2099-12-31\nHZ-2,{LAB},500h,2020-01-01,2099-12-31\n"
        ),
    )?;
    ensure!(
        bureau.run(&issue).status.code() == Some(2),
        "yuan and hours in one batch"
    );
    std::fs::write(
        &file,
        format!("code,holder,face,from,until\nHZ-1,{LAB},500h,2020-01-01,2099-12-31\n"),
    )?;
    let (code, error) = bureau.refused(&issue)?;
    ensure!((code, error["code"].as_str()) == (2, Some("DENOMINATION")), "{error}");
    std::fs::write(
        &file,
        format!("code,holder,face,from,until\nHZ-1,{LAB},5000,2020-01-01,2099-12-31\n"),
    )?;
    let issued = bureau.json(&issue)?;
    ensure!(
        issued[0]["code"] == "HZ-1" && fen(&issued[0]["face"]) == 500_000,
        "{issued}"
    );
    lab.text(&["voucher", "redeem", "HZ-1"])?;
    let budget = bureau.json(&["programme", "budget", "hangzhou", "2000000"])?;
    ensure!(fen(&budget["uncommitted"]) == 200_000_000 - 500_000, "{budget}");
    let (code, error) = bureau.refused(&["programme", "budget", "hangzhou", "4999.99"])?;
    ensure!(code == 5 && fen(&error["figures"]["short_by"]) == 1, "{error}");
    Ok(())
}

/// One core for at most a minute: 60.60 yuan, of which vouchers pay 40 % at Songjiang.
const JOB: [&str; 9] = [
    "--cpus",
    "1",
    "--mem",
    "1GiB",
    "--time",
    "1m",
    "--site",
    "songjiang",
    "--",
];

fn say_what_would_work(lab: &Person<'_>) -> anyhow::Result<()> {
    let submit = [&["job", "submit", "--max-copay", "30"][..], &JOB, &["true"]].concat();
    let (code, error) = lab.refused(&submit)?;
    ensure!(code == 6 && error["code"] == "FUNDS", "{error}");
    let (needed, short_by) = (fen(&error["figures"]["needed"]), fen(&error["figures"]["short_by"]));
    ensure!(needed > 3_000 && short_by == needed - 3_000, "{error}");
    // Where it would cost nearly nothing, the old prices holding there.
    ensure!(error["nearest"]["code"] == "OTHER_SITE", "{error}");
    let output = lab.run(&submit);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        said.contains("short by") && said.contains("would work: run it at"),
        "{said}"
    );
    Ok(())
}

fn run(lab: &Person<'_>) -> anyhow::Result<String> {
    let submit = [&["job", "submit", "--wait"][..], &JOB, &["sleep", "1"]].concat();
    let ended = lab.json(&submit)?;
    ensure!(ended["state"] == "SUCCEEDED", "{ended}");
    Ok(ended["job_id"].to_string())
}

fn paid_by_two_regions(lab: &Person<'_>, job: &str) -> anyhow::Result<()> {
    let receipt = lab.json(&["job", "receipt", job])?;
    let total = &receipt["total"];
    let legs = total["legs"].as_array().context("legs")?;
    let subsidy: i64 = legs.iter().map(|leg| fen(&leg["amount_fen"])).sum();
    let programmes: Vec<_> = legs.iter().map(|leg| leg["programme"].clone()).collect();
    ensure!(legs.len() == 2 && programmes[0] != programmes[1], "{receipt}");
    ensure!(
        fen(&total["gross_fen"]) == subsidy + fen(&total["copay_fen"]) && subsidy > 0 && fen(&total["copay_fen"]) > 0,
        "{receipt}"
    );
    Ok(())
}

fn close(people: &People<'_>, job: &str) -> anyhow::Result<()> {
    let receipt = people.lab.json(&["job", "receipt", job])?;
    let gross = fen(&receipt["total"]["gross_fen"]);
    let (code, error) = people.treasurer.refused(&["period", "end"])?;
    ensure!(code == 4, "a treasurer closes nothing: {error}");
    let ended = people.reviewer.json(&["period", "end"])?;
    ensure!(ended["state"] == "ENDED" && ended["period"] == 1, "{ended}");
    let closed = people.reviewer.json(&["period", "close", "1"])?;
    ensure!(
        closed["state"] == "CLOSED" && closed["closed_by"] == "reviewer",
        "{closed}"
    );

    let clearing = people.auditor.json(&["period", "clearing", "--period", "1"])?;
    let positions = clearing["positions"].as_array().context("positions")?;
    let net: i64 = positions.iter().map(|position| fen(&position["net_fen"])).sum();
    ensure!(positions.len() == 2 && net == 0, "{clearing}");
    ensure!(clearing["payments"][0]["from_region"] == 330_100, "{clearing}");
    let csv = people.auditor.text(&["period", "clearing", "--period", "1", "--csv"])?;
    ensure!(csv.contains("\nnetted among all,330100,310117,"), "{csv}");
    let sheet = people.provider.json(&["period", "sheet", PROVIDER, "--period", "1"])?;
    ensure!(fen(&sheet["net_fen"]) == gross, "{sheet}");
    let other = people
        .provider
        .run(&["period", "sheet", "hangzhou-centre", "--period", "1"]);
    ensure!(
        other.status.code() == Some(3),
        "another provider's sheet is nobody's business"
    );

    let statement = people.lab.json(&["period", "statement", LAB, "--period", "1"])?;
    let lines = statement["lines"].as_array().context("lines")?;
    let kinds: Vec<_> = lines.iter().filter_map(|line| line["line"].as_str()).collect();
    ensure!(kinds == ["usage", "credit", "credit"], "{statement}");
    ensure!(fen(&statement["totals"]["gross_fen"]) == gross, "{statement}");
    let csv = people
        .lab
        .text(&["period", "statement", LAB, "--period", "1", "--csv"])?;
    ensure!(csv.lines().count() == 4 && csv.starts_with("line,entry,"), "{csv}");
    ensure!(
        csv.lines()
            .next()
            .is_some_and(|head| head.contains("list_price_yuan,list_price_fen")),
        "{csv}"
    );

    // Nothing is paid out before the funders have paid in.
    people.reviewer.text(&["settlement", "review", "1", PROVIDER])?;
    let (code, error) = people.reviewer.refused(&["settlement", "pay", "1", PROVIDER])?;
    ensure!(code == 4, "{error}");
    let (code, error) = people.treasurer.refused(&["settlement", "pay", "1", PROVIDER])?;
    ensure!(code == 6 && error["code"] == "FUNDERS_DUE", "{error}");
    pay_in(people, Some("1"))?;
    let paid = people
        .treasurer
        .json(&["settlement", "pay", "1", PROVIDER, "--reference", "bank 8"])?;
    ensure!(paid["state"] == "PAID" && fen(&paid["cash_fen"]) == gross, "{paid}");
    let listed = people.provider.json(&["settlement", "list", "--provider", PROVIDER])?;
    ensure!(
        listed[0]["paid_by"] == "treasury" && listed[0]["reviewed_by"] == "reviewer",
        "{listed}"
    );
    Ok(())
}

/// Every funder pays what is due from it for a period, the current one unless given.
fn pay_in(people: &People<'_>, period: Option<&str>) -> anyhow::Result<()> {
    let which: Vec<&str> = period.map_or_else(Vec::new, |number| vec!["--period", number]);
    let payable = people.auditor.json(&[&["period", "payable"], &which[..]].concat())?;
    for row in payable["rows"].as_array().context("rows")? {
        let due = fen(&row["due_fen"]);
        let (programme, funder) = (
            row["programme"].as_str().unwrap_or(""),
            row["funder"].as_str().unwrap_or(""),
        );
        let amount = format!("{}.{:02}", due / 100, due % 100);
        if due > 0 {
            people
                .treasurer
                .text(&["programme", "pay-in", programme, funder, &amount])?;
        }
    }
    Ok(())
}

/// A refund of what was closed and paid is a correction of the next period, and owed by who was paid.
fn correct(people: &People<'_>, job: &str) -> anyhow::Result<()> {
    people
        .treasurer
        .text(&["wallet", "refund", job, "--amount", "0.50", "--reason", "=outage()"])?;
    let corrections = people.auditor.json(&["period", "corrections"])?;
    let lines = corrections["lines"].as_array().context("lines")?;
    ensure!(
        !lines.is_empty() && lines.iter().all(|line| line["of_period"] == 1),
        "{corrections}"
    );
    let statement = people.lab.json(&["period", "statement", LAB])?;
    ensure!(
        statement["lines"][0]["line"] == "refund" && fen(&statement["totals"]["refunded_fen"]) == 50,
        "{statement}"
    );
    let csv = people.lab.text(&["period", "statement", LAB, "--csv"])?;
    ensure!(
        csv.contains("'=outage()"),
        "a spreadsheet would execute the reason: {csv}"
    );
    let provider = people.treasurer.json(&["wallet", "show", PROVIDER])?;
    ensure!(fen(&provider["owes_fen"]) == 50, "{provider}");
    people.treasurer.text(&["wallet", "collect", PROVIDER, "0.50"])?;
    Ok(())
}

/// A holder pays all of it first, and claims what its voucher gives.
fn claim(people: &People<'_>) -> anyhow::Result<()> {
    let create = [
        "programme",
        "create",
        "advance",
        "--region",
        "310117",
        "--budget",
        "1000",
        "--funder",
        "city=1",
        "--rate",
        "cpu=10%",
        "--redemption",
        "holder",
    ];
    people.bureau.text(&[&create[..], &ALWAYS].concat())?;
    let issue = [
        "voucher",
        "issue",
        "--programme",
        "advance",
        "--holder",
        LAB,
        "--face",
        "100",
        "--code",
        "ADV-1",
    ];
    people.bureau.text(&[&issue[..], &ALWAYS].concat())?;
    let redeemed = people.lab.json(&["voucher", "redeem", "ADV-1"])?;
    let number = redeemed["voucher_id"].to_string();
    let submit = [
        &["job", "submit", "--wait", "--voucher", &number][..],
        &JOB,
        &["sleep", "1"],
    ]
    .concat();
    let ended = people.lab.json(&submit)?;
    let receipt = people.lab.json(&["job", "receipt", &ended["job_id"].to_string()])?;
    let subsidy = fen(&receipt["total"]["legs"][0]["amount_fen"]);
    let open = people.lab.json(&["claim", "list", "--org", LAB])?;
    ensure!(
        fen(&open["claimable"][0]["to_claim_fen"]) == subsidy && subsidy > 0,
        "{open}"
    );
    let filed = people.lab.json(&["claim", "file", "advance"])?;
    let claim = filed["claim"].to_string();
    ensure!(
        filed["state"] == "FILED" && fen(&filed["amount_fen"]) == subsidy,
        "{filed}"
    );
    ensure!(
        people.lab.run(&["claim", "review", &claim, "--approve"]).status.code() == Some(4),
        "not its own"
    );
    people.reviewer.text(&["claim", "review", &claim, "--approve"])?;
    pay_in(people, None)?;
    let paid = people.treasurer.json(&["claim", "pay", &claim])?;
    ensure!(
        paid["state"] == "PAID" && fen(&paid["cash_fen"]) + fen(&paid["set_off_fen"]) == subsidy,
        "{paid}"
    );
    Ok(())
}

/// A revision holds for what comes; a voucher got by fraud is owed back.
fn fraud(people: &People<'_>) -> anyhow::Result<()> {
    let revise = [
        "programme",
        "revise",
        "advance",
        "--rate",
        "cpu=5%",
        "--cap-per-job",
        "10",
        "--immediate",
    ];
    let revised = people.bureau.json(&revise)?;
    ensure!(
        revised["revision"] == 2 && revised["terms"]["rates"][0]["rate_bp"] == 500,
        "{revised}"
    );
    ensure!(
        revised["revisions"][0]["terms"]["rates"][0]["rate_bp"] == 1_000,
        "{revised}"
    );
    let before = people.bureau.json(&["voucher", "show", "ADV-1"])?;
    let revoked = people
        .bureau
        .json(&["voucher", "revoke", "ADV-1", "--fraud", "--reason", "false papers"])?;
    ensure!(revoked["state"] == "REVOKED" && revoked["fraud"] == true, "{revoked}");
    let lab = people.lab.json(&["wallet", "show", LAB])?;
    ensure!(
        fen(&lab["owes_fen"]) == fen(&before["paid_fen"]) && fen(&lab["owes_fen"]) > 0,
        "{lab}"
    );
    Ok(())
}

fn suspend_and_resume(lab: &Person<'_>, bureau: &Person<'_>) -> anyhow::Result<()> {
    let suspend = ["voucher", "suspend", "HZ-1", "--reason"];
    ensure!(
        bureau.run(&suspend[..3]).status.code() == Some(2),
        "nobody suspends without a reason"
    );
    let (code, error) = bureau.refused(&[&suspend[..], &[" "]].concat())?;
    ensure!(code == 2 && error["field"] == "reason", "{error}");
    let suspended = bureau.json(&[&suspend[..], &["papers are looked at"]].concat())?;
    ensure!(suspended["state"] == "SUSPENDED", "{suspended}");
    let number = suspended["voucher_id"].to_string();
    let submit = [&["job", "submit", "--voucher", &number][..], &JOB, &["true"]].concat();
    let (code, error) = lab.refused(&submit)?;
    ensure!(code == 6 && error["code"] == "FUNDS", "{error}");
    ensure!(error["nearest"]["code"] == "ANY_VOUCHER", "{error}");
    bureau.text(&["voucher", "resume", "HZ-1", "--reason", "papers are right"])?;
    let (code, error) = bureau.refused(&["voucher", "redeem", "HZ-1"])?;
    ensure!(code != 0 && error["code"] != "VOUCHER_WRONG_HOLDER", "{error}");
    Ok(())
}

/// A programme that grants core-hours pays beside those that grant money.
fn hours(people: &People<'_>) -> anyhow::Result<()> {
    let create = [
        "programme",
        "create",
        "core-hours",
        "--region",
        "310117",
        "--unit-hours-of",
        "cpu",
        "--budget",
        "1000h",
        "--funder",
        "city=1",
        "--rate",
        "cpu=10%",
    ];
    people.bureau.text(&[&create[..], &ALWAYS].concat())?;
    let issue = [
        "voucher",
        "issue",
        "--programme",
        "core-hours",
        "--code",
        "CH-1",
        "--holder",
        LAB,
    ];
    let face = ["--face", "100h", "--from", "2020-01-01", "--until", "2099-12-31"];
    people.bureau.text(&[&issue[..], &face].concat())?;
    people.lab.text(&["voucher", "redeem", "CH-1"])?;
    let job = run(&people.lab)?;
    let receipt = people.lab.json(&["job", "receipt", &job])?;
    let legs = receipt["total"]["legs"].as_array().context("legs")?;
    let hours = legs.iter().find(|leg| leg["programme"] == "core-hours");
    let hours = hours.with_context(|| format!("{receipt}"))?;
    ensure!(fen(&hours["taken"]) > 0 && fen(&hours["amount_fen"]) > 0, "{receipt}");
    Ok(())
}

fn bind(lab: &Person<'_>) -> anyhow::Result<()> {
    let quoted = lab.json(&[&["job", "quote", "--binding"][..], &JOB, &["sleep", "1"]].concat())?;
    let number = quoted["quote_id"].to_string();
    let held = fen(&lab.json(&["wallet", "show", LAB])?["wallet_held_fen"]);
    ensure!(held > 0, "a binding quote holds the money: {quoted}");
    let other = [
        &["job", "submit", "--quote", &number, "--allow-partial"][..],
        &JOB,
        &["sleep", "1"],
    ]
    .concat();
    let (_, error) = lab.refused(&other)?;
    ensure!(error["code"] == "QUOTE_MISMATCH", "{error}");
    let submit = [
        &["job", "submit", "--wait", "--quote", &number][..],
        &JOB,
        &["sleep", "1"],
    ]
    .concat();
    let ended = lab.json(&submit)?;
    ensure!(ended["state"] == "SUCCEEDED", "{ended}");
    let held = fen(&lab.json(&["wallet", "show", LAB])?["wallet_held_fen"]);
    ensure!(held == 0, "what was not used is free again");
    Ok(())
}

fn audit(auditor: &Person<'_>, dir: &Path) -> anyhow::Result<()> {
    let file = dir.join("journal.jsonl").to_string_lossy().into_owned();
    auditor.text(&["audit", "export", "-o", &file])?;
    auditor.text(&["audit", "verify", &file])?;
    // One digit of one record.
    let text = std::fs::read_to_string(&file)?;
    let record = text.rfind("\"record\":\"").context("an entry")? + "\"record\":\"".len();
    let digit = text[record..].find('"').context("the record's end")? + record - 1;
    let other = if &text[digit..=digit] == "1" { "2" } else { "1" };
    let altered = [&text[..digit], other, &text[digit + 1..]].concat();
    std::fs::write(&file, altered)?;
    let output = auditor.run(&["audit", "verify", &file]);
    let said = String::from_utf8_lossy(&output.stdout);
    let last = text.matches("\"record\":\"").count();
    ensure!(
        output.status.code() == Some(10) && said.contains(&format!("entry {last}")),
        "{said}"
    );
    Ok(())
}
