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
}

impl JobPlan {
    /// A job that is held together by this, and dies with this process if that can be had.
    pub const fn new(containment: Containment) -> JobPlan {
        JobPlan { containment, parent: None, dies_with_us: true }
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
    /// The most memory that it has used at one time, in bytes (`memory.peak`, Linux 5.19, if the memory controller is on).
    pub memory_peak: Option<u64>,
    /// The most processes and threads that it has had at one time (`pids.peak`, Linux 6.1, if the pids controller is on).
    pub processes_peak: Option<u64>,
    /// How many processes and threads of it the kernel has killed for want of memory (`memory.events`, if the memory controller is on).
    pub killed_for_memory: Option<u64>,
}
