//! The programmes under `deploy/programmes`: every file is read, goes through the codec, and is accepted by the ledger.

use std::path::Path;

use hesuan_api::answer;
use hesuan_api::codec::{decode_command, encode_command};
use hesuan_api::internal::v1::command::Body;
use hesuan_api::v1;
use hesuan_cli::programme_file;
use hesuan_engine::outcome::Reply;
use hesuan_engine::state::{Genesis, Limits, State};
use hesuan_engine::types::{PrincipalId, Timestamp};
use hesuan_ledger::types::ProgrammeId;

/// 2026-06-01 in Shanghai.
const NOW: u64 = 1_780_243_200_000;

fn state() -> State {
    State::genesis(&Genesis {
        cluster_id: [1; 16],
        at: Timestamp(NOW),
        members: Vec::new(),
        admin_name: "root".into(),
        admin_token_sha256: [9; 32],
        limits: Limits::default(),
    })
}

fn apply(state: &mut State, number: u64, body: Body) -> Reply {
    let bytes = encode_command(PrincipalId::CLUSTER, body).expect("well-formed");
    let command = decode_command(&bytes).expect("what was encoded decodes");
    state.begin_entry(number, Timestamp(NOW));
    let outcome = state.apply(Timestamp(NOW), &command, &mut Vec::new());
    state.end_entry(number);
    state.check();
    outcome.reply.expect("the ledger accepts it")
}

fn request_id(number: u64) -> Vec<u8> {
    let id = u128::from(NOW) << 80 | 7 << 76 | 2 << 62 | u128::from(number);
    id.to_be_bytes().to_vec()
}

#[test]
fn every_file_is_accepted_by_the_ledger_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/programmes");
    let files = std::fs::read_dir(&folder).expect("the folder is in the repository");
    let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    files.sort();
    let names: Vec<_> = files
        .iter()
        .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "anhui",
            "hangzhou",
            "henan",
            "policy-compute",
            "shanghai-city",
            "shanghai-district",
            "wuhu"
        ]
    );
    let mut state = state();
    for (number, file) in (1..).zip(&files) {
        let text = std::fs::read_to_string(file).expect("a text");
        assert!(
            text.starts_with("# Illustrative figures"),
            "{} does not say so",
            file.display()
        );
        let written = programme_file::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let request = v1::CreateProgrammeRequest {
            request_id: request_id(number),
            programme: Some(written.clone()),
        };
        let reply = apply(&mut state, number, Body::CreateProgramme(request));
        let Reply::Number(id) = reply else { panic!("{reply:?}") };
        let kept = state.ledger().programme(ProgrammeId(id)).expect("just created");
        let shown = answer::programme(&state, kept, false);
        assert_eq!(
            (
                &shown.name,
                shown.region,
                &shown.funders,
                shown.budget,
                &shown.unit_hours_of,
                shown.fiscal_year
            ),
            (
                &written.name,
                written.region,
                &written.funders,
                written.budget,
                &written.unit_hours_of,
                written.fiscal_year
            )
        );
        let (mut asked, kept) = (written.terms.expect("always given"), shown.terms.expect("always shown"));
        asked.excluded_skus.sort();
        asked.holder_kinds.sort_unstable();
        assert_eq!(asked, kept, "{}", file.display());
    }
}
