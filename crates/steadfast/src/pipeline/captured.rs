//! What a pipeline wrote, and how it is read.

use super::{Feeds, Pipeline, RunningPipeline};
use crate::command::{cause, last};
use crate::output::{self, Capture, CapturedStream, Outcome, Readers, Reading, Together};
use crate::teardown::Stopped;
use crate::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Process, System};
use std::time::{Duration, Instant};
use steadfast_core::{Error, PlanStdio, Result};

impl Pipeline {
    /// Starts all of them, reads the last one's stdout to its end, and waits for all. The first one's stdin is empty, unless it
    /// says otherwise, or has an [input](crate::Command::input).
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`RunningPipeline::wait`]; [`Error::Unsuccessful`](crate::Error::Unsuccessful) if one of them that is
    /// [checked](Self::checked) did not succeed: of the last such one.
    pub fn output(&self) -> Result<PipelineOutput> {
        let captured = self.capture_with(&Capture::new().to_the_end(), PlanStdio::Inherit)?;
        let statuses = captured.statuses.into_iter().flatten().collect();
        Ok(PipelineOutput { statuses, stdout: captured.stdout.into_vec() })
    }

    /// As [`capture`](Self::capture), for at most `timeout`: then all of them are killed, and what was read so far is returned all the same.
    ///
    /// # Errors
    /// As [`output`](Self::output).
    pub fn output_timeout(&self, timeout: Duration) -> Result<PipelineCaptured> {
        self.capture(&Capture::new().timeout(timeout).kill_on_timeout(true))
    }

    /// Starts all of them, and reads the last one's stdout, and what each writes to stderr, as the options say: a
    /// [limit](Capture::limit) is one for each stream, and whatever kills one of them kills all. The output ends when all of
    /// them have exited ([`Capture::wait_delay`]), or all streams have ended before that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::{Capture, Command, Pipeline};
    /// let mut loud = Command::new("sh");
    /// loud.args(["-c", "echo here; echo oh >&2; exec sleep 60"]);
    /// let options = Capture::new().timeout(Duration::from_millis(300)).kill_on_timeout(true);
    /// let captured = Pipeline::new([loud, Command::new("cat")]).capture(&options)?;
    /// assert!(captured.timed_out && captured.statuses.iter().all(|status| status.is_some()));
    /// assert_eq!((captured.stdout.to_vec(), captured.stderr[0].to_vec()), (b"here\n".to_vec(), b"oh\n".to_vec()));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`output`](Self::output).
    pub fn capture(&self, options: &Capture) -> Result<PipelineCaptured> {
        self.capture_with(options, PlanStdio::Piped)
    }

    fn capture_with(&self, options: &Capture, stderr: PlanStdio) -> Result<PipelineCaptured> {
        let system = System::current()?;
        let within = options.begin(&system);
        let running = match self.spawn_within(&system, [PlanStdio::Null, PlanStdio::Piped, stderr], Feeds::Yes, within) {
            Err(Error::SpawnTimedOut { .. }) => {
                let captured = self.not_started();
                self.check(&captured)?;
                return Ok(captured);
            }
            running => running?,
        };
        let deadline = within.map(|within| within.deadline);
        // Nobody would wait for those that go on without a reader.
        let captured = running.read(self, &system, options, deadline).inspect_err(|_| running.end())?;
        self.check(&captured)?;
        Ok(captured)
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
    /// As [`output`](Self::output).
    pub fn status(&self) -> Result<Vec<ExitStatus>> {
        let system = System::current()?;
        let mut running = self.spawn_within(&system, Default::default(), Feeds::Yes, None)?;
        if let Some(input) = self.commands.first().and_then(Command::own_input) {
            // What is piped all the same is nobody's here.
            running.children.iter_mut().for_each(|child| drop((child.stdout.take(), child.stderr.take())));
            let readers = || Readers::new(running.children.iter().map(|child| child.process()));
            let first = running.children.first().map(|child| (child, child.feeding_for(Some(input), readers)));
            let fed = first.map(|(child, feeding)| output::feed(child.process(), &system, feeding));
            fed.transpose().inspect_err(|_| running.end())?;
        }
        let statuses = running.wait()?;
        self.check(&PipelineCaptured {
            statuses: statuses.iter().copied().map(Some).collect(),
            stderr: vec![CapturedStream::default(); statuses.len()],
            timed_out: false,
            started: true,
            over_limit: false,
            stopped: None,
            stdout: CapturedStream::default(),
        })?;
        Ok(statuses)
    }

    /// Its time was up before all of them ran.
    fn not_started(&self) -> PipelineCaptured {
        PipelineCaptured {
            statuses: vec![None; self.commands.len()],
            timed_out: true,
            started: false,
            over_limit: false,
            stopped: None,
            stdout: CapturedStream::default(),
            stderr: vec![CapturedStream::default(); self.commands.len()],
        }
    }

    /// Of the last that had to succeed and did not, as a shell's `pipefail` has it.
    fn check(&self, captured: &PipelineCaptured) -> Result<()> {
        let cause = cause(captured.timed_out, captured.over_limit);
        let ends = self.commands.iter().zip(&captured.statuses).zip(&captured.stderr);
        let failed = ends.enumerate().rev().find(|(_, ((command, status), _))| {
            // What has ended all of them is everybody's failure.
            let has_failed = !cause.is_empty() || !status.is_some_and(|status| status.success());
            (self.checked || command.is_checked()) && has_failed
        });
        let Some((index, ((command, status), stderr))) = failed else { return Ok(()) };
        let is_last = index + 1 == self.commands.len();
        let said = if is_last && command.is_one_stream() { &captured.stdout } else { stderr };
        Err(command.unsuccessful(*status, cause, &last(said)))
    }
}

