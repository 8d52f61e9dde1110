//! What `/proc` says about processes: who is alive, since when, and in which session.
//!
//! A pid alone names nobody, because the kernel reuses it. A process is named by (boot, pid, start time).

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// One process of one boot, safe against reuse of its pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Its pid.
    pub pid: i32,
    /// Clock ticks since boot at which it started.
    pub start_ticks: u64,
    /// The kernel's id of this boot.
    pub boot_id: String,
}

impl ProcessName {
    /// The calling process; `None` when `/proc` cannot be read.
    pub fn own() -> Option<ProcessName> {
        let pid = std::process::id() as i32;
        let stat = stat(pid)?;
        Some(ProcessName {
            pid,
            start_ticks: stat.start_ticks,
            boot_id: boot_id(),
        })
    }
}

/// The kernel's id of this boot; empty when it cannot be read.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The fields of `/proc/PID/stat` used here.
struct Stat {
    state: char,
    session: i32,
    start_ticks: u64,
}

impl Stat {
    fn dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything, parentheses included; the fields follow the last one.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Kills what is left of the session that `leader` led. Safe against reuse: the kernel gives a session's number to nobody while
/// a member lives, so a living process of that number with another start time means that nothing of the old session is left.
/// Returns how many processes were signalled.
pub fn kill_session(leader: &ProcessName) -> usize {
    if leader.boot_id != boot_id() || stat(leader.pid).is_some_and(|stat| stat.start_ticks != leader.start_ticks) {
        return 0;
    }
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let mut killed = 0;
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Some(stat) = stat(pid) else { continue };
        // Members started after their leader; an older process cannot be one.
        if stat.session == leader.pid && stat.start_ticks >= leader.start_ticks && !stat.dead() {
            killed += usize::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
        }
    }
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_not_whoever_has_its_pid_next() {
        let own = ProcessName::own().expect("proc is mounted where tests run");
        assert_eq!(own.pid as u32, std::process::id());
        // Were either taken for the test itself, the test would not come to its end.
        let reused = ProcessName {
            start_ticks: own.start_ticks + 1,
            ..own.clone()
        };
        assert_eq!(kill_session(&reused), 0);
        assert_eq!(
            kill_session(&ProcessName {
                boot_id: "another".into(),
                ..own
            }),
            0
        );
    }
}
