//! Reading a child's stdout and stderr in a task: as [`Child::capture`](crate::Child::capture), without a thread. Time is the runtime's.

use super::alarm::{Alarm, after};
use super::feeding::Feeding;
use super::hub::{Engine, Runtime};
use super::over::Over;
use super::pipe::Pipe;
use super::runtime::Interest;
use super::stopping::Stopping;
use crate::child::Whose;
use crate::output::{Capture, CapturedStream, KILL_DELAY, Outcome, Reading, Stop, at_the_limit, earliest, is_over_limit};
use crate::pipe::{End, errno};
use crate::teardown::{Stopped, Targets, Teardown};
use crate::within::Within;
use crate::{Captured, Child, ExitStatus, Process};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use steadfast_core::{Errno, Error, Result, Until};

/// A child that writes without a pause must not keep the thread for itself: after so many reads other tasks have their turn.
const BUDGET: u32 = 32;

/// What was read so far: back in its place when the future ends, or is dropped.
struct Kept<'a> {
    child: &'a Child,
    streams: [CapturedStream; 2],
}

impl<'a> Kept<'a> {
    fn of(child: &'a Child) -> Kept<'a> {
        let kept = child.captured.lock().unwrap_or_else(PoisonError::into_inner).take();
        Kept { child, streams: *kept.unwrap_or_default() }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let streams = Some(Box::new(std::mem::take(&mut self.streams)));
        *self.child.captured.lock().unwrap_or_else(PoisonError::into_inner) = streams;
    }
}

pub(super) async fn capture<R: Runtime>(
    child: &Child,
    mut pipes: [Option<&mut Pipe<R>>; 2],
    feeding: Option<Feeding<R>>,
    options: &Capture,
    within: Option<Within>,
    whose: Whose,
) -> Result<Captured> {
    let mut course = Course::begin(child, feeding, options, within);
    let mut kept = Kept::of(child);
    for stream in &mut kept.streams {
        stream.set_limit(options.limit);
    }
    let ends = ends(&pipes);
    let mut readings = readings(&ends, &mut kept.streams);
    let stop = poll_fn(|cx| course.poll(cx, &mut pipes, &mut readings, options)).await?;
    let outcome = course.end(stop, child, &mut pipes, &mut readings, options).await?;
    child.note(outcome.status);
    // What is finished is handed out; what goes on stays, for the next call.
    let is_finished = whose == Whose::OneCall && outcome.status.is_some();
    let streams = if is_finished { std::mem::take(&mut kept.streams) } else { kept.streams.clone() };
    Ok(Captured::new(outcome, streams))
}

pub(super) fn ends<R: Engine>(pipes: &[Option<&mut Pipe<R>>; 2]) -> [Option<Arc<End>>; 2] {
    pipes.each_ref().map(|pipe| pipe.as_ref().map(|pipe| pipe.end()))
}

pub(super) fn readings<'a>(ends: &'a [Option<Arc<End>>; 2], [stdout, stderr]: &'a mut [CapturedStream; 2]) -> [Reading<'a>; 2] {
    [Reading::new("stdout", ends[0].as_deref(), stdout), Reading::new("stderr", ends[1].as_deref(), stderr)]
}

/// Waits for it; `None`: not in time.
pub(super) async fn over_by<R: Engine>(process: &Process, end: Until, deadline: Option<Instant>) -> Result<Option<ExitStatus>> {
    let mut over = Over::<R>::of(process, end);
    let mut alarm = Alarm::<R>::default();
    poll_fn(|cx| match Pin::new(&mut over).poll(cx) {
        Poll::Ready(status) => Poll::Ready(status.map(Some)),
        Poll::Pending => alarm.poll(cx, deadline).map(|()| Ok(None)),
    })
    .await
}

