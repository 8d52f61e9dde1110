//! The journal of every transcript of the ledger, checked from outside.

mod books;
#[allow(dead_code)]
#[path = "../../ledger/tests/desk/mod.rs"]
mod desk;

use std::path::Path;

use books::{checked, exported, findings};

#[test]
fn the_journals_of_the_transcripts_agree() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ledger/testdata");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("testdata exists")
        .map(|file| file.expect("readable").path())
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    let mut entries = 0;
    for path in &files {
        let transcript = std::fs::read_to_string(path).expect("a transcript is text");
        let mut desk = desk::Desk::default();
        for command in transcript.lines().filter_map(|line| line.strip_prefix("> ")) {
            desk.run(command);
        }
        let (ledger, journal) = desk.books();
        entries += journal.len();
        let report = checked(&exported(ledger, journal));
        if !report.agreed {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            wrong.push(format!("{}\n{}", name.unwrap_or_default(), findings(&report)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(
        files.len() >= 10 && entries > 300,
        "{entries} entries of {} transcripts",
        files.len()
    );
}
