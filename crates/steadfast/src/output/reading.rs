//! [`Reading`]: a stream that is being read.

use super::captured::CapturedStream;
use crate::System;
use crate::pipe::{End, ROOM, errno};
use rustix::event::{PollFd, PollFlags, poll};
use std::time::{Duration, Instant};
use steadfast_core::{Errno, Error, Result};
use steadfast_linux::timespec;

/// A stream being read: its name, our end if it is piped, and what was read so far.
pub(crate) struct Reading<'a> {
    name: &'static str,
    end: Option<&'a End>,
    pub(crate) kept: &'a mut CapturedStream,
    /// Whether its pipe was made larger.
    pub(crate) enlarged: bool,
}

/// More than a terminal holds that nobody reads: 4 KiB in its line discipline, and 8 KiB on their way there (pty.c, n_tty.c).
const IN_A_TERMINAL: u64 = 64 * 1024;

impl<'a> Reading<'a> {
    pub(crate) fn new(name: &'static str, end: Option<&'a End>, kept: &'a mut CapturedStream) -> Reading<'a> {
        kept.complete |= end.is_none();
        Reading { name, end, kept, enlarged: false }
    }

    pub(crate) fn open_end(&self) -> Option<&'a End> {
        self.end.filter(|_| !self.kept.complete)
    }

    /// Reads once; whether there was anything before `deadline` (which only a simulated pipe can keep).
    pub(crate) fn read_some(&mut self, deadline: Option<Instant>) -> Result<bool> {
        let Some(end) = self.open_end() else { return Ok(false) };
        let read = end.read_some(self.kept.room(), deadline);
        let read = read.map_err(|error| failed("read", self.name, errno(&error)))?;
        self.kept.complete |= read == Some(0);
        self.kept.total += read.unwrap_or(0) as u64;
        self.kept.settle();
        if read >= Some(ROOM) && !self.enlarged {
            self.enlarged = true;
            end.enlarge();
        }
        Ok(read.is_some_and(|read| read > 0))
    }

    /// Reads what is in the pipe at this moment, and no more: a grandchild might fill it for ever.
    pub(crate) fn drain(&mut self) -> Result<()> {
        if matches!(self.end, Some(End::Terminal(_))) {
            return self.drain_terminal();
        }
        let Some(fd) = self.open_end().and_then(End::fd) else { return Ok(()) };
        let there = rustix::io::ioctl_fionread(fd).map_err(|errno| failed("ioctl(FIONREAD)", self.name, errno_of(errno)))?;
        let mut left = there as usize;
        while left > 0 {
            let before = self.kept.total;
            if !self.read_some(None)? {
                break;
            }
            left = left.saturating_sub((self.kept.total - before) as usize);
        }
        // At its end already? A pipe that hung up with nothing in it is.
        if self.hung_up(fd)? {
            self.kept.complete = true;
        }
        Ok(())
    }

    /// As [`drain`](Self::drain). `FIONREAD` does not count what is on its way to the line discipline; a poll waits for that.
    fn drain_terminal(&mut self) -> Result<()> {
        let before = self.kept.total;
        while self.kept.total - before < IN_A_TERMINAL {
            let Some(fd) = self.open_end().and_then(End::fd) else { break };
            let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            poll_until(&mut fds, Some(Duration::ZERO))?;
            if fds[0].revents().is_empty() {
                break;
            }
            self.read_some(None)?;
        }
        Ok(())
    }

    /// As [`drain`](Self::drain) for a simulated pipe; whether there was anything, or the end.
    pub(crate) fn drain_simulated(&mut self, system: &System) -> Result<bool> {
        let was_open = self.open_end().is_some();
        let mut moved = false;
        while self.read_some(Some(system.now()))? {
            moved = true;
        }
        Ok(moved || (was_open && self.kept.complete))
    }

    fn hung_up(&self, fd: std::os::fd::BorrowedFd<'_>) -> Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        poll_until(&mut fds, Some(Duration::ZERO))?;
        let [fd] = fds;
        Ok(fd.revents().contains(PollFlags::HUP) && !fd.revents().contains(PollFlags::IN))
    }
}

/// Waits for any of them; without a time, for ever.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], left: Option<Duration>) -> Result<()> {
    let left = left.map(timespec);
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(failed("poll", "its pipes", errno_of(errno))),
    }
}

fn errno_of(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

pub(crate) fn failed(call: &'static str, what: &str, source: Errno) -> Error {
    Error::System { call, subject: format!("{what} of a child"), source }
}
