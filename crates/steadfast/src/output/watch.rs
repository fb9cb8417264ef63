//! [`Watch`]: how the exit of a child is noticed while its output is read.

use crate::Process;
use crate::wait::Alarm;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Error, JobEnd, Lent, Result, Until};

/// How the exit is noticed: by a descriptor that is polled with the pipes; the pidfd or, where there is none, one that the backend's call
/// makes readable.
pub(super) enum Watch {
    Pidfd(Process, Lent),
    Alarm(Process, Arc<Alarm>),
    /// It is looked at from time to time: neither a descriptor nor a thread is available; or the pidfd says that it has exited, and a debugger
    /// has to collect it first (ptrace(2)), for which there is no event.
    Looks(Process),
    /// That nothing lives in a job any more.
    Job(JobEnd, Arc<Alarm>),
    /// The same, looked at from time to time: it could not be told, or was told, and then somebody was started in it.
    LooksAtJob(JobEnd),
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

    pub(super) fn job(end: &JobEnd) -> Result<Watch> {
        let alarm = Alarm::new("a job that is stopped").and_then(|alarm| end.watch(&alarm.watcher(), 0).map(|()| alarm));
        match alarm {
            Ok(alarm) => Ok(Watch::Job(end.clone(), alarm)),
            Err(error) if error.is_of_the_moment() => Ok(Watch::LooksAtJob(end.clone())),
            Err(error) => Err(error),
        }
    }

    /// Whether it has to be looked at from time to time.
    pub(super) fn looks(&self) -> bool {
        matches!(self, Watch::Looks(_) | Watch::LooksAtJob(_))
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Watch::Pidfd(_, lent) => Some(lent.as_fd()),
            Watch::Alarm(_, alarm) | Watch::Job(_, alarm) => Some(alarm.fd()),
            Watch::Looks(_) | Watch::LooksAtJob(_) | Watch::Over => None,
        }
    }

    /// Whether it has exited, now that the descriptor is readable.
    pub(super) fn exited(&mut self) -> Result<bool> {
        match self {
            Watch::Over => Ok(true),
            Watch::Looks(process) => has_exited(process),
            Watch::LooksAtJob(end) => end.is_empty(),
            Watch::Job(end, _) => {
                let is_over = end.is_empty()?;
                if !is_over {
                    *self = Watch::LooksAtJob(end.clone());
                }
                Ok(is_over)
            }
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
        match self {
            Watch::Alarm(process, alarm) => process.unwatch(&alarm.watcher(), 0),
            Watch::Job(end, alarm) => end.unwatch(&alarm.watcher(), 0),
            _ => {}
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
