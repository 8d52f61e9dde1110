//! Requests through the codec into a real State, and back as answers: what was asked is what is shown, and the money adds up.

mod support;

use hesuan_api::answer;
use hesuan_api::assignment;
use hesuan_api::codec::encode_decisions;
use hesuan_api::internal::v1::{self as wire, command::Body};
use hesuan_api::v1;
use hesuan_engine::command::Decision;
use hesuan_engine::outcome::{RejectionKind, Reply};
use hesuan_engine::schedule;
use hesuan_engine::types::{HostId, JobId, PrincipalId, TaskId, Timestamp};
use support::*;

#[test]
fn a_job_is_shown_as_it_was_asked_for_and_billed_as_it_was_quoted() {
    let mut c = Cluster::ready();
    let request_id = c.request_id();
    let submit = v1::SubmitJobRequest {
        request_id,
        spec: Some(spec(2000)),
        ..Default::default()
    };
    let Reply::Job(id) = c.run("wang", Body::SubmitJob(submit)) else {
        panic!("a submit gives a job")
    };

    let job = c.state.job(id).expect("the job is in State");
    let waiting = answer::job(&c.state, id, job);
    let shown = waiting.spec.clone().expect("a job is shown with its spec");
    let asked = spec(2000);
    assert_eq!(waiting.state(), v1::JobState::Pending);
    assert_eq!((waiting.submitted_by.as_str(), shown.org.as_str()), ("wang", "acme"));
    assert_eq!(
        (shown.command, shown.resources, shown.labels),
        (asked.command, asked.resources, asked.labels)
    );
    assert!(shown.environment.is_empty(), "an environment often holds secrets");

    let quoted = schedule::quote(&c.state, None, c.state.request(job), Timestamp(c.now));
    let quoted = answer::quotes(&c.state, &quoted, None, None);
    let price = quoted.sites[0].price.clone().expect("the only site can run it");
    // Two hours of two cores at 1 yuan and a GiB at 0.1 yuan; the voucher pays 30 % of the cores.
    assert_eq!(
        (price.gross_fen, price.legs[0].amount_fen, price.copay_fen),
        (420, 120, 300)
    );
    assert_eq!(price.legs[0].programme, "sj-2026");

    let explained = schedule::explain(&c.state, None, id, Timestamp(c.now), &|_| false).expect("the job is in State");
    let explained = answer::explanation(&c.state, id, &explained);
    assert_eq!(
        (explained.sites[0].site.as_str(), explained.sites[0].verdict.as_str()),
        ("songjiang", "WAIT")
    );
    assert_eq!(explained.sites[0].reasons[0].code, "SITE_DOWN");

    let place = Decision {
        job: id,
        task: 0,
        host: HostId(1),
        gpu_indices: Vec::new(),
        ..Decision::default()
    };
    let placed = c.apply_bytes(&encode_decisions(&[place])).reply;
    assert_eq!(placed, Ok(Reply::Counts { taken: 1, refused: 0 }));
    let job = c.state.job(id).expect("the job is in State");
    let running = answer::receipt(&c.state, id, job);
    assert_eq!((running.held_fen, running.attempts.len()), (420, 0));
    let site = c.state.site_by_name("songjiang").expect("the site was created");
    let site = answer::site(&c.state, site, true);
    assert_eq!(site.free.map(|free| free.cpu_milli), Some(6000));
    assert_eq!(
        (site.tasks_running, site.up, site.provider.as_str()),
        (1, true, "centre")
    );

    c.now += HOUR;
    let task = TaskId {
        job: id,
        task: 0,
        attempt: 1,
        restore_epoch: 0,
    };
    let report = wire::TaskReport {
        task: Some(hesuan_api::convert::site::task_id_message(task)),
        seq: 2,
        event: wire::TaskEvent::Ended.into(),
        end: wire::TaskEnd::Exited.into(),
        wall_ms: HOUR,
        ..Default::default()
    };
    c.run("node", Body::Reports(wire::Reports { reports: vec![report] }));
    let job = c.state.job(id).expect("an ended job stays for a while");
    let ended = answer::job(&c.state, id, job);
    assert_eq!(ended.state(), v1::JobState::Succeeded);
    assert_eq!(
        (ended.attempts[0].site.as_str(), ended.attempts[0].host.as_str()),
        ("songjiang", "h1")
    );
    assert_eq!((ended.gross_fen, ended.subsidy_fen, ended.copay_fen), (210, 60, 150));
    let receipt = answer::receipt(&c.state, id, job);
    let total = receipt.total.expect("a receipt has a total");
    assert_eq!(
        (
            total.gross_fen,
            total.legs[0].amount_fen,
            total.copay_fen,
            receipt.held_fen
        ),
        (210, 60, 150, 0)
    );
    assert_eq!(
        receipt.attempts[0].price.as_ref().map(|price| price.gross_fen),
        Some(210)
    );

    let request_id = c.request_id();
    let refund = v1::RefundRequest {
        request_id,
        job_id: id.0,
        attempt: 1,
        amount_fen: Some(21),
        reason: "outage".into(),
        task: 0,
    };
    c.run("till", Body::Refund(refund));
    let back = answer::refunded(&c.state, task).expect("the attempt is in the settlement window");
    assert_eq!((back.gross_fen, back.legs[0].amount_fen, back.copay_fen), (21, 6, 15));

    let acme = c
        .state
        .ledger()
        .org_by_name("acme")
        .expect("the organisation was created");
    let acme = answer::org(&c.state, acme);
    assert_eq!(
        (acme.wallet_available_fen, acme.wallet_held_fen, acme.wallet_spent_fen),
        (10_000 - 135, 0, 135)
    );
    let voucher = c
        .state
        .ledger()
        .voucher_by_code("SJ-1")
        .expect("the voucher was issued");
    let voucher = answer::voucher(&c.state, voucher);
    assert_eq!(
        (voucher.state(), voucher.captured, voucher.until_ms),
        (v1::VoucherState::Active, 54, 0)
    );
    let balance = answer::trial_balance(&c.state);
    assert_eq!(balance.debit_total_fen, balance.credit_total_fen);
    let sheets = answer::price_sheets(
        &c.state,
        c.state.site_by_name("songjiang").expect("the site was created"),
    );
    assert_eq!((sheets.len(), sheets[0].prices.len()), (1, 2));
}

