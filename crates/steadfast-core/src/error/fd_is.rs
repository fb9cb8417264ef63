//! [`FdIs`]: what a descriptor is that is no process's.

use std::fmt;

/// What a descriptor is from which no handle can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FdIs {
    /// No pidfd.
    Other {
        /// What it is, such as `socket:[1234]`: its link in `/proc/self/fd`, or else its file type.
        what: String,
    },
    /// A pidfd of one thread (`PIDFD_THREAD`, since Linux 6.9), be it the first one of its process. A signal through it goes to that thread, and
    /// it is readable when that thread has ended.
    Thread,
    /// A pidfd of a process in a PID namespace that is neither ours nor below it. It has no PID here, and cannot be signalled from here.
    Elsewhere,
}

impl fmt::Display for FdIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FdIs::Other { what } => write!(f, "it is {what}, and no pidfd"),
            FdIs::Thread => f.write_str(
                "it is the pidfd of a thread (PIDFD_THREAD), and a handle is of a process: open one of its process, without that flag",
            ),
            FdIs::Elsewhere => f.write_str(
                "it is the pidfd of a process that has no PID here: it is in a PID namespace that is neither ours nor below it",
            ),
        }
    }
}
