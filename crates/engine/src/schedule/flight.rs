//! Decisions in flight: proposed, not yet judged by apply. They are taken off what is free, of capacity and of money, so
//! that no plan decides a task twice or gives one host, voucher or wallet away twice.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use hesuan_ledger::types::{Fen, Grant, VoucherId};

use super::hosts::Need;
use super::price::Bill;
use crate::command::Decision;
use crate::state::holdings::Holdings;
use crate::types::{ClassId, Held, HostId, JobId, OrgId, SiteId, Timestamp};

/// One decision in flight.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) class: ClassId,
    pub(crate) org: OrgId,
    pub(crate) site: SiteId,
    /// What the task will hold.
    pub(crate) task: Held,
    pub(crate) need: Arc<Need>,
    pub(crate) decision: Decision,
    pub(crate) bill: Bill,
    pub(crate) decided_at: Timestamp,
}

/// All of them, by task and by host, and the money they will hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights {
    by_task: HashMap<(JobId, u32), Flight>,
    by_job: HashMap<JobId, u32>,
    by_host: HashMap<HostId, BTreeSet<(JobId, u32)>>,
    in_order: VecDeque<(Timestamp, (JobId, u32))>,
    wallets: HashMap<OrgId, i64>,
    vouchers: HashMap<VoucherId, i64>,
    /// Per org, so that who waits for its money in flight knows when the last has landed.
    by_org: HashMap<OrgId, u32>,
    /// As if they were placed already.
    pub(crate) held: Holdings,
}

impl Flights {
    pub(crate) fn len(&self) -> usize {
        self.by_task.len()
    }

    pub(crate) fn has(&self, job: JobId, task: u32) -> bool {
        self.by_task.contains_key(&(job, task))
    }

    /// Tasks of a job in flight.
    pub(crate) fn of_job(&self, job: JobId) -> u32 {
        self.by_job.get(&job).copied().unwrap_or(0)
    }

    /// Decisions of an org in flight.
    pub(crate) fn of_org(&self, org: OrgId) -> u32 {
        self.by_org.get(&org).copied().unwrap_or(0)
    }

    /// Decisions for a host, in order of task.
    pub(crate) fn on_host(&self, host: HostId) -> impl Iterator<Item = &Flight> {
        let tasks = self.by_host.get(&host).into_iter().flatten();
        tasks.map(|task| self.by_task.get(task).expect("flights by host are flights"))
    }

    /// Hosts that something is in flight to, in no order.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.by_host.keys().copied()
    }

    /// All of them, in no order: reserving them is the same in any.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Flight> {
        self.by_task.values()
    }

    /// What the decisions in flight will hold of a wallet.
    pub(crate) fn wallet(&self, org: OrgId) -> Fen {
        Fen(self.wallets.get(&org).copied().unwrap_or(0))
    }

    /// What they will hold of a voucher, in its programme's denomination.
    pub(crate) fn voucher(&self, voucher: VoucherId) -> Grant {
        Grant(self.vouchers.get(&voucher).copied().unwrap_or(0))
    }

    pub(crate) fn begin(&mut self, flight: Flight) {
        let (job, task) = (flight.decision.job, flight.decision.task);
        *self.by_job.entry(job).or_default() += 1;
        *self.by_org.entry(flight.org).or_default() += 1;
        for (host, _) in flight.decision.places() {
            self.by_host.entry(host).or_default().insert((job, task));
        }
        self.in_order.push_back((flight.decided_at, (job, task)));
        add(&mut self.wallets, flight.org, flight.bill.wallet.0);
        for (voucher, amount) in flight.bill.legs.iter() {
            add(&mut self.vouchers, *voucher, amount.0);
        }
        self.held.begin(flight.site, flight.org, &flight.task);
        let before = self.by_task.insert((job, task), flight);
        assert!(
            before.is_none(),
            "task {task} of job {} is decided once at a time",
            job.0
        );
    }

    pub(crate) fn end(&mut self, job: JobId, task: u32) -> Option<Flight> {
        let flight = self.by_task.remove(&(job, task))?;
        drop_count(&mut self.by_job, job);
        drop_count(&mut self.by_org, flight.org);
        for (host, _) in flight.decision.places() {
            let on_host = self.by_host.get_mut(&host).expect("a flight is listed at its hosts");
            on_host.remove(&(job, task));
            if on_host.is_empty() {
                self.by_host.remove(&host);
            }
        }
        self.held.end(flight.site, flight.org, &flight.task);
        take(&mut self.wallets, flight.org, flight.bill.wallet.0);
        for (voucher, amount) in flight.bill.legs.iter() {
            take(&mut self.vouchers, *voucher, amount.0);
        }
        Some(flight)
    }

    /// Tasks decided before `limit` and never judged.
    pub(crate) fn overdue(&mut self, limit: Timestamp) -> Vec<(JobId, u32)> {
        let mut overdue = Vec::new();
        while let Some(&(decided_at, task)) = self.in_order.front() {
            let flight = self.by_task.get(&task).filter(|flight| flight.decided_at == decided_at);
            if flight.is_some() && decided_at >= limit {
                break;
            }
            self.in_order.pop_front();
            if flight.is_some() {
                overdue.push(task);
            }
        }
        overdue
    }
}

fn drop_count<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) {
    let count = counts
        .get_mut(&key)
        .expect("a flight is counted for its job and its org");
    *count -= 1;
    if *count == 0 {
        counts.remove(&key);
    }
}

// Only sums above zero are kept.
fn add<K: Hash + Eq>(sums: &mut HashMap<K, i64>, key: K, amount: i64) {
    if amount > 0 {
        *sums.entry(key).or_default() += amount;
    }
}

fn take<K: Hash + Eq>(sums: &mut HashMap<K, i64>, key: K, amount: i64) {
    if amount > 0 {
        let sum = sums.get_mut(&key).expect("a flight's money is in the sums");
        *sum -= amount;
        if *sum == 0 {
            sums.remove(&key);
        }
    }
}
