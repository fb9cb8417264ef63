//! Handles of processes that exist: by PID, by pidfd, taken over, or known to be over.

use super::Process;
use super::signal::is_gone;
use super::state::{Origin, Phase, Refused, UNKNOWN};
use crate::{BackendLook, Exit, FoundByFd, Pid, ProcessBackend, Result};
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;

impl Process {
    /// Finds a process by its PID.
    ///
    /// # Errors
    /// As [`ProcessBackend::find`]: [`Error::ProcessDone`](crate::Error::ProcessDone) when there is no such process.
    pub fn find(backend: &Arc<dyn ProcessBackend>, pid: Pid) -> Result<Process> {
        let process = backend.find(pid)?;
        Ok(Process::new(backend, pid, process, Origin::Found, UNKNOWN))
    }

    /// Takes hold of the process that a pidfd stands for; the descriptor becomes the handle's, or is closed. If the process has been reaped, the
    /// handle is Done, with the status if the kernel tells it (since Linux 6.15), and its PID is [`Pid::UNKNOWN`].
    ///
    /// # Errors
    /// As [`ProcessBackend::find_by_fd`].
    pub fn find_by_fd(backend: &Arc<dyn ProcessBackend>, fd: OwnedFd) -> Result<Process> {
        Ok(match backend.find_by_fd(fd)? {
            FoundByFd::There { pid, process } => Process::new(backend, pid, process, Origin::Found, UNKNOWN),
            FoundByFd::Gone { status } => Process::gone(backend, status),
        })
    }

    /// A handle that is Done, for a process that somebody has reaped, and whose PID nobody tells.
    pub fn gone(backend: &Arc<dyn ProcessBackend>, status: Option<ExitStatus>) -> Process {
        let exit = status.map(|status| Box::new(Exit::new(Pid::UNKNOWN, status)));
        Process::in_phase(Phase::Done(exit), backend, Pid::UNKNOWN, None, Origin::Found, UNKNOWN)
    }

    /// Takes over a child that other code has spawned and has not waited for: as [`find`](Process::find), and it is
    /// reaped in the background when the last handle is dropped.
    ///
    /// # Errors
    /// As [`ProcessBackend::find`].
    pub fn adopt(backend: &Arc<dyn ProcessBackend>, pid: Pid) -> Result<Process> {
        let process = backend.find(pid)?;
        Ok(Process::new(backend, pid, process, Origin::Spawned, UNKNOWN))
    }

    /// A look at the process that never shows another one, whoever has its number. A zombie can be looked at.
    ///
    /// # Errors
    /// [`Error::ProcessDone`](crate::Error::ProcessDone) if it was waited for or is gone, [`Error::Released`](crate::Error::Released), and what the system says.
    pub fn inspect(&self) -> Result<Box<dyn BackendLook>> {
        let call = match self.here().begin() {
            Ok(call) => call,
            Err(Refused::Done(_)) => return Err(self.done_error()),
            Err(Refused::Released) => return Err(self.released_error()),
        };
        match call.process().look() {
            Err(error) if is_gone(&error) => Err(self.done_error()),
            look => look,
        }
    }

    /// A handle that is Done, for a process that other code has spawned and waited for.
    pub fn done(backend: &Arc<dyn ProcessBackend>, exit: Exit) -> Process {
        Process::in_phase(Phase::Done(Some(Box::new(exit))), backend, exit.pid, None, Origin::Found, UNKNOWN)
    }
}
