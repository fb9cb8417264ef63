//! [`Pipeline`]: commands in a row, each reading what the one before writes.

use crate::output::{self, Capture, CapturedStream, Reading};
use crate::{Child, ChildStdout, Command, ExitStatus, Stdio, System};
use std::fmt;
use std::time::Duration;
use steadfast_core::{Error, ErrorKind, PlanStdio, Result};

/// A pipeline: the stdout of each command is the stdin of the next, as with a shell's `|`.
///
/// The stdin of the first command and the stdout of the last one are as those commands set them; stderr is set by each command.
///
/// ```
/// use steadfast::{Command, Pipeline};
/// let mut sort = Command::new("sort");
/// sort.arg("-n");
/// let mut numbers = Command::new("printf");
/// numbers.arg("3\n1\n2\n");
/// let output = Pipeline::new([numbers, sort]).output()?;
/// assert_eq!(output.stdout, b"1\n2\n3\n");
/// assert!(output.success());
/// # Ok::<(), steadfast::Error>(())
/// ```
#[derive(Clone)]
pub struct Pipeline {
    commands: Vec<Command>,
}

impl Pipeline {
    /// The commands, first to last.
    pub fn new(commands: impl IntoIterator<Item = Command>) -> Pipeline {
        Pipeline { commands: commands.into_iter().collect() }
    }

    /// Adds a command to the end.
    pub fn pipe(mut self, next: Command) -> Pipeline {
        self.commands.push(next);
        self
    }

    /// Starts all of them. If one cannot be started, those before it are killed and waited for.
    ///
    /// # Errors
    /// As [`Command::spawn`], with the program that it was; [`Error::InvalidPlan`] for a pipeline without commands, and for a
    /// command whose own stdin or stdout setting contradicts the pipe.
    pub fn spawn(&self) -> Result<RunningPipeline> {
        self.spawn_with(&System::current()?, PlanStdio::Inherit)
    }

    /// Starts all of them, waits for all and gives their statuses, first to last.
    ///
    /// ```
    /// use steadfast::{Command, Pipeline};
    /// let statuses = Pipeline::new([Command::new("false"), Command::new("true")]).status()?;
    /// assert_eq!(statuses.iter().map(|status| status.success()).collect::<Vec<_>>(), [false, true]);
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`RunningPipeline::wait`].
    pub fn status(&self) -> Result<Vec<ExitStatus>> {
        self.spawn()?.wait()
    }

    /// Starts all of them, reads the last one's stdout to its end, and waits for all. The first one's stdin is empty, unless it
    /// says otherwise.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`RunningPipeline::wait`].
    pub fn output(&self) -> Result<PipelineOutput> {
        let system = System::current()?;
        let running = self.spawn_with(&system, PlanStdio::Piped)?;
        let mut stdout = CapturedStream::default();
        let mut nothing = CapturedStream::default();
        if let Some(last) = running.children.last() {
            let end = last.stdout.as_ref().map(ChildStdout::end);
            let streams = [Reading::new("stdout", end, &mut stdout), Reading::new("stderr", None, &mut nothing)];
            output::capture(last.process(), &system, streams, &Capture::new().to_the_end(), None)?;
        }
        Ok(PipelineOutput { statuses: running.wait()?, stdout: stdout.into_vec() })
    }

    fn spawn_with(&self, system: &System, last_stdout: PlanStdio) -> Result<RunningPipeline> {
        self.check()?;
        let captured = matches!(last_stdout, PlanStdio::Piped);
        let mut running = RunningPipeline { children: Vec::with_capacity(self.commands.len()) };
        let mut before: Option<ChildStdout> = None;
        for (index, command) in self.commands.iter().enumerate() {
            let mut command = command.clone();
            let is_last = index + 1 == self.commands.len();
            if let Some(stdout) = before.take() {
                command.stdin(stdout);
            }
            let stdin = if captured { PlanStdio::Null } else { PlanStdio::Inherit };
            let stdout = if is_last { last_stdout.clone() } else { PlanStdio::Piped };
            let spawned = command.spawn_with(system, [stdin, stdout, PlanStdio::Inherit]);
            let mut child = spawned.inspect_err(|_| running.end())?;
            if !is_last {
                before = child.stdout.take();
            }
            running.children.push(child);
        }
        Ok(running)
    }

    fn check(&self) -> Result<()> {
        let invalid = |command: Option<&Command>, why: String| {
            let program = command.map(|command| command.get_program().to_owned()).unwrap_or_default();
            Err(Error::InvalidPlan { program, why })
        };
        if self.commands.is_empty() {
            return invalid(None, "a pipeline without commands".into());
        }
        for (index, command) in self.commands.iter().enumerate() {
            let (stdin, stdout) = command.own_streams();
            let piped = |stdio: &Stdio| matches!(stdio.plan(), Some(PlanStdio::Piped));
            if index > 0 && stdin.is_some() {
                return invalid(
                    Some(command),
                    format!("stdin and command {} of a pipeline: it reads what the one before writes", index + 1),
                );
            }
            if index + 1 < self.commands.len() && stdout.is_some_and(|stdout| !piped(stdout)) {
                return invalid(
                    Some(command),
                    format!("stdout and command {} of a pipeline: the next one reads what it writes", index + 1),
                );
            }
        }
        Ok(())
    }
}

/// A line of shell.
impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, command) in self.commands.iter().enumerate() {
            let bar = if index > 0 { " | " } else { "" };
            write!(f, "{bar}{command:?}")?;
        }
        Ok(())
    }
}

/// A pipeline that was started. If it is dropped, its commands continue to run, as a [`Child`] does.
#[derive(Debug)]
pub struct RunningPipeline {
    children: Vec<Child>,
}

impl RunningPipeline {
    /// The children, first to last. The first one's stdin and the last one's stdout are there if they are piped.
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// The same, to take the pipes out.
    pub fn children_mut(&mut self) -> &mut [Child] {
        &mut self.children
    }

    /// Waits for all and gives their statuses, first to last.
    ///
    /// # Errors
    /// As [`Child::wait`], of the first one that fails.
    pub fn wait(&self) -> Result<Vec<ExitStatus>> {
        self.children.iter().map(Child::wait).collect()
    }

    /// Waits for all, for at most `timeout`: `None` if one of them is still running.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Vec<ExitStatus>>> {
        let Some(first) = self.children.first() else { return Ok(Some(Vec::new())) };
        let Some(deadline) = first.system().now().checked_add(timeout) else { return self.wait().map(Some) };
        self.children.iter().map(|child| child.wait_deadline(deadline)).collect()
    }

    /// Kills those that still run.
    ///
    /// # Errors
    /// [`Error::System`] with `EPERM` for one that has changed its user; the others are killed all the same.
    pub fn kill(&self) -> Result<()> {
        let killed = self.children.iter().map(|child| child.kill());
        killed.filter(|answer| !matches!(answer, Err(error) if error.kind() == ErrorKind::ProcessDone)).fold(Ok(()), Result::and)
    }

    /// Leaves nothing behind of a pipeline that was not started in full.
    fn end(&self) {
        for child in &self.children {
            // What cannot be killed is reaped in the background when its handle is dropped.
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

/// What a pipeline wrote, and how its commands ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineOutput {
    /// How each ended, first to last.
    pub statuses: Vec<ExitStatus>,
    /// The last one's stdout.
    pub stdout: Vec<u8>,
}

impl PipelineOutput {
    /// Whether all of them succeeded, as a shell's `pipefail` asks.
    pub fn success(&self) -> bool {
        self.statuses.iter().all(ExitStatus::success)
    }
}
