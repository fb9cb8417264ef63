//! Reading a child's stdout and stderr in a task: as [`Child::capture`](crate::Child::capture), without a thread. Time is the runtime's.

use super::feeding::Feeding;
use super::hub::{Engine, Runtime};
use super::over::Over;
use super::pipe::Pipe;
use super::runtime::Interest;
use crate::child::Whose;
use crate::output::{Capture, CapturedStream, KILL_DELAY, Reading, Stop, earliest, is_over_limit};
use crate::pipe::End;
use crate::{Captured, Child, ExitStatus, Process};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
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
    mut feeding: Option<Feeding<'_, R>>,
    options: &Capture,
    whose: Whose,
) -> Result<Captured> {
    // Later than the clock can say is as good as never.
    let deadline = after::<R>(options.timeout);
    let mut kept = Kept::of(child);
    for stream in &mut kept.streams {
        stream.set_limit(options.limit);
    }
    let ends: [Option<Arc<End>>; 2] = pipes.each_ref().map(|pipe| pipe.as_ref().map(|pipe| pipe.end()));
    let [stdout, stderr] = &mut kept.streams;
    let mut readings = [Reading::new("stdout", ends[0].as_deref(), stdout), Reading::new("stderr", ends[1].as_deref(), stderr)];
    let mut task = Read {
        over: (options.wait_delay.is_some() || feeding.is_some()).then(|| Over::<R>::new(child.process())),
        is_over: false,
        cut: None,
        alarm: Alarm::default(),
        deadline,
    };
    let mut stop = poll_fn(|cx| task.poll(cx, &mut pipes, &mut readings, &mut feeding, options)).await?;
    if stop == Stop::Complete {
        // What was not written by now is not; but whoever is to be killed must not take the part that was for the whole.
        drop(feeding.take());
    }
    let mut status = match stop {
        Stop::Complete => over_by::<R>(child.process(), Until::Gone, deadline).await?,
        Stop::OverLimit => kill::<R>(child).await?,
        Stop::TimeIsUp => None,
    };
    if stop == Stop::OverLimit {
        readings.iter_mut().for_each(|reading| reading.kept.trim());
    } else if status.is_none() {
        status = if options.kill_on_timeout { kill::<R>(child).await? } else { child.try_wait()? };
        drain(child, &mut readings)?;
        readings.iter_mut().for_each(|reading| reading.kept.trim());
        // It may have ended by itself at the last moment.
        let all_is_there = readings.iter().all(|reading| reading.kept.complete);
        let timed_out = options.kill_on_timeout || status.is_none() || !all_is_there;
        stop = if timed_out { Stop::TimeIsUp } else { Stop::Complete };
    }
    // What is finished is handed out; what goes on stays, for the next call.
    let [stdout, stderr] =
        if whose == Whose::OneCall && status.is_some() { std::mem::take(&mut kept.streams) } else { kept.streams.clone() };
    Ok(Captured { status, timed_out: stop == Stop::TimeIsUp, over_limit: stop == Stop::OverLimit, stdout, stderr })
}

pub(super) fn after<R: Engine>(time: Option<Duration>) -> Option<Instant> {
    time.and_then(|time| R::clock()?.checked_add(time))
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

/// Goes off when the time is up.
struct Alarm<R: Engine> {
    timer: Option<(Instant, Pin<Box<R::Timer>>)>,
}

impl<R: Engine> Default for Alarm<R> {
    fn default() -> Alarm<R> {
        Alarm { timer: None }
    }
}

impl<R: Engine> Alarm<R> {
    fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let (_, timer) = match &mut self.timer {
            Some(timer) if timer.0 == at => timer,
            timer => timer.insert((at, Box::pin(R::timer(at)))),
        };
        timer.as_mut().poll(cx).map(drop)
    }
}

/// Reading both, until they end, the child does, or the time is up.
struct Read<R: Engine> {
    /// Until it has exited; `None` if nobody has to know.
    over: Option<Over<R>>,
    is_over: bool,
    /// When to stop, because the child has exited.
    cut: Option<Instant>,
    alarm: Alarm<R>,
    deadline: Option<Instant>,
}

impl<R: Runtime> Read<R> {
    /// Whether it came to an end before the deadline.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &mut [Option<&mut Pipe<R>>; 2],
        readings: &mut [Reading<'_>; 2],
        feeding: &mut Option<Feeding<'_, R>>,
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
            let feeds = match feeding {
                Some(feeding) => {
                    has_read |= feeding.poll(cx)?;
                    feeding.is_open()
                }
                None => false,
            };
            if readings.iter().all(|reading| reading.open_end().is_none()) && (!feeds || self.is_over) {
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
        if let Some(over) = &mut self.over {
            match Pin::new(over).poll(cx) {
                // Gone, if without a status: nothing more will come from it.
                Poll::Ready(Ok(_) | Err(Error::NoChild { .. })) => {
                    (self.over, self.is_over) = (None, true);
                    match options.wait_delay {
                        Some(delay) if delay.is_zero() => return Poll::Ready(readings_end(pipes, readings)),
                        Some(delay) => self.cut = after::<R>(Some(delay)),
                        // Only what it would have read is over.
                        None => cx.waker().wake_by_ref(),
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        ready!(self.alarm.poll(cx, earliest(self.deadline, self.cut)));
        let is_cut = self.cut.is_some_and(|cut| self.deadline.is_none_or(|deadline| cut <= deadline));
        Poll::Ready(if is_cut { readings_end(pipes, readings) } else { Ok(Stop::TimeIsUp) })
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
            let source = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::IO.as_raw()));
            Err(Error::System { call: "read", subject: format!("a pipe of a child ({error})"), source })
        }
        (polled, None) => Ok(polled.map(drop)),
    }
}
