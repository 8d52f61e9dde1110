//! Starting the task: where its program is, what it inherits, and whose fault it is when it does not start.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::supervisor::cgroup::TaskCgroup;
use crate::supervisor::spec::TaskSpec;

/// Where programs are looked for unless the spec sets PATH.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A task that runs.
pub struct Launched {
    /// Its first process, leader of a process group of its own.
    pub child: Child,
    /// Its control groups; empty where there are none.
    pub cgroup: TaskCgroup,
}

/// A task that does not.
#[derive(Debug)]
pub struct LaunchFailed {
    /// Whether the spec is to blame and not this machine.
    pub user: bool,
    /// What was tried and why it failed.
    pub message: String,
}

/// Starts the task in its control groups. The calling process is outside of them again afterwards.
pub fn launch(directory: &Path, spec: &TaskSpec) -> Result<Launched, LaunchFailed> {
    let mut command = command(directory, spec)?;
    let ours = |what: &str, error: io::Error| LaunchFailed {
        user: false,
        message: format!("{what}: {error}"),
    };
    set_limits(spec).map_err(|error| ours("cannot set limits", error.into()))?;
    let cgroup = TaskCgroup::enter(&spec.cgroup, &spec.task, spec.cpu_milli, spec.memory_mib)
        .map_err(|error| ours("cannot enter the control group", error))?;
    let started = spawn(&mut command);
    cgroup.leave();
    match started {
        Ok(child) => Ok(Launched { child, cgroup }),
        Err(error) => {
            cgroup.kill_and_remove();
            Err(blame(&command, &error))
        }
    }
}

fn command(directory: &Path, spec: &TaskSpec) -> Result<Command, LaunchFailed> {
    let script = directory.join("script");
    let mut command = match spec.command.split_first() {
        Some((program, arguments)) => {
            let path = spec
                .environment
                .iter()
                .rev()
                .find(|(name, _)| name == "PATH")
                .map(|(_, path)| path.as_str());
            let mut command = Command::new(find_program(program, path.unwrap_or(PATH_DEFAULT))?);
            command.arg0(program).args(arguments);
            command
        }
        None if has_interpreter_line(&script) => Command::new(&script),
        None => {
            let mut command = Command::new("/bin/sh");
            command.arg(&script);
            command
        }
    };
    command
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory.join("home"))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// Finds the program as a shell would, so that `Command` needs no search of its own and can use `posix_spawn`.
fn find_program(program: &str, path: &str) -> Result<PathBuf, LaunchFailed> {
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let executable = |candidate: &PathBuf| {
        fs::metadata(candidate).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    path.split(':')
        .filter(|part| !part.is_empty())
        .map(|part| Path::new(part).join(program))
        .find(executable)
        .ok_or_else(|| LaunchFailed {
            user: true,
            message: format!("no program {program:?} in PATH {path:?} at this site"),
        })
}

fn has_interpreter_line(script: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(script)
        .and_then(|mut file| io::Read::read_exact(&mut file, &mut start))
        .is_ok()
        && &start == b"#!"
}

/// The limits are set here and inherited by the task. A limit over the machine's own is cut to that.
fn set_limits(spec: &TaskSpec) -> nix::Result<()> {
    for (resource, wanted) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, spec.open_files_max),
        (Resource::RLIMIT_FSIZE, spec.file_bytes_max),
    ] {
        let (_, hard) = getrlimit(resource)?;
        let limit = wanted.min(hard);
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

/// A script may be "busy" for a moment: another process that was being started when the daemon wrote it holds its copy of the
/// daemon's descriptor until it executes. Waiting is the only cure.
fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
    command.spawn()
}

fn blame(command: &Command, error: &io::Error) -> LaunchFailed {
    let user = match error.raw_os_error().map(Errno::from_raw) {
        Some(code) => matches!(
            code,
            Errno::ENOENT
                | Errno::EACCES
                | Errno::EPERM
                | Errno::ENOEXEC
                | Errno::ENOTDIR
                | Errno::EISDIR
                | Errno::E2BIG
                | Errno::ENAMETOOLONG
                | Errno::ELOOP
        ),
        // A zero byte within an argument is found before the kernel is asked.
        None => error.kind() == io::ErrorKind::InvalidInput,
    };
    LaunchFailed {
        user,
        message: format!("cannot start {}: {error}", command.get_program().to_string_lossy()),
    }
}