#[test]
fn an_extended_task_is_shown_and_assigned_with_its_new_limit() {
    let mut c = Cluster::ready();
    let request_id = c.request_id();
    let submit = v1::SubmitJobRequest {
        request_id,
        spec: Some(spec(1000)),
        ..Default::default()
    };
    let Reply::Job(id) = c.run("wang", Body::SubmitJob(submit)) else {
        panic!("a submit gives a job")
    };
    let place = Decision {
        job: id,
        task: 0,
        host: HostId(1),
        gpu_indices: Vec::new(),
        ..Decision::default()
    };
    c.apply_bytes(&encode_decisions(&[place])).reply.expect("there is room");
    let request_id = c.request_id();
    let extend = |more_ms| v1::ExtendJobRequest {
        request_id: request_id.clone(),
        job_id: id.0,
        task: None,
        more_ms,
    };
    let extended = Reply::Extended {
        task: 0,
        walltime_ms_max: 3 * HOUR,
    };
    assert_eq!(c.run("wang", Body::ExtendJob(extend(HOUR))), extended);
    assert_eq!(c.run("wang", Body::ExtendJob(extend(HOUR))), extended, "once only");
    let refused = c
        .try_as("wang", Body::ExtendJob(extend(2 * HOUR)))
        .expect_err("the id is used");
    assert_eq!(refused.code, "REQUEST_ID_REUSED");

    let job = answer::job(&c.state, id, c.state.job(id).expect("it runs"));
    assert_eq!(job.spec.expect("it has one").walltime_ms_max, 2 * HOUR, "as asked for");
    assert_eq!(job.attempts[0].walltime_ms_max, 3 * HOUR);
    let explained = schedule::explain(&c.state, None, id, Timestamp(c.now), &|_| true).expect("the job is in State");
    let explained = answer::explanation(&c.state, id, &explained);
    assert_eq!(explained.running, job.attempts);
    let site = c.state.site_by_name("songjiang").expect("the site was created").id;
    let assigned: Vec<_> = c
        .state
        .assignments(site)
        .map(|view| assignment::message(&view))
        .collect();
    assert_eq!(assigned[0].walltime_ms_max, 3 * HOUR);
}

