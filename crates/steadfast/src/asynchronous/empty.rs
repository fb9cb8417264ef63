//! [`Empty`]: that nothing lives in a job any more, as a future; and a teardown that a task awaits.

use super::capture::{Alarm, after};
use super::ear::Ear;
use super::hub::Engine;
use super::virtual_time::VirtualTime;
use crate::job::Job;
use crate::teardown::{Stopped, Teardown};
use crate::wait::{SHORTEST, longer, soon};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use steadfast_core::{Result, Watcher};

/// Ready when nothing lives in the job.
pub(crate) struct Empty<'a, R: Engine> {
    job: &'a Job,
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

impl<'a, R: Engine> Empty<'a, R> {
    pub(crate) fn of(job: &'a Job) -> Empty<'a, R> {
        let time = VirtualTime::of(job.as_core().backend());
        let ear: Arc<Ear> = Arc::default();
        let watcher = Arc::clone(&ear) as Arc<dyn Watcher>;
        Empty { job, ear, watcher, is_told: false, time, pause: SHORTEST }
    }

    fn poll_empty(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        loop {
            let was_told = self.ear.has_heard();
            if self.job.is_empty()? {
                return Poll::Ready(Ok(()));
            }
            // Told, and yet something lives in it: it was started since, or is about to be born. That is no event, but time.
            let is_refused =
                self.is_told && was_told || !self.is_told && self.job.as_core().watch_empty(&self.watcher, TOKEN).is_err();
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

impl<R: Engine> Future for Empty<'_, R> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let empty = self.get_mut();
        let Some(mut time) = empty.time.take() else { return empty.poll_empty(cx) };
        let polled = time.poll(cx, |cx| empty.poll_empty(cx));
        empty.time = Some(time);
        polled
    }
}

/// Whether nothing lives in it by then.
async fn empty_by<R: Engine>(job: &Job, deadline: Option<Instant>) -> Result<bool> {
    let mut empty = Empty::<R>::of(job);
    let mut alarm = Alarm::<R>::default();
    poll_fn(|cx| match Pin::new(&mut empty).poll(cx) {
        Poll::Ready(answer) => Poll::Ready(answer.map(|()| true)),
        Poll::Pending => alarm.poll(cx, deadline).map(|()| Ok(false)),
    })
    .await
}

/// As [`Job::stop`], by the runtime's time.
pub(crate) async fn stop<R: Engine>(job: &Job, how: Teardown) -> Result<Stopped> {
    let (mut is_over, mut sent) = (job.is_empty()?, None);
    for (signal, time) in how.steps() {
        if is_over {
            break;
        }
        job.signal(*signal)?;
        sent = Some(*signal);
        is_over = empty_by::<R>(job, after::<R>(Some(*time))).await?;
    }
    Ok(Stopped::new(is_over, sent, None))
}
