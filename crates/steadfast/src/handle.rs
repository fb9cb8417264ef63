//! [`Process`]: the handle for any process. Its states and methods are core's; here is what knows the systems.

use crate::System;
use std::ops::Deref;
use steadfast_core::{Error, Exit, Pid, PipeEnd, Result};

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

impl System {
    /// Takes hold of a process that exists, a child of this one or not.
    ///
    /// Whose PID it is, you learn after this and not before: find first, then verify who it is, then act through the handle. On
    /// `pid-legacy` a file of `/proc/PID` is kept open, which belongs to this process alone, and looked at before each call. Between that
    /// look and the call behind it the process may still be exchanged for another, unless `pidfd_send_signal` works here.
    ///
    /// ```
    /// use steadfast::{Error, Pid, System};
    /// let system = System::detect()?;
    /// let parent = system.find(Pid::try_from(std::os::unix::process::parent_id())?)?;
    /// assert!(matches!(system.find(Pid::MAX), Err(Error::ProcessDone { .. })));
    /// # drop(parent);
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ProcessDone`] when there is no such process, [`Error::ThreadId`] when the number is a thread's,
    /// [`Error::System`] for the rest (`EMFILE`, a filtered call, no `/proc` on `pid-legacy`).
    pub fn find(&self, pid: Pid) -> Result<Process> {
        steadfast_core::Process::find(self.backend(), pid).map(Process::from)
    }

    /// Of a child that std has spawned: its handle, and its pipes.
    pub(crate) fn adopt_parts(&self, mut child: std::process::Child) -> Result<(Process, [Option<PipeEnd>; 3])> {
        if !self.info().real {
            let what = "a real child cannot be adopted into a simulation".into();
            return Err(Error::Unsupported { backend: self.backend_name(), what });
        }
        let pid = Pid::try_from(child.id())?;
        let pipes = [
            child.stdin.take().map(|pipe| PipeEnd::Fd(pipe.into())),
            child.stdout.take().map(|pipe| PipeEnd::Fd(pipe.into())),
            child.stderr.take().map(|pipe| PipeEnd::Fd(pipe.into())),
        ];
        // Until it is reaped its number is its own; std knows whether it has reaped it, and the number alone does not tell.
        let process = match child.try_wait() {
            Ok(Some(status)) => steadfast_core::Process::done(self.backend(), Exit::new(pid, status)),
            Ok(None) => steadfast_core::Process::adopt(self.backend(), pid)?,
            Err(_) => return Err(Error::NoChild { pid }),
        };
        Ok((process.into(), pipes))
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
