//! Invariants. The cheap ones are asserted after every command, in release too; [`State::check`] recomputes everything and
//! is for the simulator and the tests.

use std::collections::{BTreeMap, BTreeSet};

use hesuan_ledger::types::HoldId;

use super::index::Index;
use super::{Host, JobState, State};
use crate::command::HostInventory;
use crate::types::{ClassId, Digest, HostId, JobId};

impl State {
    /// What can be said in a few steps: as many open holds as running attempts, so that none is forgotten or doubled.
    pub(super) fn assert_cheap_invariants(&self) {
        let holds = self.tables.ledger.open_hold_count();
        let running = self.index.running_total;
        assert!(
            holds as u64 == running,
            "{holds} holds are open for {running} running attempts"
        );
    }

    /// Recomputes everything that is derived and compares.
    ///
    /// # Panics
    /// When an invariant does not hold; the text says which.
    pub fn check(&self) {
        self.tables.ledger.check();
        self.check_index();
        self.check_capacity();
        self.check_holds();
        self.check_jobs();
        self.check_references();
        self.check_usage();
    }

    fn check_index(&self) {
        let fresh = Index::of(&self.tables);
        let same = |what: &str, equal: bool| assert!(equal, "the index of {what} is not what the tables say");
        same(
            "queues",
            fresh.queued == self.index.queued && fresh.order == self.index.order,
        );
        same("running attempts", fresh.running == self.index.running);
        same(
            "counts",
            fresh.pending_total == self.index.pending_total && fresh.running_total == self.index.running_total,
        );
        same("what is held", fresh.held == self.index.held);
        same("what is taken back", fresh.reclaiming == self.index.reclaiming);
        same("ended jobs", fresh.ended == self.index.ended);
        same(
            "names",
            fresh.principals == self.index.principals && fresh.sites == self.index.sites,
        );
        same("hosts", fresh.hosts == self.index.hosts);
        same("tokens", fresh.tokens == self.index.tokens);
        same("classes", fresh.classes == self.index.classes);
        same("scripts", fresh.script_bytes == self.index.script_bytes);
        same(
            "gates",
            fresh.opening == self.index.opening && fresh.overdue == self.index.overdue,
        );
        same(
            "dependencies",
            fresh.dependents == self.index.dependents
                && fresh.followers == self.index.followers
                && fresh.settling == self.index.settling
                && fresh.scans == self.index.scans,
        );
        same("quotes", fresh.quotes == self.index.quotes);
    }

    // What is free is all of it less what the running attempts took, on every host and device.
    fn check_capacity(&self) {
        let mut expected: BTreeMap<HostId, Host> = self.hosts().map(|host| (host.id, emptied(host))).collect();
        for (id, attempt) in self.tables.attempts.iter().filter(|(_, attempt)| attempt.is_running()) {
            let job = self.job(id.job).unwrap_or_else(|| panic!("{id:?} runs without a job"));
            let (request, nodes) = (self.request(job), 1 + attempt.others.len());
            let wanted = request.nodes.count() as usize;
            assert!(nodes == wanted, "{id:?} is a gang of {wanted} and holds {nodes} hosts");
            for (host, gpu_indices) in attempt.places() {
                let host = expected
                    .get_mut(&host)
                    .unwrap_or_else(|| panic!("{id:?} runs on no host"));
                assert!(host.site == attempt.site, "{id:?} runs on a host of another site");
                host.reserve(&request.resources, gpu_indices);
            }
        }
        for host in self.hosts() {
            let expected = &expected[&host.id];
            assert!(
                host == expected,
                "host {} has free {host:?}, its attempts say {expected:?}",
                host.name
            );
        }
    }

    // An open hold for each running attempt, and none besides; both know the same limit, and no more is billed.
    fn check_holds(&self) {
        let running = self.tables.attempts.iter().filter(|(_, attempt)| attempt.is_running());
        let running: BTreeSet<HoldId> = running.map(|(_, attempt)| attempt.hold).collect();
        let open: BTreeSet<HoldId> = self.tables.ledger.open_holds().map(|(id, _)| id).collect();
        assert!(
            running == open,
            "running attempts have the holds {running:?}, open are {open:?}"
        );
        for (id, attempt) in self.tables.attempts.iter() {
            let limit_ms = attempt.walltime_ms_max;
            if let Some(ended) = &attempt.ended {
                let billed_ms = ended.wall_ms;
                assert!(billed_ms <= limit_ms, "{id:?} is billed {billed_ms} ms of {limit_ms}");
            } else if let Some(hold) = self.tables.ledger.open_hold(attempt.hold) {
                let held_ms = hold.pinned.walltime_ms_max;
                assert!(
                    held_ms == limit_ms,
                    "{id:?} may take {limit_ms} ms and holds money for {held_ms}"
                );
            }
        }
    }

