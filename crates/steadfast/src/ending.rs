//! The ways to hear of the end of a [`Child`] that are not in `child.rs`, and what they all do then: the terminal comes back.

use crate::{Change, Child, ExitStatus};
use std::time::{Duration, Instant};
use steadfast_core::{Ended, Error, Result};

/// Waiting: as its [`Process`](crate::Process), which it derefs to; and the terminal that it got from this process comes back
/// ([`Command::foreground`](crate::Command::foreground)).
impl Child {
    /// As [`Process::try_wait`](crate::backend::Process::try_wait): its status, if it has exited; reaps it then.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.over(self.process().try_wait(), Option::is_some)
    }

    /// As [`Process::wait_exited`](crate::backend::Process::wait_exited). Its stdin is not closed.
    ///
    /// # Errors
    /// As [`wait_gone`](Self::wait_gone).
    pub fn wait_exited(&self) -> Result<Ended> {
        self.over(self.process().wait_exited(), |_| true)
    }

    /// As [`Process::wait_exited_timeout`](crate::backend::Process::wait_exited_timeout): `None` if it still runs after `timeout`.
    ///
    /// # Errors
    /// As [`wait_gone`](Self::wait_gone).
    pub fn wait_exited_timeout(&self, timeout: Duration) -> Result<Option<Ended>> {
        self.over(self.process().wait_exited_timeout(timeout), Option::is_some)
    }

    /// As [`Process::wait_gone`](crate::backend::Process::wait_gone). Its stdin is not closed.
    ///
    /// # Errors
    /// [`Error::Released`] after `release`; [`Error::System`] if there is no descriptor or thread to
    /// watch it with.
    pub fn wait_gone(&self) -> Result<Ended> {
        self.over(self.process().wait_gone(), |_| true)
    }

    /// As [`Process::wait_gone_timeout`](crate::backend::Process::wait_gone_timeout): `None` if it is still there after `timeout`.
    ///
    /// # Errors
    /// As [`wait_gone`](Self::wait_gone).
    pub fn wait_gone_timeout(&self, timeout: Duration) -> Result<Option<Ended>> {
        self.over(self.process().wait_gone_timeout(timeout), Option::is_some)
    }

    /// As [`Process::wait_change`](crate::backend::Process::wait_change): blocks until it has stopped, goes on after a stop, or has exited. Its stdin is not
    /// closed. If it got the terminal, that comes back with a stop too; [`continue_in_foreground`](Child::continue_in_foreground) gives it again.
    ///
    /// ```
    /// use steadfast::{Change, Command, Signal};
    /// let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
    /// # if !child.backend().info().tells_changes { return Ok(()) }
    /// child.signal(Signal::STOP)?;
    /// assert_eq!(child.wait_change()?, Change::Stopped(Signal::STOP));
    /// child.signal(Signal::CONT)?;
    /// assert_eq!(child.wait_change()?, Change::Continued);
    /// child.kill()?;
    /// let Change::Exited(status) = child.wait_change()? else { panic!("it was killed") };
    /// assert_eq!(child.wait()?, status);
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn wait_change(&self) -> Result<Change> {
        self.changed(self.process().wait_change(), |change| Some(*change))
    }

    /// As [`Process::try_wait_change`](crate::backend::Process::try_wait_change): `None` if nothing has happened since the last call.
    ///
    /// # Errors
    /// As [`wait_change`](Self::wait_change).
    pub fn try_wait_change(&self) -> Result<Option<Change>> {
        self.changed(self.process().try_wait_change(), |change| *change)
    }

    /// As [`Process::wait_change_timeout`](crate::backend::Process::wait_change_timeout): `None` if nothing has happened after `timeout`.
    ///
    /// # Errors
    /// As [`wait_change`](Self::wait_change).
    pub fn wait_change_timeout(&self, timeout: Duration) -> Result<Option<Change>> {
        self.changed(self.process().wait_change_timeout(timeout), |change| *change)
    }

    /// As [`wait_change_timeout`](Self::wait_change_timeout), until `deadline` on the system's clock.
    ///
    /// # Errors
    /// As [`wait_change`](Self::wait_change).
    pub fn wait_change_deadline(&self, deadline: Instant) -> Result<Option<Change>> {
        self.changed(self.process().wait_change_deadline(deadline), |change| *change)
    }

    /// What a wait for a change has answered: who is stopped has no use for the terminal either.
    pub(crate) fn changed<T>(&self, answer: Result<T>, change: impl FnOnce(&T) -> Option<Change>) -> Result<T> {
        self.over(answer, |value| matches!(change(value), Some(Change::Stopped(_) | Change::Exited(_))))
    }

    /// What a wait has answered; a child whose status is lost has ended, too.
    pub(crate) fn over<T>(&self, answer: Result<T>, has_ended: impl FnOnce(&T) -> bool) -> Result<T> {
        let is_over = match &answer {
            Ok(value) => has_ended(value),
            Err(error) => matches!(error, Error::NoChild { .. }),
        };
        if is_over {
            self.bring_back();
        }
        answer
    }

    /// Where a call has seen how it ended.
    pub(crate) fn note(&self, status: Option<ExitStatus>) {
        if status.is_some() {
            self.bring_back();
        }
    }

    /// The terminal that it got from us, now that it has ended. (In the child of a fork(2) it is the parent's.)
    pub(crate) fn bring_back(&self) {
        if let Some(lent) = self.terminal().filter(|_| self.process().is_here()) {
            lent.bring_back();
        }
    }

    /// At the drop: after a look whether it has ended. (A look is a reap, which is another's if this one is not to reap.)
    pub(crate) fn bring_back_if_over(&self, reaps: bool) {
        if self.terminal().is_none() || !self.process().is_here() {
            return;
        }
        let status = if reaps { self.process().try_wait().unwrap_or_default() } else { self.status() };
        self.note(status);
    }
}
