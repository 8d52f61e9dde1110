//! The command line, typed by somebody against the daemons of a test.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use hesuan_tests::daemons::Daemons;
use serde_json::Value;

/// The command line with one person's token.
#[derive(Clone)]
pub(crate) struct Person<'a> {
    pub(crate) cluster: &'a Daemons,
    token_file: PathBuf,
}

impl Person<'_> {
    /// What it answers, as it ends.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_desk"))
            .arg("--token-file")
            .arg(&self.token_file)
            .args(words)
            .env_clear()
            .env("XDG_CONFIG_HOME", &self.cluster.dir)
            .env("HESUAN_ENDPOINTS", self.cluster.addresses().join(","))
            .output()
            .expect("the program starts")
    }

    /// What it answers; it must end with 0.
    pub(crate) fn text(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{words:?} ended with {}: {said}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same as JSON.
    pub(crate) fn json(&self, words: &[&str]) -> anyhow::Result<Value> {
        let text = self.text(&[&["--json"], words].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{words:?}: {text}"))
    }

    /// Its refusal: the exit code, and what it says as JSON.
    pub(crate) fn refused(&self, words: &[&str]) -> anyhow::Result<(i32, Value)> {
        let output = self.run(&[&["--json"], words].concat());
        let code = output.status.code().context("it ends by itself")?;
        ensure!(code != 0, "{words:?} was not refused");
        let error: Value = serde_json::from_slice(&output.stderr)?;
        Ok((code, error["error"].clone()))
    }
}

/// The command line of one whose token the cluster keeps.
pub(crate) fn person<'a>(cluster: &'a Daemons, name: &str) -> Person<'a> {
    Person {
        cluster,
        token_file: cluster.token_file(name),
    }
}
