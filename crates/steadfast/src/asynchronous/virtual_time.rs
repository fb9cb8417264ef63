//! [`VirtualTime`]: a simulated kernel whose time is the runtime's, for as long as a task waits for it.

use super::hub::Engine;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use steadfast_core::ProcessBackend;
use steadfast_core::sync::Scheduler;

pub(crate) struct VirtualTime<R: Engine> {
    scheduler: Arc<dyn Scheduler>,
    timer: Option<(Instant, Pin<Box<R::Timer>>)>,
}

impl<R: Engine> VirtualTime<R> {
    /// `None`: its processes are real, or at least their time is.
    pub(super) fn of(backend: &Arc<dyn ProcessBackend>) -> Option<VirtualTime<R>> {
        let scheduler = backend.clock().scheduler()?;
        Some(VirtualTime { scheduler, timer: None })
    }

    /// From now on its time is the runtime's, also while no task waits for it.
    pub(super) fn begin(backend: &Arc<dyn ProcessBackend>) {
        if let Some(time) = VirtualTime::<R>::of(backend) {
            time.scheduler.follow(R::clock, Waker::noop());
        }
    }

    /// Polls until `look` finds something: lets happen what has by now, looks, and has the task woken when the next thing happens.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>, mut look: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        loop {
            let next = self.scheduler.follow(R::clock, cx.waker());
            if let Poll::Ready(found) = look(cx) {
                return Poll::Ready(found);
            }
            let Some(next) = next else { return Poll::Pending };
            let (_, timer) = match &mut self.timer {
                Some(timer) if timer.0 == next => timer,
                timer => timer.insert((next, Box::pin(R::timer(next)))),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }
}
