//! One process, held by its pidfd.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{BackendProcess, Clock, Errno, Error, Exit, Pid, Result, Signal};
use steadfast_linux::{Blocking, Reaping, SystemClock, Target, pidfd_send_signal, waitid};

pub(crate) struct PidfdProcess {
    pid: Pid,
    pidfd: OwnedFd,
}

impl PidfdProcess {
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd) -> PidfdProcess {
        PidfdProcess { pid, pidfd }
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Another descriptor for the same process, close-on-exec.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd, Errno> {
        self.pidfd.try_clone().map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
    }

    pub(crate) fn kill_and_reap(&self) {
        // ESRCH and ECHILD both say that there is nothing left to do.
        if pidfd_send_signal(self.pidfd(), Signal::KILL).is_ok() {
            self.reap_when_exited();
        }
    }

    /// Reaps it, however long that takes.
    pub(crate) fn reap_when_exited(&self) {
        while self.waitid(Blocking::Block, Reaping::Reap) == Err(Errno::INTR) {}
    }

    fn waitid(&self, blocking: Blocking, reaping: Reaping) -> Result<Option<Exit>, Errno> {
        waitid(Target::Pidfd(self.pidfd()), blocking, reaping)
    }

    fn wait_exited_until(&self, deadline: Instant) -> Result<Option<Exit>, Errno> {
        let mut pause = Duration::from_millis(1);
        loop {
            // Look first: this is where a process that is not our child is told apart, and a deadline in the past still learns
            // of an exit.
            if let Some(exit) = self.waitid(Blocking::Now, Reaping::Leave)? {
                return Ok(Some(exit));
            }
            let left = deadline.saturating_duration_since(SystemClock.now());
            if left.is_zero() {
                return Ok(None);
            }
            if self.poll(left)? && self.waitid(Blocking::Now, Reaping::Leave)?.is_none() {
                // Exited, but not for us yet: a debugger traces it and has to collect it first (ptrace(2)). There is no event for
                // that.
                SystemClock.sleep_until(SystemClock.now() + pause.min(left));
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
    }

    /// Waits until the process has exited; whether it has.
    fn poll(&self, timeout: Duration) -> Result<bool, Errno> {
        // The kernel takes no more seconds than fit; a year and another look are as good as for ever.
        let timeout = timeout.min(Duration::from_secs(365 * 24 * 3600));
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(errno) => Err(Errno::from_raw(errno.raw_os_error())),
        }
    }
}

impl BackendProcess for PidfdProcess {
    fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(self.pidfd(), signal).map_err(|errno| Error::on_process("pidfd_send_signal", self.pid, errno))
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        match deadline {
            None => self.waitid(Blocking::Block, Reaping::Leave),
            Some(deadline) => self.wait_exited_until(deadline),
        }
        .map_err(|errno| Error::on_process("waitid", self.pid, errno))
    }

    fn reap(&self) -> Result<Option<Exit>> {
        self.waitid(Blocking::Now, Reaping::Reap).map_err(|errno| Error::on_process("waitid", self.pid, errno))
    }

    fn collect(&self) -> Result<Exit> {
        let exit = self.waitid(Blocking::Block, Reaping::Reap).and_then(|exit| exit.ok_or(Errno::CHILD));
        exit.map_err(|errno| Error::on_process("waitid", self.pid, errno))
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pidfd())
    }

    fn abandon(self: Arc<Self>) {
        crate::orphans::take(self);
    }
}
