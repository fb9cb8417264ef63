//! [`Child`]: a process that was spawned, and our ends of its pipes.

use crate::input::Input;
use crate::job::{ChildJob, Job};
use crate::output::{self, Capture, Captured, CapturedStream, Feeding, Outcome, Readers, Reading, Stop, Together};
use crate::pipe::{ChildStderr, ChildStdin, ChildStdout};
use crate::teardown::{Refusal, Stopped, Targets, Teardown};
use crate::terminal::Lent;
use crate::within::Within;
use crate::{ExitStatus, Output, Process, System};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};
use steadfast_core::{Error, Pauses, PipeEnd, Result, Signal, Wall};

/// A process that was spawned: a [`Process`], which it derefs to, and the pipes.
///
/// If a `Child` is dropped, the process continues to run, and is reaped in the background once it exits. With
/// [`kill_on_drop`](crate::Command::kill_on_drop) it is killed first. A clone of its `Process` stays valid, unless
/// [`reap_on_drop`](crate::Command::reap_on_drop) is off.
///
/// ```
/// use std::io::Write;
/// use steadfast::{Command, Stdio};
/// let mut child = Command::new("wc").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.as_mut().expect("piped").write_all(b"12345")?;
/// let output = child.wait_with_output()?;                        // closes stdin, reads, waits
/// assert_eq!(output.stdout, b"5\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// The write end of its stdin, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// The read end of its stdout, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// The read end of its stderr, if that is piped.
    pub stderr: Option<ChildStderr>,
    process: Process,
    /// What was read by calls that a timeout ended; most children have none, and are to be small.
    pub(crate) captured: Mutex<Kept>,
    pidfd: Option<OwnedFd>,
    on_drop: OnDrop,
    /// In a box, for most have none.
    job: Option<Box<ChildJob>>,
    /// What it has of us, and we have again when it has ended.
    terminal: Option<Box<Lent>>,
    missing_walls: Box<[(Wall, Error)]>,
}

/// What becomes of a child that is dropped before it was waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnDrop {
    pub(crate) kill: bool,
    pub(crate) reap: bool,
}

impl Default for OnDrop {
    fn default() -> OnDrop {
        OnDrop { kill: false, reap: true }
    }
}

/// What earlier calls have read.
pub(crate) type Kept = Option<Box<[CapturedStream; 2]>>;

/// Who is to have what was read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Whose {
    /// There will be no other call.
    OneCall,
    AllCalls,
}

impl Child {
    pub(crate) fn new(
        process: Process,
        pipes: [Option<PipeEnd>; 3],
        pidfd: Option<OwnedFd>,
        on_drop: OnDrop,
        job: Option<ChildJob>,
    ) -> Child {
        let [stdin, stdout, stderr] = pipes;
        Child {
            stdin: stdin.map(ChildStdin::new),
            stdout: stdout.map(|end| ChildStdout::of(end, process.backend())),
            stderr: stderr.map(|end| ChildStderr::of(end, process.backend())),
            process,
            captured: Mutex::default(),
            pidfd,
            on_drop,
            job: job.map(Box::new),
            terminal: None,
            missing_walls: Box::default(),
        }
    }

    pub(crate) fn with_terminal(mut self, terminal: Option<Lent>) -> Child {
        self.terminal = terminal.map(Box::new);
        self
    }

    pub(crate) fn set_terminal(&mut self, terminal: Lent) {
        self.terminal = Some(Box::new(terminal));
    }

    pub(crate) fn without_walls(mut self, missing: Vec<(Wall, Error)>) -> Child {
        self.missing_walls = missing.into();
        self
    }

    /// Each wall that it was to have [if possible](crate::Command::walls_if_possible), and does not have, with [`Error::NoWall`]. Of several filters or
    /// rulesets, each that is missing.
    pub fn missing_walls(&self) -> &[(Wall, Error)] {
        &self.missing_walls
    }

    pub(crate) fn terminal(&self) -> Option<&Lent> {
        self.terminal.as_deref()
    }

