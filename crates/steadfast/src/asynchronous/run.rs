//! [`Run`]: a command that is run to its end in a task, with the input that it was given.

use super::child::Child;
use super::hub::Runtime;
use super::pipe::ChildStdin;
use crate::child::Whose;
use crate::input::{Feed, Input};
use crate::output::end_early;
use crate::pipe::errno;
use crate::{Capture, Captured, Command, ExitStatus, Output, Process, System};
use std::task::{Context, Poll};
use steadfast_core::{Error, PlanStdio, Result};

/// A child that was started to be run to its end.
pub(crate) struct Run<R: Runtime> {
    child: Child<R>,
    input: Option<Input>,
    /// If it must succeed.
    checked: Option<Box<Command>>,
}

impl<R: Runtime> Run<R> {
    /// With this process's streams.
    pub(crate) fn status(command: &Command) -> Result<Run<R>> {
        let stdin = if command.own_input().is_some() { PlanStdio::Piped } else { PlanStdio::Inherit };
        let child = command.spawn_with(&System::current()?, [stdin, PlanStdio::Inherit, PlanStdio::Inherit])?;
        Ok(Run::new(command, child))
    }

    /// With its output piped.
    pub(crate) fn captured(command: &Command) -> Result<Run<R>> {
        Ok(Run::new(command, command.spawn_captured()?))
    }

    fn new(command: &Command, child: crate::Child) -> Run<R> {
        let checked = command.is_checked().then(|| Box::new(command.clone()));
        Run { child: child.into(), input: command.own_input().cloned(), checked }
    }

    pub(crate) async fn wait(mut self) -> Result<ExitStatus> {
        let status = match self.input {
            None => self.child.wait().await?,
            Some(_) => {
                // What is piped all the same is nobody's here.
                drop((self.child.stdout.take(), self.child.stderr.take()));
                let captured = self.read(&Capture::new().to_the_end()).await?;
                captured.status.ok_or(Error::NoChild { pid: self.child.pid() })?
            }
        };
        self.checked.map_or(Ok(status), |command| command.check_status(status))
    }

    pub(crate) async fn output(mut self) -> Result<Output> {
        let captured = self.read(&Capture::new().to_the_end()).await?;
        let output = captured.into_output().ok_or(Error::NoChild { pid: self.child.pid() })?;
        match self.checked {
            Some(command) => command.check_output(output),
            None => Ok(output),
        }
    }

    pub(crate) async fn capture(mut self, options: &Capture) -> Result<Captured> {
        let captured = self.read(options).await?;
        match self.checked {
            Some(command) => command.check(captured),
            None => Ok(captured),
        }
    }

    async fn read(&mut self, options: &Capture) -> Result<Captured> {
        self.child.capture_for(options, Whose::OneCall, self.input.as_ref()).await
    }
}

/// An input, and the stdin that it goes to, until all is written, nobody reads it any more, or the reading of the output is over.
pub(super) struct Feeding<'a, R: Runtime> {
    feed: Feed,
    stdin: &'a ChildStdin<R>,
    process: &'a Process,
}

impl<'a, R: Runtime> Feeding<'a, R> {
    pub(super) fn new(input: &Input, stdin: &'a ChildStdin<R>, process: &'a Process) -> Feeding<'a, R> {
        Feeding { feed: Feed::new(input), stdin, process }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stdin.is_open()
    }

    /// Writes once; whether anything moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if !self.is_open() {
            return Ok(false);
        }
        let next = self.feed.next().inspect_err(|_| end_early(self.process))?;
        if next.is_empty() {
            self.stdin.close();
            return Ok(true);
        }
        match self.stdin.poll_feed(cx, next) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(written)) => {
                self.feed.wrote(written);
                Ok(true)
            }
            Poll::Ready(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.stdin.close();
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                Err(Error::System { call: "write", subject: format!("stdin of a child ({error})"), source: errno(&error) })
            }
        }
    }
}

/// What was not written by now is not.
impl<R: Runtime> Drop for Feeding<'_, R> {
    fn drop(&mut self) {
        self.stdin.close();
    }
}
