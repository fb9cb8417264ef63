//! Stops and continuations of a child: waiting for them, and being told of them.
//!
//! The kernel keeps one report of each child: the last stop, or the last continuation, until somebody takes it. A stop that nobody has taken when
//! the child goes on is forgotten. So what is taken here is always how the child stands, and never a list of all that has happened.

use super::Process;
use super::state::{Learnt, Refused, retry_interrupted};
use super::watchers::{Asked, Told, Watcher, tell, tell_one};
use crate::sync::Bell;
use crate::{BackendProcess, Change, Errno, Error, Exit, Pauses, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks, where the backend refuses to tell.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

impl Process {
    /// Blocks until the child has stopped, goes on after a stop, or has exited, and returns which.
    ///
    /// A stop or a continuation is told **once**: to one caller, by whichever handle. It is the kernel's report, and this takes it, so that the next
    /// call waits for the next change. Only the last change is kept: of a child that has stopped and goes on before anybody looks, only the
    /// continuation is told. An exit is told to every caller, now and later: the child is reaped, and the handle is Done, as by
    /// [`wait`](Process::wait); a change that was not taken before is not told any more then.
    ///
    /// Other code of this program that waits with `WUNTRACED` or `WCONTINUED` (waitpid(2)) may take the report first. Then this waits for the next
    /// change; the exit comes in any case. [`wait`](Process::wait) and its kin take no reports, and a stop does not end them.
    ///
    /// Stops of a child that this program traces are its tracer's (ptrace(2)), and are neither told nor taken. Of another program's tracee its own
    /// stops are told.
    ///
    /// ```
    /// # use steadfast_core::{Change, Process, Result};
    /// fn follow(child: &Process) -> Result<()> {
    ///     loop {
    ///         match child.wait_change()? {
    ///             Change::Stopped(signal) => println!("stopped by {signal}"),
    ///             Change::Continued => println!("goes on"),
    ///             Change::Exited(status) => return Ok(println!("{status}")),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Process::wait): [`Error::NoChild`] of a process that is not a child, or whose status is lost; [`Error::Released`].
    /// [`Error::Unsupported`] where the backend cannot hear of stops
    /// ([`BackendInfo::tells_changes`](crate::BackendInfo::tells_changes)): wait4(2) would reap with the same call.
    pub fn wait_change(&self) -> Result<Change> {
        loop {
            if let Some(change) = self.change(|process| process.wait_change().map(Some))? {
                return Ok(change);
            }
        }
    }

    /// As [`wait_change`](Process::wait_change), without blocking: `None` if nothing has happened since the last call.
    ///
    /// # Errors
    /// As [`wait_change`](Process::wait_change).
    pub fn try_wait_change(&self) -> Result<Option<Change>> {
        self.change(|process| process.try_change())
    }

    /// As [`wait_change`](Process::wait_change), for at most `timeout`: `None` if nothing has happened by then. A timeout too long for the clock waits
    /// for ever.
    ///
    /// waitid(2) knows no timeout, so a thread waits, which sleeps until the child's next change or its exit, also after this has returned. There is
    /// one for a handle at most, and calls share it. If none can be started, the child is looked at with pauses of up to 20 ms.
    ///
    /// # Errors
    /// As [`wait_change`](Process::wait_change).
    pub fn wait_change_timeout(&self, timeout: Duration) -> Result<Option<Change>> {
        match self.inner.backend.clock().now().checked_add(timeout) {
            Some(deadline) => self.wait_change_deadline(deadline),
            None => self.wait_change().map(Some),
        }
    }

    /// As [`wait_change_timeout`](Process::wait_change_timeout), until `deadline` on the backend's clock.
    ///
    /// # Errors
    /// As [`wait_change`](Process::wait_change).
    pub fn wait_change_deadline(&self, deadline: Instant) -> Result<Option<Change>> {
        let clock = self.inner.backend.clock();
        let bell = Arc::new(Bell::new(clock.scheduler()));
        let watcher: Arc<dyn Watcher> = Arc::clone(&bell) as Arc<dyn Watcher>;
        let mut pauses = Pauses::new(SHORTEST, LONGEST);
        loop {
            let rings = bell.rings();
            // Before a watch: what is there is told without a thread.
            if let Some(change) = self.try_wait_change()? {
                return Ok(Some(change));
            }
            let mut left = deadline.saturating_duration_since(clock.now());
            if left.is_zero() {
                return Ok(None);
            }
            match self.watch_change(&watcher, 0) {
                Ok(()) => {}
                // There is no event for a thread that can be had.
                Err(error) if error.is_of_the_moment() => left = pauses.next(clock, Some(deadline)),
                Err(error) => return Err(error),
            }
            bell.wait(rings, Some(left));
            self.unwatch(&watcher, 0);
        }
    }

    fn change(&self, ask: impl Fn(&dyn BackendProcess) -> Result<Option<Change>>) -> Result<Option<Change>> {
        let no_child = || Error::NoChild { pid: self.pid() };
        let call = match self.here().begin() {
            Ok(call) => call,
            Err(Refused::Done(exit)) => return exit.map(told).ok_or_else(no_child),
            Err(Refused::Released) => return Err(self.released_error()),
        };
        let status = match retry_interrupted(|| ask(&**call.process())) {
            Ok(Some(Change::Exited(status))) => Some(status),
            Err(error) if error.errno() == Some(Errno::CHILD) => None,
            answer => return answer,
        };
        // The end, by the one way that there is for ends: with what it used, and with what a lost status comes to.
        match (self.wait_until(Some(self.inner.backend.clock().now())), status) {
            (Ok(Some(exit)), _) => Ok(told(exit)),
            // Seen here, and taken by other code before that look.
            (Ok(None) | Err(Error::NoChild { .. }), Some(status)) => {
                let exit = Exit::new(self.pid(), status);
                call.end(Learnt::Exited(exit));
                Ok(told(exit))
            }
            (Ok(None), None) => Err(no_child()),
            (Err(error), _) => Err(error),
        }
    }

    /// Tells `watcher` once, with this token, when [`try_wait_change`](Process::try_wait_change) may have something to return: the child has stopped,
    /// goes on, or has exited; or the handle is Done or Released. At once, if that is so. Nothing is taken by it. Watch again after that look; no change
    /// is lost in between. [`unwatch`](Process::unwatch) cancels it.
    ///
    /// It takes a thread, which sleeps in waitid(2) until the next change or the exit: one for a handle at most, however many watch it.
    ///
    /// # Errors
    /// [`Error::System`] with `EAGAIN` or `EMFILE` if there is no thread or descriptor for it; [`Error::Unsupported`] as
    /// [`wait_change`](Process::wait_change). Then it is not watched.
    pub fn watch_change(&self, watcher: &Arc<dyn Watcher>, token: u64) -> Result<()> {
        let inner = self.here();
        let call = match inner.begin() {
            Ok(call) => call,
            Err(Refused::Done(_) | Refused::Released) => {
                tell_one(watcher, token);
                return Ok(());
            }
        };
        let mut state = inner.lock();
        let watchers = state.change_watchers();
        // In the list before the backend is asked: it may call before `on_change` returns.
        watchers.add(watcher, token);
        match watchers.asked {
            Asked::Yes | Asked::AskingForMore => return Ok(()),
            Asked::Asking => {
                watchers.asked = Asked::AskingForMore;
                return Ok(());
            }
            // An answer is of one change, and the next one is asked for anew.
            Asked::No | Asked::Answered => watchers.asked = Asked::Asking,
        }
        drop(state);
        let weak = Arc::downgrade(inner);
        let answer = Arc::clone(call.process()).on_change(Box::new(move || {
            if let Some(inner) = weak.upgrade() {
                let mut state = inner.lock();
                let watchers = state.change_watchers();
                watchers.asked = Asked::Answered;
                let told = watchers.take();
                drop(state);
                tell(told);
            }
        }));
        let mut state = inner.lock();
        let watchers = state.change_watchers();
        let mut others = Told::nobody();
        if answer.is_err() {
            // The caller has it too, and so it is not dropped under the lock.
            drop(watchers.remove(watcher, token));
            // Whoever came in between relies on what has just failed: they look, and ask again. If nobody did, nobody is disturbed, or two who
            // are refused would wake each other without a pause.
            if std::mem::replace(&mut watchers.asked, Asked::No) != Asked::Asking {
                others = watchers.take();
            }
        } else if watchers.asked != Asked::Answered {
            watchers.asked = Asked::Yes;
        }
        drop(state);
        tell(others);
        call.end(Learnt::Nothing);
        answer
    }
}

fn told(exit: Exit) -> Option<Change> {
    Some(Change::Exited(exit.status))
}
