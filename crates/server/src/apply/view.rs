//! Questions to the state: closures that run on the APPLY thread, between two entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use hesuan_engine::schedule::Planner;
use hesuan_engine::state::State;
use hesuan_engine::types::SiteId;
use tokio::sync::oneshot;

use super::Input;
use super::ring::Ring;

/// What a question may look at.
pub(crate) struct View<'a> {
    /// The state as of the last entry applied.
    pub(crate) state: &'a State,
    /// The planner, on the leader.
    pub(crate) planner: Option<&'a Planner>,
    /// Whether a site's agent holds a lease, as far as this replica knows.
    pub(crate) site_up: &'a dyn Fn(SiteId) -> bool,
    /// Recent changes of jobs.
    pub(crate) ring: &'a Ring,
    /// This machine's clock, milliseconds since 1970 UTC.
    pub(crate) wall_ms: u64,
}

trait Asked: Send {
    fn answer(self: Box<Self>, view: &View<'_>);
    fn is_abandoned(&self) -> bool;
}

struct Question<F, T> {
    look: F,
    answer: oneshot::Sender<T>,
}

impl<T: Send, F: FnOnce(&View<'_>) -> T + Send> Asked for Question<F, T> {
    fn answer(self: Box<Self>, view: &View<'_>) {
        // Whoever asked may be gone by now.
        let _ = self.answer.send((self.look)(view));
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

/// One question, and who waits for its answer.
pub(crate) struct Query(Box<dyn Asked>);

impl Query {
    /// A question and where its answer will be.
    pub(crate) fn new<T: Send + 'static>(
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> (Query, oneshot::Receiver<T>) {
        let (sender, answer) = oneshot::channel();
        (Query(Box::new(Question { look, answer: sender })), answer)
    }

    /// Asks.
    pub(super) fn run(self, view: &View<'_>) {
        self.0.answer(view);
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

/// Talks to the APPLY thread.
#[derive(Clone)]
pub(crate) struct ApplyHandle {
    pub(super) inputs: Sender<Input>,
    pub(super) asking: Arc<AtomicUsize>,
    pub(super) asking_max: usize,
}

impl ApplyHandle {
    /// Tells the thread something that is bounded by nature.
    pub(crate) fn tell(&self, input: Input) {
        // Nobody listens only when the process is ending.
        let _ = self.inputs.send(input);
    }

    /// Asks about the state as it is here and now; false when too many are asking.
    pub(crate) fn ask(&self, query: Query) -> bool {
        if self.asking.fetch_add(1, Ordering::Relaxed) >= self.asking_max {
            self.asking.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.tell(Input::Ask(query));
        true
    }
}
