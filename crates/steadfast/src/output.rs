//! Reading what children write, all of it at once, on one thread: whichever stream has something is read.
//!
//! One after the other would block for ever once the child fills the pipe that is not being read (pipe(7): 64 KiB). Reading to
//! the end of the streams blocks as long as any process has them open, a grandchild too; so who must return in time watches the
//! child besides.

mod captured;
mod feeding;
mod options;
mod reading;
mod watch;

pub use captured::{Captured, CapturedStream};
pub(crate) use feeding::Feeding;
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) use feeding::end_early;
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
pub(crate) fn is_over_limit(streams: &[Reading<'_>], options: &Capture) -> bool {
    options.kill_on_limit && streams.iter().any(|stream| stream.kept.omitted() > 0)
}

/// Processes whose output is one: the last of them has it. They are killed together.
#[derive(Clone, Copy)]
pub(crate) struct Together<'a> {
    pub(crate) processes: &'a [&'a Process],
    /// Whether they are the group of the first.
    pub(crate) is_group: bool,
}

impl<'a> Together<'a> {
    pub(crate) fn one(process: &'a [&'a Process; 1]) -> Together<'a> {
        Together { processes: process, is_group: false }
    }
}

/// Reads all of them as the options say, until the deadline, and writes the input meanwhile. Returns how the last process ended, if it did,
/// and why there is no more.
pub(crate) fn capture(
    together: Together<'_>,
    system: &System,
    streams: &mut [Reading<'_>],
    mut feeding: Option<Feeding<'_>>,
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<(Option<ExitStatus>, Stop)> {
    let Some(process) = together.processes.last() else { return Ok((None, Stop::Complete)) };
    for stream in &mut *streams {
        stream.kept.set_limit(options.limit);
    }
    let mut ends = streams.iter().filter_map(Reading::open_end).chain(feeding.as_ref().and_then(Feeding::end));
    let is_real = ends.all(|end| end.fd().is_some());
    let stop = match is_real {
        true => read_real(process, system, streams, &mut feeding, options, deadline)?,
        false => read_simulated(process, system, streams, &mut feeding, options, deadline)?,
    };
    // What was not written by now is not.
    drop(feeding);
    // Everything is read, or was given up; the process may still run.
    let status = match (stop, deadline) {
        (Stop::Complete, None) => Some(process.wait()?),
        (Stop::Complete, Some(deadline)) => process.wait_deadline(deadline)?,
        (Stop::OverLimit, _) => {
            let status = kill(together)?;
            streams.iter_mut().for_each(|stream| stream.kept.trim());
            return Ok((status, Stop::OverLimit));
        }
        (Stop::TimeIsUp, _) => None,
    };
    if status.is_some() {
        return Ok((status, Stop::Complete));
    }
    let status = if options.kill_on_timeout { kill(together)? } else { process.try_wait()? };
    for stream in &mut *streams {
        match is_real {
            true => stream.drain()?,
            false => drop(stream.drain_simulated(system)?),
        }
    }
    for stream in &mut *streams {
        stream.kept.trim();
    }
    // It may have ended by itself at the last moment.
    let all_is_there = streams.iter().all(|stream| stream.kept.complete);
    let timed_out = options.kill_on_timeout || status.is_none() || !all_is_there;
    Ok((status, if timed_out { Stop::TimeIsUp } else { Stop::Complete }))
}

/// Writes the input of a process whose output is nobody's business, and waits for it.
pub(crate) fn feed(process: &Process, system: &System, feeding: Option<Feeding<'_>>) -> Result<ExitStatus> {
    let (status, _) = capture(Together::one(&[process]), system, &mut [], feeding, &Capture::new().to_the_end(), None)?;
    status.map_or_else(|| process.wait(), Ok)
}

/// The status of the last of these processes, all of which are killed now; `None` if it cannot be (`EPERM`: it has changed its user), or does
/// not end in time.
pub(crate) fn kill(together: Together<'_>) -> Result<Option<ExitStatus>> {
    let Some((last, others)) = together.processes.split_last() else { return Ok(None) };
    // An answer is of interest where there is a status to be waited for.
    if together.is_group {
        drop(together.processes[0].kill_group());
    }
    others.iter().for_each(|process| drop(process.kill()));
    match last.kill() {
        Ok(()) | Err(Error::ProcessDone { .. }) => last.wait_timeout(KILL_DELAY),
        Err(error) if error.errno() == Some(Errno::PERM) => last.try_wait(),
        Err(error) => Err(error),
    }
}

/// Whether it came to an end before the deadline.
fn read_real(
    process: &Process,
    system: &System,
    streams: &mut [Reading<'_>],
    feeding: &mut Option<Feeding<'_>>,
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<Stop> {
    // Until the process has exited. Who feeds must know: a child that reads no more may leave its stdin open to others that do not read.
    let is_watched = options.wait_delay.is_some() || feeding.is_some();
    let mut watch = is_watched.then(|| Watch::new(process)).transpose()?;
    let mut cut: Option<Instant> = None;
    let mut is_over = false;
    loop {
        if is_over_limit(streams, options) {
            return Ok(Stop::OverLimit);
        }
        let open: Vec<usize> = (0..streams.len()).filter(|index| streams[*index].open_end().is_some()).collect();
        let feeds = feeding.as_ref().is_some_and(|feeding| feeding.end().is_some());
        if open.is_empty() && (!feeds || is_over) {
            return Ok(Stop::Complete);
        }
        let until = earliest(deadline, cut);
        if let ([only], None, None, false) = (&open[..], until, &watch, feeds) {
            // Nothing else to look at: the read itself may block. If it does not, the poll does.
            if streams[*only].read_some(None)? || streams[*only].kept.complete {
                continue;
            }
        }
        let left = until.map(|until| until.saturating_duration_since(system.now()));
        let Seen { readable, writable, exited } = look(streams, &open, feeding.as_ref(), watch.as_mut(), left)?;
        for index in &readable {
            streams[*index].read_some(None)?;
        }
        if let (true, Some(feeding)) = (writable, feeding.as_mut()) {
            feeding.write_some(system.now())?;
        }
        if exited {
            (is_over, watch) = (true, None);
            match options.wait_delay {
                Some(delay) if delay.is_zero() => {
                    streams.iter_mut().try_for_each(Reading::drain)?;
                    return Ok(Stop::Complete);
                }
                // Later than the clock can say is as good as never.
                Some(delay) => cut = system.now().checked_add(delay),
                None => {}
            }
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
    /// Its stdin has room, or no reader.
    writable: bool,
    exited: bool,
}

/// Waits for bytes, an end, room, the exit, or until the time is up.
fn look(
    streams: &[Reading<'_>],
    open: &[usize],
    feeding: Option<&Feeding<'_>>,
    watch: Option<&mut Watch<'_>>,
    left: Option<Duration>,
) -> Result<Seen> {
    if let Some(Watch::Over) = watch {
        return Ok(Seen { readable: Vec::new(), writable: false, exited: true });
    }
    let reads = open.iter().filter_map(|index| streams[*index].open_end().and_then(End::fd));
    let reads = reads.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let writes = feeding.and_then(Feeding::fd).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
    let exit = watch.as_deref().and_then(Watch::fd).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let feeds = writes.is_some();
    let mut fds: Vec<PollFd<'_>> = reads.chain(writes).chain(exit).collect();
    let looks = matches!(watch, Some(Watch::Looks(_)));
    poll_until(&mut fds, if looks { Some(left.unwrap_or(LOOK).min(LOOK)) } else { left })?;
    let has_news = |fd: &PollFd<'_>| !fd.revents().is_empty();
    let readable = open.iter().zip(&fds).filter(|(_, fd)| has_news(fd)).map(|(index, _)| *index).collect();
    let writable = feeds && fds.get(open.len()).is_some_and(has_news);
    let may_be_over = looks || fds.last().is_some_and(has_news);
    let exited = match watch {
        Some(watch) if may_be_over => watch.exited()?,
        _ => false,
    };
    Ok(Seen { readable, writable, exited })
}

/// As [`read_real`]: one thread waits for both pipes, room and the exit, in the simulation's way.
fn read_simulated(
    process: &Process,
    system: &System,
    streams: &mut [Reading<'_>],
    feeding: &mut Option<Feeding<'_>>,
    options: &Capture,
    deadline: Option<Instant>,
) -> Result<Stop> {
    let mut cut: Option<Instant> = None;
    let is_watched = options.wait_delay.is_some() || feeding.is_some();
    let mut is_over = false;
    loop {
        if is_over_limit(streams, options) {
            return Ok(Stop::OverLimit);
        }
        let feeds = feeding.as_ref().is_some_and(|feeding| feeding.end().is_some());
        let Some(End::Reader(pipe)) = streams.iter().find_map(Reading::open_end) else {
            return if feeds { feed_simulated(process, system, feeding, deadline) } else { Ok(Stop::Complete) };
        };
        let (mut exited, mut failed) = (false, None);
        pipe.block_until(earliest(deadline, cut), &mut || {
            let fed = feeding.as_mut().map_or(Ok(false), |feeding| feeding.write_some(system.now()));
            let moved = fed
                .and_then(|fed| streams.iter_mut().try_fold(fed, |moved, stream| Ok(stream.drain_simulated(system)? || moved)));
            let looked = moved.and_then(|moved| {
                if is_watched && !is_over {
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
            cut = options.wait_delay.and_then(|delay| now.checked_add(delay));
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

/// Nothing is left to read: the rest of the input, for as long as the child is there.
fn feed_simulated(
    process: &Process,
    system: &System,
    feeding: &mut Option<Feeding<'_>>,
    deadline: Option<Instant>,
) -> Result<Stop> {
    while let Some(feeding) = feeding.as_mut().filter(|feeding| feeding.end().is_some()) {
        let now = system.now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Stop::TimeIsUp);
        }
        // A pipe that has no room is no event of its end.
        let look = now.checked_add(LOOK);
        let moved = feeding.write_some(earliest(deadline, look).unwrap_or(now))?;
        if !moved && has_exited(process)? {
            break;
        }
    }
    Ok(Stop::Complete)
}

pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
