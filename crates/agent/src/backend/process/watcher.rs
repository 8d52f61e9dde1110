//! Noticing the ends of supervisors: one `epoll` over the `control` FIFOs of all tasks, own children and adopted alike.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hesuan_api::internal::v1::TaskEnd;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Entry, Shared, read_exit};
use crate::clock;
use crate::core::{BackendEvent, Outcome};
use crate::procfs;
use crate::supervisor::spec::{Claim, read_record, take_claim};
use crate::task::TaskKey;

/// Token of the wake-up by which the watcher is stopped.
const STOP_TOKEN: u64 = 0;
const EVENTS_AT_ONCE: usize = 256;
/// Between two looks at what running tasks use.
const SAMPLE_MS: u16 = 5_000;
/// Tasks looked at each time; with more, the first ones by name are looked at.
const SAMPLED_TASKS_MAX: usize = 500;

pub(super) struct Watcher {
    epoll: Epoll,
    wake: EventFd,
    stopping: AtomicBool,
    next_token: AtomicU64,
    watched: Mutex<HashMap<u64, TaskKey>>,
}

impl Watcher {
    pub(super) fn new() -> io::Result<Watcher> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&wake, EpollEvent::new(EpollFlags::EPOLLIN, STOP_TOKEN))?;
        Ok(Watcher {
            epoll,
            wake,
            stopping: AtomicBool::new(false),
            next_token: AtomicU64::new(STOP_TOKEN + 1),
            watched: Mutex::new(HashMap::new()),
        })
    }

    /// Watches the write end of a task's `control` FIFO.
    pub(super) fn add(&self, task: TaskKey, control: &File) {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let mut watched = self.watched.lock().expect("nobody panics with the list in hand");
        // That nobody reads any more is always told; nothing else is asked for. Once, because a child between fork and exec may hold a copy of the
        // descriptor and with it the entry.
        self.epoll
            .add(control, EpollEvent::new(EpollFlags::EPOLLONESHOT, token))
            .expect("a fresh pipe can be watched: the kernel refuses only when out of memory or watches");
        watched.insert(token, task);
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake.write(1).expect("an event counter does not fill up by one");
    }
}

impl Shared {
    pub(super) fn watch_all(&self) {
        let mut events = [EpollEvent::empty(); EVENTS_AT_ONCE];
        let mut sample_at_ms = clock::now_ms() + u64::from(SAMPLE_MS);
        loop {
            let now_ms = clock::now_ms();
            if now_ms >= sample_at_ms {
                self.sample();
                sample_at_ms = now_ms + u64::from(SAMPLE_MS);
            }
            let count = match self.watcher.epoll.wait(&mut events, EpollTimeout::from(SAMPLE_MS)) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => panic!("waiting for supervisors failed: {error}"),
            };
            if self.watcher.stopping.load(Ordering::Acquire) {
                return;
            }
            for event in &events[..count] {
                let found = self
                    .watcher
                    .watched
                    .lock()
                    .expect("nobody panics with the list in hand")
                    .remove(&event.data());
                if let Some(task) = found {
                    self.supervisor_gone(task);
                }
            }
        }
    }

    /// Tells what running tasks use, as far as the kernel counts it.
    fn sample(&self) {
        let running = |(task, entry): (&TaskKey, &Entry)| matches!(entry, Entry::Running(_)).then_some(*task);
        let mut tasks: Vec<TaskKey> = self.lock_tasks().iter().filter_map(running).collect();
        tasks.sort_unstable();
        for task in tasks.into_iter().take(SAMPLED_TASKS_MAX) {
            let usage = self.cgroup.of_task(&task.to_string()).usage();
            let (cpu_ms, memory_peak_mib) = (usage.cpu_ms.unwrap_or(0), usage.memory_peak_mib);
            self.tell(BackendEvent::Usage {
                task,
                cpu_ms,
                memory_peak_mib,
            });
        }
    }

    fn supervisor_gone(&self, task: TaskKey) {
        self.lock_tasks().remove(&task);
        let directory = self.task_directory(task);
        let outcome = read_exit(&directory).unwrap_or_else(|| self.clear_up(task, &directory));
        self.tell(BackendEvent::Ended { task, outcome });
    }

    /// The supervisor is gone without a word. If it never claimed the task, the task never ran; otherwise nobody knows how far it came,
    /// and what is left of it must go before its capacity is given to another.
    pub(super) fn clear_up(&self, task: TaskKey, directory: &Path) -> Outcome {
        let revoke = Claim {
            supervisor: None,
            started_ms: 0,
        };
        if take_claim(directory, &revoke).unwrap_or(false) {
            return Outcome::unused(TaskEnd::StartFailed, "the supervisor ended before it started the task");
        }
        let claim = read_record::<Claim>(&directory.join("claim.json"));
        let killed = match claim.and_then(|claim| claim.supervisor) {
            Some(supervisor) => procfs::kill_session(&supervisor),
            None => 0,
        };
        self.cgroup.of_task(&task.to_string()).kill_and_remove();
        tracing::warn!(%task, killed, "supervisor died, task lost");
        Outcome::unused(TaskEnd::Lost, "the task's supervisor died")
    }
}
