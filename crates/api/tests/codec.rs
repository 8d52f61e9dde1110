//! Commands and entries as bytes: what goes in comes out, and no bytes make decoding panic.

use bytes::Bytes;
use hesuan_api::codec::*;
use hesuan_api::internal::v1::{self as wire, Item, command::Body as WireBody};
use hesuan_api::v1;
use hesuan_engine::command::{Body, Decision, Member};
use hesuan_engine::state::JobState;
use hesuan_engine::types::{After, Dependency, Gates, HostId, JobId, Place, PrincipalId, RequestId, SiteId, Timestamp};
use proptest::prelude::*;
use prost::Message;

const ID: u128 = 0x0190_0000_0000_7000_8000_0000_0000_0001;

fn suspend(id: u128, reason: &str) -> WireBody {
    WireBody::SuspendVoucher(v1::SuspendVoucherRequest {
        request_id: id.to_be_bytes().to_vec(),
        code: "SJ-1".into(),
        reason: reason.into(),
    })
}

fn digest(body: WireBody) -> [u8; 16] {
    let bytes = encode_command(PrincipalId(1), body).expect("the requests of this test are well-formed");
    decode_command(&bytes).expect("what was encoded decodes").digest
}

#[test]
fn the_digest_is_of_the_request_without_its_id_and_without_who_asked() {
    let first = digest(suspend(ID, "audit"));
    assert_eq!(first, digest(suspend(ID + 1, "audit")));
    assert_ne!(first, digest(suspend(ID, "fraud")));
    // Both requests have the same fields: the kind must count.
    let resume = WireBody::ResumeVoucher(v1::ResumeVoucherRequest {
        request_id: ID.to_be_bytes().to_vec(),
        code: "SJ-1".into(),
        reason: "audit".into(),
    });
    assert_ne!(first, digest(resume));
    let other = encode_command(PrincipalId(9), suspend(ID, "audit")).expect("well-formed");
    assert_eq!(first, decode_command(&other).expect("decodes").digest);
}

#[test]
fn an_extension_arrives_as_it_was_sent_and_the_only_task_is_not_the_first_one() {
    let extend = |task| {
        WireBody::ExtendJob(v1::ExtendJobRequest {
            request_id: ID.to_be_bytes().to_vec(),
            job_id: 4711,
            task,
            more_ms: 60_000,
        })
    };
    for task in [None, Some(0), Some(7)] {
        let bytes = encode_command(PrincipalId(5), extend(task)).expect("well-formed");
        let command = decode_command(&bytes).expect("decodes");
        assert_eq!(command.request_id, Some(RequestId(ID)));
        let body = Body::ExtendJob {
            job: JobId(4711),
            task,
            more_ms: 60_000,
        };
        assert_eq!(command.body, body);
    }
    assert_ne!(digest(extend(None)), digest(extend(Some(0))));
}

#[test]
fn a_submitted_job_arrives_as_it_was_sent() {
    let request = v1::SubmitJobRequest {
        request_id: ID.to_be_bytes().to_vec(),
        spec: Some(v1::JobSpec {
            name: "train".into(),
            org: "acme".into(),
            script: "#!/bin/sh\nexit 0\n".into(),
            environment: vec![v1::KeyValue {
                key: "A".into(),
                value: "1".into(),
            }],
            resources: Some(v1::Resources {
                cpu_milli: 1500,
                memory_mib: 512,
                gpu_milli: 2000,
                gpu_models: vec!["h100".into(), "a800".into()],
                generic: vec![],
            }),
            walltime_ms_max: 1000,
            priority: -3,
            array_count: 20,
            array_parallel_max: 4,
            retries_max: 2,
            on_site_lost: v1::OnSiteLost::Requeue.into(),
            ..Default::default()
        }),
        validate_only: false,
        quote_id: Some(7),
    };
    let bytes = encode_command(PrincipalId(5), WireBody::SubmitJob(request)).expect("well-formed");
    let command = decode_command(&bytes).expect("decodes");
    assert_eq!(
        (command.principal, command.request_id),
        (PrincipalId(5), Some(RequestId(ID)))
    );
    let Body::SubmitJob(job) = command.body else {
        panic!("{:?}", command.body)
    };
    assert_eq!(
        (job.tasks, job.array, job.parallel_max, job.quote),
        (20, true, 4, Some(7))
    );
    assert_eq!(
        job.resources.gpu_models,
        ["a800".into(), "h100".into()],
        "sorted, so that equal requests are one class"
    );
    let (digest, script) = job.script.expect("the script was given");
    let payload = v1::TaskPayload::decode(&*job.payload).expect("the payload is a TaskPayload");
    assert_eq!(&*script, b"#!/bin/sh\nexit 0\n");
    assert_eq!(payload.script_sha256, digest);
    assert_eq!(payload.environment.len(), 1);
    assert!(payload.command.is_empty());
}

