//! [`LegacyStart`]: a child on its way to its program, held by its number.

use crate::birth::Birth;
use crate::calls::WaitCall;
use crate::process::{LegacyProcess, Mark};
use crate::start_time::StartTime;
use std::time::Instant;
use steadfast_core::{BackendProcess, BackendStart, OnExit, Pid, PipeEnd, Result, Signal, Spawned};
use steadfast_linux::{GivenUp, Start};

pub(crate) struct LegacyStart {
    start: Start,
    /// Until it is known how it went. Looked at while it has no exit signal, and so is nobody's to reap but ours.
    birth: Option<Birth>,
    wait_call: WaitCall,
}

impl LegacyStart {
    /// Of a child that was born just now, not before `earliest`.
    pub(crate) fn new(start: Start, earliest: StartTime, wait_call: WaitCall) -> LegacyStart {
        LegacyStart { birth: Some(Birth::of(start.pid(), earliest)), start, wait_call }
    }
}

impl BackendStart for LegacyStart {
    fn pid(&self) -> Pid {
        self.start.pid()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Spawned>> {
        let Some(answer) = self.start.wait(deadline) else { return Ok(None) };
        let (child, Some(birth)) = (answer?, self.birth.take()) else { return Ok(None) };
        let process = LegacyProcess::held(child.pid, Mark::Child(birth), self.wait_call);
        let pipes = child.pipes.map(|end| end.map(PipeEnd::Fd));
        let (spawner_peak, missing_walls) = (child.spawner_peak, child.missing_walls);
        Ok(Some(Spawned { pid: child.pid, process, spawner_peak, pipes, pidfd: None, missing_walls }))
    }

    fn on_ready(&mut self, tell: OnExit) -> Result<()> {
        self.start.on_left(tell)
    }
}

impl Drop for LegacyStart {
    fn drop(&mut self) {
        if let (Some(GivenUp { loan, .. }), Some(birth)) = (self.start.give_up(), self.birth.take()) {
            let process = LegacyProcess::held(self.start.pid(), Mark::Child(birth.given_up(loan)), self.wait_call);
            // Fails if it is gone, which is what was wanted; or if it has changed its user (EPERM), and then nothing can be done.
            drop(process.signal(Signal::KILL));
            // In the background: it may be held up where no signal ends it.
            process.abandon();
        }
    }
}
