//! `tokio::process`, item by item: a program moves by its `use` line.
//!
//! `use tokio::process::Command` becomes `use steadfast::tokio::process::Command`, and `std::process::Stdio` becomes
//! [`steadfast::process::Stdio`](crate::process). Names, signatures and behaviour are tokio's; each attribute of
//! [`steadfast::Command`](crate::Command) is a method of this [`Command`] too.
//!
//! ```
//! use std::io;
//! use steadfast::process::Stdio;
//! use steadfast::tokio::process::Command;
//! use tokio::io::AsyncWriteExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> io::Result<()> {
//! let mut child = Command::new("wc").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! child.stdin.take().unwrap().write_all(b"12345").await?;
//! let output = child.wait_with_output().await?;
//! assert_eq!(output.stdout, b"5\n");
//! # Ok(())
//! # }
//! ```
//!
//! | `tokio::process` | here |
//! | --- | --- |
//! | `Command::new` … `current_dir`, `stdin`, `stdout`, `stderr`, `uid`, `gid`, `arg0`, `process_group`, `kill_on_drop` | the same |
//! | `Command::pre_exec` | by the trait [`CommandExt`](crate::os::unix::process::CommandExt) |
//! | `Command::as_std`, `into_std` | [`as_native`](Command::as_native) and `into`: there is no command of std's beneath |
//! | `spawn`, `status`, `output`, `Child::wait`, `try_wait`, `kill`, `start_kill`, `id`, `wait_with_output` | the same |
//! | `ChildStdin`, `ChildStdout`, `ChildStderr`: `AsyncWrite`, `AsyncRead`, `AsFd`, `TryInto<Stdio>`, `into_owned_fd` | the same |
//! | `from_std` | — : a [`steadfast::Child`](crate::Child) is made of a child of std's, and a `Child` of that |
//! | dropped without `wait` | reaped in the background, without a runtime too |
//!
//! An error is an `io::Error` with std's kind and errno; [`cause_of`](crate::process::cause_of) tells more, in the same thread.

pub use super::{ChildStderr, ChildStdout};

use super::Tokio;
use crate::asynchronous::{Begun, Launch, Run, TwinStdin};
use crate::twin::{self, killed, std_error};
use crate::{ExitStatus, Output, Process, Stdio};
use ::tokio::io::AsyncWrite;
use std::ffi::OsStr;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// `tokio::process::Command`, with the attributes of [`steadfast::Command`](crate::Command).
pub type Command = twin::Command<Tokio>;

/// `tokio::process::ChildStdin`: the write end of a child's stdin, which ends when this is dropped.
pub type ChildStdin = TwinStdin<Tokio>;

/// `tokio::process::Child`. Dropped before it was waited for, it is reaped in the background; with
/// [`kill_on_drop`](twin::Command::kill_on_drop) it is killed first.
#[derive(Debug)]
pub struct Child {
    /// The write end of its stdin, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// The read end of its stdout, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// The read end of its stderr, if that is piped.
    pub stderr: Option<ChildStderr>,
    /// Without its pipes.
    child: super::Child,
}

impl Command {
    /// Starts it; returns once the program runs.
    ///
    /// # Errors
    /// As [`steadfast::process::Command::spawn`](crate::process::Command#method.spawn).
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.checked(crate::Command::spawn).map(Child::from)
    }

    /// Starts it, now, and waits for it in the future that is returned. What is piped is closed.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let begun = match self.as_native().is_looked_after() {
            true => self.checked(Run::<Tokio>::status).map(Box::new).map(Begun::Whole),
            false => self.checked(|command| Launch::begin(command, Default::default(), None)).map(Box::new).map(Begun::Plain),
        };
        async move {
            match begun? {
                Begun::Whole(run) => run.wait().await.map_err(std_error),
                Begun::Plain(launch) => {
                    let mut child = Child::from(launch.await.map_err(std_error)?);
                    drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
                    child.wait().await
                }
            }
        }
    }

    /// Starts it, now, with its stdout and stderr piped, whatever was said of them before; the future reads both to the end, and waits.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        let begun = match self.stdout(Stdio::piped()).stderr(Stdio::piped()).as_native().is_looked_after() {
            true => self.checked(Run::<Tokio>::captured).map(Box::new).map(Begun::Whole),
            false => self.checked(|command| Launch::begin(command, Default::default(), None)).map(Box::new).map(Begun::Plain),
        };
        async move {
            match begun? {
                Begun::Whole(run) => run.output().await.map_err(std_error),
                Begun::Plain(launch) => Child::from(launch.await.map_err(std_error)?).wait_with_output().await,
            }
        }
    }

    /// What [`kill_on_drop`](twin::Command::kill_on_drop) was last told.
    pub fn get_kill_on_drop(&self) -> bool {
        self.as_native().on_drop().kill
    }
}

/// What is tokio's own, and std's only by `CommandExt`.
impl Command {
    /// As [`steadfast::Command::uid`](crate::Command::uid).
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.as_native_mut().uid(id);
        self
    }

    /// As [`steadfast::Command::gid`](crate::Command::gid).
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.as_native_mut().gid(id);
        self
    }

    /// As [`steadfast::Command::arg0`](crate::Command::arg0).
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.as_native_mut().arg0(arg);
        self
    }

    /// As [`steadfast::Command::process_group`](crate::Command::process_group).
    pub fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.as_native_mut().process_group(pgroup);
        self
    }
}

impl Child {
    /// Its PID; `None` once it was waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.status().is_none().then(|| self.child.id())
    }

    /// Sends it `SIGKILL`. `Ok` if it has exited, even if other code has waited for it.
    ///
    /// # Errors
    /// `EPERM` for a child that has changed its user, where this process may not signal it.
    pub fn start_kill(&mut self) -> io::Result<()> {
        killed(self.child.kill())
    }

    /// Sends it `SIGKILL`, and waits for it.
    ///
    /// # Errors
    /// As [`start_kill`](Child::start_kill) and [`wait`](Child::wait).
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Closes its stdin, and waits for it. Asked again, it gives the same status. The future may be dropped at any time.
    ///
    /// # Errors
    /// `ECHILD` if the status is lost: other code of the program has waited for it, or `SIGCHLD` is ignored.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.child.wait().await.map_err(std_error)
    }

    /// Its status, if it has exited; `None` if it runs.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(std_error)
    }

    /// Closes its stdin, reads what is piped of its stdout and stderr to the end, both at once, and waits for it.
    ///
    /// # Errors
    /// As [`wait`](Child::wait); the errno of a read that failed.
    pub async fn wait_with_output(self) -> io::Result<Output> {
        let Child { stdin, stdout, stderr, mut child } = self;
        drop(stdin);
        (child.stdout, child.stderr) = (stdout, stderr);
        child.wait_with_output().await.map_err(std_error)
    }

    /// The handle: signals, sets; from any task or thread, and beyond this.
    pub fn process(&self) -> &Process {
        self.child.process()
    }
}

impl From<crate::Child> for Child {
    fn from(child: crate::Child) -> Child {
        super::Child::from(child).into()
    }
}

impl From<super::Child> for Child {
    fn from(mut child: super::Child) -> Child {
        Child { stdin: child.take_stdin(), stdout: child.stdout.take(), stderr: child.stderr.take(), child }
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ChildStdin::poll_write(self.get_mut(), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing, as tokio's: the input ends when this is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
