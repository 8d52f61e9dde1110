//! Control groups for memory and CPU, version 1 or 2, where the kernel offers them writable.
//!
//! The daemon looks once ([`CgroupPlan::detect`]) and makes one parent directory; each supervisor makes a child of it for its task,
//! steps in, starts the task there, and steps out again, so that the task is inside from its first instruction and the
//! supervisor's own few pages are not on the task's bill.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Period of the CPU quota in microseconds; a quota of `cpu_milli` is this many microseconds times `cpu_milli` / 1000.
const CPU_PERIOD_US: u64 = 100_000;

/// One hierarchy in which each task gets a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Directory in which tasks' directories are made.
    pub parent: PathBuf,
    /// Where the daemon lives; supervisors step back to it.
    pub home: PathBuf,
}

/// What this machine's kernel offers for limiting tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupPlan {
    /// Nothing writable: memory and CPU are reserved on paper only.
    #[default]
    None,
    /// Version 1, each controller a hierarchy of its own.
    V1 {
        /// The memory controller, if writable.
        memory: Option<Hierarchy>,
        /// The CPU controller, if writable.
        cpu: Option<Hierarchy>,
    },
    /// Version 2, one hierarchy for both.
    V2(Hierarchy),
}

impl CgroupPlan {
    /// Looks at this machine and makes the parent directory, named after `label` (unique per agent on the machine).
    pub fn detect(label: &str) -> CgroupPlan {
        let (Ok(mounts), Ok(own)) = (
            fs::read_to_string("/proc/mounts"),
            fs::read_to_string("/proc/self/cgroup"),
        ) else {
            return CgroupPlan::None;
        };
        if let Some(mount) = mount_point(&mounts, "cgroup2", None)
            && let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/"))
            && let Some(hierarchy) = prepare_v2(&mount.join(path), label)
        {
            return CgroupPlan::V2(hierarchy);
        }
        let v1 = |controller: &str| {
            let mount = mount_point(&mounts, "cgroup", Some(controller))?;
            let path = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let controllers = fields.next()?;
                controllers
                    .split(',')
                    .any(|name| name == controller)
                    .then(|| fields.next())
                    .flatten()
            })?;
            let home = mount.join(path.trim_start_matches('/'));
            let parent = home.join(label);
            fs::create_dir_all(&parent).ok()?;
            Some(Hierarchy { parent, home })
        };
        let (memory, cpu) = (v1("memory"), v1("cpu"));
        if memory.is_none() && cpu.is_none() {
            CgroupPlan::None
        } else {
            CgroupPlan::V1 { memory, cpu }
        }
    }

    /// Whether memory limits are enforced.
    pub fn limits_memory(&self) -> bool {
        matches!(self, CgroupPlan::V2(_) | CgroupPlan::V1 { memory: Some(_), .. })
    }

    fn hierarchies(&self) -> Vec<&Hierarchy> {
        match self {
            CgroupPlan::None => Vec::new(),
            CgroupPlan::V1 { memory, cpu } => memory.iter().chain(cpu).collect(),
            CgroupPlan::V2(hierarchy) => vec![hierarchy],
        }
    }

    /// The file through which a process with one thread moves itself. Version 1 has one for single threads, which does not take the
    /// kernel's lock against forks: with `cgroup.procs` every fork of the machine waits for every move, tens of milliseconds each.
    fn entrance(&self) -> &'static str {
        match self {
            CgroupPlan::None | CgroupPlan::V2(_) => "cgroup.procs",
            CgroupPlan::V1 { .. } => "tasks",
        }
    }

    /// The groups of a task that a supervisor made.
    pub fn of_task(&self, task: &str) -> TaskCgroup {
        TaskCgroup {
            plan: self.clone(),
            task: task.to_owned(),
        }
    }

    /// Removes the parent directories, unless tasks are still in them.
    pub fn remove_if_empty(&self) {
        for hierarchy in self.hierarchies() {
            let _ = fs::remove_dir(&hierarchy.parent);
        }
    }
}

