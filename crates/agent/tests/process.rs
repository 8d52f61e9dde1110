//! The process backend with real processes. The test's own binary is the supervisor, so it has a `main` of its own.

mod daemon;
mod support;

use std::fs;

use hesuan_agent::backend::{Backend, LogStream, StartOrder};
use hesuan_agent::core::{Observed, ObservedState, StopSignal};
use hesuan_agent::supervisor::spec::{Claim, LIMIT_FILE, LimitFile, read_record, write_record};
use hesuan_api::internal::v1::TaskEnd;
use support::{Bench, key, order, script, wait_until};

fn main() {
    if let Some(status) = hesuan_agent::supervisor_main(std::env::args_os().skip(1)) {
        std::process::exit(status);
    }
    support::run_all(&[
        ("exit_codes_and_output_come_back", exit_codes_and_output_come_back),
        (
            "the_environment_is_the_spec_and_ours",
            the_environment_is_the_spec_and_ours,
        ),
        ("a_signal_of_its_own_is_told_apart", a_signal_of_its_own_is_told_apart),
        (
            "the_time_limit_holds_without_a_daemon",
            the_time_limit_holds_without_a_daemon,
        ),
        ("an_extended_task_ends_by_itself", an_extended_task_ends_by_itself),
        (
            "a_limit_cut_to_the_past_stops_the_task",
            a_limit_cut_to_the_past_stops_the_task,
        ),
        ("a_new_limit_holds_without_a_daemon", a_new_limit_holds_without_a_daemon),
        (
            "a_limit_whose_word_was_lost_is_found",
            a_limit_whose_word_was_lost_is_found,
        ),
        ("a_task_that_ignores_term_is_killed", a_task_that_ignores_term_is_killed),
        ("cancel_reaches_the_whole_tree", cancel_reaches_the_whole_tree),
        (
            "a_cancel_that_comes_before_the_start_is_not_lost",
            a_cancel_that_comes_before_the_start_is_not_lost,
        ),
        (
            "what_a_task_leaves_behind_is_killed",
            what_a_task_leaves_behind_is_killed,
        ),
        (
            "output_is_bounded_and_the_rest_counted",
            output_is_bounded_and_the_rest_counted,
        ),
        ("running_tasks_are_adopted", running_tasks_are_adopted),
        ("an_end_without_a_daemon_is_found", an_end_without_a_daemon_is_found),
        (
            "a_dead_supervisor_costs_its_task_only",
            a_dead_supervisor_costs_its_task_only,
        ),
        ("a_dead_nursery_costs_nothing", a_dead_nursery_costs_nothing),
        (
            "a_supervisor_that_died_unseen_is_found",
            a_supervisor_that_died_unseen_is_found,
        ),
        (
            "a_start_that_was_revoked_never_happens",
            a_start_that_was_revoked_never_happens,
        ),
        (
            "the_same_directory_is_never_used_twice",
            the_same_directory_is_never_used_twice,
        ),
        (
            "what_cannot_be_started_is_the_users_fault",
            what_cannot_be_started_is_the_users_fault,
        ),
        ("the_lease_binds_without_a_daemon", the_lease_binds_without_a_daemon),
        (
            "the_memory_limit_holds_where_there_are_groups",
            the_memory_limit_holds_where_there_are_groups,
        ),
        ("old_directories_go", old_directories_go),
        ("a_burst_of_short_tasks_all_end", a_burst_of_short_tasks_all_end),
        (
            "a_job_goes_through_the_whole_daemon",
            daemon::a_job_goes_through_the_whole_daemon,
        ),
        (
            "tasks_outlive_the_daemon_and_are_adopted",
            daemon::tasks_outlive_the_daemon_and_are_adopted,
        ),
        (
            "a_limit_changes_and_outlives_the_daemon",
            daemon::a_limit_changes_and_outlives_the_daemon,
        ),
        ("the_next_replica_is_dialled", daemon::the_next_replica_is_dialled),
        ("a_directory_has_one_daemon", daemon::a_directory_has_one_daemon),
        ("bad_settings_are_refused", daemon::bad_settings_are_refused),
        (
            "the_instant_backend_goes_the_same_way",
            daemon::the_instant_backend_goes_the_same_way,
        ),
    ]);
}

