//! Reading what children write, all of it at once, on one thread: whichever stream has something is read.
//!
//! One after the other would block for ever once the child fills the pipe that is not being read (pipe(7): 64 KiB). Reading to
//! the end of the streams blocks as long as any process has them open, a grandchild too; so who must return in time watches the
//! child besides.

mod captured;
mod course;
mod feeding;
mod line;
mod look;
mod options;
mod reading;
mod stopping;
mod timed;
mod watch;

pub use captured::{Captured, CapturedStream};
pub(crate) use course::{Course, Stop};
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) use course::{earliest, is_over_limit};
pub(crate) use feeding::{Feeding, Readers, kill_backwards};
pub(crate) use line::Cutter;
pub use line::{Line, LinesEnd, OutputStream};
pub use options::Capture;
pub(crate) use options::KILL_DELAY;
pub(crate) use reading::{Reading, poll_until};

use crate::job::ChildJob;
use crate::teardown::{Refusal, Stopped, Targets};
use crate::{ExitStatus, Process, System};
use std::time::Instant;
use steadfast_core::{Errno, Error, Result, Signal};

/// Processes whose output is one: the last of them has it. They are killed together.
pub(crate) struct Together<'a> {
    pub(crate) processes: &'a [&'a Process],
    /// Whether they are the group of the first.
    pub(crate) is_group: bool,
    /// The job that each of them was started in, if it was: killed and stopped as a whole.
    pub(crate) jobs: Vec<Option<&'a ChildJob>>,
}

impl<'a> Together<'a> {
    pub(crate) fn one(process: &'a [&'a Process; 1], job: Option<&'a ChildJob>) -> Together<'a> {
        Together { processes: process, is_group: false, jobs: vec![job] }
    }

    /// Whom a teardown is to stop, if the options say so.
    pub(crate) fn targets(&self, options: &Capture) -> Option<Targets> {
        options.teardown()?;
        let new = Targets::new(Refusal::Nothing).group(self.is_group);
        let each = self.processes.iter().zip(&self.jobs);
        Some(each.fold(new, |targets, (process, job)| targets.process(process, job.map(ChildJob::link))))
    }
}

/// What has become of them, and why there is no more to be read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// How the last process ended, if it did.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) timed_out: bool,
    pub(crate) over_limit: bool,
    /// What a teardown has come to.
    pub(crate) stopped: Option<Stopped>,
}

impl Outcome {
    pub(crate) fn new(status: Option<ExitStatus>, stop: Stop, stopped: Option<Stopped>) -> Outcome {
        let timed_out = stop == Stop::TimeIsUp || stopped.is_some();
        let stopped = stopped.map(|stopped| stopped.with(status));
        Outcome { status, timed_out, over_limit: stop == Stop::OverLimit, stopped }
    }

    /// One that wrote too much, and was killed for that: perhaps while it was being stopped.
    pub(crate) fn over_limit(status: Option<ExitStatus>, stopped: Option<Stopped>) -> Outcome {
        let killed = stopped.map(|_| Stopped::new(status.is_some(), Some(Signal::KILL)));
        Outcome::new(status, Stop::OverLimit, killed)
    }
}

