//! [`Empty`]: that nothing lives in a job any more, as a future.

use super::ear::Ear;
use super::hub::Engine;
use super::virtual_time::VirtualTime;
use crate::job::Job;
use crate::wait::{SHORTEST, longer, soon};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use steadfast_core::{JobEnd, Result, Watcher};

/// Ready when nothing lives in the job.
pub(crate) struct Empty<R: Engine> {
    end: JobEnd,
    ear: Arc<Ear>,
    /// The same, as the job has it.
    watcher: Arc<dyn Watcher>,
    /// The backend will tell.
    is_told: bool,
    time: Option<VirtualTime<R>>,
    /// Before the next look, where the backend has refused to tell, or does not have the last word.
    pause: Duration,
}

const TOKEN: u64 = 0;

impl<R: Engine> Empty<R> {
    pub(crate) fn of(job: &Job) -> Empty<R> {
        Empty::new(job.as_core().end())
    }

    pub(super) fn new(end: JobEnd) -> Empty<R> {
        let time = VirtualTime::of(end.backend());
        let ear: Arc<Ear> = Arc::default();
        let watcher = Arc::clone(&ear) as Arc<dyn Watcher>;
        Empty { end, ear, watcher, is_told: false, time, pause: SHORTEST }
    }

    fn poll_empty(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        loop {
            let was_told = self.ear.has_heard();
            if self.end.is_empty()? {
                return Poll::Ready(Ok(()));
            }
            // Told, and yet something lives in it: it was started since, or is about to be born. That is no event, but time.
            let is_refused = self.is_told && was_told || !self.is_told && self.end.watch(&self.watcher, TOKEN).is_err();
            self.is_told = !is_refused;
            if is_refused {
                let ear = Arc::downgrade(&self.ear);
                soon(self.pause, move || ear.upgrade().into_iter().for_each(|ear| ear.notify(TOKEN)));
                self.pause = longer(self.pause);
            }
            self.ear.wake_later(cx);
            // It may have been told before it had a waker.
            if !self.ear.has_heard() {
                return Poll::Pending;
            }
        }
    }
}

impl<R: Engine> Future for Empty<R> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let empty = self.get_mut();
        let Some(mut time) = empty.time.take() else { return empty.poll_empty(cx) };
        let polled = time.poll(cx, |cx| empty.poll_empty(cx));
        empty.time = Some(time);
        polled
    }
}
