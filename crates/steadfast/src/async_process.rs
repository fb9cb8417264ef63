//! The crate `async_process`, item by item: a program moves by its `use` line.
//!
//! `use async_process::{Command, Stdio}` becomes `use steadfast::async_process::{Command, Stdio}`. Names, signatures and behaviour are its;
//! each attribute of [`steadfast::Command`](crate::Command) is a method of this [`Command`] too.
//!
//! ```
//! use steadfast::async_process::Command;
//! # fn main() -> std::io::Result<()> {
//! let output = async_io::block_on(Command::new("echo").arg("hello").output())?;
//! assert_eq!(output.stdout, b"hello\n");
//! # Ok(())
//! # }
//! ```
//!
//! | `async_process` | here |
//! | --- | --- |
//! | `Command`, `Child`: `id`, `kill`, `try_status`, `status`, `output` | the same |
//! | `ChildStdin`, `ChildStdout`, `ChildStderr`: `AsyncWrite`, `AsyncRead`, `AsFd`, `into_stdio`, `TryFrom` into `OwnedFd` | the same |
//! | `unix::CommandExt` | the same, and the rest of std's extension |
//! | `reap_on_drop`, `kill_on_drop` | the same |
//! | `driver` | a future that never ends: nothing has to be driven |
//!
//! An error is an `io::Error` with std's kind and errno; [`cause_of`](crate::process::cause_of) tells more, in the same thread.

pub use crate::async_io::{ChildStderr, ChildStdout};
pub use crate::{ExitStatus, Output, Stdio};

use crate::Process;
use crate::async_io::AsyncIo;
use crate::asynchronous::{Begun, Launch, Run, TwinStdin};
use crate::twin::{self, killed, std_error};
use futures_io::AsyncWrite;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// `async_process::unix`.
pub mod unix {
    pub use crate::os::unix::process::CommandExt;
}

/// `async_process::Command`, with the attributes of [`steadfast::Command`](crate::Command).
pub type Command = twin::Command<AsyncIo>;

/// `async_process::ChildStdin`: the write end of a child's stdin, which ends when this is dropped.
pub type ChildStdin = TwinStdin<AsyncIo>;

/// `async_process::Child`. Dropped before it was waited for, it is reaped in the background, unless
/// [`reap_on_drop`](twin::Command::reap_on_drop) is off; with [`kill_on_drop`](twin::Command::kill_on_drop) it is killed first.
#[derive(Debug)]
pub struct Child {
    /// The write end of its stdin, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// The read end of its stdout, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// The read end of its stderr, if that is piped.
    pub stderr: Option<ChildStderr>,
    /// Without its pipes.
    child: crate::async_io::Child,
}

/// Drives what has to be driven for children to be reaped, which is nothing: it never ends.
pub fn driver() -> impl Future<Output = Infallible> + Send + 'static {
    std::future::pending()
}

impl Command {
    /// Starts it; returns once the program runs.
    ///
    /// # Errors
    /// As [`steadfast::process::Command::spawn`](crate::process::Command#method.spawn).
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.checked(crate::Command::spawn).map(Child::from)
    }

    /// Starts it, now, and waits for it in the future that is returned.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::status`].
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let begun = match self.as_native().is_looked_after() {
            true => self.checked(Run::<AsyncIo>::status).map(Box::new).map(Begun::Whole),
            false => self.checked(|command| Launch::begin(command, Default::default(), None)).map(Box::new).map(Begun::Plain),
        };
        async move {
            match begun? {
                Begun::Whole(run) => run.wait().await.map_err(std_error),
                Begun::Plain(launch) => Child::from(launch.await.map_err(std_error)?).status().await,
            }
        }
    }

    /// Starts it, now, with `/dev/null` as its stdin and its stdout and stderr piped, if nothing else was said of them; the future reads
    /// both to the end, and waits.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::output`].
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        let begun = match self.as_native().is_looked_after() {
            true => self.checked(Run::<AsyncIo>::captured).map(Box::new).map(Begun::Whole),
            false => {
                let launch = self.checked(|command| Launch::begin(command, command.streams_for_capture(), None));
                launch.map(Box::new).map(Begun::Plain)
            }
        };
        async move {
            match begun? {
                Begun::Whole(run) => run.output().await.map_err(std_error),
                Begun::Plain(launch) => Child::from(launch.await.map_err(std_error)?).output().await,
            }
        }
    }
}

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

    /// Its status, if it has exited; `None` if it runs.
    ///
    /// # Errors
    /// As [`status`](Child::status).
    pub fn try_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(std_error)
    }

    /// Closes its stdin, now; the future waits for it. Asked again, it gives the same status. The future borrows nothing, and may be
    /// dropped at any time.
    ///
    /// # Errors
    /// `ECHILD` if the status is lost: other code of the program has waited for it, or `SIGCHLD` is ignored.
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        drop(self.stdin.take());
        let process = self.child.process().clone();
        async move { crate::asynchronous::wait::<AsyncIo>(&process).await.map_err(std_error) }
    }

    /// Closes its stdin, now; the future reads what is piped of its stdout and stderr to the end, both at once, and waits for it.
    ///
    /// # Errors
    /// As [`status`](Child::status); the errno of a read that failed.
    pub fn output(self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        let Child { stdin, stdout, stderr, mut child } = self;
        drop(stdin);
        (child.stdout, child.stderr) = (stdout, stderr);
        async move { child.wait_with_output().await.map_err(std_error) }
    }

    /// The handle: signals, sets; from any task or thread, and beyond this.
    pub fn process(&self) -> &Process {
        self.child.process()
    }
}

impl From<crate::Child> for Child {
    fn from(child: crate::Child) -> Child {
        crate::async_io::Child::from(child).into()
    }
}

impl From<crate::async_io::Child> for Child {
    fn from(mut child: crate::async_io::Child) -> Child {
        Child { stdin: child.take_stdin(), stdout: child.stdout.take(), stderr: child.stderr.take(), child }
    }
}

macro_rules! into_stdio {
    ($($name:ident),*) => {$(
        impl $name {
            /// For another process: it blocks again.
            ///
            /// # Errors
            /// None today.
            pub async fn into_stdio(self) -> io::Result<Stdio> {
                self.try_into()
            }
        }
    )*};
}

into_stdio!(ChildStdin, ChildStdout, ChildStderr);

impl AsyncWrite for ChildStdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ChildStdin::poll_write(self.get_mut(), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing, as async-process's: the input ends when this is dropped.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
