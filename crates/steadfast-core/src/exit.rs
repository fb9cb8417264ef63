//! [`Exit`] and [`Rusage`]: how a process ended, and what it used.

use crate::Pid;
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
    /// What it and those of its descendants that it waited for used.
    pub rusage: Rusage,
}

impl Exit {
    /// An end with nothing used.
    pub fn new(pid: Pid, status: ExitStatus) -> Exit {
        Exit { pid, status, rusage: Rusage::default() }
    }

    /// The same end with what it used.
    pub fn with_rusage(self, rusage: Rusage) -> Exit {
        Exit { rusage, ..self }
    }
}

/// What a process used, with what the descendants that it waited for used (getrusage(2)).
///
/// All zero where the kernel does not tell: QEMU's user mode before 9.2 accepts the argument and ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a backend fills every field, with `..Rusage::default()` for the rest")]
pub struct Rusage {
    /// CPU time spent in user mode.
    pub user_time: Duration,
    /// CPU time spent in the kernel.
    pub system_time: Duration,
    /// Largest resident set, in bytes.
    pub max_rss: u64,
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
