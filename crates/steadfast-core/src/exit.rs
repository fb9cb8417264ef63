//! [`Exit`], [`Rusage`] and [`MaxRss`]: how a process ended, and what it used.

use crate::Pid;
use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

/// The end of a process: who, how, and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exit {
    /// The PID that it had. The number may belong to somebody else by now.
    pub pid: Pid,
    /// Its exit code or the signal that ended it, as std has it.
    pub status: ExitStatus,
    /// What it and those of its descendants that it waited for used. `None` where nobody tells: its status was collected by somebody else,
    /// or the kernel is QEMU's user mode before 9.2, which accepts the argument and ignores it.
    pub rusage: Option<Rusage>,
}

impl Exit {
    /// An end, and nothing known of what was used.
    pub fn new(pid: Pid, status: ExitStatus) -> Exit {
        Exit { pid, status, rusage: None }
    }

    /// The same end with what it used.
    pub fn with_rusage(self, rusage: Rusage) -> Exit {
        Exit { rusage: Some(rusage), ..self }
    }

    /// The same end, of a child of somebody whose own peak was `peak` bytes when it had executed its program.
    pub fn of_spawner(mut self, peak: u64) -> Exit {
        match &mut self.rusage {
            Some(Rusage { max_rss: max_rss @ MaxRss::AtMost(_), .. }) if max_rss.bytes() > peak => {
                *max_rss = MaxRss::Exact(max_rss.bytes());
            }
            _ => {}
        }
        self
    }
}

/// The largest resident set that a process ever had, in bytes.
///
/// Linux carries the peak of the old memory over when a program is executed (`exec_mmap`), and the old memory of a child is its spawner's.
/// So a small child of a big parent is reported as big as its parent, by `wait4`, `waitid` and `getrusage` alike. What is above its
/// spawner's own peak is the child's; of the rest it is only known that the child had not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "it is known, or bounded")]
pub enum MaxRss {
    /// So many bytes: its own peak, or that of a descendant that it waited for.
    Exact(u64),
    /// Not more than so many bytes, which may be its spawner's peak.
    AtMost(u64),
}

impl MaxRss {
    /// The number: the peak, or what the peak was not above.
    pub fn bytes(self) -> u64 {
        match self {
            MaxRss::Exact(bytes) | MaxRss::AtMost(bytes) => bytes,
        }
    }

    /// The peak, if it is known.
    pub fn exact(self) -> Option<u64> {
        match self {
            MaxRss::Exact(bytes) => Some(bytes),
            MaxRss::AtMost(_) => None,
        }
    }
}

impl Default for MaxRss {
    /// None at all, as in a simulation.
    fn default() -> MaxRss {
        MaxRss::Exact(0)
    }
}

/// `2048 KiB`, or `at most 616448 KiB`.
impl fmt::Display for MaxRss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = if self.exact().is_some() { "" } else { "at most " };
        write!(f, "{bound}{} KiB", self.bytes() / 1024)
    }
}

/// What a process used, with what the descendants that it waited for used (getrusage(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rusage {
    /// CPU time spent in user mode.
    pub user_time: Duration,
    /// CPU time spent in the kernel.
    pub system_time: Duration,
    /// The largest resident set: its own, or only a bound.
    pub max_rss: MaxRss,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
    /// Reads from the file system's device, in blocks of 512 bytes.
    pub blocks_in: u64,
    /// Writes to the file system's device, in blocks of 512 bytes.
    pub blocks_out: u64,
    /// Times that it gave up the CPU to wait.
    pub voluntary_switches: u64,
    /// Times that the CPU was taken from it.
    pub involuntary_switches: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn seen(max_rss: MaxRss) -> Exit {
        Exit::new(Pid::MAX, ExitStatus::from_raw(0)).with_rusage(Rusage { max_rss, ..Rusage::default() })
    }

    #[test]
    fn what_is_above_the_spawners_peak_is_the_childs() {
        let judged = |max_rss, peak| seen(max_rss).of_spawner(peak).rusage.unwrap().max_rss;
        assert_eq!(judged(MaxRss::AtMost(5), 4), MaxRss::Exact(5));
        assert_eq!(judged(MaxRss::AtMost(5), 5), MaxRss::AtMost(5));
        assert_eq!(judged(MaxRss::AtMost(5), 6), MaxRss::AtMost(5));
        assert_eq!(judged(MaxRss::Exact(5), 6), MaxRss::Exact(5));
        assert_eq!(Exit::new(Pid::MAX, ExitStatus::from_raw(0)).of_spawner(0).rusage, None);
    }

    #[test]
    fn a_bound_says_that_it_is_one() {
        assert_eq!(MaxRss::Exact(2048 << 10).to_string(), "2048 KiB");
        assert_eq!(MaxRss::AtMost(2048 << 10).to_string(), "at most 2048 KiB");
        assert_eq!((MaxRss::AtMost(1).exact(), MaxRss::Exact(1).exact()), (None, Some(1)));
    }
}
