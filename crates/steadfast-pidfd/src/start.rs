//! [`PidfdStart`]: a child on its way to its program, held by its pidfd.

use crate::process::PidfdProcess;
use crate::reactor;
use std::sync::Arc;
use std::time::Instant;
use steadfast_core::{BackendStart, Errno, Error, OnExit, Pid, PipeEnd, Plan, Result, Signal, Spawned, Stage};
use steadfast_linux::{Child, GivenUp, Start, pidfd_send_signal};

pub(crate) struct PidfdStart {
    pub(crate) start: Start,
    pub(crate) plan: Plan,
}

impl PidfdStart {
    fn failed(&self, source: Errno) -> Error {
        Error::Spawn { program: self.plan.program().to_owned(), stage: Stage::Pidfd, source }
    }

    fn spawned(&self, child: Child) -> Result<Spawned> {
        let pidfd = child.pidfd.ok_or_else(|| self.failed(Errno::INVAL))?;
        let process = Arc::new(PidfdProcess::child(child.pid, pidfd));
        let wish = self.plan.create_pidfd().then(|| process.duplicate()).transpose();
        let wish = wish.map_err(|errno| {
            // A half-made spawn must leave nothing: the caller will never hear of this child.
            process.kill_and_reap();
            self.failed(errno)
        })?;
        let pipes = child.pipes.map(|end| end.map(PipeEnd::Fd));
        let (spawner_peak, missing_walls) = (child.spawner_peak, child.missing_walls);
        Ok(Spawned { pid: child.pid, process, spawner_peak, pipes, pidfd: wish, missing_walls })
    }
}

impl BackendStart for PidfdStart {
    fn pid(&self) -> Pid {
        self.start.pid()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Spawned>> {
        let Some(answer) = self.start.wait(deadline) else { return Ok(None) };
        self.spawned(answer?).map(Some)
    }

    fn on_ready(&mut self, tell: OnExit) -> Result<()> {
        self.start.on_left(tell)
    }
}

impl Drop for PidfdStart {
    fn drop(&mut self) {
        // Without a pidfd it had not come so far that it could run a program, and ends by itself.
        if let Some(GivenUp { pidfd: Some(pidfd), loan }) = self.start.give_up() {
            let process = Arc::new(PidfdProcess::given_up(self.start.pid(), pidfd, loan));
            // Fails if it is gone, which is what was wanted; or if it has changed its user (EPERM), and then nothing can be done.
            _ = pidfd_send_signal(process.pidfd(), Signal::KILL);
            // In the background: it may be held up where no signal ends it.
            reactor::reap(process);
        }
    }
}
