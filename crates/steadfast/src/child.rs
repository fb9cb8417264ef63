//! [`Child`]: a process that was spawned, and our ends of its pipes.

use crate::pipe::{ChildStderr, ChildStdin, ChildStdout};
use crate::{ExitStatus, Output, Process, System, output};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use steadfast_core::{Error, PipeEnd, Result};

/// A process that was spawned: a [`Process`], which it derefs to, and the pipes.
///
/// Dropped while it runs, it goes on, and is reaped in the background once it exits; with
/// [`kill_on_drop`](crate::Command::kill_on_drop) it is killed first. A clone of its `Process` outlives it.
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
    pidfd: Option<OwnedFd>,
    kill_on_drop: bool,
}

impl Child {
    pub(crate) fn new(process: Process, pipes: [Option<PipeEnd>; 3], pidfd: Option<OwnedFd>, kill_on_drop: bool) -> Child {
        let [stdin, stdout, stderr] = pipes;
        Child {
            stdin: stdin.map(ChildStdin::new),
            stdout: stdout.map(ChildStdout::new),
            stderr: stderr.map(ChildStderr::new),
            process,
            pidfd,
            kill_on_drop,
        }
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
        self.process.wait()
    }

    /// Closes its stdin as [`wait`](Child::wait), then waits for `timeout` at the most: `None` if it runs on.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.close_stdin();
        self.process.wait_timeout(timeout)
    }

    /// Closes its stdin as [`wait`](Child::wait), then waits until `deadline` on the system's clock: `None` if it runs on.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Option<ExitStatus>> {
        self.close_stdin();
        self.process.wait_deadline(deadline)
    }

    /// Closes its stdin, reads what is piped of its stdout and stderr to the end, both at once, and waits.
    ///
    /// # Errors
    /// As [`wait`](Child::wait); [`Error::System`] if a pipe cannot be read.
    pub fn wait_with_output(mut self) -> Result<Output> {
        self.close_stdin();
        let (stdout, stderr) = output::read_both(self.stdout.take(), self.stderr.take())?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// Takes the pidfd that [`create_pidfd`](crate::Command::create_pidfd) asked for: close-on-exec, the caller's own, and valid
    /// whatever becomes of the handle. `None` if it was not asked for, or taken already.
    pub fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }

    /// The handle, to be kept beside or beyond this.
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn close_stdin(&self) {
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

/// As [`System::adopt`] on the current system, pipes and all.
impl TryFrom<std::process::Child> for Child {
    type Error = Error;
    fn try_from(child: std::process::Child) -> Result<Child> {
        System::current()?.adopt(child)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // Fails if it is gone, which is what was wanted; or if it has changed its user (EPERM), and then nothing can be done.
            drop(self.process.kill());
        }
    }
}
