//! One job's way through the state, and what may go wrong on it.

mod support;

use hesuan_engine::command::{Body, EndKind, SiteState, TaskEvent};
use hesuan_engine::outcome::{ArchiveRecord, Effect, RejectionKind};
use hesuan_engine::state::archive::JobRecord;
use hesuan_engine::state::{JobState, State};
use hesuan_engine::types::{Funding, JobId, OnSiteLost, Resources, Retries};
use hesuan_ledger::types::{Fen, OrgId};
use prost::Message as _;
use support::*;

const LAB: OrgId = OrgId(2);

fn wallet(world: &World) -> (i64, i64) {
    let funds = world.state.ledger().funds(LAB);
    (funds.wallet_available.0, funds.wallet_held.0)
}

fn state_of(world: &World, job: JobId) -> JobState {
    world.state.job(job).expect("in State").state()
}

fn free_cpu(world: &World, host: &str) -> u64 {
    world.state.host(world.host_id(host)).expect("known").free.cpu_milli
}

#[test]
fn a_job_is_queued_placed_run_and_paid_by_voucher_and_wallet() {
    let mut world = World::new().with_voucher(100_000);
    let job = world.submit("lab", job());
    assert_eq!(
        (state_of(&world, job), world.state.tasks_pending()),
        (JobState::Pending, 1)
    );
    assert_eq!(wallet(&world), (1_000_000, 0), "nothing is held before it is placed");

    world.wait(5 * SECOND);
    let task = world.place(job, 0, "sj-a", &[]).expect("it fits");
    assert_eq!(
        (task.attempt, state_of(&world, job), world.state.tasks_pending()),
        (1, JobState::Running, 0)
    );
    assert_eq!(free_cpu(&world, "sj-a"), 7_000);
    assert!(world.last_effects.contains(&Effect::Assigned {
        site: world.state.site_by_name("songjiang").unwrap().id,
        task
    }));
    assert!(wallet(&world).1 > 0, "the co-pay is held");
    assert_eq!(world.state.assignment(task).expect("runs").host, "sj-a");

    assert!(world.report("songjiang", task, 1, TaskEvent::Started));
    world.wait(30 * MINUTE);
    assert!(world.end("songjiang", task, EndKind::Exited(0), 30 * MINUTE));
    // Half an hour of one core at 300 fen and one GiB at 30 fen, 30 % of it by the voucher.
    let ended = world.state.attempt(task).unwrap().ended.clone().unwrap();
    let receipt = ended.receipt.expect("it is billed");
    assert_eq!(
        (receipt.gross, receipt.subsidy(), receipt.copay),
        (Fen(165), Fen(49), Fen(116))
    );
    assert_eq!(wallet(&world), (1_000_000 - 116, 0));
    assert_eq!(
        (state_of(&world, job), free_cpu(&world, "sj-a")),
        (JobState::Succeeded, 8_000)
    );
    assert!(world.state.assignment(task).is_none());
}

#[test]
fn wall_time_is_capped_by_the_log_and_by_the_time_limit() {
    let mut world = World::new();
    let first = world.submit("lab", job());
    let task = world.place(first, 0, "sj-a", &[]).unwrap();
    world.wait(MINUTE);
    world.end("songjiang", task, EndKind::Exited(0), 50 * MINUTE);
    assert_eq!(
        world.state.attempt(task).unwrap().ended.as_ref().unwrap().wall_ms,
        MINUTE
    );

    let second = world.submit("lab", job());
    let task = world.place(second, 0, "sj-a", &[]).unwrap();
    world.wait(3 * HOUR);
    world.end("songjiang", task, EndKind::TimeLimit, 3 * HOUR);
    assert_eq!(world.state.attempt(task).unwrap().ended.as_ref().unwrap().wall_ms, HOUR);
    assert_eq!(state_of(&world, second), JobState::TimeLimit);
}

