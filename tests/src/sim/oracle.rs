//! What must be true, kept apart from the code that makes it true: the log that was committed, the answers that were given,
//! the processes that really ran.

use std::collections::{BTreeMap, BTreeSet};

use hesuan_engine::types::{JobId, TaskId};

/// What one seed has seen so far. Every method panics with the invariant's name when it is broken.
#[derive(Default)]
pub(crate) struct Oracle {
    /// Entry by index: term and content.
    committed: BTreeMap<u64, (u64, Vec<u8>)>,
    /// Chain of outcomes by applied index.
    digests: BTreeMap<u64, [u8; 32]>,
    /// Hash of the whole state by applied index.
    states: BTreeMap<u64, [u8; 32]>,
    /// Leader by term.
    leaders: BTreeMap<u64, u64>,
    /// Term and vote that a replica has made durable.
    votes: BTreeMap<(u64, u64), u64>,
    /// Acknowledged submissions: request id to job.
    acknowledged: BTreeMap<u128, JobId>,
    /// Job to the request id that made it.
    made_by: BTreeMap<JobId, u128>,
    /// Attempts that were started, with the rank of the node.
    started: BTreeSet<(TaskId, u32)>,
    /// Processes that live: (job, task) to the attempts and nodes.
    alive: BTreeMap<(JobId, u32), BTreeSet<(TaskId, u32)>>,
}

impl Oracle {
    /// A replica hands out a committed entry.
    pub(crate) fn committed(&mut self, replica: u64, index: u64, term: u64, data: &[u8]) {
        let known = self.committed.entry(index).or_insert_with(|| (term, data.to_vec()));
        assert!(
            known.0 == term && known.1 == data,
            "committed entries never change: replica {replica} has another entry at {index} (terms {} and {term})",
            known.0
        );
    }

    /// A replica has applied up to `index`.
    pub(crate) fn applied(&mut self, replica: u64, index: u64, digest: [u8; 32], state: Option<[u8; 32]>) {
        let known = *self.digests.entry(index).or_insert(digest);
        assert_eq!(
            known, digest,
            "equal applied index, equal outcomes: replica {replica} differs at {index}"
        );
        if let Some(state) = state {
            let known = *self.states.entry(index).or_insert(state);
            assert_eq!(
                known, state,
                "equal applied index, equal state: replica {replica} differs at {index}"
            );
        }
    }

    /// A state as a replica has it: no attempt of a task is billed twice, which shows as attempts that are settled.
    pub(crate) fn state(&mut self, state: &hesuan_engine::state::State) {
        let balance = state.ledger().trial_balance();
        assert_eq!(
            balance.debits, balance.credits,
            "debits equal credits after every entry"
        );
    }

    /// A replica says it leads.
    pub(crate) fn leads(&mut self, replica: u64, term: u64) {
        let known = *self.leaders.entry(term).or_insert(replica);
        assert_eq!(
            known, replica,
            "one leader a term: {known} and {replica} both lead in term {term}"
        );
    }

    /// A replica has sent a vote for `candidate` in `term`.
    pub(crate) fn voted(&mut self, replica: u64, term: u64, candidate: u64) {
        let known = *self.votes.entry((replica, term)).or_insert(candidate);
        assert_eq!(
            known, candidate,
            "one vote a term: replica {replica} voted for {known} and {candidate} in {term}"
        );
    }

    /// A replica starts with this term and vote: the vote it gave away in that term must be among what it remembers.
    pub(crate) fn remembers(&self, replica: u64, (term, vote): (u64, u64)) {
        if let Some(&given) = self.votes.get(&(replica, term)) {
            assert_eq!(
                vote, given,
                "a vote is on disk before it is sent: replica {replica} voted for {given} in {term} and starts with {vote}"
            );
        }
    }

    /// A client got an answer.
    pub(crate) fn acknowledged(&mut self, request: u128, job: JobId) {
        let known = *self.acknowledged.entry(request).or_insert(job);
        assert_eq!(
            known, job,
            "a request id is effective once: {request:x} gave jobs {known:?} and {job:?}"
        );
        let by = *self.made_by.entry(job).or_insert(request);
        assert_eq!(
            by, request,
            "a job comes from one request: {job:?} from {by:x} and {request:x}"
        );
    }

    /// All acknowledged jobs.
    pub(crate) fn acknowledged_jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.acknowledged.values().copied()
    }

    /// A site starts a process. `exclusive` tasks may run only once at a time over all sites.
    pub(crate) fn process_started(&mut self, task: TaskId, node: u32, exclusive: bool) {
        assert!(
            self.started.insert((task, node)),
            "an attempt is started at most once: {task:?}, node {node}"
        );
        let alive = self.alive.entry((task.job, task.task)).or_default();
        alive.insert((task, node));
        assert!(
            !exclusive || alive.iter().all(|(other, _)| *other == task),
            "no two attempts of a requeueable task run at once: {alive:?}"
        );
    }

    /// A process is gone.
    pub(crate) fn process_ended(&mut self, task: TaskId, node: u32) {
        if let Some(alive) = self.alive.get_mut(&(task.job, task.task)) {
            alive.remove(&(task, node));
        }
    }

    /// An agent says that a task has ended: then no node of it lives.
    pub(crate) fn task_ended(&self, task: TaskId) {
        let mut alive = self.alive.get(&(task.job, task.task)).into_iter().flatten();
        assert!(
            alive.all(|(other, _)| *other != task),
            "a gang has ended when all its nodes have: {task:?}"
        );
    }

    /// How many entries were committed.
    #[must_use]
    pub(crate) fn committed_count(&self) -> usize {
        self.committed.len()
    }
}
