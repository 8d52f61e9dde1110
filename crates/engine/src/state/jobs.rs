//! Commands about jobs: submit (checked whole, then queued), cancel. Binding quotes are in [`super::quotes`].

use std::sync::Arc;

use hesuan_ledger::types::{Fen, OrgId, Timestamp, VoucherId};
use sha2::{Digest as _, Sha256};

use super::access::{Kind, Scope, judge_scope};
use super::after::first_progress;
use super::job::Satisfiable;
use super::sites::check_reason;
use super::{Class, Job, Script, Spec, State};
use crate::command::SubmitJob;
use crate::outcome::{Effect, Rejection, RejectionKind, Reply};
use crate::types::{ClassId, Digest, Gates, JobId, Nodes, PrincipalId, Request, Resources, Retries};

/// Tasks of one array.
pub const TASKS_MAX: u32 = 100_000;
/// Priorities lie between minus this and this.
pub const PRIORITY_MAX: i32 = 1_000;
/// Attempts after a failure.
pub const RETRIES_MAX: u32 = 100;
const NAME_BYTES_MAX: usize = 128;
const PAYLOAD_BYTES_MAX: usize = 256 << 10;
const LABELS_MAX: usize = 32;
const LABEL_BYTES_MAX: usize = 256;
const LIST_MAX: usize = 64;
const AMOUNT_MAX: u64 = 1 << 40;

impl State {
    pub(super) fn submit_job(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        job: &SubmitJob,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        self.check_form(job)?;
        let mut request = self.resolve(principal, job)?;
        match job.quote {
            Some(quote) => self.take_up_quote(quote, &mut request, job, at)?,
            None => request.wallet_max = self.quoted_wallet(&request, at),
        }
        let waits = self.judge_gates(principal, job, at)?;
        self.check_room(job)?;
        let known = self.class_of(&request);
        let satisfiable = if job.quote.is_some() {
            None
        } else {
            Some(self.satisfiable(known, &request, at)?)
        };
        if job.validate_only {
            return Ok(Reply::Job(JobId(0)));
        }

        let class = known.unwrap_or_else(|| self.add_class(request));
        let script = job
            .script
            .as_ref()
            .map(|(digest, bytes)| self.keep_script(*digest, bytes));
        let record = self
            .tables
            .classes
            .get_mut(class.0.into())
            .expect("found or added above");
        record.jobs += 1;
        if let Some(satisfiable) = satisfiable
            && record.satisfiable != Some(satisfiable)
        {
            record.satisfiable = Some(satisfiable);
        }
        let request = record.request.clone();
        let job = Job {
            spec: Arc::new(spec_of(job, script)),
            class,
            submitter: principal,
            submitted_at: at,
            progress: waits.as_deref().and_then(|waits| first_progress(waits, job.tasks)),
            waits,
        };
        let id = JobId(self.tables.jobs.next_id());
        self.index.pending_total += u64::from(job.pending());
        self.index.requeue(id, &job, &request);
        let placeable = job.placeable() > 0;
        self.settle_ended(&job);
        self.tables.jobs.push(job);
        effects.push(Effect::JobChanged(id));
        if placeable {
            effects.push(Effect::ClassWoken(class));
        }
        Ok(Reply::Job(id))
    }

