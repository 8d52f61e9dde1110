//! Runs the transcripts under testdata/: commands after `>`, answers below them. With `UPDATE=1` the answers are written anew,
//! to be read before they are committed. After every command all invariants of the books are recomputed.

mod desk;

use std::fmt::Write;
use std::path::Path;

use desk::Desk;

#[test]
fn transcripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("testdata exists")
        .map(|file| file.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "transcripts are missing");
    let mut different = Vec::new();
    for path in files {
        let expected = std::fs::read_to_string(&path).expect("a transcript is text");
        let found = run(&expected);
        if found == expected {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, found).expect("testdata can be written");
            continue;
        }
        let line = found
            .lines()
            .zip(expected.lines())
            .position(|(found, expected)| found != expected)
            .unwrap_or(0);
        let (found, expected) = (
            found.lines().nth(line).unwrap_or(""),
            expected.lines().nth(line).unwrap_or(""),
        );
        different.push(format!(
            "{}:{}\n  expected {expected}\n  found    {found}",
            path.display(),
            line + 1
        ));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn run(transcript: &str) -> String {
    let mut desk = Desk::default();
    let mut out = String::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(out, "{line}").expect("a string takes any text");
            for answer in desk.run(command).lines() {
                writeln!(out, "  {answer}").expect("a string takes any text");
            }
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").expect("a string takes any text");
        }
    }
    out
}