fn exit_codes_and_output_come_back() {
    let mut bench = Bench::new();
    bench
        .backend
        .start(script(1, "#!/bin/sh\necho out; echo err >&2; exit 7\n"));
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.exit_code), (TaskEnd::Exited, 7));
    assert_eq!(bench.log(1, LogStream::Stdout), "out\n");
    assert_eq!(bench.log(1, LogStream::Stderr), "err\n");
    // A script without an interpreter line is for the shell; a command is looked for in PATH.
    bench.backend.start(script(2, "exit 3\n"));
    assert_eq!(bench.ended(key(2)).exit_code, 3);
    bench.backend.start(order(3, &["true"]));
    let outcome = bench.ended(key(3));
    assert_eq!((outcome.end, outcome.exit_code), (TaskEnd::Exited, 0));
    assert_eq!(bench.log(3, LogStream::Stdout), "");
}

fn the_environment_is_the_spec_and_ours() {
    let mut bench = Bench::new();
    let environment = vec![
        ("GREETING".to_owned(), "你好".to_owned()),
        ("HESUAN_JOB_ID".to_owned(), "99".to_owned()),
    ];
    bench.backend.start(StartOrder {
        environment,
        cpu_milli: 1500,
        gpu_indices: vec![2, 5],
        array_count: 20,
        ..script(7, "#!/bin/sh\ncd; pwd; env | sort; ulimit -c\n")
    });
    assert_eq!(bench.ended(key(7)).exit_code, 0);
    let home = bench.task_directory(key(7)).join("home");
    let out = bench.log(7, LogStream::Stdout);
    for line in [
        "GREETING=你好",
        "HESUAN_JOB_ID=7",
        "HESUAN_TASK_ID=0",
        "HESUAN_ATTEMPT=1",
        "HESUAN_ARRAY_COUNT=20",
        "HESUAN_CPUS=2",
        "HESUAN_GPUS=2,5",
        "CUDA_VISIBLE_DEVICES=2,5",
        &format!("HOME={}", home.display()),
        &format!("TMPDIR={}", home.display()),
    ] {
        assert!(out.lines().any(|found| found == line), "{line} in {out}");
    }
    assert!(!out.contains("CARGO"), "nothing of the daemon's environment: {out}");
    assert!(out.starts_with(&format!("{}\n", home.display())), "{out}");
    assert!(out.ends_with("\n0\n"), "no core files: {out}");
}

fn a_signal_of_its_own_is_told_apart() {
    let mut bench = Bench::new();
    bench.backend.start(script(1, "#!/bin/sh\nkill -SEGV $$\n"));
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.signal), (TaskEnd::Signalled, 11));
}

fn the_time_limit_holds_without_a_daemon() {
    let mut bench = Bench::new();
    bench.backend.start(StartOrder {
        walltime_ms_max: 300,
        ..order(1, &["sleep", "1000"])
    });
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.signal), (TaskEnd::TimeLimit, 15));
    assert!((300..5_000).contains(&outcome.wall_ms), "{outcome:?}");
}

/// Sleeps past a limit of a second and says so.
const LONGER_THAN_A_SECOND: &str = "#!/bin/sh\nsleep 1.6\nexit 5\n";

fn an_extended_task_ends_by_itself() {
    let mut bench = Bench::new();
    let second = |job| StartOrder {
        walltime_ms_max: 1_000,
        ..script(job, LONGER_THAN_A_SECOND)
    };
    bench.backend.start(second(1));
    // Before it runs, and while it does.
    bench.backend.set_limit(key(1), 60_000);
    bench.backend.start(second(2));
    bench.started(key(2));
    bench.backend.set_limit(key(2), 30_000);
    bench.backend.set_limit(key(2), 60_000);
    for job in [1, 2] {
        let outcome = bench.ended(key(job));
        assert_eq!((outcome.end, outcome.exit_code), (TaskEnd::Exited, 5), "{outcome:?}");
        assert!(outcome.wall_ms >= 1_600, "{outcome:?}");
    }
    // Nobody is there to hear it any more.
    bench.backend.set_limit(key(1), 90_000);
}

