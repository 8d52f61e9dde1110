//! Reading the output of tasks from their directories.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::backend::{LogError, LogPart, LogStream, ReadLogs};
use crate::supervisor::spec::{ExitRecord, read_record};
use crate::task::TaskKey;

/// The largest part given out at once.
const PART_BYTES_MAX: u32 = 64 << 10;

pub(super) struct Logs {
    tasks_directory: PathBuf,
}

impl Logs {
    pub(super) fn new(tasks_directory: PathBuf) -> Logs {
        Logs { tasks_directory }
    }
}

impl ReadLogs for Logs {
    fn read(&self, task: TaskKey, stream: LogStream, offset: u64, bytes_max: u32) -> Result<LogPart, LogError> {
        let directory = self.tasks_directory.join(task.to_string());
        if !directory.is_dir() {
            return Err(LogError::NotFound(task));
        }
        // Looked at before the output is read: what the task wrote is then complete.
        let exit = read_record::<ExitRecord>(&directory.join("exit.json"));
        let (name, dropped) = match stream {
            LogStream::Stdout => ("stdout", exit.as_ref().map(|exit| exit.stdout_dropped)),
            LogStream::Stderr => ("stderr", exit.as_ref().map(|exit| exit.stderr_dropped)),
        };
        let bytes_max = bytes_max.min(PART_BYTES_MAX);
        let mut data = Vec::new();
        match File::open(directory.join(name)) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(offset))?;
                file.take(u64::from(bytes_max)).read_to_end(&mut data)?;
            }
            // Made at the first byte.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let at_end = data.len() < bytes_max as usize;
        Ok(LogPart {
            data,
            eof: dropped.is_some() && at_end,
            truncated_bytes: dropped.unwrap_or(0),
        })
    }
}
