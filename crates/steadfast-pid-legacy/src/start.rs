//! [`LegacyStart`]: a child on its way to its program, held by its number.

use crate::birth::Birth;
use crate::calls::WaitCall;
use crate::process::{Identity, LegacyProcess};
use crate::start_time::StartTime;
use std::time::Instant;
use steadfast_core::{BackendProcess, BackendStart, OnExit, Pid, PipeEnd, Result, Signal, Spawned};
use steadfast_linux::{GivenUp, Start};

pub(crate) struct LegacyStart {
    pid: Pid,
    /// Until it is known how it went.
    start: Option<Start>,
    /// Looked at while it has no exit signal, and so is nobody's to reap but ours.
    birth: Option<Birth>,
    wait_call: WaitCall,
}

impl LegacyStart {
    /// Of a child that was born just now, not before `earliest`.
    pub(crate) fn new(start: Start, earliest: StartTime, wait_call: WaitCall) -> LegacyStart {
        let pid = start.pid();
        LegacyStart { pid, start: Some(start), birth: Some(Birth::of(pid, earliest)), wait_call }
    }
}

impl BackendStart for LegacyStart {
    fn pid(&self) -> Pid {
        self.pid
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Spawned>> {
        let Some(answer) = self.start.as_mut().and_then(|start| start.wait(deadline)) else { return Ok(None) };
        self.start = None;
        let (child, Some(birth)) = (answer?, self.birth.take()) else { return Ok(None) };
        let process = LegacyProcess::held(child.pid, Identity::Child(birth), self.wait_call);
        let pipes = child.pipes.map(|end| end.map(PipeEnd::Fd));
        Ok(Some(Spawned { pid: child.pid, process, spawner_peak: child.spawner_peak, pipes, pidfd: None }))
    }

    fn on_ready(&mut self, tell: OnExit) -> Result<()> {
        match &self.start {
            Some(start) => start.on_left(tell),
            None => {
                tell();
                Ok(())
            }
        }
    }
}

impl Drop for LegacyStart {
    fn drop(&mut self) {
        let given_up = self.start.take().and_then(Start::give_up);
        if let (Some(GivenUp { loan, .. }), Some(birth)) = (given_up, self.birth.take()) {
            let process = LegacyProcess::held(self.pid, Identity::Child(birth.given_up(loan)), self.wait_call);
            // Fails if it is gone, which is what was wanted; or if it has changed its user (EPERM), and then nothing can be done.
            drop(process.signal(Signal::KILL));
            // In the background: it may be held up where no signal ends it.
            process.abandon();
        }
    }
}