fn a_limit_cut_to_the_past_stops_the_task() {
    let mut bench = Bench::new();
    bench
        .backend
        .start(script(1, "#!/bin/sh\necho $$ > pids\nexec sleep 1000\n"));
    let pid = bench.pids(key(1), "pids", 1)[0];
    bench.backend.set_limit(key(1), 1);
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.signal), (TaskEnd::TimeLimit, 15));
    assert!(outcome.wall_ms < 30_000, "{outcome:?}");
    wait_until("the task is gone", || !support::runs(pid));
}

fn a_new_limit_holds_without_a_daemon() {
    let mut bench = Bench::new();
    bench.backend.start(StartOrder {
        walltime_ms_max: 1_000,
        ..order(1, &["sleep", "1000"])
    });
    bench.started(key(1));
    bench.backend.set_limit(key(1), 1_800);
    let (directory, config) = bench.stop();
    let exit = config
        .directory
        .join("tasks")
        .join(key(1).to_string())
        .join("exit.json");
    wait_until("the supervisor stopped it", || exit.exists());
    let mut bench = Bench::open(directory, config);
    match &bench.backend.list_owned().expect("readable")[..] {
        [
            Observed {
                state: ObservedState::Ended(outcome),
                ..
            },
        ] => {
            assert_eq!(outcome.end, TaskEnd::TimeLimit);
            assert!((1_800..30_000).contains(&outcome.wall_ms), "{outcome:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// The daemon died between writing the file and saying so: the supervisor looks once more before it stops the task.
fn a_limit_whose_word_was_lost_is_found() {
    let mut bench = Bench::new();
    bench.backend.start(StartOrder {
        walltime_ms_max: 1_000,
        ..script(1, LONGER_THAN_A_SECOND)
    });
    bench.started(key(1));
    let limit = LimitFile {
        walltime_ms_max: 60_000,
    };
    write_record(&bench.task_directory(key(1)).join(LIMIT_FILE), &limit, false).expect("writable");
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.exit_code), (TaskEnd::Exited, 5), "{outcome:?}");
}

fn a_task_that_ignores_term_is_killed() {
    let mut bench = Bench::with(|config| config.kill_grace_ms = 200);
    let stubborn = "#!/bin/sh\ntrap '' TERM\necho $$ > pids\nwhile :; do sleep 0.05; done\n";
    bench.backend.start(StartOrder {
        walltime_ms_max: 2_000,
        ..script(1, stubborn)
    });
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.signal), (TaskEnd::TimeLimit, 9));
    assert!(outcome.wall_ms >= 2_200, "the grace was given: {outcome:?}");
    // The daemon's own kill.
    bench.backend.start(script(2, stubborn));
    bench.pids(key(2), "pids", 1);
    bench.backend.signal(key(2), StopSignal::Term);
    bench.backend.signal(key(2), StopSignal::Kill);
    assert_eq!(bench.ended(key(2)).signal, 9);
}

fn cancel_reaches_the_whole_tree() {
    let mut bench = Bench::new();
    bench.backend.start(script(
        1,
        "#!/bin/sh\nsleep 1000 &\necho $! > pids\n(sleep 1000; :) &\necho $! >> pids\nwait\n",
    ));
    bench.started(key(1));
    let pids = bench.pids(key(1), "pids", 2);
    bench.backend.signal(key(1), StopSignal::Term);
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.signal), (TaskEnd::Signalled, 15));
    for pid in pids {
        wait_until("the tree is gone", || !support::runs(pid));
    }
}

fn a_cancel_that_comes_before_the_start_is_not_lost() {
    let mut bench = Bench::new();
    for job in 1..=8 {
        bench.backend.start(order(job, &["sleep", "1000"]));
        bench.backend.signal(key(job), StopSignal::Term);
    }
    for job in 1..=8 {
        assert_eq!(bench.ended(key(job)).signal, 15);
    }
}

