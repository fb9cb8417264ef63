//! [`Process`]: the handle for any process. Its states and methods are core's; here is what knows the systems.

use crate::System;
use std::ops::Deref;
use steadfast_core::{Error, Pid, Result};

/// A process, held so that no operation can reach another one: `signal`, `kill`, `wait`, `try_wait`, `wait_timeout`,
/// `wait_deadline`, `with_handle`, `release`, `status`, `exit` and `pid` are [`backend::Process`](crate::backend::Process)'s, with
/// the table of what each answers in each state.
///
/// ```
/// use steadfast::{Command, ErrorKind, Process};
/// let child = Command::new("sleep").arg("60").spawn()?;
/// let found = Process::find(child.pid())?;
/// found.kill()?;
/// child.wait()?;
/// assert_eq!(child.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
/// assert_eq!(found.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Process(steadfast_core::Process);

impl Process {
    /// Takes hold of a process that exists, on the current system.
    ///
    /// # Errors
    /// As [`System::find`].
    pub fn find(pid: Pid) -> Result<Process> {
        System::current()?.find(pid)
    }
}

impl Deref for Process {
    type Target = steadfast_core::Process;
    fn deref(&self) -> &steadfast_core::Process {
        &self.0
    }
}

impl From<steadfast_core::Process> for Process {
    fn from(process: steadfast_core::Process) -> Process {
        Process(process)
    }
}

/// Adopts a child that std has spawned, as [`System::adopt`] on the current system; its pipes are closed. To keep them, adopt it
/// as a [`Child`](crate::Child).
impl TryFrom<std::process::Child> for Process {
    type Error = Error;
    fn try_from(child: std::process::Child) -> Result<Process> {
        System::current()?.adopt_parts(child).map(|(process, _)| process)
    }
}
