//! Jobs that run after other jobs. Only jobs that were submitted before may be named, so there are no cycles. The end of a job is told
//! to those that wait for it by the tick, a bounded number each time, and it stays in State until all know; the end of one task of
//! an array is told at once to the few arrays that follow it element by element. Told once, it is forgotten: nobody asks again.

use std::fmt;

use hesuan_ledger::types::{OrgId, Timestamp};

use super::access::{Kind, Scope, may_read};
use super::bits::Bits;
use super::gates::GATES_STEP;
use super::{Job, JobState, Progress, State};
use crate::command::SubmitJob;
use crate::outcome::{Effect, Rejection, RejectionKind};
use crate::types::{After, Dependency, JobId, PrincipalId};

/// Jobs that one job may wait for.
pub const DEPENDENCIES_MAX: usize = 64;
/// Arrays that may follow one array element by element: each of its tasks tells them all as it ends.
pub const FOLLOWERS_MAX: usize = 16;

/// A job that another waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Which, and how it has to end.
    pub(super) on: Dependency,
    /// Which tasks still wait for theirs of that job; `None` = all tasks wait for the whole of it.
    pub(super) elements: Option<Elements>,
}

/// Tasks that wait for the task of the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elements {
    pub(super) held: Bits,
    /// From here on it was not looked at yet which of those had ended already when this job was submitted.
    pub(super) scan_from: Option<u32>,
}

/// A dependency that did not come true: why tasks of a job were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Of them the first.
    pub on: Dependency,
    /// The task that decided it, if it was element by element.
    pub task: Option<u32>,
}

impl Wait {
    /// The job it waits for, and how that has to end.
    #[must_use]
    pub fn on(&self) -> Dependency {
        self.on
    }

    /// How many tasks wait for theirs; `None` = all for the whole job.
    #[must_use]
    pub fn elements(&self) -> Option<u32> {
        self.elements.as_ref().map(|elements| elements.held.count())
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = match self.after {
            After::Ok => "after-ok",
            After::Any => "after-any",
            After::NotOk => "after-not-ok",
        };
        let elements = if self.per_element { "[*]" } else { "" };
        write!(f, "{after} {}{elements}", self.job.0)
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unmet { on, task } = self;
        write!(f, "{on}: job {}", on.job.0)?;
        if let Some(task) = task {
            write!(f, "[{task}]")?;
        }
        f.write_str(match on.after {
            After::NotOk => " ended well",
            After::Ok | After::Any => " did not end well",
        })
    }
}

impl Dependency {
    /// Whether the end of what it names is what it asks for.
    fn is_met(self, ended_well: bool) -> bool {
        match self.after {
            After::Ok => ended_well,
            After::Any => true,
            After::NotOk => !ended_well,
        }
    }
}

/// A job that is named at submit, in State or from the archive.
struct Named {
    org: Option<OrgId>,
    tasks: u32,
    succeeded: u32,
    /// `None` while it goes on.
    ended: Option<JobState>,
    /// What became of each task is known.
    whole: bool,
    /// Nothing of it was ever placed.
    untouched: bool,
}

impl State {
    /// What a job submitted now has to wait for; of those that have ended already nothing, or a refusal.
    pub(super) fn judge_after(&self, principal: PrincipalId, job: &SubmitJob) -> Result<Vec<Wait>, Rejection> {
        let after = &job.gates.after;
        if after.len() > DEPENDENCIES_MAX {
            let text = format!(
                "spec.after names {} jobs, allowed are {DEPENDENCIES_MAX}: let a job in between wait for some of them",
                after.len()
            );
            return Err(Rejection::invalid("OUT_OF_RANGE", "spec.after", text));
        }
        let mut waits = Vec::with_capacity(after.len());
        for (place, on) in after.iter().enumerate() {
            let field = format!("spec.after[{place}]");
            if after[..place].iter().any(|other| other.job == on.job) {
                let text = format!("{field} names job {} a second time: name it once", on.job.0);
                return Err(Rejection::invalid("DEPENDENCY_TWICE", &field, text));
            }
            let named = self.named(principal, *on, job, &field)?;
            waits.extend(self.judge_named(*on, &named, job, &field)?);
        }
        Ok(waits)
    }

