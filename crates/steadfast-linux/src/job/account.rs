//! [`Account`]: what a job by cgroup may use at most.
//!
//! A controller is in one tree of cgroups, that of version 2 or one of version 1. If it is in that of version 2, the job's own cgroup has the limit;
//! for that, each cgroup above it has to hand the controller on (`cgroup.subtree_control`), which one with processes in it cannot. If it is in one of
//! version 1, a cgroup is made there beside the job's own, which its processes join before anything else. What they start is born there.

use super::mounts::{Hierarchy, own_cgroup};
use super::obstacle::Obstacle;
use super::place::{DIRECTORY, make_cgroup, remove, remove_abandoned};
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
        Account::with(JobLimits::NONE)
    }

    fn with(limits: JobLimits) -> Account {
        Account { limits, unified: Vec::new(), elder: Vec::new(), generation: generation() }
    }

    /// For a job whose cgroup is made in this one. Those of version 1 are made and limited.
    pub(super) fn new(limits: JobLimits, place: BorrowedFd<'_>, prefix: &str) -> Result<Account> {
        let mut account = Account::with(limits);
        for limit in limits.kinds() {
            if has_controller(place, limit) {
                account.unified.push(limit);
            } else {
                let elder = Elder::new(limit, prefix).map_err(|obstacle| obstacle.to_limit(limit))?;
                // Before it is limited: from here on it is removed if that fails.
                account.elder.push(elder);
                account.write(limit)?;
            }
        }
        Ok(account)
    }

    /// Has a cgroup hand on what version 2 is to limit in those beneath it.
    ///
    /// # Errors
    /// What was refused, and for which limit.
    pub(super) fn hand_on(&self, dir: BorrowedFd<'_>, path: &Path) -> Result<(), (JobLimit, Obstacle)> {
        let file = "cgroup.subtree_control";
        let failed = |call, limit| move |errno| (limit, Obstacle::new(call, path.join(file), errno));
        for limit in &self.unified {
            let handed = read_at(dir, file).map_err(failed("read", *limit))?;
            if !handed.split_whitespace().any(|word| word == limit.controller()) {
                write_at(dir, file, format!("+{}", limit.controller()).as_bytes()).map_err(failed("write", *limit))?;
            }
        }
        // Whoever has limits wants to know what was used; and if that cannot be had, `JobUsage` says so.
        if !self.unified.is_empty() {
            for counted in [&b"+memory"[..], b"+pids", b"+io"] {
                _ = write_at(dir, file, counted);
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

/// Whether the one of this limit is there for those in a cgroup of version 2.
fn has_controller(dir: BorrowedFd<'_>, limit: JobLimit) -> bool {
    let listed = read_at(dir, "cgroup.controllers").unwrap_or_default();
    listed.split_whitespace().any(|word| word == limit.controller())
}
