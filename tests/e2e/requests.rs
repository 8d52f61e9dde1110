//! What a job may ask for, typed at the command line against three daemons whose sites differ: models of devices, shares of one, named resources,
//! further attempts by why the last one ended, times and other jobs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hesuan_tests::daemons::Backend;
use hesuan_tests::parties::establish;
use serde_json::Value;

use crate::equipped;
use crate::person::{Person, person};

const SMALL: [&str; 6] = ["--cpus", "0.1", "--mem", "16MiB", "--time", "5m"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_gets_what_it_asks_for_where_it_is() -> anyhow::Result<()> {
    let equipment = [
        "gpus = [\"a800\", \"a800\"]",
        "gpus = [\"h100\"]\ngeneric = { licence = 2 }",
        "",
    ];
    let cluster = equipped(Backend::Process, 8_000, equipment)?;
    let leader = cluster.leader(Duration::from_secs(20)).await?;
    establish(&cluster, leader).await?;
    for (site, prices) in [
        ("songjiang", &["gpu/a800=10"][..]),
        ("hangzhou", &["gpu/h100=20", "res/licence=1"]),
    ] {
        let operator = person(&cluster, &format!("{site}-operator"));
        operator.text(&[&["wallet", "prices", "set", site, "cpu=0.2", "mem=0.01"], prices].concat())?;
    }
    let submitter = Submitter {
        acme: person(&cluster, "acme-user"),
        dir: cluster.dir.clone(),
    };
    submitter.models()?;
    submitter.shares()?;
    submitter.named_resources()?;
    submitter.attempts_by_cause()?;
    submitter.gates()
}

struct Submitter<'a> {
    acme: Person<'a>,
    dir: PathBuf,
}