fn what_a_task_leaves_behind_is_killed() {
    let mut bench = Bench::new();
    let grouped = !bench.cgroup_plan_is_none();
    // One child in the group, one that made itself a session of its own; the second only a control group can hold.
    let body = "#!/bin/sh\nsleep 1000 &\necho $! > pids\nsetsid sleep 1000 &\nsleep 0.1\necho $! >> pids\nexit 0\n";
    bench.backend.start(script(1, body));
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.exit_code), (TaskEnd::Exited, 0));
    let pids = bench.pids(key(1), "pids", 2);
    wait_until("the child in the group is gone", || !support::runs(pids[0]));
    if grouped {
        wait_until("the escaped child is gone", || !support::runs(pids[1]));
    } else {
        support::kill(pids[1]);
    }
}

fn output_is_bounded_and_the_rest_counted() {
    let mut bench = Bench::with(|config| config.output_bytes_max = 100_000);
    bench
        .backend
        .start(script(1, "#!/bin/sh\nhead -c 1000000 /dev/zero\nprintf abc >&2\n"));
    assert_eq!(bench.ended(key(1)).exit_code, 0);
    let logs = bench.backend.logs();
    let kept = fs::metadata(bench.task_directory(key(1)).join("stdout"))
        .expect("kept")
        .len();
    assert_eq!(kept, 100_000);
    let first = logs.read(key(1), LogStream::Stdout, 0, u32::MAX).expect("readable");
    assert_eq!(
        (first.data.len(), first.eof, first.truncated_bytes),
        (64 << 10, false, 900_000)
    );
    let rest = logs
        .read(key(1), LogStream::Stdout, 64 << 10, u32::MAX)
        .expect("readable");
    assert_eq!((rest.data.len(), rest.eof), (100_000 - (64 << 10), true));
    let error = logs.read(key(1), LogStream::Stderr, 1, 1).expect("readable");
    assert_eq!(
        (&error.data[..], error.eof, error.truncated_bytes),
        (&b"b"[..], false, 0)
    );
    assert!(logs.read(key(2), LogStream::Stdout, 0, 1).is_err());
}

fn running_tasks_are_adopted() {
    let mut bench = Bench::new();
    bench.backend.start(script(
        1,
        "#!/bin/sh\necho one\nuntil [ -e go ]; do sleep 0.02; done\necho two\nexit 5\n",
    ));
    bench.backend.start(order(2, &["sleep", "1000"]));
    bench.started(key(1));
    bench.started(key(2));
    bench.pids_of_claim(key(1));
    bench.pids_of_claim(key(2));
    let mut bench = bench.restart();
    let owned = bench.backend.list_owned().expect("readable");
    let running =
        |observed: &Observed| matches!(observed.state, ObservedState::Running { started_ms } if started_ms > 0);
    assert_eq!(
        owned.iter().map(|observed| observed.task).collect::<Vec<_>>(),
        [key(1), key(2)]
    );
    assert!(owned.iter().all(running), "{owned:?}");
    fs::write(bench.task_directory(key(1)).join("home/go"), "").expect("writable");
    let outcome = bench.ended(key(1));
    assert_eq!((outcome.end, outcome.exit_code), (TaskEnd::Exited, 5));
    assert_eq!(bench.log(1, LogStream::Stdout), "one\ntwo\n");
    bench.backend.signal(key(2), StopSignal::Term);
    assert_eq!(bench.ended(key(2)).signal, 15);
}

fn an_end_without_a_daemon_is_found() {
    let mut bench = Bench::new();
    bench
        .backend
        .start(script(1, "#!/bin/sh\nuntil [ -e go ]; do sleep 0.02; done\nexit 5\n"));
    bench.started(key(1));
    let (directory, config) = bench.stop();
    let task = config.directory.join("tasks").join(key(1).to_string());
    fs::write(task.join("home/go"), "").expect("writable");
    wait_until("the supervisor wrote the end", || task.join("exit.json").exists());
    let mut bench = Bench::open(directory, config);
    match &bench.backend.list_owned().expect("readable")[..] {
        [
            Observed {
                state: ObservedState::Ended(outcome),
                ..
            },
        ] => assert_eq!(outcome.exit_code, 5),
        other => panic!("{other:?}"),
    }
}

