//! Reading what children write, all of it at once, on one thread: whichever stream has something is read.
//!
//! One after the other would block for ever once the child fills the pipe that is not being read (pipe(7): 64 KiB). Reading to
//! the end of the streams blocks as long as any process has them open, a grandchild too; so who must return in time watches the
//! child besides.

mod captured;
mod course;
mod feeding;
mod line;
mod options;
mod reading;
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
use crate::{ExitStatus, Process, System};
use std::time::Instant;
use steadfast_core::{Errno, Error, Result};

/// Processes whose output is one: the last of them has it. They are killed together.
pub(crate) struct Together<'a> {
    pub(crate) processes: &'a [&'a Process],
    /// Whether they are the group of the first.
    pub(crate) is_group: bool,
    /// The jobs that they were started in, each of which is killed as a whole.
    pub(crate) jobs: Vec<&'a ChildJob>,
}

impl<'a> Together<'a> {
    pub(crate) fn one(process: &'a [&'a Process; 1]) -> Together<'a> {
        Together { processes: process, is_group: false, jobs: Vec::new() }
    }
}

/// Reads all of them as the options say, until the deadline, and writes the input meanwhile. Returns how the last process ended, if it did,
/// and why there is no more.
pub(crate) fn capture(
    together: Together<'_>,
    system: &System,
    streams: &mut [Reading<'_>],
    feeding: Option<Feeding>,
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<(Option<ExitStatus>, Stop)> {
    for stream in &mut *streams {
        stream.kept.set_limit(options.limit);
    }
    let mut course = Course::begin(together.processes, streams, feeding, options, deadline)?;
    let stop = loop {
        if let Some(stop) = course.step(system, streams, options)? {
            break stop;
        }
    };
    course.end(stop, together, system, streams, options)
}

impl Course {
    /// What becomes of the processes, now that there is no more to be read, or no more time for it. Returns as [`capture`].
    pub(crate) fn end(
        mut self,
        stop: Stop,
        together: Together<'_>,
        system: &System,
        streams: &mut [Reading<'_>],
        options: &Capture,
    ) -> Result<(Option<ExitStatus>, Stop)> {
        if stop == Stop::Complete || (stop == Stop::TimeIsUp && !options.kill_on_timeout) {
            // What was not written by now is not. Whoever is to be killed is killed before its input ends.
            self.stop_feeding();
        }
        // Everything is read, or was given up; the processes may still run.
        let mut status = match stop {
            Stop::Complete => together.wait(self.deadline())?,
            Stop::TimeIsUp => None,
            Stop::OverLimit => {
                let status = kill(&together)?;
                streams.iter_mut().for_each(|stream| stream.kept.trim());
                return Ok((status, Stop::OverLimit));
            }
        };
        if status.is_none() {
            status = if options.kill_on_timeout { kill(&together)? } else { together.look()? };
            for stream in &mut *streams {
                match self.is_real() {
                    true => stream.drain()?,
                    false => drop(stream.drain_simulated(system)?),
                }
            }
            return Ok((status, at_the_limit(status, streams, options)));
        }
        Ok((status, Stop::Complete))
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
    let (status, _) = capture(Together::one(&[process]), system, &mut [], feeding, &Capture::new().to_the_end(), None)?;
    status.map_or_else(|| process.wait(), Ok)
}

/// The status of the last of these processes, all of which are killed now; `None` if it cannot be (`EPERM`: it has changed its user), or does
/// not end in time.
pub(crate) fn kill(together: &Together<'_>) -> Result<Option<ExitStatus>> {
    let Some((last, others)) = together.processes.split_last() else { return Ok(None) };
    // All at one moment: whoever reads what another one writes must not see its end, and take a part for the whole.
    together.jobs.iter().try_for_each(|job| job.kill())?;
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
