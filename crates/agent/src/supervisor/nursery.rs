//! The nursery: one small process beside the daemon that forks a supervisor for each task.
//!
//! Executing the daemon's own large binary anew for each task would cost more than `/bin/true` itself: the loader maps and relocates
//! megabytes of which a supervisor uses little. The nursery is executed once, has one thread and no runtime, and a fork of it
//! begins at once. It is told by a socket: the task's directory, and with it two descriptors, the read end of `control` and the
//! spec in a file without a name. It answers nothing. Whatever goes wrong closes the read end, which is how the daemon
//! learns of the end of every supervisor; so the death of the nursery costs only the starts it had not got to.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Seek};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stdin, fork};

use crate::supervisor::spec::TaskSpec;

/// First argument by which a binary knows that it is to be the nursery.
pub const NURSERY_ARGUMENT: &str = "__tasks";

/// A directory's path is not longer: the kernel takes none that is.
const PATH_BYTES_MAX: usize = 4096;

/// The daemon's end.
pub struct Nursery {
    binary: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    socket: OwnedFd,
    process: Child,
}

impl Nursery {
    /// Starts the nursery; `binary` is one whose `main` hands over to [`supervisor_main`](super::supervisor_main).
    pub fn start(binary: &Path) -> io::Result<Nursery> {
        let running = Mutex::new(Some(Running::start(binary)?));
        Ok(Nursery {
            binary: binary.to_owned(),
            running,
        })
    }

    /// Asks for a supervisor of the task in `directory`, which takes over `control`. A nursery that has died is replaced.
    pub fn supervise(&self, directory: &Path, control: File, spec: &TaskSpec) -> io::Result<()> {
        let mut file = File::from(memfd_create("hesuan-spec", MFdFlags::MFD_CLOEXEC)?);
        serde_json::to_writer(io::BufWriter::new(&mut file), spec)?;
        file.rewind()?;
        let descriptors = [control.as_raw_fd(), file.as_raw_fd()];
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nursery) = running.as_ref() {
            match nursery.send(directory, &descriptors) {
                Err(Errno::EPIPE | Errno::ECONNRESET) => tracing::warn!("the nursery died and is replaced"),
                sent => return Ok(sent?),
            }
        }
        if let Some(dead) = running.take() {
            dead.end();
        }
        let nursery = running.insert(Running::start(&self.binary)?);
        Ok(nursery.send(directory, &descriptors)?)
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        if let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            running.end();
        }
    }
}

impl Running {
    fn start(binary: &Path) -> io::Result<Running> {
        let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let process = Command::new(binary)
            .arg(NURSERY_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Running { socket, process })
    }

    fn send(&self, directory: &Path, descriptors: &[RawFd]) -> nix::Result<()> {
        let path = [IoSlice::new(directory.as_os_str().as_bytes())];
        let rights = [ControlMessage::ScmRights(descriptors)];
        loop {
            match sendmsg::<()>(self.socket.as_raw_fd(), &path, &rights, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                sent => return sent.map(|_| ()),
            }
        }
    }

    /// It ends when nobody can tell it anything any more; supervisors go on.
    fn end(self) {
        let Running { socket, mut process } = self;
        drop(socket);
        let _ = process.wait();
    }
}

/// What a supervisor begins with; `control` is its standard input.
pub(super) struct Birth {
    pub(super) directory: PathBuf,
    pub(super) spec: File,
}

/// Runs the nursery on the socket that is its standard input. Returns in every forked supervisor with its task, and in the nursery with
/// nothing once the daemon is gone.
pub(super) fn nurse() -> Option<Birth> {
    // A signal to the daemon's terminal is the daemon's affair.
    let _ = nix::unistd::setsid();
    let mut ended_children = SigSet::empty();
    ended_children.add(Signal::SIGCHLD);
    ended_children.thread_block().ok()?;
    let ended = SignalFd::with_flags(&ended_children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()?;
    let socket = io::stdin();
    loop {
        let mut ready = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        if ready[1].any().unwrap_or(false) {
            while let Ok(Some(_)) = ended.read_signal() {}
            reap();
        }
        if !ready[0].any().unwrap_or(false) {
            continue;
        }
        let (directory, [control, spec]) = match receive(socket.as_raw_fd()) {
            Ok(Received::Task(directory, descriptors)) => (directory, descriptors),
            Ok(Received::Rubbish) | Err(Errno::EINTR) => continue,
            Ok(Received::End) | Err(_) => return None,
        };
        // SAFETY: this process has one thread, so the child may do everything a process may do.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            // In place of the socket, so that no supervisor keeps that open.
            dup2_stdin(&control).ok()?;
            ended_children.thread_unblock().ok()?;
            return Some(Birth {
                directory,
                spec: spec.into(),
            });
        }
        // A fork that failed ends as a supervisor would that was killed at once: the read end is closed.
    }
}

fn reap() {
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

enum Received {
    Task(PathBuf, [OwnedFd; 2]),
    /// Not what the daemon sends; what came with it is closed.
    Rubbish,
    End,
}

fn receive(socket: RawFd) -> nix::Result<Received> {
    let mut path = [0; PATH_BYTES_MAX];
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let mut buffers = [IoSliceMut::new(&mut path)];
    let message = recvmsg::<()>(socket, &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let bytes = message.bytes;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these for this process and nobody else knows them.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if bytes == 0 {
        return Ok(Received::End);
    }
    let directory = PathBuf::from(OsStr::from_bytes(&path[..bytes]));
    Ok(match <[OwnedFd; 2]>::try_from(descriptors) {
        Ok(descriptors) => Received::Task(directory, descriptors),
        Err(_) => Received::Rubbish,
    })
}