fn a_dead_supervisor_costs_its_task_only() {
    let mut bench = Bench::new();
    bench.backend.start(script(
        1,
        "#!/bin/sh\nsleep 1000 &\necho $! > pids\necho $$ >> pids\nwait\n",
    ));
    bench
        .backend
        .start(script(2, "#!/bin/sh\nuntil [ -e go ]; do sleep 0.02; done\nexit 5\n"));
    bench.started(key(1));
    bench.started(key(2));
    let pids = bench.pids(key(1), "pids", 2);
    support::kill(bench.pids_of_claim(key(1)));
    assert_eq!(bench.ended(key(1)).end, TaskEnd::Lost);
    for pid in pids {
        wait_until("nothing of the lost task runs", || !support::runs(pid));
    }
    fs::write(bench.task_directory(key(2)).join("home/go"), "").expect("writable");
    assert_eq!(bench.ended(key(2)).exit_code, 5);
}

fn a_dead_nursery_costs_nothing() {
    let mut bench = Bench::new();
    bench
        .backend
        .start(script(1, "#!/bin/sh\nuntil [ -e go ]; do sleep 0.02; done\nexit 5\n"));
    bench.pids_of_claim(key(1));
    let nursery = support::nursery();
    support::kill(nursery);
    wait_until("the nursery is gone", || !support::runs(nursery));
    bench.backend.start(script(2, "#!/bin/sh\nexit 6\n"));
    assert_eq!(bench.ended(key(2)).exit_code, 6);
    fs::write(bench.task_directory(key(1)).join("home/go"), "").expect("writable");
    assert_eq!(bench.ended(key(1)).exit_code, 5);
}

fn a_supervisor_that_died_unseen_is_found() {
    let mut bench = Bench::new();
    bench
        .backend
        .start(script(1, "#!/bin/sh\necho $$ > pids\nexec sleep 1000\n"));
    bench.started(key(1));
    let pid = bench.pids(key(1), "pids", 1)[0];
    let supervisor = bench.pids_of_claim(key(1));
    let (directory, config) = bench.stop();
    support::kill(supervisor);
    wait_until("the supervisor is gone", || !support::runs(supervisor));
    assert!(support::runs(pid), "the task itself goes on");
    let mut bench = Bench::open(directory, config);
    match &bench.backend.list_owned().expect("readable")[..] {
        [
            Observed {
                state: ObservedState::Ended(outcome),
                ..
            },
        ] => assert_eq!(outcome.end, TaskEnd::Lost),
        other => panic!("{other:?}"),
    }
    wait_until("the lost task is gone too", || !support::runs(pid));
}

/// The daemon died after it had made the directory and before its supervisor claimed it. The next daemon must be able to promise that
/// the task does not run, even if the supervisor is only slow.
fn a_start_that_was_revoked_never_happens() {
    let mut bench = Bench::new();
    bench.backend.start(script(1, "#!/bin/sh\necho ran > ran\n"));
    assert_eq!(bench.ended(key(1)).exit_code, 0);
    let task = bench.task_directory(key(1));
    for name in ["claim.json", "exit.json", "home/ran"] {
        fs::remove_file(task.join(name)).expect("was there");
    }
    let mut bench = bench.restart();
    match &bench.backend.list_owned().expect("readable")[..] {
        [
            Observed {
                state: ObservedState::Ended(outcome),
                ..
            },
        ] => assert_eq!(outcome.end, TaskEnd::Lost),
        other => panic!("{other:?}"),
    }
    bench.supervise_late(key(1));
    assert!(!task.join("home/ran").exists());
    assert!(
        read_record::<Claim>(&task.join("claim.json"))
            .expect("there")
            .supervisor
            .is_none()
    );
}

fn the_same_directory_is_never_used_twice() {
    let mut bench = Bench::new();
    bench.backend.start(script(1, "#!/bin/sh\necho x >> times\n"));
    assert_eq!(bench.ended(key(1)).end, TaskEnd::Exited);
    bench.backend.start(script(1, "#!/bin/sh\necho x >> times\n"));
    assert_eq!(bench.ended(key(1)).end, TaskEnd::Lost);
    assert_eq!(
        fs::read(bench.task_directory(key(1)).join("home/times")).expect("ran once"),
        b"x\n"
    );
}