/// The directory of one task in every hierarchy of the plan.
pub struct TaskCgroup {
    plan: CgroupPlan,
    task: String,
}

/// What the kernel counted for one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupUsage {
    /// Largest memory in use, MiB, rounded up.
    pub memory_peak_mib: u64,
    /// Processes killed because the limit was reached.
    pub oom_kills: u64,
    /// CPU time in milliseconds, when the group counts it.
    pub cpu_ms: Option<u64>,
}

impl TaskCgroup {
    /// Makes the task's groups, sets their limits and moves the calling process into them.
    pub fn enter(plan: &CgroupPlan, task: &str, cpu_milli: u64, memory_mib: u64) -> io::Result<TaskCgroup> {
        let cgroup = plan.of_task(task);
        let result = cgroup.make_and_enter(cpu_milli, memory_mib);
        if result.is_err() {
            cgroup.leave();
            cgroup.kill_and_remove();
        }
        result.map(|()| cgroup)
    }

    fn make_and_enter(&self, cpu_milli: u64, memory_mib: u64) -> io::Result<()> {
        for hierarchy in self.plan.hierarchies() {
            fs::create_dir_all(hierarchy.parent.join(&self.task))?;
        }
        // The kernel refuses a quota under a millisecond.
        let quota_us = (cpu_milli.saturating_mul(CPU_PERIOD_US) / 1000).max(1000);
        let memory_bytes = memory_mib.saturating_mul(1 << 20);
        match &self.plan {
            CgroupPlan::None => {}
            CgroupPlan::V1 { memory, cpu } => {
                if let Some(hierarchy) = memory.as_ref().filter(|_| memory_mib > 0) {
                    fs::write(self.file(hierarchy, "memory.limit_in_bytes"), memory_bytes.to_string())?;
                }
                if let Some(hierarchy) = cpu.as_ref().filter(|_| cpu_milli > 0) {
                    fs::write(self.file(hierarchy, "cpu.cfs_period_us"), CPU_PERIOD_US.to_string())?;
                    fs::write(self.file(hierarchy, "cpu.cfs_quota_us"), quota_us.to_string())?;
                }
            }
            CgroupPlan::V2(hierarchy) => {
                if memory_mib > 0 {
                    fs::write(self.file(hierarchy, "memory.max"), memory_bytes.to_string())?;
                    // Absent where the kernel has no swap accounting; the limit above then holds alone.
                    let _ = fs::write(self.file(hierarchy, "memory.swap.max"), "0");
                }
                if cpu_milli > 0 {
                    fs::write(self.file(hierarchy, "cpu.max"), format!("{quota_us} {CPU_PERIOD_US}"))?;
                }
            }
        }
        for hierarchy in self.plan.hierarchies() {
            fs::write(self.file(hierarchy, self.plan.entrance()), "0")?;
        }
        Ok(())
    }

    /// Moves the calling process back to where the daemon lives.
    pub fn leave(&self) {
        for hierarchy in self.plan.hierarchies() {
            // When this fails the supervisor stays inside, is counted there, and the group stays behind until the daemon clears it.
            let _ = fs::write(hierarchy.home.join(self.plan.entrance()), "0");
        }
    }