#[test]
fn a_report_of_an_older_attempt_or_another_site_changes_nothing() {
    let mut world = World::new();
    let job = world.submit("lab", {
        let mut j = job();
        j.on_site_lost = OnSiteLost::Requeue;
        j
    });
    let first = world.place(job, 0, "sj-a", &[]).unwrap();
    assert!(!world.end("hefei", first, EndKind::Exited(0), 1), "it runs elsewhere");
    lose(&mut world, "songjiang");
    let second = world.place(job, 0, "hf-a", &[]).unwrap();
    assert_eq!((first.attempt, second.attempt), (1, 2));
    world.attach("songjiang", &[host("sj-a", 8, 32, 0)]);
    assert!(!world.end("songjiang", first, EndKind::Exited(0), 1));
    assert!(
        world
            .last_effects
            .iter()
            .any(|e| matches!(e, Effect::ReportJudged { task, .. } if *task == first))
    );
    assert_eq!(state_of(&world, job), JobState::Running);
    assert!(world.report("hefei", second, 3, TaskEvent::Started));
    assert!(
        !world.report("hefei", second, 3, TaskEvent::Started),
        "a repeated report is no news"
    );
    let fenced = hesuan_engine::types::TaskId {
        restore_epoch: 1,
        ..second
    };
    assert!(
        !world.end("hefei", fenced, EndKind::Exited(0), 1),
        "it is of another epoch"
    );
    assert!(world.end("hefei", second, EndKind::Exited(0), 1));
}

fn lose(world: &mut World, site: &str) {
    let site = world.state.site_by_name(site).unwrap();
    let body = Body::SiteLost {
        site: site.id,
        instance: site.agent.unwrap().instance,
    };
    world.must(0, body);
}

#[test]
fn a_failure_is_retried_while_retries_last() {
    let mut world = World::new();
    let job = world.submit("lab", {
        let mut j = job();
        j.retries_max = 1;
        j
    });
    for (attempt, after) in [(1, JobState::Pending), (2, JobState::Failed)] {
        let task = world.place(job, 0, "sj-a", &[]).unwrap();
        assert_eq!(task.attempt, attempt);
        world.wait(MINUTE);
        world.end("songjiang", task, EndKind::Exited(3), MINUTE);
        assert_eq!(state_of(&world, job), after);
    }
    let progress = world.state.job(job).unwrap().progress();
    assert_eq!(
        (progress.exit_code, progress.failed, progress.gross),
        (3, 1, Fen(12)),
        "each attempt is billed"
    );
}

#[test]
fn what_the_agent_loses_is_not_billed_and_tried_again_a_few_times() {
    let mut world = World::new();
    let job = world.submit("lab", job());
    let losses_max = Retries::default().agent_fault;
    for n in 1..=losses_max + 1 {
        let task = world.place(job, 0, "sj-a", &[]).unwrap();
        world.wait(MINUTE);
        world.end("songjiang", task, EndKind::Lost, MINUTE);
        let expected = if n <= losses_max {
            JobState::Pending
        } else {
            JobState::Lost
        };
        assert_eq!(state_of(&world, job), expected, "after {n} losses");
    }
    assert_eq!(wallet(&world), (1_000_000, 0));
}

#[test]
fn a_cancelled_job_ends_at_once_if_it_waits_and_by_its_agent_if_it_runs() {
    let mut world = World::new();
    let waiting = world.submit("lab", job());
    let running = world.submit("lab", array(3));
    let task = world.place(running, 1, "sj-a", &[]).unwrap();
    let cancel = |job| Body::CancelJob { job, reason: "".into() };
    world.must_as("lab", cancel(waiting));
    assert_eq!(state_of(&world, waiting), JobState::Cancelled);
    world.must_as("lab", cancel(running));
    assert_eq!(
        (state_of(&world, running), world.state.tasks_pending()),
        (JobState::Running, 0)
    );
    assert!(world.state.assignment(task).unwrap().cancel_requested);
    world.must_as("lab", cancel(running));
    world.wait(MINUTE);
    world.end("songjiang", task, EndKind::Cancelled, MINUTE);
    let progress = world.state.job(running).unwrap().progress().clone();
    assert_eq!(
        (state_of(&world, running), progress.cancelled, progress.gross),
        (JobState::Cancelled, 3, Fen(6))
    );
    assert_eq!(world.refused("acme", cancel(waiting)).code, "PERMISSION_DENIED");
    assert_eq!(world.refused("lab", cancel(JobId(99))).code, "UNKNOWN_JOB");
}

