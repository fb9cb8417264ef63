//! [`Run`]: a command that is run to its end in a task, with the input that it was given.

use super::alarm;
use super::child::Child;
use super::feeding::Feeding;
use super::hub::{Runtime, no_runtime};
use super::launch::Launch;
use crate::child::Whose;
use crate::input::Input;
use crate::within::Within;
use crate::{Capture, Captured, Command, ExitStatus, Output};
use steadfast_core::{Error, PlanStdio, Result};

/// A command that was started to be run to its end.
pub(crate) struct Run<R: Runtime> {
    launch: Launch<R>,
    input: Option<Input>,
    /// The time for all of it, from here on.
    within: Option<Within>,
    /// If it must succeed.
    checked: Option<Box<Command>>,
}

/// Its child, once that runs its program.
struct Running<R: Runtime> {
    /// Before the child: if this is given up, the child must not see the end of its input before it is killed.
    feeding: Option<Feeding<R>>,
    child: Child<R>,
    within: Option<Within>,
}

impl<R: Runtime> Run<R> {
    /// With this process's streams.
    pub(crate) fn status(command: &Command) -> Result<Run<R>> {
        Run::begin(command, command.streams_for_status(), None)
    }

    /// With its output piped; to the end.
    pub(crate) fn captured(command: &Command) -> Result<Run<R>> {
        Run::begin(command, command.streams_for_capture(), None)
    }

    /// With its output piped; as the options say.
    pub(crate) fn captured_as(command: &Command, options: &Capture) -> Result<Run<R>> {
        Run::begin(command, command.streams_for_capture(), alarm::begin::<R>(options))
    }

    fn begin(command: &Command, defaults: [PlanStdio; 3], within: Option<Within>) -> Result<Run<R>> {
        let launch = Launch::begin(command, defaults, within)?;
        let checked = command.is_checked().then(|| Box::new(command.clone()));
        Ok(Run { launch, input: command.own_input().cloned(), within, checked })
    }

    async fn run(self) -> Result<Running<R>> {
        // What comes after the start needs one.
        R::id().map_err(|error| no_runtime(&error))?;
        let mut child = Child::from(self.launch.await?);
        let feeding = child.feeding(self.input.as_ref());
        Ok(Running { feeding, child, within: self.within })
    }

    pub(crate) async fn wait(mut self) -> Result<ExitStatus> {
        let checked = self.checked.take();
        let mut running = self.run().await?;
        let status = match running.feeding {
            None => running.child.wait().await?,
            Some(_) => {
                // What is piped all the same is nobody's here.
                drop((running.child.stdout.take(), running.child.stderr.take()));
                let captured = running.read(&Capture::new().to_the_end()).await?;
                captured.status.ok_or(Error::NoChild { pid: running.child.pid() })?
            }
        };
        checked.map_or(Ok(status), |command| command.check_status(status))
    }

    pub(crate) async fn output(mut self) -> Result<Output> {
        let checked = self.checked.take();
        let mut running = self.run().await?;
        let captured = running.read(&Capture::new().to_the_end()).await?;
        let output = captured.into_output().ok_or(Error::NoChild { pid: running.child.pid() })?;
        match checked {
            Some(command) => command.check_output(output),
            None => Ok(output),
        }
    }

    pub(crate) async fn capture(mut self, options: &Capture) -> Result<Captured> {
        let checked = self.checked.take();
        let captured = match self.run().await {
            Ok(mut running) => running.read(options).await?,
            Err(Error::SpawnTimedOut { .. }) => Captured::not_started(),
            Err(error) => return Err(error),
        };
        match checked {
            Some(command) => command.check(captured),
            None => Ok(captured),
        }
    }
}

impl<R: Runtime> Running<R> {
    async fn read(&mut self, options: &Capture) -> Result<Captured> {
        self.child.capture_for(options, self.within, Whose::OneCall, self.feeding.take()).await
    }
}

/// How a twin has begun to run a command to its end.
pub(crate) enum Begun<R: Runtime> {
    /// With what only our own calls look after.
    Whole(Box<Run<R>>),
    /// As the twin does it.
    Plain(Box<Launch<R>>),
}