/// The status of a process that is killed now; `None` if it cannot be (`EPERM`: it has changed its user), or does not end in time.
async fn kill<R: Engine>(child: &Child) -> Result<Option<ExitStatus>> {
    if let Some(job) = child.child_job() {
        job.kill()?;
    }
    match child.kill() {
        Ok(()) | Err(Error::ProcessDone { .. }) => over_by::<R>(child.process(), Until::Gone, after::<R>(Some(KILL_DELAY))).await,
        Err(error) if error.errno() == Some(Errno::PERM) => child.try_wait(),
        Err(error) => Err(error),
    }
}

/// Reads what is in the pipes at this moment, and no more.
fn drain(child: &Child, readings: &mut [Reading<'_>; 2]) -> Result<()> {
    for reading in readings {
        match reading.open_end().map(|end| end.fd().is_some()) {
            Some(true) => reading.drain()?,
            Some(false) => drop(reading.drain_simulated(&child.system())?),
            None => {}
        }
    }
    Ok(())
}

/// Reading both, until they end, the child does, or the time is up.
pub(super) struct Course<R: Runtime> {
    feeding: Option<Feeding<R>>,
    /// Until it has exited; `None` if nobody has to know.
    over: Option<Over<R>>,
    is_over: bool,
    /// When to stop, because the child has exited.
    cut: Option<Instant>,
    alarm: Alarm<R>,
    deadline: Option<Instant>,
    /// Whom a teardown is to stop when the time is up, and how, if that is wanted.
    targets: Option<(Targets, Teardown)>,
    /// The time is up, and it is being stopped.
    stopping: Option<Box<Stopping<R>>>,
    stopped: Option<Stopped>,
}

impl<R: Runtime> Course<R> {
    pub(super) fn begin(child: &Child, feeding: Option<Feeding<R>>, options: &Capture, within: Option<Within>) -> Course<R> {
        let process = child.process();
        let targets = child.together(&[process]).targets(options).zip(options.teardown().cloned());
        let is_watched = options.wait_delay.is_some() || feeding.is_some();
        let over = is_watched.then(|| Over::<R>::new(process));
        let deadline = within.map(|within| within.deadline);
        let (stopping, stopped) = (None, None);
        Course { feeding, over, is_over: false, cut: None, alarm: Alarm::default(), deadline, targets, stopping, stopped }
    }

    /// What was not written by now is not. Whoever is to be killed is killed before its input ends.
    fn stop_feeding(&self) {
        self.feeding.iter().for_each(Feeding::close);
    }

    /// Whether it is being stopped by steps from now on, and not killed or left alone.
    fn begin_to_stop(&mut self) -> bool {
        if let Some((targets, how)) = self.targets.take() {
            self.stopping = Some(Box::new(Stopping::new(targets, &how)));
        }
        self.stopping.is_some()
    }

    /// What becomes of the process, now that there is no more to be read, or no more time for it.
    pub(super) async fn end(
        &mut self,
        mut stop: Stop,
        child: &Child,
        pipes: &mut [Option<&mut Pipe<R>>; 2],
        readings: &mut [Reading<'_>; 2],
        options: &Capture,
    ) -> Result<Outcome> {
        if stop == Stop::Complete {
            self.stop_feeding();
            if let Some(status) = over_by::<R>(child.process(), Until::Gone, self.deadline).await? {
                return Ok(Outcome::new(Some(status), stop, None));
            }
            if self.stopped.is_none() && self.begin_to_stop() {
                stop = poll_fn(|cx| self.poll(cx, pipes, readings, options)).await?;
            }
        }
        if stop == Stop::OverLimit {
            let status = kill::<R>(child).await?;
            readings.iter_mut().for_each(|reading| reading.kept.trim());
            let was_stopping = self.stopping.as_ref().map(|stopping| stopping.stopped());
            return Ok(Outcome::over_limit(status, was_stopping));
        }
        let status = match options.kill_on_timeout && self.stopped.is_none() {
            true => kill::<R>(child).await?,
            false => {
                self.stop_feeding();
                child.try_wait()?
            }
        };
        drain(child, readings)?;
        Ok(Outcome::new(status, at_the_limit(status, readings, options), self.stopped))
    }

    /// Whether it came to an end before the deadline.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &mut [Option<&mut Pipe<R>>; 2],
        readings: &mut [Reading<'_>; 2],
        options: &Capture,
    ) -> Poll<Result<Stop>> {
        let mut budget = BUDGET;
        loop {
            let mut has_read = false;
            for (pipe, reading) in pipes.iter_mut().zip(readings.iter_mut()) {
                if let (Some(pipe), true) = (pipe, reading.open_end().is_some()) {
                    has_read |= poll_read(pipe, reading, cx)?.is_ready();
                }
            }
            if is_over_limit(readings, options) {
                return Poll::Ready(Ok(Stop::OverLimit));
            }
            let feeds = match &mut self.feeding {
                Some(feeding) => {
                    has_read |= feeding.poll(cx)?;
                    feeding.is_open()
                }
                None => false,
            };
            let is_all = readings.iter().all(|reading| reading.open_end().is_none()) && (!feeds || self.is_over);
            if is_all && self.stopping.is_none() {
                return Poll::Ready(Ok(Stop::Complete));
            }
            budget -= 1;
            if !has_read || budget == 0 {
                break;
            }
        }
        if budget == 0 {
            cx.waker().wake_by_ref();
        }
        if let Some(stopping) = &mut self.stopping {
            self.stopped = Some(ready!(stopping.poll(cx))?);
            return Poll::Ready(Ok(Stop::TimeIsUp));
        }
        if let Some(over) = &mut self.over {
            match Pin::new(over).poll(cx) {
                // Gone, if without a status: nothing more will come from it.
                Poll::Ready(Ok(_) | Err(Error::NoChild { .. })) => {
                    (self.over, self.is_over) = (None, true);
                    // What it would have read is nobody's; that may be all that was waited for.
                    cx.waker().wake_by_ref();
                    match options.wait_delay {
                        Some(delay) if delay.is_zero() => return Poll::Ready(readings_end(pipes, readings)),
                        Some(delay) => self.cut = after::<R>(Some(delay)),
                        None => {}
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        ready!(self.alarm.poll(cx, earliest(self.deadline, self.cut)));
        let is_cut = self.cut.is_some_and(|cut| self.deadline.is_none_or(|deadline| cut <= deadline));
        if is_cut {
            return Poll::Ready(readings_end(pipes, readings));
        }
        if self.begin_to_stop() {
            // Its first step is taken when it is polled.
            return self.poll(cx, pipes, readings, options);
        }
        Poll::Ready(Ok(Stop::TimeIsUp))
    }
}

/// The child has exited: what is in the pipes at this moment is all that it wrote.
fn readings_end<R: Engine>(pipes: &[Option<&mut Pipe<R>>; 2], readings: &mut [Reading<'_>; 2]) -> Result<Stop> {
    for (pipe, reading) in pipes.iter().zip(readings) {
        match pipe {
            Some(pipe) if reading.open_end().is_some_and(|end| end.fd().is_none()) => {
                while reading.read_some(Some(pipe.now()))? {}
            }
            _ => reading.drain()?,
        }
    }
    Ok(Stop::Complete)
}

/// Reads once; ready if there was something, or the end.
fn poll_read<R: Engine>(pipe: &mut Pipe<R>, reading: &mut Reading<'_>, cx: &mut Context<'_>) -> Result<Poll<()>> {
    let now = pipe.now();
    let mut failed = None;
    let polled = pipe.poll_io(cx, Interest::Read, &mut || match reading.read_some(Some(now)) {
        Ok(has_read) => Ok((has_read || reading.kept.complete).then_some(())),
        Err(error) => {
            failed = Some(error);
            Ok(Some(()))
        }
    });
    match (polled, failed) {
        (_, Some(error)) => Err(error),
        (Poll::Ready(Err(error)), None) => {
            Err(Error::System { call: "read", subject: format!("a pipe of a child ({error})"), source: errno(&error) })
        }
        (polled, None) => Ok(polled.map(drop)),
    }
}
