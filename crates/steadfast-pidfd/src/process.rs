//! One process, held by its pidfd.

use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use steadfast_core::{Clock, Errno, Exit, Pauses, Pid, Result, Until};
use steadfast_linux::{Blocking, Loan, Reaping, SystemClock, Target, pidfd_exit_status, pidfd_is_taken, timespec, waitid};

/// Between two looks, where no event tells.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

pub(crate) struct PidfdProcess {
    pub(crate) pid: Pid,
    pidfd: OwnedFd,
    /// How `waitid(2)` may wait for it. Who was found may be a stranger that counts as a child while this program traces it: once that lets it
    /// go, who sleeps in that call is never woken, not by the exit either. A pidfd tells everybody.
    blocking: Blocking,
    /// What it has borrowed of our memory, if its start was given up. Whoever has it reaps it before he drops it.
    #[allow(dead_code, reason = "its end is what it is for")]
    loan: Option<Loan>,
}

/// What a readable pidfd means.
pub(crate) enum Sight {
    /// A child that can be waited for, or a process that is gone.
    Over,
    /// A child that has exited, and cannot be waited for yet; or the look was refused for the moment.
    Held,
    /// Not our child, exited, and its parent has not waited for it; the kernel will tell when that has happened.
    Zombie,
    /// The same, on a kernel that will not tell (before Linux 6.15).
    UnwatchedZombie,
}

impl Sight {
    /// Whether it has come to this end.
    pub(crate) fn is(&self, end: Until) -> bool {
        match self {
            Sight::Over => true,
            Sight::Zombie | Sight::UnwatchedZombie => end == Until::Exited,
            Sight::Held => false,
        }
    }
}

impl PidfdProcess {
    pub(crate) fn child(pid: Pid, pidfd: OwnedFd) -> PidfdProcess {
        PidfdProcess { pid, pidfd, blocking: Blocking::Block, loan: None }
    }

    /// A child whose start was given up.
    pub(crate) fn given_up(pid: Pid, pidfd: OwnedFd, loan: Loan) -> PidfdProcess {
        PidfdProcess { pid, pidfd, blocking: Blocking::Block, loan: Some(loan) }
    }

    pub(crate) fn found(pid: Pid, pidfd: OwnedFd) -> PidfdProcess {
        PidfdProcess { pid, pidfd, blocking: Blocking::Now, loan: None }
    }

    pub(crate) fn blocking(&self) -> Blocking {
        self.blocking
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Another descriptor for the same process, close-on-exec.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd, Errno> {
        self.pidfd.try_clone().map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
    }

    /// Reaps it, however long that takes.
    pub(crate) fn reap_when_exited(&self) {
        let mut pauses = Pauses::new(SHORTEST, LONGEST);
        while !self.is_reaped(Blocking::Block) {
            // It may run still: see `wait_exited_until`.
            _ = self.poll(None);
            // Refused for the moment, and there is no event that says for how long.
            pauses.sleep(&SystemClock, None);
        }
    }

    /// Reaps it, if it has exited. Whether that is done now, by whomever; if not it runs, or the reap was refused and has to be tried
    /// again.
    pub(crate) fn is_reaped(&self, blocking: Blocking) -> bool {
        loop {
            match self.waitid(blocking, Reaping::Reap) {
                Err(Errno::INTR) => {}
                Ok(Some(_)) | Err(Errno::CHILD) => return true,
                Ok(None) | Err(_) => return false,
            }
        }
    }

    pub(crate) fn waitid(&self, blocking: Blocking, reaping: Reaping) -> Result<Option<Exit>, Errno> {
        waitid(Target::Pidfd(self.pidfd()), blocking, reaping)
    }

    pub(crate) fn sight(&self) -> Sight {
        match self.waitid(Blocking::Now, Reaping::Leave) {
            Ok(Some(_)) => Sight::Over,
            Ok(None) => Sight::Held,
            Err(Errno::CHILD) => match pidfd_exit_status(self.pidfd()) {
                Ok(None) => Sight::Zombie,
                Ok(Some(_)) => Sight::Over,
                // A kernel that does not know; but not a process that has been reaped.
                Err(_) if pidfd_is_taken(self.pidfd()) => Sight::UnwatchedZombie,
                Err(_) => Sight::Over,
            },
            // This says nothing of whose child it is: a child taken for a stranger would never be reaped.
            Err(_) => Sight::Held,
        }
    }

    /// A status that `waitid` does not give, because somebody else has waited for the process, or `SIGCHLD` is ignored, or it
    /// was never our child: since 6.15 the kernel tells it to whoever has a pidfd, once the process has been reaped.
    pub(crate) fn lost_status(&self) -> Option<Exit> {
        let status = pidfd_exit_status(self.pidfd()).ok().flatten()?;
        Some(Exit::new(self.pid, status))
    }

    pub(crate) fn wait_exited_until(&self, deadline: Option<Instant>) -> Result<Option<Exit>, Errno> {
        let mut pauses = Pauses::new(SHORTEST, LONGEST);
        let blocking = if deadline.is_none() { self.blocking } else { Blocking::Now };
        loop {
            // Look first: this is where a process that is not our child is told apart, and a deadline in the past still learns
            // of an exit. Without a deadline this is the wait for a child of ours, as a rule; if it comes back, there are stops of a child that we trace
            // (`waitid`), which would come again and again, or the pidfd does not block. Then its readiness is the event.
            if let Some(exit) = self.waitid(blocking, Reaping::Leave)? {
                return Ok(Some(exit));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(SystemClock.now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            if self.poll(left)? && self.waitid(Blocking::Now, Reaping::Leave)?.is_none() {
                // Exited, but not for us yet: a debugger traces it and has to collect it first (ptrace(2)). There is no event for
                // that.
                pauses.sleep(&SystemClock, deadline);
            }
        }
    }

    /// Waits until the process has exited; whether it has.
    pub(crate) fn poll(&self, timeout: Option<Duration>) -> Result<bool, Errno> {
        let timeout = timeout.map(timespec);
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(errno) => Err(Errno::from_raw(errno.raw_os_error())),
        }
    }
}
