//! [`Account`]: what a job by cgroup may use at most.
//!
//! A controller is in one tree of cgroups, that of version 2 or one of version 1. If it is in that of version 2, the job's own cgroup has the limit;
//! for that, each cgroup above it has to hand the controller on (`cgroup.subtree_control`), which one with processes in it cannot. If it is in one of
//! version 1, a cgroup is made there beside the job's own, which its processes join before anything else. What they start is born there.

use super::dirs::{DIRECTORY, make_cgroup, remove, remove_abandoned};
use super::mounts::{Hierarchy, own_cgroup};
use super::obstacle::Obstacle;
use crate::file::{errno, open_at, read_at, write_at};
use crate::fork::generation;
use rustix::fs::{self, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steadfast_core::{Errno, Error, JobLimit, JobLimits, Result};

/// The limits of one job. Those of version 1 are removed with it.
pub(super) struct Account {
    limits: JobLimits,
    /// Those that version 2 has here.
    unified: Vec<JobLimit>,
    elder: Vec<Elder>,
    generation: u32,
}

/// A cgroup of version 1.
struct Elder {
    limit: JobLimit,
    parent: OwnedFd,
    /// What the names of ours begin with.
    prefix: String,
    name: String,
    dir: OwnedFd,
    tasks: Arc<OwnedFd>,
}

/// A CPU is given out in shares of this, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

impl Account {
    pub(super) fn none() -> Account {
        Account { limits: JobLimits::NONE, unified: Vec::new(), elder: Vec::new(), generation: generation() }
    }

    /// For a job whose cgroup is made in this one, of version 2.
    pub(super) fn in_place(limits: JobLimits, place: BorrowedFd<'_>) -> Account {
        let listed = read_at(place, "cgroup.controllers").unwrap_or_default();
        let is_there = |limit: &JobLimit| listed.split_whitespace().any(|word| word == limit.controller());
        Account { limits, unified: limits.kinds().filter(is_there).collect(), elder: Vec::new(), generation: generation() }
    }

    /// Whether version 2 has all of them.
    pub(super) fn is_unified(&self) -> bool {
        self.unified.len() == self.limits.kinds().count()
    }

    /// Makes and limits cgroups of version 1 for what version 2 has not.
    pub(super) fn add_elder(&mut self, prefix: &str) -> Result<()> {
        for limit in self.limits.kinds().filter(|limit| !self.unified.contains(limit)).collect::<Vec<_>>() {
            let elder = Elder::new(limit, prefix).map_err(|obstacle| obstacle.to_limit(limit))?;
            // Before it is limited: from here on it is removed if that fails.
            self.elder.push(elder);
            self.write(limit)?;
        }
        Ok(())
    }

    /// Has a cgroup hand on what version 2 is to limit in those beneath it.
    ///
    /// # Errors
    /// What was refused, and for which limit: `EBUSY` if processes live in it.
    pub(super) fn hand_on(&self, dir: BorrowedFd<'_>, path: &Path) -> Result<(), (JobLimit, Obstacle)> {
        let Some(first) = self.unified.first() else { return Ok(()) };
        let file = "cgroup.subtree_control";
        let failed = |limit: &JobLimit, call| {
            let limit = *limit;
            move |errno| (limit, Obstacle::new(call, path.join(file), errno))
        };
        let handed = read_at(dir, file).map_err(failed(first, "read"))?;
        let is_missing = |name: &str| !handed.split_whitespace().any(|word| word == name);
        let hand = |name: &str| write_at(dir, file, format!("+{name}").as_bytes());
        for limit in self.unified.iter().filter(|limit| is_missing(limit.controller())) {
            // The kernel refuses memory then. With others it turns the cgroup into a threaded one, in which there can be no jobs.
            if has_processes(dir).map_err(failed(limit, "hand on controllers by"))? {
                return Err(failed(limit, "hand on controllers by")(Errno::BUSY));
            }
            hand(limit.controller()).map_err(failed(limit, "write"))?;
        }
        // Whoever has limits wants to know what was used; and if that cannot be had, `JobUsage` says so.
        let is_limited = |name: &str| self.unified.iter().any(|limit| limit.controller() == name);
        let counted = ["memory", "pids", "io"].into_iter().filter(|name| is_missing(name) && !is_limited(name));
        for name in counted {
            if has_processes(dir) == Ok(false) {
                _ = hand(name);
            }
        }
        Ok(())
    }

    /// Limits the job's own cgroup.
    pub(super) fn limit(&self, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
        self.unified.iter().try_for_each(|limit| {
            let (file, text) = self.unified_limit(*limit);
            write_at(dir, file, text.as_bytes())
                .map_err(|errno| Obstacle::new("write", path.join(file), errno).to_limit(*limit))?;
            if *limit == JobLimit::Memory {
                // Not there without swap.
                _ = write_at(dir, "memory.swap.max", b"0");
            }
            Ok(())
        })
    }

    fn unified_limit(&self, limit: JobLimit) -> (&'static str, String) {
        match limit {
            JobLimit::Cpu => ("cpu.max", format!("{} {PERIOD}", self.quota())),
            JobLimit::Processes => ("pids.max", self.number(limit).to_string()),
            _ => ("memory.max", self.number(limit).to_string()),
        }
    }

    fn number(&self, limit: JobLimit) -> u64 {
        self.limits.get(limit).unwrap_or(u64::MAX)
    }

    /// In microseconds of each period.
    fn quota(&self) -> u64 {
        self.number(JobLimit::Cpu) * PERIOD / 1000
    }

    /// Limits the cgroup of version 1 that was just made.
    fn write(&self, limit: JobLimit) -> Result<()> {
        let Some(elder) = self.elder.last() else { return Ok(()) };
        let write = |file: &str, number: u64| {
            write_at(&elder.dir, file, number.to_string().as_bytes())
                .map_err(|errno| Obstacle::new("write", Path::new(&elder.name).join(file), errno).to_limit(limit))
        };
        match limit {
            JobLimit::Cpu => {
                write("cpu.cfs_period_us", PERIOD)?;
                write("cpu.cfs_quota_us", self.quota())
            }
            JobLimit::Processes => write("pids.max", self.number(limit)),
            _ => {
                write("memory.limit_in_bytes", self.number(limit))?;
                // With swap; not there without it.
                write("memory.memsw.limit_in_bytes", self.number(limit)).or_else(|error| match error {
                    Error::NoLimit { errno: Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::ACCES), .. } => Ok(()),
                    error => Err(error),
                })
            }
        }
    }

    /// Whether the kernel may kill in it for want of memory.
    pub(super) fn limits_memory(&self) -> bool {
        self.limits.get(JobLimit::Memory).is_some()
    }

    /// What a process has to join.
    pub(super) fn tasks(&self) -> Vec<Arc<OwnedFd>> {
        self.elder.iter().map(|elder| Arc::clone(&elder.tasks)).collect()
    }

    /// The cgroups of version 1.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &OwnedFd> {
        self.elder.iter().map(|elder| &elder.dir)
    }

    /// A file of the cgroup of version 1 that has this limit.
    pub(super) fn read(&self, limit: JobLimit, file: &str) -> Option<String> {
        let elder = self.elder.iter().find(|elder| elder.limit == limit)?;
        read_at(&elder.dir, file).ok()
    }
}