impl RunningPipeline {
    fn read(&self, of: &Pipeline, system: &System, options: &Capture, deadline: Option<Instant>) -> Result<PipelineCaptured> {
        let processes: Vec<&Process> = self.children.iter().map(|child| child.process()).collect();
        let jobs = self.children.iter().map(Child::child_job).collect();
        let together = Together { processes: &processes, is_group: self.is_group, jobs };
        let mut stdout = CapturedStream::default();
        let mut stderr = vec![CapturedStream::default(); self.children.len()];
        let last = self.children.last().and_then(|child| child.stdout.as_ref()).map(ChildStdout::end);
        let mut streams = vec![Reading::new("stdout", last, &mut stdout)];
        for (child, kept) in self.children.iter().zip(&mut stderr) {
            streams.push(Reading::new("stderr", child.stderr.as_ref().map(ChildStderr::end), kept));
        }
        let first = self.children.first().zip(of.commands.first());
        let readers = || Readers::new(processes.iter().copied());
        let feeding = first.and_then(|(child, command)| child.feeding_for(command.own_input(), readers));
        let outcome = output::capture(together, system, &mut streams, feeding, options, deadline)?;
        drop(streams);
        // All were waited for, or looked at.
        let statuses = self.children.iter().map(|child| child.try_wait()).collect::<Result<_>>()?;
        let Outcome { timed_out, over_limit, stopped, .. } = outcome;
        Ok(PipelineCaptured { statuses, timed_out, started: true, over_limit, stopped, stdout, stderr })
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

/// What a pipeline wrote, within limits, and how its commands ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineCaptured {
    /// How each ended, first to last; `None` of one that still runs, and of all if they were not [started](Self::started).
    pub statuses: Vec<Option<ExitStatus>>,
    /// Whether the timeout passed before all of them had exited. (If they were killed for that, there are statuses.)
    pub timed_out: bool,
    /// Whether all of them ran their programs. `false`: the timeout passed before, and those that were there were killed.
    pub started: bool,
    /// Whether a stream had more than the limit, and all of them were to be killed for that.
    pub over_limit: bool,
    /// What [`Capture::on_timeout`] has come to; `None`: that was not asked for, or not needed.
    pub stopped: Option<Stopped>,
    /// The last one's stdout, if that is piped.
    pub stdout: CapturedStream,
    /// What each of them wrote to stderr, first to last, if that is piped.
    pub stderr: Vec<CapturedStream>,
}

impl PipelineCaptured {
    /// Whether all of them have ended, in success, as a shell's `pipefail` asks.
    pub fn success(&self) -> bool {
        self.statuses.iter().all(|status| status.is_some_and(|status| status.success()))
    }
}
