//! [`Run`]: a command that is run to its end in a task, with the input that it was given.

use super::child::Child;
use super::feeding::Feeding;
use super::hub::Runtime;
use crate::child::Whose;
use crate::{Capture, Captured, Command, ExitStatus, Output, System};
use steadfast_core::{Error, Result};

/// A child that was started to be run to its end.
pub(crate) struct Run<R: Runtime> {
    /// Before the child: if this is given up, the child must not see the end of its input before it is killed.
    feeding: Option<Feeding<R>>,
    child: Child<R>,
    /// If it must succeed.
    checked: Option<Box<Command>>,
}

impl<R: Runtime> Run<R> {
    /// With this process's streams.
    pub(crate) fn status(command: &Command) -> Result<Run<R>> {
        Ok(Run::new(command, command.spawn_with(&System::current()?, command.streams_for_status())?))
    }

    /// With its output piped.
    pub(crate) fn captured(command: &Command) -> Result<Run<R>> {
        Ok(Run::new(command, command.spawn_captured()?))
    }

    fn new(command: &Command, child: crate::Child) -> Run<R> {
        let checked = command.is_checked().then(|| Box::new(command.clone()));
        let mut child = Child::from(child);
        Run { feeding: child.feeding(command.own_input()), child, checked }
    }

    pub(crate) async fn wait(mut self) -> Result<ExitStatus> {
        let status = match self.feeding {
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
        self.child.capture_for(options, Whose::OneCall, self.feeding.take()).await
    }
}

/// How a twin has begun to run a command to its end.
pub(crate) enum Begun<R: Runtime, C> {
    /// With what only our own calls look after.
    Whole(Box<Run<R>>),
    /// As the twin does it.
    Plain(C),
}
