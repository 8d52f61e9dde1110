//! The clock of a replay: jobs arrive and end, and the backlogs they belong to are asked who starts. Nothing is decided here.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use hesuan_engine::schedule::time::{Backlog, Work};
use hesuan_engine::types::Timestamp;

use super::figures::Done;

/// A job of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its place in the order of arrival.
    pub number: u64,
    /// Seconds from the start of the trace.
    pub submit_s: u64,
    /// How long it runs; the scheduler learns it when it has ended.
    pub run_s: u64,
    /// Processors (or GPUs), all at one place.
    pub procs: u64,
    /// How long it may run; 0 = no limit is known.
    pub limit_s: u64,
    /// Whose it is.
    pub user: u64,
    /// City it belongs to.
    pub home: usize,
}

impl Job {
    /// What the scheduler of so many places is told; a place of its own is home to all.
    #[must_use]
    pub fn work(&self, places: usize) -> Work {
        Work {
            number: self.number,
            payer: self.user,
            amounts: [self.procs].into(),
            limit_ms: self.limit_s * 1000,
            home: if places == 1 { 0 } else { self.home },
        }
    }
}

/// Runs jobs, in order of arrival, through backlogs to the end. `route` says which backlog a job goes to, asked when it
/// arrives. Those who started, in the order they did, with the place.
pub fn drive(
    jobs: &[Job],
    backlogs: &mut [Backlog],
    mut route: impl FnMut(&Job, &[Backlog]) -> usize,
) -> Vec<(Done, usize)> {
    let mut arriving = jobs.iter().peekable();
    let mut ending: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
    let mut done = Vec::with_capacity(jobs.len());
    let by_number = |number: u64| &jobs[number as usize];
    loop {
        let next_end = ending.peek().map(|Reverse((at, ..))| *at);
        let next_arrival = arriving.peek().map(|job| job.submit_s);
        let Some(now_s) = next_end.into_iter().chain(next_arrival).min() else {
            return done;
        };
        let now = Timestamp(now_s * 1000);
        let mut touched = BTreeSet::new();
        while let Some(&Reverse((at, number, backlog))) = ending.peek()
            && at == now_s
        {
            ending.pop();
            backlogs[backlog].end(now, number);
            touched.insert(backlog);
        }
        while let Some(job) = arriving.next_if(|job| job.submit_s == now_s) {
            let backlog = route(job, backlogs);
            let work = job.work(backlogs[backlog].places());
            backlogs[backlog].submit(now, work);
            touched.insert(backlog);
        }
        for backlog in touched {
            for start in backlogs[backlog].pass(now) {
                let job = by_number(start.number);
                let ended_s = now_s + job.run_s;
                ending.push(Reverse((ended_s, start.number, backlog)));
                let ran = Done {
                    number: job.number,
                    submitted_s: job.submit_s,
                    started_s: now_s,
                    ended_s,
                    procs: job.procs,
                };
                done.push((ran, start.place));
            }
        }
    }
}