/// Reads all of them as the options say, until the deadline, and writes the input meanwhile.
pub(crate) fn capture(
    together: Together<'_>,
    system: &System,
    streams: &mut [Reading<'_>],
    feeding: Option<Feeding>,
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<Outcome> {
    for stream in &mut *streams {
        stream.kept.set_limit(options.limit);
    }
    let mut course = Course::begin(together.processes, together.targets(options), streams, feeding, options, deadline)?;
    let stop = loop {
        if let Some(stop) = course.step(system, streams, options)? {
            break stop;
        }
    };
    course.end(stop, together, system, streams, options)
}

impl Course {
    /// What becomes of the processes, now that there is no more to be read, or no more time for it.
    pub(crate) fn end(
        mut self,
        mut stop: Stop,
        together: Together<'_>,
        system: &System,
        streams: &mut [Reading<'_>],
        options: &Capture,
    ) -> Result<Outcome> {
        if stop == Stop::Complete {
            // What was not written by now is not. Whoever is to be killed is killed before its input ends.
            self.stop_feeding();
            // Everything is read, or was given up; the processes may still run.
            if let Some(status) = together.wait(self.deadline())? {
                return Ok(Outcome::new(Some(status), stop, None));
            }
            if self.begin_to_stop(system, options)? {
                stop = loop {
                    if let Some(stop) = self.step(system, streams, options)? {
                        break stop;
                    }
                };
            }
        }
        if stop == Stop::OverLimit {
            let status = kill(&together)?;
            streams.iter_mut().for_each(|stream| stream.kept.trim());
            return Ok(Outcome::over_limit(status, self.stopped()));
        }
        let stopped = self.stopped();
        let status = match options.kill_on_timeout && stopped.is_none() {
            true => kill(&together)?,
            false => {
                self.stop_feeding();
                together.look()?
            }
        };
        for stream in &mut *streams {
            match self.is_real() {
                true => stream.drain()?,
                false => drop(stream.drain_simulated(system)?),
            }
        }
        Ok(Outcome::new(status, at_the_limit(status, streams, options), stopped))
    }
}

impl Together<'_> {
    /// The status of the last, once all have exited; `None`: not in time.
    fn wait(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>> {
        self.all(|process| match deadline {
            None => process.wait().map(Some),
            Some(deadline) => process.wait_deadline(deadline),
        })
    }

    /// As [`wait`](Self::wait), without waiting.
    fn look(&self) -> Result<Option<ExitStatus>> {
        self.all(|process| process.try_wait())
    }

    fn all(&self, status: impl Fn(&Process) -> Result<Option<ExitStatus>>) -> Result<Option<ExitStatus>> {
        let mut last = None;
        for process in self.processes {
            last = status(process)?;
            if last.is_none() {
                break;
            }
        }
        Ok(last)
    }
}

/// Why there is no more, of processes whose time was up: they may have ended by themselves at the last moment, with this status.
pub(crate) fn at_the_limit(status: Option<ExitStatus>, streams: &mut [Reading<'_>], options: &Capture) -> Stop {
    streams.iter_mut().for_each(|stream| stream.kept.trim());
    let all_is_there = streams.iter().all(|stream| stream.kept.complete);
    let timed_out = options.kill_on_timeout || status.is_none() || !all_is_there;
    if timed_out { Stop::TimeIsUp } else { Stop::Complete }
}

/// Writes the input of a process whose output is nobody's business, and waits for it.
pub(crate) fn feed(process: &Process, system: &System, feeding: Option<Feeding>) -> Result<ExitStatus> {
    let Outcome { status, .. } =
        capture(Together::one(&[process], None), system, &mut [], feeding, &Capture::new().to_the_end(), None)?;
    status.map_or_else(|| process.wait(), Ok)
}

/// The status of the last of these processes, all of which are killed now; `None` if it cannot be (`EPERM`: it has changed its user), or does
/// not end in time.
pub(crate) fn kill(together: &Together<'_>) -> Result<Option<ExitStatus>> {
    let Some((last, others)) = together.processes.split_last() else { return Ok(None) };
    // All at one moment: whoever reads what another one writes must not see its end, and take a part for the whole.
    together.jobs.iter().flatten().try_for_each(|job| job.kill())?;
    // An answer is of interest where there is a status to be waited for.
    if together.is_group {
        drop(together.processes[0].kill_group());
    }
    let killed = kill_backwards(together.processes.iter().copied()).swap_remove(0);
    let status = match killed {
        Ok(()) | Err(Error::ProcessDone { .. }) => last.wait_timeout(KILL_DELAY)?,
        Err(error) if error.errno() == Some(Errno::PERM) => last.try_wait()?,
        Err(error) => return Err(error),
    };
    // What they wrote has its end when they have theirs.
    others.iter().for_each(|process| drop(process.wait_timeout(KILL_DELAY)));
    Ok(status)
}
