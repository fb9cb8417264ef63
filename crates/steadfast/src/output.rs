//! Reading a child's stdout and stderr, both at once, on one thread: whichever has something is read.
//!
//! One after the other would block for ever once the child fills the pipe that is not being read (pipe(7): 64 KiB). Reading to
//! the end of the streams blocks as long as any process has them open, a grandchild too; so who must return in time watches the
//! child besides.

mod captured;
mod options;
mod reading;
mod watch;

pub use captured::{Captured, CapturedStream};
pub use options::Capture;
pub(crate) use options::KILL_DELAY;
pub(crate) use reading::{Reading, poll_until};

use crate::pipe::End;
use crate::{ExitStatus, Process, System};
use rustix::event::{PollFd, PollFlags};
use std::time::{Duration, Instant};
use steadfast_core::{Errno, Error, Result};
use watch::{LOOK, Watch, has_exited};

/// Why reading has come to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// All was read, or what the child wrote until it exited.
    Complete,
    TimeIsUp,
    /// More than the limit, of a child that is to be killed for that.
    OverLimit,
}

/// Whether one of the streams has more than the limit, and that is to end it.
pub(crate) fn is_over_limit(streams: &[Reading<'_>; 2], options: &Capture) -> bool {
    options.kill_on_limit && streams.iter().any(|stream| stream.kept.omitted() > 0)
}

/// Reads both as the options say, until the deadline. Returns how the process ended, if it did, and why there is no more.
pub(crate) fn capture(
    process: &Process,
    system: &System,
    mut streams: [Reading<'_>; 2],
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<(Option<ExitStatus>, Stop)> {
    for stream in &mut streams {
        stream.kept.set_limit(options.limit);
    }
    let is_real = streams.iter().filter_map(Reading::open_end).all(|end| end.fd().is_some());
    let stop = match is_real {
        true => read_real(process, system, &mut streams, options, deadline)?,
        false => read_simulated(process, system, &mut streams, options, deadline)?,
    };
    // Everything is read, or was given up; the process may still run.
    let status = match (stop, deadline) {
        (Stop::Complete, None) => Some(process.wait()?),
        (Stop::Complete, Some(deadline)) => process.wait_deadline(deadline)?,
        (Stop::OverLimit, _) => {
            let status = kill(process)?;
            streams.iter_mut().for_each(|stream| stream.kept.trim());
            return Ok((status, Stop::OverLimit));
        }
        (Stop::TimeIsUp, _) => None,
    };
    if status.is_some() {
        return Ok((status, Stop::Complete));
    }
    let status = if options.kill_on_timeout { kill(process)? } else { process.try_wait()? };
    for stream in &mut streams {
        match is_real {
            true => stream.drain()?,
            false => drop(stream.drain_simulated(system)?),
        }
    }
    for stream in &mut streams {
        stream.kept.trim();
    }
    // It may have ended by itself at the last moment.
    let all_is_there = streams.iter().all(|stream| stream.kept.complete);
    let timed_out = options.kill_on_timeout || status.is_none() || !all_is_there;
    Ok((status, if timed_out { Stop::TimeIsUp } else { Stop::Complete }))
}

/// The status of a process that is killed now; `None` if it cannot be (`EPERM`: it has changed its user), or does not end in time.
pub(crate) fn kill(process: &Process) -> Result<Option<ExitStatus>> {
    match process.kill() {
        Ok(()) | Err(Error::ProcessDone { .. }) => process.wait_timeout(KILL_DELAY),
        Err(error) if error.errno() == Some(Errno::PERM) => process.try_wait(),
        Err(error) => Err(error),
    }
}

/// Whether it came to an end before the deadline.
fn read_real(
    process: &Process,
    system: &System,
    streams: &mut [Reading<'_>; 2],
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<Stop> {
    // Until the process has exited.
    let mut watch = options.wait_delay.map(|_| Watch::new(process)).transpose()?;
    let mut cut: Option<Instant> = None;
    loop {
        if is_over_limit(streams, options) {
            return Ok(Stop::OverLimit);
        }
        let open: Vec<usize> = (0..2).filter(|index| streams[*index].open_end().is_some()).collect();
        if open.is_empty() {
            return Ok(Stop::Complete);
        }
        let until = earliest(deadline, cut);
        if let ([only], None, None) = (&open[..], until, &watch) {
            // Nothing else to look at: the read itself may block. If it does not, the poll does.
            if streams[*only].read_some(None)? || streams[*only].kept.complete {
                continue;
            }
        }
        let left = until.map(|until| until.saturating_duration_since(system.now()));
        let Seen { readable, exited } = look(streams, &open, watch.as_mut(), left)?;
        for index in &readable {
            streams[*index].read_some(None)?;
        }
        if exited {
            let delay = options.wait_delay.unwrap_or_default();
            if delay.is_zero() {
                streams.iter_mut().try_for_each(Reading::drain)?;
                return Ok(Stop::Complete);
            }
            watch = None;
            // Later than the clock can say is as good as never.
            cut = system.now().checked_add(delay);
        }
        let now = system.now();
        if cut.is_some_and(|cut| cut <= now) {
            streams.iter_mut().try_for_each(Reading::drain)?;
            return Ok(Stop::Complete);
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Stop::TimeIsUp);
        }
    }
}

struct Seen {
    readable: Vec<usize>,
    exited: bool,
}

/// Waits for bytes, an end, the exit, or until the time is up.
fn look(streams: &[Reading<'_>; 2], open: &[usize], watch: Option<&mut Watch<'_>>, left: Option<Duration>) -> Result<Seen> {
    if let Some(Watch::Over) = watch {
        return Ok(Seen { readable: Vec::new(), exited: true });
    }
    let pipes = open.iter().filter_map(|index| streams[*index].open_end().and_then(End::fd));
    let all = pipes.chain(watch.as_deref().and_then(Watch::fd));
    let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let looks = matches!(watch, Some(Watch::Looks(_)));
    poll_until(&mut fds, if looks { Some(left.unwrap_or(LOOK).min(LOOK)) } else { left })?;
    let readable = open.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| *index).collect();
    let may_be_over = looks || fds.last().is_some_and(|fd| !fd.revents().is_empty());
    let exited = match watch {
        Some(watch) if may_be_over => watch.exited()?,
        _ => false,
    };
    Ok(Seen { readable, exited })
}

/// As [`read_real`]: one thread waits for both pipes and the exit, in the simulation's way.
fn read_simulated(
    process: &Process,
    system: &System,
    streams: &mut [Reading<'_>; 2],
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<Stop> {
    let mut cut: Option<Instant> = None;
    let mut is_over = options.wait_delay.is_none();
    loop {
        if is_over_limit(streams, options) {
            return Ok(Stop::OverLimit);
        }
        let Some(End::Reader(pipe)) = streams.iter().find_map(Reading::open_end) else { return Ok(Stop::Complete) };
        let (mut exited, mut failed) = (false, None);
        pipe.block_until(earliest(deadline, cut), &mut || {
            let moved = streams.iter_mut().try_fold(false, |moved, stream| Ok(stream.drain_simulated(system)? || moved));
            let looked = moved.and_then(|moved| {
                if !is_over {
                    exited = has_exited(process)?;
                }
                Ok(moved || exited)
            });
            looked.unwrap_or_else(|error| {
                failed = Some(error);
                true
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let now = system.now();
        if exited {
            is_over = true;
            cut = now.checked_add(options.wait_delay.unwrap_or_default());
        }
        if cut.is_some_and(|cut| cut <= now) {
            streams.iter_mut().try_for_each(|stream| stream.drain_simulated(system).map(drop))?;
            return Ok(Stop::Complete);
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            let all_is_there = streams.iter().all(|stream| stream.kept.complete);
            return Ok(if all_is_there { Stop::Complete } else { Stop::TimeIsUp });
        }
    }
}

pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
