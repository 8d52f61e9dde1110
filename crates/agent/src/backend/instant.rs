//! The backend that runs nothing: each task ends at once with exit code 0, through the same journal and reports as any other.

use std::io;

use super::{Backend, Events, LogError, LogPart, LogStream, ReadLogs, StartOrder};
use crate::clock;
use crate::core::{BackendEvent, Observed, Outcome, StopSignal};
use crate::task::TaskKey;

/// Ends each task the moment it is started.
pub struct InstantBackend {
    events: Events,
}

impl InstantBackend {
    /// Tells `events` of every end.
    pub fn new(events: Events) -> InstantBackend {
        InstantBackend { events }
    }
}

impl Backend for InstantBackend {
    fn list_owned(&mut self) -> io::Result<Vec<Observed>> {
        Ok(Vec::new())
    }

    fn start(&mut self, order: StartOrder) {
        // When nobody listens any more, the daemon is stopping.
        let _ = self.events.send(BackendEvent::Started {
            task: order.task,
            at_ms: clock::now_ms(),
        });
        let _ = self.events.send(BackendEvent::Ended {
            task: order.task,
            outcome: Outcome::exited(0, 0),
        });
    }

    fn signal(&mut self, _task: TaskKey, _signal: StopSignal) {}

    fn set_limit(&mut self, _task: TaskKey, _walltime_ms_max: u64) {}

    fn forget(&mut self, _task: TaskKey) {}

    fn lease(&mut self, _until_ms: u64) {}

    fn lease_until_ms(&self) -> u64 {
        0
    }

    fn logs(&self) -> Box<dyn ReadLogs> {
        Box::new(NoLogs)
    }
}

struct NoLogs;

impl ReadLogs for NoLogs {
    fn read(&self, _task: TaskKey, _stream: LogStream, _offset: u64, _max: u32) -> Result<LogPart, LogError> {
        Ok(LogPart {
            eof: true,
            ..LogPart::default()
        })
    }
}