    /// Takes its stdin, where the child is shared between threads: it is closed when the value is dropped, and no more by
    /// [`wait`](Child::wait). `None` if it is not piped, was taken, or was closed.
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.stdin.as_ref()?.take()
    }

    /// Its PID, under std's name and type.
    pub fn id(&self) -> u32 {
        self.pid().as_raw().unsigned_abs()
    }

    /// Closes its stdin, unless that was taken out, so that a child which reads to the end can end; then waits as
    /// [`Process::wait`](crate::backend::Process::wait).
    ///
    /// # Errors
    /// [`Error::NoChild`] if the status is lost, [`Error::Released`] after `release`.
    pub fn wait(&self) -> Result<ExitStatus> {
        self.close_stdin();
        self.over(self.process.wait(), |_| true)
    }

    /// Closes its stdin as [`wait`](Child::wait), then waits for at most `timeout`: `None` if it is still running.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.close_stdin();
        self.over(self.process.wait_timeout(timeout), Option::is_some)
    }

    /// Closes its stdin as [`wait`](Child::wait), then waits until `deadline` on the system's clock: `None` if it is still running.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Option<ExitStatus>> {
        self.close_stdin();
        self.over(self.process.wait_deadline(deadline), Option::is_some)
    }

    /// Closes its stdin, reads its stdout and stderr to the end, both at once, if they are piped, and waits. A stream ends when no process has it
    /// open any more; see [`capture`](Self::capture).
    ///
    /// # Errors
    /// As [`wait`](Child::wait); [`Error::System`] if a pipe cannot be read.
    pub fn wait_with_output(self) -> Result<Output> {
        let captured = self.capture_for(&Capture::new().to_the_end(), None, Whose::OneCall, None)?;
        captured.into_output().ok_or(Error::NoChild { pid: self.pid() })
    }

    /// As [`capture`](Self::capture) with this timeout only. If the child is still running then, call it again, or kill the child.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::{Command, Stdio};
    /// let child = Command::new("sh").args(["-c", "echo one; sleep 0.5; echo two"]).stdout(Stdio::piped()).spawn()?;
    /// let some = child.wait_with_output_timeout(Duration::from_millis(200))?;
    /// assert_eq!(some.status, None);
    /// println!("so far: {}", some.stdout);
    /// let all = child.wait_with_output_timeout(Duration::from_secs(60))?;
    /// assert_eq!(all.stdout.to_vec(), b"one\ntwo\n");
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`capture`](Self::capture).
    pub fn wait_with_output_timeout(&self, timeout: Duration) -> Result<Captured> {
        self.capture(&Capture::new().timeout(timeout))
    }

    /// Closes its stdin, reads its stdout and stderr, both at once and on this thread, if they are piped, and waits for it, as the options say. It
    /// returns at the timeout even if the child runs for ever, or a grandchild keeps the pipes open; with [`Capture::on_timeout`], when it has been stopped.
    ///
    /// It returns everything that was read so far, including what earlier calls have read that ended at their timeout. If this call fails, that is
    /// kept. Only one call reads at a time: a second call waits for the first one, within its own timeout, and then returns the same. If the first
    /// one is still reading then, the second returns nothing of the streams, and `timed_out`. The output stays in memory until the `Child` is
    /// dropped.
    ///
    /// The exit is noticed at once: by the pidfd or, without pidfds, by a thread that sleeps until then.
    ///
    /// # Errors
    /// As [`wait`](Child::wait); [`Error::System`] if a pipe cannot be read, or a child that was to be killed cannot.
    pub fn capture(&self, options: &Capture) -> Result<Captured> {
        self.capture_for(options, options.begin(&self.system()), Whose::AllCalls, None)
    }

    /// For as long as is left of its time; with an input, that is written meanwhile; without one, its stdin is closed.
    pub(crate) fn capture_for(
        &self,
        options: &Capture,
        within: Option<Within>,
        whose: Whose,
        input: Option<&Input>,
    ) -> Result<Captured> {
        let feeding = self.feeding(input);
        let system = self.system();
        let deadline = within.map(|within| within.deadline);
        let Some(mut captured) = self.lock_captured(&system, deadline) else {
            // Another call reads what it writes.
            let process = [&self.process];
            let together = self.together(&process);
            let stopped = match (together.targets(options), options.teardown()) {
                (Some(targets), Some(how)) => Some(targets.stop(how, || system.now())?),
                _ => None,
            };
            let status = match options.kill_on_timeout && stopped.is_none() {
                true => output::kill(&together)?,
                false => self.process.try_wait()?,
            };
            self.note(status);
            return Ok(Captured::new(Outcome::new(status, Stop::TimeIsUp, stopped), Default::default()));
        };
        let [stdout, stderr] = &mut **captured.get_or_insert_default();
        let mut streams = [
            Reading::new("stdout", self.stdout.as_ref().map(ChildStdout::end), stdout),
            Reading::new("stderr", self.stderr.as_ref().map(ChildStderr::end), stderr),
        ];
        let outcome = output::capture(self.together(&[&self.process]), &system, &mut streams, feeding, options, deadline)?;
        self.note(outcome.status);
        // It stays, for the next call.
        let all = if whose == Whose::OneCall && outcome.status.is_some() { captured.take() } else { captured.clone() };
        Ok(Captured::new(outcome, *all.unwrap_or_default()))
    }

    /// What was read so far, for this call alone; `None`: another one has it at the deadline.
    fn lock_captured(&self, system: &System, deadline: Option<Instant>) -> Option<MutexGuard<'_, Kept>> {
        let mut pauses = Pauses::new(Duration::from_micros(100), Duration::from_millis(10));
        loop {
            match self.captured.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            if deadline.is_some_and(|deadline| deadline <= system.now()) {
                return None;
            }
            // A lock knows no deadline and no simulated time.
            pauses.sleep(system.backend().clock(), deadline);
        }
    }

    /// Sends it a signal by its number, as `std::os::unix::process::ChildExt::send_signal`;
    /// [`signal`](crate::backend::Process::signal) takes a [`Signal`].
    ///
    /// # Errors
    /// [`Error::InvalidSignal`] if it is none; else as [`signal`](crate::backend::Process::signal).
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        self.process.signal(Signal::new(signal)?)
    }

    /// Takes the pidfd that [`create_pidfd`](crate::Command::create_pidfd) asked for: close-on-exec, the caller's own, and valid
    /// whatever becomes of the handle. `None` if it was not asked for, or taken already.
    pub fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }

    /// The job that it was started in alone ([`own_job`](crate::Command::own_job)).
    pub fn job(&self) -> Option<&Job> {
        self.child_job().and_then(ChildJob::job)
    }

    pub(crate) fn child_job(&self) -> Option<&ChildJob> {
        self.job.as_deref()
    }

    /// With its job, which is killed with it.
    pub(crate) fn together<'a>(&'a self, process: &'a [&'a Process; 1]) -> Together<'a> {
        Together::one(process, self.child_job())
    }

    /// Stops it as the steps say, until it has been waited for. If it has a job of its own, the signals go to all that live in it, and it is over
    /// when nothing does. A child that has left its job (see [`Containment`](crate::Containment)) gets the signals when nothing else lives there.
    ///
    /// # Errors
    /// As [`signal`](crate::backend::Process::signal) (`EPERM`) and [`wait`](Self::wait).
    pub fn stop(&self, how: &Teardown) -> Result<Stopped> {
        let stopped = self.targets().stop(how, || self.system().now())?;
        Ok(stopped.with(self.try_wait()?))
    }

    /// Itself, and its own job.
    pub(crate) fn targets(&self) -> Targets {
        Targets::new(Refusal::Error).process(&self.process, self.job().map(Job::link).as_ref())
    }

    /// The handle, which can be cloned, and kept longer than this.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The one that it was spawned on.
    pub(crate) fn system(&self) -> System {
        System::of(Arc::clone(self.process.backend()))
    }

    /// The input on its way into its stdin, which is closed if there is none.
    pub(crate) fn feeding(&self, input: Option<&Input>) -> Option<Feeding> {
        self.feeding_for(input, || Readers::new([&self.process]))
    }

    /// As [`feeding`](Self::feeding), of somebody behind whom others read.
    pub(crate) fn feeding_for(&self, input: Option<&Input>, whose: impl FnOnce() -> Readers) -> Option<Feeding> {
        let feeding = input.zip(self.stdin.as_ref()).map(|(input, stdin)| Feeding::new(input, stdin, whose()));
        if feeding.is_none() {
            self.close_stdin();
        }
        feeding
    }

    pub(crate) fn close_stdin(&self) {
        if let Some(stdin) = &self.stdin {
            stdin.close();
        }
    }
}

