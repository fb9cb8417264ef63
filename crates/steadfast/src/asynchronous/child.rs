//! [`Child`]: a process that was spawned, for tasks.

use super::alarm;
use super::capture;
use super::change::NextChange;
use super::feeding::Feeding;
use super::hub::Runtime;
use super::over::Over;
use super::pipe::{ChildStderr, ChildStdin, ChildStdout, Pipe};
use super::stopping::stop;
use super::virtual_time::VirtualTime;
use crate::child::Whose;
use crate::input::Input;
use crate::within::Within;
use crate::{Capture, Captured, Change, Exit, ExitStatus, Job, Output, Pid, Process, Signal, Stopped, Teardown};
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use steadfast_core::{Ended, Error, Result, Until, Wall};

/// A process that was spawned, and the pipes, for tasks: `spawn_async` makes one, or `Child::from` a
/// [`steadfast::Child`](crate::Child).
///
/// All futures here can be dropped at any time: that loses neither the child, nor its status, nor output that was read. If a `Child` is dropped, the
/// process continues to run, and is reaped in the background; with [`kill_on_drop`](crate::Command::kill_on_drop) it is killed first. It belongs to
/// no runtime: it can be spawned in one runtime and waited for in another.
pub struct Child<R: Runtime> {
    /// The write end of its stdin, if that is piped.
    pub stdin: Option<ChildStdin<R>>,
    /// The read end of its stdout, if that is piped.
    pub stdout: Option<ChildStdout<R>>,
    /// The read end of its stderr, if that is piped.
    pub stderr: Option<ChildStderr<R>>,
    child: crate::Child,
}

impl<R: Runtime> From<crate::Child> for Child<R> {
    fn from(mut child: crate::Child) -> Child<R> {
        let process = child.process().clone();
        VirtualTime::<R>::begin(process.backend());
        Child {
            stdin: child.stdin.take().map(|end| ChildStdin::new(end, &process)),
            stdout: child.stdout.take().map(|end| ChildStdout::new(end, &process)),
            stderr: child.stderr.take().map(|end| ChildStderr::new(end, &process)),
            child,
        }
    }
}

impl<R: Runtime> Child<R> {
    /// Its PID.
    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Its PID, under std's name and type.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The handle, which can be cloned, and kept longer than this.
    pub fn process(&self) -> &Process {
        self.child.process()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// As [`signal`](crate::backend::Process::signal).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.child.signal(signal)
    }

    /// Sends it `SIGKILL`. Wait for it afterwards.
    ///
    /// # Errors
    /// As [`signal`](crate::backend::Process::signal).
    pub fn kill(&self) -> Result<()> {
        self.child.kill()
    }