#[test]
fn a_lost_site_requeues_what_may_be_requeued_and_holds_the_rest_for_the_grace() {
    let mut world = World::new();
    let held = world.submit("lab", job());
    let moved = world.submit("lab", {
        let mut j = job();
        j.on_site_lost = OnSiteLost::Requeue;
        j
    });
    let held_task = world.place(held, 0, "sj-a", &[]).unwrap();
    let moved_task = world.place(moved, 0, "sj-a", &[]).unwrap();
    lose(&mut world, "songjiang");
    assert_eq!(
        (state_of(&world, held), state_of(&world, moved)),
        (JobState::Running, JobState::Pending)
    );
    assert!(world.state.attempt(held_task).unwrap().is_running());
    assert!(!world.state.attempt(moved_task).unwrap().is_running());
    assert_eq!(free_cpu(&world, "sj-a"), 7_000);
    assert_eq!(world.place(moved, 0, "sj-b", &[]), Err("SITE_LOST"));

    let due = world.state.next_due().expect("the grace ends some day");
    world.at = due.0;
    world.tick();
    assert_eq!(state_of(&world, held), JobState::Lost);
    assert_eq!(wallet(&world), (1_000_000, 0), "unproven work is not billed");
    assert_eq!(free_cpu(&world, "sj-a"), 8_000);
}

#[test]
fn a_site_that_comes_back_goes_on_with_what_it_held() {
    let mut world = World::new();
    let job = world.submit("lab", job());
    let task = world.place(job, 0, "sj-a", &[]).unwrap();
    lose(&mut world, "songjiang");
    world.wait(HOUR / 2);
    world.attach("songjiang", &[host("sj-a", 8, 32, 0), host("sj-b", 8, 32, 0)]);
    assert_eq!(
        world
            .state
            .assignments(world.state.site_by_name("songjiang").unwrap().id)
            .count(),
        1
    );
    assert!(world.end("songjiang", task, EndKind::Exited(0), HOUR / 2));
    assert_eq!(state_of(&world, job), JobState::Succeeded);
}

#[test]
fn a_drained_site_gives_its_tasks_back_unbilled() {
    let mut world = World::new();
    let job = world.submit("lab", job());
    let task = world.place(job, 0, "sj-a", &[]).unwrap();
    let drain = |state| Body::SetSiteState {
        site: "songjiang".into(),
        state,
        reason: "works".into(),
    };
    assert_eq!(
        world.refused("hefei", drain(SiteState::Draining)).code,
        "PERMISSION_DENIED"
    );
    world.must_as("songjiang", drain(SiteState::Draining));
    assert!(world.state.assignment(task).unwrap().cancel_requested);
    world.wait(MINUTE);
    world.end("songjiang", task, EndKind::Cancelled, MINUTE);
    assert_eq!(
        (state_of(&world, job), wallet(&world)),
        (JobState::Pending, (1_000_000, 0))
    );
    assert_eq!(world.place(job, 0, "sj-a", &[]), Err("SITE_DRAINING"));
    world.must_as("songjiang", drain(SiteState::Open));
    assert!(world.place(job, 0, "sj-a", &[]).is_ok());
}

#[test]
fn a_host_that_shrinks_below_what_is_reserved_takes_nothing_new_until_it_is_empty() {
    let mut world = World::new();
    let small = world.submit("lab", job());
    let big = world.submit("lab", {
        let mut j = job();
        j.resources.cpu_milli = 6_000;
        j
    });
    let task = world.place(big, 0, "sj-a", &[]).unwrap();
    world.attach("songjiang", &[host("sj-a", 4, 32, 0)]);
    assert_eq!(world.place(small, 0, "sj-a", &[]), Err("HOST_GONE"));
    assert_eq!(
        world.place(small, 0, "sj-b", &[]),
        Err("HOST_GONE"),
        "it is not in the inventory any more"
    );
    world.end("songjiang", task, EndKind::Exited(0), 0);
    assert_eq!(free_cpu(&world, "sj-a"), 4_000);
    assert!(world.place(small, 0, "sj-a", &[]).is_ok());
}

