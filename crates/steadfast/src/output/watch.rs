//! [`Watch`]: how the exit of a child is noticed while its output is read.

use crate::Process;
use crate::wait::Alarm;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Error, Lent, Result, Until};

/// How the exit is noticed: by a descriptor that is polled with the pipes; the pidfd or, where there is none, one that the backend's call
/// makes readable.
pub(super) enum Watch {
    Pidfd(Process, Lent),
    Alarm(Process, Arc<Alarm>),
    /// It is looked at from time to time: neither a descriptor nor a thread is available; or the pidfd says that it has exited, and a debugger
    /// has to collect it first (ptrace(2)), for which there is no event.
    Looks(Process),
    /// It is over already.
    Over,
}

impl Watch {
    pub(super) fn new(process: &Process) -> Result<Watch> {
        let watched = process.clone();
        match process.lend() {
            Ok(lent) => Ok(Watch::Pidfd(watched, lent)),
            Err(Error::NoHandle { .. }) => {
                let alarm = Alarm::new("a child whose output is read").and_then(|alarm| {
                    process.watch_end(Until::Gone, &alarm.watcher(), 0)?;
                    Ok(alarm)
                });
                match alarm {
                    Ok(alarm) => Ok(Watch::Alarm(watched, alarm)),
                    Err(error) if error.is_of_the_moment() => Ok(Watch::Looks(watched)),
                    Err(error) => Err(error),
                }
            }
            // Somebody else has waited for it.
            Err(Error::ProcessDone { .. }) => Ok(Watch::Over),
            Err(error) => Err(error),
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Watch::Pidfd(_, lent) => Some(lent.as_fd()),
            Watch::Alarm(_, alarm) => Some(alarm.fd()),
            Watch::Looks(_) | Watch::Over => None,
        }
    }

    /// Whether it has exited, now that the descriptor is readable.
    pub(super) fn exited(&mut self) -> Result<bool> {
        match self {
            Watch::Over => Ok(true),
            Watch::Looks(process) => has_exited(process),
            Watch::Pidfd(process, _) => {
                let is_over = has_exited(process)?;
                if !is_over {
                    *self = Watch::Looks(process.clone());
                }
                Ok(is_over)
            }
            Watch::Alarm(process, alarm) => {
                alarm.reset();
                let is_over = has_exited(process)?;
                if !is_over {
                    process.watch_end(Until::Gone, &alarm.watcher(), 0)?;
                }
                Ok(is_over)
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Watch::Alarm(process, alarm) = self {
            process.unwatch(&alarm.watcher(), 0);
        }
    }
}

/// Looks; one that is gone without a status counts: nothing more will come from it.
pub(super) fn has_exited(process: &Process) -> Result<bool> {
    match process.try_wait() {
        Ok(status) => Ok(status.is_some()),
        Err(Error::NoChild { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// How often a child is looked at, if nothing tells of its exit.
pub(super) const LOOK: Duration = Duration::from_millis(10);
