//! [`Stopping`]: a teardown at the time limit, while what is written meanwhile is read.

use super::feeding::Feeding;
use super::look::{Seen, look};
use super::reading::Reading;
use super::watch::{LOOK, Watch};
use crate::System;
use crate::pipe::End;
use crate::teardown::{Steps, Stopped, Targets, Teardown};
use std::time::Instant;
use steadfast_core::Result;

pub(super) struct Stopping {
    targets: Targets,
    steps: Steps,
    /// Of those that are not over yet; in a simulation there are none.
    watches: Vec<Watch>,
    /// The end of this step; for ever, if it is later than the clock can say.
    until: Option<Instant>,
    is_over: bool,
}

impl Stopping {
    /// Nothing is sent yet: the first step looks whether it is over.
    pub(super) fn begin(targets: Targets, how: &Teardown, system: &System) -> Result<Stopping> {
        let mut watches = Vec::new();
        if system.info().real {
            for process in targets.processes() {
                watches.push(Watch::new(process)?);
            }
            for end in targets.ends() {
                watches.push(Watch::job(end)?);
            }
        }
        Ok(Stopping { targets, steps: how.begin(), watches, until: Some(system.now()), is_over: false })
    }

    /// Waits for the next thing to happen, and does what there is to do; whether that was the last, because it is over or no step is left.
    pub(super) fn step(&mut self, system: &System, streams: &mut [Reading<'_>], feeding: Option<&mut Feeding>) -> Result<bool> {
        // Of a simulated process it may be that no pipe is left to tell.
        self.is_over = match system.info().real {
            true => self.step_real(system, streams, feeding)?,
            false => self.step_simulated(system, streams, feeding)?,
        };
        if !self.is_over && self.until.is_some_and(|until| until <= system.now()) {
            // Where a thread watches, it may not have told yet.
            self.is_over = self.targets.are_over()?;
            if !self.is_over {
                match self.steps.next(|signal| self.targets.send(signal))? {
                    Some(time) => self.until = system.now().checked_add(time),
                    None => return Ok(true),
                }
            }
        }
        Ok(self.is_over)
    }

    pub(super) fn stopped(&self) -> Stopped {
        self.steps.stopped(self.is_over)
    }

    fn step_real(&mut self, system: &System, streams: &mut [Reading<'_>], mut feeding: Option<&mut Feeding>) -> Result<bool> {
        let open: Vec<usize> = (0..streams.len()).filter(|index| streams[*index].open_end().is_some()).collect();
        let left = self.until.map(|until| until.saturating_duration_since(system.now()));
        let Seen { readable, writable, exited } = look(streams, &open, feeding.as_deref(), &mut self.watches, left)?;
        for index in readable {
            streams[index].read_some(None)?;
        }
        if let (true, Some(feeding)) = (writable, feeding.as_mut()) {
            feeding.write_some(system.now())?;
        }
        Ok(exited)
    }

    fn step_simulated(
        &mut self,
        system: &System,
        streams: &mut [Reading<'_>],
        mut feeding: Option<&mut Feeding>,
    ) -> Result<bool> {
        let Some(End::Reader(pipe)) = streams.iter().find_map(Reading::open_end) else {
            let Some(feeding) = feeding.filter(|feeding| feeding.end().is_some()) else { return self.targets.wait(self.until) };
            // A pipe that has no room is no event of its end.
            let look = self.until.into_iter().chain(system.now().checked_add(LOOK)).min();
            feeding.write_some(look.unwrap_or_else(|| system.now()))?;
            return self.targets.are_over();
        };
        let mut is_over = Ok(false);
        pipe.block_until(self.until, &mut || {
            let mut look = || {
                let mut moved = feeding.as_mut().map_or(Ok(false), |feeding| feeding.write_some(system.now()))?;
                for stream in &mut *streams {
                    moved |= stream.drain_simulated(system)?;
                }
                Ok((moved, self.targets.are_over()?))
            };
            match look() {
                Ok((moved, over)) => {
                    is_over = Ok(over);
                    moved || over
                }
                Err(error) => {
                    is_over = Err(error);
                    true
                }
            }
        });
        is_over
    }
}