    /// Sends a signal to the group that it leads.
    ///
    /// # Errors
    /// As [`signal_group`](crate::backend::Process::signal_group).
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        self.child.process().signal_group(signal)
    }

    /// Sends it a signal by its number.
    ///
    /// # Errors
    /// As [`send_signal`](crate::Child::send_signal).
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        self.child.send_signal(signal)
    }

    /// Sends `SIGKILL` to the group that it leads.
    ///
    /// # Errors
    /// As [`kill_group`](crate::backend::Process::kill_group).
    pub fn kill_group(&self) -> Result<()> {
        self.child.kill_group()
    }

    /// Its status, if it has been collected. Makes no system call.
    pub fn status(&self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// PID, status and resource usage, if they have been collected. Makes no system call.
    pub fn exit(&self) -> Option<Exit> {
        self.child.exit()
    }

    /// Calls the closure with the pidfd.
    ///
    /// # Errors
    /// As [`with_handle`](crate::backend::Process::with_handle).
    pub fn with_handle<T>(&self, f: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T> {
        self.child.with_handle(f)
    }

    /// Gives the handle up; a child is reaped in the background.
    ///
    /// # Errors
    /// As [`release`](crate::backend::Process::release).
    pub fn release(&self) -> Result<()> {
        self.child.release()
    }

    /// Its status, if it has exited; reaps it then.
    ///
    /// # Errors
    /// As [`wait`](crate::backend::Process::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Each wall that it was to have if possible, and does not have: as [`missing_walls`](crate::Child::missing_walls).
    pub fn missing_walls(&self) -> &[(Wall, Error)] {
        self.child.missing_walls()
    }

    /// Takes the pidfd that [`create_pidfd`](crate::Command::create_pidfd) asked for.
    pub fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.child.take_pidfd()
    }

    /// Closes its stdin, unless that was taken out, so that a child which reads its input to the end can exit. Then it waits for the child, reaps it,
    /// and returns its status. It can be called any number of times, by any number of tasks.
    ///
    /// # Errors
    /// As [`wait`](crate::backend::Process::wait); [`Error::Released`] also if another task releases it meanwhile;
    /// [`Error::System`] or [`Error::Unsupported`] if there is no runtime here, or the pidfd cannot be registered with it.
    pub async fn wait(&self) -> Result<ExitStatus> {
        if let Some(stdin) = &self.stdin {
            stdin.close();
        }
        self.child.over(Over::<R>::new(self.process()).await, |_| true)
    }

    /// As [`wait`](Child::wait), for at most `timeout` by the runtime's clock: `None` if it is still running.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub async fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        if let Some(stdin) = &self.stdin {
            stdin.close();
        }
        let status = capture::over_by::<R>(self.process(), Until::Gone, alarm::after::<R>(Some(timeout))).await;
        self.child.over(status, Option::is_some)
    }

    /// As [`wait`](Child::wait), until `deadline` on its system's clock ([`System::now`](crate::System::now)): `None` if it is still running. The
    /// runtime's timer is used.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub async fn wait_deadline(&self, deadline: Instant) -> Result<Option<ExitStatus>> {
        self.wait_timeout(deadline.saturating_duration_since(self.child.system().now())).await
    }

    /// Waits until it has stopped, goes on after a stop, or has exited, and returns which, as
    /// [`Process::wait_change`](crate::backend::Process::wait_change): a stop or a continuation is told to one caller. Its stdin is not closed. If the
    /// future is dropped before it is ready, nothing is taken.
    ///
    /// It takes a thread for each child that is waited for so, which sleeps until the next change or the exit.
    ///
    /// # Errors
    /// As there.
    pub async fn wait_change(&self) -> Result<Change> {
        self.child.changed(NextChange::<R>::of(self.process()).await, |change| Some(*change))
    }

    /// Brings the group that it leads to the foreground of this terminal, and lets it go on, as
    /// [`steadfast::Child::continue_in_foreground`](crate::Child::continue_in_foreground).
    ///
    /// # Errors
    /// As there.
    pub fn continue_in_foreground(&mut self, terminal: impl Into<OwnedFd>) -> Result<()> {
        self.child.continue_in_foreground(terminal)
    }

    /// Stops it as the steps say, until it has been waited for, as [`steadfast::Child::stop`](crate::Child::stop): if it has a
    /// [job of its own](crate::Command::own_job), the signals go to all that live in it. Times are measured by the runtime's clock. If the future is
    /// dropped, no further step is taken.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use std::time::Duration;
    /// use steadfast::tokio::AsyncCommand;
    /// use steadfast::{Command, Teardown};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let server = Command::new("sleep").arg("60").spawn_async().await?;
    /// let stopped = server.stop(&Teardown::graceful(Duration::from_secs(5))).await?;
    /// println!("{stopped}");                                                // "ended after SIGTERM"
    /// # assert!(stopped.is_over());
    /// # Ok::<(), steadfast::Error>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`signal`](crate::backend::Process::signal) (`EPERM`) and [`exited`](Child::exited); of a job, as
    /// [`Job::wait_empty`](crate::Job::wait_empty).
    pub async fn stop(&self, how: &Teardown) -> Result<Stopped> {
        let stopped = stop::<R>(self.child.targets(), how.clone()).await?;
        Ok(stopped.with(self.child.try_wait()?))
    }

    /// The job that it was started in alone ([`own_job`](crate::Command::own_job)).
    pub fn job(&self) -> Option<&Job> {
        self.child.job()
    }

    /// Waits until it has exited, and returns its status if that is not lost. Its stdin is not closed.
    ///
    /// # Errors
    /// [`Error::Released`] after `release`, also by another task meanwhile; [`Error::System`] or [`Error::Unsupported`] if there is no
    /// runtime here, or it has no room for the pidfd.
    pub async fn exited(&self) -> Result<Ended> {
        self.child.over(over::<R>(self.process(), Until::Exited).await, |_| true)
    }

    /// As [`exited`](Child::exited), until its parent has waited for it as well. That is the same for a child, which this reaps. After a fork(2), in the
    /// forked child, it may be a zombie for some time.
    ///
    /// # Errors
    /// As [`exited`](Child::exited).
    pub async fn gone(&self) -> Result<Ended> {
        self.child.over(over::<R>(self.process(), Until::Gone).await, |_| true)
    }

    /// Closes its stdin, reads its stdout and stderr to the end, both at once, if they are piped, and waits.
    ///
    /// # Errors
    /// As [`wait`](Child::wait); [`Error::System`] if a pipe cannot be read.
    pub async fn wait_with_output(mut self) -> Result<Output> {
        let captured = self.capture_for(&Capture::new().to_the_end(), None, Whose::OneCall, None).await?;
        captured.into_output().ok_or(Error::NoChild { pid: self.pid() })
    }

    /// As [`capture`](Child::capture) with this timeout only.
    ///
    /// # Errors
    /// As [`capture`](Child::capture).
    pub async fn wait_with_output_timeout(&mut self, timeout: Duration) -> Result<Captured> {
        self.capture(&Capture::new().timeout(timeout)).await
    }

    /// Closes its stdin, reads its stdout and stderr, if they are piped, and waits for it, as the options say. Times are measured by the runtime's clock.
    /// See [`steadfast::Child::capture`](crate::Child::capture). If the future is dropped, what was read is kept, and the next call returns it.
    ///
    /// # Errors
    /// As [`wait`](Child::wait); [`Error::System`] if a pipe cannot be read, or a child that was to be killed cannot.
    pub async fn capture(&mut self, options: &Capture) -> Result<Captured> {
        self.capture_for(options, alarm::begin::<R>(options), Whose::AllCalls, None).await
    }

    /// For as long as is left of its time; with an input, that is written meanwhile; without one, its stdin is closed.
    pub(super) async fn capture_for(
        &mut self,
        options: &Capture,
        within: Option<Within>,
        whose: Whose,
        feeding: Option<Feeding<R>>,
    ) -> Result<Captured> {
        if feeding.is_none() {
            self.stdin.iter().for_each(ChildStdin::close);
        }
        let (child, pipes) = self.parts();
        capture::capture(child, pipes, feeding, options, within, whose).await
    }

    /// The input on its way into its stdin.
    pub(super) fn feeding(&mut self, input: Option<&Input>) -> Option<Feeding<R>> {
        let stdin = input.and_then(|_| self.stdin.take());
        input.zip(stdin).map(|(input, stdin)| Feeding::new(input, stdin, self.child.process()))
    }

    pub(super) fn as_sync(&self) -> &crate::Child {
        &self.child
    }

    /// The process, and the pipes of its output.
    pub(super) fn parts(&mut self) -> (&crate::Child, [Option<&mut Pipe<R>>; 2]) {
        let pipes = [self.stdout.as_mut().map(|end| &mut *end.pipe), self.stderr.as_mut().map(|end| &mut *end.pipe)];
        (&self.child, pipes)
    }
}

impl<R: Runtime> fmt::Debug for Child<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child({:?})", self.child.process())
    }
}

/// As [`wait_exited`](crate::backend::Process::wait_exited) and [`wait_gone`](crate::backend::Process::wait_gone).
pub(crate) async fn over<R: Runtime>(process: &Process, end: Until) -> Result<Ended> {
    match Over::<R>::of(process, end).await {
        Ok(status) => Ok(Ended::new(Some(status))),
        Err(Error::NoChild { .. }) => Ok(Ended::new(None)),
        Err(error) => Err(error),
    }
}

/// As [`wait`](crate::backend::Process::wait): at once for what is not our child.
pub(crate) async fn wait<R: Runtime>(process: &Process) -> Result<ExitStatus> {
    match process.try_wait()? {
        Some(status) => Ok(status),
        None => Over::<R>::new(process).await,
    }
}