impl Submitter<'_> {
    fn models(&self) -> anyhow::Result<()> {
        let job = self.run(&["--gpus", "1:h100,l40"], "test $CUDA_VISIBLE_DEVICES = 0")?;
        ensure!(job["attempts"][0]["site"] == "hangzhou", "{job}");
        let job = self.run(&["--gpus", "2"], "test $CUDA_VISIBLE_DEVICES = 0,1")?;
        ensure!(job["attempts"][0]["site"] == "songjiang", "{job}");

        let nowhere = [&["job", "submit", "--gpus", "2:h100"][..], &SMALL, &["--", "true"]].concat();
        let (code, refused) = self.acme.refused(&nowhere)?;
        ensure!(code == 9, "no site could ever run it: {code}, {refused}");
        let sites = refused["sites"].as_array().context("it says why for each site")?;
        ensure!(sites.len() == 3, "{refused}");
        Ok(())
    }

    fn shares(&self) -> anyhow::Result<()> {
        // Two halves are one device, and so the other is whole for a third job.
        let end = self.dir.join("shares-end");
        let wait = format!("until test -e {}; do sleep 0.05; done", end.display());
        let halves = [
            self.submit(&["--gpus", "0.5:a800"], &wait)?,
            self.submit(&["--gpus", "0.5:a800"], &wait)?,
        ];
        let mut devices = Vec::new();
        for job in &halves {
            let job = self.until(job, |job| job["attempts"][0]["started_at"].is_string())?;
            devices.push(job["attempts"][0]["gpu_indices"].clone());
        }
        ensure!(devices[0] == devices[1], "{devices:?}");
        let whole = self.run(&["--gpus", "1:a800"], "true")?;
        ensure!(
            whole["attempts"][0]["gpu_indices"] != devices[0],
            "{whole} beside {devices:?}"
        );
        std::fs::write(&end, "")?;
        for job in &halves {
            self.ended(job)?;
        }
        Ok(())
    }

    fn named_resources(&self) -> anyhow::Result<()> {
        let end = self.dir.join("licences-end");
        let wait = format!("until test -e {}; do sleep 0.05; done", end.display());
        let both = self.submit(&["--resource", "licence=2"], &wait)?;
        self.until(&both, |job| job["attempts"][0]["started_at"].is_string())?;
        let next = self.submit(&["--resource", "licence=1"], "true")?;
        self.explained(&next, "hangzhou", "CAPACITY_GENERIC")?;
        std::fs::write(&end, "")?;
        let job = self.ended(&next)?;
        ensure!(
            job["state"] == "SUCCEEDED" && job["attempts"][0]["site"] == "hangzhou",
            "{job}"
        );
        let many = [
            &["job", "submit", "--resource", "licence=3"][..],
            &SMALL,
            &["--", "true"],
        ]
        .concat();
        ensure!(self.acme.refused(&many)?.0 == 9);
        Ok(())
    }

    fn attempts_by_cause(&self) -> anyhow::Result<()> {
        let fails = self.finish(&["--retry-on", "failure=1"], "test $HESUAN_ATTEMPT = 2")?;
        ensure!(fails["state"] == "SUCCEEDED", "{fails}");
        ensure!(fails["attempts"].as_array().map(Vec::len) == Some(2), "{fails}");
        // A time limit is a cause of its own, with attempts of its own.
        let late = self.submit_with(
            &["--cpus", "0.1", "--mem", "16MiB", "--time", "1s"],
            &["--retry-on", "failure=5,time-limit=1"],
            "sleep 100",
        )?;
        let late = self.ended(&late)?;
        ensure!(late["state"] == "TIME_LIMIT", "{late}");
        ensure!(late["attempts"].as_array().map(Vec::len) == Some(2), "{late}");
        Ok(())
    }

    fn gates(&self) -> anyhow::Result<()> {
        let first = self.submit(&["--not-before", "+2s"], "exit 3")?;
        self.explained(&first, "hefei", "NOT_BEFORE")?;
        let after = self.submit(&["--after-not-ok", &first], "true")?;
        self.explained(&after, "hefei", "DEPENDENCY")?;
        ensure!(self.ended(&first)?["state"] == "FAILED");
        ensure!(self.ended(&after)?["state"] == "SUCCEEDED");
        let soon = [&["job", "submit", "--done-by", "+1m"][..], &SMALL, &["--", "true"]].concat();
        let (code, refused) = self.acme.refused(&soon)?;
        ensure!(code == 5 && refused["code"] == "DONE_BY_TOO_SOON", "{code}, {refused}");
        Ok(())
    }

    fn submit(&self, options: &[&str], text: &str) -> anyhow::Result<String> {
        self.submit_with(&SMALL, options, text)
    }

    fn submit_with(&self, size: &[&str], options: &[&str], text: &str) -> anyhow::Result<String> {
        let words = [&["job", "submit"], size, options, &["--", "sh", "-c", text]].concat();
        Ok(self.acme.json(&words)?["job_id"].to_string())
    }

    /// Runs a job to its end, whatever that is.
    fn finish(&self, options: &[&str], text: &str) -> anyhow::Result<Value> {
        self.ended(&self.submit(options, text)?)
    }

    /// Runs a job that ends well.
    fn run(&self, options: &[&str], text: &str) -> anyhow::Result<Value> {
        let job = self.finish(options, text)?;
        ensure!(job["state"] == "SUCCEEDED", "{job}");
        Ok(job)
    }

    fn ended(&self, job: &str) -> anyhow::Result<Value> {
        self.until(job, |job| job["ended_at"].is_string())
    }

    fn until(&self, job: &str, condition: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.acme.json(&["job", "show", job])?;
            if condition(&found) {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "waited in vain: {found}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until that is what keeps it from this site.
    fn explained(&self, job: &str, site: &str, code: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.acme.json(&["job", "explain", job])?;
            let sites = answer["sites"].as_array().context("sites")?;
            let at = sites.iter().find(|one| one["site"] == site).context("the site")?;
            let mut reasons = at["reasons"].as_array().context("reasons")?.iter();
            if reasons.any(|reason| reason["code"] == code) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no {code} in {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