#[test]
fn decisions_are_judged_again() {
    let mut world = World::new();
    let gpu = |milli| {
        let mut j = job();
        j.resources.gpu_milli = milli;
        j
    };
    let two = world.submit("lab", gpu(2_000));
    let share = world.submit("lab", gpu(600));
    let wide = world.submit("lab", {
        let mut j = array(5);
        j.parallel_max = 1;
        j
    });
    for (gpus, code) in [
        (&[0][..], "GPU_INDICES"),
        (&[1, 0], "GPU_INDICES"),
        (&[0, 9], "GPU_INDICES"),
    ] {
        assert_eq!(world.place(two, 0, "hz-a", gpus), Err(code));
    }
    assert!(world.place(share, 0, "hz-a", &[1]).is_ok());
    assert_eq!(world.place(two, 0, "hz-a", &[0, 1]), Err("CAPACITY_GPU"));
    assert!(world.place(two, 0, "hz-a", &[0, 2]).is_ok());
    assert_eq!(world.place(two, 0, "hz-a", &[0, 2]), Err("TASK_NOT_PENDING"));
    assert!(world.place(wide, 3, "hf-a", &[]).is_ok());
    assert_eq!(world.place(wide, 0, "hf-a", &[]), Err("ARRAY_PARALLEL_MAX"));
    assert_eq!(world.place(wide, 5, "hf-a", &[]), Err("TASK_NOT_PENDING"));
    assert_eq!(world.place(JobId(77), 0, "hf-a", &[]), Err("UNKNOWN_JOB"));
    let elsewhere = world.submit("lab", {
        let mut j = job();
        j.sites = vec!["hefei".into()];
        j
    });
    assert_eq!(world.place(elsewhere, 0, "sj-a", &[]), Err("SITE_NOT_ALLOWED"));
}

/// A voucher that does not exist was refused site by site, as a lack of funds that named no field.
#[test]
fn a_voucher_that_the_payer_does_not_hold_is_refused_by_field() {
    let mut world = World::new().with_voucher(100_000);
    let mut unknown = job();
    unknown.funding.vouchers = vec![99];
    let refused = world.refused("lab", Body::SubmitJob(unknown));
    assert_eq!(
        (refused.code, refused.kind, &*refused.field),
        ("UNKNOWN_VOUCHER", RejectionKind::NotFound, "spec.funding.vouchers")
    );
    assert!(refused.message.contains("99"), "{refused:?}");
}

#[test]
fn a_job_that_no_site_could_ever_run_is_refused_with_the_reason_of_each() {
    let mut world = World::new();
    let big = {
        let mut j = job();
        j.resources.cpu_milli = 64_000;
        j
    };
    let refused = world.refused("lab", Body::SubmitJob(big));
    assert_eq!(
        (refused.code, refused.kind, refused.sites.len()),
        ("UNSATISFIABLE", RejectionKind::Unsatisfiable, 3)
    );
    assert!(
        refused.sites.iter().all(|(_, code, _)| *code == "NEVER_FITS"),
        "{refused:?}"
    );

    let dear = {
        let mut j = job();
        j.resources.cpu_milli = 4_000;
        j.walltime_ms_max = 2_000 * HOUR;
        j
    };
    world.must_as(
        "operator",
        Body::SetLimits(hesuan_engine::command::LimitsChange {
            walltime_ms_max: Some(8_000 * HOUR),
            ..Default::default()
        }),
    );
    let refused = world.refused("lab", Body::SubmitJob(dear));
    assert_eq!(
        (refused.code, refused.kind),
        ("FUNDS", RejectionKind::Funds),
        "{refused:?}"
    );
    let mut empty = World::bare();
    let refused = {
        empty.state.check();
        empty.send(0, Body::SubmitJob(job())).reply.unwrap_err()
    };
    assert_eq!(refused.code, "ORG_MISSING");
}

