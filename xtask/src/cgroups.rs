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

/// Those of version 1, and of no other, that this process's jobs have now: by their names, beneath its own.
pub fn elder() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let points = mounts.lines().filter(|line| line.contains(" - cgroup ")).filter_map(|line| line.split(' ').nth(4));
    let own = |point: &str| {
        let controller = point.rsplit('/').next()?;
        cgroups.lines().find_map(|line| Some(PathBuf::from(point).join(line.split_once(&format!(":{controller}:/"))?.1)))
    };
    let owner = format!("-{}-", std::process::id());
    let below = points.filter_map(own).flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let ours = |name: &str| name.starts_with("steadfast-") && name.contains(&owner);
    below.filter(|entry| entry.file_name().to_str().is_some_and(ours)).map(|entry| entry.path()).collect()
}
