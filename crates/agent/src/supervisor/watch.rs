//! Watching the task until it ends: its output, commands from the daemon, its limits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::clock;
use crate::procfs;
use crate::supervisor::capture::Capture;
use crate::supervisor::cgroup::TaskCgroup;
use crate::supervisor::launch::Launched;
use crate::supervisor::spec::{
    ExitKind, ExitRecord, LIMIT_FILE, LeaseFile, LimitFile, StoppedBy, TaskSpec, read_record,
};

/// Command on `control`: ask the task to end.
pub const CONTROL_TERM: u8 = b'T';
/// Command on `control`: end it.
pub const CONTROL_KILL: u8 = b'K';
/// Command on `control`: the time limit lies anew in its file.
pub const CONTROL_LIMIT: u8 = b'L';

/// Output bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Where something can come from.
#[derive(Clone, Copy)]
enum Source {
    Ended,
    Control,
    Stdout,
    Stderr,
}

struct Watch<'a> {
    spec: &'a TaskSpec,
    limit_path: PathBuf,
    walltime_ms_max: u64,
    group: Pid,
    cgroup: TaskCgroup,
    stdout: Capture<ChildStdout>,
    stderr: Capture<ChildStderr>,
    buffer: Vec<u8>,
    started_ms: u64,
    stopped_by: Option<StoppedBy>,
    kill_at_ms: Option<u64>,
    killed: bool,
    lease_until_ms: u64,
    boot_id: String,
}

/// Waits for the end of the task and says how it was.
pub(super) fn watch(directory: &Path, spec: &TaskSpec, launched: Launched, started_ms: u64) -> ExitRecord {
    let Launched { mut child, cgroup } = launched;
    let stdout = child.stdout.take().expect("launch asked for a pipe");
    let stderr = child.stderr.take().expect("launch asked for a pipe");
    let mut watch = Watch {
        spec,
        limit_path: directory.join(LIMIT_FILE),
        walltime_ms_max: spec.walltime_ms_max,
        group: Pid::from_raw(child.id() as i32),
        cgroup,
        stdout: Capture::new(stdout, directory.join("stdout"), spec.output_bytes_max),
        stderr: Capture::new(stderr, directory.join("stderr"), spec.output_bytes_max),
        buffer: vec![0; BUFFER_BYTES],
        started_ms,
        stopped_by: None,
        kill_at_ms: None,
        killed: false,
        lease_until_ms: if spec.lease.is_some() { 0 } else { u64::MAX },
        boot_id: if spec.lease.is_some() {
            procfs::boot_id()
        } else {
            String::new()
        },
    };
    let status = watch.until_end(&mut child);
    watch.finish(status)
}