    fn check_jobs(&self) {
        for (id, job) in self.tables.jobs.iter() {
            let id = JobId(id);
            let progress = job.progress();
            let (mut running, mut last_words) = (0, BTreeMap::<u32, JobState>::new());
            for (attempt_id, attempt) in self.attempts(id, 0) {
                assert!(
                    attempt_id.task < job.spec.tasks,
                    "{attempt_id:?} is not a task of its job"
                );
                assert!(
                    attempt_id.task < progress.fresh_from,
                    "{attempt_id:?} was placed and counts as fresh"
                );
                match &attempt.ended {
                    None => {
                        running += 1;
                        last_words.remove(&attempt_id.task);
                    }
                    Some(ended) => {
                        assert!(ended.state.is_ended(), "{attempt_id:?} ended as {:?}", ended.state);
                        assert!(ended.at >= attempt.placed_at, "{attempt_id:?} ended before it began");
                        let before = last_words.insert(attempt_id.task, ended.state);
                        assert!(
                            before != Some(JobState::Succeeded),
                            "{attempt_id:?} came after a success"
                        );
                    }
                }
            }
            assert!(
                running == progress.running,
                "job {} runs {running} tasks and counts {}",
                id.0,
                progress.running
            );
            for (state, counted) in [
                (JobState::Succeeded, progress.succeeded),
                (JobState::TimeLimit, progress.time_limit),
            ] {
                let ended = last_words.values().filter(|word| **word == state).count() as u32;
                let whole = progress.archived_parts == 0;
                // A task that may be placed again after its time limit may also wait, or be given up, after it.
                let last = state != JobState::TimeLimit || job.spec.retries.time_limit == 0;
                assert!(
                    !whole || ended == counted || (!last && counted < ended),
                    "job {}: {ended} tasks {state:?}, it counts {counted}",
                    id.0
                );
            }
            assert!(
                progress.fresh_from <= job.spec.tasks,
                "job {} has fewer tasks than it placed",
                id.0
            );
            let held = job.waits().map_or(0, |waits| waits.held);
            let waiting = (0..job.spec.tasks).filter(|task| job.waits().is_some_and(|waits| waits.holds(*task)));
            assert!(
                held == waiting.count() as u32,
                "job {} counts {held} tasks that wait for their own",
                id.0
            );
            for wait in job.waits().into_iter().flat_map(|waits| &waits.on) {
                let on = wait.on().job;
                assert!(
                    on < id && self.job(on).is_some(),
                    "job {} waits for job {}, which is none before it",
                    id.0,
                    on.0
                );
            }
            let pending = progress.returned.len() as u32 + (job.spec.tasks - progress.fresh_from) + held;
            assert!(
                job.pending() == pending,
                "job {} has {pending} tasks pending and counts {}",
                id.0,
                job.pending()
            );
            let over = job.state().is_ended();
            assert!(
                over == progress.ended_at.is_some(),
                "job {} is over: {over}, noted: {:?}",
                id.0,
                progress.ended_at
            );
            assert!(!over || progress.running == 0, "job {} is over and runs", id.0);
            let sum = progress.subsidy.0 + progress.copay.0;
            assert!(
                progress.gross.0 == sum,
                "job {} cost {} and was paid {sum}",
                id.0,
                progress.gross.0
            );
        }
    }

    fn check_references(&self) {
        let mut classes: BTreeMap<ClassId, u32> = BTreeMap::new();
        let mut scripts: BTreeMap<Digest, u32> = BTreeMap::new();
        for (_, job) in self.tables.jobs.iter() {
            *classes.entry(job.class).or_default() += 1;
            if let Some(script) = job.spec.script {
                *scripts.entry(script).or_default() += 1;
            }
        }
        let counted: BTreeMap<ClassId, u32> = self
            .tables
            .classes
            .iter()
            .map(|(id, class)| (ClassId(id as u32), class.jobs))
            .collect();
        assert!(
            counted == classes,
            "classes count jobs {counted:?}, there are {classes:?}"
        );
        let counted: BTreeMap<Digest, u32> = self
            .tables
            .scripts
            .iter()
            .map(|(digest, script)| (*digest, script.jobs))
            .collect();
        assert!(
            counted == scripts,
            "scripts count jobs {counted:?}, there are {scripts:?}"
        );
        for (id, _) in self.tables.attempts.iter() {
            assert!(self.job(id.job).is_some(), "{id:?} has no job");
        }
        for (key, _) in self.tables.requests.answers.iter() {
            let known = self.tables.principals.contains(key.principal().0.into()) || key.principal().0 == 0;
            assert!(known, "a request id of the unknown principal {}", key.principal().0);
        }
    }
}

fn emptied(host: &Host) -> Host {
    let inventory = HostInventory {
        name: host.name.clone(),
        cpu_milli: host.total.cpu_milli,
        memory_mib: host.total.memory_mib,
        gpus: host.gpus.iter().map(|gpu| gpu.model.clone()).collect(),
        generic: host
            .generic
            .iter()
            .map(|resource| (resource.name.clone(), resource.total))
            .collect(),
    };
    Host {
        online: host.online,
        awaited: host.awaited.clone(),
        ..Host::new(host.id, host.site, &inventory)
    }
}
