//! [`Targets`]: whom a teardown stops.

use super::{Stopped, Teardown};
use crate::Process;
use std::time::Instant;
use steadfast_core::{Errno, Error, JobEnd, JobLink, Result, Signal};

/// Processes, and the jobs in which they were started, each as a whole.
pub(crate) struct Targets {
    /// Each with the place of its job.
    processes: Vec<(Process, Option<usize>)>,
    jobs: Vec<(JobLink, JobEnd)>,
    /// Whether they are the group of the first.
    is_group: bool,
    refusal: Refusal,
}

/// What it is if somebody may not be signalled (`EPERM`: it has changed its user).
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Refusal {
    Error,
    /// It is waited for all the same: its output is to be returned.
    Nothing,
}

impl Targets {
    pub(crate) fn new(refusal: Refusal) -> Targets {
        Targets { processes: Vec::new(), jobs: Vec::new(), is_group: false, refusal }
    }

    pub(crate) fn group(mut self, is_group: bool) -> Targets {
        self.is_group = is_group;
        self
    }

    /// With all of its job, unless nobody owns that any more.
    pub(crate) fn process(mut self, process: &Process, job: Option<&JobLink>) -> Targets {
        let place = job.and_then(|job| self.place(job));
        self.processes.push((process.clone(), place));
        self
    }

    pub(crate) fn job(mut self, job: &JobLink) -> Targets {
        self.place(job);
        self
    }

    /// A job has one, however many were started in it: each of its members is to get each signal once.
    fn place(&mut self, job: &JobLink) -> Option<usize> {
        let end = job.end()?;
        let known = self.jobs.iter().position(|(_, other)| other.is_same(&end));
        Some(known.unwrap_or_else(|| {
            self.jobs.push((job.clone(), end));
            self.jobs.len() - 1
        }))
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().map(|(process, _)| process)
    }

    pub(crate) fn ends(&self) -> impl Iterator<Item = &JobEnd> {
        self.jobs.iter().map(|(_, end)| end)
    }

    /// Sends it to each that lives; whether that was anybody. The last process is the first, for whoever reads what another one writes must not take
    /// a part for the whole.
    pub(crate) fn send(&self, signal: Signal) -> Result<bool> {
        let (mut has_sent, mut refused) = (false, None);
        let mut note = |answer: Result<()>| match answer {
            Ok(()) => has_sent = true,
            // It has ended just now.
            Err(Error::ProcessDone { .. }) => {}
            Err(error) => refused = Some(error),
        };
        let mut lives = Vec::with_capacity(self.jobs.len());
        for (link, end) in &self.jobs {
            let has_members = !end.is_empty()?;
            if has_members {
                note(link.signal(signal));
            }
            lives.push(has_members);
        }
        let by_group = self.is_group && self.jobs.is_empty();
        let first = self.processes.first().filter(|_| by_group);
        if first.is_some_and(|(first, _)| first.signal_group(signal).is_ok()) {
            return Ok(true);
        }
        for (process, job) in self.processes.iter().rev() {
            match job.is_some_and(|job| lives[job]) {
                false => note(process.signal(signal)),
                // It may have left its job, if that can be left. Twice is as good as once.
                true if signal == Signal::KILL => drop(process.signal(signal)),
                true => {}
            }
        }
        match refused {
            Some(error) if self.refusal == Refusal::Error || error.errno() != Some(Errno::PERM) => Err(error),
            _ => Ok(has_sent),
        }
    }

    /// Whether nothing lives in the jobs and all processes can be waited for, or were. It does not wait, in a simulation's sense neither.
    pub(crate) fn are_over(&self) -> Result<bool> {
        for end in self.ends() {
            if !end.is_empty()? {
                return Ok(false);
            }
        }
        for process in self.processes() {
            match process.try_wait() {
                Ok(None) => return Ok(false),
                // Without a status it is over as well.
                Ok(Some(_)) | Err(Error::NoChild { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether nothing lives in the jobs and all processes were waited for, at the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        for end in self.ends() {
            if !end.wait(deadline)? {
                return Ok(false);
            }
        }
        for process in self.processes() {
            let waited = match deadline {
                Some(deadline) => process.wait_deadline(deadline),
                None => process.wait().map(Some),
            };
            match waited {
                Ok(None) => return Ok(false),
                // Without a status it is over as well.
                Ok(Some(_)) | Err(Error::NoChild { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Blocks until it is over, or all steps were taken.
    pub(crate) fn stop(&self, how: &Teardown, now: impl Fn() -> Instant) -> Result<Stopped> {
        let mut steps = how.begin();
        let mut is_over = self.are_over()?;
        while !is_over {
            let Some(time) = steps.next(|signal| self.send(signal))? else { break };
            // Later than the clock can say is as good as never.
            is_over = self.wait(now().checked_add(time))?;
        }
        Ok(steps.stopped(is_over))
    }
}
