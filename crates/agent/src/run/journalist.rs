//! The journal on a thread of its own: whatever has gathered while one sync ran is covered by the next.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc as tokio_mpsc;

use crate::core::JournalRecord;
use crate::journal::{Journal, JournalError};

/// One write of the core.
pub(super) enum Write {
    /// Append.
    Append { seq: u64, records: Vec<JournalRecord> },
    /// Replace everything.
    Rewrite { seq: u64, records: Vec<JournalRecord> },
}

pub(super) struct Journalist {
    writes: Sender<Write>,
    thread: JoinHandle<()>,
}

impl Journalist {
    /// Starts the thread; `done` gets the number of the last write of each batch that is on disk, or the error after which nothing
    /// more is written.
    pub(super) fn start(
        journal: Journal,
        done: tokio_mpsc::UnboundedSender<Result<u64, JournalError>>,
    ) -> std::io::Result<Journalist> {
        let (writes, to_write) = channel();
        let body = move || write_all(journal, &to_write, &done);
        let thread = std::thread::Builder::new()
            .name("agent-journal".to_owned())
            .spawn(body)?;
        Ok(Journalist { writes, thread })
    }

    pub(super) fn write(&self, write: Write) {
        // After an error nobody takes writes any more; the error itself is on its way to the daemon, which stops.
        let _ = self.writes.send(write);
    }

    /// Writes what is waiting and ends the thread.
    pub(super) fn finish(self) {
        drop(self.writes);
        let _ = self.thread.join();
    }
}

fn write_all(
    mut journal: Journal,
    writes: &Receiver<Write>,
    done: &tokio_mpsc::UnboundedSender<Result<u64, JournalError>>,
) {
    while let Ok(first) = writes.recv() {
        let batch = std::iter::once(first).chain(writes.try_iter());
        let result = write_batch(&mut journal, batch);
        let failed = result.is_err();
        if done.send(result).is_err() || failed {
            return;
        }
    }
}

fn write_batch(journal: &mut Journal, batch: impl Iterator<Item = Write>) -> Result<u64, JournalError> {
    let mut last = 0;
    for write in batch {
        last = match write {
            Write::Append { seq, records } => {
                journal.append(&records)?;
                seq
            }
            Write::Rewrite { seq, records } => {
                journal.rewrite(&records)?;
                seq
            }
        };
    }
    journal.sync()?;
    Ok(last)
}
