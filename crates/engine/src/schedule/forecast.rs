//! When those who wait will start, as far as can be told: a coarse look ahead that rolls on a little with every pass, and how
//! such estimates came true. Nothing is decided by it. What runs is taken to end when its payer's last work of the kind did, a site
//! to be one pile of cores, memory and devices, and classes to start in their order.

use std::collections::{BTreeMap, HashMap};

use super::class::{Rank, Standing};
use super::ends::EndKey;
use super::planner::Planner;
use super::time::longer_ms;
use super::turns::kind_of;
use crate::state::State;
use crate::types::{ClassId, JobId, Request, Resources, SiteId, TaskId, Timestamp};

/// A new look ahead begins so long after the last did, at the earliest.
const RENEW_MS: u64 = 5_000;
/// Running attempts looked at a pass, so that no pass is long.
const ENDS_A_PASS: usize = 200;
/// Running attempts of a site looked at; what the others have comes free with the last of these.
const ENDS_MAX: usize = 2_000;
/// Classes looked at a pass.
const CLASSES_A_PASS: usize = 16;
/// Classes looked ahead for; nothing is said of those behind them.
const CLASSES_MAX: usize = 1_000;
/// Jobs of a class counted before one; those behind it are expected with the last.
const COUNTED_MAX: usize = 4_000;
/// Estimates remembered until they come true.
const REMEMBERED_MAX: usize = 4_096;
/// Steps of time: sixteen of a minute, then eight to each doubling, up to some 45 days.
const STEPS: usize = 16 + 8 * 12;

/// Amounts of cores (thousandths), memory (MiB) and devices (thousandths).
type Pile = [u64; 3];

/// When something is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The start; never in the past.
    pub start: Timestamp,
    /// How old the look ahead is that says so, milliseconds.
    pub age_ms: u64,
}

/// How estimates of starts came true. An estimate counts once, the first that could be given of a job, when its first task is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Jobs that started no later than estimated, by how much: within each of [`Accuracy::BOUNDS_MS`], and beyond the last.
    pub early: [u64; 6],
    /// Jobs that started later.
    pub late: [u64; 6],
    /// How long all of them waited after their estimate, milliseconds.
    pub waited_ms: u64,
    /// By how much the estimates were off, either way, milliseconds.
    pub off_ms: u64,
}

impl Accuracy {
    /// Upper bounds of how far an estimate was off.
    pub const BOUNDS_MS: [u64; 5] = [60_000, 300_000, 900_000, 3_600_000, 14_400_000];

    /// Estimates that have come true or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.early.iter().chain(&self.late).sum()
    }

    fn note(&mut self, estimated: Timestamp, said_at: Timestamp, started: Timestamp) {
        let off_ms = started.0.abs_diff(estimated.0);
        let bound = Self::BOUNDS_MS.partition_point(|bound| *bound < off_ms);
        let side = if started > estimated {
            &mut self.late
        } else {
            &mut self.early
        };
        side[bound] += 1;
        self.off_ms = self.off_ms.saturating_add(off_ms);
        self.waited_ms = self.waited_ms.saturating_add(started.0.saturating_sub(said_at.0));
    }
}

/// The look ahead: the last one that was finished, and the one in the making.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    finished: Option<Finished>,
    making: Option<Making>,
    remembered: HashMap<JobId, (Timestamp, Timestamp)>,
    pub(super) accuracy: Accuracy,
}

#[derive(Debug)]
struct Finished {
    made_at: Timestamp,
    /// When it was begun: its first step.
    began_at: Timestamp,
    sites: BTreeMap<SiteId, Steps>,
    classes: HashMap<ClassId, Starts>,
}

/// When the jobs of a class start.
#[derive(Clone, Copy, Debug)]
struct Starts {
    first: Timestamp,
    /// Each further job so much after the one before.
    each_ms: u64,
}

#[derive(Debug)]
struct Making {
    began_at: Timestamp,
    sites: BTreeMap<SiteId, Steps>,
    /// Sites whose running attempts are still to be looked at; the last one from where, after how many.
    ends_of: Vec<(SiteId, Option<EndKey>, usize)>,
    /// In reverse order; `None` = not listed yet.
    ranks: Option<Vec<Rank>>,
    classes: HashMap<ClassId, Starts>,
}

