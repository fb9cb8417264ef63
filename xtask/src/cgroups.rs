//! Where cgroups of version 2 are, for tests and benchmarks that look at what the library has made.

use std::fs;
use std::path::PathBuf;

/// Where they are mounted (proc_pid_mountinfo(5)).
pub fn mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter(|line| line.contains(" - cgroup2 ")).filter_map(|line| line.split(' ').nth(4));
    points.map(PathBuf::from).collect()
}

/// That of a process, in the first mount; `None`: there is no such process, or no mount.
pub fn of(pid: impl std::fmt::Display) -> Option<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mounts().first()?.join(path))
}
