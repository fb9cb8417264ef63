//! Waiting for a process that may not be our child: until it has exited, or until it is gone, with its status where that can be known.

use super::Process;
use super::watchers::Watcher;
use crate::sync::Bell;
use crate::{Error, Result, Until};
use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A process has ended. Its status is there if it is known.
///
/// ```
/// # use steadfast_core::{Ended, Process, Result};
/// fn report(daemon: &Process) -> Result<()> {
///     let gone = daemon.wait_gone()?;
///     println!("{}: {gone}", daemon.pid());              // "42: exit status: 1", or "42: ended, status unknown"
///     if gone.status().is_some_and(|status| status.success()) {
///         println!("it went well");
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    status: Option<ExitStatus>,
}

impl Ended {
    /// With this status, or an unknown one.
    pub fn new(status: Option<ExitStatus>) -> Ended {
        Ended { status }
    }

    /// How it ended; `None` if that is unknown, which is neither success nor failure.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => status.fmt(f),
            None => f.write_str("ended, status unknown"),
        }
    }
}

/// Between two looks, where the backend refuses to tell: the first pause, and the longest.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// What a thread that waits for one handle has watch it.
impl Watcher for Bell {
    fn notify(&self, _: u64) {
        self.ring();
    }
}

impl Process {
    /// Blocks until the process has exited, child or not. A process that is not a child may still be a zombie then. To wait until it has been
    /// reaped, so that its PID is free, use [`wait_gone`](Process::wait_gone); that blocks for ever if the parent never waits for it.
    ///
    /// A child is waited for and reaped, as by [`wait`](Process::wait). The status of another process is usually not known at that moment.
    ///
    /// Without pidfds there is no event for a process that is not a child. Its file in `/proc` is read again and again, with pauses of up to
    /// 50 ms.
    ///
    /// # Errors
    /// As [`wait_gone`](Process::wait_gone).
    pub fn wait_exited(&self) -> Result<Ended> {
        self.over_by(Until::Exited, None).map(|gone| gone.unwrap_or(Ended { status: None }))
    }

    /// As [`wait_exited`](Process::wait_exited), for at most `timeout`: `None` if it still runs. A timeout too long for the clock waits
    /// for ever. A timeout of zero does not block, but the backend still begins to watch the process, until the handle is dropped. That takes a
    /// thread or, with pidfds, two descriptors.
    ///
    /// # Errors
    /// As [`wait_gone`](Process::wait_gone).
    pub fn wait_exited_timeout(&self, timeout: Duration) -> Result<Option<Ended>> {
        self.over_by(Until::Exited, self.inner.backend.clock().now().checked_add(timeout))
    }

    /// Blocks until the process is gone, child or not: it has exited, and its parent has waited for it, so that its PID is free.
    ///
    /// A child is waited for and reaped, as by [`wait`](Process::wait). The status of another process is known only with a pidfd, since Linux
    /// 6.15 (`PIDFD_GET_INFO`). As long as its parent does not wait for it, it is a zombie, and this does not return;
    /// [`wait_exited`](Process::wait_exited) does.
    ///
    /// Without pidfds, and with them before Linux 6.15, there is no event for that: the process is checked again and again, with pauses of up to
    /// 50 ms.
    ///
    /// # Errors
    /// [`Error::Released`] after [`release`](Process::release), also if that is called by another thread meanwhile;
    /// [`Error::System`] if there is no descriptor or thread to watch it with when the wait begins. Later it does not fail for that: it checks
    /// the process with pauses instead.
    pub fn wait_gone(&self) -> Result<Ended> {
        self.over_by(Until::Gone, None).map(|gone| gone.unwrap_or(Ended { status: None }))
    }

    /// As [`wait_gone`](Process::wait_gone), for at most `timeout`: `None` if it is still there. A timeout too long for the clock
    /// waits for ever.
    ///
    /// # Errors
    /// As [`wait_gone`](Process::wait_gone).
    pub fn wait_gone_timeout(&self, timeout: Duration) -> Result<Option<Ended>> {
        self.over_by(Until::Gone, self.inner.backend.clock().now().checked_add(timeout))
    }

    fn over_by(&self, end: Until, deadline: Option<Instant>) -> Result<Option<Ended>> {
        if let Some(answer) = self.gone_child(deadline) {
            return answer;
        }
        // Not our child, as far as that can be told now.
        let clock = self.inner.backend.clock();
        let bell = Arc::new(Bell::new(clock.scheduler()));
        let watcher: Arc<dyn Watcher> = Arc::clone(&bell) as Arc<dyn Watcher>;
        let (mut has_waited, mut look_was_refused) = (false, false);
        let mut pause = SHORTEST;
        loop {
            let rings = bell.rings();
            let mut until = deadline;
            // Of one that was told already it is told at once; but whether it is over could not be seen.
            let will_be_told = !look_was_refused
                && match self.watch_end(end, &watcher, 0) {
                    Ok(()) => true,
                    Err(error) if !has_waited => return Err(error),
                    // There was news, and now there is no room to be told more: that is not the end.
                    Err(_) => false,
                };
            if will_be_told {
                pause = SHORTEST;
            } else {
                // There is no event for room.
                self.watch(&watcher, 0);
                let again = clock.now() + pause;
                until = Some(deadline.map_or(again, |deadline| deadline.min(again)));
                pause = (pause * 2).min(LONGEST);
            }
            has_waited = true;
            bell.wait(rings, until.map(|until| until.saturating_duration_since(clock.now())));
            self.unwatch(&watcher, 0);
            look_was_refused = match self.gone_child(Some(clock.now())) {
                Some(Err(error)) if error.is_of_the_moment() => true,
                Some(answer) => return answer,
                None if end == Until::Exited && self.was_told_of(end) => return Ok(Some(Ended { status: None })),
                None => false,
            };
            if deadline.is_some_and(|deadline| deadline <= clock.now()) {
                return Ok(None);
            }
        }
    }

    /// Waits for a child; `None` if it may not be one, and live.
    fn gone_child(&self, deadline: Option<Instant>) -> Option<Result<Option<Ended>>> {
        match self.wait_until(deadline) {
            Ok(exit) => Some(Ok(exit.map(|exit| Ended { status: Some(exit.status) }))),
            Err(Error::NoChild { .. }) if self.is_running() => None,
            Err(Error::NoChild { .. }) => Some(Ok(Some(Ended { status: None }))),
            Err(error) => Some(Err(error)),
        }
    }
}
