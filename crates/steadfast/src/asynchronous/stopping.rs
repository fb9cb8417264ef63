//! [`Stopping`]: a teardown that a task awaits, of a job or a child, alone or while its output is read.

use super::alarm::{Alarm, after};
use super::empty::Empty;
use super::hub::Engine;
use super::over::Over;
use crate::teardown::{Steps, Stopped, Targets, Teardown};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use steadfast_core::{Error, Result};

pub(super) struct Stopping<R: Engine> {
    targets: Targets,
    steps: Steps,
    /// Of those that are not over yet.
    overs: Vec<Over<R>>,
    empties: Vec<Empty<R>>,
    /// The end of this step, once the first was taken.
    until: Option<Option<Instant>>,
    alarm: Alarm<R>,
}

impl<R: Engine> Stopping<R> {
    pub(super) fn new(targets: Targets, how: &Teardown) -> Stopping<R> {
        let overs = targets.processes().map(Over::new).collect();
        let empties = targets.ends().cloned().map(Empty::new).collect();
        Stopping { targets, steps: how.begin(), overs, empties, until: None, alarm: Alarm::default() }
    }

    /// What it has come to so far.
    pub(super) fn stopped(&self) -> Stopped {
        self.steps.stopped(false)
    }

    /// Ready when it is over, or all steps were taken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stopped>> {
        loop {
            // All of them, so that each wakes the task.
            poll_each(&mut self.overs, |over| match Pin::new(over).poll(cx) {
                // Without a status it is over as well.
                Poll::Ready(Ok(_) | Err(Error::NoChild { .. })) => Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            })?;
            poll_each(&mut self.empties, |empty| Pin::new(empty).poll(cx))?;
            if self.overs.is_empty() && self.empties.is_empty() {
                return Poll::Ready(Ok(self.steps.stopped(true)));
            }
            if let Some(until) = self.until {
                ready!(self.alarm.poll(cx, until));
            }
            // Where a thread watches, it may not have told yet.
            if self.targets.are_over()? {
                return Poll::Ready(Ok(self.steps.stopped(true)));
            }
            match self.steps.next(|signal| self.targets.send(signal))? {
                Some(time) => self.until = Some(after::<R>(Some(time))),
                None => return Poll::Ready(Ok(self.steps.stopped(false))),
            }
        }
    }
}

/// Keeps those that are pending; the first error.
fn poll_each<T>(all: &mut Vec<T>, mut poll: impl FnMut(&mut T) -> Poll<Result<()>>) -> Result<()> {
    let mut failed = Ok(());
    all.retain_mut(|one| match poll(one) {
        Poll::Pending => true,
        Poll::Ready(answer) => {
            failed = std::mem::replace(&mut failed, Ok(())).and(answer);
            false
        }
    });
    failed
}

/// By the runtime's time.
pub(crate) async fn stop<R: Engine>(targets: Targets, how: Teardown) -> Result<Stopped> {
    let mut stopping = Stopping::<R>::new(targets, &how);
    poll_fn(|cx| stopping.poll(cx)).await
}