    /// What was counted so far.
    pub fn usage(&self) -> CgroupUsage {
        let (memory, cpu) = match &self.plan {
            CgroupPlan::None => (None, None),
            CgroupPlan::V1 { memory, cpu } => (memory.as_ref(), cpu.as_ref()),
            CgroupPlan::V2(hierarchy) => (Some(hierarchy), Some(hierarchy)),
        };
        let read = |hierarchy: Option<&Hierarchy>, name: &str| {
            hierarchy
                .and_then(|hierarchy| fs::read_to_string(self.file(hierarchy, name)).ok())
                .unwrap_or_default()
        };
        let number = |text: String| text.trim().parse::<u64>().ok();
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
        };
        let (peak_bytes, events, cpu_ms) = match self.plan {
            CgroupPlan::None => (None, String::new(), None),
            CgroupPlan::V1 { .. } => (
                number(read(memory, "memory.max_usage_in_bytes")),
                read(memory, "memory.oom_control"),
                // There when the kernel mounts cpuacct together with cpu, as most do.
                number(read(cpu, "cpuacct.usage")).map(|nanoseconds| nanoseconds / 1_000_000),
            ),
            CgroupPlan::V2(_) => (
                number(read(memory, "memory.peak")),
                read(memory, "memory.events"),
                field(&read(cpu, "cpu.stat"), "usage_usec").map(|microseconds| microseconds / 1000),
            ),
        };
        CgroupUsage {
            memory_peak_mib: peak_bytes.unwrap_or(0).div_ceil(1 << 20),
            oom_kills: field(&events, "oom_kill").unwrap_or(0),
            cpu_ms,
        }
    }

    /// Sends SIGKILL to every process in the task's groups.
    pub fn kill(&self) {
        for hierarchy in self.plan.hierarchies() {
            if fs::write(self.file(hierarchy, "cgroup.kill"), "1").is_ok() {
                continue;
            }
            let Ok(procs) = fs::read_to_string(self.file(hierarchy, "cgroup.procs")) else {
                continue;
            };
            let own = std::process::id() as i32;
            for pid in procs
                .lines()
                .filter_map(|line| line.parse::<i32>().ok())
                .filter(|pid| *pid != own && *pid > 0)
            {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Kills what is left and removes the groups. Killed processes take a moment to leave, so this tries for up to a second.
    pub fn kill_and_remove(&self) {
        for hierarchy in self.plan.hierarchies() {
            let directory = hierarchy.parent.join(&self.task);
            for _ in 0..200 {
                match fs::remove_dir(&directory) {
                    Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EBUSY as i32) => {
                        self.kill();
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }

    fn file(&self, hierarchy: &Hierarchy, name: &str) -> PathBuf {
        hierarchy.parent.join(&self.task).join(name)
    }
}

/// Where a hierarchy is mounted; `controller` is looked for among the mount options of version 1.
fn mount_point(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, point, found, options, ..] = fields[..] else {
            return None;
        };
        let matches = found == kind && controller.is_none_or(|name| options.split(',').any(|option| option == name));
        matches.then(|| PathBuf::from(point))
    })
}

/// In version 2 a group with processes of its own cannot hand controllers down, so the daemon lives in a leaf called `daemon`
/// beside the tasks' parent (systemd's `DelegateSubgroup=daemon` puts it there; otherwise it moves itself).
fn prepare_v2(own: &Path, label: &str) -> Option<Hierarchy> {
    let in_leaf = own.file_name().is_some_and(|name| name == "daemon");
    let base = if in_leaf { own.parent()? } else { own };
    let offered = fs::read_to_string(base.join("cgroup.controllers")).ok()?;
    if !["memory", "cpu"]
        .iter()
        .all(|name| offered.split_whitespace().any(|found| found == *name))
    {
        return None;
    }
    let hand_down = |directory: &Path| fs::write(directory.join("cgroup.subtree_control"), "+memory +cpu");
    let mut home = own.to_path_buf();
    if hand_down(base).is_err() {
        home = base.join("daemon");
        fs::create_dir_all(&home).ok()?;
        fs::write(home.join("cgroup.procs"), "0").ok()?;
        hand_down(base).ok()?;
    }
    let parent = base.join(label);
    fs::create_dir_all(&parent).ok()?;
    hand_down(&parent).ok()?;
    Some(Hierarchy { parent, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_apart_by_version_and_controller() {
        let mounts = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let at = |kind, controller| mount_point(mounts, kind, controller).map(|path| path.display().to_string());
        assert_eq!(at("cgroup", Some("cpu")).as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(at("cgroup", Some("memory")).as_deref(), Some("/sys/fs/cgroup/memory"));
        assert_eq!(at("cgroup", Some("pids")), None);
        assert_eq!(at("cgroup2", None).as_deref(), Some("/sys/fs/cgroup/unified"));
    }
}