/// Nothing lives there any more, and if something does, it stays: it may have left the job's own cgroup by privileges.
impl Drop for Account {
    fn drop(&mut self) {
        // In the child of a fork(2) it is the parent's.
        if self.generation == generation() {
            for elder in &self.elder {
                _ = remove(elder.parent.as_fd(), &elder.name, &elder.prefix);
            }
        }
    }
}

impl Elder {
    fn new(limit: JobLimit, prefix: &str) -> Result<Elder, Obstacle> {
        let path = own_cgroup(Hierarchy::Of(limit.controller()))?;
        let failed = |call, path: PathBuf| move |errno| Obstacle::new(call, path.clone(), errno);
        let parent = fs::open(&path, DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(errno);
        let parent = parent.map_err(failed("open", path.clone()))?;
        remove_abandoned(&parent, prefix);
        let (name, dir) = make_cgroup(&parent, &path, prefix, prefix)?;
        match open_at(&dir, "tasks", OFlags::WRONLY) {
            Ok(tasks) => Ok(Elder { limit, parent, prefix: prefix.to_owned(), name, dir, tasks: Arc::new(tasks) }),
            Err(errno) => {
                _ = remove(parent.as_fd(), &name, prefix);
                Err(Obstacle::new("open", path.join(name).join("tasks"), errno))
            }
        }
    }
}

/// Whether any live in it by themselves, and not in one beneath it. In the root they may, and hinder nothing.
fn has_processes(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let is_root = open_at(dir, "cgroup.type", OFlags::RDONLY).is_err_and(|errno| errno == Errno::NOENT);
    Ok(!is_root && !read_at(dir, "cgroup.procs")?.is_empty())
}
