//! Signals: to one process, and to the group that it leads.

use super::Process;
use super::state::{Call, Inner, Learnt, Refused, retry_interrupted};
use crate::{BackendProcess, Errno, Error, Exit, Result, Signal};

impl Process {
    /// Sends a signal. A zombie that has not been waited for still takes it (kill(2)), which says nothing about whether
    /// anybody acts on it.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] if it was waited for or is gone (`ESRCH`), [`Error::Released`] after
    /// [`release`](Process::release), [`Error::System`] with `EPERM` if it lives and may not be signalled.
    #[doc(alias = "terminate")]
    #[doc(alias = "pidfd_send_signal")]
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send(|process| process.signal(signal))
    }

    /// Sends a signal with a value, which a handler finds in its `siginfo_t` as `si_value` (`sival_int`), and sigwaitinfo(2) returns; as sigqueue(3).
    /// `si_code` is `SI_QUEUE`, `si_pid` and `si_uid` are the caller's.
    ///
    /// Real-time signals ([`Signal::RTMIN`] to [`Signal::RTMAX`]) queue up: each comes, in order, with its value. Of another signal one is pending at
    /// most, as always, and the values of those that come meanwhile are lost. It is also taken without its value if too many are queued, where a
    /// real-time signal is refused (`EAGAIN`).
    ///
    /// The signal is the process's; any of its threads may take it. One for a single thread is not offered: it takes a pidfd of that thread
    /// (`PIDFD_THREAD`, Linux 6.9), and a handle is of a process. A thread's number would be no better than a PID.
    ///
    /// # Errors
    /// As [`signal`](Process::signal); [`Error::System`] with `EAGAIN` if the user of the process has as many signals queued as he may
    /// (`RLIMIT_SIGPENDING`, setrlimit(2)).
    pub fn signal_value(&self, signal: Signal, value: i32) -> Result<()> {
        self.send(|process| process.signal_value(signal, value))
    }

    /// Whether the caller may signal it, as signal 0 finds out (kill(2)): `false` is the system's `EPERM`, which also says that it is alive or a zombie.
    /// Nothing is sent.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] if it was waited for or is gone (`ESRCH`), [`Error::Released`] after [`release`](Process::release).
    pub fn may_signal(&self) -> Result<bool> {
        self.send(|process| process.may_signal())
    }

    /// Sends a signal to every process of the group that this one leads, itself included: of a child that was started with
    /// `process_group(0)` or `setsid(true)`. Afterwards, wait for it as always.
    ///
    /// The group may outlive its leader, but not safely: once the leader has been reaped, the group's number may be another's. So signal the
    /// group first, and wait then. With a pidfd since Linux 6.9 the kernel itself finds the group (`PIDFD_SIGNAL_PROCESS_GROUP`,
    /// pidfd_send_signal(2)); before, and without pidfds, it is `kill(2)` by number while the leader is there.
    ///
    /// # Errors
    /// As [`signal`](Process::signal), but `EPERM` only when none of them may be signalled; [`Error::NoGroup`] if it leads no group.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        match self.send(|process| process.signal_group(signal))? {
            true => Ok(()),
            false => Err(Error::NoGroup { pid: self.pid() }),
        }
    }

    /// Sends `SIGKILL` to the group, as [`signal_group`](Process::signal_group).
    ///
    /// # Errors
    /// As [`signal_group`](Process::signal_group).
    pub fn kill_group(&self) -> Result<()> {
        self.signal_group(Signal::KILL)
    }

    pub(super) fn send<T>(&self, send: impl Fn(&dyn BackendProcess) -> Result<T>) -> Result<T> {
        let call = match self.here().begin() {
            Ok(call) => call,
            Err(Refused::Done(_)) => return Err(self.done_error()),
            Err(Refused::Released) => return Err(self.released_error()),
        };
        match retry_interrupted(|| send(&**call.process())) {
            Err(error) if is_gone(&error) => {
                let status = self.here().lost_status(&call);
                call.end(status.map_or(Learnt::Gone, Learnt::Exited));
                Err(self.done_error())
            }
            answer => answer,
        }
    }

    /// Sends `SIGKILL`.
    ///
    /// # Errors
    /// As [`signal`](Process::signal).
    #[doc(alias = "SIGKILL")]
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }
}

impl Inner {
    /// How a process ended that is gone, if somebody still tells. Not asked where a number may be somebody else's by now.
    fn lost_status(&self, call: &Call<'_>) -> Option<Exit> {
        let past = self.backend.clock().now();
        self.is_exact.then(|| call.process().wait_exited(Some(past)).ok().flatten()).flatten()
    }
}

pub(super) fn is_gone(error: &Error) -> bool {
    error.errno() == Some(Errno::SRCH) || error.kind() == crate::ErrorKind::ProcessDone
}