    fn named(&self, principal: PrincipalId, on: Dependency, job: &SubmitJob, field: &str) -> Result<Named, Rejection> {
        let unknown = || {
            let text = format!(
                "{field}: no job {} of an organisation whose jobs you may see; a job runs after jobs that were submitted before it, so none \
                 can wait for itself. If it has ended just now, send the request again",
                on.job.0
            );
            Rejection::not_found("UNKNOWN_JOB", &format!("{field}.job_id"), text)
        };
        let named = match self.job(on.job) {
            Some(found) => Named {
                org: Some(self.request(found).org),
                tasks: found.spec.tasks,
                succeeded: found.progress().succeeded,
                ended: Some(found.state()).filter(|state| state.is_ended()),
                whole: found.progress().archived_parts == 0,
                untouched: found.progress.is_none(),
            },
            None => {
                // What is in the archive has ended; a number that was never given is in none.
                let given = on.job.0 < self.tables.jobs.next_id();
                let found = job.archived.iter().find(|one| given && one.job == on.job);
                let found = found.ok_or_else(unknown)?;
                Named {
                    org: self.tables.ledger.org_by_name(&found.org).map(|org| org.id),
                    tasks: found.tasks,
                    succeeded: found.succeeded,
                    ended: Some(found.state),
                    whole: false,
                    untouched: false,
                }
            }
        };
        let seen = named
            .org
            .is_some_and(|org| may_read(self, principal, Kind::ReadJobs, Scope::Org(org)));
        if seen { Ok(named) } else { Err(unknown()) }
    }

    fn judge_named(
        &self,
        on: Dependency,
        named: &Named,
        job: &SubmitJob,
        field: &str,
    ) -> Result<Option<Wait>, Rejection> {
        let id = on.job.0;
        if on.per_element && named.tasks != job.tasks {
            let text = format!(
                "{field}: job {id} has {} tasks and this one {}; element by element both have as many: submit an array of {}, or wait for \
                 the whole of it",
                named.tasks, job.tasks, named.tasks
            );
            return Err(Rejection::invalid("DEPENDENCY_ELEMENTS", field, text));
        }
        let elements = |scan_from| {
            let held = Bits::all(job.tasks);
            on.per_element.then_some(Elements { held, scan_from })
        };
        let Some(ended) = named.ended else {
            if on.per_element && self.index.followers(on.job).nth(FOLLOWERS_MAX - 1).is_some() {
                let text = format!(
                    "{field}: {FOLLOWERS_MAX} arrays follow job {id} element by element already, and no more may: wait for the whole of it, \
                     or follow one of those"
                );
                return Err(Rejection::new(RejectionKind::Exhausted, "FOLLOWERS_FULL", field, text));
            }
            let elements = elements((!named.untouched).then_some(0));
            return Ok(Some(Wait { on, elements }));
        };
        let unmet = |how: &str| {
            let text =
                format!("{field} ({on}): job {id} ended as {ended:?}, so {how}: leave it out, or ask for after-any");
            Err(Rejection::precondition("DEPENDENCY_UNMET", field, text))
        };
        let alike = named.succeeded == 0 || named.succeeded == named.tasks;
        match on.per_element {
            false if on.is_met(ended == JobState::Succeeded) => Ok(None),
            false => unmet("this one would never run"),
            true if on.after == After::Any => Ok(None),
            true if alike && on.is_met(named.succeeded > 0) => Ok(None),
            true if alike => unmet("no task of this one would ever run"),
            true if named.whole => Ok(Some(Wait {
                on,
                elements: elements(None),
            })),
            true => unmet(
                "some of its tasks ended well and some did not, and it has left for the archive, where State does not look",
            ),
        }
    }

    /// Tells of ends that some job waits for, a bounded number of jobs and tasks.
    pub(super) fn tell_dependents(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        let mut left = GATES_STEP;
        while left > 0 {
            let Some(&ended) = self.index.settling.first() else {
                break;
            };
            let dependent = self
                .index
                .dependents(ended)
                .next()
                .expect("it settles while somebody waits");
            left = left.saturating_sub(self.tell_end(ended, dependent, left, at, effects));
        }
        while left > 0 {
            let Some(&dependent) = self.index.scans.first() else {
                break;
            };
            left = left.saturating_sub(self.scan(dependent, left, at, effects));
        }
    }

    /// There is more to tell.
    pub(super) fn has_to_tell(&self) -> bool {
        !self.index.settling.is_empty() || !self.index.scans.is_empty()
    }

    /// Tells one job of the end of another, of at most `most` elements. Gives the work done.
    fn tell_end(
        &mut self,
        ended: JobId,
        dependent: JobId,
        most: usize,
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let wait = self.wait(dependent, ended);
        let on = wait.on;
        if let Some(elements) = &wait.elements {
            let told: Vec<(u32, bool)> = elements
                .held
                .from(0)
                .take(most)
                .map(|task| (task, self.is_over_well(ended, task).unwrap_or(false)))
                .collect();
            self.tell_elements(dependent, on, &told, None, at, effects);
            return told.len() + 1;
        }
        let well = self.job(ended).is_some_and(|job| job.state() == JobState::Succeeded);
        if on.is_met(well) {
            self.open(dependent, effects, |waits| waits.on.retain(|wait| wait.on.job != ended));
        } else {
            self.change_job(dependent, |job| {
                let pending = job.give_up_pending();
                let progress = job.progress_mut();
                progress.cancelled += pending;
                progress.unmet.get_or_insert(Unmet { on, task: None });
            });
            self.close_if_over(dependent, at, effects);
            effects.push(Effect::JobChanged(dependent));
        }
        1
    }

