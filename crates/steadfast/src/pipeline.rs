//! [`Pipeline`]: commands in a row, each reading what the one before writes.

mod captured;

pub use captured::{PipelineCaptured, PipelineOutput};

use crate::job::{ChildJob, Job};
use crate::output::{KILL_DELAY, kill_backwards};
use crate::within::Within;
use crate::{Child, ChildStdout, Command, ExitStatus, Stdio, System};
use std::fmt;
use std::path::{Path, PathBuf};
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
    current_dir: Option<PathBuf>,
    is_group: bool,
    checked: bool,
}

impl Pipeline {
    /// The commands, first to last.
    pub fn new(commands: impl IntoIterator<Item = Command>) -> Pipeline {
        let commands = commands.into_iter().collect();
        Pipeline { commands, current_dir: None, is_group: false, checked: false }
    }

    /// Adds a command to the end.
    pub fn pipe(mut self, next: Command) -> Pipeline {
        self.commands.push(next);
        self
    }

    /// Sets the working directory of those commands that have none of their own.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Pipeline {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Whether all of them are in a process group of their own, which the first one leads, as a shell with job control has it. Then
    /// [`RunningPipeline::kill`] also kills what they have started in that group.
    ///
    /// With [`foreground`](Command::foreground) on the first one, the group is the terminal's foreground.
    pub fn process_group(mut self, is_group: bool) -> Pipeline {
        self.is_group = is_group;
        self
    }

    /// Starts all of them in this job, as [`Command::in_job`] of each: where a call ends the pipeline for its time or its limit, it kills the whole
    /// job.
    pub fn in_job(mut self, job: &Job) -> Pipeline {
        for command in &mut self.commands {
            command.in_job(job);
        }
        self
    }

    /// Whether each of them must succeed, as with a shell's `pipefail`; otherwise those that are [checked](Command::checked) themselves. A
    /// command that is ended by `SIGPIPE`, because the next one reads no more, has not succeeded.
    ///
    /// ```
    /// use steadfast::{Command, Pipeline};
    /// let pipeline = Pipeline::new([Command::new("false"), Command::new("cat")]);
    /// assert!(pipeline.output()?.statuses[1].success());
    /// let error = pipeline.checked(true).output().unwrap_err();
    /// assert_eq!(error.to_string(), r#"`"false"`: exit status: 1"#);
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    pub fn checked(mut self, must_succeed: bool) -> Pipeline {
        self.checked = must_succeed;
        self
    }

    /// Starts all of them. If one cannot be started, those before it are killed and waited for.
    ///
    /// # Errors
    /// As [`Command::spawn`], with the program that it was; [`Error::InvalidPlan`] for a pipeline without commands, and for a
    /// command whose own stdin or stdout setting contradicts the pipe.
    pub fn spawn(&self) -> Result<RunningPipeline> {
        self.spawn_within(&System::current()?, Default::default(), Feeds::No, None)
    }

    /// What the first one reads, the last one writes to, and the stderr of all, where they do not say so themselves. The limit is one for all.
    fn spawn_within(
        &self,
        system: &System,
        [stdin, stdout, stderr]: [PlanStdio; 3],
        feeds: Feeds,
        within: Option<Within>,
    ) -> Result<RunningPipeline> {
        self.check_streams()?;
        let mut running = RunningPipeline { children: Vec::with_capacity(self.commands.len()), is_group: self.is_group };
        let mut before: Option<ChildStdout> = None;
        for (index, command) in self.commands.iter().enumerate() {
            let mut command = command.clone();
            let is_last = index + 1 == self.commands.len();
            if let Some(stdout) = before.take() {
                command.stdin(stdout);
            }
            if let (Some(dir), None) = (&self.current_dir, command.get_current_dir()) {
                command.current_dir(dir);
            }
            if self.is_group {
                command.process_group(running.children.first().map_or(0, |first| first.pid().as_raw()));
            }
            let stdin = if feeds == Feeds::Yes { command.stdin_or(stdin.clone()) } else { stdin.clone() };
            let stdout = if is_last { stdout.clone() } else { PlanStdio::Piped };
            let spawned = command.spawn_within(system, [stdin, stdout, stderr.clone()], within);
            let mut child = spawned.inspect_err(|_| running.end())?;
            if !is_last {
                before = child.stdout.take();
            }
            running.children.push(child);
        }
        Ok(running)
    }

    fn check_streams(&self) -> Result<()> {
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
            if index > 0 && command.own_input().is_some() {
                return invalid(
                    Some(command),
                    format!("input and command {} of a pipeline: it reads what the one before writes", index + 1),
                );
            }
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

/// Whether somebody writes the input of the first command.
#[derive(Clone, Copy, PartialEq)]
enum Feeds {
    Yes,
    No,
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
    is_group: bool,
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

    /// The jobs of the children, in their order.
    fn jobs(&self) -> impl Iterator<Item = &ChildJob> {
        self.children.iter().filter_map(Child::child_job)
    }

    /// Kills those that still run, and the jobs that they were started in; if they are a [process group](Pipeline::process_group), all of the group, for as long as the first of them
    /// was not waited for.
    ///
    /// # Errors
    /// [`Error::System`] with `EPERM` for one that has changed its user; the others are killed all the same.
    pub fn kill(&self) -> Result<()> {
        if let (true, Some(first)) = (self.is_group, self.children.first()) {
            // Each is killed by itself too: the group may have lost its leader, and its number.
            drop(first.kill_group());
        }
        let of_jobs = self.jobs().map(ChildJob::kill).fold(Ok(()), Result::and);
        let killed = kill_backwards(self.children.iter().map(|child| child.process())).into_iter();
        killed.filter(|answer| !matches!(answer, Err(error) if error.kind() == ErrorKind::ProcessDone)).fold(of_jobs, Result::and)
    }

    /// Leaves nothing behind of a pipeline that was not started in full.
    fn end(&self) {
        let killed = kill_backwards(self.children.iter().map(|child| child.process()));
        // What cannot be killed is reaped in the background when its handle is dropped.
        for (child, _) in self.children.iter().rev().zip(killed).filter(|(_, killed)| killed.is_ok()) {
            drop(child.wait_timeout(KILL_DELAY));
        }
    }
}