    pub(super) fn cancel_job(
        &mut self,
        principal: PrincipalId,
        at: Timestamp,
        id: JobId,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Rejection> {
        let Some(job) = self.job(id) else {
            let text = format!("no job {}; it may have ended and left for the archive", id.0);
            return Err(Rejection::not_found("UNKNOWN_JOB", "job_id", text));
        };
        judge_scope(self, principal, Kind::Cancel, Scope::Org(self.request(job).org))?;
        check_reason(reason)?;
        if job.state().is_ended() || job.progress().cancel_requested {
            return Ok(Reply::Job(id));
        }
        self.change_job(id, |job| {
            let pending = job.give_up_pending();
            let progress = job.progress_mut();
            progress.cancel_requested = true;
            progress.cancelled += pending;
        });
        let running = self.attempts(id, 0).filter(|(_, attempt)| attempt.is_running());
        effects.extend(running.map(|(task, attempt)| Effect::Withdrawn {
            site: attempt.site,
            task,
        }));
        self.close_if_over(id, at, effects);
        effects.push(Effect::JobChanged(id));
        Ok(Reply::Job(id))
    }

    /// What the job asks for, with names resolved and lists in order, so that equal requests are equal values.
    pub fn resolve(&self, principal: PrincipalId, job: &SubmitJob) -> Result<Request, Rejection> {
        let org = self.payer(principal, &job.org)?;
        judge_scope(self, principal, Kind::Submit, Scope::Org(org))?;
        let mut sites = Vec::with_capacity(job.sites.len());
        for name in &job.sites {
            sites.push(self.site_named(name, "spec.sites")?.id);
        }
        let mut regions = job.regions.clone();
        let mut resources = job.resources.clone();
        let mut funding = job.funding.clone();
        sort(&mut sites);
        sort(&mut regions);
        sort(&mut resources.gpu_models);
        resources.generic.sort();
        sort(&mut funding.vouchers);
        for voucher in &funding.vouchers {
            // Another's voucher gets the same answer as none.
            let held = self
                .ledger()
                .voucher(VoucherId(*voucher))
                .is_some_and(|known| known.holder == org);
            if !held {
                let text = format!(
                    "spec.funding.vouchers: this organisation holds no voucher {voucher}; `voucher list` shows those it has"
                );
                return Err(Rejection::not_found("UNKNOWN_VOUCHER", "spec.funding.vouchers", text));
            }
        }
        Ok(Request {
            org,
            priority: job.priority,
            resources,
            nodes: job.nodes,
            walltime_ms_max: job.walltime_ms_max,
            sites,
            regions,
            funding,
            on_site_lost: job.on_site_lost,
            objective: job.objective,
            quote: None,
            wallet_max: None,
        })
    }

    fn payer(&self, principal: PrincipalId, name: &str) -> Result<OrgId, Rejection> {
        if !name.is_empty() {
            return self.org_by_name(name, "spec.org");
        }
        let own = self.principal(principal).and_then(|principal| principal.org);
        own.ok_or_else(|| {
            Rejection::invalid(
                "ORG_MISSING",
                "spec.org",
                "the principal has no org; name the one that pays",
            )
        })
    }

    /// Form and bounds; names are not looked at.
    pub(super) fn check_form(&self, job: &SubmitJob) -> Result<(), Rejection> {
        let limits = &self.tables.limits;
        check_range("spec.name", job.name.len() as u64, 0, NAME_BYTES_MAX as u64, "bytes")?;
        check_range(
            "spec.payload",
            job.payload.len() as u64,
            0,
            PAYLOAD_BYTES_MAX as u64,
            "bytes",
        )?;
        check_range("spec.array_count", job.tasks.into(), 1, TASKS_MAX.into(), "tasks")?;
        check_range(
            "spec.walltime_ms_max",
            job.walltime_ms_max,
            1,
            limits.walltime_ms_max,
            "ms",
        )?;
        check_range(
            "spec.retries_max",
            job.retries_max.into(),
            0,
            RETRIES_MAX.into(),
            "retries",
        )?;
        let Retries {
            time_limit,
            site_lost,
            agent_fault,
        } = job.retries;
        for (field, given) in [
            ("spec.retry.time_limit", time_limit),
            ("spec.retry.site_lost", site_lost.unwrap_or(0)),
            ("spec.retry.agent_fault", agent_fault),
        ] {
            check_range(field, given.into(), 0, RETRIES_MAX.into(), "retries")?;
        }
        if job.priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs() {
            let text = format!(
                "priority is {}; it lies between -{PRIORITY_MAX} and {PRIORITY_MAX}",
                job.priority
            );
            return Err(Rejection::invalid("OUT_OF_RANGE", "spec.priority", text));
        }
        check_range("spec.sites", job.sites.len() as u64, 0, LIST_MAX as u64, "sites")?;
        check_range("spec.regions", job.regions.len() as u64, 0, LIST_MAX as u64, "regions")?;
        check_range(
            "spec.funding.vouchers",
            job.funding.vouchers.len() as u64,
            0,
            LIST_MAX as u64,
            "vouchers",
        )?;
        check_range("spec.labels", job.labels.len() as u64, 0, LABELS_MAX as u64, "labels")?;
        for (key, value) in &job.labels {
            check_range(
                "spec.labels",
                (key.len() + value.len()) as u64,
                1,
                LABEL_BYTES_MAX as u64,
                "bytes",
            )?;
        }
        if job.funding.wallet_only && !job.funding.vouchers.is_empty() {
            let text = "wallet_only is set and vouchers are named; leave one out";
            return Err(Rejection::invalid("FUNDING_CONFLICT", "spec.funding", text));
        }
        if job.funding.copay_max.is_some_and(|max| max < Fen::ZERO) {
            let text = "copay_fen_max is below 0";
            return Err(Rejection::invalid("OUT_OF_RANGE", "spec.funding.copay_fen_max", text));
        }
        check_resources(&job.resources)?;
        check_range("spec.nodes", job.nodes.count().into(), 1, Nodes::MAX.into(), "hosts")?;
        if let Some((digest, bytes)) = &job.script {
            check_range("spec.script", bytes.len() as u64, 1, limits.script_bytes_max, "bytes")?;
            let known = self.tables.scripts.contains_key(digest);
            if !known && Digest::from(Sha256::digest(bytes)) != *digest {
                return Err(Rejection::invalid(
                    "SCRIPT_DIGEST",
                    "spec.script",
                    "the digest is not that of the script",
                ));
            }
        }
        Ok(())
    }

    fn check_room(&self, job: &SubmitJob) -> Result<(), Rejection> {
        let limits = &self.tables.limits;
        let full = |code, text| Err(Rejection::new(RejectionKind::Exhausted, code, "", text));
        if self.tables.jobs.len() as u64 >= limits.jobs_max {
            return full(
                "JOBS_FULL",
                format!(
                    "the cluster holds {} jobs and takes no more; retry later",
                    limits.jobs_max
                ),
            );
        }
        if self.tables.classes.next_id() >= u32::MAX.into() {
            return full(
                "CLASSES_FULL",
                "no numbers are left for new kinds of requests".to_owned(),
            );
        }
        if let Some((digest, bytes)) = &job.script
            && !self.tables.scripts.contains_key(digest)
            && self.index.script_bytes + bytes.len() as u64 > limits.scripts_bytes_max_total
        {
            let text = format!(
                "scripts may take {} bytes in all; retry later",
                limits.scripts_bytes_max_total
            );
            return full("SCRIPTS_FULL", text);
        }
        Ok(())
    }

    // The verdict is kept with the class: it stands while the rules stand and the wallet alone could pay the list price.
    fn satisfiable(&self, class: Option<ClassId>, request: &Request, at: Timestamp) -> Result<Satisfiable, Rejection> {
        let rules_version = self.tables.meta.rules_version;
        let kept = class.and_then(|class| self.tables.class(class).satisfiable);
        if let Some(kept) = kept
            && kept.rules_version == rules_version
            && request.funding.copay_max.is_none()
            && request.funding.vouchers.is_empty()
            && self
                .tables
                .ledger
                .org(request.org)
                .is_some_and(|org| org.available >= kept.gross)
        {
            return Ok(kept);
        }
        let gross = self.first_that_could(request, at)?;
        Ok(Satisfiable { rules_version, gross })
    }

    fn add_class(&mut self, request: Request) -> ClassId {
        let request = Arc::new(request);
        let class = Class {
            request: request.clone(),
            jobs: 0,
            satisfiable: None,
        };
        let number = u32::try_from(self.tables.classes.next_id()).expect("checked with the room");
        self.index.quotes.extend(request.quote);
        self.tables.classes.push(class);
        self.index.classes.insert(request, ClassId(number));
        ClassId(number)
    }

    fn keep_script(&mut self, digest: Digest, bytes: &[u8]) -> Digest {
        match self.tables.scripts.get_mut(&digest) {
            Some(script) => script.jobs += 1,
            None => {
                self.index.script_bytes += bytes.len() as u64;
                self.tables.scripts.insert(
                    digest,
                    Script {
                        bytes: bytes.into(),
                        jobs: 1,
                    },
                );
            }
        }
        digest
    }

    /// Takes an ended job and its last attempts out, and with the last job its class and script.
    pub(super) fn forget_job(&mut self, id: JobId) {
        let job = self.tables.jobs.remove(id.0).expect("the caller has it");
        let ended_at = job.progress().ended_at.expect("only ended jobs leave");
        assert!(self.index.ended.remove(&(ended_at, id)), "an ended job is in the index");
        let class = self
            .tables
            .classes
            .get_mut(job.class.0.into())
            .expect("a class stays while a job names it");
        class.jobs -= 1;
        if class.jobs == 0 {
            let class = self.tables.classes.remove(job.class.0.into()).expect("found above");
            self.index.classes.remove(&class.request);
            if let Some(quote) = class.request.quote {
                self.index.quotes.remove(&quote);
            }
        }
        if let Some(digest) = job.spec.script {
            let script = self
                .tables
                .scripts
                .get_mut(&digest)
                .expect("a script stays while a job names it");
            script.jobs -= 1;
            if script.jobs == 0 {
                self.index.script_bytes -= script.bytes.len() as u64;
                self.tables.scripts.remove(&digest);
            }
        }
    }
}

fn spec_of(job: &SubmitJob, script: Option<Digest>) -> Spec {
    Spec {
        name: job.name.clone(),
        payload: job.payload.clone(),
        script,
        tasks: job.tasks,
        array: job.array,
        parallel_max: job.parallel_max,
        retries_max: job.retries_max,
        retries: job.retries,
        labels: job.labels.clone().into(),
        gates: (job.gates != Gates::NONE).then(|| Box::new(job.gates.clone())),
    }
}

fn check_resources(need: &Resources) -> Result<(), Rejection> {
    check_range("spec.resources.cpu_milli", need.cpu_milli, 1, AMOUNT_MAX, "milli-cores")?;
    check_range("spec.resources.memory_mib", need.memory_mib, 1, AMOUNT_MAX, "MiB")?;
    check_range("spec.resources.gpu_milli", need.gpu_milli, 0, 1_000_000, "milli-GPUs")?;
    if need.gpu_milli > 1000 && !need.gpu_milli.is_multiple_of(1000) {
        let text = format!(
            "gpu_milli is {}; above 1000 it must be a multiple of 1000",
            need.gpu_milli
        );
        return Err(Rejection::invalid("GPU_SHARE", "spec.resources.gpu_milli", text));
    }
    if need.gpu_milli == 0 && !need.gpu_models.is_empty() {
        let text = "gpu models are named but gpu_milli is 0";
        return Err(Rejection::invalid("GPU_SHARE", "spec.resources.gpu_models", text));
    }
    check_range(
        "spec.resources.gpu_models",
        need.gpu_models.len() as u64,
        0,
        LIST_MAX as u64,
        "models",
    )?;
    check_range(
        "spec.resources.generic",
        need.generic.len() as u64,
        0,
        LIST_MAX as u64,
        "resources",
    )?;
    for model in &need.gpu_models {
        check_range("spec.resources.gpu_models", model.len() as u64, 1, 64, "bytes")?;
    }
    for (place, (name, amount)) in need.generic.iter().enumerate() {
        check_range("spec.resources.generic", name.len() as u64, 1, 64, "bytes")?;
        check_range("spec.resources.generic", *amount, 1, AMOUNT_MAX, "units")?;
        if need.generic[..place].iter().any(|(other, _)| other == name) {
            let text = format!("resource {name:?} is asked for twice");
            return Err(Rejection::invalid("RESOURCE_TWICE", "spec.resources.generic", text));
        }
    }
    Ok(())
}

fn check_range(field: &str, given: u64, min: u64, max: u64, unit: &str) -> Result<(), Rejection> {
    if (min..=max).contains(&given) {
        return Ok(());
    }
    let text = format!("{field} is {given} {unit}; allowed are {min} to {max}");
    Err(Rejection::invalid("OUT_OF_RANGE", field, text))
}

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}