fn what_cannot_be_started_is_the_users_fault() {
    let mut bench = Bench::new();
    let rubbish = [
        order(1, &["no-such-program-anywhere"]),
        order(2, &["/no/such/file"]),
        order(3, &["/etc"]),
        script(4, "#!/no/such/interpreter\n"),
        order(5, &["echo", "zero\0byte"]),
    ];
    for order in rubbish {
        let task = order.task;
        bench.backend.start(order);
        let outcome = bench.ended(task);
        assert_eq!(
            (outcome.end, outcome.start_error_user),
            (TaskEnd::StartFailed, true),
            "{outcome:?}"
        );
        assert!(!outcome.message.is_empty());
    }
}

fn the_lease_binds_without_a_daemon() {
    let mut bench = Bench::new();
    bench.backend.lease(hesuan_agent::clock::now_ms() + 600);
    for (job, lease_bound) in [(1, true), (2, false)] {
        bench.backend.start(StartOrder {
            lease_bound,
            ..order(job, &["sleep", "1000"])
        });
        bench.started(key(job));
    }
    // One that is renewed goes on past its first end.
    let until_ms = hesuan_agent::clock::now_ms() + 1_200;
    bench.backend.lease(until_ms);
    let (directory, config) = bench.stop();
    let task = config.directory.join("tasks").join(key(1).to_string());
    wait_until("the bound task is stopped", || task.join("exit.json").exists());
    assert!(hesuan_agent::clock::now_ms() >= until_ms, "not before the renewed end");
    let mut bench = Bench::open(directory, config);
    assert_eq!(bench.backend.lease_until_ms(), until_ms);
    match &bench.backend.list_owned().expect("readable")[..] {
        [
            Observed {
                state: ObservedState::Ended(outcome),
                ..
            },
            Observed {
                state: ObservedState::Running { .. },
                ..
            },
        ] => assert_eq!(outcome.end, TaskEnd::LeaseExpired),
        other => panic!("{other:?}"),
    }
    bench.backend.signal(key(2), StopSignal::Kill);
    bench.ended(key(2));
}

fn the_memory_limit_holds_where_there_are_groups() {
    let mut bench = Bench::new();
    if !bench.limits_memory() {
        println!("    no writable memory controller here, not tested");
        return;
    }
    // `dd` holds one whole block.
    let hungry = StartOrder {
        memory_mib: 32,
        ..script(1, "#!/bin/sh\nexec dd if=/dev/zero of=/dev/null bs=200M count=1\n")
    };
    bench.backend.start(hungry);
    let outcome = bench.ended(key(1));
    assert_eq!(outcome.end, TaskEnd::MemoryLimit, "{outcome:?}");
    assert!(outcome.message.contains("memory"), "{outcome:?}");
    bench.backend.start(StartOrder {
        memory_mib: 32,
        ..order(2, &["true"])
    });
    assert_eq!(bench.ended(key(2)).end, TaskEnd::Exited);
    assert_eq!(bench.groups_left(), 0, "the groups of ended tasks are gone");
}

fn old_directories_go() {
    let mut bench = Bench::with(|config| config.kept_tasks_max = 2);
    for job in 1..=4 {
        bench.backend.start(order(job, &["true"]));
        bench.ended(key(job));
        bench.backend.forget(key(job));
    }
    let there = |bench: &Bench, job| bench.task_directory(key(job)).exists();
    wait_until("the two oldest are gone", || !there(&bench, 1) && !there(&bench, 2));
    assert!(there(&bench, 3) && there(&bench, 4));
}

fn a_burst_of_short_tasks_all_end() {
    let mut bench = Bench::new();
    let begun = std::time::Instant::now();
    for job in 1..=200 {
        bench.backend.start(StartOrder {
            cpu_milli: 1000,
            memory_mib: 64,
            ..order(job, &["/bin/true"])
        });
    }
    for job in 1..=200 {
        let outcome = bench.ended(key(job));
        assert_eq!((outcome.end, outcome.exit_code), (TaskEnd::Exited, 0), "{outcome:?}");
    }
    println!("    {:.0} tasks a second", 200.0 / begun.elapsed().as_secs_f64());
}
