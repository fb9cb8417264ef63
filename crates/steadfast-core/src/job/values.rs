//! What a job can be made of, and what it has used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What holds the processes of a job together, the strongest first.
///
/// | containment | made of | who can leave it | needs |
/// | --- | --- | --- | --- |
/// | `Cgroup` | a new cgroup (cgroups(7), version 2), in which its processes are born | nobody without the right to write another cgroup | a cgroup in which this process may make one |
/// | `Namespace` | a PID namespace (pid_namespaces(7)) with a first process of the library's | nobody | `CAP_SYS_ADMIN`, or user namespaces (then its processes have only this process's user and group); `/proc` |
/// | `Group` | a process group whose number stays taken as long as the job | whoever calls setsid(2) or setpgid(2) | `/proc`, to see whether it is empty |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Containment {
    /// A cgroup of version 2. All that is started in it is in it, whatever it does, and is killed by one call (`cgroup.kill`, Linux 5.14).
    Cgroup,
    /// A PID namespace. Its processes see other numbers than this process does: their own are small, their parent's is 0, and what they read in `/proc` is
    /// numbered as outside. So it is not taken unless it is asked for.
    Namespace,
    /// A process group (setpgid(2)). A process that makes a group or a session of its own is no member any more, and outlives the job.
    Group,
}

impl Containment {
    /// All, the strongest first.
    pub const ALL: [Containment; 3] = [Containment::Cgroup, Containment::Namespace, Containment::Group];

    /// Its name: `cgroup`, `namespace` or `group`.
    pub const fn name(self) -> &'static str {
        match self {
            Containment::Cgroup => "cgroup",
            Containment::Namespace => "namespace",
            Containment::Group => "group",
        }
    }

    /// Whether a process without privileges can leave the job, and outlive it.
    pub const fn leaks(self) -> bool {
        matches!(self, Containment::Group)
    }

    /// Whether a process notices that it is in one: what it sees of others is not what is seen from outside.
    pub const fn is_noticed(self) -> bool {
        matches!(self, Containment::Namespace)
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a job is to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobPlan {
    /// What is to hold it together.
    pub containment: Containment,
    /// The directory of the cgroup in which its own is made; `None`: the cgroup of this process.
    pub parent: Option<PathBuf>,
    /// Whether what lives in it is killed when this process is gone, as far as that can be had.
    pub dies_with_us: bool,
    /// What it may use at most.
    pub limits: JobLimits,
}

impl JobPlan {
    /// A job that is held together by this, and dies with this process if that can be had.
    pub const fn new(containment: Containment) -> JobPlan {
        JobPlan { containment, parent: None, dies_with_us: true, limits: JobLimits::NONE }
    }

    /// In the cgroup of this directory.
    pub fn parent(mut self, parent: Option<PathBuf>) -> Self {
        self.parent = parent;
        self
    }

    /// Whether what lives in it is killed when this process is gone.
    pub fn dies_with_us(mut self, dies: bool) -> Self {
        self.dies_with_us = dies;
        self
    }

    /// What it may use at most: all of these limits, or there is no job.
    pub fn limits(mut self, limits: JobLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// What all processes of a job together may use at most. `None`: as much as this process may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "it is filled field by field from a default, which a new field does not break")]
pub struct JobLimits {
    /// Memory, in bytes, of which nothing is swapped out. Who needs more is killed by the kernel (`memory.max`; `memory.limit_in_bytes` of version 1).
    pub memory: Option<u64>,
    /// Processes and threads at one time: a fork(2) beyond it fails with `EAGAIN` (`pids.max`).
    pub processes: Option<u64>,
    /// CPU time in a period of time, in thousandths of one CPU: 1,500 are one CPU and a half (`cpu.max`; `cpu.cfs_quota_us` of version 1). The kernel
    /// counts from 10 on.
    pub cpu_millis: Option<u32>,
}

impl JobLimits {
    /// None at all.
    pub const NONE: JobLimits = JobLimits { memory: None, processes: None, cpu_millis: None };

    /// Those that are set.
    pub fn kinds(&self) -> impl Iterator<Item = JobLimit> + use<> {
        let limits = *self;
        JobLimit::ALL.into_iter().filter(move |limit| limits.get(*limit).is_some())
    }

    /// One of them.
    pub fn get(&self, limit: JobLimit) -> Option<u64> {
        match limit {
            JobLimit::Memory => self.memory,
            JobLimit::Processes => self.processes,
            JobLimit::Cpu => self.cpu_millis.map(u64::from),
        }
    }

    /// Takes one of them away.
    pub fn without(mut self, limit: JobLimit) -> JobLimits {
        match limit {
            JobLimit::Memory => self.memory = None,
            JobLimit::Processes => self.processes = None,
            JobLimit::Cpu => self.cpu_millis = None,
        }
        self
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == JobLimits::NONE
    }
}

/// What of a job can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum JobLimit {
    /// [`JobLimits::memory`]
    Memory,
    /// [`JobLimits::processes`]
    Processes,
    /// [`JobLimits::cpu_millis`]
    Cpu,
}

impl JobLimit {
    /// All.
    pub const ALL: [JobLimit; 3] = [JobLimit::Memory, JobLimit::Processes, JobLimit::Cpu];

    /// The name of the controller that keeps it, as in `cgroup.controllers`: `memory`, `pids` or `cpu`.
    pub const fn controller(self) -> &'static str {
        match self {
            JobLimit::Memory => "memory",
            JobLimit::Processes => "pids",
            JobLimit::Cpu => "cpu",
        }
    }
}

/// `memory`, `processes` or `CPU time`
impl fmt::Display for JobLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            JobLimit::Memory => "memory",
            JobLimit::Processes => "processes",
            JobLimit::Cpu => "CPU time",
        })
    }
}

/// What the processes of a job have used together, those that have ended included. A field is `None` where the kernel counts it for this job
/// neither alone nor at all; of the default, nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobUsage {
    /// CPU time in user mode.
    pub user_time: Option<Duration>,
    /// CPU time in the kernel.
    pub system_time: Option<Duration>,
    /// The most memory that it has used at one time, in bytes (`memory.peak`, Linux 5.19, if the memory controller is on, as with a limit).
    pub memory_peak: Option<u64>,
    /// The most processes and threads that it has had at one time (`pids.peak`, Linux 6.1, if the pids controller is on, as with a limit).
    pub processes_peak: Option<u64>,
    /// How many processes of it the kernel has killed for want of memory (`memory.events`, if the memory controller is on, as with a limit). Their
    /// exit status is that of any `SIGKILL`: this is what tells.
    pub killed_for_memory: Option<u64>,
    /// How often a fork(2) was refused by a limit (`pids.events`, with a limit of processes).
    pub refused_forks: Option<u64>,
    /// How long its processes have waited for a CPU by a limit, all together (`throttled_usec` of `cpu.stat`, with a limit of CPU time).
    pub throttled_time: Option<Duration>,
    /// What was read from block devices, in bytes (`io.stat`, if the io controller is on).
    pub read_bytes: Option<u64>,
    /// What was written to block devices, in bytes (`io.stat`, if the io controller is on).
    pub written_bytes: Option<u64>,
}
