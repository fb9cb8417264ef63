//! Calls that take nothing but a number, made when the number is the process's own.

use super::state::{Origin, Refused};
use super::{Process, signal::is_gone};
use crate::{Error, Pid, Result};

/// What a change by number does about a process that others may reap while the call is made.
///
/// prlimit(2) and sched_setaffinity(2) take a PID and no pidfd. The number of a child is its own for as long as its handle does not reap it, and
/// the handle does not while a call is in progress. That of another process becomes free as soon as its parent waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the number is its own for certain, or it is not")]
pub enum ByNumber {
    /// Refuses, unless it is a child that this handle's owner has spawned and not reaped. Other code of the program that reaps our children, or an
    /// ignored `SIGCHLD`, is all that could free its number in that moment.
    #[default]
    IfPinned,
    /// Looks whether the number is its own, makes the call, and looks again. What lies between the looks are some microseconds, in which the process
    /// may end, be reaped, and its number be handed out to another, who is changed then. If the second look finds it gone, the answer is
    /// [`Error::ProcessDone`], whoever was changed.
    EvenIfReaped,
}

impl Process {
    /// Makes a call that reads something of the process by its number. The number is looked at before and after, and an answer that may be
    /// another's is thrown away: so it is exact for every process.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] if it was waited for or is gone, also if that happens meanwhile; [`Error::Released`]; [`Error::Unsupported`] in a
    /// simulation, where the number is none of the kernel's; what `read` says.
    pub fn read_by_number<T>(&self, mut read: impl FnMut(Pid) -> Result<T>) -> Result<T> {
        let mut seen = None;
        self.with_number(&mut |pid| read(pid).map(|value| seen = Some(value)))?;
        seen.ok_or_else(|| self.done_error())
    }

    /// Makes a call that changes something of the process by its number. `call` is its name, for an error.
    ///
    /// # Errors
    /// As [`read_by_number`](Process::read_by_number); [`Error::NotPinned`] by [`ByNumber::IfPinned`].
    pub fn change_by_number(&self, call: &'static str, by: ByNumber, mut change: impl FnMut(Pid) -> Result<()>) -> Result<()> {
        if by == ByNumber::IfPinned && self.is_running() && self.here().origin != Origin::Spawned {
            return Err(Error::NotPinned { call, pid: self.pid() });
        }
        self.with_number(&mut change)
    }

    /// As [`change_by_number`](Process::change_by_number) of what is pinned, for a call of the backend's own, which in a simulation knows the simulated numbers.
    ///
    /// # Errors
    /// As there, but for a simulation.
    pub(crate) fn pinned(&self, call: &'static str, act: impl FnMut(Pid) -> Result<()>) -> Result<()> {
        if self.backend().info().real || !self.is_running() || self.here().origin != Origin::Spawned {
            return self.change_by_number(call, ByNumber::IfPinned, act);
        }
        let mut act = act;
        act(self.pid())
    }

    fn with_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        // While it is in progress, this handle does not reap.
        let call = match self.here().begin() {
            Ok(call) => call,
            Err(Refused::Done(_)) => return Err(self.done_error()),
            Err(Refused::Released) => return Err(self.released_error()),
        };
        match call.process().by_number(act) {
            // Nothing is learnt: it may be a zombie, whose status is still to be had.
            Err(error) if is_gone(&error) => Err(self.done_error()),
            answer => answer,
        }
    }
}