    /// Looks at which tasks of a job that goes on had ended before `dependent` was submitted, at most `most`. Gives the work done.
    fn scan(&mut self, dependent: JobId, most: usize, at: Timestamp, effects: &mut Vec<Effect>) -> usize {
        let waits = &self.job(dependent).and_then(Job::waits).expect("the index says so").on;
        let unscanned = |wait: &&Wait| wait.elements.as_ref().is_some_and(|one| one.scan_from.is_some());
        let wait = waits.iter().find(unscanned).expect("the index says so");
        let (on, elements) = (wait.on, wait.elements.as_ref().expect("found by it"));
        let from = elements.scan_from.expect("found by it");
        let mut ahead = elements.held.from(from);
        let looked: Vec<u32> = ahead.by_ref().take(most).collect();
        let next = ahead.next();
        drop(ahead);
        let told: Vec<(u32, bool)> = looked
            .iter()
            .filter_map(|task| Some((*task, self.is_over_well(on.job, *task)?)))
            .collect();
        self.tell_elements(dependent, on, &told, Some(next), at, effects);
        looked.len() + 1
    }

    /// A task of an array is over: tells the arrays that follow it. A task that is given up before it was ever placed is told of with
    /// the end of its job.
    pub(super) fn tell_followers(
        &mut self,
        ended: JobId,
        task: u32,
        well: bool,
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let followers: Vec<JobId> = self.index.followers(ended).collect();
        for follower in followers {
            let on = self.wait(follower, ended).on;
            self.tell_elements(follower, on, &[(task, well)], None, at, effects);
        }
    }

    /// Lets go of tasks whose own of `on` ended as asked, and gives the others up. `scanned`: where to scan on from, if it was a scan.
    fn tell_elements(
        &mut self,
        dependent: JobId,
        on: Dependency,
        told: &[(u32, bool)],
        scanned: Option<Option<u32>>,
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let mut changed = false;
        self.change_job(dependent, |job| {
            let mut waits = job.waits.take().expect("it waits for elements");
            let progress = job.progress_mut();
            for (task, well) in told {
                let elements = waits.elements_mut(on.job).expect("it waits for elements of this one");
                if !elements.held.take(*task) {
                    continue;
                }
                changed = true;
                if !on.is_met(*well) {
                    waits.let_go(*task);
                    progress.cancelled += 1;
                    let task = Some(*task);
                    progress.unmet.get_or_insert(Unmet { on, task });
                } else if !waits.holds(*task) {
                    waits.held -= 1;
                    progress.returned.insert(*task);
                }
            }
            if let Some(next) = scanned {
                let elements = waits.elements_mut(on.job).expect("it waits for elements of this one");
                elements.scan_from = next;
            }
            waits.on.retain(|wait| wait.elements() != Some(0));
            job.waits = waits.is_closed().then_some(waits);
        });
        if !changed {
            return;
        }
        self.close_if_over(dependent, at, effects);
        effects.push(Effect::JobChanged(dependent));
        let job = self.job(dependent).expect("just changed");
        if job.placeable() > 0 {
            effects.push(Effect::ClassWoken(job.class));
        }
    }

    fn wait(&self, dependent: JobId, on: JobId) -> &Wait {
        let waits = self.job(dependent).and_then(Job::waits);
        waits
            .and_then(|waits| waits.on.iter().find(|wait| wait.on.job == on))
            .expect("the index names jobs that wait")
    }

    /// Whether a task ended well; `None` while it is not over.
    fn is_over_well(&self, id: JobId, task: u32) -> Option<bool> {
        let job = self.job(id)?;
        if job.is_pending(task) || job.waits().is_some_and(|waits| waits.holds(task)) {
            return None;
        }
        let last = self.attempts(id, task).take_while(|(id, _)| id.task == task).last();
        match last {
            Some((_, attempt)) if attempt.is_running() => None,
            Some((_, attempt)) => Some(attempt.state() == JobState::Succeeded),
            // Given up before it was ever placed.
            None => Some(false),
        }
    }
}

/// Where a job with such waits begins: tasks that wait for their own are none of those that follow each other.
pub(super) fn first_progress(waits: &super::Waits, tasks: u32) -> Option<Box<Progress>> {
    (waits.held > 0).then(|| {
        Box::new(Progress {
            fresh_from: tasks,
            ..Progress::NONE
        })
    })
}
