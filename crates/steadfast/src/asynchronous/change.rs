//! [`NextChange`]: the next stop or continuation of a child, or its exit, as a future. Dropping it loses nothing: what it has not returned is not taken.

use super::ear::Ear;
use super::hub::Engine;
use super::virtual_time::VirtualTime;
use crate::wait::{SHORTEST, longer, soon};
use crate::{Change, Process};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use steadfast_core::{Result, Watcher};

pub(crate) struct NextChange<R: Engine> {
    process: Process,
    ear: Arc<Ear>,
    /// The same, as the handle has it.
    watcher: Arc<dyn Watcher>,
    /// The backend will tell.
    is_watched: bool,
    time: Option<VirtualTime<R>>,
    /// Before the next look, where the backend has refused to tell.
    pause: Duration,
}

const TOKEN: u64 = 0;

impl<R: Engine> NextChange<R> {
    pub(crate) fn of(process: &Process) -> NextChange<R> {
        let time = VirtualTime::of(process.backend());
        let ear: Arc<Ear> = Arc::default();
        let watcher = Arc::clone(&ear) as Arc<dyn Watcher>;
        NextChange { process: process.clone(), ear, watcher, is_watched: false, time, pause: SHORTEST }
    }

    fn poll_change(&mut self, cx: &Context<'_>) -> Poll<Result<Change>> {
        loop {
            if self.ear.has_heard() {
                // Told once; of the next change it is to be watched again.
                self.is_watched = false;
            }
            match self.process.try_wait_change() {
                Ok(Some(change)) => return Poll::Ready(Ok(change)),
                Err(error) if !error.is_of_the_moment() => return Poll::Ready(Err(error)),
                Ok(None) | Err(_) => {}
            }
            if !self.is_watched {
                match self.process.watch_change(&self.watcher, TOKEN) {
                    Ok(()) => {}
                    // There is no event for a thread that can be had, but time.
                    Err(error) if error.is_of_the_moment() => {
                        let ear = Arc::downgrade(&self.ear);
                        soon(self.pause, move || ear.upgrade().into_iter().for_each(|ear| ear.notify(TOKEN)));
                        self.pause = longer(self.pause);
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
                self.is_watched = true;
            }
            self.ear.wake_later(cx);
            // It may have been told before it had a waker.
            if !self.ear.has_heard() {
                return Poll::Pending;
            }
            self.is_watched = false;
        }
    }
}

impl<R: Engine> Future for NextChange<R> {
    type Output = Result<Change>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Change>> {
        let next = self.get_mut();
        let Some(mut time) = next.time.take() else { return next.poll_change(cx) };
        let polled = time.poll(cx, |cx| next.poll_change(cx));
        next.time = Some(time);
        polled
    }
}

impl<R: Engine> Drop for NextChange<R> {
    fn drop(&mut self) {
        self.process.unwatch(&self.watcher, TOKEN);
    }
}
