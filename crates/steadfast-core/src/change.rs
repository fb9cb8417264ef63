//! [`Change`]: a stop, a continuation, or the end of a process.

use crate::Signal;
use std::fmt;
use std::process::ExitStatus;

/// What [`Process::wait_change`](crate::Process::wait_change) tells of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "waitid(2) knows no fourth; what a tracer is told is the tracer's")]
pub enum Change {
    /// It has stopped, by this signal: `SIGSTOP`, `SIGTSTP` (Ctrl-Z), `SIGTTIN` or `SIGTTOU`.
    Stopped(Signal),
    /// It goes on after a stop (`SIGCONT`).
    Continued,
    /// It has exited, and was reaped. This is the last one.
    Exited(ExitStatus),
}

impl Change {
    /// How it ended, if it has.
    pub fn status(self) -> Option<ExitStatus> {
        match self {
            Change::Exited(status) => Some(status),
            Change::Stopped(_) | Change::Continued => None,
        }
    }

    /// Whether it is stopped now, as far as this tells.
    pub fn is_stop(self) -> bool {
        matches!(self, Change::Stopped(_))
    }
}

/// `stopped by SIGTSTP`, `continued`, or the status as std prints it.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Stopped(signal) => write!(f, "stopped by {signal}"),
            Change::Continued => f.write_str("continued"),
            Change::Exited(status) => status.fmt(f),
        }
    }
}
