//! [`Starting`]: a process on its way to its program.

use super::Process;
use super::state::Origin;
use crate::{BackendStart, Error, Pid, PipeEnd, ProcessBackend, Result, Wall, contain};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

/// The handle, the ends of the pipes that the plan asked for (stdin, stdout, stderr), and the pidfd that it asked for.
pub type Started = (Process, [Option<PipeEnd>; 3], Option<OwnedFd>);

/// A process that was made, and may not have come to its program: made by [`Process::start`]. Dropped before that, it is killed, and reaped in
/// the background.
pub struct Starting {
    backend: Arc<dyn ProcessBackend>,
    start: Box<dyn BackendStart>,
    missing_walls: Vec<(Wall, Error)>,
}

impl Starting {
    pub(super) fn new(backend: &Arc<dyn ProcessBackend>, start: Box<dyn BackendStart>) -> Starting {
        Starting { backend: Arc::clone(backend), start, missing_walls: Vec::new() }
    }

    /// The backend that makes it.
    pub fn backend(&self) -> &Arc<dyn ProcessBackend> {
        &self.backend
    }

    /// Its PID.
    pub fn pid(&self) -> Pid {
        self.start.pid()
    }

    /// Waits until the program runs, or a step before that has failed; `None` if the deadline, on the backend's clock, passes first. With one in the
    /// past, it only looks. Not to be asked again once it has returned something else.
    ///
    /// # Errors
    /// As [`BackendStart::wait`].
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Started>> {
        let Some(spawned) = self.start.wait(deadline)? else { return Ok(None) };
        self.missing_walls = spawned.missing_walls;
        let process = Process::new(&self.backend, spawned.pid, spawned.process, Origin::Spawned, spawned.spawner_peak);
        Ok(Some((process, spawned.pipes, spawned.pidfd)))
    }

    /// Takes out what [`wait`](Self::wait) has found: each wall that it was to have if possible, and does not have, with
    /// [`Error::NoWall`]. Empty before.
    pub fn take_missing_walls(&mut self) -> Vec<(Wall, Error)> {
        std::mem::take(&mut self.missing_walls)
    }

    /// Waits however long that takes.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn finish(mut self) -> Result<Started> {
        loop {
            if let Some(started) = self.wait(None)? {
                return Ok(started);
            }
        }
    }

    /// Calls once [`wait`](Self::wait) has something to return, on any thread, or at once. To be called once.
    ///
    /// # Errors
    /// As [`BackendStart::on_ready`].
    pub fn on_ready(&mut self, call: impl FnOnce() + Send + 'static) -> Result<()> {
        self.start.on_ready(Box::new(|| contain(call)))
    }
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting").field("pid", &self.pid()).field("backend", &self.backend.info().name).finish_non_exhaustive()
    }
}
