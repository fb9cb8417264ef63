//! From a command to its child: at once, within a limit, and begun by one and awaited by another.

use super::Command;
use crate::child::OnDrop;
use crate::job::ChildJob;
use crate::remains::with_room;
use crate::terminal::{Lent, LentAtStart};
use crate::within::Within;
use crate::{Child, Process, System};
use std::time::{Duration, Instant};
use steadfast_core::{Plan, PlanStdio, Result};

/// A child that was made, and may not have come to its program. Dropped before that, it is killed, and reaped in the background.
pub(crate) struct Starting {
    // Before the terminal: it is killed first.
    starting: steadfast_core::Starting,
    on_drop: OnDrop,
    job: Option<ChildJob>,
    terminal: LentAtStart,
}

impl Starting {
    /// The child, once it runs its program; `None` if the deadline passes first.
    pub(crate) fn wait(&mut self, deadline: Instant) -> Result<Option<Child>> {
        self.wait_until(Some(deadline))
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Option<Child>> {
        let Some((process, pipes, pidfd)) = self.starting.wait(deadline)? else { return Ok(None) };
        let child = Child::new(Process::from(process), pipes, pidfd, self.on_drop, self.job.take());
        Ok(Some(child.with_terminal(self.terminal.take()).without_walls(self.starting.take_missing_walls())))
    }

    /// The child, if it runs its program by now.
    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn look(&mut self) -> Result<Option<Child>> {
        let now = self.starting.backend().clock().now();
        self.wait(now)
    }

    /// Waits for it, however long that takes.
    pub(crate) fn finish(mut self) -> Result<Child> {
        loop {
            if let Some(child) = self.wait_until(None)? {
                return Ok(child);
            }
        }
    }

    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn as_core(&mut self) -> &mut steadfast_core::Starting {
        &mut self.starting
    }
}

impl Command {
    /// As [`spawn`](Command::spawn), for at most `timeout`: if the program does not run by then, the child is killed, and the call returns.
    ///
    /// A spawn takes as long as the steps before the program and the exec itself: a file system that does not answer (FUSE, NFS), an
    /// interpreter that is a pipe, a child that somebody stops. All calls with a limit begin it here: [`output_timeout`](Command::output_timeout),
    /// [`capture`](Command::capture), [`lines`](Command::lines), those of [`Pipeline`](crate::Pipeline), and their async counterparts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::Command;
    /// let child = Command::new("true").spawn_timeout(Duration::from_secs(10))?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// A killed child may still be held up where no signal ends it, until the file system answers. What it uses of this process's memory is kept
    /// until then, and it is reaped, in the background.
    ///
    /// Where the kernel suspends whoever starts a child ([`SpawnWait::Suspended`](crate::SpawnWait::Suspended), PLATFORM.md), the limit ends no start:
    /// the call returns when the program runs.
    ///
    /// Before the child is born nothing waits, but for a [`pre_exec`](crate::CommandExt::pre_exec), whose child is made by fork(2): that is not ended
    /// by the limit.
    ///
    /// # Errors
    /// [`Error::SpawnTimedOut`](crate::Error::SpawnTimedOut) with the program and the limit; else as [`spawn`](Command::spawn).
    pub fn spawn_timeout(&self, timeout: Duration) -> Result<Child> {
        let system = System::current()?;
        self.spawn_within(&system, Default::default(), Within::from(system.now(), Some(timeout)))
    }

    pub(crate) fn spawn_with(&self, system: &System, defaults: [PlanStdio; 3]) -> Result<Child> {
        self.start_with(system, defaults)?.finish()
    }

    /// With its output piped.
    pub(crate) fn streams_for_capture(&self) -> [PlanStdio; 3] {
        [self.stdin_or(PlanStdio::Null), PlanStdio::Piped, PlanStdio::Piped]
    }

    pub(crate) fn spawn_within(&self, system: &System, defaults: [PlanStdio; 3], within: Option<Within>) -> Result<Child> {
        let mut starting = self.start_with(system, defaults)?;
        let Some(within) = within else { return starting.finish() };
        starting.wait(within.deadline)?.ok_or_else(|| within.too_late(&self.program))
    }

    /// Begins, and returns.
    pub(crate) fn start_with(&self, system: &System, defaults: [PlanStdio; 3]) -> Result<Starting> {
        let job = self.job.as_ref().map(|job| job.fulfil(system)).transpose()?;
        let mut plan = self.plan(system, defaults)?;
        if let Some(job) = &job {
            plan = plan.in_job(job.membership());
        }
        let lent = lend(system, &plan);
        let by_number = || steadfast_core::Process::start(system.by_number().backend(), &plan);
        let starting = match self.is_short(system) {
            true => with_room(by_number),
            false => with_room(|| steadfast_core::Process::start(system.backend(), &plan)),
        };
        let starting = match starting {
            Err(error) if self.may_do_without(system, &error) => {
                // If it was a pipe for which there was no descriptor, this fails for the same reason.
                by_number()?
            }
            starting => starting?,
        };
        let terminal = LentAtStart::to(starting.pid(), lent);
        Ok(Starting { starting, on_drop: self.on_drop, job, terminal })
    }
}

impl System {
    /// Starts a process here, whatever is current.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn(&self, command: &Command) -> Result<Child> {
        command.spawn_with(self, Default::default())
    }
}

/// The foreground of a terminal, if the child is to have it of us. Its job may say in which group.
fn lend(system: &System, plan: &Plan) -> Option<Lent> {
    if !system.info().real || plan.attributes().foreground.is_none() {
        return None;
    }
    let admitted = plan.job().and_then(|job| job.admit(plan).ok());
    let joined = admitted.map(|(joined, on_birth)| {
        // Nobody is born of this.
        on_birth(None);
        joined
    });
    Lent::before(joined.as_ref().unwrap_or(plan).attributes())
}