/// What the archive of a replica says stands beside the request and is no part of what was asked.
#[test]
fn gates_and_what_the_archive_says_arrive_as_they_were_sent() {
    let request = || v1::SubmitJobRequest {
        request_id: ID.to_be_bytes().to_vec(),
        spec: Some(v1::JobSpec {
            command: vec!["true".into()],
            resources: Some(v1::Resources {
                cpu_milli: 1,
                memory_mib: 1,
                ..Default::default()
            }),
            walltime_ms_max: 1000,
            array_count: 3,
            not_before_ms: 5_000,
            done_by_ms: 9_000,
            after: vec![v1::Dependency {
                job_id: 4711,
                after: v1::After::NotOk.into(),
                per_element: true,
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let fact = |state: v1::JobState| wire::ArchivedJob {
        job: 4711,
        org: "acme".into(),
        state: state.into(),
        tasks: 3,
        succeeded: 2,
    };
    let sent = |archived| {
        let bytes = encode_submit(PrincipalId(5), request(), archived).expect("well-formed");
        decode_command(&bytes).expect("decodes")
    };
    let command = sent(vec![fact(v1::JobState::Failed), fact(v1::JobState::Running)]);
    assert_eq!(command.digest, sent(Vec::new()).digest);
    assert_eq!(command.digest, digest(WireBody::SubmitJob(request())));
    let Body::SubmitJob(job) = command.body else {
        panic!("{:?}", command.body)
    };
    let gates = Gates {
        not_before: Some(Timestamp(5_000)),
        done_by: Some(Timestamp(9_000)),
        after: vec![Dependency {
            job: JobId(4711),
            after: After::NotOk,
            per_element: true,
        }],
    };
    assert_eq!(job.gates, gates);
    let [archived] = &*job.archived else {
        panic!("what has not ended is in no archive: {:?}", job.archived)
    };
    assert_eq!(
        (archived.state, archived.tasks, archived.succeeded),
        (JobState::Failed, 3, 2)
    );
}

#[test]
fn the_leaders_commands_come_back() {
    let decision = Decision {
        job: JobId(7),
        task: 3,
        host: HostId(2),
        gpu_indices: vec![0, 5],
        others: vec![Place {
            host: HostId(9),
            gpu_indices: [1, 2].into(),
        }],
    };
    let member = Member {
        id: 4,
        name: "hefei-2".into(),
        peer_address: "127.0.0.1:7444".into(),
        client_address: "127.0.0.1:7443".into(),
    };
    let of = |bytes: Bytes| decode_command(&bytes).expect("decodes");
    assert_eq!(
        of(encode_decisions(std::slice::from_ref(&decision))).body,
        Body::Decisions(vec![decision])
    );
    assert_eq!(
        of(encode_site_lost(SiteId(2), 77)).body,
        Body::SiteLost {
            site: SiteId(2),
            instance: 77
        }
    );
    assert_eq!(of(encode_set_level(3)).body, Body::SetLevel(3));
    assert_eq!(of(encode_tick()).body, Body::Tick);
    assert_eq!(of(encode_tick()).principal, PrincipalId::CLUSTER);
    assert_eq!(
        of(encode_add_member(PrincipalId(1), &member).expect("well-formed")).body,
        Body::AddMember(member)
    );
}

#[test]
fn an_entry_of_a_higher_level_is_refused_before_its_body_is_looked_at() {
    let items = vec![Item {
        origin: 2,
        ticket: 9,
        command: encode_tick(),
    }];
    let entry = encode_entry(1, Timestamp(5), items.clone());
    let bundle = decode_entry(entry, 1).expect("level 1 is known");
    assert_eq!((bundle.at_ms, bundle.items), (5, items));
    let newer = wire::Envelope {
        level: 2,
        body: Bytes::from_static(b"\xff\xff what a newer release writes"),
    };
    let refused = decode_entry(newer.encode_to_vec().into(), 1).expect_err("level 2 is not known");
    assert_eq!(refused, EntryError::Level { needed: 2, known: 1 });
}

proptest! {
    #[test]
    fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_command(&bytes);
        let _ = decode_entry(bytes.into(), 1);
    }

    /// Nearer to the truth than random bytes: one byte of a good command is wrong.
    #[test]
    fn decoding_a_damaged_command_is_total(at in 0usize..60, byte: u8) {
        let mut bytes = encode_command(PrincipalId(1), suspend(ID, "audit")).expect("well-formed").to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decode_command(&bytes);
    }
}
