//! Random backlogs: nothing is over-committed, nobody who was promised a start is delayed, nobody starves, and the same input
//! gives the same decisions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::policy::Policy;
use super::{Backlog, Patience, Reservation, Start, Work};
use crate::types::Timestamp;

/// Amount, limit, run time, gap before it, payer.
type Asked = (u64, u64, u64, u64, u64);

fn jobs(limit_max: u64) -> impl Strategy<Value = Vec<Asked>> {
    let job = (1..10u64, 1..limit_max, 1..limit_max, 0..limit_max / 4, 0..3u64);
    let jobs = prop::collection::vec(job, 1..60);
    jobs.prop_map(|jobs| {
        let within = |(amount, limit, run, gap, payer): Asked| (amount, limit, run.min(limit), gap, payer);
        jobs.into_iter().map(within).collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![
        Policy::FCFS,
        Policy::EASY,
        Policy::EASY_SHORTEST,
        Policy::CONSERVATIVE,
        Policy::OURS,
    ])
}

/// Every start with its time, and every promise that was made, by time.
#[derive(Debug, Default, PartialEq)]
struct Log {
    submitted: BTreeMap<u64, u64>,
    started: BTreeMap<u64, (u64, usize)>,
    promised: Vec<(u64, Reservation)>,
}

fn run(mut backlog: Backlog, places: &[u64], asked: &[Asked]) -> Log {
    let mut log = Log::default();
    let mut used = vec![0; places.len()];
    let mut ending = std::collections::BTreeSet::new();
    let mut arrivals = Vec::new();
    let mut at = 0;
    for (number, job) in asked.iter().enumerate() {
        at += job.3;
        arrivals.push((at, number as u64));
    }
    arrivals.reverse();
    loop {
        let next_end = ending.first().map(|(at, ..): &(u64, u64, usize)| *at);
        let Some(now) = next_end.into_iter().chain(arrivals.last().map(|(at, _)| *at)).min() else {
            assert_eq!(log.started.len(), asked.len(), "everything has started");
            return log;
        };
        while let Some(&(at, number, place)) = ending.first()
            && at == now
        {
            ending.pop_first();
            used[place] -= asked[number as usize].0;
            backlog.end(Timestamp(now), number);
        }
        while arrivals.last().is_some_and(|(at, _)| *at == now) {
            let (_, number) = arrivals.pop().expect("it has a last");
            let (amount, limit_ms, _, _, payer) = asked[number as usize];
            log.submitted.insert(number, now);
            backlog.submit(
                Timestamp(now),
                Work {
                    number,
                    payer,
                    amounts: [amount].into(),
                    limit_ms,
                    home: payer as usize % places.len(),
                },
            );
        }
        for Start { number, place } in backlog.pass(Timestamp(now)) {
            let (amount, _, run, ..) = asked[number as usize];
            used[place] += amount;
            assert!(used[place] <= places[place], "place {place} has {} only", places[place]);
            assert!(log.started.insert(number, (now, place)).is_none(), "started twice");
            ending.insert((now + run, number, place));
        }
        for (place, used) in used.iter().enumerate() {
            assert_eq!(backlog.profile(place).at(Timestamp(now))[0], places[place] - used);
        }
        log.promised
            .extend(backlog.reservations().iter().map(|promise| (now, *promise)));
    }
}

fn places(amounts: &[u64]) -> Vec<&[u64]> {
    amounts.chunks(1).collect()
}

proptest! {
    #[test]
    fn places_are_never_over_committed_and_the_same_input_gives_the_same_decisions(
        policy in policy(),
        amounts in prop::collection::vec(9..20u64, 1..4),
        jobs in jobs(50),
        lends in any::<bool>(),
    ) {
        let new = || if lends && policy == Policy::OURS {
            Backlog::pooled(policy, Timestamp(0), &places(&amounts))
        } else {
            Backlog::new(policy, Timestamp(0), &places(&amounts))
        };
        prop_assert_eq!(run(new(), &amounts, &jobs), run(new(), &amounts, &jobs));
    }

    #[test]
    fn who_is_first_and_promised_a_start_starts_by_then(
        policy in prop::sample::select(vec![Policy::EASY, Policy::EASY_SHORTEST, Policy::CONSERVATIVE]),
        amount in 9..20u64,
        jobs in jobs(50),
    ) {
        let log = run(Backlog::new(policy, Timestamp(0), &places(&[amount])), &[amount], &jobs);
        for (at, promise) in &log.promised {
            let (started, _) = log.started[&promise.number];
            prop_assert!(
                started <= promise.start.0,
                "promised at {at}: {promise:?}, started at {started}"
            );
        }
    }

    /// By turns nobody is passed by what came later than its put-off allows: what is ahead of it is bounded, and so is its wait.
    #[test]
    fn nobody_waits_longer_than_the_work_that_may_go_before_it(amount in 9..20u64, jobs in jobs(Patience::USUAL.ms_max / 20)) {
        let log = run(Backlog::new(Policy::OURS, Timestamp(0), &places(&[amount])), &[amount], &jobs);
        for (number, submitted) in &log.submitted {
            let ahead = log.submitted.iter().filter(|(_, other)| **other <= submitted + Patience::USUAL.ms_max);
            let limits: u64 = ahead.map(|(number, _)| jobs[*number as usize].1).sum();
            let (started, _) = log.started[number];
            // One after the other at their limits, once all that came after its turn and runs already has ended.
            let running_max = jobs.iter().map(|job| job.1).max().unwrap_or(0);
            prop_assert!(started - submitted <= Patience::USUAL.ms_max + limits + running_max);
        }
    }

    #[test]
    fn decisions_do_not_change_when_what_comes_later_is_left_out(jobs in jobs(400), kept in 1..60usize) {
        let all = run(Backlog::new(Policy::OURS, Timestamp(0), &places(&[12])), &[12], &jobs);
        let kept = kept.min(jobs.len());
        let part = run(Backlog::new(Policy::OURS, Timestamp(0), &places(&[12])), &[12], &jobs[..kept]);
        let until = log_end(&all, kept);
        let before = |log: &Log| log.started.iter().filter(|(_, (at, _))| *at < until).map(|(n, s)| (*n, *s)).collect::<Vec<_>>();
        prop_assert_eq!(before(&all), before(&part));
    }
}

/// When the first that is left out comes.
fn log_end(log: &Log, kept: usize) -> u64 {
    log.submitted.get(&(kept as u64)).copied().unwrap_or(u64::MAX)
}