#[test]
fn the_kept_verdict_of_a_class_does_not_outlive_what_it_was_made_from() {
    let mut world = World::new();
    world.submit("lab", job());
    world.must_as(
        "treasurer",
        Body::Money(hesuan_engine::command::MoneyCommand::Withdraw {
            org: "lab".into(),
            amount: Fen(1_000_000),
            reference: "".into(),
        }),
    );
    assert_eq!(world.refused("lab", Body::SubmitJob(job())).code, "FUNDS");
    world.must_as("treasurer", top_up("lab", 10_000));
    world.submit("lab", job());
    for site in ["songjiang", "hangzhou", "hefei"] {
        world.attach(site, &[]);
    }
    let refused = world.refused("lab", Body::SubmitJob(job()));
    assert_eq!((refused.code, refused.sites[0].1), ("UNSATISFIABLE", "NO_HOSTS"));
}

#[test]
fn an_ended_job_leaves_for_the_archive_with_everything_known_of_it() {
    let mut world = World::new().with_voucher(100_000);
    let job = world.submit("lab", {
        let mut j = array(2);
        j.labels = vec![("team".into(), "a".into())];
        j
    });
    for n in 0..2 {
        let task = world.place(job, n, "sj-a", &[]).unwrap();
        world.wait(MINUTE);
        world.end("songjiang", task, EndKind::Exited(0), MINUTE);
    }
    let archived = world.state.archived();
    world.tick();
    assert!(world.state.job(job).is_some(), "it is kept for an hour");
    world.at = world.state.next_due().unwrap().0;
    world.tick();
    assert!(world.state.job(job).is_none());
    assert_eq!((world.state.archived(), world.state.jobs_count()), (archived + 1, 0));
    let record = world.last_effects.iter().find_map(|effect| match effect {
        Effect::Archive(ArchiveRecord::Job { job: id, record }) if *id == job => {
            Some(JobRecord::decode(&**record).unwrap())
        }
        _ => None,
    });
    let record = record.expect("it is archived");
    let summary = record.summary.unwrap();
    assert_eq!(
        (
            summary.org.as_str(),
            summary.tasks,
            summary.succeeded,
            record.attempts.len()
        ),
        ("lab", 2, 2, 2)
    );
    assert_eq!(
        (record.attempts[1].host.as_str(), summary.labels),
        ("sj-a", vec!["team".to_owned(), "a".to_owned()])
    );
    let paid = record.attempts[0].receipt.as_ref().unwrap();
    assert_eq!(paid.gross_fen, paid.copay_fen + paid.legs[0].amount_fen);
}

#[test]
fn a_large_job_leaves_in_parts() {
    let mut world = World::new();
    world.attach("hefei", &[host("hf-big", 1_000, 1_000, 0)]);
    let job = world.submit("lab", {
        let mut j = array(600);
        j.resources.cpu_milli = 1_000;
        j
    });
    for n in 0..600 {
        world.place(job, n, "hf-big", &[]).unwrap();
    }
    let tasks: Vec<_> = world.state.attempts(job, 0).map(|(id, _)| id).collect();
    for task in tasks {
        world.end("hefei", task, EndKind::Exited(0), 0);
    }
    world.at = world.state.next_due().unwrap().0;
    let mut parts = Vec::new();
    while world.state.job(job).is_some() {
        world.tick();
        for effect in &world.last_effects {
            if let Effect::Archive(ArchiveRecord::Job { record, .. }) = effect {
                let record = JobRecord::decode(&**record).unwrap();
                parts.push((record.part, record.attempts.len(), record.summary.is_some()));
            }
        }
    }
    assert_eq!(parts, [(0, 256, false), (1, 256, false), (2, 88, true)]);
}

