//! [`Over`]: the end of a process, as a future. Dropping it loses nothing: the status is the handle's.

use super::ear::Ear;
use super::hub::{Engine, Seat, no_runtime};
use super::virtual_time::VirtualTime;
use crate::wait::{SHORTEST, Verdict, longer, soon, verdict};
use crate::{ExitStatus, Process};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use steadfast_core::{Errno, Result, Until, Watcher};

/// Ready when the process has come to this end: with its status, or why that is unknown ([`Error::NoChild`]; [`Error::Released`]).
pub(crate) struct Over<R: Engine> {
    process: Process,
    end: Until,
    stage: Stage<R>,
    ear: Arc<Ear>,
    /// The same, as the watcher of the handle.
    watcher: Arc<dyn Watcher>,
    time: Option<VirtualTime<R>>,
    /// Before the next look, where the backend has refused to tell.
    pause: Duration,
}

enum Stage<R: Engine> {
    Begin,
    /// The runtime polls the pidfd; the ear hears that, and what other threads do with the handle.
    Seated(Seat<R>),
    /// The backend has been asked too.
    Heard,
    /// It is over, and nobody watches it any more.
    End,
}

const TOKEN: u64 = 0;

impl<R: Engine> Over<R> {
    pub(super) fn new(process: &Process) -> Over<R> {
        Over::of(process, Until::Gone)
    }

    pub(super) fn of(process: &Process, end: Until) -> Over<R> {
        let ear: Arc<Ear> = Arc::default();
        let watcher = Arc::clone(&ear) as Arc<dyn Watcher>;
        Over {
            process: process.clone(),
            end,
            stage: Stage::Begin,
            ear,
            watcher,
            time: VirtualTime::of(process.backend()),
            pause: SHORTEST,
        }
    }

    /// Asks the backend, for the ear has to hear everything now.
    fn hear(&mut self) -> Result<()> {
        self.process.unwatch(&self.watcher, TOKEN);
        self.leave(Stage::Heard);
        self.process.watch_end(self.end, &self.watcher, TOKEN)
    }

    fn leave(&mut self, next: Stage<R>) {
        if let Stage::Seated(seat) = std::mem::replace(&mut self.stage, next) {
            seat.leave(&self.process);
        }
    }

    fn begin(&mut self) -> Result<()> {
        match Seat::take(&self.process, &self.ear) {
            Ok(Some(seat)) => {
                self.stage = Stage::Seated(seat);
                self.process.watch(&self.watcher, TOKEN);
                Ok(())
            }
            Ok(None) => self.hear(),
            // No room for the runtime's own: the backend may have some.
            Err(error) if Errno::of(&error).is_some_and(Errno::is_of_the_moment) => self.hear(),
            Err(error) => Err(no_runtime(&error)),
        }
    }

    fn poll_stage(&mut self, cx: &Context<'_>) -> Poll<Result<ExitStatus>> {
        loop {
            let is_new = matches!(self.stage, Stage::Begin);
            if !is_new && !self.ear.has_heard() {
                self.ear.wake_later(cx);
                // It may have been told before it had a waker.
                if !self.ear.has_heard() {
                    return Poll::Pending;
                }
            }
            let verdict = verdict(&self.process, self.end, &self.watcher, TOKEN);
            if let Verdict::Over(over) = verdict {
                self.leave(Stage::End);
                return Poll::Ready(over);
            }
            if is_new {
                match self.begin() {
                    Err(error) if error.is_of_the_moment() => {
                        self.look_again_soon(cx);
                        return Poll::Pending;
                    }
                    begun => begun?,
                }
            // Told of an exit, and yet there is no status: the backend finds out.
            } else if matches!(verdict, Verdict::Refused) || self.hear().is_err() {
                self.look_again_soon(cx);
                return Poll::Pending;
            }
        }
    }

    /// The backend has no room to tell, now. That is not the end of the process, nor of the wait, which has begun: there is no event for
    /// it, but time.
    fn look_again_soon(&mut self, cx: &Context<'_>) {
        self.leave(Stage::Heard);
        self.ear.wake_later(cx);
        // What others do with the handle is told all the same.
        self.process.watch(&self.watcher, TOKEN);
        let ear = Arc::downgrade(&self.ear);
        soon(self.pause, move || {
            if let Some(ear) = ear.upgrade() {
                ear.notify(TOKEN);
            }
        });
        self.pause = longer(self.pause);
    }
}

impl<R: Engine> Future for Over<R> {
    type Output = Result<ExitStatus>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<ExitStatus>> {
        let over = self.get_mut();
        let Some(mut time) = over.time.take() else { return over.poll_stage(cx) };
        let polled = time.poll(cx, |cx| over.poll_stage(cx));
        over.time = Some(time);
        polled
    }
}

impl<R: Engine> Drop for Over<R> {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::End) {
            self.process.unwatch(&self.watcher, TOKEN);
            self.leave(Stage::End);
        }
    }
}
