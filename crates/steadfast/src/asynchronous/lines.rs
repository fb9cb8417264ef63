//! [`Lines`]: what a child writes, line by line, as it comes, for tasks.

use super::alarm;
use super::capture::{Course, ends, readings};
use super::child::Child;
use super::hub::Runtime;
use super::launch::Launch;
use crate::lines::{Ending, cutter};
use crate::output::{Capture, CapturedStream, Cutter, Line, LinesEnd, Stop};
use crate::{Command, Process};
use std::fmt;
use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use steadfast_core::Result;

/// The lines of both outputs of a child, as they come: [`lines_async`](crate::tokio::AsyncCommand::lines_async) starts one.
///
/// The child waits while nobody takes its lines and its pipe is full. When this is dropped before the end, the child's pipes are closed, and it goes
/// on or is killed as [`Command::kill_on_drop`] says. One that has not been given all of its input is killed.
pub struct Lines<R: Runtime> {
    child: Child<R>,
    options: Capture,
    /// Until it is known how the child has ended.
    course: Option<Course<R>>,
    /// Why there is no more to be read.
    stop: Option<Stop>,
    kept: [CapturedStream; 2],
    cutter: Cutter,
    ending: Ending,
}

impl<R: Runtime> Lines<R> {
    pub(crate) fn begin(command: &Command, options: Capture) -> impl Future<Output = Result<Lines<R>>> + Send + use<R> {
        let within = alarm::begin::<R>(&options);
        let launch = Launch::<R>::begin(command, command.streams_for_capture(), within);
        let (cutter, ending, input) = (cutter(command, &options), Ending::of(command), command.own_input().cloned());
        async move {
            let mut child = Child::from(launch?.await?);
            let feeding = child.feeding(input.as_ref());
            let course = Course::begin(child.as_sync(), feeding, &options, within);
            Ok(Lines { cutter, ending, course: Some(course), stop: None, kept: Default::default(), child, options })
        }
    }

    /// The child, to signal it, or to wait for it elsewhere.
    pub fn process(&self) -> &Process {
        self.child.process()
    }

    /// The next line; `None` when there is no more. After an error there is none either. The future may be dropped at any time: no line is lost.
    pub async fn next(&mut self) -> Option<Result<Line>> {
        loop {
            if let Some(line) = self.cutter.next() {
                return Some(Ok(line));
            }
            self.course.as_ref()?;
            if let Err(error) = self.step().await {
                self.course = None;
                return Some(Err(self.ending.fail(error)));
            }
        }
    }

    /// Drops the lines that are left, and says how the child has ended.
    ///
    /// # Errors
    /// As [`next`](Self::next); [`Error::Unsuccessful`](crate::Error::Unsuccessful) of a command that is [checked](Command::checked).
    pub async fn finish(mut self) -> Result<LinesEnd> {
        while let Some(line) = self.next().await {
            line?;
        }
        self.ending.verdict(self.cutter.last_words())
    }

    /// Until there is a line, or the last is known.
    async fn step(&mut self) -> Result<()> {
        if self.stop.is_none() {
            self.stop = poll_fn(|cx| self.poll_read(cx)).await?;
            // What was read comes before what has to be waited for.
            if self.cutter.has_line() {
                return Ok(());
            }
        }
        let (Some(stop), Some(course)) = (self.stop, &mut self.course) else { return Ok(()) };
        let (child, mut pipes) = self.child.parts();
        let ends = ends(&pipes);
        let mut readings = readings(&ends, &mut self.kept);
        let outcome = course.end(stop, child, &mut pipes, &mut readings, &self.options).await?;
        child.note(outcome.status);
        self.ending.note(outcome);
        self.course = None;
        self.cutter.cut(&mut self.kept);
        self.cutter.finish();
        Ok(())
    }

    /// Ready with a line, or with why there is no more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Stop>>> {
        let Some(course) = &mut self.course else { return Poll::Ready(Ok(None)) };
        let (_, mut pipes) = self.child.parts();
        let ends = ends(&pipes);
        let polled = course.poll(cx, &mut pipes, &mut readings(&ends, &mut self.kept), &self.options);
        self.cutter.cut(&mut self.kept);
        match polled {
            Poll::Ready(stop) => Poll::Ready(stop.map(Some)),
            Poll::Pending if self.cutter.has_line() => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<R: Runtime> fmt::Debug for Lines<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({:?})", self.child.process())
    }
}
