//! The leader's decisions, each judged again: time has passed since it was planned. Capacity, devices and the money hold are
//! taken in the same step; a stale decision costs only itself.

use hesuan_ledger::types::{HoldKey, Timestamp};
use hesuan_ledger::{HoldRequest, QuoteRequest};

use super::{Attempt, Host, State, gang};
use crate::command::Decision;
use crate::outcome::{Effect, Reply};
use crate::schedule::{self, COPAY_OVER_QUOTED, GpuNeed};
use crate::types::{Request, Resources, TaskId};

impl State {
    pub(super) fn take_decisions(&mut self, at: Timestamp, decisions: &[Decision], effects: &mut Vec<Effect>) -> Reply {
        let (mut taken, mut refused) = (0, 0);
        for decision in decisions {
            let verdict = self.place(at, decision, effects);
            match verdict {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
            effects.push(Effect::DecisionJudged {
                job: decision.job,
                task: decision.task,
                refused: verdict.err(),
            });
        }
        Reply::Counts { taken, refused }
    }

    fn place(&mut self, at: Timestamp, decision: &Decision, effects: &mut Vec<Effect>) -> Result<(), &'static str> {
        let job = self.job(decision.job).ok_or("UNKNOWN_JOB")?;
        if !job.is_pending(decision.task) {
            return Err("TASK_NOT_PENDING");
        }
        if job.waits().is_some_and(|waits| waits.until.is_some()) {
            return Err("NOT_BEFORE");
        }
        if job.waits().is_some_and(|waits| waits.close_all()) {
            return Err("DEPENDENCY");
        }
        let walltime_ms_max = self.request(job).walltime_ms_max;
        if job
            .spec
            .gates()
            .latest_start(walltime_ms_max)
            .is_some_and(|latest| at > latest)
        {
            return Err("DONE_BY");
        }
        if job.placeable() == 0 {
            return Err("ARRAY_PARALLEL_MAX");
        }
        let request = self.request(job).clone();
        gang::judge_shape(decision, request.nodes)?;
        let host = self
            .host(decision.host)
            .filter(|host| host.takes_work())
            .ok_or("HOST_GONE")?;
        let site = self.site(host.site).expect("a host has a site");
        if let Some(reason) = schedule::open(site, true).or_else(|| schedule::allowed(&request, site)) {
            return Err(reason.code());
        }
        if let Some(reason) = schedule::refused_by_owner(self, &request, site) {
            return Err(reason.code());
        }
        judge_capacity(host, &request.resources)?;
        let model = judge_devices(host, &request.resources, &decision.gpu_indices)?;
        let site = site.id;
        self.judge_others(decision, &request.resources, site, model.as_deref())?;

        let last = self
            .attempts(decision.job, decision.task)
            .take_while(|(id, _)| id.task == decision.task)
            .last();
        let task = TaskId {
            job: decision.job,
            task: decision.task,
            attempt: last.map_or(0, |(id, _)| id.attempt) + 1,
            restore_epoch: self.tables.meta.restore_epoch,
        };
        let key = HoldKey {
            job: task.job.0,
            task: task.task,
            attempt: task.attempt,
        };
        let request_for_hold = self.hold_request(key, &request, site, model.as_deref(), at);
        self.judge_quoted(&request, &request_for_hold, at)?;
        // The last check and the first change in one: the ledger refuses or holds, and nothing after it can fail.
        let hold = self
            .tables
            .ledger
            .hold(&request_for_hold, at)
            .map_err(|refused| refused.code())?;

        for (host, gpu_indices) in decision.places() {
            self.host_mut(host).reserve(&request.resources, gpu_indices);
        }
        self.count_begun(&request, at);
        let attempt = Attempt {
            site,
            host: decision.host,
            gpu_indices: decision.gpu_indices.clone().into(),
            others: decision.others.clone().into(),
            placed_at: at,
            started_at: None,
            hold,
            walltime_ms_max: request.walltime_ms_max,
            seq: 0,
            withdrawn: false,
            reclaimed: None,
            ended: None,
        };
        self.index.attempt_began(task, &attempt, &request);
        let before = self.tables.attempts.insert(task, attempt);
        assert!(before.is_none(), "an attempt number is given once");
        self.change_job(decision.job, |job| {
            let progress = job.progress_mut();
            progress.running += 1;
            if task.task >= progress.fresh_from {
                progress.returned.extend(progress.fresh_from..task.task);
                progress.fresh_from = task.task + 1;
            } else {
                progress.returned.remove(&task.task);
            }
        });
        effects.push(Effect::Assigned { site, task });
        effects.push(Effect::JobChanged(decision.job));
        Ok(())
    }
}

impl State {
    // What vouchers were to pay is not taken from the wallet instead. A binding quote that still lives is its own bound.
    fn judge_quoted(&self, request: &Request, hold: &HoldRequest, at: Timestamp) -> Result<(), &'static str> {
        let Some(most) = request.wallet_max.filter(|_| hold.quote.is_none()) else {
            return Ok(());
        };
        let bill = QuoteRequest {
            job: Some(hold.key.job),
            ..hold.request.clone()
        };
        let quote = self.tables.ledger.quote(&bill, at).map_err(|refused| refused.code())?;
        if quote.wallet > most {
            return Err(COPAY_OVER_QUOTED);
        }
        Ok(())
    }
}

pub(super) fn judge_capacity(host: &Host, need: &Resources) -> Result<(), &'static str> {
    if host.free.cpu_milli < need.cpu_milli {
        return Err("CAPACITY_CPU");
    }
    if host.free.memory_mib < need.memory_mib {
        return Err("CAPACITY_MEMORY");
    }
    let has = |(name, amount): &(Box<str>, u64)| host.generic(name).is_some_and(|resource| resource.free >= *amount);
    if need.generic.iter().all(has) {
        Ok(())
    } else {
        Err("CAPACITY_GENERIC")
    }
}

// The devices named: as many as needed, sorted, all of one accepted model, each with its share free.
pub(super) fn judge_devices(host: &Host, need: &Resources, indices: &[u32]) -> Result<Option<Box<str>>, &'static str> {
    let gpu = GpuNeed::of(need);
    if indices.len() != gpu.devices() || !indices.is_sorted_by(|a, b| a < b) {
        return Err("GPU_INDICES");
    }
    let mut model: Option<&str> = None;
    for index in indices {
        let device = host.gpus.get(*index as usize).ok_or("GPU_INDICES")?;
        if !schedule::accepts_model(need, &device.model) || model.is_some_and(|model| model != &*device.model) {
            return Err("GPU_MODEL");
        }
        if device.free_milli < gpu.milli_per_device() {
            return Err("CAPACITY_GPU");
        }
        model = Some(&device.model);
    }
    Ok(model.map(Box::from))
}
