//! The program itself: what it prints where, and how it exits, when no cluster can be reached.

use std::process::{Command, Output};

fn hesuan(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder for the test");
    Command::new(env!("CARGO_BIN_EXE_hesuan"))
        .args(arguments)
        .env_clear()
        .env("XDG_CONFIG_HOME", folder.path())
        // Nothing listens on port 1.
        .env("HESUAN_ENDPOINTS", "127.0.0.1:1")
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_goes_to_standard_output_and_lists_the_exit_codes() {
    let output = hesuan(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for word in [
        "job",
        "site",
        "voucher",
        "wallet",
        "programme",
        "agreement",
        "period",
        "settlement",
        "claim",
        "audit",
        "cluster",
        "submit",
        "Exit codes",
        "130",
    ] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    for arguments in [
        &["job", "sbmit"][..],
        &["job", "submit"],
        &["job", "submit", "--cpus", "many", "--", "true"],
        &["job", "submit", "--gpus", "1.5", "--", "true"],
        &["wallet", "top-up", "acme", "1.234"],
        &["cluster", "limits", "--jobs-max", "0"],
        &["job", "submit", "--wallet-only", "--voucher", "7", "--", "true"],
        &["wallet", "update-org", "acme"],
        &["wallet", "update-org", "acme", "--region", "7"],
        &[
            "programme",
            "create",
            "p",
            "--region",
            "310117",
            "--budget",
            "1",
            "--funder",
            "city=1",
            "--from",
            "2026-01-01",
        ],
        &["programme", "create", "--file", "/nowhere/p.toml"],
        &["programme", "revise"],
        &["programme", "revise", "p", "--file", "p.toml", "--rate", "cpu=1%"],
        &["programme", "budget", "p", "1.5.2h"],
        &["voucher", "issue", "--programme", "p"],
        &["voucher", "issue", "--programme", "p", "--csv", "/nowhere/v.csv"],
        &[
            "voucher",
            "issue",
            "--programme",
            "p",
            "--csv",
            "v.csv",
            "--code",
            "V-1",
        ],
        &["period", "close"],
        &["period", "close", "first"],
        &["period", "clearing", "--csv", "--json"],
        &["settlement", "review", "1"],
        &["claim", "review", "5"],
        &["claim", "review", "5", "--approve", "--reject"],
        &["claim", "review", "5", "--reject"],
    ] {
        let output = hesuan(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

/// A negative amount was once taken for an unknown option, and the answer did not say of what.
#[test]
fn a_negative_amount_is_refused_by_the_name_of_its_option() {
    for (arguments, name) in [
        (&["job", "submit", "--cpus", "-1", "--", "true"][..], "--cpus"),
        (&["job", "submit", "--mem", "-5", "--", "true"], "--mem"),
        (&["job", "submit", "--gpus", "-1", "--", "true"], "--gpus"),
        (&["job", "quote", "--max-copay", "-1", "--", "true"], "--max-copay"),
        (&["wallet", "top-up", "acme", "-5"], "<YUAN>"),
        (&["wallet", "collect", "acme", "-5"], "<YUAN>"),
        (&["programme", "pay-in", "p", "city", "-5"], "<YUAN>"),
        (&["programme", "repay", "p", "-5"], "<YUAN>"),
        (&["programme", "budget", "p", "-5"], "<AMOUNT>"),
        (&["claim", "file", "p", "--amount", "-5"], "--amount"),
        (
            &["wallet", "refund", "7", "--amount", "-0.01", "--reason", "x"],
            "--amount",
        ),
    ] {
        let output = hesuan(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.contains(name) && said.contains("invalid value"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn when_no_replica_answers_the_exit_code_says_try_again() {
    let output = hesuan(&["--timeout", "200ms", "cluster", "status"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("127.0.0.1:1"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());

    let output = hesuan(&["--timeout", "200ms", "--json", "job", "show", "7"]);
    assert_eq!(output.status.code(), Some(7));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("with --json errors are JSON");
    assert_eq!(error["error"]["code"], "UNAVAILABLE");
}

#[test]
fn a_script_that_names_no_interpreter_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let script = folder.path().join("job.sh");
    std::fs::write(&script, "echo hello\n").expect("the folder is writable");
    let output = hesuan(&["submit", script.to_str().expect("the path is text")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("#!"));
}