/// What a site has free in each step of time.
#[derive(Clone, Debug)]
struct Steps {
    free: Vec<Pile>,
    /// What runs and has not been looked at yet.
    unseen: Pile,
}

fn step_ms(step: usize) -> u64 {
    if step <= 16 {
        return step as u64 * 60_000;
    }
    let (doubling, eighth) = ((step - 16) / 8, (step - 16) % 8);
    ((16 << doubling) + ((eighth as u64) << doubling) * 2) * 60_000
}

/// The first step that begins no earlier than so long after the first.
fn step_at(after_ms: u64) -> usize {
    let (mut low, mut high) = (0, STEPS);
    while low < high {
        let middle = usize::midpoint(low, high);
        if step_ms(middle) < after_ms {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Of one host.
fn pile(resources: &Resources) -> Pile {
    [resources.cpu_milli, resources.memory_mib, resources.gpu_milli]
}

/// Of all hosts of a task.
fn pile_of(request: &Request) -> Pile {
    pile(&request.resources).map(|amount| amount.saturating_mul(request.nodes.count().into()))
}

impl Steps {
    /// Something comes free at an instant after the first step, for ever.
    fn gain(&mut self, after_ms: u64, amounts: Pile) {
        for (unseen, amount) in self.unseen.iter_mut().zip(amounts) {
            *unseen = unseen.saturating_sub(amount);
        }
        for free in &mut self.free[step_at(after_ms).min(STEPS - 1)..] {
            free.iter_mut().zip(amounts).for_each(|(free, amount)| *free += amount);
        }
    }

    /// The first step not before `from` at which so much is free for so long.
    fn earliest(&self, from: usize, duration_ms: u64, amounts: &Pile) -> Option<usize> {
        let is_short = |step: &usize| self.free[*step].iter().zip(amounts).any(|(free, amount)| free < amount);
        let mut step = from;
        while step < STEPS {
            let until = step_at(step_ms(step).saturating_add(duration_ms)).max(step + 1);
            match (step..until.min(STEPS)).rfind(is_short) {
                Some(short) => step = short + 1,
                None => return Some(step),
            }
        }
        None
    }

    /// How many times so much is free at a step.
    fn times(&self, step: usize, amounts: &Pile) -> u64 {
        let each = self.free[step].iter().zip(amounts).filter(|(_, amount)| **amount > 0);
        each.map(|(free, amount)| free / amount)
            .min()
            .unwrap_or(u64::MAX)
            .max(1)
    }

    fn take(&mut self, step: usize, duration_ms: u64, amounts: &Pile, times: u64) {
        let until = step_at(step_ms(step).saturating_add(duration_ms)).max(step + 1);
        for free in &mut self.free[step..until.min(STEPS)] {
            for (free, amount) in free.iter_mut().zip(amounts) {
                *free = free.saturating_sub(amount.saturating_mul(times));
            }
        }
    }
}

impl Forecast {
    fn expect(&self, now: Timestamp, start: impl FnOnce(&Finished) -> Option<u64>) -> Option<Expected> {
        let finished = self.finished.as_ref()?;
        Some(Expected {
            start: Timestamp(start(finished)?).max(now),
            age_ms: now.0.saturating_sub(finished.made_at.0),
        })
    }
}

impl Planner {
    /// How estimates of starts came true since the planner was reset.
    #[must_use]
    pub fn accuracy(&self) -> &Accuracy {
        &self.forecast.accuracy
    }

    /// When the first task of a waiting job starts. `None` if nothing is known yet, or it waits too far behind.
    #[must_use]
    pub fn expected_start(&self, state: &State, id: JobId, now: Timestamp) -> Option<Expected> {
        let job = state.job(id).filter(|job| job.placeable() > 0)?;
        let pending = state.pending_jobs(job.class, JobId(0)).take(COUNTED_MAX);
        let before = pending.take_while(|(other, _)| *other < id).count();
        self.forecast.expect(now, |finished| {
            let starts = finished.classes.get(&job.class)?;
            let later_ms = starts.each_ms.saturating_mul(before as u64);
            Some(starts.first.0.saturating_add(later_ms))
        })
    }

    /// When a request would start at a site if it were submitted now, behind all who wait, and did not fit at once.
    #[must_use]
    pub fn expected_start_at(
        &self,
        state: &State,
        request: &Request,
        site: SiteId,
        now: Timestamp,
    ) -> Option<Expected> {
        let expected_ms = self.turns.predictor.expect_ms(&kind_of(state, request));
        self.forecast.expect(now, |finished| {
            let steps = finished.sites.get(&site)?;
            let step = steps.earliest(0, expected_ms, &pile_of(request))?;
            Some(finished.began_at.0 + step_ms(step))
        })
    }

    /// A task was placed: what was estimated of its job has come true, or not.
    pub(super) fn note_start(&mut self, state: &State, task: TaskId) {
        if let Some((estimated, said_at)) = self.forecast.remembered.remove(&task.job)
            && let Some(attempt) = state.attempt(task)
        {
            self.forecast.accuracy.note(estimated, said_at, attempt.placed_at);
        }
    }

    /// Looks a little further ahead.
    pub(super) fn roll_forecast(&mut self, state: &State) {
        let now = self.planned_at;
        let Some(mut making) = self.forecast.making.take() else {
            let finished = self.forecast.finished.as_ref();
            if finished.is_none_or(|finished| now.0 >= finished.began_at.0.saturating_add(RENEW_MS)) {
                self.forecast.making = Some(self.begin_forecast(state));
            }
            return;
        };
        if !making.ends_of.is_empty() {
            self.look_at_ends(state, &mut making);
        } else if let Some(ranks) = &mut making.ranks {
            let first = ranks.len().saturating_sub(CLASSES_A_PASS);
            for rank in ranks.split_off(first).into_iter().rev() {
                self.look_at_class(state, &mut making, rank.3);
            }
            if making.ranks.as_ref().is_some_and(Vec::is_empty) {
                self.finish_forecast(state, making);
                return;
            }
        } else {
            making.ranks = Some(self.ranks_ahead(state));
        }
        self.forecast.making = Some(making);
    }

    fn begin_forecast(&self, state: &State) -> Making {
        let mut sites = BTreeMap::new();
        for (id, view) in self.view.sites.iter().filter(|(id, _)| self.open.contains(id)) {
            let (mut free, mut total) = ([0; 3], [0; 3]);
            for slot in view.hosts.slots.iter().filter(|slot| slot.open) {
                free[0] += slot.cpu_milli;
                free[1] += slot.memory_mib;
                free[2] += slot.devices.iter().map(|(_, free)| u64::from(*free)).sum::<u64>();
                if let Some(host) = state.host(slot.id) {
                    total[0] += host.total.cpu_milli;
                    total[1] += host.total.memory_mib;
                    total[2] += 1000 * host.gpus.len() as u64;
                }
            }
            let unseen = std::array::from_fn(|kind| u64::saturating_sub(total[kind], free[kind]));
            let free = vec![free; STEPS];
            sites.insert(*id, Steps { free, unseen });
        }
        Making {
            began_at: self.planned_at,
            ends_of: sites.keys().map(|id| (*id, None, 0)).collect(),
            sites,
            ranks: None,
            classes: HashMap::new(),
        }
    }

    fn look_at_ends(&self, state: &State, making: &mut Making) {
        let Some((site, from, seen)) = making.ends_of.pop() else {
            return;
        };
        let Some(steps) = making.sites.get_mut(&site) else {
            return;
        };
        let (mut last, mut after_ms, mut looked_at) = (None, 0, 0);
        for (key, _) in self.ends.from(site, from).take(ENDS_A_PASS) {
            (last, looked_at) = (Some(key), looked_at + 1);
            let Some((attempt, job)) = state.attempt(key.2).zip(state.job(key.2.job)) else {
                continue;
            };
            let request = state.request(job);
            let run_ms = making.began_at.0.saturating_sub(attempt.placed_at.0);
            let expected_ms = self.turns.predictor.expect_ms(&kind_of(state, request));
            let expected_ms = if expected_ms > run_ms {
                expected_ms
            } else {
                longer_ms(run_ms, attempt.walltime_ms_max)
            };
            after_ms = expected_ms.saturating_sub(run_ms);
            steps.gain(after_ms, pile(&request.resources));
        }
        if looked_at == ENDS_A_PASS && seen + looked_at < ENDS_MAX {
            making.ends_of.push((site, last, seen + looked_at));
        } else {
            let unseen = steps.unseen;
            steps.gain(after_ms, unseen);
        }
    }

    /// The first classes that wait, in reverse order.
    fn ranks_ahead(&self, state: &State) -> Vec<Rank> {
        let classes = state.pending_classes().take(CLASSES_MAX);
        let ranks = classes.filter_map(|id| {
            let head = state.head_job(id)?;
            Some(self.classes.get(&id)?.rank_of(state, &self.turns, id, head))
        });
        let mut ranks: Vec<Rank> = ranks.collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        ranks
    }

    fn look_at_class(&self, state: &State, making: &mut Making, id: ClassId) {
        let Some(class) = self.classes.get(&id) else { return };
        let jobs = state.pending_jobs_count(id) as u64;
        let head = state.head_job(id).and_then(|head| state.job(head));
        let Some(head) = head.filter(|_| jobs > 0) else { return };
        let tasks = (jobs - 1).saturating_add(u64::from(head.pending()));
        let expected_ms = self.turns.predictor.expect_ms(&class.kind);
        let amounts = pile_of(&class.request);
        let earliest = |offer: &super::class::Offer| {
            // It was turned away there, so it does not fit now, whatever the pile says.
            let from = usize::from(offer.full && class.standing == Standing::Parked);
            let steps = making.sites.get(&offer.site)?;
            Some((steps.earliest(from, expected_ms, &amounts)?, offer.site))
        };
        let Some((step, site)) = class.offers.iter().filter_map(earliest).min() else {
            return;
        };
        let steps = making.sites.get_mut(&site).expect("it was just asked");
        let times = steps.times(step, &amounts).min(tasks);
        let rounds = tasks.div_ceil(times);
        steps.take(step, expected_ms.saturating_mul(rounds), &amounts, times);
        let mut first = Timestamp(making.began_at.0 + step_ms(step));
        if let Some((_, promise)) = self.promises.to(id) {
            first = first.min(promise.start);
        }
        let each_ms = if tasks > times { expected_ms / times } else { 0 };
        making.classes.insert(id, Starts { first, each_ms });
    }

    fn finish_forecast(&mut self, state: &State, making: Making) {
        let made_at = self.planned_at;
        let is_waiting = |job: &JobId| state.job(*job).is_some_and(|job| job.placeable() > 0);
        self.forecast.remembered.retain(|job, _| is_waiting(job));
        let mut classes: Vec<(&ClassId, &Starts)> = making.classes.iter().collect();
        classes.sort_unstable_by_key(|(id, _)| **id);
        for (id, starts) in classes {
            let room = self.forecast.remembered.len() < REMEMBERED_MAX;
            if let Some(head) = state.head_job(*id).filter(|_| room) {
                let estimate = (starts.first.max(made_at), made_at);
                self.forecast.remembered.entry(head).or_insert(estimate);
            }
        }
        self.forecast.finished = Some(Finished {
            made_at,
            began_at: making.began_at,
            sites: making.sites,
            classes: making.classes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_rise_and_are_found() {
        for step in 1..STEPS {
            assert!(step_ms(step - 1) < step_ms(step), "{step}");
            assert_eq!(step_at(step_ms(step)), step);
            assert_eq!(step_at(step_ms(step) - 1), step);
        }
        assert!(step_ms(STEPS - 1) > 30 * 24 * 3_600_000);
    }

    #[test]
    fn errors_are_counted_by_side_and_size() {
        let mut accuracy = Accuracy::default();
        accuracy.note(Timestamp(100_000), Timestamp(0), Timestamp(100_000));
        accuracy.note(Timestamp(100_000), Timestamp(0), Timestamp(160_001));
        accuracy.note(Timestamp(100_000_000), Timestamp(0), Timestamp(1));
        assert_eq!(
            (accuracy.early, accuracy.late),
            ([1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0])
        );
        assert_eq!((accuracy.count(), accuracy.waited_ms), (3, 260_002));
    }
}