impl Watch<'_> {
    /// The task's end is the end of its first process. What that left behind is killed: a batch task has no afterlife.
    fn until_end(&mut self, child: &mut Child) -> ExitStatus {
        // Blocked only after the start, because the task would inherit the mask. An end before this line is seen by `try_wait`.
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().expect("a valid signal set can be blocked");
        let ended = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .expect("a process with a handful of open files can have one more");
        // The daemon left the FIFO `control` as standard input, open for writing too, so that it does not end with the daemon.
        let control = io::stdin();
        let mut control_open = true;
        loop {
            if let Some(status) = child.try_wait().expect("the task is a child of this process") {
                return status;
            }
            let now_ms = clock::now_ms();
            self.enforce(now_ms);
            let mut sources = vec![(Source::Ended, ended.as_fd())];
            if control_open {
                sources.push((Source::Control, control.as_fd()));
            }
            sources.extend(self.outputs());
            for source in wait_ready(&sources, self.wait_ms(now_ms)) {
                match source {
                    Source::Ended => while let Ok(Some(_)) = ended.read_signal() {},
                    Source::Control => control_open = self.obey(control.as_fd()),
                    Source::Stdout => self.stdout.pump(&mut self.buffer),
                    Source::Stderr => self.stderr.pump(&mut self.buffer),
                }
            }
        }
    }

    fn outputs(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let stdout = self.stdout.pipe().map(|pipe| (Source::Stdout, pipe.as_fd()));
        let stderr = self.stderr.pipe().map(|pipe| (Source::Stderr, pipe.as_fd()));
        stdout.into_iter().chain(stderr)
    }

    /// Stops the task at its own limits. The daemon does the same a little earlier; this holds when there is no daemon.
    fn enforce(&mut self, now_ms: u64) {
        if self.limit_reached(now_ms) && self.stopped_by.is_none() {
            // The word of a new one may have been lost with a daemon that died.
            self.look_at_limit();
        }
        let limit_reached = self.limit_reached(now_ms);
        if now_ms >= self.lease_until_ms || self.lease_until_ms == 0 {
            self.look_at_lease();
        }
        if limit_reached {
            self.stop(StoppedBy::TimeLimit, now_ms);
        } else if now_ms >= self.lease_until_ms {
            self.stop(StoppedBy::Lease, now_ms);
        }
        if self.kill_at_ms.is_some_and(|kill_at| now_ms >= kill_at) && !self.killed {
            self.kill_all();
        }
    }

    fn limit_at_ms(&self) -> Option<u64> {
        (self.walltime_ms_max > 0).then(|| self.started_ms.saturating_add(self.walltime_ms_max))
    }

    fn limit_reached(&self, now_ms: u64) -> bool {
        self.limit_at_ms().is_some_and(|limit| now_ms >= limit)
    }

    fn look_at_limit(&mut self) {
        if let Some(limit) = read_record::<LimitFile>(&self.limit_path) {
            self.walltime_ms_max = limit.walltime_ms_max;
        }
    }

    /// No lease file, or one of another boot, is an ended lease.
    fn look_at_lease(&mut self) {
        let Some(path) = &self.spec.lease else { return };
        let lease = read_record::<LeaseFile>(path).filter(|lease| lease.boot_id == self.boot_id);
        // Never 0 again: that stands for "not looked yet".
        self.lease_until_ms = lease.map_or(1, |lease| lease.until_ms.max(1));
    }

    fn stop(&mut self, reason: StoppedBy, now_ms: u64) {
        if self.stopped_by.is_none() {
            self.stopped_by = Some(reason);
            self.kill_at_ms = Some(now_ms.saturating_add(self.spec.kill_grace_ms));
            self.terminate();
        }
    }

    fn terminate(&self) {
        let _ = killpg(self.group, Signal::SIGTERM);
    }

    fn kill_all(&mut self) {
        self.killed = true;
        let _ = killpg(self.group, Signal::SIGKILL);
        self.cgroup.kill();
    }

    /// Carries out the daemon's commands; `false` when no more can come.
    fn obey(&mut self, control: BorrowedFd<'_>) -> bool {
        let mut commands = [0; 16];
        match nix::unistd::read(control, &mut commands) {
            Ok(0) => return false,
            Ok(count) => {
                for command in &commands[..count] {
                    match *command {
                        CONTROL_TERM => self.terminate(),
                        CONTROL_KILL => self.kill_all(),
                        CONTROL_LIMIT => self.look_at_limit(),
                        _ => {}
                    }
                }
            }
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
            Err(_) => return false,
        }
        true
    }

    /// Milliseconds until the next limit has to be looked at.
    fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let limit = if self.stopped_by.is_none() {
            self.limit_at_ms()
        } else {
            None
        };
        let lease = (self.stopped_by.is_none() && self.spec.lease.is_some()).then_some(self.lease_until_ms);
        let kill = if self.killed { None } else { self.kill_at_ms };
        [limit, lease, kill]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_sub(now_ms))
    }

    fn finish(mut self, status: ExitStatus) -> ExitRecord {
        let wall_ms = clock::now_ms().saturating_sub(self.started_ms);
        self.kill_all();
        // What the task wrote before its end is in the pipes already; a process that escaped the kill may not hold this up.
        loop {
            let sources: Vec<_> = self.outputs().collect();
            let ready = wait_ready(&sources, Some(0));
            if ready.is_empty() {
                break;
            }
            for source in ready {
                match source {
                    Source::Stdout => self.stdout.pump(&mut self.buffer),
                    Source::Stderr => self.stderr.pump(&mut self.buffer),
                    Source::Ended | Source::Control => {}
                }
            }
        }
        let counted = self.cgroup.usage();
        self.cgroup.kill_and_remove();
        let kind = match (status.code(), status.signal()) {
            (Some(code), _) => ExitKind::Code(code),
            (None, signal) => ExitKind::Signal(signal.unwrap_or(0)),
        };
        // The kernel kills with SIGKILL when memory is out; a shell whose child it hit reports 128 + 9.
        let out_of_memory = counted.oom_kills > 0 && matches!(kind, ExitKind::Signal(9) | ExitKind::Code(137));
        let stopped_by = self.stopped_by.or(out_of_memory.then_some(StoppedBy::Memory));
        let message = match stopped_by {
            Some(StoppedBy::Memory) => "killed: it needed more memory than it asked for",
            _ => "",
        };
        let (cpu_ms, rss_mib) = children_usage();
        ExitRecord {
            kind,
            stopped_by,
            wall_ms,
            cpu_ms: counted.cpu_ms.unwrap_or(cpu_ms),
            memory_peak_mib: counted.memory_peak_mib.max(rss_mib),
            message: message.to_owned(),
            stdout_dropped: self.stdout.dropped_bytes(),
            stderr_dropped: self.stderr.dropped_bytes(),
        }
    }
}

/// CPU milliseconds and largest resident MiB of the ended children, as `wait` adds them up.
fn children_usage() -> (u64, u64) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return (0, 0);
    };
    let milliseconds = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1000 + time.tv_usec() as u64 / 1000;
    let rss_kib = u64::try_from(usage.max_rss()).unwrap_or(0);
    (
        milliseconds(usage.user_time()) + milliseconds(usage.system_time()),
        rss_kib.div_ceil(1024),
    )
}

/// Waits until one of the sources has something or has ended, or the time is over.
fn wait_ready(sources: &[(Source, BorrowedFd<'_>)], wait_ms: Option<u64>) -> Vec<Source> {
    let mut descriptors: Vec<_> = sources
        .iter()
        .map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    // A millisecond more, so that a wait that ends at a limit ends after it.
    let timeout = wait_ms.map_or(PollTimeout::NONE, |wait| {
        if wait == 0 {
            PollTimeout::ZERO
        } else {
            PollTimeout::try_from(i32::try_from(wait + 1).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
        }
    });
    // Interrupted or refused: the caller looks at its limits and asks again.
    if poll(&mut descriptors, timeout).is_err() {
        return Vec::new();
    }
    let ready = descriptors
        .iter()
        .map(|descriptor| descriptor.revents().is_some_and(|found| !found.is_empty()));
    sources
        .iter()
        .zip(ready)
        .filter(|(_, ready)| *ready)
        .map(|((source, _), _)| *source)
        .collect()
}
