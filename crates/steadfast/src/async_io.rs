//! For tasks of async-io, on which smol and others are built: children that are awaited, and pipes that implement
//! [`AsyncRead`] and [`AsyncWrite`].
//!
//! ```
//! use std::time::Duration;
//! use steadfast::Command;
//! use steadfast::async_io::AsyncCommand;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captured = async_io::block_on(async {
//!     Command::new("sh").args(["-c", "echo begun; sleep 60"]).output_timeout_async(Duration::from_millis(200)).await
//! })?;
//! assert!(captured.timed_out);                                  // and it was killed
//! println!("so far: {}", captured.stdout);
//! # Ok(())
//! # }
//! ```
//!
//! async-io's own thread polls the pidfds. Without pidfds, each awaited process needs a thread, which sleeps until the process exits. A simulated
//! kernel (feature `mock`) follows real time here, because async-io has no other clock. For tests in virtual time, see `steadfast::tokio`.

use crate::asynchronous::{Attempt, Descriptor, Engine, Hubs, Interest, Poller, extend_for};
use ::async_io::{Async, Timer};
use futures_io::{AsyncRead, AsyncWrite};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use steadfast_core::Clock;
use steadfast_linux::{PerProcess, SystemClock};

/// The runtime of this module.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "a name and nothing else")]
pub struct AsyncIo;

extend_for!(AsyncIo, "[`AsyncWrite`]", "[`AsyncRead`]");

impl Engine for AsyncIo {
    fn hubs() -> &'static Hubs<AsyncIo> {
        static HUBS: PerProcess<Hubs<AsyncIo>> = PerProcess::new(Hubs::new);
        &HUBS
    }
}

impl Poller for AsyncIo {
    /// There is one for the whole process.
    type Id = ();
    type Source = Async<Descriptor>;
    type Timer = Timer;

    fn id() -> io::Result<()> {
        Ok(())
    }

    fn register(descriptor: Descriptor, _: Interest) -> io::Result<Async<Descriptor>> {
        // A pidfd that does not block would fail the threads that wait by it (`EAGAIN`); pipes do not block already.
        Async::new_nonblocking(descriptor)
    }

    fn poll_readable(source: &Async<Descriptor>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        source.poll_readable(cx)
    }

    fn poll_io<T>(
        source: &Async<Descriptor>,
        cx: &mut Context<'_>,
        interest: Interest,
        attempt: Attempt<'_, T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if let Some(answer) = attempt().transpose() {
                return Poll::Ready(answer);
            }
            match interest {
                Interest::Read => ready!(source.poll_readable(cx))?,
                Interest::Write => ready!(source.poll_writable(cx))?,
            }
        }
    }

    fn timer(at: Instant) -> Timer {
        Timer::at(at)
    }

    fn clock() -> Option<Instant> {
        Some(SystemClock.now())
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ChildStdin::poll_write(&self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

macro_rules! read {
    ($name:ident) => {
        impl AsyncRead for $name {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                self.get_mut().pipe.poll_read(cx, buffer)
            }
        }
    };
}

read!(ChildStdout);
read!(ChildStderr);
