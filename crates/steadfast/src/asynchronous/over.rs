//! [`Over`]: the end of a process, as a future. Dropping it loses nothing: the status is the handle's.

use super::hub::Engine;
use super::hub::Seat;
use super::virtual_time::VirtualTime;
use crate::wait::{SHORTEST, Verdict, longer, soon, verdict};
use crate::{ExitStatus, Process};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use steadfast_core::{Errno, Error, Result, Until, Watcher, contain};

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

/// Hears that a handle has news, and wakes the task.
#[derive(Default)]
struct Ear {
    has_heard: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Watcher for Ear {
    fn notify(&self, _: u64) {
        self.has_heard.store(true, Ordering::SeqCst);
        if let Some(waker) = self.lock().take() {
            // By reference, for it may panic, and its end too, which at once would end the program.
            contain(|| waker.wake_by_ref());
            contain(move || drop(waker));
        }
    }
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.notify(TOKEN);
    }
}

impl Ear {
    /// Since the last question.
    fn has_heard(&self) -> bool {
        self.has_heard.swap(false, Ordering::SeqCst)
    }

    fn wake_later(&self, cx: &Context<'_>) {
        let is_known = self.lock().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !is_known {
            // Not under the lock, and the end of another task's is not this one's business.
            let new = cx.waker().clone();
            let old = self.lock().replace(new);
            contain(move || drop(old));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let waker = self.lock().take();
        contain(move || drop(waker));
    }
}

const TOKEN: u64 = 0;

impl<R: Engine> Over<R> {
    pub(super) fn new(process: &Process) -> Over<R> {
        Over::of(process, Until::Gone)
    }

    pub(super) fn of(process: &Process, end: Until) -> Over<R> {
        let ear: Arc<Ear> = Arc::default();
        let watcher = Arc::clone(&ear) as Arc<dyn Watcher>;
        Over { process: process.clone(), end, stage: Stage::Begin, ear, watcher, time: VirtualTime::of(process), pause: SHORTEST }
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
            Err(error) => Err(Error::Unsupported { backend: "async", what: error.to_string() }),
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
        let polled = time.poll(cx, |cx| match over.poll_stage(cx) {
            Poll::Ready(status) => Some(status),
            Poll::Pending => None,
        });
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