#[test]
fn request_ids_give_the_first_answer_and_never_a_second_effect() {
    let mut world = World::new();
    let (lab, acme) = (world.who("lab"), world.who("acme"));
    let id = world.request_id();
    let submit = || Body::SubmitJob(job());
    let first = world.send_with(lab, Some(id), [1; 16], submit());
    let again = world.send_with(lab, Some(id), [1; 16], submit());
    assert_eq!((first.reply.clone(), again.repeated), (again.reply, true));
    assert_eq!(world.state.jobs_count(), 1);
    let other = world.send_with(lab, Some(id), [2; 16], submit());
    assert_eq!(other.reply.unwrap_err().code, "REQUEST_ID_REUSED");
    assert!(
        !world.send_with(acme, Some(id), [2; 16], submit()).repeated,
        "ids are the principal's own"
    );
    assert_eq!(
        world.send_with(lab, None, [0; 16], submit()).reply.unwrap_err().code,
        "REQUEST_ID_MISSING"
    );

    world.wait(25 * HOUR);
    let late = world.send_with(lab, Some(id), [1; 16], submit());
    assert!(late.repeated, "it is still there");
    world.tick();
    let late = world.send_with(lab, Some(id), [1; 16], submit());
    assert_eq!(
        late.reply.unwrap_err().code,
        "REQUEST_ID_EXPIRED",
        "an id that left is refused, never executed again"
    );
    let early = hesuan_engine::types::RequestId(u128::from(world.at + HOUR) << 80);
    assert_eq!(
        world
            .send_with(lab, Some(early), [1; 16], submit())
            .reply
            .unwrap_err()
            .code,
        "REQUEST_ID_EXPIRED"
    );
    let longer = hesuan_engine::command::LimitsChange {
        request_window_ms: Some(48 * HOUR),
        ..Default::default()
    };
    world.must_as("operator", Body::SetLimits(longer));
    let late = world.send_with(lab, Some(id), [1; 16], submit());
    assert_eq!(
        late.reply.unwrap_err().code,
        "REQUEST_ID_EXPIRED",
        "a longer window brings nothing back"
    );
}

#[test]
fn a_full_request_table_refuses_and_never_evicts() {
    let mut world = World::new();
    let full = world.state.requests_count() as u64 + 2;
    let limit = hesuan_engine::command::LimitsChange {
        requests_max: Some(full),
        ..Default::default()
    };
    world.must_as("operator", Body::SetLimits(limit));
    world.submit("lab", job());
    let refused = world.refused("lab", Body::SubmitJob(job()));
    assert_eq!(
        (refused.code, refused.kind),
        ("REQUESTS_FULL", RejectionKind::Exhausted)
    );
}

#[test]
fn a_binding_quote_holds_the_funds_for_the_job_that_takes_it_up() {
    let mut world = World::new();
    let quote = match world.must_as(
        "lab",
        Body::BindQuote {
            job: job(),
            valid_ms: HOUR,
        },
    ) {
        hesuan_engine::outcome::Reply::Quote(id) => id,
        other => panic!("{other:?}"),
    };
    assert_eq!(wallet(&world), (1_000_000 - 220, 220), "the cheapest site for an hour");
    let with = |quote| {
        Body::SubmitJob({
            let mut j = job();
            j.quote = Some(quote);
            j
        })
    };
    assert_eq!(world.refused("lab", with(99)).code, "QUOTE_EXPIRED");
    assert_eq!(world.refused("acme", with(quote)).code, "QUOTE_MISMATCH");
    let taker = {
        let mut j = job();
        j.quote = Some(quote);
        j
    };
    let job_id = world.submit("lab", taker);
    assert_eq!(world.refused("lab", with(quote)).code, "QUOTE_TAKEN");
    assert_eq!(world.place(job_id, 0, "sj-a", &[]), Err("SITE_NOT_ALLOWED"));
    let task = world.place(job_id, 0, "hf-a", &[]).unwrap();
    assert_eq!(wallet(&world), (1_000_000 - 220, 220), "held once");
    world.wait(HOUR);
    world.end("hefei", task, EndKind::Exited(0), HOUR);
    assert_eq!(wallet(&world), (1_000_000 - 220, 0));
}