impl Deref for Child {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl System {
    /// Takes over a child that std has spawned, with its pipes. It is reaped in the background when dropped, which std's is not.
    /// If std has waited for it already, the handle is Done and knows the status.
    ///
    /// # Errors
    /// [`Error::NoChild`] if somebody else has reaped it, [`Error::Unsupported`] on a simulated system, else as
    /// [`find`](System::find).
    pub fn adopt(&self, child: std::process::Child) -> Result<Child> {
        self.adopt_parts(child).map(|(process, pipes)| Child::new(process, pipes, None, OnDrop::default(), None))
    }
}

/// As [`System::adopt`] on the current system, pipes and all.
impl TryFrom<std::process::Child> for Child {
    type Error = Error;
    fn try_from(child: std::process::Child) -> Result<Child> {
        System::current()?.adopt(child)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // In the child of a fork(2) it is the parent's, who still wants it.
        if self.on_drop.kill && self.process.is_here() {
            // Fails if it is gone, which is what was wanted; or if it has changed its user (EPERM), and then nothing can be done.
            match self.process.kill() {
                // No signal is as certain: what it still does, it does not do in the foreground.
                Ok(()) | Err(Error::ProcessDone { .. }) => self.bring_back(),
                Err(_) => {}
            }
        }
        self.bring_back_if_over(self.on_drop.reap);
        if !self.on_drop.reap {
            self.process.leave();
        }
    }
}
