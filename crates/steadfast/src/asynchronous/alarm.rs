//! [`Alarm`]: a time, for a task.

use super::hub::Engine;
use crate::output::Capture;
use crate::within::Within;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use steadfast_core::Clock;
use steadfast_linux::SystemClock;

pub(super) fn after<R: Engine>(time: Option<Duration>) -> Option<Instant> {
    within::<R>(time).map(|within| within.deadline)
}

/// From now on, by the runtime's clock.
pub(crate) fn within<R: Engine>(time: Option<Duration>) -> Option<Within> {
    // Outside of a runtime, which may be where a child is started, it is the system's.
    Within::from(R::clock().unwrap_or_else(|| SystemClock.now()), time)
}

/// The time of a call, which begins now.
pub(super) fn begin<R: Engine>(options: &Capture) -> Option<Within> {
    within::<R>(options.timeout)
}

/// Goes off when the time is up.
pub(super) struct Alarm<R: Engine> {
    timer: Option<(Instant, Pin<Box<R::Timer>>)>,
}

impl<R: Engine> Default for Alarm<R> {
    fn default() -> Alarm<R> {
        Alarm { timer: None }
    }
}

impl<R: Engine> Alarm<R> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let (_, timer) = match &mut self.timer {
            Some(timer) if timer.0 == at => timer,
            timer => timer.insert((at, Box::pin(R::timer(at)))),
        };
        timer.as_mut().poll(cx).map(drop)
    }
}