#[test]
fn a_refund_goes_back_to_the_wallet_and_shows_on_the_attempt() {
    let mut world = World::new();
    let job = world.submit("lab", job());
    let task = world.place(job, 0, "sj-a", &[]).unwrap();
    world.wait(HOUR);
    world.end("songjiang", task, EndKind::Exited(0), HOUR);
    let refund = || {
        Body::Money(hesuan_engine::command::MoneyCommand::Refund {
            task,
            amount: None,
            reason: "fault".into(),
        })
    };
    assert_eq!(world.refused("lab", refund()).code, "PERMISSION_DENIED");
    world.must_as("treasurer", refund());
    assert_eq!(wallet(&world), (1_000_000, 0));
    assert_eq!(
        world.state.attempt(task).unwrap().ended.as_ref().unwrap().refunded,
        Fen(330)
    );
    assert_eq!(world.refused("treasurer", refund()).code, "REFUND_TOO_LARGE");
}

#[test]
fn the_encoding_is_the_state() {
    let mut world = World::new().with_voucher(100_000);
    let script = b"#!/bin/sh\necho hello\n".as_slice();
    let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(script).into();
    let scripted = {
        let mut j = array(40);
        j.script = Some((digest, script.into()));
        j.retries_max = 2;
        j
    };
    let first = world.submit("lab", scripted);
    let gpu = {
        let mut j = job();
        j.resources = Resources {
            gpu_milli: 500,
            ..j.resources
        };
        j.funding = Funding {
            copay_max: Some(Fen(500_000)),
            ..Funding::default()
        };
        j
    };
    let second = world.submit("lab", gpu);
    for n in [0, 3] {
        world.place(first, n, "sj-a", &[]).unwrap();
    }
    let task = world.place(second, 0, "hz-a", &[2]).unwrap();
    world.end("hangzhou", task, EndKind::Signalled(9), 0);
    lose(&mut world, "songjiang");
    world.attach("hefei", &[host("hf-a", 2, 16, 0)]);
    let mut chunks = Vec::new();
    world.state.encode(&mut |chunk| chunks.push(chunk.to_vec()));
    assert!(chunks.iter().all(|chunk| chunk.len() <= 32 << 10));
    let mut copy = State::decode(&chunks).expect("what was encoded decodes");
    copy.check();
    assert_eq!(copy.full_hash(), world.state.full_hash());
    assert_eq!(world.state.freeze().full_hash(), world.state.full_hash());
    let whole = chunks.concat();
    let copy_of_bytes = State::decode(whole.chunks(7)).expect("cuts do not matter");
    assert_eq!(copy_of_bytes.full_hash(), world.state.full_hash());
    // What follows is the same too.
    let index = world.index + 1;
    let command = hesuan_engine::command::Command {
        principal: hesuan_engine::types::PrincipalId(world.who("lab")),
        request_id: Some(world.request_id()),
        digest: [3; 16],
        body: Body::SubmitJob(job()),
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (state, effects) in [(&mut world.state, &mut a), (&mut copy, &mut b)] {
        state.begin_entry(index, hesuan_ledger::types::Timestamp(world.at));
        state.apply(hesuan_ledger::types::Timestamp(world.at), &command, effects);
        state.end_entry(index);
    }
    assert_eq!(
        (a, copy.outcome_digest(), copy.full_hash()),
        (b, world.state.outcome_digest(), world.state.full_hash())
    );
}

#[test]
fn damaged_bytes_are_an_error_and_never_a_panic() {
    let mut world = World::new().with_voucher(100_000);
    let job = world.submit("lab", array(4));
    world.place(job, 0, "sj-a", &[]).unwrap();
    let mut whole = Vec::new();
    world.state.encode(&mut |chunk| whole.extend_from_slice(chunk));
    for cut in (0..whole.len()).step_by(97) {
        assert!(State::decode([&whole[..cut]]).is_err(), "cut at {cut}");
    }
    for place in (0..whole.len()).step_by(13) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x41;
        // Most damage shows; what still reads as a state is caught by the snapshot's checksum.
        let _ = State::decode([&damaged]);
    }
}
