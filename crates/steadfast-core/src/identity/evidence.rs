//! [`Evidence`]: what tells one life of a number from the next.

use std::time::Duration;

/// What tells one life of a PID from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "each that there is, and both; another kind of evidence needs another version of the text"
)]
pub enum Evidence {
    /// Its number in pidfs, the kernel's file system of pidfds: the inode of each of its pidfds and, since Linux 6.14, its file handle. Since Linux
    /// 6.9 each process of a boot has its own, of 64 bits, in whatever namespace. Before, all pidfds had one inode.
    Pidfs(u64),
    /// Its start time, where there is no such number, or no pidfd to ask.
    StartTime(StartTime),
    /// Both: programs with pidfds and without can reopen it.
    Both(u64, StartTime),
}

/// When a process was started, in ticks since the boot: field 22 of `/proc/PID/stat` (proc_pid_stat(5)), 100 a second. Not wall-clock time,
/// which can be set.
///
/// Two lives of one number can be started in one tick, of 10 ms. So a start time alone is no name. But if the process was seen alive *after* that
/// tick was over, its number was not free before the next one, and no later process of its number can have been started in the same: such a
/// start time is **exact**. (Linux reads the clock after it has given the number, since 5.0. Before, a program could delay a fork in
/// between: CVE-2019-6133.)
///
/// Time namespaces shift start times (time_namespaces(7)). In any but the first, none is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StartTime {
    ticks: u64,
    is_exact: bool,
}

impl Evidence {
    /// All that there is; `None` if there is none.
    pub fn of(pidfs: Option<u64>, start_time: Option<StartTime>) -> Option<Evidence> {
        Some(match (pidfs, start_time) {
            (Some(pidfs), Some(start_time)) => Evidence::Both(pidfs, start_time),
            (Some(pidfs), None) => Evidence::Pidfs(pidfs),
            (None, Some(start_time)) => Evidence::StartTime(start_time),
            (None, None) => return None,
        })
    }

    /// The number in pidfs.
    pub fn pidfs(self) -> Option<u64> {
        match self {
            Evidence::Pidfs(number) | Evidence::Both(number, _) => Some(number),
            Evidence::StartTime(_) => None,
        }
    }

    /// The start time.
    pub fn start_time(self) -> Option<StartTime> {
        match self {
            Evidence::StartTime(start_time) | Evidence::Both(_, start_time) => Some(start_time),
            Evidence::Pidfs(_) => None,
        }
    }
}

impl StartTime {
    /// How long a tick is.
    pub const TICK: Duration = Duration::from_millis(10);

    /// Of a process that was started in the tick `ticks`, and was alive when the clock was read in the tick `now`.
    pub fn seen(ticks: u64, now: u64) -> StartTime {
        StartTime { ticks, is_exact: now > ticks }
    }

    pub(super) fn from_text(ticks: u64, is_exact: bool) -> StartTime {
        StartTime { ticks, is_exact }
    }

    /// In ticks since the boot.
    pub fn ticks(self) -> u64 {
        self.ticks
    }

    /// Whether no later process of the same number can have the same one.
    pub fn is_exact(self) -> bool {
        self.is_exact
    }

    /// Whether two processes of one number are one and the same; `None` if that cannot be told.
    pub fn is_same(self, other: StartTime) -> Option<bool> {
        match self.ticks == other.ticks {
            false => Some(false),
            // Each was alive at the end of the tick, when only one can have had the number.
            true => (self.is_exact && other.is_exact).then_some(true),
        }
    }
}
