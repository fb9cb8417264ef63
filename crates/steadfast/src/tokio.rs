//! For tasks of tokio: children that are awaited, and pipes that implement [`AsyncRead`] and [`AsyncWrite`].
//!
//! ```
//! use steadfast::tokio::{AsyncCommand, AsyncProcess};
//! use steadfast::{Command, Stdio};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn_async().await?;
//! child.stdin.as_mut().expect("piped").write_all(b"hello").await?;
//! let gone = child.process().clone();                          // &self everywhere: another task may wait for it, too
//! let watch = tokio::spawn(async move { gone.exited().await });
//! assert!(child.wait().await?.success());                     // closes stdin first
//! let mut text = String::new();
//! child.stdout.as_mut().expect("piped").read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! println!("{}", watch.await??);
//! # Ok(())
//! # }
//! ```
//!
//! The runtime needs its I/O driver and its timer (`enable_all`). It polls the pidfds itself. Without pidfds, each awaited process needs a thread,
//! which sleeps until the process exits.
//!
//! | `tokio::process` | here | difference |
//! | --- | --- | --- |
//! | `Command::spawn`, `status`, `output` | `spawn_async`, `status_async`, `output_async` | of [`Command`](crate::Command), by [`AsyncCommand`] |
//! | — | `output_timeout_async`, `capture_async` | with a timeout and a limit of bytes; they wait for the child alone, not for others that have its streams open |
//! | `Child::wait` | the same | takes `&self`, by any number of tasks; closes stdin too |
//! | `Child::kill` | `kill`, then `wait` | `kill` is tokio's `start_kill`, and takes `&self` |
//! | `Child::id`, an `Option` | `pid` | can always be read |
//! | `kill_on_drop` | the same | |
//! | dropped without `wait` | reaped in the background | tokio checks its orphans whenever a child exits |
//! | — | `exited`, of any [`Process`](crate::Process) by [`AsyncProcess`] | also for one that is not a child |
//!
//! # In virtual time
//! A simulated kernel (feature `mock`) follows the runtime's clock. If that clock is paused, it jumps from one event to the next, for timers and for
//! processes:
//!
//! ```
//! # #[cfg(feature = "mock")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use steadfast::Command;
//! use steadfast::mock::{Kernel, Script, Simulated};
//! use steadfast::tokio::AsyncCommand;
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
//! let kernel = Kernel::builder().program("nightly", Script::new().sleep(Duration::from_secs(3600)).exit(3)).build();
//! let _here = kernel.system().enter();
//! let status = runtime.block_on(async { Command::new("nightly").status_async().await })?;   // takes microseconds
//! assert_eq!((status.code(), kernel.now().as_secs()), (Some(3), 3600));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "mock"))]
//! # fn main() {}
//! ```

pub mod process;

use crate::asynchronous::{Attempt, Descriptor, Engine, Hubs, Interest, Poller, extend_for};
use ::tokio::io::unix::AsyncFd;
use ::tokio::io::{self as tokio_io, AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::runtime::{self, Handle};
use ::tokio::task::unconstrained;
use ::tokio::time::{Instant as TokioInstant, Sleep, sleep_until};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use steadfast_linux::PerProcess;

/// The runtime of this module.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "a name and nothing else")]
pub struct Tokio;

extend_for!(Tokio, "[`AsyncWrite`]", "[`AsyncRead`]");

impl Engine for Tokio {
    fn hubs() -> &'static Hubs<Tokio> {
        static HUBS: PerProcess<Hubs<Tokio>> = PerProcess::new(Hubs::new);
        &HUBS
    }
}

impl Poller for Tokio {
    type Id = runtime::Id;
    type Source = AsyncFd<Descriptor>;
    type Timer = Sleep;

    fn id() -> io::Result<runtime::Id> {
        Handle::try_current().map(|handle| handle.id()).map_err(io::Error::other)
    }

    fn register(descriptor: Descriptor, interest: Interest) -> io::Result<AsyncFd<Descriptor>> {
        // It panics where there is no runtime.
        Tokio::id()?;
        let interest = match interest {
            Interest::Read => tokio_io::Interest::READABLE,
            Interest::Write => tokio_io::Interest::WRITABLE,
        };
        #[allow(deprecated, reason = "its successor is unsafe, for values whose descriptor may change; this one's never does")]
        AsyncFd::try_with_interest(descriptor, interest).map_err(|error| error.into_parts().1)
    }

    fn without_budget<T>(cx: &mut Context<'_>, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        pin!(unconstrained(poll_fn(poll))).poll(cx)
    }

    fn poll_readable(source: &AsyncFd<Descriptor>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        source.poll_read_ready(cx).map_ok(drop)
    }

    fn poll_io<T>(
        source: &AsyncFd<Descriptor>,
        cx: &mut Context<'_>,
        interest: Interest,
        attempt: Attempt<'_, T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut ready = match interest {
                Interest::Read => ready!(source.poll_read_ready(cx))?,
                Interest::Write => ready!(source.poll_write_ready(cx))?,
            };
            if let Some(answer) = attempt().transpose() {
                return Poll::Ready(answer);
            }
            ready.clear_ready();
        }
    }

    fn timer(at: Instant) -> Sleep {
        sleep_until(TokioInstant::from_std(at))
    }

    fn clock() -> Option<Instant> {
        Handle::try_current().ok().map(|_| TokioInstant::now().into_std())
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ChildStdin::poll_write(&self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

macro_rules! read {
    ($name:ident) => {
        impl AsyncRead for $name {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                let read = ready!(self.get_mut().pipe.poll_read(cx, into.initialize_unfilled()))?;
                into.advance(read);
                Poll::Ready(Ok(()))
            }
        }
    };
}

read!(ChildStdout);
read!(ChildStderr);
