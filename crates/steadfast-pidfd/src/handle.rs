//! What is asked of a process that is held by its pidfd: `PidfdProcess` as a backend's process.

use crate::process::PidfdProcess;
use crate::reactor;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steadfast_core::{
    BackendLook, BackendProcess, Change, Errno, Error, Exit, Identity, OnExit, Pid, Result, Signal, Until, contain,
};
use steadfast_linux::{
    Blocking, Reaping, kill_group, look_by_number, pidfd_is_taken, pidfd_may_signal, pidfd_send_signal, pidfd_send_value,
    pidfd_signal_group,
};

impl PidfdProcess {
    pub(crate) fn kill_and_reap(self: &Arc<Self>) {
        // ESRCH and ECHILD both say that there is nothing left to do.
        if pidfd_send_signal(self.pidfd(), Signal::KILL).is_ok() && !self.is_reaped(Blocking::Block) {
            reactor::reap(Arc::clone(self));
        }
    }
}

impl BackendProcess for PidfdProcess {
    fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(self.pidfd(), signal).map_err(|errno| Error::on_process("pidfd_send_signal", self.pid, errno))
    }

    fn signal_group(&self, signal: Signal) -> Result<bool> {
        let sent = match pidfd_signal_group(self.pidfd(), signal) {
            // Before 6.9. While the leader is there, the number is its group's.
            Err(Errno::INVAL) if pidfd_is_taken(self.pidfd()) => kill_group(self.pid, signal),
            sent => sent,
        };
        match sent {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) if pidfd_is_taken(self.pidfd()) => Ok(false),
            Err(errno) => Err(Error::on_process("pidfd_send_signal to the group", self.pid, errno)),
        }
    }

    fn signal_value(&self, signal: Signal, value: i32) -> Result<()> {
        pidfd_send_value(self.pidfd(), signal, value)
            .map_err(|errno| Error::on_process("pidfd_send_signal with a value", self.pid, errno))
    }

    fn may_signal(&self) -> Result<bool> {
        pidfd_may_signal(self.pidfd()).map_err(|errno| Error::on_process("pidfd_send_signal", self.pid, errno))
    }

    fn look(&self) -> Result<Box<dyn BackendLook>> {
        look_by_number(self)
    }

    fn by_number(&self, act: &mut dyn FnMut(Pid) -> Result<()>) -> Result<()> {
        let is_its_own = || match pidfd_is_taken(self.pidfd()) {
            true => Ok(()),
            false => Err(Error::on_process("pidfd_send_signal", self.pid, Errno::SRCH)),
        };
        is_its_own()?;
        let acted = act(self.pid);
        // A number is given away after the reap only: not reaped yet, it had it all the time.
        is_its_own()?;
        acted
    }

    fn wait_exited(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let answer = self.wait_exited_until(deadline).or_else(|errno| match errno {
            Errno::CHILD => self.lost_status().map(Some).ok_or(errno),
            errno => Err(errno),
        });
        answer.map_err(|errno| Error::on_process("waitid", self.pid, errno))
    }

    fn reap(&self) -> Result<Option<Exit>> {
        self.waitid(Blocking::Now, Reaping::Reap).map_err(|errno| Error::on_process("waitid", self.pid, errno))
    }

    fn on_exit(self: Arc<Self>, end: Until, tell: OnExit) -> Result<()> {
        // At once, if it is over: that needs nothing that could be refused.
        if self.poll(Some(Duration::ZERO)).is_ok_and(|exited| exited) && self.sight().is(end) {
            contain(tell);
            return Ok(());
        }
        reactor::tell(&self, end, tell).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::AGAIN.as_raw()));
            Error::on_process("epoll_ctl", self.pid, errno)
        })
    }

    fn wait_change(&self) -> Result<Change> {
        self.change().map_err(|errno| Error::on_process("waitid", self.pid, errno))
    }

    fn try_change(&self) -> Result<Option<Change>> {
        self.change_now().map_err(|errno| Error::on_process("waitid", self.pid, errno))
    }

    fn on_change(self: Arc<Self>, tell: OnExit) -> Result<()> {
        let pid = self.pid;
        self.tell_of_change(tell).map_err(|errno| Error::on_process("start a thread that waits", pid, errno))
    }

    fn identity(&self) -> Result<Identity> {
        self.name()
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pidfd())
    }

    fn abandon(self: Arc<Self>) {
        reactor::reap(self);
    }
}

impl Drop for PidfdProcess {
    fn drop(&mut self) {
        reactor::forget(self);
    }
}