/// The operator's reason was kept and never shown to those who waited for it.
#[test]
fn who_waits_for_a_closed_site_reads_what_its_operator_said() {
    let mut c = Cluster::ready();
    let request_id = c.request_id();
    let close = v1::SetSiteStateRequest {
        request_id,
        site: "songjiang".into(),
        state: v1::SiteState::Cordoned.into(),
        reason: "new racks until Friday".into(),
    };
    c.run("root", Body::SetSiteState(close));
    let request_id = c.request_id();
    let submit = v1::SubmitJobRequest {
        request_id,
        spec: Some(spec(2000)),
        ..Default::default()
    };
    let Reply::Job(id) = c.run("wang", Body::SubmitJob(submit)) else {
        panic!("a submit gives a job")
    };
    let explained = schedule::explain(&c.state, None, id, Timestamp(c.now), &|_| true).expect("the job is in State");
    let explained = answer::explanation(&c.state, id, &explained);
    let reason = &explained.sites[0].reasons[0];
    assert_eq!(
        (reason.code.as_str(), reason.text.as_str()),
        (
            "SITE_CORDONED",
            "its operator takes no new work: new racks until Friday"
        )
    );
}

#[test]
fn a_repeated_request_gets_the_first_answer_and_another_under_its_id_is_refused() {
    let mut c = Cluster::ready();
    let request_id = c.request_id();
    let submit = |cpu| v1::SubmitJobRequest {
        request_id: request_id.clone(),
        spec: Some(spec(cpu)),
        ..Default::default()
    };
    let first = c.run("wang", Body::SubmitJob(submit(1000)));
    assert_eq!(c.run("wang", Body::SubmitJob(submit(1000))), first);
    let refused = c
        .try_as("wang", Body::SubmitJob(submit(2000)))
        .expect_err("the id was used for another job");
    assert_eq!(
        (refused.code, refused.kind),
        ("REQUEST_ID_REUSED", RejectionKind::AlreadyExists)
    );
}

#[test]
fn a_job_no_site_could_ever_run_is_refused_with_a_reason_per_site() {
    let mut c = Cluster::ready();
    let request_id = c.request_id();
    let submit = v1::SubmitJobRequest {
        request_id,
        spec: Some(spec(9000)),
        ..Default::default()
    };
    let refused = c
        .try_as("wang", Body::SubmitJob(submit))
        .expect_err("no host has nine cores");
    assert_eq!(refused.kind, RejectionKind::Unsatisfiable);
    assert_eq!((&*refused.sites[0].0, refused.sites[0].1), ("songjiang", "NEVER_FITS"));
    assert!(c.state.job(JobId(1)).is_none());
}

#[test]
fn principals_are_shown_by_name_and_without_their_token() {
    let c = Cluster::ready();
    let shown: Vec<_> = c
        .state
        .principals()
        .map(|principal| answer::principal(&c.state, principal))
        .collect();
    let wang = shown.iter().find(|one| one.name == "wang").expect("wang was created");
    assert_eq!(
        (wang.org.as_str(), wang.roles().next()),
        ("acme", Some(v1::Role::Member))
    );
    let bureau = shown
        .iter()
        .find(|one| one.name == "bureau")
        .expect("the bureau was created");
    assert_eq!(bureau.region, 310117);
    assert_eq!(c.state.principal(PrincipalId(1)).map(|root| &*root.name), Some("root"));
    assert_eq!(
        answer::limits(c.state.limits()).lease_ttl_ms,
        c.state.limits().lease_ttl_ms
    );
}
