//! [`Child`]: std's handle under std's signatures. It has no `Drop` of its own, so that its pipes can be moved out of it.

use super::{ChildStderr, ChildStdin, ChildStdout};
use crate::twin::{killed, std_error};
use crate::{ExitStatus, Output, Process};
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

/// `std::process::Child`, which cannot act on another process. Dropped before it was waited for, it is reaped in the background.
///
/// ```
/// use steadfast::process::{Command, Stdio};
/// let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
/// assert!(child.try_wait()?.is_none());
/// assert!(child.wait()?.success());                     // closes stdin
/// assert!(child.stdin.is_none());
/// child.kill()?;                                        // as std since 1.72: a child that has exited is killed enough
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// The write end of its stdin, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// The read end of its stdout, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// The read end of its stderr, if that is piped.
    pub stderr: Option<ChildStderr>,
    /// Without its pipes.
    child: crate::Child,
}

// What can be seen after a panic is the state of a process, which is as it is.
impl UnwindSafe for Child {}
impl RefUnwindSafe for Child {}

impl Child {
    /// Its PID. The number alone stays true only until the child is waited for.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it `SIGKILL`. `Ok` if it has exited, even if other code has waited for it.
    ///
    /// # Errors
    /// `EPERM` for a child that has changed its user, where this process may not signal it.
    pub fn kill(&mut self) -> io::Result<()> {
        killed(self.child.kill())
    }

    /// Closes its stdin, and waits for it. Asked again, it gives the same status.
    ///
    /// # Errors
    /// `ECHILD` if the status is lost: other code of the program has waited for it, or `SIGCHLD` is ignored.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.child.wait().map_err(std_error)
    }

    /// Its status, if it has exited; `None` if it runs.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(std_error)
    }

    /// Closes its stdin, and waits for at most `timeout`: `None` if it is still running. As the crate wait-timeout adds it to std's.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        self.child.wait_timeout(timeout).map_err(std_error)
    }

    /// Closes its stdin, reads what is piped of its stdout and stderr to the end, both at once, and waits for it.
    ///
    /// # Errors
    /// As [`wait`](Child::wait); the errno of a read that failed.
    pub fn wait_with_output(self) -> io::Result<Output> {
        crate::Child::from(self).wait_with_output().map_err(std_error)
    }

    /// The handle: signals, timeouts, sets; from any thread, and beyond this.
    pub fn process(&self) -> &Process {
        self.child.process()
    }
}

impl crate::os::unix::process::ChildExt for Child {
    fn send_signal(&self, signal: i32) -> io::Result<()> {
        self.child.send_signal(signal).map_err(std_error)
    }
}

impl From<crate::Child> for Child {
    fn from(mut child: crate::Child) -> Child {
        let stdin = child.stdin.take().map(ChildStdin::from);
        let stdout = child.stdout.take().map(ChildStdout::from);
        let stderr = child.stderr.take().map(ChildStderr::from);
        Child { stdin, stdout, stderr, child }
    }
}

impl From<Child> for crate::Child {
    fn from(child: Child) -> crate::Child {
        let Child { stdin, stdout, stderr, mut child } = child;
        child.stdin = stdin.map(Into::into);
        child.stdout = stdout.map(Into::into);
        child.stderr = stderr.map(Into::into);
        child
    }
}

/// Takes over a child that std has spawned, as [`System::adopt`](crate::System::adopt) on the current system.
impl TryFrom<std::process::Child> for Child {
    type Error = io::Error;
    fn try_from(child: std::process::Child) -> io::Result<Child> {
        crate::Child::try_from(child).map(Child::from).map_err(std_error)
    }
}
