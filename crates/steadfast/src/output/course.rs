//! [`Course`]: reading, step by step, until there is no more, the child has exited, or the time is up.

use super::feeding::Feeding;
use super::look::{Seen, look};
use super::options::Capture;
use super::reading::Reading;
use super::stopping::Stopping;
use super::watch::{LOOK, Watch, has_exited};
use crate::pipe::End;
use crate::teardown::{Stopped, Targets};
use crate::{Process, System};
use std::time::Instant;
use steadfast_core::Result;

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
    let limit = options.limit.filter(|_| options.kill_on_limit);
    limit.is_some_and(|limit| streams.iter().any(|stream| stream.kept.total() > limit as u64))
}

/// How far the reading has come.
pub(crate) struct Course {
    /// Until the last of them has exited, there may be more.
    processes: Vec<Process>,
    feeding: Option<Feeding>,
    is_real: bool,
    /// Of those that have not exited yet.
    watches: Vec<Watch>,
    is_over: bool,
    /// When to stop, because all have exited.
    cut: Option<Instant>,
    deadline: Option<Instant>,
    /// Whom a teardown is to stop when the time is up, if that is wanted.
    targets: Option<Targets>,
    /// The time is up, and it is being stopped.
    stopping: Option<Box<Stopping>>,
}

impl Course {
    pub(crate) fn begin(
        processes: &[&Process],
        targets: Option<Targets>,
        streams: &[Reading<'_>],
        feeding: Option<Feeding>,
        options: &Capture,
        deadline: Option<Instant>,
    ) -> Result<Course> {
        let mut ends = streams.iter().filter_map(Reading::open_end).chain(feeding.as_ref().and_then(Feeding::end));
        let is_real = ends.all(|end| end.fd().is_some());
        let processes: Vec<Process> = processes.iter().copied().cloned().collect();
        let watched = if is_real && is_watched(feeding.as_ref(), options) { &processes[..] } else { &[] };
        let watches = watched.iter().map(Watch::new).collect::<Result<_>>()?;
        Ok(Course { processes, feeding, is_real, watches, is_over: false, cut: None, deadline, targets, stopping: None })
    }

    /// Waits for the next thing to happen, and does what there is to do. `None`: there may be more.
    pub(crate) fn step(&mut self, system: &System, streams: &mut [Reading<'_>], options: &Capture) -> Result<Option<Stop>> {
        if is_over_limit(streams, options) {
            return Ok(Some(Stop::OverLimit));
        }
        if let Some(stopping) = &mut self.stopping {
            let has_ended = stopping.step(system, streams, self.feeding.as_mut())?;
            return Ok(has_ended.then_some(Stop::TimeIsUp));
        }
        let stop = match self.is_real {
            true => self.step_real(system, streams, options)?,
            false => self.step_simulated(system, streams, options)?,
        };
        if stop == Some(Stop::TimeIsUp) && self.begin_to_stop(system, options)? {
            return Ok(None);
        }
        Ok(stop)
    }

    /// Whether it is to be stopped by steps now, and not killed or left alone.
    pub(super) fn begin_to_stop(&mut self, system: &System, options: &Capture) -> Result<bool> {
        let (Some(how), Some(targets)) = (options.teardown(), self.targets.take()) else { return Ok(false) };
        self.stopping = Some(Box::new(Stopping::begin(targets, how, system)?));
        Ok(true)
    }

    /// What the teardown has come to, if there was one.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.stopping.as_ref().map(|stopping| stopping.stopped())
    }

    /// What was not written by now is not.
    pub(super) fn stop_feeding(&mut self) {
        if let Some(feeding) = &mut self.feeding {
            feeding.close();
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn is_real(&self) -> bool {
        self.is_real
    }

    fn feeds(&self) -> bool {
        self.feeding.as_ref().is_some_and(|feeding| feeding.end().is_some())
    }

    fn step_real(&mut self, system: &System, streams: &mut [Reading<'_>], options: &Capture) -> Result<Option<Stop>> {
        let open: Vec<usize> = (0..streams.len()).filter(|index| streams[*index].open_end().is_some()).collect();
        let feeds = self.feeds();
        if open.is_empty() && (!feeds || self.is_over) {
            return Ok(Some(Stop::Complete));
        }
        let until = earliest(self.deadline, self.cut);
        if let ([only], None, [], false) = (&open[..], until, &self.watches[..], feeds) {
            // Nothing else to look at: the read itself may block. If it does not, the poll does.
            if streams[*only].read_some(None)? || streams[*only].kept.complete {
                return Ok(None);
            }
        }
        let left = until.map(|until| until.saturating_duration_since(system.now()));
        let Seen { readable, writable, exited } = look(streams, &open, self.feeding.as_ref(), &mut self.watches, left)?;
        for index in &readable {
            streams[*index].read_some(None)?;
        }
        if let (true, Some(feeding)) = (writable, self.feeding.as_mut()) {
            feeding.write_some(system.now())?;
        }
        if exited {
            self.is_over = true;
            match options.wait_delay {
                Some(delay) if delay.is_zero() => {
                    streams.iter_mut().try_for_each(Reading::drain)?;
                    return Ok(Some(Stop::Complete));
                }
                // Later than the clock can say is as good as never.
                Some(delay) => self.cut = system.now().checked_add(delay),
                None => {}
            }
        }
        let now = system.now();
        if self.cut.is_some_and(|cut| cut <= now) {
            streams.iter_mut().try_for_each(Reading::drain)?;
            return Ok(Some(Stop::Complete));
        }
        Ok(self.deadline.filter(|deadline| *deadline <= now).map(|_| Stop::TimeIsUp))
    }

    /// One thread waits for the pipes, room and the exit, in the simulation's way.
    fn step_simulated(&mut self, system: &System, streams: &mut [Reading<'_>], options: &Capture) -> Result<Option<Stop>> {
        let Some(End::Reader(pipe)) = streams.iter().find_map(Reading::open_end) else {
            return if self.feeds() { self.feed_simulated(system) } else { Ok(Some(Stop::Complete)) };
        };
        let (mut exited, mut failed) = (false, None);
        let looks_for_the_end = is_watched(self.feeding.as_ref(), options) && !self.is_over;
        let (processes, feeding) = (&self.processes, &mut self.feeding);
        pipe.block_until(earliest(self.deadline, self.cut), &mut || {
            let fed = feeding.as_mut().map_or(Ok(false), |feeding| feeding.write_some(system.now()));
            let moved = fed
                .and_then(|fed| streams.iter_mut().try_fold(fed, |moved, stream| Ok(stream.drain_simulated(system)? || moved)));
            let looked = moved.and_then(|moved| {
                if looks_for_the_end {
                    exited = have_exited(processes)?;
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
            self.is_over = true;
            self.cut = options.wait_delay.and_then(|delay| now.checked_add(delay));
        }
        if self.cut.is_some_and(|cut| cut <= now) {
            streams.iter_mut().try_for_each(|stream| stream.drain_simulated(system).map(drop))?;
            return Ok(Some(Stop::Complete));
        }
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
        let all_is_there = streams.iter().all(|stream| stream.kept.complete);
        Ok(is_late.then_some(if all_is_there { Stop::Complete } else { Stop::TimeIsUp }))
    }

    /// Nothing is left to read: the rest of the input, for as long as the child is there.
    fn feed_simulated(&mut self, system: &System) -> Result<Option<Stop>> {
        let now = system.now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Some(Stop::TimeIsUp));
        }
        // A pipe that has no room is no event of its end.
        let look = earliest(self.deadline, now.checked_add(LOOK)).unwrap_or(now);
        let moved = self.feeding.as_mut().map_or(Ok(false), |feeding| feeding.write_some(look))?;
        Ok((!moved && have_exited(&self.processes)?).then_some(Stop::Complete))
    }
}

/// Whether anybody has to know of the exit: who feeds must, for a child that reads no more may leave its stdin open to others that do not read.
fn is_watched(feeding: Option<&Feeding>, options: &Capture) -> bool {
    options.wait_delay.is_some() || feeding.is_some()
}

fn have_exited(processes: &[Process]) -> Result<bool> {
    processes.iter().try_fold(true, |all, process| Ok(has_exited(process)? && all))
}

pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
